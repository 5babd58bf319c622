"""Curate one task: from a source to ``dataset/`` and ``facts.json``.

The order is what makes the numbers honest: read, clean, drop duplicates, split by group, drop what would leak,
and only then add synthetic rows, to the training split alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubtools import __version__
from hubtools.curation.audit import write_audit
from hubtools.curation.describe import COMPARISON, examples, lengths_by_label, licence_facts, quantiles
from hubtools.curation.duplicates import (
    Clusters,
    comparison_key,
    content_hash,
    near_duplicate_clusters,
    near_duplicates_of_earlier,
)
from hubtools.curation.lengths import baseline, matching
from hubtools.curation.sources import SourceFiles, read_rows
from hubtools.curation.split import SPLITS, split_groups
from hubtools.curation.supplements import capped
from hubtools.curation.synthesis import documents, provenance, topped_up
from hubtools.errors import SourceError
from hubtools.spec import Dropped, Example, LabelSet, TaskSpec, Undecided
from hubtools.workdir import TaskFolder, write_json

MAX_CHARACTERS = 50_000

FACTS = 3  # bumped when facts.json says more, or says it otherwise

# Documents made of each template: a stand-in corpus needs more of them than a supplement beside real rows.
STARTER_COPIES = {"train": 12, "validation": 4, "test": 4}
SUPPLEMENT_COPIES = 4

# Spans of each type that the training split has at least, where supplements are templates.
LEAST_SPANS = 1_000

_WORDS = re.compile(r"\w+|[^\w\s]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffd]")  # and surrogates, which UTF-8 lacks


def fingerprint(
    task: TaskSpec, source: SourceFiles, label_set: LabelSet, seed: int, skip_bad_rows: bool,
    supplements: Sequence[SourceFiles] = (), match_lengths: bool = False,
) -> str:  # fmt: skip
    """What decides the dataset's content; curation is skipped while it stays the same."""
    digest = hashlib.sha256()
    for split, path in source.files:
        digest.update(split.encode() + hashlib.sha256(path.read_bytes()).digest())
    for supplement in supplements:
        digest.update(f"{supplement.source.name} {supplement.source.share}".encode())
        for _, path in supplement.files:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    rest = [__version__, FACTS, task.name, task.version, source.source.id, source.source.columns, label_set.name, seed]
    rest += [source.source.license, skip_bad_rows, match_lengths]
    digest.update(json.dumps(rest).encode())
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
    """Write ``folder.dataset``, ``folder.audit`` and ``folder.facts``, and return the facts.

    Args:
        supplements: what joins the training split, each up to its share.
        match_lengths: add harmless prompts as long as attacks to the training split.
        skip_bad_rows: drop and count rows that cannot be read or have an unknown label; otherwise they stop the
            curation, with the places of the first of them.

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

    dropped: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    rows, read = _examples(task, source, label_set, dropped, rules, skip_bad_rows)
    steps = {"read": read, "usable": len(rows)}
    rows = _clean(rows, dropped)
    steps["cleaned"] = len(rows)
    # Templates are told apart by their words, slots included; what they are filled with is checked further down.
    rows, exact = _without_duplicates(rows, dropped)
    steps["without exact duplicates"] = len(rows)
    rows = _grouped(rows, task)
    rows = _split(rows, task, label_set, seed)
    if source.source.templates:
        rows = [
            document
            for split in SPLITS
            for document in documents([r for r in rows if r.split == split], split, STARTER_COPIES[split], seed)
        ]
        steps["filled templates"] = len(rows)
    rows, leaks = _without_leaks(rows)
    dropped.update(leaks)
    steps["without leaks"] = len(rows)
    if not rows:
        raise SourceError(
            f"Nothing is left of source {source.source.id!r} for {task.name}",
            expected="rows that can be learned from",
            found=", ".join(f"{n} rows: {why}" for why, n in dropped.most_common(5)) or "no rows",
            next="mend the source, or give another with --source",
        )
    alone = _mapped(rows, task, label_set)
    rows, joined = _supplemented(rows, task, label_set, supplements, seed)
    if joined:
        steps["with supplements"] = len(rows)
    rows = _mapped(rows, task, label_set)
    long = list(matching([r for r in rows if r.split == "train"], task.positive, seed)) if match_lengths else []
    rows += long
    if long:
        steps["with matching lengths"] = len(rows)
    train = sum(row.split == "train" for row in rows)
    for supplement in joined:
        supplement["share"] = round(supplement["rows"] / max(1, train), 4)
    _check_classes(rows, task, label_set, source)

    # Built beside the old one and swapped in at the end: a kill leaves either the old dataset or the new.
    fresh = folder.root / "dataset.new"
    shutil.rmtree(fresh, ignore_errors=True)
    for split in SPLITS:
        part = sorted((r for r in rows if r.split == split), key=lambda r: content_hash(r.text) + r.text)
        _write_split(part, task, label_set, fresh / folder.split_file(split).relative_to(folder.dataset))
    folder.facts.unlink(missing_ok=True)
    write_audit(folder.audit, rows, task, label_set.labels, seed)
    shutil.rmtree(folder.dataset, ignore_errors=True)
    fresh.rename(folder.dataset)

    sources = _source_facts([source, *supplements])
    made_up = [*SPLITS] if source.source.templates else ["train"] if any(s["templates"] for s in joined) else []
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
                   "synthetic_train": sum(s["rows"] for s in joined if s["templates"]),
                   "length_matched_train": len(long), "kept": len(rows)},
        "supplements": joined,
        "splits": {s: _split_facts([r for r in rows if r.split == s], task, label_set) for s in SPLITS},
        "comparison": COMPARISON,
        "leakage": leakage(rows),
        "synthesis": provenance(seed, made_up) if made_up else None,
        "examples": examples([r for r in rows if r.split == "train"], label_set.labels),
    }  # fmt: skip
    if rules.total():
        facts["decided_by"] = _shares(rules)
    if task.positive:
        before, after, test = ([r for r in part if r.split == s] for part, s in
                               ((alone, "train"), (rows, "train"), (rows, "test")))  # fmt: skip
        facts["length_baseline"] = baseline(before, after, test, task.positive)
    write_json(folder.facts, facts)
    sizes = ", ".join(f"{split} {facts['splits'][split]['rows']}" for split in SPLITS)
    note(f"{task.name}: {read} rows read, {sum(dropped.values())} dropped; {sizes}")
    for supplement in joined:
        note(f"{task.name}: supplement {supplement['name']} is {supplement['share']:.1%} of train")
    note(f"{task.name}: rows of each class to check by eye: {folder.audit}")
    return facts


def _supplemented(
    rows: list[Example], task: TaskSpec, label_set: LabelSet, supplements: Sequence[SourceFiles], seed: int
) -> tuple[list[Example], list[dict[str, Any]]]:
    """``rows`` and, in the training split, those of the supplements; and what became of each supplement."""
    found: dict[str, list[Example]] = {}
    facts: list[dict[str, Any]] = []
    held = {row.group for row in rows if row.split != "train"}
    templates: list[Example] = []
    for files in supplements:
        gone: Counter[str] = Counter()
        rules: Counter[str] = Counter()
        new, read = _examples(task, files, label_set, gone, rules, skip_bad_rows=True)
        new, _ = _without_duplicates(_clean(new, gone), gone)
        if files.source.templates:
            templates += new
            new = list(documents(new, "train", SUPPLEMENT_COPIES, seed))
        kept = []
        for row in new:
            if row.group and row.group in held:
                gone["its group stands in another split"] += 1
            else:
                group = row.group or f"text {content_hash(row.text)[:16]}"
                kept.append(replace(row, group=group, split="train"))
        found[files.source.id] = kept
        facts.append({"id": files.source.id, "name": files.source.name, "templates": files.source.templates,
                      "license": files.source.license, "read": read, "dropped": gone, "limit": files.source.share}
                     | ({"decided_by": _shares(rules)} if rules.total() else {}))  # fmt: skip
    if not supplements:
        return rows, facts
    if templates:
        train = [row for row in rows if row.split == "train"]
        train += [row for new in found.values() for row in new]
        have = Counter(span.type for row in _mapped(train, task, label_set) for span in row.spans)
        for row in topped_up(templates, have, label_set.mapping, LEAST_SPANS, seed):
            found[row.source].append(row)
    together, _ = _without_leaks([*rows, *(row for new in found.values() for row in new)])
    left: dict[str, list[Example]] = {name: [] for name in found}
    for row in together:
        if row.source in left:
            left[row.source].append(row)
    others = sum(row.split == "train" for row in rows)
    used = capped(left, {files.source.id: files.source.share for files in supplements}, others)
    for fact in facts:
        name = fact["id"]
        fact["dropped"]["duplicate or near-duplicate of another row"] += len(found[name]) - len(left[name])
        fact["dropped"]["beyond its share"] += len(left[name]) - len(used[name])
        fact["dropped"] = {reason: n for reason, n in sorted(fact["dropped"].items()) if n}
        fact["rows"] = len(used[name])
    return rows + [row for new in used.values() for row in new], facts


def _shares(rules: Counter[str]) -> dict[str, Any]:
    """How many labels the table decided, how many a keyword, how many none: rows, and shares of all of them."""
    kinds = ("table", "keyword", "dropped")
    total = sum(rules[kind] for kind in kinds)
    return {kind: {"rows": rules[kind], "share": round(rules[kind] / max(1, total), 4)} for kind in kinds}


def _source_facts(files: Sequence[SourceFiles]) -> list[dict[str, Any]]:
    return [
        {"id": s.id, "revision": revision, "license": s.license, "attribution": s.attribution,
         "labels": s.provenance, "starter": s.starter}
        for s, revision in ((part.source, part.revision) for part in files)
    ]  # fmt: skip


def _examples(
    task: TaskSpec, source: SourceFiles, label_set: LabelSet, dropped: Counter[str], rules: Counter[str],
    skip_bad_rows: bool,
) -> tuple[list[Example], int]:  # fmt: skip
    """Rows of the source through its row function; and how many there were. ``rules`` counts what decided labels."""
    rows: list[Example] = []
    bad: list[str] = []
    read = 0
    for split, path in source.files:
        for raw in read_rows(path, source.source.columns):
            read += 1
            if raw.row is None:
                bad.append(f"{raw.place}: {raw.defect}")
                dropped[raw.defect.split(":")[0]] += 1
                continue
            try:
                example = source.source.row(raw.row)
                if (kind := example.rule.partition(" ")[0]) in ("table", "keyword"):
                    rules[kind] += 1
                if task.kind == "sequence" and example.label not in label_set.mapping:
                    known = any(example.label in s.mapping for s in task.label_sets)
                    raise Dropped("label outside the label set" if known else f"unknown label {example.label!r}")
                official = split or example.split or str(raw.row.get("split") or "")
                if official not in _PRECEDENCE:
                    raise Dropped(f"unknown split {official!r}: neither " + ", ".join(SPLITS))
            except Dropped as reason:
                dropped[str(reason)] += 1
                rules["dropped"] += isinstance(reason, Undecided)
                if str(reason).startswith(("unknown", "span", "a span", "overlapping", "label is missing")):
                    bad.append(f"{raw.place}: {reason}")
                continue
            rows.append(replace(example, split=official, source=source.source.id, place=raw.place))
    if bad and not skip_bad_rows:
        labels = ", ".join(label_set.mapping) if task.kind == "sequence" else "exact spans"
        raise SourceError(
            f"Source {source.source.id!r} has {len(bad)} bad row{'s' * (len(bad) != 1)} of {read}",
            expected=f"readable rows with {', '.join(source.source.columns)} ({labels})",
            found="; ".join(bad[:3]) + (f"; and {len(bad) - 3} more" if len(bad) > 3 else ""),
            next="mend them, or drop and count them with --skip-bad-rows",
        )
    return rows, read


def _clean(rows: Iterable[Example], dropped: Counter[str]) -> list[Example]:
    kept = []
    for row in rows:
        if len(row.text) > MAX_CHARACTERS:
            dropped[f"longer than {MAX_CHARACTERS} characters"] += 1
        elif _CONTROL.search(row.text + row.group):
            dropped["encoding damage"] += 1
        else:
            kept.append(row)
    return kept


def _without_duplicates(rows: list[Example], dropped: Counter[str]) -> tuple[list[Example], int]:
    """One row a text; none where the same text has several labels. Official test rows stay before others."""
    by_content: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        by_content[content_hash(row.text)].append(row)
    kept, duplicates = [], 0
    for same in by_content.values():
        if len({row.label for row in same}) > 1:
            dropped["same text, several labels"] += len(same)
            continue
        duplicates += len(same) - 1
        kept.append(min(same, key=lambda row: _PRECEDENCE[row.split]))
    if duplicates:
        dropped["exact duplicate"] += duplicates
    return kept, duplicates


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


def _without_leaks(rows: list[Example]) -> tuple[list[Example], Counter[str]]:
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
    return [row for i, row in enumerate(rows) if i not in gone], Counter(gone.values())


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


def word_tags(text: str, spans: Iterable[Any], types: tuple[str, ...]) -> tuple[list[str], list[int]]:
    """Words and punctuation marks of ``text``, and their BIO tag ids in the order of ``model_labels``."""
    tokens, tags = [], []
    ordered = list(spans)
    previous = None
    for match in _WORDS.finditer(text):
        tokens.append(match.group())
        span = next((s for s in ordered if s.start < match.end() and match.start() < s.end), None)
        tags.append(0 if span is None else 1 + 2 * types.index(span.type) + (span is previous))
        previous = span
    return tokens, tags


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
