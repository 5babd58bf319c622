"""The layers of a packed encoder, recorded: a GPU replays the kernels of a pass as one CUDA graph.

Python launches a kernel in tens of microseconds, and the layers of a pass are more than a thousand of them: compiled,
they took less time on an H200 than their launches. A graph is launched once. It has the shapes and the memory of the
pass that was recorded, so there is one for each size of a pass.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from hubtools.packing.attention import Texts, read_first_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.models.modernbert.modeling_modernbert import ModernBertEncoderLayer

# Each holds gradients of its own, 440 MB at base size. The sizes of the steps of a training lie close together.
MOST = 12


class Layers(nn.Module):
    """The layers of an encoder, one behind another, as a function of tensors alone.

    Args:
        layers: of a packed ModernBERT.
        longest: tokens; no text of a row has more.
    """

    def __init__(self, layers: nn.ModuleList, longest: int) -> None:
        super().__init__()
        self.layers, self.longest = layers, longest

    def forward(self, states: torch.Tensor, bounds: torch.Tensor, *rotations: torch.Tensor) -> torch.Tensor:
        """Return the states of a row (1, tokens, hidden size) behind the last layer; see :func:`run_layers`."""
        return run_layers(self.layers, Texts(bounds, self.longest), states, rotations)


def run_layers(
    layers: nn.ModuleList, texts: Texts, states: torch.Tensor, rotations: Sequence[torch.Tensor]
) -> torch.Tensor:
    """Return the states of a packed row (1, tokens, hidden size) behind the last of ``layers``.

    Args:
        rotations: cosine and sine of each token's position, a pair for each of :func:`list_kinds`.
    """
    kinds = list_kinds(layers)
    pairs = {kind: (rotations[2 * i], rotations[2 * i + 1]) for i, kind in enumerate(kinds)}
    for layer in cast("Sequence[ModernBertEncoderLayer]", layers):
        states = layer(states, attention_mask=None, position_embeddings=pairs[layer.attention_type], texts=texts)
    return states


def list_kinds(layers: nn.ModuleList) -> list[str]:
    """Return the kinds of attention that layers have, each once."""
    return sorted({layer.attention_type for layer in cast("Sequence[ModernBertEncoderLayer]", layers)})


class Recordings:
    """Passes of a training as CUDA graphs, by their shapes.

    They are made while :meth:`record` is open and replayed afterwards. A pass of another shape is computed as it is.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[int, int, int], Callable[..., torch.Tensor]] = {}
        self._is_open = False
        self._pool = torch.cuda.graph_pool_handle()

    @contextlib.contextmanager
    def record(self) -> Iterator[None]:
        """Make a graph of each new shape that is computed in the block. No other thread may use the device."""
        self._is_open = True
        try:
            yield
        finally:
            self._is_open = False

    def run(
        self, layers: nn.ModuleList, texts: Texts, states: torch.Tensor, rotations: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """Return what :func:`run_layers` does, with its gradient, from a graph where there is one."""
        shape = (states.shape[1], len(texts.bounds), texts.longest)
        if self._is_open and shape not in self._made and len(self._made) < MOST:
            self._made[shape] = _make_graph(layers, texts, states, rotations, self._pool)
        replay = self._made.get(shape)
        if replay is None:
            return run_layers(layers, texts, states, rotations)
        _keep_gradients(layers)
        return replay(states, texts.bounds, *rotations)


def record_layers(model: PreTrainedModel, try_out: Callable[[], None]) -> tuple[float, str]:
    """Record the layers of a packed ModernBERT, or leave them as they are where that fails.

    Args:
        try_out: computes passes of all sizes forward and backward, autocast without its cache: what that remembers
            between two passes is not there when a graph is replayed.

    Returns:
        seconds that it took, and why it failed, "" where it did not.
    """
    began, encoder = time.perf_counter(), model.base_model
    try:
        recordings = Recordings()
        vars(encoder)["recordings"] = recordings
        with recordings.record():
            try_out()
    except Exception as error:  # as with a compiler: what cannot be recorded is computed as it is
        vars(encoder).pop("recordings", None)
        torch.cuda.empty_cache()
        return time.perf_counter() - began, f"{type(error).__name__}: {read_first_line(error)}"
    return time.perf_counter() - began, ""


def _make_graph(
    layers: nn.ModuleList, texts: Texts, states: torch.Tensor, rotations: Sequence[torch.Tensor], pool: Any
) -> Callable[..., torch.Tensor]:
    # A graph reads and writes the memory of its sample.
    sample = [part.detach().clone() for part in (states, texts.bounds, *rotations)]
    sample[0].requires_grad_(states.requires_grad)
    made: Callable[..., torch.Tensor] = torch.cuda.make_graphed_callables(  # type: ignore[assignment]
        Layers(layers, texts.longest), tuple(sample), pool=pool
    )
    return made


def _keep_gradients(layers: nn.ModuleList) -> None:
    """Copy the gradients of earlier passes of a step: they may lie where the graph is about to write its own."""
    weights = [weight for weight in layers.parameters() if weight.grad is not None]
    if weights:
        copies = torch._foreach_mul([cast("torch.Tensor", weight.grad) for weight in weights], 1.0)
        for weight, copy in zip(weights, copies, strict=True):
            weight.grad = copy
