"""Scores on somebody else's data: files of their own beside the test split's, and never mixed with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubtools.curation.evaluation_rows import LabelledRows, make_file_name, read_evaluation_rows
from hubtools.evaluation.classifiers import Classifier, label_maps, open_classifier
from hubtools.evaluation.predictions import read_columns, to_table, write_table
from hubtools.heads.base import LabelPlan
from hubtools.records import from_json, read_record, write_record
from hubtools.records.comparison import LabelsUsed, OtherDataReport
from hubtools.records.metrics import Metrics
from hubtools.records.scores import ScoresOnOtherData
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
) -> OtherDataReport:
    """Score the work folder's model, or ``model``, on ``dataset``; write ``external/<name>.json`` and its answers.

    Rows that stand in our training or validation split are left out.

    Returns:
        What the JSON holds.

    Raises:
        MissingStage: there is no model, or its dataset is not there.
        SourceError, UsageError: the data or the model cannot be read with these flags.
    """
    label_set = label_set_of(task, folder)
    name = model or str(folder.need(folder.model, "finetune"))
    maps = label_maps(label_map, [name], task, label_set)
    rows = read_evaluation_rows(
        task, dataset, with_map(columns, label_map), label_set, split=split, skip_bad_rows=skip_bad_rows,
        training=training_texts(folder, needed=not model),
    )  # fmt: skip
    classifier = open_classifier(task, label_set, name, maps.get("", {}) | maps.get(name, {}))
    answers = ask(task, label_set, classifier, rows, note)
    out = folder.root / FOLDER / (rows.name + (f"@{make_file_name(model)}" if model else ""))
    table = to_table(
        task.head,
        {
            "id": list(rows.ids),
            "characters": [len(text) for text in rows.texts],
            task.head.truth: list(rows.truth),
            task.head.answer: answers,
        },
    )
    write_table(out.with_name(out.name + ".parquet"), table)

    threshold = classifier.threshold or task.threshold
    scores, used = score_known(task, label_set.labels, rows.truth, answers, classifier.plan, threshold)
    report = from_json(
        {
            "task": task.name,
            "name": out.name,
            **rows.about,
            "model": classifier.name if model else None,
            "model_revision": classifier.revision,
            "weights_sha256": classifier.weights_sha256,
            "label_set": label_set.name,
            "labels": used,
            "threshold": threshold if task.head.threshold_label(label_set.labels) else None,
            "scores": scores,
        },
        OtherDataReport,
    )
    write_record(out.with_name(out.name + ".json"), report)
    return report


def follow_threshold(
    task: TaskSpec,
    labels: Sequence[str],
    folder: TaskFolder,
    weights_sha256: str,
    threshold: float | None,
    note: Callable[[str], None],
) -> None:
    """Compute the reports on other data of these weights again where they were made at another threshold.

    They are made of the answers beside them; a report whose answers are gone stays, and has no place on the card.
    """
    import pyarrow as pa

    head = task.head
    for path, report in _reports(folder, weights_sha256):
        if threshold is None or report.threshold == threshold:
            continue
        try:
            rows = read_columns(path.with_suffix(".parquet"))
            known = {i for i, label in enumerate(labels) if label not in report.labels.not_in_model}
            scores, _ = head.score_known(rows[head.truth], rows[head.answer], labels, known, threshold)
        except (pa.ArrowException, OSError, KeyError):
            note(
                f"{task.name}: {report.dataset} was scored at the threshold {report.threshold:g}, and its "
                "answers cannot be read: the card leaves it out until evaluate --dataset scores it again"
            )
            continue
        write_record(path, replace(report, threshold=threshold, scores=scores))


def with_map(columns: Columns, label_map: Sequence[str]) -> Columns:
    """Return the columns with the label map that is for the data, where there is one."""
    general = [Path(entry) for entry in label_map if "=" not in entry]
    return Columns(**{**vars(columns), "label_map": general[-1]}) if general else columns


def label_set_of(task: TaskSpec, folder: TaskFolder) -> LabelSet:
    """Return the label set of the work folder's dataset, or the task's default where there is none."""
    return task.label_set(folder.read_facts().label_set if folder.facts.exists() else None)


def training_texts(folder: TaskFolder, *, needed: bool = False) -> list[str] | None:
    """Return the texts that a model was made with; None where there is no dataset, unless it is ``needed``.

    They are those it was trained on, and those that chose its checkpoint, temperature and threshold.
    """
    import pyarrow.parquet as pq

    files = [folder.split_file(split) for split in ("train", "validation")]
    if not needed and not all(path.exists() for path in files):
        return None
    tables = [pq.read_table(folder.need(path, "curate"), columns=["text"]) for path in files]
    return [text for table in tables for text in table["text"].to_pylist()]


def ask(
    task: TaskSpec, label_set: LabelSet, classifier: Classifier, rows: LabelledRows, note: Callable[[str], None]
) -> list[Any]:
    """Return the model's answers, with a progress bar, and note what is to be said of its labels."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    plan, name = classifier.plan, classifier.name
    if plan.others:
        others = ", ".join(plan.others)
        note(f"{name}: has labels that are none of ours ({others}): {task.head.words.others_note}")
    with tqdm(total=len(rows.texts), desc=f"{name}: scoring", unit="row", leave=False, disable=None) as bar:
        return task.head.predict(classifier.pipeline, plan, rows.texts, label_set.labels, bar.update)


def score_known(
    task: TaskSpec,
    labels: Sequence[str],
    truth: Sequence[Any],
    answers: Sequence[Any],
    plan: LabelPlan,
    threshold: float,
) -> tuple[ScoresOnOtherData, LabelsUsed]:
    """Return scores on what the data ask and the model can answer, and which labels these are.

    Args:
        answers: as :meth:`~hubtools.heads.Head.predict` returns them.
    """
    scores, asked = task.head.score_known(truth, answers, labels, plan.known, threshold)
    return scores, LabelsUsed(
        scored=[labels[i] for i in sorted(asked & plan.known)],
        not_in_data=[label for i, label in enumerate(labels) if i not in asked],
        not_in_model=[label for i, label in enumerate(labels) if i not in plan.known],
        other_answers=list(plan.others),
        ignored=list(plan.ignored),
    )


def reports_for_card(folder: TaskFolder, metrics: Metrics) -> list[OtherDataReport]:
    """Return what a card says of other data: the reports of the weights and the threshold of ``metrics``, by name."""
    reports = [report for _, report in _reports(folder, metrics.weights_sha256)]
    return [report for report in reports if report.threshold == metrics.shipped_threshold]


def _reports(folder: TaskFolder, weights_sha256: str) -> list[tuple[Path, OtherDataReport]]:
    """Return the reports on other data that are of these weights, and of the work folder's own model."""
    paths = sorted((folder.root / FOLDER).glob("*.json"))
    read = [(path, read_record(path, OtherDataReport, task=folder.task, command="evaluate")) for path in paths]
    return [(path, r) for path, r in read if r.weights_sha256 == weights_sha256 and not r.model]
