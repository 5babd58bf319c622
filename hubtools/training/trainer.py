"""transformers' Trainer with batches that hold no padding to speak of.

Steps, accumulation, processes, evaluation, checkpoints: all that is the Trainer's and accelerate's. What is ours is
which rows a step takes (``StepBatches``), and that a batch goes through the model in as many passes as are cheapest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NotRequired, TypedDict, Unpack, cast

import torch
from datasets import Dataset as HubDataset
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import (
    EvalPrediction,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME

from hubtools.errors import UsageError
from hubtools.heads.values import IGNORED
from hubtools.training.batching import Collator, EncodedRow, ModelInputs, StepBatches, divide_into_passes
from hubtools.training.loss import LossFunction
from hubtools.training.packing import find_reason_not_to_pack, pack
from hubtools.training.progress import check_loss
from hubtools.training.tuning import decay_by_depth, plain

# What a pass costs beside its tokens, in tokens: on a CPU next to nothing, on a GPU the launch of its kernels.
PASS = {"cpu": 32}
PASS_ELSEWHERE = 4096
# Activations of a pass are what training needs memory for: about 1.5 MB a token at base size in fp32.
BUDGET = {"cpu": 4096}
BUDGET_ELSEWHERE = 16_384
WATCHED = 20  # steps between looks at the loss on a device that would have to be waited for


class ModelOptions(TypedDict):
    """Options of transformers' Trainer that every training of ours gives it: see there."""

    model: nn.Module
    args: TrainingArguments
    processing_class: PreTrainedTokenizerBase
    callbacks: NotRequired[list[TrainerCallback]]


class TrainerOptions(ModelOptions, total=False):
    """Options of transformers' Trainer that :class:`ClassifierTrainer` takes: see there."""

    train_dataset: HubDataset | Dataset[EncodedRow]
    eval_dataset: HubDataset | Dataset[EncodedRow]
    compute_loss_func: LossFunction
    compute_metrics: Callable[[EvalPrediction], dict[str, float]]
    preprocess_logits_for_metrics: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None


class ClassifierTrainer(Trainer):
    """A Trainer for one classifier.

    Args:
        tokens_per_batch: the most tokens that go through the model at once; None follows the device.
        may_pack: drop the padding inside the model where model and device can.
        layer_decay: learning rate of a layer as a share of the one above it; 1 is the same for all.
        **options: the Trainer's. ``compute_loss_func`` must divide by ``num_items_in_batch``; the datasets hold
            ``input_ids``, ``labels`` and ``length``.
    """

    def __init__(
        self, *, tokens_per_batch: int | None = None, may_pack: bool = True, layer_decay: float = 1.0,
        **options: Unpack[TrainerOptions],
    ) -> None:  # fmt: skip
        model, args = plain(options["model"]), options["args"]
        self.layer_decay = layer_decay
        # Otherwise the Trainer takes ModernBERT's **kwargs for support of num_items_in_batch and scales gradients up.
        vars(model)["accepts_loss_kwargs"] = False
        kind = args.device.type
        reason = find_reason_not_to_pack(model, args.device, args.bf16) if may_pack else "packing is switched off"
        self.packed = not reason
        if self.packed:
            pack(model)
            if args.ddp_find_unused_parameters is None:
                args.ddp_find_unused_parameters = False  # every weight of a ModernBERT is used
        self.budget = tokens_per_batch or BUDGET.get(kind, BUDGET_ELSEWHERE)
        self.a_pass = PASS.get(kind, PASS_ELSEWHERE)
        self.path = (
            f"{'packed, no padding' if self.packed else 'padded, in passes of like length'}"
            f" ({reason or {'cpu': 'text by text on the CPU'}.get(kind, 'variable-length attention on the GPU')}),"
            f" {'bf16' if args.bf16 else 'fp32'}, at most {self.budget} tokens at once"
            f"{', gradient checkpointing' if args.gradient_checkpointing else ''}"
        )
        super().__init__(data_collator=Collator(options["processing_class"].pad_token_id or 0), **options)
        if model is not self.model and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise UsageError(
                "--lora_rank where the weights are divided among processes", expected="whole weights, to merge into",
                found="FSDP or DeepSpeed", next="accelerate launch --config_file configs/ddp.yaml ...",
            )  # fmt: skip

    def get_train_dataloader(self) -> DataLoader[ModelInputs]:
        """Return :class:`StepBatches`, or the Trainer's own where ``train_sampling_strategy`` asks for them."""
        args = self.args
        if args.train_sampling_strategy != "random":
            return super().get_train_dataloader()
        parts = args.world_size * args.gradient_accumulation_steps
        batches = self.make_batches(
            rows=self._train_batch_size * parts,
            parts=parts,
            seed=args.seed if args.data_seed is None else args.data_seed,
            epoch=lambda: int(self.state.epoch or 0),
        )
        data: HubDataset = self.train_dataset
        loader = DataLoader(
            data, batch_sampler=batches, collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers, pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers, prefetch_factor=args.dataloader_prefetch_factor,
        )  # fmt: skip
        prepared: DataLoader[ModelInputs] = self.accelerator.prepare(loader)
        return prepared

    def load_finished(self, checkpoint: str) -> bool:
        """Load the best weights where the training of ``checkpoint`` had stopped; return whether it had.

        Only its release is missing then. The Trainer would forget that it had stopped, and train on.
        """
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:  # the best is loaded into weights that are divided
            return False
        state = TrainerState.load_from_json(str(Path(checkpoint, TRAINER_STATE_NAME)))
        control = state.stateful_callbacks.get("TrainerControl", {})
        if not (control.get("args", {}).get("should_training_stop") and state.best_model_checkpoint):
            return False
        state.is_local_process_zero = self.is_local_process_zero()
        state.is_world_process_zero = self.is_world_process_zero()
        self.state = state
        self._load_best_model()
        return True

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Create the Trainer's, with learning rates by depth where they are asked for."""
        is_new = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(model)
        if is_new and self.layer_decay < 1:
            decay_by_depth(optimizer, model or cast("nn.Module", self.model), self.layer_decay)
        return optimizer

    def make_batches(self, rows: int, parts: int, seed: int, epoch: Callable[[], int]) -> StepBatches:
        """Return which rows of the training split the steps take."""
        data: HubDataset = self.train_dataset
        return StepBatches(data["length"][:], rows, parts, seed, epoch)

    def training_step(
        self, model: nn.Module, inputs: ModelInputs, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Do the Trainer's step, pass by pass. Processes exchange gradients once, after the last."""
        parts = self._divide(inputs)
        losses = []
        for number, (_, part) in enumerate(parts, 1):
            with contextlib.nullcontext() if number == len(parts) else self.accelerator.no_sync(model):
                losses.append(super().training_step(model, part, num_items_in_batch))
        total = sum(losses[1:], losses[0])
        if self.args.device.type == "cpu" or self.state.global_step % WATCHED == 0:
            check_loss(float(total), self.state.global_step + 1)
        return total

    def prediction_step(
        self, model: nn.Module, inputs: ModelInputs, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return loss, logits and labels of a batch, its rows in their own order."""
        inputs = self._prepare_inputs(inputs)
        labels, logits = cast("torch.Tensor", inputs["labels"]), None
        with torch.no_grad(), self.compute_loss_context_manager():
            for rows, part in self._divide(inputs):
                del part["labels"]  # the model would compute a loss of its own
                part_logits = model(**part).logits.float()
                if logits is None:
                    logits = part_logits.new_zeros(*labels.shape, part_logits.shape[-1])
                if part_logits.dim() == 2:
                    logits[rows] = part_logits[: len(rows)]
                else:  # a pass is padded to its own longest row
                    logits[rows, : part_logits.shape[1]] = part_logits[: len(rows)]
            loss = self.compute_loss_func(SimpleNamespace(logits=logits), labels)  # type: ignore[misc]
        check_loss(float(loss), self.state.global_step)  # the last step may have been the one too many
        return loss, None if prediction_loss_only else logits, None if prediction_loss_only else labels

    def _divide(self, inputs: ModelInputs) -> list[tuple[list[int], ModelInputs]]:
        """Divide a batch into passes: the rows of each, and what the model is given."""
        tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        counted = inputs.get("lengths")
        lengths: list[int] = counted if isinstance(counted, list) else tensors["attention_mask"].sum(1).tolist()
        parts: list[tuple[list[int], ModelInputs]] = []
        for rows in divide_into_passes(lengths, self.budget, not self.packed, self.a_pass):
            part: ModelInputs = {**tensors}
            if len(rows) < len(lengths):
                longest = max(lengths[row] for row in rows)
                part = {name: v[rows, :longest] if v.dim() > 1 else v[rows] for name, v in tensors.items()}
            if self.packed:
                part["lengths"] = [lengths[row] for row in rows]
            parts.append((rows, part))
        # A pass without a label of its own, for as long as another process still computes: the gradient is not changed.
        for _ in range(self._most(len(parts)) - len(parts)):
            first = parts[0][1]
            parts.append(([], first | {"labels": torch.full_like(cast("torch.Tensor", first["labels"]), IGNORED)}))
        return parts

    def _most(self, count: int) -> int:
        """Return the most passes of any process for its batch: where weights are sharded, all must make as many."""
        if not (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            return count
        return int(self.accelerator.gather(torch.tensor([count], device=self.args.device)).max())
