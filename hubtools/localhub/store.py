"""The repositories the Hub owns, as files under its data folder.

    blobs/sha1/ab/abcd...            regular files, named by their git blob id
    blobs/sha256/ab/abcd...          LFS objects, named by their sha256
    xorbs/abcd...                    what clients with hf-xet sent, for two days: see xet.py
    repos/<kind>/<owner>/<name>/
        repo.json                    settings, refs, discussions: everything that changes
        commits/<id>.json            one file a commit, never changed
    tmp/                             what is being written

Every write goes to ``tmp/`` and is moved into place, and ``repo.json`` is moved last: a kill at any moment
leaves at worst an unreferenced blob or commit. One process owns a data folder (``service.serve`` holds a
lock on it), so the locks here are for its threads.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from hubtools.errors import shorten
from hubtools.localhub import lfs
from hubtools.localhub.disk import make_folder, rename_durably, replace_durably, write_json
from hubtools.localhub.names import check_path, check_repo_id
from hubtools.localhub.refusal import Refusal, entry_not_found, repo_not_found, revision_not_found

KINDS = ("models", "datasets", "spaces")

T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """A file in a tree. ``oid`` is the git blob id, of the pointer where ``sha256`` marks an LFS object."""

    size: int
    oid: str
    sha256: str | None = None

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid

    @classmethod
    def of_lfs(cls, sha256: str, size: int) -> Entry:
        return cls(size, lfs.git_oid(lfs.pointer(sha256, size)), sha256)


@dataclass(frozen=True)
class Commit:
    id: str
    parent: str | None
    title: str
    message: str
    date: str
    author: str
    tree: Mapping[str, Entry]

    def folder(self, path: str) -> bool:
        """Whether ``path`` is a folder here; the root always is."""
        return not path or any(name.startswith(path + "/") for name in self.tree)


@dataclass(frozen=True)
class CommitMessage:
    """What a new commit says: a title of one line, a text, and who made it."""

    title: str
    text: str
    author: str


@dataclass
class Repo:
    """What ``repo.json`` holds. ``space`` and ``sdk`` are for Spaces; secrets are kept by name only."""

    kind: str
    id: str
    private: bool = False
    gated: str | bool = False
    created: str = ""
    sdk: str | None = None
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    pulls: dict[str, str] = field(default_factory=dict)
    discussions: list[dict[str, Any]] = field(default_factory=list)
    space: dict[str, Any] = field(default_factory=dict)
    read_only: bool = False

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    @property
    def prefix(self) -> str:
        """The repo's place in a URL, such as ``datasets/me/corpus``."""
        return self.id if self.kind == "models" else f"{self.kind}/{self.id}"


@dataclass(frozen=True)
class Add:
    path: str
    entry: Entry


@dataclass(frozen=True)
class Delete:
    path: str
    folder: bool


def format_time(time: datetime) -> str:
    """A time as the Hub writes it, such as ``2026-01-31T12:00:00.000Z``: the clients read no other form."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> str:
    return format_time(datetime.now(UTC))


class Store:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.tmp = root / "tmp"
        # One lock for names and one for each repo: pushes to two repos do not wait for each other.
        self._names = threading.RLock()  # creating, moving and deleting
        self._locks: dict[tuple[str, str], threading.RLock] = {}
        self.tmp.mkdir(parents=True, exist_ok=True)
        (root / "repos").mkdir(exist_ok=True)

    # Repos

    def _lock(self, kind: str, repo_id: str) -> threading.RLock:
        return self._locks.setdefault((kind, repo_id), threading.RLock())

    def _folder(self, kind: str, repo_id: str) -> Path:
        if kind not in KINDS:
            raise Refusal(404, f"Unknown kind of repo: {kind}")
        check_repo_id(repo_id)
        return self.root / "repos" / kind / repo_id

    def get(self, kind: str, repo_id: str) -> Repo | None:
        try:
            folder = self._folder(kind, repo_id)
            content = json.loads((folder / "repo.json").read_text(encoding="utf-8"))
            repo = Repo(**{**content, "id": repo_id})  # its place says which repo it is: see move
            for name in ("branches", "tags", "pulls", "space", "discussions"):
                if type(getattr(repo, name)) is not type(getattr(Repo(kind, repo_id), name)):
                    raise TypeError(f"{name} is no {'list' if name == 'discussions' else 'object'}")
            return repo
        except (Refusal, FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError) as error:  # cut off, or of another version: the others are served
            logging.error("%s %s is left out: its repo.json is damaged: %s", kind, repo_id, shorten(error))
            return None

    def all(self, kind: str) -> Iterator[Repo]:
        for path in sorted((self.root / "repos" / kind).glob("*/*/repo.json")):
            repo = self.get(kind, "/".join(path.parts[-3:-1]))
            if repo:
                yield repo

    def create(self, repo: Repo, files: Mapping[str, bytes], author: str) -> Repo:
        """Make the repo with an initial commit on ``main``. A ``Refusal`` 409 where it exists."""
        folder = self._folder(repo.kind, repo.id)
        with self._names:
            if (folder / "repo.json").exists():
                raise Refusal(409, f"You already created this {repo.kind.removesuffix('s')} repo: {repo.id}")
            repo.created = now()
            # Blobs first, then the commit, then repo.json: what is named exists already.
            tree = {path: self.add_blob(content) for path, content in files.items()}
            commit = self._write_commit(folder, None, CommitMessage("initial commit", "", author), tree)
            repo.branches["main"] = commit.id
            self._save(repo)
        return repo

    def delete(self, kind: str, repo_id: str) -> None:
        with self._names, self._lock(kind, repo_id):
            if not self.get(kind, repo_id):
                raise repo_not_found(kind, repo_id)
            # One rename, so that a kill leaves the whole repo or none of it; removing many files takes long.
            gone = self.tmp / f"deleted-{uuid.uuid4().hex}"
            rename_durably(self._folder(kind, repo_id), gone)
        shutil.rmtree(gone, ignore_errors=True)

    def move(self, kind: str, old: str, new: str) -> None:
        target = self._folder(kind, new)
        with self._names, self._lock(kind, old), self._lock(kind, new):
            repo = self.get(kind, old)
            if not repo:
                raise repo_not_found(kind, old)
            if self.get(kind, new):
                raise Refusal(409, f"A repo with this name already exists: {new}")
            # The rename comes before the record: a kill in between leaves the repo under its new name with its old id,
            # which the next read corrects by its place.
            rename_durably(self._folder(kind, old), target)
            repo.id = new
            self._save(repo)

    def update(self, kind: str, repo_id: str, change: Callable[[Repo], T]) -> T:
        """Read, change and save a repo while no other thread does. None of it where ``change`` raises."""
        with self._lock(kind, repo_id):
            repo = self.get(kind, repo_id)
            if not repo:
                raise repo_not_found(kind, repo_id)
            # Where it raises, nothing was written: the change was made to a copy in memory.
            result = change(repo)
            self._save(repo)
            return result

    def _save(self, repo: Repo) -> None:
        write_json(self._folder(repo.kind, repo.id) / "repo.json", asdict(repo), self.tmp)

    # Commits

    def resolve(self, repo: Repo, revision: str) -> str:
        """The commit id of a branch, tag, pull request ref, full id, or at least 7 digits of one."""
        # "HEAD" is what the JavaScript client asks for where it is told no revision.
        name = "main" if revision == "HEAD" else revision.removeprefix("refs/heads/").removeprefix("refs/tags/")
        pull = repo.pulls.get(revision.removeprefix("refs/pr/")) if revision.startswith("refs/pr/") else None
        found = pull or repo.branches.get(name) or repo.tags.get(name)
        if found:
            return found
        commits = self._folder(repo.kind, repo.id) / "commits"
        # Git takes short ids as well, as long as one commit alone begins so.
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            matches = [path.stem for path in commits.glob(f"{revision}*.json")]
            if len(matches) == 1:
                return matches[0]
        raise revision_not_found(revision)

    def commit(self, repo: Repo, commit_id: str) -> Commit:
        return _read_commit(str(self._folder(repo.kind, repo.id) / "commits" / f"{commit_id}.json"))

    def history(self, repo: Repo, commit_id: str) -> Iterator[Commit]:
        """From this commit back to the first."""
        step: str | None = commit_id
        while step:
            commit = self.commit(repo, step)
            yield commit
            step = commit.parent

    def _write_commit(
        self, folder: Path, parent: str | None, message: CommitMessage, tree: Mapping[str, Entry]
    ) -> Commit:
        body = {
            "parent": parent,
            "title": message.title,
            "message": message.text,
            "date": now(),
            "author": message.author,
            "tree": {path: [e.size, e.oid, e.sha256] for path, e in sorted(tree.items())},
        }
        # The clients take exactly 40 hex digits for a commit id, and skip a round trip then.
        digest = hashlib.sha1(json.dumps(body).encode(), usedforsecurity=False).hexdigest()
        write_json(folder / "commits" / f"{digest}.json", body, self.tmp)
        return _read_commit(str(folder / "commits" / f"{digest}.json"))

    def add_commit(
        self,
        kind: str,
        repo_id: str,
        revision: str,
        edits: Iterable[Add | Delete],
        message: CommitMessage,
        *,
        parent: str | None = None,
        pull: Callable[[Repo, str, str], str] | None = None,
    ) -> Commit:
        """Apply ``edits`` in order on top of ``revision`` and move it there.

        Where they change nothing, the head is returned and no commit is made. ``parent`` is the optimistic
        lock: another head is a ``Refusal`` 412. ``pull(repo, base id, new id)`` records a pull request
        and gives its number; then ``refs/pr/<number>`` is set instead and ``revision`` stays where it is.
        """

        def change(repo: Repo) -> Commit:
            name = revision.removeprefix("refs/heads/")
            number = revision.removeprefix("refs/pr/")
            if name not in repo.branches and not (revision.startswith("refs/pr/") and number in repo.pulls):
                raise revision_not_found(revision)
            head = self.commit(repo, self.resolve(repo, revision))
            # The client saw another head than there is now.
            if parent and not (len(parent) >= 7 and head.id.startswith(parent)):
                if not pull:
                    raise Refusal(412, "A commit has happened since. Please refresh and try again.")
                head = self.commit(repo, self.resolve(repo, parent))
            tree = apply_edits(head, edits)
            new = head
            # A commit without a change would make every second push a new revision.
            if tree != head.tree:
                folder = self._folder(kind, repo_id)
                new = self._write_commit(folder, head.id, message, tree)
            # A pull request leaves its branch where it is.
            if pull:
                repo.pulls[pull(repo, head.id, new.id)] = new.id
            elif name in repo.branches:
                repo.branches[name] = new.id
            else:
                repo.pulls[number] = new.id
            return new

        return self.update(kind, repo_id, change)

    def squash(self, kind: str, repo_id: str, branch: str, title: str, author: str) -> Commit:
        """Replace a branch's history by one commit with the same files."""

        def change(repo: Repo) -> Commit:
            if branch not in repo.branches:
                raise revision_not_found(branch)
            head = self.commit(repo, repo.branches[branch])
            message = CommitMessage(title, "", author)
            new = self._write_commit(self._folder(kind, repo_id), None, message, head.tree)
            repo.branches[branch] = new.id
            return new

        return self.update(kind, repo_id, change)

    # Blobs

    def blob(self, entry: Entry) -> Path:
        """Where the content of this file lies."""
        folder = "sha256" if entry.sha256 else "sha1"
        return self.root / "blobs" / folder / entry.etag[:2] / entry.etag

    def lfs_size(self, sha256: str) -> int | None:
        """Bytes of an LFS object that is here, else None. Asking keeps it from the next sweep."""
        path = self.blob(Entry(0, "", sha256))
        try:
            os.utime(path)
            return path.stat().st_size
        except FileNotFoundError:
            return None

    def xorb(self, name: str) -> Path:
        """Where the chunks lie that a client with hf-xet sent under this name."""
        return self.root / "xorbs" / name

    def add_blob(self, content: bytes) -> Entry:
        """Store a regular file."""
        entry = Entry(len(content), lfs.git_oid(content))
        path = self.blob(entry)
        # Named again: the sweep counts the day from now.
        if path.exists():
            os.utime(path)
        else:
            with self.scratch() as (part, file):
                file.write(content)
                file.close()
                self.move_in(part, path)
        return entry

    @contextmanager
    def scratch(self) -> Iterator[tuple[Path, BinaryIO]]:
        """A file under ``tmp/`` to write to, removed at the end unless it was kept."""
        part = self.tmp / uuid.uuid4().hex
        try:
            with open(part, "wb") as file:
                yield part, file
        finally:
            part.unlink(missing_ok=True)

    def move_in(self, part: Path, path: Path) -> None:
        make_folder(path.parent)
        replace_durably(part, path)


def apply_edits(head: Commit, edits: Iterable[Add | Delete]) -> dict[str, Entry]:
    """The tree after ``edits``, in their order: a folder may be deleted and filled again in one commit."""
    tree = dict(head.tree)
    for edit in edits:
        check_path(edit.path)
        if isinstance(edit, Add):
            tree[edit.path] = edit.entry
        elif edit.folder:
            inside = [path for path in tree if path.startswith(edit.path + "/")]
            if not inside:
                raise entry_not_found(edit.path, head.id)
            for path in inside:
                del tree[path]
        elif tree.pop(edit.path, None) is None:
            raise entry_not_found(edit.path, head.id)
    # Git has no path that is a file and a folder at once, and no checkout could write it.
    folders = {path[:i] for path in tree for i, char in enumerate(path) if char == "/"}
    clash = next((path for path in tree if path in folders), None)
    if clash:
        raise Refusal(400, f"'{clash}' cannot be both a file and a folder")
    return tree


@functools.lru_cache(maxsize=256)
def _read_commit(path: str) -> Commit:
    try:
        body = json.loads(Path(path).read_text(encoding="utf-8"))
        tree = {name: Entry(*parts) for name, parts in body.pop("tree").items()}
        return Commit(id=Path(path).stem, tree=tree, **body)
    except FileNotFoundError:
        raise revision_not_found(Path(path).stem) from None
    except (ValueError, TypeError, AttributeError, KeyError):  # cut off, or of another version
        raise Refusal(500, f"The commit {Path(path).stem} is damaged on the server's disk: {path}") from None
