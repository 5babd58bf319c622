"""A curated dataset without one source, or a few: what is left is trained on, and they are what is scored.

Validation rows are those of the remaining sources, so that no number that a training chooses by (checkpoint,
temperature, threshold) has seen the collection that is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hubtools.curation.augmentation import augment, is_augmented
from hubtools.curation.cleaning import Drops
from hubtools.curation.leaks import drop_leaks
from hubtools.curation.split import split_groups
from hubtools.errors import UsageError
from hubtools.heads.length_matching import is_composed
from hubtools.records.dataset import DatasetFacts
from hubtools.spec import Example, LabelSet
from hubtools.task import TaskSpec

HELD_OUT = "test"  # the split of a fold that holds what is scored


@dataclass(frozen=True)
class SourceFold:
    """What is left out, and the rows as splits of a dataset.

    Attributes:
        sources: ids of what is left out.
        rows: with the splits train, validation and :data:`HELD_OUT`.
        leaks: rows left out of training and validation because the like is held out.
        own_validation: whether validation rows are drawn anew from the remaining training rows, as the remaining ones
            of the dataset's validation split lack a class.
    """

    sources: tuple[str, ...]
    rows: Sequence[Example]
    leaks: int
    own_validation: bool

    def select(self, split: str) -> list[Example]:
        """Return the rows of one split, in their order."""
        return [row for row in self.rows if row.split == split]

    @property
    def counts(self) -> dict[str, int]:
        """Rows by what happens to them, as :class:`~hubtools.records.studies.SourceOutcome` names them."""
        splits = {"train": "train", "validation": "validation", "held_out": HELD_OUT}
        return {name: len(self.select(split)) for name, split in splits.items()} | {"left_out_as_leaks": self.leaks}


def choose_left_out(
    asked: Sequence[str], rows: Sequence[Example], task: TaskSpec, facts: DatasetFacts
) -> list[tuple[str, ...]]:
    """Return the sources to leave out together, one training each; by default every source in turn.

    Args:
        asked: ids or names of sources, several with commas between them to leave them out together.

    Raises:
        UsageError: a name is of no source of the dataset, or the dataset has one source alone.
    """
    present = sorted({row.source for row in rows if not is_composed(row)})
    if len(present) < 2:
        raise UsageError(
            f"The dataset of {task.name} has rows of one source alone",
            expected="two sources at least: one to leave out, and one to train on",
            found=", ".join(present) or "none",
            next=f"hubtools cross-validate {task.name} without --by divides the rows of one source",
        )
    named = {source.name: source.id for source in task.sources if source.name}
    named |= {supplement.name: supplement.id for supplement in facts.supplements}
    ids = {**named, **{source: source for source in present}}
    chosen = []
    for entry in asked:
        names = [name.strip() for name in entry.split(",") if name.strip()]
        for name in names or [entry]:
            if ids.get(name) not in present:
                known = {source: name for name, source in named.items()}
                raise UsageError(
                    f"The dataset of {task.name} has no rows of a source {name!r}",
                    expected=", ".join(f"{one} ({known[one]})" if one in known else one for one in present),
                    found=f"--leave-out {entry}",
                    next="name one of these, or leave --leave-out out to leave out each in turn",
                )
        chosen.append(tuple(dict.fromkeys(ids[name] for name in names)))
    return chosen or [(source,) for source in present]


def leave_out(
    rows: Sequence[Example],
    sources: tuple[str, ...],
    task: TaskSpec,
    label_set: LabelSet,
    facts: DatasetFacts,
    seed: int,
) -> SourceFold | str:
    """Return the rows without those of ``sources``, which are held out; or why there is nothing to train on.

    Args:
        rows: of the curated training and validation splits.
        seed: of validation rows that are drawn anew.
    """
    own = [row for row in rows if not (facts.counts.length_matched_train and is_composed(row))]
    # A made row may hold words of two sources: such rows are made again of what is left.
    own = [row for row in own if not (facts.augmentations and is_augmented(row))]
    held = [replace(row, split=HELD_OUT) for row in own if row.source in sources]
    # A group may hold rows of two sources, where these are alike.
    groups = {row.group for row in held}
    rest = [row for row in own if row.source not in sources and row.group not in groups]
    trained = {name for row in rest for name in row.classes}
    if missing := [label for label in label_set.labels if label not in trained]:
        return f"no other source has rows of {', '.join(missing)}"
    whole = len([row for row in own if row.source not in sources])
    kept = drop_leaks([*held, *rest], Drops())
    own_validation = _lacks_classes([row for row in kept if row.split == "validation"], task, label_set)
    if own_validation:
        others = _divide([row for row in kept if row.split != HELD_OUT], seed)
        kept = [*(row for row in kept if row.split == HELD_OUT), *others]
        if _lacks_classes([row for row in kept if row.split == "validation"], task, label_set):
            return "the other sources have too few groups to draw a validation split from"
    leaks = whole - sum(row.split != HELD_OUT for row in kept)
    if facts.counts.length_matched_train:
        composed = task.head.compose_matched_lengths([row for row in kept if row.split == "train"], facts.seed)
        kept = drop_leaks([*kept, *composed], Drops())
    kept, _ = augment(kept, task, [*facts.augmentations.items()], facts.seed)
    left = {name for row in kept if row.split == "train" for name in row.classes}
    if missing := [label for label in label_set.labels if label not in left]:
        return f"no row of {', '.join(missing)} would be left to train on"
    return SourceFold(sources, kept, leaks, own_validation)


def _lacks_classes(rows: Sequence[Example], task: TaskSpec, label_set: LabelSet) -> bool:
    present = {name for row in rows for name in row.classes}
    return not rows or (task.head.needs_every_class("validation") and not present >= set(label_set.labels))


def _divide(rows: Sequence[Example], seed: int) -> list[Example]:
    """Return rows with a validation split of groups drawn from all of them; the others are for training."""
    classes: Mapping[str, list[str]] = defaultdict(list)
    for row in rows:
        classes[row.group] += row.classes
    # As curation draws one: what would be a test split there is trained on.
    split = split_groups(classes, seed)
    return [replace(row, split="validation" if split[row.group] == "validation" else "train") for row in rows]
