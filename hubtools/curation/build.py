"""Curate one task: from its sources to ``dataset/``, ``audit.csv``, ``dropped.jsonl`` and ``facts.json``.

The order is what makes the numbers honest: read and clean, drop duplicates, split by group, drop what would leak,
and only then add supplements and synthetic rows, to the training split alone. Sources that are only ever scored are
never read here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from hubtools import __version__
from hubtools.curation.audit import write_audit
from hubtools.curation.augmentation import augment
from hubtools.curation.cleaning import UNCLEAN, Drops, read_pool
from hubtools.curation.corrections import Corrections, Corrector
from hubtools.curation.facts import COMPARISON, choose_examples, count_decisions, describe_licence, describe_source
from hubtools.curation.label_maps import LabelsOfRows
from hubtools.curation.languages import find_languages
from hubtools.curation.leaks import PRECEDENCE, assign_groups, count_leaks, drop_duplicates, drop_leaks
from hubtools.curation.parquet import write_split
from hubtools.curation.reading import describe_reading
from hubtools.curation.sources import SourceFiles, name_sources
from hubtools.curation.split import SPLITS, split_groups
from hubtools.curation.supplements import SupplementRows, read_supplements
from hubtools.curation.synthesis import describe_synthesis, fill_templates
from hubtools.curation.values import Values, read_values
from hubtools.errors import DamagedRecord, SourceError
from hubtools.records import from_json, write_record
from hubtools.records.dataset import CorrectionFacts, Counts, DatasetFacts, DecidedBy, SourceFacts
from hubtools.spec import Example, LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder, replace_folder, sha256_of

FACTS = 5  # bumped when facts.json says more, or says it otherwise

_REHEARSED = 5_000  # first rows of a large source that a rehearsal takes, and as many of the others
_MOST_LOST = 0.5

# Documents made of each template of a source that gives templates for every split.
TEMPLATE_COPIES = {"train": 6, "validation": 4, "test": 4}


@dataclass(frozen=True)
class CurationInputs:
    """All that decides the content of a dataset, besides its task.

    Attributes:
        sources: with rows for every split; at least one. The first is the main one.
        label_set: the dataset's labels, and how the sources' labels are mapped to them.
        supplements: what joins the training split, each up to its share.
        values: what the slots of templates are filled with beside the values that are made.
        augmentations: names of what makes rows of the training split's, with the share of it that each is to make.
        skip_bad_rows: drop and count rows that cannot be read or have an unknown label; otherwise they stop the
            curation, with the origins of the first of them.
        match_lengths: add rows to the training split so that length alone does not tell the label.
        languages: of the texts, as somebody names them; none where they are known or are to be found.
        corrections: of labels, by a person; None for none.
    """

    sources: tuple[SourceFiles, ...]
    label_set: LabelSet
    supplements: tuple[SourceFiles, ...] = ()
    values: tuple[SourceFiles, ...] = ()
    augmentations: tuple[tuple[str, float], ...] = ()
    seed: int = 0
    skip_bad_rows: bool = False
    match_lengths: bool = False
    languages: tuple[str, ...] = ()
    corrections: Corrections | None = None


def compute_fingerprint(task: TaskSpec, inputs: CurationInputs) -> str:
    """Return the SHA-256 of all that decides the dataset's content, in hex; nothing is curated again while it stays."""
    digest = hashlib.sha256()
    for part in (*inputs.sources, *inputs.supplements, *inputs.values):
        # Content alone decides, not when a file was written or where it lies.
        digest.update(
            f"{part.source.id} {part.source.share} {part.source.most} {part.source.license} {part.encoding}".encode()
        )
        for split, path in part.files:
            digest.update(split.encode() + bytes.fromhex(sha256_of(path)))
    main, *others = inputs.sources
    # The version of hubtools as well: any of its rules may have changed.
    content = [__version__, FACTS, task.name, task.version, main.source.columns, _describe_mapping(main)]
    content += [inputs.label_set.name, inputs.seed, inputs.skip_bad_rows, inputs.match_lengths]
    content += [inputs.languages, inputs.augmentations]
    content += [inputs.corrections.sha256] if inputs.corrections else []
    # Further sources are named, so that one of them is told from a supplement with the same file.
    content += [[other.source.id, other.source.columns, _describe_mapping(other)] for other in others]
    digest.update(json.dumps(content).encode())
    return digest.hexdigest()


def _describe_mapping(files: SourceFiles) -> dict[str, object]:
    """Return how a user's own columns are read, for the fingerprint; {} for a layout that the task knows."""
    if files.mapping is None:
        return {}
    # A map without a line maps nothing, and is the same as none.
    label_map = {"label_map": files.mapping.label_map} if files.mapping.label_map else {}
    return {"columns": files.mapping.columns, "features": files.features, **label_map}


def curate(
    task: TaskSpec, folder: TaskFolder, inputs: CurationInputs, note: Callable[[str], None] = lambda _: None
) -> DatasetFacts:
    """Write ``folder.dataset``, ``folder.audit``, ``folder.dropped`` and ``folder.facts``, and return the facts.

    Nothing is written where the dataset in the folder is of the same inputs.

    Raises:
        SourceError: the sources lack what the task needs.
    """
    fingerprint = compute_fingerprint(task, inputs)
    known = _read_known_facts(folder)
    if known and known.fingerprint == fingerprint:
        note(f"{task.name}: dataset is up to date")
        return known

    for line in describe_files(inputs.sources):
        note(f"{task.name}: {line}")
    dropped = Drops()
    try:
        rows, read = read_pool(task, inputs.sources, inputs.label_set, dropped, skip_bad_rows=inputs.skip_bad_rows)
        for line in describe_label_maps(inputs.sources):
            note(f"{task.name}: {line}")
        content = _make_content(task, inputs, rows, sum(read.values()), dropped)
        _check_classes(content, task, inputs)
    except SourceError:  # which rows were dropped, and why, is what helps now
        dropped.write(folder.dropped)
        for line in dropped.describe():
            note(f"{task.name}: {line}")
        raise

    # Built beside the old one and swapped in at the end: a kill leaves either the old dataset or the new.
    label_set = inputs.label_set
    fresh = folder.root / "dataset.new"
    shutil.rmtree(fresh, ignore_errors=True)  # of a curation that was killed
    for split in SPLITS:
        path = fresh / folder.split_file(split).relative_to(folder.dataset)
        write_split(content.select(split), task.head, label_set, path)
    # Facts go first and come last: while they are absent, nobody takes the other files for a whole dataset.
    folder.facts.unlink(missing_ok=True)
    dropped.write(folder.dropped, (part.drops for part in content.supplements))
    write_audit(folder.audit, content.rows, task.head, label_set, inputs.seed)
    with replace_folder(fresh, folder.dataset):
        pass
    facts = _describe_dataset(content, task, inputs, read, fingerprint)
    write_record(folder.facts, facts)

    sizes = ", ".join(f"{split} {facts.splits[split].rows}" for split in SPLITS)
    note(
        f"{task.name}: {facts.counts.read} rows read, {dropped.total()} dropped; {sizes}; "
        f"to check by eye: {folder.audit}"
    )
    if not _list_known_languages(task, inputs):
        note(f"{task.name}: language {', '.join(facts.languages)}; --language names another")
    for line in dropped.describe():
        note(f"{task.name}: {line}")
    if facts.corrections:
        note(f"{task.name}: {facts.corrections.rows} rows corrected as {facts.corrections.file} says")
    for supplement in facts.supplements:
        note(f"{task.name}: supplement {supplement.name} is {supplement.share:.1%} of train")
    return facts


def describe_files(sources: Sequence[SourceFiles]) -> list[str]:
    """Return how files are read that are not written as most are, and what else nobody named, a line each."""
    # Files that a source parses itself are as it expects them.
    tables = [files for files in sources if files.source.parse is None]
    reading = [line for files in tables for _, path in files.files for line in describe_reading(path, files.encoding)]
    return [*reading, *(remark for files in sources for remark in files.remarks)]


def describe_label_maps(sources: Sequence[SourceFiles]) -> list[str]:
    """Return what is to be said of label maps once the rows were read."""
    maps = (files.mapping.label_map for files in sources if files.mapping)
    return [line for label_map in maps if isinstance(label_map, LabelsOfRows) for line in label_map.describe()]


def _read_known_facts(folder: TaskFolder) -> DatasetFacts | None:
    """Return the facts of the dataset in the folder; None where a file is absent, damaged, or of another version."""
    written = (folder.facts, folder.audit, folder.dropped, *map(folder.split_file, SPLITS))
    if all(path.exists() for path in written):
        with contextlib.suppress(ValueError, DamagedRecord):  # it is written again
            return from_json(json.loads(folder.facts.read_text(encoding="utf-8")), DatasetFacts)
    return None


@dataclass(frozen=True)
class _Content:
    """The rows of a dataset, and how they came about.

    Attributes:
        rows: of all splits.
        pooled: those of the sources, without what joined the training split.
        steps: how many rows were left, or there, after each step.
        brought: those of the sources and supplements, without what was made of these.
        augmented: how many were made of the training split's, by the name of what made them.
        dropped: what the sources lost on the way.
        values_read: values of each source of these, by its id.
    """

    rows: list[Example]
    pooled: list[Example]
    steps: dict[str, int]
    dropped: Drops
    decided_by: DecidedBy | None
    supplements: list[SupplementRows]
    corrections: CorrectionFacts | None
    brought: list[Example]
    augmented: dict[str, int]
    values_read: dict[str, int]

    def select(self, split: str) -> list[Example]:
        """Return the rows of one split, in their order."""
        return [row for row in self.rows if row.split == split]


def _make_content(task: TaskSpec, inputs: CurationInputs, rows: list[Example], read: int, dropped: Drops) -> _Content:
    """Take every step from the rows that were read to those of the dataset; ``dropped`` counts what is lost.

    Args:
        read: how many rows the sources have.
    """
    sources, label_set, seed = inputs.sources, inputs.label_set, inputs.seed
    values, values_read = read_values(inputs.values)
    decided_by = count_decisions(rows, dropped)
    steps = {"read": read, "usable": len(rows) + sum(dropped[reason] for reason in UNCLEAN), "cleaned": len(rows)}
    # Templates are told apart by their words, slots included; what they are filled with is checked further down.
    rows = drop_duplicates(rows, dropped)
    steps["without exact duplicates"] = len(rows)
    rows = _assign_splits(assign_groups(rows), label_set, seed)
    if any(files.source.templates for files in sources):
        rows = _fill_sources(rows, sources, seed, values)
        steps["filled templates"] = len(rows)
    rows = drop_leaks(rows, dropped)
    steps["without leaks"] = len(rows)
    if not rows:
        raise SourceError(
            f"Nothing is left of {name_sources(sources).replace('S', 's', 1)} for {task.name}",
            expected="rows that can be learned from",
            found=", ".join(f"{n} rows: {why}" for why, n in dropped.most_common(5)) or "no rows",
            next="mend the source, or give another with --source",
        )
    # Splits are fixed from here on: what is added goes to train, and never displaces a row that is held out.
    supplements = read_supplements(rows, task, label_set, inputs.supplements, seed, values)
    corrections = None
    if inputs.corrections:
        corrector = Corrector(inputs.corrections, task, label_set)
        rows = corrector.correct(rows)
        for part in supplements:
            part.rows = corrector.correct(part.rows)
        corrections = corrector.describe()
        steps["with corrections"] = len(rows)
    own = len(rows)
    rows = [label_set.map_labels(row) for row in (*rows, *(row for part in supplements for row in part.rows))]
    # Supplements come last: what stands before them are the rows of the sources, now with the dataset's labels.
    pooled, brought = rows[:own], rows
    if supplements:
        steps["with supplements"] = len(rows)
    if inputs.match_lengths:
        composed = task.head.compose_matched_lengths([row for row in rows if row.split == "train"], seed)
        # A composed text may be like one that is held out: it stays out, and no row of a source is lost for it.
        rows = drop_leaks([*rows, *composed], Drops())
        steps["with matched lengths"] = len(rows)
    rows, augmented = augment(rows, task, inputs.augmentations, seed)
    if augmented:
        steps["with augmentations"] = len(rows)
    return _Content(rows, pooled, steps, dropped, decided_by, supplements, corrections, brought, augmented, values_read)


def rehearse(task: TaskSpec, inputs: CurationInputs, rows: list[Example], dropped: Drops) -> None:
    """Take the steps of a curation that come after reading, and write nothing.

    Of many rows, only the first and a sample of the others are taken.

    Args:
        rows: that were read.
        dropped: what reading dropped; counts what is lost here as well.

    Raises:
        SourceError: nothing would be left, or a split or class would be empty, or more than half of all rows would be
            lost: to bad rows, duplicates or leaks, and not to what a rule leaves out.
    """
    read = len(rows) + dropped.total() - dropped.left_out
    lost = dropped.total() - dropped.left_out
    is_sample = len(rows) > 2 * _REHEARSED
    if is_sample:
        others = sorted(random.Random(inputs.seed).sample(range(_REHEARSED, len(rows)), _REHEARSED))
        rows = [*rows[:_REHEARSED], *(rows[i] for i in others)]
    here = Drops()
    # Supplements and composed rows change nothing about what the sources lose.
    content = _make_content(
        task, replace(inputs, supplements=(), augmentations=(), match_lengths=False), rows, len(rows), here
    )
    # What a sample lacks, the whole may have; and what the sources lack, supplements may bring.
    if not (is_sample or inputs.supplements):
        _check_classes(content, task, inputs)
    shares = 1 - (1 - lost / max(1, read)) * (1 - here.total() / max(1, len(rows)))
    dropped.add(here)
    if shares > _MOST_LOST:
        raise SourceError(
            f"Less than half of the rows for {task.name} would be left",
            expected=f"at most {_MOST_LOST:.0%} of {name_sources(inputs.sources)} lost",
            found=f"{shares:.0%} lost: " + "; ".join(dropped.describe()),
            next="mend the source, or name other columns or labels for it",
        )


def _fill_sources(rows: Sequence[Example], sources: Sequence[SourceFiles], seed: int, values: Values) -> list[Example]:
    """Return rows by split, with documents in place of the rows of sources that give templates."""
    of_templates = {files.source.id for files in sources if files.source.templates}
    filled: list[Example] = []
    for split in SPLITS:
        part = [row for row in rows if row.split == split]
        filled += (row for row in part if row.source not in of_templates)
        templates = [row for row in part if row.source in of_templates]
        filled += fill_templates(templates, split, TEMPLATE_COPIES[split], seed, values)
    return filled


def _assign_splits(rows: Sequence[Example], label_set: LabelSet, seed: int) -> list[Example]:
    """Return the rows with their splits: a group goes whole, where a source says so or by its content."""
    # Labels as the dataset has them: two labels of a source may be one class here.
    classes: dict[str, list[str]] = defaultdict(list)
    official: dict[str, str] = {}
    for row in rows:
        classes[row.group] += label_set.map_labels(row).classes
        # Where rows of one group have different splits, the one that is held out most strictly takes the group.
        if row.split:
            official[row.group] = min(official.get(row.group, row.split), row.split, key=PRECEDENCE.__getitem__)
    split = split_groups(classes, seed, official)
    return [replace(row, split=split[row.group]) for row in rows]


def _check_classes(content: _Content, task: TaskSpec, inputs: CurationInputs) -> None:
    """Check that every split has rows, and every class where the head needs it.

    Raises:
        SourceError: a split is empty or lacks a class.
    """
    ids = ", ".join(repr(files.source.id) for files in inputs.sources)
    for split in SPLITS:
        part = content.select(split)
        if not part:
            raise SourceError(
                f"Split {split!r} of {task.name} would be empty",
                expected="at least a few groups of rows, to divide",
                found=f"{len(content.rows)} rows in {len({r.group for r in content.rows})} groups from {ids}",
                next="; ".join(["give more rows", *(remark for files in inputs.sources for remark in files.remarks)]),
            )
        # By the rows that are left: cleaning and leaks may have taken the last one of a class.
        present = {name for row in part for name in row.classes}
        missing = [label for label in inputs.label_set.labels if label not in present]
        if missing and task.head.needs_every_class(split):
            raise SourceError(
                f"The {split} split of {task.name} lacks " + ", ".join(missing),
                expected="rows of every class: " + ", ".join(inputs.label_set.labels),
                found=", ".join(sorted(present)),
                next=f"add rows of these classes to {ids}, or choose another --label-set",
            )


def _list_known_languages(task: TaskSpec, inputs: CurationInputs) -> list[str]:
    """Return the languages that somebody names, or that the task knows its own sources by; [] where rows must tell."""
    # What a task file says holds for whatever rows; a built-in task knows those of its own sources alone.
    known = task.card.languages if task.file or task.owns(inputs.sources[0].source.id) else ()
    return [*(inputs.languages or known)]


def _describe_dataset(
    content: _Content, task: TaskSpec, inputs: CurationInputs, read: Mapping[str, int], fingerprint: str
) -> DatasetFacts:
    """Return what ``facts.json`` says of the dataset; ``read`` are the rows of the sources' files, by their ids."""
    label_set = inputs.label_set
    sources = _describe_sources(content, inputs, read)
    rows, train, test = content.rows, content.select("train"), content.select("test")
    train_of_sources = [row for row in content.pooled if row.split == "train"]
    filled_supplements = [part for part in content.supplements if part.documents]
    if any(files.source.templates for files in inputs.sources):
        synthetic_splits = [*SPLITS]
    else:
        synthetic_splits = ["train"] if filled_supplements else []
    # What is in neither the sources nor the supplements was made of them.
    unmatched = len(content.pooled) + sum(len(part.rows) for part in content.supplements)
    unmatched += sum(content.augmented.values())
    return DatasetFacts(
        task=task.name,
        fingerprint=fingerprint,
        label_set=label_set.name,
        labels=list(label_set.labels),
        rule_version=task.version,
        seed=inputs.seed,
        hubtools=__version__,
        sources=sources,
        license=describe_licence(sources),
        counts=Counts(
            read=content.steps["read"],
            steps=content.steps,
            dropped=dict(sorted(content.dropped.items())),
            synthetic_train=sum(len(part.rows) for part in filled_supplements),
            length_matched_train=len(rows) - unmatched,
            kept=len(rows),
            augmented_train=content.augmented,
        ),
        decided_by=content.decided_by,
        supplements=[part.describe(len(train)) for part in content.supplements],
        splits={split: task.head.describe_split(content.select(split), label_set) for split in SPLITS},
        comparison=COMPARISON,
        leakage=count_leaks(rows),
        length_baseline=task.head.measure_length_baseline(train_of_sources, train, test),
        synthesis=describe_synthesis(inputs.seed, synthetic_splits) if synthetic_splits else None,
        examples=choose_examples(train, task.head, label_set.labels, inputs.sources[0].source.id),
        corrections=content.corrections,
        augmentations=dict(inputs.augmentations),
        languages=_list_known_languages(task, inputs) or find_languages([row.text for row in train], inputs.seed),
    )


def _describe_sources(content: _Content, inputs: CurationInputs, read: Mapping[str, int]) -> list[SourceFacts]:
    """Return what is said of each source, in the order of the task: those of all splits, those of training, values."""
    of_others = content.values_read | {part.source.id: part.read for part in content.supplements}
    by_source: dict[str, list[Example]] = defaultdict(list)
    for row in content.brought:
        by_source[row.source].append(row)
    return [
        describe_source(files, {**read, **of_others}.get(files.source.id, 0), by_source[files.source.id])
        for files in (*inputs.sources, *inputs.supplements, *inputs.values)
    ]
