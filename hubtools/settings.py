"""What the flags hold."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hubtools.rows import Columns
from hubtools.task import TaskSpec
from hubtools.workdir import DEFAULT, TaskFolder, task_folder


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Settings:
    """What the flags hold, for every stage.

    Attributes:
        label_sets: names of label sets, or ``task=name`` for one of several tasks.
        source: a user's own file, its address, or a dataset repo, in place of the task's.
        columns: names of the columns in it, and the map of its labels.
        license: what its owner says it is under.
        supplements, without: names of supplements that join although they are optional, or stay out.
        accept_license: push what may not be published, to a private repo.
        gated: "auto" or "manual", where readers of a dataset must ask for it.
        target_fpr, target_recall: what a threshold is chosen for; see evaluation/thresholds.py.
        names: repo names by what they name ("dataset", "model", "space"), where they differ from ours.
        processes, jobs: of a training, and trainings side by side; on a CPU its threads are divided among all.
        baselines: those that cost time, such as "setfit"; for the tasks that they can be had for.
        training: flags for ``finetune.py``, as they were given.
    """

    work_dir: Path = DEFAULT
    namespace: str | None = None
    label_sets: tuple[str, ...] = ()
    source: str | None = None
    columns: Columns = field(default_factory=Columns)
    license: str | None = None
    skip_bad_rows: bool = False
    supplements: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    seed: int = 0
    base: str | None = None
    processes: int = 1
    jobs: int = 1
    training: tuple[str, ...] = ()
    target_fpr: float | None = None
    target_recall: float | None = None
    private: bool = False
    create_pr: bool = False
    dry_run: bool = False
    accept_license: bool = False
    gated: str | None = None
    dataset_name: str | None = None
    model_name: str | None = None
    space_name: str | None = None
    baselines: tuple[str, ...] = ()
    note: Callable[[str], None] = _to_stderr

    def folder(self, task: TaskSpec) -> TaskFolder:
        return task_folder(self.work_dir, task.name)
