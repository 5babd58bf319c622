"""Routes over a Space's settings. This Hub stores Spaces and does not run them: every Space is PAUSED."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from hubtools.localhub import cards, vocabulary
from hubtools.localhub.refusal import Refusal
from hubtools.localhub.store import Repo, format_time, now
from hubtools.localhub.web import Call, answer

NOT_RUN = "This embedded Hub stores Spaces and does not run them. Run the Space's app file on this machine."


def read_settings(body: dict[str, Any]) -> dict[str, Any]:
    """What a create request says about the Space. Values of secrets are dropped here."""
    if body.get("sdk") not in vocabulary.SPACE_SDKS:
        raise Refusal(400, f'"sdk" must be one of [{", ".join(sorted(vocabulary.SPACE_SDKS))}]')
    # Their values would lie on this disk, and nothing here would ever read them.
    secrets = {str(s["key"]): _secret(s) for s in cards.as_list(body.get("secrets")) if "key" in s}
    variables = {str(v["key"]): _variable(v) for v in cards.as_list(body.get("variables")) if "key" in v}
    return {
        "hardware": body.get("hardware") or "cpu-basic",
        "sleep": body.get("sleepTimeSeconds"),
        "secrets": secrets,
        "variables": variables,
        "volumes": body.get("volumes"),
    }


def write_first_card(repo: Repo) -> str:
    """The README that a new Space starts with, as on the Hub."""
    title = json.dumps(repo.id.split("/")[1])
    lines = [f"title: {title}", "emoji: 🌍", "colorFrom: blue", "colorTo: green", f"sdk: {repo.sdk}"]
    return "\n".join(["---", *lines, "pinned: false", "---", ""])


def describe_runtime(repo: Repo) -> dict[str, Any]:
    return {
        "stage": "PAUSED",
        "errorMessage": NOT_RUN,
        "hardware": {"current": None, "requested": repo.space.get("hardware", "cpu-basic")},
        "gcTimeout": repo.space.get("sleep"),
        "storage": None,
        "replicas": {"requested": 1},
        "devMode": False,
        "domains": [],
        **({"volumes": repo.space["volumes"]} if repo.space.get("volumes") else {}),
    }


def runtime(call: Call) -> Response:
    return answer(describe_runtime(_space(call)))


def hardware(call: Call) -> Response:
    flavor = call.text("flavor")
    sleep = call.json().get("sleepTimeSeconds")
    return _change(call, {"hardware": flavor, **({"sleep": sleep} if sleep is not None else {})})


def sleep_time(call: Call) -> Response:
    # -1 means never, as on the Hub.
    seconds = call.json().get("seconds")
    if not isinstance(seconds, int):
        raise Refusal(400, '"seconds" must be a number')
    return _change(call, {"sleep": None if seconds < 0 else seconds})


def restart(call: Call) -> Response:
    """Accepted for restart and pause alike: neither changes what does not run."""
    return _change(call, {})


def logs(call: Call) -> Response:
    """The one line there is to say, as the server-sent event the client waits for."""
    _space(call)
    # A minute ago: the client drops events from after the answer's Date, and uvicorn's Date lags behind.
    then = format_time(datetime.now(UTC) - timedelta(minutes=1))
    event = json.dumps({"data": NOT_RUN + "\n", "timestamp": then})
    return Response(f"data: {event}\n\n", media_type="text/event-stream")


def handle_names(field: str) -> Any:
    """GET, POST and DELETE of ``secrets`` or ``variables``."""

    def run(call: Call) -> Response:
        method = call.request.method
        repo = _space(call, write=True)  # names of secrets are the owner's business too
        if method != "GET":
            key = call.text("key")
            item = _secret(call.json()) if field == "secrets" else _variable(call.json())

            def change(repo: Repo) -> None:
                values = repo.space.setdefault(field, {})
                if method == "POST":
                    values[key] = item
                else:
                    values.pop(key, None)

            call.backend.store.update(repo.kind, repo.id, change)
            repo = _space(call)
        return answer(repo.space.get(field, {}))

    return run


def _space(call: Call, *, write: bool = False) -> Repo:
    return call.lookup("spaces", f"{call.params['owner']}/{call.params['name']}", write=write)


def _change(call: Call, values: dict[str, Any]) -> Response:
    repo = _space(call, write=True)
    call.backend.store.update(repo.kind, repo.id, lambda repo: repo.space.update(values))
    return answer(describe_runtime(_space(call)))


def _secret(item: dict[str, Any]) -> dict[str, Any]:
    return {"key": item.get("key"), "description": item.get("description"), "updatedAt": now()}


def _variable(item: dict[str, Any]) -> dict[str, Any]:
    return {**_secret(item), "value": str(item.get("value", ""))}
