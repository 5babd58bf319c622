"""A release is whole or not at all, whatever happens to the requests that make it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from as_user import Command
from huggingface_hub import HfApi, constants

from hubtools.errors import VerificationFailed
from hubtools.localhub import start, stop
from hubtools.localhub.faults import VARIABLE
from hubtools.publishing.changes import Content
from hubtools.publishing.commits import ParentMoved, release
from hubtools.publishing.options import PushOptions

CARD = b"---\nlicense: mit\n---\n# A model\n"


@pytest.fixture(autouse=True)
def _without_xet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its cache of chunks lies in the user's home


def content(words: bytes) -> Content:
    return Content({"config.json": words, "README.md": CARD}, message="a model", is_ours=lambda path: False)


def state(api: HfApi, repo: str) -> tuple[str, list[str], list[str]]:
    """Commit of main, tags and branches."""
    refs = api.list_repo_refs(repo)
    return str(api.repo_info(repo).sha), [ref.name for ref in refs.tags], [ref.name for ref in refs.branches]


def do_nothing(_: str) -> None:
    pass


def test_what_is_checked_is_what_is_released(api: HfApi) -> None:
    repo, checked = "local/transaction-checked", []

    def check(revision: str) -> None:
        checked.append(Path(api.hf_hub_download(repo, "config.json", revision=revision)).read_bytes())
        assert state(api, repo)[1] == []

    done = release(api, repo, "model", content(b"one"), PushOptions(), check=check)
    assert checked == [b"one"]
    assert state(api, repo) == (done.revision, ["v1"], ["main"])


def test_a_release_that_fails_its_check_leaves_main_and_tags_as_they_were(api: HfApi) -> None:
    repo = "local/transaction-failed"
    release(api, repo, "model", content(b"one"), PushOptions(), check=do_nothing)
    before = state(api, repo)

    def check(_: str) -> None:
        raise VerificationFailed("it answers otherwise")

    with pytest.raises(VerificationFailed):
        release(api, repo, "model", content(b"two"), PushOptions(), check=check)
    assert state(api, repo) == before


@pytest.mark.parametrize("named", [True, False], ids=["a parent is named", "none is"])
def test_of_two_pushes_at_once_the_second_sees_the_first(api: HfApi, named: bool) -> None:
    repo = f"local/transaction-two-{named}".lower()
    head = release(api, repo, "model", content(b"one"), PushOptions(), check=do_nothing).revision
    others = [b"theirs"]

    def check(_: str) -> None:
        if others:
            api.upload_file(path_or_fileobj=others.pop(), path_in_repo="theirs.txt", repo_id=repo)

    def push() -> object:
        parent = head if named else None
        return release(api, repo, "model", content(b"two"), PushOptions(), check=check, parent=parent)

    if named:
        with pytest.raises(ParentMoved):
            push()
        assert state(api, repo)[1] == ["v1"]
    else:
        push()
        assert state(api, repo)[1] == ["v1", "v2"]
    assert "theirs.txt" in api.list_repo_files(repo)
    assert state(api, repo)[2] == ["main"]


@pytest.mark.exhaustive
def test_no_fault_at_any_request_ends_a_release_or_leaves_half_of_one(
    hubtools: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request of a first release and of an update: every status, dropped connections, and kill -9."""
    faults = tmp_path / "faults.json"
    monkeypatch.setenv(VARIABLE, str(faults))
    hub = start(tmp_path / "hub")
    try:
        environ = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HUB_DISABLE_XET": "1"}
        done = hubtools.run(
            sys.executable, Path(__file__).with_name("release_with_faults.py"), faults, env=environ, timeout=1200
        )
    finally:
        stop(tmp_path / "hub")
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["failures"] == {}
    assert report["cases"] == 9 * sum(report["requests"].values())
    assert report["cases"] > 400
