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


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any, tmp: Path) -> None:
    """Write so that a reader sees either the old file or the new one. ``tmp`` is on the same disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = tmp / f"{uuid.uuid4().hex}.json"
    try:
        part.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
        replace_durably(part, path)
    finally:
        part.unlink(missing_ok=True)
