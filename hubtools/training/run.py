"""Run a training that is planned: build it, go on from a checkpoint where there is one, train, leave the release."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hubtools.errors import TrainingFailed, read_first_line
from hubtools.records import write_json
from hubtools.records.figures import Estimate, Figure
from hubtools.records.training import Emissions, TrainingRun, TrainingValues
from hubtools.tasks import find_base
from hubtools.training.arguments import SETFIT
from hubtools.training.devices import describe_device, describe_estimate
from hubtools.training.job import Job, prepare_task
from hubtools.training.multitask import prepare_multitask
from hubtools.training.plan import Plan
from hubtools.training.timing import describe_outcome, expect, measure
from hubtools.training.tracking import find_space, keep_curves
from hubtools.workdir import task_folder

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from hubtools.training.emissions import EmissionsTracker


CHECKED = 50  # rows of the validation split that the release is asked, at most


@dataclass(frozen=True)
class Result:
    """What is known when the last step is done.

    Attributes:
        seconds: that this process trained.
        resumed: whether it went on from a checkpoint.
        emissions: None where they were not measured.
        trackio: see the record.
        estimate: what it was expected to take, None where that was not known; and ``figure``, what it took.
    """

    seconds: float
    resumed: bool
    emissions: Emissions | None
    trackio: str | None
    estimate: Estimate | None
    figure: Figure | None


def run_training(plan: Plan) -> None:
    """Train as planned, and leave the release in the work folder. Every process of the training calls this.

    Raises:
        VerificationFailed: the release is there, and the Semantic Router could not load it, or would answer otherwise.
    """
    if plan.ours.method == SETFIT:
        from hubtools.training.setfit import run_setfit

        run_setfit(plan)
    else:
        _fine_tune(plan)
    # Only the first process writes the release, and no other waits for what it does after that.
    if plan.args.process_index == 0:
        check_releases(plan)


def check_releases(plan: Plan) -> None:
    """Hold what a training left against what the Semantic Router needs, on rows of the validation split.

    What does not hold is a warning: whoever does not use the router has a model all the same, and a push that is meant
    for it is refused.
    """
    from hubtools.router_contract import FAMILY, check_package, read_family

    for task in plan.tasks:
        folder = task_folder(plan.work_dir, task.name)
        if read_family(folder.model) != FAMILY:
            continue
        labels = task.model_labels(task.label_set(folder.read_training().label_set))
        texts = plan.data[task.name]["validation"][:CHECKED]["text"]
        checks = check_package(folder.model, labels, texts)
        for check in checks:
            if not check.ok:
                print(f"[{task.name}] warning, for the Semantic Router: {check.file}: {check.summary}", flush=True)
        passed = sum(check.ok for check in checks)
        needs = "checks of what the Semantic Router needs passed"
        print(f"[{task.name}] {passed} of {len(checks)} {needs}, on {len(texts)} validation rows", flush=True)


def _fine_tune(plan: Plan) -> None:
    import torch
    from transformers import AutoTokenizer

    plan.args._n_gpu = min(plan.args.n_gpu, 1)  # one process, one GPU: DataParallel would divide the loss wrongly
    tokenizer = AutoTokenizer.from_pretrained(plan.base, revision=plan.revision)
    try:
        job, result = _train_once(plan, tokenizer)
    except torch.OutOfMemoryError as error:
        job, result = _train_with_less(plan, tokenizer, error)
    _leave_release(plan, tokenizer, job, result)


def _train_with_less(plan: Plan, tokenizer: PreTrainedTokenizerBase, error: RuntimeError) -> tuple[Job, Result]:
    """Train again, from the last checkpoint, with half the tokens at once; the steps and their gradients are the same.

    Raises:
        TrainingFailed: that is too much as well, or other processes wait for this one.
    """
    import torch

    from hubtools.training.trainer import find_budget

    half = find_budget(plan.args.device.type, plan.ours.tokens_per_batch) // 2
    failure = TrainingFailed(
        "The GPU has not enough memory for this training",
        expected=f"room for {half * 2} tokens at once",
        found=read_first_line(error),
        next=f"--tokens_per_batch {half // 2}, --gradient_checkpointing true, or a smaller --base",
    )
    if plan.args.world_size > 1:
        raise failure from error
    print(f"[{plan.name}] not enough memory for {half * 2} tokens at once: going on with {half}", flush=True)
    # What the failed training held is freed with the traceback that names it.
    error.__traceback__ = None
    torch.cuda.empty_cache()
    try:
        return _train_once(plan.limit_tokens(half), tokenizer)
    except torch.OutOfMemoryError:
        raise failure from None


def _train_once(plan: Plan, tokenizer: PreTrainedTokenizerBase) -> tuple[Job, Result]:
    """Build the training, go on from its checkpoint where there is one, and train to the end."""
    import transformers
    from transformers import set_seed

    from hubtools.training.emissions import EmissionsTracker
    from hubtools.training.progress import Pace

    ours, args = plan.ours, plan.args
    # Before the model is made: the new head's first weights are drawn here.
    set_seed(args.seed)
    job = (prepare_multitask if plan.is_multitask else prepare_task)(plan, tokenizer)
    trainer = job.trainer
    tracker = EmissionsTracker(ours.emissions_country or "", plan.folder.runs) if ours.emissions else None
    # Only where it is asked for: codecarbon is an extra that need not be installed.
    if tracker:
        trainer.add_callback(tracker)
    # It prints raw dictionaries; Progress says the same in a line.
    trainer.remove_callback(transformers.PrinterCallback)
    if args.disable_tqdm:
        trainer.add_callback(Pace(plan.name, lambda: trainer.tokens))
    estimate = expect(plan, job)
    if trainer.is_world_process_zero():
        _announce(plan, job, estimate)
    checkpoint = _begin_or_resume(plan, job)
    started = time.time()
    _train(job, checkpoint, tracker)
    seconds, trackio = time.time() - started, find_space(trainer)
    figure = measure(plan, job, seconds) if trainer.is_world_process_zero() else None
    if figure:
        complete = not checkpoint and trainer.state.global_step >= trainer.state.max_steps
        print(f"[{plan.name}] {describe_outcome(estimate, seconds, figure.peak_gib, complete)}", flush=True)
    emissions = tracker.gather() if tracker else None
    return job, Result(seconds, bool(checkpoint), emissions, trackio, estimate, figure)


def _leave_release(plan: Plan, tokenizer: PreTrainedTokenizerBase, job: Job, result: Result) -> None:
    """Write the model beside the old one, which stays until the new one is complete and calibrated."""
    from hubtools.training.tuning import merge_adapters

    trainer = job.trainer
    fresh = plan.folder.root / "model.new"
    if trainer.is_world_process_zero():
        shutil.rmtree(fresh, ignore_errors=True)
    # What truncates by the release's tokenizer then cuts where training did.
    tokenizer.model_max_length = job.max_length
    trainer.model = merge_adapters(cast("nn.Module", trainer.model))
    trainer.save_model(str(fresh))  # all take part where the weights are sharded; the first writes
    # Closes the trackers of all processes; only the first goes on.
    trainer.accelerator.end_training()
    if trainer.is_world_process_zero():
        job.release(fresh, _describe(plan, job, result))


def _rows_a_step(plan: Plan) -> int:
    args = plan.args
    return int(args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size)


def _announce(plan: Plan, job: Job, estimate: Estimate | None) -> None:
    """Print what is about to be trained, and where its defaults come from."""
    args = plan.args
    for line in (
        *plan.presets,
        f"{job.rows}, base {plan.base}, device {args.device.type}, "
        f"{args.world_size} process{'es' * (args.world_size > 1)}, seed {args.seed}",
        f"{_rows_a_step(plan)} rows a step, {job.trainer.path}",
        *job.lines,
        describe_estimate(estimate, describe_device(args.device)),
    ):
        print(f"[{plan.name}] {line}", flush=True)


def _begin_or_resume(plan: Plan, job: Job) -> str | None:
    """Return the checkpoint to go on from, the same for all processes; make the folder of checkpoints ready."""
    from accelerate.utils import broadcast_object_list
    from transformers.trainer_utils import get_last_checkpoint

    checkpoint = None
    if job.trainer.is_world_process_zero():  # no other: it may remove what is there
        splits = [split._fingerprint for split in job.splits]
        identity = [plan.ours.fingerprint or plan.flags.argv, _rows_a_step(plan), plan.base, plan.revision, *splits]
        fingerprint = json.dumps(identity)
        checkpoint = find_checkpoint(plan.folder.runs, fingerprint, get_last_checkpoint)
        write_json(plan.folder.runs / "fingerprint.json", fingerprint)
        if checkpoint:
            print(f"[{plan.name}] going on from {Path(checkpoint).name}", flush=True)
        for line in keep_curves(job.trainer, plan.folder, resumed=bool(checkpoint)):
            print(f"[{plan.name}] {line}", flush=True)
    shared: list[str | None] = broadcast_object_list([checkpoint])
    return shared[0]


def _train(job: Job, checkpoint: str | None, tracker: EmissionsTracker | None) -> None:
    """Train to the end, unless ``checkpoint`` is the end already and only the release is missing."""
    trainer = job.trainer
    if not (checkpoint and trainer.load_finished(checkpoint)):
        trainer.train(resume_from_checkpoint=checkpoint)
    elif tracker:  # what was used before it was killed
        tracker.on_train_begin(trainer.args, trainer.state, trainer.control)
        tracker.on_train_end(trainer.args, trainer.state, trainer.control)


def _describe(plan: Plan, job: Job, result: Result) -> TrainingRun:
    """Return what ``training.json`` says of every training."""
    from hubtools.training.release import read_versions

    args, state = plan.args, job.trainer.state
    values = TrainingValues(
        epochs=args.num_train_epochs,
        batch_size=_rows_a_step(plan),
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
        warmup=args.warmup_steps,
        patience=plan.patience,
        max_length=job.max_length,
        seed=args.seed,
        precision="bf16" if args.bf16 else "fp32",
        label_smoothing=args.label_smoothing_factor,
        focal_gamma=plan.ours.focal_gamma,
    )
    return TrainingRun(
        fingerprint=plan.ours.fingerprint,
        base=plan.base,
        base_revision=plan.revision,
        base_note=find_base(plan.base).note,
        method=plan.ours.method,
        presets=plan.presets,
        arguments=values,
        options=replace(job.options, gradient_checkpointing=args.gradient_checkpointing or None),
        steps=state.global_step,
        epochs_run=state.epoch or 0.0,
        history=[entry for entry in state.log_history if "loss" in entry or "eval_loss" in entry],
        seconds=round(result.seconds, 1),
        resumed=result.resumed,
        processes=args.world_size,
        path=job.trainer.path,
        expected_seconds=result.estimate.seconds if result.estimate else None,
        peak_gib=result.figure.peak_gib if result.figure else None,
        tokens_per_second=result.figure.tokens_per_second if result.figure else None,
        emissions=result.emissions,
        device=describe_device(args.device),
        versions=read_versions(),
        trackio=result.trackio,
    )


def find_checkpoint(runs: Path, fingerprint: str, last: Callable[[str], str | None]) -> str | None:
    """Return the last whole checkpoint of the same training, None where there is none; remove all others.

    A checkpoint without a whole ``trainer_state.json`` was cut off: the Trainer writes that file last.

    Args:
        fingerprint: of the training that is to go on.
        last: gives the newest checkpoint in a folder.
    """
    identity = runs / "fingerprint.json"
    if not runs.exists():
        return None
    if not identity.exists() or json.loads(identity.read_text("utf-8")) != fingerprint or not fingerprint:
        shutil.rmtree(runs, ignore_errors=True)
        return None
    while checkpoint := last(str(runs)):
        try:
            json.loads((Path(checkpoint) / "trainer_state.json").read_text("utf-8"))
            return str(checkpoint)
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)
    return None
