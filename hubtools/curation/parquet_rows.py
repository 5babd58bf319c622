"""Rows of a parquet file, a page at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.curation.class_labels import name_class_labels, read_features
from hubtools.curation.files import open_bytes
from hubtools.curation.raw_rows import CHUNK, RawRow, Unreadable, refuse
from hubtools.errors import shorten

if TYPE_CHECKING:
    import pyarrow as pa

# What is in memory at once: one batch of rows as Python objects.
_BATCH = 8 << 20  # bytes
_BATCH_ROWS = 2048


def read_parquet(path: Path, columns: Collection[str], encoding: str | None = None) -> Iterator[RawRow]:
    """Yield every row; what a broken page holds is lost in one piece, and reading goes on with the next row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    broken = (pa.ArrowException, OSError, ValueError, OverflowError)
    try:
        # A page at a time, not a whole row group.
        file = pq.ParquetFile(path if path.suffix == ".parquet" else open_bytes(path), buffer_size=CHUNK)
        names = file.schema_arrow.names
        groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
        # A damaged footer may say anything.
        if min([0, *(group.num_rows for group in groups)]) < 0:
            raise Unreadable("a negative number of rows")
        features = read_features(file.schema_arrow.metadata)
    except broken as error:
        refuse(path, " is broken parquet", "a parquet file", error)
    if len(set(names)) != len(names):
        refuse(path, " has a column twice", "each name once", ", ".join(names))
    first = 0
    for index, group in enumerate(groups):
        number = first
        # Few rows at a time where rows are large.
        size = max(1, min(_BATCH_ROWS, _BATCH * group.num_rows // max(1, group.total_byte_size)))
        try:
            for batch in file.iter_batches(batch_size=size, row_groups=[index]):
                for row, defect in _read_batch(batch, broken):
                    origin = f"{path.name}[{number}]"
                    yield (
                        RawRow(origin, None, defect)
                        if row is None
                        else RawRow(origin, name_class_labels(row, features))
                    )
                    number += 1
        except broken as error:
            last = max(first + group.num_rows - 1, number)
            yield RawRow(f"{path.name}[{number}..{last}]", None, f"broken parquet: {shorten(error)}", last - number + 1)
        first += group.num_rows


def _read_batch(
    batch: pa.RecordBatch, broken: tuple[type[Exception], ...]
) -> Iterator[tuple[Mapping[str, object] | None, str]]:
    """Yield each row, or None and what is wrong with it."""
    try:
        rows = batch.to_pylist()
    except broken:  # one cell spoils them all: look at each
        for i in range(batch.num_rows):
            try:
                yield batch.slice(i, 1).to_pylist()[0], ""
            except UnicodeDecodeError:
                yield None, "encoding damage"
            except broken as error:
                yield None, f"broken parquet: {shorten(error)}"
        return
    for row in rows:
        yield row, ""
