"""Where to act on an answer: a threshold chosen on the validation split for a declared target, measured on test.

For a detection the score is the probability of its positive label; for a classification with a fallback it is that of
the answer, and what lies below the threshold becomes the fallback. Nothing here looks at the test split to choose.
"""

from __future__ import annotations

import math

from hubtools.lazy_numpy import np
from hubtools.metrics.detection import DetectionAnswers
from hubtools.metrics.intervals import measure_share
from hubtools.metrics.labels import LabelAnswers, accuracy, macro_f1
from hubtools.records.scores import Interval
from hubtools.records.thresholds import (
    AbstentionRates,
    AbstentionStep,
    AbstentionThresholds,
    DetectionRates,
    DetectionThresholds,
    Target,
)

# (rows,) numbers of the groups of validation and of test, by which intervals are drawn; None where rows stand alone.
SplitGroups = tuple["np.ndarray | None", "np.ndarray | None"]

FEWEST_ROWS = 100  # rows that a macro F1 of the abstention curve is computed of


def choose_threshold(positive: np.ndarray, score: np.ndarray, target: Target) -> float:
    """Return the threshold that keeps to ``target`` and gives most of the other: ``score >= threshold`` is flagged.

    It is the shortest decimal in the gap between two scores, so that what a card shows is what is used.

    Args:
        positive: (rows,), whether a row should be flagged. score: (rows,), between 0 and 1.
    """
    if target.fpr is not None:  # above all negatives but the share that is allowed
        order = np.sort(score[~positive])[::-1]
        # The small term: 0.07 * 100 is 7.000000000000001, and 0.29 * 100 is 28.999999999999996.
        allowed = math.floor(target.fpr * len(order) + 1e-9)
        # The highest negative score that must not be flagged; the threshold lies above it and flags all that is higher.
        above = order[allowed] if allowed < len(order) else 0.0
        return find_shortest_decimal(float(above), float(min(score[score > above], default=1.0)))
    assert target.recall is not None
    # The lowest positive score that must be flagged; the threshold lies at or below it, above all that is lower.
    order = np.sort(score[positive])[::-1]
    needed = math.ceil(target.recall * len(order) - 1e-9)
    up_to = order[needed - 1] if needed else 1.0
    return find_shortest_decimal(float(max(score[score < up_to], default=0.0)), float(up_to))


def find_shortest_decimal(above: float, up_to: float) -> float:
    """Return the number with the fewest decimals, two at least, that is more than ``above`` and at most ``up_to``."""
    for digits in range(2, 17):
        number = round((math.floor(above * 10**digits) + 1) / 10**digits, digits)
        if above < number <= up_to:
            return float(number)
    return up_to  # two floats next to one another have no decimal of 16 digits between them


def _measure_part(hits: np.ndarray, part: np.ndarray, groups: np.ndarray | None) -> Interval | None:
    return measure_share(hits[part], None if groups is None else groups[part])


def measure_detection_rates(answers: DetectionAnswers, groups: np.ndarray | None) -> DetectionRates:
    """Return the rates of a split at the threshold of ``answers``; their intervals are by group."""
    positive, flagged = answers.positive, answers.flagged

    return DetectionRates(
        positives=int(positive.sum()),
        negatives=int((~positive).sum()),
        fpr=_measure_part(flagged, ~positive, groups),
        fnr=_measure_part(~flagged, positive, groups),
    )


def choose_detection_threshold(
    validation: DetectionAnswers, test: DetectionAnswers, label: str, target: Target, groups: SplitGroups = (None, None)
) -> DetectionThresholds:
    """Choose the threshold of a detection, and measure it on both splits."""
    # On validation alone: rates at a threshold that was chosen on the test split would be too good there.
    chosen = choose_threshold(validation.positive, validation.score, target)

    return DetectionThresholds(
        kind="detection",
        label=label,
        threshold=chosen,
        target=target,
        validation=measure_detection_rates(validation.at(chosen), groups[0]),
        test=measure_detection_rates(test.at(chosen), groups[1]),
    )


def measure_abstention_rates(answers: LabelAnswers, fallback: int, groups: np.ndarray | None) -> AbstentionRates:
    """Return the rates of a split at the threshold of ``answers``; what falls to the fallback may itself be right."""
    answered = answers.confidence >= answers.threshold
    final = answers.replace_unsure(fallback)  # what the router acts on
    right = answers.right

    return AbstentionRates(
        rows=len(answers),
        answered=measure_share(answered, groups),
        kept=_measure_part(answered, right, groups),
        caught=_measure_part(~answered, ~right, groups),
        accuracy_of_answered=_measure_part(right, answered, groups),
        macro_f1_of_answered=macro_f1(answers.take(np.flatnonzero(answered))) if answered.any() else None,
        accuracy=accuracy(final),
        macro_f1=macro_f1(final),
    )


def choose_abstention_threshold(
    validation: LabelAnswers,
    test: LabelAnswers,
    labels: tuple[str, ...],
    fallback: str,
    target: Target,
    groups: SplitGroups = (None, None),
) -> AbstentionThresholds:
    """Choose the threshold below which an answer becomes ``fallback``: right answers are the positive ones."""
    chosen = choose_threshold(validation.right, validation.confidence, target)
    index = labels.index(fallback)  # rates of the final answers need the fallback as a prediction

    return AbstentionThresholds(
        kind="abstention",
        label=fallback,
        threshold=chosen,
        target=target,
        validation=measure_abstention_rates(validation.at(chosen), index, groups[0]),
        test=measure_abstention_rates(test.at(chosen), index, groups[1]),
    )


def measure_abstention_curve(answers: LabelAnswers) -> list[AbstentionStep]:
    """Return the scores of the answered rows: of the surest fiftieth, of the surest two, and so on to all of them.

    Points with fewer than :data:`FEWEST_ROWS` of them are left out.
    """
    score = answers.confidence
    steps = []
    # Observed scores are the thresholds: between two of them the answered rows are the same.
    for threshold in sorted({float(t) for t in np.quantile(score, np.arange(50) / 50, method="lower")}, reverse=True):
        is_answered = score >= threshold
        if is_answered.sum() >= min(FEWEST_ROWS, len(answers)):
            answered = answers.take(np.flatnonzero(is_answered))
            steps.append(
                AbstentionStep(
                    threshold=threshold,
                    answered=float(is_answered.mean()),
                    accuracy=accuracy(answered),
                    macro_f1=macro_f1(answered),
                )
            )
    return steps
