"""Training defaults: by the size of the training split, task, encoder, base model and LoRA; flags beat all.

The tiers are those of the design, for an encoder of ModernBERT-base's size; the sizes count rows of the training split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from hubtools.spec import BaseModel
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI


@dataclass(frozen=True)
class Preset:
    """Training arguments in the terms of the design.

    Attributes:
        batch_size: rows of an optimizer step, however many processes and accumulated batches share them.
        warmup: share of all steps.
        eval_steps: steps between evaluations; 0 evaluates each epoch.
        patience: evaluations without a better primary metric before training stops.
    """

    epochs: float
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: float
    eval_steps: int
    patience: int


TIERS: tuple[tuple[str, float, Preset], ...] = (
    ("small (fewer than 1,000 rows)", 1_000, Preset(2, 4, 1e-5, 0.15, 0.1, 0, 1)),
    ("medium (fewer than 5,000 rows)", 5_000, Preset(3, 8, 2e-5, 0.1, 0.06, 100, 2)),
    ("large (5,000 rows or more)", float("inf"), Preset(4, 16, 3e-5, 0.05, 0.03, 200, 3)),
)

# Adapters learn best at about ten times the rate of full fine-tuning (Schulman et al. 2025, "LoRA Without Regret"). A
# base whose own rate is high already gets no more than this: on one starter corpus, adapters of the nano model
# reached a validation macro F1 of 0.53 at a rate of 1e-2, and 0.81 at 3e-3, as did full fine-tuning at 1e-3.
LORA_TIMES = 10
LORA_MOST = 3e-3

WIDTH = 768  # hidden size of ModernBERT-base
STEPS = 100  # that a small encoder takes at least, within 20 epochs


def adapt_to_width(rows: int, width: int, rate: float) -> dict[str, float | int]:
    """Return what an encoder of another width than ModernBERT-base's takes instead.

    A narrower one: larger steps, and enough of them. With the rates and the few steps of the tiers it has learned next
    to nothing when its training ends. A wider one: smaller steps, as its larger sums move further at each.

    Args:
        width: its hidden size.
        rate: the learning rate that ModernBERT-base takes.
    """
    if width >= WIDTH:
        return {} if width == WIDTH else {"learning_rate": float(f"{rate * WIDTH / width:.2g}")}
    # At ModernBERT-base's width this is 3e-5, the rate of the largest tier.
    rate = min(1e-3, 3e-5 * (WIDTH / width) ** 2.5)
    return {
        "epochs": min(20, max(4, round(STEPS * 32 / rows))),
        "batch_size": 32,
        "learning_rate": float(f"{rate:.1g}"),
        "weight_decay": 0.01,
        "patience": 5,  # three ended trainings before their best step: docs/training.md
    }


def choose_preset(
    rows: int, task: TaskSpec | None, base: BaseModel, width: int = WIDTH, *, lora: bool = False
) -> tuple[Preset, list[str]]:
    """Return the defaults for ``rows`` training rows, and a line a layer that says where they come from.

    Args:
        task: None for all four together.
        width: hidden size of the base.
    """
    name, of_task = (task.name, task.overrides) if task else (MULTI, {})
    # The last tier has no bound: one is always found.
    tier, _, preset = next(t for t in TIERS if rows < t[1])
    lines = [f"size: {tier}: {list_values(asdict(preset))}"]
    for layer, overrides in (
        (f"task {name}", of_task),
        (f"encoder of width {width}", adapt_to_width(rows, width, {**asdict(preset), **of_task}["learning_rate"])),
        (f"base {base.short_name}", base.by_task.get(name, {})),
    ):
        # Later layers win: what is known of a base says more than its width does.
        if overrides:
            preset = replace(preset, **overrides)  # type: ignore[arg-type]
            lines.append(f"{layer}: {list_values(overrides)}")
    if lora:
        # Never less than full fine-tuning takes: small encoders have a high rate already.
        full = preset.learning_rate
        preset = replace(preset, learning_rate=max(full, min(LORA_TIMES * full, LORA_MOST)))
        lines.append(f"LoRA: learning_rate {preset.learning_rate:g}, {preset.learning_rate / full:g} times the usual")
    return preset, lines


def make_trainer_arguments(
    preset: Preset, rows: int, batches_a_step: int = 1, strategy: str | None = None, every: float | None = None
) -> dict[str, str | float]:
    """Return the preset as defaults of transformers' ``TrainingArguments``.

    Args:
        batches_a_step: processes times accumulation steps, among which the rows of a step are divided.
        strategy, every: ``--eval_strategy`` and ``--eval_steps``, where given.

    A run of fewer steps than the preset's ``eval_steps`` would never be evaluated and would leave no checkpoint: such
    a run is evaluated each epoch. Every evaluation leaves a checkpoint, because the best one is released.
    """
    # Rounded: eight rows for three processes are three each, nine in all.
    per_device = max(1, round(preset.batch_size / batches_a_step))
    steps_per_epoch = max(1, rows // (per_device * batches_a_step))
    # A step number that no epoch reaches would never be evaluated.
    by_epoch = preset.eval_steps == 0 or preset.eval_steps > steps_per_epoch
    how = strategy or ("steps" if every or not by_epoch else "epoch")
    when: dict[str, str | float] = {"eval_strategy": how, "save_strategy": how}
    if how == "steps":
        steps = every or preset.eval_steps or steps_per_epoch
        when |= {"eval_steps": steps, "save_steps": steps}
    return {
        "num_train_epochs": preset.epochs,
        "per_device_train_batch_size": per_device,
        "learning_rate": preset.learning_rate,
        "weight_decay": preset.weight_decay,
        "warmup_steps": preset.warmup,  # a float below 1 is a share of all steps since transformers 5
        **when,
    }


def list_values(values: Mapping[str, float | int]) -> str:
    """Return names and values in one line."""
    return ", ".join(f"{name} {value:g}" for name, value in values.items())
