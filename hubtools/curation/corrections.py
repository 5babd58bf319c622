"""Labels that a person corrected: the file that ``hubtools label-errors`` writes, with what was filled in.

A row is known by its id, which follows from its text: a correction holds in whatever source and order the row comes.
Corrections are made after the split, so that none of them moves a row from one split to another.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hubtools.curation.parquet import make_id
from hubtools.errors import UsageError, shorten
from hubtools.records.dataset import CorrectedLabel, CorrectionFacts
from hubtools.rows import sort_spans
from hubtools.spec import BadRow, Dropped, Example, LabelSet, Span
from hubtools.task import TaskSpec
from hubtools.workdir import sha256_of

DROP = "drop"  # in place of a label: the row is left out
# Columns that a file must have; others are for people to read.
ID, CORRECTION = "id", "correction"


@dataclass(frozen=True)
class Correction:
    """What a person wrote about one row.

    Attributes:
        place: file and line.
        label: of the dataset's labels; None where spans are corrected, or the row is dropped.
        spans: with types of the dataset; None where a label is corrected, or the row is dropped.
    """

    place: str
    label: str | None = None
    spans: tuple[Span, ...] | None = None

    @property
    def drops(self) -> bool:
        """Whether the row is to be left out."""
        return self.label is None and self.spans is None


@dataclass(frozen=True)
class Corrections:
    """All that a file corrects.

    Attributes:
        by_id: of the rows that are corrected.
        sha256: of the file.
    """

    path: Path
    sha256: str
    by_id: Mapping[str, Correction]


def read_corrections(entries: Sequence[str], task: TaskSpec, label_set: LabelSet) -> Corrections | None:
    """Read the file of corrections that is named for a task; None for none.

    It is CSV or JSONL. A row whose ``correction`` is empty stays as it is.

    Args:
        entries: see :func:`find_file`.

    Raises:
        UsageError: it cannot be read, corrects nothing, or names a row twice or a label that the dataset lacks. One
            message has the first of these with its line.
    """
    path = find_file(entries, task)
    if path is None:
        return None
    found: dict[str, Correction] = {}
    for place, row in _read_rows(path):
        row_id, written = str(row.get(ID) or "").strip(), row.get(CORRECTION)
        if written is None or (isinstance(written, str) and not written.strip()):
            continue
        if not row_id:
            raise _refuse(path, f"an id in the column {ID!r}", f"none in {place}")
        if row_id in found:
            raise _refuse(path, "one line for each row", f"{row_id} in {found[row_id].place} and in {place}")
        try:
            found[row_id] = _read_correction(written, str(row.get("text") or ""), place, task, label_set)
        except Dropped as defect:
            raise _refuse(path, _describe_expected(task, label_set), f"{defect} in {place}") from defect
    if not found:
        raise _refuse(path, f"a {CORRECTION!r} in one row at least", "none filled in")
    return Corrections(path, sha256_of(path), found)


def _describe_expected(task: TaskSpec, label_set: LabelSet) -> str:
    if task.head.per_token:
        return f"{DROP}, or spans with start, end and one of the types {', '.join(label_set.labels)}"
    return f"{DROP}, or one of " + ", ".join(label_set.labels)


def _read_rows(path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield the place and the columns of each line."""
    suffix = path.suffix.lower()
    if not path.is_file() or suffix not in (".csv", ".jsonl"):
        found = "nothing there" if not path.exists() else f"{path.suffix or 'no suffix'}"
        raise _refuse(path, "a .csv or .jsonl file, as hubtools label-errors writes it", found)
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            if suffix == ".csv":
                reader = csv.DictReader(lines)
                if missing := [name for name in (ID, CORRECTION) if name not in (reader.fieldnames or [])]:
                    names = ", ".join(reader.fieldnames or []) or "an empty file"
                    raise _refuse(path, f"a column {' and '.join(missing)}", names)
                for row in reader:
                    yield f"line {reader.line_num}", row
                return
            for number, line in enumerate(lines, 1):
                if line.strip():
                    content = json.loads(line)
                    if not isinstance(content, dict):
                        raise _refuse(path, "a JSON object a line", f"{shorten(line, 60)} in line {number}")
                    yield f"line {number}", content
    except (ValueError, csv.Error) as error:  # no UTF-8, or no JSON
        raise _refuse(path, "UTF-8 text, a row a line", shorten(error, 120)) from error


def _read_correction(written: object, text: str, place: str, task: TaskSpec, label_set: LabelSet) -> Correction:
    """Return one correction; raises :class:`Dropped` for what cannot stand there."""
    word = written.strip() if isinstance(written, str) else None
    if word == DROP and DROP not in label_set.labels:
        return Correction(place)
    if not task.head.per_token:
        if word not in label_set.labels:
            raise BadRow(f"unknown label {shorten(written, 60)!r}")
        return Correction(place, label=word)
    if not isinstance(written, list):
        raise BadRow(f"{shorten(written, 60)!r}, which is no list of spans")
    spans = []
    for raw in written:
        start, end, kind = (raw.get(key) for key in ("start", "end", "type")) if isinstance(raw, dict) else (None,) * 3
        if type(start) is not int or type(end) is not int or kind not in label_set.labels:
            raise BadRow(f"a span {shorten(raw, 80)}")
        spans.append(Span(start, end, str(kind)))
    return Correction(place, spans=sort_spans(text, spans) if text else tuple(spans))


def _refuse(path: Path, expected: str, found: str) -> UsageError:
    return UsageError(
        f"Corrections in {path.name!r} cannot be taken",
        expected=expected,
        found=found,
        next="mend the file, or write a new one with hubtools label-errors",
    )


def _refuse_spans(path: Path, found: str) -> UsageError:
    return _refuse(path, "spans within the row's text, around whole words", found)


class Corrector:
    """Makes corrections, and counts what they changed."""

    def __init__(self, corrections: Corrections, task: TaskSpec, label_set: LabelSet) -> None:
        self._corrections, self._task, self._label_set = corrections, task, label_set
        # Rows have labels of their sources until they are mapped: any that becomes the wanted one will do.
        self._theirs = {ours: theirs for theirs, ours in label_set.mapping.items()}
        self._seen: set[str] = set()
        self._changes: Counter[tuple[str, str]] = Counter()

    def correct(self, rows: Iterable[Example]) -> list[Example]:
        """Return the rows, corrected and without those that are dropped; labels are still those of their sources."""
        corrected = []
        for row in rows:
            row_id = make_id(row.text)
            correction = self._corrections.by_id.get(row_id)
            if correction is None:
                corrected.append(row)
                continue
            self._seen.add(row_id)
            after = None if correction.drops else self._change(row, correction)
            before = self._label_set.map_labels(row)
            self._changes[_describe(before), _describe(after and self._label_set.map_labels(after))] += 1
            corrected += [after] if after else []
        return corrected

    def _change(self, row: Example, correction: Correction) -> Example:
        if correction.spans is None:
            return replace(row, label=self._theirs[str(correction.label)], rule=f"corrected: {correction.place}")
        try:
            spans = sort_spans(row.text, [replace(s, type=self._theirs[s.type]) for s in correction.spans])
        except Dropped as defect:
            raise _refuse_spans(self._corrections.path, f"{defect} in {correction.place}") from defect
        changed = replace(row, spans=spans, rule=f"corrected: {correction.place}")
        if wrong := self._task.head.find_defect(changed, self._label_set):
            raise _refuse_spans(self._corrections.path, f"{wrong} in {correction.place}")
        return changed

    def describe(self) -> CorrectionFacts:
        """Return what was corrected; raises :class:`UsageError` where a correction is of no row of the dataset."""
        unknown = [row_id for row_id in self._corrections.by_id if row_id not in self._seen]
        if unknown:
            places = ", ".join(f"{one} ({self._corrections.by_id[one].place})" for one in unknown[:5])
            raise _refuse(
                self._corrections.path,
                f"ids of rows of the {self._task.name} dataset",
                f"{len(unknown)} that it lacks: {places}",
            )
        changes = [CorrectedLabel(before=a, after=b, rows=n) for (a, b), n in sorted(self._changes.items())]
        return CorrectionFacts(
            file=self._corrections.path.name,
            sha256=self._corrections.sha256,
            rows=sum(change.rows for change in changes),
            changes=changes,
        )


def _describe(row: Example | None) -> str:
    """Return a label, or how many spans of each type; of a row that is dropped :data:`DROP`."""
    if row is None:
        return DROP
    counts = Counter(span.type for span in row.spans)
    return row.label or ", ".join(f"{n} {kind}" for kind, n in sorted(counts.items())) or "no span"


def find_file(entries: Sequence[str], task: TaskSpec) -> Path | None:
    """Return the file that ``--corrections`` names for a task: the last ``FILE`` or ``TASK=FILE`` counts."""
    for entry in reversed(entries):
        owner, _, name = entry.rpartition("=")
        if owner in ("", task.name):
            return Path(name)
    return None
