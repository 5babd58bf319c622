"""Expected calibration error, as a module of the library ``evaluate``."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate
import numpy as np

from hubtools.metrics import calibration

_DESCRIPTION = """
How far the probability of an answer is from the share of such answers that are right: the mean distance over 15 bins
of equal width, each weighted by its rows.
"""
_INPUTS = """
Args:
    predictions: of each row the probabilities of all labels.
    references: index of the true label of each row.
Returns:
    expected_calibration_error: between 0 (as sure as right) and 1.
"""
_CITATION = "Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599"


class ExpectedCalibrationError(evaluate.Metric):
    """Expected calibration error of the most probable label."""

    def _info(self) -> evaluate.MetricInfo:
        features = datasets.Features(
            {"predictions": datasets.Sequence(datasets.Value("float64")), "references": datasets.Value("int64")}
        )
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation=_CITATION, inputs_description=_INPUTS, features=features
        )

    def _compute(self, *, predictions: Any, references: Any) -> dict[str, float]:
        p = np.asarray(predictions, dtype=float)
        error, _ = calibration.reliability(p.max(1), p.argmax(1) == np.asarray(references))
        return {"expected_calibration_error": error}
