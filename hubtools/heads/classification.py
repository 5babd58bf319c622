"""Classification: one label a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from hubtools.heads.base import Head
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

    fallback: str = ""

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        return label_set.labels

    # --- a task of one's own ---

    def default_question(self, labels: Sequence[str]) -> str:
        return f"Which of {', '.join(labels)} is the text?"

    # --- rows of a dataset ---

    # --- training ---

    few_shot: ClassVar[bool] = True

    # --- predictions and scores ---

    # --- cards, releases and the Space ---
