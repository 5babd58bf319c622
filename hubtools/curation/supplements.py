"""Supplements: which of them join a task's training split, where their files are, and which rows they bring."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hubtools import __version__
from hubtools.curation.describe import decided_by
from hubtools.curation.duplicates import content_hash
from hubtools.curation.intake import Drops, read_examples
from hubtools.curation.leaks import own_group, without_duplicates, without_leaks
from hubtools.curation.sources import SourceFiles, locate
from hubtools.curation.synthesis import documents, topped_up
from hubtools.errors import HubtoolsError, SourceError, UsageError
from hubtools.spec import Example, LabelSet, Source
from hubtools.task import TaskSpec

LENGTHS = "lengths"  # what --without calls the harmless prompts that only match the attacks in length

COPIES = 2  # documents of each template, at least
LEAST_SPANS = 1_250  # of each type, where supplements are templates: 1,000 stay when near-duplicates are out


@dataclass
class Joined:
    """A supplement on its way into the training split.

    Attributes:
        rows: what joins; of templates, documents made of them.
        read: rows of its files.
        documents: how many were made of its templates.
        drops: what does not join; with the rows it makes up what was read, or the documents.
        decided_by: see :func:`decided_by`.
    """

    source: Source
    rows: list[Example]
    read: int
    drops: Drops
    decided_by: dict[str, Any] | None
    documents: int = 0

    def facts(self, train: int) -> dict[str, Any]:
        """For ``facts.json``; shares are of the ``train`` rows of the whole training split."""
        return {
            "id": self.source.id, "name": self.source.name, "license": self.source.license, "read": self.read,
            "documents": self.documents, "dropped": dict(sorted(self.drops.items())), "rows": len(self.rows),
            "share": round(len(self.rows) / max(1, train), 4), "limit": self.source.share,
            "decided_by": self.decided_by,
        }  # fmt: skip


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


def wanted(task: TaskSpec, source: Source, asked: Sequence[str], left_out: Sequence[str]) -> list[Source]:
    """The supplements that join ``source``: what is asked for, and beside the task's own what is not optional."""
    own = source is task.source
    return [
        s for s in task.supplements
        if s.name not in left_out and s.id != source.id and (s.name in asked or (own and not s.optional))
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


def supplemented(
    rows: Sequence[Example], task: TaskSpec, label_set: LabelSet, supplements: Sequence[SourceFiles], seed: int
) -> list[Joined]:
    """What the supplements bring to the training split beside ``rows``, which have splits and no leaks.

    A row stays out where it, or one like it, or one of its group, stands in another split, and where the
    supplement would make up more than its share.
    """
    joined = [_read(task, files, label_set) for files in supplements]
    _fill(joined, rows, label_set, seed)
    held = {row.group for row in rows if row.split != "train"}
    before = list(rows)
    for part in joined:
        free = []
        for row in part.rows:
            if row.group and row.group in held:
                part.drops.drop("its group stands in another split", row.place)
            else:
                free.append(replace(row, group=own_group(row), split="train"))
        part.rows = without_leaks([*before, *free], part.drops)[len(before) :]
        before += part.rows
    train = sum(row.split == "train" for row in rows)
    used = capped({p.source.id: p.rows for p in joined}, {p.source.id: p.source.share for p in joined}, train)
    for part in joined:
        within = {row.text for row in used[part.source.id]}
        for row in part.rows:
            if row.text not in within:
                part.drops.drop("beyond its share", row.place)
        part.rows = used[part.source.id]
    return joined


def _read(task: TaskSpec, files: SourceFiles, label_set: LabelSet) -> Joined:
    drops = Drops()
    rows, read = read_examples(task, files, label_set, drops, skip_bad_rows=True, every_class=False)
    return Joined(files.source, without_duplicates(rows, drops), read, drops, decided_by(rows, drops))


def _fill(joined: Sequence[Joined], rows: Iterable[Example], label_set: LabelSet, seed: int) -> None:
    """Put documents in place of templates, and more of those that hold a type which is rare in training."""
    made_of = {part.source.id: part for part in joined if part.source.templates}
    templates = [template for part in made_of.values() for template in part.rows]
    for part in made_of.values():
        part.rows = list(documents(part.rows, "train", COPIES, seed))
    train = [row for row in rows if row.split == "train"] + [row for part in joined for row in part.rows]
    have = Counter(span.type for row in train for span in label_set.mapped(row).spans)
    for document in topped_up(templates, have, label_set.mapping, LEAST_SPANS, seed):
        made_of[document.source].rows.append(document)
    for part in made_of.values():
        part.documents = len(part.rows)


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
