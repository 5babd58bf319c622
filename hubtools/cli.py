"""The ``hubtools`` command: parse, call, print.

Data goes to stdout, notes and progress to stderr. Heavy libraries are imported inside the commands, after
``connect`` has set the environment that they read; ``--help`` loads none of them.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hubtools import __version__
from hubtools.cli_studies import COMMANDS
from hubtools.connection import connect
from hubtools.errors import HubtoolsError, HubUnavailable, StorageError, UsageError
from hubtools.options import (
    PASS_ON,
    AcceptLicense,
    Base,
    CreatePr,
    Dataset,
    DatasetName,
    DryRun,
    Gated,
    GroupColumn,
    Hub,
    HubDir,
    Jobs,
    Json,
    LabelColumn,
    LabelMap,
    LabelMaps,
    LabelSets,
    License,
    Mirror,
    ModelName,
    Namespace,
    Private,
    Processes,
    Seed,
    SkipBadRows,
    SourceOption,
    SpaceName,
    Split,
    Supplements,
    TagsColumn,
    TargetFpr,
    TargetRecall,
    TaskArgument,
    TaskOrMulti,
    TextColumn,
    TokensColumn,
    Without,
    WorkDir,
    show,
)
from hubtools.records import to_json
from hubtools.records.comparison import OtherDataReport
from hubtools.tasks import MULTI, MULTI_MODEL, TASKS, tasks_named
from hubtools.training.arguments import FinetuneArguments
from hubtools.workdir import DEFAULT

app = typer.Typer(
    help="From public data to four published classifiers on the Hugging Face Hub: "
    "curate, push, fine-tune, evaluate, release, demo.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
hub_app = typer.Typer(help="The embedded Hub on its own.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(hub_app, name="hub")


def _training_flags() -> str:
    """The training's own flags, but those that the command has itself, as paragraphs of its help."""
    told = {"task", "base", "work_dir", "hub", "fingerprint"}
    lines = [
        textwrap.fill(field.metadata["help"], 78, initial_indent=f"--{field.name:<20}", subsequent_indent=" " * 22)
        for field in dataclasses.fields(FinetuneArguments)
        if field.name not in told
    ]
    return "\n".join(["\b", "Flags of the training, beside those of transformers' TrainingArguments:", *lines])


def _version(asked: bool) -> None:
    if asked:
        print(f"hubtools {__version__}")
        raise typer.Exit


@app.callback()
def configuration(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="YAML file that holds what the flags hold; flags win.")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    if config is not None:
        context.default_map = _defaults(config, context)


def _defaults(path: Path, context: typer.Context) -> dict[str, Any]:
    """Defaults of each command's options from a YAML file; a key that no command has is an error."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"Configuration {path}", expected="a YAML file", found=str(error).splitlines()[0], next="mend the file"
        ) from error
    if not isinstance(content, dict):
        raise UsageError(
            f"Configuration {path}", expected="flags and values, such as `hub: local`", found=repr(content)[:80],
            next="mend the file",
        )  # fmt: skip
    flags = {str(key).replace("-", "_"): value for key, value in content.items()}
    known: set[str] = set()

    def defaults(command: Any) -> dict[str, Any]:
        if hasattr(command, "commands"):
            return {name: defaults(below) for name, below in command.commands.items()}
        # A flag is known by its long name, a parameter by its Python name: `label-set` fills `label_sets`.
        names = {o.lstrip("-").replace("-", "_"): parameter for parameter in command.params for o in parameter.opts}
        known.update(names)
        found = {parameter: flags[flag] for flag, parameter in names.items() if flag in flags}
        return {
            parameter.name: [value] if parameter.multiple and not isinstance(value, list) else value
            for parameter, value in found.items()
        }

    found = defaults(context.command)
    unknown = sorted(set(flags) - known)
    if unknown:
        raise UsageError(
            f"Configuration {path} has unknown keys: {', '.join(unknown)}",
            expected="flags of the commands: " + ", ".join(sorted(known - {"TASK", "REPO", "help"})),
            next="mend the file; flags of the training follow the command instead",
        )
    return found


def _of_all(task: str) -> list[Any]:
    """The tasks of a command that knows ``multi``, which is the four of them."""
    return tasks_named("all" if task == MULTI else task)


def _settings(**given: Any) -> Any:
    """What was given, as the stages take it; flags that may be repeated are lists."""
    from hubtools.settings import Settings

    said: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in given.items() if value is not None
    }
    return Settings(**said)


def _columns(**given: Any) -> Any:
    """How the rows of a user's own data are laid out."""
    from hubtools.curation.own import Columns

    return Columns(**given)


def _done(done: Any) -> dict[str, Any]:
    return dataclasses.asdict(done)


@app.command()
def check(
    task: TaskArgument = "all",
    source: SourceOption = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    label_map: LabelMap = None,
    group_column: GroupColumn = None,
    tokens_column: TokensColumn = None,
    tags_column: TagsColumn = None,
    label_set: LabelSets = None,
    skip_bad_rows: SkipBadRows = False,
    supplement: Supplements = None,
    without: Without = None,
    hub: Hub = None,
    hub_dir: HubDir = None,
    mirror: Mirror = None,
    work_dir: WorkDir = DEFAULT,
    namespace: Namespace = None,
    base: Base = None,
    json_output: Json = False,
) -> None:
    """Preflight: token, sources with their columns, labels and classes, base model, disk and device.

    Before anything costs time; with --source, of your own data.
    """
    tasks = tasks_named(task)
    connect(hub, mirror or (), hub_dir)
    from hubtools.preflight import preflight

    settings = _settings(
        columns=_columns(
            text=text_column, label=label_column, label_map=label_map, group=group_column, tokens=tokens_column,
            tags=tags_column,
        ),
        work_dir=work_dir, namespace=namespace, base=base, source=source, label_sets=label_set,
        skip_bad_rows=skip_bad_rows, supplements=supplement, without=without,
    )  # fmt: skip
    findings = preflight(tasks, settings)
    show(findings, json_output, [f"{'ok  ' if f['ok'] else 'FAIL'}  {f['what']}: {f['found']}" for f in findings])
    if not all(f["ok"] for f in findings):
        raise typer.Exit(1)


@app.command()
def curate(
    task: TaskArgument,
    source: SourceOption = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    label_map: LabelMap = None,
    group_column: GroupColumn = None,
    tokens_column: TokensColumn = None,
    tags_column: TagsColumn = None,
    license: License = None,
    label_set: LabelSets = None,
    skip_bad_rows: SkipBadRows = False,
    supplement: Supplements = None,
    without: Without = None,
    seed: Seed = 0,
    hub: Hub = None,
    hub_dir: HubDir = None,
    mirror: Mirror = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """Source to local dataset and facts.json."""
    tasks = tasks_named(task)
    connect(hub, mirror or (), hub_dir)
    from hubtools.pipeline import curate_task

    settings = _settings(
        columns=_columns(
            text=text_column, label=label_column, label_map=label_map, group=group_column, tokens=tokens_column,
            tags=tags_column,
        ),
        work_dir=work_dir, source=source, license=license, label_sets=label_set, skip_bad_rows=skip_bad_rows,
        supplements=supplement, without=without, seed=seed,
    )  # fmt: skip
    facts = {t.name: curate_task(t, settings) for t in tasks}
    show(facts, json_output, [str(settings.folder(t).dataset) for t in tasks])


@app.command()
def push_dataset(
    task: TaskArgument,
    source: SourceOption = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    label_map: LabelMap = None,
    group_column: GroupColumn = None,
    tokens_column: TokensColumn = None,
    tags_column: TagsColumn = None,
    license: License = None,
    label_set: LabelSets = None,
    skip_bad_rows: SkipBadRows = False,
    supplement: Supplements = None,
    without: Without = None,
    seed: Seed = 0,
    dataset_name: DatasetName = None,
    namespace: Namespace = None,
    private: Private = False,
    accept_license: AcceptLicense = False,
    gated: Gated = None,
    create_pr: CreatePr = False,
    dry_run: DryRun = False,
    hub: Hub = None,
    hub_dir: HubDir = None,
    mirror: Mirror = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """Curate where needed, write the card, push in one commit, tag."""
    tasks = tasks_named(task)
    connect(hub, mirror or (), hub_dir)
    from hubtools.pipeline import push_datasets

    settings = _settings(
        columns=_columns(
            text=text_column, label=label_column, label_map=label_map, group=group_column, tokens=tokens_column,
            tags=tags_column,
        ),
        work_dir=work_dir, source=source, license=license, label_sets=label_set, skip_bad_rows=skip_bad_rows,
        supplements=supplement, without=without, seed=seed, dataset_name=dataset_name,
        namespace=namespace, private=private, accept_license=accept_license, gated=gated, create_pr=create_pr,
        dry_run=dry_run,
    )  # fmt: skip
    _print_pushed(push_datasets(tasks, settings), json_output)


def _print_pushed(pushed: dict[str, Any], as_json: bool) -> None:
    # Of a push its address, of a dry run the diff of the card.
    lines = [done.url if hasattr(done, "url") else done.card.rstrip("\n") for done in pushed.values()]
    show({name: _done(done) for name, done in pushed.items()}, as_json, [line for line in lines if line])


@app.command(context_settings=PASS_ON, epilog=_training_flags())
def finetune(
    context: typer.Context,
    task: TaskOrMulti,
    base: Base = None,
    processes: Processes = 1,
    jobs: Jobs = 1,
    seed: Seed = 0,
    dry_run: DryRun = False,
    hub: Hub = None,
    hub_dir: HubDir = None,
    mirror: Mirror = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """Fine-tune by accelerate launch hubtools/finetune.py.

    Every further flag goes to it: those below, --learning_rate 5e-5, --num_train_epochs 2, --gradient_checkpointing,
    --report_to trackio, and all others of transformers' TrainingArguments. --method setfit --shots 8 trains on 8 rows
    of each class.
    """
    tasks = _of_all(task)
    connect(hub, mirror or (), hub_dir)
    from hubtools.launch import finetune_multi, finetune_tasks

    settings = _settings(
        work_dir=work_dir, base=base, processes=processes, jobs=jobs, seed=seed, dry_run=dry_run,
        training=tuple(context.args),
    )  # fmt: skip
    if task == MULTI:
        done = {MULTI: finetune_multi(settings)}
    else:
        done = {t.name: known for t, known, _ in finetune_tasks(tasks, settings)}
    show(done, json_output, [] if dry_run else [str(settings.folder(t).model) for t in tasks])


for command in COMMANDS:
    app.command(context_settings=PASS_ON)(command)


@app.command()
def evaluate(
    context: typer.Context,
    task: TaskOrMulti,
    target_fpr: TargetFpr = None,
    target_recall: TargetRecall = None,
    from_predictions: Annotated[
        bool,
        typer.Option("--from-predictions", help="Compute every number again from the predictions, without the model."),
    ] = False,
    baseline: Annotated[
        Literal["setfit"] | None,
        typer.Option(help="A further baseline on the card that costs time: SetFit on 8 rows a class (not for pii)."),
    ] = None,
    dataset: Dataset = None,
    split: Split = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    tokens_column: TokensColumn = None,
    tags_column: TagsColumn = None,
    label_map: LabelMaps = None,
    skip_bad_rows: SkipBadRows = False,
    model: Annotated[
        str | None,
        typer.Option(metavar="REPO", help="With --dataset: score this model instead of the work folder's."),
    ] = None,
    namespace: Namespace = None,
    model_name: ModelName = None,
    hub: Hub = None,
    hub_dir: HubDir = None,
    mirror: Mirror = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """Score the test split once: predictions.parquet, metrics.json, thresholds.json, plots.

    With --dataset score somebody else's data instead, as a section of its own on the card.
    """
    tasks = _of_all(task)
    _of_dataset(context, dataset, ("model", "split", "label_map", *_COLUMNS))
    given = _typed(context, ("baseline", "from_predictions", "target_fpr", "target_recall"))
    if dataset is not None and (len(tasks) > 1 or given):
        raise UsageError(
            "Other data are scored for one task, without baselines and targets", expected="one of " + ", ".join(TASKS),
            found=", ".join(given) or task, next=f"hubtools evaluate {tasks[0].name} --dataset {dataset}",
        )  # fmt: skip
    if baseline and [t.kind for t in tasks] == ["token"]:
        raise UsageError(
            f"SetFit labels whole texts, and {task!r} asks for spans", expected="a task such as jailbreak",
            found="--baseline setfit", next=f"hubtools evaluate {task}",
        )  # fmt: skip
    connect(hub, mirror or (), hub_dir)
    from hubtools.pipeline import check_targets, evaluate_task

    settings = _settings(
        work_dir=work_dir, target_fpr=target_fpr, target_recall=target_recall, namespace=namespace,
        model_name=model_name, baselines=(baseline,) if baseline else (),
    )  # fmt: skip
    if dataset is not None:
        from hubtools.evaluation.other_data import evaluate_on

        [spec] = tasks
        report = evaluate_on(
            spec, settings.folder(spec), dataset, split=split, model=model, label_map=label_map or (),
            columns=_columns(text=text_column, label=label_column, tokens=tokens_column, tags=tags_column),
            skip_bad_rows=skip_bad_rows, note=settings.note,
        )  # fmt: skip
        show(to_json(report), json_output, _external_lines(spec.primary.key, spec.primary.title, report))
        return
    check_targets(tasks, settings)
    metrics = {t.name: evaluate_task(t, settings, from_predictions) for t in tasks}
    lines = [_score_line(name, to_json(m.primary)) for name, m in metrics.items()]
    show({name: to_json(m) for name, m in metrics.items()}, json_output, lines)


_COLUMNS = ("text_column", "label_column", "tokens_column", "tags_column")


def _typed(context: typer.Context, flags: Sequence[str]) -> list[str]:
    """Those of ``flags`` that stand on the command line, as they stand there."""
    sources = {flag: context.get_parameter_source(flag) for flag in flags}
    return ["--" + flag.replace("_", "-") for flag, found in sources.items() if found and found.name == "COMMANDLINE"]


def _of_dataset(context: typer.Context, dataset: str | None, flags: Sequence[str]) -> None:
    """Refuse flags that say how --dataset is read, without it; a configuration may hold them for other commands."""
    typed = _typed(context, flags)
    if dataset is None and typed:
        raise UsageError(
            "The test split is read and scored as it is", expected="--dataset with " + ", ".join(typed),
            found=", ".join(typed) + " alone", next="name the data with --dataset",
        )  # fmt: skip


def _external_lines(key: str, title: str, report: OtherDataReport) -> list[str]:
    from hubtools.evaluation.tables import rows_line, score_text

    score = getattr(report.scores, key, None)
    if score is None:
        title, score = "accuracy", getattr(report.scores, "accuracy", None)
    return [rows_line(report), f"{report.task}: {title} {score_text(score)}"]


@app.command()
def compare(
    context: typer.Context,
    task: TaskArgument,
    model: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Two or more: repos (owner/name) or folders.")],
    dataset: Dataset = None,
    split: Split = None,
    text_column: TextColumn = None,
    label_column: LabelColumn = None,
    tokens_column: TokensColumn = None,
    tags_column: TagsColumn = None,
    label_map: LabelMaps = None,
    skip_bad_rows: SkipBadRows = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown, for documents.")] = False,
    hub: Hub = None,
    hub_dir: HubDir = None,
    mirror: Mirror = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """Several models side by side on one test set, with intervals and paired tests.

    Without --dataset it is the test split of the work folder.
    """
    [spec, *others] = tasks_named(task)
    if others:
        raise UsageError(
            "Models are compared for one task", expected="one of " + ", ".join(TASKS), found=task,
            next=f"hubtools compare {spec.name} MODEL MODEL",
        )  # fmt: skip
    _of_dataset(context, dataset, ("split", *_COLUMNS))
    connect(hub, mirror or (), hub_dir)
    from hubtools.evaluation.compare import compare as compared
    from hubtools.evaluation.tables import comparison_lines

    settings = _settings(work_dir=work_dir)
    report = compared(
        spec, model, settings.folder(spec), dataset=dataset, split=split, label_map=label_map or (),
        columns=_columns(text=text_column, label=label_column, tokens=tokens_column, tags=tags_column),
        skip_bad_rows=skip_bad_rows, note=settings.note,
    )  # fmt: skip
    show(to_json(report), json_output, comparison_lines(spec, report, markdown=markdown))


def _score_line(name: str, primary: dict[str, Any]) -> str:
    return f"{name}: {primary['title']} {primary['value']:.3f} [{primary['low']:.3f}, {primary['high']:.3f}]"


@app.command()
def model_card(
    task: TaskOrMulti,
    lint: Annotated[
        bool, typer.Option("--lint", help="Write nothing: say whether the Hub would take the card that is there.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: fail where the card is not what its files say now.")
    ] = False,
    namespace: Namespace = None,
    model_name: ModelName = None,
    hub: Hub = None,
    hub_dir: HubDir = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """Render and lint the card from files; needs no GPU."""
    tasks = _of_all(task)
    settings = _settings(work_dir=work_dir, namespace=namespace, model_name=model_name)
    if check or not lint:  # whose repo it is, the Hub knows
        connect(hub, (), hub_dir)
    from hubtools.pipeline import model_card_multi, model_card_task, model_repo, multi_repo
    from hubtools.publishing.model import check_card
    from hubtools.publishing.multitask import check_multitask_card

    def card(spec: Any) -> Path:
        if lint or check:
            return check_card(spec, settings.folder(spec), model_repo(spec, settings) if check else None)
        return model_card_task(spec, settings)

    if task != MULTI:
        cards = {t.name: str(card(t)) for t in tasks}
    elif lint or check:
        cards = {MULTI: str(check_multitask_card(work_dir, multi_repo(settings) if check else None))}
    else:
        cards = {MULTI: str(model_card_multi(settings))}
    show(cards, json_output, list(cards.values()))


@app.command()
def push_model(
    task: TaskOrMulti,
    namespace: Namespace = None,
    model_name: ModelName = None,
    private: Private = False,
    create_pr: CreatePr = False,
    dry_run: DryRun = False,
    hub: Hub = None,
    hub_dir: HubDir = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """Release: one commit, a tag, then load it back and compare its answers."""
    tasks = _of_all(task)
    connect(hub, (), hub_dir)
    from hubtools.pipeline import push_model_task, push_multi_model

    settings = _settings(
        work_dir=work_dir, namespace=namespace, model_name=model_name, private=private, create_pr=create_pr,
        dry_run=dry_run,
    )  # fmt: skip
    multi = task == MULTI
    pushed = {MULTI: push_multi_model(settings)} if multi else {t.name: push_model_task(t, settings) for t in tasks}
    _print_pushed(pushed, json_output)


@app.command()
def verify(
    repo: Annotated[str, typer.Argument(metavar="REPO", help="A published model, owner/name.")],
    task: Annotated[str | None, typer.Option(help="Its task. [default: by its name]")] = None,
    revision: Annotated[str, typer.Option(help="Commit, tag or branch.")] = "main",
    hub: Hub = None,
    hub_dir: HubDir = None,
    json_output: Json = False,
) -> None:
    """Download a published model and check its answers against its own predictions.parquet."""
    begins = {**{t: t for t in TASKS}, MULTI_MODEL.split("{")[0]: MULTI}
    name = task or next((t for begin, t in begins.items() if repo.split("/")[-1].startswith(begin)), None)
    if name is None:
        raise UsageError(f"The task of {repo!r} is not plain from its name", next="say it with --task")
    [spec, *_] = _of_all(name)
    connect(hub, (), hub_dir)
    from hubtools.publishing.multitask import verify_multitask
    from hubtools.publishing.verification import verify_model
    from hubtools.records import to_json

    found = verify_multitask(repo, revision) if name == MULTI else verify_model(spec, repo, revision)
    line = f"{repo}: {found.rows} answers agree, largest difference {found.largest_difference:.1g}"
    show(to_json(found), json_output, [line])


@app.command()
def push_space(
    namespace: Namespace = None,
    space_name: SpaceName = None,
    private: Private = False,
    create_pr: CreatePr = False,
    dry_run: DryRun = False,
    hub: Hub = None,
    hub_dir: HubDir = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """Publish the Gradio Space that demos every model released in the work folder."""
    connect(hub, (), hub_dir)
    from hubtools.pipeline import push_space_task

    settings = _settings(
        work_dir=work_dir, namespace=namespace, space_name=space_name, private=private, create_pr=create_pr,
        dry_run=dry_run,
    )  # fmt: skip
    _print_pushed({"space": push_space_task(tasks_named("all"), settings)}, json_output)


@app.command()
def demo(
    namespace: Namespace = None,
    space_name: SpaceName = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.")] = 0,
    hub: Hub = None,
    hub_dir: HubDir = None,
) -> None:
    """Run the published Space here, until Ctrl-C. Its address is the last line of stdout."""
    connect(hub, (), hub_dir)
    from hubtools.pipeline import space_repo
    from hubtools.publishing.space import run_space

    process, url = run_space(space_repo(_settings(namespace=namespace, space_name=space_name)), port)
    print(url, flush=True)
    try:
        process.wait()
    finally:
        process.terminate()
        process.wait()


@app.command(context_settings=PASS_ON)
def run(
    context: typer.Context,
    task: Annotated[str, typer.Argument(metavar="[TASK]", help="One task, or all.")] = "all",
    label_set: LabelSets = None,
    skip_bad_rows: SkipBadRows = False,
    supplement: Supplements = None,
    without: Without = None,
    seed: Seed = 0,
    base: Base = None,
    processes: Processes = 1,
    jobs: Jobs = 1,
    target_fpr: TargetFpr = None,
    target_recall: TargetRecall = None,
    namespace: Namespace = None,
    private: Private = False,
    accept_license: AcceptLicense = False,
    gated: Gated = None,
    dry_run: DryRun = False,
    hub: Hub = None,
    hub_dir: HubDir = None,
    mirror: Mirror = None,
    work_dir: WorkDir = DEFAULT,
    json_output: Json = False,
) -> None:
    """All of it: curate, push, fine-tune, evaluate, release, and the Space. Goes on where it stopped.

    Further flags go to the training, as with hubtools finetune.
    """
    if task.startswith("-"):  # no task, and a flag of the training first
        task, context.args = "all", [task, *context.args]
    tasks = tasks_named(task)
    connect(hub, mirror or (), hub_dir)
    from hubtools import pipeline

    settings = _settings(
        work_dir=work_dir, label_sets=label_set, skip_bad_rows=skip_bad_rows,
        supplements=supplement, without=without, seed=seed, base=base,
        processes=processes, jobs=jobs, target_fpr=target_fpr, target_recall=target_recall, namespace=namespace,
        private=private, accept_license=accept_license, gated=gated, dry_run=dry_run, training=tuple(context.args),
    )  # fmt: skip
    report = pipeline.run(tasks, settings)
    show(report, json_output, _summary(report))


def _summary(report: dict[str, Any]) -> list[str]:
    lines = [f"{'task':<10} {'metric':<26} {'test score':<24} model"]
    for name, result in report["results"].items():
        if "metric" in result:
            score = f"{result['value']:.3f} [{result['low']:.3f}, {result['high']:.3f}]"
            lines.append(f"{name:<10} {result['metric']:<26} {score:<24} {result['model']}")
    space = report["results"].get("space", {})
    if space:
        lines.append(f"Space: {space['url']}")
    return [*lines, f"Done in {report['total_seconds']:.0f} s."] if report["results"] else []


@hub_app.command("serve")
def hub_serve(
    mirror: Mirror = None,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes the one used last, or a free one.")] = 0,
    hub_dir: HubDir = None,
) -> None:
    """Serve the embedded Hub in this terminal, until Ctrl-C."""
    from hubtools.localhub import default_dir, serve

    serve(hub_dir or default_dir(), mirror or [], port)


@hub_app.command("start")
def hub_start(mirror: Mirror = None, hub_dir: HubDir = None, json_output: Json = False) -> None:
    """Start the embedded Hub in the background, where it is not running, and print its address."""
    from hubtools.localhub import default_dir, start

    hub = start(hub_dir or default_dir(), mirror or [])
    show({"url": hub.url, "pid": hub.pid, "data_dir": str(hub.data_dir)}, json_output, [hub.url])


@hub_app.command("stop")
def hub_stop(hub_dir: HubDir = None) -> None:
    """Stop the embedded Hub; what was pushed to it stays."""
    from hubtools.localhub import default_dir, stop

    folder = hub_dir or default_dir()
    print("stopped" if stop(folder) else f"no Hub runs on {folder}", file=sys.stderr)


@hub_app.command("status")
def hub_status(hub_dir: HubDir = None, json_output: Json = False) -> None:
    """Say whether the embedded Hub runs, and where; exit code 1 where it does not."""
    from hubtools.localhub import default_dir, find

    folder = hub_dir or default_dir()
    hub = find(folder)
    found = {"running": hub is not None, "url": hub.url if hub else None, "data_dir": str(folder)}
    show(found, json_output, [hub.url if hub else f"no Hub runs on {folder}"])
    if hub is None:
        raise typer.Exit(1)


@hub_app.command("env")
def hub_env(hub_dir: HubDir = None) -> None:
    """Lines for eval "$(hubtools hub env)": they point the Hub's own clients at the embedded Hub."""
    from hubtools.localhub import default_dir, find, shell_exports

    folder = hub_dir or default_dir()
    hub = find(folder)
    if hub is None:
        raise HubUnavailable(f"No Hub runs on {folder}", next="hubtools hub start")
    print(shell_exports(hub))


def explained(error: BaseException) -> HubtoolsError | None:
    """What a library's error means to a person; None for one that we do not know.

    Some libraries hide what happened below an error of their own: the first one that we know counts.
    """
    seen: BaseException | None = error
    while seen is not None:
        known = _explained(seen)
        if known:
            return known
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None


def _explained(error: BaseException) -> HubtoolsError | None:
    if isinstance(error, HubtoolsError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return StorageError(
            "The disk is full", expected="room for what this command writes", found=str(error.filename or error),
            next="free some space, then run the same command again",
        )  # fmt: skip
    if isinstance(error, OSError) and error.errno in _NOT_OURS:
        return StorageError(
            "A file or folder cannot be used", expected="a folder that can be written to",
            found=f"{error.strerror}: {error.filename}", next="give another one with --work-dir (or --hub-dir)",
        )  # fmt: skip
    from huggingface_hub.errors import HFValidationError

    from hubtools.publishing.commits import RETRIED, is_connection_error, unreachable

    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if isinstance(error, HFValidationError):
        return UsageError(
            "The name of a repo is not one", expected="name or owner/name, of letters, digits, '-', '_' and '.'",
            found=str(error).splitlines()[0], next="mend the name and run the command again",
        )  # fmt: skip
    if is_connection_error(error):
        return unreachable(error, endpoint)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None:
        return None
    said = str(getattr(error, "server_message", None) or str(error)).splitlines()[0]
    if status in (401, 403):
        return HubUnavailable(
            f"The Hub at {endpoint} refused ({status})", expected="a token with write access to this namespace",
            found=said, next="hf auth login, or name another --namespace",
        )  # fmt: skip
    if status == 404:
        return HubUnavailable(
            f"The Hub at {endpoint} has no such repo, file or revision", expected="a name that exists there",
            found=said, next="look at the name; a private repo needs a token that may read it (hf auth login)",
        )  # fmt: skip
    passing = status in RETRIED or status > 500
    return HubUnavailable(
        f"The Hub at {endpoint} answered {status}", expected="a Hub that takes what is sent", found=said,
        next=("" if passing else "mend what it names, then ") + "run the same command again: what is done is kept",
    )  # fmt: skip


_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_OURS = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
_INTERRUPTED = 130


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the command; every error ends in one message and a non-zero exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # else nohup, which we respect
            signal.signal(number, _interrupt)  # so that a training under way is ended as well
    try:
        app()
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != _INTERRUPTED:
            raise
        print("\nInterrupted. Run the same command again: it goes on where it stopped.", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except Exception as error:
        if os.environ.get("HUBTOOLS_DEBUG"):
            raise
        known = explained(error)
        if known is None:
            known = HubtoolsError(
                f"Unexpected {type(error).__name__}", found=str(error) or "no message",
                next="please report it, with what HUBTOOLS_DEBUG=1 prints for the same command",
            )  # fmt: skip
        print(f"Error: {known}", file=sys.stderr)
        sys.exit(known.exit_code)


if __name__ == "__main__":
    main()
