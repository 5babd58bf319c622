"""Score the model of the work folder once, and compute every number from what it answered.

The model is asked by :func:`score` alone, which writes two files of predictions. All else is a function of these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubtools.errors import DamagedRecord, MissingStage
from hubtools.evaluation.baselines import FEW_SHOT, BaselineScores, score_baselines, score_few_shot
from hubtools.evaluation.other_data import follow_threshold
from hubtools.evaluation.plots import draw_plots
from hubtools.evaluation.predictions import PREDICTIONS, Predictions, predictions_table, read_about, write_table
from hubtools.heads.inference import Tick, load_pipeline
from hubtools.records import from_json, to_json, write_record
from hubtools.records.metrics import AnsweredExample, Metrics, Primary
from hubtools.records.thresholds import THRESHOLDS, Calibration, Target
from hubtools.records.training import TrainingRecord
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.training.calibration import FILE as CALIBRATION
from hubtools.training.inputs import hash_texts
from hubtools.workdir import TaskFolder, sha256_of

METRICS = 5  # bumped when metrics.json says more, or says it otherwise


def evaluate(
    task: TaskSpec,
    folder: TaskFolder,
    *,
    target_fpr: float | None = None,
    target_recall: float | None = None,
    from_predictions: bool = False,
    extra: Collection[str] = (),
    repo: str | None = None,
    note: Callable[[str], None] = lambda _: None,
    tick: Tick = lambda _: None,
) -> Metrics:
    """Write predictions, ``metrics.json``, ``thresholds.json`` and the plots; return the metrics.

    Skipped while neither the weights nor the dataset have changed, but for a baseline that is not there yet. Reports
    on other data follow the threshold.

    Args:
        target_fpr, target_recall: what the threshold is chosen for on the validation split.
        from_predictions: do not ask the model, which need not be there: compute everything again from its answers.
        extra: baselines that cost time: "setfit", for sequence tasks.
        repo: where earlier versions are published; the newest is a baseline.

    Raises:
        MissingStage: there is no dataset, no model, or no predictions.
    """
    facts, training = folder.read_facts(), folder.read_training()
    label_set = task.label_set(facts.label_set)
    labels = label_set.labels
    target = task.head.target(target_fpr, target_recall)
    if not from_predictions:
        check_trained_on(folder, training)
        score(task, label_set, folder, tick)
    test = Predictions.read(folder, folder.predictions)
    validation = Predictions.read(folder, folder.validation_predictions)
    fingerprint = fingerprint_of(test, validation, target)
    known = read_known(folder)
    drawn = known is not None and all((folder.model / name).exists() for name, _ in known.plots)
    complete = known is not None and drawn and (not extra or FEW_SHOT in known.baselines)
    if known and not from_predictions and known.fingerprint == fingerprint and complete:
        note(f"{task.name}: scores are up to date")
        return known

    metrics = metrics_of(task, labels, test, validation, target)
    if from_predictions and (kept := BaselineScores.read(folder)).baselines:
        # The dataset need not be there, or may be another by now.
        if extra and FEW_SHOT not in kept.baselines:
            kept.baselines[FEW_SHOT] = score_few_shot(task, labels, folder, training, note)
        beside = kept
    else:
        beside = score_baselines(
            task, folder, training, weights_sha256=metrics.weights_sha256, few_shot=bool(extra), repo=repo, note=note
        )
    metrics = replace(metrics, baselines_of=beside.baselines_of, baselines=beside.baselines, previous=beside.previous)
    folder.model.mkdir(exist_ok=True)
    metrics = replace(metrics, plots=draw_plots(task.head, metrics, training, facts, folder.model))
    if metrics.thresholds:
        write_record(folder.model / THRESHOLDS, replace(metrics.thresholds, task=task.name))
    follow_threshold(task, labels, folder, metrics.weights_sha256, metrics.shipped_threshold, note)
    write_record(folder.metrics, metrics)  # last: its fingerprint says that all is done
    first = metrics.primary
    interval = f"[{first.low:.3f}, {first.high:.3f}]"
    note(f"{task.name}: {first.title} {first.value:.3f} {interval} on {metrics.scores.rows} test rows")
    return metrics


def read_known(folder: TaskFolder) -> Metrics | None:
    """Return the metrics that are there; None where there are none, or those of another version."""
    try:
        return from_json(json.loads(folder.metrics.read_text()), Metrics)
    except (OSError, ValueError, DamagedRecord):
        return None


def check_trained_on(folder: TaskFolder, training: TrainingRecord) -> None:
    """Refuse a model of other rows: it may have seen these test rows, and this dataset's figures are not its own.

    Raises:
        MissingStage: the training split in ``folder`` is not the one that the model was trained on.
    """
    import pyarrow.parquet as pq

    known, file = training.train_sha256, folder.split_file("train")
    if known is None or not file.exists():
        return
    if hash_texts(pq.read_table(file, columns=["text"])["text"].to_pylist()) != known:
        raise MissingStage(
            f"The model of {folder.task!r} was trained on other rows than those of {folder.dataset}",
            expected="rows that no test row is among, as in the dataset beside it",
            found="a dataset that was curated anew, or a training with --dataset",
            next=f"hubtools finetune {folder.task}; rows of your own become the dataset by hubtools curate --source",
        )  # fmt: skip


def score(task: TaskSpec, label_set: LabelSet, folder: TaskFolder, tick: Tick) -> None:
    """Write the answers of the shipped weights to the test and validation splits, unless they are there."""
    from datasets import load_dataset

    weights = folder.need(folder.model / "model.safetensors", "finetune")
    files = {split: folder.need(folder.split_file(split), "curate") for split in ("validation", "test")}
    digest = sha256_of(weights)
    parts = [digest, *(sha256_of(file) for file in files.values()), task.version, str(PREDICTIONS)]
    fingerprint = hashlib.sha256("".join(parts).encode()).hexdigest()
    written = {"validation": folder.validation_predictions, "test": folder.predictions}
    if all(path.exists() and _fingerprint_in(path) == fingerprint for path in written.values()):
        return
    calibration = folder.model / CALIBRATION
    temperature = json.loads(calibration.read_text())["temperature"] if calibration.exists() else 1.0
    data = load_dataset(str(folder.dataset))
    classifier = load_pipeline(task.head.pipeline, str(folder.model))
    about = {
        "fingerprint": fingerprint,
        "weights_sha256": digest,
        "temperature": temperature,
        "labels": list(task.model_labels(label_set)),
        "examples": [to_json(task.head.answer_example(classifier, text, label_set.labels)) for text in task.examples],
    }
    for split, path in written.items():
        table = predictions_table(task.head, classifier, data[split], label_set.labels, tick, temperature)
        write_table(path, table.replace_schema_metadata({"hubtools": json.dumps(about | {"split": split})}))


def metrics_of(
    task: TaskSpec, labels: Sequence[str], test: Predictions, validation: Predictions, target: Target | None
) -> Metrics:
    """Return every number of the model, from what it answered; baselines and plots are still empty."""
    head = task.head
    thresholds = head.choose_thresholds(validation.rows, test.rows, labels, target, task.threshold)
    at = thresholds.threshold if thresholds else task.threshold
    scores = head.score(test.rows, labels, at)
    primary = getattr(scores, task.primary.key)
    temperature = test.about["temperature"]
    return Metrics(
        task=task.name,
        weights_sha256=test.about["weights_sha256"],
        primary=Primary(
            key=task.primary.key, title=task.primary.title, value=primary.value, low=primary.low, high=primary.high
        ),
        scores=scores,
        target=target,
        thresholds=thresholds,
        abstention=head.abstention_curve(test.rows, labels) if thresholds else None,
        calibration=Calibration(
            temperature=temperature,
            validation=head.calibration(validation.rows, temperature),
            test=head.calibration(test.rows, temperature),
        ),
        slices=head.slice_scores(test.rows, labels, at),
        mistakes=head.find_mistakes(test.rows, labels),
        examples=[from_json(example, AnsweredExample) for example in test.about["examples"]],
        fingerprint=fingerprint_of(test, validation, target),
        baselines_of="",
        baselines={},
        plots=[],
    )


def fingerprint_of(test: Predictions, validation: Predictions, target: Target | None) -> str:
    """Return the fingerprint of all that metrics.json is computed from."""
    wanted = next(([kind, share] for kind, share in to_json(target).items()), None) if target else None
    return hashlib.sha256(json.dumps([test.sha, validation.sha, METRICS, wanted]).encode()).hexdigest()


def metrics_are_current(folder: TaskFolder, metrics: Metrics) -> bool:
    """Return whether ``metrics`` were computed from the predictions that are there."""
    test, validation = (Predictions.read(folder, path) for path in (folder.predictions, folder.validation_predictions))
    return fingerprint_of(test, validation, metrics.target) == metrics.fingerprint


def _fingerprint_in(path: Path) -> Any:
    import pyarrow as pa

    try:
        return read_about(path).get("fingerprint")
    except (pa.ArrowException, OSError, ValueError):
        return None  # damaged: written again
