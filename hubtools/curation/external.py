"""Somebody else's labelled data, or our own test split, as rows to score a model on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hubtools.curation.duplicates import comparison_key, near_duplicates_of_earlier
from hubtools.curation.intake import Drops, read_examples
from hubtools.curation.own import Columns
from hubtools.curation.reading import SUFFIXES, one_line
from hubtools.curation.sources import SPLIT_NAMES, SourceFiles, chosen_source
from hubtools.errors import SourceError, UsageError
from hubtools.spec import Example, LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder


@dataclass(frozen=True)
class LabelledRows:
    """Rows to score on.

    Attributes:
        name: fit for a file's name.
        ids: where each row stands in its source, or its id in our own split.
        truth: label indices of a sequence task; for a token task lists of ``start``, ``end``, ``label``.
        about: where they are from and what was left out, ready for JSON.
    """

    name: str
    ids: Sequence[str]
    texts: Sequence[str]
    truth: Sequence[Any]
    about: Mapping[str, Any]


def own_test_split(task: TaskSpec, folder: TaskFolder) -> LabelledRows:
    """The test split of the work folder, which shares nothing with its other splits."""
    import pyarrow.parquet as pq

    truth = "label" if task.kind == "sequence" else "spans"
    path = folder.need(folder.split_file("test"), "curate")
    rows = pq.read_table(path, columns=["id", "text", truth]).to_pydict()
    about = {
        "dataset": "our own test split", "revision": folder.read(folder.facts, "curate")["fingerprint"][:12],
        "split": "test",
        "rows": {"read": len(rows["id"]), "dropped": {}, "other_splits": 0, "in_training": {"exact": 0, "near": 0},
                 "repeated": 0, "scored": len(rows["id"])},
    }  # fmt: skip
    return LabelledRows("test", rows["id"], rows["text"], rows[truth], about)


def external_rows(
    task: TaskSpec, asked: str, columns: Columns, label_set: LabelSet, *, split: str | None, skip_bad_rows: bool,
    training: Sequence[str] | None,
) -> LabelledRows:  # fmt: skip
    """Rows of a file, an address or a dataset repo, read as ``hubtools curate --source`` reads them.

    What stands in ``training``, word for word or nearly, is left out and counted; None is that there is nothing to
    compare with. Rows that the set itself repeats stay, and are counted.

    Args:
        split: the split to score on; by default "test" where there is one, else all there is.

    Raises:
        SourceError: it cannot be read, has no such split, or nothing is left to score.
        UsageError: the flags do not fit.
    """
    if split is not None and not SPLIT_NAMES.get(split):
        raise UsageError(
            f"Split {split!r}", expected="one of " + ", ".join(filter(None, SPLIT_NAMES)), found=split,
            next="name one of them with --split, or leave it out",
        )  # fmt: skip
    if task.kind == "token" and asked == "starter":
        raise UsageError(
            f"The starter corpus of {task.name!r} holds templates, not documents", expected="a file or a dataset repo",
            found="--dataset starter", next="curate it, and score on its test split: hubtools evaluate pii",
        )  # fmt: skip
    if asked == "starter" and columns.given:
        raise UsageError(
            "The starter corpus has its own columns", expected="--dataset starter alone", found="flags of columns",
            next="leave them out",
        )  # fmt: skip
    source, names = chosen_source(task, asked, columns, label_set)
    wanted = SPLIT_NAMES[split] if split else None
    source, others = _files_of(source, asked, wanted)
    drops = Drops()
    rows, read = read_examples(task, source, names, drops, skip_bad_rows=skip_bad_rows, every_class=False)
    rows, chosen = _of_split(rows, asked, wanted)
    held = len(rows)
    keys = [comparison_key(row.text) for row in rows]
    exact, near = (set[int](), set[int]()) if training is None else _known(keys, training)
    kept = [i for i in range(len(rows)) if i not in exact and i not in near]
    if not kept:
        told = [f"{n} rows: {why}" for why, n in drops.most_common(5)]
        told += [f"{len(exact) + len(near)} rows stand in our training or validation split"] if exact or near else []
        raise SourceError(
            f"Nothing is left of {asked!r} to score {task.name} on",
            expected="labelled rows outside our training and validation splits",
            found="; ".join(told) or "no rows", next="map its labels with --label-map, or give other data",
        )  # fmt: skip
    about = {
        "dataset": source.source.id,
        "revision": source.revision,
        "split": next((s for s, _ in source.files if s), "") or chosen or "all",
        "columns": list(source.source.columns),
        "label_map": dict(source.mapping.get("label_map", {})),
        "other_files": sorted(others),
        "rows": {
            "read": read,
            "dropped": dict(drops.most_common()),
            "other_splits": read - drops.total() - held,
            "in_training": None if training is None else {"exact": len(exact), "near": len(near)},
            "repeated": sum(n - 1 for n in Counter(keys[i] for i in kept).values()),
            "scored": len(kept),
        },
    }
    return LabelledRows(
        file_name(asked if "://" not in asked else source.files[0][1].name, chosen if split else ""),
        [rows[i].place for i in kept],
        [rows[i].text for i in kept],
        [_truth(rows[i], task, names) for i in kept],
        about,
    )


def file_name(asked: str, split: str = "") -> str:
    """A name for a file from that of a dataset or model: ``owner--name``, or the stem of a file."""
    stem = Path(asked).stem if Path(asked).suffix in SUFFIXES else asked
    return re.sub(r"[^\w.-]+", "--", stem).strip("-.") + (f"--{split}" if split else "")


def _files_of(source: SourceFiles, asked: str, wanted: str | None) -> tuple[SourceFiles, set[str]]:
    """The files of one split, and the names of the splits that are passed over."""
    splits = {split for split, _ in source.files if split}
    if not splits:
        return source, set()
    name = wanted or ("test" if "test" in splits or len(splits) > 1 else next(iter(splits)))
    if name not in splits:
        raise _no_split(asked, name, splits)
    return replace(source, files=tuple(f for f in source.files if f[0] == name)), splits - {name}


def _of_split(rows: list[Example], asked: str, wanted: str | None) -> tuple[list[Example], str]:
    """The rows of one split, where rows say which they are of; and its name."""
    splits = {row.split for row in rows if row.split}
    pooled = {"", "train"}  # a training split comes without its name where the others are not whole
    if wanted == "train" and any(row.split in pooled for row in rows):
        return [row for row in rows if row.split in pooled], wanted
    if not splits and (wanted is None or not rows):
        return rows, ""
    name = wanted or ("test" if "test" in splits or len(splits) > 1 else next(iter(splits)))
    if name not in splits:
        raise _no_split(asked, name, splits)
    return [row for row in rows if row.split == name], name


def _no_split(asked: str, name: str, splits: set[str]) -> SourceError:
    return SourceError(
        f"Dataset {asked!r} has no split {name!r}", expected=name,
        found=one_line(", ".join(sorted(splits))) or "rows that name no split",
        next="name one that is there with --split" if splits else "leave --split out to score all of it",
    )  # fmt: skip


def _known(keys: Sequence[str], training: Sequence[str]) -> tuple[set[int], set[int]]:
    """Rows whose text is one of ``training`` when both are folded, and further ones that nearly are."""
    ours = [comparison_key(text) for text in training]
    known = set(ours)
    exact = {i for i, key in enumerate(keys) if key in known}
    found = near_duplicates_of_earlier([*ours, *keys], [0] * len(ours) + [1] * len(keys))
    return exact, {row - len(ours) for row in found} - exact


def _truth(row: Example, task: TaskSpec, label_set: LabelSet) -> Any:
    if task.kind == "sequence":
        return label_set.labels.index(label_set.mapping[row.label])
    return [
        {"start": s.start, "end": s.end, "label": label_set.labels.index(label_set.mapping[s.type])}
        for s in row.spans if s.type in label_set.mapping
    ]  # fmt: skip
