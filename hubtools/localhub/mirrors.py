"""Folders served as read-only repos: ``DIR/<owner>/<name>/`` is the repo ``<owner>/<name>``.

Each has one branch, ``main``, with one commit, whose id is a hash over the paths, sizes and contents: it
stays the same as long as the files do, on every machine. A folder that is the copy of a commit may say so in a file
``.revision``, which is not served: it answers to that commit's id then. A folder whose ``config.json`` names a
``model_type`` is a model; any other is a dataset.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from hubtools.localhub import lfs
from hubtools.localhub.names import check_path, check_repo_id
from hubtools.localhub.refusal import Refusal, revision_not_found
from hubtools.localhub.store import Commit, Entry, Repo, format_time

_REVISION = ".revision"
_SKIPPED = frozenset({".git", ".cache", "__pycache__"})


class Mirrors:
    """The mirrored repos. ``listing`` is a JSON file with a list of folders, read again when it changes."""

    def __init__(self, listing: Path, packaged: Path | None = None) -> None:
        self._listing = listing
        self._packaged = packaged
        self._read: tuple[int, list[Path]] = (0, [])
        self._lock = threading.Lock()  # one thread hashes, the others wait for its result
        self._hashes: dict[tuple[str, int, int], str] = {}
        self._commits: dict[str, tuple[object, Commit]] = {}

    def folders(self) -> list[Path]:
        try:
            # `hubtools hub start --mirror` adds folders while the server runs.
            changed = self._listing.stat().st_mtime_ns
            if changed != self._read[0]:
                self._read = (changed, [Path(item) for item in json.loads(self._listing.read_text("utf-8"))])
        except (OSError, ValueError):
            pass  # not written yet: no mirrors but the packaged one
        return [*self._read[1], *([self._packaged] if self._packaged else [])]

    def get(self, kind: str, repo_id: str) -> Repo | None:
        folder = self._find(repo_id)
        if not folder or _kind(folder) != kind:
            return None
        commit = self._scan(folder)
        return Repo(kind, repo_id, created=commit.date, branches={"main": commit.id}, read_only=True)

    def all(self, kind: str) -> Iterator[Repo]:
        seen = set()
        for root in self.folders():
            for path in sorted(root.glob("*/*")):
                repo_id = f"{path.parent.name}/{path.name}"
                # The folder that is named first wins, as with a search path.
                if repo_id not in seen:
                    seen.add(repo_id)
                    repo = self.get(kind, repo_id)
                    if repo:
                        yield repo

    def commit(self, repo: Repo, revision: str) -> Commit:
        """The one commit, by ``main``, its id, or at least 7 digits of it."""
        folder = self._find(repo.id)
        if folder:
            commit = self._scan(folder)
            if revision in ("main", "refs/heads/main", "HEAD") or (
                len(revision) >= 7 and commit.id.startswith(revision)
            ):
                return commit
        raise revision_not_found(revision)

    def blob(self, repo: Repo, path: str, entry: Entry) -> Path:
        """The file behind an entry, if it still is what was hashed."""
        folder = self._find(repo.id)
        if folder:
            file = folder / path
            status = _status(file, folder)
            # Served under an id that is a hash: bytes that changed since must not go out under it.
            if status and self._hashes.get((str(file), status.st_size, status.st_mtime_ns)) == entry.etag:
                return file
        raise Refusal(503, f"'{path}' of the mirrored folder changed while it was being served; ask again")

    def _find(self, repo_id: str) -> Path | None:
        try:
            check_repo_id(repo_id)
        except Refusal:
            return None
        for root in self.folders():
            folder = root / repo_id
            # A link must not serve what lies outside the mirrored folder.
            if folder.is_dir() and folder.resolve().is_relative_to(root.resolve()):
                return folder
        return None

    def _scan(self, folder: Path) -> Commit:
        """The folder as a commit; the walk is done anew each time, the hashing only of what changed."""
        files = dict(sorted(_walk(folder)))
        state = [(path, status.st_size, status.st_mtime_ns) for path, status in files.items()]
        with self._lock:
            # The same sizes and times: nothing was written since.
            known = self._commits.get(str(folder))
            if known and known[0] == state:
                return known[1]
            named = files.pop(_REVISION, None) and (folder / _REVISION).read_text("utf-8", "replace").strip()
            tree = {path: self._entry(folder / path, status) for path, status in files.items()}
            digest = hashlib.sha1(usedforsecurity=False)
            for path, entry in tree.items():
                digest.update(f"{path}\0{entry.size}\0{entry.etag}\n".encode())
            newest = max((status.st_mtime for status in files.values()), default=0.0)
            date = format_time(datetime.fromtimestamp(newest, UTC))
            commit_id = named if named and re.fullmatch("[0-9a-f]{40}", named) else digest.hexdigest()
            commit = Commit(commit_id, None, "mirrored folder", "", date, "mirror", tree)
            self._commits[str(folder)] = (state, commit)
            return commit

    def _entry(self, file: Path, status: os.stat_result) -> Entry:
        # A file with the same path, size and time is not read again.
        size, key = status.st_size, (str(file), status.st_size, status.st_mtime_ns)
        with open(file, "rb") as stream:
            large = lfs.is_lfs(file.name, size, stream.read(512))
        etag = self._hashes.get(key)
        if not etag:
            etag = self._hashes[key] = _sha256(file) if large else lfs.git_oid(file.read_bytes())
        return Entry.of_lfs(etag, size) if large else Entry(size, etag)


def _kind(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return "models" if isinstance(config, dict) and config.get("model_type") else "datasets"
    except (OSError, ValueError):
        return "datasets"


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    for at, folders, names in os.walk(folder):
        # In place: os.walk then does not enter them.
        folders[:] = [name for name in folders if name not in _SKIPPED]
        for name in names:
            file = Path(at, name)
            path = file.relative_to(folder).as_posix()
            status = _status(file, folder)
            # A name that no repo can hold is left out, so that the others can be served.
            try:
                check_path(path)
            except Refusal:
                continue
            if status:
                yield path, status


def _status(file: Path, folder: Path) -> os.stat_result | None:
    """None where the file is not one, cannot be read, or is a link that leads out of the folder."""
    try:
        if not file.resolve(strict=True).is_relative_to(folder.resolve()):
            return None
        status = file.stat()
        return status if os.path.isfile(file) and os.access(file, os.R_OK) else None
    except (OSError, RuntimeError):
        return None


def _sha256(file: Path) -> str:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
