"""However rows are divided into batches, passes, accumulated parts and processes, a step's gradient is the same."""

from __future__ import annotations

import random
from collections import Counter
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from test_training import one_thread, tiny_config, tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_pt_utils import LabelSmoother

from hubtools.errors import TrainingFailed, UsageError
from hubtools.heads import detection
from hubtools.heads.values import IGNORED
from hubtools.packing.attention import Texts, text_by_text
from hubtools.packing.encoder import pack
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.training.batching import (
    MOST_REPEATS,
    Collator,
    StepBatches,
    divide_into_passes,
    draw_rows,
    weigh_rows,
)
from hubtools.training.encoding import encode_splits
from hubtools.training.loss import choose_weights, make_loss_function
from hubtools.training.trainer import ClassifierTrainer

__all__ = ["one_thread", "tokenizer"]  # fixtures
LENGTHS = (3, 40, 17, 5, 64, 9, 3, 28)
HEADS = {
    "sequence": (ModernBertForSequenceClassification, {"classifier_pooling": "mean"}),
    "sequence, first token": (ModernBertForSequenceClassification, {"classifier_pooling": "cls"}),
    "token": (ModernBertForTokenClassification, {}),
}


def model_for(head: str, **more: Any) -> Any:
    """A layer that sees everything, and one that sees 8 tokens to either side."""
    torch.manual_seed(0)
    kind, options = HEADS[head]
    kinds = ["full_attention", "sliding_attention", "full_attention"]
    own = {"num_labels": 3, "num_hidden_layers": 3, "layer_types": kinds, "local_attention": 16}
    return kind(tiny_config(**own | options | more))


def rows_for(head: str, lengths: tuple[int, ...] = LENGTHS) -> list[dict[str, Any]]:
    rng = random.Random(1)
    rows = []
    for i, n in enumerate(lengths):
        ids = [1, *(rng.randrange(3, 64) for _ in range(n - 2)), 2]
        # Half of the tokens carry a label: batches differ in what they count, not only in what they hold.
        tags = [rng.choice([IGNORED, i % 3]) for _ in ids[1:]] + [i % 3]
        rows.append({"input_ids": ids, "labels": tags if head == "token" else i % 3, "length": n})
    return rows


def gradients(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


# --- packing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("told", [True, False], ids=["lengths given", "lengths from the mask"])
def test_a_packed_batch_has_the_loss_and_the_gradients_of_a_padded_one(head: str, told: bool) -> None:
    batch = Collator(0)(rows_for(head))
    lengths, labels = batch.pop("lengths"), batch.pop("labels")
    found = []
    for packed in (False, True):
        model = model_for(head).train()
        if packed:
            pack(model)
            batch |= {"lengths": lengths} if told else {}
        logits = model(**batch).logits
        loss = make_loss_function(None)(SimpleNamespace(logits=logits), labels)
        loss.backward()
        found.append((logits.detach()[labels != IGNORED], loss.detach(), gradients(model)))
    for padded, packed in zip(*found, strict=True):
        assert torch.allclose(padded, packed, atol=1e-5, rtol=1e-5)
    assert found[0][2].norm() > 0.01


@pytest.mark.parametrize("head", HEADS)
def test_a_packed_text_sees_no_other(head: str) -> None:
    model = model_for(head).eval()
    pack(model)
    rows = rows_for(head)
    others = [dict(row, input_ids=[7] * len(row["input_ids"])) for row in rows]
    with torch.no_grad():
        [alone] = model(torch.tensor([rows[4]["input_ids"]])).logits
        for beside in (rows, others):
            batch = Collator(0)([*beside[:4], rows[4], *beside[5:]])
            batch.pop("labels")
            among = model(**batch).logits[4]
            assert torch.allclose(among[: len(alone)] if head == "token" else among, alone, atol=1e-6)


def test_padding_on_the_left_is_dropped_as_well() -> None:
    ids = torch.tensor([[0, 0, 1, 5, 2], [1, 6, 7, 8, 2]])
    mask = (ids != 0).long()
    plain = model_for("sequence").eval()
    packed = model_for("sequence").eval()
    pack(packed)
    with torch.no_grad():
        assert torch.allclose(plain(ids, mask).logits, packed(ids, mask).logits, atol=1e-6)


def test_gradient_checkpointing_changes_no_gradient_of_a_packed_model() -> None:
    batch = Collator(0)(rows_for("sequence"))
    labels = batch.pop("labels")
    found = []
    for checkpointing in (False, True):
        model = model_for("sequence").train()
        pack(model)
        if checkpointing:
            getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()
        make_loss_function(None)(model(**batch), labels).backward()
        found.append(gradients(model))
    assert torch.allclose(*found, atol=1e-7)


def test_what_is_saved_of_a_packed_model_is_what_is_saved_of_a_plain_one(tmp_path: Path) -> None:
    model = model_for("sequence").eval()
    model.save_pretrained(tmp_path / "plain")
    pack(model)
    model.save_pretrained(tmp_path / "packed")
    assert (tmp_path / "plain" / "config.json").read_text() == (tmp_path / "packed" / "config.json").read_text()
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "packed")
    assert type(again.model).__name__ == "ModernBertModel"


def test_attention_within_texts_is_block_diagonal_and_near() -> None:
    lengths = [2, 30, 11]
    q, k, v = torch.randn(3, 1, 2, sum(lengths), 8, generator=torch.Generator().manual_seed(0)).unbind()
    text = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))
    place = torch.arange(sum(lengths))
    for window in (None, 6):
        seen = text[:, None] == text
        if window:
            seen &= (place[:, None] - place).abs() < window
        expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=0.3)
        texts = Texts(torch.tensor([0, 2, 32, 43]), 30)
        found, _ = text_by_text(None, q, k, v, None, scaling=0.3, texts=texts, sliding_window=window)
        assert torch.allclose(found.transpose(1, 2), expected, atol=1e-6)


# --- batches and passes ---------------------------------------------------------------------------------------------

texts = st.lists(st.integers(1, 600), min_size=1, max_size=80)


@given(texts, st.integers(1, 2000), st.booleans(), st.integers(0, 500))
def test_every_row_of_a_batch_goes_through_the_model_once_and_within_the_budget(
    lengths: list[int], budget: int, padded: bool, a_pass: int
) -> None:
    found = divide_into_passes(lengths, budget, padded, a_pass)
    assert sorted(row for rows in found for row in rows) == list(range(len(lengths)))
    for rows in found:
        each = [lengths[row] for row in rows]
        assert len(rows) == 1 or (max(each) * len(each) if padded else sum(each)) <= budget


def test_passes_of_padded_rows_hold_rows_of_like_length() -> None:
    lengths = [500, 20, 495, 22, 25, 505, 18, 498]
    assert [sorted(lengths[row] for row in rows) for rows in divide_into_passes(lengths, 4096, True, 32)] == [
        [495, 498, 500, 505],
        [18, 20, 22, 25],
    ]
    assert divide_into_passes(lengths, 4096, False, 32) == [list(range(8))], (
        "what has no padding goes at once, in its own order"
    )


@given(texts, st.integers(1, 40), st.integers(1, 4), st.integers(0, 9))
def test_an_epoch_takes_every_row_once_in_steps_of_equal_size(
    lengths: list[int], rows: int, parts: int, seed: int
) -> None:
    if len(lengths) < parts or rows < parts:
        return
    batches = [*StepBatches(lengths, rows, parts, seed, lambda: 0)]
    steps = [[*chain(*batches[i : i + parts])] for i in range(0, len(batches), parts)]
    assert len(batches) == len(StepBatches(lengths, rows, parts, seed, lambda: 0)) == parts * len(steps)
    assert sorted(row for step in steps for row in step) == list(range(len(lengths)))
    assert max(map(len, steps)) - min(map(len, steps)) <= 1
    assert all(batches)
    assert len(steps) == max(1, len(lengths) // rows)
    whole = StepBatches(lengths, rows, 1, seed, lambda: 0)
    assert [sorted(step) for step in steps] == [sorted(step) for step in whole], "parts change no step"


def test_the_parts_of_a_step_hold_about_as_many_tokens() -> None:
    rng = random.Random(0)
    lengths = [rng.choice([20, 60, 500]) for _ in range(640)]
    batches = [*StepBatches(lengths, 64, 4, 0, lambda: 0)]
    for i in range(0, len(batches), 4):
        tokens = [sum(lengths[row] for row in part) for part in batches[i : i + 4]]
        assert max(tokens) < 1.1 * min(tokens)


def test_epochs_and_seeds_draw_other_steps_and_the_same_ones_again() -> None:
    def drawn(seed: int, epoch: int) -> list[list[int]]:
        return [*StepBatches([5] * 40, 8, 1, seed, lambda: epoch)]

    assert drawn(0, 0) == drawn(0, 0)
    assert drawn(0, 0) != drawn(0, 1) != drawn(1, 1)


@given(st.lists(st.sampled_from("aaaaaaaabbbc"), min_size=2, max_size=200), st.floats(0.01, 1), st.integers(0, 9))
def test_an_epoch_is_as_long_whatever_its_balance_and_takes_each_row_about_as_often_as_it_should(
    cells: list[str], balance: float, seed: int
) -> None:
    weights = weigh_rows(cells, [], balance)
    drawn = Counter(draw_rows(np.random.default_rng(seed), len(cells), weights).tolist())
    assert drawn.total() == len(cells)
    if weights is None:
        assert len(set(cells)) == 1
        return
    wanted = weights * (len(cells) / weights.sum())
    assert all(abs(drawn[row] - wanted[row]) < 1 + 1e-9 for row in range(len(cells)))
    assert weights.max() <= MOST_REPEATS


@pytest.mark.parametrize(("balance", "share"), [(0.5, 0.25), (1, 0.5)])
def test_balance_brings_a_small_source_nearer_to_a_large_one(balance: float, share: float) -> None:
    weights = weigh_rows(["large"] * 900 + ["small"] * 100, [0] * 1000, balance)
    assert weights is not None
    small = min(share, MOST_REPEATS * 0.1)
    assert weights[900:].sum() / weights.sum() == pytest.approx(small, abs=0.03)


def test_without_a_balance_every_row_comes_once() -> None:
    assert weigh_rows(["a", "b", "b"], [0, 1, 1], 0) is None
    assert weigh_rows(["a", "a", "a"], [0, 1, 1], 1) is None, "one source"
    assert weigh_rows([], [0, 1, 1], 1) is None, "no sources known"
    assert sorted(draw_rows(np.random.default_rng(0), 5, None)) == [0, 1, 2, 3, 4]


def test_fewer_rows_than_parts_of_a_step_are_refused() -> None:
    with pytest.raises(UsageError, match="3 training rows are too few"):
        StepBatches([5, 5, 5], 16, 4, 0, lambda: 0)


# --- the Trainer ----------------------------------------------------------------------------------------------------


def bert() -> BertConfig:
    return BertConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, num_labels=3,
        hidden_dropout_prob=0, attention_probs_dropout_prob=0,
    )  # fmt: skip


def trainer_for(model: Any, rows: list[dict[str, Any]], folder: Path, **options: Any) -> ClassifierTrainer:
    own = ("tokens_per_batch", "may_pack", "static", "compiled", "layer_decay", "callbacks")
    ours = {name: options.pop(name) for name in own if name in options}
    loss = options.pop("loss", make_loss_function(None))
    args = TrainingArguments(
        str(folder), **{"max_steps": 1, "max_grad_norm": 0, "report_to": "none", "use_cpu": True, "save_strategy": "no",
        "disable_tqdm": True, "dataloader_pin_memory": False, "logging_strategy": "no", "optim": "sgd",
        "learning_rate": 1.0, "lr_scheduler_type": "constant", "weight_decay": 0.0} | options,
    )  # fmt: skip
    return ClassifierTrainer(
        model=model, args=args, train_dataset=Dataset.from_list(rows), eval_dataset=Dataset.from_list(rows),
        processing_class=SimpleNamespace(pad_token_id=0, model_input_names=["input_ids"]),
        compute_loss_func=loss, **ours,
    )  # fmt: skip


def step(model: Any, rows: list[dict[str, Any]], folder: Path, **options: Any) -> torch.Tensor:
    """What one step of gradient descent with rate 1 subtracts from the weights: the gradient."""
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    trainer_for(model, rows, folder, **options).train()
    return before - torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("head", ["sequence", "token"])
@pytest.mark.parametrize(
    "cut",
    [
        {},
        {"tokens_per_batch": 70},
        {"may_pack": False},
        {"may_pack": False, "tokens_per_batch": 100},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "tokens_per_batch": 40},
        {"static": True},
        {"static": True, "tokens_per_batch": 70},
        {"static": True, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    ],
    ids=str,
)
def test_a_step_has_the_gradient_of_its_rows_however_they_are_cut(
    head: str, cut: dict[str, int], tmp_path: Path
) -> None:
    rows = rows_for(head)
    reference = model_for(head)
    batch = Collator(0)(rows)
    loss = torch.nn.functional.cross_entropy(
        reference(batch["input_ids"], batch["attention_mask"]).logits.flatten(0, -2), batch["labels"].flatten()
    )
    loss.backward()
    expected = gradients(reference)
    found = step(model_for(head), rows, tmp_path, **({"per_device_train_batch_size": 8} | cut))
    assert expected.norm() > 0.01
    assert (found - expected).norm() < 1e-5 * expected.norm() + 1e-6


def test_an_encoder_that_cannot_be_packed_has_the_same_gradient_in_passes(tmp_path: Path) -> None:
    found = []
    for budget in (10_000, 70):
        torch.manual_seed(0)
        model = BertForSequenceClassification(bert())
        options = {"per_device_train_batch_size": 8, "tokens_per_batch": budget}
        found.append(step(model, rows_for("sequence"), tmp_path, **options))
    assert found[0].norm() > 0.01
    assert (found[0] - found[1]).norm() < 1e-5 * found[0].norm()


def test_passes_made_to_keep_other_processes_company_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = step(model_for("token"), rows_for("token"), tmp_path, per_device_train_batch_size=8)
    monkeypatch.setattr(ClassifierTrainer, "_most", lambda self, count: count + 2)
    company = step(model_for("token"), rows_for("token"), tmp_path, per_device_train_batch_size=8)
    assert torch.allclose(alone, company, atol=1e-7)
    found = trainer_for(model_for("token"), rows_for("token"), tmp_path).predict(Dataset.from_list(rows_for("token")))
    assert found.predictions.shape[0] == len(LENGTHS)


@pytest.mark.parametrize("head", ["sequence", "token"])
@pytest.mark.parametrize(
    "cut", [{}, {"tokens_per_batch": 50}, {"may_pack": False}, {"static": True, "tokens_per_batch": 50}], ids=str
)
def test_evaluation_keeps_every_row_at_its_place(head: str, cut: dict[str, Any], tmp_path: Path) -> None:
    rows, model = rows_for(head, LENGTHS * 3), model_for(head).eval()
    with torch.no_grad():
        expected = [model(torch.tensor([row["input_ids"]])).logits[0] for row in rows]
    found = trainer_for(model, rows, tmp_path, per_device_eval_batch_size=5, **cut).predict(Dataset.from_list(rows))
    assert len(found.predictions) == len(rows)
    for row, logits, labels, right in zip(rows, found.predictions, found.label_ids, expected, strict=True):
        if head == "token":
            logits, labels = logits[: row["length"]], labels[: row["length"]].tolist()
        assert labels == row["labels"]
        assert torch.allclose(torch.tensor(logits), right, atol=1e-5)


def test_the_trainers_own_sampling_is_used_where_it_is_asked_for(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Watch(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **_: Any) -> None:
            seen.append(train_dataloader.batch_sampler)

    for strategy in ("random", "group_by_length"):
        trainer = trainer_for(
            model_for("sequence"), rows_for("sequence"), tmp_path, train_sampling_strategy=strategy, callbacks=[Watch()]
        )
        trainer.train()
    assert [type(sampler) is StepBatches for sampler in seen] == [True, False]


def test_each_epoch_of_a_training_draws_its_own_steps_of_all_rows(tmp_path: Path) -> None:
    trainer = trainer_for(
        model_for("sequence"), rows_for("sequence"), tmp_path, max_steps=-1, num_train_epochs=2, learning_rate=1e-3,
        per_device_train_batch_size=2,
    )  # fmt: skip
    collate, drawn = trainer.data_collator, list[int]()

    def watched(rows: list[dict[str, Any]]) -> dict[str, Any]:
        drawn.extend(LENGTHS.index(len(row["input_ids"])) for row in rows)
        return collate(rows)

    trainer.data_collator = watched
    trainer.train()
    assert trainer.state.global_step == 8
    assert sorted(drawn[:8]) == sorted(drawn[8:])
    assert drawn[:8] != drawn[8:]


def test_a_loss_that_is_no_number_stops_the_training_at_once_though_nothing_is_logged(tmp_path: Path) -> None:
    trainer = trainer_for(
        model_for("sequence"), rows_for("sequence"), tmp_path, learning_rate=1e30, max_steps=50,
        per_device_train_batch_size=4,
    )  # fmt: skip
    with pytest.raises(TrainingFailed, match=r"(?s)The loss is (nan|inf).*never --fp16"):
        trainer.train()
    assert trainer.state.global_step < 5


# --- loss -----------------------------------------------------------------------------------------------------------


def some_logits() -> tuple[Any, torch.Tensor]:
    labels = torch.tensor([[-100, 1, 2, -100], [-100, 0, 0, -100], [-100, 4, -100, -100]])
    return SimpleNamespace(logits=torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))), labels


def test_label_smoothing_is_the_trainers_own() -> None:
    outputs, labels = some_logits()
    expected = LabelSmoother(0.2)({"logits": outputs.logits}, labels, num_items_in_batch=7)
    assert make_loss_function(None, label_smoothing=0.2)(outputs, labels, 7).item() == pytest.approx(expected.item())


def test_focal_loss_counts_an_item_by_what_the_model_lacks() -> None:
    outputs, labels = some_logits()
    kept = labels != IGNORED
    p = outputs.logits.softmax(-1)[kept].gather(1, labels[kept][:, None]).squeeze(1)
    weights = [1.0, 2.0, 0.5, 1.0, 3.0]
    expected = ((1 - p) ** 2 * -p.log() * torch.tensor(weights)[labels[kept]]).sum() / 5
    assert make_loss_function(weights, focal_gamma=2)(outputs, labels).item() == pytest.approx(expected.item())
    sure = SimpleNamespace(logits=torch.tensor([[100.0, -100.0]], requires_grad=True))
    make_loss_function(None, focal_gamma=0.5)(sure, torch.tensor([0])).backward()
    assert sure.logits.grad.isfinite().all()


def test_class_weights_are_chosen_by_task_or_flag() -> None:
    labels, tags = [0, 0, 0, 1], [[IGNORED, 0, 0], [0, 1, IGNORED]]
    assert choose_weights("auto", False, labels, 2) is None
    assert choose_weights("none", True, labels, 2) is None
    assert choose_weights("auto", True, labels, 2) == pytest.approx([2 / 3, 2])
    assert choose_weights("balanced", False, tags, 2) == pytest.approx([2 / 3, 2])
    assert choose_weights("1,2.5", True, labels, 2) == [1, 2.5]
    for wrong in ("1", "1,2,3", "1,-2", "1,nan", "heavy"):
        with pytest.raises(UsageError, match=r"(?s)--class_weights.*2 positive numbers"):
            choose_weights(wrong, True, labels, 2)


# --- encoded splits -------------------------------------------------------------------------------------------------


def test_encoded_splits_are_kept_until_rows_or_length_change(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    encode_sequence = detection.encode_sequence

    def counted(batch: Any, *options: Any) -> dict[str, Any]:
        calls.append(len(batch["text"]))
        return encode_sequence(batch, *options)

    monkeypatch.setattr(detection, "encode_sequence", counted)

    def encode(last: str, max_length: int = 64) -> int:
        columns = {"text": ["Ann Lee", "word " * 50, last], "label": [0, 1, 0]}
        data = {split: Dataset.from_dict(columns) for split in ("train", "validation")}
        calls.clear()
        found = encode_splits(data, tokenizer, max_length, JAILBREAK.head, JAILBREAK.label_set(), tmp_path)
        assert found["train"]["length"][:] == [len(ids) for ids in found["train"]["input_ids"]]
        assert max(found["train"]["length"]) <= max_length
        assert found["train"]["labels"][:] == [0, 1, 0]
        return sum(calls)

    assert encode("one") > 0
    assert encode("one") == 0
    assert encode("two") > 0
    assert encode("two", max_length=20) > 0
    assert len([*tmp_path.iterdir()]) == 2, "what is of other rows goes"


# --- configuration files --------------------------------------------------------------------------------------------

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_accelerate_reads_our_configuration_files(file: Path) -> None:
    config = load_config_from_file(str(file))
    assert config.distributed_type == ("FSDP" if "fsdp" in file.stem else "MULTI_GPU")
    assert (config.num_machines > 1) == ("nodes" in file.stem)
    if "fsdp" in file.stem:
        assert config.fsdp_config["fsdp_state_dict_type"] == "FULL_STATE_DICT", "a release is one file of weights"


def test_configuration_files_cover_one_and_several_nodes() -> None:
    assert [file.stem for file in CONFIGS] == ["ddp", "ddp_nodes", "fsdp", "fsdp_nodes"]
