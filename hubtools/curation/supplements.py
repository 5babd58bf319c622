"""Supplements: which of them join a task's training split, where their files are, and how many rows they may bring."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hubtools import __version__
from hubtools.curation.duplicates import content_hash
from hubtools.curation.sources import SourceFiles, locate
from hubtools.errors import HubtoolsError, SourceError, UsageError
from hubtools.spec import Example, Source, TaskSpec

LENGTHS = "lengths"  # what --without calls the harmless prompts that only match the attacks in length


def check_names(tasks: Iterable[TaskSpec], asked: Sequence[str], left_out: Sequence[str]) -> None:
    """Raises :class:`UsageError` for a name that no task has; one flag may serve several tasks."""
    names = sorted({s.name for task in tasks for s in task.supplements})
    for flag, given, known in (("--supplement", asked, names), ("--without", left_out, sorted([*names, LENGTHS]))):
        for name in given:
            if name not in known:
                raise UsageError(
                    f"Unknown supplement {name!r}", expected="one of " + ", ".join(known), found=f"{flag} {name}",
                    next="hubtools curate --help",
                )  # fmt: skip


def wanted(task: TaskSpec, own_source: bool, asked: Sequence[str], left_out: Sequence[str]) -> list[Source]:
    """The supplements that join: what is asked for, and beside the task's own source what is not optional."""
    return [
        s for s in task.supplements
        if s.name not in left_out and (s.name in asked or (own_source and not s.optional))
    ]  # fmt: skip


def located(supplement: Source) -> SourceFiles:
    """The files of a supplement: of our own writing within the package, else as any source.

    Raises:
        SourceError: it is nowhere; the message says how to do without.
    """
    if supplement.starter:
        folder = Path(__file__).parent.parent / "starter" / supplement.id
        files = tuple((split, folder / name) for split, names in supplement.files.items() for name in names)
        return SourceFiles(supplement, files, f"hubtools {__version__}")
    try:
        return locate(supplement)
    except HubtoolsError as error:
        raise SourceError(
            f"Supplement {supplement.name!r} ({supplement.id}) could not be read", found=str(error).splitlines()[0],
            expected="a dataset repo on this Hub, a mirror of it, or its address on the web",
            next=f"leave it out with --without {supplement.name}, or serve a copy with --mirror DIR",
        ) from error  # fmt: skip


def capped(rows: Mapping[str, Sequence[Example]], shares: Mapping[str, float], others: int) -> dict[str, list[Example]]:
    """As many rows of each supplement as its share of the training split allows.

    Args:
        shares: the most of the whole training split that each may make up, from 0 to 1.
        others: rows of the training split that come from elsewhere.

    Classes take turns, so that the limit costs the largest class most; within a class the choice is by content.
    """
    sizes = {name: len(part) for name, part in rows.items()}
    while True:
        total = others + sum(sizes.values())
        less = {name: min(size, int(shares[name] * total)) for name, size in sizes.items()}
        if less == sizes:
            return {name: _in_turns(part)[: sizes[name]] for name, part in rows.items()}
        sizes = less


def _in_turns(rows: Sequence[Example]) -> list[Example]:
    ranks: dict[str, int] = defaultdict(int)
    order = []
    for row in sorted(rows, key=lambda row: (content_hash(row.text), row.text)):
        order.append((ranks[row.label], row.label, row))
        ranks[row.label] += 1
    return [row for _, _, row in sorted(order, key=lambda entry: entry[:2])]
