"""Compiled and recorded layers: the same gradients, nothing compiled twice, and fallbacks that say so."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from test_batching import gradients, model_for, rows_for, trainer_for
from torch._dynamo.utils import counters

from hubtools.heads.values import IGNORED
from hubtools.packing import attention, recording
from hubtools.packing.attention import VARLEN, Choice
from hubtools.packing.recording import record_layers
from hubtools.records.figures import Figure, does_compiling_pay, read_figures
from hubtools.training import trainer as training
from hubtools.training.devices import MEASURED

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's compiler has many, none of which is ours


def gradient(folder: Path, head: str, lengths: tuple[int, ...], **options: Any) -> tuple[Any, torch.Tensor]:
    model, rows = model_for(head), rows_for(head, lengths)
    trainer = trainer_for(model, rows, folder, static=True, per_device_train_batch_size=8, **options)
    batch = trainer.data_collator(rows)
    trainer.training_step(model, batch, batch["labels"].ne(IGNORED).sum())
    return trainer, gradients(model)


@pytest.mark.exhaustive
@pytest.mark.skipif(not any(os.access(f"{folder}/g++", os.X_OK) for folder in os.environ["PATH"].split(":")),
                    reason="no g++ for torch's compiler")  # fmt: skip
@pytest.mark.parametrize("head", ["sequence", "token"])
def test_compiled_layers_have_the_gradient_of_plain_ones_and_are_compiled_once_a_shape(
    head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    _, plain = gradient(tmp_path, head, (3, 40, 17, 5))
    torch._dynamo.reset()
    trainer, compiled = gradient(tmp_path, head, (3, 40, 17, 5), compiled=True)
    assert trainer.compiled
    assert trainer.compile_seconds > 0
    assert trainer.path.endswith(", compiled")
    assert any((tmp_path / "cache").rglob("*.cpp"))
    assert (plain - compiled).norm() < 1e-5 * plain.norm()
    counted = dict(torch._dynamo.utils.counters["stats"])
    for lengths in ((30, 9, 9), (64, 3, 40, 11, 5)):  # other texts in passes of the same size
        rows = rows_for(head, lengths)
        batch = trainer.data_collator(rows)
        trainer.training_step(trainer.model, batch, batch["labels"].ne(IGNORED).sum())
    assert dict(torch._dynamo.utils.counters["stats"]) == counted


@pytest.mark.exhaustive
def test_where_nothing_can_be_compiled_a_line_says_so_and_the_training_goes_on(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from test_compiling import gradient
trainer, found = gradient(Path(sys.argv[1]), "sequence", (3, 40, 17), compiled=True)
assert not trainer.compiled and found.norm() > 0.01
assert ", compiled" not in trainer.path
"""
    environ = os.environ | {"CXX": "/nowhere/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parent, env=environ, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert [line for line in done.stdout.splitlines() if line.startswith("layers are not compiled: ")] != []


def seen_at_once(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, *,
    scale: float | None = None, window_size: tuple[int, int] = (-1, -1),
) -> Any:  # fmt: skip
    """A stand-in for torch's kernel on a CPU: like that one, it can be compiled, and it takes bf16 alone."""
    assert query.dtype is torch.bfloat16
    place = torch.arange(query.shape[0], dtype=cu_seq_q.dtype)
    text = torch.searchsorted(cu_seq_q, place, right=True)
    seen = text[:, None] == text
    if window_size != (-1, -1):
        seen = seen & ((place[:, None] - place).abs() <= window_size[0])
    parts = [part.transpose(0, 1)[None] for part in (query, key, value)]
    row = torch.nn.functional.scaled_dot_product_attention(*parts, attn_mask=seen, scale=scale)
    return row[0].transpose(0, 1)


@pytest.mark.exhaustive
def test_a_graph_is_made_for_each_kind_of_layer_and_size_and_none_for_further_layers_texts_or_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU would compile, counted: torch traces the layers as it does there, and computes them as they are."""
    made, compile_module = list[Any](), torch.nn.Module.compile

    def count(graph: Any, example: Any) -> Any:
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compile_module(self, backend=count, **how))
    monkeypatch.setattr(attention, "find_varlen", lambda: seen_at_once)
    monkeypatch.setattr(training, "choose_packing", lambda *asked: Choice(VARLEN, ""))
    torch._dynamo.reset()
    counters.clear()
    kinds = ["full_attention", "sliding_attention", "full_attention"]
    found = []
    for layers in (3, 6):
        model = model_for("sequence", num_hidden_layers=layers, layer_types=kinds * (layers // 3))
        rows = rows_for("sequence")
        trainer = trainer_for(
            model, rows, tmp_path, static=True, compiled=True, bf16=True, max_steps=2, tokens_per_batch=128,
            per_device_train_batch_size=4,
        )  # fmt: skip
        assert trainer.compiled
        trainer.train()
        found.append(len(made))
    assert not counters["graph_break"]
    assert found == [3, 3], "the first layer, one with a window and one without"


def only_try_out(model: Any, cache: Any, try_out: Any) -> tuple[float, str]:
    """Stand in for ``compile_layers``: nothing is compiled, what would be tried out is."""
    try_out()
    return 0.1, ""


def test_layers_are_tried_out_in_the_precision_of_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "compile_layers", only_try_out)
    model, seen = model_for("sequence"), set[torch.dtype]()
    model.model.layers[1].attn.Wqkv.register_forward_hook(lambda module, given, computed: seen.add(computed.dtype))
    assert trainer_for(model, rows_for("sequence"), tmp_path, static=True, compiled=True, bf16=True).compiled
    assert seen == {torch.bfloat16}


def test_autocast_has_no_cache_where_layers_are_compiled_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch refuses to record a graph with it."""
    monkeypatch.setattr(training, "compile_layers", only_try_out)
    model, seen = model_for("sequence"), set[bool]()
    model.model.layers[1].attn.Wqkv.register_forward_hook(lambda *given: seen.add(torch.is_autocast_cache_enabled()))
    trainer = trainer_for(model, rows_for("sequence"), tmp_path, static=True, compiled=True, bf16=True, max_steps=1)
    trainer.train()
    assert seen == {False}


def test_every_size_of_the_first_epoch_is_tried_out_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else layers would be compiled within a step, and the seconds of that not be counted."""
    monkeypatch.setattr(training, "compile_layers", only_try_out)
    model, seen = model_for("sequence"), list[int]()
    model.model.layers[1].attn.Wqkv.register_forward_hook(lambda module, given, out: seen.append(out.shape[1]))
    rows = rows_for("sequence", (3, 9, 20, 400) * 8)
    options = {"static": True, "compiled": True, "per_device_train_batch_size": 4, "max_steps": 8}
    trainer = trainer_for(model, rows, tmp_path, **options)
    tried = len(seen)
    trainer.train()
    assert len(set(seen[tried:])) > 2
    assert set(seen[tried:]) == set(seen[:tried])
    assert tried < len(seen[tried:]), "each size once or little more"


def replay_of(layers: Any, sample: tuple[torch.Tensor, ...], pool: Any) -> Any:
    """A stand-in for ``torch.cuda.make_graphed_callables``: what a graph writes lies in its own memory each time."""
    weights = tuple(layers.parameters())
    written = [torch.zeros_like(part) for part in (sample[0], *weights)]

    class Replayed(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *given: torch.Tensor) -> torch.Tensor:
            for own, new in zip(sample, given, strict=False):
                own.data.copy_(new)
            with torch.enable_grad():
                context.computed = layers(*sample)
            return torch.Tensor(context.computed.detach())

        @staticmethod
        def backward(context: Any, *gradients: torch.Tensor) -> Any:
            made = torch.autograd.grad(context.computed, (sample[0], *weights), gradients)
            for own, new in zip(written, made, strict=True):
                own.copy_(new)
            first, *rest = (own.detach() for own in written)
            return (first, *[None] * (len(sample) - 1), *rest)

    return lambda *given: Replayed.apply(*given, *weights)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The tokens of each pass that is recorded."""
    made = list[int]()

    def make(layers: Any, sample: tuple[torch.Tensor, ...], pool: Any) -> Any:
        made.append(sample[0].shape[1])
        return replay_of(layers, sample, pool)

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", make)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 1))
    return made


@pytest.mark.parametrize("head", ["sequence", "token"])
def test_recorded_layers_have_the_gradient_of_plain_ones_however_often_a_graph_is_replayed_in_a_step(
    head: str, tmp_path: Path, graphs: list[int]
) -> None:
    lengths = (500, 499, 480, 700, 30, 41)  # three passes of 512 tokens, one of 704, and one of what is left
    options = {"static": True, "per_device_train_batch_size": 8, "tokens_per_batch": 512}
    found = []
    for is_recorded in (False, True):
        model, rows = model_for(head), rows_for(head, lengths)
        trainer = trainer_for(model, rows, tmp_path, **options)
        if is_recorded:
            seconds, reason = record_layers(model, partial(trainer._try_out, model))
            assert reason == ""
            assert seconds > 0
            assert all(weight.grad is None for weight in model.parameters())
            assert len(graphs) == len(set(graphs)) >= 2
        batch = trainer.data_collator(rows)
        sizes = [part["input_ids"].shape[1] for part in batch["passes"]]
        assert len(sizes) > len(set(sizes)), "a graph is replayed twice"
        for _ in range(2):  # gradients of a step that was accumulated
            trainer.training_step(model, batch, batch["labels"].ne(IGNORED).sum())
        found.append(gradients(model))
    recorded = len(graphs)
    trainer.evaluate(Dataset.from_list(rows))
    assert len(graphs) == recorded, "an evaluation records nothing"
    assert (found[0] - found[1]).norm() < 1e-6 * found[0].norm()


def test_what_cannot_be_recorded_is_computed_as_it_is(
    tmp_path: Path, graphs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*asked: Any, **options: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", refuse)
    model, rows = model_for("sequence"), rows_for("sequence")
    trainer = trainer_for(model, rows, tmp_path, static=True)
    _, reason = record_layers(model, lambda: trainer._try_out(model))
    assert reason == "RuntimeError: operation not permitted when stream is capturing"
    assert model.model.recordings is None
    batch = trainer.data_collator(rows)
    trainer.training_step(model, batch, torch.tensor(len(rows)))
    assert gradients(model).norm() > 0


def test_more_sizes_than_are_recorded_are_computed_as_they_are(tmp_path: Path, graphs: list[int]) -> None:
    lengths = tuple(range(520, 1500, 40))
    model, rows = model_for("sequence"), rows_for("sequence", lengths)
    trainer = trainer_for(model, rows, tmp_path, static=True, tokens_per_batch=512, per_device_train_batch_size=1)
    record_layers(model, lambda: trainer._try_out(model))
    assert len(graphs) <= recording.MOST


def test_an_h200_compiles_where_the_figures_that_come_along_say_that_it_pays() -> None:
    figures = read_figures(MEASURED)
    assert does_compiling_pay(figures, "NVIDIA H200", 22, 768, 20_000_000)
    assert not does_compiling_pay(figures, "NVIDIA H200", 22, 768, 5_000_000)
    assert not does_compiling_pay(figures, "NVIDIA L4", 22, 768, 1e12)


def test_compiling_pays_where_the_seconds_it_saves_are_more_than_it_takes() -> None:
    def figure(compiled: bool, speed: float, seconds: float = 0.0) -> Figure:
        return Figure(
            device="GPU", layers=22, width=768, path="packed", compiled=compiled, tokens_per_second=speed, peak_gib=9,
            compile_seconds=seconds,
        )  # fmt: skip

    figures = [figure(False, 200_000), figure(True, 400_000, 60)]
    assert not does_compiling_pay(figures, "GPU", 22, 768, 20_000_000)
    assert does_compiling_pay(figures, "GPU", 22, 768, 30_000_000)
    assert not does_compiling_pay(figures, "another GPU", 22, 768, 30_000_000)
    assert not does_compiling_pay(figures[1:], "GPU", 22, 768, 30_000_000), "what was not measured pays nothing"
