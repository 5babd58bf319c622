"""Rows of sources as examples that can be trained on; what cannot be is counted, with its origin and reason."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hubtools.curation.source_rows import iterate_rows
from hubtools.curation.sources import SPLIT_NAMES, SourceFiles, are_public, name_sources
from hubtools.curation.split import SPLITS
from hubtools.errors import SourceError, shorten
from hubtools.heads.span_rows import SPLIT_WORD
from hubtools.records import write_whole
from hubtools.rows import hash_content
from hubtools.spec import BadRow, Dropped, Example, Flawed, LabelSet, Undecided
from hubtools.task import TaskSpec

MAX_CHARACTERS = 50_000  # of a text: far more than any model here reads, and less than what a broken file may hold

MOST_FLAWED = 0.05  # of the rows of all sources: a few are usual, more are a mistake about the file

# So that a source in which nothing fits cannot fill the memory or the disk.
MAX_REASONS = 200
MAX_ORIGINS = 1_000
_SHOWN = 20  # reasons on a screen; the file has them all

LONG = f"longer than {MAX_CHARACTERS} characters"
DAMAGED = "encoding damage"
NOT_UTF8 = "not UTF-8"
# Why a usable row is dropped all the same: the reasons that cleaning has, and no source or label set.
UNCLEAN = (LONG, DAMAGED, SPLIT_WORD)

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffd]")  # and surrogates, which UTF-8 lacks
_UNDECODED = re.compile(r"[\udc80-\udcff]")  # bytes that are no UTF-8: see open_text


class Drops(Counter[str]):
    """Rows that were dropped: how many for each reason, and the origins of the first :data:`MAX_ORIGINS` of each.

    Attributes:
        left_out: how many of them a rule leaves out on purpose; all others are lost.
        undecided: how many have a label that no rule decides.
        origins: of the rows of each reason, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.left_out = 0
        self.undecided = 0
        self.origins: dict[str, list[str]] = {}

    def drop(self, reason: str, origin: str, rows: int = 1) -> str:
        """Count a row, or several that are lost in one piece.

        Returns:
            The reason it is counted under: without the value that it quotes, where there are too many reasons.
        """
        # It may quote a byte that has no form in a file of ours.
        reason = shorten(reason, 200).encode("utf-8", "backslashreplace").decode()
        if reason not in self and len(self) >= MAX_REASONS:
            # A message quotes the value behind its words: what stands before it is the same for all of its kind.
            reason = re.split(r" ['\"]", reason)[0]
        self[reason] += rows
        origins = self.origins.setdefault(reason, [])
        if len(origins) < MAX_ORIGINS:
            origins.append(origin)
        return reason

    def add(self, other: Drops) -> None:
        """Count what another has counted as well."""
        self.update(other)
        for reason, origins in other.origins.items():
            self.origins.setdefault(reason, []).extend(origins)

    def describe(self) -> list[str]:
        """Return a line for each reason, the most frequent first: how many rows, why, and the place of one."""
        lines = [f"{rows} dropped: {reason} ({self.origins[reason][0]})" for reason, rows in self.most_common(_SHOWN)]
        return [*lines, f"and {len(self) - _SHOWN} other reasons"] if len(self) > _SHOWN else lines

    def write(self, path: Path, others: Iterable[Drops] = ()) -> None:
        """Write JSON lines: one for each row whose origin is known, and one with the number of all further rows.

        Args:
            others: further drops that go into the same file.
        """
        with write_whole(path) as part, part.open("w", encoding="utf-8") as out:
            for drops in (self, *others):
                for reason, rows in drops.items():
                    origins = drops.origins.get(reason, [])
                    lines = [{"reason": reason, "place": origin} for origin in origins]
                    more = [{"reason": reason, "more": rows - len(origins)}] if rows > len(origins) else []
                    out.writelines(json.dumps(line) + "\n" for line in [*lines, *more])


class BadRows:
    """Rows that are bad, by reason.

    Attributes:
        wrong: what the source says there cannot be right: one such row stops curation.
        flawed: what nobody can learn from: it stops curation where more than :data:`MOST_FLAWED` of all rows are.
    """

    def __init__(self) -> None:
        self.wrong: Counter[str] = Counter()
        self.flawed: Counter[str] = Counter()

    def list_refused(self, read: int) -> Counter[str]:
        """Return what stops curation, of so many rows."""
        return self.wrong + self.flawed if self.flawed.total() > MOST_FLAWED * read else self.wrong


def read_pool(
    task: TaskSpec, sources: Sequence[SourceFiles], label_set: LabelSet, drops: Drops, *, skip_bad_rows: bool = False
) -> tuple[list[Example], dict[str, int]]:
    """Return the rows of the whole sources that can be trained on, and how many rows each source had, by its id.

    A row is checked and dropped as it is read: memory holds what is kept.

    Raises:
        SourceError: a column is missing, or rows are bad and are not to be skipped, or a class has no row. One
            message names all of these.
    """
    rows: list[Example] = []
    bad = BadRows()
    read: dict[str, int] = {}
    # All sources are read before anything is refused: a user mends all of them at once.
    for files in sources:
        # Files of two sources may share a name: with several sources, a row's origin begins with the source's.
        prefix = f"{files.source.id} " if len(sources) > 1 else ""
        part, part_read = _read_source(task, files, label_set, drops, bad, prefix)
        rows += part
        read[files.source.id] = part_read
    # Templates get their types when they are filled: until then no class can be called absent.
    filled_later = any(files.source.templates for files in sources)
    absent = [] if filled_later else _list_absent_classes(rows, task, label_set, sources)
    all_read = sum(read.values())
    defects = [] if skip_bad_rows else _list_defects(bad.list_refused(all_read), drops)
    if defects or (absent and rows):
        raise _refuse_source(sources, label_set, task, bad, all_read, [*defects, *absent], bad_rows=bool(defects))
    return rows, read


def read_source(
    task: TaskSpec, files: SourceFiles, label_set: LabelSet, drops: Drops, *, skip_bad_rows: bool = False
) -> tuple[list[Example], int]:
    """Return the rows of one source that need not have every class: to add to a training split, or to score on.

    Returns:
        the rows that can be used, and how many rows there were.

    Raises:
        SourceError: a column is missing, or rows are bad and are not to be skipped.
    """
    bad = BadRows()
    rows, read = _read_source(task, files, label_set, drops, bad)
    defects = [] if skip_bad_rows else _list_defects(bad.list_refused(read), drops)
    if defects:
        raise _refuse_source([files], label_set, task, bad, read, defects, bad_rows=True)
    return rows, read


def _read_source(
    task: TaskSpec, files: SourceFiles, label_set: LabelSet, drops: Drops, bad: BadRows, prefix: str = ""
) -> tuple[list[Example], int]:
    """Return the usable rows of a source and the number of all its rows.

    Args:
        drops: counts what is dropped, with its reason and origin.
        bad: counts those of them that are wrong in the source.
        prefix: what an origin begins with.
    """
    rows: list[Example] = []
    read = 0
    for split, raw in iterate_rows(files, task.head.column_advice):
        read += raw.rows
        origin = prefix + raw.origin
        if raw.row is None:
            # Messages of libraries vary from row to row behind the colon: counted together, listed one by one.
            bad.wrong[drops.drop(raw.defect.split(":")[0], origin, raw.rows)] += raw.rows
            continue
        try:
            # The source's own reasons come first, then the label set's, then those of cleaning.
            example = files.source.row(raw.row)
            if _UNDECODED.search(example.text + example.label):
                raise BadRow(NOT_UTF8)
            task.head.check_label(example, label_set, task.label_sets)
            # A file's split counts first, then the reader's, then a column of that name.
            official = split or example.split or str(raw.row.get("split") or "").strip().lower()
            if official not in SPLIT_NAMES:
                raise BadRow(f"unknown split {shorten(official, 60)!r}: neither " + ", ".join(SPLITS))
            reason = find_defect(example, task, label_set)
            if reason:
                raise Flawed(reason)
        except BadRow as defect:
            bad.wrong[drops.drop(str(defect), origin)] += 1
        except Flawed as defect:
            bad.flawed[drops.drop(str(defect), origin)] += 1
        except Dropped as defect:
            drops.drop(str(defect), origin)
            drops.left_out += 1
            drops.undecided += isinstance(defect, Undecided)
        else:
            official = SPLIT_NAMES[official]
            rows.append(replace(example, split=official, source=files.source.id, origin=origin))
    rows = _limit_rows(rows, files.source.most, drops)
    # A training split without the two others is a pool that is still to be split.
    if not {"validation", "test"} <= {row.split for row in rows}:
        rows = [replace(row, split="") if row.split == "train" else row for row in rows]
    return rows, read


def _limit_rows(rows: list[Example], most: int | None, drops: Drops) -> list[Example]:
    """Return ``most`` rows, in their order; those that are left out are counted."""
    if most is None or len(rows) <= most:
        return rows
    # Not by origin: that is for people to read, and may occur twice.
    taken = {id(row) for row in order_by_turns(rows)[:most]}
    for row in rows:
        if id(row) not in taken:
            drops.drop("beyond the most rows of its source", row.origin)
            drops.left_out += 1
    return [row for row in rows if id(row) in taken]


def order_by_turns(rows: Sequence[Example]) -> list[Example]:
    """Return the rows in turns, one of each class that has any left; within a class the order is by content."""
    ranks: Counter[str] = Counter()
    order = []
    # By content, so that the same rows are chosen in whatever order a file has them.
    for row in sorted(rows, key=lambda row: (hash_content(row.text), row.text)):
        order.append((ranks[row.label], row.label, row))
        ranks[row.label] += 1
    return [row for _, _, row in sorted(order, key=lambda entry: entry[:2])]


def _refuse_source(
    sources: Sequence[SourceFiles],
    label_set: LabelSet,
    task: TaskSpec,
    bad: BadRows,
    read: int,
    problems: Sequence[str],
    *,
    bad_rows: bool,
) -> SourceError:
    """Return the error for sources that cannot be curated from.

    Args:
        read: number of all rows.
        problems: what is wrong, in the words of the message.
        bad_rows: there are bad rows; else classes are missing.
    """
    subject = name_sources(sources)
    columns = ", ".join(dict.fromkeys(column for files in sources for column in files.source.columns))
    if bad_rows:
        number = bad.list_refused(read).total()
        subject += f" ha{'s' if len(sources) == 1 else 've'} {number} bad row{'s' * (number != 1)} of {read}"
        advice = "mend them, or drop and count them with --skip-bad-rows"
        if any(problem.startswith(NOT_UTF8) for problem in problems):
            advice = f"save the file as UTF-8, or name its encoding, such as --encoding cp1252; or {advice}"
        # Labels that nobody knows are more often another vocabulary than mistakes.
        if any(problem.startswith("unknown") for problem in problems):
            advice += "; or map your labels to ours with --label-map"
    else:
        subject += f" lack{'s' * (len(sources) == 1)} rows that {task.name} needs"
        advice = "add rows of these classes, or map your labels to them with --label-map"
    return SourceError(
        subject,
        expected=f"readable rows with {columns} ({', '.join(label_set.labels)})",
        found="; ".join(problems),
        next=advice,
    )


def _list_defects(bad: Counter[str], drops: Drops) -> list[str]:
    """Return what is wrong, the most frequent first, each with the origins of the first of its rows."""
    defects = []
    # Ten reasons and three rows of each fill a terminal; ``dropped.jsonl`` has them all.
    for reason, rows in bad.most_common(10):
        origins = drops.origins[reason]
        defects.append(f"{reason} in {rows} row{'s' * (rows != 1)} ({', '.join(origins[:3])}{', …' * (rows > 3)})")
    return [*defects, f"and {len(bad) - 10} other reasons"] if len(bad) > 10 else defects


def _list_absent_classes(
    rows: Sequence[Example], task: TaskSpec, label_set: LabelSet, sources: Sequence[SourceFiles]
) -> list[str]:
    """Return classes without a row: in the sources as a whole, and in a fixed split that needs every class."""
    classes: dict[str, set[str]] = {}
    # A group goes whole where one of its rows is.
    split_of_group: dict[str, str] = {}
    for split in ("train", "validation", "test"):
        split_of_group |= {row.group: split for row in rows if row.group and row.split == split}
    for row in rows:
        split = split_of_group.get(row.group, row.split)
        classes.setdefault(split, set()).update(label_set.map_labels(row).classes)
    absent = []
    # What the task's own sources lack, its supplements may bring.
    if not are_public(task, sources):
        missing = [label for label in label_set.labels if not any(label in of_split for of_split in classes.values())]
        absent += [f"no row of {', '.join(missing)}"] if missing else []
    for split in ("validation", "test"):
        if split in classes and task.head.needs_every_class(split):
            missing = [label for label in label_set.labels if label not in classes[split]]
            absent += [f"no row of {', '.join(missing)} in its {split} split"] if missing else []
    return absent


def find_defect(row: Example, task: TaskSpec, label_set: LabelSet) -> str:
    """Return why ``row`` must not be in a dataset, or "". A text is never mended: it is kept as it is, or dropped."""
    if len(row.text) > MAX_CHARACTERS:
        return LONG
    if _CONTROL.search(row.text + row.group):
        return DAMAGED
    return task.head.find_defect(row, label_set)
