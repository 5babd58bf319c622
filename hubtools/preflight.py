"""``hubtools check``: what a run will need, looked at before anything costs time."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hubtools.connection import find_namespace
from hubtools.dataset_inputs import locate_sources, locate_supplements
from hubtools.errors import HubtoolsError, SourceError
from hubtools.options import SourceOptions, WorkOptions
from hubtools.records.figures import estimate_training, find_figure
from hubtools.spec import Example
from hubtools.task import TaskSpec
from hubtools.tasks import find_base
from hubtools.training.devices import describe_device, describe_estimate, find_device, list_figures
from hubtools.training.presets import choose_preset

USUAL_LENGTH = 512  # tokens that are read of a text
SAMPLE = 200  # texts whose tokens are counted
TRAINING_SHARE, VALIDATION_SHARE = 0.8, 0.1  # where the sources have no splits of their own
DISK_GIB = 4  # for a model with its checkpoints, and the datasets

_MOST_REVISION = 15  # characters of a revision in a line


@dataclass(frozen=True)
class Finding:
    """One thing that a run needs: whether it is there, and what is there instead."""

    what: str
    ok: bool
    found: str


def check_requirements(
    tasks: Sequence[TaskSpec], work: WorkOptions, source: SourceOptions, namespace: str | None, base: str | None
) -> list[Finding]:
    """Return one finding for each thing that a run needs."""
    findings: list[Finding] = []
    rows_of: dict[str, Sequence[Example]] = {}

    def check(what: str, call: Callable[[], str]) -> None:
        try:
            findings.append(Finding(what, True, call()))
        except Exception as error:  # whatever it is, the other findings are needed as well
            message = " ".join(str(error).split())
            findings.append(Finding(what, False, message or type(error).__name__))

    # What costs nothing first; sources may have to be downloaded.
    check("token", lambda: f"repos go to {find_namespace(namespace)}")
    for task in tasks:
        check(f"source of {task.name}", lambda task=task: _check_sources(task, source, rows_of))  # type: ignore[misc]
    check("base model", lambda: _check_base(base))
    check("disk", lambda: _check_disk(work.work_dir))
    check("device", _describe_device)
    for task in tasks:
        if rows := rows_of.get(task.name):
            check(f"training of {task.name}", lambda task=task, rows=rows: _estimate(task, rows, work, base))  # type: ignore[misc]
    return findings


def _check_sources(task: TaskSpec, options: SourceOptions, rows_of: dict[str, Sequence[Example]]) -> str:
    """Read all sources as curation would, and rehearse it: what would stop it, and what would be lost, shows here.

    Args:
        rows_of: takes the rows of the task.
    """
    from hubtools.curation.build import CurationInputs, describe_files, describe_label_maps, rehearse
    from hubtools.curation.cleaning import Drops, read_pool
    from hubtools.curation.source_rows import iterate_rows

    sources, label_set = locate_sources(task, options)
    drops = Drops()
    # No row of a supplement stops a curation, but a missing column does.
    supplements = locate_supplements(task, sources, options, label_set)
    reading = describe_files(sources)
    for supplement in supplements:
        next(iterate_rows(supplement))
    try:
        rows, read = read_pool(task, sources, label_set, drops, skip_bad_rows=options.skip_bad_rows)
        rehearse(task, CurationInputs(sources, label_set, supplements, seed=options.seed), rows, drops)
    except SourceError as error:
        subject = "; ".join([*reading, error.subject])
        raise SourceError(subject, expected=error.expected, found=error.found, next=error.next) from error
    rows_of[task.name] = rows
    names = [
        f"{files.source.id} at {files.revision[:_MOST_REVISION]}"
        + (" (starter corpus)" if files.source.starter else "")
        for files in sources
    ]
    summary = f"{' and '.join(names)}, {sum(read.values())} rows, {drops.total()} dropped"
    summary += "".join(f"; {split or 'to be split'}: {counts}" for split, counts in _count_classes(rows))
    return "; ".join([summary, *reading, *describe_label_maps(sources), *drops.describe()])


def _count_classes(rows: Sequence[Example]) -> list[tuple[str, str]]:
    """Return labels, or types of spans, with their counts for each split that the sources have."""
    by_split: dict[str, Counter[str]] = {}
    for row in rows:
        by_split.setdefault(row.split, Counter()).update(row.classes)
    return [
        (split, ", ".join(f"{label} {n}" for label, n in counts.most_common()))
        for split, counts in by_split.items()
        if counts
    ]


def _check_base(asked: str | None) -> str:
    from hubtools.training.inputs import resolve_base

    return resolve_base(asked)


def _check_disk(folder: Path) -> str:
    # The work folder may not be there yet: the disk is that of its first parent that is.
    existing = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free / 2**30
    if free < DISK_GIB:
        raise HubtoolsError(f"Disk of {existing}", expected=f"{DISK_GIB} GiB free", found=f"{free:.1f} GiB")
    return f"{free:.0f} GiB free at {existing}"


def _estimate(task: TaskSpec, rows: Sequence[Example], work: WorkOptions, base: str | None) -> str:
    """Return how long the training will take, as far as that is known before a row is encoded."""
    from transformers import AutoTokenizer

    from hubtools.training.inputs import find_commit, load_config, resolve_base

    base = resolve_base(base)
    revision = find_commit(base)
    config = load_config(base, revision)
    device = describe_device(find_device())
    figure = find_figure(list_figures(work.work_dir), device, config.num_hidden_layers, config.hidden_size)
    train = [row for row in rows if row.split == "train"] or rows[: int(TRAINING_SHARE * len(rows))]
    preset, _ = choose_preset(len(train), task, find_base(base), config.hidden_size)
    tokenizer = AutoTokenizer.from_pretrained(base, revision=revision)
    some = [row.text for row in train[:: max(1, len(train) // SAMPLE)]]
    counted = tokenizer(some, truncation=True, max_length=USUAL_LENGTH)["input_ids"]
    tokens = sum(len(ids) for ids in counted) / len(some) * len(train)
    steps = max(1, len(train) // preset.batch_size)
    evaluations = preset.epochs * (steps / preset.eval_steps if 0 < preset.eval_steps <= steps else 1)
    evaluated = tokens * VALIDATION_SHARE / TRAINING_SHARE * evaluations
    return describe_estimate(estimate_training(figure, tokens * preset.epochs, evaluated) if figure else None, device)


def _describe_device() -> str:
    import torch

    if torch.cuda.is_available():
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return f"{torch.cuda.get_device_name()}, {'bf16' if bf16 else 'fp32'}"
    return f"CPU, {torch.get_num_threads()} threads, fp32"
