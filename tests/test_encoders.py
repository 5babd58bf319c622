"""Any encoder trains: ModernBERT, BERT, RoBERTa, DistilBERT, DeBERTa, and tokenizers without [CLS] and [SEP]."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
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

from hubtools.heads.encoding import encode_tokens
from hubtools.heads.values import IGNORED
from hubtools.heads.word_marks import clear_marks
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
