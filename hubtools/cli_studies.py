"""The commands that train several times: ``hubtools search``, ``cross-validate`` and ``repeat``."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hubtools.connection import connect
from hubtools.options import Base, DryRun, Hub, HubDir, Json, Mirror, Processes, Seed, TaskArgument, WorkDir, show
from hubtools.task import TaskSpec
from hubtools.tasks import tasks_named
from hubtools.training.flags import parse_training_flags
from hubtools.workdir import DEFAULT


def search(
    context: typer.Context,
    task: TaskArgument,
    trials: Annotated[int, typer.Option(min=1, help="Trials with a score, besides the training by defaults.")] = 20,
    ranges: Annotated[
        Path | None,
        typer.Option(
            help="YAML file of training flags and what each may be: learning_rate: {low: 1e-5, high: 1e-3, log: true}, "
            "or a list of values. [default: learning rate, epochs, batch size, weight decay and warm-up around the "
            "defaults]"
        ),
    ] = None,
    sampler_seed: Annotated[int, typer.Option(help="Seed of what Optuna draws; --seed is that of each training.")] = 0,
    base: Base = None,
    processes: Processes = 1,
    seed: Seed = 0,
    dry_run: DryRun = False,
    hub: Hub = None,
    hub_dir: HubDir = None,
    mirror: Mirror = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """Search for better training flags with Optuna, by the primary metric on validation; goes on where it stopped.

    Every trial is a training. Every further flag goes to all of them, as with hubtools finetune, and is not searched.
    The last line of stdout is the command that trains the best.
    """
    tasks = tasks_named(task)
    connect(hub, mirror or (), hub_dir)
    from hubtools.settings import Settings
    from hubtools.studies import search as searching
    from hubtools.studies.tables import search_lines

    settings = Settings(
        work_dir=work_dir,
        base=base,
        processes=processes,
        seed=seed,
        dry_run=dry_run,
        training=parse_training_flags(context.args),
    )

    def lines(spec: TaskSpec, report: dict[str, Any]) -> list[str]:
        return [*search_lines(report), _finetune(context, spec, [*report["best"]["flags"], *report["flags"]])]

    _study(tasks, lambda spec: searching.search(spec, settings, trials, ranges, sampler_seed), lines, json_output)


def cross_validate(
    context: typer.Context,
    task: TaskArgument,
    folds: Annotated[int, typer.Option(min=2, help="Folds, each held out once.")] = 5,
    base: Base = None,
    processes: Processes = 1,
    seed: Annotated[int, typer.Option(help="Seed of the folds and of training.")] = 0,
    dry_run: DryRun = False,
    hub: Hub = None,
    hub_dir: HubDir = None,
    mirror: Mirror = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """Train once a fold of the training and validation rows, and score what it holds out; never the test split.

    Groups stay whole, classes are divided evenly, and what joined the training split is never held out. Every further
    flag goes to the training, as with hubtools finetune.
    """
    tasks = tasks_named(task)
    connect(hub, mirror or (), hub_dir)
    from hubtools.settings import Settings
    from hubtools.studies.cross_validation import cross_validate as validated
    from hubtools.studies.tables import folds_lines

    settings = Settings(
        work_dir=work_dir,
        base=base,
        processes=processes,
        seed=seed,
        dry_run=dry_run,
        training=parse_training_flags(context.args),
    )
    _study(tasks, lambda spec: validated(spec, settings, folds), lambda _, report: folds_lines(report), json_output)


def repeat(
    context: typer.Context,
    task: TaskArgument,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings: with --seed, and the numbers after it.")] = 3,
    base: Base = None,
    processes: Processes = 1,
    seed: Annotated[int, typer.Option(help="The first seed, whose model is kept.")] = 0,
    dry_run: DryRun = False,
    hub: Hub = None,
    hub_dir: HubDir = None,
    mirror: Mirror = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """Train with several seeds, and say how far the primary metric on validation spreads.

    Every further flag goes to the training, as with hubtools finetune. The last line of stdout is the command that
    takes the model of the first seed over.
    """
    tasks = tasks_named(task)
    connect(hub, mirror or (), hub_dir)
    from hubtools.settings import Settings
    from hubtools.studies.repetition import repeat as repeated
    from hubtools.studies.tables import seeds_lines

    settings = Settings(
        work_dir=work_dir,
        base=base,
        processes=processes,
        seed=seed,
        dry_run=dry_run,
        training=parse_training_flags(context.args),
    )

    def lines(spec: TaskSpec, report: dict[str, Any]) -> list[str]:
        return [*seeds_lines(report), _finetune(context, spec, report["flags"])]

    _study(tasks, lambda spec: repeated(spec, settings, seeds), lines, json_output)


COMMANDS = (search, cross_validate, repeat)

_SHARED = ("base", "processes", "seed", "hub", "hub_dir", "mirror", "work_dir")  # with hubtools finetune


def _study(
    tasks: Sequence[TaskSpec], study: Callable[[TaskSpec], dict[str, Any]],
    lines: Callable[[TaskSpec, dict[str, Any]], list[str]], as_json: bool,
) -> None:  # fmt: skip
    """Print what each task's study found; a dry run finds nothing."""
    found = {task.name: report for task in tasks if (report := study(task))}
    show(found, as_json, [line for task in tasks if task.name in found for line in lines(task, found[task.name])])


def _finetune(context: typer.Context, task: TaskSpec, flags: Sequence[str]) -> str:
    """The command that makes this training the task's own, with what this command line shares with it."""
    words = ["hubtools", "finetune", task.name, *flags]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name in _SHARED and source is not None and source.name == "COMMANDLINE":
            value = context.params[name]
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [parameter.opts[0], str(one)]
    return shlex.join(words)
