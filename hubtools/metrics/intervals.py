"""How far to trust a score: bootstrap and exact intervals, and tests of the difference between two models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self

from hubtools.lazy_numpy import np
from hubtools.records.comparison import AccuracyDifference, Difference
from hubtools.records.scores import Interval
from hubtools.spec import Metric

RESAMPLES = 1000  # enough for two digits of an interval, and of p down to 0.002


class Answers(Protocol):
    """True and predicted answers of the same rows, as arrays."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def take(self, rows: np.ndarray) -> Self:
        """Return the rows with these numbers, which may repeat."""

    @property
    def right(self) -> np.ndarray:
        """(rows,): whether the answer is the true one."""


def draw_resamples(rows: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield :data:`RESAMPLES` arrays of ``rows`` row numbers, drawn with replacement."""
    # A fixed seed: the same predictions give the same intervals, and two models are compared on the same resamples.
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        yield rng.integers(0, rows, rows)


def bootstrap(score: Callable[[np.ndarray], float], rows: int, seed: int = 0) -> Interval:
    """Return the score of all rows and its 95% percentile interval.

    Args:
        score: from row numbers (with repetition) to a score; it may return nan where it is undefined.
    """
    return _interval(float(score(np.arange(rows))), [score(r) for r in draw_resamples(rows, seed)])


def score_metrics(metrics: Sequence[Metric], answers: Answers) -> dict[str, Interval | None]:
    """Return each metric's value and 95% interval by its key.

    A share of independent rows has an exact interval, or None where there is no row; the others share the resamples,
    so that rows are drawn once however many metrics there are.
    """
    resampled = [metric for metric in metrics if metric.counts is None]
    values: dict[str, list[float]] = {metric.key: [] for metric in resampled}
    if resampled:
        for rows in draw_resamples(len(answers)):
            drawn = answers.take(rows)
            for metric in resampled:
                values[metric.key].append(metric.function(drawn))
    return {
        metric.key: rate(*metric.counts(answers))
        if metric.counts
        else _interval(metric.function(answers), values[metric.key])
        for metric in metrics
    }


def score_metric(metric: Metric, answers: Answers) -> Interval:
    """Return the value and the bootstrap interval of one metric."""
    return bootstrap(lambda rows: metric.function(answers.take(rows)), len(answers))


def _interval(value: float, resampled: Sequence[float]) -> Interval:
    # A resample may lack a class, so that a score is nan there (the only value that is not equal to itself).
    defined = [v for v in resampled if v == v]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined else (float("nan"), float("nan"))
    return Interval(value=float(value), low=float(low), high=float(high))


def rate(hits: int, rows: int) -> Interval | None:
    """Return the share of independent rows and its exact (Clopper-Pearson) 95% interval; None without a row.

    It has a width at 0 and 1 too, where a bootstrap has none.
    """
    from scipy.stats import binomtest

    # 0 of 0 is no share, and any number in its place would be read as a result.
    if not rows:
        return None
    low, high = binomtest(hits, rows).proportion_ci(0.95, method="exact")
    return Interval(value=hits / rows, low=float(low), high=float(high))


def paired_bootstrap(metric: Metric, a: Answers, b: Answers) -> Difference | None:
    """Return ``a`` minus ``b`` on the same resampled rows: the difference, its 95% interval, and a two-sided p.

    p is twice the share of resamples on the rarer side of 0, each side counted with one more, as if the data had been
    drawn as well: never 0, and 1 for two models that answer alike. None where a score is undefined, as ROC-AUC is
    where only one class occurs.
    """
    # Paired: both models are scored on each resample, so that rows that are hard for both cancel out.
    value = float(metric.function(a) - metric.function(b))
    differences = (metric.function(a.take(r)) - metric.function(b.take(r)) for r in draw_resamples(len(a)))
    defined = np.array([d for d in differences if d == d])
    if value != value or not len(defined):
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    rarer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    p = float(min(1.0, 2 * (rarer + 1) / (len(defined) + 1)))
    return Difference(value=value, low=float(low), high=float(high), p=p)


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> AccuracyDifference:
    """Return accuracy of ``a`` minus that of ``b``, the rows that only one answers right, and McNemar's exact p.

    Under the null hypothesis these rows fall to either side like a coin.
    """
    from scipy.stats import binomtest

    # Rows that both answer right, or both wrong, say nothing of which one is better.
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p = float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0
    return AccuracyDifference(difference=(only_a - only_b) / len(right_a), only_a=only_a, only_b=only_b, p=p)
