"""``hubtools check``: what a run will need, looked at before anything costs time."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hubtools.connection import find_namespace
from hubtools.errors import HubtoolsError
from hubtools.options import SourceOptions, WorkOptions
from hubtools.pipeline import locate_source, locate_supplements
from hubtools.spec import Example
from hubtools.task import TaskSpec

DISK_GIB = 4


def preflight(
    tasks: Sequence[TaskSpec], work: WorkOptions, source: SourceOptions, namespace: str | None, base: str | None
) -> list[dict[str, Any]]:
    """Return a finding a line: ``what``, ``ok`` and ``found``."""
    findings: list[dict[str, Any]] = []

    def look(what: str, call: Callable[[], str]) -> None:
        try:
            findings.append({"what": what, "ok": True, "found": call()})
        except Exception as error:  # whatever it is, the other findings are wanted as well
            said = " ".join(str(error).split())
            findings.append({"what": what, "ok": False, "found": said or type(error).__name__})

    look("token", lambda: f"repos go to {find_namespace(namespace)}")
    for task in tasks:
        look(f"source of {task.name}", lambda task=task: _source(task, source))  # type: ignore[misc]
    look("base model", lambda: _base(base))
    look("disk", lambda: _disk(work.work_dir))
    look("device", _device)
    return findings


def _source(task: TaskSpec, options: SourceOptions) -> str:
    """Reads the whole source as curation would, so that missing columns, unknown labels and classes show here."""
    from hubtools.curation.intake import Drops, read_examples
    from hubtools.curation.reading import read_rows

    found, label_set = locate_source(task, options)
    drops = Drops()
    rows, read = read_examples(task, found, label_set, drops, skip_bad_rows=options.skip_bad_rows)
    for supplement in locate_supplements(task, found, options):  # of which no row stops the curation, but a column does
        for _, path in supplement.files:
            next(read_rows(path, supplement.source.columns))
    told = f"{found.source.id} at {found.revision[:15]}" + (" (starter corpus)" if found.source.starter else "")
    told += f", {read} rows, {drops.total()} dropped"
    return told + "".join(f"; {split or 'to be split'}: {counts}" for split, counts in _classes(rows))


def _classes(rows: Sequence[Example]) -> list[tuple[str, str]]:
    """Labels, or types of spans, with their counts for each split that the source has."""
    held: dict[str, Counter[str]] = {}
    for row in rows:
        held.setdefault(row.split, Counter()).update(row.classes)
    return [
        (split, ", ".join(f"{label} {n}" for label, n in counts.most_common())) for split, counts in held.items()
        if counts
    ]  # fmt: skip


def _base(asked: str | None) -> str:
    from hubtools.training.inputs import resolve_base

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
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return f"{torch.cuda.get_device_name()}, {'bf16' if bf16 else 'fp32'}"
    return f"CPU, {torch.get_num_threads()} threads, fp32"
