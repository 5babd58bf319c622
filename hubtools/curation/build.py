"""Curate one task: from a source to ``dataset/``, ``audit.csv``, ``dropped.jsonl`` and ``facts.json``.

The order is what makes the numbers honest: read and clean, drop duplicates, split by group, drop what would leak,
and only then add supplements and synthetic rows, to the training split alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hubtools import __version__
from hubtools.curation.audit import write_audit
from hubtools.curation.describe import (
    COMPARISON,
    decided_by,
    examples,
    licence_facts,
    source_facts,
    split_facts,
)
from hubtools.curation.intake import UNCLEAN, Drops, read_examples
from hubtools.curation.leaks import PRECEDENCE, grouped, leakage, without_duplicates, without_leaks
from hubtools.curation.lengths import baseline, matching
from hubtools.curation.parquet import write_split
from hubtools.curation.sources import SourceFiles, sha256_of
from hubtools.curation.split import SPLITS, split_groups
from hubtools.curation.supplements import supplemented
from hubtools.curation.synthesis import documents, provenance
from hubtools.errors import SourceError
from hubtools.spec import Example, LabelSet, TaskSpec
from hubtools.workdir import TaskFolder, write_json

FACTS = 3  # bumped when facts.json says more, or says it otherwise

# Documents made of each template of a corpus that stands in for the public data.
STARTER_COPIES = {"train": 12, "validation": 4, "test": 4}


def fingerprint(
    task: TaskSpec, source: SourceFiles, label_set: LabelSet, seed: int, skip_bad_rows: bool,
    supplements: Sequence[SourceFiles] = (), match_lengths: bool = False,
) -> str:  # fmt: skip
    """What decides the dataset's content; curation is skipped while it stays the same."""
    digest = hashlib.sha256()
    for part in (source, *supplements):
        digest.update(f"{part.source.id} {part.source.share} {part.source.license}".encode())
        for split, path in part.files:
            digest.update(split.encode() + bytes.fromhex(sha256_of(path)))
    rest = [__version__, FACTS, task.name, task.version, source.source.columns, dict(source.mapping), label_set.name]
    digest.update(json.dumps([*rest, seed, skip_bad_rows, match_lengths]).encode())
    return digest.hexdigest()


def curate(
    task: TaskSpec,
    source: SourceFiles,
    folder: TaskFolder,
    *,
    label_set: LabelSet,
    seed: int = 0,
    skip_bad_rows: bool = False,
    supplements: Sequence[SourceFiles] = (),
    match_lengths: bool = False,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Write ``folder.dataset``, ``folder.audit``, ``folder.dropped`` and ``folder.facts``, and return the facts.

    Args:
        skip_bad_rows: drop and count rows that cannot be read or have an unknown label; otherwise they stop the
            curation, with the places of the first of them.
        supplements: what joins the training split, each up to its share.
        match_lengths: add harmless prompts as long as attacks to the training split.

    Raises:
        SourceError: the source lacks what the task needs.
    """
    mark = fingerprint(task, source, label_set, seed, skip_bad_rows, supplements, match_lengths)
    if folder.facts.exists() and folder.audit.exists() and all(folder.split_file(s).exists() for s in SPLITS):
        with contextlib.suppress(ValueError):  # a damaged file is written again
            facts: dict[str, Any] = json.loads(folder.facts.read_text())
            if facts.get("fingerprint") == mark:
                note(f"{task.name}: dataset is up to date")
                return facts

    dropped = Drops()
    try:
        rows, read = read_examples(task, source, label_set, dropped, skip_bad_rows=skip_bad_rows)
    finally:
        dropped.write(folder.dropped)
    decided = decided_by(rows, dropped)
    steps = {"read": read, "usable": len(rows) + sum(dropped[reason] for reason in UNCLEAN), "cleaned": len(rows)}
    # Templates are told apart by their words, slots included; what they are filled with is checked further down.
    rows = without_duplicates(rows, dropped)
    steps["without exact duplicates"] = len(rows)
    rows = _split(grouped(rows), label_set, seed)
    if source.source.templates:
        rows = [
            document
            for split in SPLITS
            for document in documents([r for r in rows if r.split == split], split, STARTER_COPIES[split], seed)
        ]
        steps["filled templates"] = len(rows)
    rows = without_leaks(rows, dropped)
    steps["without leaks"] = len(rows)
    if not rows:
        dropped.write(folder.dropped)
        raise SourceError(
            f"Nothing is left of source {source.source.id!r} for {task.name}",
            expected="rows that can be learned from",
            found=", ".join(f"{n} rows: {why}" for why, n in dropped.most_common(5)) or "no rows",
            next="mend the source, or give another with --source",
        )
    alone = rows
    joined = supplemented(rows, task, label_set, supplements, seed)
    dropped.write(folder.dropped, (supplement.drops for supplement in joined))
    if joined:
        rows = [*rows, *(row for supplement in joined for row in supplement.rows)]
        steps["with supplements"] = len(rows)
    rows, alone = ([label_set.mapped(row) for row in part] for part in (rows, alone))
    unmatched = len(rows)
    if match_lengths:
        long = matching([r for r in rows if r.split == "train"], task.positive, seed)
        rows = without_leaks([*rows, *long], Drops())
        steps["with matched lengths"] = len(rows)
    _check_classes(rows, task, label_set, source)

    by_split = {split: [row for row in rows if row.split == split] for split in SPLITS}
    # Built beside the old one and swapped in at the end: a kill leaves either the old dataset or the new.
    fresh = folder.root / "dataset.new"
    shutil.rmtree(fresh, ignore_errors=True)
    for split, part in by_split.items():
        write_split(part, task, label_set, fresh / folder.split_file(split).relative_to(folder.dataset))
    folder.facts.unlink(missing_ok=True)
    write_audit(folder.audit, rows, label_set.labels, seed)
    shutil.rmtree(folder.dataset, ignore_errors=True)
    fresh.rename(folder.dataset)

    sources = [source_facts(part) for part in (source, *supplements)]
    made_up = [*SPLITS] if source.source.templates else ["train"] if any(s.documents for s in joined) else []
    before = [row for row in alone if row.split == "train"]
    facts = {
        "task": task.name,
        "fingerprint": mark,
        "label_set": label_set.name,
        "labels": list(label_set.labels),
        "rule_version": task.version,
        "seed": seed,
        "hubtools": __version__,
        "sources": sources,
        "license": licence_facts(sources),
        "counts": {"read": read, "steps": steps, "dropped": dict(sorted(dropped.items())),
                   "synthetic_train": sum(len(s.rows) for s in joined if s.documents),
                   "length_matched_train": len(rows) - unmatched, "kept": len(rows)},
        "decided_by": decided,
        "supplements": [s.facts(len(by_split["train"])) for s in joined],
        "splits": {split: split_facts(part, task, label_set) for split, part in by_split.items()},
        "comparison": COMPARISON,
        "leakage": leakage(rows),
        "length_baseline": baseline(before, by_split["train"], by_split["test"], task.positive)
        if task.positive else None,
        "synthesis": provenance(seed, made_up) if made_up else None,
        "examples": examples(by_split["train"], label_set.labels),
    }  # fmt: skip
    write_json(folder.facts, facts)
    sizes = ", ".join(f"{split} {len(part)}" for split, part in by_split.items())
    note(f"{task.name}: {read} rows read, {dropped.total()} dropped; {sizes}; to check by eye: {folder.audit}")
    for supplement in facts["supplements"]:
        note(f"{task.name}: supplement {supplement['name']} is {supplement['share']:.1%} of train")
    return facts


def _split(rows: Sequence[Example], label_set: LabelSet, seed: int) -> list[Example]:
    """The rows with their splits: a group goes whole, where the source says so or by its content."""
    classes: dict[str, list[str]] = defaultdict(list)
    official: dict[str, str] = {}
    for row in rows:
        classes[row.group] += label_set.mapped(row).classes
        if row.split:
            official[row.group] = min(official.get(row.group, row.split), row.split, key=PRECEDENCE.__getitem__)
    split = split_groups(classes, seed, official)
    return [replace(row, split=split[row.group]) for row in rows]


def _check_classes(rows: list[Example], task: TaskSpec, label_set: LabelSet, source: SourceFiles) -> None:
    """A model cannot learn a class that the training split lacks."""
    for split in SPLITS:
        part = [r for r in rows if r.split == split]
        if not part:
            raise SourceError(
                f"Split {split!r} of {task.name} would be empty",
                expected="at least a few groups of rows, to divide",
                found=f"{len(rows)} rows in {len({r.group for r in rows})} groups from {source.source.id!r}",
                next="give more rows",
            )
        present = {c for row in part for c in row.classes}
        missing = [label for label in label_set.labels if label not in present]
        # Nor can a detector be chosen or scored without both of its classes.
        if missing and (split == "train" or task.positive):
            raise SourceError(
                f"The {split} split of {task.name} lacks " + ", ".join(missing),
                expected="rows of every class: " + ", ".join(label_set.labels),
                found=", ".join(sorted(present)),
                next=f"add rows of these classes to {source.source.id!r}, or choose another --label-set",
            )
