"""Several models side by side on the same rows, with intervals, and pair by pair whether they differ."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

from hubtools.curation.evaluation_rows import read_evaluation_rows, read_test_split
from hubtools.errors import UsageError
from hubtools.evaluation.classifiers import label_maps, open_classifier
from hubtools.evaluation.other_data import ask, label_set_of, score_known, training_texts, with_map
from hubtools.metrics.intervals import RESAMPLES, mcnemar, paired_bootstrap
from hubtools.records import from_json
from hubtools.records.comparison import ComparedModel, ModelComparison, PairDifference
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
) -> ModelComparison:
    """Score ``models`` on ``dataset``, or on the test split of the work folder.

    What depends on a threshold is judged at the one that a model ships with, else at the router's default. A model that
    lacks a label is scored on the rows (or types) that it can answer, and a pair on those that both can.

    Returns:
        ``rows``, ``models`` with their scores, and ``pairs`` with their differences.

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
    head, labels = task.head, label_set.labels
    answers = [ask(task, label_set, classifier, rows, note) for classifier in opened]
    entries = []
    for classifier, given in zip(opened, answers, strict=True):
        plan = classifier.plan
        threshold = classifier.threshold or task.threshold
        scores, used = score_known(task, labels, rows.truth, given, plan, threshold)
        entries.append(
            ComparedModel(
                model=classifier.name,
                revision=classifier.revision,
                rows=scores.rows,
                lacks=[label for label in used.not_in_model if label not in used.not_in_data],
                other_answers=used.other_answers,
                ignored=used.ignored,
                scores={metric.key: getattr(scores, metric.key, None) for metric in head.table},
                threshold=threshold if head.threshold_label(labels) else None,
                ships_threshold=classifier.threshold is not None,
            )
        )
    pairs = [
        compare_pair(
            task,
            labels,
            rows.truth,
            (models[i], answers[i]),
            (models[j], answers[j]),
            opened[i].plan.known & opened[j].plan.known,
        )
        for i, j in combinations(range(len(opened)), 2)
    ]
    return from_json(
        {
            "task": task.name,
            "label_set": label_set.name,
            **rows.about,
            "primary": {"key": task.primary.key, "title": task.primary.title},
            "tests": {"primary": BOOTSTRAP, "accuracy": MCNEMAR},
            "models": entries,
            "pairs": pairs,
        },
        ModelComparison,
    )


def compare_pair(
    task: TaskSpec,
    labels: Sequence[str],
    truth: Sequence[Any],
    a: tuple[str, Sequence[Any]],
    b: tuple[str, Sequence[Any]],
    known: frozenset[int],
) -> PairDifference:
    """Test the difference of two models on the same rows: of the primary metric, and of accuracy.

    Of spans, accuracy is the share of documents without a mistake.

    Args:
        a, b: name and answers of each.
        known: labels that both models have; other rows, or types, are left out.
    """
    one, two = task.head.pair_answers(truth, a[1], b[1], labels, known, task.threshold)
    rows = len(one)
    return PairDifference(
        a=a[0],
        b=b[0],
        rows=rows,
        primary=paired_bootstrap(task.primary, one, two) if rows else None,
        accuracy=mcnemar(one.right, two.right) if rows else None,
    )
