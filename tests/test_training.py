"""What finetune.py is made of, on a tiny ModernBERT and the real Trainer, tokenizer and metrics."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    EvalPrediction,
    ModernBertConfig,
    ModernBertForMaskedLM,
    ModernBertForSequenceClassification,
    Trainer,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import logging

from hubtools import finetune
from hubtools.curation.build import CurationInputs, curate
from hubtools.curation.split import SPLITS
from hubtools.curation.synthesis import fill_template
from hubtools.curation.user_data import choose_sources
from hubtools.errors import TrainingFailed
from hubtools.heads.encoding import encode_sequence, encode_tokens, make_bio_labels
from hubtools.heads.values import IGNORED
from hubtools.heads.word_marks import clear_marks
from hubtools.metrics.labels import MACRO_F1
from hubtools.rows import Columns
from hubtools.spec import BaseModel
from hubtools.tasks import MODERNBERT, NANO, TASKS
from hubtools.tasks.category import CATEGORY
from hubtools.tasks.intent import INTENT
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII
from hubtools.training.loss import class_weights, make_loss_function
from hubtools.training.presets import STEPS, Preset, choose_preset, make_trainer_arguments
from hubtools.training.progress import Progress
from hubtools.training.release import complete_config, finish_release, make_label_mapping
from hubtools.training.run import find_checkpoint
from hubtools.training.selection import make_selection_metrics, take_evenly
from hubtools.workdir import TaskFolder

STARTER = Path(__file__).parent.parent / "hubtools" / "starter" / "hubtools"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """For models of this size, threads of a busy machine wait for one another longer than they work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(STARTER / "modernbert-nano")


def tiny_config(**more: Any) -> ModernBertConfig:
    return ModernBertConfig(**{
        "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
        "max_position_embeddings": 512, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1,
        "sep_token_id": 2, "classifier_pooling": "mean",
    } | more)  # fmt: skip


# --- encoding -------------------------------------------------------------------------------------------------------

TYPES = {(t, kind): 1 + 2 * t + (kind == "I") for t in range(5) for kind in "BI"}


def labels_of(
    tokenizer: Any, text: str, spans: list[tuple[int, int, int]], **options: Any
) -> tuple[list[int], list[Any]]:
    encoded = tokenizer(text, return_offsets_mapping=True, **options)
    spans_given = [{"start": start, "end": end, "label": kind} for start, end, kind in spans]
    return make_bio_labels(encoded["offset_mapping"], text, spans_given, TYPES), encoded["offset_mapping"]


def decoded(text: str, labels: list[int], offsets: list[Any]) -> list[tuple[int, int, int]]:
    """Spans as the router reads them: B opens, I of its type goes on, an I alone is nothing; white space is trimmed."""
    spans: list[list[int]] = []
    running = None
    for label, (start, end) in zip(labels, offsets, strict=True):
        if label == IGNORED:
            continue
        kind = (label - 1) // 2
        if label % 2 == 1:
            spans.append([start, end, kind])
        elif label and running == kind:
            spans[-1][1] = end
        running = kind if label % 2 == 1 or running == kind else None
    trimmed = []
    for start, end, kind in spans:
        piece = text[start:end]
        trimmed.append((end - len(piece.lstrip()), start + len(piece.rstrip()), kind))
    return trimmed


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Ask Wolfeschlegelsteinhausen now", [("Wolfeschlegelsteinhausen", 0)]),
        ("Maria", [("Maria", 0)]),
        (
            "Mail maria.jensen@example.org, or call (212) 555-0187!",
            [("maria.jensen@example.org", 1), ("(212) 555-0187", 2)],
        ),
        ("😀😀 Zoë 👩‍👩‍👧 met Łukasz 😀", [("Zoë", 0), ("Łukasz", 0)]),
        ("Ann Bob Cleo", [("Ann", 0), ("Bob", 0), ("Cleo", 0)]),
        ("Ann,Bob", [("Ann", 0), ("Bob", 0)]),
        ("ann@example.org(212) 555-0187", [("ann@example.org", 1), ("(212) 555-0187", 2)]),
        ("Name:\n\n\tAnn Lee\n", [("Ann Lee", 0)]),
        ("   Ann   ", [("Ann", 0)]),
        ("no personal data here", []),
    ],
)
def test_labels_decode_to_the_spans_they_were_made_of(text: str, values: list[tuple[str, int]], tokenizer: Any) -> None:
    at, spans = 0, []
    for value, kind in values:
        at = text.index(value, at)
        spans.append((at, at + len(value), kind))
        at += len(value)
    labels, offsets = labels_of(tokenizer, text, spans)
    assert decoded(text, labels, offsets) == spans


def test_labels_of_a_span_over_several_lines_decode_to_one_span(tokenizer: Any) -> None:
    text = "Ship to 81 Linden Avenue\nPortland, OR 97201\nUSA today"
    labels, offsets = labels_of(tokenizer, text, [(8, 47, 4)])
    assert decoded(text, labels, offsets) == [(8, 47, 4)]


def test_labels_of_every_starter_template_decode_to_its_spans(tokenizer: Any) -> None:
    """The whole way of a PII document: filled, tokenized, labelled, and read back."""
    kinds, mapping = PII.label_set().labels, PII.label_set().mapping
    lines = (STARTER / "starter-pii" / "templates.jsonl").read_text().splitlines()[::3]
    wrong, cut_through = [], 0
    for number, line in enumerate(lines):
        text, spans = fill_template(json.loads(line)["template"], random.Random(number), "train", 0)
        wanted = [(s.start, s.end, kinds.index(mapping[s.type])) for s in spans if s.type in mapping]
        labels, offsets = labels_of(tokenizer, text, wanted)
        ends = {at for start, end in offsets for at in (start, end, end - len(text[start:end].lstrip()))}
        if any(not {start, end} <= ends for start, end, _ in wanted):
            cut_through += 1  # a token such as "(+" holds more than the span's first character: no label is exact
        elif decoded(text, labels, offsets) != wanted:
            wrong.append(text)
    assert wrong == []
    assert cut_through < 0.03 * len(lines)


def test_special_tokens_alone_are_masked(tokenizer: Any) -> None:
    text = "Ann Lee 😀\nof Rome"
    labels, _ = labels_of(tokenizer, text, [(0, 7, 0)])
    special = tokenizer(text, return_special_tokens_mask=True)["special_tokens_mask"]
    assert [label == IGNORED for label in labels] == [bool(one) for one in special]
    assert sum(special) == 2


def test_every_subword_after_the_first_is_i(tokenizer: Any) -> None:
    text = "Wolfeschlegelsteinhausenbergerdorff"
    labels, _ = labels_of(tokenizer, text, [(0, len(text), 0)])
    assert len(labels) > 4, "this word must be cut into several subwords to say anything"
    assert labels == [IGNORED, 1, *[2] * (len(labels) - 3), IGNORED]


def test_the_space_before_a_word_does_not_count_to_a_span(tokenizer: Any) -> None:
    """A byte-level token begins with it, so that the token's offsets touch the span that ends before."""
    for text, span in (("Ann is", (0, 3)), ("is Ann", (3, 6)), ("is  Ann  is", (4, 7))):
        labels, offsets = labels_of(tokenizer, text, [(*span, 0)])
        for label, (start, end) in zip(labels, offsets, strict=True):
            letters = {at for at in range(start, end) if not text[at].isspace()}
            assert (label > 0) == bool(letters & set(range(*span)))


def test_a_span_cut_by_truncation_keeps_what_is_left_of_it(tokenizer: Any) -> None:
    text = "I am " + "Wolfeschlegelsteinhausenbergerdorff " * 20
    labels, offsets = labels_of(tokenizer, text, [(5, len(text) - 1, 0)], truncation=True, max_length=12)
    assert len(labels) == 12
    [(start, end, _)] = decoded(text, labels, offsets)
    assert (start, end) == (5, offsets[-2][1])
    labels, _ = labels_of(tokenizer, text, [(len(text) - 5, len(text) - 1, 0)], truncation=True, max_length=12)
    assert set(labels) == {IGNORED, 0}


def test_spans_may_come_in_any_order(tokenizer: Any) -> None:
    text = "Ann met Bob in Rome"
    spans = [(15, 19, 4), (0, 3, 0), (8, 11, 0)]
    assert labels_of(tokenizer, text, spans) == labels_of(tokenizer, text, sorted(spans))


def test_a_detector_sees_every_part_of_long_harmless_texts_and_the_beginning_of_attacks(tokenizer: Any) -> None:
    head, label_set = TASKS["jailbreak"].head, TASKS["jailbreak"].label_sets[0]
    benign, attack = (label_set.labels.index(label) for label in ("benign", "jailbreak"))
    long = [" ".join(f"{text} {word}" for word in range(60)) for text in range(200)]
    plain = tokenizer(long, truncation=True, max_length=16)["input_ids"]
    as_attacks = head.encode({"text": long, "label": [attack] * 200}, tokenizer, 16, label_set)
    assert as_attacks["input_ids"] == plain
    batch = {"text": long, "label": [benign] * 200}
    as_harmless = head.encode(batch, tokenizer, 16, label_set)
    assert {*as_harmless["length"]} == {16}, "the last window is as long as the others"
    places = []
    for text, ids in zip(long, as_harmless["input_ids"], strict=True):
        part = tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert part in text
        places.append(text.index(part) / len(text))
    whole = len(tokenizer(long[0])["input_ids"])
    assert 0 < sum(place == 0 for place in places) < 3 * 200 / (whole / 7), "the beginning as often as other windows"
    assert max(places) > 0.8
    assert sum(0.2 < place < 0.8 for place in places) > 80
    assert head.encode(batch, tokenizer, 16, label_set) == as_harmless, "the same each time"
    # More tokens than characters: each of these is several bytes.
    dense = ["".join(chr(0x1F600 + (text * 7 + word) % 60) for word in range(14)) for text in range(40)]
    parts = head.encode({"text": dense, "label": [benign] * 40}, tokenizer, 16, label_set)["input_ids"]
    assert parts != tokenizer(dense, truncation=True, max_length=16)["input_ids"]
    short = {"text": ["Hello there."], "label": [benign]}
    assert head.encode(short, tokenizer, 16, label_set)["input_ids"] == [tokenizer("Hello there.")["input_ids"]]


def test_batches_are_encoded_as_single_texts_are(tokenizer: Any) -> None:
    batch = {
        "text": ["Ann Lee of Rome", "nothing", "word " * 50],
        "spans": [[{"start": 0, "end": 7, "label": 0}, {"start": 11, "end": 15, "label": 4}], [], []],
        "label": [1, 0, 1],
    }
    tokens = encode_tokens(batch, tokenizer, 16, 5)
    assert (
        clear_marks(np.array(tokens["labels"][0])).tolist()
        == labels_of(tokenizer, batch["text"][0], [(0, 7, 0), (11, 15, 4)])[0]
    )
    assert [len(ids) for ids in tokens["input_ids"]] == [len(labels) for labels in tokens["labels"]]
    assert len(tokens["input_ids"][2]) == 16
    sequences = encode_sequence(batch, tokenizer, 16)
    assert sequences["labels"] == [1, 0, 1]
    assert sequences["input_ids"] == tokens["input_ids"]


# --- loss -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_class_weights_are_scikit_learns_balanced_ones(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, 200).tolist()
    assert class_weights(labels, 4) == pytest.approx(compute_class_weight("balanced", classes=np.arange(4), y=labels))


def test_a_class_that_never_occurs_weighs_one() -> None:
    assert class_weights([0, 0, 2, 2], 3) == pytest.approx([2 / 3, 1.0, 2 / 3])


def test_the_loss_is_cross_entropy_of_what_is_not_ignored() -> None:
    logits = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[-100, 1, 2, -100], [-100, 0, 0, -100], [-100, 4, -100, -100]])
    outputs = SimpleNamespace(logits=logits)
    expected = torch.nn.functional.cross_entropy(logits[labels != -100], labels[labels != -100], reduction="sum")
    assert make_loss_function(None)(outputs, labels).item() == pytest.approx(expected.item() / 5)
    assert make_loss_function(None)(outputs, labels, num_items_in_batch=20).item() == pytest.approx(
        expected.item() / 20
    )


def test_a_weighted_loss_counts_each_class_by_its_weight() -> None:
    logits = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 0, 1])
    each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    weights = class_weights(labels.tolist(), 2)
    assert weights == pytest.approx([2 / 3, 2.0])
    expected = (each[:3].sum() * 2 / 3 + each[3] * 2) / 4
    assert make_loss_function(weights)(SimpleNamespace(logits=logits), labels).item() == pytest.approx(expected.item())


def one_step(tmp_path: Path, batch: int, accumulation: int, *, accepts: bool | None, loss: Any) -> torch.Tensor:
    """The gradient of one optimizer step over the same 16 rows, as the real Trainer takes it.

    Plain gradient descent with learning rate 1 and no clipping moves the weights by just the gradient.
    """
    torch.manual_seed(0)
    model = ModernBertForSequenceClassification(tiny_config(num_labels=3))
    if accepts is not None:
        model.accepts_loss_kwargs = accepts
    rng = random.Random(1)
    rows = [
        {"input_ids": [1, *(rng.randrange(3, 64) for _ in range(rng.randrange(3, 12))), 2], "labels": i % 3}
        for i in range(16)
    ]

    def collate(chosen: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in chosen)
        ids = [row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in chosen]
        mask = [[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in chosen]
        return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask),
                "labels": torch.tensor([row["labels"] for row in chosen])}  # fmt: skip

    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    descent = torch.optim.SGD(model.parameters(), lr=1.0)
    Trainer(
        model=model,
        args=TrainingArguments(
            str(tmp_path), per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, max_steps=1,
            max_grad_norm=0, report_to="none", use_cpu=True, save_strategy="no", disable_tqdm=True,
            dataloader_pin_memory=False, logging_strategy="no",
        ),
        train_dataset=rows, data_collator=collate, compute_loss_func=loss,
        optimizers=(descent, torch.optim.lr_scheduler.ConstantLR(descent, 1.0)),
    ).train()  # fmt: skip
    return before - torch.cat([p.detach().flatten() for p in model.parameters()])


def test_accumulating_four_times_four_gives_the_gradient_of_sixteen(tmp_path: Path) -> None:
    whole = one_step(tmp_path, 16, 1, accepts=False, loss=make_loss_function(None))
    parts = one_step(tmp_path, 4, 4, accepts=False, loss=make_loss_function(None))
    assert whole.norm() > 0.01
    assert (parts - whole).norm() < 1e-4 * whole.norm()


def test_a_weighted_loss_accumulates_exactly_too(tmp_path: Path) -> None:
    weighted = make_loss_function([3.0, 1.0, 0.5])
    whole = one_step(tmp_path, 16, 1, accepts=False, loss=weighted)
    parts = one_step(tmp_path, 4, 4, accepts=False, loss=weighted)
    assert (parts - whole).norm() < 1e-4 * whole.norm()
    plain = one_step(tmp_path, 16, 1, accepts=False, loss=make_loss_function(None))
    assert (whole - plain).norm() > 0.1 * plain.norm()


def test_without_our_loss_the_gradient_grows_with_the_accumulation(tmp_path: Path) -> None:
    """Why make_loss_function exists. Should this fail, transformers has mended it: ModernBERT's own loss then does."""
    whole = one_step(tmp_path, 16, 1, accepts=None, loss=None)
    parts = one_step(tmp_path, 4, 4, accepts=None, loss=None)
    assert (parts.norm() / whole.norm()).item() == pytest.approx(4, rel=0.05)


# --- presets --------------------------------------------------------------------------------------------------------

PLAIN = BaseModel("some/encoder")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (1, Preset(2, 4, 1e-5, 0.15, 0.1, 0, 1)),
        (999, Preset(2, 4, 1e-5, 0.15, 0.1, 0, 1)),
        (1000, Preset(3, 8, 2e-5, 0.1, 0.06, 100, 2)),
        (4999, Preset(3, 8, 2e-5, 0.1, 0.06, 100, 2)),
        (5000, Preset(4, 16, 3e-5, 0.05, 0.03, 200, 3)),
        (1_000_000, Preset(4, 16, 3e-5, 0.05, 0.03, 200, 3)),
    ],
)
def test_the_size_of_the_training_split_decides_the_defaults(rows: int, expected: Preset) -> None:
    preset, said = choose_preset(rows, INTENT, PLAIN)
    assert preset == expected
    assert len(said) == 1
    assert said[0].startswith("size: ")


def test_a_task_beats_the_size_and_a_base_beats_the_task() -> None:
    by_task, said = choose_preset(6000, CATEGORY, MODERNBERT)
    assert by_task == Preset(3, 8, 2e-5, 0.1, 0.03, 200, 3)
    assert [line.split(":")[0] for line in said] == ["size", "task category"]
    base = BaseModel("some/encoder", by_task={"category": {"epochs": 9, "patience": 7}})
    by_base, said = choose_preset(6000, CATEGORY, base)
    assert by_base == Preset(9, 8, 2e-5, 0.1, 0.03, 200, 7)
    assert said[-1] == "base encoder: epochs 9, patience 7"


def test_encoders_of_base_size_keep_the_presets_of_the_design_and_wider_ones_take_smaller_steps() -> None:
    for rows in (400, 2_000, 20_000):
        of_base, said = choose_preset(rows, INTENT, MODERNBERT)
        assert choose_preset(rows, INTENT, PLAIN, 768) == (of_base, said)
        wider, also_said = choose_preset(rows, INTENT, PLAIN, 1536)
        assert wider == replace(of_base, learning_rate=of_base.learning_rate / 2)
        assert also_said[:-1] == said
    # Of the rate that the task takes, not of the tier's.
    assert choose_preset(9_000, CATEGORY, PLAIN, 1536)[0].learning_rate == 1e-5


def test_a_smaller_encoder_takes_larger_steps_the_narrower_the_larger() -> None:
    rates = [choose_preset(9_000, CATEGORY, PLAIN, width)[0].learning_rate for width in (767, 512, 384, 192, 32)]
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(3e-5)
    assert rates[-1] == rates[-2] == 1e-3
    preset, said = choose_preset(9_000, CATEGORY, PLAIN, 192)
    assert [line.split(":")[0] for line in said] == ["size", "task category", "encoder of width 192"]
    assert (preset.eval_steps, preset.warmup) == (200, 0.03), "what it does not change is the tier's"


@pytest.mark.parametrize("rows", [1, 100, 457, 799, 801, 50_000])
def test_a_smaller_encoder_takes_enough_steps_of_few_rows(rows: int) -> None:
    preset, _ = choose_preset(rows, INTENT, PLAIN, 384)
    steps = preset.epochs * rows / preset.batch_size
    assert 4 <= preset.epochs <= 20
    assert steps >= 0.95 * STEPS or preset.epochs == 20
    if rows > 800:
        assert preset.epochs == 4


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
@pytest.mark.parametrize(("base", "width"), [(MODERNBERT, 768), (NANO, 192)], ids=["base", "nano"])
@pytest.mark.parametrize("rows", [10, 999, 1000, 4999, 5000, 50_000])
@pytest.mark.parametrize("processes", [1, 8])
def test_every_run_is_evaluated_at_least_once_and_leaves_a_checkpoint(
    task: Any, base: BaseModel, width: int, rows: int, processes: int, tmp_path: Path
) -> None:
    preset, _ = choose_preset(rows, task, base, width)
    chosen = make_trainer_arguments(preset, rows, processes)
    args = TrainingArguments(
        str(tmp_path), use_cpu=True, load_best_model_at_end=True, metric_for_best_model=task.primary.key, **chosen
    )
    assert args.save_strategy == args.eval_strategy
    steps = max(1, rows // (args.per_device_train_batch_size * processes)) * args.num_train_epochs
    if args.eval_strategy == "steps":
        assert args.eval_steps == args.save_steps <= steps
    else:
        assert args.eval_strategy == "epoch"


@pytest.mark.parametrize(
    ("rows", "processes", "expected"), [(1599, 1, "epoch"), (1600, 1, "steps"), (1599, 2, "epoch"), (1600, 2, "steps")]
)
def test_a_run_shorter_than_its_steps_between_evaluations_is_evaluated_by_epoch(
    rows: int, processes: int, expected: str
) -> None:
    assert make_trainer_arguments(Preset(3, 16, 2e-5, 0.1, 0.06, 100, 2), rows, processes)["eval_strategy"] == expected


@pytest.mark.parametrize(("parts", "each"), [(1, 16), (2, 8), (4, 4), (3, 5), (64, 1)])
def test_the_batch_of_a_tier_is_shared_by_processes_and_accumulation(parts: int, each: int) -> None:
    preset = Preset(3, 16, 2e-5, 0.1, 0.06, 100, 2)
    assert make_trainer_arguments(preset, 5000, parts)["per_device_train_batch_size"] == each


def test_warm_up_is_a_share_of_all_steps(tmp_path: Path) -> None:
    preset, _ = choose_preset(2000, INTENT, PLAIN)
    args = TrainingArguments(str(tmp_path), use_cpu=True, **make_trainer_arguments(preset, 2000))
    assert args.get_warmup_steps(1000) == 60


# --- release --------------------------------------------------------------------------------------------------------

LEGACY = ("global_rope_theta", "local_rope_theta", "global_attn_every_n_layers", "layer_norm_eps")


def rope(theta_full: float, theta_sliding: float) -> dict[str, Any]:
    return {
        "full_attention": {"rope_type": "default", "rope_theta": theta_full},
        "sliding_attention": {"rope_type": "default", "rope_theta": theta_sliding},
    }


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"num_hidden_layers": 6}, (160_000.0, 10_000.0, 3, 1e-5)),
        ({"rope_parameters": rope(80_000.0, 5_000.0), "norm_eps": 1e-6, "num_hidden_layers": 6}, (8e4, 5e3, 3, 1e-6)),
        ({"layer_types": ["full_attention", "sliding_attention"] * 2, "num_hidden_layers": 4}, (1.6e5, 1e4, 2, 1e-5)),
    ],
    ids=["as ModernBERT-base", "other rope and eps", "every second layer"],
)  # fmt: skip
def test_a_release_has_the_four_legacy_keys_and_reloads_to_an_equal_config(
    config: dict[str, Any], expected: tuple[float, ...], tmp_path: Path
) -> None:
    tiny_config(**config).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert not {"global_rope_theta", "local_rope_theta"} & saved.keys(), "if transformers writes them, we need not"
    before = AutoConfig.from_pretrained(tmp_path).to_dict()
    complete_config(tmp_path / "config.json")
    content = json.loads((tmp_path / "config.json").read_text())
    assert tuple(content[key] for key in LEGACY) == pytest.approx(expected)
    assert {key: content[key] for key in saved} == saved
    after = AutoConfig.from_pretrained(tmp_path).to_dict()
    assert {key: after[key] for key in before} == before


def test_completing_a_config_twice_changes_nothing(tmp_path: Path) -> None:
    tiny_config().save_pretrained(tmp_path)
    complete_config(tmp_path / "config.json")
    once = (tmp_path / "config.json").read_bytes()
    complete_config(tmp_path / "config.json")
    assert (tmp_path / "config.json").read_bytes() == once


def test_a_config_of_another_architecture_is_left_alone(tmp_path: Path) -> None:
    BertConfig(num_hidden_layers=1).save_pretrained(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    complete_config(tmp_path / "config.json")
    assert (tmp_path / "config.json").read_bytes() == before


def test_mapping_files_use_the_keys_that_the_router_reads() -> None:
    category = make_label_mapping(CATEGORY, CATEGORY.label_set())
    assert list(category) == ["category_to_idx", "idx_to_category"]
    assert category["category_to_idx"]["biology"] == 0
    assert category["idx_to_category"]["13"] == "psychology"
    pii = make_label_mapping(PII, PII.label_set())
    assert list(pii) == ["label_to_idx", "idx_to_label"]
    assert pii["label_to_idx"]["O"] == 0
    assert make_label_mapping(JAILBREAK, JAILBREAK.label_set()) == {
        "label_to_idx": {"benign": 0, "jailbreak": 1}, "idx_to_label": {"0": "benign", "1": "jailbreak"},
    }  # fmt: skip


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_both_maps_of_a_mapping_say_the_same_from_zero_on(task: Any) -> None:
    there, back = make_label_mapping(task, task.label_set()).values()
    assert [back[str(i)] for i in range(len(back))] == list(there)
    assert list(there.values()) == list(range(len(there)))


def saved_model(task: Any, folder: Path, labels: tuple[str, ...] | None = None) -> None:
    names = task.model_labels(task.label_set()) if labels is None else labels
    config = tiny_config(id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)})
    ModernBertForSequenceClassification(config).save_pretrained(folder)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_finished_release_holds_its_mapping_where_the_router_has_a_slot(task: Any, tmp_path: Path) -> None:
    saved_model(task, tmp_path)
    finish_release(tmp_path, task, task.label_set())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", "model.safetensors", task.mapping_file} - {""}
    if task.mapping_file:
        mapping = json.loads((tmp_path / task.mapping_file).read_text())
        id2label = json.loads((tmp_path / "config.json").read_text())["id2label"]
        assert list(mapping.values())[1] == id2label


def test_a_release_with_other_labels_or_without_weights_is_refused(tmp_path: Path) -> None:
    saved_model(JAILBREAK, tmp_path, ("jailbreak", "benign"))
    with pytest.raises(TrainingFailed, match=r"(?s)Labels of.*'0': 'benign'.*'0': 'jailbreak'"):
        finish_release(tmp_path, JAILBREAK, JAILBREAK.label_set())
    saved_model(JAILBREAK, tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(TrainingFailed, match="one file of weights"):
        finish_release(tmp_path, JAILBREAK, JAILBREAK.label_set())


# --- selection ------------------------------------------------------------------------------------------------------


def test_selection_scores_of_a_sequence_task_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(60, 14)), rng.integers(0, 13, 60)  # label 13 never occurs
    found = make_selection_metrics(CATEGORY, CATEGORY.label_set())(EvalPrediction(logits, labels))
    chosen = logits.argmax(1)
    assert found == pytest.approx({
        "accuracy": accuracy_score(labels, chosen),
        "macro_f1": f1_score(labels, chosen, average="macro", labels=np.unique(labels)),
    })  # fmt: skip
    assert CATEGORY.primary.key in found


def test_selection_of_a_detector_uses_the_area_under_the_curve_of_its_positive_class() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(60, 2)), rng.integers(0, 2, 60)
    found = make_selection_metrics(JAILBREAK, JAILBREAK.label_set())(EvalPrediction(logits, labels))
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, logits[:, 1] - logits[:, 0]))
    assert JAILBREAK.primary.key in found


def test_selection_counts_each_source_alike() -> None:
    """Ninety rows of one source are right, and thirty of another are wrong: half of the answers, counted alike."""
    labels = np.array([0, 1] * 60)
    right = np.arange(120) < 90
    logits = np.eye(14)[np.where(right, labels, 2)]
    sources = ["large"] * 90 + ["small"] * 30
    found = make_selection_metrics(CATEGORY, CATEGORY.label_set(), sources)(EvalPrediction(logits, labels))
    even = np.concatenate([np.arange(90), np.tile(np.arange(90, 120), 3)])
    expected = f1_score(labels[even], logits.argmax(1)[even], average="macro", labels=[0, 1])
    assert found["by_source"] == pytest.approx(expected)
    assert found["by_source"] < found["macro_f1"]


def test_sources_of_few_rows_count_as_one_and_one_source_alone_is_nothing_to_balance() -> None:
    sources = ["a"] * 60 + ["b"] * 12 + ["c"] * 18
    rows = take_evenly(sources)
    assert rows is not None
    assert Counter("a" if sources[row] == "a" else "b and c" for row in rows) == {"a": 60, "b and c": 60}
    assert take_evenly(["a"] * 60) is take_evenly([]) is take_evenly(["a"] * 60 + ["b"] * 3) is None


def test_selection_scores_count_the_spans_that_a_pipeline_would_show() -> None:
    from transformers import TokenClassificationPipeline

    pipe: Any = TokenClassificationPipeline.__new__(TokenClassificationPipeline)
    pipe.tokenizer = SimpleNamespace(convert_tokens_to_string=" ".join)
    names = PII.model_labels(PII.label_set())

    def spans(row: Any) -> set[tuple[int, int, str]]:
        tokens = [{"entity": names[tag], "score": 1.0, "word": "", "start": i, "end": i + 1}
                  for i, tag in enumerate(row)]  # fmt: skip
        grouped = pipe.group_entities(tokens)
        return {(g["start"], g["end"], g["entity_group"]) for g in grouped if g["entity_group"] != "O"}

    rng = np.random.default_rng(0)
    labels = np.array([[-100, *rng.choice([0, 1, 2, 2, 3, 4], 8), -100] for _ in range(40)])
    chosen = np.where(rng.random(labels.shape) < 0.7, labels, rng.integers(0, 11, labels.shape))
    chosen[labels == -100] = 5  # what stands on special tokens must not count
    pairs = [(spans(row[1:-1]), spans(guess[1:-1])) for row, guess in zip(labels, chosen, strict=True)]
    right, marked, given = (sum(map(len, part)) for part in zip(*[(t & f, f, t) for t, f in pairs], strict=True))
    scores = make_selection_metrics(PII, PII.label_set())(EvalPrediction(chosen, labels))
    assert scores == pytest.approx({
        "entity_f1": 2 * right / (marked + given),
        "entity_precision": right / marked,
        "entity_recall": right / given,
    })  # fmt: skip
    assert 0.1 < scores[PII.primary.key] < 0.9
    assert all(type(value) is float for value in scores.values())


# --- progress -------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    state = TrainerState(global_step=7)
    progress = Progress("category", CATEGORY.primary)
    progress.on_log(None, state, None, logs={"loss": 0.5})
    progress.on_log(None, state, None, logs={"eval_loss": float("nan")})
    for loss in (float("nan"), float("inf")):
        with pytest.raises(TrainingFailed, match=f"(?s)The loss is {loss} at step 7.*never --fp16"):
            progress.on_log(None, state, None, logs={"loss": loss})


def test_progress_says_which_evaluation_was_the_best_so_far(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("category", MACRO_F1)
    args, state = (
        SimpleNamespace(num_train_epochs=3, metric_for_best_model="macro_f1", greater_is_better=True),
        SimpleNamespace(is_world_process_zero=True, epoch=1.0, global_step=5, max_steps=15, best_metric=None),
    )
    for score, best in ((0.5, 0.5), (0.4, 0.5), (0.6, 0.6)):
        progress.on_evaluate(args, state, None, metrics={"eval_macro_f1": score})
        state.best_metric = best  # as the Trainer notes it afterwards
        progress.on_log(args, state, None, logs={"loss": 1.25})
    lines = capsys.readouterr().out.splitlines()
    # The first evaluation may come before the first loss is logged.
    assert ["loss" in line for line in lines] == [False, True, True]
    assert "step 5/15  loss 1.2500  validation" in lines[1]
    assert ["best so far" in line for line in lines] == [True, False, True]
    assert "validation macro F1 0.4000" in lines[1]


# --- checkpoints ----------------------------------------------------------------------------------------------------


def runs_with(tmp_path: Path, *checkpoints: int, cut_off: tuple[int, ...] = ()) -> Path:
    runs = tmp_path / "runs"
    for step in checkpoints:
        folder = runs / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"weights")
        if step not in cut_off:
            TrainerState(global_step=step).save_to_json(str(folder / "trainer_state.json"))
    runs.mkdir(exist_ok=True)
    (runs / "fingerprint.json").write_text('"mark"\n')
    return runs


def test_a_training_goes_on_from_its_last_whole_checkpoint(tmp_path: Path) -> None:
    runs = runs_with(tmp_path, 5, 10, 100)
    assert find_checkpoint(runs, "mark", get_last_checkpoint) == str(runs / "checkpoint-100")


def test_a_checkpoint_that_was_cut_off_is_removed_and_the_one_before_it_taken(tmp_path: Path) -> None:
    runs = runs_with(tmp_path, 5, 10, 15, cut_off=(10, 15))
    assert find_checkpoint(runs, "mark", get_last_checkpoint) == str(runs / "checkpoint-5")
    assert sorted(path.name for path in runs.iterdir()) == ["checkpoint-5", "fingerprint.json"]


def test_with_nothing_whole_the_training_starts_anew(tmp_path: Path) -> None:
    assert find_checkpoint(tmp_path / "none", "mark", get_last_checkpoint) is None
    runs = runs_with(tmp_path, 5, cut_off=(5,))
    assert find_checkpoint(runs, "mark", get_last_checkpoint) is None
    assert not (runs / "checkpoint-5").exists()


@pytest.mark.parametrize("mark", ["another", ""])
def test_checkpoints_of_another_training_are_removed(mark: str, tmp_path: Path) -> None:
    runs = runs_with(tmp_path, 5)
    assert find_checkpoint(runs, mark, get_last_checkpoint) is None
    assert not runs.exists()


def test_checkpoints_of_an_unknown_training_are_removed(tmp_path: Path) -> None:
    runs = runs_with(tmp_path, 5)
    (runs / "fingerprint.json").unlink()
    assert find_checkpoint(runs, "mark", get_last_checkpoint) is None
    assert not runs.exists()


# --- finetune.py itself ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    """A random encoder of two layers with the nano model's tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(3)
    ModernBertForMaskedLM(tiny_config(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)).save_pretrained(
        folder
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def curated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder with a jailbreak dataset of 16, 8 and 8 rows."""
    work = tmp_path_factory.mktemp("work")
    rng = random.Random(0)
    rows = []
    for split, count in zip(SPLITS, (16, 8, 8), strict=True):
        for i in range(count):
            label, words = ("jailbreak", "ignore rules secret") if i % 4 == 0 else ("benign", "please help kindly")
            text = " ".join(f"{rng.choice(words.split())} {rng.randrange(10**6)}" for _ in range(rng.randint(2, 8)))
            rows.append({"text": text, "label": label, "split": split})
    path = work / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources, label_set = choose_sources(JAILBREAK, str(path), Columns("text", "label"), JAILBREAK.label_set())
    facts = curate(JAILBREAK, TaskFolder(work / "jailbreak"), CurationInputs(sources, label_set))
    assert [split.rows for split in facts.splits.values()] == [16, 8, 8]
    return work


@pytest.fixture
def run_finetune(
    tiny_base: Path, curated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., TaskFolder]]:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def run(name: str, *flags: str) -> TaskFolder:
        work = tmp_path / name
        finetune.main([
            "--task", "jailbreak", "--work_dir", str(work), "--base", str(tiny_base), "--use_cpu",
            "--dataset", str(curated / "jailbreak" / "dataset"), *flags,
        ])  # fmt: skip
        return TaskFolder(work / "jailbreak")

    verbosity = logging.get_verbosity()
    yield run
    logging.set_verbosity(verbosity)  # finetune.py silences transformers for its whole process


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = load_file(folder / "model.safetensors")
    return tensors


def temperature(folder: Path) -> float:
    return float(json.loads((folder / "calibration.json").read_text())["temperature"])


def trained_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights as training left them, before a temperature was folded into the last layer."""
    return {name: tensor * (temperature(folder) if name.startswith("classifier.") else 1)
            for name, tensor in weights(folder).items()}  # fmt: skip


def test_finetune_moves_the_weights_alike_however_its_batch_is_cut(
    run_finetune: Callable[..., TaskFolder], tiny_base: Path
) -> None:
    """The user's own command: a step of 16 rows, whole and in four parts of four, with weighted classes."""
    descent = ["--optim", "sgd", "--learning_rate", "0.5", "--lr_scheduler_type", "constant", "--warmup_steps", "0",
               "--weight_decay", "0", "--max_grad_norm", "0", "--num_train_epochs", "1"]  # fmt: skip
    whole, parts, unweighted = (
        trained_weights(run_finetune(name, *descent, *flags).model)
        for name, flags in (
            ("whole", ("--per_device_train_batch_size", "16")),
            ("parts", ("--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "4")),
            ("unweighted", ("--per_device_train_batch_size", "16", "--class_weights", "none")),
        )
    )
    base = weights(tiny_base)
    body = [name for name in whole if name in base and "norm" not in name]
    assert len(body) > 5
    moved = torch.cat([(whole[name] - base[name]).flatten() for name in body]).norm()
    apart = torch.cat([(whole[name] - parts[name]).flatten() for name in whole]).norm()
    assert moved > 1e-3
    assert apart < 1e-3 * moved
    # Three benign rows to one pull the bias by 0.5 (3/4 - 1/2) towards benign, where nothing weighs against it.
    pull = unweighted["classifier.bias"] - whole["classifier.bias"]
    assert pull.tolist() == pytest.approx([0.125, -0.125], abs=0.03)


def test_the_best_checkpoint_is_released_and_patience_stops_the_training(
    run_finetune: Callable[..., TaskFolder], monkeypatch: pytest.MonkeyPatch, curated: Path
) -> None:
    """The scores are given, so that the second of four evaluations is the best; all else is real."""
    script, seen = [0.6, 0.9, 0.7, 0.5, 1.0], list[np.ndarray]()

    def scripted(task: Any, label_set: Any, sources: Any) -> Callable[[Any], dict[str, float]]:
        def scores(prediction: Any) -> dict[str, float]:
            seen.append(prediction.predictions)
            return {"roc_auc": script[len(seen) - 1], "accuracy": 0.0}

        return scores

    monkeypatch.setattr("hubtools.training.selection.make_selection_metrics", scripted)
    folder = run_finetune(
        "best", "--num_train_epochs", "8", "--patience", "2", "--learning_rate", "0.01", "--max_length", "64"
    )
    training = json.loads(folder.training.read_text())
    assert training["epochs_run"] == 4
    assert training["best_validation"] == {"roc_auc": 0.9}
    assert training["arguments"]["patience"] == 2
    assert not folder.runs.exists()

    from datasets import load_dataset

    rows = load_dataset(str(curated / "jailbreak" / "dataset"), split="validation")
    model = AutoModelForSequenceClassification.from_pretrained(folder.model).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder.model)
    assert tokenizer.model_max_length == 64
    with torch.no_grad():
        encoded = TASKS["jailbreak"].head.encode(rows[:], tokenizer, 64, TASKS["jailbreak"].label_set())
        logits = [model(torch.tensor([ids])).logits[0].tolist() for ids in encoded["input_ids"]]
    logits = [[value * temperature(folder.model) for value in row] for row in logits]
    # Rows of like length are evaluated together, so that the order is another one.
    assert sorted(logits) == pytest.approx(np.array(sorted(seen[1].tolist())), abs=1e-4)
    assert np.abs(np.sort(seen[1], axis=0) - np.sort(seen[3], axis=0)).max() > 1e-2, "the last weights are others"


def test_a_release_of_finetune_is_what_the_router_loads(run_finetune: Callable[..., TaskFolder]) -> None:
    folder = run_finetune("release", "--num_train_epochs", "1", "--fingerprint", "mark")
    config = json.loads((folder.model / "config.json").read_text())
    assert config["classifier_pooling"] == "mean"
    assert config["id2label"] == {"0": "benign", "1": "jailbreak"}
    assert set(LEGACY) <= config.keys()
    names = {path.name for path in folder.model.iterdir()}
    assert {"model.safetensors", "tokenizer.json", "jailbreak_type_mapping.json", "calibration.json"} <= names
    assert not [name for name in names if name.endswith(".bin") or "lora" in name]
    training = json.loads(folder.training.read_text())
    assert training["arguments"]["class_weights"] == pytest.approx([16 / (2 * 12), 16 / (2 * 4)])
    assert training["fingerprint"] == "mark"
    assert [line.split(":")[0] for line in training["presets"]] == ["size", "encoder of width 32"]
    assert training["arguments"]["learning_rate"] == 1e-3
    assert training["arguments"]["epochs"] == 1, "a flag beats every layer"
