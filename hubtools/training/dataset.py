"""The dataset that a training reads: the curated one, a pushed one, or one that is curated now."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubtools.errors import HubUnavailable, TrainingFailed, UsageError, read_first_line, shorten
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.training.arguments import FinetuneArguments
from hubtools.workdir import TaskFolder, load_folder

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

# The console command, by the Python that runs us: it need not be on the PATH of whoever starts a training.
HUBTOOLS = (sys.executable, "-c", "from hubtools.cli import main; main()")


def obtain_dataset(task: TaskSpec, ours: FinetuneArguments, folder: TaskFolder) -> str:
    """Return the folder or the repo of the dataset to train on. Where there is none, curate it now.

    In this order: ``--dataset``; the curated one of the work folder; the one that was pushed from there; the pushed one
    of the token's owner; else ``hubtools curate`` makes one. A line says which, where it is not the first or second.
    All processes of a training call this: the first one curates, and the others wait.

    Raises:
        MissingStage: ``published.json`` is damaged.
        TrainingFailed: curation ended with an error.
    """
    if ours.dataset is not None:
        return ours.dataset
    if folder.split_file("train").exists():
        return str(folder.dataset)
    is_first = int(os.environ.get("RANK", "0")) == 0
    repo, whose = _find_pushed(task, folder)
    if repo:
        if is_first:
            print(f"[{task.name}] no dataset in {folder.root}: training on {repo}, {whose}", flush=True)
        return repo
    # Of several machines, each has a work folder of its own, or all have the same: the first process of each curates,
    # and curation itself lets one at a time into a folder.
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        _curate(task, ours, folder)
    while not folder.split_file("train").exists():
        # No limit: curation may download for an hour. Where it fails, the launcher ends those who wait.
        time.sleep(0.5)
    return str(folder.dataset)


def _find_pushed(task: TaskSpec, folder: TaskFolder) -> tuple[str | None, str]:
    """Return the repo of the pushed dataset, None where there is none, and how it is known."""
    from huggingface_hub import get_token

    from hubtools.connection import find_first_repo, find_namespace

    if folder.published.exists():
        pushed = folder.read_published("push-dataset").dataset
        if pushed:
            return pushed.repo, "which was pushed from there"
    if get_token():
        try:
            owner = find_namespace()
        except HubUnavailable:  # a token that the Hub refuses owns no dataset
            return None, ""
        return find_first_repo([f"{owner}/{task.dataset_name}"], "dataset"), "which your token's owner has pushed"
    return None, ""


def _curate(task: TaskSpec, ours: FinetuneArguments, folder: TaskFolder) -> None:
    """Curate in a process of its own: this one is to train, and has loaded what curation must not meet half set up."""
    command = ["curate", *(["--task-file", ours.task_file] if ours.task_file else [task.name])]
    command += ["--work-dir", ours.work_dir]
    command += ["--hub", ours.hub] if ours.hub else []
    command += ["--label-set", ours.label_set] if ours.label_set else []
    shown = shlex.join(["hubtools", *command])
    print(f"[{task.name}] no dataset in {folder.root}, and none was pushed: running {shown}", flush=True)
    root = Path(__file__).parents[2]  # where a checkout is run without being installed
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run([*HUBTOOLS, *command], env=os.environ | {"PYTHONPATH": path}, stdout=sys.stderr, check=False)
    if done.returncode:
        raise TrainingFailed(
            f"There is no dataset of {task.name!r} to train on, and none could be curated",
            expected=f"{shown} to end well",
            found=f"exit code {done.returncode}; its own message stands above",
            next=f"{shown}, or name a dataset with --dataset",
        )  # fmt: skip


def check_dataset(ours: FinetuneArguments, tasks: Iterable[TaskSpec]) -> None:
    """Check that ``--dataset`` can be trained on, before a process is started that loads all that a training needs.

    Raises:
        UsageError: it is not there, cannot be read, or has not what the task needs.
    """
    if ours.dataset is not None:
        for task in tasks:
            match_label_set(load_splits(ours.dataset, task), task, ours.label_set)


def load_splits(dataset: str, task: TaskSpec) -> DatasetDict:
    """Load the splits of a dataset.

    Args:
        dataset: a folder, or a repo on the Hub.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    import pyarrow as pa
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    makes_one = (
        f"hubtools curate {task.name} --source {dataset} makes such a dataset of it (--text-column, --label-column, "
        f"--label-map), and hubtools finetune {task.name} trains on that"
    )
    if Path(dataset).is_file():  # the Hub would be asked for a repo of this name
        raise UsageError(
            f"Dataset {dataset!r}",
            expected="a dataset repo or folder with train and validation",
            found="a file",
            next=makes_one,
        )
    try:
        splits: DatasetDict = load_folder(dataset) if Path(dataset).is_dir() else load_dataset(dataset)
    except (DatasetNotFoundError, DatasetsError, FileNotFoundError, ValueError, pa.ArrowException) as error:
        raise UsageError(
            f"Dataset {dataset!r}",
            expected="a dataset repo or folder with train and validation",
            found=read_first_line(error),
            next=f"hubtools curate {task.name}",
        ) from error
    if faults := list_faults(splits, task):
        raise UsageError(
            f"Dataset {dataset!r} is not laid out as a training reads it",
            expected=f"train and validation, with text, and {task.head.truth} of a ClassLabel, in every row",
            found="; ".join(faults),
            next=makes_one,
        )
    return splits


def list_faults(splits: Mapping[str, Dataset], task: TaskSpec) -> list[str]:
    """Return why a training could not read these splits, each in a few words; [] where it can."""
    from datasets import Value

    truth = task.head.truth
    lacking = [f"no {split} split" for split in ("train", "validation") if not len(splits.get(split, ()))]
    if lacking:
        return [*lacking, f"it has {', '.join(splits) or 'none'}"]
    faults = []
    for name in ("train", "validation"):
        split = splits[name]
        absent = [column for column in ("text", truth) if column not in split.column_names]
        if absent:
            faults.append(f"{name} has no column {' or '.join(absent)}, but {', '.join(split.column_names)}")
            continue
        if split.features["text"] not in (Value("string"), Value("large_string")):
            faults.append(f"text in {name} is no text but {split.features['text']}")
            continue
        try:
            names = task.head.read_label_names(split.features)
            for end in ("start", "end") if task.head.per_token else ():
                split.features[truth].feature[end]
        except (AttributeError, KeyError, TypeError):
            wanted = "spans with start, end and a label of a ClassLabel" if task.head.per_token else "of a ClassLabel"
            faults.append(f"{truth} in {name} is not {wanted}: {shorten(split.features[truth], 80)}")
            continue
        if name == "validation" and not faults and names != task.head.read_label_names(splits["train"].features):
            faults.append("train and validation have other labels, or another order of them")
        texts, values = split["text"], split[truth]
        bad = Counter(_describe_bad_row(task, text, value) for text, value in zip(texts, values, strict=True))
        faults += [f"{rows} rows of {name} {why}" for why, rows in bad.most_common() if why]
        # Folds and few shots may leave a class of many out of a split; of two, both are needed everywhere.
        if task.head.needs_every_class("validation"):
            faults += [f"{name} has no row of {label}" for i, label in enumerate(names) if i not in {*values}]
    return faults


def _describe_bad_row(task: TaskSpec, text: str | None, truth: Any) -> str:
    """Return what a row of anybody's dataset lacks, or ""."""
    if text is None:
        return "without a text"
    if not task.head.per_token:
        # A ClassLabel of datasets holds -1 where a row has no label.
        return "without a label" if truth in (None, -1) else ""
    if truth is None:
        return "without a list of spans"
    for span in truth:
        if span is None or span["label"] in (None, -1):
            return "with a span without a label"
        if None in (span["start"], span["end"]) or not 0 <= span["start"] < span["end"] <= len(text):
            return "with a span that does not lie in its text"
    return ""


def match_label_set(splits: DatasetDict, task: TaskSpec, asked: str | None) -> LabelSet:
    """Return the label set whose names the dataset carries.

    Args:
        asked: the name of the only one that will do; None for any.

    Raises:
        UsageError: they are those of no label set of the task, or not of the one asked for.
    """
    names = task.head.read_label_names(splits["train"].features)
    for label_set in task.label_sets:
        if label_set.labels == names and asked in (None, label_set.name):
            return label_set
    raise UsageError(
        f"Labels of the {task.name} dataset",
        expected=" or ".join(f"{s.name}: {', '.join(s.labels)}" for s in task.label_sets if asked in (None, s.name)),
        found=", ".join(names),
        next=f"hubtools curate {task.name} --label-set {asked or task.label_sets[0].name}",
    )
