"""Leave one source out: train without a collection, and score on it alone, at the threshold of that training."""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hubtools.curation.parquet import write_split
from hubtools.errors import UsageError
from hubtools.evaluation.unseen import score_held_out
from hubtools.options import TrainingOptions, WorkOptions
from hubtools.records import extend, from_json, write_record
from hubtools.records.studies import HeldOutScores, Outcome, SourceOutcome, SourceReport
from hubtools.studies.engine import PlannedTraining, open_study, raise_failures, refuse_named_dataset
from hubtools.studies.folds import read_rows
from hubtools.studies.source_folds import SourceFold, choose_left_out, leave_out
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

SCORES = "held-out.json"  # beside the outcome of a training


def cross_validate_by_source(
    task: TaskSpec, work: WorkOptions, options: TrainingOptions, asked: Sequence[str] = ()
) -> SourceReport | None:
    """Train once without each source and score it; return what ``leave-one-source-out.json`` holds as well.

    A source without which a class would have no row to train on cannot be left out, and is named in the report.

    Args:
        asked: see :func:`~hubtools.studies.source_folds.choose_left_out`.

    Returns:
        the report; None for a dry run.

    Raises:
        UsageError: one source alone, an unknown one, none that can be left out, or flags that name other data.
        MissingStage: the task is not curated here.
        TrainingFailed: not every training has a score; those that have are in the file all the same.
    """
    refuse_named_dataset(task, options)
    folder = work.folder(task)
    facts = folder.read_facts()
    label_set = task.label_set(facts.label_set)
    rows = read_rows(folder, task, label_set)
    folds: dict[str, SourceFold] = {}
    why_not: dict[str, str] = {}
    for sources in choose_left_out(asked, rows, task, facts):
        fold = leave_out(rows, sources, task, label_set, facts, options.seed)
        if isinstance(fold, str):
            why_not[", ".join(sources)] = fold
        else:
            folds[_name_folder(sources)] = fold
    if not folds:
        raise UsageError(
            f"No source of {task.name} can be left out",
            expected="another source with rows of every class",
            found="; ".join(f"{sources}: {reason}" for sources, reason in why_not.items()),
            next=f"hubtools curate {task.name} from more sources",
        )
    for left_out, reason in why_not.items():
        work.note(f"{task.name}: {left_out} cannot be left out: {reason}")

    def write_fold(name: str, run: TaskFolder) -> None:
        for split in ("train", "validation", "test"):
            write_split(folds[name].select(split), task.head, label_set, run.split_file(split))
        identity = f"{facts.fingerprint} without {json.dumps(folds[name].sources)}, seed {options.seed}"
        # Whole facts, as the scores of a fold are made as those of a release are.
        write_record(run.facts, replace(facts, fingerprint=hashlib.sha256(identity.encode()).hexdigest()))

    def score_fold(name: str, run: TaskFolder) -> None:
        write_record(run.root.parent / SCORES, score_held_out(task, label_set, run))

    study = open_study(task, work, options, "sources", "one left out", write_fold, score_fold)
    if options.dry_run:
        for fold in folds.values():
            counts = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in fold.counts.items())
            work.note(f"would train without {', '.join(fold.sources)}: {counts}")
        return None
    outcomes = study.train_all([PlannedTraining(name, options.seed) for name in folds])
    metrics = task.head.list_unseen(label_set.labels)
    trainings = [_describe(outcome, folds[outcome.name], study.root) for outcome in outcomes]
    report = extend(
        study.describe(trainings),
        SourceReport,
        split="held out",
        dataset=facts.fingerprint,
        training=study.fingerprint,
        titles={metric.key: metric.title for metric in metrics},
        means=_average(trainings),
        not_left_out=why_not,
    )
    path = folder.unseen
    write_record(path, report)
    if any(outcome.failure is not None for outcome in outcomes):
        raise_failures(task, outcomes, path)
    return report


def _describe(outcome: Outcome, fold: SourceFold, root: Path) -> SourceOutcome:
    path = root / outcome.name / SCORES
    scores = from_json(json.loads(path.read_text("utf-8")), HeldOutScores) if outcome.score is not None else None
    return extend(
        outcome,
        SourceOutcome,
        sources=list(fold.sources),
        **fold.counts,
        own_validation=fold.own_validation,
        held_out_scores=scores,
    )


def _average(outcomes: Sequence[SourceOutcome]) -> dict[str, float]:
    """Return the mean of each score over the collections that define it, each of which counts alike."""
    values: dict[str, list[float]] = defaultdict(list)
    for outcome in outcomes:
        for key, score in (outcome.held_out_scores.scores if outcome.held_out_scores else {}).items():
            if score:
                values[key].append(score.value)
    return {key: statistics.fmean(found) for key, found in values.items()}


def _name_folder(sources: Sequence[str]) -> str:
    """Return the name of a training's folder, which may hold no character of a path."""
    return "without-" + re.sub(r"[^\w.-]+", "--", "+".join(sources))[:80]
