"""``push-collection``: one collection of what a work folder published, kept in step, and links both ways."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from as_user import Command, commits
from huggingface_hub import Collection, CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from hubtools.publishing.front_matter import END, START, merge_card
from hubtools.publishing.links import LINKS_END, LINKS_START, Link, place_links, render_links
from hubtools.records import write_record
from hubtools.records.release import Published, PublishedRepos, PublishedTogether

Push = Callable[..., Any]


def publish(api: HfApi, repo: str, kind: str) -> Published:
    """A repo with a card as we write them."""
    api.create_repo(repo, repo_type=kind, space_sdk="gradio" if kind == "space" else None)
    sdk = "sdk: gradio\napp_file: app.py\n" if kind == "space" else ""
    text = f"---\nlicense: mit\n{sdk}---\n\n{START}\n# {repo}\n{END}\n"
    done = api.create_commit(repo, [CommitOperationAdd("README.md", text.encode())], repo_type=kind, commit_message="v")
    api.create_tag(repo, tag="v1", repo_type=kind)
    return Published(repo=repo, kind=kind, revision=done.oid, tag="v1", changed=True, url="", weights_sha256="w" * 64)


NUMBERS = itertools.count()


@pytest.fixture
def name() -> str:
    """Which the repos and the collection of a test begin with: all tests share a Hub."""
    return f"shelf{next(NUMBERS)}"


@pytest.fixture
def work(api: HfApi, tmp_path: Path, name: str) -> Path:
    """A work folder that published datasets and models of two tasks and a Space."""
    folder = tmp_path / "work"
    for task in ("intent", "category"):
        dataset = publish(api, f"local/{name}-{task}-rows", "dataset")
        model = publish(api, f"local/{name}-{task}", "model")
        write_record(folder / task / "published.json", PublishedRepos(dataset=dataset, model=model))
        score = {"weights_sha256": "w" * 64, "primary": {"title": "macro F1", "value": 0.8125}}
        (folder / task / "metrics.json").write_text(json.dumps(score))
    space = publish(api, f"local/{name}-space", "space")
    write_record(folder / "published.json", PublishedTogether(space=space))
    return folder


@pytest.fixture
def push(hubtools: Command, flags: tuple[object, ...], name: str) -> Push:
    title = ("--collection-name", name)
    return lambda *more, **options: hubtools("push-collection", *more, *title, *flags, **options)


def pushed(work: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((work / "published.json").read_text())["collection"]
    return content


def look(api: HfApi, work: Path) -> Collection:
    return api.get_collection(pushed(work)["slug"])


def names(shelf: Collection) -> list[str]:
    return [item.item_id.split("/")[1].split("-", 1)[-1] for item in shelf.items]


def card_of(api: HfApi, repo: str, kind: str) -> str:
    return Path(api.hf_hub_download(repo, "README.md", repo_type=kind)).read_text()


def heads(api: HfApi, work: Path) -> dict[str, list[str]]:
    return {item.item_id: commits(api, item.item_id, item.item_type) for item in look(api, work).items}


def test_the_first_push_gathers_all_and_links_the_cards_and_the_second_changes_nothing(
    push: Push, api: HfApi, work: Path, name: str
) -> None:
    planned = push("--dry-run", "--json")
    assert json.loads(planned.stdout)["collection"]["create"] is True
    assert f"collection: would add model local/{name}-intent\n" in planned.stderr
    assert "collection" not in json.loads((work / "published.json").read_text())
    done = push("--json")
    shelf = look(api, work)
    # The built-in tasks in their own order, and dataset before model before Space.
    assert names(shelf) == ["category-rows", "intent-rows", "category", "intent", "space"]
    assert [item.item_type for item in shelf.items] == ["dataset", "dataset", "model", "model", "space"]
    assert shelf.items[3].note == "Intent, macro F1 0.812 on its test split (v1)."
    assert not shelf.private
    said = json.loads(done.stdout)["collection"]
    assert (said["url"], said["changed"], said["slug"]) == (shelf.url, True, shelf.slug)

    link = f"- Collection: [{name}](/collections/{shelf.slug})\n"
    dataset = card_of(api, f"local/{name}-intent-rows", "dataset")
    assert f"- Models trained on it: [local/{name}-intent](/local/{name}-intent)\n" in dataset
    model = card_of(api, f"local/{name}-intent", "model")
    assert f"- Dataset it was trained on: [local/{name}-intent-rows](/datasets/local/{name}-intent-rows)\n" in model
    assert f"- Demo: [local/{name}-space](/spaces/local/{name}-space)\n" in model
    for card in (dataset, model, card_of(api, f"local/{name}-space", "space")):
        assert link in card
    tags = {ref.name: ref.target_commit for ref in api.list_repo_refs(f"local/{name}-intent").tags}
    assert tags == {"v1": commits(api, f"local/{name}-intent", "model")[1]}, "links are no release"

    before, updated = heads(api, work), shelf.last_updated
    again = push("--json")
    assert json.loads(again.stdout)["collection"]["changed"] is False
    assert "unchanged, 5 repos of this work folder" in again.stderr
    assert (heads(api, work), look(api, work).last_updated) == (before, updated)
    assert "collection: nothing would change\n" in push("--dry-run").stderr

    api.delete_collection(shelf.slug)
    push()
    assert look(api, work).slug != shelf.slug
    assert names(look(api, work)) == names(shelf)


def test_repos_of_ours_come_and_go_and_what_a_person_put_there_stays(
    push: Push, api: HfApi, work: Path, name: str
) -> None:
    push("intent")
    shelf = look(api, work)
    assert names(shelf) == ["intent-rows", "intent", "space"]
    strange = publish(api, f"local/{name}x-strange", "model").repo
    api.add_collection_item(shelf.slug, strange, "model", note="a person's")
    shelf = look(api, work)
    api.update_collection_item(shelf.slug, shelf.items[3].item_object_id, position=0)
    api.update_collection_item(shelf.slug, shelf.items[0].item_object_id, note="rows that I like")
    # The next release of the model has another score; and one of its moves was undone by somebody.
    score = {"weights_sha256": "w" * 64, "primary": {"title": "macro F1", "value": 0.9}}
    (work / "intent" / "metrics.json").write_text(json.dumps(score))
    api.update_collection_item(shelf.slug, shelf.items[2].item_object_id, position=1)
    planned = json.loads(push("--dry-run", "--json").stdout)["collection"]
    assert planned["add"] == [f"dataset local/{name}-category-rows", f"model local/{name}-category"]
    assert (planned["notes"], planned["remove"], planned["reorder"]) == ([f"model local/{name}-intent"], [], True)
    push()
    shelf = look(api, work)
    assert names(shelf) == ["strange", "category-rows", "intent-rows", "category", "intent", "space"]
    assert [item.note for item in shelf.items][:3:2] == ["a person's", "rows that I like"]
    assert shelf.items[4].note == "Intent, macro F1 0.900 on its test split (v1)."

    # Another encoder, and so another repo: the older one leaves collection and loses its links.
    moved = publish(api, f"local/{name}-intent2", "model")
    dataset = json.loads((work / "intent" / "published.json").read_text())["dataset"]
    write_record(work / "intent" / "published.json", PublishedRepos(dataset=Published(**dataset), model=moved))
    push()
    assert names(look(api, work)) == ["strange", "category-rows", "intent-rows", "category", "intent2", "space"]
    assert LINKS_START not in card_of(api, f"local/{name}-intent", "model")
    linked = card_of(api, f"local/{name}-intent-rows", "dataset")
    assert f"[local/{name}-intent2](/local/{name}-intent2)" in linked
    assert linked.count(LINKS_START) == 1
    push("category")
    assert names(look(api, work)) == ["strange", "category-rows", "category", "space"]


def test_requests_that_are_refused_or_whose_answer_is_lost_are_made_again(
    push: Push, api: HfApi, work: Path, name: str, faults: Path
) -> None:
    path = "^/api/collections"
    kinds: list[dict[str, Any]] = [{"status": 503}, {"status": 0, "after": True}]
    wrong = [{"method": m, "path_regex": path, "times": 1, **kind} for m in ("GET", "POST", "PATCH") for kind in kinds]
    faults.write_text(json.dumps(wrong))
    try:
        push("--private")
    finally:
        faults.write_text("[]")
    assert names(look(api, work)) == ["category-rows", "intent-rows", "category", "intent", "space"]
    assert look(api, work).private
    assert [s.title for s in api.list_collections(owner="local")].count(name) == 1


def test_a_collection_of_nothing_and_of_an_unknown_task_is_refused(push: Push) -> None:
    done = push(check=False)
    assert done.returncode == 1
    assert "Nothing was published from" in done.stderr
    done = push("intnet", check=False)
    assert done.returncode == 2
    assert "There is no task 'intnet'" in done.stderr
    assert "jailbreak" in done.stderr


def test_a_listing_shows_four_items_and_long_texts_are_refused(push: Push, api: HfApi, work: Path) -> None:
    push()
    slug = pushed(work)["slug"]
    [listed] = [shelf for shelf in api.list_collections(owner="local") if shelf.slug == slug]
    assert (len(listed.items), len(api.get_collection(slug).items)) == (4, 5)
    with pytest.raises(HfHubHTTPError, match="at most 150 characters"):
        api.update_collection_metadata(slug, description="x" * 151)
    item = listed.items[0].item_object_id
    with pytest.raises(HfHubHTTPError, match="at most 500 characters"):
        api.update_collection_item(slug, item, note="x" * 501)


# --- the part of a card ---------------------------------------------------------------------------------------------

PART = render_links([Link("Demo", "space", ("ann/demo",)), Link("Models", "model", ())], "A [fine] one", "ann/a-1")
CARD = f"---\nlicense: mit\n---\n\nBefore.\n{START}\n# ours\n{END}\n\nAfter.\n"


def test_links_name_what_is_there_and_no_title_breaks_them() -> None:
    assert PART.splitlines() == [
        *(LINKS_START, "## Related", "", "- Demo: [ann/demo](/spaces/ann/demo)"),
        *("- Collection: [A (fine) one](/collections/ann/a-1)", LINKS_END),
    ]


def test_links_are_put_in_once_and_taken_out_without_a_trace_of_them() -> None:
    linked = place_links(CARD, PART)
    assert linked == f"{CARD}\n{PART}\n"
    assert place_links(linked, PART) == linked
    assert place_links(place_links(linked, PART.replace("demo", "other")), PART) == linked
    assert place_links(linked, "").rstrip() == CARD.rstrip()
    assert place_links(CARD, "") == CARD


def test_a_release_keeps_the_links_and_the_same_release_is_no_change() -> None:
    linked = place_links(CARD, PART)
    ours = f"---\nlicense: mit\n---\n\n{START}\n# ours\n{END}\n"
    assert merge_card(ours, linked) == linked
    newer = merge_card(ours.replace("# ours", "# newer"), linked)
    assert PART in newer
    assert "# newer" in newer
    assert "Before." in newer
