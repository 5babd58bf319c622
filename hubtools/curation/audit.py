"""``audit.csv``: rows of each class for a person to check, with the rule that labelled them."""

from __future__ import annotations

import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from hubtools.spec import Example

ROWS = 50  # a class
NOTHING = "no personal data"
_SHOWN = 400


def write_audit(path: Path, rows: Iterable[Example], labels: Sequence[str], seed: int) -> None:
    """Up to 50 rows of each class, or type of personal data, the same ones for one seed.

    Columns: ``label``; ``text``, shortened, with personal data marked; ``rule``; ``group``; ``place`` (file and line
    or number); ``split`` and ``source``.
    """
    classes: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        for kind in set(row.classes) or {NOTHING}:
            classes[kind].append(row)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["label", "text", "rule", "group", "place", "split", "source"])
        for label in [*labels, NOTHING]:
            chosen = sorted(classes[label], key=lambda row: hashlib.sha256(f"{seed}:{row.text}".encode()).digest())
            for row in chosen[:ROWS]:
                rule = row.rule or "label of the source"
                writer.writerow([label, _shown(row), rule, row.group, row.place, row.split, row.source])
    os.replace(temporary, path)


def _shown(row: Example) -> str:
    text, last = "", 0
    for span in row.spans:
        text += f"{row.text[last : span.start]}[{span.type}: {row.text[span.start : span.end]}]"
        last = span.end
    text = " ".join((text + row.text[last:]).split())
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
