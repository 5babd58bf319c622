"""Repos on disk, without a server."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hubtools.localhub import lfs
from hubtools.localhub.gitignore import is_ignored
from hubtools.localhub.names import check_path, check_ref, check_repo_id
from hubtools.localhub.refusal import Refusal
from hubtools.localhub.store import Add, Commit, CommitMessage, Delete, Entry, Repo, Store
from hubtools.localhub.sweeping import sweep


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def commit(store: Store) -> Callable[..., Commit]:
    store.create(Repo("models", "local/m"), {".gitattributes": b""}, "local")

    def make(*edits: Add | Delete, parent: str | None = None) -> Commit:
        return store.add_commit("models", "local/m", "main", edits, CommitMessage("t", "", "local"), parent=parent)

    return make


def test_a_commit_id_is_40_hex_digits_and_its_files_can_be_read(store: Store, commit: Callable[..., Commit]) -> None:
    made = commit(Add("a/b.txt", store.add_blob(b"text")))
    assert len(made.id) == 40
    int(made.id, 16)
    repo = store.get("models", "local/m")
    assert repo
    read = store.commit(repo, store.resolve(repo, made.id[:7]))
    assert store.blob(read.tree["a/b.txt"]).read_bytes() == b"text"


def test_edits_apply_in_their_order(store: Store, commit: Callable[..., Commit]) -> None:
    blob = store.add_blob(b"x")
    commit(Add("d/old.txt", blob))
    made = commit(Delete("d", folder=True), Add("d/new.txt", blob))
    assert set(made.tree) == {".gitattributes", "d/new.txt"}
    with pytest.raises(Refusal, match="Entry not found"):
        commit(Delete("d/old.txt", folder=False))


def test_of_two_commits_on_one_parent_one_is_refused(store: Store, commit: Callable[..., Commit]) -> None:
    parent = commit(Add("a.txt", store.add_blob(b"0"))).id
    outcomes: list[int] = []

    def race(number: int) -> None:
        try:
            commit(Add("a.txt", store.add_blob(str(number).encode())), parent=parent)
            outcomes.append(200)
        except Refusal as error:
            outcomes.append(error.status)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [200] + [412] * 7


def test_parallel_commits_lose_none(store: Store, commit: Callable[..., Commit]) -> None:
    blob = store.add_blob(b"x")
    threads = [threading.Thread(target=commit, args=(Add(f"{n}.txt", blob),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    repo = store.get("models", "local/m")
    assert repo
    head = store.commit(repo, repo.branches["main"])
    assert {f"{n}.txt" for n in range(8)} <= set(head.tree)
    assert len(list(store.history(repo, head.id))) == 9


def test_a_sweep_removes_only_old_blobs_that_no_commit_names(store: Store, commit: Callable[..., Commit]) -> None:
    used, unused, fresh = (store.add_blob(content) for content in (b"used", b"unused", b"fresh"))
    commit(Add("a.txt", used))
    for entry in (used, unused):
        os.utime(store.blob(entry), (1, 1))
    assert sweep(store.root) == 1
    assert [store.blob(entry).exists() for entry in (used, unused, fresh)] == [True, False, True]


@pytest.mark.parametrize(
    ("check", "bad"),
    [(check_path, path) for path in ("", "/a", "a/", "a/../b", "./a", ".git/x", "a\nb", "a\x7f", "\ud800", "a" * 2000)]
    + [(check_ref, ref) for ref in ("", "a..b", "-a", "a b", "a/", "refs/pr/1", "a.lock", "a~1", "f" * 40)]
    + [(check_repo_id, name) for name in ("a", "a/b/c", "a/..", "../a", "a/b.git", "a/-b", "api/x", "a/b--c", "a/")],
)
def test_names_that_git_or_the_hub_refuse_are_refused(check: Callable[[str], None], bad: str) -> None:
    with pytest.raises(Refusal) as caught:
        check(bad)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("path", "size", "sample", "large"),
    [
        ("data/train.parquet", 100, b"PAR1", True),
        ("MODEL.SAFETENSORS", 100, b"", True),
        ("runs/events.out.tfevents.1.host", 10, b"", True),
        ("parquet", 100, b"text", False),
        ("vocab.txt", 100, "ü".encode()[:1], False),
        ("vocab.txt", 100, b"\xff\xfe" + b"text" * 10, True),
        ("blob", 100, b"a\x00b", True),
        ("huge.json", 11 << 20, b"{", True),
        ("empty.bin", 0, b"", False),
    ],
)
def test_large_and_binary_files_are_lfs(path: str, size: int, sample: bytes, large: bool) -> None:
    assert lfs.is_lfs(path, size, sample) is large


def test_an_lfs_entry_has_the_git_id_of_its_pointer() -> None:
    entry = Entry.of_lfs("4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393", 12345)
    # git hash-object over the example pointer of the git-lfs specification.
    assert entry.oid == "60c8d8ab2adcf57a391163a7eeb0cdb8bf348e44"
    assert entry.etag == entry.sha256


@pytest.mark.parametrize(
    ("pattern", "path", "out"),
    [
        ("*.log", "a/b.log", True),
        ("*.log", "a.login", False),
        ("/build", "build/x", True),
        ("/build", "a/build/x", False),
        ("cache/", "a/cache/x", True),
        ("cache/", "cache", False),
        ("a/**/z", "a/b/c/z", True),
        ("a/**/z", "a/z", True),
        ("*.log\n!keep.log", "keep.log", False),
        ("x[0-9].txt", "x5.txt", True),
        ("# note\n\n", "note", False),
    ],
)
def test_gitignore_patterns(pattern: str, path: str, out: bool) -> None:
    assert is_ignored(path, pattern) is out
