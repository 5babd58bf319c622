"""Detection: two labels, of which one is looked for."""

from __future__ import annotations

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

    # --- rows of a dataset ---

    # --- training ---

    # --- predictions and scores ---

    # --- cards, releases and the Space ---
