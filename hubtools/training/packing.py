"""ModernBERT without padding: the tokens of a batch stand in one row, and each text attends to itself alone.

transformers 5 computes padding in every layer. Here the encoder takes the usual padded batch, drops the padding
before its first layer and puts it back after its last, so that heads, labels and callers see what they always see,
and the numbers are the same.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, ModernBertModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

NAME = "hubtools_packed"


class Texts(NamedTuple):
    """Where the texts of a packed row begin and end.

    Attributes:
        lengths: tokens of each text.
        bounds: int32, (texts + 1,), on the device: the running sum of ``lengths`` from 0 on.
    """

    lengths: list[int]
    bounds: torch.Tensor


def attend(
    module: object, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: None, *,
    scaling: float, texts: Texts, sliding_window: int | None = None, **options: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Compute attention within each text of a packed row.

    Args:
        query, key, value: (1, heads, tokens, head size).
        sliding_window: one more than the distance in tokens that is seen to either side; None sees the whole text.
        **options: what else transformers gives to attention functions; ``dropout`` counts, on a CPU.

    Returns:
        (1, tokens, heads, head size), as transformers' attention functions.
    """
    # Neither side sees further than this; -1 is torch's word for no limit.
    reach = sliding_window - 1 if sliding_window else -1
    longest = max(texts.lengths)
    if query.is_cuda and query.dtype != torch.float32:
        from torch.nn.attention.varlen import varlen_attn

        q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
        row = varlen_attn(
            q, k, v, texts.bounds, texts.bounds, longest, longest, scale=scaling, window_size=(reach, reach)
        )
        return row.unsqueeze(0), None  # type: ignore[union-attr]
    position = torch.arange(longest, device=query.device)
    # A text no longer than the window sees itself whole, and needs no mask.
    near = (position[:, None] - position).abs() <= reach if 0 <= reach < longest - 1 else None
    # split and cat keep the backward pass linear in the tokens; slices would fill a whole row for each text.
    rows = []
    dropout = options.get("dropout", 0.0)
    for q, k, v in zip(*(torch.split(part, texts.lengths, dim=2) for part in (query, key, value)), strict=True):
        n = q.shape[2]
        mask = None if near is None or n <= reach + 1 else near[:n, :n]
        rows.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling))
    return torch.cat(rows, dim=2).transpose(1, 2), None


AttentionInterface.register(NAME, attend)


class PackedModernBert(ModernBertModel):  # type: ignore[no-untyped-call]
    """The encoder of a ModernBERT, from padded batch to padded batch without computing the padding."""

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, position_ids: None = None,
        lengths: list[int] | None = None, **kwargs: object,
    ) -> BaseModelOutput:  # fmt: skip
        """Encode as ``ModernBertModel.forward``; hidden states of padding are 0.

        Args:
            input_ids, attention_mask: (texts, longest).
            lengths: real tokens of each text, padded on the right. Given, no step waits for the device to count.
        """
        count, longest = input_ids.shape
        device = input_ids.device
        if lengths is None:
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            lengths = mask.sum(1).tolist()
            positions = mask.flatten().nonzero().squeeze(1)
        else:
            rows = [torch.arange(i * longest, i * longest + n) for i, n in enumerate(lengths)]
            positions = torch.cat(rows).to(device, non_blocking=True)
        bounds = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32, non_blocking=True)
        outputs: BaseModelOutput = super().forward(
            input_ids=input_ids.flatten()[positions][None], position_ids=(positions % longest)[None],
            texts=Texts(lengths, bounds), **{name: value for name, value in kwargs.items() if value is not None},
        )  # fmt: skip
        row: torch.Tensor = outputs["last_hidden_state"][0]
        padded = row.new_zeros(count * longest, row.shape[1]).index_copy(0, positions, row)
        outputs["last_hidden_state"] = padded.view(count, longest, -1)
        return outputs


def pack(model: PreTrainedModel) -> None:
    """Let ``model``, a ModernBERT with any head, compute no padding. What is saved of it stays the same."""
    model.set_attn_implementation(NAME)
    model.base_model.__class__ = PackedModernBert


def find_reason_not_to_pack(model: PreTrainedModel, device: torch.device, bf16: bool) -> str:
    """Return why ``model`` cannot be packed on ``device``; "" where it can."""
    config = model.config
    if type(model.base_model) is not ModernBertModel:
        return f"{config.model_type} knows no packed rows"
    if device.type == "cpu":
        return ""
    if device.type != "cuda":
        return f"no packed attention on {device.type}"
    if not bf16:
        return "packed attention on a GPU needs bf16"
    if config.attention_dropout:
        return "packed attention on a GPU has no dropout, and this base has"
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return f"torch {torch.__version__} has no attention for packed rows"
    if "window_size" not in inspect.signature(varlen_attn).parameters:
        return f"torch {torch.__version__} has no sliding window for packed rows"
    return _probe(device)


def _probe(device: torch.device) -> str:
    """Return how the packed attention of the device differs from the plain one of the CPU; "" where it does not."""
    # One text within the window of 64 to either side, and two that are longer.
    lengths = [3, 150, 70]
    random = torch.Generator().manual_seed(0)
    whole = [torch.randn(1, 2, sum(lengths), 64, generator=random) for _ in range(3)]
    results: list[list[torch.Tensor]] = []
    try:
        for where, dtype in ((torch.device("cpu"), torch.float32), (device, torch.bfloat16)):
            texts = Texts(lengths, torch.tensor([0, *lengths]).cumsum(0).to(where, torch.int32))
            q, k, v = (part.to(where, dtype, copy=True).requires_grad_() for part in whole)
            row, _ = attend(None, q, k, v, None, scaling=0.125, texts=texts, sliding_window=65)
            gradients = torch.autograd.grad(row.float().square().sum(), (q, k, v))
            results.append([part.detach().float().cpu() for part in (row, *gradients)])
    except (RuntimeError, NotImplementedError) as error:
        return f"packed attention fails on this GPU: {str(error).splitlines()[0]}"
    # bf16 keeps eight bits, a relative error of up to 1/256; the bound leaves room for sums of many.
    difference = max(float((a - b).norm() / a.norm()) for a, b in zip(*results, strict=True))
    return "" if difference < 0.03 else f"packed attention is wrong by {difference:.0%} on this GPU"
