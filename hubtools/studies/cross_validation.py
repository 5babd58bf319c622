"""k-fold cross-validation: every row of training and validation is held out once, and never one of the test split."""

from __future__ import annotations

import hashlib

from hubtools.curation.parquet import write_split
from hubtools.options import TrainingOptions, WorkOptions
from hubtools.records import extend, write_json, write_record
from hubtools.records.studies import CrossValidationReport, FoldOutcome
from hubtools.studies.engine import PlannedTraining, open_study, raise_failures, refuse_named_dataset, summarize_scores
from hubtools.studies.folds import divide_rows, read_rows
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

# What a reader has to know of the scores, in the report's own words.
OPTIMISTIC = "each fold picks its checkpoint by the rows that it is scored on, which flatters the scores a little"
SYNTHETIC = (
    "documents of every fold are made as for training: roughened, and filled with names and numbers of one pool, "
    "which curation keeps apart between splits; scores are not those of new people"
)


def cross_validate_task(
    task: TaskSpec, work: WorkOptions, options: TrainingOptions, folds: int
) -> CrossValidationReport | None:
    """Train once for each fold and score what it holds out; return what ``cross-validation.json`` holds as well.

    Returns:
        the report; None for a dry run.

    Raises:
        UsageError: data that cannot be divided so often, or flags that name other data.
        MissingStage: the task is not curated here.
        TrainingFailed: not every training has a score; those that have are in the file all the same.
    """
    refuse_named_dataset(task, options)
    folder = work.folder(task)
    facts = folder.read_facts()
    label_set = task.label_set(facts.label_set)
    divisions = divide_rows(read_rows(folder, task, label_set), task, label_set, facts, folds, options.seed)
    by_name = {f"fold-{number}": fold for number, fold in enumerate(divisions, 1)}

    def write_fold(name: str, run: TaskFolder) -> None:
        for split in ("train", "validation"):
            write_split(by_name[name].select(split), task.head, label_set, run.split_file(split))
        # A fold is another dataset than the task's: trainings of the two are never taken for the same.
        identity = f"{facts.fingerprint} {name} of {folds}, seed {options.seed}"
        fingerprint = hashlib.sha256(identity.encode()).hexdigest()
        write_json(
            run.facts, {"fingerprint": fingerprint, "made_of": str(folder.dataset), "name": name, "folds": folds}
        )

    # Seed and data are in the fingerprint already: with the number of folds they decide which rows each one holds.
    study = open_study(task, work, options, "folds", folds, write_fold)
    if options.dry_run:
        for name, fold in by_name.items():
            work.note(f"would train {name}: " + ", ".join(f"{count} {what}" for what, count in fold.counts.items()))
        return None
    outcomes = study.train_all([PlannedTraining(name, options.seed) for name in by_name])
    study.remove_models_but(None)  # none of them has seen all training rows: they were for their scores
    spread = summarize_scores(outcomes)
    synthetic = facts.synthesis is not None and "validation" in facts.synthesis.splits
    fold_outcomes = [extend(outcome, FoldOutcome, **by_name[outcome.name].counts) for outcome in outcomes]
    report = extend(
        study.describe(fold_outcomes),
        CrossValidationReport,
        folds=folds,
        **vars(spread),
        notes=[OPTIMISTIC, *([SYNTHETIC] if synthetic else [])],
    )
    path = folder.root / "cross-validation.json"
    write_record(path, report)
    if spread.scored < len(outcomes):
        raise_failures(task, outcomes, path)
    return report
