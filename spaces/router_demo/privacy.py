"""What gradio would keep of a visitor's text, and does not here.

gradio remembers the last value of every component of a session, so that `deep_link` can give the page as it was to
whoever asks for it, and writes it to a file. Nothing here needs either: values are not remembered, the route is closed.
"""

from __future__ import annotations

from typing import Any

from gradio.state_holder import SessionState
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

SESSIONS = 200  # sessions of which gradio holds the layout of the page: one is a few hundred kB
CLOSED = ("/deep_link",)


class ClosedRoutes:
    """Answers 404 on the routes that would give out or store what somebody typed."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].rstrip("/").endswith(CLOSED):
            await PlainTextResponse("This page keeps nothing to link to.", 404)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def keep_nothing(*others: Any) -> dict[str, Any]:
    """Make gradio remember no value of a session; the arguments of `launch` that do the rest.

    `others` are further classes of middleware.
    """
    if not hasattr(SessionState, "_update_value_in_config"):
        raise SystemExit("This gradio keeps what visitors type in another way than known here: use the pinned version.")
    SessionState._update_value_in_config = lambda self, key, value: None  # type: ignore[method-assign]
    return {
        "app_kwargs": {"middleware": [Middleware(kind) for kind in (ClosedRoutes, *others)]},
        "state_session_capacity": SESSIONS,
        "run_history": False,
        "enable_monitoring": False,
    }
