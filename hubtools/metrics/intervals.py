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


def number_groups(names: Sequence[str]) -> np.ndarray:
    """Return (rows,) numbers of the groups that rows belong to, by first appearance; a row without a name is alone."""
    numbers: dict[str | int, int] = {}
    # A row's own number cannot be the name of a group, which is a text.
    return np.array([numbers.setdefault(name or row, len(numbers)) for row, name in enumerate(names)], dtype=int)


def draw_resamples(groups: np.ndarray, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield :data:`RESAMPLES` arrays of row numbers: as many groups as there are, drawn with replacement, whole.

    Rows of one template or family are alike: drawn one by one, they would make an interval narrower than a score of
    new templates deserves.

    Args:
        groups: (rows,) number of each row's group, from 0; ``np.arange(rows)`` where each row stands for itself.
    """
    order, sizes = np.argsort(groups, kind="stable"), np.bincount(groups)
    begins = np.cumsum(sizes) - sizes
    # A fixed seed: the same predictions give the same intervals, and two models are compared on the same resamples.
    rng = np.random.default_rng(seed)
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(sizes), len(sizes))
        lengths = sizes[drawn]
        # The rows of each drawn group, one after the other, without a loop over groups.
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        yield order[np.repeat(begins[drawn], lengths) + within]


def bootstrap(score: Callable[[np.ndarray], float], groups: np.ndarray, seed: int = 0) -> Interval:
    """Return the score of all rows and its 95% percentile interval.

    Args:
        score: from row numbers (with repetition) to a score; it may return nan where it is undefined.
        groups: (rows,), as :func:`draw_resamples` takes them.
    """
    return _interval(float(score(np.arange(len(groups)))), [score(r) for r in draw_resamples(groups, seed)])


def score_metrics(
    metrics: Sequence[Metric], answers: Answers, groups: np.ndarray | None = None
) -> dict[str, Interval | None]:
    """Return each metric's value and 95% interval by its key.

    A share of independent rows has an exact interval, or None where there is no row; the others share the resamples,
    so that rows are drawn once however many metrics there are. Rows of a group are not independent: a share of them is
    resampled too, but where it is 0 or 1, which every resample repeats.

    Args:
        groups: (rows,), as :func:`draw_resamples` takes them; None where each row stands for itself.
    """
    groups = np.arange(len(answers)) if groups is None else groups
    alone = len(groups) == len(set(groups.tolist()))
    values: dict[str, list[float]] = {metric.key: [] for metric in metrics if not (metric.counts and alone)}
    resampled = [metric for metric in metrics if metric.key in values]
    if resampled:
        for rows in draw_resamples(groups):
            drawn = answers.take(rows)
            for metric in resampled:
                values[metric.key].append(metric.function(drawn))
    # As many independent draws as there are groups, where a resample has no width.
    share = 1.0 if alone else (int(groups.max()) + 1) / len(groups)

    def measure(metric: Metric) -> Interval | None:
        if metric.counts is None:
            return _interval(metric.function(answers), values[metric.key])
        hits, rows = metric.counts(answers)
        if alone or not rows:
            return rate(hits, rows)
        if hits in (0, rows):
            independent = max(1, round(rows * share))
            return rate(independent if hits else 0, independent)
        return _interval(hits / rows, values[metric.key])

    return {metric.key: measure(metric) for metric in metrics}


def score_metric(metric: Metric, answers: Answers, groups: np.ndarray) -> Interval:
    """Return the value and the bootstrap interval of one metric."""
    return bootstrap(lambda rows: metric.function(answers.take(rows)), groups)


def _interval(value: float, resampled: Sequence[float]) -> Interval:
    # A resample may lack a class, so that a score is nan there (the only value that is not equal to itself).
    defined = [v for v in resampled if v == v]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined else (float("nan"), float("nan"))
    return Interval(value=float(value), low=float(low), high=float(high))


def bound_each(scores: Callable[[np.ndarray], np.ndarray], groups: np.ndarray) -> list[tuple[float, float]]:
    """Return the 95% percentile interval of each of several scores, on the same resamples.

    Args:
        scores: from row numbers (with repetition) to (scores,).
        groups: (rows,), as :func:`draw_resamples` takes them.
    """
    low, high = np.percentile([scores(rows) for rows in draw_resamples(groups)], [2.5, 97.5], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def measure_share(hits: np.ndarray, groups: np.ndarray | None) -> Interval | None:
    """Return the share of rows that are hits, with a 95% interval by group; None without a row.

    It is exact where each row stands for itself, and at 0 and 1, which every resample repeats.

    Args:
        hits: (rows,) bool.
        groups: (rows,) a number for each row, the same within a group; None where each row stands for itself.
    """
    _, numbers = np.unique(np.arange(len(hits)) if groups is None else groups, return_inverse=True)
    count = int(numbers.max(initial=-1)) + 1
    if count == len(hits) or hits.all() or not hits.any():
        return rate(min(int(hits.sum()), count), count)
    # Groups are drawn whole: their sums are all that a resample needs.
    of_group, rows = np.bincount(numbers, hits), np.bincount(numbers)
    rng = np.random.default_rng(0)
    drawn = (rng.integers(0, count, count) for _ in range(RESAMPLES))
    return _interval(float(hits.mean()), [float(of_group[d].sum() / rows[d].sum()) for d in drawn])


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


def resample_difference(metric: Metric, a: Answers, b: Answers, groups: np.ndarray) -> tuple[float, np.ndarray]:
    """Return ``a`` minus ``b``, and (resamples,) the same on resamples of groups; those without a score are left out.

    Paired: both models are scored on each resample, so that rows that are hard for both cancel out.
    """
    differences = (metric.function(a.take(r)) - metric.function(b.take(r)) for r in draw_resamples(groups))
    return float(metric.function(a) - metric.function(b)), np.array([d for d in differences if d == d])


def paired_bootstrap(metric: Metric, a: Answers, b: Answers) -> Difference | None:
    """Return ``a`` minus ``b`` on the same resampled rows: the difference, its 95% interval, and a two-sided p.

    p is twice the share of resamples on the rarer side of 0, each side counted with one more, as if the data had been
    drawn as well: never 0, and 1 for two models that answer alike. None where a score is undefined, as ROC-AUC is
    where only one class occurs.
    """
    value, defined = resample_difference(metric, a, b, np.arange(len(a)))
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
