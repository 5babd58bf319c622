"""Read the rows of a csv, json, jsonl or parquet file, each with its origin, whatever state the file is in.

A row at a time, and none larger than :data:`~hubtools.curation.raw_rows.MAX_ROW`: memory does not grow with the file.
What cannot be read comes as a row with its defect; after it, reading goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

from hubtools.curation.class_labels import name_class_labels
from hubtools.curation.csv_rows import read_csv
from hubtools.curation.json_rows import read_json, read_jsonl
from hubtools.curation.parquet_rows import read_parquet
from hubtools.curation.raw_rows import RawRow, refuse
from hubtools.errors import SourceError, shorten

_READERS = {".csv": read_csv, ".json": read_json, ".jsonl": read_jsonl, ".parquet": read_parquet}
SUFFIXES = tuple(_READERS)

_LOOKED_AT = 100  # rows that tell which columns a file has


def read_rows(
    path: Path, columns: tuple[str, ...], features: Mapping[str, object] | None = None, advice: str = ""
) -> Iterator[RawRow]:
    """Yield every row of a csv, json, jsonl or parquet file, in order; a row that cannot be read comes with its defect.

    Args:
        columns: what a row must have.
        features: types of the columns as ``datasets.Features.to_dict`` writes them, where they are known from
            elsewhere than the file; integers of a ClassLabel are read as their names.
        advice: what helps where a column is missing.

    Raises:
        SourceError: the file is missing, empty, of another format, without a readable row, or lacks a column.
    """
    if not path.exists():
        refuse(path, "", "a file", f"nothing at {path}")
    if path.suffix not in SUFFIXES:
        refuse(path, "", "one of " + ", ".join(SUFFIXES), path.suffix or "no suffix")
    expected = "rows with " + (", ".join(columns) or "named columns")
    if path.stat().st_size == 0:
        refuse(path, " is empty", expected, "0 bytes")
    # Looked at before the first row is handed on: an error of the whole file comes before any work.
    rows = _READERS[path.suffix](path, columns)
    first = list(itertools.islice(rows, _LOOKED_AT))
    if not first:
        refuse(path, " holds no rows", expected, f"{path.stat().st_size} bytes without a row")
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
            next=advice or "name your columns with --text-column and --label-column",
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


def list_columns(path: Path) -> tuple[str, ...]:
    """Return the columns that the first rows of ``path`` have, in order; raises as :func:`read_rows` does."""
    names: dict[str, None] = {}
    for raw in itertools.islice(read_rows(path, ()), _LOOKED_AT):
        names |= dict.fromkeys(raw.row or ())
    return tuple(names)
