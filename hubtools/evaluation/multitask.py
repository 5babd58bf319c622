"""Ask all four questions in one forward pass, as the card of the one repo shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

from hubtools.heads import Classification, Head
from hubtools.heads.values import Rows, TextProbabilities
from hubtools.reading import Forward, read_label, read_tokens
from hubtools.tasks import TASKS
from hubtools.training.multitask_release import ABOUT_HEADS, HEADS

if TYPE_CHECKING:
    import numpy as np
    import torch

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
        self.about: dict[str, HeadDescription] = json.loads(file(ABOUT_HEADS).read_text("utf-8"))
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

        Each task reads a long text as its own repo does: its beginning, or all of it in overlapping windows.
        """
        # Tasks that read the same windows share what the body makes of them.
        seen: dict[bytes, torch.Tensor] = {}
        probabilities: dict[str, TextProbabilities] = {}
        for task, about in self.about.items():
            head, forward = TASKS[task].head, self._make_forward(task, seen)
            if about["kind"] == Classification.granularity:
                positive = [about["labels"].index(head.find_threshold_label(about["labels"]))] if head.window else []
                answer = read_label(forward, self.tokenizer, text, window=head.window, positive=positive)
                probabilities[task] = answer.probabilities
            else:
                [tokens] = read_tokens(forward, self.tokenizer, [text], window=head.window)
                has_characters = [start < end for start, end in tokens.offsets]
                probabilities[task] = tokens.probabilities[has_characters].tolist()
        return probabilities

    def _make_forward(self, task: str, seen: dict[bytes, torch.Tensor]) -> Forward:
        """Return the body and the head of ``task`` as one function of token ids and mask."""
        import torch

        head = cast("torch.nn.ModuleDict", self.heads[task])
        whole = self.about[task]["kind"] == Classification.granularity

        def forward(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
            key = ids.tobytes()
            with torch.inference_mode():
                if key not in seen:
                    seen[key] = self.body(torch.from_numpy(ids), torch.from_numpy(mask)).last_hidden_state
                states = seen[key]
                # A label of the whole text is answered from the mean over all its tokens, special ones too.
                if whole:
                    weights = torch.from_numpy(mask).unsqueeze(-1)
                    states = (states * weights).sum(1) / weights.sum(1)
                logits: np.ndarray = head["classifier"](head["head"](states)).numpy()
            return logits

        return forward


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
