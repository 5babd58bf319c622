"""A model on a GPU that is asked many texts at once: rows of like length, next to no padding, a few launches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PreTrainedModel

from hubtools.packing.encoder import choose_packing, packed

if TYPE_CHECKING:
    from numpy import ndarray

# Without gradients a token needs about 60 KB at base size in fp32.
TOKENS = 65_536


class ManyAtOnce:
    """A classifier of transformers that answers rows of token ids; what ``hubtools.reading`` asks in its place.

    Precision and weights are the model's own: recorded answers are compared with those of another machine. In bf16 a
    ModernBERT computes no padding. A GPU's kernels for that know no fp32, in which the texts of a launch are padded to
    the longest: on an H200 that is as fast as padding them in attention alone.

    Args:
        tokens: of a launch, at most.
    """

    chunk = 4096  # texts whose answers are held at once

    def __init__(self, model: PreTrainedModel, pad: int, tokens: int = TOKENS) -> None:
        self.model, self.pad, self.tokens = model, pad, tokens
        self.config: Any = model.config
        self.way = choose_packing(model, model.device, model.dtype is torch.bfloat16).way
        self.launches = 0

    def run_rows(self, rows: Sequence[Sequence[int]]) -> list[ndarray]:
        """Return the logits of each row, (labels,) or (its tokens, labels), in the order of ``rows``."""
        found: list[ndarray] = [np.zeros(0)] * len(rows)
        way = self.way if len(rows) > 1 else ""  # one text has no padding
        with torch.inference_mode(), packed(self.model, way):
            for numbers in divide_by_tokens([len(row) for row in rows], self.tokens):
                logits = self._run([rows[i] for i in numbers], bool(way))
                self.launches += 1
                for i, of_row in zip(numbers, logits, strict=True):
                    found[i] = np.array(of_row[: len(rows[i])] if of_row.ndim == 2 else of_row, dtype=np.float64)
        return found

    def _run(self, rows: Sequence[Sequence[int]], is_packed: bool) -> ndarray:
        lengths = [len(row) for row in rows]
        mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        ids = torch.full(mask.shape, self.pad)
        ids[mask] = torch.tensor([token for row in rows for token in row])
        device = self.model.device
        more: dict[str, Any] = {"lengths": lengths} if is_packed else {}
        outputs = self.model(input_ids=ids.to(device), attention_mask=mask.to(device, torch.long), **more)
        logits: ndarray = outputs.logits.float().cpu().numpy()
        return logits


def divide_by_tokens(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Divide rows into launches, those of like length together; each pads to at most ``tokens``.

    Returns:
        positions in ``lengths``, each once; a row that is longer goes alone.
    """
    launches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not launches or (len(launches[-1]) + 1) * lengths[row] > tokens:
            launches.append([])
        launches[-1].append(row)
    return launches
