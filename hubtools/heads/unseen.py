"""What every head can say of a collection that training never saw."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence

from hubtools.heads.values import Rows
from hubtools.records.scores import Interval
from hubtools.spec import Metric


class ScoresUnseen(ABC):
    """The part of a head that scores a collection of which training saw nothing, at a threshold chosen elsewhere."""

    @abstractmethod
    def list_unseen(self, labels: Sequence[str]) -> tuple[Metric, ...]:
        """Return the metrics of such a collection."""

    @abstractmethod
    def score_unseen(
        self, rows: Rows, labels: Sequence[str], known: Collection[int], threshold: float
    ) -> dict[str, Interval | None]:
        """Return these metrics by their keys, with intervals over groups; None where the rows do not define one.

        Args:
            rows: true and given answers, with the columns ``group`` and ``text`` where they are known.
            known: indices of the labels that the model can answer with.
        """


def select_known(rows: Rows, known: Collection[int]) -> Rows:
    """Return the rows of a classification whose true label is among ``known``, indices of labels."""
    numbers = [i for i, label in enumerate(rows["label"]) if label in known]
    selected: Rows = {
        "label": [rows["label"][i] for i in numbers],
        "probabilities": [rows["probabilities"][i] for i in numbers],
    }
    if "group" in rows:
        selected["group"] = [rows["group"][i] for i in numbers]
    return selected
