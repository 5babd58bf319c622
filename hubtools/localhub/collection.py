"""Routes over collections: named lists of repos. All of them are one JSON file."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from starlette.responses import Response

from hubtools.localhub.backend import USER
from hubtools.localhub.disk import write_json
from hubtools.localhub.refusal import Refusal
from hubtools.localhub.store import Store, now
from hubtools.localhub.web import Call, answer, answer_page

_LOCK = threading.Lock()
_LISTED = 4  # items of a collection that a listing shows
_LONGEST = {"description": 150, "note": 500}  # characters
_CHANGEABLE = {"title": str, "description": str, "private": bool, "theme": str, "position": int}

Collections = list[dict[str, Any]]
T = TypeVar("T")


def listing(call: Call) -> Response:
    query = call.request.query_params
    found = [item for item in _load(call.backend.store) if call.owner or not item["private"]]
    if query.get("owner"):
        found = [item for item in found if item["owner"] == query["owner"]]
    if query.get("item"):
        wanted = re.sub(r"^(models|datasets|spaces)/", "", query["item"])
        found = [item for item in found if any(entry["id"] == wanted for entry in item["items"])]
    # The newest first, as the Hub lists them.
    found.sort(key=lambda item: str(item["lastUpdated"]), reverse=True)
    # list_collections counts positions itself and takes none from here.
    shown = [_to_response({**item, "items": item["items"][:_LISTED]}) for item in found]
    return answer_page(call, [{k: v for k, v in item.items() if k != "position"} for item in shown], 100)


def get(call: Call) -> Response:
    return answer(_to_response(_find(call, _load(call.backend.store))))


def create(call: Call) -> Response:
    call.need_owner()
    _check_lengths(call)
    title, owner = call.text("title"), call.text("namespace", USER)
    name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "collection"

    def change(collections: Collections) -> dict[str, Any]:
        # The title is what a user knows a collection by: pushing it again must find it.
        for item in collections:
            if item["owner"] == owner and item["title"] == title:
                # create_collection(exists_ok=True) goes on with the slug of the 409.
                raise Refusal(409, f"A collection with this title already exists: {title}", slug=item["slug"])
        new = {
            # 24 hex digits at the end, as the Hub has them: the clients take a slug apart there.
            "slug": f"{owner}/{name}-{uuid.uuid4().hex[:24]}",
            "title": title,
            "description": call.text("description", ""),
            "owner": owner,
            "private": bool(call.json().get("private")),
            "theme": "indigo",
            "position": len(collections),
            "items": [],
            "lastUpdated": now(),
        }
        collections.append(new)
        return new

    return answer(_to_response(_update(call, change)))


def update(call: Call) -> Response:
    call.need_owner()
    _check_lengths(call)

    def change(collections: Collections) -> dict[str, Any]:
        item = _find(call, collections)
        for name, kind in _CHANGEABLE.items():
            if name in call.json():
                if not isinstance(call.json()[name], kind):
                    raise Refusal(400, f'"{name}" must be of type {kind.__name__}')
                item[name] = call.json()[name]
        item["lastUpdated"] = now()
        return item

    return answer({"success": True, "data": _to_response(_update(call, change))})


def delete(call: Call) -> Response:
    call.need_owner()
    _update(call, lambda collections: collections.remove(_find(call, collections)))
    return answer({"success": True})


def add_item(call: Call) -> Response:
    call.need_owner()
    _check_lengths(call)
    wanted = call.json().get("item")
    if not isinstance(wanted, dict) or not isinstance(wanted.get("id"), str):
        raise Refusal(400, '"item" must be {id, type}')
    kind, item_id = str(wanted.get("type")), wanted["id"]
    # What this Hub serves must exist; papers and buckets are elsewhere.
    if kind in ("model", "dataset", "space"):
        item_id = item_id.removeprefix(f"{kind}s/")
        call.lookup(f"{kind}s", item_id)
    elif kind not in ("paper", "collection", "bucket"):
        raise Refusal(400, '"item.type" must be one of [model, dataset, space, paper, collection, bucket]')

    def change(collections: Collections) -> dict[str, Any]:
        item = _find(call, collections)
        if any((entry["type"], entry["id"]) == (kind, item_id) for entry in item["items"]):
            raise Refusal(409, f"{item_id} is already in this collection")
        note = {"note": {"text": call.text("note")}} if call.json().get("note") else {}
        item["items"].append({"_id": uuid.uuid4().hex[:24], "id": item_id, "type": kind, **note})
        item["lastUpdated"] = now()
        return item

    return answer(_to_response(_update(call, change)))


def update_item(call: Call) -> Response:
    call.need_owner()
    _check_lengths(call)

    def change(collections: Collections) -> None:
        item = _find(call, collections)
        entry = _entry(item, call.params["item"])
        if "note" in call.json():
            entry["note"] = {"text": call.text("note")}
        if isinstance(call.json().get("position"), int):
            item["items"].remove(entry)
            item["items"].insert(call.json()["position"], entry)
        item["lastUpdated"] = now()

    _update(call, change)
    return answer({"success": True})


def delete_item(call: Call) -> Response:
    call.need_owner()

    def change(collections: Collections) -> None:
        item = _find(call, collections)
        item["items"].remove(_entry(item, call.params["item"]))
        item["lastUpdated"] = now()

    _update(call, change)
    return answer({"success": True})


def find(call: Call, slug: str) -> dict[str, Any] | None:
    """A collection the caller may see, for its page."""
    found = (item for item in _load(call.backend.store) if item["slug"] == slug)
    return next((item for item in found if call.owner or not item["private"]), None)


def _check_lengths(call: Call) -> None:
    for name, most in _LONGEST.items():
        if len(call.text(name, "")) > most:
            raise Refusal(400, f'"{name}" must be at most {most} characters long')


def _path(store: Store) -> Path:
    return store.root / "collections.json"


def _load(store: Store) -> Collections:
    try:
        found: Collections = json.loads(_path(store).read_text("utf-8"))
        return found
    except FileNotFoundError:
        return []


def _update(call: Call, change: Callable[[Collections], T]) -> T:
    store = call.backend.store
    # One file for all: two requests must not each write what they read before the other.
    with _LOCK:
        collections = _load(store)
        result = change(collections)
        write_json(_path(store), collections, store.tmp)
        return result


def _find(call: Call, collections: Collections) -> dict[str, Any]:
    slug = f"{call.params['owner']}/{call.params['slug']}"
    for item in collections:
        if item["slug"] == slug and (call.owner or not item["private"]):
            return item
    raise Refusal(404, f"Collection not found: {slug}")


def _entry(item: dict[str, Any], object_id: str) -> dict[str, Any]:
    for entry in item["items"]:
        if entry["_id"] == object_id:
            found: dict[str, Any] = entry
            return found
    raise Refusal(404, f"No such item in the collection: {object_id}")


def _to_response(item: dict[str, Any]) -> dict[str, Any]:
    items = [{**entry, "position": position} for position, entry in enumerate(item["items"])]
    return {**item, "items": items, "upvotes": 0, "gating": False}
