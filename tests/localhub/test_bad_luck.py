"""What a disk, a client or a file of patterns does to the embedded Hub: one repo is lost at worst, and named."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from hubtools.localhub import cards
from hubtools.localhub.gitignore import is_ignored
from hubtools.localhub.refusal import Refusal
from hubtools.localhub.store import Repo, Store, _read_commit
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
    monkeypatch.setattr("hubtools.localhub.store.SWEEP_AFTER", -1)
    assert store.sweep() == 0
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
