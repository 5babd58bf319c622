"""Releases under faults, in one process: ``python release_with_faults.py FAULTS`` prints one JSON object.

Every request of a first release and of an update is met, one at a time, by each kind of fault; FAULTS is the list
that the embedded Hub reads. Waiting between tries is left out.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import tenacity
from huggingface_hub import HfApi
from huggingface_hub.utils import close_session, set_client_factory

from hubtools.publishing.changes import Content
from hubtools.publishing.commits import STAGING, release
from hubtools.publishing.options import PushOptions

KINDS: dict[str, dict[str, object]] = {
    **{str(status): {"status": status} for status in (409, 412, 429, 500)},
    "500 after acting": {"status": 500, "after": True},
    "connection dropped before": {"status": 0},
    "connection dropped after": {"status": 0, "after": True},
}
FIRST = {
    "config.json": b"{}\n",
    "model.safetensors": b"\x00\x01" * 4000,
    "README.md": b"---\nlicense: mit\n---\n# One\n",
}
SECOND = {
    "config.json": b'{"a": 1}\n',
    "model.safetensors": b"\x01\x02" * 4000,
    "README.md": b"---\nlicense: mit\n---\n# Two\n",
}


def record_requests() -> list[str]:
    """Return the list to which each request of the client is added, as the method and path that a fault matches."""
    from huggingface_hub.utils._http import default_client_factory

    seen: list[str] = []

    def make_client() -> Any:
        client = default_client_factory()
        note = [lambda request: seen.append(f"{request.method} {request.url.path}")]
        client.event_hooks = {**client.event_hooks, "request": client.event_hooks["request"] + note}
        return client

    close_session()
    set_client_factory(make_client)
    return seen


def kill_at(number: int, after: bool, work: Callable[[], None]) -> None:
    """Do ``work`` in a child process that is killed at its request ``number``, before it is sent or when answered."""
    from huggingface_hub.utils._http import default_client_factory

    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    left = iter(range(number))

    def die(_: object) -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def make_client() -> Any:
        client = default_client_factory()
        name = "response" if after else "request"
        client.event_hooks = {**client.event_hooks, name: [*client.event_hooks[name], die]}
        return client

    close_session()
    set_client_factory(make_client)
    work()
    os._exit(0)


def push(api: HfApi, repo: str, files: dict[str, bytes], message: str) -> None:
    def check(revision: str) -> None:
        # As a stranger reads it: the weights of that very commit.
        path = Path(api.hf_hub_download(repo, "model.safetensors", revision=revision, force_download=True))
        assert path.read_bytes() == files["model.safetensors"]
        refs = api.list_repo_refs(repo)
        assert all(ref.target_commit != revision for ref in refs.tags), "tagged before it is verified"

    content = Content(dict(files), message=message, is_ours=lambda path: path.endswith(".safetensors"))
    release(api, repo, "model", content, PushOptions(), check=check)


def describe_faults(api: HfApi, repo: str, tags: list[str], files: dict[str, bytes]) -> Iterator[str]:
    """Yield what is not as it should be after a release."""
    refs = api.list_repo_refs(repo)
    if sorted(ref.name for ref in refs.tags) != tags:
        yield f"tags {[ref.name for ref in refs.tags]}"
    if [ref.name for ref in refs.branches if ref.name.startswith(STAGING)]:
        yield "a branch is left"
    head = str(api.repo_info(repo).sha)
    if tags and next(ref.target_commit for ref in refs.tags if ref.name == tags[-1]) != head:
        yield "main is not what is tagged"
    for path, data in files.items():
        if Path(api.hf_hub_download(repo, path, revision=head)).read_bytes() != data:
            yield f"{path} is another"


def main() -> None:
    listing = Path(sys.argv[1])
    warnings.simplefilter("ignore")
    tenacity.nap.time.sleep = lambda _: None  # type: ignore[attr-defined]
    seen = record_requests()
    api = HfApi()
    # Without a fault first, to learn the requests; paths differ by the repo's name and by hashes.
    push(api, "local/faults-none", FIRST, "one")
    first = len(seen)
    push(api, "local/faults-none", SECOND, "two")
    counts = {"first": first, "update": len(seen) - first}
    failures: dict[str, str] = {}
    cases = 0
    for stage, count in counts.items():
        files, tags, message = (FIRST, ["v1"], "one") if stage == "first" else (SECOND, ["v1", "v2"], "two")
        for number in range(count):
            for kind in (*KINDS, "killed before", "killed after"):
                cases += 1
                repo = f"local/faults-{stage}-{number}-{kind.replace(' ', '-')}"
                if stage == "update":
                    push(api, repo, FIRST, "one")
                try:
                    if kind in KINDS:
                        listing.write_text(json.dumps([{"path_regex": "^/", "skip": number, **KINDS[kind]}]))
                    else:
                        work = partial(push, api, repo, files, message)
                        kill_at(number, kind == "killed after", work)
                    push(api, repo, files, message)
                    listing.write_text("[]")
                    problems = [*describe_faults(api, repo, tags, files)]
                except Exception as error:
                    problems = [f"{type(error).__name__}: {error}"]
                finally:
                    listing.write_text("[]")
                if problems:
                    failures[f"{stage}, request {number + 1}, {kind}"] = "; ".join(problems)
    print(json.dumps({"requests": counts, "cases": cases, "failures": failures}))


if __name__ == "__main__":
    main()
