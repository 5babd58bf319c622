"""ModernBERT without padding: the tokens of a batch stand in one row, and each text attends to itself alone.

transformers 5 computes padding in every layer. Here the encoder takes the usual padded batch, drops the padding
before its first layer and puts it back after its last, so that heads, labels and callers see what they always see,
and the numbers are the same. It also takes rows that are packed already, of a fixed size: what a GPU computes then has
the same shapes in every step, and nothing waits for it to count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch
from transformers import ModernBertModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from hubtools.packing.attention import TEXT_BY_TEXT, Choice, Texts, choose_way, prepare, register_way
from hubtools.packing.recording import Recordings, list_kinds, run_layers

# What a head is given of a packed row: each token's state, or one state of each text.
Pooling = Literal["tokens", "mean", "cls"]


class PackedModernBert(ModernBertModel):  # type: ignore[no-untyped-call]
    """The encoder of a ModernBERT, from padded batch to padded batch without computing the padding.

    Attributes:
        recordings: of its layers, for rows that are packed already.
    """

    recordings: Recordings | None = None

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None, lengths: list[int] | None = None, bounds: torch.Tensor | None = None,
        text: torch.Tensor | None = None, longest: int = 0, pooling: Pooling = "tokens", **kwargs: object,
    ) -> BaseModelOutput:  # fmt: skip
        """Encode as ``ModernBertModel.forward``; hidden states of padding are 0.

        Args:
            input_ids, attention_mask: (texts, longest).
            lengths: real tokens of each text, padded on the right. Given, no step waits for the device to count.
            bounds: where the texts of a row that is packed already begin and end, int32, (texts + 1,). ``input_ids``
                and ``position_ids`` are (1, tokens) then, ``text`` says to which text each token belongs, and no text
                has more tokens than ``longest``.
            pooling: of a packed row: "tokens" gives (1, tokens, hidden size); "mean" and "cls" give (texts, 1, hidden
                size), so that a head that would pool them with a mask of ones does the same as with padded texts.
        """
        if bounds is not None:
            assert position_ids is not None  # all three are made together
            assert text is not None
            texts = self._prepare(Texts(bounds, longest), input_ids.shape[1])
            row = self._encode_row(input_ids, position_ids, texts)
            return BaseModelOutput(last_hidden_state=pool(row, bounds, text, pooling))
        more = {name: value for name, value in kwargs.items() if value is not None}
        count, width = input_ids.shape
        device = input_ids.device
        if lengths is None:
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            lengths = mask.sum(1).tolist()
            positions = mask.flatten().nonzero().squeeze(1)
        else:
            rows = [torch.arange(i * width, i * width + n) for i, n in enumerate(lengths)]
            positions = torch.cat(rows).to(device, non_blocking=True)
        bounds = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32, non_blocking=True)
        texts = self._prepare(Texts(bounds, max(lengths), lengths), len(positions))
        outputs: BaseModelOutput = super().forward(
            input_ids=input_ids.flatten()[positions][None], position_ids=(positions % width)[None], texts=texts, **more
        )
        row = outputs["last_hidden_state"][0]
        padded = row.new_zeros(count * width, row.shape[1]).index_copy(0, positions, row)
        outputs["last_hidden_state"] = padded.view(count, width, -1)
        return outputs

    def _encode_row(self, input_ids: torch.Tensor, position_ids: torch.Tensor, texts: Texts) -> torch.Tensor:
        """Return the last hidden states of a packed row (1, tokens, hidden size)."""
        states = self.embeddings(input_ids=input_ids)
        kinds = list_kinds(self.layers)
        rotations = [part for kind in kinds for part in self.rotary_emb(states, position_ids, kind)]
        if self.recordings and self.training and torch.is_grad_enabled():
            states = self.recordings.run(self.layers, texts, states, rotations)
        else:
            states = run_layers(self.layers, texts, states, rotations)
        row: torch.Tensor = self.final_norm(states)
        return row

    def _prepare(self, texts: Texts, tokens: int) -> Texts:
        return prepare(self.config._attn_implementation, texts, tokens, self.config.sliding_window)


def pool(row: torch.Tensor, bounds: torch.Tensor, text: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Return what a head reads of a packed row (1, tokens, hidden size); see :class:`PackedModernBert`."""
    if pooling == "tokens":
        return row
    if pooling == "cls":
        # An empty text may begin behind the last token.
        return row[0, bounds[:-1].clamp(max=row.shape[1] - 1)][:, None]
    lengths = bounds.diff()
    sums = row.new_zeros(len(lengths), row.shape[2]).index_add(0, text, row[0])
    return (sums / lengths.clamp(min=1)[:, None])[:, None]


def pack(model: PreTrainedModel, way: str = TEXT_BY_TEXT) -> None:
    """Let ``model``, a ModernBERT with any head, compute no padding. What is saved of it stays the same."""
    model.set_attn_implementation(register_way(way))
    model.base_model.__class__ = PackedModernBert


@contextlib.contextmanager
def packed(model: PreTrainedModel, way: str) -> Iterator[None]:
    """Let ``model`` compute no padding while the block runs; without a way, leave it as it is."""
    if not way:
        yield
        return
    before, kind = model.config._attn_implementation, type(model.base_model)
    pack(model, way)
    try:
        yield
    finally:
        model.base_model.__class__ = kind
        model.set_attn_implementation(before)


def choose_packing(model: PreTrainedModel, device: torch.device, bf16: bool) -> Choice:
    """Return how ``model`` is packed on ``device`` for a training, or why it is not."""
    if type(model.base_model) is not ModernBertModel:
        return Choice("", f"{model.config.model_type} knows no packed rows")
    return choose_way(model.config, device, bf16)
