"""What the commands share: options with their help, and how a result is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hubtools.tasks import TASKS

TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="One of " + ", ".join(TASKS) + ", or all.")]
TaskOrMulti = Annotated[
    str,
    typer.Argument(metavar="TASK", help="One of " + ", ".join(TASKS) + ", all, or multi: one body for all four."),
]
Hub = Annotated[
    str | None,
    typer.Option(metavar="local", help="Use the embedded Hub, started where it is not running. "
                 "Without it: the Hub that your token belongs to."),
]  # fmt: skip
HubDir = Annotated[Path | None, typer.Option(help="The embedded Hub's data folder.", envvar="HUBTOOLS_HUB_DIR")]
Mirror = Annotated[
    list[Path] | None,
    typer.Option(help="A folder that the embedded Hub serves read-only, laid out as DIR/<owner>/<name>/. Repeatable."),
]
WorkDir = Annotated[Path, typer.Option(help="Folder of the run's files, one subfolder a task.")]
Namespace = Annotated[str | None, typer.Option(help="Owner of the repos: a user or an organisation. [default: you]")]
LabelSets = Annotated[
    list[str] | None,
    typer.Option("--label-set", help="Variant of the labels, such as seed10 or presidio17; "
                 "with several tasks TASK=NAME. Repeatable."),
]  # fmt: skip
SourceOption = Annotated[
    str | None,
    typer.Option(help="Your own csv, json, jsonl or parquet file, its https:// address (#sha256=... pins it), "
                 "a dataset repo (owner/name, or owner/name:config), or 'starter', in place of the task's public "
                 "source."),
]  # fmt: skip
TargetFpr = Annotated[
    float | None,
    typer.Option(help="Threshold with at most this share of false positives on validation. [default: jailbreak 0.01]"),
]
TargetRecall = Annotated[
    float | None,
    typer.Option(help="Threshold that keeps at least this share: of attacks, or of right answers. "
                 "[default: category 0.95]"),
]  # fmt: skip
TextColumn = Annotated[str | None, typer.Option(help="Column of the text in your own data. [default: text]")]
LabelColumn = Annotated[
    str | None,
    typer.Option(help="Column of the label in your own data; for pii, of the spans: a list of objects with start, "
                 "end and label (or type, entity_type). [default: label, spans]"),
]  # fmt: skip
LabelMap = Annotated[
    Path | None,
    typer.Option(help="YAML file from your labels or entity types to the task's, a line each (theirs: ours); "
                 "null drops their rows, and O (pii) leaves a type unmarked."),
]  # fmt: skip
GroupColumn = Annotated[
    str | None,
    typer.Option(help="Column of what must not stand on both sides of a split, such as a template or an author. "
                 "[default: group, family or template_id where there]"),
]  # fmt: skip
TokensColumn = Annotated[
    str | None,
    typer.Option(help="pii: column of the words, where your data has tags in place of spans. [default: tokens]"),
]
TagsColumn = Annotated[
    str | None,
    typer.Option(help="pii: column of the words' tags, as BIO, BILOU or bare types. [default: ner_tags or tags]"),
]
License = Annotated[
    str | None,
    typer.Option("--license", metavar="ID", help="Licence of your own source, as on the Hub, such as cc-by-4.0. "
                 "[default: the one on its repo's card; other for a file]"),
]  # fmt: skip
AcceptLicense = Annotated[
    bool,
    typer.Option(
        "--accept-license", help="With --private: push what its licence forbids to publish, for your own use."
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(metavar="REPO_OR_FILE", help="Somebody else's labelled data: a csv, json, jsonl or parquet file, its "
                 "https:// address, or a dataset repo (owner/name, or owner/name:config)."),
]  # fmt: skip
Split = Annotated[
    str | None, typer.Option(help="Split of --dataset to score on. [default: test where there is one, else all]")
]
LabelMaps = Annotated[
    list[str] | None,
    typer.Option("--label-map", metavar="[MODEL=]FILE", help="YAML file from labels of the data and of models to the "
                 "task's, a line each (theirs: ours); with MODEL= for that model alone. Repeatable."),
]  # fmt: skip
SkipBadRows = Annotated[bool, typer.Option("--skip-bad-rows", help="Drop and count rows that cannot be read.")]
Supplements = Annotated[
    list[str] | None,
    typer.Option("--supplement", help="Add an optional supplement to the training split, such as intent's metatool. "
                 "Repeatable."),
]  # fmt: skip
Without = Annotated[
    list[str] | None,
    typer.Option("--without", help="Leave out a supplement: templates and rare-types of pii, gpteacher of jailbreak, "
                 "or lengths, jailbreak's harmless prompts as long as attacks. Repeatable."),
]  # fmt: skip
Seed = Annotated[int, typer.Option(help="Seed of splits, synthesis and training.")]
Base = Annotated[
    str | None,
    typer.Option(help="Encoder to start from, a repo or a folder. "
                 "[default: answerdotai/ModernBERT-base, or the nano model where the Hub has only that]"),
]  # fmt: skip
Processes = Annotated[int, typer.Option(min=1, help="Processes that accelerate starts.")]
Jobs = Annotated[
    int,
    typer.Option(min=1, help="Trainings side by side. On a CPU, small models with a core each beat all cores for one."),
]
Private = Annotated[bool, typer.Option("--private", help="Create repos as private.")]
CreatePr = Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead of committing to main.")]
Gated = Annotated[
    Literal["auto", "manual"] | None,
    typer.Option(help="Readers must ask for the dataset, and are let in by the Hub (auto) or by you (manual)."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
DatasetName = Annotated[str | None, typer.Option(help="Name of the dataset repo. [default: router-TASK]")]
ModelName = Annotated[
    str | None, typer.Option(help="Name of the model repo. [default: what the Semantic Router looks for]")
]
SpaceName = Annotated[str | None, typer.Option(help="Name of the Space. [default: router-classifiers]")]

# Further flags go to the training; ours may be written as its are, with underscores.
PASS_ON = {
    "allow_extra_args": True, "ignore_unknown_options": True,
    "token_normalize_func": lambda flag: flag.replace("_", "-"),
}  # fmt: skip


def show(data: Any, as_json: bool, lines: list[str]) -> None:
    """The data as JSON, or its ``lines``, to stdout."""
    if as_json:
        print(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        for line in lines:
            print(line)
