"""Split by group, by content alone.

A group's own split follows from its name and the seed, whatever else there is. It stands elsewhere only where one of
its labels, or of the labels that reach these through groups that have both, would otherwise lack a split; so that
adding groups never moves one whose labels are that common. tests/test_split.py holds the claim to the letter.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

SPLITS = ("train", "validation", "test")
_RANK = ("train", "test", "validation")  # what a class must not be missing from, most of all first
_TEST, _VALIDATION = 0.1, 0.1  # shares of the groups; the rest is for training


def hash_to_fraction(name: str, seed: int) -> float:
    """Return a number in [0, 1) that depends on ``name`` and ``seed`` alone."""
    # A text may hold half a pair of surrogates until it is dropped, and a group is named by its text.
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def split_groups(
    labels: Mapping[str, Sequence[str]], seed: int, official: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the split of each group.

    Args:
        labels: the labels that occur in each group.
        seed: makes another, equally valid split.
        official: groups whose split the source has fixed. Where any is fixed as test, the rest is divided into
            train and validation only.

    A label that a split would lack is given the smallest group that can be spared. With fewer than three groups a
    label cannot be in all splits: it is in train first, then in test.
    """
    official = official or {}
    has_test = "test" in official.values()
    has_validation = "validation" in official.values()
    split = {}
    for group in labels:
        if group in official:
            split[group] = official[group]
            continue
        # By a hash, not by chance over the list: another row does not move the groups that were there before.
        u = hash_to_fraction(group, seed)
        if u < _TEST and not has_test:
            split[group] = "test"
        elif _TEST <= u < _TEST + _VALIDATION and not has_validation:
            split[group] = "validation"
        else:
            split[group] = "train"

    # Then the labels that a split lacks: from the largest split first, the smallest group that can be spared.
    movable = [g for g in labels if g not in official]
    holding = Counter((split[g], label) for g in labels for label in set(labels[g]))
    for rank, lacking in enumerate(_RANK):
        if (lacking == "test" and has_test) or (lacking == "validation" and has_validation):
            continue
        for label in sorted({label for g in movable for label in labels[g]}):
            if holding[lacking, label]:
                continue
            for donor in SPLITS:
                # The last group of a class is given away only to a split that needs it more.
                needs_it_less = rank < _RANK.index(donor)
                spare = [
                    group
                    for group in movable
                    if split[group] == donor
                    and label in labels[group]
                    and (needs_it_less or all(holding[donor, other] > 1 for other in labels[group]))
                ]
                if spare:
                    moved = min(spare, key=lambda g: (len(labels[g]), hash_to_fraction(g, seed), g))
                    holding.subtract((donor, other) for other in set(labels[moved]))
                    holding.update((lacking, other) for other in set(labels[moved]))
                    split[moved] = lacking
                    break
    return split
