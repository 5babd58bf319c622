"""What a training will be, decided from its flags, its rows and its base before anything is built."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubtools.errors import UsageError
from hubtools.task import TaskSpec
from hubtools.tasks import MEAN_SCORE, MULTI, TASKS, find_base, select_tasks
from hubtools.training.arguments import FinetuneArguments, check_evaluations, check_steps
from hubtools.training.dataset import load_splits, obtain_dataset
from hubtools.training.fewshot import check_method, choose_few_shot_preset, is_few_shot, list_preferred_bases
from hubtools.training.flags import TrainingFlags
from hubtools.training.inputs import find_commit, load_config, resolve_base
from hubtools.training.multitask import check_flags
from hubtools.training.presets import Preset, choose_preset, make_trainer_arguments
from hubtools.training.processes import world_size
from hubtools.training.release import list_sources
from hubtools.training.selection import BY_SOURCE, take_evenly
from hubtools.training.tracking import PROJECT, choose_report, prepare_reports
from hubtools.workdir import TaskFolder, task_folder

if TYPE_CHECKING:
    from datasets import DatasetDict
    from transformers import PreTrainedConfig, TrainingArguments


WORKERS = 2  # that make batches while a GPU computes


@dataclasses.dataclass(frozen=True)
class Plan:
    """A training that is decided and has not begun.

    Attributes:
        flags: that it was started with.
        name: of the task, or "multi": what the log and the work folder call it.
        tasks: one, or those that are trained together.
        data: the dataset of each task, by its name.
        base: a repo or a folder; ``revision`` is the repo's commit.
        args: those of the Trainer, with our defaults where no flag was given.
        presets: lines that say where the defaults come from.
        patience: evaluations without a better score before training stops.
    """

    flags: TrainingFlags
    name: str
    tasks: tuple[TaskSpec, ...]
    data: Mapping[str, DatasetDict]
    base: str
    revision: str | None
    args: TrainingArguments
    presets: list[str]
    patience: int

    @property
    def ours(self) -> FinetuneArguments:
        """Our own flags."""
        return self.flags.ours

    @property
    def work_dir(self) -> Path:
        """The work folder of all tasks."""
        return Path(self.ours.work_dir)

    @property
    def folder(self) -> TaskFolder:
        """The part of the work folder that is this training's."""
        return task_folder(self.work_dir, self.name)

    def limit_tokens(self, tokens: int) -> Plan:
        """Return the same training with at most so many tokens at once."""
        ours = dataclasses.replace(self.ours, tokens_per_batch=tokens)
        return dataclasses.replace(self, flags=dataclasses.replace(self.flags, ours=ours))

    @property
    def is_multitask(self) -> bool:
        """Whether several tasks are trained on one body."""
        return self.name == MULTI


def plan_training(flags: TrainingFlags) -> Plan:
    """Decide what the flags leave open. The defaults depend on the task, the base and the rows of the dataset.

    Raises:
        UsageError: flags that say nothing of what to train, or do not go together; no such base or dataset.
        TrainingFailed: there was no dataset, and none could be curated.
    """
    ours = flags.ours
    tasks = _select(ours)
    name = MULTI if ours.task == MULTI else tasks[0].name
    check_method(flags, tasks, world_size())
    if name == MULTI:
        check_flags(ours)
    folders = {task.name: task_folder(Path(ours.work_dir), task.name) for task in tasks}
    data = {task.name: load_splits(obtain_dataset(task, ours, folders[task.name]), task) for task in tasks}
    rows = sum(len(splits["train"]) for splits in data.values())
    base = resolve_base(ours.base, list_preferred_bases(flags))
    revision = find_commit(base)
    config = load_config(base, revision)
    if is_few_shot(flags):
        preset, presets = choose_few_shot_preset()
    else:
        task = None if name == MULTI else tasks[0]
        preset, presets = choose_preset(rows, task, find_base(base), config.hidden_size, lora=bool(ours.lora_rank))
    folder = task_folder(Path(ours.work_dir), name)
    metric = MEAN_SCORE.key if name == MULTI else _choose_selection(tasks[0], data[name])
    args = _make_arguments(flags, preset, rows, config, {"output_dir": str(folder.runs),
                                                         "metric_for_best_model": metric})  # fmt: skip
    if ours.balance and args.train_sampling_strategy != "random":
        raise UsageError(
            f"--balance {ours.balance} and --train_sampling_strategy {args.train_sampling_strategy}",
            expected="one of them: each decides which rows a step takes",
            next="leave one of the two flags out",
        )
    # Before anything is built: a name that is not there should not cost minutes.
    prepare_reports(args.report_to or [], folder)
    patience = preset.patience if ours.patience is None else ours.patience
    return Plan(flags, name, tuple(tasks), data, base, revision, args, presets, patience)


def _choose_selection(task: TaskSpec, data: DatasetDict) -> str:
    """Return the key of the metric that chooses the checkpoint, where no flag names one."""
    return BY_SOURCE if take_evenly(list_sources(data["validation"])) is not None else task.primary.key


def _select(ours: FinetuneArguments) -> list[TaskSpec]:
    """Return the tasks that ``--task`` or ``--task_file`` names."""
    if not (ours.task or ours.task_file):
        raise UsageError(
            "No flag says what to train", expected="--task or --task_file", found="neither",
            next=f"--task, one of {', '.join((*TASKS, MULTI))}, or --task_file FILE for a task of your own",
        )  # fmt: skip
    if ours.task == MULTI and not ours.task_file:
        return [*TASKS.values()]
    return select_tasks(ours.task or None, Path(ours.task_file) if ours.task_file else None)


def _make_arguments(
    flags: TrainingFlags, preset: Preset, rows: int, config: PreTrainedConfig, own: Mapping[str, str]
) -> TrainingArguments:
    """Return the Trainer's arguments: those of the flags, then ``own``, the preset's and our usual ones.

    Raises:
        UsageError: flags that do not go together.
    """
    import torch
    from transformers import TrainingArguments

    given = flags.trainer
    batches_a_step = world_size() * given.get("gradient_accumulation_steps", 1)
    if "per_device_train_batch_size" in given:
        # How many steps an epoch has decides how often it is evaluated.
        preset = dataclasses.replace(preset, batch_size=given["per_device_train_batch_size"] * batches_a_step)
    on_cpu = given.get("use_cpu", False) or not torch.accelerator.is_available()
    defaults: dict[str, Any] = {
        "load_best_model_at_end": True,
        "save_total_limit": 2,
        "restore_callback_states_from_checkpoint": True,  # evaluations that have brought nothing are not forgotten
        "logging_steps": 0.1,
        "report_to": choose_report(),
        "project": PROJECT,
        "per_device_eval_batch_size": 128,
        "use_cpu": on_cpu,
        # fp16 gives NaN with ModernBERT, so never that unasked.
        "bf16": not given.get("fp16", False) and has_bf16(on_cpu, config),
        "logging_nan_inf_filter": False,  # it would hide a loss that is no number, and wait for the device to do so
        "disable_tqdm": not sys.stderr.isatty(),
        "dataloader_pin_memory": torch.cuda.is_available(),
        **({} if on_cpu or not torch.cuda.is_available() else feed_gpu(given.get("dataloader_num_workers", WORKERS))),
        **own,
        **make_trainer_arguments(preset, rows, batches_a_step, given.get("eval_strategy"), given.get("eval_steps")),
    }
    try:
        args = TrainingArguments(**(defaults | dict(given)))
    except ValueError as error:
        raise UsageError(
            "These flags of the training do not go together", found=" ".join(str(error).split()),
            next="python hubtools/finetune.py --help lists them",
        ) from error  # fmt: skip
    # Only now: what a flag leaves open, transformers fills in.
    check_evaluations(args)
    check_steps(args, rows)
    return args


def feed_gpu(workers: int) -> dict[str, Any]:
    """Return what keeps a GPU from waiting: batches made ahead, copied without waiting, one kernel for all weights."""
    return {
        "dataloader_num_workers": workers,
        "dataloader_persistent_workers": workers > 0,  # torch has none to keep otherwise
        "accelerator_config": {"non_blocking": True},
        "optim": "adamw_torch_fused",
    }


def has_bf16(on_cpu: bool, config: PreTrainedConfig) -> bool:
    """Return whether mixed precision is exact enough and faster here.

    On a CPU that multiplies bf16 it is: 2.5 times faster at base size. A small encoder gains little there.
    """
    import torch

    if not on_cpu:
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    features: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # new in torch 2.11
    return bool((features.get("avx512_bf16") or features.get("amx_bf16")) and config.hidden_size >= 512)
