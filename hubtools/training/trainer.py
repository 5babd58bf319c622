"""transformers' Trainer with batches that hold no padding to speak of.

Steps, accumulation, processes, evaluation, checkpoints: all that is the Trainer's and accelerate's. What is ours is
which rows a step takes (``StepBatches``), and that a batch goes through the model in as many passes as are cheapest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NotRequired, TypedDict, Unpack, cast

import numpy as np
import torch
from accelerate.utils import AutocastKwargs
from datasets import Dataset as HubDataset
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import (
    EvalPrediction,
    ModernBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME

from hubtools.errors import UsageError
from hubtools.heads.values import IGNORED
from hubtools.packing.attention import FLASH, VARLEN, Choice
from hubtools.packing.compiling import compile_layers
from hubtools.packing.encoder import choose_packing, pack
from hubtools.packing.recording import record_layers
from hubtools.training.batching import Collator, EncodedRow, ModelInputs, StepBatches, divide_into_passes
from hubtools.training.late import LateLoss
from hubtools.training.loss import LossFunction
from hubtools.training.progress import check_loss
from hubtools.training.static import StaticBatch, StaticCollator, StaticPass, join_logits, measure_sizes, pick_batches
from hubtools.training.tuning import decay_by_depth, plain

# What a pass costs beside its tokens, in tokens: on a CPU next to nothing, on a GPU the launch of its kernels.
PASS = {"cpu": 32}
PASS_ELSEWHERE = 4096
# Activations of a pass are what training needs memory for: about 1.5 MB a token at base size in fp32.
BUDGET = {"cpu": 4096}
BUDGET_ELSEWHERE = 16_384


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
        static: pack rows into passes of few shapes; None does so on a GPU, and where layers are compiled.
        compiled: compile the encoder's layers, where they are packed.
        cache: folder of what was compiled.
        layer_decay: learning rate of a layer as a share of the one above it; 1 is the same for all.
        row_weights: how often each training row comes, see :func:`~hubtools.training.batching.weigh_rows`.
        **options: the Trainer's. ``compute_loss_func`` must divide by ``num_items_in_batch``; the datasets hold
            ``input_ids``, ``labels`` and ``length``.
    """

    def __init__(
        self, *, tokens_per_batch: int | None = None, may_pack: bool = True, static: bool | None = None,
        compiled: bool = False, cache: Path | None = None, layer_decay: float = 1.0,
        row_weights: np.ndarray | None = None, **options: Unpack[TrainerOptions],
    ) -> None:  # fmt: skip
        model, args = plain(options["model"]), options["args"]
        self.layer_decay, self.row_weights = layer_decay, row_weights
        # Otherwise the Trainer takes ModernBERT's **kwargs for support of num_items_in_batch and scales gradients up.
        vars(model)["accepts_loss_kwargs"] = False
        kind = args.device.type
        choice = choose_packing(model, args.device, args.bf16) if may_pack else Choice("", "packing is switched off")
        self.packed = bool(choice.way)
        self.static = self.packed and ((kind == "cuda" or compiled) if static is None else static)
        if self.packed:
            pack(model, choice.way)
            if args.ddp_find_unused_parameters is None:
                args.ddp_find_unused_parameters = False  # every weight of a ModernBERT is used
        self.budget = find_budget(kind, tokens_per_batch)
        self.a_pass = PASS.get(kind, PASS_ELSEWHERE)
        # What a head reads of a packed row: MultitaskClassifier pools by itself.
        self.pooling = (
            model.config.classifier_pooling if isinstance(model, ModernBertForSequenceClassification) else "tokens"
        )
        self.late, self.tokens, self.compile_seconds = LateLoss(), 0, 0.0
        self.path = _describe_path(choice, self.static, self.budget, args)
        collator = self.make_collator(options["processing_class"].pad_token_id or 0)
        super().__init__(data_collator=collator, **options)
        if self.static:
            parts = args.world_size * args.gradient_accumulation_steps
            rows = max(args.per_device_train_batch_size * parts, args.per_device_eval_batch_size)
            # transformers types a collator's batch as a dictionary of tensors.
            self.sizes = measure_sizes(self.list_lengths(), self.budget, rows)
            static_collator: Any = StaticCollator(collator, self.sizes)
            self.data_collator = static_collator
        self.compiled = compiled and self._compile(model, cache)
        if self.compiled:
            self._record(model, choice.way)
        if model is not self.model and (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            raise UsageError(
                "--lora_rank where the weights are divided among processes", expected="whole weights, to merge into",
                found="FSDP or DeepSpeed", next="accelerate launch --config_file configs/ddp.yaml ...",
            )  # fmt: skip

    def _compile(self, model: PreTrainedModel, cache: Path | None) -> bool:
        """Compile the layers; return whether they are. A line says why where they are not."""
        if not self.static:
            seconds, reason = 0.0, "rows are not packed"
        elif self.is_fsdp_enabled or self.is_deepspeed_enabled:
            seconds, reason = 0.0, "weights are divided among processes"
        else:
            # Graphs are recorded without autocast's cache, and for the compiler passes with it are of another kind.
            self.accelerator.autocast_handler = AutocastKwargs(cache_enabled=False)
            seconds, reason = compile_layers(model, cache, lambda: self._try_out(model))
        self.compile_seconds = round(seconds, 1)
        if reason and self.is_world_process_zero():
            print(f"layers are not compiled: {reason}", flush=True)
        self.path += "" if reason else ", compiled"
        return not reason

    def _record(self, model: PreTrainedModel, way: str) -> None:
        """Record the compiled layers as graphs, where this device can. A line says why where that failed."""
        args = self.args
        if args.device.type != "cuda" or args.world_size > 1:
            return
        if way not in (VARLEN, FLASH) or args.gradient_checkpointing:  # these do more than launch kernels
            return
        seconds, reason = record_layers(model, lambda: self._try_out(model))
        self.compile_seconds = round(self.compile_seconds + seconds, 1)
        if reason:
            print(f"layers are not recorded: {reason}", flush=True)
        self.path += "" if reason else ", recorded"

    def _try_out(self, model: PreTrainedModel) -> None:
        """Compute batches with every size of the first epoch forward and backward, and leave nothing of it behind."""
        data: HubDataset = self.train_dataset
        batches = pick_batches(self._make_own_batches(), self.list_lengths(), self.sizes)
        was_training = model.training
        model.train()
        devices = [self.args.device] if self.args.device.type == "cuda" else []
        # The Trainer leaves autocast to the model that accelerate prepares, which this one is not yet: in fp32 the
        # kernels of a GPU would refuse it.
        with torch.random.fork_rng(devices), self.accelerator.autocast():
            for batch in batches:
                made = self.data_collator([data[row] for row in batch])
                for part in self._list_passes(self._prepare_inputs(made)):
                    del part["labels"]
                    model(**part).logits.float().sum().backward()
        model.zero_grad()
        model.train(was_training)

    def make_collator(self, pad: int) -> Collator:
        """Return what makes a padded batch of rows."""
        return Collator(pad)

    def list_lengths(self) -> list[int]:
        """Return the tokens of each training row."""
        data: HubDataset = self.train_dataset
        return list(data["length"][:])

    def get_train_dataloader(self) -> DataLoader[ModelInputs]:
        """Return :class:`StepBatches`, or the Trainer's own where ``train_sampling_strategy`` asks for them."""
        args = self.args
        if args.train_sampling_strategy != "random":
            return super().get_train_dataloader()
        data: HubDataset = self.train_dataset
        loader = DataLoader(
            data, batch_sampler=self._make_own_batches(), collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers, pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers, prefetch_factor=args.dataloader_prefetch_factor,
        )  # fmt: skip
        prepared: DataLoader[ModelInputs] = self.accelerator.prepare(loader)
        return prepared

    def _make_own_batches(self) -> StepBatches:
        args = self.args
        parts = args.world_size * args.gradient_accumulation_steps
        return self.make_batches(
            rows=self._train_batch_size * parts,
            parts=parts,
            seed=args.seed if args.data_seed is None else args.data_seed,
            epoch=lambda: int(self.state.epoch or 0),
        )

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
        return StepBatches(self.list_lengths(), rows, parts, seed, epoch, self.row_weights)

    def training_step(
        self, model: nn.Module, inputs: ModelInputs | StaticBatch, num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Do the Trainer's step, pass by pass. Processes exchange gradients once, after the last."""
        self.tokens += count_tokens(inputs)
        parts = self._list_passes(inputs)
        losses = []
        for number, part in enumerate(parts, 1):
            with contextlib.nullcontext() if number == len(parts) else self.accelerator.no_sync(model):
                losses.append(super().training_step(model, part, num_items_in_batch))
        total = sum(losses[1:], losses[0])
        if known := self.late.read(total, self.state.global_step + 1):
            check_loss(*known)
        return total

    def floating_point_ops(self, inputs: ModelInputs | StaticBatch) -> int:
        """Return the Trainer's count, of all passes."""
        if not self.static:
            return int(super().floating_point_ops(cast("ModelInputs", inputs)))
        batch = cast("StaticBatch", inputs)
        return sum(int(super(ClassifierTrainer, self).floating_point_ops(dict(part))) for part in batch["passes"])

    def prediction_step(
        self, model: nn.Module, inputs: ModelInputs | StaticBatch, prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:  # fmt: skip
        """Return loss, logits and labels of a batch, its rows in their own order."""
        prepared: Any = self._prepare_inputs(cast("ModelInputs", inputs))
        labels: torch.Tensor = prepared["labels"]
        with torch.no_grad(), self.compute_loss_context_manager():
            logits = self._predict_static(model, prepared) if self.static else self._predict(model, prepared, labels)
            loss = self.compute_loss_func(SimpleNamespace(logits=logits), labels)  # type: ignore[misc]
        check_loss(float(loss), self.state.global_step)  # the last step may have been the one too many
        return loss, None if prediction_loss_only else logits, None if prediction_loss_only else labels

    def _predict(self, model: nn.Module, inputs: ModelInputs, labels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor | None = None
        for rows, part in self._divide(inputs):
            del part["labels"]  # the model would compute a loss of its own
            part_logits: torch.Tensor = model(**part).logits.float()
            if logits is None:
                logits = part_logits.new_zeros(*labels.shape, part_logits.shape[-1])
            if part_logits.dim() == 2:
                logits[rows] = part_logits[: len(rows)]
            else:  # a pass is padded to its own longest row
                logits[rows, : part_logits.shape[1]] = part_logits[: len(rows)]
        assert logits is not None  # a batch has a row
        return logits

    def _predict_static(self, model: nn.Module, batch: StaticBatch) -> torch.Tensor:
        computed = []
        for part in self._list_passes(batch):
            del part["labels"]
            computed.append(model(**part).logits.float())
        return join_logits(batch, computed[: len(batch["passes"])])

    def _list_passes(self, inputs: ModelInputs | StaticBatch) -> list[ModelInputs]:
        """Return what the model is given of a batch, pass by pass."""
        if not self.static:
            return [part for _, part in self._divide(cast("ModelInputs", inputs))]
        batch = cast("StaticBatch", inputs)
        passes = [self._name_inputs(part, batch["longest"]) for part in batch["passes"]]
        for _ in range(self._most(len(passes)) - len(passes)):
            passes.append(passes[0] | {"labels": torch.full_like(cast("torch.Tensor", passes[0]["labels"]), IGNORED)})
        return passes

    def _name_inputs(self, part: StaticPass, longest: int) -> ModelInputs:
        """Return a pass as the model's parameters. Its mask is of texts that are pooled already: one place each."""
        values = cast("dict[str, torch.Tensor]", part)
        named: ModelInputs = {name: value for name, value in values.items() if name != "rows"}
        named |= {
            "attention_mask": torch.ones_like(part["rows"])[:, None], "longest": longest, "pooling": self.pooling,
        }  # fmt: skip
        return named

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


def find_budget(kind: str, asked: int | None) -> int:
    """Return the most tokens that go through the model at once on a device of this kind."""
    return asked or BUDGET.get(kind, BUDGET_ELSEWHERE)


def _describe_path(choice: Choice, static: bool, budget: int, args: TrainingArguments) -> str:
    """Return how rows go through the model, and why not otherwise."""
    how = f"packed, no padding ({choice.way})" if choice.way else "padded, in passes of like length"
    return (
        f"{how}{f' ({choice.reason})' if choice.reason else ''}{', in passes of few sizes' if static else ''},"
        f" {'bf16' if args.bf16 else 'fp32'}, at most {budget} tokens at once"
        f"{', gradient checkpointing' if args.gradient_checkpointing else ''}"
    )


def count_tokens(inputs: ModelInputs | StaticBatch) -> int:
    """Return the real tokens of a batch, as far as they are known without asking the device."""
    counted = inputs.get("tokens") or inputs.get("lengths") or 0
    return sum(counted) if isinstance(counted, list) else cast("int", counted)
