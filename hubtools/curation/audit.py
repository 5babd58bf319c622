"""``audit.csv``: rows of each class for a person to check, with the rule that labelled them."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from hubtools.heads import Head
from hubtools.records import write_whole
from hubtools.spec import Example, LabelSet

ROWS = 50  # of each class, for a person to read
_MOST_CHARACTERS = 400  # of a text; a whole document would hide the next row


def write_audit(path: Path, rows: Iterable[Example], head: Head, label_set: LabelSet, seed: int) -> None:
    """Write up to 50 rows of each class, or type of spans, the same ones for one seed.

    Columns: ``label``; ``text``, shortened, with its spans marked; ``rule``; ``group``; ``place`` (file and line or
    number); ``split`` and ``source``.
    """
    classes: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        for name in head.audit_classes(row):
            classes[name].append(row)
    with write_whole(path) as part, part.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["label", "text", "rule", "group", "place", "split", "source"])
        for label in head.list_audit_classes(label_set):
            # By a hash with the seed: another seed shows other rows, and a new row moves none of the rest.
            chosen = sorted(classes[label], key=lambda row: hashlib.sha256(f"{seed}:{row.text}".encode()).digest())
            for row in chosen[:ROWS]:
                # Labels of our own rules are checked against the rule, all others against the source.
                rule = row.rule or "label of the source"
                writer.writerow([label, _mark_spans(row), rule, row.group, row.origin, row.split, row.source])


def _mark_spans(row: Example) -> str:
    """Return the text on one line, its spans in brackets with their types before them: ``[PERSON: Ann]``."""
    text, last = "", 0
    for span in row.spans:
        text += f"{row.text[last : span.start]}[{span.type}: {row.text[span.start : span.end]}]"
        last = span.end
    text = " ".join((text + row.text[last:]).split())
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
