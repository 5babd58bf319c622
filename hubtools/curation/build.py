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
from dataclasses import dataclass, replace
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
from hubtools.curation.sources import SourceFiles
from hubtools.curation.split import SPLITS, split_groups
from hubtools.curation.supplements import Joined, supplemented
from hubtools.curation.synthesis import documents, provenance
from hubtools.errors import SourceError
from hubtools.records import write_json
from hubtools.spec import Example, LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder, sha256_of

FACTS = 3  # bumped when facts.json says more, or says it otherwise

# Documents made of each template of a corpus that stands in for the public data.
STARTER_COPIES = {"train": 6, "validation": 4, "test": 4}


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
    written = (folder.facts, folder.audit, folder.dropped, *map(folder.split_file, SPLITS))
    if all(path.exists() for path in written):
        with contextlib.suppress(ValueError):  # a damaged file is written again
            known: dict[str, Any] = json.loads(folder.facts.read_text())
            if known.get("fingerprint") == mark:
                note(f"{task.name}: dataset is up to date")
                return known

    dropped = Drops()
    try:
        made = _made(task, source, label_set, seed, dropped, skip_bad_rows, supplements, match_lengths)
        _check_classes(made.rows, task, label_set, source)
    except SourceError:
        dropped.write(folder.dropped)
        raise

    # Built beside the old one and swapped in at the end: a kill leaves either the old dataset or the new.
    fresh = folder.root / "dataset.new"
    shutil.rmtree(fresh, ignore_errors=True)
    for split in SPLITS:
        write_split(made.of(split), task, label_set, fresh / folder.split_file(split).relative_to(folder.dataset))
    folder.facts.unlink(missing_ok=True)
    dropped.write(folder.dropped, (part.drops for part in made.joined))
    write_audit(folder.audit, made.rows, label_set.labels, seed)
    shutil.rmtree(folder.dataset, ignore_errors=True)
    fresh.rename(folder.dataset)
    facts = {"task": task.name, "fingerprint": mark} | _facts(made, task, [source, *supplements], label_set, seed)
    write_json(folder.facts, facts)

    sizes = ", ".join(f"{split} {facts['splits'][split]['rows']}" for split in SPLITS)
    note(f"{task.name}: {made.steps['read']} rows read, {dropped.total()} dropped; {sizes}; "
         f"to check by eye: {folder.audit}")  # fmt: skip
    for supplement in facts["supplements"]:
        note(f"{task.name}: supplement {supplement['name']} is {supplement['share']:.1%} of train")
    return facts


@dataclass(frozen=True)
class _Made:
    """The rows of a dataset, and how they came about.

    Attributes:
        alone: those of the source, without what joined the training split.
        steps: how many rows were left, or there, after each step.
    """

    rows: list[Example]
    alone: list[Example]
    steps: dict[str, int]
    dropped: Drops
    decided_by: dict[str, Any] | None
    joined: list[Joined]

    def of(self, split: str) -> list[Example]:
        return [row for row in self.rows if row.split == split]


def _made(
    task: TaskSpec, source: SourceFiles, label_set: LabelSet, seed: int, dropped: Drops, skip_bad_rows: bool,
    supplements: Sequence[SourceFiles], match_lengths: bool,
) -> _Made:  # fmt: skip
    """Every step from the files to the rows; ``dropped`` counts what the source loses on the way."""
    rows, read = read_examples(task, source, label_set, dropped, skip_bad_rows=skip_bad_rows)
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
        raise SourceError(
            f"Nothing is left of source {source.source.id!r} for {task.name}",
            expected="rows that can be learned from",
            found=", ".join(f"{n} rows: {why}" for why, n in dropped.most_common(5)) or "no rows",
            next="mend the source, or give another with --source",
        )
    joined = supplemented(rows, task, label_set, supplements, seed)
    rows = [label_set.mapped(row) for row in (*rows, *(row for part in joined for row in part.rows))]
    alone = rows[: steps["without leaks"]]
    if joined:
        steps["with supplements"] = len(rows)
    if match_lengths:
        long = matching([row for row in rows if row.split == "train"], task.positive, seed)
        rows = without_leaks([*rows, *long], Drops())
        steps["with matched lengths"] = len(rows)
    return _Made(rows, alone, steps, dropped, decided, joined)


def _facts(
    made: _Made, task: TaskSpec, files: Sequence[SourceFiles], label_set: LabelSet, seed: int
) -> dict[str, Any]:  # fmt: skip
    sources = [source_facts(part) for part in files]
    rows, train, test = made.rows, made.of("train"), made.of("test")
    before = [row for row in made.alone if row.split == "train"]
    made_up = [*SPLITS] if files[0].source.templates else ["train"] if any(p.documents for p in made.joined) else []
    unmatched = len(made.alone) + sum(len(part.rows) for part in made.joined)
    return {
        "label_set": label_set.name,
        "labels": list(label_set.labels),
        "rule_version": task.version,
        "seed": seed,
        "hubtools": __version__,
        "sources": sources,
        "license": licence_facts(sources),
        "counts": {
            "read": made.steps["read"],
            "steps": made.steps,
            "dropped": dict(sorted(made.dropped.items())),
            "synthetic_train": sum(len(part.rows) for part in made.joined if part.documents),
            "length_matched_train": len(rows) - unmatched,
            "kept": len(rows),
        },
        "decided_by": made.decided_by,
        "supplements": [part.facts(len(train)) for part in made.joined],
        "splits": {split: split_facts(made.of(split), task, label_set) for split in SPLITS},
        "comparison": COMPARISON,
        "leakage": leakage(rows),
        "length_baseline": baseline(before, train, test, task.positive) if task.positive else None,
        "synthesis": provenance(seed, made_up) if made_up else None,
        "examples": examples(train, label_set.labels),
    }


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
