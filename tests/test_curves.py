"""The curves of a training on the model's page: what TensorBoard reads, and what nobody is to read."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from test_published_cards import as_records, model_card_of, run_of

from hubtools.publishing.curves import EVENTS, format_events, list_curves
from hubtools.publishing.front_matter import split_card
from hubtools.records.training import TrainingRecord
from hubtools.tasks import TASKS
from hubtools.training.tracking import find_space

HISTORY = [
    {"loss": 0.5, "learning_rate": 2e-05, "epoch": 0.5, "step": 10},
    {"eval_loss": 0.4, "eval_roc_auc": 0.75, "epoch": 0.5, "step": 10},
    {"loss": 0.25, "learning_rate": 1e-05, "epoch": 1.0, "step": 20},
]
SPACE = "https://huggingface.co/spaces/ann/curves"


def training_of(history: list[dict[str, float]]) -> TrainingRecord:
    run = run_of(TASKS["jailbreak"], "starter")
    # A path, as the flags of a training hold some.
    run["training"] |= {"history": history, "fingerprint": os.getcwd()}
    return as_records(run).training


def test_tensorboard_reads_the_numbers_of_the_training(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    [(path, content)] = list_curves(training_of(HISTORY)).items()
    file = tmp_path / path
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    found = EventAccumulator(str(file.parent))
    found.Reload()
    curves = {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert curves["train/loss"] == [(10, 0.5), (20, 0.25)]
    assert curves["eval/roc_auc"] == [(10, 0.75)]
    assert curves["train/learning_rate"] == [(10, pytest.approx(2e-05)), (20, pytest.approx(1e-05))]


def test_an_event_file_names_neither_machine_nor_user_nor_folder_and_is_the_same_again() -> None:
    content = format_events(training_of(HISTORY))
    assert content == format_events(training_of(HISTORY))
    rest = content.replace(b"train/", b"").replace(b"eval/", b"")
    for secret in (socket.gethostname(), getpass.getuser(), os.getcwd(), str(Path.home()), os.sep):
        assert secret.encode() not in rest, secret
        assert secret == os.sep or secret not in EVENTS


def test_a_training_that_logged_nothing_has_no_event_file_and_its_card_names_none() -> None:
    assert list_curves(training_of([])) == {}
    training = run_of(TASKS["jailbreak"], "public")["training"]
    assert "`runs/` holds them as TensorBoard events" in model_card_of(TASKS["jailbreak"], "public")
    silent = model_card_of(TASKS["jailbreak"], "public", training=training | {"history": []})
    assert "TensorBoard events" not in silent


def test_a_card_names_the_space_of_trackio_where_a_flag_asked_for_one() -> None:
    training = run_of(TASKS["jailbreak"], "public")["training"]
    card = model_card_of(TASKS["jailbreak"], "public", training=training | {"trackio": SPACE})
    assert {"trackio", f"trackio:{SPACE}"} <= {*split_card(card)[0]["tags"]}
    assert f"[Trackio]({SPACE})" in card
    assert "trackio" not in model_card_of(TASKS["jailbreak"], "public").lower()


@pytest.mark.parametrize(
    ("tags", "report_to", "space", "found"),
    [
        (None, ["trackio"], "ann/curves", SPACE),
        (["trackio", f"trackio:{SPACE}-static"], ["trackio"], "ann/curves", f"{SPACE}-static"),
        (None, ["trackio"], None, None),
        (None, ["tensorboard"], "ann/curves", None),
    ],
)
def test_the_space_of_a_training_is_the_one_that_outlives_it(
    tags: list[str] | None, report_to: list[str], space: str | None, found: str | None
) -> None:
    args = SimpleNamespace(report_to=report_to, trackio_space_id=space)
    trainer: Any = SimpleNamespace(model=SimpleNamespace(model_tags=tags), args=args)
    assert find_space(trainer) == found
