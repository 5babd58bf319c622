"""Files of the Hub on the disk: whole or not at all, and there after a loss of power."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any


def replace_durably(part: Path, path: Path) -> None:
    """Put a file in its place so that it is there after a loss of power as well: what is acknowledged must stay."""
    _sync(part)
    os.replace(part, path)
    _sync(path.parent)


def rename_durably(old: Path, new: Path) -> None:
    """Move a file or folder, whose content is on the disk already, into a folder that may not be there yet."""
    make_folder(new.parent)
    os.rename(old, new)
    for folder in {old.parent, new.parent}:
        _sync(folder)


def make_folder(path: Path) -> None:
    """Make a folder and those above it that are missing; a folder is lost where the one above it is not on the disk."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        _sync(folder.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any, tmp: Path) -> None:
    """Write so that a reader sees either the old file or the new one. ``tmp`` is on the same disk."""
    make_folder(path.parent)
    part = tmp / f"{uuid.uuid4().hex}.json"
    try:
        part.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        replace_durably(part, path)
    finally:
        part.unlink(missing_ok=True)
