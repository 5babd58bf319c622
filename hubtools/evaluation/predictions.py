"""``predictions.parquet``: what a model answered to a split, a row a text and none of its text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from hubtools.errors import MissingStage
from hubtools.heads import Head
from hubtools.heads.inference import Tick
from hubtools.heads.values import Pipeline, Rows
from hubtools.records import write_whole
from hubtools.workdir import TaskFolder, sha256_of

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

PREDICTIONS = 5  # bumped when a file of predictions holds more, or in another form

# Columns that earlier versions called otherwise.
_RENAMED = {"found": "predicted_spans"}


class PredictionsMetadata(TypedDict, total=False):
    """What the metadata of a file of predictions hold, as JSON under the key "hubtools".

    Attributes:
        fingerprint: of weights, dataset and versions: while it stays the same, the model is not asked again.
        labels: of the model, in the order of their ids.
        examples: the answers to the task's own examples, each as ``AnsweredExample`` has it.
    """

    fingerprint: str
    weights_sha256: str
    temperature: float
    labels: list[str]
    examples: list[object]
    split: str


@dataclass(frozen=True)
class Predictions:
    """A file of predictions: its columns and its metadata.

    Attributes:
        sha: of the file.
    """

    rows: Rows
    about: PredictionsMetadata
    sha: str

    @staticmethod
    def read(folder: TaskFolder, path: Path) -> Predictions:
        """Read a file of the work folder; raises :class:`MissingStage` where it is absent, or not one of ours."""
        import pyarrow as pa

        folder.need(path, "evaluate")
        try:
            # A file of parquet that somebody else wrote has no key of ours in its metadata.
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


def read_columns(path: Path | str) -> Rows:
    """Return the columns of predictions of any version, by the names that this version gives them.

    Raises:
        pyarrow.ArrowException: it is no parquet file.
    """
    import pyarrow.parquet as pq

    columns = pq.read_table(path).to_pydict()
    # Their types are those of the file's schema, which to_table() gave it.
    return cast("Rows", {_RENAMED.get(name, name): values for name, values in columns.items()})


def read_about(path: Path) -> PredictionsMetadata:
    """Return the metadata of a file; {} where they are not ours.

    Raises:
        pyarrow.ArrowException, ValueError: it is no parquet file, or its metadata are damaged.
    """
    import pyarrow.parquet as pq

    # The schema alone: of a large file only the footer is read.
    content = dict(json.loads((pq.read_schema(path).metadata or {}).get(b"hubtools", b"{}")))
    return cast("PredictionsMetadata", content)


def predictions_table(
    head: Head, classifier: Pipeline, rows: Dataset, labels: Sequence[str], tick: Tick, temperature: float = 1.0
) -> pa.Table:
    """Ask the model and return what ``predictions.parquet`` holds, in the order of ``rows``.

    Columns: ``id``, ``group``, ``source`` and ``characters``, the length of the text; then the head's own.
    """
    texts = list(rows["text"])
    # Somebody else's dataset may have no groups or sources; ours always does.
    named = {
        column: list(rows[column]) if column in rows.column_names else [""] * len(texts)
        for column in ("group", "source")
    }
    return to_table(
        head,
        {
            "id": list(rows["id"]),
            **named,
            "characters": [len(text) for text in texts],
            **head.predict_columns(classifier, rows, labels, tick, temperature),
        },
    )


def to_table(head: Head, columns: Mapping[str, object]) -> pa.Table:
    """Return columns of predictions with the types that they always have."""
    import pyarrow as pa

    # Without a schema, a split in which nothing is predicted would have columns of type null.
    named = dict.fromkeys(("id", "group", "source"), pa.string())
    types = {**named, "characters": pa.int64(), **head.columns}
    return pa.table(dict(columns), schema=pa.schema([(name, types[name]) for name in columns]))


def write_table(path: Path, table: pa.Table) -> None:
    """Write a parquet file whole or not at all."""
    import pyarrow.parquet as pq

    with write_whole(path) as part:
        pq.write_table(table, part)
