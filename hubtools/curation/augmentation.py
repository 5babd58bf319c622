"""Rows that are made of those of the training split: how many of each kind, and that they are like none held out."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from hubtools.curation.evaluation_rows import find_seen_rows
from hubtools.errors import UsageError
from hubtools.rows import MADE, hash_content, make_comparison_key
from hubtools.spec import Example
from hubtools.task import TaskSpec


def choose_augmentations(
    task: TaskSpec, asked: Sequence[str], usual: Mapping[str, float]
) -> tuple[tuple[str, float], ...]:
    """Return the name and the share of each augmentation that takes place, in the order of the task.

    Args:
        asked: ``NAME=SHARE``, which beats the usual share; 0 leaves it out.
        usual: shares where nobody names any.

    Raises:
        UsageError: another form, or a share outside 0 to 1.
    """
    shares = {made.name: usual.get(made.name, 0.0) for made in task.augmentations}
    for entry in asked:
        name, _, share = entry.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise UsageError(
                f"--augment {entry}",
                expected="NAME=SHARE with a share from 0 to 1 of the training split",
                found=entry,
                next=f"such as --augment {name or 'NAME'}=0.1; 0 leaves it out",
            )
        if name in shares:
            shares[name] = value
    return tuple((name, share) for name, share in shares.items() if share)


def check_augmentations(tasks: Iterable[TaskSpec], asked: Sequence[str]) -> None:
    """Raise :class:`UsageError` for a name that no task has; one flag may serve several tasks."""
    known = {made.name for task in tasks for made in task.augmentations}
    for entry in asked:
        name = entry.partition("=")[0]
        if name not in known:
            raise UsageError(
                f"Unknown augmentation {name!r}",
                expected="one of " + ", ".join(sorted(known)),
                found=f"--augment {entry}",
                next="hubtools curate --help",
            )


def augment(
    rows: Sequence[Example], task: TaskSpec, chosen: Sequence[tuple[str, float]], seed: int
) -> tuple[list[Example], dict[str, int]]:
    """Return the rows with what was made of their training split behind them, and how many rows each kind made.

    A kind that the task does not have makes nothing: an older dataset may name it. A made row that is like one of
    validation or test is left out, and one that is a row of training to the letter; in other case it is another row.
    """
    made_by = {made.name: made for made in task.augmentations}
    # By content: in whatever order sources were read, the same rows are made.
    train = sorted((row for row in rows if row.split == "train"), key=lambda row: (hash_content(row.text), row.text))
    texts = {row.text for row in rows}
    made: list[Example] = []
    for name, share in ((name, share) for name, share in chosen if name in made_by):
        # A generator of its own: what one kind draws does not change the rows of another.
        rng = random.Random(f"{seed}:{name}")
        for row in itertools.islice(made_by[name].make(train, rng), int(share * len(train))):
            if row.text not in texts:
                texts.add(row.text)
                # In a group of its own: a fold that holds out what it was made of must be able to leave it out.
                group = f"{MADE}{name} {hash_content(row.text)[:16]}"
                made.append(replace(row, group=group, split="train", origin=f"made of {row.origin}"))
    held_out = [row.text for row in rows if row.split != "train"]
    exact, near = find_seen_rows([make_comparison_key(row.text) for row in made], held_out)
    kept = [row for i, row in enumerate(made) if i not in exact and i not in near]
    counts = Counter(row.group.split(" ")[1] for row in kept)
    return [*rows, *kept], {name: counts[name] for name, _ in chosen}


def is_augmented(row: Example) -> bool:
    """Return whether a row of the dataset was made by :func:`augment`."""
    return row.group.startswith(MADE)
