"""One Hub behind the routes: its own repos and the mirrored folders, seen alike."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hubtools.localhub.mirrors import Mirrors
from hubtools.localhub.refusal import Refusal
from hubtools.localhub.store import Commit, Entry, Repo, Store

USER = "local"  # the one user; the token is this user's
LFS_LINK_LIFETIME = 3600  # seconds
XET_LIFETIME = 3600  # seconds of a permission to upload


@dataclass(frozen=True)
class Backend:
    store: Store
    mirrors: Mirrors
    token: str

    def find(self, kind: str, repo_id: str) -> Repo | None:
        """The repo, own ones before mirrored ones."""
        return self.store.get(kind, repo_id) or self.mirrors.get(kind, repo_id)

    def all(self, kind: str) -> Iterator[Repo]:
        own = list(self.store.all(kind))
        yield from own
        # What was pushed under a mirrored name hides the mirror.
        ids = {repo.id for repo in own}
        yield from (repo for repo in self.mirrors.all(kind) if repo.id not in ids)

    def commit(self, repo: Repo, revision: str) -> Commit:
        """The commit a revision means. ``Refusal`` RevisionNotFound where there is none."""
        if repo.read_only:
            return self.mirrors.commit(repo, revision)
        return self.store.commit(repo, self.store.resolve(repo, revision))

    def history(self, repo: Repo, commit: Commit) -> Iterator[Commit]:
        return iter([commit]) if repo.read_only else self.store.history(repo, commit.id)

    def file(self, repo: Repo, path: str, entry: Entry) -> Path:
        """The content of a file, on this disk."""
        found = self.mirrors.blob(repo, path, entry) if repo.read_only else self.store.blob(entry)
        # A blob that somebody removed by hand: better said here than as an empty file.
        if not found.is_file():
            raise Refusal(500, f"The content of '{path}' is missing from the Hub's data folder: {found}")
        return found

    def text(self, repo: Repo, commit: Commit, path: str, limit: int = 4 << 20) -> str | None:
        """A file as text, None where it is absent, larger than ``limit`` bytes, or not UTF-8."""
        entry = commit.tree.get(path)
        if not entry or entry.size > limit:
            return None
        try:
            return self.file(repo, path, entry).read_text("utf-8")
        except UnicodeDecodeError:
            return None

    # The client sends an LFS upload without its token, so the link itself carries the permission. The key
    # comes from the token: a link outlives a restart of the server.

    def sign(self, oid: str, size: int) -> str:
        """The query string that allows uploading this object for an hour."""
        until = int(time.time()) + LFS_LINK_LIFETIME
        return f"size={size}&until={until}&signature={self._signature(oid, size, until)}"

    def signed(self, oid: str, size: int, until: int, signature: str) -> bool:
        expected = self._signature(oid, size, until)
        # The signature holds size and time as well: neither can be changed in the link.
        return time.time() < until and hmac.compare_digest(expected, signature)

    def _signature(self, oid: str, size: int, until: int) -> str:
        return self._sign("lfs", f"{oid} {size} {until}")

    def sign_xet(self, number: int) -> str:
        """A signature of a number, such as the time until which a client may upload."""
        return self._sign("xet", str(number))

    def signed_xet(self, until: int, signature: str) -> bool:
        expected = self.sign_xet(until)
        return time.time() < until and hmac.compare_digest(expected.encode(), signature.encode())

    def _sign(self, purpose: str, content: str) -> str:
        return hmac.new(f"{purpose} {self.token}".encode(), content.encode(), hashlib.sha256).hexdigest()
