"""What a repo, a file in it and a branch may be called."""

from __future__ import annotations

import re

from hubtools.localhub.refusal import Refusal

COMMIT_ID = re.compile(r"[0-9a-f]{40}")

_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
_RESERVED = frozenset({"api", "collections", "datasets", "healthz", "models", "settings", "spaces", "_lfs"})
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{|^[/.-]|[/.]$|\.lock$|/\.|^refs/|^HEAD$")


def check_repo_id(repo_id: str) -> None:
    """Raise ``Refusal`` where this cannot be ``owner/name``."""
    parts = repo_id.split("/")
    if (
        len(parts) != 2
        or parts[0] in _RESERVED
        or parts[1].endswith((".git", ".ipynb"))
        or any(not _PART.fullmatch(part) or "--" in part or ".." in part for part in parts)
    ):
        raise Refusal(400, f"Invalid repo id '{repo_id}': expected owner/name of letters, digits, '-', '_', '.'")


def check_path(path: str) -> None:
    """Raise ``Refusal`` where this cannot be a file in a repo: absolute, ``..``, ``.git``, NUL."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts) or len(path) > 1024:
        raise Refusal(400, f"Invalid path in repo: {path[:200]!r}")
    if any(ord(char) < 32 or ord(char) == 127 or 0xD800 <= ord(char) < 0xE000 for char in path):
        raise Refusal(400, f"Invalid path in repo: {path[:200]!r} holds a control character")


def check_ref(name: str) -> None:
    """Raise ``Refusal`` where git would not take this as a branch or tag."""
    if not name or len(name) > 200 or _BAD_REF.search(name) or COMMIT_ID.fullmatch(name):
        raise Refusal(400, f"Invalid reference name: {name[:200]!r}")
