"""Plain pages, so that the URLs the clients print open in a browser. Everything shown is escaped."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from starlette.responses import HTMLResponse, RedirectResponse, Response

from hubtools.localhub import collection, spaces
from hubtools.localhub.refusal import Refusal, entry_not_found
from hubtools.localhub.store import KINDS, Commit, Repo
from hubtools.localhub.web import Call

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "pre{background:#f5f5f5;padding:1rem;overflow:auto;white-space:pre-wrap}"
    "td{padding:.1rem 1rem .1rem 0}td.n{text-align:right}"
    "@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}pre{background:#222}a{color:#8bf}}"
)


def index(call: Call) -> Response:
    parts = ["<p>The embedded Hub of hubtools, on this machine only.</p>"]
    for kind in KINDS:
        repos = [repo for repo in call.backend.all(kind) if call.owner or not repo.private]
        links = [(repo.prefix, escape(repo.id), " (mirrored)" if repo.read_only else "") for repo in repos]
        items = "".join(f'<li><a href="/{prefix}">{name}</a>{note}</li>' for prefix, name, note in links)
        parts.append(f"<h2>{kind.title()}</h2>" + (f"<ul>{items}</ul>" if items else "<p>None yet.</p>"))
    return _page("Embedded Hub", "".join(parts))


def repo(call: Call) -> Response:
    """A repo at a revision: its files, and its card as text."""
    found = call.repo()
    revision = call.params.get("rev", "main")
    commit = call.commit(found)
    note = f"<p>{escape(spaces.NOT_RUN)}</p>" if found.kind == "spaces" else ""
    # As text: rendered, a card of somebody else's could hold anything.
    card = call.backend.text(found, commit, "README.md")
    shown = f"<h2>Card</h2><pre>{escape(card)}</pre>" if card else "<p>No card.</p>"
    title = f"<p>{escape(revision)} at {commit.id[:12]}: {escape(commit.title)} ({escape(commit.date)})</p>"
    return _page(found.id, note + title + _files(found, commit) + shown)


def commit(call: Call) -> Response:
    """What a commit changed, by file."""
    found = call.repo()
    new = call.commit(found)
    old = call.backend.commit(found, new.parent).tree if new.parent else {}
    rows = []
    # What stands in one of the two trees alone, or with another content.
    for path in sorted({path for path, _ in set(old.items()) ^ set(new.tree.items())}):
        verb = "added" if path not in old else "deleted" if path not in new.tree else "changed"
        rows.append(f"<tr><td>{verb}</td><td>{escape(path)}</td></tr>")
    text = f"{new.title}\n\n{new.message}".strip()
    body = f"<p>{escape(new.id)}<br>{escape(new.date)}</p><pre>{escape(text)}</pre>"
    back = f'<p><a href="/{found.prefix}">{escape(found.id)}</a></p>'
    return _page(new.title, back + body + f"<table>{''.join(rows)}</table>")


def blob(call: Call) -> Response:
    found = call.repo()
    commit, path = call.commit(found), call.params["path"]
    if path not in commit.tree:
        raise entry_not_found(path, commit.id)
    return RedirectResponse(f"/{found.prefix}/resolve/{commit.id}/{quote(path)}")


def discussion(call: Call) -> Response:
    found = call.repo()
    for item in found.discussions:
        if str(item["num"]) == call.params["num"]:
            kind = "Pull request" if item["isPullRequest"] else "Discussion"
            comments = [e["data"]["latest"]["raw"] for e in item["events"] if e["type"] == "comment"]
            body = f"<p>{kind} #{item['num']}, {escape(item['status'])}</p>"
            return _page(item["title"], body + "".join(f"<pre>{escape(text)}</pre>" for text in comments))
    raise Refusal(404, f"Discussion not found: {found.id} #{call.params['num']}")


def collection_page(call: Call) -> Response:
    slug = f"{call.params['owner']}/{call.params['slug']}"
    found = collection.find(call, slug)
    if not found:
        raise Refusal(404, f"Collection not found: {slug}")
    items = []
    for entry in found["items"]:
        prefix = {"dataset": "datasets/", "space": "spaces/"}.get(entry["type"], "")
        note = escape(entry.get("note", {}).get("text", ""))
        items.append(f'<li><a href="/{prefix}{escape(entry["id"])}">{escape(entry["id"])}</a> {note}</li>')
    return _page(found["title"], f"<p>{escape(found['description'])}</p><ul>{''.join(items)}</ul>")


def _files(repo: Repo, commit: Commit) -> str:
    rows = "".join(
        f'<tr><td><a href="/{repo.prefix}/resolve/{commit.id}/{quote(path)}">{escape(path)}</a></td>'
        f'<td class="n">{entry.size:,} bytes</td></tr>'
        for path, entry in commit.tree.items()
    )
    return f"<h2>Files</h2><table>{rows}</table>"


def _page(title: str, body: str) -> Response:
    title = escape(title)
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    # The pages hold no script and need none; what a repo holds must not bring its own.
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
    return HTMLResponse(f'{head}<p><a href="/">Embedded Hub</a></p><h1>{title}</h1>{body}</html>', headers=headers)
