"""Rows of a CSV file, one at a time, whatever its quotation marks do."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Collection, Generator, Iterator
from pathlib import Path

from hubtools.curation.raw_rows import MAX_ROW, TOO_LARGE, Lines, LineTooLong, RawRow, open_text, refuse


def read_csv(path: Path, columns: Collection[str]) -> Iterator[RawRow]:
    """Yield the rows below the header, and a defect for each that cannot be read."""
    csv.field_size_limit(MAX_ROW)
    header: list[str] = []
    lines_read = 0  # of an earlier pass, which are skipped
    # The file is read once more where a quotation mark opens a row that is too large, and never closes: the csv module
    # has then swallowed all that follows, so that reading begins anew at the line after that row.
    while True:
        with open_text(path, "") as text:
            lines = Lines(text)
            reader = csv.reader(lines, strict=True)
            if not header:
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
