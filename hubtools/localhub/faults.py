"""Answers that go wrong on purpose, for the tests of what talks to a Hub.

``$HUBTOOLS_HUB_FAULTS`` names a JSON file with a list of
``{"method": "POST", "path_regex": "/commit/", "status": 503, "times": 2}``: the next two matching requests
get a 503 and are not handled. ``status`` 0 drops the connection. ``"after": true`` handles the request first
and loses its answer; ``"headers"`` are added to the answer; ``"skip": 3`` lets the first three pass. The file
is read again when it changes.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

VARIABLE = "HUBTOOLS_HUB_FAULTS"


class Faults:
    """ASGI middleware; ``wrap`` leaves it out where the variable is not set."""

    def __init__(self, app: ASGIApp, listing: Path) -> None:
        self._app, self._listing = app, listing
        self._changed = 0
        self._faults: list[dict[str, Any]] = []

    @classmethod
    def wrap(cls, app: ASGIApp) -> ASGIApp:
        listing = os.environ.get(VARIABLE)
        return cls(app, Path(listing)) if listing else app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._take(scope) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
            return
        # The commit is made and its answer lost: what a client sees when a connection breaks at the wrong moment.
        if fault.get("after"):
            await self._app(scope, receive, _discard)
        if fault["status"]:
            headers = {"X-Error-Message": "injected fault", **fault.get("headers", {})}
            await JSONResponse({"error": "injected fault"}, fault["status"], headers)(scope, receive, send)
        else:
            # ASGI has no way to hang up. uvicorn's send is a method of the object that has the connection.
            send.__self__.transport.abort()  # type: ignore[attr-defined]
            while (await receive())["type"] != "http.disconnect":
                pass

    def _take(self, scope: Scope) -> dict[str, Any] | None:
        try:
            changed = self._listing.stat().st_mtime_ns
            if changed != self._changed:
                self._faults = json.loads(self._listing.read_text("utf-8"))
                self._changed = changed
        except (OSError, ValueError):
            return None
        for fault in self._faults:
            if (
                fault.get("times", 1) > 0
                and fault.get("method", scope["method"]) == scope["method"]
                and re.search(fault.get("path_regex", ""), scope["path"])
            ):
                # Counted in memory: the file belongs to the test that wrote it.
                if fault.get("skip", 0) > 0:
                    fault["skip"] -= 1
                    continue
                fault["times"] = fault.get("times", 1) - 1
                return fault
        return None


async def _discard(message: Message) -> None:
    pass
