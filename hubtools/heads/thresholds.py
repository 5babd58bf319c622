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
    AbstentionPoint,
    AbstentionRates,
    AbstentionStep,
    AbstentionThresholds,
    DetectionPoint,
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
        allowed = math.floor(target.fpr * len(order) + 1e-9)
        above = order[allowed] if allowed < len(order) else 0.0
        return shortest_decimal(float(above), float(min(score[score > above], default=1.0)))
    assert target.recall is not None
    order = np.sort(score[positive])[::-1]
    needed = math.ceil(target.recall * len(order) - 1e-9)
    upto = order[needed - 1] if needed else 1.0
    return shortest_decimal(float(max(score[score < upto], default=0.0)), float(upto))


def shortest_decimal(above: float, upto: float) -> float:
    """Return the number with the fewest decimals that is more than ``above`` and at most ``upto``."""
    for digits in range(2, 17):
        number = round((math.floor(above * 10**digits) + 1) / 10**digits, digits)
        if above < number <= upto:
            return float(number)
    return upto


def detection_rates(answers: DetectionAnswers) -> DetectionRates:
    """Return the rates of a split at the threshold of ``answers``."""
    return DetectionRates(
        positives=int(answers.positive.sum()),
        negatives=int((~answers.positive).sum()),
        fpr=rate(*count_false_alarms(answers)),
        fnr=rate(*count_missed(answers)),
    )


def detection_thresholds(
    validation: DetectionAnswers, test: DetectionAnswers, label: str, target: Target, default: float
) -> DetectionThresholds:
    """Choose the threshold of a detection, and measure it beside the router's ``default``."""
    chosen = choose_threshold(validation.positive, validation.score, target)

    def measure(threshold: float) -> DetectionPoint:
        rates = [detection_rates(split.at(threshold)) for split in (validation, test)]
        return DetectionPoint(threshold=threshold, validation=rates[0], test=rates[1])

    return DetectionThresholds(
        kind="detection",
        label=label,
        threshold=chosen,
        target=target,
        shipped=measure(chosen),
        router_default=measure(default),
    )


def abstention_rates(answers: LabelAnswers, fallback: int) -> AbstentionRates:
    """Return the rates of a split at the threshold of ``answers``; what falls to the fallback may itself be right."""
    answered = answers.confidence >= answers.threshold
    final = answers.replace_unsure(fallback)
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


def abstention_thresholds(
    validation: LabelAnswers, test: LabelAnswers, labels: tuple[str, ...], fallback: str, target: Target, default: float
) -> AbstentionThresholds:
    """Choose the threshold below which an answer becomes ``fallback``: right answers are the positive ones."""
    chosen = choose_threshold(validation.right, validation.confidence, target)
    index = labels.index(fallback)

    def measure(threshold: float) -> AbstentionPoint:
        rates = [abstention_rates(split.at(threshold), index) for split in (validation, test)]
        return AbstentionPoint(threshold=threshold, validation=rates[0], test=rates[1])

    return AbstentionThresholds(
        kind="abstention",
        label=fallback,
        threshold=chosen,
        target=target,
        shipped=measure(chosen),
        router_default=measure(default),
    )


def abstention_curve(answers: LabelAnswers) -> list[AbstentionStep]:
    """Return what abstaining buys: with the surest fiftieth of the rows answered, with two, up to all of them.

    Scores are those of the rows answered; points with fewer than :data:`FEWEST_ROWS` of them are left out.
    """
    score = answers.confidence
    steps = []
    for threshold in sorted({float(t) for t in np.quantile(score, np.arange(50) / 50, method="lower")}, reverse=True):
        on = score >= threshold
        if on.sum() >= min(FEWEST_ROWS, len(answers)):
            answered = answers.take(np.flatnonzero(on))
            steps.append(
                AbstentionStep(
                    threshold=threshold,
                    answered=float(on.mean()),
                    accuracy=accuracy(answered),
                    macro_f1=macro_f1(answered),
                )
            )
    return steps
