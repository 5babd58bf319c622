"""What users run against a Hub, in a process of its own: the libraries read HF_* when they are imported.

``python clients.py`` prints one JSON object: a key a scenario, with what came of it.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def dataset() -> dict[str, Any]:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, load_dataset
    from huggingface_hub import DatasetCard, HfApi

    features = Features({"text": Value("string"), "label": ClassLabel(names=["benign", "jailbreak"])})

    def rows(count: int) -> Dataset:
        texts = [f"text {i}" for i in range(count)]
        return Dataset.from_dict({"text": texts, "label": [i % 2 for i in range(count)]}, features=features)

    repo_id = "local/pushed"
    DatasetDict({"train": rows(40), "test": rows(10)}).push_to_hub(repo_id)
    first = HfApi().dataset_info(repo_id).sha
    card = DatasetCard.load(repo_id, repo_type="dataset")
    card.data.license = "mit"
    card.text += "\nBy a person.\n"
    card.push_to_hub(repo_id, repo_type="dataset")
    # Fewer splits now: push_to_hub deletes what it does not push anew.
    DatasetDict({"train": rows(30)}).push_to_hub(repo_id)
    old = load_dataset(repo_id, revision=first)
    new = load_dataset(repo_id)
    streamed = list(load_dataset(repo_id, split="train", streaming=True).take(2))
    return {
        "rows": [{name: split.num_rows for name, split in found.items()} for found in (old, new)],
        "names": new["train"].features["label"].names,
        "streamed": streamed,
        "files": HfApi().list_repo_files(repo_id, repo_type="dataset"),
        "card": DatasetCard.load(repo_id, repo_type="dataset").content,
    }


def model() -> dict[str, Any]:
    from huggingface_hub import HfApi
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        ModernBertConfig,
        ModernBertForSequenceClassification,
        PreTrainedTokenizerFast,
        pipeline,
    )

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "hello": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]")
    config = ModernBertConfig(
        vocab_size=8, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1,
        pad_token_id=1, bos_token_id=None, eos_token_id=None, cls_token_id=None, sep_token_id=None,
        id2label={0: "benign", 1: "jailbreak"}, label2id={"benign": 0, "jailbreak": 1},
    )  # fmt: skip
    built = ModernBertForSequenceClassification(config)
    built.push_to_hub("local/tiny")
    tokenizer.push_to_hub("local/tiny")
    before = pipeline("text-classification", model=built, tokenizer=tokenizer)("hello")
    after = pipeline(model="local/tiny")("hello")
    info = HfApi().model_info("local/tiny")
    return {
        "scores": [before[0]["score"], after[0]["score"]],
        "label": after[0]["label"],
        "task": info.pipeline_tag,
        "library": info.library_name,
    }


def cards() -> dict[str, Any]:
    from huggingface_hub import ModelCard

    ModelCard("---\nlicense: apache-2.0\npipeline_tag: text-classification\n---\n# Good\n").validate()
    try:
        ModelCard("---\nlicense: mine\nwidget: {text: hi}\n---\n# Bad\n").validate()
    except ValueError as error:
        return {"refused": [item["message"] for item in json.loads(str(error))["errors"]]}
    return {"refused": []}


def snapshot() -> dict[str, Any]:
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download("acme/corpus", repo_type="dataset"))
    return {"files": sorted(path.name for path in folder.rglob("*") if path.is_file())}


def main() -> None:
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    found = {scenario.__name__: scenario() for scenario in (dataset, model, cards, snapshot)}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
