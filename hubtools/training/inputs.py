"""What a training starts from: which base and commit, which rows, which labels."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hubtools.errors import UsageError
from hubtools.spec import BaseModel, LabelSet
from hubtools.task import TaskSpec
from hubtools.tasks import base_named
from hubtools.training.flags import TrainingFlags
from hubtools.workdir import TaskFolder, sha256_of


def resolve_base(asked: str | None, preferred: Sequence[BaseModel] = ()) -> str:
    """The base that is asked for, or the first that the Hub has: a preferred one, ModernBERT-base, the nano model.

    Raises:
        UsageError: there is no such model on this Hub.
    """
    from hubtools.connection import first_repo
    from hubtools.tasks import MODERNBERT, NANO

    if asked and Path(asked).is_dir():
        return asked
    found = first_repo([asked] if asked else [b.id for b in (*preferred, MODERNBERT, NANO)], "model")
    if found is None:
        raise UsageError(
            f"Base model {asked or MODERNBERT.id!r}",
            expected="a model on this Hub, or a folder",
            found=f"no such repo at {os.environ.get('HF_ENDPOINT', 'huggingface.co')}",
            next="name another with --base, or serve a copy with --mirror DIR (DIR/<owner>/<name>/)",
        )
    return found


def commit_of(base_id: str) -> str | None:
    """The commit that a base is loaded at: the pinned one, else the newest; None for a folder."""
    from hubtools.connection import api

    if Path(base_id).is_dir():
        return None
    return str(api().model_info(base_id, revision=base_named(base_id).revision).sha)


def contents(base_id: str, flags: TrainingFlags) -> list[str | None]:
    """What a name alone does not say of a base and of what ``--dataset`` names: a repo's commit, a folder's files."""
    from hubtools.connection import api

    dataset = flags.ours.dataset
    found = [_files_of(base_id) if Path(base_id).is_dir() else commit_of(base_id)]
    if dataset is not None:
        there = Path(dataset).is_dir()
        found.append(_files_of(dataset) if there else str(api().dataset_info(dataset).sha))
    return found


def _files_of(folder: str) -> str:
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    known = [(str(path.relative_to(folder)), sha256_of(path)) for path in files]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()


def texts_sha256(texts: Iterable[str]) -> str:
    """What tells training rows from others."""
    return hashlib.sha256(json.dumps([*texts]).encode()).hexdigest()


def config_of(base_id: str, revision: str | None) -> Any:
    """The configuration of a base; loads no weights."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(base_id, revision=revision)


def load_splits(dataset: str | None, folder: TaskFolder, task: TaskSpec) -> Any:
    """The ``DatasetDict`` to train on: a folder or a repo; by default the curated one, else the pushed one."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    if dataset is None and not folder.dataset.exists() and folder.published.exists():
        dataset = json.loads(folder.published.read_text()).get("dataset", {}).get("repo")
    if dataset is None:
        folder.need(folder.split_file("train"), "curate")
        dataset = str(folder.dataset)
    try:
        return load_dataset(dataset)
    except (DatasetNotFoundError, FileNotFoundError, ValueError) as error:
        raise UsageError(
            f"Dataset {dataset!r}",
            expected="a dataset repo or folder with train and validation",
            found=str(error).splitlines()[0],
            next=f"hubtools curate {task.name}",
        ) from error


def labels_of(dataset: Any, task: TaskSpec, asked: str | None) -> LabelSet:
    """The label set whose names the dataset carries.

    Raises:
        UsageError: they are those of no label set of the task, or not of the one asked for.
    """
    feature = dataset["train"].features
    names = tuple(feature["label"].names if task.kind == "sequence" else feature["spans"].feature["label"].names)
    for label_set in task.label_sets:
        if label_set.labels == names and asked in (None, label_set.name):
            return label_set
    raise UsageError(
        f"Labels of the {task.name} dataset",
        expected=" or ".join(f"{s.name}: {', '.join(s.labels)}" for s in task.label_sets if asked in (None, s.name)),
        found=", ".join(names),
        next=f"hubtools curate {task.name} --label-set {asked or task.label_sets[0].name}",
    )
