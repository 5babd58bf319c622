"""Where to act on an answer: a threshold chosen on the validation split for a declared target, measured on test.

For a detection the score is the probability of its positive label; for a classification with a fallback it is that of
the answer, and what lies below the threshold becomes the fallback. Nothing here looks at the test split to choose.
"""

from __future__ import annotations

import math

from hubtools.lazy_numpy import np
from hubtools.metrics.detection import DetectionAnswers, count_false_alarms, count_missed
from hubtools.metrics.intervals import rate
from hubtools.metrics.labels import LabelAnswers, accuracy, count_answered, count_right_of_answered, macro_f1
from hubtools.records.thresholds import (
    AbstentionRates,
    AbstentionStep,
    AbstentionThresholds,
    DetectionRates,
    DetectionThresholds,
    Target,
)

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


def measure_detection_rates(answers: DetectionAnswers) -> DetectionRates:
    """Return the rates of a split at the threshold of ``answers``."""
    return DetectionRates(
        positives=int(answers.positive.sum()),
        negatives=int((~answers.positive).sum()),
        fpr=rate(*count_false_alarms(answers)),
        fnr=rate(*count_missed(answers)),
    )


def choose_detection_threshold(
    validation: DetectionAnswers, test: DetectionAnswers, label: str, target: Target
) -> DetectionThresholds:
    """Choose the threshold of a detection, and measure it on both splits."""
    # On validation alone: rates at a threshold that was chosen on the test split would be too good there.
    chosen = choose_threshold(validation.positive, validation.score, target)

    return DetectionThresholds(
        kind="detection",
        label=label,
        threshold=chosen,
        target=target,
        validation=measure_detection_rates(validation.at(chosen)),
        test=measure_detection_rates(test.at(chosen)),
    )


def measure_abstention_rates(answers: LabelAnswers, fallback: int) -> AbstentionRates:
    """Return the rates of a split at the threshold of ``answers``; what falls to the fallback may itself be right."""
    answered = answers.confidence >= answers.threshold
    final = answers.replace_unsure(fallback)  # what the router acts on
    right = answers.right
    return AbstentionRates(
        rows=len(answers),
        answered=rate(*count_answered(answers)),
        kept=rate(int((answered & right).sum()), int(right.sum())),
        caught=rate(int((~answered & ~right).sum()), int((~right).sum())),
        accuracy_of_answered=rate(*count_right_of_answered(answers)),
        macro_f1_of_answered=macro_f1(answers.take(np.flatnonzero(answered))) if answered.any() else None,
        accuracy=accuracy(final),
        macro_f1=macro_f1(final),
    )


def choose_abstention_threshold(
    validation: LabelAnswers, test: LabelAnswers, labels: tuple[str, ...], fallback: str, target: Target
) -> AbstentionThresholds:
    """Choose the threshold below which an answer becomes ``fallback``: right answers are the positive ones."""
    chosen = choose_threshold(validation.right, validation.confidence, target)
    index = labels.index(fallback)  # rates of the final answers need the fallback as a prediction

    return AbstentionThresholds(
        kind="abstention",
        label=fallback,
        threshold=chosen,
        target=target,
        validation=measure_abstention_rates(validation.at(chosen), index),
        test=measure_abstention_rates(test.at(chosen), index),
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
