"""Read the rows of a csv, json, jsonl or parquet file, each with its origin, whatever state the file is in.

A row at a time, and none larger than :data:`~hubtools.curation.raw_rows.MAX_ROW`: memory does not grow with the file.
What cannot be read comes as a row with its defect; after it, reading goes on.
"""

from __future__ import annotations

import contextlib
import itertools
import lzma
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hubtools.curation.class_labels import name_class_labels
from hubtools.curation.csv_rows import find_layout, read_csv
from hubtools.curation.files import SUFFIXES, describe_format, find_encoding, find_format, recognise_content
from hubtools.curation.json_rows import is_by_columns, read_json, read_jsonl
from hubtools.curation.parquet_rows import read_parquet
from hubtools.curation.raw_rows import RawRow, refuse
from hubtools.errors import SourceError, shorten

_READERS = {".csv": read_csv, ".json": read_json, ".jsonl": read_jsonl, ".parquet": read_parquet}

_PARTS = ("spans", "entities", "label", "labels")  # lists that one row may hold
_LOOKED_AT = 100  # rows that tell which columns a file has


def read_rows(
    path: Path,
    columns: tuple[str, ...],
    features: Mapping[str, object] | None = None,
    advice: str = "",
    encoding: str | None = None,
) -> Iterator[RawRow]:
    """Yield every row of a csv, json, jsonl or parquet file, in order; a row that cannot be read comes with its defect.

    Args:
        columns: what a row must have.
        features: types of the columns as ``datasets.Features.to_dict`` writes them, where they are known from
            elsewhere than the file; integers of a ClassLabel are read as their names.
        advice: what helps where a column is missing.
        encoding: of its text; None for the one that its bytes show.

    Raises:
        SourceError: the file is missing, empty, of another format, without a readable row, or lacks a column.
    """
    if not path.exists():
        refuse(path, "", "a file", f"nothing at {path}")
    suffix = find_format(path.name)
    if not suffix:
        refuse(path, "", "one of " + ", ".join(SUFFIXES), describe_format(path.name))
    expected = "rows with " + (", ".join(columns) or "named columns")
    if path.stat().st_size == 0:
        refuse(path, " is empty", expected, "0 bytes")
    if what := recognise_content(path):
        refuse(path, " is not what its name says", expected, what)
    # Looked at before the first row is handed on: an error of the whole file comes before any work.
    rows = _READERS[suffix](path, columns, encoding)
    try:
        first = list(itertools.islice(rows, _LOOKED_AT))
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        refuse(path, " is broken", "a whole compressed file", error)
    if not first:
        refuse(path, " holds no rows", expected, f"{path.stat().st_size} bytes without a row")
    # White space around a name is no part of it, unless somebody names the column so.
    names = {name: None for raw in first for name in raw.row or ()}
    stripped = {name: name.strip() for name in names if name not in columns and name.strip() != name}
    if stripped and not {*stripped.values()} & {*names}:
        first, rows = [_rename(raw, stripped) for raw in first], (_rename(raw, stripped) for raw in rows)
    readable = [raw.row for raw in first if raw.row is not None]
    # In a longer file readable rows may still come.
    if not readable and len(first) < _LOOKED_AT:
        refuse(path, " has no row that can be read", expected, f"{first[0].origin}: {first[0].defect}")
    # A column that none of the first rows has is missing from the file, not from a row. A dict keeps the order.
    seen = {name: None for row in readable for name in row}
    lacking = [name for name in columns if name not in seen]
    if readable and lacking:
        raise SourceError(
            f"Source file {path.name!r} lacks a column: {', '.join(lacking)}",
            expected=", ".join(columns),
            found=shorten(", ".join(map(str, seen))) or "no columns",
            next=recognise_tool(readable) or advice or "name your columns with --text-column and --label-column",
        )
    for raw in itertools.chain(first, rows):
        if raw.row is None:
            yield raw
            continue
        missing = [c for c in columns if c not in raw.row]
        if missing:
            yield RawRow(raw.origin, None, f"lacks {', '.join(missing)}")
        else:
            yield RawRow(raw.origin, name_class_labels(raw.row, features)) if features else raw


def _rename(raw: RawRow, names: Mapping[str, str]) -> RawRow:
    """Return a row with other names for some of its columns."""
    if raw.row is None:
        return raw
    return replace(raw, row={names.get(name, name): value for name, value in raw.row.items()})


def recognise_tool(rows: Sequence[Mapping[str, object]]) -> str:
    """Return what to do with rows as a labelling tool exports them; "" for rows of none that is known."""
    names = {name for row in rows for name in row}
    if {"data", "annotations"} <= names or {"data", "completions"} <= names:
        return "in Label Studio, export as JSON-MIN or CSV; spans then stand in the column of your label"
    if {"_input_hash", "_task_hash"} <= names:
        return "rows of Prodigy: --label-column accept for choices, --label-column spans for spans"
    for row in rows[:1]:
        for name in ("label", "labels", "entities"):
            value = row.get(name)
            if isinstance(value, list) and value and isinstance(value[0], list) and len(value[0]) == 3:
                return f"rows as doccano has them: --label-column {name}"
    for name in ("messages", "conversations", "conversation"):
        if name in names:
            return f"chat messages: --text-column {name} --chat last takes the last turn of the user"
    for name, value in rows[0].items() if len(rows) == 1 else ():
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value) and name not in _PARTS:
            within = ".row" if all({*row} >= {"row_idx", "row"} for row in value) else ""  # the Hub's viewer
            return f"the rows lie under {name!r}: jq '.{name}[]{within}' FILE > rows.jsonl takes them out"
    return ""


def describe_reading(path: Path, encoding: str | None = None) -> list[str]:
    """Return how a file is read where that is not how most are, each in a few words with the file's name."""
    suffix = find_format(path.name)
    if suffix in ("", ".parquet") or not path.is_file() or not path.stat().st_size:
        return []
    notes = []
    with contextlib.suppress(OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        chosen = encoding or find_encoding(path)
        notes += [f"encoded in {chosen}"] if chosen != "utf-8-sig" else []
        layout = find_layout(path, (), encoding) if suffix == ".csv" else None
        if layout and layout.separator != ",":
            shown = {"\t": "tabs"}.get(layout.separator, repr(layout.separator))
            notes.append(f"columns are separated by {shown}, not ','")
        if layout and layout.is_named:
            notes.append("its first line is Excel's sep=")
        if suffix != ".csv" and is_by_columns(path, encoding):
            notes.append("an object of columns, not a list of rows (pandas: to_json(orient='records'))")
    return [f"{path.name}: {note}" for note in notes]


def list_columns(path: Path, encoding: str | None = None) -> tuple[str, ...]:
    """Return the columns that the first rows of ``path`` have, in order; raises as :func:`read_rows` does."""
    names: dict[str, None] = {}
    for raw in itertools.islice(read_rows(path, (), encoding=encoding), _LOOKED_AT):
        names |= dict.fromkeys(raw.row or ())
    return tuple(names)
