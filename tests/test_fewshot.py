"""Few-shot training by SetFit: the user's command, what it leaves on the Hub, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from as_user import Command, own_rows
from huggingface_hub import HfApi, snapshot_download
from safetensors.torch import load_file
from scipy.special import softmax
from sklearn.metrics import roc_auc_score
from test_processes import dropping_base
from test_training import curated, one_thread, run_finetune, tiny_base, tiny_config, tokenizer, weights
from transformers import BertConfig, BertModel, ModernBertForSequenceClassification, pipeline

from hubtools.errors import UsageError
from hubtools.launch import finetune_tasks
from hubtools.localhub import Hub
from hubtools.options import TrainingOptions, WorkOptions
from hubtools.tasks import MODERNBERT, TASKS
from hubtools.tasks.category import CATEGORY
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII
from hubtools.training.batching import Collator
from hubtools.training.calibration import compute_logits
from hubtools.training.fewshot import check_method
from hubtools.training.flags import parse_training_flags
from hubtools.training.inputs import resolve_base
from hubtools.training.setfit import fit_head
from hubtools.workdir import TaskFolder

__all__ = ["curated", "dropping_base", "one_thread", "run_finetune", "tiny_base", "tokenizer"]  # fixtures
SETFIT = ("--method", "setfit", "--shots")


@pytest.fixture(scope="module")
def at(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    work = tmp_path_factory.mktemp("few")
    return ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", work)


@pytest.fixture(scope="module")
def few(hubtools: Command, hub: Hub, at: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory) -> TaskFolder:
    """A work folder in which jailbreak has gone all the way, on six rows of each class."""
    own = own_rows(tmp_path_factory.mktemp("own") / "own.csv")
    hubtools("push-dataset", "jailbreak", "--source", own, "--license", "mit", "--dataset-name", "few-rows", *at)
    hubtools("finetune", "jailbreak", *at, *SETFIT, 6, "--max_steps", 4)
    hubtools("evaluate", "jailbreak", *at, "--model-name", "few-model")
    hubtools("push-model", "jailbreak", *at, "--model-name", "few-model")
    return TaskFolder(Path(str(at[-1])) / "jailbreak")


@pytest.fixture(scope="module")
def downloaded(few: TaskFolder, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("downloaded")
    snapshot_download("local/few-model", endpoint=hub.url, token=hub.token, local_dir=folder)
    return folder


# --- what it leaves -------------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_a_few_shot_release_is_a_modernbert_classifier_that_the_router_loads(downloaded: Path) -> None:
    names = {path.name for path in downloaded.iterdir() if path.is_file()}
    assert {"model.safetensors", "tokenizer.json", "jailbreak_type_mapping.json", "thresholds.json", "README.md",
            "training.json", "calibration.json", "metrics.json"} <= names  # fmt: skip
    assert not {name for name in names if name.endswith((".bin", ".pkl", ".joblib", ".pt", ".skops", "modules.json"))}
    config = json.loads((downloaded / "config.json").read_text())
    assert config["architectures"] == ["ModernBertForSequenceClassification"]
    assert config["classifier_pooling"] == "mean"
    assert config["id2label"] == {"0": "benign", "1": "jailbreak"}
    assert {"global_rope_theta", "local_rope_theta", "layer_norm_eps", "global_attn_every_n_layers"} <= set(config)
    assert not any("bias" in name for name in load_file(downloaded / "model.safetensors") if name.startswith("head."))


@pytest.mark.exhaustive
def test_pipeline_gives_the_probabilities_that_the_training_scored(few: TaskFolder, downloaded: Path) -> None:
    """The training's own score of the validation split, from the published repo and by scikit-learn."""
    rows = pq.read_table(few.split_file("validation")).to_pydict()
    recorded = pq.read_table(few.validation_predictions).to_pydict()
    assert recorded["id"] == rows["id"]
    classify: Any = pipeline("text-classification", model=str(downloaded), device=-1)
    answers = classify(rows["text"], top_k=None, truncation=True)
    found = [{answer["label"]: answer["score"] for answer in row} for row in answers]
    assert [[row["benign"], row["jailbreak"]] for row in found] == [
        pytest.approx(row, abs=1e-5) for row in recorded["probabilities"]
    ]
    training = json.loads(few.training.read_text())
    score = roc_auc_score(rows["label"], [row["jailbreak"] for row in found])
    assert training["best_validation"]["roc_auc"] == pytest.approx(score)
    assert len({round(row["jailbreak"], 4) for row in found}) > 3, "answers must depend on the text to say anything"


@pytest.mark.exhaustive
def test_the_card_says_on_how_few_rows_the_model_was_trained(
    hubtools: Command, few: TaskFolder, downloaded: Path, at: tuple[object, ...]
) -> None:
    card = (downloaded / "README.md").read_text()
    facts = json.loads(few.facts.read_text())
    assert f"{facts['splits']['train']['rows']} training, " in card
    assert "**It learned from 12 of the training rows**, 6 of each label, drawn by seed 0." in card
    assert f"took the whole validation split, {facts['splits']['validation']['rows']} further labelled rows." in card
    assert "| shots | 6 |" in card
    assert "checkpoint with the best" not in card
    assert "training.png" not in card
    hubtools("model-card", "jailbreak", *at, "--model-name", "few-model")


@pytest.mark.exhaustive
def test_a_few_shot_release_is_tagged_and_the_same_command_again_trains_nothing(
    hubtools: Command, few: TaskFolder, api: HfApi, at: tuple[object, ...]
) -> None:
    assert [ref.name for ref in api.list_repo_refs("local/few-model").tags] == ["v1"]
    assert "model is up to date" in hubtools("finetune", "jailbreak", *at, *SETFIT, 6, "--max_steps", 4).stderr


# --- how it trains --------------------------------------------------------------------------------------------------


def test_few_shot_runs_with_one_seed_are_equal_to_the_bit_and_another_seed_is_not(
    run_finetune: Callable[..., TaskFolder], dropping_base: Path
) -> None:
    flags = (*SETFIT, "3", "--max_steps", "3", "--base", str(dropping_base))
    first, second, other = (
        weights(run_finetune(name, *flags, "--seed", seed).model)
        for name, seed in (("first", "5"), ("second", "5"), ("other", "6"))
    )
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])


def test_pairs_move_the_encoder_and_a_class_with_fewer_rows_is_named(
    run_finetune: Callable[..., TaskFolder], tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 16 rows four are attacks. The defaults hold, but for the learning rate."""
    folder = run_finetune("few", *SETFIT, "8", "--learning_rate", "1e-3")
    training = json.loads(folder.training.read_text())
    assert training["few_shot"] == {"rows": 12, "fewer": {"jailbreak": 4}}
    assert training["arguments"]["pairs"] == 12 * 40
    assert training["steps"] == 12 * 40 / 16
    assert training["epochs_run"] == 1
    base, after = weights(tiny_base), weights(folder.model)
    assert max((after[name] - tensor).abs().max() for name, tensor in base.items() if name in after) > 1e-3
    said = capsys.readouterr().out
    assert "12 of 16 training rows, 8 a class, drawn by seed 42 (all that there are of jailbreak: 4)" in said
    assert said.count("[jailbreak] pairs: step ") == 10


def test_a_contrastive_loss_that_is_no_number_stops_the_training(refused: Callable[..., str]) -> None:
    said = refused(*SETFIT, "3", "--max_steps", "20", "--learning_rate", "1e30", code=1)
    assert "The loss is nan at step" in said
    assert "lower --learning_rate" in said


@pytest.mark.parametrize("classes", [2, 3])
def test_the_last_layer_answers_as_the_regression_does(classes: int) -> None:
    """On what the head makes of the embeddings: these, centred, of the same length on average, and hardly bent."""
    torch.manual_seed(0)
    model = ModernBertForSequenceClassification(tiny_config(num_labels=classes, initializer_range=0.3)).eval()
    rng = np.random.default_rng(0)
    rows = [
        {"input_ids": [1, *rng.integers(3, 64, rng.integers(3, 9)).tolist(), 2], "labels": i % classes}
        for i in range(12)
    ]
    collator = Collator(0)
    encoder, last = model.model.state_dict(), model.classifier
    regression = fit_head(model, rows, collator)
    logits, *_ = compute_logits(model, rows, collator)

    model.classifier = torch.nn.Identity()
    features, *_ = compute_logits(model, rows, collator)
    model.head = torch.nn.Identity()
    embeddings, *_ = compute_logits(model, rows, collator)
    assert softmax(logits, axis=1) == pytest.approx(regression.predict_proba(features), abs=1e-5)
    centred = embeddings - embeddings.mean(1, keepdims=True)
    cosines = (features * centred).sum(1) / np.linalg.norm(features, axis=1) / np.linalg.norm(centred, axis=1)
    assert cosines.min() > 0.998
    assert (features**2).mean() == pytest.approx((embeddings**2).mean(), rel=1e-3)
    assert all(torch.equal(tensor, model.model.state_dict()[name]) for name, tensor in encoder.items())
    assert last.out_features == classes


def test_few_shot_training_prefers_an_embedding_model_where_the_hub_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from hubtools.training.fewshot import list_preferred_bases

    there: set[str] = set()
    monkeypatch.setattr(
        "hubtools.connection.find_first_repo", lambda ids, _: next((i for i in ids if i in there), None)
    )
    asked = list_preferred_bases(parse_training_flags(["--method", "setfit"]))
    there = {"nomic-ai/modernbert-embed-base", MODERNBERT.id, "hubtools/modernbert-nano"}
    assert resolve_base(None, asked) == "nomic-ai/modernbert-embed-base"
    assert resolve_base(None, list_preferred_bases(parse_training_flags(["--learning_rate", "1"]))) == MODERNBERT.id
    assert resolve_base(MODERNBERT.id, asked) == MODERNBERT.id
    there = {"hubtools/modernbert-nano"}
    assert resolve_base(None, asked) == "hubtools/modernbert-nano"


# --- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "processes", "said"),
    [
        ("--method setfitt", 1, r"--method(?s:.*)fine-tuning or setfit(?s:.*)setfitt"),
        ("--shots 8", 1, r"--shots(?s:.*)--method setfit with it"),
        ("--shots 8 --method fine-tuning", 1, "--method setfit with it"),
        ("--method setfit --shots 1", 1, "from 2 to 100 rows of each class"),
        ("--method setfit --shots 101", 1, "with more, train on all rows"),
        ("--method setfit --class_weights balanced", 1, "--class_weights would change nothing"),
        ("--method=setfit --focal-gamma 2 --no_pack", 1, "--focal-gamma, --no_pack would change nothing"),
        ("--method setfit --weight_decay=0.1", 1, "--weight_decay would change nothing"),
        ("--method setfit", 2, "SetFit trains in one process"),
        ("--method setfit --shots few", 1, "invalid int value: 'few'"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(flags: str, processes: int, said: str) -> None:
    with pytest.raises(UsageError) as error:
        check_method(parse_training_flags(flags.split()), [JAILBREAK], processes)
    assert re.search(said, str(error.value)), str(error.value)


def test_flags_that_do_go_together_are_taken() -> None:
    flags = "--method setfit --shots 4 --learning_rate 1e-4 --num_train_epochs 2 --max-length 128 --seed 3 --use_cpu"
    check_method(parse_training_flags(flags.split()), [JAILBREAK, CATEGORY], 1)
    check_method(parse_training_flags(["--method", "fine-tuning"]), [*TASKS.values()], 4)


def test_spans_are_refused_before_anything_is_done(hubtools: Command, hub: Hub, tmp_path: Path) -> None:
    at = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", tmp_path / "work")
    done = hubtools("run", *at, *SETFIT, 8, check=False)
    assert done.returncode == 2
    assert "SetFit labels whole texts, and 'pii' asks for spans" in done.stderr
    assert "train pii by a command of its own, without --method and --shots" in done.stderr
    assert "Traceback" not in done.stderr
    options = TrainingOptions(flags=parse_training_flags((*SETFIT, "8")))
    for tasks in ([PII], [*TASKS.values()]):
        with pytest.raises(UsageError, match="'pii' asks for spans"):
            list(finetune_tasks(tasks, WorkOptions(tmp_path / "work"), options))
    assert not (tmp_path / "work").exists()


@pytest.fixture
def refused(run_finetune: Callable[..., TaskFolder], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What finetune.py says when it ends with an exit code."""

    def run(*flags: str, code: int = 2) -> str:
        with pytest.raises(SystemExit) as end:
            run_finetune("refused", *flags)
        assert end.value.code == code
        return capsys.readouterr().err

    return run


def test_a_base_whose_head_cannot_hold_it_is_refused(
    refused: Callable[..., str], tokenizer: Any, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    said = refused(*SETFIT, "4", "--base", str(tmp_path / "bert"))
    assert "cannot hold what SetFit trains" in said
    assert "a bert encoder" in said
    assert "leave --method setfit out" in said


def test_finetune_itself_refuses_what_the_launcher_does(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "fine-tuning or setfit" in refused("--method", "lora2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert "process 0 of 2: SetFit trains in one process" in refused(*SETFIT, "4")
