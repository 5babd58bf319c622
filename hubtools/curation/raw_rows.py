"""What the readers of all formats share: a row as it stands in a file, lines of bounded size, errors of a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TextIO

from hubtools.errors import SourceError, shorten

MAX_ROW = 32 << 20  # characters: a file without line breaks must not fill the memory
TOO_LARGE = f"row larger than {MAX_ROW >> 20} MiB"

CHUNK = 1 << 20  # characters or bytes that are read at once


@dataclass(frozen=True)
class RawRow:
    """A row as it stands in a file; ``row`` is None where it cannot be read, and ``defect`` says why.

    Attributes:
        origin: file and line, or file and number of the row.
        rows: more than one where several rows are lost in one piece.
    """

    origin: str
    row: Mapping[str, object] | None
    defect: str = ""
    rows: int = 1


def refuse(path: Path, problem: str, expected: str, found: object) -> NoReturn:
    """Raise the :class:`SourceError` that says what is wrong with a file; ``problem`` goes on after its name."""
    raise SourceError(
        f"Source file {path.name!r}{problem}",
        expected=expected,
        found=shorten(found),
        next="mend the file, or give another with --source, and run the same command again",
    )


class LineTooLong(Exception):
    """A line of more than :data:`MAX_ROW` characters."""


class Unreadable(ValueError):
    """A file or a row that a library would read, and that we do not."""


class Lines:
    """Lines of a text; raises for a line that is too long, and goes on after it.

    Attributes:
        number: of the line given last, from 1.
        quotes: how many quotation marks stand in the lines so far.
        record: the lines since :meth:`begin_record`.
    """

    def __init__(self, text: TextIO) -> None:
        self.text, self.number, self.quotes = text, 0, 0
        self.record: list[str] = []
        self._repeated: list[str] = []  # lines to give once more, the next one last

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        line = self._repeated.pop() if self._repeated else self.text.readline(MAX_ROW)
        if not line:
            raise StopIteration
        self.number += 1
        self.quotes += line.count('"')
        if len(line) < MAX_ROW or line.endswith(("\n", "\r")):
            self.record.append(line)
            return line
        # Read to its end all the same, so that the next line is a line of the file.
        while not line.endswith(("\n", "\r")) and (line := self.text.readline(CHUNK)):
            self.quotes += line.count('"')
        raise LineTooLong

    def begin_record(self) -> None:
        """Begin a record with the next line."""
        self.record.clear()

    def go_back_to_second(self) -> None:
        """Give all lines of the record but the first once more."""
        while len(self.record) > 1:
            line = self.record.pop()
            self.number -= 1
            self.quotes -= line.count('"')
            self._repeated.append(line)
