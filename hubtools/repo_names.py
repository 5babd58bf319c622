"""Which repos a work folder is pushed to, as ``owner/name``."""

from __future__ import annotations

from hubtools.connection import find_namespace
from hubtools.options import RepoOptions, WorkOptions
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, MULTI_MODEL, find_base
from hubtools.workdir import task_folder


def name_dataset_repo(task: TaskSpec, repos: RepoOptions) -> str:
    """Return the repo of a task's dataset; raises :class:`HubUnavailable` without a token."""
    return f"{find_namespace(repos.namespace)}/{repos.dataset_name or task.dataset_name}"


def name_model_repo(task: TaskSpec, work: WorkOptions, repos: RepoOptions, base: str | None = None) -> str:
    """Return the repo of a task's model, whose name follows the base that it was trained from.

    Args:
        base: that it will be trained from; None for the one that its training tells.
    """
    name = repos.model_name
    if name is None:
        base = base or work.folder(task).read_training().base
        name = task.model_name.format(base=find_base(base).short_name)
    return f"{find_namespace(repos.namespace)}/{name}"


def name_multitask_repo(work: WorkOptions, repos: RepoOptions) -> str:
    """Return the one repo that answers all four."""
    name = repos.model_name
    if name is None:
        base = task_folder(work.work_dir, MULTI).read_multitask_training().base
        name = MULTI_MODEL.format(base=find_base(base).short_name)
    return f"{find_namespace(repos.namespace)}/{name}"


def name_space_repo(repos: RepoOptions) -> str:
    """Return the repo of the Space."""
    # Imported late: most commands have no Space.
    from hubtools.publishing.space import NAME

    return f"{find_namespace(repos.namespace)}/{repos.space_name or NAME}"
