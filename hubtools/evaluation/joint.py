"""Ask all four questions in one forward pass, as the card of the one repo shows it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hubtools.training.multitask_release import ABOUT_HEADS, HEADS

__all__ = ["ABOUT_HEADS", "Joint", "furthest"]


class Joint:
    """One body with a head for each task.

    Args:
        model: a folder, or a repo of the Hub, as ``hubtools push-model multi`` makes it.
    """

    def __init__(self, model: str, revision: str | None = None) -> None:
        import torch
        from huggingface_hub import hf_hub_download
        from safetensors.torch import load_file
        from transformers import AutoModel, AutoTokenizer
        from transformers.models.modernbert.modeling_modernbert import ModernBertPredictionHead

        def file(name: str) -> Path:
            here = Path(model) / name
            return here if Path(model).is_dir() else Path(hf_hub_download(model, name, revision=revision))

        self.tokenizer = AutoTokenizer.from_pretrained(model, revision=revision)
        self.body = AutoModel.from_pretrained(model, revision=revision, dtype=torch.float32).eval()
        self.about: dict[str, Any] = json.loads(file(ABOUT_HEADS).read_text())
        size = self.body.config.hidden_size
        self.heads = torch.nn.ModuleDict({
            task: torch.nn.ModuleDict({
                "head": ModernBertPredictionHead(self.body.config),
                "classifier": torch.nn.Linear(size, len(about["labels"])),
            })
            for task, about in self.about.items()
        })  # fmt: skip
        self.heads.load_state_dict(load_file(file(HEADS)))
        self.heads.eval()

    def __call__(self, text: str) -> dict[str, list[Any]]:
        """Of each task the probabilities of its labels, or a list of those for each token of the text.

        A text is cut where the model stops reading.
        """
        import torch

        batch = self.tokenizer(text, truncation=True, return_offsets_mapping=True, return_tensors="pt")
        start, end = batch.pop("offset_mapping")[0].unbind(1)
        found: dict[str, list[Any]] = {}
        with torch.inference_mode():
            hidden = self.body(**batch).last_hidden_state[0]
            for task, about in self.about.items():
                seen = hidden.mean(0) if about["kind"] == "sequence" else hidden[start < end]
                head: Any = self.heads[task]
                found[task] = head["classifier"](head["head"](seen)).softmax(-1).tolist()
        return found


def furthest(answers: Sequence[dict[str, list[Any]]], recorded: Sequence[Any], task: str, kind: str) -> float:
    """The largest difference between a probability of ``answers`` and the one that predictions.parquet holds."""
    worst = 0.0
    for found, known in zip(answers, recorded, strict=True):
        pairs = [*zip(found[task], known, strict=True)]
        if kind == "token":
            pairs = [(of_token[token["answer"]], token["confidence"]) for of_token, token in pairs]
        worst = max([worst, *(abs(a - b) for a, b in pairs)])
    return worst
