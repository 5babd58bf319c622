"""Detection: two labels, of which one is looked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hubtools.heads.classification import Classification
from hubtools.metrics.detection import FNR_AT_THRESHOLD, FPR_AT_THRESHOLD
from hubtools.spec import LabelSet, Metric


@dataclass(frozen=True)
class ClassNouns:
    """How a card calls rows of the two labels: ``positive`` and ``negative`` are nouns without an article."""

    positive: str
    negative: str

    @property
    def positives(self) -> str:
        return f"{self.positive}s"

    @property
    def negatives(self) -> str:
        return f"{self.negative}s"

    @property
    def a_positive(self) -> str:
        return _with_article(self.positive)

    @property
    def a_negative(self) -> str:
        return _with_article(self.negative)


def _with_article(noun: str) -> str:
    return f"{'an' if noun.lstrip('`')[:1].lower() in 'aeiou' else 'a'} {noun}"


@dataclass(frozen=True)
class Detection(Classification):
    """Two labels, of which one is looked for.

    Attributes:
        positive: the label that is looked for.
        alarming: beginnings of words that make harmless texts sound like ``positive``; false alarms are counted there.
        positive_noun, negative_noun: how cards call a row of each label, such as "attack", with a plural in -s; ""
            makes it of the label.
    """

    name: ClassVar[str] = "detection"
    card_metrics: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall", "accuracy", "roc_auc")

    rates: ClassVar[tuple[Metric, ...]] = (FPR_AT_THRESHOLD, FNR_AT_THRESHOLD)

    positive: str = ""
    alarming: tuple[str, ...] = ()
    positive_noun: str = ""
    negative_noun: str = ""

    # --- rows of a dataset ---

    # --- training ---

    # --- predictions and scores ---

    # --- cards, releases and the Space ---

    def negative(self, label_set: LabelSet) -> str:
        """Return the label that is not looked for."""
        return next(label for label in label_set.labels if label != self.positive)

    def nouns(self, label_set: LabelSet) -> ClassNouns:
        """Return how cards call rows of the two labels."""
        return ClassNouns(
            self.positive_noun or f"`{self.positive}` text",
            self.negative_noun or f"`{self.negative(label_set)}` text",
        )
