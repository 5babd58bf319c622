"""Score the model of the work folder once, and compute every number from what it answered.

The model is asked by :func:`score` alone, which writes two files of predictions. All else is a function of these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hubtools.curation.languages import list_languages
from hubtools.errors import DamagedRecord, MissingStage
from hubtools.evaluation.baselines import FEW_SHOT, BaselineScores, score_baselines, score_few_shot
from hubtools.evaluation.examples import choose_examples
from hubtools.evaluation.other_data import follow_threshold
from hubtools.evaluation.plots import draw_plots
from hubtools.evaluation.predictions import PREDICTIONS, Predictions, predictions_table, read_about, write_table
from hubtools.evaluation.robustness.measure import keep_robustness
from hubtools.heads.inference import Tick, load_pipeline
from hubtools.records import from_json, to_json, write_record
from hubtools.records.metrics import AnsweredExample, Metrics, Primary
from hubtools.records.thresholds import THRESHOLDS, WEIGHTS, Calibration, Target, ThresholdsFile
from hubtools.records.training import TrainingRecord
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.training.calibration import FILE as CALIBRATION
from hubtools.training.inputs import hash_texts
from hubtools.workdir import TaskFolder, load_folder, sha256_of

METRICS = 8  # bumped when metrics.json holds more, or a number is computed in another way


@dataclass(frozen=True)
class ScoringOptions:
    """What may be asked of a scoring.

    Attributes:
        target: what the threshold is chosen for on the validation split; None for the head's default.
        from_predictions: do not ask the model, which need not be there: compute everything again from its answers.
        few_shot: also train and score the SetFit baseline, which costs time; for heads that label whole texts.
        repo: where earlier versions are published; the newest is a baseline. None for no look.
    """

    target: Target | None = None
    from_predictions: bool = False
    few_shot: bool = False
    repo: str | None = None


def evaluate(
    task: TaskSpec,
    folder: TaskFolder,
    options: ScoringOptions = ScoringOptions(),
    *,
    note: Callable[[str], None] = lambda _: None,
    tick: Tick = lambda _: None,
) -> Metrics:
    """Write predictions, ``metrics.json``, ``thresholds.json`` and the plots; return the metrics.

    Skipped while neither the weights nor the dataset have changed, but for a baseline that is not there yet. Reports
    on other data follow the threshold.

    Args:
        note: called with what there is to report.
        tick: called with the number of rows that were just answered.

    Raises:
        MissingStage: there is no dataset, no model, or no predictions.
    """
    # Read first: without either there is nothing to score, and the message names the command that writes it.
    facts, training = folder.read_facts(), folder.read_training()
    label_set = task.label_set(facts.label_set)
    labels = label_set.labels
    asked = options.target or Target()
    target = task.head.choose_target(asked.fpr, asked.recall)
    if not options.from_predictions:
        check_trained_on(folder, training)
        score(task, label_set, folder, tick)
    test = Predictions.read(folder, folder.predictions)
    validation = Predictions.read(folder, folder.validation_predictions)
    recorded = read_recorded_metrics(folder)
    if recorded and not options.from_predictions:
        # Plots are files of their own, which a user may have deleted.
        has_plots = all((folder.model / name).exists() for name, _ in recorded.plots)
        has_baselines = not options.few_shot or FEW_SHOT in recorded.baselines
        is_current = recorded.fingerprint == compute_fingerprint(test, validation, target)
        if is_current and has_plots and has_baselines:
            note(f"{task.name}: scores are up to date")
            return recorded

    metrics = compute_metrics(task, labels, test, validation, target)
    if options.from_predictions and (kept := BaselineScores.read(folder)).baselines:
        # The dataset need not be there, or may be another by now.
        if options.few_shot and FEW_SHOT not in kept.baselines:
            kept.baselines[FEW_SHOT] = score_few_shot(task, labels, folder, training, note)
        baselines = kept
    else:
        baselines = score_baselines(
            task,
            folder,
            training,
            weights_sha256=metrics.weights_sha256,
            few_shot=options.few_shot,
            repo=options.repo,
            note=note,
        )
    metrics = replace(
        metrics, baselines_of=baselines.baselines_of, baselines=baselines.baselines, previous=baselines.previous
    )
    # With --from-predictions the model's folder need not be there, and cards read plots and thresholds from it.
    folder.model.mkdir(exist_ok=True)
    metrics = replace(metrics, plots=draw_plots(task.head, metrics, training, facts, folder.model))
    if metrics.thresholds:
        weights = {WEIGHTS: metrics.thresholds}
        chosen = ThresholdsFile(task=task.name, languages=list_languages(task, facts), weights=weights)
        write_record(folder.model / THRESHOLDS, chosen)
    follow_threshold(task, labels, folder, metrics.weights_sha256, metrics.shipped_threshold, note)
    metrics = keep_robustness(metrics, recorded)
    if recorded and recorded.robustness and not metrics.robustness:
        note(f"{task.name}: the robustness report was of other weights or another threshold: hubtools robustness "
             f"{task.name} makes it anew")  # fmt: skip
    write_record(folder.metrics, metrics)  # last: its fingerprint says that all is done
    primary = metrics.primary
    interval = f"[{primary.low:.3f}, {primary.high:.3f}]"
    note(f"{task.name}: {primary.title} {primary.value:.3f} {interval} on {metrics.scores.rows} test rows")
    return metrics


def read_recorded_metrics(folder: TaskFolder) -> Metrics | None:
    """Return the metrics that are there; None where there are none, or those of another version."""
    # A file of another version is no error here: it is computed again.
    try:
        return from_json(json.loads(folder.metrics.read_text("utf-8")), Metrics)
    except (OSError, ValueError, DamagedRecord):
        return None


def check_trained_on(folder: TaskFolder, training: TrainingRecord) -> None:
    """Refuse a model of other rows: it may have seen these test rows, and this dataset's figures are not its own.

    Raises:
        MissingStage: the training split in ``folder`` is not the one that the model was trained on.
    """
    import pyarrow.parquet as pq

    recorded, file = training.train_sha256, folder.split_file("train")
    # An earlier version did not record it, and without the split there is nothing to compare.
    if recorded is None or not file.exists():
        return
    if hash_texts(pq.read_table(file, columns=["text"])["text"].to_pylist()) != recorded:
        raise MissingStage(
            f"The model of {folder.task!r} was trained on other rows than those of {folder.dataset}",
            expected="rows that no test row is among, as in the dataset beside it",
            found="a dataset that was curated anew, or a training with --dataset",
            next=f"hubtools finetune {folder.task}; rows of your own become the dataset by hubtools curate --source",
        )


def score(task: TaskSpec, label_set: LabelSet, folder: TaskFolder, tick: Tick) -> None:
    """Write the answers of the shipped weights to the test and validation splits, unless they are there."""
    weights = folder.need(folder.model / "model.safetensors", "finetune")
    files = {split: folder.need(folder.split_file(split), "curate") for split in ("validation", "test")}
    digest = sha256_of(weights)
    # All that an answer, or a column beside it, depends on.
    examples = choose_examples(task, folder)
    parts = [digest, *(sha256_of(file) for file in files.values()), task.version, str(PREDICTIONS), *examples]
    fingerprint = hashlib.sha256("".join(parts).encode()).hexdigest()
    written = {"validation": folder.validation_predictions, "test": folder.predictions}
    if all(path.exists() and _read_fingerprint(path) == fingerprint for path in written.values()):
        return
    # The temperature is in the weights already; it is needed to say what answers were like without it.
    calibration = folder.model / CALIBRATION
    temperature = json.loads(calibration.read_text("utf-8"))["temperature"] if calibration.exists() else 1.0
    data = load_folder(folder.dataset)
    classifier = load_pipeline(task.head.pipeline, str(folder.model))
    # Within the file, so that answers and what they are answers of cannot come apart.
    about = {
        "fingerprint": fingerprint,
        "weights_sha256": digest,
        "temperature": temperature,
        "labels": list(task.model_labels(label_set)),
        "examples": [to_json(task.head.answer_example(classifier, text, label_set.labels)) for text in examples],
    }
    for split, path in written.items():
        table = predictions_table(task.head, classifier, data[split], label_set.labels, tick, temperature)
        write_table(path, table.replace_schema_metadata({"hubtools": json.dumps(about | {"split": split})}))


def compute_metrics(
    task: TaskSpec, labels: Sequence[str], test: Predictions, validation: Predictions, target: Target | None
) -> Metrics:
    """Return every number of the model, from what it answered; baselines and plots are still empty."""
    head = task.head
    # The threshold first: scores and slices of a detection are taken at it.
    thresholds = head.choose_thresholds(validation.rows, test.rows, labels, target)
    threshold = thresholds.threshold if thresholds else head.plain_threshold
    scores = head.score(test.rows, labels, threshold)
    primary = getattr(scores, task.primary.key)
    temperature = test.about["temperature"]
    return Metrics(
        task=task.name,
        weights_sha256=test.about["weights_sha256"],
        primary=Primary(
            key=task.primary.key, title=task.primary.title, value=primary.value, low=primary.low, high=primary.high
        ),
        scores=scores,
        other_decodings=head.score_other_decodings(test.rows, labels),
        target=target,
        thresholds=thresholds,
        abstention=head.measure_abstention(test.rows, labels) if thresholds else None,
        calibration=Calibration(
            temperature=temperature,
            validation=head.measure_calibration(validation.rows, temperature),
            test=head.measure_calibration(test.rows, temperature),
        ),
        slices=head.score_slices(test.rows, labels, threshold),
        mistakes=head.find_mistakes(test.rows, labels),
        examples=[from_json(example, AnsweredExample) for example in test.about["examples"]],
        fingerprint=compute_fingerprint(test, validation, target),
        # Filled by evaluate(): they depend on the dataset, or on files, and this function on predictions alone.
        baselines_of="",
        baselines={},
        plots=[],
    )


def compute_fingerprint(test: Predictions, validation: Predictions, target: Target | None) -> str:
    """Return the fingerprint of all that metrics.json is computed from."""
    # The one key that the target has, with its share.
    goal = next(([kind, share] for kind, share in to_json(target).items()), None) if target else None
    return hashlib.sha256(json.dumps([test.sha, validation.sha, METRICS, goal]).encode()).hexdigest()


def are_metrics_current(folder: TaskFolder, metrics: Metrics) -> bool:
    """Return whether ``metrics`` were computed from the predictions that are there."""
    # With the target that they were computed for: another one is no reason to call them old.
    test, validation = (Predictions.read(folder, path) for path in (folder.predictions, folder.validation_predictions))
    return compute_fingerprint(test, validation, metrics.target) == metrics.fingerprint


def _read_fingerprint(path: Path) -> str | None:
    import pyarrow as pa

    try:
        return read_about(path).get("fingerprint")
    except (pa.ArrowException, OSError, ValueError):
        return None  # damaged: the model is asked again
