"""Tiny ModernBERT classifiers with random weights: one layer, a byte-level tokenizer, a window of 64 tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WINDOW = 64


def make_classifier(folder: Path, labels: list[str], kind: str = "sequence", sure_of: str = "", seed: int = 0) -> Path:
    """Save one to ``folder``. It answers ``sure_of`` to everything, or what its random weights make of a text."""
    import torch
    from transformers import ModernBertConfig, ModernBertForSequenceClassification, ModernBertForTokenClassification

    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    config = ModernBertConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=WINDOW, classifier_pooling="mean", pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id, eos_token_id=tokenizer.sep_token_id, cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id, initializer_range=0.5,
        id2label=dict(enumerate(labels)), label2id={label: number for number, label in enumerate(labels)},
    )  # fmt: skip
    kinds: dict[str, Any] = {
        "sequence": ModernBertForSequenceClassification, "token": ModernBertForTokenClassification,
    }  # fmt: skip
    model = kinds[kind](config).eval()
    if sure_of:
        with torch.no_grad():
            model.classifier.bias[labels.index(sure_of)] = 100.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_tokenizer() -> Any:
    """Make one of bytes that frames a text with [CLS] and [SEP] and stops at :data:`WINDOW` tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*special, *characters])}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens(special)
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, model_max_length=WINDOW, unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        pad_token="[PAD]", mask_token="[MASK]", model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
