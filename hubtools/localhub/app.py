"""The Hub as an ASGI application: the table of routes, and the edge that every request passes."""

from __future__ import annotations

import errno
import logging
import os
import time

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hubtools.localhub import collection, discussions, files, pages, repos, spaces, uploads, xet
from hubtools.localhub.backend import Backend
from hubtools.localhub.faults import Faults
from hubtools.localhub.refusal import Refusal
from hubtools.localhub.web import Call, Handler, answer, answer_refusal, endpoint

SERVER_NAME = "hubtools-hub"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO}
log = logging.getLogger(__name__)


def create_app(backend: Backend) -> ASGIApp:
    app = Starlette(
        # The first route that matches answers.
        routes=_routes(),
        exception_handlers={
            Refusal: _on_refusal,
            OSError: _on_disk_error,
            HTTPException: _on_no_route,
            ClientDisconnect: _on_disconnect,
            Exception: _on_bug,
        },
        # A page of this machine may read files, as every page may on the Hub; one of another host may not.
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origin_regex=r"https?://(127\.0\.0\.1|localhost)(:\d+)?",
                allow_methods=["GET", "HEAD"],
                allow_headers=["Range"],
                expose_headers=["Content-Range", "ETag", "X-Linked-Size", "X-Repo-Commit"],
            )
        ],
    )
    app.state.backend = backend
    # A client's "/x//y" or "/x/" must not be redirected: it is another path, and unknown.
    app.router.redirect_slashes = False
    return Faults.wrap(Edge(app))


def _routes() -> list[Route]:
    repo = "/api/{kind}/{owner}/{name}"
    topic = f"{repo}/discussions"
    space = "/api/spaces/{owner}/{name}"
    shelf = "/api/collections/{owner}/{slug}"
    routes = [
        _route("GET", "/", pages.index),
        _route("GET", "/healthz", health),
        Route("/_lfs/{oid}", uploads.put, methods=["PUT"]),
        Route("/_xet/{day}/v1/xorbs/{prefix}/{hash}", xet.put_xorb, methods=["POST"]),
        Route("/_xet/{day}/v1/shards", xet.put_shard, methods=["POST"]),
        _route("GET", "/api/whoami-v2", repos.whoami),
        _route("GET", "/api/settings/repositories", repos.mine),
        _route("GET", "/api/organizations/{namespace}/settings/repositories", repos.mine),
        _route("POST", "/api/validate-yaml", files.validate_yaml),
        _route("POST", "/api/repos/create", repos.create),
        _route("DELETE", "/api/repos/delete", repos.delete),
        _route("POST", "/api/repos/move", repos.move),
        _route("GET", "/api/collections", collection.listing),
        _route("POST", "/api/collections", collection.create),
        _route("GET", shelf, collection.get),
        _route("PATCH", shelf, collection.update),
        _route("DELETE", shelf, collection.delete),
        _route("POST", f"{shelf}/items", collection.add_item),
        _route("PATCH", f"{shelf}/items/{{item}}", collection.update_item),
        _route("DELETE", f"{shelf}/items/{{item}}", collection.delete_item),
        _route("GET", f"{space}/runtime", spaces.runtime),
        _route("POST", f"{space}/hardware", spaces.hardware),
        _route("POST", f"{space}/sleeptime", spaces.sleep_time),
        _route("POST", f"{space}/restart", spaces.restart),
        _route("POST", f"{space}/pause", spaces.restart),
        _route("GET", f"{space}/logs/{{log}}", spaces.logs),
        *(
            _route(m, f"{space}/{f}", spaces.handle_names(f))
            for m in ("GET", "POST", "DELETE")
            for f in ("secrets", "variables")
        ),
        _route("GET", "/api/{kind}", repos.listing),
        _route("GET", repo, repos.info),
        _route("GET", f"{repo}/revision/{{rev}}", repos.info),
        _route("PUT", f"{repo}/settings", repos.settings),
        _route("GET", f"{repo}/auth-check", repos.auth_check),
        _route("GET", f"{repo}/auth-check/{{write}}", repos.auth_check),
        _route("GET", f"{repo}/refs", repos.refs),
        _route("POST", f"{repo}/branch/{{rev}}", repos.create_branch),
        _route("DELETE", f"{repo}/branch/{{rev}}", repos.delete_branch),
        _route("POST", f"{repo}/tag/{{rev}}", repos.create_tag),
        _route("DELETE", f"{repo}/tag/{{rev}}", repos.delete_tag),
        _route("POST", f"{repo}/super-squash/{{rev}}", repos.squash),
        _route("GET", f"{repo}/xet-write-token/{{rev}}", xet.write_token),
        _route("GET", f"{repo}/commits/{{rev}}", files.commits),
        _route("GET", f"{repo}/tree/{{rev}}", files.tree),
        _route("GET", f"{repo}/tree/{{rev}}/{{path:path}}", files.tree),
        _route("POST", f"{repo}/paths-info/{{rev}}", files.paths_info),
        _route("POST", f"{repo}/preupload/{{rev}}", uploads.preupload),
        Route(f"{repo}/commit/{{rev}}", uploads.commit, methods=["POST"]),
        _route("GET", topic, discussions.listing),
        _route("POST", topic, discussions.create),
        _route("GET", f"{topic}/{{num}}", discussions.detail),
        _route("POST", f"{topic}/{{num}}/comment", discussions.comment),
        _route("POST", f"{topic}/{{num}}/title", discussions.rename),
        _route("POST", f"{topic}/{{num}}/status", discussions.status),
        _route("POST", f"{topic}/{{num}}/merge", discussions.merge),
        _route("GET", "/collections/{owner}/{slug}", pages.collection_page),
    ]
    # Models last: "/{owner}/{name}/..." would take "/datasets/me/..." as well.
    for kind in ("datasets", "spaces", "models"):
        at = ("" if kind == "models" else f"/{kind}") + "/{owner}/{name}"
        routes += [
            _route("POST", f"{at}.git/info/lfs/objects/batch", uploads.batch, kind),
            _route("POST", f"{at}.git/info/lfs/objects/verify", uploads.verify, kind),
            _route("GET", f"{at}/resolve/{{rev}}/{{path:path}}", files.resolve, kind),
            _route("GET", f"{at}/raw/{{rev}}/{{path:path}}", files.raw, kind),
            _route("GET", f"{at}/blob/{{rev}}/{{path:path}}", pages.blob, kind),
            _route("GET", f"{at}/tree/{{rev}}", pages.repo, kind),
            _route("GET", f"{at}/tree/{{rev}}/{{path:path}}", pages.repo, kind),
            _route("GET", f"{at}/commit/{{rev}}", pages.commit, kind),
            _route("GET", f"{at}/discussions/{{num}}", pages.discussion, kind),
            _route("GET", at, pages.repo, kind),
        ]
    return routes


def _route(method: str, path: str, handler: Handler, kind: str | None = None) -> Route:
    return Route(path, endpoint(handler, kind), methods=[method])


def health(call: Call) -> Response:
    """Who answers here; ``service.find`` compares it with the state file."""
    # A folder that was copied names this server as well, and is told by its path that it has none.
    return answer({"name": SERVER_NAME, "pid": os.getpid(), "data_dir": str(call.backend.store.root)})


class Edge:
    """The outermost layer: refuses foreign hosts, keeps the path as sent, reads bodies to the end, logs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        # A page on the web that points its own name at 127.0.0.1 must not read this Hub.
        if host.rpartition(":")[0] not in LOOPBACK and host not in LOOPBACK:
            await answer_refusal(Refusal(400, f"This Hub is served to this machine only, not as '{host}'"))(
                scope, receive, send
            )
            return
        # Routes match the quoted path, so that the revision "feature%2Fx" is one part of it.
        path = scope.get("raw_path", b"").partition(b"?")[0].decode("ascii", "replace") or scope["path"]
        # Starlette unquotes the path before it routes.
        scope = {**scope, "path": path}
        more, status, began = True, 0, time.monotonic()

        async def receive_noting() -> Message:
            nonlocal more
            message = await receive()
            more = message.get("more_body", False)
            return message

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # A client that is still sending would see a broken pipe in place of the reason.
                while status >= 400 and more:
                    await receive_noting()
            await send(message)

        try:
            await self._app(scope, receive_noting, send_noting)
        finally:
            # Without the query: it may hold the signature of an upload link.
            log.info("%s %s %s %.0f ms", scope["method"], path, status, 1000 * (time.monotonic() - began))


def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return answer_refusal(error)


def _on_disk_error(request: Request, error: Exception) -> Response:
    """507 for what the user must mend: the clients repeat a 500 five times and a 507 not at all."""
    assert isinstance(error, OSError)
    log.error("%s %s: %s", request.method, request.url.path, error)
    root = request.app.state.backend.store.root
    reason = error.strerror or str(error)
    # A full disk does not get better by asking again.
    status = 507 if error.errno in _DISK else 500
    return answer_refusal(Refusal(status, f"The Hub cannot use its data folder {root}: {reason}"))


def _on_no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return answer_refusal(Refusal(405, f"This embedded Hub does not serve {request.method} {request.url.path}"))
    # A repo id of one part, such as "gpt2", comes by here too: the clients must take it as a missing repo.
    repo = "/resolve/" in request.url.path or request.url.path.startswith(("/api/models/", "/api/datasets/"))
    reason = "Repository not found" if repo else "This embedded Hub does not serve"
    return answer_refusal(Refusal(404, f"{reason}: {request.url.path}", "RepoNotFound" if repo else None))


def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


def _on_bug(request: Request, error: Exception) -> Response:
    """The traceback goes to the log (uvicorn writes it); the client gets a sentence."""
    return answer_refusal(Refusal(500, f"The embedded Hub failed on this request: {type(error).__name__}. See its log"))
