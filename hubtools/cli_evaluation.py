"""The commands that score models: ``hubtools evaluate``, ``robustness`` and ``compare``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import typer

from hubtools.errors import UsageError
from hubtools.option_groups import omit, takes_groups
from hubtools.options import (
    DryRun,
    EvaluationOptions,
    ExternalDataOptions,
    HubOptions,
    Json,
    MultitaskOptions,
    RepoOptions,
    TaskOptions,
    WorkOptions,
    show,
)
from hubtools.records.comparison import OtherDataReport
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS, select_tasks

# Options that say how other data are laid out.
_COLUMNS = ("text_column", "label_column", "tokens_column", "tags_column")


@takes_groups
def evaluate(
    context: typer.Context,
    task: MultitaskOptions,
    options: EvaluationOptions,
    data: ExternalDataOptions,
    *,
    model: Annotated[
        str | None,
        typer.Option(metavar="REPO", help="With --dataset: score this model instead of the work folder's."),
    ] = None,
    repos: Annotated[RepoOptions, omit("dataset_name", "space_name")],
    hub: HubOptions,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Score the test split once: predictions.parquet, metrics.json, thresholds.json, plots.

    With --dataset score somebody else's data instead, as a section of its own on the card.
    """
    tasks = task.select()
    _need_dataset(context, data.dataset, ("model", "split", "label_maps", *_COLUMNS))
    test_split_flags = _list_flags_used(context, ("baseline", "from_predictions", "target_fpr", "target_recall"))
    if data.dataset is not None and (len(tasks) > 1 or test_split_flags):
        raise UsageError(
            "Other data are scored for one task, without baselines and targets",
            expected="one of " + ", ".join(TASKS),
            found=", ".join(test_split_flags) or str(task.task),
            next=f"hubtools evaluate {tasks[0].name} --dataset {data.dataset}",
        )
    # With several tasks it is for those that it suits.
    if options.baseline and not any(t.head.few_shot for t in tasks):
        raise UsageError(
            f"SetFit labels whole texts, and {tasks[0].name!r} asks for spans",
            expected="a task that labels texts as a whole",
            found=f"--baseline {options.baseline}",
            next=f"hubtools evaluate {tasks[0].name}",
        )
    hub.connect()
    from hubtools import api
    from hubtools.pipeline import check_targets

    if data.dataset is not None:
        from hubtools.evaluation.other_data import OtherData, evaluate_on

        [spec] = tasks
        report = evaluate_on(
            spec,
            work.folder(spec),
            OtherData(data.dataset, data.columns, data.split, data.skip_bad_rows),
            model=model,
            label_maps=data.label_maps,
            note=work.note,
        )
        show(report, json_output, _format_other_data(spec, report))
        return
    check_targets(tasks, options)  # before the first model is loaded
    metrics = {t.name: api.evaluate(t, work, options, repos) for t in tasks}
    lines = [
        f"{name}: {m.primary.title} {m.primary.value:.3f} [{m.primary.low:.3f}, {m.primary.high:.3f}]"
        for name, m in metrics.items()
    ]
    show(metrics, json_output, lines)


def _list_flags_used(context: typer.Context, parameters: Sequence[str]) -> list[str]:
    """Return the flags of those ``parameters`` that stand on the command line."""
    # A value may come from a configuration or be a default: only who types a flag means this command by it.
    flags = {str(parameter.name): parameter.opts[-1] for parameter in context.command.params}
    sources = {name: context.get_parameter_source(name) for name in parameters}
    return [flags[name] for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def _need_dataset(context: typer.Context, dataset: str | None, parameters: Sequence[str]) -> None:
    """Refuse flags that say how --dataset is read, without it; a configuration may hold them for other commands."""
    flags = _list_flags_used(context, parameters)
    if dataset is None and flags:
        raise UsageError(
            "The test split is read and scored as it is",
            expected="--dataset with " + ", ".join(flags),
            found=", ".join(flags) + " alone",
            next="name the data with --dataset",
        )


def _format_other_data(task: TaskSpec, report: OtherDataReport) -> list[str]:
    """Return the rows of other data that were scored, and the primary metric, or where they have none the accuracy."""
    from hubtools.evaluation.tables import describe_rows, format_score

    # Other data may lack what the primary metric needs, such as one of two classes.
    title, score = task.primary.title, getattr(report.scores, task.primary.key, None)
    if score is None:  # undefined where a class has no row
        title, score = "accuracy", getattr(report.scores, "accuracy", None)
    return [describe_rows(report), f"{report.task}: {title} {format_score(score)}"]


@takes_groups
def compare(
    context: typer.Context,
    task: TaskOptions,
    model: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Two or more: repos (owner/name) or folders.")],
    data: ExternalDataOptions,
    *,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown, for documents.")] = False,
    hub: HubOptions,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Several models side by side on one test set, with intervals and paired tests.

    Without --dataset it is the test split of the work folder.
    """
    if task.task_file is not None:  # TASK may be left out: then the first model stands in its place
        [described] = select_tasks(None, task.task_file)
        if task.task not in (None, "all", described.name):
            task, model = dataclasses.replace(task, task=None), [str(task.task), *model]
    [spec, *others] = task.select()
    if others:
        raise UsageError(
            "Models are compared for one task",
            expected="one of " + ", ".join(TASKS),
            found=str(task.task),
            next=f"hubtools compare {spec.name} MODEL MODEL",
        )
    _need_dataset(context, data.dataset, ("split", *_COLUMNS))
    hub.connect()
    from hubtools.evaluation.compare import compare as compare_models
    from hubtools.evaluation.other_data import OtherData
    from hubtools.evaluation.tables import describe_comparison

    other = None
    if data.dataset is not None:
        other = OtherData(data.dataset, data.columns, data.split, data.skip_bad_rows)
    report = compare_models(
        spec,
        model,
        work.folder(spec),
        data=other,
        label_maps=data.label_maps,
        note=work.note,
    )
    show(report, json_output, describe_comparison(spec, report, markdown=markdown))


@takes_groups
def robustness(
    task: TaskOptions,
    *,
    limit: Annotated[
        int,
        typer.Option(help="Most rows of a kind, such as attacks, that each part asks; of long documents a quarter."),
    ] = 200,
    seed: Annotated[int, typer.Option(help="Seed of which rows these are, and of how they are changed.")] = 0,
    dry_run: DryRun = False,
    hub: HubOptions,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Ask the scored model what its test split does not: changed and hidden texts, long documents, other names.

    Written into metrics.json, for a section of the card; the model's scores stay as they are.
    """
    tasks = task.select()
    hub.connect()
    from hubtools.evaluation.robustness.measure import measure_robustness, plan_probes
    from hubtools.evaluation.tables import describe_robustness

    if dry_run:
        asked = {spec.name: plan_probes(spec, work.folder(spec), limit, seed).count_texts() for spec in tasks}
        lines = [f"{name}: {part}: {texts:,} texts" for name, parts in asked.items() for part, texts in parts.items()]
        show(asked, json_output, lines)
        return
    reports = {
        spec.name: measure_robustness(spec, work.folder(spec), limit=limit, seed=seed, note=work.note) for spec in tasks
    }
    show(reports, json_output, [line for report in reports.values() for line in describe_robustness(report)])


COMMANDS = (evaluate, robustness, compare)
