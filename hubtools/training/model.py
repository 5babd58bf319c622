"""The classifier before its training: a base with a new head, and how many tokens it reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hubtools.errors import UsageError
from hubtools.heads import Head
from hubtools.training.arguments import LONGEST
from hubtools.training.inputs import load_config

if TYPE_CHECKING:
    from transformers import PreTrainedModel

USUAL = 512  # tokens: what most prompts fit in


def load_new_classifier(head: Head, names: Sequence[str], base_id: str, revision: str | None) -> PreTrainedModel:
    """Return a model of ``base_id`` with a new head for ``names``, the labels in the order of their ids, in fp32."""
    import torch

    # The router reads the mean of the tokens; ModernBERT's own default is the first.
    extra = {"classifier_pooling": "mean"} if "modernbert" in load_config(base_id, revision).model_type else {}
    return head.load_model(
        base_id, revision=revision, num_labels=len(names), id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)}, dtype=torch.float32, **extra,
    )  # fmt: skip


def find_max_length(model: PreTrainedModel, asked: int | None) -> int:
    """Return how many tokens of a text are read, special ones included: ``asked``, else 512 or all that ``model`` can
    read.

    Raises:
        UsageError: more than it has positions for.
    """
    import torch

    most = getattr(model.config, "max_position_embeddings", None) or LONGEST
    for name, part in model.named_modules():
        # RoBERTa and its kin count positions from behind that of padding: 514 allow 512 tokens.
        if name.endswith("position_embeddings") and isinstance(part, torch.nn.Embedding):
            most -= 0 if part.padding_idx is None else part.padding_idx + 1
    if asked is not None and asked > most:
        raise UsageError(
            f"--max_length {asked} is more than this base reads",
            expected=f"at most {most} tokens for {model.config.model_type}",
            found=str(asked),
            next=f"--max_length {most}, or a base that reads more, such as ModernBERT ({LONGEST})",
        )
    return min(asked or USUAL, most)
