"""Detection: two labels, of which one is looked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from hubtools.heads.classification import Classification
from hubtools.heads.length_matching import compose_negatives, measure_length_baseline
from hubtools.records.dataset import LengthBaseline
from hubtools.spec import Example


@dataclass(frozen=True)
class Detection(Classification):
    """Two labels, of which one is looked for.

    Attributes:
        positive: the label that is looked for.
        alarming: beginnings of words that make harmless texts sound like ``positive``; false alarms are counted there.
    """

    name: ClassVar[str] = "detection"

    positive: str = ""
    alarming: tuple[str, ...] = ()

    # --- a task of one's own ---

    most_labels: ClassVar[int | None] = 2

    def default_question(self, labels: Sequence[str]) -> str:
        return f"Is the text {self.positive}?"

    # --- rows of a dataset ---

    def needs_every_class(self, split: str) -> bool:
        """Return True: a detector can be neither chosen nor scored without both of its classes."""
        return True

    def compose_matched_lengths(self, rows: Sequence[Example], seed: int) -> Iterator[Example]:
        return compose_negatives(rows, self.positive, seed)

    def measure_length_baseline(
        self, before: Sequence[Example], after: Sequence[Example], test: Sequence[Example]
    ) -> LengthBaseline:
        return measure_length_baseline(before, after, test, self.positive)

    # --- training ---

    # --- predictions and scores ---

    # --- cards, releases and the Space ---
