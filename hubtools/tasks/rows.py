"""Row functions that several sources share: rows that already say ``text`` and ``label``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubtools.spec import BadRow, Dropped, Example


def text_of(row: Mapping[str, Any], column: str) -> str:
    """The text in ``column``; raises :class:`Dropped` where it is not a text or holds nothing."""
    value = row.get(column)
    if not isinstance(value, str):
        raise Dropped(f"{column} is not a text")
    if not value.strip():
        raise Dropped(f"{column} is empty")
    return value


def labelled_row(row: Mapping[str, Any]) -> Example:
    """A row with ``text``, ``label`` and, where it has one, ``family``."""
    label = row.get("label")
    if not isinstance(label, str) or not label.strip():
        raise BadRow("label is missing")
    return Example(text=text_of(row, "text"), label=label.strip(), group=str(row.get("family") or ""))
