"""What a push would change in a repo: its files against those that the Hub has."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hubtools.errors import MissingStage, read_first_line
from hubtools.publishing.options import PushOptions
from hubtools.retries import call_with_retries

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

# What a repo is to hold, by path. A card is made when the one on the Hub is known, which a person may have edited.
Files = Mapping[str, bytes | Path | Callable[[str | None], bytes]]


@dataclass(frozen=True)
class Content:
    """What a repo is to hold, and how the commit that brings it there is called.

    Attributes:
        message: its title; ``description`` stands below it.
        is_ours: whether a path that the repo has and ``files`` lack is ours to delete.
    """

    files: Files
    message: str
    is_ours: Callable[[str], bool]
    description: str = ""


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
        raise ConnectionError(read_first_line(error)) from error
    except EntryNotFoundError:
        return None
    return Path(path).read_text(encoding="utf-8")


def compare_with_hub(api: HfApi, repo: str, kind: str, content: Content, options: PushOptions) -> Change:
    """Return what :func:`release` with the same arguments would change on the repo's main branch.

    Raises:
        MissingStage: a pull request is asked for, and there is no such repo.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    gate = (f"gated: {options.gated}",) if options.gated else ()

    def look() -> Change:
        info = api.repo_info(repo, repo_type=kind)
        head = str(info.sha)
        card = read_card(api, repo, kind, head)
        contents = render_contents(content.files, card)
        change = find_changes(api, repo, kind, contents, content.is_ours, head)
        # A kind of repo that has no such setting cannot be gated, and nothing is announced for it.
        settings = () if getattr(info, "gated", options.gated) == options.gated else gate
        return Change(change.add, change.replace, change.delete, settings, _diff_card(card, contents))

    try:
        return call_with_retries(look)
    except RepositoryNotFoundError:
        # On a dry run the repo is not created: all that it would hold is new.
        if options.create_pr:
            refuse_pull_request(repo, kind)
        contents = render_contents(content.files, None)
        added = tuple(FileChange(path, _count_bytes(content), None) for path, content in sorted(contents.items()))
        creation = f"create the {'private' if options.private else 'public'} {kind} repo {repo}"
        return Change(added, settings=(creation, *gate), card=_diff_card(None, contents))


def refuse_pull_request(repo: str, kind: str) -> NoReturn:
    """Raise :class:`MissingStage`: there is nothing to open a pull request on."""
    raise MissingStage(
        f"There is no {kind} {repo} to open a pull request on",
        expected="a repo that exists",
        found="none",
        next="push once without --create-pr (with --private, where nobody shall see it yet)",
    )


def render_contents(files: Files, card: str | None) -> dict[str, bytes | Path]:
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


def find_changes(
    api: HfApi, repo: str, kind: str, contents: Mapping[str, bytes | Path], is_ours: Callable[[str], bool], head: str
) -> Change:
    """Return the files that would change, against the commit ``head``."""
    on_hub = list_repo_files(api, repo, kind, head)
    add, replace = [], []
    for path, content in sorted(contents.items()):
        if path not in on_hub:
            add.append(FileChange(path, _count_bytes(content), None))
        elif not _is_same(content, on_hub[path]):
            replace.append(FileChange(path, _count_bytes(content), int(on_hub[path].size)))
    delete = [FileChange(p, None, int(on_hub[p].size)) for p in sorted(on_hub) if p not in contents and is_ours(p)]
    return Change(tuple(add), tuple(replace), tuple(delete))


def list_repo_files(api: HfApi, repo: str, kind: str, revision: str) -> dict[str, RepoFile]:
    """Return the files of a commit by their paths, without folders."""
    from huggingface_hub.hf_api import RepoFile

    entries = api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def hash_data_files(api: HfApi, repo: str, kind: str, revision: str) -> dict[str, str]:
    """Return the blob ids of what a commit holds besides card and changelog, by path."""
    # These two a person may edit without a new release.
    files = list_repo_files(api, repo, kind, revision)
    return {path: entry.blob_id for path, entry in files.items() if path not in ("README.md", "CHANGELOG.md")}


def _count_bytes(content: bytes | Path) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _is_same(content: bytes | Path, entry: RepoFile) -> bool:
    """Return whether a file on the Hub has this content, without downloading it."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    # A large file is known by the SHA-256 of its content, any other by the id that git gives it.
    if entry.lfs:
        return hashlib.sha256(data).hexdigest() == entry.lfs.sha256
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() == entry.blob_id
