"""Yield the rows of a csv, json, jsonl or parquet file with the place each stands at, whatever state it is in.

A row at a time, and none larger than :data:`MAX_ROW`: memory does not grow with the file. What cannot be read
comes as a row with its defect; after it, reading goes on.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import re
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hubtools.errors import SourceError

SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")

MAX_ROW = 32 << 20  # characters; for parquet, about the bytes of a batch
TOO_LARGE = f"row larger than {MAX_ROW >> 20} MiB"

_CHUNK = 1 << 20
_BATCH_ROWS = 2048


@dataclass(frozen=True)
class Raw:
    """A row as it stands in a file; ``row`` is None where it cannot be read, and ``defect`` says why.

    ``rows`` is more than one where several rows are lost in one piece.
    """

    place: str
    row: Mapping[str, Any] | None
    defect: str = ""
    rows: int = 1


def read_rows(
    path: Path, columns: tuple[str, ...], features: Mapping[str, Any] | None = None, advice: str = ""
) -> Iterator[Raw]:
    """Every row of a csv, json, jsonl or parquet file, in order; a row that cannot be read comes with its defect.

    Args:
        columns: what a row must have.
        features: types of the columns as ``datasets.Features.to_dict`` writes them, where they are known from
            elsewhere than the file; integers of a ClassLabel are read as their names.
        advice: what helps where a column is missing.

    Raises:
        SourceError: the file is missing, empty, of another format, without a readable row, or lacks a column.
    """
    if not path.exists():
        raise _unfit(path, "", "a file", f"nothing at {path}")
    if path.suffix not in SUFFIXES:
        raise _unfit(path, "", "one of " + ", ".join(SUFFIXES), path.suffix or "no suffix")
    wanted = "rows with " + (", ".join(columns) or "named columns")
    if path.stat().st_size == 0:
        raise _unfit(path, " is empty", wanted, "0 bytes")
    rows = {".csv": _csv, ".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix](path, columns)
    first = list(itertools.islice(rows, 100))
    if not first:
        raise _unfit(path, " holds no rows", wanted, f"{path.stat().st_size} bytes without a row")
    readable = [raw.row for raw in first if raw.row is not None]
    if not readable and len(first) < 100:
        raise _unfit(path, " has no row that can be read", wanted, f"{first[0].place}: {first[0].defect}")
    # A column that none of the first rows has is missing from the file, not from a row.
    seen = {name: None for row in readable for name in row}
    lacking = [name for name in columns if name not in seen]
    if readable and lacking:
        raise SourceError(
            f"Source file {path.name!r} lacks a column: {', '.join(lacking)}",
            expected=", ".join(columns),
            found=one_line(", ".join(map(str, seen))) or "no columns",
            next=advice or "name your columns with --text-column and --label-column",
        )
    for raw in itertools.chain(first, rows):
        if raw.row is None:
            yield raw
            continue
        missing = [c for c in columns if c not in raw.row]
        if missing:
            yield Raw(raw.place, None, f"lacks {', '.join(missing)}")
        else:
            yield Raw(raw.place, named(raw.row, features)) if features else raw


def columns_of(path: Path) -> tuple[str, ...]:
    """Names of the columns that the first rows of ``path`` have, in order; raises as :func:`read_rows` does."""
    names: dict[str, None] = {}
    for raw in itertools.islice(read_rows(path, ()), 100):
        names |= dict.fromkeys(raw.row or ())
    return tuple(names)


def named(value: Any, feature: Any) -> Any:
    """``value`` with each integer of a ClassLabel as its name; what does not fit its type stays as it is.

    Args:
        feature: a type as ``datasets.Features.to_dict`` writes it.
    """
    if isinstance(feature, list):  # how older versions write a list
        feature = {"feature": feature[0]} if feature else {}
    if not isinstance(feature, Mapping):
        return value
    if feature.get("_type") == "ClassLabel":
        names = feature.get("names") or []
        number = int(value) if isinstance(value, str) and value.isdecimal() and value not in names else value
        return names[number] if type(number) is int and 0 <= number < len(names) else value
    inner = feature.get("feature")
    if isinstance(value, list):
        return [named(item, inner) for item in value]
    if isinstance(value, Mapping):
        inner = inner if isinstance(inner, Mapping) and "_type" not in inner else feature
        return {key: named(item, inner.get(key)) for key, item in value.items()}
    return value


def one_line(text: object, most: int = 400) -> str:
    """``text`` for a message: on one line, and not too long."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[:most] + " …"


def _unfit(path: Path, what: str, expected: str, found: object) -> SourceError:
    return SourceError(
        f"Source file {path.name!r}{what}", expected=expected, found=one_line(found),
        next="mend the file, or give another with --source, and run the same command again",
    )  # fmt: skip


def _open(path: Path, newline: str) -> TextIO:
    """The text of a file. Bytes that are none become U+FFFD, which cleaning finds where it matters."""
    with path.open("rb") as start:
        mark = start.read(2)
    # Spreadsheets write a byte-order mark, which would become part of the first column's name.
    encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return path.open(encoding=encoding, errors="replace", newline=newline)


class _TooLong(Exception):
    pass


class _Unreadable(ValueError):
    pass


class _Lines:
    """Lines of a text; raises for a line that is too long, and goes on after it.

    Attributes:
        number: of the line given last, from 1.
        quotes: how many quotation marks stand in the lines so far.
        record: the lines since :meth:`begin`.
    """

    def __init__(self, text: TextIO) -> None:
        self.text, self.number, self.quotes = text, 0, 0
        self.record: list[str] = []
        self._again: list[str] = []  # lines to give once more, the next one last

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self.text.readline(MAX_ROW)
        if not line:
            raise StopIteration
        self.number += 1
        self.quotes += line.count('"')
        if len(line) < MAX_ROW or line.endswith(("\n", "\r")):
            self.record.append(line)
            return line
        while not line.endswith(("\n", "\r")) and (line := self.text.readline(_CHUNK)):
            self.quotes += line.count('"')
        raise _TooLong

    def begin(self) -> None:
        """A record begins with the next line."""
        self.record.clear()

    def after_first(self) -> None:
        """Go back to behind the first line of the record."""
        while len(self.record) > 1:
            line = self.record.pop()
            self.number -= 1
            self.quotes -= line.count('"')
            self._again.append(line)


def _csv(path: Path, columns: Collection[str]) -> Iterator[Raw]:
    csv.field_size_limit(MAX_ROW)
    header: list[str] = []
    done = 0
    # Once more where a quotation mark opens what is too large, and never closes: then from the line after it.
    while True:
        with _open(path, "") as text:
            lines = _Lines(text)
            reader = csv.reader(lines, strict=True)
            if not header:
                header = _header(path, reader)
            while lines.number < done:
                lines.begin()
                with contextlib.suppress(_TooLong):
                    next(lines)
            done = yield from _records(path, header, lines, reader)
            if not done:
                return


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = next((fields for fields in reader if fields), [])
    except (csv.Error, _TooLong) as error:
        raise _unfit(path, " has a broken header", "names of columns, with commas", error or TOO_LARGE) from error
    names = [name for name in header if name]
    if len(set(names)) != len(names):
        raise _unfit(path, " has a column twice", "each name once", ", ".join(header))
    return header


def _records(path: Path, header: list[str], lines: _Lines, reader: Iterator[list[str]]) -> Generator[Raw, None, int]:
    """Rows of the table. Returns 0 at the end, or the line to read on after, from the file anew."""
    while True:
        lines.begin()
        last, quotes = lines.number, lines.quotes
        place = f"{path.name}:{last + 1}"
        try:
            fields = next(reader)
        except StopIteration:
            return 0
        except (csv.Error, _TooLong) as error:
            if isinstance(error, _TooLong) or "field larger" in str(error):
                lines.begin()
                if _skip_record(lines, quotes):
                    yield Raw(place, None, TOO_LARGE)
                    continue
                yield Raw(place, None, "broken CSV: a quotation mark that never closes")
                return last + 1
            # A stray quotation mark takes in the lines up to the next one: they are rows of their own.
            lines.after_first()
            yield Raw(place, None, f"broken CSV: {error}")
            continue
        if not fields:  # a blank line
            continue
        if len(fields) != len(header):
            yield Raw(place, None, f"expected {len(header)} fields")
        else:
            yield Raw(place, dict(zip(header, fields, strict=True)))


def _skip_record(lines: _Lines, quotes: int) -> bool:
    """Go to the end of a record, where its quotation marks are even; False where there is none."""
    while (lines.quotes - quotes) % 2:
        lines.begin()
        try:
            next(lines)
        except _TooLong:
            continue
        except StopIteration:
            return False
    return True


class _Doubled(dict[str, Any]):
    """An object that has a key twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Doubled(found)


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _row(place: str, value: Any) -> Raw:
    if not isinstance(value, dict):
        return Raw(place, None, "not a JSON object")
    return Raw(place, None, "has a key twice") if isinstance(value, _Doubled) else Raw(place, value)


def _jsonl(path: Path, columns: Collection[str]) -> Iterator[Raw]:
    with _open(path, "\n") as text:
        lines = _Lines(text)
        while True:
            try:
                line = next(lines)
            except StopIteration:
                return
            except _TooLong:
                yield Raw(f"{path.name}:{lines.number}", None, TOO_LARGE)
                continue
            if not line.strip():
                continue
            place = f"{path.name}:{lines.number}"
            try:
                yield _row(place, _DECODER.decode(line))
            except (ValueError, RecursionError) as error:
                yield Raw(place, None, f"broken JSON: {one_line(error)}")


def _json(path: Path, columns: Collection[str]) -> Iterator[Raw]:
    with _open(path, "") as text:
        first = text.readline(MAX_ROW).strip()
        while not first and (line := text.readline(MAX_ROW)):
            first = line.strip()
        if first.startswith("{") and first.endswith("}"):  # many "json" files hold an object a line
            yield from _jsonl(path, columns)
            return
        if not first.startswith("["):
            found = {"{": "an object", '"': "a text"}.get(first[:1], f"{first[:40]!r}")
            raise _unfit(path, " is broken JSON" if first[:1] not in '{"' else "", "a list of objects", found)
        text.seek(0)
        yield from _elements(path, _Buffer(text), columns)


class _Buffer:
    """A window on a text that is read on as it is needed."""

    def __init__(self, text: TextIO) -> None:
        self.text, self.content, self.at, self.ended = text, "", 0, False

    def more(self) -> bool:
        """Read on, as much again as there is; False at the end of the text."""
        self.content = self.content[self.at :]
        self.at = 0
        piece = self.text.read(max(_CHUNK, len(self.content)))
        self.content += piece
        self.ended = not piece
        return not self.ended

    def next_of(self, skipped: str) -> str:
        """The next character that is none of ``skipped``, without passing it; "" at the end."""
        while True:
            while self.at < len(self.content):
                if self.content[self.at] not in skipped:
                    return self.content[self.at]
                self.at += 1
            if not self.more():
                return ""

    def value(self) -> tuple[Any, int]:
        """The JSON value that begins here, without passing it, and where it ends.

        Raises:
            ValueError, RecursionError: there is none.
        """
        while True:
            try:
                value, end = _DECODER.raw_decode(self.content, self.at)
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self.content) - 16
                if not cut or self.ended:
                    raise
                if len(self.content) - self.at >= MAX_ROW:
                    raise _Unreadable(TOO_LARGE) from None
                self.more()
            else:
                return value, end


_OPENING = re.compile(r"[\[{]")
_SPACE = " \t\r\n\ufeff"


def _elements(path: Path, buffer: _Buffer, columns: Collection[str]) -> Iterator[Raw]:
    """Elements of the list. After a broken one, reading goes on at the next object that has the columns."""
    buffer.next_of(_SPACE)
    buffer.at += 1
    for number in itertools.count():
        place = f"{path.name}[{number}]"
        start = buffer.next_of(_SPACE + ",")
        if start == "]":
            buffer.at += 1
            if not buffer.next_of(_SPACE):
                return
            defect = "broken JSON: more after the end of the list"
        elif not start:
            yield Raw(place, None, "broken JSON: the file ends within the list")
            return
        else:
            try:
                value, buffer.at = buffer.value()
                yield _row(place, value)
                continue
            except (ValueError, RecursionError) as error:
                said = getattr(error, "msg", None) or str(error)
                defect = said if said == TOO_LARGE else f"broken JSON: {one_line(said)}"
        yield Raw(place, None, defect)
        if not _resume(buffer, columns):
            return


def _resume(buffer: _Buffer, columns: Collection[str]) -> bool:
    """Go to the next object that has ``columns``; False where there is none."""
    buffer.at += 1
    while True:
        found = buffer.content.find("{", buffer.at)
        if found < 0:
            buffer.at = len(buffer.content)
            if not buffer.more():
                return False
            continue
        buffer.at = found
        try:
            value, _ = buffer.value()
        except RecursionError:  # as deep as that, the next hundreds of openings lie within
            openings = itertools.islice(_OPENING.finditer(buffer.content, buffer.at), 300, None)
            buffer.at = next((opening.start() for opening in openings), len(buffer.content))
            continue
        except ValueError:
            buffer.at += 1
            continue
        if isinstance(value, dict) and value.keys() >= set(columns):
            return True
        buffer.at += 1


def _parquet(path: Path, columns: Collection[str]) -> Iterator[Raw]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    broken = (pa.ArrowException, OSError, ValueError, OverflowError)
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        if min([0, *(group.num_rows for group in groups)]) < 0:
            raise _Unreadable("a negative number of rows")
        features = _features(file.schema_arrow.metadata)
    except broken as error:
        raise _unfit(path, " is broken parquet", "a parquet file", error) from error
    if len(set(names)) != len(names):
        raise _unfit(path, " has a column twice", "each name once", ", ".join(names))
    first = 0
    for index, group in enumerate(groups):
        number = first
        # Few rows at a time where rows are large.
        size = max(1, min(_BATCH_ROWS, MAX_ROW * group.num_rows // max(1, group.total_byte_size)))
        try:
            for batch in file.iter_batches(batch_size=size, row_groups=[index]):
                for row, defect in _rows_of(batch, broken):
                    place = f"{path.name}[{number}]"
                    yield Raw(place, None, defect) if row is None else Raw(place, named(row, features))
                    number += 1
        except broken as error:
            last = max(first + group.num_rows - 1, number)
            yield Raw(f"{path.name}[{number}..{last}]", None, f"broken parquet: {one_line(error)}", last - number + 1)
        first += group.num_rows


def _rows_of(batch: Any, broken: tuple[type[Exception], ...]) -> Iterator[tuple[dict[str, Any] | None, str]]:
    try:
        rows = batch.to_pylist()
    except broken:  # one cell spoils them all: look at each
        for i in range(batch.num_rows):
            try:
                yield batch.slice(i, 1).to_pylist()[0], ""
            except UnicodeDecodeError:
                yield None, "encoding damage"
            except broken as error:
                yield None, f"broken parquet: {one_line(error)}"
        return
    for row in rows:
        yield row, ""


def _features(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Any] | None:
    """The types that ``datasets`` writes beside the columns, where it wrote the file."""
    try:
        found = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
