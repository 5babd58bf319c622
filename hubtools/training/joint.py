"""One ModernBERT body with a head for each task, and what transformers' Trainer needs to train them together.

The labels of all tasks are numbered through, so that a label tells whose it is: a task's begin at its ``first``.
Labels of a batch are (rows, longest) for every kind of task; that of a whole text stands in the first place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import ModernBertModel, ModernBertPreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.models.modernbert.modeling_modernbert import ModernBertPredictionHead

from hubtools.heads.encoding import IGNORED
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.tasks import JOINT
from hubtools.training.batching import Collator, MixedBatches, StepBatches
from hubtools.training.loss import loss_function
from hubtools.training.selection import selection_metrics
from hubtools.training.trainer import ClassifierTrainer


@dataclass(frozen=True)
class Part:
    """A task's share in a joint training.

    Attributes:
        first: number of its first label among those of all.
        encoded: its training and validation split, labels numbered from 0.
        class_weights: of its classes in its loss.
        weight: of its loss beside the others'.
    """

    task: TaskSpec
    label_set: LabelSet
    first: int
    encoded: Mapping[str, Any]
    class_weights: list[float] | None
    weight: float = 1.0

    @property
    def labels(self) -> tuple[str, ...]:
        return self.task.model_labels(self.label_set)

    @property
    def rows(self) -> int:
        """Of its training split."""
        return len(self.encoded["train"])

    def owns(self, labels: Any) -> Any:
        """Where ``labels``, an array or tensor, are of this task."""
        return (labels >= self.first) & (labels < self.first + len(self.labels))


class Head(torch.nn.Module):
    """What stands on the body in ``ModernBertFor...Classification``, under the names that it has there."""

    def __init__(self, config: Any, labels: int) -> None:
        super().__init__()
        self.head = ModernBertPredictionHead(config)
        self.drop = torch.nn.Dropout(config.classifier_dropout)
        self.classifier = torch.nn.Linear(config.hidden_size, labels)
        # As ModernBERT's own classifiers begin. transformers asks only layers that hold weights themselves to begin
        # anew, where a model is not its own.
        self.head.dense.std = config.initializer_range / math.sqrt(2 * config.num_hidden_layers)
        self.classifier.std = config.hidden_size**-0.5

    def forward(self, hidden: torch.Tensor) -> Any:
        return self.classifier(self.drop(self.head(hidden)))


class JointClassifier(ModernBertPreTrainedModel):  # type: ignore[no-untyped-call]
    """The body and its heads.

    Args:
        heads: by the task's name, its kind and how many labels it has.
    """

    def __init__(self, config: Any, heads: Mapping[str, tuple[str, int]]) -> None:
        super().__init__(config)
        self.kinds = [kind for kind, _ in heads.values()]
        self.widest = max(labels for _, labels in heads.values())
        self.model = ModernBertModel(config)
        self.heads = torch.nn.ModuleDict({name: Head(config, labels) for name, (_, labels) in heads.items()})
        self.post_init()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _init_weights(self, module: Any) -> None:
        super()._init_weights(module)
        if std := getattr(module, "std", None):
            cut = (self.config.initializer_cutoff_factor or 3) * std
            torch.nn.init.trunc_normal_(module.weight, std=std, a=-cut, b=cut)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, task: torch.Tensor, **kwargs: Any
    ) -> TokenClassifierOutput:
        """Each row through the body and the head of its own task.

        Args:
            input_ids, attention_mask: (rows, longest).
            task: (rows,), the number of its head.

        Returns:
            float32 logits (rows, longest, most labels); those of a whole text stand in the first place, and the
            labels that a task lacks have -inf.
        """
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        logits = hidden.new_full((*input_ids.shape, self.widest), float("-inf"), dtype=torch.float32)
        for number, (kind, head) in enumerate(zip(self.kinds, self.heads.values(), strict=True)):
            # A task without a row here goes its way all the same: its weights get a gradient of 0, which processes
            # that share a step wait for.
            rows = (task == number).nonzero().squeeze(1)
            seen, mask = hidden[rows], attention_mask[rows].unsqueeze(-1)
            if kind == "sequence":
                seen = (seen * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
            found = head(seen)
            logits[rows, : found.shape[1], : found.shape[2]] = found.float()
        return TokenClassifierOutput(logits=logits)


class Joined(Dataset[dict[str, Any]]):
    """Rows of several datasets, one dataset behind another, each with the number of its ``task``.

    Args:
        order: which rows, and in which order; all by default.
    """

    def __init__(self, parts: Sequence[Any], order: Sequence[int] | None = None) -> None:
        self.parts = parts
        self.begins = np.cumsum([0, *(len(part) for part in parts)])
        self.order = range(self.begins[-1]) if order is None else order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, row: int) -> dict[str, Any]:
        place = self.order[row]
        task = int(np.searchsorted(self.begins, place, side="right")) - 1
        return {**self.parts[task][int(place - self.begins[task])], "task": task}


def evenly(sizes: Sequence[int]) -> list[int]:
    """Rows of several datasets, one behind another, in an order that has them in like proportion everywhere."""
    places = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    return [int(row) for row in np.argsort(places, kind="stable")]


class JointCollator(Collator):
    """As :class:`Collator`, with the labels of all tasks numbered through, and ``task`` of each row.

    Args:
        firsts: the number of each task's first label.
    """

    def __init__(self, pad: int, firsts: Sequence[int]) -> None:
        super().__init__(pad)
        self.firsts = firsts

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        labelled = []
        for row in rows:
            labels = np.full(len(row["input_ids"]), IGNORED)
            given = np.atleast_1d(row["labels"])
            labels[: len(given)] = np.where(given == IGNORED, IGNORED, given + self.firsts[row["task"]])
            labelled.append({**row, "labels": labels})
        return super().__call__(labelled) | {"task": torch.tensor([row["task"] for row in rows])}


def joint_loss(parts: Sequence[Part], label_smoothing: float, focal_gamma: float) -> Callable[..., Any]:
    """A ``compute_loss_func``: the weighted mean over the tasks of each task's mean loss in the step.

    Its ``num_items_in_batch`` is a tensor: the labels of each task in the whole step.
    """
    shares = [part.weight / sum(other.weight for other in parts) for part in parts]
    losses = [loss_function(part.class_weights, label_smoothing, focal_gamma) for part in parts]

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        total: Any = 0
        for number, (part, of) in enumerate(zip(parts, losses, strict=True)):
            mine = part.owns(labels)
            count = mine.sum() if num_items_in_batch is None else num_items_in_batch[number]
            own = SimpleNamespace(logits=outputs.logits[mine][:, : len(part.labels)])
            total = total + of(own, labels[mine] - part.first, count.clamp(min=1)) * shares[number]
        return total

    return loss


def joint_metrics(parts: Sequence[Part]) -> Callable[[Any], dict[str, float]]:
    """``compute_metrics`` for the Trainer: each task's as ``<task>_<key>``, and the mean of the primary ones.

    Its predictions are those of :func:`condensed`.
    """
    scores = [selection_metrics(part.task, part.label_set) for part in parts]

    def found(prediction: Any) -> dict[str, float]:
        first_place, chosen = prediction.predictions
        every: dict[str, float] = {}
        for part, of in zip(parts, scores, strict=True):
            mine = part.owns(prediction.label_ids)
            rows = mine.any(1)
            labels = np.where(mine, prediction.label_ids - part.first, IGNORED)[rows]
            own = (
                SimpleNamespace(predictions=chosen[rows], label_ids=labels)
                if part.task.kind == "token"
                else SimpleNamespace(predictions=first_place[rows, : len(part.labels)], label_ids=labels[:, 0])
            )
            every |= {f"{part.task.name}_{key}": value for key, value in of(own).items()}
        first = [every[f"{part.task.name}_{part.task.primary.key}"] for part in parts]
        return every | {JOINT.key: sum(first) / len(first)}

    return found


def condensed(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the metrics need of (rows, longest, most labels) logits: those in the first place, and all best labels."""
    return logits[:, 0], logits.argmax(-1)


class JointTrainer(ClassifierTrainer):
    """A :class:`ClassifierTrainer` of a :class:`JointClassifier`.

    Args:
        **options: without datasets, loss and metrics, which follow from ``parts``.
    """

    def __init__(self, parts: Sequence[Part], *, focal_gamma: float = 0.0, **options: Any) -> None:
        self.tasks = parts
        args = options["args"]
        args.remove_unused_columns = False  # the Trainer would take ``labels`` for unused
        validation = [part.encoded["validation"] for part in parts]
        super().__init__(
            train_dataset=Joined([part.encoded["train"] for part in parts]),
            # In like proportion everywhere: the mean of the batches' losses is the loss.
            eval_dataset=Joined(validation, evenly([len(rows) for rows in validation])),
            compute_loss_func=joint_loss(parts, args.label_smoothing_factor, focal_gamma),
            compute_metrics=joint_metrics(parts),
            preprocess_logits_for_metrics=condensed,
            **options,
        )
        self.data_collator = JointCollator(
            options["processing_class"].pad_token_id or 0, [part.first for part in parts]
        )

    def batches(self, **how: Any) -> StepBatches:
        """Steps with rows of all tasks."""
        train = [part.encoded["train"] for part in self.tasks]
        lengths = [length for rows in train for length in rows["length"][:]]
        return MixedBatches([part.rows for part in self.tasks], lengths=lengths, **how)

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> Any:
        """Labels of each task in a step: (tasks,)."""
        if not batch_samples:
            return None
        counts = sum(torch.stack([part.owns(batch["labels"]).sum() for part in self.tasks]) for batch in batch_samples)
        counts = counts.to(device)  # type: ignore[union-attr]
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            return self.accelerator.reduce(counts, "sum")
        return counts
