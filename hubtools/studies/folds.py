"""Rows of a curated dataset divided anew, as curation divides them: each fold is held out once.

Groups stay whole. What joined the training split (supplements, documents made of their templates) is never held out,
and stays out of a fold's training side where it, or one like it, is held out. Prompts that curation set one below the
other to match lengths are made again of each fold's own training rows: those of the dataset hold rows of every fold.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hubtools.curation.intake import Drops
from hubtools.curation.leaks import without_leaks
from hubtools.curation.lengths import is_matched, matching
from hubtools.errors import UsageError
from hubtools.spec import Example, LabelSet, Span
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows held out, as splits of a dataset.

    Attributes:
        leaks: rows left out of training because the like is held out.
        unheld: rows that would have been held out, had training not lacked a class without them.
    """

    rows: Sequence[Example]
    leaks: int
    unheld: int

    def of(self, split: str) -> list[Example]:
        return [row for row in self.rows if row.split == split]

    @property
    def counts(self) -> dict[str, int]:
        sizes = {split: len(self.of(split)) for split in ("train", "validation")}
        return {**sizes, "left_out_as_leaks": self.leaks, "kept_in_training": self.unheld}


def rows_of(folder: TaskFolder, task: TaskSpec, label_set: LabelSet) -> list[Example]:
    """Rows of the curated training and validation splits, with labels and types of ``label_set``, by their ids."""
    import pyarrow.parquet as pq

    names = ["id", "text", "group", "source", "label" if task.kind == "sequence" else "spans"]
    found = []
    for split in ("train", "validation"):
        path = folder.need(folder.split_file(split), "curate")
        for row in pq.read_table(path, columns=names).to_pylist():
            spans = [Span(s["start"], s["end"], label_set.labels[s["label"]]) for s in row.get("spans") or ()]
            label = label_set.labels[row["label"]] if "label" in row else ""
            example = Example(row["text"], label, tuple(spans), row["group"], split, row["source"])
            found.append((row["id"], example))
    return [example for _, example in sorted(found, key=lambda pair: pair[0])]


def divided(
    rows: Sequence[Example], task: TaskSpec, label_set: LabelSet, facts: Mapping[str, Any], folds: int, seed: int
) -> list[Fold]:
    """``folds`` folds, which follow from the rows and the seed alone.

    Args:
        rows: see :func:`rows_of`.
        facts: those of the dataset.

    Raises:
        UsageError: there are too few groups, or classes in too few of them, for so many folds.
    """
    joined = {supplement["id"] for supplement in facts["supplements"]}
    if facts["counts"]["length_matched_train"]:  # else a user's own group may be called so
        rows = [row for row in rows if not is_matched(row)]
    own = [row for row in rows if row.source not in joined]
    extra = [row for row in rows if row.source in joined]
    groups = len({row.group for row in own})
    if not 2 <= folds <= groups:
        raise UsageError(
            f"{folds} folds of {task.name}", expected=f"from 2 to {groups}, the number of groups",
            found=f"{len(own)} rows in {groups} groups", next="say so many with --folds",
        )  # fmt: skip
    made = []
    for number, held in enumerate(_held_out(own, folds, seed), 1):
        made.append(_fold(own, extra, held, task, label_set, facts))
        _check(made[-1], f"Fold {number} of {folds} of {task.name}", task, label_set)
    return made


def _held_out(rows: Sequence[Example], folds: int, seed: int) -> list[set[str]]:
    """The groups of each fold, each class divided as evenly as groups allow; a document counts by its rarest type."""
    from sklearn.model_selection import StratifiedGroupKFold

    often = Counter(kind for row in rows for kind in set(row.classes))
    strata = [min(row.classes, key=lambda kind: (often[kind], kind), default="") for row in rows]
    groups = [row.group for row in rows]
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with fewer rows than folds
        parts = [test for _, test in splitter.split(rows, strata, groups)]
    return [{groups[i] for i in part} for part in parts]


def _fold(
    own: Sequence[Example], extra: Sequence[Example], held: set[str], task: TaskSpec, label_set: LabelSet,
    facts: Mapping[str, Any],
) -> Fold:  # fmt: skip
    # A class that training would lack stays there whole: it cannot be learned, and would count as never found.
    left = {kind for row in (*own, *extra) if row.group not in held for kind in row.classes}
    needed = {row.group for row in own if row.group in held and set(row.classes) - left}
    held = held - needed
    validation = [replace(row, split="validation") for row in own if row.group in held]
    train = [replace(row, split="train") for row in (*own, *extra) if row.group not in held]
    rows = without_leaks([*validation, *train], Drops())
    leaks = len(validation) + len(train) - len(rows)
    if facts["counts"]["length_matched_train"]:
        long = matching([row for row in rows if row.split == "train"], task.positive, facts["seed"])
        rows = without_leaks([*rows, *long], Drops())
    return Fold(rows, leaks, sum(row.group in needed for row in own))


def _check(fold: Fold, name: str, task: TaskSpec, label_set: LabelSet) -> None:
    held = {kind for row in fold.of("validation") for kind in row.classes}
    lacks = [label for label in label_set.labels if label not in {k for row in fold.of("train") for k in row.classes}]
    if lacks or not fold.of("validation") or (task.positive and len(held) < len(label_set.labels)):
        raise UsageError(
            f"{name} cannot be trained and scored", expected="rows of every class to train on, and rows to score",
            found=f"nothing of {', '.join(lacks)} to train on" if lacks else
            f"held out: {', '.join(sorted(held)) or 'nothing'}",
            next="take fewer --folds, or another --seed",
        )  # fmt: skip
