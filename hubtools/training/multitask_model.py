"""One ModernBERT body with a head for each task, and what transformers' Trainer needs to train them together.

The labels of all tasks are numbered through, so that a label tells which task it belongs to: a task's begin at its
``first``. Labels of a batch are (rows, longest) for every task; that of a whole text stands at the first position.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar, Unpack, cast

import numpy as np
import torch
from datasets import Dataset as HubDataset
from torch.utils.data import Dataset
from transformers import EvalPrediction, ModernBertConfig, ModernBertModel, ModernBertPreTrainedModel
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.models.modernbert.modeling_modernbert import ModernBertPredictionHead

from hubtools.heads import Head
from hubtools.heads.values import IGNORED
from hubtools.heads.word_marks import clear_marks
from hubtools.packing.encoder import pool
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.tasks import MEAN_SCORE
from hubtools.training.batching import Collator, EncodedRow, MixedBatches, ModelInputs, StepBatches
from hubtools.training.loss import HasLogits, LossFunction, make_loss_function
from hubtools.training.selection import make_selection_metrics
from hubtools.training.trainer import ClassifierTrainer, ModelOptions

LabelArray = TypeVar("LabelArray", np.ndarray, torch.Tensor)


@dataclass(frozen=True)
class Part:
    """One task of a multitask training.

    Attributes:
        first: number of its first label among those of all tasks.
        encoded: its training and validation split, labels numbered from 0.
        class_weights: of its classes in its loss.
        weight: its share in the loss of all tasks, before the shares are made to sum up to 1.
    """

    task: TaskSpec
    label_set: LabelSet
    first: int
    encoded: Mapping[str, HubDataset]
    class_weights: list[float] | None
    weight: float = 1.0

    @property
    def labels(self) -> tuple[str, ...]:
        return self.task.model_labels(self.label_set)

    @property
    def rows(self) -> int:
        """Rows of its training split."""
        return len(self.encoded["train"])

    def owns(self, labels: LabelArray) -> LabelArray:
        """Return where ``labels``, an array or tensor, are of this task: as many truth values."""
        plain = clear_marks(labels)
        return (plain >= self.first) & (plain < self.first + len(self.labels))


class TaskHead(torch.nn.Module):
    """What stands on the body in ``ModernBertFor...Classification``, under the names that it has there.

    Args:
        config: of the body.
        labels: how many it tells apart.
    """

    def __init__(self, config: ModernBertConfig, labels: int) -> None:
        super().__init__()
        self.head = ModernBertPredictionHead(config)
        self.drop = torch.nn.Dropout(config.classifier_dropout)
        self.classifier = torch.nn.Linear(config.hidden_size, labels)
        # The weights begin as those of ModernBERT's own classifiers. transformers initializes a model of another
        # project layer by layer, and asks only layers that hold weights themselves: each carries its deviation.
        # It goes past nn.Module's own __setattr__, which is typed for tensors and modules alone.
        vars(self.head.dense)["std"] = config.initializer_range / math.sqrt(2 * config.num_hidden_layers)
        vars(self.classifier)["std"] = config.hidden_size**-0.5

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return logits (rows, tokens, labels) of hidden states (rows, tokens, hidden size)."""
        logits: torch.Tensor = self.classifier(self.drop(self.head(hidden)))
        return logits


class MultitaskClassifier(ModernBertPreTrainedModel):  # type: ignore[no-untyped-call]
    """One body with a head for each task.

    Args:
        heads: by the task's name, its head and how many labels it has.
    """

    def __init__(self, config: ModernBertConfig, heads: Mapping[str, tuple[Head, int]]) -> None:
        super().__init__(config)
        self.per_token = [head.per_token for head, _ in heads.values()]
        self.label_counts = [labels for _, labels in heads.values()]
        self.widest = max(self.label_counts)
        self.model = ModernBertModel(config)
        self.heads = torch.nn.ModuleDict({name: TaskHead(config, labels) for name, (_, labels) in heads.items()})
        self.post_init()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _init_weights(self, module: torch.nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, torch.nn.Linear) and (std := getattr(module, "std", None)):
            cut = (self.config.initializer_cutoff_factor or 3) * std
            torch.nn.init.trunc_normal_(module.weight, std=std, a=-cut, b=cut)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, task: torch.Tensor,
        bounds: torch.Tensor | None = None, text: torch.Tensor | None = None, **kwargs: object,
    ) -> TokenClassifierOutput:  # fmt: skip
        """Compute each row by the body and the head of its own task.

        Args:
            input_ids, attention_mask: (rows, longest).
            task: (rows,), the number of its head; with ``bounds``, (texts,).
            bounds, text: of a row that is packed already; see :class:`hubtools.packing.encoder.PackedModernBert`. The
                logits are (1, tokens, most labels) then.

        Returns:
            float32 logits (rows, longest, most labels); those of a whole text stand at the first position, and the
            labels that a task lacks have -inf.
        """
        if bounds is not None and text is not None:
            return self._forward_packed(input_ids, task, bounds, text, **kwargs)
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask, **kwargs).last_hidden_state
        logits = hidden.new_full((*input_ids.shape, self.widest), float("-inf"), dtype=torch.float32)
        for number, (per_token, head) in enumerate(zip(self.per_token, self.heads.values(), strict=True)):
            # A task without a row in this batch is computed all the same: its weights get a gradient of 0, which
            # processes that share a step wait for.
            rows = (task == number).nonzero().squeeze(1)
            states, mask = hidden[rows], attention_mask[rows].unsqueeze(-1)
            if not per_token:
                states = (states * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
            task_logits = head(states)
            logits[rows, : task_logits.shape[1], : task_logits.shape[2]] = task_logits.float()
        return TokenClassifierOutput(logits=logits)

    def _forward_packed(
        self, input_ids: torch.Tensor, task: torch.Tensor, bounds: torch.Tensor, text: torch.Tensor, **kwargs: object
    ) -> TokenClassifierOutput:
        """Compute every head on all tokens or texts, and keep its own: nothing waits to learn which those are."""
        hidden = self.model(input_ids=input_ids, bounds=bounds, text=text, **kwargs).last_hidden_state
        states = pool(hidden, bounds, text, "mean")[:, 0]
        tokens, task_of_token = hidden.shape[1], task[text]
        # Empty texts begin behind the last token, where one more takes their logits.
        logits = hidden.new_zeros(tokens + 1, self.widest, dtype=torch.float32)
        for number, (per_token, head) in enumerate(zip(self.per_token, self.heads.values(), strict=True)):
            own = (task_of_token if per_token else task) == number
            computed = head(hidden[0] if per_token else states).float()
            kept = torch.where(own[:, None], computed, 0.0)
            kept = torch.nn.functional.pad(kept, (0, self.widest - kept.shape[1]))
            if per_token:
                logits = logits + torch.nn.functional.pad(kept, (0, 0, 0, 1))
            else:
                logits = logits.index_add(0, bounds[:-1].long(), kept)
        logits = logits[:-1]
        if not self.training:
            counts = torch.tensor(self.label_counts, device=task.device)
            lacking = torch.arange(self.widest, device=task.device) >= counts[task_of_token][:, None]
            logits = logits.masked_fill(lacking, float("-inf"))
        return TokenClassifierOutput(logits=logits[None])


class ConcatenatedRows(Dataset[EncodedRow]):
    """Rows of several datasets, one dataset behind another, each with the number of its ``task``.

    Args:
        order: which rows, and in which order; all by default.
    """

    def __init__(self, datasets: Sequence[HubDataset], order: Sequence[int] | None = None) -> None:
        self.datasets = datasets
        self.begins = np.cumsum([0, *(len(dataset) for dataset in datasets)])
        self.order = range(self.begins[-1]) if order is None else order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, row: int) -> EncodedRow:
        position = self.order[row]
        task = int(np.searchsorted(self.begins, position, side="right")) - 1
        encoded: EncodedRow = self.datasets[task][int(position - self.begins[task])]
        return {**encoded, "task": task}


def interleave(sizes: Sequence[int]) -> list[int]:
    """Return an order of the rows of several datasets, one behind another, that mixes them in like proportion.

    Args:
        sizes: rows of each dataset.
    """
    # Row i of n stands at (i + 0.5) / n of the way, whatever its dataset.
    positions = np.concatenate([(np.arange(size) + 0.5) / size for size in sizes])
    return [int(row) for row in np.argsort(positions, kind="stable")]


class MultitaskCollator(Collator):
    """As :class:`Collator`, with the labels of all tasks numbered through, and ``task`` of each row.

    Args:
        firsts: the number of each task's first label.
    """

    def __init__(self, pad: int, firsts: Sequence[int]) -> None:
        super().__init__(pad)
        self.firsts = firsts

    def label(self, rows: Sequence[EncodedRow]) -> Sequence[EncodedRow]:
        """Return the rows with a label for each token, those of all tasks numbered through."""
        labelled: list[EncodedRow] = []
        for row in rows:
            labels = np.full(len(row["input_ids"]), IGNORED)
            # That of a whole text stands at the first position, as its logits do.
            task_labels = np.atleast_1d(row["labels"])
            labels[: len(task_labels)] = np.where(
                task_labels == IGNORED, IGNORED, task_labels + self.firsts[row["task"]]
            )
            labelled.append({**row, "labels": labels})
        return labelled

    def __call__(self, rows: Sequence[EncodedRow]) -> ModelInputs:
        return super().__call__(rows) | {"task": torch.tensor([row["task"] for row in rows])}


def make_loss(parts: Sequence[Part], label_smoothing: float, focal_gamma: float) -> LossFunction:
    """Return a ``compute_loss_func``: the weighted mean over the tasks of each task's mean loss in the step.

    Its ``num_items_in_batch`` is a tensor: the labels of each task in the whole step.
    """
    shares = [part.weight / sum(other.weight for other in parts) for part in parts]
    losses = [
        make_loss_function(part.class_weights, label_smoothing, focal_gamma, tied=part.task.head.per_token)
        for part in parts
    ]

    def loss(outputs: HasLogits, labels: torch.Tensor, num_items_in_batch: torch.Tensor | None = None) -> torch.Tensor:
        shared = []
        for number, (part, compute_own) in enumerate(zip(parts, losses, strict=True)):
            is_own = part.owns(labels)
            # A step without a label of a task would divide by 0; its loss is then 0 / 1.
            count = (is_own.sum() if num_items_in_batch is None else num_items_in_batch[number]).clamp(min=1)
            logits, own_labels = _select(outputs.logits[..., : len(part.labels)], labels - part.first, is_own)
            shared.append(compute_own(SimpleNamespace(logits=logits), own_labels, count) * shares[number])
        return sum(shared[1:], shared[0])

    return loss


def _select(logits: torch.Tensor, labels: torch.Tensor, is_own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what is a task's own: selected, or, on a GPU, which would be waited for, all others ignored."""
    if not labels.is_cuda:
        return logits[is_own], labels[is_own]
    return ignore_others(logits, labels, is_own)


def ignore_others(
    logits: torch.Tensor, labels: torch.Tensor, is_own: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits (..., classes) and labels (...) of the same shape; what ``is_own`` leaves out is ignored."""
    # Where a head has no logits they are -inf, whose gradient would be no number.
    return torch.where(is_own[..., None], logits, 0.0), torch.where(is_own, labels, IGNORED)


def make_metrics(parts: Sequence[Part]) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return ``compute_metrics`` for the Trainer: each task's as ``<task>_<key>``, and the mean of the primary ones.

    Its predictions are those of :func:`make_reduction`.
    """
    metrics = [make_selection_metrics(part.task, part.label_set) for part in parts]

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        # transformers types a tuple of predictions as one of a single array; make_reduction() made a pair.
        first, best = cast("tuple[np.ndarray, np.ndarray]", prediction.predictions)
        label_ids = cast("np.ndarray", prediction.label_ids)
        scores: dict[str, float] = {}
        for part, compute_own in zip(parts, metrics, strict=True):
            is_own = part.owns(label_ids)
            rows = is_own.any(1)  # a row has labels of one task alone
            labels = np.where(is_own, label_ids - part.first, IGNORED)[rows]
            predicted, true = part.task.head.select_multitask_predictions(
                first[rows, : len(part.labels)], best[rows], labels
            )
            task_scores = compute_own(EvalPrediction(predicted, true))
            scores |= {f"{part.task.name}_{key}": value for key, value in task_scores.items()}
        # Their plain mean: each task counts the same, however many rows it has.
        primary = [scores[f"{part.task.name}_{part.task.primary.key}"] for part in parts]
        return scores | {MEAN_SCORE.key: sum(primary) / len(primary)}

    return compute


def make_reduction(
    parts: Sequence[Part],
) -> Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Return what reduces (rows, longest, most labels) logits to what the metrics need.

    These are the logits at the first position, which a label of the whole text is read from, and the best label of
    every position, as the head of its task decides it.
    """

    def reduce_logits(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        best = logits.argmax(-1)
        for part in parts:
            if reduce := part.task.head.reduce_logits():
                is_own = part.owns(labels)
                rows = is_own.any(1)
                own_labels = torch.where(is_own, labels - part.first, IGNORED)[rows]
                best[rows] = reduce(logits[rows, :, : len(part.labels)], own_labels)
        return logits[:, 0], best

    return reduce_logits


class MultitaskOptions(ModelOptions, total=False):
    """Options of a :class:`ClassifierTrainer` but for those that follow from the tasks: rows, loss and metrics."""

    tokens_per_batch: int | None
    may_pack: bool
    static: bool | None
    compiled: bool
    cache: Path | None
    layer_decay: float


class MultitaskTrainer(ClassifierTrainer):
    """A :class:`ClassifierTrainer` of a :class:`MultitaskClassifier`.

    Args:
        parts: the tasks, from which rows, loss and metrics follow.
        focal_gamma: of each task's loss.
    """

    def __init__(self, parts: Sequence[Part], *, focal_gamma: float = 0.0, **options: Unpack[MultitaskOptions]) -> None:
        self.parts = parts
        args = options["args"]
        args.remove_unused_columns = False  # the Trainer would take ``labels`` for unused
        validation = [part.encoded["validation"] for part in parts]
        super().__init__(
            train_dataset=ConcatenatedRows([part.encoded["train"] for part in parts]),
            # In like proportion in every batch: the mean of the batches' losses is the loss.
            eval_dataset=ConcatenatedRows(validation, interleave([len(rows) for rows in validation])),
            compute_loss_func=make_loss(parts, args.label_smoothing_factor, focal_gamma),
            compute_metrics=make_metrics(parts),
            # transformers takes a tuple as well, though its type names a tensor alone.
            preprocess_logits_for_metrics=cast(
                "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]", make_reduction(parts)
            ),
            **options,
        )

    def make_collator(self, pad: int) -> MultitaskCollator:
        """Return what numbers the labels of all tasks through."""
        return MultitaskCollator(pad, [part.first for part in self.parts])

    def list_lengths(self) -> list[int]:
        """Return the tokens of all training rows."""
        return [length for part in self.parts for length in part.encoded["train"]["length"][:]]

    def make_batches(self, rows: int, parts: int, seed: int, epoch: Callable[[], int]) -> StepBatches:
        """Return steps with rows of all tasks."""
        return MixedBatches([part.rows for part in self.parts], self.list_lengths(), rows, parts, seed, epoch)

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, torch.Tensor]], device: torch.device
    ) -> torch.Tensor | None:
        """Count the labels of each task in a step: (tasks,)."""
        if not batch_samples:
            return None
        of_batches = [[part.owns(batch["labels"]).sum() for part in self.parts] for batch in batch_samples]
        counts = torch.stack([torch.stack(of_batch) for of_batch in of_batches]).sum(0).to(device)
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            counts = self.accelerator.reduce(counts, "sum")
        return counts
