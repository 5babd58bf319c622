"""Classification: one label a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from hubtools.heads.base import Head
from hubtools.records.slices import ClassificationMistakes, Mistakes
from hubtools.spec import LabelSet


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
    unit: ClassVar[str] = "rows"
    answer_unit: ClassVar[str] = "rows"
    card_metrics: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall", "accuracy")
    one_pass: ClassVar[str] = "probabilities"

    fallback: str = ""

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        return label_set.labels

    # --- rows of a dataset ---

    # --- training ---

    # --- predictions and scores ---

    # --- cards, releases and the Space ---

    def rows_shown(self, mistakes: Mistakes) -> frozenset[str]:
        if not isinstance(mistakes, ClassificationMistakes):
            return frozenset()
        shown = [mistake for pair in mistakes.pairs for mistake in pair.worst]
        return frozenset(mistake.id for mistake in (*shown, *(part.worst for part in mistakes.slices)))

    def answer_difference(self, recorded: Sequence[float], answer: Sequence[float]) -> float | None:
        return max(abs(a - b) for a, b in zip(recorded, answer, strict=True))

    def one_pass_difference(self, recorded: Sequence[float], answer: Sequence[float]) -> float:
        return max(abs(a - b) for a, b in zip(recorded, answer, strict=True))
