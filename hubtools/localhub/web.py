"""What every route needs: the caller, the body, the repo meant, and answers in the Hub's form."""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hubtools.localhub.backend import Backend
from hubtools.localhub.refusal import Refusal, repo_not_found
from hubtools.localhub.store import KINDS, Commit, Repo

BODY_LIMIT = 64 << 20  # bytes of a JSON or form body; uploads are streamed and have no limit
PAGE = 1000  # items

Handler = Callable[["Call"], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass
class Call:
    """One request. ``params`` are the path's parts, unquoted; ``body`` is JSON, a form as lists, or None."""

    backend: Backend
    request: Request
    params: dict[str, str]
    body: Any = None

    @classmethod
    async def open(cls, request: Request, kind: str | None = None, *, read: bool = True) -> Call:
        """``read=False`` leaves the body to be streamed."""
        # Only now: the path is routed as it was sent, so that "feature%2Fx" stays one part.
        params = {name: unquote(value) for name, value in request.path_params.items()}
        if kind:
            params["kind"] = kind
        call = cls(request.app.state.backend, request, params)
        call.check_token()
        if read and request.method not in ("GET", "HEAD"):
            call.body = _decode(await _read(request), request.headers.get("content-type", ""))
        return call

    @property
    def base(self) -> str:
        """``http://host:port`` as the client wrote it: it refuses URLs that name another host."""
        return f"{self.request.url.scheme}://{self.request.headers.get('host', '127.0.0.1')}"

    @property
    def token(self) -> str:
        # Basic credentials and cookies are not looked at.
        scheme, _, token = self.request.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def check_token(self) -> None:
        # In constant time: how long it takes must not tell how much of a token was right.
        if self.token and not hmac.compare_digest(self.token.encode(), self.backend.token.encode()):
            raise Refusal(401, "Invalid credentials in Authorization header")

    @property
    def owner(self) -> bool:
        """Whether the one user of this Hub is calling; ``check_token`` refused a wrong token."""
        return bool(self.token)

    def need_owner(self) -> None:
        if not self.owner:
            raise Refusal(401, "Invalid username or password. Writing needs this Hub's token (HF_TOKEN).")

    def repo(self, *, write: bool = False) -> Repo:
        """The repo in the path. ``Refusal`` where it is missing, hidden from the caller, or read-only."""
        kind = self.params.get("kind", "models")
        return self.lookup(kind, f"{self.params['owner']}/{self.params['name']}", write=write)

    def lookup(self, kind: str, repo_id: str, *, write: bool = False) -> Repo:
        if kind not in KINDS:
            raise Refusal(404, f"Unknown kind of repo: {kind}")
        repo = self.backend.find(kind, repo_id)
        # 401 for a stranger, as on the Hub: the clients then say that a token may be missing.
        if not repo or (repo.private and not self.owner):
            # Like the Hub: who is not logged in cannot tell a private repo from a missing one.
            raise repo_not_found(kind, repo_id, 404 if self.owner else 401)
        if write:
            self.need_owner()
            if repo.read_only:
                raise Refusal(403, f"{repo_id} is a mirrored folder and read-only. Write to another repo id")
        return repo

    def commit(self, repo: Repo) -> Commit:
        return self.backend.commit(repo, self.params.get("rev", "main"))

    def flag(self, name: str) -> bool:
        return self.request.query_params.get(name, "").lower() in ("1", "true", "yes")

    def values(self, name: str) -> list[str]:
        """All values of a query parameter, written ``a=x&a=y`` or ``a[]=x``."""
        query = self.request.query_params
        return [*query.getlist(name), *query.getlist(f"{name}[]")]

    def number(self, name: str, default: int) -> int:
        try:
            return max(0, int(self.request.query_params.get(name, default)))
        except ValueError:
            raise Refusal(400, f'"{name}" must be a number') from None

    def json(self) -> dict[str, Any]:
        if not isinstance(self.body, dict):
            raise Refusal(400, "Expected a JSON object as the body")
        return self.body

    def text(self, name: str, default: str | None = None) -> str:
        """A string of the JSON body; ``default=None`` means that it must be there."""
        value = self.json().get(name, default)
        if not isinstance(value, str):
            raise Refusal(400, f'"{name}" must be a string')
        return value


def endpoint(handler: Handler, kind: str | None = None) -> Endpoint:
    """A plain function over a Call as a route: it runs in a thread, with the body already read."""

    async def run(request: Request) -> Response:
        call = await Call.open(request, kind)
        return await run_in_threadpool(handler, call)

    return run


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(value, status, headers)


def answer_page(call: Call, items: Sequence[Any], page: int = PAGE) -> Response:
    """A part of ``items`` by ``limit`` and ``cursor``, with a Link to the next part."""
    start, size = call.number("cursor", 0), min(call.number("limit", page) or page, page)
    headers = {}
    if start + size < len(items):
        # Every other parameter stays: the next page is of the same question.
        query = [(k, v) for k, v in call.request.query_params.multi_items() if k != "cursor"]
        query.append(("cursor", str(start + size)))
        headers["Link"] = f'<{call.base}{call.request.scope["path"]}?{urlencode(query)}>; rel="next"'
    return answer(list(items[start : start + size]), headers=headers)


def answer_refusal(error: Refusal) -> Response:
    """The JSON and the headers from which the clients make their exceptions."""
    # A header is one line of latin-1, and the message may quote what the caller sent.
    shown = "".join(char if char.isprintable() else " " for char in error.message)
    line = " ".join(shown.split())[:500].encode("latin-1", "replace").decode("latin-1")
    headers = {"X-Error-Message": line, **error.headers}
    if error.code:
        headers["X-Error-Code"] = error.code
    return answer({"error": error.message, **error.extra}, error.status, headers)


async def _read(request: Request) -> bytes:
    parts, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        # A JSON body is held in memory.
        if size > BODY_LIMIT:
            raise Refusal(413, f"The body is larger than {BODY_LIMIT >> 20} MB")
        parts.append(chunk)
    return b"".join(parts)


def refuse_constant(name: str) -> float:
    """Refuse NaN and infinities, which Python reads and no other client: stored, they would break every list."""
    raise ValueError(f"{name} is no JSON")


def _decode(body: bytes, content_type: str) -> Any:
    if not body:
        return {}
    try:
        if content_type.startswith("application/x-www-form-urlencoded"):
            return parse_qs(body.decode(), keep_blank_values=True)
        return json.loads(body, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        raise Refusal(400, "The body is not valid JSON") from None
