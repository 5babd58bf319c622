"""The ``hubtools`` command: parse, call, print.

Data goes to stdout, notes and progress to stderr. Heavy libraries are imported inside the commands, after
``HubOptions.connect`` has set the environment that they read; ``--help`` loads none of them.
"""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Literal

import typer

from hubtools import __version__, cli_evaluation, cli_export, cli_hub, cli_release, cli_rollback, cli_studies
from hubtools.config import read_defaults
from hubtools.connection import check_process, forget_launcher
from hubtools.errors import HubtoolsError
from hubtools.library_errors import translate_error
from hubtools.option_groups import omit, takes_groups
from hubtools.options import (
    OWN_DATA,
    PASS_ON,
    AllTasksOptions,
    HubOptions,
    Json,
    MultitaskOptions,
    PushOptions,
    RepoOptions,
    SourceOptions,
    TargetOptions,
    TaskOptions,
    TrainingOptions,
    WorkOptions,
    show,
    show_pushed,
)
from hubtools.records import Record
from hubtools.tasks import MULTI
from hubtools.training.arguments import FinetuneArguments
from hubtools.training.flags import parse_training_flags

app = typer.Typer(
    help="From public data to four published classifiers on the Hugging Face Hub: "
    "curate, push, fine-tune, evaluate, release, demo.",
    no_args_is_help=True,
    # Errors are messages of ours, and help is plain text that a pipe or a test can read.
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_INTERRUPTED = 130  # the exit code of a command that Ctrl-C ended: 128 and SIGINT's number


def _describe_training_flags() -> str:
    """Return the training's own flags, but those that the command has itself, as paragraphs of its help."""
    # These the command has itself, or sets for the training that it starts.
    shared = {"task", "task_file", "base", "work_dir", "hub", "fingerprint"}
    lines = [
        textwrap.fill(field.metadata["help"], 78, initial_indent=f"--{field.name:<20}", subsequent_indent=" " * 22)
        for field in dataclasses.fields(FinetuneArguments)
        if field.name not in shared
    ]
    # click keeps the lines of a paragraph that begins with a backspace.
    return "\n".join(["\b", "Flags of the training, beside those of transformers' TrainingArguments:", *lines])


def _print_version(asked: bool) -> None:
    if asked:
        print(f"hubtools {__version__}")
        raise typer.Exit


@app.callback()
def read_configuration(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="YAML file that holds what the flags hold; flags win.")] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the defaults of all options from a configuration."""
    if config is not None:
        context.default_map = read_defaults(config, context.command)


def init_task(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the task: lower-case letters, digits, - and _.")],
    labels: Annotated[str, typer.Option(help="Its labels, or with --spans the types of its spans, with commas.")],
    positive: Annotated[
        str, typer.Option(help="Of two labels, the one that is looked for: the task is a detection. [default: none]")
    ] = "",
    spans: Annotated[
        bool, typer.Option("--spans", help="Stretches of a text are marked, in place of a label for the whole.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="The file to write. [default: NAME.yaml, here]")] = None,
) -> None:
    """Write the YAML file of a task of your own; --task-file hands it to the other commands."""
    from hubtools.tasks.template import write_task_file

    # A comma at the end, or a space behind each, is no label.
    names = [label.strip() for label in labels.split(",") if label.strip()]
    print(write_task_file(name, names, output, positive=positive, spans=spans))


@takes_groups
def check(
    task: AllTasksOptions,
    source: Annotated[SourceOptions, omit("license", "languages", "seed")],
    hub: HubOptions,
    work: WorkOptions,
    repos: Annotated[RepoOptions, omit("dataset_name", "model_name", "space_name")],
    training: Annotated[TrainingOptions, omit("processes", "jobs", "seed", "dry_run")],
    json_output: Json = False,
) -> None:
    """Preflight: token, sources with their columns, labels and classes, base model, disk and device.

    Before anything costs time; with --source, of your own data.
    """
    tasks = task.select()
    hub.connect()
    from hubtools.preflight import check_requirements

    findings = check_requirements(tasks, work, source, repos.namespace, training.base)
    show(findings, json_output, [f"{'ok  ' if f.ok else 'FAIL'}  {f.what}: {f.found}" for f in findings])
    # For scripts: what is lacking is an exit code as well.
    if not all(f.ok for f in findings):
        raise typer.Exit(1)


@takes_groups
def curate(
    task: TaskOptions, source: SourceOptions, hub: HubOptions, work: WorkOptions, json_output: Json = False
) -> None:
    """Source to local dataset and facts.json."""
    tasks = task.select()
    hub.connect()
    from hubtools import api

    facts = {t.name: api.curate(t, work, source) for t in tasks}
    show(facts, json_output, [str(work.folder(t).dataset) for t in tasks])


@takes_groups
def push_dataset(
    task: TaskOptions,
    source: SourceOptions,
    repos: Annotated[RepoOptions, omit("model_name", "space_name")],
    push: Annotated[PushOptions, omit("force", "skip_router_check")],
    hub: HubOptions,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Curate where needed, write the card, push in one commit, tag."""
    tasks = task.select()
    hub.connect()
    from hubtools.pipeline import push_datasets

    show_pushed(push_datasets(tasks, work, source, repos, push), json_output)


@takes_groups
def finetune(
    context: typer.Context,
    task: MultitaskOptions,
    training: TrainingOptions,
    hub: HubOptions,
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Fine-tune by accelerate launch hubtools/finetune.py.

    Every further flag goes to it: those below, --learning_rate 5e-5, --num_train_epochs 2, --gradient_checkpointing,
    --report_to trackio, and all others of transformers' TrainingArguments. --method setfit --shots 8 trains on 8 rows
    of each class.
    """
    task, argv = task.take_flags(context.args)
    tasks = task.select()
    hub.connect()
    from hubtools.launch import finetune_multi, finetune_tasks

    # Parsed before anything starts: a flag that no training knows costs nothing.
    training = dataclasses.replace(training, flags=parse_training_flags(argv))
    records: dict[str, Record]
    if task.multitask:
        records = {MULTI: finetune_multi(work, training)}
    else:
        records = {finished.task.name: finished.record for finished in finetune_tasks(tasks, work, training)}
    show(records, json_output, [] if training.dry_run else [str(work.folder(t).model) for t in tasks])


@takes_groups
def run(
    context: typer.Context,
    task: AllTasksOptions,
    source: Annotated[SourceOptions, omit(*OWN_DATA)],
    training: Annotated[TrainingOptions, omit("dry_run")],
    targets: TargetOptions,
    repos: Annotated[RepoOptions, omit("dataset_name", "model_name", "space_name")],
    push: PushOptions,
    hub: HubOptions,
    work: WorkOptions,
    export: Annotated[
        Literal["onnx"] | None, typer.Option(help="Release ONNX files of each model as well; see hubtools export.")
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness", help="Measure how far answers hold on changed text as well; see hubtools robustness."
        ),
    ] = False,
    json_output: Json = False,
) -> None:
    """All of it: curate, push, fine-tune, evaluate, release, and the Space. Goes on where it stopped.

    Further flags go to the training, as with hubtools finetune.
    """
    task, argv = task.take_flags(context.args)
    tasks = task.select()
    hub.connect()
    from hubtools.run import RunOptions, format_summary, run_tasks

    training = dataclasses.replace(training, flags=parse_training_flags(argv))
    record = run_tasks(tasks, RunOptions(work, source, training, targets, repos, push, export, robustness))
    show(record, json_output, format_summary(record))


# In the order of a run, which is the order of --help.
for command in (init_task, check, curate, push_dataset):
    app.command()(command)
app.command(context_settings=PASS_ON, epilog=_describe_training_flags())(finetune)
for command in cli_studies.COMMANDS:
    app.command(context_settings=PASS_ON)(command)
for command in (*cli_evaluation.COMMANDS, *cli_release.COMMANDS, cli_rollback.rollback, *cli_export.COMMANDS):
    app.command()(command)
app.command(context_settings=PASS_ON)(run)
app.add_typer(cli_hub.app, name="hub")


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _speak_utf8() -> None:
    """Begin again in UTF-8 where the locale has another encoding: names of files and their text are UTF-8 here."""
    if sys.getfilesystemencoding().lower() not in ("utf-8", "utf8") and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"  # of the trainings that we start as well
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        # A terminal that lacks a character shows its number; a command does not end for it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the command; every error ends in one message and a non-zero exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # else nohup, which we respect
            signal.signal(number, _interrupt)  # so that a training under way is ended as well
    _speak_utf8()
    forget_launcher()
    try:
        check_process()
        app()
    except (KeyboardInterrupt, SystemExit) as end:
        # typer makes an exit code of Ctrl-C; all other codes are final.
        if isinstance(end, SystemExit) and end.code != _INTERRUPTED:
            raise
        # What was finished is known by its fingerprint, and a training has checkpoints.
        print("\nInterrupted. Run the same command again: it goes on where it stopped.", file=sys.stderr)
        sys.exit(_INTERRUPTED)
    except Exception as error:
        # The one place where errors become messages; whoever reports a bug needs the stack trace.
        if os.environ.get("HUBTOOLS_DEBUG"):
            raise
        # An error of a library has words of ours where we know what a person can do.
        known = translate_error(error)
        if known is None:
            known = HubtoolsError(
                f"Unexpected {type(error).__name__}",
                found=str(error) or "no message",
                next="please report it, with what HUBTOOLS_DEBUG=1 prints for the same command",
            )
        print(f"Error: {known}", file=sys.stderr)
        sys.exit(known.exit_code)


if __name__ == "__main__":
    main()
