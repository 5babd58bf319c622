"""``accelerate launch hubtools/finetune.py`` where nothing was curated: the pushed dataset is taken, or one is made."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from as_user import REPOSITORY, Command
from test_training import STARTER, tiny_config
from transformers import AutoTokenizer, ModernBertForMaskedLM

from hubtools.localhub import Hub, start, stop

pytestmark = pytest.mark.exhaustive  # each test is a launch of its own; test_commands.py has one of a curated task
ACCELERATE = Path(sys.executable).with_name("accelerate")
Launch = Callable[..., "subprocess.CompletedProcess[str]"]

TASK = """
name: weather
head: classification
labels: {sun: it shines, rain: it pours}
sources: [{files: rows.csv, license: mit}]
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder of two layers with the nano model's tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer: Any = AutoTokenizer.from_pretrained(STARTER / "modernbert-nano")
    config = tiny_config(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    ModernBertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A Hub of each test alone: on the shared one, another file may have pushed a dataset of the same task."""
    yield start(tmp_path / "hub")
    stop(tmp_path / "hub")


@pytest.fixture
def launch(hubtools: Command, hub: Hub, base: Path, tmp_path: Path) -> Launch:
    """Launch finetune.py on the embedded Hub, for a few steps on one CPU thread."""

    def run(*flags: object, processes: int = 1, check: bool = True, work: str = "work") -> Any:
        return hubtools.run(
            ACCELERATE, "launch", "--num_processes", processes, "hubtools/finetune.py", *flags, "--work_dir",
            tmp_path / work, "--base", base, "--use_cpu", "--max_steps", 2, "--per_device_train_batch_size", 4,
            env={**hub.environ, "OMP_NUM_THREADS": "1"}, cwd=REPOSITORY, check=check,
        )  # fmt: skip

    return run


def training_of(work: Path, task: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((work / task / "training.json").read_text())
    return content


def test_without_a_dataset_one_is_curated_by_the_first_of_two_processes(launch: Launch, tmp_path: Path) -> None:
    done = launch("--task", "jailbreak", processes=2)
    line = f"[jailbreak] no dataset in {tmp_path / 'work' / 'jailbreak'}, and none was pushed: running hubtools curate "
    assert done.stdout.count(line + "jailbreak --work-dir") == 1
    assert training_of(tmp_path / "work", "jailbreak")["processes"] == 2
    assert (tmp_path / "work" / "jailbreak" / "facts.json").is_file()


def test_a_curation_that_fails_ends_the_training_with_its_message(launch: Launch, tmp_path: Path) -> None:
    done = launch("--task", "jailbreak", "--label_set", "no-such", processes=2, check=False)
    assert done.returncode == 1
    assert "Task 'jailbreak' has no label set 'no-such'" in done.stderr
    assert "There is no dataset of 'jailbreak' to train on, and none could be curated" in done.stderr
    assert 'hubtools/finetune.py", line' not in done.stderr, "the stack trace is accelerate's own"


def test_the_pushed_dataset_is_taken_where_the_work_folder_has_none(
    launch: Launch, hubtools: Command, hub: Hub, tmp_path: Path
) -> None:
    at = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir")
    hubtools("push-dataset", "intent", *at, tmp_path / "elsewhere")
    done = launch("--task", "intent")
    where = tmp_path / "work" / "intent"
    said = f"[intent] no dataset in {where}: training on local/router-intent, which your token's owner has pushed"
    assert said in done.stdout
    assert not (where / "dataset").exists()
    assert training_of(tmp_path / "work", "intent")["steps"] == 2


def test_the_dataset_that_was_pushed_from_the_work_folder_comes_first(
    launch: Launch, hubtools: Command, hub: Hub, tmp_path: Path
) -> None:
    at = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", tmp_path / "work")
    hubtools("push-dataset", "intent", "--dataset-name", "own-name", *at)
    shutil.rmtree(tmp_path / "work" / "intent" / "dataset")
    done = launch("--task", "intent")
    assert "training on local/own-name, which was pushed from there" in done.stdout


def test_a_task_of_a_file_is_trained_by_its_file_alone(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "weather.yaml"
    file.write_text(TASK)
    rows = [f"{'bright light' if i % 2 else 'wet grey'} {i * 7919},{'sun' if i % 2 else 'rain'}" for i in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    done = launch("--task-file", file)
    assert f"hubtools curate --task-file {file}" in done.stdout
    training = training_of(tmp_path / "work", "weather")
    assert training["task"] == "weather"
    config = json.loads((tmp_path / "work" / "weather" / "model" / "config.json").read_text())
    assert config["id2label"] == {"0": "sun", "1": "rain"}


def test_a_launch_that_names_no_task_says_so(launch: Launch) -> None:
    done = launch(check=False)
    assert done.returncode == 1
    assert "expected: --task or --task_file" in done.stderr
