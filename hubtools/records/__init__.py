"""What a stage writes and the next reads, as typed values.

A record is a frozen dataclass, and a JSON file of the work folder or of a release is one record. Files are read by
:func:`read_record`, which checks every key and type, and written by :func:`write_record`: nowhere else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from hubtools.errors import DamagedRecord, MissingStage


class Record:
    """Base of all records. A key that the class does not have is an error: a misspelled one would be lost quietly."""

    # What pydantic asks a class for when it reads a file; the records themselves do not need the library.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


R = TypeVar("R", bound=Record)


def from_json(content: object, kind: type[R]) -> R:
    """Make a record of what a JSON file holds.

    Raises:
        DamagedRecord: a key is missing, unknown, or of the wrong type; the message names one of them.
    """
    # Here, not above: whoever only writes a record need not wait for it.
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        places = [problem["loc"] for problem in error.errors()]
        around = Counter(place[:-1] for place in places)
        # Where one of several records may stand, each says why it is not the one. The one that is meant has the
        # deepest problem, as its own keys were right, or else the fewest.
        nearest = max(range(len(places)), key=lambda i: (len(places[i]), -around[places[i][:-1]]))
        where = ".".join(str(part) for part in places[nearest]) or "the file"
        raise DamagedRecord(f"{kind.__name__}: {where}: {error.errors()[nearest]['msg']}") from error


def to_json(record: Record) -> dict[str, object]:
    """Return the record as JSON has it. Keys without a value are left out where the field may be left out."""
    return {
        field.name: _to_plain(getattr(record, field.name))
        for field in dataclasses.fields(record)  # type: ignore[arg-type]
        # A field whose default is None holds what only some tasks have: without it the file says nothing of it. A
        # None without a default is an answer, such as "no threshold was chosen", and stays as null.
        if not (field.default is None and getattr(record, field.name) is None)
    }


def _to_plain(value: object) -> object:
    if isinstance(value, Record):
        return to_json(value)
    if isinstance(value, dict):
        return {key: _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    return value


def extend(record: Record, kind: type[R], **values: Any) -> R:
    """Return a record of ``kind``, a class below that of ``record``: its values, and ``values``, which beat them."""
    # ``kind`` has fields that only its own __init__ knows: their types are checked when the file is read.
    inherited = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}  # type: ignore[arg-type]
    return kind(**(inherited | values))


def read_record(path: Path, kind: type[R], *, task: str, command: str) -> R:
    """Read a file of the work folder.

    Args:
        task: whose file it is, for the message.
        command: the command that writes it, such as ``"evaluate"``.

    Raises:
        MissingStage: the file is absent, damaged, or was written by a version with other keys.
    """
    again = f"hubtools {command} {task}"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingStage(
            f"{path.name} of {task!r} is not there", expected=str(path), found="nothing there", next=again
        ) from None
    except ValueError as error:
        raise MissingStage(f"{path.name} of {task!r} is damaged", found=str(error), next=again) from error
    try:
        return from_json(content, kind)
    except DamagedRecord as error:
        raise MissingStage(
            f"{path.name} of {task!r} is damaged, or was written by another version of hubtools",
            expected="the keys and types that this version writes",
            found=error.subject,
            next=again,
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file that any version or program may have written; {} where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def write_record(path: Path, record: Record) -> None:
    """Write a record whole or not at all."""
    write_json(path, to_json(record))


def write_json(path: Path, content: object) -> None:
    """Write JSON whole or not at all."""
    with write_whole(path) as part:
        part.write_text(_format_json(content), encoding="utf-8")


def format_record(record: Record) -> str:
    """Return the content of the file that :func:`write_record` writes."""
    return _format_json(to_json(record))


def _format_json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


@contextlib.contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yield a file to write, which takes the place of ``path`` when the block ends; after an error ``path`` stays."""
    # Beside the file, so that both are on one disk and the replacement is a single step: who reads the file, or is
    # interrupted here, never sees half of it.
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    yield part
    os.replace(part, path)
