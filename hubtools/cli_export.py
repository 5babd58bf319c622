"""``hubtools export``: released models in the form in which they are run elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hubtools.errors import UsageError
from hubtools.option_groups import omit, takes_groups
from hubtools.options import HubOptions, Json, TaskFile, WorkOptions, show
from hubtools.records import write_whole
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, TASKS, select_tasks

# A further form is a name here, a branch in export(), and a module in hubtools/export/.
Form = Literal["router"]


@takes_groups
def export(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="TASK...", help=f"Any of {', '.join(TASKS)}, or all.", show_default=False),
    ] = None,
    *,
    task_file: TaskFile = None,
    to: Annotated[
        Form, typer.Option(help="router: one router.yaml for the vLLM Semantic Router, of the published models.")
    ],
    out: Annotated[Path | None, typer.Option(help="File to write. [default: stdout]")] = None,
    hub: Annotated[HubOptions, omit("mirrors")],
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Write released models in the form in which they are run elsewhere."""
    tasks = _select(names or [], task_file)
    hub.connect()
    from hubtools.export.router import export_router_settings

    content = export_router_settings(tasks, work.work_dir)
    if out is not None:
        with write_whole(out) as part:
            part.write_text(content, encoding="utf-8")
    told = {"form": to, "tasks": [task.name for task in tasks], "path": str(out) if out else None, "content": content}
    show(told, json_output, [str(out) if out else content.rstrip("\n")])


def _select(names: list[str], task_file: Path | None) -> list[TaskSpec]:
    """Return the tasks that are named, each once, in the order of their names."""
    if MULTI in names:
        raise UsageError(
            "The multitask model has one body and four heads, which the Semantic Router does not load",
            expected="any of " + ", ".join((*TASKS, "all")),
            found=MULTI,
            next="hubtools export all --to router: each task's own repo has the same weights",
        )
    tasks = [task for name in names for task in select_tasks(name, None)]
    if task_file is not None or not names:
        tasks += select_tasks(None, task_file)
    return [*{task.name: task for task in tasks}.values()]


COMMANDS = (export,)
