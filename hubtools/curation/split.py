"""Split by group, by content alone: adding rows never moves an old group, unless a class would be missing."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

SPLITS = ("train", "validation", "test")
_TEST, _VALIDATION = 0.1, 0.1


def fraction_of(name: str, seed: int) -> float:
    """A number in [0, 1) that depends on ``name`` and ``seed`` alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def split_groups(
    labels: Mapping[str, Sequence[str]], seed: int, official: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The split of each group.

    Args:
        labels: the labels that occur in each group.
        seed: makes another, equally valid split.
        official: groups whose split the source has fixed. Where any is fixed as test, the rest is divided into
            train and validation only.

    A label that a split would lack is given the group with the smallest hash among those that can be spared;
    with fewer than three groups a label cannot be in all splits, and is in train first, then in test.
    """
    official = official or {}
    has_test = "test" in official.values()
    has_validation = "validation" in official.values()
    split = {}
    for group in labels:
        if group in official:
            split[group] = official[group]
            continue
        u = fraction_of(group, seed)
        if u < _TEST and not has_test:
            split[group] = "test"
        elif _TEST <= u < _TEST + _VALIDATION and not has_validation:
            split[group] = "validation"
        else:
            split[group] = "train"

    groups_of: dict[str, list[str]] = defaultdict(list)
    for group in sorted(labels, key=lambda g: (fraction_of(g, seed), g)):
        if group not in official:
            for label in set(labels[group]):
                groups_of[label].append(group)
    for label in sorted(groups_of):
        for wanted in ("train", "test", "validation"):
            if (wanted == "test" and has_test) or (wanted == "validation" and has_validation):
                continue
            present = {split[g] for g in labels if label in labels[g]}
            if wanted in present:
                continue
            holders = {s: [g for g in groups_of[label] if split[g] == s] for s in SPLITS}
            for donor in SPLITS:
                spare = holders[donor][1:] if donor == "train" or wanted != "train" else holders[donor]
                if spare:
                    split[min(spare, key=lambda g: (len(labels[g]), fraction_of(g, seed)))] = wanted
                    break
    return split
