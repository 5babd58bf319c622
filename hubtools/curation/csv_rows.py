"""Rows of a CSV file, one at a time, whatever its quotation marks do."""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from hubtools.curation.files import open_text
from hubtools.curation.raw_rows import MAX_ROW, TOO_LARGE, Lines, LineTooLong, RawRow, refuse

_SEPARATORS = ",;\t|"
_SNIFFED = 1 << 16  # characters that tell what separates columns
_AGREE = 0.9  # of the rows that have as many fields as the header


@dataclass(frozen=True)
class CsvLayout:
    """How a CSV file is written.

    Attributes:
        separator: of columns.
        is_named: a first line ``sep=`` says it, as Excel writes it.
        is_spaced: a space follows each separator, and belongs to no value.
    """

    separator: str = ","
    is_named: bool = False
    is_spaced: bool = False


def find_layout(path: Path, columns: Collection[str] = (), encoding: str | None = None) -> CsvLayout:
    """Return how a CSV file is written.

    Columns are separated by a comma, unless another character divides the header, and the rows as it does, and the
    comma does not.

    Args:
        columns: names that the header must have.
    """
    csv.field_size_limit(MAX_ROW)
    with open_text(path, "", encoding) as text:
        start = text.read(_SNIFFED)
    first, _, rest = start.partition("\n")
    named = re.fullmatch(r'"?sep=(.)"?;*,*\r?', first)
    if named:
        return CsvLayout(named[1], is_named=True)
    if rest.count("\n") > 1:
        start = start[: start.rindex("\n") + 1]  # the last line may be cut off
    for separator in _SEPARATORS:
        # Quotation marks that do not fit are looked at when rows are read.
        with contextlib.suppress(csv.Error):
            header, *rows = (row for row in csv.reader(start.splitlines(keepends=True), delimiter=separator) if row)
            names = {name.strip() for name in header}
            alike = sum(len(row) == len(header) for row in rows)
            if len(header) > 1 and set(columns) <= names and (separator == "," or alike >= _AGREE * len(rows)):
                is_spaced = all(name.startswith(" ") for name in header[1:])
                return CsvLayout(separator, is_spaced=is_spaced)
    return CsvLayout()


def read_csv(path: Path, columns: Collection[str], encoding: str | None = None) -> Iterator[RawRow]:
    """Yield the rows below the header, and a defect for each that cannot be read."""
    csv.field_size_limit(MAX_ROW)
    layout = find_layout(path, columns, encoding)
    header: list[str] = []
    lines_read = 0  # of an earlier pass, which are skipped
    # The file is read once more where a quotation mark opens a row that is too large, and never closes: the csv module
    # has then swallowed all that follows, so that reading begins anew at the line after that row.
    while True:
        with open_text(path, "", encoding) as text:
            lines = Lines(text)
            reader = csv.reader(lines, strict=True, delimiter=layout.separator, skipinitialspace=layout.is_spaced)
            if not header:
                if layout.is_named:
                    next(lines)
                header = _read_header(path, reader)
            while lines.number < lines_read:
                lines.begin_record()
                with contextlib.suppress(LineTooLong):
                    next(lines)
            lines_read = yield from _read_records(path, header, lines, reader)
            if not lines_read:
                return


def _read_header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    """Return the names of the columns: the first row that is not blank."""
    try:
        header = next((fields for fields in reader if fields), [])
    except (csv.Error, LineTooLong) as error:
        refuse(path, " has a broken header", "names of columns, with commas", error or TOO_LARGE)
    # A space behind a comma is no part of a name.
    header = [name.strip() for name in header]
    # Spreadsheets leave columns without a name behind a table: only names must differ.
    names = [name for name in header if name]
    if len(set(names)) != len(names):
        refuse(path, " has a column twice", "each name once", ", ".join(header))
    return header


def _read_records(
    path: Path, header: list[str], lines: Lines, reader: Iterator[list[str]]
) -> Generator[RawRow, None, int]:
    """Yield the rows of the table.

    Returns:
        0 at the end of the file; else the number of the line after which a new pass has to go on.
    """
    while True:
        lines.begin_record()
        last, quotes = lines.number, lines.quotes
        origin = f"{path.name}:{last + 1}"
        try:
            fields = next(reader)
        except StopIteration:
            return 0
        except (csv.Error, LineTooLong) as error:
            # The csv module bounds a field, Lines a line: a row may be too large by either.
            if isinstance(error, LineTooLong) or "field larger" in str(error):
                lines.begin_record()
                if _skip_record(lines, quotes):
                    yield RawRow(origin, None, TOO_LARGE)
                    continue
                yield RawRow(origin, None, "broken CSV: a quotation mark that never closes")
                return last + 1
            # A stray quotation mark takes in the lines up to the next one: they are rows of their own.
            lines.go_back_to_second()
            yield RawRow(origin, None, f"broken CSV: {error}")
            continue
        if not fields:  # a blank line
            continue
        if len(fields) != len(header):
            yield RawRow(origin, None, f"expected {len(header)} fields")
        else:
            yield RawRow(origin, dict(zip(header, fields, strict=True)))


def _skip_record(lines: Lines, quotes: int) -> bool:
    """Go to the end of a record, where its quotation marks are even; False where there is none."""
    # Within a quoted field a line break does not end the record.
    while (lines.quotes - quotes) % 2:
        lines.begin_record()
        try:
            next(lines)
        except LineTooLong:
            continue
        except StopIteration:
            return False
    return True
