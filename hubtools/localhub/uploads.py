"""Routes that write files: preupload, the LFS protocol, and commits.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from hubtools.localhub import cards, discussions, gitignore, lfs
from hubtools.localhub.backend import USER, Backend
from hubtools.localhub.names import check_path
from hubtools.localhub.refusal import Refusal
from hubtools.localhub.store import Add, CommitMessage, Delete, Entry, Repo
from hubtools.localhub.web import Call, answer, refuse_constant

LINE_LIMIT = 256 << 20  # bytes of one line of a commit; a regular file is a line, in base64


def preupload(call: Call) -> Response:
    """How each file is to be sent, and what is at its path now, so that the client skips the unchanged."""
    repo = call.repo(write=True)
    commit = call.commit(repo)
    ignore = call.json().get("gitIgnore")
    if not isinstance(ignore, str):
        ignore = call.backend.text(repo, commit, ".gitignore") or ""
    found = []
    for file in cards.as_list(call.json().get("files")):
        try:
            path, size = str(file["path"]), int(file["size"])
            sample = base64.b64decode(file.get("sample") or "")
        except (TypeError, KeyError, ValueError):
            raise Refusal(400, '"files" must be an array of {path, size, sample}') from None
        check_path(path)
        # The id of what is there lets the client leave out what it would send again.
        entry = commit.tree.get(path)
        found.append(
            {
                "path": path,
                "uploadMode": "lfs" if lfs.is_lfs(path, size, sample) else "regular",
                "shouldIgnore": gitignore.is_ignored(path, ignore),
                "oid": entry.etag if entry else None,
            }
        )
    return answer({"files": found, "commitOid": commit.id})


def batch(call: Call) -> Response:
    """Where to put each LFS object; one that is here already gets no ``actions``."""
    repo = call.repo(write=True)
    if call.json().get("operation") != "upload":
        raise Refusal(400, "Only the 'upload' operation is served; files are read through /resolve/")
    objects: list[dict[str, Any]] = []
    for item in cards.as_list(call.json().get("objects")):
        oid, size = _lfs_object(item)
        known = call.backend.store.lfs_size(oid)
        objects.append({"oid": oid, "size": size})
        if known is None:
            upload = f"{call.base}/_lfs/{oid}?{call.backend.sign(oid, size)}"
            verify = f"{call.base}/{repo.prefix}.git/info/lfs/objects/verify"
            objects[-1]["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
        # The hash is that of other bytes: the client's size is wrong, or the object is not what it says.
        elif known != size:
            objects[-1]["error"] = {"code": 422, "message": f"has {known} bytes here, not {size}"}
    return answer({"transfer": "basic", "objects": objects})


def verify(call: Call) -> Response:
    call.repo(write=True)
    oid, size = _lfs_object(call.json())
    known = call.backend.store.lfs_size(oid)
    if known is None:
        raise Refusal(404, f"LFS object {oid} was not uploaded")
    if known != size:
        raise Refusal(422, f"LFS object {oid} has {known} bytes, not {size}")
    return answer({})


async def put(request: Request) -> Response:
    """Receive an LFS object. The signature in the link is the permission: no token comes with it."""
    backend: Backend = request.app.state.backend
    oid, query = request.path_params["oid"], request.query_params
    try:
        size, until = int(query["size"]), int(query["until"])
        allowed = backend.signed(oid, size, until, query["signature"])
    except (KeyError, ValueError):
        allowed = False
    if not allowed:
        raise Refusal(403, "This upload link is not valid, or no longer; start the upload again")
    digest, received = hashlib.sha256(), 0
    with backend.store.scratch() as (part, file):
        async for chunk in request.stream():
            received += len(chunk)
            # More than was announced: no need to fill the disk with the rest.
            if received > size:
                break
            digest.update(chunk)
            file.write(chunk)
        # Checked before it gets its name: an object under a wrong name could never be told from a right one.
        if received != size or digest.hexdigest() != oid:
            raise Refusal(400, f"LFS object {oid} of {size} bytes: received {received} bytes that are not it")
        file.close()
        backend.store.move_in(part, backend.store.blob(Entry(size, "", oid)))
    return Response(headers={"ETag": f'"{oid}"'})


async def commit(request: Request) -> Response:
    """Make a commit. The body is written to disk as it comes, then read line by line."""
    call = await Call.open(request, read=False)
    # Before the body is received: who may not write need not send it.
    await run_in_threadpool(call.repo, write=True)
    with call.backend.store.scratch() as (part, file):
        async for chunk in request.stream():
            file.write(chunk)
        file.close()
        return await run_in_threadpool(_commit, call, part)


def _commit(call: Call, body: Path) -> Response:
    repo, revision = call.repo(write=True), call.params["rev"]
    call.backend.commit(repo, revision)  # an unknown revision, before anything is stored
    lines = _lines(body)
    header = next(lines, None)
    if not header or header.get("key") != "header" or not isinstance(header.get("value"), dict):
        raise Refusal(400, "The first line of a commit must be its header")
    header = header["value"]
    title, message = str(header.get("summary") or ""), str(header.get("description") or "")
    # The Hub refuses it as well; git would open an editor.
    if not title:
        raise Refusal(400, "The commit has no summary")
    edits = [edit for edit in (_edit(call.backend, repo, line) for line in lines) if edit]
    # Filled within the commit's own lock: the number and the ref belong together.
    numbers: list[str] = []

    def pull(repo: Repo, base_id: str, new_id: str) -> str:
        numbers.append(discussions.open_pull_request(repo, title, message, revision, base_id, new_id))
        return numbers[0]

    new = call.backend.store.add_commit(
        repo.kind,
        repo.id,
        revision,
        edits,
        CommitMessage(title, message, USER),
        parent=header.get("parentCommit"),
        pull=pull if call.flag("create_pr") else None,
    )
    url = f"{call.base}/{repo.prefix}"
    found = {"success": True, "commitOid": new.id, "commitUrl": f"{url}/commit/{new.id}", "hookOutput": ""}
    if numbers:
        found["pullRequestUrl"] = f"{url}/discussions/{numbers[0]}"
    return answer(found)


def _lines(body: Path) -> Iterator[dict[str, Any]]:
    with open(body, "rb") as file:
        while line := file.readline(LINE_LIMIT):
            # A line without an end would be read into memory whole.
            if len(line) == LINE_LIMIT:
                raise Refusal(413, f"A line of the commit is larger than {LINE_LIMIT >> 20} MB")
            if not line.strip():
                continue
            try:
                value = json.loads(line, parse_constant=refuse_constant)
            except (ValueError, RecursionError):
                raise Refusal(400, "A line of the commit is not valid JSON") from None
            if not isinstance(value, dict):
                raise Refusal(400, "A line of the commit is not a JSON object")
            yield value


def _edit(backend: Backend, repo: Repo, line: dict[str, Any]) -> Add | Delete | None:
    key, value = line.get("key"), line.get("value")
    if not isinstance(value, dict) or not isinstance(value.get("path"), str):
        raise Refusal(400, f"A line '{key}' of the commit has no path")
    path = value["path"]
    # Clients write the folder with a slash at its end.
    if key == "deletedFolder":
        return Delete(path.rstrip("/"), folder=True)
    check_path(path)
    if key == "deletedFile":
        return Delete(path, folder=False)
    if key == "lfsFile":
        oid, _ = _lfs_object({"size": 0, **value})
        size = backend.store.lfs_size(oid)
        if size is None:
            raise Refusal(400, f"'{path}': LFS object {oid} was not uploaded")
        return Add(path, Entry.of_lfs(oid, size))
    if key == "file":
        content = _content(path, value)
        # The Hub checks the card of the root alone.
        if path == "README.md":
            _check_card(repo, content)
        return Add(path, backend.store.add_blob(content))
    raise Refusal(400, f"A commit cannot hold '{key}'")


def _content(path: str, value: dict[str, Any]) -> bytes:
    text = value.get("content")
    if not isinstance(text, str):
        raise Refusal(400, f"'{path}' has no content")
    if value.get("encoding") not in (None, "utf-8", "base64"):
        raise Refusal(400, f"'{path}': unknown encoding '{value['encoding']}'")
    if value.get("encoding") != "base64":
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, f"'{path}': the content is not valid base64") from None


def _check_card(repo: Repo, content: bytes) -> None:
    """The Hub refuses a commit whose card it would not accept, also where the client did not ask first."""
    errors, _ = cards.validate(content.decode("utf-8", "replace"), repo.kind.removesuffix("s"))
    if errors:
        messages = [{"message": error} for error in errors]
        raise Refusal(400, f"Invalid metadata in README.md: {errors[0]}", errors=messages)


def _lfs_object(item: Any) -> tuple[str, int]:
    oid = item.get("oid") if isinstance(item, dict) else None
    size = item.get("size") if isinstance(item, dict) else None
    if not isinstance(oid, str) or len(oid) != 64 or set(oid) - set("0123456789abcdef"):
        raise Refusal(400, "An LFS object needs an oid of 64 hex digits")
    if not isinstance(size, int) or size < 0:
        raise Refusal(400, "An LFS object needs a size in bytes")
    return oid, size
