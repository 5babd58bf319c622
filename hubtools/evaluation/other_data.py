"""Scores on somebody else's data: files of their own beside the test split's, and never mixed with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hubtools.curation.evaluation_rows import LabelledRows, make_file_name, read_evaluation_rows
from hubtools.evaluation.classifiers import Classifier, open_classifier, read_label_maps
from hubtools.evaluation.predictions import read_columns, to_table, write_table
from hubtools.heads.values import Column, LabelPlan, Predicted
from hubtools.records import from_json, read_record, write_record
from hubtools.records.comparison import LabelsUsed, OtherDataReport
from hubtools.records.metrics import Metrics
from hubtools.records.scores import ScoresOnOtherData
from hubtools.rows import Columns
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

FOLDER = "external"  # of the work folder

Note = Callable[[str], None]


@dataclass(frozen=True)
class OtherData:
    """Somebody else's labelled data.

    Attributes:
        name: a file, its https:// address, a dataset repo, or a benchmark of the task.
        columns: what its columns are called.
        split: the one to score on; None for the test split where there is one, else all rows.
        skip_bad_rows: leave out rows that cannot be read, instead of an error.
    """

    name: str
    columns: Columns
    split: str | None = None
    skip_bad_rows: bool = False


def evaluate_on(
    task: TaskSpec,
    folder: TaskFolder,
    data: OtherData,
    *,
    model: str | None = None,
    label_maps: Sequence[str] = (),
    note: Note = lambda _: None,
) -> OtherDataReport:
    """Score the work folder's model, or ``model``, on ``data``; write ``external/<name>.json`` and its answers.

    Rows that stand in our training or validation split are left out.

    Args:
        model: a repo or a folder.
        label_maps: ``FILE`` for the data and the model, or ``MODEL=FILE``.

    Returns:
        What the JSON holds.

    Raises:
        MissingStage: there is no model, or its dataset is not there.
        SourceError, UsageError: the data or the model cannot be read with these flags.
    """
    label_set = choose_label_set(task, folder)
    name = model or str(folder.need(folder.model, "finetune"))
    maps = read_label_maps(label_maps, [name], task, label_set)
    # Our own model is never scored on rows that it has seen; of another's we compare with what is there.
    rows = read_other_data(task, data, label_maps, label_set, training=read_training_texts(folder, needed=not model))
    classifier = open_classifier(task, label_set, name, maps.get("", {}) | maps.get(name, {}))
    predicted = predict_answers(task, label_set, classifier, rows, note)
    answers = predicted.answers
    out = folder.root / FOLDER / (rows.name + (f"@{make_file_name(model)}" if model else ""))
    table = to_table(
        task.head,
        {
            "id": list(rows.ids),
            "group": list(rows.groups),
            "characters": [len(text) for text in rows.texts],
            task.head.truth: list(rows.truth),
            task.head.answer: answers,
            **predicted.reading,
        },
    )
    # Not with_suffix: a name may hold a dot, as that of a model does.
    write_table(out.with_name(out.name + ".parquet"), table)

    threshold = classifier.choose_threshold(task)
    scores, used = score_known(task, label_set.labels, rows.truth, answers, classifier.plan, threshold)
    columns = task.head.join_answers(rows.truth, answers)
    columns |= {"group": rows.groups, "text": rows.texts}
    # Where the rows are from is described as JSON has it, so that the whole is checked by its record.
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
            "threshold": threshold if task.head.find_threshold_label(label_set.labels) else None,
            "scores": scores,
            "unseen": task.head.score_unseen(columns, label_set.labels, classifier.plan.known, threshold),
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
    note: Note,
) -> None:
    """Compute the reports on other data of these weights again where they were made at another threshold.

    They are made of the answers beside them; a report whose answers are gone stays, and has no place on the card.
    """
    import pyarrow as pa

    head = task.head
    for path, report in read_own_reports(folder, weights_sha256):
        # Without a threshold there is nothing to follow; at the same one the scores would be the same.
        if threshold is None or report.threshold == threshold:
            continue
        try:
            rows = read_columns(path.with_suffix(".parquet"))
            known = {i for i, label in enumerate(labels) if label not in report.labels.not_in_model}
            scores, _ = head.score_known(rows, labels, known, threshold)
            unseen = report.unseen and head.score_unseen(rows, labels, known, threshold)
        except (pa.ArrowException, OSError, KeyError):
            # Kept as it is: its numbers are right for its own threshold, which it names.
            note(
                f"{task.name}: {report.dataset} was scored at the threshold {report.threshold:g}, and its "
                "answers cannot be read: the card leaves it out until evaluate --dataset scores it again"
            )
            continue
        write_record(path, replace(report, threshold=threshold, scores=scores, unseen=unseen))


def read_other_data(
    task: TaskSpec, data: OtherData, label_maps: Sequence[str], label_set: LabelSet, *, training: Sequence[str] | None
) -> LabelledRows:
    """Read somebody else's rows; see :func:`~hubtools.curation.evaluation_rows.read_evaluation_rows`."""
    # A map without a model's name is for the data as well; the last one, as for all flags that are given twice.
    general = [Path(entry) for entry in label_maps if "=" not in entry]
    columns = replace(data.columns, label_map=general[-1]) if general else data.columns
    return read_evaluation_rows(
        task, data.name, columns, label_set, split=data.split, skip_bad_rows=data.skip_bad_rows, training=training
    )


def choose_label_set(task: TaskSpec, folder: TaskFolder) -> LabelSet:
    """Return the label set of the work folder's dataset, or the task's default where there is none."""
    return task.label_set(folder.read_facts().label_set if folder.facts.exists() else None)


def read_training_texts(folder: TaskFolder, *, needed: bool = False) -> list[str] | None:
    """Return the texts that a model was made with; None where there is no dataset, unless it is ``needed``.

    They are those it was trained on, and those that chose its checkpoint, temperature and threshold.
    """
    import pyarrow.parquet as pq

    files = [folder.split_file(split) for split in ("train", "validation")]
    if not needed and not all(path.exists() for path in files):
        return None
    # The column of texts alone: spans and words of a large split would fill the memory.
    tables = [pq.read_table(folder.need(path, "curate"), columns=["text"]) for path in files]
    return [text for table in tables for text in table["text"].to_pylist()]


def predict_answers(
    task: TaskSpec, label_set: LabelSet, classifier: Classifier, rows: LabelledRows, note: Note
) -> Predicted:
    """Return the model's answers, with a progress bar, and report labels of its that are none of ours."""
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
    truth: Column,
    answers: Column,
    plan: LabelPlan,
    threshold: float,
) -> tuple[ScoresOnOtherData, LabelsUsed]:
    """Return scores on what the data ask and the model can answer, and which labels these are.

    Args:
        answers: as :meth:`~hubtools.heads.Head.predict` returns them.
    """
    rows = task.head.join_answers(truth, answers)
    # What the model lacks is no mistake of its, and what the data lack cannot be measured.
    scores, present = task.head.score_known(rows, labels, plan.known, threshold)
    return scores, LabelsUsed(
        scored=[labels[i] for i in sorted(present & plan.known)],
        not_in_data=[label for i, label in enumerate(labels) if i not in present],
        not_in_model=[label for i, label in enumerate(labels) if i not in plan.known],
        other_answers=list(plan.others),
        ignored=list(plan.ignored),
    )


def list_reports_for_card(folder: TaskFolder, metrics: Metrics) -> list[OtherDataReport]:
    """Return what a card says of other data: the reports of the weights and the threshold of ``metrics``, by name."""
    # One at another threshold would stand on the card beside numbers that it does not belong to.
    reports = [report for _, report in read_own_reports(folder, metrics.weights_sha256)]
    return [report for report in reports if report.threshold == metrics.shipped_threshold]


def read_own_reports(folder: TaskFolder, weights_sha256: str) -> list[tuple[Path, OtherDataReport]]:
    """Return the reports on other data that are of these weights, and of the work folder's own model."""
    paths = sorted((folder.root / FOLDER).glob("*.json"))
    read = [(path, read_record(path, OtherDataReport, task=folder.task, command="evaluate")) for path in paths]
    # A report of other weights is of a model that is no longer there; those of another's model are for its owner.
    return [(path, r) for path, r in read if r.weights_sha256 == weights_sha256 and not r.model]
