"""Rows of a source as examples that can be trained on; what cannot be is counted, with its place and reason."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hubtools.curation.reading import one_line, read_rows
from hubtools.curation.sources import SPLIT_NAMES, SourceFiles
from hubtools.curation.split import SPLITS
from hubtools.errors import SourceError
from hubtools.spec import BadRow, Dropped, Example, LabelSet, Span, Undecided
from hubtools.task import TaskSpec

MAX_CHARACTERS = 50_000

# So that a source in which nothing fits cannot fill the memory or the disk.
MAX_REASONS = 200
MAX_PLACES = 1_000

LONG = f"longer than {MAX_CHARACTERS} characters"
DAMAGED = "encoding damage"
WITHIN = "a span begins or ends within a word"
UNCLEAN = (LONG, DAMAGED, WITHIN)

WORDS = re.compile(r"\w+|[^\w\s]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffd]")  # and surrogates, which UTF-8 lacks


class Drops(Counter[str]):
    """Rows that were dropped: how many for each reason, and where the first :data:`MAX_PLACES` of each stand.

    Attributes:
        undecided: how many of them have a label that no rule decides.
    """

    def __init__(self) -> None:
        super().__init__()
        self.undecided = 0
        self.places: dict[str, list[str]] = {}

    def drop(self, reason: str, place: str, rows: int = 1) -> str:
        """Count a row. Returns the reason it is counted under: the kind alone, where there are too many."""
        reason = one_line(reason, 200)
        if reason not in self and len(self) >= MAX_REASONS:
            reason = re.split(r" ['\"]", reason)[0]
        self[reason] += rows
        places = self.places.setdefault(reason, [])
        if len(places) < MAX_PLACES:
            places.append(place)
        return reason

    def write(self, path: Path, others: Iterable[Drops] = ()) -> None:
        """A line for each row, of these and of ``others``, that is known by its place, and one for those of a reason
        that are not.
        """
        part = path.with_name(path.name + ".part")
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as out:
            for drops in (self, *others):
                for reason, rows in drops.items():
                    places = drops.places.get(reason, [])
                    lines = [{"reason": reason, "place": place} for place in places]
                    more = [{"reason": reason, "more": rows - len(places)}] if rows > len(places) else []
                    out.writelines(json.dumps(line) + "\n" for line in [*lines, *more])
        os.replace(part, path)


def read_examples(
    task: TaskSpec, source: SourceFiles, label_set: LabelSet, drops: Drops, *, skip_bad_rows: bool = False,
    every_class: bool = True,
) -> tuple[list[Example], int]:  # fmt: skip
    """Every row that can be trained on, and how many rows there were.

    A row is looked at and dropped as it is read: memory holds what is kept. A source to train on must have rows of
    ``every_class``; a supplement, and data to score on, need not.

    Raises:
        SourceError: a column is missing, or rows are bad and are not to be skipped, or a class has no row. One
            message names all of these.
    """
    rows: list[Example] = []
    bad: Counter[str] = Counter()
    read = 0
    for split, path in source.files:
        for raw in read_rows(path, source.source.columns, source.features, _advice(task)):
            read += raw.rows
            if raw.row is None:
                bad[drops.drop(raw.defect.split(":")[0], raw.place, raw.rows)] += raw.rows
                continue
            try:
                example = source.source.row(raw.row)
                if task.kind == "sequence" and example.label not in label_set.mapping:
                    if any(example.label in s.mapping for s in task.label_sets):
                        raise Dropped("label outside the label set")
                    raise BadRow(f"unknown label {one_line(example.label, 60)!r}")
                official = split or example.split or str(raw.row.get("split") or "")
                if official not in SPLIT_NAMES:
                    raise BadRow(f"unknown split {one_line(official, 60)!r}: neither " + ", ".join(SPLITS))
                reason = unfit(example, label_set)
                if reason:
                    raise Dropped(reason)
            except BadRow as defect:
                bad[drops.drop(str(defect), raw.place)] += 1
            except Dropped as defect:
                drops.drop(str(defect), raw.place)
                drops.undecided += isinstance(defect, Undecided)
            else:
                official = SPLIT_NAMES[official]
                rows.append(replace(example, split=official, source=source.source.id, place=raw.place))
    # A training split without the two others is a pool that is still to be split.
    if not {"validation", "test"} <= {row.split for row in rows}:
        rows = [replace(row, split="") if row.split == "train" else row for row in rows]
    found = [] if skip_bad_rows else _told(bad, drops)
    # Templates hold their types once they are filled.
    absent = _absent(rows, task, label_set, source) if every_class and not source.source.templates else []
    if found or (absent and rows):
        labels = ", ".join(label_set.labels)
        raise SourceError(
            f"Source {source.source.id!r} has {bad.total()} bad row{'s' * (bad.total() != 1)} of {read}"
            if found else f"Source {source.source.id!r} lacks rows that {task.name} needs",
            expected=f"readable rows with {', '.join(source.source.columns)} ({labels})",
            found="; ".join([*found, *absent]),
            next="mend them, or drop and count them with --skip-bad-rows"
            + ("; or map your labels to ours with --label-map" if any("unknown" in f for f in found) else "")
            if found else "add rows of these classes, or map your labels to them with --label-map",
        )  # fmt: skip
    return rows, read


def _advice(task: TaskSpec) -> str:
    if task.kind == "sequence":
        return "name your columns with --text-column and --label-column"
    return "name your columns: --text-column and --label-column (the spans), or --tokens-column and --tags-column"


def _told(bad: Counter[str], drops: Drops) -> list[str]:
    """What is wrong, the most frequent first, each with the places of the first of its rows."""
    told = []
    for reason, rows in bad.most_common(10):
        places = drops.places[reason]
        told.append(f"{reason} in {rows} row{'s' * (rows != 1)} ({', '.join(places[:3])}{', …' * (rows > 3)})")
    return [*told, f"and {len(bad) - 10} other reasons"] if len(bad) > 10 else told


def _absent(rows: Sequence[Example], task: TaskSpec, label_set: LabelSet, source: SourceFiles) -> list[str]:
    """Classes without a row: in the source as a whole, and for a detector in a split that the source has fixed."""
    held: dict[str, set[str]] = {}
    # A group goes whole where one of its rows is.
    whole: dict[str, str] = {}
    for split in ("train", "validation", "test"):
        whole |= {row.group: split for row in rows if row.group and row.split == split}
    for row in rows:
        held.setdefault(whole.get(row.group, row.split), set()).update(label_set.mapped(row).classes)
    told = []
    # What the task's own source lacks, its supplements may bring.
    if source.source is not task.source:
        missing = [label for label in label_set.labels if not any(label in split for split in held.values())]
        told += [f"no row of {', '.join(missing)}"] if missing else []
    for split in ("validation", "test"):
        missing = [label for label in label_set.labels if task.positive and label not in held.get(split, {label})]
        told += [f"no row of {', '.join(missing)} in its {split} split"] if missing else []
    return told


def unfit(row: Example, label_set: LabelSet) -> str:
    """Why ``row`` must not be in a dataset; "" where it may. The text is never mended: it is kept as it is, or not."""
    if len(row.text) > MAX_CHARACTERS:
        return LONG
    if _CONTROL.search(row.text + row.group):
        return DAMAGED
    if row.spans and not round_trips(row.text, label_set.mapped(row).spans, label_set.labels):
        return WITHIN
    return ""


def word_tags(text: str, spans: Iterable[Span], types: Sequence[str]) -> tuple[list[str], list[int]]:
    """Words and punctuation marks of ``text``, and their BIO tag ids in the order of ``model_labels``.

    ``spans`` are in order and do not overlap.
    """
    tokens, tags = [], []
    ordered = list(spans)
    at, previous = 0, None
    for match in WORDS.finditer(text):
        tokens.append(match.group())
        while at < len(ordered) and ordered[at].end <= match.start():
            at += 1
        span = ordered[at] if at < len(ordered) and ordered[at].start < match.end() else None
        tags.append(0 if span is None else 1 + 2 * types.index(span.type) + (span is previous))
        previous = span
    return tokens, tags


def tagged_spans(text: str, tags: Sequence[int], types: Sequence[str]) -> list[Span]:
    """The spans that :func:`word_tags` made these tags of, where each begins and ends with a word."""
    spans: list[Span] = []
    for match, tag in zip(WORDS.finditer(text), tags, strict=True):
        if tag and tag % 2:
            spans.append(Span(match.start(), match.end(), types[tag // 2]))
        elif tag:
            spans[-1] = replace(spans[-1], end=match.end())
    return spans


def round_trips(text: str, spans: Sequence[Span], types: Sequence[str]) -> bool:
    """Whether spans, written as tags of words and read back, are the same."""
    return not spans or tagged_spans(text, word_tags(text, spans, types)[1], types) == list(spans)
