"""What keeps the splits apart: one row a text, like rows in one group, and nothing that stands in two splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from hubtools.curation.cleaning import Drops
from hubtools.curation.duplicates import Clusters, cluster_near_duplicates, find_near_duplicates_of_earlier
from hubtools.records.dataset import Leakage
from hubtools.rows import hash_content, make_comparison_key
from hubtools.spec import Example

# Of two rows that are alike in different splits, the one whose split comes first stays.
PRECEDENCE = {"test": 0, "validation": 1, "train": 2, "": 3}


def drop_duplicates(rows: Iterable[Example], drops: Drops) -> list[Example]:
    """Return one row for each text, an official test row before others; none where a text has several labels."""
    by_content: dict[str, list[Example]] = defaultdict(list)
    # Compared as they are folded: a text in capitals is the same row.
    for row in rows:
        by_content[make_comparison_key(row.text)].append(row)
    kept = []
    for same in by_content.values():
        if len({_read_annotation(row) for row in same}) > 1:
            # None of the labels is more likely than the others: the text goes.
            for row in same:
                drops.drop("same text, several labels", row.origin)
            continue
        stays = min(same, key=lambda row: PRECEDENCE[row.split])
        kept.append(stays)
        for row in same:
            if row is not stays:
                drops.drop("exact duplicate", row.origin)
    return kept


def _read_annotation(row: Example) -> tuple[object, ...]:
    """Return what the source says of a text: its label, or the types and texts of its spans.

    Not their offsets, which differ with white space.
    """
    return row.label, *((span.type, make_comparison_key(row.text[span.start : span.end])) for span in row.spans)


def name_group(row: Example) -> str:
    """Return the group that the row names, or one of its own, by its text."""
    return row.group or f"text {hash_content(row.text)[:16]}"


def assign_groups(rows: Sequence[Example]) -> list[Example]:
    """Return every row with a group: its own, joined with those of its near-duplicates."""
    clusters = Clusters(len(rows))
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        if row.group:
            clusters.join(first.setdefault(row.group, i), i)
    # Compared within a split alone: a near-duplicate of an official test row is dropped later, and need not drag its
    # whole group along.
    for official in PRECEDENCE:
        part = [i for i, row in enumerate(rows) if row.split == official]
        first_alike = cluster_near_duplicates([make_comparison_key(rows[i].text) for i in part])
        for i, earlier in zip(part, first_alike, strict=True):
            clusters.join(part[earlier], i)
    names: dict[int, tuple[int, str]] = {}
    # A group keeps the name, and with it the split, that it has without the sources that come after its first.
    ranks = {source: rank for rank, source in enumerate(dict.fromkeys(row.source for row in rows))}
    for i, row in enumerate(rows):
        name, root = (ranks[row.source], name_group(row)), clusters.find(i)
        # The smallest name, so that the order of the rows does not matter.
        names[root] = min(names.get(root, name), name)
    return [replace(row, group=names[clusters.find(i)][1]) for i, row in enumerate(rows)]


def drop_leaks(rows: Iterable[Example], drops: Drops) -> list[Example]:
    """Return rows by split (test, validation, train), but those that are like a row of an earlier split.

    Exact duplicates go within a split as well. Within a split the order stays.
    """
    rows = sorted(rows, key=lambda row: PRECEDENCE[row.split])
    keys = [make_comparison_key(row.text) for row in rows]
    reasons: dict[int, str] = {}
    seen: set[str] = set()
    for i, key in enumerate(keys):
        if key in seen:
            reasons[i] = "exact duplicate"
        seen.add(key)
    # Near-duplicates within a split stay: they are in one group, which does not harm an honest score.
    left = [i for i in range(len(rows)) if i not in reasons]
    ranks = [PRECEDENCE[rows[i].split] for i in left]
    for i in find_near_duplicates_of_earlier([keys[i] for i in left], ranks):
        reasons[left[i]] = "near-duplicate of a row in an earlier split"
    for i, reason in reasons.items():
        drops.drop(reason, rows[i].origin)
    return [row for i, row in enumerate(rows) if i not in reasons]


def count_leaks(rows: Sequence[Example]) -> Leakage:
    """Count texts in several splits, rows near those of an earlier split, groups in several; all must be 0."""
    # Counted anew, from the rows that are written, and not from what the steps before say that they did.
    keys = [make_comparison_key(row.text) for row in rows]
    splits: dict[str, set[str]] = defaultdict(set)
    groups: dict[str, set[str]] = defaultdict(set)
    for row, key in zip(rows, keys, strict=True):
        splits[key].add(row.split)
        groups[row.group].add(row.split)
    ranks = [PRECEDENCE[row.split] for row in rows]
    return Leakage(
        exact_across_splits=sum(len(s) > 1 for s in splits.values()),
        near_across_splits=len(find_near_duplicates_of_earlier(keys, ranks)),
        groups_across_splits=sum(len(s) > 1 for s in groups.values()),
    )
