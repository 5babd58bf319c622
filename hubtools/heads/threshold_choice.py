"""What every head says of the threshold from which its answers are acted on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hubtools.heads.values import Rows
from hubtools.records.thresholds import WEIGHTS, AbstentionStep, Target, Thresholds, read_threshold


class ChoosesThreshold:
    """The part of a head that chooses a threshold and reads one; without a word of its own, a head has none."""

    def choose_target(self, fpr: float | None, recall: float | None) -> Target | None:
        """Return what a threshold is chosen for: what is asked for, else the default; None where none is chosen."""
        return None

    def find_threshold_label(self, labels: Sequence[str]) -> str:
        """Return the label that a threshold is about: what is flagged, or what an unsure answer becomes, or ""."""
        return ""

    def choose_thresholds(
        self, validation: Rows, test: Rows, labels: Sequence[str], target: Target | None
    ) -> Thresholds | None:
        """Return what ``thresholds.json`` says of the weights that answered; None where no threshold is chosen."""
        return None

    # The word that thresholds.json has for the head's thresholds.
    threshold_kind: ClassVar[str]
    # Whether every model of the head ships with one: a classification has none where every answer counts.
    needs_threshold: ClassVar[bool] = True
    # Where a model ships with none, it answers as its pipeline does: by the most probable label, with every span.
    plain_threshold: ClassVar[float] = 0.0

    @property
    def decisive(self) -> tuple[str, ...]:
        """The labels that a model must have, and of which one window of a text is enough to answer with them."""
        return ()

    @property
    def acts_on(self) -> str:
        """The label that a threshold is about, before it is known which label set a model has; "" for none."""
        return ""

    def read_shipped_threshold(self, content: object, weights: str = WEIGHTS) -> float | None:
        """Return the threshold of a file of ``weights`` in the content of a ``thresholds.json``, anyone's.

        None where it says nothing of them, or is of another head.
        """
        # One of another label, such as a detector's of its own positive one, says nothing of our answers.
        return read_threshold(content, weights, self.threshold_kind, self.acts_on)

    def measure_abstention(self, rows: Rows, labels: Sequence[str]) -> list[AbstentionStep] | None:
        """Return the scores of the answered rows by the share that is answered; None where all always are."""
        return None
