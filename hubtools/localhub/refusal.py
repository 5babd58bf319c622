"""A request the Hub turns down, in the form its clients understand."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """Becomes a JSON answer ``{"error": message, **extra}`` with this status.

    ``code`` goes into ``X-Error-Code``: over plain http the clients do not guess RepositoryNotFound from
    a 401, so the server must say RepoNotFound, RevisionNotFound, EntryNotFound or GatedRepo itself.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers, self.extra = headers or {}, extra


def repo_not_found(kind: str, repo_id: str, status: int = 404) -> Refusal:
    return Refusal(status, f"Repository not found: {kind}/{repo_id}", "RepoNotFound")


def revision_not_found(revision: str) -> Refusal:
    return Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def entry_not_found(path: str, commit_id: str) -> Refusal:
    # The clients cache "this file does not exist at this commit", and take the commit from this header.
    return Refusal(404, f"Entry not found: {path}", "EntryNotFound", {"X-Repo-Commit": commit_id})
