"""One atomic commit a release: made again after a conflict or a dropped connection, skipped when nothing changed."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubtools.errors import HubUnavailable

# What a repo is to hold, by path. A card is made when the one on the Hub is known, which a person may have edited.
Files = Mapping[str, bytes | Path | Callable[[str | None], bytes]]

RETRIED = {409, 412, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Change:
    """What a push would do to a repo: paths to add or replace, and to delete."""

    write: tuple[str, ...]
    delete: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.write or self.delete)


@dataclass(frozen=True)
class Release:
    """Where a release ended: ``revision`` is the commit, ``tag`` its name, ``changed`` whether it was made now.

    ``url`` is the repo's, or that of the pull request.
    """

    repo: str
    kind: str
    revision: str
    tag: str
    changed: bool
    url: str


def is_connection_error(error: BaseException) -> bool:
    """Whether the Hub did not answer: the client library of huggingface_hub differs between its versions."""
    return isinstance(error, (ConnectionError, TimeoutError)) or (
        type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "requests", "urllib3")
        and "Status" not in type(error).__name__
    )


def _worth_retrying(error: BaseException) -> bool:
    return _status(error) in RETRIED or is_connection_error(error)


def _status(error: BaseException | None) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def retrying(call: Callable[[], Any]) -> Any:
    """``call()``, again after 409, 412, 429, 5xx or a connection that broke; six tries in about half a minute.

    Where a 429 says how long to wait, it is waited for that long, five minutes at most.
    """
    from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

    backoff = wait_exponential_jitter(initial=0.5, max=10)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.response.headers.get("Retry-After", "") if _status(error) == 429 else ""  # type: ignore[union-attr]
        return max(backoff(state), min(float(asked), 300.0) if asked.isdecimal() else 0.0)

    for attempt in Retrying(
        retry=retry_if_exception(_worth_retrying), stop=stop_after_attempt(6), reraise=True, wait=wait
    ):
        with attempt:
            return call()
    raise AssertionError("tenacity re-raises the last error")


def read_card(api: Any, repo: str, kind: str, revision: str) -> str | None:
    """The README at a commit, or None."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        path = api.hf_hub_download(repo, "README.md", repo_type=kind, revision=revision)
    except LocalEntryNotFoundError as error:
        # The client's name for a Hub that does not answer. Taken for "no card", it would cost a person's edits.
        raise ConnectionError(str(error).splitlines()[0]) from error
    except EntryNotFoundError:
        return None
    return Path(path).read_text(encoding="utf-8")


def difference(api: Any, repo: str, kind: str, files: Files, owned: Callable[[str], bool]) -> Change:
    """What differs between ``files`` and the repo's main branch.

    Args:
        owned: whether a path that the repo has and ``files`` lack is ours to delete.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    def look() -> Change:
        head = api.repo_info(repo, repo_type=kind).sha
        return _change(api, repo, kind, _contents(api, repo, kind, files, head), owned, head)

    try:
        change: Change = retrying(look)
    except RepositoryNotFoundError:
        return Change(tuple(sorted(files)), ())
    return change


def _contents(api: Any, repo: str, kind: str, files: Files, head: str) -> dict[str, bytes | Path]:
    return {
        path: content(read_card(api, repo, kind, head)) if callable(content) else content
        for path, content in files.items()
    }


def _change(
    api: Any, repo: str, kind: str, contents: Mapping[str, bytes | Path], owned: Callable[[str], bool], head: str
) -> Change:
    entries = api.list_repo_tree(repo, recursive=True, revision=head, repo_type=kind)
    there = {e.path: (e.lfs.sha256 if e.lfs else None, e.blob_id) for e in entries if hasattr(e, "blob_id")}
    write = [path for path, content in contents.items() if path not in there or not _same(content, *there[path])]
    return Change(tuple(sorted(write)), tuple(sorted(p for p in there if p not in contents and owned(p))))


def _same(content: bytes | Path, sha256: str | None, blob: str) -> bool:
    data = content if isinstance(content, bytes) else content.read_bytes()
    if sha256:
        return hashlib.sha256(data).hexdigest() == sha256
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == blob


def release(
    api: Any,
    repo: str,
    kind: str,
    files: Files,
    *,
    message: str,
    owned: Callable[[str], bool],
    private: bool = False,
    create_pr: bool = False,
    space_sdk: str | None = None,
) -> Release:
    """Bring ``repo`` to ``files`` in one commit and tag it ``v1``, ``v2``…; do nothing where nothing differs.

    The commit names its parent, so that a change by somebody else in between is never overwritten unseen: the
    difference is then taken again.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    url = str(retrying(lambda: api.create_repo(
        repo, repo_type=kind, private=private or None, exist_ok=True, space_sdk=space_sdk)))  # fmt: skip

    def commit() -> tuple[str, bool, str]:
        head = str(api.repo_info(repo, repo_type=kind).sha)
        contents = _contents(api, repo, kind, files, head)
        change = _change(api, repo, kind, contents, owned, head)
        if not change:
            return head, False, url
        operations: list[Any] = [CommitOperationAdd(path, contents[path]) for path in change.write]
        operations += [CommitOperationDelete(path) for path in change.delete]
        with warnings.catch_warnings():
            # predictions.parquet belongs beside the model that made it.
            warnings.filterwarnings("ignore", message=".*commit a data file.*")
            info = api.create_commit(
                repo, operations, repo_type=kind, commit_message=message, parent_commit=head, create_pr=create_pr
            )
        return str(info.oid), True, str(info.pr_url or url)

    revision, changed, url = retrying(commit)
    tag = "" if create_pr else str(retrying(lambda: _tagged(api, repo, kind, revision)))
    return Release(repo, kind, revision, tag, changed, url)


def _tagged(api: Any, repo: str, kind: str, revision: str) -> str:
    """The tag of ``revision``: the one it has, or the next number."""
    tags = {str(ref.name): ref.target_commit for ref in api.list_repo_refs(repo, repo_type=kind).tags}
    numbers = {int(name[1:]): name for name in tags if name[:1] == "v" and name[1:].isdecimal()}
    for number in sorted(numbers, reverse=True):
        if tags[numbers[number]] == revision:
            return numbers[number]
    name = f"v{max(numbers, default=0) + 1}"
    api.create_tag(repo, tag=name, revision=revision, repo_type=kind)
    return name


def unreachable(error: BaseException, endpoint: str) -> HubUnavailable:
    return HubUnavailable(
        f"The Hub at {endpoint} does not answer",
        expected="an answer",
        found=str(error).splitlines()[0] if str(error) else type(error).__name__,
        next="run the same command again: what is done is kept, and it goes on from there",
    )
