"""Compiled layers: the same gradients, nothing compiled twice for passes of few shapes, and a fallback that says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from test_batching import gradients, model_for, rows_for, trainer_for

from hubtools.heads.values import IGNORED
from hubtools.records.figures import Figure, does_compiling_pay

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
