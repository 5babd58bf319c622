"""``hubtools export``: released models in the form in which they are run elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hubtools.errors import UsageError
from hubtools.option_groups import omit, takes_groups
from hubtools.options import HubOptions, Json, TaskFile, WorkOptions, show
from hubtools.records import write_whole
from hubtools.records.onnx import OnnxExport
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, TASKS, select_tasks
from hubtools.workdir import task_folder

# A further form is a name here and a branch in export(); what it writes is a part of its own.
Form = Literal["onnx", "router"]


@takes_groups
def export(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TASK...", help=f"Any of {', '.join(TASKS)}, or all; to onnx also multi.", show_default=False
        ),
    ] = None,
    *,
    task_file: TaskFile = None,
    to: Annotated[
        Form,
        typer.Option(
            help="router: one router.yaml for the vLLM Semantic Router, of the published models. onnx: files for ONNX "
            "Runtime and Transformers.js, fp32 and int8, beside the weights here; push-model takes them along."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="With --to router: the file to write. [default: stdout]")] = None,
    hub: Annotated[HubOptions, omit("mirrors")],
    work: WorkOptions,
    json_output: Json = False,
) -> None:
    """Write models in the form in which they are run elsewhere."""
    if to == "onnx":
        if out is not None:
            raise UsageError(
                "--to onnx writes beside the weights",
                found=f"--out {out}",
                next="leave --out out; --work-dir says where",
            )
        hub.connect()
        records = _export_onnx(names or [], task_file, work)
        folders = {name: task_folder(work.work_dir, name).model / to for name in records}
        files = [str(folders[name] / file) for name, record in records.items() for file in record.files]
        show(records, json_output, files)
        return
    tasks = _select(names or [], task_file)
    hub.connect()
    from hubtools.export.router import export_router_settings

    content = export_router_settings(tasks, work.work_dir)
    if out is not None:
        with write_whole(out) as part:
            part.write_text(content, encoding="utf-8")
    told = {"form": to, "tasks": [task.name for task in tasks], "path": str(out) if out else None, "content": content}
    show(told, json_output, [str(out) if out else content.rstrip("\n")])


def _export_onnx(names: list[str], task_file: Path | None, work: WorkOptions) -> dict[str, OnnxExport]:
    """Write the ONNX files of the tasks that are named and, where it is named, of the model of all of them."""
    others = [name for name in names if name != MULTI]
    # Multi alone names no further task.
    tasks = _select(others, task_file) if others or MULTI not in names else []
    from hubtools import pipeline

    records = {task.name: pipeline.export_onnx(task, work) for task in tasks}
    return records | ({MULTI: pipeline.export_multitask_onnx(work)} if MULTI in names else {})


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
