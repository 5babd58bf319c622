"""Ask all four questions in one forward pass, as the card of the one repo shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubtools.heads import Classification, Head
from hubtools.training.multitask_release import ABOUT_HEADS, HEADS

__all__ = ["ABOUT_HEADS", "MultitaskClassifier", "largest_difference"]


class MultitaskClassifier:
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
        """Return for each task the probabilities of its labels, or a list of those for each token of the text.

        A text is cut where the model stops reading.
        """
        import torch

        batch = self.tokenizer(text, truncation=True, return_offsets_mapping=True, return_tensors="pt")
        start, end = batch.pop("offset_mapping")[0].unbind(1)
        found: dict[str, list[Any]] = {}
        with torch.inference_mode():
            hidden = self.body(**batch).last_hidden_state[0]
            for task, about in self.about.items():
                # A label of the whole text is answered from the mean over all tokens.
                whole = about["kind"] == Classification.granularity
                seen = hidden.mean(0) if whole else hidden[start < end]
                head: Any = self.heads[task]
                found[task] = head["classifier"](head["head"](seen)).softmax(-1).tolist()
        return found


def largest_difference(
    head: Head, task: str, answers: Sequence[Mapping[str, list[Any]]], recorded: Mapping[str, Sequence[Any]]
) -> float:
    """Return the largest difference between a probability of ``answers`` and the one that predictions hold.

    Args:
        answers: what :class:`MultitaskClassifier` gives for the first texts.
        recorded: the columns of ``predictions.parquet`` of ``task``.
    """
    pairs = (pair for row, given in enumerate(answers) for pair in head.multitask_pairs(given[task], recorded, row))
    return max((abs(a - b) for a, b in pairs), default=0.0)
