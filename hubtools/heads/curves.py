"""What each threshold gives on a split, for a page on which thresholds are moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from hubtools.heads.base import Head
from hubtools.heads.classification import Classification
from hubtools.heads.spans import Spans
from hubtools.heads.values import PredictedSpan, Rows
from hubtools.lazy_numpy import np
from hubtools.metrics.detection import DetectionAnswers
from hubtools.metrics.labels import LabelAnswers
from hubtools.metrics.spans import SpanRow

# A threshold and two shares: of a detection the positive rows and the others that reach it; of a classification the
# rows that reach it, and of these the right ones (0 where none reaches it); of spans the true ones that are found, and
# the texts without a true one in which something is.
CurvePoint: TypeAlias = tuple[float, float, float]

NOWHERE = -1.0  # below every threshold
STEPS = 1000  # of a slider from 0 to 1: the curve is exact at each


def measure_curve(head: Head, rows: Rows, labels: Sequence[str]) -> list[CurvePoint]:
    """Return what each threshold gives on a split; [] for a head whose threshold is about no label of these."""
    if isinstance(head, Spans):
        return measure_span_curve(rows["spans"], rows["predicted_spans"])
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
    return _share_of_both(positive, negative)


def measure_span_curve(true: Sequence[SpanRow], predicted: Sequence[Sequence[PredictedSpan]]) -> list[CurvePoint]:
    """Return the shares at falling thresholds; [] where the split lacks true spans, or texts without any.

    A true span is found where one of its type is predicted from its first character to its last.
    """
    found, alarms = [], []
    for spans, answers in zip(true, predicted, strict=True):
        scores = {(span["start"], span["end"], span["label"]): span["score"] for span in answers}
        # What nothing is predicted for reaches no threshold, not even 0.
        found += [scores.get((span["start"], span["end"], span["label"]), NOWHERE) for span in spans]
        if not spans:
            alarms.append(max(scores.values(), default=NOWHERE))
    return _share_of_both(np.sort(found), np.sort(alarms)) if found and alarms else []


def measure_abstention_curve(answers: LabelAnswers) -> list[CurvePoint]:
    """Return the share that is answered and the accuracy of these, at falling thresholds."""
    grid = _list_thresholds()
    right = np.sort(answers.confidence[answers.predicted == answers.labels])
    answered = _share_at_least(np.sort(answers.confidence), grid)
    rightly = _share_at_least(right, grid) * len(right) / max(len(answers), 1)
    accuracy = np.divide(rightly, answered, out=np.zeros_like(rightly), where=answered > 0)
    return _leave_out_repeated(grid, answered, accuracy)


def _share_of_both(first: np.ndarray, second: np.ndarray) -> list[CurvePoint]:
    """Return the shares of two rising arrays of scores that reach each threshold."""
    grid = _list_thresholds()
    return _leave_out_repeated(grid, _share_at_least(first, grid), _share_at_least(second, grid))


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
