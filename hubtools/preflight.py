"""``hubtools check``: what a run will need, looked at before anything costs time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hubtools.connection import namespace
from hubtools.errors import HubtoolsError
from hubtools.spec import TaskSpec

DISK_GIB = 4


def preflight(tasks: Sequence[TaskSpec], settings: Any) -> list[dict[str, Any]]:
    """A finding a line: ``what``, ``ok`` and ``found``."""
    findings: list[dict[str, Any]] = []

    def look(what: str, call: Callable[[], str]) -> None:
        try:
            findings.append({"what": what, "ok": True, "found": call()})
        except Exception as error:  # whatever it is, the other findings are wanted as well
            said = " ".join(str(error).split())
            findings.append({"what": what, "ok": False, "found": said or type(error).__name__})

    look("token", lambda: f"repos go to {namespace(settings.namespace)}")
    for task in tasks:
        look(f"source of {task.name}", lambda task=task: _source(task))  # type: ignore[misc]
    look("base model", lambda: _base(settings.base))
    look("disk", lambda: _disk(settings.work_dir))
    look("device", _device)
    return findings


def _source(task: TaskSpec) -> str:
    """Finds the source, and what joins it, and reads a first row, so that a missing column shows here."""
    from hubtools.curation.sources import locate, read_rows
    from hubtools.curation.supplements import located, wanted

    found = locate(task.source, task.starter)
    for part in (found, *map(located, wanted(task, found.source is task.source, (), ()))):
        for _, path in part.files:
            next(read_rows(path, part.source.columns))
    return f"{found.source.id} at {found.revision[:8]}" + (" (starter corpus)" if found.source.starter else "")


def _base(asked: str | None) -> str:
    from hubtools.finetune import resolve_base

    return resolve_base(asked)


def _disk(folder: Path) -> str:
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free / 2**30
    if free < DISK_GIB:
        raise HubtoolsError(f"Disk of {existing}", expected=f"{DISK_GIB} GiB free", found=f"{free:.1f} GiB")
    return f"{free:.0f} GiB free at {existing}"


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.get_device_name()}, {'bf16' if torch.cuda.is_bf16_supported() else 'fp32'}"
    return f"CPU, {torch.get_num_threads()} threads, fp32"
