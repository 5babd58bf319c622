"""``push-dataset`` on the embedded Hub: gates, licences, pull requests, dry runs, and edits that survive."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from as_user import Command, commits, own_rows
from huggingface_hub import CommitOperationAdd, DatasetCard, HfApi, constants, hf_hub_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from test_bad_input import complaint

from hubtools.localhub import Hub

Push = Callable[..., Any]


@pytest.fixture
def push(hubtools: Command, flags: tuple[object, ...]) -> Push:
    return lambda task, name, *more, **options: hubtools(
        "push-dataset", task, "--dataset-name", name, *more, *flags, **options
    )


def card_of(api: HfApi, name: str, **options: Any) -> str:
    path = api.hf_hub_download(f"local/{name}", "README.md", repo_type="dataset", **options)
    return Path(path).read_text(encoding="utf-8")


def tags(api: HfApi, name: str) -> dict[str, str]:
    return {ref.name: ref.target_commit for ref in api.list_repo_refs(f"local/{name}", repo_type="dataset").tags}


def by_hand(api: HfApi, name: str, text: str, title: str = "Update README.md") -> str:
    done = api.create_commit(
        f"local/{name}", [CommitOperationAdd("README.md", text.encode())], repo_type="dataset", commit_message=title
    )
    return str(done.oid)


# --- what a person wrote --------------------------------------------------------------------------------------------


def test_a_round_trip_keeps_the_edit_and_the_second_push_makes_no_commit_and_no_tag(
    push: Push, api: HfApi, tmp_path: Path
) -> None:
    push("jailbreak", "trip")
    first = dict(tags(api, "trip"))
    assert list(first) == ["v1"]
    card = DatasetCard(card_of(api, "trip"))
    card.data["thumbnail"] = "https://example.org/a.png"
    card.text = f"Above: a person's words.\n\n{card.text}\n\n## Thanks\n\nBelow: more of them.\n"
    edit = by_hand(api, "trip", str(card))

    unchanged = json.loads(push("jailbreak", "trip", "--json").stdout)["jailbreak"]
    assert commits(api, "local/trip", "dataset")[0] == edit
    assert tags(api, "trip") == first, "what was released is what it was, whatever stands around it"
    assert (unchanged["changed"], unchanged["tag"], unchanged["revision"]) == (False, "v1", first["v1"])

    push("jailbreak", "trip", "--source", own_rows(tmp_path / "mine.csv"), "--license", "cc-by-4.0")
    head, below, *_ = commits(api, "local/trip", "dataset")
    assert below == edit
    assert tags(api, "trip") == first | {"v2": head}
    now = DatasetCard(card_of(api, "trip"))
    assert now.data["thumbnail"] == "https://example.org/a.png"
    assert now.data["license"] == "cc-by-4.0"
    assert now.text.lstrip().startswith("Above: a person's words.")
    assert now.text.rstrip().endswith("Below: more of them.")

    push("jailbreak", "trip")
    assert commits(api, "local/trip", "dataset")[0] == head
    assert tags(api, "trip") == first | {"v2": head}


def test_a_push_that_was_killed_before_its_tag_is_tagged_by_the_next(push: Push, api: HfApi) -> None:
    push("intent", "untagged")
    [release] = tags(api, "untagged").values()
    api.delete_tag("local/untagged", tag="v1", repo_type="dataset")
    by_hand(api, "untagged", card_of(api, "untagged") + "\nA note.\n")
    push("intent", "untagged")
    assert tags(api, "untagged") == {"v1": release}


# --- dry runs -------------------------------------------------------------------------------------------------------


def test_a_dry_run_shows_the_diff_of_the_card_and_every_file_with_its_size(
    push: Push, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push("jailbreak", "shown")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    api.create_commit(
        "local/shown",
        [CommitOperationAdd("data/train-00001-of-00002.parquet", b"PAR1 an older shard")],
        repo_type="dataset",
        commit_message="a shard",
    )
    before = commits(api, "local/shown", "dataset")
    sizes = {
        entry.path: entry.size for entry in api.list_repo_tree("local/shown", recursive=True, repo_type="dataset")
        if hasattr(entry, "size")
    }  # fmt: skip
    other = ("--source", own_rows(tmp_path / "mine.csv"), "--license", "mit", "--dry-run")
    done = push("jailbreak", "shown", *other)
    assert "-license: apache-2.0\n+license: mit\n" in done.stdout
    assert done.stdout.startswith("--- README.md on the Hub\n+++ README.md\n@@ ")
    assert "jailbreak: would delete data/train-00001-of-00002.parquet (19 bytes)\n" in done.stderr
    assert f" bytes, now {sizes['facts.json']:,})\n" in done.stderr

    found = json.loads(push("jailbreak", "shown", *other, "--json").stdout)["jailbreak"]
    assert found["card"] == done.stdout
    assert found["add"] == found["settings"] == []
    assert {file["path"]: file["before"] for file in found["replace"]} == {
        path: sizes[path] for path in ("README.md", "facts.json", *(f"data/{s}-00000-of-00001.parquet" for s in SPLITS))
    }
    assert found["delete"] == [{"path": "data/train-00001-of-00002.parquet", "bytes": None, "before": 19}]
    assert commits(api, "local/shown", "dataset") == before

    push("jailbreak", "shown", *other[:-1])
    after = {
        entry.path: entry.size for entry in api.list_repo_tree("local/shown", recursive=True, repo_type="dataset")
        if hasattr(entry, "size")
    }  # fmt: skip
    assert {file["path"]: file["bytes"] for file in found["replace"]}.items() <= after.items()
    assert "data/train-00001-of-00002.parquet" not in after


SPLITS = ("train", "validation", "test")


def test_a_dry_run_for_a_new_repo_says_that_it_would_be_made_and_gated(push: Push, api: HfApi) -> None:
    done = push("jailbreak", "not-yet", "--dry-run", "--private", "--gated", "manual", "--json")
    found = json.loads(done.stdout)["jailbreak"]
    assert found["settings"] == ["create the private dataset repo local/not-yet", "gated: manual"]
    assert [file["path"] for file in found["add"]][:2] == ["README.md", "data/test-00000-of-00001.parquet"]
    assert all(file["bytes"] > 0 and file["before"] is None for file in found["add"])
    assert "+extra_gated_prompt: " in found["card"]
    assert not api.repo_exists("local/not-yet", repo_type="dataset")


# --- gated ----------------------------------------------------------------------------------------------------------


def test_a_gated_dataset_asks_its_readers_first_and_keeps_a_persons_words(
    push: Push, api: HfApi, hub: Hub, tmp_path: Path
) -> None:
    done = push("jailbreak", "gated", "--gated", "manual", "--json")
    assert json.loads(done.stdout)["jailbreak"]["access"] == "gated"
    assert api.dataset_info("local/gated").gated == "manual"
    asked = DatasetCard(card_of(api, "gated")).data
    assert "vulgar" in asked["extra_gated_prompt"]
    assert asked["extra_gated_fields"]["I will use it for defence alone"] == "checkbox"
    with pytest.raises(GatedRepoError):
        hf_hub_download(
            "local/gated", "facts.json", repo_type="dataset", token=False, endpoint=hub.url, cache_dir=tmp_path
        )

    before = commits(api, "local/gated", "dataset")
    assert "unchanged at v1" in push("jailbreak", "gated", "--gated", "manual").stderr
    assert "unchanged at v1" in push("jailbreak", "gated").stderr
    assert api.dataset_info("local/gated").gated == "manual"
    assert commits(api, "local/gated", "dataset") == before

    card = DatasetCard(card_of(api, "gated"))
    card.data["extra_gated_prompt"] = "Be kind."
    by_hand(api, "gated", str(card))
    push("jailbreak", "gated", "--gated", "auto")
    assert api.dataset_info("local/gated").gated == "auto"
    assert DatasetCard(card_of(api, "gated")).data["extra_gated_prompt"] == "Be kind."


def test_the_gate_stands_before_anything_is_uploaded(push: Push, api: HfApi, faults: Path) -> None:
    """Or the data would be open to all for as long as the upload takes, and after one that is killed."""
    faults.write_text(json.dumps([{"method": "POST", "path_regex": "/commit/", "status": 400}]))
    try:
        done = push("jailbreak", "gated-first", "--gated", "auto", check=False)
    finally:
        faults.unlink()
    assert done.returncode == 1
    assert api.dataset_info("local/gated-first").gated == "auto"
    assert api.list_repo_files("local/gated-first", repo_type="dataset") == [".gitattributes"]


def test_a_gate_is_no_part_of_a_pull_request(push: Push) -> None:
    complaint(push("jailbreak", "x", "--gated", "auto", "--create-pr", check=False), "--gated", "--create-pr")
    assert "'auto', 'manual'" in push("jailbreak", "x", "--gated", "perhaps", check=False).stderr


# --- pull requests --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_pull_request_on_a_repo_that_is_not_there_is_refused_and_makes_none(
    push: Push, api: HfApi, more: tuple[str, ...]
) -> None:
    done = push("intent", "nowhere", "--create-pr", *more, check=False)
    complaint(done, "dataset local/nowhere", "without --create-pr", notes="intent: .*\n")
    assert not api.repo_exists("local/nowhere", repo_type="dataset")


def test_a_pull_request_is_opened_once_and_merging_it_is_a_release(push: Push, api: HfApi) -> None:
    api.create_repo("local/reviewed", repo_type="dataset")
    address = push("intent", "reviewed", "--create-pr").stdout
    assert push("intent", "reviewed", "--create-pr").stdout == address
    [request] = api.get_repo_discussions("local/reviewed", repo_type="dataset")
    assert tags(api, "reviewed") == {}

    api.merge_pull_request("local/reviewed", request.num, repo_type="dataset")
    before = commits(api, "local/reviewed", "dataset")
    again = json.loads(push("intent", "reviewed", "--create-pr", "--json").stdout)["intent"]
    assert again["changed"] is False
    assert len([*api.get_repo_discussions("local/reviewed", repo_type="dataset")]) == 1, "nothing differs any more"
    push("intent", "reviewed")
    assert commits(api, "local/reviewed", "dataset") == before
    assert tags(api, "reviewed") == {"v1": before[0]}


def test_a_lost_answer_does_not_open_a_second_pull_request(push: Push, api: HfApi, faults: Path) -> None:
    api.create_repo("local/lost", repo_type="dataset")
    faults.write_text(json.dumps([{"method": "POST", "path_regex": "/commit/", "status": 0, "after": True}]))
    try:
        done = push("intent", "lost", "--create-pr")
    finally:
        faults.unlink()
    [request] = api.get_repo_discussions("local/lost", repo_type="dataset")
    assert done.stdout == f"{request.url}\n"


@pytest.mark.exhaustive
def test_another_content_opens_another_pull_request(push: Push, api: HfApi, tmp_path: Path) -> None:
    push("jailbreak", "twice-reviewed")
    mine = ("--source", own_rows(tmp_path / "mine.csv"), "--create-pr", "--license")
    push("jailbreak", "twice-reviewed", *mine, "mit")
    push("jailbreak", "twice-reviewed", *mine, "cc0-1.0")
    assert len([*api.get_repo_discussions("local/twice-reviewed", repo_type="dataset")]) == 2


# --- licences -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "declared",
    [
        (),
        pytest.param(("--license", "cc-by-nd-4.0"), marks=pytest.mark.exhaustive),
        pytest.param(("--license", "proprietary"), marks=pytest.mark.exhaustive),
    ],
)
def test_a_source_that_may_not_be_handed_on_stops_the_push_before_anything_is_uploaded(
    push: Push, api: HfApi, tmp_path: Path, declared: tuple[str, ...]
) -> None:
    own = ("--source", own_rows(tmp_path / "mine.csv"), *declared)
    for more in ((), ("--private",), ("--accept-license",), ("--dry-run",)):
        done = push("jailbreak", "not-ours", *own, *more, check=False)
        named = f"mine.csv ({declared[1] if declared else 'other'})"
        complaint(
            done, "jailbreak dataset", named, "--license", "--private --accept-license", notes="(jailbreak: .*\n)*"
        )
    assert not api.repo_exists("local/not-ours", repo_type="dataset")


def test_what_may_not_be_published_goes_to_a_private_repo_that_is_asked_for(
    push: Push, api: HfApi, hub: Hub, tmp_path: Path
) -> None:
    own = ("--source", own_rows(tmp_path / "mine.csv"), "--private", "--accept-license")
    assert json.loads(push("jailbreak", "for-me", *own, "--json").stdout)["jailbreak"]["access"] == "private"
    assert api.dataset_info("local/for-me").private is True
    with pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.url, token=False).dataset_info("local/for-me")
    card = DatasetCard(card_of(api, "for-me"))
    assert card.data["license"] == "other"
    assert "other is not known to allow redistribution" in card.text
    push("jailbreak", "for-me", *own)

    api.update_repo_settings("local/for-me", private=False, repo_type="dataset")
    complaint(push("jailbreak", "for-me", *own, check=False), "local/for-me is public", "--dataset-name",
              notes=r"(jailbreak: .*\n)+")  # fmt: skip


def test_one_task_that_may_not_be_published_stops_all_of_them(
    hubtools: Command, api: HfApi, flags: tuple[object, ...], tmp_path: Path
) -> None:
    hubtools("curate", "jailbreak", "--source", own_rows(tmp_path / "mine.csv"), *flags)
    done = hubtools("push-dataset", "all", "--dataset-name", "together", *flags, check=False)
    complaint(done, "jailbreak dataset", notes=r"((category|pii): .*\n)+")
    assert not api.repo_exists("local/together", repo_type="dataset")


def test_a_dataset_repo_of_ones_own_brings_the_licence_of_its_card(push: Push, api: HfApi, tmp_path: Path) -> None:
    rows = [*csv.DictReader(own_rows(tmp_path / "mine.csv").read_text().splitlines())]
    for split in ("train", "test"):
        path = tmp_path / f"{split}.csv"
        with path.open("w", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["prompt", "type"])
            writer.writerows(
                [row["text"], row["label"]] for i, row in enumerate(rows) if (i % 10 < 2) == (split == "test")
            )
        api.create_repo("local/theirs", repo_type="dataset", exist_ok=True)
        api.upload_file(
            path_or_fileobj=path, path_in_repo=f"default/jailbreak_dataset_{split}.csv", repo_id="local/theirs",
            repo_type="dataset",
        )  # fmt: skip
    refused = push("jailbreak", "from-theirs", "--source", "local/theirs", check=False)
    complaint(refused, "local/theirs (other)", notes=r"(jailbreak: .*\n)+")
    by_hand(api, "theirs", "---\nlicense: cc-by-sa-4.0\n---\n# Theirs\n")
    push("jailbreak", "from-theirs", "--source", "local/theirs")
    assert DatasetCard(card_of(api, "from-theirs")).data["license"] == "cc-by-sa-4.0"


def test_a_licence_is_declared_for_a_source_of_ones_own_and_as_the_hub_spells_it(push: Push, tmp_path: Path) -> None:
    complaint(push("jailbreak", "x", "--license", "mit", check=False), "--license", "--source")
    own = ("--source", own_rows(tmp_path / "mine.csv"), "--license", "MIT License")
    complaint(push("jailbreak", "x", *own, check=False), "'MIT License'", "apache-2.0")


def test_a_run_stops_at_a_licence_before_anything_is_uploaded_or_trained(
    hubtools: Command, api: HfApi, hub: Hub, tmp_path: Path
) -> None:
    code = f"""
from dataclasses import replace
from pathlib import Path
from hubtools.connection import connect
connect("local", (), Path({str(hub.data_dir)!r}))
from hubtools.errors import LicenceRefused
from hubtools.options import RepoOptions, WorkOptions
from hubtools.run import RunOptions, run_tasks
from hubtools.tasks import TASKS
bad = replace(TASKS["jailbreak"], starter=replace(TASKS["jailbreak"].starter, license="cc-by-nd-4.0"))
try:
    work, repos = WorkOptions(Path({str(tmp_path / "work")!r})), RepoOptions(dataset_name="of-a-run")
    run_tasks([TASKS["category"], bad], RunOptions(work=work, repos=repos))
except LicenceRefused as refused:
    print(refused)
"""
    said = hubtools.run(sys.executable, "-c", code).stdout
    assert "hubtools/starter-jailbreak (cc-by-nd-4.0)" in said
    assert not api.repo_exists("local/of-a-run", repo_type="dataset")
    assert not (tmp_path / "work" / "category" / "training.json").exists()
