"""The commands that train several times: ``hubtools search``, ``cross-validate``, ``repeat`` and ``label-errors``."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from hubtools.errors import UsageError
from hubtools.option_groups import omit, reword, takes_groups
from hubtools.options import HubOptions, Json, TaskOptions, TrainingOptions, WorkOptions, show
from hubtools.records import Record
from hubtools.task import TaskSpec
from hubtools.training.flags import parse_training_flags

R = TypeVar("R", bound=Record)


@takes_groups
def search(
    context: typer.Context,
    task: TaskOptions,
    *,
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
    training: Annotated[TrainingOptions, omit("jobs")],
    hub: HubOptions,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Search for better training flags with Optuna, by the primary metric on validation; goes on where it stopped.

    Every trial is a training. Every further flag goes to all of them, as with hubtools finetune, and is not searched.
    The last line of stdout is the command that trains the best.
    """
    task, argv = task.take_flags(context.args)
    tasks = task.select()
    hub.connect()
    from hubtools.studies.search import search_flags
    from hubtools.studies.tables import format_search

    training = replace(training, flags=parse_training_flags(argv))
    reports = _run_studies(tasks, lambda spec: search_flags(spec, work, training, trials, ranges, sampler_seed))
    lines = [
        line
        for spec, report in reports
        for line in (
            *format_search(report),
            _format_finetune_command(context, spec, [*(report.best.flags if report.best else ()), *report.flags]),
        )
    ]
    _show(reports, json_output, lines)


@takes_groups
def cross_validate(
    context: typer.Context,
    task: TaskOptions,
    *,
    folds: Annotated[int, typer.Option(min=2, help="Folds, each held out once.")] = 5,
    by: Annotated[
        Literal["source"] | None,
        typer.Option(
            help="Leave out each source of the dataset instead of folds, and score it alone, at the threshold of that "
            "training: what to expect of a collection that training never saw."
        ),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE[,SOURCE]",
            help="With --by source: leave out this source alone, or several together. Repeatable. [default: each]",
        ),
    ] = None,
    training: Annotated[TrainingOptions, omit("jobs"), reword(seed="Seed of the folds and of training.")],
    hub: HubOptions,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Train once a fold of the training and validation rows, and score what it holds out; never the test split.

    Groups stay whole, classes are divided evenly, and what joined the training split is never held out. Every further
    flag goes to the training, as with hubtools finetune.
    """
    task, argv = task.take_flags(context.args)
    tasks = task.select()
    given = context.get_parameter_source("folds")
    folds_are_named = given is not None and given.name == "COMMANDLINE"
    if (leave_out and not by) or (by and folds_are_named):
        raise UsageError(
            "Folds are of rows, and sources are left out whole",
            expected="--folds alone, or --by source with --leave-out",
            found="--folds and --by source" if by else "--leave-out alone",
            next=f"hubtools cross-validate {tasks[0].name} --by source",
        )
    hub.connect()
    from hubtools.studies.by_source import cross_validate_by_source
    from hubtools.studies.cross_validation import cross_validate_task
    from hubtools.studies.tables import format_folds, format_sources

    training = replace(training, flags=parse_training_flags(argv))
    if by:
        found = _run_studies(tasks, lambda spec: cross_validate_by_source(spec, work, training, leave_out or ()))
        _show(found, json_output, [line for _, report in found for line in format_sources(report)])
        return
    reports = _run_studies(tasks, lambda spec: cross_validate_task(spec, work, training, folds))
    _show(reports, json_output, [line for _, report in reports for line in format_folds(report)])


@takes_groups
def repeat(
    context: typer.Context,
    task: TaskOptions,
    *,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings: with --seed, and the numbers after it.")] = 3,
    training: Annotated[TrainingOptions, omit("jobs"), reword(seed="The first seed, whose model is kept.")],
    hub: HubOptions,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Train with several seeds, and say how far the primary metric on validation spreads.

    Every further flag goes to the training, as with hubtools finetune. The last line of stdout is the command that
    takes the model of the first seed over.
    """
    task, argv = task.take_flags(context.args)
    tasks = task.select()
    hub.connect()
    from hubtools.studies.repetition import repeat_training
    from hubtools.studies.tables import format_seeds

    training = replace(training, flags=parse_training_flags(argv))
    reports = _run_studies(tasks, lambda spec: repeat_training(spec, work, training, seeds))
    lines = [
        line
        for spec, report in reports
        for line in (*format_seeds(report), _format_finetune_command(context, spec, report.flags))
    ]
    _show(reports, json_output, lines)


@takes_groups
def label_errors(
    context: typer.Context,
    task: TaskOptions,
    *,
    folds: Annotated[int, typer.Option(min=2, help="Folds, each answered by a model of the others.")] = 5,
    training: Annotated[TrainingOptions, omit("jobs"), reword(seed="Seed of the folds and of training.")],
    hub: HubOptions,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Find rows whose label is likely wrong, as models say that were not trained on them; never of the test split.

    Writes them into the work folder, as a file whose column 'correction' you fill in, and hubtools curate
    --corrections takes. Every further flag goes to the training, as with hubtools finetune.
    """
    task, argv = task.take_flags(context.args)
    tasks = task.select()
    hub.connect()
    from hubtools.studies.label_errors import find_label_errors
    from hubtools.studies.tables import format_label_errors

    training = replace(training, flags=parse_training_flags(argv))
    reports = _run_studies(tasks, lambda spec: find_label_errors(spec, work, training, folds))
    _show(reports, json_output, [line for _, report in reports for line in format_label_errors(report)])


# Registered by cli.py, which passes further flags on.
COMMANDS = (search, cross_validate, repeat, label_errors)

# Parameters that hubtools finetune has as well.
_SHARED = ("task_file", "base", "processes", "seed", "hub", "hub_dir", "mirrors", "work_dir")


def _run_studies(tasks: Sequence[TaskSpec], study: Callable[[TaskSpec], R | None]) -> list[tuple[TaskSpec, R]]:
    """Return each task with the report of its study; a dry run has none."""
    # One after the other: trainings side by side would share the cores, and their seconds would not compare.
    return [(task, report) for task in tasks if (report := study(task))]


def _show(reports: Sequence[tuple[TaskSpec, Record]], as_json: bool, lines: list[str]) -> None:
    show({task.name: report for task, report in reports}, as_json, lines)


def _format_finetune_command(context: typer.Context, task: TaskSpec, flags: Sequence[str]) -> str:
    """Return the command that makes this training the task's own, with what this command line shares with it."""
    # The same fingerprint as in the study: its model is then copied, and not trained again.
    words = ["hubtools", "finetune", task.name, *flags]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name in _SHARED and source is not None and source.name == "COMMANDLINE":
            value = context.params[name]
            # A flag that is repeated is written once for each of its values.
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [parameter.opts[0], str(one)]
    return shlex.join(words)
