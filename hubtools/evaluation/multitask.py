"""Ask all four questions in one forward pass, as the card of the one repo shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, cast

from hubtools.heads import Classification, Head
from hubtools.heads.values import Rows, TextProbabilities
from hubtools.training.multitask_release import ABOUT_HEADS, HEADS

__all__ = ["ABOUT_HEADS", "MultitaskClassifier", "find_largest_difference"]


class HeadDescription(TypedDict):
    """What ``heads.json`` says of one head: its kind, "sequence" or "token", and its labels in the order of ids."""

    kind: str
    labels: list[str]


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
        self.about: dict[str, HeadDescription] = json.loads(file(ABOUT_HEADS).read_text())
        size = self.body.config.hidden_size
        # Built by hand, as a user without hubtools would do it from the card: this is what verify compares.
        self.heads = torch.nn.ModuleDict(
            {
                task: torch.nn.ModuleDict(
                    {
                        "head": ModernBertPredictionHead(self.body.config),
                        "classifier": torch.nn.Linear(size, len(about["labels"])),
                    }
                )
                for task, about in self.about.items()
            }
        )
        # Strict by default: a weight that is missing, or too many, is an error.
        self.heads.load_state_dict(load_file(file(HEADS)))
        self.heads.eval()

    def __call__(self, text: str) -> dict[str, TextProbabilities]:
        """Return for each task the probabilities of its labels, or a list of those for each token of the text.

        A text is cut where the model stops reading.
        """
        import torch

        # Offsets tell special tokens from those of the text, whatever the tokenizer calls them.
        batch = self.tokenizer(text, truncation=True, return_offsets_mapping=True, return_tensors="pt")
        start, end = batch.pop("offset_mapping")[0].unbind(1)
        probabilities: dict[str, TextProbabilities] = {}
        with torch.inference_mode():
            hidden = self.body(**batch).last_hidden_state[0]
            for task, about in self.about.items():
                # A label of the whole text is answered from the mean over all tokens. Special tokens, whose offset is
                # empty, count in that, and have no tag of their own.
                whole = about["kind"] == Classification.granularity
                states = hidden.mean(0) if whole else hidden[start < end]
                head = cast("torch.nn.ModuleDict", self.heads[task])
                probabilities[task] = head["classifier"](head["head"](states)).softmax(-1).tolist()
        return probabilities


def find_largest_difference(
    head: Head, task: str, answers: Sequence[Mapping[str, TextProbabilities]], recorded: Rows
) -> float:
    """Return the largest difference between a probability of ``answers`` and the one that predictions hold.

    Args:
        answers: what :class:`MultitaskClassifier` gives for the first texts.
        recorded: the columns of ``predictions.parquet`` of ``task``.
    """
    pairs = (
        pair for row, answer in enumerate(answers) for pair in head.pair_multitask_answers(answer[task], recorded, row)
    )
    return max((abs(p - q) for p, q in pairs), default=0.0)
