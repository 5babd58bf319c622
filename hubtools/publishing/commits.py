"""One atomic commit a release: made again after a conflict or a dropped connection, skipped when nothing changed."""

from __future__ import annotations

import difflib
import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hubtools.errors import HubUnavailable, MissingStage
from hubtools.evaluation.previous import list_releases
from hubtools.publishing.options import PushOptions
from hubtools.records.release import Published

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.hf_api import RepoFile

T = TypeVar("T")

# What a repo is to hold, by path. A card is made when the one on the Hub is known, which a person may have edited.
Files = Mapping[str, bytes | Path | Callable[[str | None], bytes]]

# A conflict or a parent that is no longer the newest (409, 412), too many requests, and a server that has trouble.
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
        """All files that would change."""
        return (*self.add, *self.replace, *self.delete)


def is_connection_error(error: BaseException) -> bool:
    """Return whether the Hub did not answer."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    # By the module's name: versions of huggingface_hub use different HTTP clients, and not all of them are installed.
    client = type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "requests", "urllib3")
    # An error about a status (HTTPStatusError) is an answer.
    return client and "Status" not in type(error).__name__


def _is_worth_retrying(error: BaseException) -> bool:
    return _find_status(error) in RETRIED or is_connection_error(error)


def _find_status(error: BaseException | None) -> int | None:
    """Return the HTTP status of the answer that an error is about; None where it is about none."""
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status


def call_with_retries(call: Callable[[], T]) -> T:
    """Return ``call()``, made again after 409, 412, 429, 5xx or a connection that broke.

    Six tries in about half a minute. Where a 429 says how long to wait, it is waited for that long, five minutes at
    most.
    """
    from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

    # With jitter, so that two commands that met do not meet again at the next try.
    backoff = wait_exponential_jitter(initial=0.5, max=10)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.response.headers.get("Retry-After", "") if _find_status(error) == 429 else ""  # type: ignore[union-attr]
        # The header may hold a date instead of seconds: then our own pause has to do.
        return max(backoff(state), min(float(asked), 300.0) if asked.isdecimal() else 0.0)

    for attempt in Retrying(
        retry=retry_if_exception(_is_worth_retrying), stop=stop_after_attempt(6), reraise=True, wait=wait
    ):
        with attempt:
            return call()
    raise AssertionError("tenacity re-raises the last error")


def read_card(api: HfApi, repo: str, kind: str, revision: str) -> str | None:
    """Return the README at a commit, or None where there is none.

    Raises:
        ConnectionError: the Hub does not answer.
    """
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        path = api.hf_hub_download(repo, "README.md", repo_type=kind, revision=revision)
    except LocalEntryNotFoundError as error:
        # The client's name for a Hub that does not answer. Taken for "no card", it would cost a person's edits.
        raise ConnectionError(str(error).splitlines()[0]) from error
    except EntryNotFoundError:
        return None
    return Path(path).read_text(encoding="utf-8")


def compare_with_hub(
    api: HfApi, repo: str, kind: str, files: Files, is_ours: Callable[[str], bool], options: PushOptions
) -> Change:
    """Return what :func:`release` with the same arguments would change on the repo's main branch.

    Args:
        is_ours: whether a path that the repo has and ``files`` lack is ours to delete.

    Raises:
        MissingStage: a pull request is asked for, and there is no such repo.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    gate = (f"gated: {options.gated}",) if options.gated else ()

    def look() -> Change:
        info = api.repo_info(repo, repo_type=kind)
        head = str(info.sha)
        card = read_card(api, repo, kind, head)
        contents = _render_contents(files, card)
        change = _find_changes(api, repo, kind, contents, is_ours, head)
        # A kind of repo that has no such setting cannot be gated, and nothing is announced for it.
        settings = () if getattr(info, "gated", options.gated) == options.gated else gate
        return Change(change.add, change.replace, change.delete, settings, _diff_card(card, contents))

    try:
        return call_with_retries(look)
    except RepositoryNotFoundError:
        # On a dry run the repo is not created: all that it would hold is new.
        if options.create_pr:
            raise _refuse_pull_request(repo, kind) from None
        contents = _render_contents(files, None)
        added = tuple(FileChange(path, _count_bytes(content), None) for path, content in sorted(contents.items()))
        creation = f"create the {'private' if options.private else 'public'} {kind} repo {repo}"
        return Change(added, settings=(creation, *gate), card=_diff_card(None, contents))


def _refuse_pull_request(repo: str, kind: str) -> MissingStage:
    return MissingStage(
        f"There is no {kind} {repo} to open a pull request on",
        expected="a repo that exists",
        found="none",
        next="push once without --create-pr (with --private, where nobody shall see it yet)",
    )


def _render_contents(files: Files, card: str | None) -> dict[str, bytes | Path]:
    """Return what the repo is to hold, where ``card`` is the README it has."""
    return {path: content(card) if callable(content) else content for path, content in files.items()}


def _diff_card(card: str | None, contents: Mapping[str, bytes | Path]) -> str:
    """Return the unified diff from the README on the Hub to ours."""
    ours = contents.get("README.md")
    if not isinstance(ours, bytes):
        return ""
    before, after = ((card or "").splitlines(keepends=True), ours.decode().splitlines(keepends=True))
    lines = difflib.unified_diff(before, after, "README.md on the Hub" if card else "/dev/null", "README.md")
    # difflib says nothing of a last line without an end, and would run the next line into it.
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _find_changes(
    api: HfApi, repo: str, kind: str, contents: Mapping[str, bytes | Path], is_ours: Callable[[str], bool], head: str
) -> Change:
    """Return the files that would change, against the commit ``head``."""
    on_hub = _list_repo_files(api, repo, kind, head)
    add, replace = [], []
    for path, content in sorted(contents.items()):
        if path not in on_hub:
            add.append(FileChange(path, _count_bytes(content), None))
        elif not _is_same(content, on_hub[path]):
            replace.append(FileChange(path, _count_bytes(content), int(on_hub[path].size)))
    delete = [FileChange(p, None, int(on_hub[p].size)) for p in sorted(on_hub) if p not in contents and is_ours(p)]
    return Change(tuple(add), tuple(replace), tuple(delete))


def _list_repo_files(api: HfApi, repo: str, kind: str, revision: str) -> dict[str, RepoFile]:
    """Return the files of a commit by their paths, without folders."""
    from huggingface_hub.hf_api import RepoFile

    entries = api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def _hash_data_files(api: HfApi, repo: str, kind: str, revision: str) -> dict[str, str]:
    """Return the blob ids of what a commit holds besides its card, by path."""
    files = _list_repo_files(api, repo, kind, revision)
    return {path: entry.blob_id for path, entry in files.items() if path != "README.md"}


def _count_bytes(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _is_same(content: bytes | Path, entry: RepoFile) -> bool:
    """Return whether a file on the Hub has this content, without downloading it."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    # A large file is known by the SHA-256 of its content, any other by the id that git gives it.
    if entry.lfs:
        return hashlib.sha256(data).hexdigest() == entry.lfs.sha256
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == entry.blob_id


def release(
    api: HfApi,
    repo: str,
    kind: str,
    files: Files,
    *,
    message: str,
    is_ours: Callable[[str], bool],
    options: PushOptions,
    space_sdk: str | None = None,
) -> Published:
    """Bring ``repo`` to ``files`` in one commit and tag it ``v1``, ``v2``…; do nothing where nothing differs.

    The commit names its parent, so that a change by somebody else in between is never overwritten unseen: the
    difference is then taken again.

    Args:
        kind: "model", "dataset" or "space".
        is_ours: whether a path that the repo has and ``files`` lack is ours to delete.
        options: a pull request is opened on a repo that is there; one that is open and says the same will do. The gate
            is set before anything is uploaded.
        space_sdk: what a new Space runs.

    Raises:
        MissingStage: a pull request is asked for, and there is no such repo.
    """
    if options.create_pr and not call_with_retries(lambda: api.repo_exists(repo, repo_type=kind)):
        raise _refuse_pull_request(repo, kind)
    # None leaves a repo that exists as it is: False would ask for one that everybody may read.
    private = options.private or None
    url = str(
        call_with_retries(
            lambda: api.create_repo(repo, repo_type=kind, private=private, exist_ok=True, space_sdk=space_sdk)
        )
    )
    gated = options.gated
    if gated and getattr(call_with_retries(lambda: api.repo_info(repo, repo_type=kind)), "gated", None) != gated:
        call_with_retries(lambda: api.update_repo_settings(repo, gated=gated, repo_type=kind))

    def commit() -> tuple[str, bool, str]:
        """Return the commit that holds the files, whether it was made now, and where it is."""
        head = str(api.repo_info(repo, repo_type=kind).sha)
        contents = _render_contents(files, read_card(api, repo, kind, head))
        change = _find_changes(api, repo, kind, contents, is_ours, head)
        if not change:
            return head, False, url
        if options.create_pr and (same := _find_open_request(api, repo, kind, contents, is_ours, message)):
            return same[0], False, same[1]
        with warnings.catch_warnings():
            # predictions.parquet belongs beside the model that made it.
            warnings.filterwarnings("ignore", message=".*commit a data file.*")
            info = api.create_commit(
                repo,
                _make_operations(change, contents),
                repo_type=kind,
                commit_message=message,
                parent_commit=head,
                create_pr=options.create_pr,
            )
        return str(info.oid), True, str(info.pr_url or url)

    revision, changed, url = call_with_retries(commit)
    tag = ""
    # A pull request is no release yet: it gets its tag with the first push after it is merged.
    if not options.create_pr:
        revision, tag = call_with_retries(lambda: _tag_release(api, repo, kind, revision, message, changed))
    info = call_with_retries(lambda: api.repo_info(repo, repo_type=kind))
    access = "private" if info.private else "gated" if getattr(info, "gated", False) else "public"
    return Published(repo=repo, kind=kind, revision=revision, tag=tag, changed=changed, url=url, access=access)


def _make_operations(
    change: Change, contents: Mapping[str, bytes | Path]
) -> list[CommitOperationAdd | CommitOperationDelete]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    return [
        *(CommitOperationAdd(file.path, contents[file.path]) for file in (*change.add, *change.replace)),
        *(CommitOperationDelete(file.path) for file in change.delete),
    ]


def _find_open_request(
    api: HfApi,
    repo: str,
    kind: str,
    contents: Mapping[str, bytes | Path],
    is_ours: Callable[[str], bool],
    message: str,
) -> tuple[str, str] | None:
    """Return commit and address of an open pull request that brings the repo to ``contents``; None for none."""
    for request in api.get_repo_discussions(
        repo, repo_type=kind, discussion_type="pull_request", discussion_status="open"
    ):
        # The title is our message: a person's own request is not taken for ours.
        if request.title != message or request.status != "open":
            continue
        head = str(api.repo_info(repo, repo_type=kind, revision=request.git_reference).sha)
        if not _find_changes(api, repo, kind, contents, is_ours, head):
            return head, str(request.url)
    return None


def _tag_release(api: HfApi, repo: str, kind: str, revision: str, message: str, changed: bool) -> tuple[str, str]:
    """Return the release that ``revision`` holds, and its tag: the one it has, or the next number.

    Where the last commits are a person's, who changed the card alone, the release is the one below them; its tag may
    still be missing, where an earlier push was killed before it.

    Args:
        changed: ``revision`` was made by this push.
    """
    tags = list_releases(api.list_repo_refs(repo, repo_type=kind).tags)
    if not changed:
        commits = api.list_repo_commits(repo, repo_type=kind, revision=revision)
        tagged = {ref.target_commit for ref in tags}
        # The newest commit that has a tag, or our message and no tag yet.
        below = next((c.commit_id for c in commits if c.commit_id in tagged or c.title.startswith(message)), revision)
        if below != revision and _hash_data_files(api, repo, kind, below) == _hash_data_files(
            api, repo, kind, revision
        ):
            revision = below
    for ref in tags:
        if ref.target_commit == revision:
            return revision, str(ref.name)
    # The newest tag comes first.
    name = f"v{int(tags[0].name[1:]) + 1 if tags else 1}"
    api.create_tag(repo, tag=name, revision=revision, repo_type=kind)
    return revision, name


def report_no_answer(error: BaseException, endpoint: str) -> HubUnavailable:
    """Return the error, in our words, for a Hub that does not answer."""
    return HubUnavailable(
        f"The Hub at {endpoint} does not answer",
        expected="an answer",
        found=str(error).splitlines()[0] if str(error) else type(error).__name__,
        next="run the same command again: what is done is kept, and it goes on from there",
    )
