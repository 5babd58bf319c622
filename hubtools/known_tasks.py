"""The tasks that a work folder may hold: the built-in ones, and a user's own, whose files are kept there."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hubtools.records import write_whole
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS
from hubtools.tasks.file import read_task_file
from hubtools.workdir import TaskFolder

KEPT = "task.yaml"  # the copy's name, in the folder of its task


def keep_task_file(task: TaskSpec, folder: TaskFolder) -> None:
    """Copy the file that describes ``task``, if there is one, into its folder.

    A later command about the whole work folder, such as ``push-space``, knows the task by this copy.
    """
    if task.file is None:
        return
    with write_whole(folder.root / KEPT) as part:
        part.write_bytes(task.file.read_bytes())


def list_known_tasks(work_dir: Path, further: Iterable[TaskSpec] = ()) -> list[TaskSpec]:
    """Return the built-in tasks, those whose files are kept in the work folder, and ``further`` ones.

    Of tasks of one name the last of these counts.

    Raises:
        UsageError: a kept file was damaged, or is of a version with other keys.
    """
    # A file that is given is newer than its copy: it comes last, and counts.
    kept = (read_task_file(path) for path in sorted(work_dir.glob(f"*/{KEPT}")))
    return [*(TASKS | {task.name: task for task in (*kept, *further)}).values()]
