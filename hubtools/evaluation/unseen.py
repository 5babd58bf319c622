"""Scores on collections that a training never saw: one source left out, at the threshold that the others chose."""

from __future__ import annotations

import json

from hubtools.errors import DamagedRecord
from hubtools.evaluation.evaluate import score
from hubtools.evaluation.predictions import Predictions
from hubtools.records import from_json
from hubtools.records.studies import HeldOutScores, SourceReport
from hubtools.records.training import TrainingRecord
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder


def score_held_out(task: TaskSpec, label_set: LabelSet, run: TaskFolder) -> HeldOutScores:
    """Score a training's model on the test split of its folder, at the threshold of its validation split."""
    import pyarrow.parquet as pq

    score(task, label_set, run, lambda _: None)
    held_out = Predictions.read(run, run.predictions).rows
    validation = Predictions.read(run, run.validation_predictions).rows
    target = task.head.choose_target(None, None)
    thresholds = task.head.choose_thresholds(validation, held_out, label_set.labels, target)
    threshold = thresholds.threshold if thresholds else task.head.plain_threshold
    # In the order of the predictions, which is that of the file.
    held_out["text"] = pq.read_table(run.split_file("test"), columns=["text"])["text"].to_pylist()
    known = range(len(label_set.labels))
    return HeldOutScores(
        threshold=threshold if target else None,
        scores=task.head.score_unseen(held_out, label_set.labels, known, threshold),
    )


def find_report_of(folder: TaskFolder, training: TrainingRecord) -> SourceReport | None:
    """Return what a card says of collections that training never saw; None where that was not measured.

    A report of other rows, another base or other flags than the model's says nothing of it.
    """
    report = read_report(folder)
    return report if report and report.training == training.fingerprint else None


def read_report(folder: TaskFolder) -> SourceReport | None:
    """Return the last report of a work folder or a release; None where there is none, or one of another version."""
    try:
        return from_json(json.loads(folder.unseen.read_text("utf-8")), SourceReport)
    except (OSError, ValueError, DamagedRecord):
        return None
