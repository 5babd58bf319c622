"""How sure answers are and how often they are right."""

from __future__ import annotations

from hubtools.lazy_numpy import np
from hubtools.records.thresholds import Bin

BINS = 15  # as in most reports of this error, so that the numbers can be compared


def measure_reliability(
    confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, list[Bin]]:
    """Return the expected calibration error, and the bins of equal width that it is the mean of.

    Args:
        confidence: (answers,), probability of each answer.
        correct: (answers,), whether it was right.
        weights: (answers,), how much each counts in the error; None for all alike. Bins are of plain answers.

    Source: Guo et al. 2017, arXiv:1706.04599.
    """
    # A confidence of exactly 1 belongs to the last bin, not to one behind it.
    bin_index = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    rows = np.bincount(bin_index, minlength=BINS)
    total_confidence = np.bincount(bin_index, confidence, BINS)
    total_correct = np.bincount(bin_index, correct, BINS)
    weights = np.ones(len(confidence)) if weights is None else weights
    # Sums instead of means: the weight of a bin, its share of the rows, cancels the division by its rows.
    apart = np.bincount(bin_index, weights * (confidence - correct), BINS)
    error = float(np.abs(apart).sum() / max(1.0, weights.sum()))
    return error, [
        Bin(
            rows=int(rows[i]),
            confidence=float(total_confidence[i] / rows[i]),
            accuracy=float(total_correct[i] / rows[i]),
        )
        for i in range(BINS)
        if rows[i]
    ]
