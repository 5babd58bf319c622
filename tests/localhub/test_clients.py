"""The real datasets, transformers and ``hf`` command, as a user runs them: by environment alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hubtools.localhub import Hub

HERE = Path(__file__).parent
HF = Path(sys.executable).with_name("hf")


def child(hub: Hub, *command: str | Path, home: Path) -> str:
    """Run with the Hub's environment and nothing of the user's; returns stdout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    env = {**kept, **hub.environ, "HOME": str(home)}
    done = subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True, cwd=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    output = child(hub, sys.executable, HERE / "clients.py", home=tmp_path_factory.mktemp("home"))
    scenarios: dict[str, Any] = json.loads(output.splitlines()[-1])
    return scenarios


def test_a_dataset_is_pushed_and_loaded_at_each_of_its_revisions(found: dict[str, Any]) -> None:
    seen = found["dataset"]
    assert seen["rows"] == [{"train": 40, "test": 10}, {"train": 30}]
    assert seen["names"] == ["benign", "jailbreak"]
    assert seen["streamed"] == [{"text": "text 0", "label": 0}, {"text": "text 1", "label": 1}]
    assert seen["files"] == [".gitattributes", "README.md", "data/train-00000-of-00001.parquet"]


def test_what_a_person_wrote_on_a_dataset_card_survives_a_push(found: dict[str, Any]) -> None:
    card = found["dataset"]["card"]
    assert "license: mit" in card
    assert "By a person." in card


def test_a_model_comes_back_by_pipeline_without_a_task(found: dict[str, Any]) -> None:
    seen = found["model"]
    assert seen["scores"][0] == pytest.approx(seen["scores"][1], abs=1e-6)
    assert seen["label"] in ("benign", "jailbreak")
    assert (seen["task"], seen["library"]) == ("text-classification", "transformers")


def test_model_card_validate_lists_every_reason(found: dict[str, Any]) -> None:
    first, second = found["cards"]["refused"]
    assert first.startswith('"license" must be one of')
    assert second == '"widget" must be an array'


def test_a_mirrored_repo_is_downloaded_without_the_links_that_leave_it(found: dict[str, Any]) -> None:
    assert found["snapshot"]["files"] == ["big.parquet", "inside.csv", "train.csv"]


def test_the_clients_keep_to_the_hubs_own_cache(found: dict[str, Any], hub: Hub) -> None:
    assert list((hub.data_dir / "client" / "hub").glob("models--local--tiny"))
    assert list((hub.data_dir / "client" / "datasets").glob("local___pushed"))


def test_the_hf_command_works(hub: Hub, tmp_path: Path, found: dict[str, Any]) -> None:
    assert "local" in child(hub, HF, "auth", "whoami", home=tmp_path)
    assert "local/tiny" in child(hub, HF, "models", "ls", "--search", "tiny", "--format", "json", home=tmp_path)
    child(hub, HF, "download", "local/tiny", "config.json", "--local-dir", tmp_path / "got", home=tmp_path)
    assert json.loads((tmp_path / "got" / "config.json").read_text())["model_type"] == "modernbert"
