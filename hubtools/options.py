"""The options of all commands, in groups, and how a result is printed.

Stages take the groups that they need. A group is a plain frozen value as well: ``SourceOptions(source="rows.csv")``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Self

import typer

from hubtools.column_flags import Chat, Encoding, LabelColumn, SkipBadRows, TagsColumn, TextColumn, TokensColumn
from hubtools.connection import connect
from hubtools.option_groups import OptionGroup
from hubtools.publishing import options as publishing
from hubtools.publishing.changes import Change
from hubtools.records import Record, to_json
from hubtools.records.release import Published
from hubtools.rows import Columns
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, TASKS, list_augmentations, list_named_sources, select_tasks
from hubtools.training.flags import TrainingFlags
from hubtools.workdir import DEFAULT, TaskFolder, task_folder

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

# Options that more than one group has, so that they have one help everywhere.
TaskFile = Annotated[
    Path | None, typer.Option(help="YAML file of a task of your own (see hubtools init-task); names the task as well.")
]

# By name, not "a task": the help of every command then answers what may stand there.
_ONE_TASK = "One of " + ", ".join(TASKS)


def note_to_stderr(line: str) -> None:
    """Print a note; stdout is for data."""
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class TaskOptions(OptionGroup):
    """Which task a command is about."""

    task: Annotated[str | None, typer.Argument(metavar="TASK", help=f"{_ONE_TASK}, or all.")] = None
    task_file: TaskFile = None

    def select(self) -> list[TaskSpec]:
        """Return the tasks; raises :class:`UsageError` for none, an unknown one, or a file of another task."""
        return select_tasks(self.task, self.task_file)

    def take_flags(self, flags: Sequence[str]) -> tuple[Self, list[str]]:
        """Return the options and the training's flags; where TASK is left out, the first flag stands in its place."""
        # click takes an unknown flag for the first argument, where that is left out.
        if self.task is None or not self.task.startswith("-"):
            return self, [*flags]
        return replace(self, task=type(self)().task), [self.task, *flags]


@dataclass(frozen=True)
class AllTasksOptions(TaskOptions):
    """Which task a command is about: all of them where none is named."""

    # The default alone differs.
    task: Annotated[str | None, typer.Argument(metavar="TASK", help=f"{_ONE_TASK}, or all.")] = "all"


@dataclass(frozen=True)
class MultitaskOptions(TaskOptions):
    """Which task a command is about; ``multi`` is the four of them on one body."""

    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help=f"{_ONE_TASK}, all, or multi: one body for all four.")
    ] = None

    @property
    def multitask(self) -> bool:
        """Whether the command is about the model that answers all four."""
        # A user's own task cannot be called multi, but what stands beside a file is checked against it.
        return self.task == MULTI and self.task_file is None

    def select(self) -> list[TaskSpec]:
        """Return the tasks, for ``multi`` all four; raises as :meth:`TaskOptions.select`."""
        return select_tasks("all" if self.multitask else self.task, self.task_file)


@dataclass(frozen=True)
class HubOptions(OptionGroup):
    """Which Hub a command speaks to."""

    hub: Annotated[
        str | None,
        typer.Option(
            metavar="local",
            help="Use the embedded Hub, started where it is not running. Without it: the Hub that your token belongs "
            "to.",
        ),
    ] = None
    hub_dir: Annotated[Path | None, typer.Option(help="The embedded Hub's data folder.", envvar="HUBTOOLS_HUB_DIR")] = (
        None
    )
    mirrors: Annotated[
        tuple[Path, ...],
        typer.Option(
            "--mirror",
            help="A folder that the embedded Hub serves read-only, laid out as DIR/<owner>/<name>/. Repeatable.",
        ),
    ] = ()

    def connect(self) -> None:
        """Point this process at the Hub; before any of the Hub's clients is imported."""
        connect(self.hub, self.mirrors, self.hub_dir)


@dataclass(frozen=True)
class WorkOptions(OptionGroup):
    """Where a command works, and where its notes go.

    Attributes:
        note: takes a line about what is being done; prints it to stderr by default.
    """

    # Relative to where a command is called: several runs on one machine are folders beside one another.
    work_dir: Annotated[Path, typer.Option(help="Folder of the run's files, one subfolder a task.")] = DEFAULT
    note: Callable[[str], None] = note_to_stderr  # no option: callers in Python set it

    def folder(self, task: TaskSpec) -> TaskFolder:
        """Return the folder of a task."""
        return task_folder(self.work_dir, task.name)


Seed = Annotated[int, typer.Option(help="Seed of splits, synthesis and training.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]

# Fields of SourceOptions that are about a user's own data, which a command that works on all tasks leaves out: no file
# has the labels of several.
OWN_DATA = (
    *("source", "text_column", "label_column", "label_map", "group_column", "tokens_column", "tags_column"),
    *("chat", "encoding", "license", "languages"),
)


@dataclass(frozen=True)
class SourceOptions(OptionGroup):
    """What a dataset is made of."""

    source: Annotated[
        str | None,
        typer.Option(
            help="Your own csv, json, jsonl or parquet file, a folder of them, an https:// address (#sha256=... pins "
            "it), a dataset repo (owner/name, or owner/name:config), or 'starter' in place of the task's source."
        ),
    ] = None
    text_column: TextColumn = None
    label_column: LabelColumn = None
    label_map: Annotated[
        Path | None,
        typer.Option(
            help="YAML file from your labels or entity types to the task's, a line each (theirs: ours); null drops "
            "their rows, and O (span tasks) leaves a type unmarked."
        ),
    ] = None
    group_column: Annotated[
        str | None,
        typer.Option(
            help="Column of what must stay in one split, such as an author. [default: group, family or template_id "
            "where there]"
        ),
    ] = None
    tokens_column: TokensColumn = None
    tags_column: TagsColumn = None
    chat: Chat = None
    encoding: Encoding = None
    license: Annotated[
        str | None,
        typer.Option(
            "--license",
            metavar="ID",
            help="Licence of your own source, as on the Hub, such as cc-by-4.0. [default: the one on its repo's card; "
            "other for a file]",
        ),
    ] = None
    languages: Annotated[
        tuple[str, ...],
        typer.Option(
            "--language",
            metavar="CODE",
            help="Language of your own texts, such as de, for the cards. Repeatable. [default: found from the rows]",
        ),
    ] = ()
    # Tuples, though typer knows lists: a group is frozen, and can be compared.
    label_sets: Annotated[
        tuple[str, ...],
        typer.Option(
            "--label-set",
            help="Variant of the labels, such as seed10 or presidio17; with several tasks TASK=NAME. Repeatable.",
        ),
    ] = ()
    skip_bad_rows: SkipBadRows = False
    supplements: Annotated[
        tuple[str, ...],
        typer.Option(
            "--supplement",
            help="Add a source that joins when it is asked for, or to your own rows a supplement: "
            f"{list_named_sources(optional=True)}. Repeatable.",
        ),
    ] = ()
    without: Annotated[
        tuple[str, ...],
        typer.Option(
            "--without",
            help=f"Leave out a source beside the named one: {list_named_sources(optional=False)}; or lengths, the "
            "harmless prompts as long as those that are looked for. Repeatable.",
        ),
    ] = ()
    only_named_source: Annotated[
        bool,
        typer.Option(
            "--only-named-source",
            help="The task's named source alone, such as MMLU-Pro: no other source, no templates, no made rows.",
        ),
    ] = False
    augment: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="NAME=SHARE",
            help="Make rows of those of the training split, as a share of it; 0 leaves a kind out. Repeatable. "
            f"[default, of public sources: {list_augmentations()}]",
        ),
    ] = ()
    corrections: Annotated[
        tuple[str, ...],
        typer.Option(
            metavar="[TASK=]FILE",
            help="Labels that you corrected: the file of hubtools label-errors, with its column 'correction' filled "
            "in. With several tasks TASK=FILE. Repeatable.",
        ),
    ] = ()
    seed: Seed = 0

    @property
    def columns(self) -> Columns:
        """How the rows of a user's own data are laid out."""
        # Curation knows nothing of flags: it gets the names alone.
        return Columns(
            text=self.text_column,
            label=self.label_column,
            label_map=self.label_map,
            group=self.group_column,
            tokens=self.tokens_column,
            tags=self.tags_column,
            chat=self.chat,
            encoding=self.encoding,
        )


@dataclass(frozen=True)
class ExternalDataOptions(OptionGroup):
    """Somebody else's labelled data to score on."""

    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="REPO_OR_FILE",
            help="Somebody else's labelled data: a csv, json, jsonl or parquet file, its https:// address, or a "
            "dataset repo (owner/name, or owner/name:config).",
        ),
    ] = None
    split: Annotated[
        str | None, typer.Option(help="Split of --dataset to score on. [default: test where there is one, else all]")
    ] = None
    text_column: TextColumn = None
    label_column: LabelColumn = None
    tokens_column: TokensColumn = None
    tags_column: TagsColumn = None
    chat: Chat = None
    encoding: Encoding = None
    label_maps: Annotated[
        tuple[str, ...],
        typer.Option(
            "--label-map",
            metavar="[MODEL=]FILE",
            help="YAML file from labels of the data and of models to the task's, a line each (theirs: ours); with "
            "MODEL= for that model alone. Repeatable.",
        ),
    ] = ()
    skip_bad_rows: SkipBadRows = False

    @property
    def columns(self) -> Columns:
        """How the rows are laid out."""
        return Columns(
            text=self.text_column,
            label=self.label_column,
            tokens=self.tokens_column,
            tags=self.tags_column,
            chat=self.chat,
            encoding=self.encoding,
        )


@dataclass(frozen=True)
class TrainingOptions(OptionGroup):
    """What a training starts from, and how it is started.

    Attributes:
        processes, jobs: of a training, and trainings side by side; on a CPU its threads are divided among all.
        flags: those of the training itself.
    """

    base: Annotated[
        str | None,
        typer.Option(
            help="Encoder to start from, a repo or a folder. [default: answerdotai/ModernBERT-base, or the nano model "
            "where the Hub has only that]"
        ),
    ] = None
    processes: Annotated[int, typer.Option(min=1, help="Processes that accelerate starts.")] = 1
    jobs: Annotated[
        int,
        typer.Option(
            min=1, help="Trainings side by side. On a CPU, small models with a core each beat all cores for one."
        ),
    ] = 1
    seed: Seed = 0
    dry_run: DryRun = False
    # No option: commands fill it in from further flags.
    flags: TrainingFlags = field(default_factory=TrainingFlags)


@dataclass(frozen=True)
class TargetOptions(OptionGroup):
    """What a threshold is chosen for; see ``evaluation/thresholds.py``."""

    target_fpr: Annotated[
        float | None,
        typer.Option(
            help="Threshold with at most this share of false positives on validation. [default: 0.01 for a detection]"
        ),
    ] = None
    target_recall: Annotated[
        float | None,
        typer.Option(
            help="Threshold that keeps at least this share: of what is looked for, or of right answers. [default: 0.95 "
            "where an unsure answer has a fallback]"
        ),
    ] = None


@dataclass(frozen=True)
class EvaluationOptions(TargetOptions):
    """How the test split is scored."""

    from_predictions: Annotated[
        bool,
        typer.Option("--from-predictions", help="Compute every number again from the predictions, without the model."),
    ] = False
    # Not among the usual baselines: it trains a model of its own.
    baseline: Annotated[
        Literal["setfit"] | None,
        typer.Option(help="A further baseline on the card that costs time: SetFit on 8 rows a class (not of spans)."),
    ] = None


@dataclass(frozen=True)
class RepoOptions(OptionGroup):
    """Who owns the repos, and what they are called."""

    namespace: Annotated[
        str | None, typer.Option(help="Owner of the repos: a user or an organisation. [default: you]")
    ] = None
    dataset_name: Annotated[str | None, typer.Option(help="Name of the dataset repo. [default: router-TASK]")] = None
    model_name: Annotated[
        str | None, typer.Option(help="Name of the model repo. [default: what the Semantic Router looks for]")
    ] = None
    space_name: Annotated[str | None, typer.Option(help="Name of the Space. [default: router-classifiers]")] = None


@dataclass(frozen=True)
class PushOptions(publishing.PushOptions, OptionGroup):
    """How repos are pushed."""

    # The fields of the value that publishing takes, with their options.

    private: Annotated[bool, typer.Option("--private", help="Create repos as private.")] = False
    accept_license: Annotated[
        bool,
        typer.Option(
            "--accept-license", help="With --private: push what its licence forbids to publish, for your own use."
        ),
    ] = False
    gated: Annotated[
        Literal["auto", "manual"] | None,
        typer.Option(help="Readers must ask for the dataset, and are let in by the Hub (auto) or by you (manual)."),
    ] = None
    create_pr: Annotated[
        bool, typer.Option("--create-pr", help="Open a pull request instead of committing to main.")
    ] = False
    force: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            help="Release a model that is worse than the published one; the commit and the card give your reason.",
        ),
    ] = None
    dry_run: DryRun = False
    skip_router_check: Annotated[
        bool,
        typer.Option(
            "--skip-router-check",
            help="Push a model that the Semantic Router is not to load, unchecked for it; its card says so.",
        ),
    ] = False


# For commands whose further flags go to the training; ours may be written as its are, with underscores.
PASS_ON = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "token_normalize_func": lambda flag: flag.replace("_", "-"),
}


def show(data: object, as_json: bool, lines: Sequence[str]) -> None:
    """Print the data, in which records may stand, as JSON, or else its ``lines``, to stdout."""
    if as_json:
        print(json.dumps(data, indent=2, ensure_ascii=False, default=_convert_to_json))
    else:
        for line in lines:
            print(line)


def _convert_to_json(value: object) -> dict[str, object]:
    """Return what ``json`` cannot write itself: records, and other dataclasses."""
    if isinstance(value, Record):
        return to_json(value)
    assert is_dataclass(value)
    assert not isinstance(value, type)
    return asdict(value)


def show_pushed(pushed: Mapping[str, Published | Change], as_json: bool) -> None:
    """Print the address of each push, or of a dry run the diff of the card."""
    lines = [push.url if isinstance(push, Published) else push.card.rstrip("\n") for push in pushed.values()]
    show(pushed, as_json, [line for line in lines if line])
