"""Any encoder trains: ModernBERT, BERT, RoBERTa, DistilBERT, DeBERTa, and tokenizers without [CLS] and [SEP]."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from as_user import REPOSITORY, Command, own_rows
from safetensors.torch import load_file
from test_training import curated, one_thread, run_finetune, tiny_base, tiny_config, tokenizer
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    pipeline,
)

from hubtools.heads.encoding import encode_tokens, label_tokens
from hubtools.heads.values import IGNORED
from hubtools.heads.word_marks import clear_marks
from hubtools.localhub import stop
from hubtools.reading import TokenAnswers, find_spans
from hubtools.router_contract import check_package
from hubtools.tasks import BASES
from hubtools.training.model import find_max_length
from hubtools.training.tuning import measure_depths
from hubtools.workdir import TaskFolder

__all__ = ["curated", "one_thread", "run_finetune", "tiny_base", "tokenizer"]  # fixtures
SIZE = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "pad_token_id": 3,
}  # fmt: skip
# Each with as many positions as its published models have.
ENCODERS: dict[str, Callable[[int], Any]] = {
    "modernbert": lambda vocabulary: tiny_config(vocab_size=vocabulary, pad_token_id=3, max_position_embeddings=8192),
    "bert": lambda vocabulary: BertConfig(vocab_size=vocabulary, **SIZE),
    "xlm-roberta": lambda vocabulary: XLMRobertaConfig(
        vocab_size=vocabulary, max_position_embeddings=514, **(SIZE | {"pad_token_id": 1})
    ),
    "distilbert": lambda vocabulary: DistilBertConfig(
        vocab_size=vocabulary, dim=32, n_layers=2, n_heads=2, hidden_dim=48, pad_token_id=3
    ),
    "deberta-v2": lambda vocabulary: DebertaV2Config(
        vocab_size=vocabulary, relative_attention=True, position_biased_input=False, pos_att_type=["p2c", "c2p"],
        type_vocab_size=0, **SIZE,
    ),
}  # fmt: skip


RARER = {"xlm-roberta", "distilbert"}


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.exhaustive) if name in RARER else name for name in ENCODERS]
)
def encoder(request: pytest.FixtureRequest, tokenizer: Any, tmp_path: Path) -> tuple[str, Path]:
    """A random encoder of two layers, with the nano model's tokenizer."""
    from transformers import AutoModel

    torch.manual_seed(3)
    AutoModel.from_config(ENCODERS[request.param](len(tokenizer))).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return request.param, tmp_path / "base"


def test_every_encoder_trains_with_every_option_and_its_release_loads(
    encoder: tuple[str, Path], run_finetune: Callable[..., TaskFolder]
) -> None:
    """The user's own command, on an encoder and with options that no default asks for."""
    kind, base = encoder
    folder = run_finetune(
        "any", "--base", str(base), "--max_steps", "2", "--eval_strategy", "steps", "--eval_steps", "1",
        "--save_strategy", "steps", "--save_steps", "1", "--report_to", "none", "--lora_rank", "2", "--lora_dropout",
        "0", "--freeze_layers", "1", "--layer_decay", "0.9", "--gradient_checkpointing", "--learning_rate", "0.1",
        "--warmup_steps", "0",
    )  # fmt: skip
    training = json.loads(folder.training.read_text())
    assert training["path"].startswith("packed" if kind == "modernbert" else "padded")
    assert set(training["options"]) == {"lora", "freeze_layers", "layer_decay", "gradient_checkpointing"}
    before = AutoModelForSequenceClassification.from_pretrained(base)
    after = load_file(folder.model / "model.safetensors")
    body = {name: weight for name, weight in before.named_parameters() if name.startswith(before.base_model_prefix)}
    moved = {name for name, weight in body.items() if not torch.equal(weight.detach(), after[name])}
    depth = measure_depths(before)
    assert {depth[name] for name in moved if "pooler" not in name} == {2}, "layer 1 and the embeddings are frozen"
    [answer] = pipeline("text-classification", model=str(folder.model))(["please help kindly"])
    assert answer["label"] in ("benign", "jailbreak")


def test_every_encoder_reads_as_many_tokens_as_it_has_positions_for(encoder: tuple[str, Path]) -> None:
    kind, base = encoder
    model = AutoModelForSequenceClassification.from_pretrained(base).eval()
    assert find_max_length(model, None) == 512
    with torch.no_grad():
        model(torch.full((1, 512), 7))
        if kind in ("bert", "xlm-roberta", "distilbert"):
            with pytest.raises((IndexError, RuntimeError)):
                model(torch.full((1, 513), 7))


# --- tokenizers -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gemma() -> Any:
    """Built as Gemma's, mmBERT's tokenizer: <bos> and <eos> alone, spaces are part of words, bytes for what is rare."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    letters = [
        *special,
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        *"abcdefghijklmnopqrstuvwxyz.,ABCDEFGHIJKLMORZ",
    ]
    merges = [("▁", "A"), ("L", "e"), ("Le", "e"), ("▁", "Lee")]
    vocabulary = {token: i for i, token in enumerate([*letters, *("".join(pair) for pair in merges)])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    core.normalizer = normalizers.Replace(" ", "▁")
    core.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
        mask_token="<mask>",
    )  # fmt: skip


def test_a_tokenizer_without_cls_and_sep_labels_all_but_its_special_tokens(gemma: Any) -> None:
    assert gemma.cls_token is None
    assert gemma.sep_token is None
    text = "Dear Ann Lee 😀, Zoë"
    spans = [{"start": 5, "end": 12, "label": 0}, {"start": 16, "end": 19, "label": 0}]
    encoded = encode_tokens({"text": [text], "spans": [spans]}, gemma, 64, 1)
    tokens, labels = gemma.convert_ids_to_tokens(encoded["input_ids"][0]), clear_marks(np.array(encoded["labels"][0]))
    assert set(encoded) == {"input_ids", "attention_mask", "length", "labels"}
    assert [token for token, label in zip(tokens, labels, strict=True) if label == IGNORED] == ["<bos>", "<eos>"]
    named = "".join(token for token, label in zip(tokens, labels, strict=True) if label > 0)
    assert named == "▁Ann▁LeeZo<0xC3><0xAB>"
    assert [token for token, label in zip(tokens, labels, strict=True) if label == 1] == ["▁A", "Z"]


def test_an_encoder_with_such_a_tokenizer_trains_and_its_release_loads(
    gemma: Any, tmp_path: Path, run_finetune: Callable[..., TaskFolder]
) -> None:
    from transformers import ModernBertForMaskedLM

    torch.manual_seed(3)
    config = tiny_config(vocab_size=len(gemma), pad_token_id=0, bos_token_id=2, eos_token_id=1, cls_token_id=1,
                         sep_token_id=1)  # fmt: skip
    ModernBertForMaskedLM(config).save_pretrained(tmp_path / "base")
    gemma.save_pretrained(tmp_path / "base")
    folder = run_finetune("gemma", "--base", str(tmp_path / "base"), "--num_train_epochs", "1", "--report_to", "none")
    assert json.loads(folder.training.read_text())["path"].startswith("packed")
    classifier = pipeline("text-classification", model=str(folder.model))
    assert classifier.tokenizer("a")["input_ids"][::2] == [2, 1]
    assert classifier(["please help"])[0]["label"] in ("benign", "jailbreak")
    # The router's runtime asks for no name of the tokens that frame a text, only that they do.
    checks = check_package(folder.model, ("benign", "jailbreak"), [TEXT_OF_TRAPS, "please help"])
    assert [check.message for check in checks if not check.ok] == []


TEXT_OF_TRAPS = "  Dear LEE, dear Lee:\n\n\tZoë  Lee 😀 \u4f60\u597d <bos> ẞ"


def test_gemmas_tokenizer_keeps_case_and_space_and_every_character_has_a_place(gemma: Any) -> None:
    """Each is a trap of such a vocabulary: spaces become letters, rare characters bytes, and nothing may be lost."""
    encoded = gemma(TEXT_OF_TRAPS, return_offsets_mapping=True, add_special_tokens=False)
    tokens = gemma.convert_ids_to_tokens(encoded["input_ids"])
    covered = {i for start, end in encoded["offset_mapping"] for i in range(start, end)}
    assert covered == {*range(len(TEXT_OF_TRAPS))}
    assert gemma("LEE")["input_ids"] != gemma("Lee")["input_ids"]
    assert gemma("Lee")["input_ids"] != gemma(" Lee")["input_ids"]
    assert tokens[:2] == ["▁", "▁"]
    assert tokens.count("<bos>") == 1, "written out, a special token is one, as in pipeline()"


@pytest.mark.parametrize("value", ["Lee", "LEE", "Zoë", "😀", "\u4f60\u597d"])
def test_spans_over_gemmas_tokens_come_back_as_they_were(gemma: Any, value: str) -> None:
    start = TEXT_OF_TRAPS.rindex(value)
    span: Any = {"start": start, "end": start + len(value), "label": 0}
    offsets = gemma(TEXT_OF_TRAPS, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    labels = label_tokens(offsets, TEXT_OF_TRAPS, [span], 1)
    answers = TokenAnswers(np.eye(3)[labels], [tuple(pair) for pair in offsets], 1, False)
    [found] = find_spans(TEXT_OF_TRAPS, answers, ("O", "B-PERSON", "I-PERSON")).spans
    assert (found.start, found.end) == (start, start + len(value))


@pytest.mark.exhaustive
@pytest.mark.parametrize("base", ["jhu-clsp/ettin-encoder-17m", "jhu-clsp/mmBERT-small"])
def test_a_base_of_the_table_trains_at_a_commit_that_is_recorded_and_names_its_repo(
    base: str, gemma: Any, tokenizer: Any, hubtools: Command, tmp_path: Path
) -> None:
    """By the name that users type, served by a mirror: a random encoder of its kind of configuration."""
    from transformers import ModernBertForMaskedLM

    torch.manual_seed(3)
    folder = tmp_path / "mirror" / base
    if "mmBERT" in base:  # one base of rope for all layers, and Gemma's tokenizer
        core, more = (
            gemma,
            {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1, "cls_token_id": 2, "sep_token_id": 1},
        )
        more |= {"local_rope_theta": 160_000.0}
    else:  # ModernBERT's tokenizer, another number of layers, and not quite as many positions
        core, more = tokenizer, {"pad_token_id": 3, "num_hidden_layers": 7, "max_position_embeddings": 7999}
    ModernBertForMaskedLM(tiny_config(vocab_size=len(core), **more)).save_pretrained(folder)
    core.save_pretrained(folder)
    rows = own_rows(tmp_path / "rows.csv")
    flags = ("--hub", "local", "--hub-dir", tmp_path / "hub", "--mirror", tmp_path / "mirror",
             "--work-dir", tmp_path / "work")  # fmt: skip
    try:
        hubtools("push-dataset", "jailbreak", "--source", rows, "--license", "mit", *flags)
        hubtools("finetune", "jailbreak", "--base", base, "--max_steps", 2, *flags)
        training = json.loads((tmp_path / "work" / "jailbreak" / "training.json").read_text())
        assert training["base"] == base
        assert re.fullmatch("[0-9a-f]{40}", training["base_revision"])
        assert any(line.startswith("encoder of width 32") for line in training["presets"])
        hubtools("evaluate", "jailbreak", *flags)
        online = ("--hub", "local", "--hub-dir", tmp_path / "hub", "--work-dir", tmp_path / "work")
        pushed = hubtools("push-model", "jailbreak", *online)
        assert f"jailbreak_classifier_{base.split('/')[1].lower()}_model" in pushed.stdout
        assert "needs passed" in pushed.stderr
    finally:
        stop(tmp_path / "hub")


def test_the_document_of_bases_names_each_that_has_a_value() -> None:
    table = (REPOSITORY / "docs" / "bases.md").read_text(encoding="utf-8")
    assert [base for base in BASES if f"`{base}`" not in table] == []
