"""Where to act on an answer: a threshold chosen on the validation split for a declared target, measured on test.

For a detection the score is the probability of its positive label; for a classification with a fallback it is that of
the answer, and what lies below the threshold becomes the fallback. Nothing here looks at the test split to choose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, Self, TypeAlias, TypeVar

from hubtools.heads.values import Rows
from hubtools.lazy_numpy import np
from hubtools.metrics.detection import DetectionAnswers
from hubtools.metrics.intervals import measure_share, number_groups
from hubtools.metrics.labels import LabelAnswers, accuracy, macro_f1
from hubtools.records.scores import Interval
from hubtools.records.thresholds import (
    AbstentionRates,
    AbstentionStep,
    AbstentionThresholds,
    DetectionRates,
    DetectionThresholds,
    Everyday,
    EverydayRate,
    SourceRate,
    Target,
)

FEWEST_ROWS = 100  # that a macro F1 of the abstention curve, or a rate of one source, is computed of
FEWEST_EVERYDAY = 20  # everyday requests that a threshold is chosen by
EVERYDAY = 0.9  # of them, the share that is to reach the fallback
LEAST_KEPT = 0.8  # of the right answers, the share that is never given up for that


A = TypeVar("A", bound=LabelAnswers)


@dataclass(frozen=True)
class AnswersBySource(Generic[A]):
    """Answers to a split, and where its rows came from.

    Attributes:
        sources: (rows,) ids.
        groups: (rows,) numbers of the groups by which intervals are drawn; None where each row stands for itself.
    """

    answers: A
    sources: np.ndarray
    groups: np.ndarray | None = None

    def at(self, threshold: float) -> Self:
        """Return the same answers, judged at ``threshold``."""
        return replace(self, answers=self.answers.at(threshold))

    def take(self, rows: np.ndarray) -> Self:
        """Return the rows with these numbers."""
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, answers=self.answers.take(rows), sources=self.sources[rows], groups=groups)

    def measure_share(self, hits: np.ndarray, part: np.ndarray | None = None) -> Interval | None:
        """Return the share of the rows of ``part`` (by default of all) that are hits, with its interval by group."""
        chosen = np.ones(len(hits), dtype=bool) if part is None else part
        return measure_share(hits[chosen], None if self.groups is None else self.groups[chosen])


BySource: TypeAlias = "AnswersBySource[LabelAnswers]"


def split_by_source(answers: A, rows: Rows) -> AnswersBySource[A]:
    """Return answers with the sources of their rows; an earlier version recorded none, as if all were of one."""
    sources = np.asarray(rows.get("source", [""] * len(answers)), dtype=object)
    return AnswersBySource(answers, sources, number_groups(rows["group"]) if "group" in rows else None)


def divide_by_source(
    sources: np.ndarray, rows: np.ndarray, fewest: int = FEWEST_ROWS
) -> list[tuple[tuple[str, ...], np.ndarray]]:
    """Return the sources that are measured together, and the row numbers of each.

    A source with fewer than ``fewest`` rows is pooled with the others of that kind. Where all of these are too few,
    they join the smallest of the large ones: a rate of so few rows could not tell one row in a hundred.

    Args:
        sources: of all rows. rows: (rows,) whether a row is counted.
    """
    names, counts = np.unique(sources[rows].astype(str), return_counts=True)
    by_size = sorted(zip(counts.tolist(), names.tolist(), strict=True), reverse=True)
    parts = [[name] for count, name in by_size if count >= fewest]
    small = [name for count, name in by_size if count < fewest]
    if small and (not parts or sum(count for count, _ in by_size if count < fewest) >= fewest):
        parts.append(small)
    elif small:
        parts[-1] += small
    return [(tuple(sorted(part)), np.flatnonzero(rows & np.isin(sources.astype(str), part))) for part in parts]


def choose_threshold(
    positive: np.ndarray, score: np.ndarray, target: Target, parts: Sequence[np.ndarray] = ()
) -> float:
    """Return the threshold that keeps to ``target`` and gives most of the other: ``score >= threshold`` is flagged.

    It is the shortest decimal in the gap between two scores, so that what a card shows is what is used.

    Args:
        positive: (rows,), whether a row should be flagged. score: (rows,), between 0 and 1.
        parts: numbers of negative rows; a false positive rate is kept on each part. By default all are one part.
    """
    if target.fpr is not None:  # above all negatives but the share that is allowed
        above = max(_find_highest_left(score[rows], target.fpr) for rows in parts or [~positive])
        return find_shortest_decimal(above, float(min(score[score > above], default=1.0)))
    assert target.recall is not None
    # The lowest positive score that must be flagged; the threshold lies at or below it, above all that is lower.
    order = np.sort(score[positive])[::-1]
    needed = math.ceil(target.recall * len(order) - 1e-9)
    up_to = order[needed - 1] if needed else 1.0
    return find_shortest_decimal(float(max(score[score < up_to], default=0.0)), float(up_to))


def _find_highest_left(score: np.ndarray, share: float) -> float:
    """Return the highest score that must not be flagged, so that at most ``share`` of the rows are; 0 for none."""
    order = np.sort(score)[::-1]
    # The small term: 0.07 * 100 is 7.000000000000001, and 0.29 * 100 is 28.999999999999996.
    allowed = math.floor(share * len(order) + 1e-9)
    # The threshold lies above it and flags all that is higher.
    return float(order[allowed]) if allowed < len(order) else 0.0


def find_shortest_decimal(above: float, up_to: float) -> float:
    """Return the number with the fewest decimals, two at least, that is more than ``above`` and at most ``up_to``."""
    for digits in range(2, 17):
        number = round((math.floor(above * 10**digits) + 1) / 10**digits, digits)
        if above < number <= up_to:
            return float(number)
    return up_to  # two floats next to one another have no decimal of 16 digits between them


def measure_detection_rates(split: AnswersBySource[DetectionAnswers]) -> DetectionRates:
    """Return the rates of a split at the threshold of its answers, and the false positive rate of each source."""
    positive, flagged = split.answers.positive, split.answers.flagged
    together = {name: names for names, _ in divide_by_source(split.sources, ~positive) for name in names}
    return DetectionRates(
        sources=[
            SourceRate(
                source=name,
                negatives=int(rows.sum()),
                fpr=split.measure_share(flagged, rows),
                measured_with=[other for other in names if other != name],
            )
            for name, names in sorted(together.items())
            for rows in [~positive & (split.sources == name)]
        ],
        positives=int(positive.sum()),
        negatives=int((~positive).sum()),
        fpr=split.measure_share(flagged, ~positive),
        fnr=split.measure_share(~flagged, positive),
    )


def choose_detection_threshold(
    validation: AnswersBySource[DetectionAnswers],
    test: AnswersBySource[DetectionAnswers],
    label: str,
    target: Target,
) -> DetectionThresholds:
    """Choose the threshold of a detection, and measure it on both splits.

    A target for false positives is kept on the harmless rows of every source at once: on a pool of them, a large
    source that is easy would hide that another one is flagged often.
    """
    # On validation alone: rates at a threshold that was chosen on the test split would be too good there.
    answers = validation.answers
    parts = [rows for _, rows in divide_by_source(validation.sources, ~answers.positive)]
    chosen = choose_threshold(answers.positive, answers.score, target, parts)

    return DetectionThresholds(
        kind="detection",
        label=label,
        threshold=chosen,
        target=target,
        validation=measure_detection_rates(validation.at(chosen)),
        test=measure_detection_rates(test.at(chosen)),
    )


def measure_abstention_rates(split: AnswersBySource[LabelAnswers], fallback: int) -> AbstentionRates:
    """Return the rates of a split at the threshold of its answers; what falls to the fallback may itself be right."""
    answers = split.answers
    answered = answers.confidence >= answers.threshold
    final = answers.replace_unsure(fallback)  # what the router acts on
    right = answers.right

    return AbstentionRates(
        rows=len(answers),
        answered=split.measure_share(answered),
        kept=split.measure_share(answered, right),
        caught=split.measure_share(~answered, ~right),
        accuracy_of_answered=split.measure_share(right, answered),
        macro_f1_of_answered=macro_f1(answers.take(np.flatnonzero(answered))) if answered.any() else None,
        accuracy=accuracy(final),
        macro_f1=macro_f1(final),
    )


def select_everyday(split: BySource, fallback: int) -> BySource | None:
    """Return the answers to rows of the fallback that are from other sources than the main one; None for too few.

    The main source is the one with most rows: what it calls by the fallback's name is of its own kind, such as quiz
    questions outside the other subjects. Rows from elsewhere are what people ask.
    """
    names, counts = np.unique(split.sources.astype(str), return_counts=True)
    main = max(zip(counts.tolist(), names.tolist(), strict=True), default=(0, ""))[1]
    rows = np.flatnonzero((split.sources != main) & (split.answers.labels == fallback))
    return split.take(rows) if len(rows) >= FEWEST_EVERYDAY else None


def _raise_for_everyday(chosen: float, validation: LabelAnswers, everyday: LabelAnswers, fallback: int) -> float:
    """Return the threshold at which the share :data:`EVERYDAY` of everyday requests reaches the fallback.

    It is not below ``chosen``, and not so high that less than :data:`LEAST_KEPT` of the right answers are kept.
    """
    # What is answered with the fallback has reached it, however sure: it never needs a threshold.
    sure = np.where(everyday.predicted == fallback, 0.0, everyday.confidence)
    above = _find_highest_left(sure, 1 - EVERYDAY)
    wanted = find_shortest_decimal(above, float(min(sure[sure > above], default=1.0)))
    most = choose_threshold(validation.right, validation.confidence, Target(recall=LEAST_KEPT))
    return max(chosen, min(wanted, most))


def choose_abstention_threshold(
    validation: AnswersBySource[LabelAnswers],
    test: AnswersBySource[LabelAnswers],
    labels: tuple[str, ...],
    fallback: str,
    target: Target,
    *,
    everyday: bool = True,
) -> AbstentionThresholds:
    """Choose the threshold below which an answer becomes ``fallback``: right answers are the positive ones.

    Args:
        everyday: raise it where everyday requests would not reach the fallback.
    """
    chosen = choose_threshold(validation.answers.right, validation.answers.confidence, target)
    index = labels.index(fallback)  # rates of the final answers need the fallback as a prediction
    requests = [select_everyday(split, index) for split in (validation, test)]
    if everyday and requests[0] is not None:
        chosen = _raise_for_everyday(chosen, validation.answers, requests[0].answers, index)
    reached = [None if one is None else _measure_reached(one.at(chosen), index) for one in requests]

    return AbstentionThresholds(
        everyday=Everyday(share=EVERYDAY if everyday else None, validation=reached[0], test=reached[1])
        if requests[0] is not None
        else None,
        kind="abstention",
        label=fallback,
        threshold=chosen,
        target=target,
        validation=measure_abstention_rates(validation.at(chosen), index),
        test=measure_abstention_rates(test.at(chosen), index),
    )


def _measure_reached(everyday: BySource, fallback: int) -> EverydayRate:
    """Return how many everyday requests are answered with the fallback, or become it, at the threshold."""
    final = everyday.answers.replace_unsure(fallback)
    return EverydayRate(rows=len(final), reached=everyday.measure_share(final.right))


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
