"""What each card gets from each torch, and why not more: the table of docs/performance.md.

    python benchmarks/gpu_paths.py

The choice is the package's own (``hubtools.packing.attention``); the cards, and what each torch has, are written here.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from hubtools.packing import attention
from hubtools.packing.attention import Gpu, choose_way

CARDS = (
    Gpu("T4", (7, 5), False),
    Gpu("L4", (8, 9), True),
    Gpu("A10G", (8, 6), True),
    Gpu("A100", (8, 0), True),
    Gpu("H100", (9, 0), True),
)


def with_window(query: Any, key: Any, value: Any, *, scale: Any = None, window_size: Any = (-1, -1)) -> None:
    """As much of torch's kernel as is asked for."""


def without_window(query: Any, key: Any, value: Any, is_causal: bool = False) -> None:
    """That of torch 2.10."""


def flash(q: Any, k: Any, v: Any, softmax_scale: Any = None, window_size: Any = (-1, -1)) -> None:
    """As much of flash-attn's."""


BUILDS = (
    ("varlen_attn with windows (torch 2.11 to 2.13)", "2.13", with_window, None),
    ("varlen_attn without (torch 2.10)", "2.10", without_window, None),
    ("no varlen_attn (torch 2.6 to 2.9)", "2.9", None, None),
    ("without windows, with flash-attn", "2.10", without_window, flash),
)


def table() -> str:
    """The table, cards in rows, and the numbered reasons why they get no more."""
    columns = ["card", "precision", *(name for name, *_ in BUILDS)]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    reasons: list[str] = []
    config: Any = SimpleNamespace(attention_dropout=0.0)
    for gpu in CARDS:
        cells = [gpu.name, "bf16" if gpu.bf16 else "fp32"]
        for _, version, varlen, flash_attn in BUILDS:
            with (
                patch.object(attention, "read_gpu", lambda device, gpu=gpu: gpu),
                patch.object(attention, "find_varlen", lambda varlen=varlen: varlen),
                patch.object(attention, "find_flash_attn", lambda flash_attn=flash_attn: flash_attn),
                patch.object(torch, "__version__", version),
            ):
                way, reason = choose_way(config, torch.device("cuda"), gpu.bf16, lambda device, way: "")
            reason = reason.replace(gpu.name, "it")
            if reason and reason not in reasons:
                reasons.append(reason)
            note = f" ({reasons.index(reason) + 1})" if reason else ""
            cells.append((way or "passes of like length") + note)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))])


if __name__ == "__main__":
    print(table())
