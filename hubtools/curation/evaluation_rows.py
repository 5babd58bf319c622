"""Labelled rows to score a model on: a benchmark of the task, somebody else's data, or our own test split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hubtools.curation.cleaning import Drops, read_source
from hubtools.curation.duplicates import find_near_duplicates_of_earlier
from hubtools.curation.files import find_format
from hubtools.curation.sources import SPLIT_NAMES, SourceFiles, locate_addition
from hubtools.curation.user_data import locate_asked
from hubtools.errors import SourceError, UsageError, shorten
from hubtools.heads.values import Column
from hubtools.rows import Columns, make_comparison_key
from hubtools.spec import Example, LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder


@dataclass(frozen=True)
class LabelledRows:
    """Rows to score on.

    Attributes:
        name: fit for a file's name.
        ids: origin of each row in its source, or its id in our own split.
        truth: of each row what the head's column of the truth holds, labels as indices.
        groups: of each row; "" for one that stands for itself.
        about: where they are from and what was left out, as :class:`OtherDataReport` has it.
    """

    name: str
    ids: Sequence[str]
    texts: Sequence[str]
    truth: Column
    groups: Sequence[str]
    about: Mapping[str, object]


def read_test_split(task: TaskSpec, folder: TaskFolder) -> LabelledRows:
    """Return the test split of the work folder, which shares nothing with its other splits."""
    import pyarrow.parquet as pq

    truth = task.head.truth
    # As curation wrote it: nothing is dropped, so that all models are asked the same rows.
    path = folder.need(folder.split_file("test"), "curate")
    rows = pq.read_table(path, columns=["id", "text", "group", truth]).to_pydict()
    about = {
        "dataset": "our own test split",
        "revision": folder.read_facts().fingerprint[:12],
        "split": "test",
        "rows": {
            "read": len(rows["id"]),
            "dropped": {},
            "other_splits": 0,
            "in_training": {"exact": 0, "near": 0},
            "repeated": 0,
            "scored": len(rows["id"]),
        },
    }
    return LabelledRows("test", rows["id"], rows["text"], rows[truth], rows["group"], about)


def read_evaluation_rows(
    task: TaskSpec,
    asked: str,
    columns: Columns,
    label_set: LabelSet,
    *,
    split: str | None,
    skip_bad_rows: bool,
    training: Sequence[str] | None,
) -> LabelledRows:
    """Return labelled rows of other data than our own splits, without those that a model has seen.

    Rows that the data repeat stay, and are counted.

    Args:
        asked: the name of a benchmark of the task, which its own row function reads; or a file, an address or a
            dataset repo, read as ``hubtools curate --source`` reads it.
        training: texts that the model was made with. Rows that stand there, word for word or nearly, are left out and
            counted; None where there is nothing to compare with.
        split: the split to score on; by default "test" where there is one, else all there is.

    Raises:
        SourceError: it cannot be read, has no such split, or nothing is left to score.
        UsageError: the flags do not fit.
    """
    if split is not None and not SPLIT_NAMES.get(split):
        raise UsageError(
            f"Split {split!r}",
            expected="one of " + ", ".join(filter(None, SPLIT_NAMES)),
            found=split,
            next="name one of them with --split, or leave it out",
        )
    # The label set may grow by the labels themselves, which other data use as well as those of our sources.
    files, their_labels = _locate(task, asked, columns, label_set)
    split_asked = SPLIT_NAMES[split] if split else None
    # Splits that are files of their own are never opened; where a column names the split, rows are dropped below.
    files, other_files = _select_files(files, asked, split_asked)
    drops = Drops()
    rows, read = read_source(task, files, their_labels, drops, skip_bad_rows=skip_bad_rows)
    rows, chosen = _select_rows(rows, asked, split_asked)
    of_split = len(rows)
    # A row that the model was trained on, or chosen by, says nothing of what it has learned.
    keys = [make_comparison_key(row.text) for row in rows]
    exact, near = (set[int](), set[int]()) if training is None else find_seen_rows(keys, training)
    kept = [i for i in range(len(rows)) if i not in exact and i not in near]
    if not kept:
        reasons = [f"{n} rows: {why}" for why, n in drops.most_common(5)]
        if exact or near:
            reasons.append(f"{len(exact) + len(near)} rows stand in our training or validation split")
        raise SourceError(
            f"Nothing is left of {asked!r} to score {task.name} on",
            expected="labelled rows outside our training and validation splits",
            found="; ".join(reasons) or "no rows",
            next="map its labels with --label-map, or give other data",
        )
    about = {
        "dataset": files.source.id,
        "license": files.source.license,
        "benchmark": asked if any(source.name == asked for source in task.benchmarks) else None,
        "revision": files.revision,
        "split": next((s for s, _ in files.files if s), "") or chosen or "all",
        "columns": list(files.source.columns),
        "label_map": dict((files.mapping and files.mapping.label_map) or {}),
        "other_files": sorted(other_files),
        "rows": {
            "read": read,
            "dropped": dict(drops.most_common()),
            "other_splits": read - drops.total() - of_split,
            "in_training": None if training is None else {"exact": len(exact), "near": len(near)},
            "repeated": sum(n - 1 for n in Counter(keys[i] for i in kept).values()),
            "scored": len(kept),
        },
    }
    return LabelledRows(
        # The name of a dataset is plain from its repo or file; of an address only the file's name is.
        make_file_name(asked if "://" not in asked else files.files[0][1].name, chosen if split else ""),
        [rows[i].origin for i in kept],
        [rows[i].text for i in kept],
        [task.head.index_truth(their_labels.map_labels(rows[i]), their_labels) for i in kept],
        [rows[i].group for i in kept],
        about,
    )


def _locate(task: TaskSpec, asked: str, columns: Columns, label_set: LabelSet) -> tuple[SourceFiles, LabelSet]:
    """Return the files, and the label set as their labels are read by it.

    Raises:
        UsageError: it has columns of its own and flags name others, or holds templates.
        SourceError: it cannot be read.
    """
    # A benchmark goes before a file of the same name: its name is what the task's documentation says.
    benchmark = next((source for source in task.benchmarks if source.name == asked), None)
    if benchmark:
        _refuse_columns(f"Benchmark {asked!r}", asked, columns)
        return locate_addition(benchmark), label_set
    if asked == "starter" and task.starter:
        if task.starter.templates:
            raise UsageError(
                f"The starter corpus of {task.name!r} holds templates, not documents",
                expected="a file or a dataset repo",
                found="--dataset starter",
                next=f"curate it, and score on its test split: hubtools evaluate {task.name}",
            )
        _refuse_columns("The starter corpus", asked, columns)
    return locate_asked(task, asked, columns, label_set)


def _refuse_columns(what: str, asked: str, columns: Columns) -> None:
    """Raise :class:`UsageError` where flags name columns of data that have their own."""
    if columns.named:
        raise UsageError(
            f"{what} has its own columns",
            expected=f"--dataset {asked} alone",
            found="flags of columns",
            next="leave them out",
        )


def make_file_name(asked: str, split: str = "") -> str:
    """Return a name for a file from that of a dataset or model: ``owner--name``, or the stem of a file."""
    # A repo's name may have a dot as well: only what ends as a data file does loses its suffix.
    stem = Path(asked).stem if find_format(asked) else asked
    return re.sub(r"[^\w.-]+", "--", stem).strip("-.") + (f"--{split}" if split else "")


def _select_files(source: SourceFiles, asked: str, split: str | None) -> tuple[SourceFiles, set[str]]:
    """Return the files of one split, and the names of the splits that are passed over."""
    splits = {of_file for of_file, _ in source.files if of_file}
    # Files without a split hold rows of all of them, or rows that name theirs.
    if not splits:
        return source, set()
    # Several splits without a test split: nobody can tell which one is meant, and "test" is asked for in vain.
    name = split or ("test" if "test" in splits or len(splits) > 1 else next(iter(splits)))
    if name not in splits:
        raise _refuse_split(asked, name, splits)
    return replace(source, files=tuple(f for f in source.files if f[0] == name)), splits - {name}


def _select_rows(rows: list[Example], asked: str, split: str | None) -> tuple[list[Example], str]:
    """Return the rows of one split, where rows say which they are of; and its name."""
    splits = {row.split for row in rows if row.split}
    pooled = {"", "train"}  # a training split comes without its name where the others are not whole
    if split == "train" and any(row.split in pooled for row in rows):
        return [row for row in rows if row.split in pooled], split
    if not splits and (split is None or not rows):
        return rows, ""
    name = split or ("test" if "test" in splits or len(splits) > 1 else next(iter(splits)))
    if name not in splits:
        raise _refuse_split(asked, name, splits)
    return [row for row in rows if row.split == name], name


def _refuse_split(asked: str, name: str, splits: set[str]) -> SourceError:
    return SourceError(
        f"Dataset {asked!r} has no split {name!r}",
        expected=name,
        found=shorten(", ".join(sorted(splits))) or "rows that name no split",
        next="name one that is there with --split" if splits else "leave --split out to score all of it",
    )


def find_seen_rows(keys: Sequence[str], training: Sequence[str]) -> tuple[set[int], set[int]]:
    """Return which rows a model has seen: those whose text was trained on, and further ones that nearly were.

    Args:
        keys: comparison keys of the rows.
        training: texts that the model was made with.

    Returns:
        indices of the rows with the same key as a training text, and of further rows with a near-duplicate there.
    """
    # All training texts have a lower rank than all rows, so that only pairs between the two are compared.
    ours = [make_comparison_key(text) for text in training]
    known = set(ours)
    exact = {i for i, key in enumerate(keys) if key in known}
    near = find_near_duplicates_of_earlier([*ours, *keys], [0] * len(ours) + [1] * len(keys))
    return exact, {row - len(ours) for row in near} - exact
