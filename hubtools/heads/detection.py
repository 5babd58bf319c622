"""Detection: two labels, of which one is looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from hubtools.heads.classification import Classification


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

    # --- training ---

    # --- predictions and scores ---

    # --- cards, releases and the Space ---
