"""Rows whose label is likely wrong: those that disagree with models which were not trained on them.

Confident learning (Northcutt, Jiang and Chuang 2021, arXiv:1911.00068), as cleanlab has it: a label is doubted where
another is more probable than that other one usually is, in about as many rows as the classes are confused. It finds
what to look at; a person decides.
"""

from __future__ import annotations

import csv
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hubtools.curation.corrections import CORRECTION, ID
from hubtools.curation.parquet import make_id, write_split
from hubtools.errors import UsageError
from hubtools.heads.out_of_fold import RowAnswer, answer_out_of_fold
from hubtools.options import TrainingOptions, WorkOptions
from hubtools.records import extend, write_json, write_record, write_whole
from hubtools.records.studies import LabelErrorsReport
from hubtools.spec import Example, LabelSet
from hubtools.studies.engine import PlannedTraining, check_extra, open_study, raise_failures, refuse_named_dataset
from hubtools.studies.folds import divide_rows, read_rows
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder, load_folder

ANSWERS = "out-of-fold.json"  # beside the outcome of a training


def find_label_errors(
    task: TaskSpec, work: WorkOptions, options: TrainingOptions, folds: int
) -> LabelErrorsReport | None:
    """Train once a fold, and write the rows of training and validation whose label the others' models doubt.

    The file is ``label-errors.csv``, or ``.jsonl`` where spans are marked, the most doubtful row first; what a person
    filled into it before stays. Supplements are looked at as well, but not what was made of templates. Test rows are
    not: labels that were corrected by what models say would flatter them there.

    Returns:
        the report; None for a dry run.

    Raises:
        UsageError: cleanlab is not installed, or data that cannot be divided so often.
        MissingStage: the task is not curated here.
        TrainingFailed: a training has no score: without it, its rows have no answers.
    """
    check_extra("labels", "cleanlab", "Label errors are found by cleanlab, which is not installed")
    refuse_named_dataset(task, options)
    folder = work.folder(task)
    facts = folder.read_facts()
    label_set = task.label_set(facts.label_set)
    rows = read_rows(folder, task, label_set)
    divisions = divide_rows(rows, task, label_set, facts, folds, options.seed, supplements=True)
    by_name = {f"fold-{number}": fold for number, fold in enumerate(divisions, 1)}

    def write_fold(name: str, run: TaskFolder) -> None:
        for split in ("train", "validation"):
            write_split(by_name[name].select(split), task.head, label_set, run.split_file(split))
        identity = f"{facts.fingerprint} labels of {name} of {folds}, seed {options.seed}"
        write_json(run.facts, {"fingerprint": hashlib.sha256(identity.encode()).hexdigest()})

    def answer_fold(name: str, run: TaskFolder) -> None:
        from hubtools.heads.inference import load_pipeline

        data = load_folder(run.dataset)["validation"]
        classifier = load_pipeline(task.head.pipeline, str(run.model))
        columns = cast("Any", {"text": data["text"], task.head.truth: data[task.head.truth]})
        answers = answer_out_of_fold(task.head, classifier, columns, label_set.labels)
        ids = [make_id(text) for text in data["text"]]
        write_json(run.root.parent / ANSWERS, {i: vars(answer) for i, answer in zip(ids, answers, strict=True)})

    study = open_study(task, work, options, "label-errors", folds, write_fold, answer_fold)
    if options.dry_run:
        for name, fold in by_name.items():
            work.note(f"would train {name}: " + ", ".join(f"{count} {what}" for what, count in fold.counts.items()))
        return None
    outcomes = study.train_all([PlannedTraining(name, options.seed) for name in by_name])
    if any(outcome.failure is not None for outcome in outcomes):
        raise_failures(task, outcomes, study.root)
    answers: dict[str, RowAnswer] = {}
    for name in by_name:
        content = json.loads((study.root / name / ANSWERS).read_text("utf-8"))
        answers |= {i: RowAnswer(**answer) for i, answer in content.items()}
    doubted = find_doubted(answers)
    examples = {make_id(row.text): row for row in rows}
    path = folder.root / f"label-errors.{'jsonl' if task.head.per_token else 'csv'}"
    lines = [_describe(i, examples[i], answers[i], quality, task, label_set) for i, quality in doubted.items()]
    kept = write_lines(path, lines)
    report = extend(
        study.describe(outcomes), LabelErrorsReport, folds=folds, rows=len(answers), found=len(lines), kept=kept,
        file=str(path),
    )  # fmt: skip
    write_record(folder.root / "label-errors.json", report)
    return report


def find_doubted(answers: Mapping[str, RowAnswer]) -> dict[str, float]:
    """Return the quality of the label of each row that is doubted, the worst first: its probability, from 0 to 1.

    Of a row with several labels, one for each token, it is that of the most doubtful one.
    """
    import numpy as np
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    ids = [row for row, answer in answers.items() for _ in answer.given]
    given = np.array([label for answer in answers.values() for label in answer.given], dtype=int)
    probabilities = np.array([p for answer in answers.values() for p in answer.probabilities], dtype=float)
    if not len(ids):
        return {}
    # Float32 sums to 1 nearly, and is to do so exactly.
    probabilities /= probabilities.sum(1, keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with too few rows to doubt one of them
        # In this process alone: its workers would load all of this again.
        doubted = find_label_issues(given, probabilities, n_jobs=1)
    quality = get_label_quality_scores(given, probabilities)
    worst: dict[str, float] = {}
    for number in np.flatnonzero(doubted):
        worst[ids[number]] = min(worst.get(ids[number], 1.0), float(quality[number]))
    return dict(sorted(worst.items(), key=lambda entry: (entry[1], entry[0])))


def _describe(
    row_id: str, row: Example, answer: RowAnswer, quality: float, task: TaskSpec, label_set: LabelSet
) -> dict[str, object]:
    """Return a line of the file; its last column is for a person to fill in."""
    suggested = task.head.name_truth(row, answer.suggested, label_set)
    known: dict[str, object] = {ID: row_id, "source": row.source, "split": row.split, "quality": round(quality, 4)}
    if not task.head.per_token:
        return {**known, "label": row.label, "suggested": suggested.label, CORRECTION: "", "text": row.text}
    spans, others = (
        [{"start": s.start, "end": s.end, "type": s.type, "text": row.text[s.start : s.end]} for s in one.spans]
        for one in (row, suggested)
    )
    return {**known, "text": row.text, "spans": spans, "suggested": others, CORRECTION: None}


def write_lines(path: Path, lines: Sequence[dict[str, object]]) -> int:
    """Write the file; rows that a person filled in before keep what stands there, also those not doubted any more.

    Returns:
        how many of these there are.
    """
    filled = {str(row[ID]): row for row in _read_lines(path) if row.get(CORRECTION)}
    merged = [
        {**line, CORRECTION: filled.pop(str(line[ID]))[CORRECTION]} if line[ID] in filled else line for line in lines
    ]
    kept = sum(bool(line[CORRECTION]) for line in merged) + len(filled)
    merged += filled.values()
    with write_whole(path) as part, part.open("w", encoding="utf-8", newline="") as out:
        if path.suffix == ".jsonl":
            out.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in merged)
        else:
            names = list(merged[0]) if merged else [ID, CORRECTION]
            writer = csv.DictWriter(out, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(merged)
    return kept


def _read_lines(path: Path) -> list[dict[str, object]]:
    """Return the lines of a file that this command wrote, as a person left them; none where there is none.

    Raises:
        UsageError: it cannot be read: what a person filled in would be lost.
    """
    if not path.exists():
        return []
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            if path.suffix == ".jsonl":
                return [json.loads(line) for line in lines if line.strip()]
            return [dict(row) for row in csv.DictReader(lines) if row.get(ID)]
    except (ValueError, csv.Error) as error:
        raise UsageError(
            f"{path} cannot be read, and may hold what you filled in",
            expected="the file as hubtools label-errors wrote it, with a column filled in",
            found=str(error),
            next="mend it, or move it away",
        ) from error
