"""The four tasks, as values, and where a task comes from: its name, or a file of one's own."""

from __future__ import annotations

import statistics
from pathlib import Path

from hubtools.errors import UsageError
from hubtools.spec import BaseModel, Metric
from hubtools.task import TaskSpec
from hubtools.tasks.category import CATEGORY
from hubtools.tasks.intent import INTENT
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII

TASKS: dict[str, TaskSpec] = {task.name: task for task in (CATEGORY, PII, JAILBREAK, INTENT)}

# All four trained together on one body. No fifth task: it has neither rows nor labels of its own.
MULTI = "multi"
MULTI_MODEL = "router_classifiers_{base}_multi_model"
# What the checkpoint of a training of all four is chosen by.
MEAN_SCORE = Metric("mean", "mean of the four", statistics.fmean, "mean")

# Pinned: another commit of a base would be another model under the same name.
MODERNBERT = BaseModel("answerdotai/ModernBERT-base", revision="8949b909ec900327062f0ebf497f51aef5e6f0c8")
# An encoder whose embeddings are trained already: what few-shot training starts from.
EMBEDDING = BaseModel("nomic-ai/modernbert-embed-base")
# Ours, packaged: what there is to train from where a Hub has no other encoder.
NANO = BaseModel(
    "hubtools/modernbert-nano",
    # Its score on a few validation templates jumps up and down while it learns: patience would stop it halfway.
    by_task={"pii": {"epochs": 4.5, "batch_size": 16, "patience": 9}},
    note="nano model: a small stand-in that shows the work, not what ModernBERT-base reaches",
)
# Further encoders of the family ModernBERT, which the Semantic Router loads: docs/bases.md says what each is. Their
# commits are found at first use, and recorded with the training.
MMBERT = tuple(BaseModel(f"jhu-clsp/mmBERT-{size}") for size in ("small", "base"))
ETTIN = tuple(BaseModel(f"jhu-clsp/ettin-encoder-{size}") for size in ("17m", "32m", "68m", "150m", "400m", "1b"))
BASES: dict[str, BaseModel] = {base.id: base for base in (MODERNBERT, EMBEDDING, *MMBERT, *ETTIN, NANO)}


def find_task(name: str) -> TaskSpec:
    """Return the built-in task called ``name``; raises :class:`UsageError` for any other name."""
    if name not in TASKS:
        raise UsageError(
            f"Unknown task {name!r}", expected="one of " + ", ".join((*TASKS, "all")), next="hubtools --help"
        )
    return TASKS[name]


def select_tasks(name: str | None, task_file: Path | None) -> list[TaskSpec]:
    """Return the tasks that a command is about: of a file the one it describes, else the named one, or all four.

    Args:
        name: a task, or "all"; with a file, nothing else than its own name, and it may be left out.
        task_file: a YAML file that describes a task.

    Raises:
        UsageError: no such task, none asked for, or a file that is wrong or describes another.
    """
    if task_file is not None:
        # Imported late: a task file is made of what this module holds.
        from hubtools.tasks.file import read_task_file

        task = read_task_file(task_file)
        # "all" is what some commands take where nothing is said.
        if name not in (None, "all", task.name):
            raise UsageError(
                f"Task file {str(task_file)!r} describes the task {task.name!r}",
                expected=f"{task.name}, or no task beside --task-file",
                found=str(name),
                next=f"leave {name} out, or leave --task-file out",
            )
        return [task]
    if name is None:
        raise UsageError(
            "No task is named",
            expected="one of " + ", ".join((*TASKS, "all")) + ", or --task-file FILE for a task of your own",
            next="hubtools --help",
        )
    return list(TASKS.values()) if name == "all" else [find_task(name)]


def find_base(repo_id: str) -> BaseModel:
    """Return the base that is known by this repo, else a base without defaults: any encoder can be trained."""
    return BASES.get(repo_id, BaseModel(repo_id))


def list_named_sources(*, optional: bool) -> str:
    """Return the names of sources that join when they are asked for, or else unless left out, with their tasks."""
    of_tasks = {
        task.name: [s.name for s in task.sources if s.name and s.role != "test" and s.optional == optional]
        for task in TASKS.values()
    }
    return "; ".join(f"{', '.join(names)} of {task}" for task, names in of_tasks.items() if names) or "there is none"


def list_augmentations() -> str:
    """Return what makes rows of the training split's by default: names with shares, and their tasks."""
    return "; ".join(
        f"{', '.join(f'{made.name}={made.share:g}' for made in task.augmentations)} of {task.name}"
        for task in TASKS.values()
        if task.augmentations
    )
