"""Routes by which a client with hf-xet uploads. What it sends in chunks is put together to LFS objects at once.

A client with hf-xet asks for nothing else: there is no answer by which a Hub sends it to the LFS protocol. Downloads
need none of this, since no file is said to be there in chunks.
"""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from hubtools.localhub.backend import XET_LIFETIME, Backend
from hubtools.localhub.refusal import Refusal
from hubtools.localhub.store import Entry, Store
from hubtools.localhub.sweeping import sweep_xorbs
from hubtools.localhub.web import Call, answer
from hubtools.localhub.xorbs import Chunk, DamagedUpload, ShardFile, list_chunks, read_chunks, read_shard

_XORB_LIMIT = 80 << 20  # bytes; xet's own limit is 64 MiB before packing
_SHARD_LIMIT = 64 << 20


def write_token(call: Call) -> Response:
    """Where to upload to, and the permission: one for an hour, for all repos of the one user."""
    call.repo(write=True)
    sweep_xorbs(call.backend.store.root)
    until = int(time.time()) + XET_LIFETIME
    # A client remembers by this address which chunks were sent: a new one each day, since they are kept for two.
    url = f"{call.base}/_xet/{call.backend.sign_xet(until // 86_400)[:16]}"
    token = f"{until}.{call.backend.sign_xet(until)}"
    return answer(
        {"casUrl": url, "exp": until, "accessToken": token},
        headers={"X-Xet-Cas-Url": url, "X-Xet-Access-Token": token, "X-Xet-Token-Expiration": str(until)},
    )


async def put_xorb(request: Request) -> Response:
    """Receive chunks, packed."""
    backend = _check_permission(request)
    name = request.path_params["hash"]
    if not re.fullmatch(r"[0-9a-f]{64}", name):
        raise Refusal(400, "A xorb is named by 64 hex digits")
    with backend.store.scratch() as (part, file):
        received = 0
        async for piece in request.stream():
            received += len(piece)
            if received > _XORB_LIMIT:
                raise Refusal(413, f"The xorb is larger than {_XORB_LIMIT >> 20} MB")
            file.write(piece)
        file.close()
        try:
            await run_in_threadpool(list_chunks, part)
        except DamagedUpload as error:
            raise Refusal(400, f"Xorb {name} is damaged: {error}") from None
        path = backend.store.xorb(name)
        was_there = path.exists()
        await run_in_threadpool(backend.store.move_in, part, path)
    return answer({"was_inserted": not was_there})


async def put_shard(request: Request) -> Response:
    """Receive what files are made of, and put them together."""
    backend, content = _check_permission(request), bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > _SHARD_LIMIT:
            raise Refusal(413, f"The shard is larger than {_SHARD_LIMIT >> 20} MB")
    try:
        for file in read_shard(bytes(content)):
            await run_in_threadpool(_put_together, backend.store, file)
    except DamagedUpload as error:
        raise Refusal(400, f"The upload is damaged: {error}; start it again") from None
    return answer({"result": 1})


def _check_permission(request: Request) -> Backend:
    backend: Backend = request.app.state.backend
    until, _, signature = request.headers.get("authorization", "").removeprefix("Bearer ").partition(".")
    if not (until.isascii() and until.isdigit() and backend.signed_xet(int(until), signature)):
        raise Refusal(401, "This permission to upload is not valid, or no longer; start the upload again")
    return backend


def _put_together(store: Store, file: ShardFile) -> None:
    """Store a file of a shard as an LFS object, under the hash that its content has; raises :class:`DamagedUpload`."""
    if file.sha256 and store.lfs_size(file.sha256) is not None:
        return
    known: dict[str, tuple[Path, list[Chunk]]] = {}
    digest = hashlib.sha256()
    try:
        with store.scratch() as (part, out):
            for segment in file.segments:
                if segment.xorb not in known:
                    path = store.xorb(segment.xorb)
                    if not path.is_file():
                        raise DamagedUpload(f"xorb {segment.xorb} was not uploaded")
                    known[segment.xorb] = path, list_chunks(path)
                path, chunks = known[segment.xorb]
                chosen = chunks[segment.first : segment.end]
                if len(chosen) != segment.end - segment.first or sum(chunk.size for chunk in chosen) != segment.size:
                    raise DamagedUpload(f"xorb {segment.xorb} has other chunks than the shard says")
                for content in read_chunks(path, chosen):
                    digest.update(content)
                    out.write(content)
            out.close()
            found = digest.hexdigest()
            if file.sha256 and found != file.sha256:
                raise DamagedUpload(f"a file with sha256 {file.sha256} came as one with {found}")
            store.move_in(part, store.blob(Entry(0, "", found)))
    except DamagedUpload:
        # Which of them is damaged is not known, and none may be taken for what is here already.
        for path, _ in known.values():
            path.unlink(missing_ok=True)
        raise
