"""What a user may ask of a fine-tuning beyond its defaults: LoRA, frozen layers, long texts, curves, emissions."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from as_user import Command
from datasets import Dataset, load_dataset
from test_batching import HEADS, model_for, rows_for, trainer_for
from test_training import curated, one_thread, run_finetune, temperature, tiny_base, tiny_config, tokenizer, weights
from transformers import (
    AlbertConfig,
    AlbertForSequenceClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    ModernBertForSequenceClassification,
    pipeline,
)

from hubtools import finetune
from hubtools.errors import UsageError
from hubtools.packing.encoder import PackedModernBert, pack
from hubtools.records import to_json
from hubtools.records.training import Truncation
from hubtools.rows import MADE
from hubtools.spec import BaseModel
from hubtools.tasks import NANO
from hubtools.tasks.intent import INTENT
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII
from hubtools.training.arguments import FinetuneArguments
from hubtools.training.encoding import (
    describe_truncation,
    encode_counted,
    encode_splits,
    leave_out_cut,
    measure_truncation,
)
from hubtools.training.flags import TrainingFlags, parse_training_flags
from hubtools.training.model import find_max_length
from hubtools.training.presets import choose_preset
from hubtools.training.tracking import prepare_reports
from hubtools.training.trainer import ClassifierTrainer
from hubtools.training.tuning import add_lora, freeze, measure_depths, merge_adapters, plain
from hubtools.workdir import TaskFolder, task_folder

__all__ = ["curated", "one_thread", "run_finetune", "tiny_base", "tokenizer"]  # fixtures
Finetune = Callable[..., TaskFolder]
SHORT = ("--max_steps", "2", "--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps",
         "--save_steps", "2", "--logging_steps", "1", "--learning_rate", "1e-2", "--report_to", "none")  # fmt: skip
EVERYTHING = ("--lora_rank", "2", "--freeze_layers", "1", "--layer_decay", "0.5", "--gradient_checkpointing")


def training_of(folder: TaskFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(folder.training.read_text())
    return found


def logits_of(model: Any, rows: list[dict[str, Any]]) -> torch.Tensor:
    with torch.no_grad():
        return torch.cat([model(torch.tensor([row["input_ids"]])).logits.flatten(0, -2) for row in rows])


# --- LoRA -----------------------------------------------------------------------------------------------------------


def test_what_lora_leaves_is_a_plain_model_that_answers_as_the_best_adapters_did(
    run_finetune: Finetune, tiny_base: Path, curated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores are given, so that the second of three evaluations is the best; all else is real."""
    script, seen = [0.6, 0.9, 0.7], list[np.ndarray]()

    def scripted(task: Any, label_set: Any, sources: Any) -> Callable[[Any], dict[str, float]]:
        def scores(prediction: Any) -> dict[str, float]:
            seen.append(prediction.predictions)
            return {"roc_auc": script[len(seen) - 1]}

        return scores

    monkeypatch.setattr("hubtools.training.selection.make_selection_metrics", scripted)
    folder = run_finetune(
        "lora", "--lora_rank", "4", "--num_train_epochs", "3", "--patience", "9", "--learning_rate", "3e-2"
    )
    base, found = weights(tiny_base), weights(folder.model)
    model = AutoModelForSequenceClassification.from_pretrained(folder.model).eval()
    assert set(found) == set(model.state_dict())
    assert {path.suffix for path in folder.model.iterdir()} <= {".json", ".safetensors"}
    assert not [path.name for path in folder.model.iterdir() if "adapter" in path.name]
    same = {name for name in found if name in base and torch.equal(found[name], base[name])}
    assert {name.rsplit(".", 2)[1] for name in set(found) & set(base) - same if ".layers." in name} == {
        "Wqkv", "Wo", "Wi",
    }  # fmt: skip
    assert "model.embeddings.tok_embeddings.weight" in same
    rows = load_dataset(str(curated / "jailbreak" / "dataset"), split="validation")
    read = AutoTokenizer.from_pretrained(folder.model)
    with torch.no_grad():
        logits = [model(**read(text, return_tensors="pt")).logits[0].double().numpy() for text in rows["text"]]
    found_logits = np.array(sorted((np.array(logits) * temperature(folder.model)).tolist()))
    assert found_logits == pytest.approx(np.array(sorted(seen[1].tolist())), abs=1e-5)
    assert np.abs(np.sort(seen[1], axis=0) - np.sort(seen[2], axis=0)).max() > 1e-2, "the last weights are others"
    answers = pipeline("text-classification", model=str(folder.model))(["please help"])
    assert answers[0]["label"] in ("benign", "jailbreak")
    training = training_of(folder)
    assert training["method"] == "fine-tuning"
    assert training["options"] == {
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.05, "targets": ["Wqkv", "Wo", "Wi"]}
    }  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_merged_adapters_answer_alike_and_packed_training_reaches_them(head: str, tmp_path: Path) -> None:
    rows = rows_for(head)
    model, _ = add_lora(model_for(head), 2, 4, 0.0, "all")
    trainer = trainer_for(model, rows, tmp_path, max_steps=3, learning_rate=0.5)
    assert trainer.packed
    assert type(plain(model).base_model) is PackedModernBert
    before = logits_of(model.eval(), rows)
    trainer.train()
    after = logits_of(model.eval(), rows)
    assert (after - before).abs().max() > 1e-3
    assert torch.allclose(logits_of(merge_adapters(model).eval(), rows), after, atol=1e-5)


def test_packed_adapters_have_the_gradients_of_padded_ones(tmp_path: Path) -> None:
    found = []
    for may_pack in (True, False):
        model, _ = add_lora(model_for("token"), 2, 4, 0.0, "all")
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.constant_(weight, 0.1)  # they begin at 0, where lora_A has no gradient
        before = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
        trainer_for(model, rows_for("token"), tmp_path, may_pack=may_pack, per_device_train_batch_size=8).train()
        found.append({name: before[name] - weight.detach() for name, weight in model.named_parameters()
                      if weight.requires_grad})  # fmt: skip
    assert any("lora_A" in name and gradient.norm() > 1e-4 for name, gradient in found[0].items())
    for name, gradient in found[0].items():
        assert torch.allclose(gradient, found[1][name], atol=1e-5), name


def test_lora_trains_adapters_and_the_head_at_up_to_ten_times_the_rate() -> None:
    full, _ = choose_preset(6000, INTENT, BaseModel("some/encoder"))
    lora, said = choose_preset(6000, INTENT, BaseModel("some/encoder"), lora=True)
    assert lora.learning_rate == pytest.approx(10 * full.learning_rate)
    assert said[-1] == "LoRA: learning_rate 0.0003, 10 times the usual"
    nano, _ = choose_preset(6000, INTENT, NANO, 192, lora=True)
    assert nano.learning_rate == 3e-3, "a rate that is high already is not made ten times as high"
    model, _ = add_lora(model_for("sequence"), 2, 4, 0.0, "Wqkv")
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name.split(".lora")[0].rpartition(".")[2] for name in trained if "lora" in name} == {"Wqkv"}
    assert {name.split(".")[2] for name in trained if "lora" not in name} == {"head", "classifier"}


def test_a_flag_for_the_learning_rate_wins_over_that_of_lora(run_finetune: Finetune, capsys: Any) -> None:
    flags = [flag for flag in SHORT if flag not in ("--learning_rate", "1e-2")]
    usual = training_of(run_finetune("usual", *flags))["arguments"]["learning_rate"]
    lora = training_of(run_finetune("lora", *flags, "--lora-rank", "2"))
    assert lora["arguments"]["learning_rate"] == pytest.approx(3 * usual)  # its base is a small one
    assert "3 times the usual" in capsys.readouterr().out
    given = training_of(run_finetune("given", *SHORT, "--lora_rank", "2"))
    assert given["arguments"]["learning_rate"] == 1e-2


def test_layers_that_are_not_there_get_no_adapter() -> None:
    with pytest.raises(UsageError, match=r"(?s)--lora_targets.*Wqkv, Wo, Wi.*query"):
        add_lora(model_for("sequence"), 2, 4, 0.0, "query")


class Killed(BaseException):
    """What no handler of a training catches, as a signal is."""


@contextmanager
def killed_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The training within the block ends in the middle of the step after these."""
    step = ClassifierTrainer.training_step

    def deadly(self: Any, *given: Any) -> Any:
        if self.state.global_step == steps:
            raise Killed
        return step(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(ClassifierTrainer, "training_step", deadly)
        with pytest.raises(Killed):
            yield


def test_a_training_with_every_option_goes_on_to_the_same_weights(
    run_finetune: Finetune, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = (*EVERYTHING, "--num_train_epochs", "3", "--per_device_train_batch_size", "4", "--patience", "99",
             "--fingerprint", "mark", "--learning_rate", "1e-2", "--logging_steps", "2")  # fmt: skip
    undisturbed = run_finetune("undisturbed", *flags)
    with killed_after(9, monkeypatch):
        run_finetune("killed", *flags)
    resumed = run_finetune("killed", *flags)
    assert training_of(resumed)["resumed"]
    assert training_of(resumed)["steps"] == training_of(undisturbed)["steps"] == 12
    expected = weights(undisturbed.model)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(resumed.model).items())
    [curves] = resumed.logs.iterdir()
    assert len([*curves.iterdir()]) == 2, "the curves go on where they ended"


def test_a_training_that_goes_on_keeps_its_patience(run_finetune: Finetune, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is learned at a rate of 0: the first evaluation is the best, and two more end the training."""
    flags = ("--fingerprint", "mark", "--learning_rate", "0", "--patience", "2", "--max_steps", "9",
             "--eval_strategy", "steps", "--eval_steps", "1", "--save_strategy", "steps", "--save_steps", "1",
             "--per_device_train_batch_size", "4")  # fmt: skip
    with killed_after(2, monkeypatch):
        run_finetune("killed", *flags)
    resumed = training_of(run_finetune("killed", *flags))
    assert (resumed["resumed"], resumed["steps"]) == (True, 3)


@pytest.mark.parametrize(
    "flags", [(), pytest.param(("--lora_rank", "2"), marks=pytest.mark.exhaustive)], ids=["whole", "LoRA"]
)
def test_a_training_that_had_stopped_only_gets_its_release_when_it_goes_on(
    run_finetune: Finetune, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]
) -> None:
    flags = ("--fingerprint", "mark", "--learning_rate", "0.5", "--patience", "1", "--num_train_epochs", "30",
             "--per_device_train_batch_size", "4", *flags)  # fmt: skip
    undisturbed = run_finetune("undisturbed", *flags)
    assert training_of(undisturbed)["epochs_run"] < 30, "patience ended it"

    def never(*given: Any, **named: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("hubtools.training.release.release_model", never)
        with pytest.raises(Killed):
            run_finetune("killed", *flags)
    with monkeypatch.context() as patch:
        patch.setattr(ClassifierTrainer, "training_step", never)
        resumed = run_finetune("killed", *flags)
    told, known = training_of(resumed), training_of(undisturbed)
    assert told["resumed"]
    assert {key: told[key] for key in ("steps", "best_validation", "epochs_run")} == {
        key: known[key] for key in ("steps", "best_validation", "epochs_run")
    }
    expected = weights(undisturbed.model)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(resumed.model).items())


def test_rows_that_changed_begin_a_training_anew(
    run_finetune: Finetune, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ("--fingerprint", "mark", "--num_train_epochs", "3", "--per_device_train_batch_size", "4")
    with killed_after(9, monkeypatch):
        run_finetune("killed", *flags)
    other = tmp_path / "other"
    for split in ("train", "validation"):
        rows = load_dataset(str(curated / "jailbreak" / "dataset"), split=split)
        rows.select(range(len(rows) - (split == "train"))).to_parquet(
            other / "data" / f"{split}-00000-of-00001.parquet"
        )
    assert not training_of(run_finetune("killed", *flags, "--dataset", str(other)))["resumed"]


# --- Which checkpoint is released -----------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["loss", pytest.param("accuracy", marks=pytest.mark.exhaustive)])
def test_another_metric_chooses_the_checkpoint_and_the_primary_one_is_recorded_as_itself(
    run_finetune: Finetune, metric: str
) -> None:
    training = training_of(
        run_finetune("chosen", "--metric_for_best_model", metric, "--num_train_epochs", "6", "--learning_rate", "0.3")
    )
    evaluated = [entry for entry in training["history"] if "eval_loss" in entry]
    best = (min if metric == "loss" else max)(evaluated, key=lambda entry: entry[f"eval_{metric}"])
    assert len({entry[f"eval_{metric}"] for entry in evaluated}) > 1
    assert training["best_validation"] == {"roc_auc": best["eval_roc_auc"]}


def test_checkpoints_follow_evaluations(run_finetune: Finetune, tiny_base: Path, curated: Path) -> None:
    where = ["--task", "jailbreak", "--base", str(tiny_base), "--use_cpu"]
    where += ["--dataset", str(curated / "jailbreak" / "dataset")]
    for flags, strategy, steps in (
        (["--eval_steps", "3"], "steps", 3),
        (["--eval-steps", "3", "--eval-strategy", "steps"], "steps", 3),
        (["--eval_strategy", "epoch"], "epoch", None),
    ):
        args = finetune.parse([*where, *flags]).args
        assert args.eval_strategy == args.save_strategy == strategy
        assert steps is None or args.eval_steps == args.save_steps == steps
    args = finetune.parse([*where, "--eval_strategy", "steps"]).args
    assert args.eval_steps == args.save_steps


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--load_best_model_at_end", "false"), "the best checkpoint"),
        (("--eval_steps", "2", "--save_steps", "4"), "--save_steps 4"),
        (("--eval_strategy", "no"), "--eval_strategy no"),
        (("--save_strategy", "steps", "--eval_strategy", "epoch"), "do not go together"),
        (("--patience", "0"), "--patience"),
    ],
)
def test_flags_that_would_release_another_checkpoint_than_the_scored_one_are_refused(
    run_finetune: Finetune, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_finetune("refused", *flags)
    assert ended.value.code
    shown = capsys.readouterr().err
    assert "Error: " in shown
    assert "Traceback" not in shown
    assert said in shown


# --- frozen layers, learning rates by depth, gradient checkpointing ---------------------------------------------------


def test_frozen_layers_stay_as_they_are_and_are_not_computed_backwards(
    run_finetune: Finetune, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_finetune("frozen", *SHORT, "--freeze_layers", "1")
    base, found = weights(tiny_base), weights(folder.model)
    changed = {name for name in base if name in found and not torch.equal(base[name], found[name])}
    assert {name.split(".")[2] for name in changed if ".layers." in name} == {"1"}
    assert not [name for name in changed if "embeddings" in name]
    assert training_of(folder)["options"] == {"freeze_layers": 1}
    assert "frozen: the embeddings and the lowest 1 of 2 layers" in capsys.readouterr().out
    model = model_for("sequence").train()
    freeze(model, 2)
    pack(model)
    needed: list[bool] = []
    for layer in model.model.layers:
        layer.register_forward_hook(lambda _, __, output: needed.append(output.requires_grad))
    model(torch.tensor([[1, 5, 2]]))
    assert needed == [False, False, True]


def test_more_frozen_layers_than_there_are_is_an_error(
    run_finetune: Finetune, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run_finetune("too many", *SHORT, "--freeze_layers", "3")
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "--freeze_layers 3" in said
    assert "at most the 2 layers of this base" in said


def test_learning_rates_fall_from_the_head_to_the_embeddings_and_weight_decay_stays(tmp_path: Path) -> None:
    model = model_for("sequence")
    plainly = trainer_for(model, rows_for("sequence"), tmp_path, weight_decay=0.1, optim="adamw_torch")
    by_depth = trainer_for(model, rows_for("sequence"), tmp_path, weight_decay=0.1, optim="adamw_torch",
                           layer_decay=0.5)  # fmt: skip
    rules = {id(w): g["weight_decay"] for g in plainly.create_optimizer().param_groups for w in g["params"]}
    assert set(rules.values()) == {0.0, 0.1}
    groups = by_depth.create_optimizer().param_groups
    assert {id(w): g["weight_decay"] for g in groups for w in g["params"]} == rules
    rates = {id(w): g["lr"] for g in groups for w in g["params"]}
    found = {name: rates[id(weight)] for name, weight in model.named_parameters()}
    assert found["classifier.weight"] == found["head.dense.weight"] == found["model.final_norm.weight"] == 1.0
    for layer, rate in ((2, 0.5), (1, 0.25), (0, 0.125)):
        assert {r for name, r in found.items() if f".layers.{layer}." in name} == {rate}
    assert {r for name, r in found.items() if "embeddings" in name} == {0.0625}
    assert groups[0]["lr"] == 1.0, "the rate that is logged"


def test_the_rates_of_a_decay_follow_the_schedule(run_finetune: Finetune, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_finetune("decay", *SHORT, "--layer-decay", "0.4", "--warmup_steps", "0")
    rates = [entry["learning_rate"] for entry in training_of(folder)["history"] if "learning_rate" in entry]
    assert rates == pytest.approx([1e-2, 5e-3])
    assert training_of(folder)["options"] == {"layer_decay": 0.4}
    assert "learning rate 0.01 at the head, 0.00064 at the embeddings: times 0.4 a layer" in capsys.readouterr().out


def test_gradient_checkpointing_changes_no_weight_and_is_reported(
    run_finetune: Finetune, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[Any] = []
    checkpoint = torch.utils.checkpoint.checkpoint

    def watched(*given: Any, **named: Any) -> Any:
        called.append(given)
        return checkpoint(*given, **named)

    for path, more in (("packed", ()), ("padded", ("--no_pack",))):
        usual = run_finetune(f"usual {path}", *SHORT, *more)
        assert "gradient checkpointing" not in capsys.readouterr().out
        called.clear()
        with monkeypatch.context() as patch:
            patch.setattr("transformers.modeling_utils.checkpoint", watched)
            spared = run_finetune(f"spared {path}", *SHORT, *more, "--gradient_checkpointing", "true")
        assert called
        assert "gradient checkpointing" in capsys.readouterr().out
        assert training_of(spared)["options"] == {"gradient_checkpointing": True}
        for name, tensor in weights(usual.model).items():
            assert torch.allclose(tensor, weights(spared.model)[name], atol=1e-6), name


# --- how much is read -------------------------------------------------------------------------------------------------


def pii_batch() -> dict[str, list[Any]]:
    """Texts of about 4, 30 and 30 tokens; of the second the last span is cut through, of the third it is lost."""
    first, filler = "Ann Lee of Rome", "word " * 24
    second = "Bob " + filler + "Wolfeschlegelsteinhausenbergerdorff"
    third = "Bob " + filler + "and then " * 9 + "Cleo"
    span = [{"start": 0, "end": 3, "label": 0}]
    return {
        "text": [first, second, third],
        "spans": [
            span,
            [*span, {"start": 4 + len(filler), "end": len(second), "label": 0}],
            [*span, {"start": len(third) - 4, "end": len(third), "label": 0}],
        ],
        "label": [0, 1, 0],
    }


def test_what_a_limit_cuts_is_counted_in_rows_tokens_and_spans(tokenizer: Any) -> None:
    batch = pii_batch()
    whole = [len(ids) for ids in tokenizer(batch["text"])["input_ids"]]
    inside = len(tokenizer("Bob " + "word " * 24 + "Wolfe", add_special_tokens=False)["input_ids"])
    limit = inside + 2
    assert whole[0] < limit < min(whole[1:])
    counted = encode_counted(batch, tokenizer, limit, PII.head, PII.label_set())
    assert counted["cut_tokens"] == [max(0, length - limit) for length in whole]
    assert counted["spans"] == [1, 2, 2]
    assert counted["cut_spans"] == [0, 1, 1]
    rows = Dataset.from_dict({k: v for k, v in counted.items() if k != "labels"})
    found = to_json(measure_truncation(rows, limit))
    lost = sum(whole) - sum(min(length, limit) for length in whole)
    assert found == pytest.approx({
        "max_length": limit, "rows_cut_share": 2 / 3, "tokens_cut_share": lost / sum(whole), "spans_cut_share": 2 / 5,
    })  # fmt: skip
    assert encode_counted(batch, tokenizer, max(whole), PII.head, PII.label_set())["cut_tokens"] == [0, 0, 0]
    sequence = encode_counted(batch, tokenizer, limit, INTENT.head, INTENT.label_set())
    assert sequence["cut_tokens"] == counted["cut_tokens"]
    assert sequence["labels"] == [0, 1, 0]


def test_the_report_of_a_limit_is_the_same_from_the_cache(tokenizer: Any, tmp_path: Path) -> None:
    data = {split: Dataset.from_dict(pii_batch()) for split in ("train", "validation")}
    reports = []
    for _ in range(2):
        encoded = encode_splits(data, tokenizer, 20, PII.head, PII.label_set(), tmp_path)
        reports.append({split: measure_truncation(part, 20) for split, part in encoded.items()})
    assert reports[0] == reports[1]
    assert reports[0]["train"].spans_cut_share == 0.4


def test_a_line_says_what_the_limit_costs() -> None:
    nothing = Truncation(max_length=512, rows_cut_share=0.0, tokens_cut_share=0.0, spans_cut_share=None)
    some = Truncation(max_length=512, rows_cut_share=0.125, tokens_cut_share=0.031, spans_cut_share=None)
    assert describe_truncation({"train": nothing, "validation": nothing}) == "max length 512: nothing is cut"
    assert (
        describe_truncation({"train": dataclasses.replace(some, spans_cut_share=0.04), "validation": nothing})
        == "max length 512 cuts 12.5% of the train rows, with 3.1% of all tokens and 4.0% of all spans"
    )
    assert describe_truncation({"train": some, "validation": some}).endswith(
        "; 12.5% of the validation rows, with 3.1% of all tokens"
    )


def test_a_made_row_that_the_limit_cuts_is_not_trained_on(tokenizer: Any, tmp_path: Path) -> None:
    """What was put into it, and its label with it, may stand behind the limit. A row that was not made stays."""
    long, short = "word " * 40, "word"
    rows = {"text": [long, long, short, short], "label": [0, 1, 0, 1],
            "group": [f"{MADE}hidden 1", "own", f"{MADE}hidden 2", "own"]}  # fmt: skip
    data = {split: Dataset.from_dict(rows) for split in ("train", "validation")}
    encoded = encode_splits(data, tokenizer, 20, JAILBREAK.head, JAILBREAK.label_set(), tmp_path)
    left, left_encoded = leave_out_cut(data, encoded)
    assert left["train"]["group"][:] == ["own", f"{MADE}hidden 2", "own"]
    assert left_encoded["train"]["labels"][:] == [1, 0, 1]
    assert len(left["validation"]) == len(left_encoded["validation"]) == 4
    bare = {split: part.remove_columns("group") for split, part in data.items()}
    assert len(leave_out_cut(bare, encoded)[0]["train"]) == 4, "a dataset of others has no groups"


def test_a_training_reports_what_its_limit_cuts(
    run_finetune: Finetune, capsys: pytest.CaptureFixture[str], curated: Path, tokenizer: Any
) -> None:
    rows = load_dataset(str(curated / "jailbreak" / "dataset"))
    lengths = [len(ids) for ids in tokenizer(rows["train"]["text"][:])["input_ids"]]
    limit = sorted(lengths)[8]
    folder = run_finetune("cut", *SHORT, "--max-length", str(limit))
    found = training_of(folder)["truncation"]
    assert found["train"] == pytest.approx({
        "max_length": limit, "rows_cut_share": sum(length > limit for length in lengths) / 16,
        "tokens_cut_share": sum(max(0, length - limit) for length in lengths) / sum(lengths), "spans_cut_share": None,
    })  # fmt: skip
    assert 0 < found["train"]["rows_cut_share"] < 1
    assert set(found) == {"train", "validation"}
    assert f"max length {limit} cuts" in capsys.readouterr().out
    run_finetune("whole", *SHORT)
    assert "max length 512: nothing is cut" in capsys.readouterr().out


def test_rows_are_balanced_or_sampled_by_a_strategy_of_transformers_not_both(
    run_finetune: Finetune, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run_finetune("both", *SHORT, "--balance", "0.5", "--train_sampling_strategy", "sequential")
    assert end.value.code == 2
    assert "leave one of the two flags out" in capsys.readouterr().err
    folder = run_finetune("strategy", *SHORT, "--train_sampling_strategy", "sequential")
    assert "balance" not in training_of(folder)["arguments"]


def test_a_limit_beyond_the_model_is_an_error(run_finetune: Finetune, capsys: pytest.CaptureFixture[str]) -> None:
    for length, message in (("9000", "from 3 to 8192 tokens"), ("513", "at most 512 tokens for modernbert")):
        with pytest.raises(SystemExit) as end:
            run_finetune("far", *SHORT, "--max_length", length)
        assert end.value.code == 2
        assert message in capsys.readouterr().err


def test_a_model_of_8192_positions_reads_8192_tokens() -> None:
    model = ModernBertForSequenceClassification(tiny_config(num_hidden_layers=1, max_position_embeddings=8192)).eval()
    assert find_max_length(model, 8192) == 8192
    assert find_max_length(model, None) == 512
    pack(model)
    ids = torch.randint(3, 64, (1, 8192), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first, other = model(ids).logits, model(torch.cat([ids[:, :-1], ids[:, -1:] ^ 1], dim=1)).logits
    assert not torch.equal(first, other), "the last token counts"


# --- curves -----------------------------------------------------------------------------------------------------------


def test_curves_outlive_the_training_and_a_line_says_how_to_see_them(
    run_finetune: Finetune, capsys: pytest.CaptureFixture[str]
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    flags = [flag for flag in SHORT if flag not in ("--report_to", "none")]
    folder = run_finetune("curves", *flags)
    assert f"curves: tensorboard --logdir {folder.logs}" in capsys.readouterr().out
    assert not folder.runs.exists()
    [run] = folder.logs.iterdir()
    events = EventAccumulator(str(run))
    events.Reload()
    assert {"train/loss", "train/learning_rate", "eval/roc_auc"} <= set(events.Tags()["scalars"])
    logged = [entry["loss"] for entry in training_of(folder)["history"] if "loss" in entry]
    assert [event.value for event in events.Scalars("train/loss")] == pytest.approx(logged)
    assert not run_finetune("none", *SHORT).logs.exists()


def test_without_tensorboard_the_log_says_how_to_get_it(
    run_finetune: Finetune, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hubtools.training.tracking.find_spec", lambda name: None)
    run_finetune("bare", *(flag for flag in SHORT if flag not in ("--report_to", "none")))
    assert "no curves are kept: pip install tensorboard" in capsys.readouterr().out


def test_only_a_training_that_reports_to_trackio_tells_it_where_to_keep_curves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", "")
    monkeypatch.delenv("TRACKIO_DIR")
    for names, place in (
        (["tensorboard"], None),
        ([], None),
        (["trackio"], str(tmp_path / "work" / "intent" / "logs" / "trackio")),
    ):
        prepare_reports(names, task_folder(tmp_path / "work", "intent"))
        assert os.environ.get("TRACKIO_DIR") == place


def test_trackio_keeps_curves_on_this_machine(
    run_finetune: Finetune, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", "")
    monkeypatch.delenv("TRACKIO_DIR")  # afterwards it is what it was
    for name in ("SPACE_ID", "BUCKET_ID", "SERVER_URL"):  # of another job: nothing goes there
        monkeypatch.setenv(f"TRACKIO_{name}", "http://127.0.0.1:1/somebody")
    folder = run_finetune("tracked", *SHORT[:-1], "trackio", "--lora_rank", "2")
    place = folder.logs / "trackio"
    assert f"curves: TRACKIO_DIR={place} trackio show --project hubtools" in capsys.readouterr().out
    assert [*place.glob("*.db")]
    from trackio.sqlite_storage import SQLiteStorage

    [run] = SQLiteStorage.get_runs("hubtools")
    assert run.startswith("jailbreak-")
    found = [entry["train/loss"] for entry in SQLiteStorage.get_logs("hubtools", run) if "train/loss" in entry]
    logged = [entry["loss"] for entry in training_of(folder)["history"] if "loss" in entry]
    assert found == pytest.approx(logged)


@pytest.mark.parametrize("flags", [
    ("--push_to_hub", "True"), ("--push-to-hub",), ("--push_to_hub=true",), ("--hub_model_id", "me/x"),
    ("--hub-strategy", "end"), ("--hub_token", "hf_secret"), ("--hub_private_repo", "False", "--hub_revision", "x"),
    ("--trackio_space_id", "me/x", "--hub_model_id", "me/x"),
])  # fmt: skip
def test_a_training_publishes_nothing_and_names_the_way(flags: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="would publish the model") as caught:
        parse_training_flags(["--max_steps", "2", *flags])
    assert "hubtools push-model" in str(caught.value)
    assert "hf_secret" not in str(caught.value)


def test_what_switches_publishing_off_is_no_wish_to_publish() -> None:
    assert parse_training_flags(["--push_to_hub", "False", "--hub_always_push", "False"]).trainer


def test_curves_go_to_a_private_space_where_both_are_asked_for() -> None:
    flags = parse_training_flags(["--report_to", "trackio", "--trackio_space_id", "me/x", "--hub_private_repo", "True"])
    assert (flags.trainer["trackio_space_id"], flags.trainer["hub_private_repo"]) == ("me/x", True)


def test_curves_for_nobody_are_an_error(run_finetune: Finetune, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run_finetune("nobody", *SHORT[:-1], "nonsense")
    assert end.value.code == 2
    assert "--report_to nonsense" in capsys.readouterr().err


# --- emissions --------------------------------------------------------------------------------------------------------


def test_emissions_are_measured_quietly_and_written_down(
    run_finetune: Finetune, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_finetune("measured", *SHORT, "--emissions", "--emissions_country", "deu")
    found = training_of(folder)["emissions"]
    assert set(found) == {"co2_kg", "energy_kwh", "country", "tool"}
    assert found["country"] == "DEU"
    assert found["tool"].startswith("codecarbon ")
    # Germany's electricity emits between 0.1 and 1 kg a kWh.
    assert 0 < 0.1 * found["energy_kwh"] < found["co2_kg"] < found["energy_kwh"] < 0.1
    assert "codecarbon" not in capsys.readouterr().err
    assert logging.getLogger("codecarbon").level == logging.ERROR
    assert "emissions" not in training_of(run_finetune("unmeasured", *SHORT))


def test_emissions_of_a_training_that_was_killed_count_as_well(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from hubtools.training.emissions import EmissionsTracker

    (tmp_path / "emissions-0.json").write_text('{"co2_kg": 5.0, "energy_kwh": 7.0}')
    measured = EmissionsTracker("USA", tmp_path)
    args, state = SimpleNamespace(process_index=0), SimpleNamespace(is_local_process_zero=True)
    measured.on_train_begin(args, state, None)
    measured.on_save(args, state, None)
    kept = json.loads((tmp_path / "emissions-0.json").read_text())
    measured.on_train_end(args, state, None)
    found = measured.gather()
    assert 5.0 < kept["co2_kg"] <= found.co2_kg < 5.1
    assert 7.0 < kept["energy_kwh"] <= found.energy_kwh < 7.1


def test_a_country_that_codecarbon_does_not_know_is_an_error(
    run_finetune: Finetune, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        run_finetune("nowhere", *SHORT, "--emissions", "--emissions_country", "XYZ")
    assert end.value.code == 2
    assert "--emissions_country" in capsys.readouterr().err


# --- flags ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags",
    [
        ("--max_length", "8193"), ("--max_length", "2"), ("--lora_rank", "-1"), ("--lora_alpha", "0"),
        ("--lora_dropout", "1"), ("--freeze_layers", "-1"), ("--layer_decay", "0"), ("--layer_decay", "1.1"),
        ("--balance", "-0.1"), ("--balance", "1.1"),
        ("--emissions",),
    ],
    ids=" ".join,
)  # fmt: skip
def test_values_out_of_range_stop_before_anything_is_started(flags: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="--") as error:
        parse_training_flags(flags)
    assert error.value.expected


def test_flags_are_parsed_once_into_what_was_given_and_what_it_means() -> None:
    argv = ["--learning-rate", "1e-4", "--lora_rank=8", "--no_pack", "--use_cpu"]
    flags = parse_training_flags(argv)
    assert flags.argv == tuple(argv)
    assert [*flags.given.items()] == [
        ("learning_rate", "--learning-rate"), ("lora_rank", "--lora_rank"), ("pack", "--no_pack"),
        ("use_cpu", "--use_cpu"),
    ]  # fmt: skip
    assert flags.trainer == {"learning_rate": 1e-4, "use_cpu": True}
    assert (flags.ours.lora_rank, flags.ours.pack, flags.ours.method) == (8, False, "fine-tuning")
    assert flags.prepend(["--lora_rank", "4", "--patience", "2"]).ours == dataclasses.replace(flags.ours, patience=2)
    assert parse_training_flags([]) == TrainingFlags()


@pytest.mark.parametrize("flags", ["--lerning_rate 1", "--learn 1", "--learning_rate fast", "--task", "stray"])
def test_an_unknown_flag_and_a_value_of_the_wrong_type_are_errors(flags: str) -> None:
    with pytest.raises(UsageError, match="neither ours nor the training's"):
        parse_training_flags(flags.split())


def test_an_option_whose_package_is_absent_stops_before_anything_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hubtools.training.arguments.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"(?s)codecarbon.*not installed.*hubtools\[emissions\]"):
        FinetuneArguments(task="intent", emissions=True, emissions_country="USA")
    with pytest.raises(UsageError, match=r"(?s)peft.*not installed"):
        FinetuneArguments(task="intent", lora_rank=8)


def test_an_encoder_without_numbered_layers_says_so() -> None:
    config = AlbertConfig(
        vocab_size=64, embedding_size=16, hidden_size=16, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2,
    )  # fmt: skip
    with pytest.raises(UsageError, match="type albert has no numbered layers"):
        measure_depths(AlbertForSequenceClassification(config))


def test_the_help_of_finetune_names_every_flag_of_ours(hubtools: Command) -> None:
    shown = hubtools("finetune", "--help").stdout
    named = {field.name for field in dataclasses.fields(FinetuneArguments)} - {"task", "fingerprint"}
    assert [name for name in named if f"  --{name} " not in re.sub("--(work|task)-", r"--\1_", shown)] == []
    assert "--gradient_checkpointing" in shown


def test_flags_of_the_command_may_be_written_with_underscores(hubtools: Command, tmp_path: Path) -> None:
    done = hubtools("finetune", "intent", "--work_dir", tmp_path / "here", "--dry_run", check=False)
    assert done.returncode == 1
    assert str(tmp_path / "here" / "intent" / "facts.json") in done.stderr


def test_flags_may_be_written_with_dashes(run_finetune: Finetune) -> None:
    folder = run_finetune(
        "dashes", *(flag.replace("_", "-") for flag in SHORT), "--per-device-train-batch-size", "3",
        "--gradient-accumulation-steps", "2", "--gradient-checkpointing",
    )  # fmt: skip
    training = training_of(folder)
    assert training["arguments"]["batch_size"] == 6
    assert training["options"] == {"gradient_checkpointing": True}
