"""Several models side by side on the same rows, with intervals, and pair by pair whether they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from hubtools.curation.evaluation_rows import read_evaluation_rows, read_test_split
from hubtools.errors import UsageError
from hubtools.evaluation.classifiers import label_maps, open_classifier
from hubtools.evaluation.external import answered, label_set_of, of_types, scores_on, training_texts, with_map
from hubtools.evaluation.scores import RESAMPLES, macro_f1, roc_auc, span_counts, strict_prf, table_of
from hubtools.evaluation.thresholds import label_of
from hubtools.rows import Columns
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

BOOTSTRAP = f"paired bootstrap over rows, {RESAMPLES} resamples, two-sided"
MCNEMAR = "McNemar's test, exact (scipy.stats.binomtest)"


def compare(
    task: TaskSpec,
    models: Sequence[str],
    folder: TaskFolder,
    *,
    dataset: str | None = None,
    columns: Columns,
    split: str | None = None,
    label_map: Sequence[str] = (),
    skip_bad_rows: bool = False,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Score ``models`` on ``dataset``, or on the test split of the work folder.

    What depends on a threshold is judged at the one that a model ships with, else at the router's default. A model that
    lacks a label is scored on the rows (or types) that it can answer, and a pair on those that both can.

    Returns:
        ``rows``, ``models`` with their scores, and ``pairs`` with their differences; ready for JSON.

    Raises:
        UsageError: fewer than two models, one twice, or one that cannot be read.
        SourceError, MissingStage: the data cannot be read, or are not there.
    """
    if len(models) < 2 or len(set(models)) < len(models):
        raise UsageError(
            "A comparison needs models that differ", expected="two or more, each once", found=", ".join(models),
            next=f"hubtools compare {task.name} MODEL MODEL",
        )  # fmt: skip
    label_set = label_set_of(task, folder)
    maps = label_maps(label_map, models, task, label_set)
    # Looked at before anything is scored: a name that is wrong must not cost the time of the models before it.
    opened = [open_classifier(task, label_set, name, maps.get("", {}) | maps.get(name, {})) for name in models]
    rows = read_test_split(task, folder) if dataset is None else read_evaluation_rows(
        task, dataset, with_map(columns, label_map), label_set, split=split, skip_bad_rows=skip_bad_rows,
        training=training_texts(folder),
    )  # fmt: skip
    found = [answered(task, label_set, classifier, rows, note) for classifier in opened]
    entries = []
    for classifier, answer in zip(opened, found, strict=True):
        plan = classifier.plan
        threshold = classifier.threshold or task.threshold
        scores, used = scores_on(task, label_set, rows.truth, answer, plan.known, threshold)
        lacking = [label for label in used["not_in_model"] if label not in used["not_in_data"]]
        entries.append({
            "model": classifier.name, "revision": classifier.revision, "rows": scores["rows"],
            "lacks": lacking, "other_answers": list(plan.others), "ignored": list(plan.ignored),
            "scores": {key: scores.get(key) for key, _ in table_of(task)},
            "threshold": threshold if label_of(task, label_set) else None,
            "ships_threshold": classifier.threshold is not None,
        })  # fmt: skip
    pairs = []
    for i, j in combinations(range(len(opened)), 2):
        both = opened[i].plan.known & opened[j].plan.known
        pair = paired(task, label_set.labels, rows.truth, found[i], found[j], both)
        pairs.append({"a": models[i], "b": models[j], **pair})
    return {
        "task": task.name, "label_set": label_set.name, **rows.about,
        "primary": {"key": task.primary.key, "title": task.primary.title},
        "tests": {"primary": BOOTSTRAP, "accuracy": MCNEMAR}, "models": entries, "pairs": pairs,
    }  # fmt: skip


def paired(
    task: TaskSpec, labels: Sequence[str], truth: Sequence[Any], a: Sequence[Any], b: Sequence[Any],
    known: frozenset[int],
) -> dict[str, Any]:  # fmt: skip
    """Two models' answers to the same rows: the difference of the primary metric, and of accuracy, each tested.

    Of a token task, accuracy is the share of documents without a mistake.

    Args:
        known: labels that both models have; other rows, or types, are left out.
    """
    if task.kind == "token":
        kept = sorted({span["label"] for spans in truth for span in spans} & known)
        true, one, two = (of_types(rows, kept) for rows in (truth, a, b))
        rows = len(true)
        counted = [span_counts(true, guess, len(kept)).sum(1) for guess in (one, two)]
        right = [(c[:, 0] == c[:, 1]) & (c[:, 0] == c[:, 2]) for c in counted]
        score_a, score_b = (_entity_f1(c) for c in counted)
    else:
        place = [i for i, label in enumerate(truth) if label in known]
        rows = len(place)
        y = np.array([truth[i] for i in place], dtype=int)
        answers = [np.array([guess[i] for i in place]).reshape(rows, -1) for guess in (a, b)]
        right = [p.argmax(1) == y if rows else np.zeros(0, bool) for p in answers]
        score_a, score_b = (_sequence_score(task, labels, y, p) for p in answers)
    if not rows:
        return {"rows": 0, "primary": None, "accuracy": None}
    return {
        "rows": rows, "primary": bootstrap_difference(score_a, score_b, rows), "accuracy": mcnemar(right[0], right[1])
    }  # fmt: skip


Score = Callable[[np.ndarray], float]


def _sequence_score(task: TaskSpec, labels: Sequence[str], y: np.ndarray, p: np.ndarray) -> Score:
    if task.primary.key == "roc_auc":
        positive = labels.index(task.positive)
        return lambda r: roc_auc(y[r] == positive, p[r, positive])
    chosen = p.argmax(1)
    return lambda r: macro_f1(y[r], chosen[r], p.shape[1])


def _entity_f1(counts: np.ndarray) -> Score:
    return lambda rows: strict_prf(counts[rows].sum(0))[2]


def bootstrap_difference(a: Score, b: Score, rows: int) -> dict[str, float] | None:
    """``a`` minus ``b`` on the same resampled rows: the difference, its 95% interval, and a two-sided p.

    p is twice the share of resamples on the rarer side of 0, each side counted with one more, as if the data had been
    drawn as well: never 0, and 1 for two models that answer alike. None where a score is undefined, as ROC-AUC is
    where only one class occurs.
    """
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, rows, rows) for _ in range(RESAMPLES)]
    everything = np.arange(rows)
    value = float(a(everything) - b(everything))
    defined = np.array([d for d in (a(r) - b(r) for r in draws) if d == d])
    if value != value or not len(defined):
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    rarer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    p = float(min(1.0, 2 * (rarer + 1) / (len(defined) + 1)))
    return {"value": value, "low": float(low), "high": float(high), "p": p}


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, Any]:
    """Accuracy of ``a`` minus that of ``b``, the rows that only one answers right, and the exact p of McNemar's test.

    Under the null hypothesis these rows fall to either side like a coin.
    """
    from scipy.stats import binomtest

    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    p = float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0
    return {"difference": (only_a - only_b) / len(right_a), "only_a": only_a, "only_b": only_b, "p": p}
