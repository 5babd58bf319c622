"""Routes over repos: create, delete, move, settings, info, listing, refs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator
from typing import Any

from starlette.responses import Response

from hubtools.localhub import lfs, spaces
from hubtools.localhub.backend import USER
from hubtools.localhub.describe import describe_files
from hubtools.localhub.names import check_ref, check_repo_id
from hubtools.localhub.refusal import Refusal, revision_not_found
from hubtools.localhub.store import KINDS, Commit, Repo
from hubtools.localhub.web import Call, answer, answer_page

_SORT_KEYS = {"lastModified": "lastModified", "createdAt": "createdAt"}
_LISTED = (
    "_id", "id", "modelId", "author", "private", "gated", "disabled", "likes", "downloads", "trendingScore",
    "tags", "pipeline_tag", "library_name", "sdk", "createdAt", "lastModified", "sha",
)  # fmt: skip


def whoami(call: Call) -> Response:
    if not call.owner:
        raise Refusal(401, "Invalid username or password.")
    role = {"displayName": "hubtools", "role": "write", "createdAt": "2026-01-01T00:00:00.000Z"}
    return answer(
        {
            "type": "user",
            "id": _make_id(USER),
            "name": USER,
            "fullname": "The user of this embedded Hub",
            "email": None,
            "emailVerified": True,
            "isPro": False,
            "canPay": False,
            "periodEnd": None,
            "avatarUrl": "",
            "orgs": [],
            "auth": {"type": "access_token", "accessToken": role},
        }
    )


def create(call: Call) -> Response:
    call.need_owner()
    kind, repo_id = _read_repo_id(call)
    check_repo_id(repo_id)
    body = call.json()
    repo = Repo(kind, repo_id, private=_read_visibility(body, False))
    url = f"{call.base}/{repo.prefix}"
    existing = call.backend.find(kind, repo_id)
    # create_repo(exist_ok=True) of the clients comes here each time a release is made.
    if existing:
        # JSON with "url" also here: create_repo(exist_ok=True) reads it from the 409.
        note = ", a mirrored folder and read-only" if existing.read_only else ""
        raise Refusal(409, f"You already created this {kind.removesuffix('s')} repo: {repo_id}{note}", url=url)
    files = {".gitattributes": lfs.GITATTRIBUTES.encode()}
    if kind == "spaces":
        repo.sdk = call.text("sdk")
        repo.space = spaces.read_settings(body)
        files["README.md"] = spaces.write_first_card(repo).encode()
    try:
        call.backend.store.create(repo, files, USER)
    except Refusal as error:  # created by another thread just now
        error.extra["url"] = url
        raise
    return answer({"url": url, "name": repo_id, "id": _make_id(f"{kind}/{repo_id}")})


def delete(call: Call) -> Response:
    call.need_owner()
    kind, repo_id = _read_repo_id(call)
    call.lookup(kind, repo_id, write=True)
    call.backend.store.delete(kind, repo_id)
    return answer({})


def move(call: Call) -> Response:
    call.need_owner()
    kind = _read_kind(call.json().get("type"))
    old, new = call.text("fromRepo"), call.text("toRepo")
    call.lookup(kind, old, write=True)
    check_repo_id(new)
    if call.backend.mirrors.get(kind, new):
        raise Refusal(409, f"A mirrored folder has this name: {new}")
    call.backend.store.move(kind, old, new)
    return answer({"url": f"{call.base}/{Repo(kind, new).prefix}"})


def settings(call: Call) -> Response:
    repo, body = call.repo(write=True), call.json()
    gated = body.get("gated", repo.gated)
    # The clients send false, never null, to open a gate.
    if gated not in (False, "auto", "manual"):
        raise Refusal(400, '"gated" must be one of [auto, manual, false]')

    def change(repo: Repo) -> None:
        repo.private = _read_visibility(body, repo.private)
        repo.gated = gated

    call.backend.store.update(repo.kind, repo.id, change)
    return answer({"private": _read_visibility(body, repo.private), "gated": gated})


def auth_check(call: Call) -> Response:
    repo = call.repo(write="write" in call.params)
    check_gate(call, repo)
    return answer({})


def info(call: Call) -> Response:
    repo = call.repo()
    commit = call.commit(repo)
    found = describe(call, repo, commit)
    found["siblings"] = [_file_entry(path, entry, call.flag("blobs")) for path, entry in commit.tree.items()]
    found["usedStorage"] = sum(entry.size for entry in commit.tree.values())
    return answer(_select_fields(call, found))


def listing(call: Call) -> Response:
    """Repos the caller may see, by search, author, filter; the most recently changed first."""
    kind = call.params["kind"]
    if kind not in KINDS:
        raise Refusal(404, f"Unknown kind of repo: {kind}")
    query = call.request.query_params
    words = [word.lower() for word in call.values("search")]
    wanted = [tag for value in call.values("filter") for tag in value.split(",") if tag]
    wanted += [tag for name in ("pipeline_tag", "library") for tag in call.values(name)]

    def is_asked_for(repo: Repo) -> bool:
        # Who is not logged in does not learn that it exists.
        if repo.private and not call.owner:
            return False
        if query.get("author") and repo.owner != query["author"]:
            return False
        if any(word not in repo.id.lower() for word in words):
            return False
        return not query.get("gated") or bool(repo.gated) == call.flag("gated")

    found = []
    for _, commit, item in _describe_readable(call, filter(is_asked_for, call.backend.all(kind))):
        # Every tag that is asked for must be there, as on the Hub.
        if not set(wanted) <= {*item["tags"], item.get("pipeline_tag"), item.get("library_name")}:
            continue
        if call.flag("full") or call.values("expand"):
            item["siblings"] = [_file_entry(path, entry, False) for path, entry in commit.tree.items()]
        else:
            kept = {
                *_LISTED,
                *(["cardData"] if call.flag("cardData") else []),
                *(["config"] if call.flag("config") else []),
            }
            item = {name: value for name, value in item.items() if name in kept}
        found.append(item)
    # By id first, as sorting is stable: repos of the same time keep one order from call to call.
    found.sort(key=lambda item: item["id"])
    found.sort(key=lambda item: item[_SORT_KEYS.get(query.get("sort", ""), "lastModified")], reverse=True)
    if query.get("direction") == "1":
        found.reverse()
    return answer_page(call, [_select_fields(call, item) for item in found])


def mine(call: Call) -> Response:
    """The user's own repos with the space they take, largest first; what ``hf repos ls`` shows."""
    call.need_owner()
    owner = call.params.get("namespace", USER)
    found: list[dict[str, Any]] = []
    for kind in KINDS:
        repos = (repo for repo in call.backend.store.all(kind) if repo.owner == owner)
        for repo, commit, _ in _describe_readable(call, repos):
            found.append(
                {
                    "id": repo.id,
                    "type": kind.removesuffix("s"),
                    "updatedAt": commit.date,
                    "visibility": "private" if repo.private else "public",
                    "storage": sum(entry.size for entry in commit.tree.values()),
                }
            )
    # No division by zero where nothing is stored yet.
    total = sum(item["storage"] for item in found) or 1
    found.sort(key=lambda item: item["storage"], reverse=True)
    return answer_page(call, [{**item, "storagePercent": 100 * item["storage"] / total} for item in found])


def _describe_readable(call: Call, repos: Iterable[Repo]) -> Iterator[tuple[Repo, Commit, dict[str, Any]]]:
    """Repos with their head and info. One with a damaged file is left out and named: the others are served."""
    for repo in repos:
        try:
            commit = call.backend.commit(repo, "main")
            item = describe(call, repo, commit)
        except Refusal as error:
            logging.error("%s %s is left out: %s", repo.kind, repo.id, error.message)
        else:
            yield repo, commit, item


def describe(call: Call, repo: Repo, commit: Commit) -> dict[str, Any]:
    """The info of a repo, without its file list."""
    found: dict[str, Any] = {
        "_id": _make_id(f"{repo.kind}/{repo.id}"),
        "id": repo.id,
        "author": repo.owner,
        "sha": commit.id,
        "createdAt": repo.created,
        "lastModified": commit.date,
        "private": repo.private,
        "gated": repo.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "trendingScore": 0,
        **describe_files(call.backend, repo, commit),
    }
    # Older clients read the id under this name.
    if repo.kind == "models":
        found["modelId"] = repo.id
    if repo.kind == "spaces":
        found["runtime"] = spaces.describe_runtime(repo)
        found["subdomain"] = repo.id.replace("/", "-").lower()
    return found


def refs(call: Call) -> Response:
    repo = call.repo()

    def listed(names: dict[str, str], folder: str) -> list[dict[str, str]]:
        return [
            {"name": name, "ref": f"refs/{folder}/{name}", "targetCommit": commit} for name, commit in names.items()
        ]

    found = {"branches": listed(repo.branches, "heads"), "tags": listed(repo.tags, "tags"), "converts": []}
    if call.flag("include_prs"):
        found["pullRequests"] = [{**pull, "name": pull["ref"]} for pull in listed(repo.pulls, "pr")]
    return answer(found)


def create_branch(call: Call) -> Response:
    repo, name = call.repo(write=True), call.params["rev"]
    check_ref(name)
    start = call.json().get("startingPoint") or "main"

    def change(repo: Repo) -> None:
        if name in repo.branches and not call.json().get("overwrite"):
            raise Refusal(409, f"Reference already exists: refs/heads/{name}")
        repo.branches[name] = call.backend.store.resolve(repo, str(start))

    call.backend.store.update(repo.kind, repo.id, change)
    return answer({})


def delete_branch(call: Call) -> Response:
    repo, name = call.repo(write=True), call.params["rev"]
    # The default branch: without it no revision would be found by default.
    if name == "main":
        raise Refusal(403, "The main branch cannot be deleted")
    call.backend.store.update(repo.kind, repo.id, lambda repo: _remove_name(repo.branches, name))
    return answer({})


def create_tag(call: Call) -> Response:
    repo, name = call.repo(write=True), call.text("tag")
    check_ref(name)

    def change(repo: Repo) -> None:
        if name in repo.tags:
            raise Refusal(409, f"Reference already exists: refs/tags/{name}")
        repo.tags[name] = call.backend.store.resolve(repo, call.params["rev"])

    call.backend.store.update(repo.kind, repo.id, change)
    return answer({})


def delete_tag(call: Call) -> Response:
    repo, name = call.repo(write=True), call.params["rev"]
    call.backend.store.update(repo.kind, repo.id, lambda repo: _remove_name(repo.tags, name))
    return answer({})


def squash(call: Call) -> Response:
    repo = call.repo(write=True)
    title = call.text("message", "Super-squash branch")
    call.backend.store.squash(repo.kind, repo.id, call.params["rev"], title, USER)
    return answer({})


def check_gate(call: Call, repo: Repo) -> None:
    """The one user owns everything and passes every gate; without a token nobody does."""
    if repo.gated and not call.owner:
        raise Refusal(401, f"Access to {repo.id} is restricted. You must have access to it.", "GatedRepo")


def _remove_name(names: dict[str, str], name: str) -> None:
    if names.pop(name, None) is None:
        raise revision_not_found(name)


def _read_repo_id(call: Call) -> tuple[str, str]:
    body = call.json()
    name, owner = call.text("name"), body.get("organization") or USER
    # Some clients send the whole id as the name.
    return _read_kind(body.get("type")), name if "/" in name else f"{owner}/{name}"


def _read_kind(singular: Any) -> str:
    kind = f"{singular or 'model'}s"
    if kind not in KINDS:
        raise Refusal(400, f'"type" must be one of [model, dataset, space], found "{singular}"')
    return kind


def _read_visibility(body: dict[str, Any], default: bool) -> bool:
    # Newer clients send a visibility, older ones a flag.
    if body.get("visibility") is not None:
        if body["visibility"] not in ("public", "private", "protected"):
            raise Refusal(400, '"visibility" must be one of [public, private]')
        return bool(body["visibility"] != "public")
    return default if body.get("private") is None else bool(body["private"])


def _file_entry(path: str, entry: Any, blobs: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"rfilename": path}
    if blobs:
        found.update(size=entry.size, blobId=entry.oid)
        if entry.sha256:
            pointer = len(lfs.pointer(entry.sha256, entry.size))
            found["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": pointer}
    return found


def _select_fields(call: Call, found: dict[str, Any]) -> dict[str, Any]:
    """Only what ``expand`` asks for, where it asks."""
    fields = call.values("expand")
    return {name: found[name] for name in ("_id", "id", *fields) if name in found} if fields else found


def _make_id(name: str) -> str:
    """24 hex digits, as the Hub's own ids have."""
    return hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:24]
