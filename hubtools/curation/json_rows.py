"""Rows of a JSON file: a list of objects, or an object a line. Neither is ever held whole."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TextIO

from hubtools.curation.files import open_text
from hubtools.curation.raw_rows import (
    CHUNK,
    MAX_ROW,
    TOO_LARGE,
    Lines,
    LineTooLong,
    RawRow,
    Unreadable,
    refuse,
)
from hubtools.errors import shorten

_SHOWN = 4096  # characters in which the first key of an object stands
# Columns of one row of words, which are lists of one length.
_WORDS = {"tokens", "words", "ner_tags", "tags", "labels", "pos_tags", "chunk_tags"}


class _Ambiguous(dict[str, object]):
    """An object that has a key twice, and so two values for one column."""


def _make_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object as the decoder is to have it, whichever level it stands on."""
    values = dict(pairs)
    return values if len(values) == len(pairs) else _Ambiguous(values)


# Python would keep the last of two values of a key quietly, and the row would not say what its owner wrote.
_DECODER = json.JSONDecoder(object_pairs_hook=_make_object)


def _check_object(origin: str, value: object) -> RawRow:
    """Return a value as a row, or the defect that makes it none."""
    if not isinstance(value, dict):
        # What spaCy is trained on: a text and an object.
        is_pair = isinstance(value, list) and len(value) == 2 and isinstance(value[1], dict) and "entities" in value[1]
        advice = ": a pair of spaCy's: write its text and entities in one object" if is_pair else ""
        return RawRow(origin, None, f"not a JSON object{advice}")
    return RawRow(origin, None, "has a key twice") if isinstance(value, _Ambiguous) else RawRow(origin, value)


def read_jsonl(path: Path, columns: Collection[str], encoding: str | None = None) -> Iterator[RawRow]:
    """Yield the object of each line, and a defect for each line that holds none."""
    with open_text(path, "\n", encoding) as text:
        lines = Lines(text)
        while True:
            lines.begin_record()
            try:
                line = next(lines)
            except StopIteration:
                return
            except LineTooLong:
                yield RawRow(f"{path.name}:{lines.number}", None, TOO_LARGE)
                continue
            if not line.strip():
                continue
            origin = f"{path.name}:{lines.number}"
            try:
                yield _check_object(origin, _DECODER.decode(line))
            except (ValueError, RecursionError) as error:
                yield RawRow(origin, None, f"broken JSON: {shorten(error)}")


def is_by_columns(path: Path, encoding: str | None = None) -> bool:
    """Return whether a JSON file is one object of columns in place of rows, as pandas' ``to_json()`` writes it."""
    with open_text(path, "", encoding) as text:
        start = text.read(_SHOWN).lstrip("\ufeff \t\r\n")
        if not re.match(r'\{\s*"(?:[^"\\]|\\.)*"\s*:\s*[\[{]', start):
            return False
        text.seek(0)
        try:
            return _divide_columns(_DECODER.decode(text.read(MAX_ROW).lstrip("\ufeff"))) is not None
        except (ValueError, RecursionError):  # more than one object, or broken: told where rows are read
            return False


def _divide_columns(content: object) -> list[dict[str, object]] | None:
    """Return the rows of an object of columns; None for any other object."""
    if not isinstance(content, dict) or not content:
        return None
    columns = list(content.values())
    if set(content) == {"columns", "index", "data"}:  # to_json(orient="split")
        return [dict(zip(content["columns"], row, strict=False)) for row in content["data"] if isinstance(row, list)]
    if set(content) == {"schema", "data"} and isinstance(content["data"], list):  # to_json(orient="table")
        return [row for row in content["data"] if isinstance(row, dict)]
    if len(columns) == 1 and isinstance(columns[0], list) and all(isinstance(row, dict) for row in columns[0]):
        return columns[0]  # {"data": [...]}: the rows themselves
    if all(isinstance(column, dict) for column in columns):
        keys = list(columns[0])
        if keys and all(list(column) == keys for column in columns):
            return [{name: column[key] for name, column in content.items()} for key in keys]
    if not all(isinstance(column, list) for column in columns) or len({len(column) for column in columns}) != 1:
        return None
    # One row of words and their tags is an object of lists as well.
    if not columns[0] or not (set(content) - _WORDS or isinstance(columns[0][0], list)):
        return None
    return [dict(zip(content, row, strict=True)) for row in zip(*columns, strict=True)]


def read_json(path: Path, columns: Collection[str], encoding: str | None = None) -> Iterator[RawRow]:
    """Yield the objects of a list, of lines where the file holds an object a line, or of an object of columns."""
    if is_by_columns(path, encoding):
        with open_text(path, "", encoding) as text:
            rows = _divide_columns(_DECODER.decode(text.read().lstrip("\ufeff"))) or []
        yield from (RawRow(f"{path.name}[{number}]", row) for number, row in enumerate(rows))
        return
    with open_text(path, "", encoding) as text:
        # The first line that is not blank tells a list from lines of objects.
        first = text.readline(MAX_ROW).strip()
        while not first and (line := text.readline(MAX_ROW)):
            first = line.strip()
        if first.startswith("{") and first.endswith("}"):  # many "json" files hold an object a line
            yield from read_jsonl(path, columns, encoding)
            return
        if not first.startswith("["):
            # Valid JSON of another shape is not called broken.
            shape = {"{": "an object", '"': "a text"}.get(first[:1], f"{first[:40]!r}")
            refuse(path, " is broken JSON" if first[:1] not in '{"' else "", "a list of objects", shape)
        text.seek(0)
        yield from _read_elements(path, _Buffer(text), columns)


class _Buffer:
    """A window on a text that is read on as it is needed; ``at`` is where reading goes on within ``content``."""

    def __init__(self, text: TextIO) -> None:
        self.text, self.content, self.at, self.ended = text, "", 0, False

    def read_on(self) -> bool:
        """Drop what was read, and take in as much again as is left; return False at the end of the text."""
        # Doubling: a value that is longer than the window is decoded again a few times, not once a chunk.
        self.content = self.content[self.at :]
        self.at = 0
        piece = self.text.read(max(CHUNK, len(self.content)))
        self.content += piece
        self.ended = not piece
        return not self.ended

    def skip(self, skipped: str) -> str:
        """Return the next character that is none of ``skipped``, without passing it; "" at the end."""
        while True:
            while self.at < len(self.content):
                if self.content[self.at] not in skipped:
                    return self.content[self.at]
                self.at += 1
            if not self.read_on():
                return ""

    def read_value(self) -> tuple[object, int]:
        """Return the JSON value that begins here, without passing it, and where it ends.

        Raises:
            ValueError, RecursionError: there is none.
        """
        while True:
            try:
                value, end = _DECODER.raw_decode(self.content, self.at)
            except json.JSONDecodeError as error:
                # At the end of the window the value may only be cut off, not broken.
                # 16 characters hold any literal or escape that the end of the window may have cut.
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self.content) - 16
                if not cut or self.ended:
                    raise
                if len(self.content) - self.at >= MAX_ROW:
                    raise Unreadable(TOO_LARGE) from None
                self.read_on()
            else:
                return value, end


_OPENING = re.compile(r"[\[{]")
_SPACE = " \t\r\n\ufeff"


def _read_elements(path: Path, buffer: _Buffer, columns: Collection[str]) -> Iterator[RawRow]:
    """Yield elements of the list. After a broken one, reading goes on at the next object that has the columns."""
    buffer.skip(_SPACE)
    buffer.at += 1
    for number in itertools.count():
        origin = f"{path.name}[{number}]"
        # Commas count as white space: one too many, or none, between two objects loses no row.
        start = buffer.skip(_SPACE + ",")
        if start == "]":
            buffer.at += 1
            if not buffer.skip(_SPACE):
                return
            defect = "broken JSON: more after the end of the list"
        elif not start:
            yield RawRow(origin, None, "broken JSON: the file ends within the list")
            return
        else:
            try:
                value, buffer.at = buffer.read_value()
                yield _check_object(origin, value)
                continue
            except (ValueError, RecursionError) as error:
                message = getattr(error, "msg", None) or str(error)
                defect = message if message == TOO_LARGE else f"broken JSON: {shorten(message)}"
        yield RawRow(origin, None, defect)
        if not _resume(buffer, columns):
            return


def _resume(buffer: _Buffer, columns: Collection[str]) -> bool:
    """Go to the next object that has ``columns``; False where there is none."""
    buffer.at += 1
    while True:
        start = buffer.content.find("{", buffer.at)
        if start < 0:
            buffer.at = len(buffer.content)
            if not buffer.read_on():
                return False
            continue
        buffer.at = start
        try:
            value, _ = buffer.read_value()
        except RecursionError:  # as deep as that, the next hundreds of openings lie within
            openings = itertools.islice(_OPENING.finditer(buffer.content, buffer.at), 300, None)
            buffer.at = next((opening.start() for opening in openings), len(buffer.content))
            continue
        except ValueError:
            buffer.at += 1
            continue
        # An object inside the broken row, such as a span, must not be taken for the next row.
        if isinstance(value, dict) and value.keys() >= set(columns):
            return True
        buffer.at += 1
