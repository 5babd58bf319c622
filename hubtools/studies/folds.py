"""Rows of a curated dataset divided anew, as curation divides them: each fold is held out once.

Groups stay whole. What joined the training split (supplements, documents made of their templates) is never held out,
and stays out of a fold's training side where it, or one like it, is held out. Rows that curation composed to match
lengths are made again of each fold's own training rows: those of the dataset are made of rows of every fold.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hubtools.curation.augmentation import augment, is_augmented
from hubtools.curation.cleaning import Drops
from hubtools.curation.leaks import drop_leaks
from hubtools.curation.parquet import read_split
from hubtools.errors import UsageError
from hubtools.heads.length_matching import is_composed
from hubtools.records.dataset import DatasetFacts
from hubtools.spec import Example, LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows held out, as splits of a dataset.

    Attributes:
        leaks: rows left out of training because the like is held out.
        kept_in_training: rows that would have been held out, had training not lacked a class without them.
    """

    rows: Sequence[Example]
    leaks: int
    kept_in_training: int

    def select(self, split: str) -> list[Example]:
        """Return the rows of one split, in their order."""
        return [row for row in self.rows if row.split == split]

    @property
    def counts(self) -> dict[str, int]:
        """Rows by what happened to them, as :class:`~hubtools.records.studies.FoldOutcome` names them."""
        sizes = {split: len(self.select(split)) for split in ("train", "validation")}
        return {**sizes, "left_out_as_leaks": self.leaks, "kept_in_training": self.kept_in_training}


def read_rows(folder: TaskFolder, task: TaskSpec, label_set: LabelSet) -> list[Example]:
    """Return rows of the curated training and validation splits, with labels of ``label_set``, by their ids."""
    rows = []
    # In the order of ids: folds follow from the rows, not from how curation divided them.
    for split in ("train", "validation"):
        path = folder.need(folder.split_file(split), "curate")
        rows += read_split(path, task.head, label_set, split)
    return [example for _, example in sorted(rows, key=lambda row: row[0])]


def divide_rows(
    rows: Sequence[Example],
    task: TaskSpec,
    label_set: LabelSet,
    facts: DatasetFacts,
    folds: int,
    seed: int,
    *,
    supplements: bool = False,
) -> list[Fold]:
    """Return ``folds`` folds, which follow from the rows and the seed alone.

    Args:
        rows: see :func:`read_rows`.
        facts: those of the dataset.
        supplements: hold rows of supplements out as well, but for documents that were made of templates.

    Raises:
        UsageError: there are too few groups, or classes in too few of them, for so many folds.
    """
    kept_in = {one.id for one in facts.supplements if not supplements or one.documents}
    if facts.counts.length_matched_train:  # else a user's own group may be called so
        rows = [row for row in rows if not is_composed(row)]
    if facts.augmentations:
        rows = [row for row in rows if not is_augmented(row)]
    divisible = [row for row in rows if row.source not in kept_in]
    train_only = [row for row in rows if row.source in kept_in]
    groups = len({row.group for row in divisible})
    if not 2 <= folds <= groups:
        raise UsageError(
            f"{folds} folds of {task.name}",
            expected=f"from 2 to {groups}, the number of groups",
            found=f"{len(divisible)} rows in {groups} groups",
            next="say so many with --folds",
        )
    divisions = []
    # All folds are made and checked before the first hour of training.
    for number, held_out in enumerate(_choose_held_out(divisible, folds, seed), 1):
        divisions.append(_make_fold(divisible, train_only, held_out, task, facts))
        _check_fold(divisions[-1], f"Fold {number} of {folds} of {task.name}", task, label_set)
    return divisions


def _choose_held_out(rows: Sequence[Example], folds: int, seed: int) -> list[set[str]]:
    """Return the groups of each fold, each class divided as evenly as groups allow.

    A text with several classes counts by the rarest of them.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    frequency = Counter(kind for row in rows for kind in set(row.classes))
    # The splitter takes one class a row.
    strata = [min(row.classes, key=lambda kind: (frequency[kind], kind), default="") for row in rows]
    groups = [row.group for row in rows]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer rows than folds
        parts = [test for _, test in splitter.split(rows, strata, groups)]
    return [{groups[i] for i in part} for part in parts]


def _make_fold(
    divisible: Sequence[Example],
    train_only: Sequence[Example],
    held_out: set[str],
    task: TaskSpec,
    facts: DatasetFacts,
) -> Fold:
    """Return the fold that holds the groups ``held_out`` out, but those without which training would lack a class."""
    # A class that training would lack stays there whole: it cannot be learned, and would count as never found.
    all_rows = (*divisible, *train_only)
    trained = {name for row in all_rows if row.group not in held_out for name in row.classes}
    needed = {row.group for row in divisible if row.group in held_out and set(row.classes) - trained}
    held_out = held_out - needed
    validation = [replace(row, split="validation") for row in divisible if row.group in held_out]
    train = [replace(row, split="train") for row in all_rows if row.group not in held_out]
    # Rows that are held out come first, so that what is like one of them leaves training, and not the other way.
    rows = drop_leaks([*validation, *train], Drops())
    leaks = len(validation) + len(train) - len(rows)
    if facts.counts.length_matched_train:
        composed = task.head.compose_matched_lengths([row for row in rows if row.split == "train"], facts.seed)
        rows = drop_leaks([*rows, *composed], Drops())
    rows, _ = augment(rows, task, [*facts.augmentations.items()], facts.seed)
    return Fold(rows, leaks, sum(row.group in needed for row in divisible))


def _check_fold(fold: Fold, name: str, task: TaskSpec, label_set: LabelSet) -> None:
    """Raise :class:`UsageError` for a fold that cannot be trained on or scored; ``name`` begins the message."""
    held_out = {name for row in fold.select("validation") for name in row.classes}
    trained = {name for row in fold.select("train") for name in row.classes}
    missing = [label for label in label_set.labels if label not in trained]
    incomplete = task.head.needs_every_class("validation") and len(held_out) < len(label_set.labels)
    if missing or incomplete or not fold.select("validation"):
        raise UsageError(
            f"{name} cannot be trained and scored",
            expected="rows of every class to train on, and rows to score",
            found=f"nothing of {', '.join(missing)} to train on"
            if missing
            else f"held out: {', '.join(sorted(held_out)) or 'nothing'}",
            next="take fewer --folds, or another --seed",
        )
