"""``hubtools rollback``: an older release is main again, and what shows it follows."""

from __future__ import annotations

from collections.abc import Sequence

from hubtools.connection import open_client
from hubtools.errors import HubUnavailable
from hubtools.known_tasks import list_known_tasks
from hubtools.options import PushOptions, RepoOptions, WorkOptions
from hubtools.pipeline import note_push, push_collection_of, push_space_of
from hubtools.publishing.changes import Change
from hubtools.publishing.collection import CollectionChange
from hubtools.publishing.commits import ParentMoved
from hubtools.publishing.rollback import Target, find_target, roll_back
from hubtools.records.release import Published, PublishedCollection
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI
from hubtools.workdir import TaskFolder, read_published_together, task_folder

Pushed = Published | Change | PublishedCollection | CollectionChange


def roll_back_repo(name: str, tag: str, work: WorkOptions, *, dry_run: bool = False) -> dict[str, Pushed]:
    """Make a release main again, then bring Space and collection of the work folder after it.

    Args:
        name: of the repo, ``owner/name``, with ``models/`` or ``datasets/`` before it where both are called so.

    Returns:
        by "model" or "dataset", "space" and "collection" what was pushed; of a dry run what would change in the repo.
    """
    target = find_target(open_client(), name, tag)
    try:
        pushed = roll_back(open_client(), target, PushOptions(dry_run=dry_run))
    except ParentMoved as error:
        raise HubUnavailable(
            f"Somebody pushed to {target.repo} meanwhile",
            expected="the commit that was there before",
            found="a newer one",
            next="look at it, then run the same command again",
        ) from error
    note_push(work, "rollback", target.kind, pushed)
    done: dict[str, Pushed] = {target.kind: pushed}
    if not isinstance(pushed, Published):
        return done
    work.note(f"rollback: {target.repo} holds the files of {tag} again, as {pushed.tag}")
    if target.kind == "dataset":
        work.note(f"rollback: models keep the revision that they were trained on; {tag} is that of their next training")
        return done
    tasks = {task.name: task for task in list_known_tasks(work.work_dir)}
    folder = _find_folder(target, [*tasks, MULTI], work)
    if folder is None:
        work.note(
            f"rollback: {target.repo} was not published from {work.work_dir}: where it was, push-space and "
            "push-collection bring Space and collection after it"
        )
        return done
    folder.record_published("model", pushed)
    return done | _follow(target, tasks, work)


def _find_folder(target: Target, names: Sequence[str], work: WorkOptions) -> TaskFolder | None:
    """Return the folder of the task that the model was published from, if it is in this work folder."""
    for folder in (task_folder(work.work_dir, name) for name in names):
        if folder.published.exists():
            model = folder.read_published("push-model").model
            if model and model.repo == target.repo:
                return folder
    return None


def _follow(target: Target, tasks: dict[str, TaskSpec], work: WorkOptions) -> dict[str, Pushed]:
    """Pin the new commit in the Space, and tell it in the notes of the collection, where there are such."""
    there = read_published_together(work.work_dir)
    done: dict[str, Pushed] = {}
    if there.space:
        owner, space = there.space.repo.split("/")
        repos = RepoOptions(namespace=owner, space_name=space)
        done["space"] = push_space_of([*tasks.values()], work, repos, PushOptions())
    if there.collection:
        # Those tasks alone that it was made for.
        held = {item.repo for item in there.collection.items}
        names = [name for name in (*tasks, MULTI) if held & _list_repos(task_folder(work.work_dir, name))]
        repos = RepoOptions(namespace=there.collection.slug.split("/")[0])
        done["collection"] = push_collection_of(names, work, repos, PushOptions())
    return done


def _list_repos(folder: TaskFolder) -> set[str]:
    if not folder.published.exists():
        return set()
    published = folder.read_published("push-model")
    return {release.repo for release in (published.dataset, published.model) if release}
