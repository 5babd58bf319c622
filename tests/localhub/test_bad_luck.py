"""What a disk, a client or a file of patterns does to the embedded Hub: one repo is lost at worst, and named."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.utils import get_session

from hubtools.localhub import Hub, cards
from hubtools.localhub.gitignore import is_ignored
from hubtools.localhub.refusal import Refusal
from hubtools.localhub.store import Add, CommitMessage, Repo, Store, _read_commit
from hubtools.localhub.sweeping import sweep
from hubtools.localhub.web import _decode


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    for name in ("good", "bad"):
        made.create(Repo("models", f"me/{name}"), {"README.md": name.encode()}, "me")
    return made


@pytest.mark.parametrize("content", ["", '{"kind": "models", "id"', '{"kind": "models", "id": "me/bad", "news": 1}'])
def test_a_repo_whose_record_is_damaged_is_left_out_and_named(
    store: Store, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (store.root / "repos/models/me/bad/repo.json").write_text(content)
    with caplog.at_level(logging.ERROR):
        assert [repo.id for repo in store.all("models")] == ["me/good"]
    assert "models me/bad is left out" in caplog.text
    with pytest.raises(Refusal):
        store.create(Repo("models", "me/bad"), {}, "me")


def test_nothing_is_swept_while_a_commit_is_damaged(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    [commit] = (store.root / "repos/models/me/bad/commits").glob("*.json")
    commit.write_text(commit.read_text()[:20])
    monkeypatch.setattr("hubtools.localhub.sweeping.SWEEP_AFTER", -1)
    assert sweep(store.root) == 0
    repo = store.get("models", "me/bad")
    assert repo
    _read_commit.cache_clear()  # as after a start
    with pytest.raises(Refusal, match="damaged"):
        store.commit(repo, commit.stem)


def test_a_number_that_json_does_not_have_is_refused() -> None:
    for text in (b'{"a": NaN}', b'{"a": [-Infinity]}'):
        with pytest.raises(Refusal):
            _decode(text, "application/json")
    assert json.dumps(cards.parse("---\na: .nan\nb: [.inf, 1.5]\n---\n"), allow_nan=False)


def test_aliases_that_multiply_are_refused_and_others_are_read() -> None:
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12))]
    with pytest.raises(cards.CardError, match="aliases"):
        cards.parse("---\n" + "\n".join(lines) + "\n---\n")
    assert cards.parse("---\na: &a [x]\nb: *a\n---\n") == {"a": ["x"], "b": ["x"]}


@pytest.mark.parametrize(("pattern", "path", "ignored"), [
    ("*" + "a*" * 25 + "b", "a" * 200, False), ("**/" * 12 + "x", "y/" * 40 + "z", False), ("a*b", "dir/axxb", True),
    ("build/", "build/x", True), ("build/", "build", False), ("docs/**", "docs/a/b", True), ("/x", "y/x", False),
    ("a/**/z", "a/z", True), ("[^a]", "b", True), ("*.bin\n!keep.bin", "keep.bin", False),
])  # fmt: skip
def test_patterns_keep_out_what_git_would_and_none_takes_long(pattern: str, path: str, ignored: bool) -> None:
    # All ways to divide a path among the stars would take years.
    assert is_ignored(path, pattern) is ignored


@pytest.mark.parametrize("content", ["", '{"tree": {"a": ', '{"tree": {"a": 3}}', '{"tree": {}, "news": 1}', "[]"])
def test_a_damaged_commit_takes_its_own_repo_out_of_the_lists_alone(
    content: str, api: HfApi, hub: Hub, new_repo: Callable[..., str]
) -> None:
    good, bad, lost = new_repo(), new_repo(), new_repo()
    commits = hub.data_dir / "repos/models" / bad / "commits"
    # A commit that the server has not read yet, as after a start.
    head = api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=bad).oid
    (commits / f"{'0' * 39}1.json").write_text(content)
    record = hub.data_dir / "repos/models" / bad / "repo.json"
    record.write_text(record.read_text().replace(str(head), f"{'0' * 39}1"))
    record = hub.data_dir / "repos/models" / lost / "repo.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "branches": []}))
    listed = {model.id for model in api.list_models()}
    assert good in listed
    assert not {bad, lost} & listed
    page = get_session().get(f"{hub.url}/").text
    assert good in page
    assert lost not in page
    owner = {"Authorization": f"Bearer {hub.token}"}
    mine = get_session().get(f"{hub.url}/api/settings/repositories?limit=1000", headers=owner).json()
    assert good in {item["id"] for item in mine}
    answer = get_session().get(f"{hub.url}/api/models/{bad}", headers=owner)
    assert answer.status_code == 500
    assert "damaged" in answer.json()["error"]
    log = (hub.data_dir / "server.log").read_text()
    assert f"models {bad} is left out" in log
    assert f"models {lost} is left out" in log
    for repo in (bad, lost):  # for the tests that follow
        shutil.rmtree(hub.data_dir / "repos/models" / repo)


def test_what_is_acknowledged_is_on_the_disk_with_the_folders_that_lead_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    synced: set[int] = set()

    def note(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        real(handle)

    store = Store(tmp_path)
    monkeypatch.setattr(os, "fsync", note)
    store.create(Repo("models", "you/new"), {"README.md": b"first"}, "me")
    add = Add("a/b.txt", store.add_blob(b"second"))
    store.add_commit("models", "you/new", "main", [add], CommitMessage("add", "", "me"))
    store.move("models", "you/new", "they/moved")
    left = [path for path in tmp_path.rglob("*") if path.stat().st_ino not in synced]
    # The moved folder's own entry stands in the folder above it; nothing acknowledged lies in the others.
    assert {path.relative_to(tmp_path).as_posix() for path in left} <= {"tmp", "repos/models/they/moved"}
