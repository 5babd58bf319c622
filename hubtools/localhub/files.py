"""Routes that read files: tree, paths-info, history, resolve and raw."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, Response

from hubtools.localhub import cards, lfs
from hubtools.localhub.refusal import Refusal, entry_not_found
from hubtools.localhub.repos import check_gate
from hubtools.localhub.store import Commit, Entry, Repo
from hubtools.localhub.web import Call, answer, answer_page

HISTORY_LIMIT = 1000  # commits looked through for a file's last change


class _File(FileResponse):
    chunk_size = 1 << 20  # 64 KB parts, each through a thread, make large downloads slow


def tree(call: Call) -> Response:
    """Files and folders under a path. Folders are listed in a recursive listing as well."""
    repo = call.repo()
    commit = call.commit(repo)
    root = call.params.get("path", "").strip("/")
    if not commit.folder(root):
        raise entry_not_found(root, commit.id)
    start = f"{root}/" if root else ""
    recursive = call.flag("recursive")
    folders: dict[str, None] = {}
    files = []
    for path in commit.tree:
        if not path.startswith(start):
            continue
        parts = path[len(start) :].split("/")
        depth = len(parts) - 1 if recursive else min(1, len(parts) - 1)
        # A tree holds files alone; folders follow from their paths.
        folders.update((start + "/".join(parts[: i + 1]), None) for i in range(depth))
        if recursive or len(parts) == 1:
            files.append(path)
    items = [_folder(commit, path) for path in folders] + [_file(commit, path) for path in files]
    # Reading the history is slow; clients that want it say so.
    if call.flag("expand"):
        _add_last_commits(call, repo, commit, items)
    return answer_page(call, items)


def paths_info(call: Call) -> Response:
    """The named files and folders; names that do not exist are left out."""
    repo = call.repo()
    commit = call.commit(repo)
    form = call.json()
    items: list[dict[str, Any]] = []
    for path in cards.as_list(form.get("paths")):
        path = str(path).strip("/")
        if path in commit.tree:
            items.append(_file(commit, path))
        elif path and commit.folder(path):
            items.append(_folder(commit, path))
    expand = cards.as_list(form.get("expand"))  # a form has lists of strings, JSON has a boolean
    if expand and str(expand[0]).lower() in ("true", "1"):
        _add_last_commits(call, repo, commit, items)
    return answer(items)


def commits(call: Call) -> Response:
    repo = call.repo()
    history = call.backend.history(repo, call.commit(repo))
    return answer_page(call, [_summarize(commit) for commit in history])


def resolve(call: Call) -> Response:
    """A file's content, whole or by Range. LFS objects come directly: the clients drop the headers that
    matter when a redirect stays on the same host."""
    repo, commit, path, entry = _find_file(call)
    headers = _headers(commit, entry, path, download=call.flag("download"))
    # The Hub's clients name a file in their cache by these, where it is an LFS object.
    if entry.sha256:
        headers["X-Linked-Etag"] = headers["ETag"]
        headers["X-Linked-Size"] = str(entry.size)
    # Caches and proxies may weaken a tag on its way.
    known = [etag.strip().removeprefix("W/") for etag in call.request.headers.get("if-none-match", "").split(",")]
    if headers["ETag"] in known:
        return Response(status_code=304, headers=headers)
    file = call.backend.file(repo, path, entry)
    return _File(file, headers=headers, media_type=_media_type(path), stat_result=file.stat())


def raw(call: Call) -> Response:
    """As git has it: the pointer where it is an LFS object."""
    _, commit, path, entry = _find_file(call)
    if not entry.sha256:
        return resolve(call)
    # As git would check it out without the LFS extension.
    content = lfs.pointer(entry.sha256, entry.size)
    return Response(content, headers=_headers(commit, entry, path), media_type="text/plain")


def validate_yaml(call: Call) -> Response:
    """The check of a card; anybody may ask."""
    kind = str(call.json().get("repoType") or "model")
    errors, warnings = cards.validate(call.text("content"), kind)
    found: dict[str, Any] = {
        "errors": [{"message": message} for message in errors],
        "warnings": [{"message": message} for message in warnings],
    }
    # The clients take the reasons from a 400, and warnings from a 200.
    if errors:
        raise Refusal(400, errors[0], **found)
    return answer(found)


def _find_file(call: Call) -> tuple[Repo, Commit, str, Entry]:
    repo = call.repo()
    commit, path = call.commit(repo), call.params["path"]
    entry = commit.tree.get(path)
    if not entry:
        raise entry_not_found(path, commit.id)
    check_gate(call, repo)
    return repo, commit, path, entry


def _headers(commit: Commit, entry: Entry, path: str, download: bool = False) -> dict[str, str]:
    # A header is latin-1, and a quote in it would end the name.
    name = Path(path).name.encode("ascii", "replace").decode().replace('"', "'")
    return {
        "X-Repo-Commit": commit.id,
        "ETag": f'"{entry.etag}"',
        "Accept-Ranges": "bytes",
        "Content-Disposition": f'{"attachment" if download else "inline"}; filename="{name}"',
        # Anybody may push an HTML file: it must not run as a page of this Hub.
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }


def _media_type(path: str) -> str:
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    # An SVG can hold a script; a card's other pictures are shown.
    if kind.startswith("image/") and "svg" not in kind:
        return kind
    textual = kind.startswith("text/") or kind.endswith(("json", "yaml", "xml", "javascript"))
    return "text/plain" if textual or path.endswith((".md", ".yaml", ".jsonl")) else "application/octet-stream"


def _file(commit: Commit, path: str) -> dict[str, Any]:
    entry = commit.tree[path]
    found: dict[str, Any] = {"type": "file", "path": path, "oid": entry.oid, "size": entry.size}
    if entry.sha256:
        pointer = len(lfs.pointer(entry.sha256, entry.size))
        found["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": pointer}
    return found


def _folder(commit: Commit, path: str) -> dict[str, Any]:
    # Git's own tree id is of nested trees; the clients only compare it with itself.
    digest = hashlib.sha1(usedforsecurity=False)
    for name, entry in commit.tree.items():
        if name.startswith(path + "/"):
            digest.update(f"{name}\0{entry.etag}\n".encode())
    return {"type": "directory", "path": path, "oid": digest.hexdigest(), "size": 0}


def _add_last_commits(call: Call, repo: Repo, commit: Commit, items: Iterable[dict[str, Any]]) -> None:
    """Give each item the newest commit that changed it, or anything in it."""
    waiting = {item["path"]: item for item in items}
    newer: Commit | None = None
    last = commit
    # From the newest on: the first commit that differs from the one before it made the file what it is.
    for number, step in enumerate(call.backend.history(repo, commit)):
        if newer:
            before, after = set(step.tree.items()), set(newer.tree.items())
            for changed, _ in before ^ after:
                for path in _with_folders(changed):
                    item = waiting.pop(path, None)
                    if item is not None:
                        item["lastCommit"] = _last_commit(newer)
        newer = last = step
        if not waiting or number >= HISTORY_LIMIT:
            break
    for item in waiting.values():
        item["lastCommit"] = _last_commit(last)


def _with_folders(path: str) -> Iterable[str]:
    yield path
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _last_commit(commit: Commit) -> dict[str, str]:
    return {"id": commit.id, "title": commit.title, "date": commit.date}


def _summarize(commit: Commit) -> dict[str, Any]:
    return {
        "id": commit.id,
        "title": commit.title,
        "message": commit.message,
        "date": commit.date,
        "authors": [{"user": commit.author}],
    }
