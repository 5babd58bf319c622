"""Recall at a fixed false positive rate, as a module of the library ``evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from hubtools.metrics import detection

_DESCRIPTION = """
The largest recall that a threshold on the probability of the positive label reaches while its false positive rate
stays within a limit: what a detector catches where false alarms are dear.
"""
_INPUTS = """
Args:
    predictions: of each row the probabilities of all labels.
    references: index of the true label of each row.
    positive: index of the label that is looked for.
    limits: false positive rates between 0 and 1.
Returns:
    recall_at_1_fpr, recall_at_5_fpr (for limits of 0.01 and 0.05): between 0 and 1; nan without both classes.
"""


class RecallAtFpr(evaluate.Metric):
    """Recall at fixed false positive rates."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(
            {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
        )
        return evaluate.MetricInfo(description=_DESCRIPTION, citation="", inputs_description=_INPUTS, features=features)

    def _compute(
        self, *, predictions: Any, references: Any, positive: int = 1, limits: Sequence[float] = (0.01, 0.05)
    ) -> dict[str, float]:
        truth, score = np.asarray(references) == positive, np.asarray(predictions, dtype=float)[:, positive]
        return {f"recall_at_{100 * limit:g}_fpr": detection.recall_at_fpr(truth, score, limit) for limit in limits}
