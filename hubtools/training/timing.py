"""How long a training will take on this device, from what was measured before; and what it took."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hubtools.records.figures import (
    Estimate,
    Figure,
    describe_seconds,
    does_compiling_pay,
    estimate_training,
    find_figure,
    keep_figure,
)
from hubtools.training.arguments import AUTO, ON
from hubtools.training.devices import KEPT, describe_device, list_figures
from hubtools.training.inputs import load_config

if TYPE_CHECKING:
    from hubtools.training.job import Job
    from hubtools.training.plan import Plan


@dataclass(frozen=True)
class Work:
    """What a training computes: tokens of all its steps, and of all its evaluations."""

    tokens: float
    evaluated: float


def decide_compiling(plan: Plan, tokens: int) -> bool:
    """Return whether the encoder's layers are compiled, as ``--compile`` and what was measured say.

    Args:
        tokens: of the training split.
    """
    if plan.ours.compile != AUTO:
        return plan.ours.compile == ON
    if plan.args.device.type != "cuda":
        return False  # on a CPU it took minutes and gained nothing
    layers, width = _measure_base(plan)
    epochs = plan.args.num_train_epochs
    return does_compiling_pay(
        list_figures(plan.work_dir), describe_device(plan.args.device), layers, width, tokens * epochs
    )


def expect(plan: Plan, job: Job) -> Estimate | None:
    """Return what the training is expected to take; None where nothing like it was measured on this device."""
    layers, width = _measure_base(plan)
    device = describe_device(plan.args.device)
    figure = find_figure(list_figures(plan.work_dir), device, layers, width, job.trainer.compiled)
    if figure is None:
        return None
    args = plan.args
    tokens = sum(job.trainer.list_lengths())
    steps_an_epoch = max(1, len(job.trainer.list_lengths()) // _rows_a_step(plan))
    steps = args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * steps_an_epoch)
    every = args.eval_steps if args.eval_strategy == "steps" else steps_an_epoch
    evaluations = steps / every if every and every >= 1 else 1 / every if every else 1.0
    work = Work(tokens * steps / steps_an_epoch, _count_validation(job) * evaluations)
    return estimate_training(figure, work.tokens, work.evaluated)


def describe_outcome(estimate: Estimate | None, seconds: float, peak_gib: float, complete: bool) -> str:
    """Return a line for the log: what it took beside what was expected.

    Args:
        complete: whether it trained all that was planned.
    """
    took = f"took {describe_seconds(seconds)} and {peak_gib:.1f} GiB"
    if estimate is None:
        return took
    ended = "" if complete else ", of a training that did not end sooner"
    return f"{took}; expected were {describe_seconds(estimate.seconds)} and {estimate.peak_gib:.1f} GiB{ended}"


def measure(plan: Plan, job: Job, seconds: float) -> Figure | None:
    """Return how fast a training was, and keep it in the work folder; None where it trained nothing.

    Args:
        seconds: of steps and evaluations.
    """
    trainer = job.trainer
    if not trainer.tokens or seconds <= 0:
        return None
    evaluations = sum("eval_loss" in entry for entry in trainer.state.log_history)
    work = Work(trainer.tokens * plan.args.world_size, _count_validation(job) * evaluations)
    layers, width = _measure_base(plan)
    figure = Figure(
        device=describe_device(plan.args.device),
        layers=layers,
        width=width,
        path=trainer.path,
        compiled=trainer.compiled,
        tokens_per_second=round((work.tokens + work.evaluated / 3) / seconds, 1),
        peak_gib=round(measure_peak() / 2**30, 3),
        compile_seconds=trainer.compile_seconds,
    )
    keep_figure(plan.work_dir / KEPT, figure)
    return figure


def measure_peak() -> int:
    """Return the most bytes that were used: of the GPU, or resident of this process."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return int(torch.cuda.max_memory_reserved())  # recorded graphs do not count as allocated
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _measure_base(plan: Plan) -> tuple[int, int]:
    config = load_config(plan.base, plan.revision)
    return config.num_hidden_layers, config.hidden_size


def _rows_a_step(plan: Plan) -> int:
    args = plan.args
    return int(args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size)


def _count_validation(job: Job) -> int:
    return sum(sum(split["length"][:]) for split in job.validation)
