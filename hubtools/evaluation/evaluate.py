"""Score the model of the work folder on the test split, once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from hubtools.evaluation.baselines import ABOUT, baselines
from hubtools.evaluation.fewshot import NAME as FEW_SHOT
from hubtools.evaluation.fewshot import few_shot
from hubtools.evaluation.plots import draw_plots
from hubtools.evaluation.predict import load_classifier, predictions_table, probabilities, spans
from hubtools.evaluation.previous import difference_of_rows, previous_version
from hubtools.evaluation.scores import classification_scores, detection_scores, span_scores
from hubtools.spec import LabelSet, TaskSpec
from hubtools.workdir import TaskFolder, write_json


def evaluate(
    task: TaskSpec,
    folder: TaskFolder,
    *,
    extra: Collection[str] = (),
    repo: str | None = None,
    note: Callable[[str], None] = lambda _: None,
    tick: Callable[[int], None] = lambda _: None,
) -> dict[str, Any]:
    """Write ``predictions.parquet``, ``metrics.json`` and the plots; return the metrics.

    Skipped while neither the weights nor the test split have changed, but for a baseline that is not there yet.

    Args:
        extra: baselines that cost time: "setfit", for sequence tasks.
        repo: where earlier versions are published; the newest is a baseline.

    Raises:
        MissingStage: there is no dataset or no model.
    """
    import pyarrow.parquet as pq
    from datasets import load_dataset

    facts = folder.read(folder.facts, "curate")
    training = folder.read(folder.training, "finetune")
    weights = folder.need(folder.model / "model.safetensors", "finetune")
    test_file = folder.need(folder.split_file("test"), "curate")
    mark = hashlib.sha256((_sha(weights) + _sha(test_file) + task.version).encode()).hexdigest()
    if folder.metrics.exists() and folder.predictions.exists():
        known: dict[str, Any] = json.loads(folder.metrics.read_text())
        if known.get("fingerprint") == mark and all((folder.model / name).exists() for name, _ in known["plots"]):
            if not extra or FEW_SHOT in known["baselines"]:
                note(f"{task.name}: scores are up to date")
                return known
            data = load_dataset(str(folder.dataset))
            known["baselines"][FEW_SHOT] = _few_shot(task, task.label_set(facts["label_set"]), data, training, note)
            write_json(folder.metrics, known)
            return known

    label_set = task.label_set(facts["label_set"])
    data = load_dataset(str(folder.dataset))
    classifier = load_classifier(task, str(folder.model))
    table = predictions_table(task, label_set, classifier, data["test"], tick)
    part = folder.predictions.with_suffix(".part")
    pq.write_table(table, part)
    part.replace(folder.predictions)

    scores = scores_of(folder.predictions, task, label_set)
    metrics: dict[str, Any] = {
        "task": task.name,
        "fingerprint": mark,
        "weights_sha256": _sha(weights),
        "primary": {"key": task.primary.key, "title": task.primary.title, **scores[task.primary.key]},
        "scores": scores,
        "baselines": {
            name: {"about": ABOUT[name], **_headlines(task, found)}
            for name, found in baselines(task, label_set, data["train"], data["test"], task.threshold).items()
        },
    }
    if extra:
        metrics["baselines"][FEW_SHOT] = _few_shot(task, label_set, data, training, note)
    if repo:
        _add_previous(task, label_set, folder, repo, metrics, note)
    metrics["examples"] = [_example(task, label_set, classifier, text) for text in task.examples]
    metrics["plots"] = draw_plots(metrics, training, folder.model)
    write_json(folder.metrics, metrics)
    first = metrics["primary"]
    interval = f"[{first['low']:.3f}, {first['high']:.3f}]"
    note(f"{task.name}: {first['title']} {first['value']:.3f} {interval} on {scores['rows']} test rows")
    return metrics


def _few_shot(
    task: TaskSpec, label_set: LabelSet, data: Any, training: dict[str, Any], note: Callable[[str], None]
) -> dict[str, Any]:
    note(f"{task.name}: training the SetFit baseline on {training['base']}")
    train, test = data["train"], data["test"]
    found = few_shot(
        training["base"], training["base_revision"], list(train["text"]), list(train["label"]), list(test["text"]),
        len(label_set.labels),
    )  # fmt: skip
    scores = classification_scores(test["label"], found, label_set.labels)
    if task.positive:
        scores |= detection_scores(test["label"], found, label_set.labels.index(task.positive), task.threshold)
    return {"about": ABOUT[FEW_SHOT], **_headlines(task, scores)}


def _add_previous(
    task: TaskSpec, label_set: LabelSet, folder: TaskFolder, repo: str, metrics: dict[str, Any],
    note: Callable[[str], None],
) -> None:  # fmt: skip
    """The published version beside the baselines, where it answered the same test rows; else why it is not there."""
    before = previous_version(repo, metrics["weights_sha256"])
    if before is None:
        return
    primary = before["metrics"].get("primary") or {}
    own = f"{primary.get('title')} {primary.get('value', float('nan')):.3f}"
    metrics["previous"] = {key: before[key] for key in ("repo", "tag", "revision")} | {
        "why_not": difference_of_rows(task, folder.predictions, before["predictions"]),
        "title": primary.get("title"), "value": primary.get("value"),
    }  # fmt: skip
    if metrics["previous"]["why_not"]:
        note(f"{task.name}: {repo} {before['tag']} had {own}, which is not comparable: "
             f"{metrics['previous']['why_not']}")  # fmt: skip
        return
    scores = scores_of(before["predictions"], task, label_set)
    metrics["baselines"][f"previous version ({before['tag']})"] = {
        "about": f"{repo} at {before['tag']}, its own answers to the same test rows", **_headlines(task, scores)
    }  # fmt: skip


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


def scores_of(predictions: Path, task: TaskSpec, label_set: LabelSet) -> dict[str, Any]:
    """Every score of a predictions file, which is all that it needs."""
    import pyarrow.parquet as pq

    rows = pq.read_table(predictions).to_pydict()
    if task.kind == "token":
        return span_scores(rows["spans"], rows["found"], label_set.labels)
    scores = classification_scores(rows["label"], rows["probabilities"], label_set.labels)
    if task.positive:
        positive = label_set.labels.index(task.positive)
        scores |= detection_scores(rows["label"], rows["probabilities"], positive, task.threshold)
    return scores


HEADLINES = {
    "sequence": (("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("weighted_f1", "weighted F1")),
    "detection": (
        ("recall_at_1_fpr", "recall at 1% FPR"), ("recall_at_5_fpr", "recall at 5% FPR"), ("roc_auc", "ROC-AUC"),
        ("pr_auc", "PR-AUC"), ("fpr_at_threshold", "FPR at the threshold"),
        ("fnr_at_threshold", "FNR at the threshold"),
        ("accuracy", "accuracy"), ("macro_f1", "macro F1"),
    ),
    "token": (
        ("entity_f1", "entity F1 (strict spans)"), ("entity_precision", "entity precision"),
        ("entity_recall", "entity recall"), ("macro_f1", "macro F1 over types"),
        ("false_alarms", "false alarms on documents without personal data"),
    ),
}  # fmt: skip


def headlines(task: TaskSpec) -> tuple[tuple[str, str], ...]:
    """(key, title) of the scores at the head of a card, the primary metric among them."""
    return HEADLINES["detection" if task.positive else task.kind]


def _headlines(task: TaskSpec, scores: dict[str, Any]) -> dict[str, Any]:
    return {key: scores[key]["value"] if isinstance(scores[key], dict) else scores[key] for key, _ in headlines(task)}


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
