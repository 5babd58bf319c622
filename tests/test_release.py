"""Releases of models: held against the published one, verified before they are public, and checked by anybody."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from as_user import Command
from huggingface_hub import HfApi, constants
from plant_defects import DEFECTS, PROSE, RESEALED

from hubtools.errors import WorseThanPublished
from hubtools.localhub import Hub
from hubtools.metrics.detection import ROC_AUC, read_detection_answers
from hubtools.publishing.gate import _compare, refuse_worse
from hubtools.records.release import Gate
from hubtools.tasks.jailbreak import JAILBREAK

REPO = "local/guard"


@pytest.fixture(scope="module")
def flags_of_hub(hub: Hub) -> tuple[object, ...]:
    return ("--hub", "local", "--hub-dir", hub.data_dir)


@pytest.fixture(scope="module")
def guard(hubtools: Command, flags_of_hub: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder from which a detector was released, after a short training."""
    work = tmp_path_factory.mktemp("guard")
    flags = (*flags_of_hub, "--work-dir", work)
    done = hubtools.in_turn(
        ("push-dataset", "jailbreak", "--dataset-name", "guard-rows", *flags),
        ("finetune", "jailbreak", *flags, "--max_steps", 30),
        ("evaluate", "jailbreak", *flags),
        ("push-model", "jailbreak", "--model-name", "guard", *flags),
    )
    assert "loaded back by pipeline(), 16 answers agree" in done.stderr
    assert re.search(r"jailbreak: (\d+) of \1 checks of what the Semantic Router needs passed\n", done.stderr)
    return work


Push = Callable[..., Any]


@pytest.fixture
def push(hubtools: Command, flags_of_hub: tuple[object, ...]) -> Push:
    def run(work: Path, *arguments: object, check: bool = False) -> Any:
        flags = ("--model-name", "guard", *flags_of_hub, "--work-dir", work)
        return hubtools("push-model", "jailbreak", *flags, *arguments, check=check)

    return run


@pytest.fixture(scope="module")
def worse(
    hubtools: Command, flags_of_hub: tuple[object, ...], guard: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same work folder, in which the last layer is random."""
    import torch
    from safetensors.torch import load_file, save_file

    work = Path(shutil.copytree(guard, tmp_path_factory.mktemp("worse") / "work"))
    weights = work / "jailbreak" / "model" / "model.safetensors"
    tensors = load_file(weights)
    generator = torch.Generator().manual_seed(3)
    tensors["classifier.weight"] = torch.randn(tensors["classifier.weight"].shape, generator=generator)
    save_file(tensors, weights, {"format": "pt"})
    hubtools("evaluate", "jailbreak", *flags_of_hub, "--work-dir", work)
    return work


def compare(ours: Sequence[float], theirs: Sequence[float]) -> Gate:
    """The gate of two models that give these probabilities to 40 harmless texts and 40 attacks."""
    positive = np.repeat([False, True], 40)
    a, b = (
        read_detection_answers(positive.astype(int), np.column_stack([1 - np.array(p), p]), 1, 0.5)
        for p in (ours, theirs)
    )
    check = _compare(ROC_AUC, a, b, np.arange(80))
    assert check is not None
    return Gate(fingerprint="x", repo=REPO, tag="v1", revision="a" * 40, rows=80, groups=80, checks=(check,))


def test_a_score_that_surely_fell_stops_a_release_and_an_equal_one_does_not() -> None:
    generator = np.random.default_rng(0)
    trained = [*generator.uniform(0.0, 0.5, 40), *generator.uniform(0.5, 1.0, 40)]
    random = generator.uniform(0, 1, 80)
    refuse_worse(JAILBREAK, compare(trained, trained))
    refuse_worse(JAILBREAK, compare(trained, random))
    with pytest.raises(
        WorseThanPublished, match=rf"(?s)worse than {REPO} v1.*, published 1\.000 .*--create-pr.*--force"
    ):
        refuse_worse(JAILBREAK, compare(random, trained))


def state(api: HfApi) -> tuple[str, list[str], list[str]]:
    """Commit of main, tags and branches."""
    refs = api.list_repo_refs(REPO)
    return (
        str(api.repo_info(REPO).sha),
        sorted(ref.name for ref in refs.tags),
        sorted(ref.name for ref in refs.branches),
    )


@pytest.mark.exhaustive
def test_a_model_with_a_random_last_layer_is_not_released_over_a_trained_one(
    push: Push, api: HfApi, guard: Path, worse: Path
) -> None:
    before = state(api)
    done = push(worse)
    assert done.returncode == 1
    score = json.loads((guard / "jailbreak" / "metrics.json").read_text())["primary"]["value"]
    random = json.loads((worse / "jailbreak" / "metrics.json").read_text())["primary"]["value"]
    assert f"Error: The new jailbreak model is worse than {REPO} v1, which it would replace." in done.stderr
    assert f"ROC-AUC {random:.3f}, published {score:.3f}" in done.stderr
    assert "hubtools push-model jailbreak --create-pr" in done.stderr
    assert "--force" in done.stderr
    assert state(api) == before
    assert before[2] == ["main"], "the branch on which a release is verified is gone after it"


@pytest.mark.exhaustive
def test_a_dry_run_says_that_a_release_would_be_stopped(push: Push, worse: Path) -> None:
    assert push(worse, "--dry-run").returncode == 1


@pytest.mark.exhaustive
def test_an_equal_model_passes_and_nothing_is_committed(push: Push, api: HfApi, guard: Path) -> None:
    before = state(api)
    done = push(guard, check=True)
    assert f"jailbreak: model {REPO} unchanged at v1" in done.stderr
    assert state(api) == before


@pytest.mark.exhaustive
def test_a_worse_model_may_become_a_pull_request(push: Push, api: HfApi, worse: Path) -> None:
    before = state(api)
    done = push(worse, "--create-pr", "--json", check=True)
    assert state(api) == before
    [pushed] = json.loads(done.stdout).values()
    card = Path(api.hf_hub_download(REPO, "README.md", revision=pushed["revision"])).read_text()
    assert "| worse |" in card


def test_a_reason_is_asked_of_who_forces_a_release(push: Push, tmp_path: Path) -> None:
    done = push(tmp_path, "--force", " ")
    assert done.returncode == 2
    assert "--force needs a reason" in done.stderr


@pytest.mark.exhaustive
def test_a_model_that_was_published_by_others_is_asked_about_our_test_rows(
    push: Push, api: HfApi, worse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without recorded answers to compare with: the published model has none, or to other rows."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its cache of chunks lies in the user's home
    head = str(api.repo_info(REPO).sha)
    api.delete_file("predictions.parquet", REPO, commit_message="without answers")
    try:
        done = push(worse)
        assert done.returncode == 1
        assert "is worse than local/guard v1" in done.stderr
    finally:
        path = api.hf_hub_download(REPO, "predictions.parquet", revision=head)
        with pytest.warns(UserWarning, match="commit a data file"):
            api.upload_file(path_or_fileobj=path, path_in_repo="predictions.parquet", repo_id=REPO)


@pytest.fixture(scope="module")
def verdicts(hubtools: Command, guard: Path, hub: Hub) -> dict[str, str]:
    """What ``verify`` says of each defect; "" where it finds nothing."""
    script = Path(__file__).with_name("plant_defects.py")
    environ = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "HF_HUB_DISABLE_XET": "1"}
    done = hubtools.run(sys.executable, script, REPO, env=environ)
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.exhaustive
def test_verify_leaves_a_person_their_words(verdicts: dict[str, str]) -> None:
    assert verdicts[PROSE] == ""


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", DEFECTS)
def test_verify_names_the_file_of_a_defect_and_the_next_command(verdicts: dict[str, str], name: str) -> None:
    assert DEFECTS[name][0] in verdicts[name]
    assert "hubtools push-model jailbreak" in verdicts[name] or "hubtools push-model TASK" in verdicts[name]


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", RESEALED)
def test_verify_finds_a_defect_that_was_released_with_its_hash(verdicts: dict[str, str], name: str) -> None:
    message = verdicts[f"resealed: {name}"]
    assert RESEALED[name] in message
    assert "next:" in message


@pytest.mark.exhaustive
def test_verify_misses_no_file_that_is_gone(verdicts: dict[str, str]) -> None:
    gone = {name.removeprefix("without "): message for name, message in verdicts.items() if name.startswith("without ")}
    assert len(gone) > 15
    assert [path for path, message in gone.items() if path not in message] == []


@pytest.mark.exhaustive
def test_a_forced_release_says_why_in_its_commit_and_on_its_card(
    push: Push, worse: Path, hubtools: Command, flags_of_hub: tuple[object, ...], api: HfApi
) -> None:
    """The last test of this file that pushes: from here on the worse model is the published one."""
    reason = "the old one was trained on rows that we must not use"
    assert "pushed as v2" in push(worse, "--force", reason, check=True).stderr
    [commit, *_] = api.list_repo_commits(REPO)
    assert reason in commit.message
    assert reason in Path(api.hf_hub_download(REPO, "README.md")).read_text()
    assert "verified; 16 answers agree" in hubtools("verify", f"{REPO}@v2", *flags_of_hub).stdout
