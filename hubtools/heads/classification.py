"""Classification: one label a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hubtools.heads.base import Batch, Head
from hubtools.heads.encoding import encode_sequence
from hubtools.spec import LabelSet

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Classification(Head):
    """One label a text.

    Attributes:
        fallback: the label that an answer below the threshold becomes; "" where every answer counts.
    """

    name: ClassVar[str] = "classification"
    kind: ClassVar[Literal["sequence", "token"]] = "sequence"
    pipeline: ClassVar[Literal["text-classification", "token-classification"]] = "text-classification"
    truth: ClassVar[str] = "label"
    answer: ClassVar[str] = "probabilities"

    fallback: str = ""

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        return label_set.labels

    # --- a task of one's own ---

    def default_question(self, labels: Sequence[str]) -> str:
        return f"Which of {', '.join(labels)} is the text?"

    # --- rows of a dataset ---

    # --- training ---

    per_token: ClassVar[bool] = False
    architecture: ClassVar[str] = "ModernBertForSequenceClassification"

    def load_model(self, path: str, **options: Any) -> PreTrainedModel:
        from transformers import AutoModelForSequenceClassification

        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(path, **options)
        return model

    def dataset_labels(self, features: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(features["label"].names)

    def encode(self, batch: Batch, tokenizer: Any, max_length: int, label_set: LabelSet) -> dict[str, Any]:
        return encode_sequence(batch, tokenizer=tokenizer, max_length=max_length)

    def marked_spans(self, batch: Batch) -> None:
        return None

    def reduce_logits(self) -> None:
        return None

    def multitask_predictions(
        self, first: np.ndarray, best: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return first, labels[:, 0]

    # --- predictions and scores ---

    # --- cards, releases and the Space ---
