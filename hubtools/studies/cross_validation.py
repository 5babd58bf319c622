"""k-fold cross-validation: every row of training and validation is held out once, and never one of the test split."""

from __future__ import annotations

import hashlib
from typing import Any

from hubtools.curation.parquet import write_split
from hubtools.errors import UsageError
from hubtools.records import write_json
from hubtools.settings import Settings
from hubtools.studies.engine import Planned, described, fail, opened, spread
from hubtools.studies.folds import divide_rows, read_rows
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

OPTIMISTIC = "each fold picks its checkpoint by the rows that it is scored on, which flatters the scores a little"
MADE_UP = (
    "documents of every fold are made as for training: roughened, and filled with names and numbers of one pool, "
    "which curation keeps apart between splits; scores are not those of new people"
)


def cross_validate(task: TaskSpec, settings: Settings, folds: int) -> dict[str, Any]:
    """Train once a fold and score what it holds out. Returns, and writes to ``cross-validation.json``, all scores.

    Raises:
        UsageError: data that cannot be divided so often, or flags that name other data.
        MissingStage: the task is not curated here.
        TrainingFailed: not every training has a score; those that have are in the file all the same.
    """
    if any(flag.split("=")[0] == "--dataset" for flag in settings.training):
        raise UsageError(
            "Folds are made of the curated dataset", expected="no --dataset", found="--dataset",
            next=f"curate these data with hubtools curate {task.name} --source, then cross-validate",
        )  # fmt: skip
    folder = settings.folder(task)
    facts = folder.read_facts()
    label_set = task.label_set(facts.label_set)
    made = divide_rows(read_rows(folder, task, label_set), task, label_set, facts, folds, settings.seed)
    by_name = {f"fold-{number}": fold for number, fold in enumerate(made, 1)}

    def lay_out(name: str, run: TaskFolder) -> None:
        for split in ("train", "validation"):
            write_split(by_name[name].select(split), task.head, label_set, run.split_file(split))
        mark = hashlib.sha256(f"{facts.fingerprint} {name} of {folds}, seed {settings.seed}".encode()).hexdigest()
        write_json(run.facts, {"fingerprint": mark, "made_of": str(folder.dataset), "name": name, "folds": folds})

    study = opened(task, settings, "folds", folds, lay_out)
    trainings = [Planned(name, settings.seed) for name in by_name]
    if settings.dry_run:
        for name, fold in by_name.items():
            settings.note(f"would train {name}: " + ", ".join(f"{count} {of}" for of, count in fold.counts.items()))
        return {}
    outcomes = study.attempt_all(trainings)
    study.keep_model_of(None)
    synthetic = facts.synthesis and "validation" in facts.synthesis.splits
    report = {
        **described(study, [outcome | by_name[outcome["name"]].counts for outcome in outcomes]),
        "folds": folds,
        **spread(outcomes),
        "notes": [OPTIMISTIC, *([MADE_UP] if synthetic else [])],
    }
    path = folder.root / "cross-validation.json"
    write_json(path, report)
    if report["scored"] < len(outcomes):
        fail(task, outcomes, path)
    return report
