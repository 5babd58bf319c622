"""Release notes and rollback: what a model's repo tells of its releases, and how it goes back to one of them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from as_user import Command, commits, own_rows
from huggingface_hub import CommitOperationAdd, HfApi
from test_other_data import with_model

from hubtools.localhub import Hub

REPO, ROWS, SPACE = "local/hist-jailbreak", "local/hist-rows", "local/hist-space"
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("history") / "work"


@pytest.fixture(scope="module")
def run(hubtools: Command, hub: Hub, work: Path) -> Run:
    return lambda *more, **options: hubtools(
        *more, "--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", work, **options
    )


@pytest.fixture(scope="module")
def in_turn(hubtools: Command, hub: Hub, work: Path) -> Run:
    at = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", work)
    return lambda *commands: hubtools.in_turn(*((*command, *at) for command in commands))


@pytest.fixture(scope="module", autouse=True)
def first(run: Run, in_turn: Run, work: Path) -> Path:
    """The first release of a tiny model, and a copy of what it was made of."""
    data = ("--source", own_rows(work.parent / "own.csv"), "--license", "mit", "--dataset-name", "hist-rows")
    run("push-dataset", "jailbreak", *data)
    with_model(work, 0)
    in_turn(
        ("evaluate", "jailbreak", "--model-name", "hist-jailbreak"),
        ("push-model", "jailbreak", "--model-name", "hist-jailbreak"),
    )
    return Path(shutil.copytree(work / "jailbreak", work.parent / "first"))


@pytest.fixture(scope="module", autouse=True)
def second(in_turn: Run, work: Path, first: Path) -> Path:
    """The second, with other weights, another learning rate and another target, and what shows it."""
    with_model(work, 2)
    training = json.loads((work / "jailbreak" / "training.json").read_text())
    training["arguments"]["learning_rate"] = 0.5
    (work / "jailbreak" / "training.json").write_text(json.dumps(training))
    in_turn(
        ("evaluate", "jailbreak", "--model-name", "hist-jailbreak", "--target-recall", 0.75),
        ("push-model", "jailbreak", "--model-name", "hist-jailbreak", "--force", "to have two that differ"),
        ("push-space", "--space-name", "hist-space"),
        ("push-collection", "--collection-name", "hist"),
    )
    return work / "jailbreak"


def read(api: HfApi, repo: str, name: str, kind: str = "model", revision: str = "main") -> str:
    return Path(api.hf_hub_download(repo, name, repo_type=kind, revision=revision)).read_text()


def tags(api: HfApi, repo: str, kind: str = "model") -> dict[str, str]:
    return {ref.name: ref.target_commit for ref in api.list_repo_refs(repo, repo_type=kind).tags}


def by_hand(api: HfApi, name: str, text: str) -> None:
    api.create_commit(REPO, [CommitOperationAdd(name, text.encode())], commit_message="an edit")


def contents(api: HfApi, repo: str, revision: str, kind: str = "model") -> dict[str, str]:
    entries = api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind)
    return {e.path: e.blob_id for e in entries if e.path not in ("README.md", "CHANGELOG.md") and hasattr(e, "blob_id")}


def judge(folder: Path) -> dict[str, bool]:
    """Whether each row is flagged as it should be, at the threshold of the release; by id."""
    at = json.loads((folder / "model" / "thresholds.json").read_text())["weights"]["model.safetensors"]["threshold"]
    rows = pq.read_table(folder / "predictions.parquet").to_pylist()
    return {row["id"]: (row["probabilities"][1] >= at) == (row["label"] == 1) for row in rows}


def test_the_notes_of_a_first_and_a_second_release_say_what_is_in_their_files(
    api: HfApi, first: Path, second: Path
) -> None:
    notes = read(api, REPO, "CHANGELOG.md")
    assert notes.startswith("# Changelog\n")
    newer, older = re.split(r"\n## ", notes)[1:]
    assert re.match(r"v1 \(20\d\d-\d\d-\d\d\)\n\nThe first release\.\n", older)
    assert re.match(r"v2 \(20\d\d-\d\d-\d\d\)\n\nWhat changed since v1\.\n", newer)
    scores = [json.loads((folder / "metrics.json").read_text())["scores"] for folder in (first, second)]
    cells = [
        f"{s['value']:.3f} [{s['low']:.3f}, {s['high']:.3f}]" for s in (scores[0]["roc_auc"], scores[1]["roc_auc"])
    ]
    assert f"| ROC-AUC | {cells[0]} |\n" in older
    assert f"| ROC-AUC | {cells[0]} | {cells[1]} |\n" in newer
    facts = json.loads((first / "facts.json").read_text())
    assert f"- train: {facts['splits']['train']['rows']} rows\n" in older
    assert re.search(r"- \[local/hist-rows\]\(/datasets/local/hist-rows\) at `[0-9a-f]{8}`, as before\n", newer)
    assert re.search(r"\n\| learning rate \| \S+ \| 0\.5 \|\n", newer)
    assert "| seed |" in older
    assert "| seed |" not in newer
    limits = [
        json.loads((f / "model" / "thresholds.json").read_text())["weights"]["model.safetensors"]["threshold"]
        for f in (first, second)
    ]
    was_chosen = f"was {limits[0]:g}, chosen for a false positive rate of at most 0.01.\n"
    assert f"\n{limits[1]:g}, chosen for a recall of at least 0.75; {was_chosen}" in newer
    was, is_now = judge(first), judge(second)
    lost, won = ([i for i in sorted(was) if (was[i], is_now[i]) == flip] for flip in ((True, False), (False, True)))
    assert lost or won
    for words, ids in (("right, now wrong", lost), ("wrong, now right", won)):
        line = f"- {len(ids)} were {words}: {', '.join(f'`{i}`' for i in ids)}"
        assert (line in newer) == bool(ids)
    texts = pq.read_table(first / "dataset" / "data" / "test-00000-of-00001.parquet")["text"].to_pylist()
    assert [text for text in texts if text in notes] == []


def test_a_push_of_the_same_content_changes_no_letter_and_keeps_what_a_person_wrote(api: HfApi, run: Run) -> None:
    edited = read(api, REPO, "CHANGELOG.md").replace(
        "The first release.", "The first release. Ann: trained in a hurry."
    )
    by_hand(api, "CHANGELOG.md", edited)
    before, tagged = commits(api, REPO, "model"), tags(api, REPO)
    done = run("push-model", "jailbreak", "--model-name", "hist-jailbreak", "--force", "to have two that differ")
    assert f"jailbreak: model {REPO} unchanged at v2\n" in done.stderr
    assert (commits(api, REPO, "model"), tags(api, REPO)) == (before, tagged)


# --- rollback -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("repo", "tag", "code", "said"),
    [
        (REPO, "v9", 2, ("has no release 'v9'", "expected: one of v2, v1\n", "name one of them with --to")),
        (REPO, "other", 2, ("'other' of hubtools: the tag is another program's", "expected: one of v2, v1\n")),
        pytest.param(REPO, "v2", 2, (f"{REPO} is at v2 already",), marks=pytest.mark.exhaustive),
        pytest.param(
            "local/hist-nowhere",
            "v1",
            1,
            ("There is no model or dataset local/hist-nowhere",),
            marks=pytest.mark.exhaustive,
        ),
        ("local/hist-strange", "v1", 2, ("'v1' of hubtools: the tag is another program's",)),
    ],
)
def test_a_rollback_to_what_is_no_older_release_is_refused(
    api: HfApi, run: Run, repo: str, tag: str, code: int, said: tuple[str, ...]
) -> None:
    api.create_repo("local/hist-strange", exist_ok=True)
    api.create_tag("local/hist-strange", tag="v1", exist_ok=True)
    api.create_tag(REPO, tag="other", revision="v1", exist_ok=True)
    before = commits(api, REPO, "model"), tags(api, REPO)
    done = run("rollback", repo, "--to", tag, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    for line in said:
        assert line in done.stderr
    assert (commits(api, REPO, "model"), tags(api, REPO)) == before


def test_a_rollback_is_a_new_release_of_the_old_files_that_space_and_collection_follow(
    api: HfApi, run: Run, first: Path, work: Path
) -> None:
    card = read(api, REPO, "README.md")
    by_hand(api, "README.md", card.replace("---\n\n", "---\n\nAnn: a word of mine.\n\n", 1))
    before, head = tags(api, REPO), commits(api, REPO, "model")
    planned = run("rollback", REPO, "--to", "v1", "--dry-run", "--json")
    assert {file["path"] for file in json.loads(planned.stdout)["model"]["replace"]} >= {
        *("README.md", "CHANGELOG.md", "model.safetensors", "metrics.json", "predictions.parquet", "training.json")
    }
    assert (tags(api, REPO), commits(api, REPO, "model")) == (before, head)

    done = json.loads(run("rollback", REPO, "--to", "v1", "--json").stdout)
    assert (done["model"]["tag"], done["model"]["changed"]) == ("v3", True)
    assert contents(api, REPO, "main") == contents(api, REPO, "v1")
    assert tags(api, REPO) == before | {"v3": done["model"]["revision"]}
    newest, below, *_ = api.list_repo_commits(REPO)
    assert (newest.title, below.commit_id) == ("Rollback to v1", head[0])
    now, then = read(api, REPO, "README.md"), read(api, REPO, "README.md", revision="v1")
    generated = then.split("---\n", 2)[2].strip()
    assert generated in now
    assert "Ann: a word of mine.\n" in now
    assert now.count("<!-- hubtools: links;") == 1
    notes = read(api, REPO, "CHANGELOG.md")
    section = re.split(r"\n## ", notes)[1]
    assert re.match(r"v3 \(\S+\)\n\nBack to v1: the files of that release, as they were\..*\n\n.*since v2\.\n", section)
    assert "| learning rate | 0.5 |" in section
    assert "Ann: trained in a hurry." in notes

    # What shows the model shows this one, whatever lies in the work folder.
    shown = json.loads(read(api, SPACE, "models.json", "space"))["models"]["jailbreak"]
    chosen = json.loads((first / "model" / "thresholds.json").read_text())["weights"]["model.safetensors"]["threshold"]
    assert (shown["revision"], shown["threshold"]) == (done["model"]["revision"], chosen)
    assert shown["revision"] in read(api, SPACE, "README.md", "space")
    shelf = api.get_collection(json.loads((work / "published.json").read_text())["collection"]["slug"])
    score = json.loads((first / "metrics.json").read_text())["primary"]["value"]
    assert [i.note for i in shelf.items if i.item_id == REPO] == [
        f"Jailbreak, ROC-AUC {score:.3f} on its test split (v3)."
    ]
    assert done["collection"]["changed"] is True
    refused = run("rollback", REPO, "--to", "v1", check=False)
    assert (refused.returncode, f"{REPO} is at v1 already" in refused.stderr) == (2, True)


def test_a_rollback_that_was_killed_before_its_tag_is_tagged_by_the_next(api: HfApi, run: Run) -> None:
    at = tags(api, REPO)["v3"]
    api.delete_tag(REPO, tag="v3")
    head = commits(api, REPO, "model")
    run("rollback", REPO, "--to", "v1")
    assert (tags(api, REPO)["v3"], commits(api, REPO, "model")) == (at, head)


def test_a_dataset_goes_back_as_well(api: HfApi, run: Run, hubtools: Command, hub: Hub, tmp_path: Path) -> None:
    at = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", tmp_path / "work")
    other = own_rows(tmp_path / "own.csv")
    other.write_text(other.read_text().replace("soup", "stew"))
    hubtools("push-dataset", "jailbreak", "--source", other, "--license", "mit", "--dataset-name", "hist-rows", *at)
    assert contents(api, ROWS, "v2", "dataset") != contents(api, ROWS, "v1", "dataset")
    done = run("rollback", f"datasets/{ROWS}", "--to", "v1")
    assert done.stdout.endswith("/datasets/local/hist-rows\n")
    assert contents(api, ROWS, "main", "dataset") == contents(api, ROWS, "v1", "dataset")
    assert list(tags(api, ROWS, "dataset")) == ["v1", "v2", "v3"]
    assert "CHANGELOG.md" not in api.list_repo_files(ROWS, repo_type="dataset")
