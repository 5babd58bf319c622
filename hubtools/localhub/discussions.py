"""Routes over discussions and pull requests. A pull request is the ref ``refs/pr/<number>``."""

from __future__ import annotations

import html
import uuid
from collections.abc import Callable
from typing import Any

from starlette.responses import Response

from hubtools.localhub.backend import USER
from hubtools.localhub.refusal import Refusal
from hubtools.localhub.store import Add, Commit, CommitMessage, Delete, Repo, now
from hubtools.localhub.web import Call, answer

PAGE = 50


def open_pull_request(
    repo: Repo, title: str, text: str, base: str, base_id: str, new_id: str, status: str = "open"
) -> str:
    """Note a pull request from ``base_id`` to ``new_id`` in the repo. Returns its number."""
    item = _add_discussion(repo, title, text, base=base, base_id=base_id, status=status)
    if new_id != base_id:
        item["events"].append(_event("commit", subject=title, oid=new_id))
    return str(item["num"])


def create(call: Call) -> Response:
    repo = call.repo(write=True)
    title, text = call.text("title"), call.text("description", "")

    def change(repo: Repo) -> int:
        if not call.json().get("pullRequest"):
            return int(_add_discussion(repo, title, text)["num"])
        # A pull request that is opened by hand has no change yet: it begins at main.
        head = repo.branches["main"]
        number = open_pull_request(repo, title, text, "main", head, head, "draft")
        repo.pulls[number] = head
        return int(number)

    number = call.backend.store.update(repo.kind, repo.id, change)
    return answer({"num": number, "pullRequest": bool(call.json().get("pullRequest"))})


def listing(call: Call) -> Response:
    repo, query = call.repo(), call.request.query_params
    found = [_summarize(repo, item) for item in reversed(repo.discussions)]
    if query.get("type") in ("pull_request", "discussion"):
        found = [item for item in found if item["isPullRequest"] == (query["type"] == "pull_request")]
    if query.get("status") in ("open", "closed"):
        found = [item for item in found if (item["status"] in ("open", "draft")) == (query["status"] == "open")]
    if query.get("author"):
        found = [item for item in found if item["author"]["name"] == query["author"]]
    start = call.number("p", 0) * PAGE
    return answer({"discussions": found[start : start + PAGE], "count": len(found), "start": start})


def detail(call: Call) -> Response:
    repo = call.repo()
    item = _find(repo, call.params["num"])
    found = {**_summarize(repo, item), "events": item["events"]}
    if item["isPullRequest"]:
        base = call.backend.commit(repo, item["base_id"])
        ours = call.backend.commit(repo, item["base"])
        theirs = call.backend.commit(repo, f"refs/pr/{item['num']}")
        found["changes"] = {
            "base": item["base"],
            **({"mergeCommitId": item["merged"]} if "merged" in item else {}),
        }
        found["filesWithConflicts"] = [] if item["status"] == "merged" else _conflicting_paths(base, ours, theirs)
    return answer(found)


def comment(call: Call) -> Response:
    text = call.text("comment")
    return answer({"newMessage": _append_event(call, lambda item: _comment(text))})


def rename(call: Call) -> Response:
    title = call.text("title")

    def change(item: dict[str, Any]) -> dict[str, Any]:
        event = _event("title-change", **{"from": item["title"], "to": title})
        item["title"] = title
        return event

    return answer({"newTitle": _append_event(call, change)})


def status(call: Call) -> Response:
    wanted = call.text("status")
    if wanted not in ("open", "closed"):
        raise Refusal(400, '"status" must be one of [open, closed]')

    def change(item: dict[str, Any]) -> dict[str, Any]:
        if item["status"] == "merged":
            raise Refusal(409, "A merged pull request cannot be reopened or closed")
        item["status"] = wanted
        return _event("status-change", status=wanted)

    return answer({"newStatus": _append_event(call, change)})


def merge(call: Call) -> Response:
    """Bring the pull request's changes into its base branch as one commit. 409 where both changed a file."""
    repo = call.repo(write=True)
    item = _find(repo, call.params["num"])
    if not item["isPullRequest"] or item["status"] in ("merged", "closed"):
        raise Refusal(409, f"#{item['num']} is not an open pull request")
    # Three commits, as in git: where both began, what the branch is now, and what the request brings.
    base = call.backend.commit(repo, item["base_id"])
    ours = call.backend.commit(repo, item["base"])
    theirs = call.backend.commit(repo, f"refs/pr/{item['num']}")
    conflicts = _conflicting_paths(base, ours, theirs)
    if conflicts:
        raise Refusal(409, f"This pull request conflicts with '{item['base']}' in: {', '.join(conflicts)}")
    # Only what the request changed: files that others changed meanwhile stay theirs.
    edits: list[Add | Delete] = [
        Add(path, theirs.tree[path]) if path in theirs.tree else Delete(path, folder=False)
        for path in _changed_paths(base, theirs)
        if path in theirs.tree or path in ours.tree
    ]
    title = f"{item['title']} (#{item['num']})"
    # The head that was looked at is the parent: a commit that comes between is a 412, not a lost change.
    new = call.backend.store.add_commit(
        repo.kind, repo.id, item["base"], edits, CommitMessage(title, "", USER), parent=ours.id
    )

    def change(item: dict[str, Any]) -> dict[str, Any]:
        item["status"], item["merged"] = "merged", new.id
        return _event("status-change", status="merged")

    return answer({"newStatus": _append_event(call, change)})


def _add_discussion(
    repo: Repo,
    title: str,
    text: str,
    base: str | None = None,
    base_id: str | None = None,
    status: str = "open",
) -> dict[str, Any]:
    item: dict[str, Any] = {
        # Discussions and pull requests share their numbers, and none is ever deleted.
        "num": len(repo.discussions) + 1,
        "title": title,
        "status": status,
        "isPullRequest": base is not None,
        "createdAt": now(),
        "author": {"name": USER},
        "events": [_comment(text)] if text else [],
        "base": base,
        "base_id": base_id,
    }
    repo.discussions.append(item)
    return item


def _find(repo: Repo, number: str) -> dict[str, Any]:
    for item in repo.discussions:
        if str(item["num"]) == number:
            return item
    raise Refusal(404, f"Discussion not found: {repo.id} #{number}")


def _append_event(call: Call, change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    repo = call.repo(write=True)

    def update(repo: Repo) -> dict[str, Any]:
        item = _find(repo, call.params["num"])
        event = change(item)
        item["events"].append(event)
        return event

    return call.backend.store.update(repo.kind, repo.id, update)


def _summarize(repo: Repo, item: dict[str, Any]) -> dict[str, Any]:
    names = ("num", "title", "status", "isPullRequest", "createdAt", "author")
    return {
        **{name: item[name] for name in names},
        "repo": {"name": repo.id, "type": repo.kind.removesuffix("s")},
        "repoOwner": {"name": repo.owner},
    }


def _event(kind: str, **data: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4().hex[:24],
        "type": kind,
        "createdAt": now(),
        "author": {"name": USER},
        "data": data,
    }


def _comment(text: str) -> dict[str, Any]:
    latest = {
        "raw": text,
        "html": f"<p>{html.escape(text)}</p>",
        "updatedAt": now(),
        "author": {"name": USER},
    }
    return _event("comment", edited=False, hidden=False, latest=latest, history=[], numEdits=0)


def _changed_paths(old: Commit, new: Commit) -> list[str]:
    return sorted({path for path, _ in set(old.tree.items()) ^ set(new.tree.items())})


def _conflicting_paths(base: Commit, ours: Commit, theirs: Commit) -> list[str]:
    """Files that both sides changed, and not to the same content."""
    both = set(_changed_paths(base, ours)) & set(_changed_paths(base, theirs))
    return sorted(path for path in both if ours.tree.get(path) != theirs.tree.get(path))
