"""Rows of a dataset, as far as all heads share them: facts of a split, labels of a user's own data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hubtools.records.dataset import Quantiles, SplitFacts
from hubtools.rows import Columns, read_text
from hubtools.spec import BadRow, Dropped, Example

# A user's label map: theirs: ours, or None for a label whose rows are dropped.
LabelMap = Mapping[str, str | None]

_PERCENT = {"p10": 10, "p25": 25, "median": 50, "p75": 75, "p90": 90, "p99": 99, "max": 100}


@dataclass(frozen=True)
class UserColumns:
    """How rows of a user's own data are read.

    Attributes:
        names: columns that each row must have.
        read: makes an example of a raw row; raises :class:`~hubtools.spec.Dropped`.
    """

    names: tuple[str, ...]
    read: Callable[[Mapping[str, object]], Example]


def measure_lengths(texts: Iterable[str]) -> Quantiles:
    """Return quantiles of lengths in characters.

    Each is the length at that rank of the sorted lengths, so that it is one that occurs. {} for no texts.
    """
    # An interpolated quantile would be a length that no text has, and differ between versions of numpy.
    lengths = sorted(map(len, texts))
    return {name: lengths[min(len(lengths) * p // 100, len(lengths) - 1)] for name, p in _PERCENT.items() if lengths}


def measure_lengths_by_label(rows: Sequence[Example], labels: Sequence[str]) -> dict[str, Quantiles]:
    """Return quantiles of the lengths of each label's texts; a label without rows is left out."""
    texts: dict[str, list[str]] = {label: [] for label in labels}
    for row in rows:
        texts[row.label].append(row.text)
    return {label: measure_lengths(label_texts) for label, label_texts in texts.items() if label_texts}


def describe_split(
    rows: Sequence[Example], *, by_label: dict[str, Quantiles] | None = None, without_spans: int | None = None
) -> SplitFacts:
    """Return rows, groups, labels and lengths of a split, with what a head adds to them."""
    return SplitFacts(
        rows=len(rows),
        groups=len({row.group for row in rows}),
        labels=dict(sorted(Counter(c for row in rows for c in row.classes).items())),
        characters=measure_lengths(row.text for row in rows),
        characters_by_label=by_label,
        rows_without_spans=without_spans,
    )


def normalize_label(label: object) -> str:
    """Return a label as a label map writes it: 1 and 1.0 are "1", True is "true"; "" where there is none."""
    if isinstance(label, bool):  # before int, which bool is a kind of
        return str(label).lower()
    # Tables write a column of integers as floats where a cell is empty.
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label).strip() if isinstance(label, str | int | float) else ""


def map_label(theirs: str, label_map: LabelMap) -> str:
    """Return our label for theirs, which stays as it is where the map does not name it.

    Raises:
        Dropped: the map drops rows with this label.
    """
    ours = label_map.get(theirs, theirs)
    if ours is None:
        raise Dropped(f"label {theirs!r} is mapped to null")
    return ours


def read_text_and_label(columns: Columns, label_map: LabelMap) -> UserColumns:
    """Return how a text and its label are read from the columns that ``columns`` names, or "text" and "label"."""
    text_column, label_column = columns.text or "text", columns.label or "label"

    def read(raw: Mapping[str, object]) -> Example:
        label = raw.get(label_column)
        # What several labels were asked of, and one was given.
        if isinstance(label, list | tuple):
            if len(label) != 1 or isinstance(label[0], list | tuple | Mapping):
                raise BadRow(f"label is a list of {len(label)}, not a word")
            [label] = label
        theirs = normalize_label(label)
        # A ClassLabel of datasets holds -1 where a row has no label.
        if not theirs or (theirs == "-1" and theirs not in label_map):
            raise BadRow("label is an object, not a word" if isinstance(label, Mapping) else "label is missing")
        return Example(text=read_text(raw, text_column, columns.chat), label=map_label(theirs, label_map))

    return UserColumns((text_column, label_column), read)
