"""Scores on somebody else's data: files of their own beside the test split's, and never mixed with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hubtools.curation.evaluation_rows import LabelledRows, make_file_name, read_evaluation_rows
from hubtools.evaluation.classifiers import ANOTHER, Classifier, answers, label_maps, open_classifier
from hubtools.evaluation.scores import classification_scores, detection_scores, rate, span_scores
from hubtools.evaluation.thresholds import label_of, shipped
from hubtools.records import write_json
from hubtools.rows import Columns
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

FOLDER = "external"


def evaluate_on(
    task: TaskSpec,
    folder: TaskFolder,
    dataset: str,
    *,
    columns: Columns,
    split: str | None = None,
    model: str | None = None,
    label_map: Sequence[str] = (),
    skip_bad_rows: bool = False,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Score the work folder's model, or ``model``, on ``dataset``; write ``external/<name>.json`` and its answers.

    Rows that stand in our training or validation split are left out.

    Returns:
        What the JSON holds.

    Raises:
        MissingStage: there is no model, or its dataset is not there.
        SourceError, UsageError: the data or the model cannot be read with these flags.
    """
    import pyarrow.parquet as pq

    label_set = label_set_of(task, folder)
    name = model or str(folder.need(folder.model, "finetune"))
    maps = label_maps(label_map, [name], task, label_set)
    rows = read_evaluation_rows(
        task, dataset, with_map(columns, label_map), label_set, split=split, skip_bad_rows=skip_bad_rows,
        training=training_texts(folder, needed=not model),
    )  # fmt: skip
    classifier = open_classifier(task, label_set, name, maps.get("", {}) | maps.get(name, {}))
    found = answered(task, label_set, classifier, rows, note)
    out = folder.root / FOLDER / (rows.name + (f"@{make_file_name(model)}" if model else ""))
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".parquet.part")
    pq.write_table(_table(task, rows, found), part)
    part.replace(out.with_name(out.name + ".parquet"))

    threshold = classifier.threshold or task.threshold
    scores, used = scores_on(task, label_set, rows.truth, found, classifier.plan.known, threshold)
    report = {
        "task": task.name,
        "name": out.name,
        **rows.about,
        "model": classifier.name if model else None,
        "model_revision": classifier.revision,
        "weights_sha256": classifier.weights_sha256,
        "label_set": label_set.name,
        "labels": used | {"other_answers": list(classifier.plan.others), "ignored": list(classifier.plan.ignored)},
        "threshold": threshold if label_of(task, label_set) else None,
        "scores": scores,
    }
    write_json(out.with_name(out.name + ".json"), report)
    return report


def follow_threshold(
    task: TaskSpec, label_set: LabelSet, folder: TaskFolder, weights_sha256: str, threshold: float | None,
    note: Callable[[str], None],
) -> None:  # fmt: skip
    """Compute the reports on other data of these weights again where they were made at another threshold.

    They are made of the answers beside them; a report whose answers are gone stays, and has no place on the card.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path, report in _reports(folder, weights_sha256):
        if threshold is None or report["threshold"] == threshold:
            continue
        truth, answer = ("spans", "found") if task.kind == "token" else ("label", "probabilities")
        try:
            rows = pq.read_table(path.with_suffix(".parquet")).to_pydict()
            lacking = {label_set.labels.index(label) for label in report["labels"]["not_in_model"]}
            known = frozenset(range(len(label_set.labels))) - lacking
            scores, _ = scores_on(task, label_set, rows[truth], rows[answer], known, threshold)
        except (pa.ArrowException, OSError, KeyError):
            note(
                f"{task.name}: {report['dataset']} was scored at the threshold {report['threshold']:g}, and its "
                "answers cannot be read: the card leaves it out until evaluate --dataset scores it again"
            )
            continue
        write_json(path, report | {"threshold": threshold, "scores": scores})


def with_map(columns: Columns, label_map: Sequence[str]) -> Columns:
    """Columns with the label map that is for the data, where there is one."""
    general = [Path(entry) for entry in label_map if "=" not in entry]
    return Columns(**{**vars(columns), "label_map": general[-1]}) if general else columns


def label_set_of(task: TaskSpec, folder: TaskFolder) -> LabelSet:
    """The label set of the work folder's dataset, or the task's default where there is none."""
    return task.label_set(folder.read(folder.facts, "curate")["label_set"] if folder.facts.exists() else None)


def training_texts(folder: TaskFolder, *, needed: bool = False) -> list[str] | None:
    """Texts that a model was made with: those it was trained on, and those that chose its checkpoint, temperature and
    threshold. None where the work folder has no dataset, unless it is ``needed``.
    """
    import pyarrow.parquet as pq

    files = [folder.split_file(split) for split in ("train", "validation")]
    if not needed and not all(path.exists() for path in files):
        return None
    tables = [pq.read_table(folder.need(path, "curate"), columns=["text"]) for path in files]
    return [text for table in tables for text in table["text"].to_pylist()]


def answered(
    task: TaskSpec, label_set: LabelSet, classifier: Classifier, rows: LabelledRows, note: Callable[[str], None]
) -> list[Any]:
    """The model's answers, with a progress bar, and what is to be said of its labels."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    plan, name = classifier.plan, classifier.name
    if plan.others:
        wrong = "its spans of these are not counted" if task.kind == "token" else "an answer with one counts as wrong"
        note(f"{name}: has labels that are none of ours ({', '.join(plan.others)}): {wrong}")
    with tqdm(total=len(rows.texts), desc=f"{name}: scoring", unit="row", leave=False, disable=None) as bar:
        return answers(task, label_set, classifier, rows.texts, bar.update)


def scores_on(
    task: TaskSpec, label_set: LabelSet, truth: Sequence[Any], found: Sequence[Any], known: frozenset[int],
    threshold: float,
) -> tuple[dict[str, Any], dict[str, list[str]]]:  # fmt: skip
    """Scores on what the data ask and the model can answer.

    A row whose label the model does not have is not scored. Of a token task only those types count that the data
    mark somewhere and the model has: what nobody marked cannot be told from a false alarm.

    Args:
        found: as :func:`~hubtools.evaluation.classifiers.answers` returns it.

    Returns:
        The scores, and which labels were ``scored``, ``not_in_data`` and ``not_in_model``.
    """
    labels = label_set.labels
    if task.kind == "token":
        held = {span["label"] for spans in truth for span in spans}
        kept = sorted(held & known)
        scores = span_scores(of_types(truth, kept), of_types(found, kept), [labels[i] for i in kept])
    else:
        held = set(truth)
        kept = sorted(held & known)
        rows = [i for i, label in enumerate(truth) if label in known]
        y, p = [truth[i] for i in rows], np.array([found[i] for i in rows])
        scores = _sequence_scores(task, label_set, y, p, threshold) if rows else {"rows": 0}
    used = {
        "scored": [labels[i] for i in kept],
        "not_in_data": [label for i, label in enumerate(labels) if i not in held],
        "not_in_model": [label for i, label in enumerate(labels) if i not in known],
    }
    return scores, used


def of_types(rows: Sequence[Sequence[Mapping[str, Any]]], types: Sequence[int]) -> list[list[dict[str, Any]]]:
    """Spans of ``types`` alone, their labels as indices of it."""
    place = {label: i for i, label in enumerate(types)}
    return [[{**span, "label": place[span["label"]]} for span in row if span["label"] in place] for row in rows]


def _sequence_scores(
    task: TaskSpec, label_set: LabelSet, y: Sequence[int], p: np.ndarray, threshold: float
) -> dict[str, Any]:
    labels = label_set.labels
    scores = classification_scores(y, p, [*labels, ANOTHER])
    scores["absent"] = [name for name in scores["absent"] if name != ANOTHER]
    if not p[:, -1].any():  # the model has no label but ours
        scores["per_class"].pop()
        scores["confusion"] = [row[:-1] for row in scores["confusion"][:-1]]
    if not task.positive:
        return scores | (_answered(y, p, threshold) if label_of(task, label_set) else {})
    positive = labels.index(task.positive)
    if len({label == positive for label in y}) == 2:
        return scores | detection_scores(y, p, positive, threshold)
    flagged = int((p[:, positive] >= threshold).sum())
    key, wrong = ("fnr_at_threshold", len(y) - flagged) if y[0] == positive else ("fpr_at_threshold", flagged)
    return scores | {"threshold": threshold, key: rate(wrong, len(y))}


def _answered(y: Sequence[int], p: np.ndarray, threshold: float) -> dict[str, Any]:
    """How many rows a model is sure enough of, and how many of these it has right."""
    answered = p.max(1) >= threshold
    right = p.argmax(1) == np.array(y)
    return {
        "threshold": threshold,
        "answered": rate(int(answered.sum()), len(y)),
        "accuracy_of_answered": rate(int((answered & right).sum()), int(answered.sum())),
    }


def _table(task: TaskSpec, rows: LabelledRows, found: list[Any]) -> Any:
    """The answers, without texts: ``id`` is the place of a row in its source."""
    import pyarrow as pa

    truth, answer = ("spans", "found") if task.kind == "token" else ("label", "probabilities")
    span = [("start", pa.int32()), ("end", pa.int32()), ("label", pa.int64())]
    types = {
        "label": pa.int64(), "probabilities": pa.list_(pa.float64()), "spans": pa.list_(pa.struct(span)),
        "found": pa.list_(pa.struct([*span, ("score", pa.float64())])),
    }  # fmt: skip
    return pa.table(
        {"id": list(rows.ids), "characters": [len(text) for text in rows.texts], truth: list(rows.truth),
         answer: found},
        schema=pa.schema([("id", pa.string()), ("characters", pa.int64()), (truth, types[truth]),
                          (answer, types[answer])]),
    )  # fmt: skip


def sections(folder: TaskFolder, metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a card says of other data: the reports of the weights and the threshold of ``metrics``, by name."""
    found = [report for _, report in _reports(folder, metrics["weights_sha256"])]
    return [report for report in found if report["threshold"] == shipped(metrics)]


def _reports(folder: TaskFolder, weights_sha256: str) -> list[tuple[Path, dict[str, Any]]]:
    """The reports on other data that are of these weights, and of the work folder's own model."""
    read = [(path, folder.read(path, "evaluate")) for path in sorted((folder.root / FOLDER).glob("*.json"))]
    return [(path, r) for path, r in read if r.get("weights_sha256") == weights_sha256 and not r.get("model")]
