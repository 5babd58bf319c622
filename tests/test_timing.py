"""How long a training takes: what is said before, while and after it, and half the tokens where memory is short."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_training import curated, one_thread, run_finetune, tiny_base, tokenizer, weights

from hubtools.records.figures import Figure, describe_seconds, estimate_training, keep_figure, read_figures
from hubtools.training.progress import Pace
from hubtools.training.trainer import ClassifierTrainer
from hubtools.workdir import TaskFolder

__all__ = ["curated", "one_thread", "run_finetune", "tiny_base", "tokenizer"]  # fixtures
Finetune = Callable[..., TaskFolder]
FLAGS = ("--num_train_epochs", "2", "--per_device_train_batch_size", "4", "--report_to", "none")


def test_a_training_measures_itself_and_the_next_one_knows_what_to_expect(
    run_finetune: Finetune, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Pace, "EVERY", 0.0)
    first = run_finetune("work", *FLAGS)
    printed = capsys.readouterr().out
    assert "is unknown: nothing like it was measured there" in printed
    assert "tokens a second" in printed
    assert "left at most" in printed
    [figure] = read_figures(first.root.parent / "figures.json")
    record = first.read_training()
    assert (record.expected_seconds, record.tokens_per_second) == (None, figure.tokens_per_second)
    assert (figure.layers, figure.width) == (2, 32)
    assert figure.tokens_per_second > 0
    assert figure.peak_gib > 0.1
    second = run_finetune("work", *FLAGS, "--seed", "1").read_training()
    printed = capsys.readouterr().out
    assert "if patience does not end it sooner" in printed
    assert "; expected were" in printed
    assert second.expected_seconds is not None
    assert 0 < second.expected_seconds < 100 * record.seconds


def test_a_gpu_without_enough_memory_trains_with_half_the_tokens_at_once(
    run_finetune: Finetune, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run_finetune("whole", *FLAGS)
    step, failed = ClassifierTrainer.training_step, list[int]()

    def short_of_memory(self: ClassifierTrainer, *given: Any) -> Any:
        if self.budget > 2048 and self.state.global_step == 2:
            failed.append(self.budget)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        return step(self, *given)

    monkeypatch.setattr(ClassifierTrainer, "training_step", short_of_memory)
    half = run_finetune("half", *FLAGS)
    assert failed == [4096]
    assert "not enough memory for 4096 tokens at once: going on with 2048" in capsys.readouterr().out
    kept = weights(half.model)
    assert all(torch.equal(tensor, kept[name]) for name, tensor in weights(whole.model).items())


def test_twice_too_little_memory_is_an_error_that_says_what_to_do(
    run_finetune: Finetune, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_memory(self: ClassifierTrainer, *given: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(ClassifierTrainer, "training_step", no_memory)
    with pytest.raises(SystemExit):
        run_finetune("none", *FLAGS)
    said = capsys.readouterr().err
    assert "not enough memory" in said
    assert "--tokens_per_batch 1024" in said


def test_figures_of_a_damaged_file_are_none_and_newer_ones_replace_older(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"

    def figure(speed: float) -> Figure:
        return Figure(
            device="CPU", layers=2, width=32, path="p", compiled=False, tokens_per_second=speed, peak_gib=0.5
        )  # fmt: skip

    file.write_text('[{"device": "CPU"}]')
    assert read_figures(file, tmp_path / "none.json") == []
    for speed in (100.0, 200.0):
        keep_figure(file, figure(speed))
    assert [one.tokens_per_second for one in read_figures(file)] == [200.0]
    assert json.loads(file.read_text())[0]["layers"] == 2
    assert estimate_training(figure(200.0), tokens=1000, evaluated=300).seconds == pytest.approx(5.5)


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 s"), (720, "12 minutes"), (12_600, "3.5 hours")])
def test_durations_are_said_in_their_own_unit(seconds: float, words: str) -> None:
    assert describe_seconds(seconds) == words
