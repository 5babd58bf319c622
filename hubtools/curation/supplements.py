"""Supplements: which sources join a task's training split, and which of their rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hubtools.curation.cleaning import Drops, order_by_turns, read_source
from hubtools.curation.facts import count_decisions
from hubtools.curation.leaks import drop_duplicates, drop_leaks, name_group
from hubtools.curation.sources import SourceFiles, are_public, joins
from hubtools.curation.synthesis import fill_rare_types, fill_templates
from hubtools.curation.values import Values
from hubtools.errors import UsageError
from hubtools.records.dataset import DecidedBy, SupplementFacts
from hubtools.spec import Example, LabelSet, Source
from hubtools.task import TaskSpec

LENGTHS = "lengths"  # what --without calls rows that only match the lengths of another label

COPIES = 2  # documents of each template, at least
LEAST_SPANS = 1_250  # of each type, where supplements are templates: 1,000 stay when near-duplicates are out


@dataclass
class SupplementRows:
    """Rows of a supplement on their way into the training split.

    Attributes:
        rows: what joins; of templates, documents made of them.
        read: rows of its files.
        documents: how many were made of its templates.
        drops: what does not join; with the rows it makes up what was read, or the documents.
        decided_by: see :func:`~hubtools.curation.facts.count_decisions`.
    """

    source: Source
    rows: list[Example]
    read: int
    drops: Drops
    decided_by: DecidedBy | None
    documents: int = 0

    def describe(self, train: int) -> SupplementFacts:
        """Return what ``facts.json`` says; shares are of the ``train`` rows of the whole training split."""
        return SupplementFacts(
            id=self.source.id,
            name=self.source.name,
            license=self.source.license,
            read=self.read,
            documents=self.documents,
            dropped=dict(sorted(self.drops.items())),
            rows=len(self.rows),
            share=round(len(self.rows) / max(1, train), 4),
            limit=self.source.share,
            decided_by=self.decided_by,
        )


def list_removable(task: TaskSpec) -> list[str]:
    """Return the names of all that a task adds to its named source: what ``--without`` takes."""
    return [source.name for source in task.sources if source.name and source.role != "test"] + [LENGTHS]


def check_names(tasks: Iterable[TaskSpec], asked: Sequence[str], left_out: Sequence[str]) -> None:
    """Raise :class:`UsageError` for a name that no task has; one flag may serve several tasks."""
    tasks = list(tasks)
    names = {s.name for task in tasks for s in task.sources if s.role in ("training", "values") or s.optional}
    removable = {name for task in tasks for name in list_removable(task)}
    for flag, flag_names, known in (("--supplement", asked, names), ("--without", left_out, removable)):
        for name in flag_names:
            if name not in known:
                raise UsageError(
                    f"Unknown supplement {name!r}",
                    expected="one of " + ", ".join(sorted(known)),
                    found=f"{flag} {name}",
                    next="hubtools curate --help",
                )


def choose_supplements(
    task: TaskSpec, sources: Sequence[SourceFiles], asked: Sequence[str], left_out: Sequence[str], label_set: str = ""
) -> list[Source]:
    """Return the supplements that join ``sources``: those that are asked for, and to public data the usual ones."""
    public = are_public(task, sources)
    read = {files.source.id for files in sources}
    return [
        supplement
        for supplement in task.supplements
        # The starter corpus may be a supplement too: its rows are not read twice.
        if supplement.id not in read
        and joins(supplement, left_out, asked, label_set)
        and (public or supplement.name in asked)
    ]


def choose_values(
    task: TaskSpec, sources: Sequence[SourceFiles], asked: Sequence[str], left_out: Sequence[str]
) -> list[Source]:
    """Return the sources of values for templates: to public data the usual ones, to others those asked for."""
    public = are_public(task, sources)
    return [s for s in task.values if joins(s, left_out, asked, "") and (public or s.name in asked)]


def read_supplements(
    rows: Sequence[Example],
    task: TaskSpec,
    label_set: LabelSet,
    supplements: Sequence[SourceFiles],
    seed: int,
    values: Values,
) -> list[SupplementRows]:
    """Return what the supplements add to the training split of ``rows``, which have splits and no leaks.

    A row stays out where it, or one like it, or one of its group, stands in another split, and where the
    supplement would make up more than its share.
    """
    parts = [_read_supplement(task, files, label_set) for files in supplements]
    # Filled before anything is compared: documents leak by the words of their templates as any row does.
    _fill_supplements(parts, rows, label_set, seed, values)
    held_out_groups = {row.group for row in rows if row.split != "train"}
    before = list(rows)
    for part in parts:
        free = []
        for row in part.rows:
            if row.group and row.group in held_out_groups:
                part.drops.drop("its group stands in another split", row.origin)
            else:
                free.append(replace(row, group=name_group(row), split="train"))
        # Rows of the other splits come first and stay: what follows ``before`` is what is left of this supplement.
        part.rows = drop_leaks([*before, *free], part.drops)[len(before) :]
        before += part.rows
    # Shares are of rows that are left, or what is dropped would make room for more than the limit.
    train = sum(row.split == "train" for row in rows)
    used = limit_shares({p.source.id: p.rows for p in parts}, {p.source.id: p.source.share for p in parts}, train)
    for part in parts:
        within = {row.text for row in used[part.source.id]}
        for row in part.rows:
            if row.text not in within:
                part.drops.drop("beyond its share", row.origin)
        part.rows = used[part.source.id]
    return parts


def _read_supplement(task: TaskSpec, files: SourceFiles, label_set: LabelSet) -> SupplementRows:
    """Return the usable rows of a supplement, one for each text."""
    drops = Drops()
    # A bad row of an addition is not worth stopping the curation for: it is dropped and counted.
    rows, read = read_source(task, files, label_set, drops, skip_bad_rows=True)
    return SupplementRows(files.source, drop_duplicates(rows, drops), read, drops, count_decisions(rows, drops))


def _fill_supplements(
    parts: Sequence[SupplementRows], rows: Iterable[Example], label_set: LabelSet, seed: int, values: Values
) -> None:
    """Put documents in place of templates, and more of those that hold a type which is rare in training."""
    templated = {part.source.id: part for part in parts if part.source.templates}
    templates = [template for part in templated.values() for template in part.rows]
    for part in templated.values():
        part.rows = list(fill_templates(part.rows, "train", COPIES, seed, values))
    train = [row for row in rows if row.split == "train"] + [row for part in parts for row in part.rows]
    # Counted with the sources' own spans: a type that these have plenty of needs no further documents.
    have = Counter(span.type for row in train for span in label_set.map_labels(row).spans)
    for document in fill_rare_types(templates, have, label_set.mapping, LEAST_SPANS, seed, values):
        templated[document.source].rows.append(document)
    for part in templated.values():
        part.documents = len(part.rows)


def limit_shares(
    rows: Mapping[str, Sequence[Example]], shares: Mapping[str, float], others: int
) -> dict[str, list[Example]]:
    """Return as many rows of each supplement as its share of the training split allows.

    Args:
        shares: the most of the whole training split that each may make up, from 0 to 1.
        others: rows of the training split that come from elsewhere.

    Classes take turns, so that the limit costs the largest class most; within a class the choice is by content.
    """
    sizes = {name: len(part) for name, part in rows.items()}
    # The limit is a share of the whole, which every cut makes smaller: repeat until nothing is cut.
    while True:
        total = others + sum(sizes.values())
        less = {name: min(size, int(shares[name] * total)) for name, size in sizes.items()}
        if less == sizes:
            return {name: order_by_turns(part)[: sizes[name]] for name, part in rows.items()}
        sizes = less
