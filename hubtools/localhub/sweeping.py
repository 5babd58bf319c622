"""Removes from the data folder what nobody needs any longer."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import time
from pathlib import Path

from hubtools.errors import shorten

SWEEP_AFTER = 24 * 3600.0  # seconds an unreferenced blob is kept, so that an interrupted upload can go on
XORBS_FOR = 2 * SWEEP_AFTER


def remove_leftovers(root: Path) -> None:
    """Remove what was being written when the server was killed."""
    for leftover in (root / "tmp").iterdir():
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def sweep_xorbs(root: Path) -> None:
    """Remove chunks that no client takes for sent any longer; the files that were made of them stay."""
    for path in (root / "xorbs").glob("*"):
        with contextlib.suppress(FileNotFoundError):  # gone with another request
            if path.stat().st_mtime < time.time() - XORBS_FOR:
                path.unlink()


def sweep(root: Path) -> int:
    """Remove blobs that no commit names and that are older than a day. Returns how many went."""
    old = time.time() - SWEEP_AFTER
    stale = {p.name: p for p in (root / "blobs").glob("*/*/*") if p.stat().st_mtime < old}
    # All commits of all refs: history can be asked for, so that old files count as well.
    for path in (root / "repos").glob("*/*/*/commits/*.json") if stale else ():
        try:
            for _, oid, sha256 in json.loads(path.read_text(encoding="utf-8"))["tree"].values():
                stale.pop(sha256 or oid, None)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            # What it named is not known: nothing is removed while it is so.
            logging.error("nothing is swept: %s is damaged: %s", path, shorten(error))
            return 0
    for path in stale.values():
        # Asked again: an upload may have touched it while the commits were read.
        if path.stat().st_mtime < old:
            path.unlink(missing_ok=True)
    return len(stale)
