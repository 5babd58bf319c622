"""How sure answers are and how often they are right."""

from __future__ import annotations

from hubtools.lazy_numpy import np
from hubtools.records.thresholds import Bin

BINS = 15


def reliability(confidence: np.ndarray, correct: np.ndarray) -> tuple[float, list[Bin]]:
    """Return the expected calibration error, and the bins of equal width that it is the mean of.

    Args:
        confidence: (answers,), probability of each answer.
        correct: (answers,), whether it was right.

    Source: Guo et al. 2017, arXiv:1706.04599.
    """
    place = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
    rows = np.bincount(place, minlength=BINS)
    sure = np.bincount(place, confidence, BINS)
    right = np.bincount(place, correct, BINS)
    error = float(np.abs(sure - right).sum() / max(1, rows.sum()))
    return error, [
        Bin(rows=int(rows[i]), confidence=float(sure[i] / rows[i]), accuracy=float(right[i] / rows[i]))
        for i in range(BINS)
        if rows[i]
    ]
