"""One atomic commit a release: made again after a conflict or a dropped connection, skipped when nothing changed."""

from __future__ import annotations

import difflib
import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hubtools.errors import HubUnavailable, MissingStage
from hubtools.evaluation.previous import releases
from hubtools.publishing.options import PushOptions

# What a repo is to hold, by path. A card is made when the one on the Hub is known, which a person may have edited.
Files = Mapping[str, bytes | Path | Callable[[str | None], bytes]]

RETRIED = {409, 412, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class FileChange:
    """A file of a repo that a push would change: its size in bytes after and before, None where there is none."""

    path: str
    bytes: int | None
    before: int | None


@dataclass(frozen=True)
class Change:
    """What a push would do to a repo.

    Attributes:
        settings: what it would set, such as ``create the repo`` or ``gated: auto``.
        card: the unified diff of its README.
    """

    add: tuple[FileChange, ...] = ()
    replace: tuple[FileChange, ...] = ()
    delete: tuple[FileChange, ...] = ()
    settings: tuple[str, ...] = ()
    card: str = field(default="", compare=False)

    def __bool__(self) -> bool:
        return bool(self.files or self.settings)

    @property
    def files(self) -> tuple[FileChange, ...]:
        return (*self.add, *self.replace, *self.delete)


@dataclass(frozen=True)
class Release:
    """Where a release ended: ``revision`` is the commit, ``tag`` its name, ``changed`` whether it was made now.

    ``url`` is the repo's, or that of the pull request; ``access`` says who may read: "public", "private" or "gated".
    """

    repo: str
    kind: str
    revision: str
    tag: str
    changed: bool
    url: str
    access: str


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


def difference(
    api: Any, repo: str, kind: str, files: Files, owned: Callable[[str], bool], options: PushOptions
) -> Change:
    """What differs between ``files`` and the repo's main branch, and what ``release`` with the same flags would do.

    Args:
        owned: whether a path that the repo has and ``files`` lack is ours to delete.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    gate = (f"gated: {options.gated}",) if options.gated else ()

    def look() -> Change:
        info = api.repo_info(repo, repo_type=kind)
        card = read_card(api, repo, kind, info.sha)
        contents = _contents(files, card)
        change = _change(api, repo, kind, contents, owned, info.sha)
        settings = () if getattr(info, "gated", options.gated) == options.gated else gate
        return Change(change.add, change.replace, change.delete, settings, _diff(card, contents))

    try:
        change: Change = retrying(look)
    except RepositoryNotFoundError:
        if options.create_pr:
            raise _nothing_to_review(repo, kind) from None
        contents = _contents(files, None)
        added = tuple(FileChange(path, _size(content), None) for path, content in sorted(contents.items()))
        new = f"create the {'private' if options.private else 'public'} {kind} repo {repo}"
        return Change(added, settings=(new, *gate), card=_diff(None, contents))
    return change


def _nothing_to_review(repo: str, kind: str) -> MissingStage:
    return MissingStage(
        f"There is no {kind} {repo} to open a pull request on", expected="a repo that exists", found="none",
        next="push once without --create-pr (with --private, where nobody shall see it yet)",
    )  # fmt: skip


def _contents(files: Files, card: str | None) -> dict[str, bytes | Path]:
    """What the repo is to hold, where ``card`` is the README it has."""
    return {path: content(card) if callable(content) else content for path, content in files.items()}


def _diff(card: str | None, contents: Mapping[str, bytes | Path]) -> str:
    ours = contents.get("README.md")
    if not isinstance(ours, bytes):
        return ""
    before, after = ((card or "").splitlines(keepends=True), ours.decode().splitlines(keepends=True))
    lines = difflib.unified_diff(before, after, "README.md on the Hub" if card else "/dev/null", "README.md")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _change(
    api: Any, repo: str, kind: str, contents: Mapping[str, bytes | Path], owned: Callable[[str], bool], head: str
) -> Change:
    there = _tree(api, repo, kind, head)
    add, replace = [], []
    for path, content in sorted(contents.items()):
        if path not in there:
            add.append(FileChange(path, _size(content), None))
        elif not _same(content, there[path]):
            replace.append(FileChange(path, _size(content), int(there[path].size)))
    delete = [FileChange(p, None, int(there[p].size)) for p in sorted(there) if p not in contents and owned(p)]
    return Change(tuple(add), tuple(replace), tuple(delete))


def _tree(api: Any, repo: str, kind: str, revision: str) -> dict[str, Any]:
    """The files of a commit, without folders."""
    entries = api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind)
    return {entry.path: entry for entry in entries if hasattr(entry, "blob_id")}


def _data(api: Any, repo: str, kind: str, revision: str) -> dict[str, str]:
    """What a commit holds besides its card."""
    return {path: entry.blob_id for path, entry in _tree(api, repo, kind, revision).items() if path != "README.md"}


def _size(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _same(content: bytes | Path, entry: Any) -> bool:
    data = content if isinstance(content, bytes) else content.read_bytes()
    if entry.lfs:
        return bool(hashlib.sha256(data).hexdigest() == entry.lfs.sha256)
    return bool(hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == entry.blob_id)


def release(
    api: Any,
    repo: str,
    kind: str,
    files: Files,
    *,
    message: str,
    owned: Callable[[str], bool],
    options: PushOptions,
    space_sdk: str | None = None,
) -> Release:
    """Bring ``repo`` to ``files`` in one commit and tag it ``v1``, ``v2``…; do nothing where nothing differs.

    The commit names its parent, so that a change by somebody else in between is never overwritten unseen: the
    difference is then taken again.

    Args:
        owned: whether a path that the repo has and ``files`` lack is ours to delete.
        options: a pull request is opened on a repo that is there; one that is open and says the same will do. The gate
            is set before anything is uploaded.

    Raises:
        MissingStage: a pull request is asked for, and there is no such repo.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    if options.create_pr and not retrying(lambda: api.repo_exists(repo, repo_type=kind)):
        raise _nothing_to_review(repo, kind)
    url = str(retrying(lambda: api.create_repo(
        repo, repo_type=kind, private=options.private or None, exist_ok=True, space_sdk=space_sdk)))  # fmt: skip
    if options.gated and retrying(lambda: api.repo_info(repo, repo_type=kind)).gated != options.gated:
        retrying(lambda: api.update_repo_settings(repo, gated=options.gated, repo_type=kind))

    def commit() -> tuple[str, bool, str]:
        head = str(api.repo_info(repo, repo_type=kind).sha)
        contents = _contents(files, read_card(api, repo, kind, head))
        change = _change(api, repo, kind, contents, owned, head)
        if not change:
            return head, False, url
        if options.create_pr and (open_one := _open_request(api, repo, kind, contents, owned, message)):
            return open_one[0], False, open_one[1]
        paths = [file.path for file in (*change.add, *change.replace)]
        operations: list[Any] = [CommitOperationAdd(path, contents[path]) for path in paths]
        operations += [CommitOperationDelete(file.path) for file in change.delete]
        with warnings.catch_warnings():
            # predictions.parquet belongs beside the model that made it.
            warnings.filterwarnings("ignore", message=".*commit a data file.*")
            info = api.create_commit(
                repo,
                operations,
                repo_type=kind,
                commit_message=message,
                parent_commit=head,
                create_pr=options.create_pr,
            )
        return str(info.oid), True, str(info.pr_url or url)

    revision, changed, url = retrying(commit)
    tag = ""
    if not options.create_pr:
        revision, tag = retrying(lambda: _tagged(api, repo, kind, revision, message, changed))
    info = retrying(lambda: api.repo_info(repo, repo_type=kind))
    access = "private" if info.private else "gated" if getattr(info, "gated", False) else "public"
    return Release(repo, kind, revision, tag, changed, url, access)


def _open_request(
    api: Any, repo: str, kind: str, contents: Mapping[str, bytes | Path], owned: Callable[[str], bool], message: str
) -> tuple[str, str] | None:
    """Commit and address of an open pull request that brings the repo to ``contents``."""
    for request in api.get_repo_discussions(
        repo, repo_type=kind, discussion_type="pull_request", discussion_status="open"
    ):
        if request.title != message or request.status != "open":
            continue
        head = str(api.repo_info(repo, repo_type=kind, revision=request.git_reference).sha)
        if not _change(api, repo, kind, contents, owned, head):
            return head, str(request.url)
    return None


def _tagged(api: Any, repo: str, kind: str, revision: str, message: str, ours: bool) -> tuple[str, str]:
    """The release that ``revision`` holds, and its tag: the one it has, or the next number.

    Where the last commits are a person's, who changed the card alone, the release is the one below them; its tag may
    still be missing, where an earlier push was killed before it.
    """
    known = releases(api.list_repo_refs(repo, repo_type=kind).tags)
    if not ours:
        commits = api.list_repo_commits(repo, repo_type=kind, revision=revision)
        tagged = {ref.target_commit for ref in known}
        found = next((c.commit_id for c in commits if c.commit_id in tagged or c.title.startswith(message)), revision)
        if found != revision and _data(api, repo, kind, found) == _data(api, repo, kind, revision):
            revision = found
    for ref in known:
        if ref.target_commit == revision:
            return revision, str(ref.name)
    name = f"v{int(known[0].name[1:]) + 1 if known else 1}"
    api.create_tag(repo, tag=name, revision=revision, repo_type=kind)
    return revision, name


def unreachable(error: BaseException, endpoint: str) -> HubUnavailable:
    return HubUnavailable(
        f"The Hub at {endpoint} does not answer",
        expected="an answer",
        found=str(error).splitlines()[0] if str(error) else type(error).__name__,
        next="run the same command again: what is done is kept, and it goes on from there",
    )
