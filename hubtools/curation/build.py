"""Curate one task: from a source to ``dataset/`` and ``facts.json``.

The order is what makes the numbers honest: read, clean, drop duplicates, split by group, drop what would leak,
and only then add synthetic rows, to the training split alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubtools import __version__
from hubtools.curation.describe import COMPARISON, examples, lengths_by_label, licence_facts, quantiles
from hubtools.curation.duplicates import (
    Clusters,
    comparison_key,
    content_hash,
    near_duplicate_clusters,
    near_duplicates_of_earlier,
)
from hubtools.curation.intake import Drops, read_examples, word_tags
from hubtools.curation.reading import read_rows
from hubtools.curation.sources import SourceFiles, sha256_of
from hubtools.curation.split import SPLITS, split_groups
from hubtools.curation.synthesis import documents, provenance
from hubtools.errors import SourceError
from hubtools.spec import Example, LabelSet, Source, TaskSpec
from hubtools.workdir import TaskFolder, write_json

FACTS = 2  # bumped when facts.json says more, or says it otherwise

# Documents made of each template: a stand-in corpus needs more of them than a supplement beside real rows.
STARTER_COPIES = {"train": 12, "validation": 4, "test": 4}
SUPPLEMENT_COPIES = 4


def fingerprint(task: TaskSpec, source: SourceFiles, label_set: LabelSet, seed: int, skip_bad_rows: bool) -> str:
    """What decides the dataset's content; curation is skipped while it stays the same."""
    digest = hashlib.sha256()
    for split, path in source.files:
        digest.update(split.encode() + bytes.fromhex(sha256_of(path)))
    for supplement in _supplements(task, source):
        digest.update(_packaged(supplement).read_bytes())
    rest = [__version__, FACTS, task.name, task.version, source.source.id, source.source.columns, label_set.name, seed]
    rest += [source.source.license, dict(source.mapping)]
    digest.update(json.dumps([*rest, skip_bad_rows]).encode())
    return digest.hexdigest()


def curate(
    task: TaskSpec,
    source: SourceFiles,
    folder: TaskFolder,
    *,
    label_set: LabelSet,
    seed: int = 0,
    skip_bad_rows: bool = False,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Write ``folder.dataset`` and ``folder.facts``, and return the facts.

    Args:
        skip_bad_rows: drop and count rows that cannot be read or have an unknown label; otherwise they stop the
            curation, with the places of the first of them.

    Raises:
        SourceError: the source lacks what the task needs.
    """
    mark = fingerprint(task, source, label_set, seed, skip_bad_rows)
    if folder.facts.exists() and all(folder.split_file(s).exists() for s in SPLITS):
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
    steps = {"read": read, "usable": len(rows)}
    # Templates are told apart by their words, slots included; what they are filled with is checked further down.
    rows, exact = _without_duplicates(rows, dropped)
    steps["without exact duplicates"] = len(rows)
    rows = _grouped(rows, task)
    rows = _split(rows, task, label_set, seed)
    made_up = [*SPLITS] if source.source.starter and task.kind == "token" else []
    if made_up:
        rows = [
            document
            for split in SPLITS
            for document in documents([r for r in rows if r.split == split], split, STARTER_COPIES[split], seed)
        ]
        steps["filled templates"] = len(rows)
    synthetic = 0
    for supplement in _supplements(task, source):
        templates = [replace(supplement.row(raw.row), source=supplement.id) for raw in
                     read_rows(_packaged(supplement), supplement.columns) if raw.row is not None]  # fmt: skip
        added = list(documents(templates, "train", SUPPLEMENT_COPIES, seed))
        synthetic += len(added)
        rows += added
    if synthetic:
        made_up, steps["with synthetic rows"] = ["train"], len(rows)
    rows = _without_leaks(rows, dropped)
    dropped.write(folder.dropped)
    steps["without leaks"] = len(rows)
    if not rows:
        raise SourceError(
            f"Nothing is left of source {source.source.id!r} for {task.name}",
            expected="rows that can be learned from",
            found=", ".join(f"{n} rows: {why}" for why, n in dropped.most_common(5)) or "no rows",
            next="mend the source, or give another with --source",
        )
    rows = _mapped(rows, task, label_set)
    _check_classes(rows, task, label_set, source)

    # Built beside the old one and swapped in at the end: a kill leaves either the old dataset or the new.
    fresh = folder.root / "dataset.new"
    shutil.rmtree(fresh, ignore_errors=True)
    for split in SPLITS:
        part = sorted((r for r in rows if r.split == split), key=lambda r: content_hash(r.text) + r.text)
        _write_split(part, task, label_set, fresh / folder.split_file(split).relative_to(folder.dataset))
    folder.facts.unlink(missing_ok=True)
    shutil.rmtree(folder.dataset, ignore_errors=True)
    fresh.rename(folder.dataset)

    sources = _source_facts(task, source)
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
        "counts": {"read": read, "steps": steps, "dropped": dict(sorted(dropped.items())), "exact_duplicates": exact,
                   "synthetic_train": synthetic, "kept": len(rows)},
        "splits": {s: _split_facts([r for r in rows if r.split == s], task, label_set) for s in SPLITS},
        "comparison": COMPARISON,
        "leakage": leakage(rows),
        "synthesis": provenance(seed, made_up) if made_up else None,
        "examples": examples([r for r in rows if r.split == "train"], label_set.labels),
    }  # fmt: skip
    write_json(folder.facts, facts)
    sizes = ", ".join(f"{split} {facts['splits'][split]['rows']}" for split in SPLITS)
    note(f"{task.name}: {read} rows read, {sum(dropped.values())} dropped; {sizes}")
    return facts


def _supplements(task: TaskSpec, source: SourceFiles) -> tuple[Source, ...]:
    """What joins the training split: not beside a starter corpus, and not beside a user's own file."""
    return task.supplements if source.source is task.source else ()


def _packaged(source: Source) -> Path:
    return Path(__file__).parent.parent / "starter" / source.id / next(iter(source.files.values()))[0]


def _source_facts(task: TaskSpec, source: SourceFiles) -> list[dict[str, Any]]:
    facts = [(source.source, source.revision)]
    facts += [(supplement, f"hubtools {__version__}") for supplement in _supplements(task, source)]
    found: list[dict[str, Any]] = [
        {"id": s.id, "revision": revision, "license": s.license, "attribution": s.attribution,
         "labels": s.provenance, "starter": s.starter}
        for s, revision in facts
    ]  # fmt: skip
    if source.mapping:  # how a user's own columns and labels were read
        found[0]["mapping"] = {key: value for key, value in source.mapping.items() if key != "features"}
    return found


def _without_duplicates(rows: list[Example], dropped: Drops) -> tuple[list[Example], int]:
    """One row a text; none where the same text has several labels. Official test rows stay before others."""
    by_content: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        by_content[content_hash(row.text)].append(row)
    kept, duplicates = [], 0
    for same in by_content.values():
        if len({_said(row) for row in same}) > 1:
            for row in same:
                dropped.drop("same text, several labels", row.place)
            continue
        duplicates += len(same) - 1
        stays = min(same, key=lambda row: _PRECEDENCE[row.split])
        kept.append(stays)
        for row in same:
            if row is not stays:
                dropped.drop("exact duplicate", row.place)
    return kept, duplicates


def _said(row: Example) -> tuple[Any, ...]:
    """What the source says of a text: its label, or what is marked in it. Offsets differ with white space."""
    return row.label, *((span.type, comparison_key(row.text[span.start : span.end])) for span in row.spans)


_PRECEDENCE = {"test": 0, "validation": 1, "train": 2, "": 3}


def _grouped(rows: list[Example], task: TaskSpec) -> list[Example]:
    """Every row with a group: its own, joined with those of its near-duplicates."""
    clusters = Clusters(len(rows))
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        if row.group:
            clusters.join(first.setdefault(row.group, i), i)
    # A near-duplicate of an official test row is dropped later, it need not drag its whole group along.
    for official in _PRECEDENCE:
        part = [i for i, row in enumerate(rows) if row.split == official]
        first_alike = near_duplicate_clusters([comparison_key(rows[i].text) for i in part])
        for i, earlier in zip(part, first_alike, strict=True):
            clusters.join(part[earlier], i)
    names: dict[int, str] = {}
    for i, row in enumerate(rows):
        name = row.group or f"text {content_hash(row.text)[:16]}"
        root = clusters.find(i)
        # The smallest name, so that the order of the rows does not matter.
        names[root] = min(names.get(root, name), name)
    return [replace(row, group=names[clusters.find(i)]) for i, row in enumerate(rows)]


def _split(rows: list[Example], task: TaskSpec, label_set: LabelSet, seed: int) -> list[Example]:
    labels: dict[str, list[str]] = defaultdict(list)
    official: dict[str, str] = {}
    for row in _mapped(rows, task, label_set):
        labels[row.group] += _classes(row, task)
        if row.split:
            official[row.group] = min(official.get(row.group, row.split), row.split, key=_PRECEDENCE.__getitem__)
    split = split_groups(labels, seed, official)
    return [replace(row, split=split[row.group]) for row in rows]


def _without_leaks(rows: list[Example], dropped: Drops) -> list[Example]:
    """Drop what has a duplicate or near-duplicate in a split that comes before: test, validation, train."""
    order = sorted(range(len(rows)), key=lambda i: _PRECEDENCE[rows[i].split])
    rows = [rows[i] for i in order]
    keys = [comparison_key(row.text) for row in rows]
    gone: dict[int, str] = {}
    seen: dict[str, int] = {}
    for i, key in enumerate(keys):
        if key in seen:
            gone[i] = "exact duplicate"
        else:
            seen[key] = i
    left = [i for i in range(len(rows)) if i not in gone]
    ranks = [_PRECEDENCE[rows[i].split] for i in left]
    for at in near_duplicates_of_earlier([keys[i] for i in left], ranks):
        gone[left[at]] = "near-duplicate of a row in an earlier split"
    for i, reason in gone.items():
        dropped.drop(reason, rows[i].place or f"made of {rows[i].source}, {rows[i].group}")
    return [row for i, row in enumerate(rows) if i not in gone]


def _mapped(rows: list[Example], task: TaskSpec, label_set: LabelSet) -> list[Example]:
    if task.kind == "sequence":
        return [replace(row, label=label_set.mapping[row.label]) for row in rows]
    known = label_set.mapping
    return [
        replace(row, spans=tuple(replace(s, type=known[s.type]) for s in row.spans if s.type in known)) for row in rows
    ]


def _classes(row: Example, task: TaskSpec) -> list[str]:
    return [row.label] if task.kind == "sequence" else [span.type for span in row.spans]


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
        present = {c for row in part for c in _classes(row, task)}
        missing = [label for label in label_set.labels if label not in present]
        # Nor can a detector be chosen or scored without both of its classes.
        if missing and (split == "train" or task.positive):
            raise SourceError(
                f"The {split} split of {task.name} lacks " + ", ".join(missing),
                expected="rows of every class: " + ", ".join(label_set.labels),
                found=", ".join(sorted(present)),
                next=f"add rows of these classes to {source.source.id!r}, or choose another --label-set",
            )


def _split_facts(rows: list[Example], task: TaskSpec, label_set: LabelSet) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "rows": len(rows),
        "groups": len({row.group for row in rows}),
        "labels": dict(sorted(Counter(c for row in rows for c in _classes(row, task)).items())),
        "characters": quantiles(row.text for row in rows),
    }
    if task.kind == "sequence":
        facts["characters_by_label"] = lengths_by_label(rows, label_set.labels)
    if task.kind == "token":
        facts["rows_without_spans"] = sum(not row.spans for row in rows)
    return facts


def leakage(rows: list[Example]) -> dict[str, int]:
    """Texts in several splits, rows near those of an earlier split, groups in several; every number must be 0."""
    splits: dict[str, set[str]] = defaultdict(set)
    groups: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        splits[content_hash(row.text)].add(row.split)
        groups[row.group].add(row.split)
    ranks = [_PRECEDENCE[row.split] for row in rows]
    return {
        "exact_across_splits": sum(len(s) > 1 for s in splits.values()),
        "near_across_splits": len(near_duplicates_of_earlier([comparison_key(r.text) for r in rows], ranks)),
        "groups_across_splits": sum(len(s) > 1 for s in groups.values()),
    }


def _write_split(rows: list[Example], task: TaskSpec, label_set: LabelSet, path: Path) -> None:
    from datasets import ClassLabel, Dataset, Features, List, Value

    columns: dict[str, list[Any]] = {
        "id": [hashlib.sha256(r.text.encode("utf-8", "surrogatepass")).hexdigest()[:16] for r in rows],
        "text": [r.text for r in rows],
    }
    features: dict[str, Any] = {"id": Value("string"), "text": Value("string")}
    if task.kind == "sequence":
        columns["label"] = [label_set.labels.index(r.label) for r in rows]
        features["label"] = ClassLabel(names=list(label_set.labels))
    else:
        tagged = [word_tags(r.text, r.spans, label_set.labels) for r in rows]
        columns["spans"] = [
            [{"start": s.start, "end": s.end, "label": label_set.labels.index(s.type)} for s in r.spans] for r in rows
        ]
        columns["tokens"] = [tokens for tokens, _ in tagged]
        columns["ner_tags"] = [tags for _, tags in tagged]
        features["spans"] = List(
            {"start": Value("int32"), "end": Value("int32"), "label": ClassLabel(names=list(label_set.labels))}
        )
        features["tokens"] = List(Value("string"))
        features["ner_tags"] = List(ClassLabel(names=list(task.model_labels(label_set))))
    columns["group"] = [r.group for r in rows]
    columns["source"] = [r.source for r in rows]
    features["group"] = features["source"] = Value("string")
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns, features=Features(features)).to_parquet(str(path))
