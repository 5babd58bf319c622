"""Scores on collections that a training never saw: one source left out, at the threshold that the others chose."""

from __future__ import annotations

from hubtools.evaluation.evaluate import score
from hubtools.evaluation.predictions import Predictions
from hubtools.records.studies import HeldOutScores
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


def describe_unseen(folder: TaskFolder) -> str:
    """Return the mean scores of sources that were left out, in a few words; "" where the model has none."""
    report = folder.find_unseen()
    if report is None or not report.means:
        return ""
    count = sum(one.held_out_scores is not None for one in report.trainings)
    scores = ", ".join(f"{title} {mean:.3f}" for title, mean in report.means_by_title.items())
    return f"on {count} source{'s' * (count > 1)} that training never saw: {scores}"
