"""Spans: stretches of a text, each of one type; BIO tags over subwords."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hubtools.heads.base import Batch, Head
from hubtools.heads.encoding import encode_tokens
from hubtools.spec import LabelSet

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Spans(Head):
    """Stretches of a text, each of one type."""

    name: ClassVar[str] = "spans"
    kind: ClassVar[Literal["sequence", "token"]] = "token"
    pipeline: ClassVar[Literal["text-classification", "token-classification"]] = "token-classification"
    truth: ClassVar[str] = "spans"
    answer: ClassVar[str] = "found"

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        """``O``, then B- and I- of each type: the router drops index 0."""
        return ("O", *(f"{prefix}-{t}" for t in label_set.labels for prefix in "BI"))

    # --- a task of one's own ---

    # A tag is B- or I- before the type, and O stands for none.
    label_pattern: ClassVar[str] = r"(?!O$)\w[\w.-]{0,63}"
    label_rule: ClassVar[str] = "a letter or digit, then letters, digits and . - _, 64 at most, and not O"
    least_labels: ClassVar[int] = 1

    def default_question(self, labels: Sequence[str]) -> str:
        return f"Where does the text hold {', '.join(labels)}?"

    # --- rows of a dataset ---

    # --- training ---

    per_token: ClassVar[bool] = True
    architecture: ClassVar[str] = "ModernBertForTokenClassification"
    # Most tokens are no personal data and soon easy: their mean loss is small beside that of whole texts, and so would
    # be what pii learns. On the validation splits of the starter corpora, one epoch of the nano model reached a mean of
    # 0.736 and 0.732 with weights of 12 and 30, and pii itself 0.63 and 0.66.
    loss_weight: ClassVar[float] = 12.0

    def load_model(self, path: str, **options: Any) -> PreTrainedModel:
        from transformers import AutoModelForTokenClassification

        model: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(path, **options)
        return model

    def dataset_labels(self, features: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(features["spans"].feature["label"].names)

    def encode(self, batch: Batch, tokenizer: Any, max_length: int, label_set: LabelSet) -> dict[str, Any]:
        return encode_tokens(batch, tokenizer=tokenizer, max_length=max_length, types=len(label_set.labels))

    def marked_spans(self, batch: Batch) -> list[list[Mapping[str, int]]]:
        return batch["spans"]

    def reduce_logits(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        return lambda logits, labels: logits.argmax(-1)

    def multitask_predictions(
        self, first: np.ndarray, best: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return best, labels

    # --- predictions and scores ---

    # --- cards, releases and the Space ---
