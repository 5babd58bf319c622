"""``predictions.parquet``: what a model answered to a split, a row a text and none of its text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubtools.errors import MissingStage
from hubtools.heads import Head
from hubtools.heads.inference import Tick
from hubtools.workdir import TaskFolder, sha256_of

if TYPE_CHECKING:
    import pyarrow as pa

PREDICTIONS = 3  # bumped when a file of predictions says more, or says it otherwise

# Columns that earlier versions called otherwise.
_RENAMED = {"found": "predicted_spans"}


@dataclass(frozen=True)
class Predictions:
    """A file of predictions: its columns, and what is written in its metadata.

    Attributes:
        about: ``fingerprint``, ``weights_sha256``, ``temperature`` and ``examples``, the answers to the task's own.
        sha: of the file.
    """

    rows: Mapping[str, list[Any]]
    about: Mapping[str, Any]
    sha: str

    @staticmethod
    def read(folder: TaskFolder, path: Path) -> Predictions:
        """Read a file of the work folder; raises :class:`MissingStage` where it is absent, or not one of ours."""
        import pyarrow as pa

        folder.need(path, "evaluate")
        try:
            about, problem = read_about(path), "a file of another program"
            if about:
                return Predictions(read_columns(path), about, sha256_of(path))
        except (pa.ArrowException, OSError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
        raise MissingStage(
            f"{path.name} of {folder.task!r} cannot be read",
            expected="what hubtools evaluate writes",
            found=problem,
            next=f"hubtools evaluate {folder.task}",
        )


def read_columns(path: Path | str) -> dict[str, list[Any]]:
    """Return the columns of predictions of any version, by the names that this version gives them.

    Raises:
        pyarrow.ArrowException: it is no parquet file.
    """
    import pyarrow.parquet as pq

    columns = pq.read_table(path).to_pydict()
    return {_RENAMED.get(name, name): values for name, values in columns.items()}


def read_about(path: Path) -> dict[str, Any]:
    """Return what the metadata of a file say; {} where they are not ours.

    Raises:
        pyarrow.ArrowException, ValueError: it is no parquet file, or its metadata are damaged.
    """
    import pyarrow.parquet as pq

    return dict(json.loads((pq.read_schema(path).metadata or {}).get(b"hubtools", b"{}")))


def predictions_table(
    head: Head, classifier: Any, rows: Any, labels: Sequence[str], tick: Tick, temperature: float = 1.0
) -> pa.Table:
    """Ask the model and return what ``predictions.parquet`` holds, in the order of ``rows``.

    Columns: ``id``, ``group`` and ``characters``, the length of the text; then the head's own.
    """
    texts = list(rows["text"])
    groups = list(rows["group"]) if "group" in rows.column_names else [""] * len(texts)
    return to_table(
        head,
        {
            "id": list(rows["id"]),
            "group": groups,
            "characters": [len(text) for text in texts],
            **head.prediction_columns(classifier, rows, labels, tick, temperature),
        },
    )


def to_table(head: Head, columns: Mapping[str, Sequence[Any]]) -> pa.Table:
    """Return columns of predictions with the types that they always have."""
    import pyarrow as pa

    types = {"id": pa.string(), "group": pa.string(), "characters": pa.int64(), **head.columns}
    return pa.table(dict(columns), schema=pa.schema([(name, types[name]) for name in columns]))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a parquet file whole or not at all."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    pq.write_table(table, part)
    part.replace(path)
