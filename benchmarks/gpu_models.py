"""What the GPU benchmark computes on: models with random weights, and rows of random tokens."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

# Layers, width, intermediate size, heads. Base and large are ModernBERT's own, of which the configuration's defaults
# are the base; nano is of the packaged model's size.
SIZES = {"nano": (4, 256, 384, 4), "base": (22, 768, 1152, 12), "large": (28, 1024, 2624, 16)}
TASKS = "the tasks' lengths"
VOCABULARY = 50_000


def lengths_of(kind: str, count: int, rng: random.Random) -> list[int]:
    """Lengths in tokens: as prompts have them, 137 on average and at most 512; or all the same."""
    if kind == TASKS:
        return [min(512, max(6, round(rng.lognormvariate(4.6, 0.8)))) for _ in range(count)]
    return [int(kind)] * count


def rows_of(lengths: list[int]) -> Any:
    """A dataset of random tokens and labels."""
    from datasets import Dataset

    rng = random.Random(1)
    ids = [[rng.randrange(10, VOCABULARY) for _ in range(n)] for n in lengths]
    return Dataset.from_dict({"input_ids": ids, "labels": [rng.randrange(2) for _ in ids], "length": lengths})


def config_of(size: str) -> Any:
    """ModernBERT's configuration of a size."""
    from transformers import ModernBertConfig

    layers, width, inner, heads = SIZES[size]
    return ModernBertConfig(
        num_hidden_layers=layers, hidden_size=width, intermediate_size=inner, num_attention_heads=heads,
        classifier_pooling="mean", num_labels=2, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip


def make_model(bench: Any, size: str) -> Any:
    """A classifier with random weights, the same on every device."""
    import torch
    from transformers import ModernBertForSequenceClassification

    torch.manual_seed(0)
    return ModernBertForSequenceClassification(config_of(size)).to(bench.device)


def multitask_of(bench: Any, size: str) -> Any:
    """One body with the heads of the four tasks, random weights."""
    import torch

    from hubtools.tasks import TASKS as BUILT_IN
    from hubtools.training.multitask_model import MultitaskClassifier

    heads = {name: (task.head, len(task.model_labels(task.label_set()))) for name, task in BUILT_IN.items()}
    torch.manual_seed(0)
    return MultitaskClassifier(config_of(size), heads).to(bench.device).eval()


class Tokenizer:
    """As much of a tokenizer as a Trainer asks for: the rows are tokens already."""

    pad_token_id = 0
    padding_side = "right"
    model_input_names = ("input_ids", "attention_mask")

    def pad(self, rows: Any, padding: Any = True, max_length: int | None = None, **_: Any) -> Any:
        """Pad to the longest, or to ``max_length``; called by transformers' own collator."""
        import torch
        from transformers import BatchEncoding

        longest = max_length if padding == "max_length" and max_length else max(len(row["input_ids"]) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for line, row in enumerate(rows):
            ids[line, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            mask[line, : len(row["input_ids"])] = 1
        labels = torch.tensor([row.get("labels", row.get("label")) for row in rows])
        return BatchEncoding({"input_ids": ids, "attention_mask": mask, "labels": labels})

    def save_pretrained(self, *_: Any, **__: Any) -> tuple[str, ...]:
        """Nothing: a checkpoint of ours needs no tokenizer."""
        return ()


def stock_collator(longest: int | None) -> Callable[[Any], Any]:
    """Transformers' padding of a batch: to its longest text, or to ``longest``."""
    tokenizer = Tokenizer()
    options: dict[str, Any] = {"padding": "max_length", "max_length": longest} if longest else {}
    return lambda rows: tokenizer.pad(rows, **options)
