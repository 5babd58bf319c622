"""A split as it is published: one parquet file, with the types that ``datasets`` reads beside the columns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from hubtools.heads import Head
from hubtools.rows import hash_content
from hubtools.spec import Example, LabelSet


def make_id(text: str) -> str:
    """Return the id of a row, which follows from its text alone."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def write_split(rows: Iterable[Example], head: Head, label_set: LabelSet, path: Path) -> None:
    """Write the rows, whose labels are mapped, in an order that follows from their texts alone."""
    from datasets import Dataset, Features, Value

    # So that the same rows give the same bytes, and a push of an unchanged dataset changes nothing.
    rows = sorted(rows, key=lambda row: hash_content(row.text) + row.text)
    columns: dict[str, Sequence[object]] = {
        "id": [make_id(r.text) for r in rows],
        "text": [r.text for r in rows],
        **head.make_columns(rows, label_set),
        "group": [r.group for r in rows],
        "source": [r.source for r in rows],
    }
    # Types are told, not guessed from the values: a split whose rows have no spans would get another type.
    text = Value("string")
    features = {"id": text, "text": text, **head.make_features(label_set), "group": text, "source": text}
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns, features=Features(features)).to_parquet(str(path))


def read_split(path: Path, head: Head, label_set: LabelSet, split: str) -> list[tuple[str, Example]]:
    """Return (id, row) of a split as :func:`write_split` wrote it, in the file's order."""
    import pyarrow.parquet as pq

    # Named columns alone: words and their tags are not needed to know a row.
    rows = pq.read_table(path, columns=["id", "text", "group", "source", head.truth]).to_pylist()
    return [
        (
            row["id"],
            head.name_truth(
                Example(row["text"], group=row["group"], split=split, source=row["source"]), row[head.truth], label_set
            ),
        )
        for row in rows
    ]
