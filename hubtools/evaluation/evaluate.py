"""Score the model of the work folder once, and compute every number from what it answered.

The model is asked by :func:`score` alone, which writes two files of predictions. All else is a function of these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hubtools.errors import MissingStage
from hubtools.evaluation.baselines import FEW_SHOT
from hubtools.evaluation.beside import beside, few_shot_column
from hubtools.evaluation.external import follow_threshold
from hubtools.evaluation.plots import draw_plots
from hubtools.evaluation.predict import load_classifier, predictions_table, probabilities, spans
from hubtools.evaluation.scores import scores_of
from hubtools.evaluation.slices import sequence_mistakes, sequence_slices, token_mistakes, token_slices
from hubtools.evaluation.thresholds import FILE as THRESHOLDS
from hubtools.evaluation.thresholds import Target, abstention_curve, shipped, target_of, thresholds
from hubtools.records import write_json
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.training.calibration import FILE as CALIBRATION
from hubtools.training.calibration import reliability
from hubtools.training.inputs import texts_sha256
from hubtools.workdir import TaskFolder, sha256_of

PREDICTIONS = 2  # bumped when a file of predictions says more, or says it otherwise
METRICS = 4  # the same of metrics.json


@dataclass(frozen=True)
class Predictions:
    """A file of predictions: its columns, and what is written in its metadata.

    Attributes:
        about: ``fingerprint``, ``weights_sha256``, ``temperature`` and ``examples``, the answers to the task's own.
        sha: of the file.
    """

    rows: Mapping[str, list[Any]]
    about: Mapping[str, Any]
    sha: str

    @staticmethod
    def read(folder: TaskFolder, path: Path) -> Predictions:
        """Raises :class:`MissingStage` where the file is absent, or not one of ours."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder.need(path, "evaluate")
        try:
            table = pq.read_table(path)
            about = json.loads((table.schema.metadata or {})[b"hubtools"])
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise MissingStage(
                f"{path.name} of {folder.task!r} cannot be read", expected="what hubtools evaluate writes",
                found=f"{type(error).__name__}: {error}".splitlines()[0], next=f"hubtools evaluate {folder.task}",
            ) from error  # fmt: skip
        return Predictions(table.to_pydict(), about, sha256_of(path))


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
    tick: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Write predictions, ``metrics.json``, ``thresholds.json`` and the plots; return the metrics.

    Skipped while neither the weights nor the dataset have changed, but for a baseline that is not there yet. Reports
    on other data follow the threshold.

    Args:
        target_fpr, target_recall: what the threshold is chosen for on the validation split; see thresholds.py.
        from_predictions: do not ask the model, which need not be there: compute everything again from its answers.
        extra: baselines that cost time: "setfit", for sequence tasks.
        repo: where earlier versions are published; the newest is a baseline.

    Raises:
        MissingStage: there is no dataset, no model, or no predictions.
    """
    facts = folder.read(folder.facts, "curate")
    training = folder.read(folder.training, "finetune")
    label_set = task.label_set(facts["label_set"])
    target = target_of(task, target_fpr, target_recall)
    if not from_predictions:
        check_trained_on(folder, training)
        score(task, label_set, folder, tick)
    test = Predictions.read(folder, folder.predictions)
    validation = Predictions.read(folder, folder.validation_predictions)
    mark = metrics_mark(test, validation, target)
    known: dict[str, Any] = json.loads(folder.metrics.read_text()) if folder.metrics.exists() else {}
    drawn = all((folder.model / name).exists() for name, _ in known.get("plots", []))
    complete = drawn and (not extra or FEW_SHOT in known.get("baselines", {}))
    if not from_predictions and known.get("fingerprint") == mark and complete:
        note(f"{task.name}: scores are up to date")
        return known

    metrics = metrics_of(task, label_set, test, validation, target) | {"fingerprint": mark}
    if from_predictions and known.get("baselines"):  # the dataset need not be there, or may be another by now
        metrics |= {key: known[key] for key in ("baselines_of", "baselines", "previous") if key in known}
        if extra and FEW_SHOT not in metrics["baselines"]:
            metrics["baselines"][FEW_SHOT] = few_shot_column(task, label_set, folder, training, note)
    else:
        metrics |= beside(
            task, label_set, folder, training, known, weights_sha256=metrics["weights_sha256"], few_shots=bool(extra),
            repo=repo, note=note,
        )  # fmt: skip
    folder.model.mkdir(exist_ok=True)
    metrics["plots"] = draw_plots(metrics, training, facts, folder.model)
    if metrics["thresholds"]:
        write_json(folder.model / THRESHOLDS, {"task": task.name, **metrics["thresholds"]})
    follow_threshold(task, label_set, folder, metrics["weights_sha256"], shipped(metrics), note)
    write_json(folder.metrics, metrics)  # last: its fingerprint says that all is done
    first = metrics["primary"]
    interval = f"[{first['low']:.3f}, {first['high']:.3f}]"
    note(f"{task.name}: {first['title']} {first['value']:.3f} {interval} on {metrics['scores']['rows']} test rows")
    return metrics


def check_trained_on(folder: TaskFolder, training: Mapping[str, Any]) -> None:
    """A model of other training rows may have seen these test rows, and the figures of this dataset are not its own.

    Raises:
        MissingStage: the training split in ``folder`` is not the one that the model was trained on.
    """
    import pyarrow.parquet as pq

    known, file = training.get("train_sha256"), folder.split_file("train")
    if known is None or not file.exists():
        return
    if texts_sha256(pq.read_table(file, columns=["text"])["text"].to_pylist()) != known:
        raise MissingStage(
            f"The model of {folder.task!r} was trained on other rows than those of {folder.dataset}",
            expected="rows that no test row is among, as in the dataset beside it",
            found="a dataset that was curated anew, or a training with --dataset",
            next=f"hubtools finetune {folder.task}; rows of your own become the dataset by hubtools curate --source",
        )  # fmt: skip


def score(task: TaskSpec, label_set: LabelSet, folder: TaskFolder, tick: Callable[[int], None]) -> None:
    """Write the answers of the shipped weights to the test and validation splits, unless they are there."""
    import pyarrow.parquet as pq
    from datasets import load_dataset

    weights = folder.need(folder.model / "model.safetensors", "finetune")
    files = {split: folder.need(folder.split_file(split), "curate") for split in ("validation", "test")}
    digest = sha256_of(weights)
    parts = [digest, *(sha256_of(file) for file in files.values()), task.version, str(PREDICTIONS)]
    mark = hashlib.sha256("".join(parts).encode()).hexdigest()
    written = {"validation": folder.validation_predictions, "test": folder.predictions}
    if all(path.exists() and _about(path).get("fingerprint") == mark for path in written.values()):
        return
    calibration = folder.model / CALIBRATION
    temperature = json.loads(calibration.read_text())["temperature"] if calibration.exists() else 1.0
    about = {"fingerprint": mark, "weights_sha256": digest, "temperature": temperature,
             "labels": list(task.model_labels(label_set))}  # fmt: skip
    data = load_dataset(str(folder.dataset))
    classifier = load_classifier(task, str(folder.model))
    about["examples"] = [_example(task, label_set, classifier, text) for text in task.examples]
    for split, path in written.items():
        table = predictions_table(task, label_set, classifier, data[split], tick, temperature)
        table = table.replace_schema_metadata({"hubtools": json.dumps(about | {"split": split})})
        part = path.with_suffix(".part")
        pq.write_table(table, part)
        part.replace(path)


def metrics_of(
    task: TaskSpec, label_set: LabelSet, test: Predictions, validation: Predictions, target: Target | None
) -> dict[str, Any]:
    """Every number of the model, from what it answered."""
    chosen = thresholds(task, label_set, validation.rows, test.rows, target)
    at = chosen["threshold"] if chosen else task.threshold
    scores = scores_of(task, label_set, test.rows, at)
    return {
        "task": task.name,
        "weights_sha256": test.about["weights_sha256"],
        "primary": {"key": task.primary.key, "title": task.primary.title, **scores[task.primary.key]},
        "scores": scores,
        "target": {target.kind: target.value} if target else None,
        "thresholds": chosen,
        **({"abstention": abstention_curve(test.rows, len(label_set.labels))} if task.fallback and chosen else {}),
        "calibration": {
            "temperature": test.about["temperature"],
            **{name: _calibration(task, p) for name, p in (("validation", validation), ("test", test))},
        },
        "slices": token_slices(label_set, test.rows) if task.kind == "token" else
                  sequence_slices(task, label_set, test.rows, at),
        "mistakes": (token_mistakes if task.kind == "token" else sequence_mistakes)(label_set, test.rows),
        "examples": test.about["examples"],
    }  # fmt: skip


def metrics_mark(test: Predictions, validation: Predictions, target: Target | None) -> str:
    """What metrics.json was computed from."""
    known = [test.sha, validation.sha, METRICS, [target.kind, target.value] if target else None]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def metrics_are_current(folder: TaskFolder, metrics: Mapping[str, Any]) -> bool:
    """Whether ``metrics`` were computed from the predictions that are there."""
    target = next((Target(*item) for item in (metrics.get("target") or {}).items()), None)
    test, validation = (Predictions.read(folder, path) for path in (folder.predictions, folder.validation_predictions))
    return bool(metrics_mark(test, validation, target) == metrics.get("fingerprint"))


def _calibration(task: TaskSpec, predictions: Predictions) -> dict[str, Any]:
    """How sure the answers are and how often they are right, before the temperature and after.

    Of a token task an answer is a token. What a probability was before follows from what it is: p^T, normalised.
    """
    rows = predictions.rows
    if task.kind == "token":
        tokens = [token for row in rows["tokens"] for token in row]
        after, before = (np.array([token[key] for token in tokens]) for key in ("confidence", "raw"))
        right = np.array([token["label"] == token["answer"] for token in tokens])
    else:
        p = np.asarray(rows["probabilities"], dtype=float)
        raw = np.power(p, predictions.about["temperature"])
        after, before = p.max(1), (raw / raw.sum(1, keepdims=True)).max(1)
        right = p.argmax(1) == np.asarray(rows["label"])
    (ece_before, bins_before), (ece_after, bins_after) = reliability(before, right), reliability(after, right)
    found = {"answers": len(right), "ece_before": ece_before, "ece_after": ece_after, "bins_before": bins_before,
             "bins_after": bins_after}  # fmt: skip
    if task.kind == "token":  # what a user sees: spans, whose score is the mean of their tokens'
        true = [{(s["start"], s["end"], s["label"]) for s in row} for row in rows["spans"]]
        shown = [(s["score"], (s["start"], s["end"], s["label"]) in true[i])
                 for i, row in enumerate(rows["found"]) for s in row]  # fmt: skip
        sure, exact = (np.array([span[k] for span in shown], dtype=float) for k in (0, 1))
        found |= {"spans": len(shown), "ece_of_spans": reliability(sure, exact)[0] if shown else None}
    return found


def _example(task: TaskSpec, label_set: LabelSet, classifier: Any, text: str) -> dict[str, Any]:
    """What the model answers to ``text``, in the form of a card's widget."""
    if task.kind == "sequence":
        [found] = probabilities(classifier, [text], label_set.labels)
        best = sorted(zip(label_set.labels, found, strict=True), key=lambda pair: -pair[1])[:5]
        return {"text": text, "output": [{"label": label, "score": round(p, 4)} for label, p in best]}
    [entities] = spans(classifier, [text], label_set.labels)
    return {
        "text": text,
        "output": [
            {"entity_group": label_set.labels[e["label"]], "score": round(e["score"], 4), "start": e["start"],
             "end": e["end"], "word": text[e["start"] : e["end"]]}
            for e in entities
        ],
    }  # fmt: skip


def _about(path: Path) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return dict(json.loads((pq.read_schema(path).metadata or {}).get(b"hubtools", b"{}")))
    except (pa.ArrowException, OSError, ValueError):
        return {}  # damaged: written again
