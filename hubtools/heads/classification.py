"""Classification: one label a text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hubtools.errors import shorten
from hubtools.heads.base import Batch, Head
from hubtools.heads.encoding import encode_sequence
from hubtools.heads.rows import LabelMap, UserColumns, describe_split, measure_lengths_by_label, read_text_and_label
from hubtools.records.dataset import SplitFacts
from hubtools.rows import Columns
from hubtools.spec import BadRow, Dropped, Example, LabelSet

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
    column_advice: ClassVar[str] = "name your columns with --text-column and --label-column"

    fallback: str = ""

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        return label_set.labels

    # --- a task of one's own ---

    def default_question(self, labels: Sequence[str]) -> str:
        return f"Which of {', '.join(labels)} is the text?"

    # --- rows of a dataset ---

    def check_label(self, row: Example, label_set: LabelSet, others: Iterable[LabelSet]) -> None:
        if row.label in label_set.mapping:
            return
        if any(row.label in other.mapping for other in others):
            raise Dropped("label outside the label set")
        raise BadRow(f"unknown label {shorten(row.label, 60)!r}")

    def describe_label(self, row: Example) -> str:
        return row.label

    def audit_classes(self, row: Example) -> set[str]:
        return {row.label}

    def make_columns(self, rows: Sequence[Example], label_set: LabelSet) -> dict[str, list[Any]]:
        return {"label": [self.index_truth(row, label_set) for row in rows]}

    def make_features(self, label_set: LabelSet) -> dict[str, Any]:
        from datasets import ClassLabel

        return {"label": ClassLabel(names=list(label_set.labels))}

    def index_truth(self, row: Example, label_set: LabelSet) -> int:
        return label_set.labels.index(row.label)

    def name_truth(self, row: Example, truth: int, label_set: LabelSet) -> Example:
        return replace(row, label=label_set.labels[truth])

    def describe_split(self, rows: Sequence[Example], label_set: LabelSet) -> SplitFacts:
        return describe_split(rows, by_label=measure_lengths_by_label(rows, label_set.labels))

    def choose_user_columns(
        self, columns: Columns, seen: Sequence[str], label_map: LabelMap, types: set[str]
    ) -> UserColumns:
        return read_text_and_label(columns, label_map)

    # --- training ---

    per_token: ClassVar[bool] = False
    few_shot: ClassVar[bool] = True
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
