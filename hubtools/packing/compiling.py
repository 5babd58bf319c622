"""The layers of a packed encoder, compiled: fewer kernels, each of which does more."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from transformers import AttentionInterface, PreTrainedModel

from hubtools.packing.attention import NAMES, TEXT_BY_TEXT, read_first_line, text_by_text

# A layer is compiled once for passes of all sizes, for training and for evaluation. ModernBERT has three kinds of
# layers, which share their code: the first, those with a window and those without.
MOST = 32


def compile_layers(model: PreTrainedModel, cache: Path | None, try_out: Callable[[], None]) -> tuple[float, str]:
    """Compile each layer of a packed ModernBERT, or leave it as it is where that fails.

    Args:
        cache: folder of what was compiled, so that the next training has it; None for the library's own.
        try_out: computes something forward and backward, which is when a layer is compiled.

    Returns:
        seconds that it took, and why it failed, "" where it did not.
    """
    began = time.perf_counter()
    if cache:
        # Read whenever something is compiled; the one that a person has set counts more.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache.absolute()))
    layers = cast("torch.nn.ModuleList", model.base_model.layers)
    try:
        import torch._dynamo

        for limit in ("recompile_limit", "cache_size_limit"):  # its name since torch 2.6, and before
            with contextlib.suppress(AttributeError):
                setattr(torch._dynamo.config, limit, MOST)
        # One text after another is no one shape: it stays as it is, between what is compiled.
        eager = torch.compiler.disable(text_by_text)  # type: ignore[no-untyped-call]
        AttentionInterface.register(NAMES[TEXT_BY_TEXT], eager)
        for layer in layers:
            layer.compile(dynamic=True)
        try_out()
    except Exception as error:  # a compiler that is missing or broken fails in many ways, and none ends a training
        for layer in layers:
            layer._compiled_call_impl = None
        AttentionInterface.register(NAMES[TEXT_BY_TEXT], text_by_text)
        return time.perf_counter() - began, f"{type(error).__name__}: {read_first_line(error)}"
    return time.perf_counter() - began, ""
