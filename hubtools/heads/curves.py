"""What each threshold gives on a split, for a page on which thresholds are moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from hubtools.heads.base import Head
from hubtools.heads.classification import Classification
from hubtools.heads.values import Rows
from hubtools.lazy_numpy import np
from hubtools.metrics.detection import DetectionAnswers
from hubtools.metrics.labels import LabelAnswers

# A threshold and two shares: of a detection the positive rows and the others that reach it; of a classification the
# rows that reach it, and of these the right ones (0 where none reaches it).
CurvePoint: TypeAlias = tuple[float, float, float]

STEPS = 1000  # of a slider from 0 to 1: the curve is exact at each


def measure_curve(head: Head, rows: Rows, labels: Sequence[str]) -> list[CurvePoint]:
    """Return what each threshold gives on a split; [] for a head whose threshold is about no label of these."""
    if not isinstance(head, Classification) or head.acts_on not in labels:
        return []
    answers = head.read_answers(rows, labels)
    return (
        measure_detection_curve(answers) if isinstance(answers, DetectionAnswers) else measure_abstention_curve(answers)
    )


def measure_detection_curve(answers: DetectionAnswers) -> list[CurvePoint]:
    """Return the shares at falling thresholds; [] where the split lacks one of the two classes."""
    if answers.positive.all() or not answers.positive.any():
        return []
    positive, negative = np.sort(answers.score[answers.positive]), np.sort(answers.score[~answers.positive])
    grid = _list_thresholds()
    return _leave_out_repeated(grid, _share_at_least(positive, grid), _share_at_least(negative, grid))


def measure_abstention_curve(answers: LabelAnswers) -> list[CurvePoint]:
    """Return the share that is answered and the accuracy of these, at falling thresholds."""
    grid = _list_thresholds()
    right = np.sort(answers.confidence[answers.predicted == answers.labels])
    answered = _share_at_least(np.sort(answers.confidence), grid)
    rightly = _share_at_least(right, grid) * len(right) / max(len(answers), 1)
    accuracy = np.divide(rightly, answered, out=np.zeros_like(rightly), where=answered > 0)
    return _leave_out_repeated(grid, answered, accuracy)


def _list_thresholds() -> np.ndarray:
    return np.round(np.linspace(1, 0, STEPS + 1), 3)


def _share_at_least(rising: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Return the share of the values that reach each limit."""
    return 1 - np.searchsorted(rising, limits, side="left") / max(len(rising), 1)


def _leave_out_repeated(grid: np.ndarray, first: np.ndarray, second: np.ndarray) -> list[CurvePoint]:
    """Return the points at which something changes: between two of them the higher one holds."""
    pairs = np.stack([first, second], 1)
    changes = np.append(True, (np.diff(pairs, axis=0) != 0).any(1))
    return [
        (float(limit), round(float(a), 4), round(float(b), 4))
        for limit, a, b in zip(grid[changes], first[changes], second[changes], strict=True)
    ]
