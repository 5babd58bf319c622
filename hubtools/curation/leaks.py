"""What keeps the splits apart: one row a text, like rows in one group, and nothing that stands in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from hubtools.curation.duplicates import (
    Clusters,
    comparison_key,
    content_hash,
    near_duplicate_clusters,
    near_duplicates_of_earlier,
)
from hubtools.curation.intake import Drops
from hubtools.spec import Example

# Of two rows that are alike in different splits, the one whose split comes first stays.
PRECEDENCE = {"test": 0, "validation": 1, "train": 2, "": 3}


def without_duplicates(rows: Iterable[Example], drops: Drops) -> list[Example]:
    """One row a text; none where the same text has several labels. Official test rows stay before others."""
    by_content: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        by_content[content_hash(row.text)].append(row)
    kept = []
    for same in by_content.values():
        if len({_said(row) for row in same}) > 1:
            for row in same:
                drops.drop("same text, several labels", row.place)
            continue
        stays = min(same, key=lambda row: PRECEDENCE[row.split])
        kept.append(stays)
        for row in same:
            if row is not stays:
                drops.drop("exact duplicate", row.place)
    return kept


def _said(row: Example) -> tuple[Any, ...]:
    """What the source says of a text: its label, or what is marked in it. Offsets differ with white space."""
    return row.label, *((span.type, comparison_key(row.text[span.start : span.end])) for span in row.spans)


def own_group(row: Example) -> str:
    """The group that the row names, or one of its own."""
    return row.group or f"text {content_hash(row.text)[:16]}"


def grouped(rows: Sequence[Example]) -> list[Example]:
    """Every row with a group: its own, joined with those of its near-duplicates."""
    clusters = Clusters(len(rows))
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        if row.group:
            clusters.join(first.setdefault(row.group, i), i)
    # A near-duplicate of an official test row is dropped later, it need not drag its whole group along.
    for official in PRECEDENCE:
        part = [i for i, row in enumerate(rows) if row.split == official]
        first_alike = near_duplicate_clusters([comparison_key(rows[i].text) for i in part])
        for i, earlier in zip(part, first_alike, strict=True):
            clusters.join(part[earlier], i)
    names: dict[int, str] = {}
    for i, row in enumerate(rows):
        name, root = own_group(row), clusters.find(i)
        # The smallest name, so that the order of the rows does not matter.
        names[root] = min(names.get(root, name), name)
    return [replace(row, group=names[clusters.find(i)]) for i, row in enumerate(rows)]


def without_leaks(rows: Iterable[Example], drops: Drops) -> list[Example]:
    """Rows by split (test, validation, train), without what has a duplicate before it, or is like a row of an
    earlier split. Within a split the order stays.
    """
    rows = sorted(rows, key=lambda row: PRECEDENCE[row.split])
    keys = [comparison_key(row.text) for row in rows]
    gone: dict[int, str] = {}
    seen: set[str] = set()
    for i, key in enumerate(keys):
        if key in seen:
            gone[i] = "exact duplicate"
        seen.add(key)
    left = [i for i in range(len(rows)) if i not in gone]
    ranks = [PRECEDENCE[rows[i].split] for i in left]
    for at in near_duplicates_of_earlier([keys[i] for i in left], ranks):
        gone[left[at]] = "near-duplicate of a row in an earlier split"
    for i, reason in gone.items():
        drops.drop(reason, rows[i].place)
    return [row for i, row in enumerate(rows) if i not in gone]


def leakage(rows: Sequence[Example]) -> dict[str, int]:
    """Texts in several splits, rows near those of an earlier split, groups in several; every number must be 0."""
    splits: dict[str, set[str]] = defaultdict(set)
    groups: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        splits[content_hash(row.text)].add(row.split)
        groups[row.group].add(row.split)
    ranks = [PRECEDENCE[row.split] for row in rows]
    return {
        "exact_across_splits": sum(len(s) > 1 for s in splits.values()),
        "near_across_splits": len(near_duplicates_of_earlier([comparison_key(r.text) for r in rows], ranks)),
        "groups_across_splits": sum(len(s) > 1 for s in groups.values()),
    }
