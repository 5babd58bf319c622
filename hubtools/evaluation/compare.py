"""Several models side by side on the same rows, with intervals, and pair by pair whether they differ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import combinations

from hubtools.curation.evaluation_rows import LabelledRows, read_test_split
from hubtools.errors import UsageError
from hubtools.evaluation.classifiers import Classifier, open_classifier, read_label_maps
from hubtools.evaluation.other_data import (
    Note,
    OtherData,
    choose_label_set,
    predict_answers,
    read_other_data,
    read_training_texts,
    score_known,
)
from hubtools.heads.values import Column
from hubtools.metrics.intervals import RESAMPLES, mcnemar, paired_bootstrap
from hubtools.records import from_json
from hubtools.records.comparison import ComparedModel, ModelComparison, PairDifference
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

BOOTSTRAP = f"paired bootstrap over rows, {RESAMPLES} resamples, two-sided"
MCNEMAR = "McNemar's test, exact (scipy.stats.binomtest)"


def compare(
    task: TaskSpec,
    models: Sequence[str],
    folder: TaskFolder,
    *,
    data: OtherData | None = None,
    label_maps: Sequence[str] = (),
    note: Note = lambda _: None,
) -> ModelComparison:
    """Score ``models`` on ``data``, or on the test split of the work folder.

    What depends on a threshold is judged at the one that a model ships with, else at its pipeline's. A model that
    lacks a label is scored on the rows (or types) that it can answer, and a pair on those that both can.

    Args:
        models: repos or folders.
        label_maps: ``FILE`` for the data and all models, or ``MODEL=FILE``.

    Returns:
        ``rows``, ``models`` with their scores, and ``pairs`` with their differences.

    Raises:
        UsageError: fewer than two models, one twice, or one that cannot be read.
        SourceError, MissingStage: the data cannot be read, or are not there.
    """
    if len(models) < 2 or len(set(models)) < len(models):
        raise UsageError(
            "A comparison needs models that differ",
            expected="two or more, each once",
            found=", ".join(models),
            next=f"hubtools compare {task.name} MODEL MODEL",
        )
    label_set = choose_label_set(task, folder)
    maps = read_label_maps(label_maps, models, task, label_set)
    # Looked at before anything is scored: a name that is wrong must not cost the time of the models before it.
    classifiers = [open_classifier(task, label_set, name, maps.get("", {}) | maps.get(name, {})) for name in models]
    if data is None:
        rows = read_test_split(task, folder)
    else:
        rows = read_other_data(task, data, label_maps, label_set, training=read_training_texts(folder))
    labels = label_set.labels
    answers, speeds = [], []
    for classifier in classifiers:
        began = time.perf_counter()
        predicted = predict_answers(task, label_set, classifier, rows, note)
        answers.append(predicted.answers)
        speeds.append(round(sum(predicted.tokens_read) / (time.perf_counter() - began), 1))
    entries = [
        _score_model(task, labels, rows, classifier, given, speed)
        for classifier, given, speed in zip(classifiers, answers, speeds, strict=True)
    ]
    # Each with each: which one is the reference is the reader's choice.
    pairs = [
        compare_pair(
            task,
            labels,
            rows.truth,
            (models[i], answers[i]),
            (models[j], answers[j]),
            classifiers[i].plan.known & classifiers[j].plan.known,
        )
        for i, j in combinations(range(len(classifiers)), 2)
    ]
    # Rows of other data have more to tell than those of our own test split: the record knows which keys may be absent.
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


def _score_model(
    task: TaskSpec,
    labels: Sequence[str],
    rows: LabelledRows,
    classifier: Classifier,
    answers: Column,
    tokens_per_second: float,
) -> ComparedModel:
    head = task.head
    # Each at its own, as its owner means it to be used.
    threshold = classifier.choose_threshold(task)
    scores, used = score_known(task, labels, rows.truth, answers, classifier.plan, threshold)
    return ComparedModel(
        model=classifier.name,
        revision=classifier.revision,
        rows=scores.rows,
        # A label that neither the data nor the model have costs the model nothing.
        lacks=[label for label in used.not_in_model if label not in used.not_in_data],
        other_answers=used.other_answers,
        ignored=used.ignored,
        scores={metric.key: getattr(scores, metric.key, None) for metric in head.table},
        threshold=threshold if head.find_threshold_label(labels) else None,
        ships_threshold=classifier.threshold is not None,
        tokens_per_second=tokens_per_second,
    )


def compare_pair(
    task: TaskSpec,
    labels: Sequence[str],
    truth: Column,
    a: tuple[str, Column],
    b: tuple[str, Column],
    known: frozenset[int],
) -> PairDifference:
    """Test the difference of two models on the same rows: of the primary metric, and of accuracy.

    Of spans, accuracy is the share of documents without a mistake.

    Args:
        a, b: name and answers of each.
        known: labels that both models have; other rows, or types, are left out.
    """
    head = task.head
    # The primary metric and accuracy are those of every answer: neither model's own threshold plays a part.
    answers_a, answers_b = head.pair_answers(
        head.join_answers(truth, a[1]), head.join_answers(truth, b[1]), labels, known, head.plain_threshold
    )
    rows = len(answers_a)
    return PairDifference(
        a=a[0],
        b=b[0],
        rows=rows,
        primary=paired_bootstrap(task.primary, answers_a, answers_b) if rows else None,
        accuracy=mcnemar(answers_a.right, answers_b.right) if rows else None,
    )
