"""What makes a training right is held by checks that fail without it: each fix is taken out, and its check must see."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import test_batching
import test_options
import test_processes
import test_training
from test_processes import launch
from test_training import curated, one_thread, run_finetune, tiny_base, tokenizer
from transformers import EarlyStoppingCallback

from hubtools import finetune
from hubtools.heads.encoding import make_bio_labels
from hubtools.heads.values import IGNORED
from hubtools.packing import attention
from hubtools.packing.attention import Texts, text_by_text
from hubtools.training.loss import make_loss_function
from hubtools.training.trainer import ClassifierTrainer
from hubtools.workdir import TaskFolder

__all__ = ["curated", "launch", "one_thread", "run_finetune", "tiny_base", "tokenizer"]  # fixtures
Finetune = Callable[..., TaskFolder]


@pytest.mark.parametrize("cut", [{"gradient_accumulation_steps": 4, "per_device_train_batch_size": 2},
                                 {"tokens_per_batch": 70}], ids=str)  # fmt: skip
def test_gradients_that_grow_with_accumulated_batches_and_passes_are_seen(
    cut: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def each_by_itself(*given: Any) -> Callable[..., Any]:
        loss = make_loss_function(*given)
        return lambda outputs, labels, num_items_in_batch=None: loss(outputs, labels)

    monkeypatch.setattr(test_batching, "make_loss_function", each_by_itself)
    with pytest.raises(AssertionError):
        test_batching.test_a_step_has_the_gradient_of_its_rows_however_they_are_cut("token", cut, tmp_path)


@pytest.mark.exhaustive
def test_processes_that_count_their_own_rows_alone_are_seen(
    launch: Callable[..., subprocess.CompletedProcess[str]], run_finetune: Finetune, tmp_path: Path
) -> None:
    def apart(name: str, processes: int, *flags: str) -> subprocess.CompletedProcess[str]:
        return launch(name, processes, *flags, "--average_tokens_across_devices", "false")

    with pytest.raises(AssertionError, match="approx"):
        test_processes.test_two_processes_train_as_one_does_and_the_first_alone_writes(apart, run_finetune, tmp_path)


def test_texts_that_see_one_another_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def leaking(*given: Any, texts: Texts, **options: Any) -> Any:
        ends = texts.bounds[[0, -1]]
        return text_by_text(*given, texts=Texts(ends, int(ends[1])), **options)

    monkeypatch.setattr(attention, "text_by_text", leaking)
    for check in (
        test_batching.test_a_packed_text_sees_no_other,
        lambda head: test_batching.test_a_packed_batch_has_the_loss_and_the_gradients_of_a_padded_one(head, True),
    ):
        for head in ("sequence", "token"):
            with pytest.raises(AssertionError):
                check(head)


@pytest.mark.parametrize("rest", [IGNORED, 1, 0], ids=["masked", "each begins anew", "outside"])
def test_labels_that_are_not_on_every_subword_are_seen(
    rest: int, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(offsets: Any, text: str, spans: Any, ids: Mapping[tuple[int, str], int]) -> list[int]:
        inside = {label for (_, kind), label in ids.items() if kind == "I"}
        return [rest if label in inside else label for label in make_bio_labels(offsets, text, spans, ids)]

    monkeypatch.setattr(test_training, "make_bio_labels", wrong)
    for check in (
        test_training.test_every_subword_after_the_first_is_i,
        test_training.test_labels_of_a_span_over_several_lines_decode_to_one_span,
    ):
        with pytest.raises(AssertionError):
            check(tokenizer)


def test_a_loss_that_forgets_its_weights_is_seen(
    run_finetune: Finetune, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubtools.training.loss.choose_weights", lambda *given: None)
    with pytest.raises(AssertionError):
        test_training.test_finetune_moves_the_weights_alike_however_its_batch_is_cut(run_finetune, tiny_base)


def by_accuracy(patch: pytest.MonkeyPatch) -> None:
    parse = finetune.parse

    def other(argv: list[str]) -> Any:
        plan = parse(argv)
        plan.args.metric_for_best_model = "accuracy"
        return plan

    patch.setattr(finetune, "parse", other)


def to_the_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EarlyStoppingCallback, "on_evaluate", lambda *given, **named: None)


def with_the_last_weights(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ClassifierTrainer, "_load_best_model", lambda self: None)


@pytest.mark.parametrize("mutation", [by_accuracy, to_the_end, with_the_last_weights])
def test_a_training_that_picks_or_keeps_another_checkpoint_is_seen(
    mutation: Callable[[pytest.MonkeyPatch], None], run_finetune: Finetune, curated: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    mutation(monkeypatch)
    with pytest.raises((AssertionError, IndexError)):  # the scores of the check end where the training should
        test_training.test_the_best_checkpoint_is_released_and_patience_stops_the_training(
            run_finetune, monkeypatch, curated
        )


def test_adapters_of_another_checkpoint_are_seen(
    run_finetune: Finetune, tiny_base: Path, curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_the_last_weights(monkeypatch)
    with pytest.raises(AssertionError):
        test_options.test_what_lora_leaves_is_a_plain_model_that_answers_as_the_best_adapters_did(
            run_finetune, tiny_base, curated, monkeypatch
        )
