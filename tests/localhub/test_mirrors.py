"""Folders served as read-only repos."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import get_session

from hubtools.localhub import Hub, start
from hubtools.localhub.mirrors import Mirrors
from hubtools.localhub.store import Commit


def test_a_folder_is_a_model_or_a_dataset_by_its_config(api: HfApi) -> None:
    assert api.model_info("acme/model").config == {"model_type": "modernbert"}
    assert "acme/corpus" in [item.id for item in api.list_datasets(author="acme")]
    assert [item.id for item in api.list_models(author="acme")] == ["acme/model"]
    with pytest.raises(RepositoryNotFoundError):
        api.dataset_info("acme/model")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("acme/corpus")


def test_links_that_lead_out_of_the_folder_are_not_served(api: HfApi, hub: Hub) -> None:
    files = api.list_repo_files("acme/corpus", repo_type="dataset")
    assert files == ["big.parquet", "data/train.csv", "inside.csv"]
    for path in ("link.txt", "folder/secret.txt", "..%2F..%2Foutside%2Fsecret.txt"):
        response = get_session().get(f"{hub.url}/datasets/acme/corpus/resolve/main/{path}")
        assert response.status_code == 404
    assert not api.repo_exists("acme/elsewhere", repo_type="dataset")


def test_a_mirrored_repo_cannot_be_written_to(api: HfApi) -> None:
    corpus = {"repo_id": "acme/corpus", "repo_type": "dataset"}
    for write in (
        lambda: api.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", **corpus),
        lambda: api.create_tag("acme/corpus", tag="v1", repo_type="dataset"),
        lambda: api.update_repo_settings(**corpus, private=True),
        lambda: api.delete_repo(**corpus),
    ):
        with pytest.raises(HfHubHTTPError, match="read-only") as caught:
            write()
        assert caught.value.response.status_code == 403
    assert api.create_repo(**corpus, exist_ok=True).repo_id == "acme/corpus"


def test_the_commit_is_the_same_as_long_as_the_files_are(tmp_path: Path) -> None:
    listing, root = tmp_path / "mirrors.json", tmp_path / "mirror"
    listing.write_text(f'["{root}"]')
    folder = root / "acme" / "corpus"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    mirrors = Mirrors(listing)

    def head() -> str:
        repo = mirrors.get("datasets", "acme/corpus")
        assert repo
        return repo.branches["main"]

    first = head()
    os.utime(folder / "a.txt", (1, 1))
    assert head() == first
    (folder / "a.txt").write_text("b")
    second = head()
    assert second != first
    repo = mirrors.get("datasets", "acme/corpus")
    assert repo
    assert mirrors.commit(repo, second[:8]).id == second
    with pytest.raises(Exception, match="Invalid rev id"):
        mirrors.commit(repo, first)


def test_a_revision_that_was_never_there_is_not_found(api: HfApi) -> None:
    with pytest.raises(RevisionNotFoundError):
        api.dataset_info("acme/corpus", revision="v2")


def test_a_mirror_named_later_is_served_without_a_restart(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    (tmp_path / "later" / "data").mkdir(parents=True)
    (tmp_path / "later" / "data" / "x.txt").write_text("x")
    assert start(hub.data_dir, mirrors=[tmp_path]).pid == hub.pid
    assert api.list_repo_files("later/data", repo_type="dataset") == ["x.txt"]
    assert "later/data" in get_session().get(hub.url).text


def test_a_folder_that_is_the_copy_of_a_commit_answers_to_its_id(tmp_path: Path) -> None:
    listing, root = tmp_path / "mirrors.json", tmp_path / "mirror"
    listing.write_text(f'["{root}"]')
    folder = root / "acme" / "corpus"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    mirrors, named = Mirrors(listing), "0123456789abcdef0123456789abcdef01234567"

    def head() -> Commit:
        repo = mirrors.get("datasets", "acme/corpus")
        assert repo
        return mirrors.commit(repo, "main")

    of_content = head().id
    for content, expected in ((f"{named}\n", named), ("../../etc/passwd", of_content), ("", of_content)):
        (folder / ".revision").write_text(content)
        assert head().id == expected
        assert list(head().tree) == ["a.txt"]
    assert head().id != named
