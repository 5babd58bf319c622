"""finetune.py as it is launched: several processes, one that fails, one that is killed, and two runs alike."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import load_dataset
from test_training import curated, one_thread, run_finetune, tiny_base, tiny_config, tokenizer, weights
from transformers import ModernBertConfig, ModernBertForMaskedLM

from hubtools import finetune
from hubtools.errors import HubtoolsError, TrainingFailed, UsageError
from hubtools.launch import _make_error, choose_devices, order_by_size
from hubtools.options import WorkOptions
from hubtools.tasks import TASKS
from hubtools.training import plan
from hubtools.training.flags import TrainingFlags, parse_training_flags
from hubtools.training.inputs import identify_contents
from hubtools.training.processes import FAILURE, fail
from hubtools.workdir import TaskFolder, task_folder

__all__ = ["curated", "one_thread", "run_finetune", "tiny_base", "tokenizer"]  # fixtures
REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def launch(tiny_base: Path, curated: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``accelerate launch`` in a child process; returns what it said and its exit code."""

    def run(name: str, processes: int, *flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes),
                "hubtools/finetune.py", "--task", "jailbreak", "--work_dir", str(tmp_path / name), "--base",
                str(tiny_base), "--dataset", str(curated / "jailbreak" / "dataset"), "--use_cpu", *flags,
            ],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
            env=os.environ | {"HF_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    return run


@pytest.mark.exhaustive
def test_two_processes_train_as_one_does_and_the_first_alone_writes(
    launch: Callable[..., subprocess.CompletedProcess[str]], run_finetune: Callable[..., TaskFolder], tmp_path: Path
) -> None:
    """The same rows a step, the same loss, the same weights; 16 rows in steps of 5 or 6, and in several passes."""
    flags = ("--num_train_epochs", "2", "--learning_rate", "1e-3", "--logging_steps", "1", "--patience", "9")
    one = run_finetune("one", *flags, "--per_device_train_batch_size", "6")
    done = launch("two", 2, *flags, "--per_device_train_batch_size", "3", "--tokens_per_batch", "40")
    assert done.returncode == 0, done.stderr
    two = TaskFolder(tmp_path / "two" / "jailbreak")
    first, second = (json.loads(folder.training.read_text()) for folder in (one, two))
    assert (first["processes"], second["processes"]) == (1, 2)
    assert first["arguments"]["batch_size"] == second["arguments"]["batch_size"] == 6
    losses = [[entry["loss"] for entry in training["history"] if "loss" in entry] for training in (first, second)]
    assert len(losses[0]) == 4
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert done.stdout.count("training rows") == 1
    assert done.stdout.count("validation ROC-AUC") == 2
    [curves] = two.logs.iterdir()
    assert len([*curves.iterdir()]) == 1
    for name, tensor in weights(one.model).items():
        assert torch.allclose(tensor, weights(two.model)[name], atol=1e-5)


@pytest.mark.exhaustive
def test_a_process_that_fails_ends_all_with_its_own_message(
    launch: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = launch("failing", 2, "--learning_rate", "1e30", "--optim", "sgd", "--max_grad_norm", "0")
    assert done.returncode != 0
    assert done.stderr.count("Error: process ") == 1
    assert "The loss is nan at step" in done.stderr or "The loss is inf at step" in done.stderr
    assert "ChildFailedError" not in done.stderr
    assert not (tmp_path / "failing" / "jailbreak" / "model").exists()


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (UsageError("No step", found="0 rows", next="give it rows"), ""),
        (TrainingFailed("Training could not read or write", found="no such file: a next: b"), "run the same command"),
        (None, "run the same command"),
    ],
    ids=["one that says what helps", "one that does not", "none, as the disk is full"],
)
def test_a_training_that_failed_has_one_advice(
    error: HubtoolsError | None, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "failure.json"
    monkeypatch.setenv(FAILURE, str(note))
    if error is None:
        note.touch()
    else:
        with pytest.raises(SystemExit):
            fail(str(error), has_next=bool(error.next))
    told = _make_error(TaskFolder(tmp_path), 1)
    assert told.next.startswith(advice)
    assert bool(told.next) == bool(advice)
    assert error is None or error.found in told.found
    assert not note.exists()


@pytest.fixture(scope="module")
def dropping_base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """A base with dropout: what is drawn at random must be drawn again alike."""
    folder = tmp_path_factory.mktemp("dropping")
    torch.manual_seed(3)
    config = tiny_config(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, attention_dropout=0.1, mlp_dropout=0.1,
        embedding_dropout=0.1,
    )  # fmt: skip
    ModernBertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


LONG = ("--num_train_epochs", "3", "--per_device_train_batch_size", "4", "--learning_rate", "1e-3", "--patience", "99",
        "--eval_strategy", "steps", "--eval_steps", "3", "--save_strategy", "steps", "--save_steps", "3",
        "--fingerprint", "mark")  # fmt: skip


def test_two_runs_with_one_seed_are_equal_to_the_bit_and_another_seed_is_not(
    run_finetune: Callable[..., TaskFolder], dropping_base: Path
) -> None:
    first, second, other = (
        weights(run_finetune(name, *LONG, "--base", str(dropping_base), "--seed", seed).model)
        for name, seed in (("first", "5"), ("second", "5"), ("other", "6"))
    )
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert not all(torch.equal(tensor, other[name]) for name, tensor in first.items())


KILLED = """
import os, signal, sys
from hubtools import finetune
from hubtools.training.trainer import ClassifierTrainer
step = ClassifierTrainer.training_step
def deadly(self, *given):
    if self.state.global_step == 8:  # in the third epoch's first half; the last checkpoint is of step 6
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, *given)
ClassifierTrainer.training_step = deadly
finetune.main(sys.argv[1:])
"""


def test_a_training_that_is_killed_and_goes_on_ends_with_the_same_weights(
    run_finetune: Callable[..., TaskFolder], dropping_base: Path, curated: Path, tmp_path: Path
) -> None:
    undisturbed = run_finetune("undisturbed", *LONG, "--base", str(dropping_base))
    flags = ["--task", "jailbreak", "--work_dir", str(tmp_path / "killed"), "--use_cpu", "--dataset",
             str(curated / "jailbreak" / "dataset"), *LONG, "--base", str(dropping_base)]  # fmt: skip
    child = subprocess.run(
        [sys.executable, "-c", KILLED, *flags], cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
        env=os.environ | {"HF_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stderr
    runs = TaskFolder(tmp_path / "killed" / "jailbreak").runs
    assert sorted(path.name for path in runs.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-6"]
    resumed = run_finetune("killed", *LONG, "--base", str(dropping_base))
    training = json.loads(resumed.training.read_text())
    assert training["resumed"]
    assert training["steps"] == 12
    expected = weights(undisturbed.model)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(resumed.model).items())
    history = json.loads(undisturbed.training.read_text())["history"]
    scores = [[e["eval_roc_auc"] for e in h if "eval_roc_auc" in e] for h in (history, training["history"])]
    assert scores[0] == scores[1]


def test_bf16_is_chosen_before_the_trainer_is_built(
    tiny_base: Path, curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TrainingArguments looks at it once, when it is made; set later, it changes nothing but what is written down."""
    flags = ["--task", "jailbreak", "--base", str(tiny_base), "--dataset", str(curated / "jailbreak" / "dataset")]
    for wanted in (True, False):
        monkeypatch.setattr(plan, "has_bf16", lambda on_cpu, config, wanted=wanted: wanted)
        args = finetune.parse([*flags, "--use_cpu"]).args
        assert args.mixed_precision == ("bf16" if wanted else "no")


def test_bf16_is_for_encoders_that_gain_by_it_on_a_cpu_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    assert plan.has_bf16(True, ModernBertConfig())
    assert not plan.has_bf16(True, tiny_config())
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": False}, raising=False)
    assert not plan.has_bf16(True, ModernBertConfig())


def test_bf16_is_for_gpus_that_compute_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Older ones emulate it, more slowly than they compute fp32; torch counts them in unless told not to."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for hardware in (True, False):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True, has=hardware: including_emulation or has
        )
        assert plan.has_bf16(False, ModernBertConfig()) == hardware


def test_trainings_side_by_side_have_gpus_of_their_own_while_they_last() -> None:
    four = ["0", "1", "2", "3"]
    assert [choose_devices(place, 1, four)["CUDA_VISIBLE_DEVICES"] for place in range(5)] == ["0", "1", "2", "3", "0"]
    assert [choose_devices(place, 2, four)["CUDA_VISIBLE_DEVICES"] for place in range(3)] == ["0,1", "2,3", "0,1"]
    assert choose_devices(1, 1, ["GPU-8f", "GPU-9a"]) == {"CUDA_VISIBLE_DEVICES": "GPU-9a"}
    assert choose_devices(1, 2, []) == {}


def test_of_trainings_side_by_side_the_largest_starts_first(tmp_path: Path) -> None:
    work = WorkOptions(work_dir=tmp_path)
    for name, size in (("category", 10), ("jailbreak", 30), ("intent", 20)):
        file = task_folder(tmp_path, name).split_file("train")
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(size))
    # The dataset of pii is not in the work folder.
    assert [task.name for task in order_by_size([*TASKS.values()], work)] == ["jailbreak", "intent", "category", "pii"]


def test_a_training_is_known_by_what_its_folders_hold_not_by_their_names(tmp_path: Path) -> None:
    base, rows = tmp_path / "base", tmp_path / "rows"
    for folder in (base, rows / "data"):
        folder.mkdir(parents=True)
        (folder / "content").write_text("first")
    flags = parse_training_flags(["--learning_rate", "1e-4", "--dataset", str(rows)])
    seen = [identify_contents(str(base), flags)]
    for folder in (base, rows / "data"):
        (folder / "content").write_text("other")
        seen.append(identify_contents(str(base), flags))
    assert len({tuple(found) for found in seen}) == 3
    assert identify_contents(str(base), flags) == seen[-1]
    assert len(identify_contents(str(base), TrainingFlags())) == 1


def test_sources_and_their_classes_are_evened_out_where_it_is_asked_for(
    run_finetune: Callable[..., TaskFolder], curated: Path, tmp_path: Path
) -> None:
    splits = load_dataset(str(curated / "jailbreak" / "dataset"))
    several = tmp_path / "several"
    for name, split in splits.items():
        sources = ["theirs/few" if row % 8 == 0 else "theirs/many" for row in range(len(split))]
        split.remove_columns("source").add_column("source", sources).to_parquet(several / f"{name}.parquet")
    flags = ("--num_train_epochs", "2", "--logging_steps", "1", "--per_device_train_batch_size", "8")
    records = {
        name: json.loads(run_finetune(name, *flags, *more).training.read_text())
        for name, more in {
            "plain": ("--dataset", str(several)),
            "even": ("--dataset", str(several), "--balance", "1"),
            "one source": ("--balance", "1"),
        }.items()
    }
    assert {name: one["arguments"].get("balance") for name, one in records.items()} == {
        "plain": None, "even": 1, "one source": None
    }  # fmt: skip
    losses = {name: [entry["loss"] for entry in one["history"] if "loss" in entry] for name, one in records.items()}
    assert len(losses["plain"]) == len(losses["even"])
    assert losses["plain"] != losses["even"]


def test_label_smoothing_and_focal_loss_reach_the_training(run_finetune: Callable[..., TaskFolder]) -> None:
    flags = ("--max_steps", "1", "--logging_steps", "1", "--eval_strategy", "steps", "--eval_steps", "1",
             "--save_strategy", "steps", "--save_steps", "1", "--per_device_train_batch_size", "16")  # fmt: skip
    losses = {}
    for name, more in {
        "plain": (),
        "smoothed": ("--label_smoothing_factor", "0.5"),
        "focal": ("--focal_gamma", "2"),
        "weighted": ("--class_weights", "1,8"),
    }.items():
        training = json.loads(run_finetune(name, *flags, *more).training.read_text())
        losses[name] = training["history"][0]["loss"]
    assert len({round(loss, 6) for loss in losses.values()}) == 4
    assert losses["focal"] < losses["plain"] < losses["weighted"]
