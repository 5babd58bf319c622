"""Length as a shortcut: how well it alone tells attacks from harmless prompts, and harmless prompts that match.

Attacks of the public data are several times as long as harmless prompts. A detector that learns this flags every
long prompt, and misses every short attack. Harmless prompts of the training split, set one below the other until
they are as long as an attack, take the shortcut away; validation and test stay as they are.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from hubtools.curation.duplicates import content_hash
from hubtools.spec import Example

RATIO = 6  # harmless prompts for each attack, at every length
_GROUP = "lengths "  # how the group of each row begins that is made here
_BINS = 20
_TRIES = 20


def matching(rows: Sequence[Example], positive: str, seed: int) -> Iterator[Example]:
    """Harmless rows to add to the training split, so that each length holds ``RATIO`` of them for each attack.

    Lengths are divided into twentieths of the attacks. Each new row is made of rows of one source.
    """
    lengths = sorted(len(row.text) for row in rows if row.label == positive)
    harmless = sorted((row for row in rows if row.label != positive), key=lambda row: content_hash(row.text))
    by_source: dict[str, list[Example]] = defaultdict(list)
    for row in harmless:
        by_source[row.source].append(row)
    sources = sorted(by_source)
    if not lengths or not harmless:
        return
    edges = sorted({lengths[len(lengths) * i // _BINS] for i in range(1, _BINS)})
    bounds = list(zip([0, *edges], [*edges, lengths[-1] + 1], strict=True))
    rng = random.Random(f"{seed}:lengths")
    made: set[str] = set()
    for low, high in bounds:
        targets = [length for length in lengths if low <= length < high]
        missing = RATIO * len(targets) - sum(low <= len(row.text) < high for row in harmless)
        for _ in range(max(0, missing)):
            weights = [len(by_source[source]) for source in sources]
            parts = _composed(by_source[rng.choices(sources, weights)[0]], rng.choice(targets), low, high, rng)
            text = "\n\n".join(part.text.strip() for part in parts)
            if parts and text not in made:
                made.add(text)
                yield Example(
                    text=text, label=parts[0].label, group=f"{_GROUP}{content_hash(text)[:16]}", split="train",
                    source=parts[0].source, rule=f"{len(parts)} harmless prompts of the training split",
                    place=f"made of {parts[0].place} and {len(parts) - 1} more",
                )  # fmt: skip


def is_matched(row: Example) -> bool:
    """Whether a row of the dataset was made by :func:`matching`."""
    return row.group.startswith(_GROUP)


def _composed(pieces: Sequence[Example], target: int, low: int, high: int, rng: random.Random) -> list[Example]:
    """Pieces that together reach ``target`` and stay below ``high``; none where chance finds nothing."""
    for _ in range(_TRIES):
        parts: list[Example] = []
        size = -2
        for _ in range(200):
            if size >= target:
                break
            piece = rng.choice(pieces)
            if size + 2 + len(piece.text.strip()) < high and piece not in parts:
                parts.append(piece)
                size += 2 + len(piece.text.strip())
        if len(parts) > 1 and low <= size < high:
            return parts
    return []


def baseline(before: Sequence[Example], after: Sequence[Example], test: Sequence[Example], positive: str) -> Any:
    """ROC-AUC of a classifier that knows nothing but the number of characters; 0.5 is chance.

    It learns, from the training split, the share of attacks in each of twenty stretches of length.

    Args:
        before, after: the training split without and with what was added to it.

    Returns:
        ``train`` and ``test``, each with ``before`` and ``after``: all rows, and under ``long`` those at least as
        long (``characters``) as all but the shortest twentieth of the attacks.
    """
    attacks = sorted(len(row.text) for row in before if row.label == positive)
    limit = attacks[len(attacks) // 20] if attacks else 0

    def scores(least: int) -> dict[str, Any]:
        kept = {name: [r for r in rows if len(r.text) >= least]
                for name, rows in (("before", before), ("after", after), ("test", test))}  # fmt: skip
        return {
            "train": {when: _auc(kept[when], kept[when], positive) for when in ("before", "after")},
            "test": {when: _auc(kept[when], kept["test"], positive) for when in ("before", "after")},
        }

    return scores(0) | {"long": {"characters": limit} | scores(limit)}


def _auc(train: Sequence[Example], scored: Sequence[Example], positive: str) -> float | None:
    """None where a class is missing."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    if any(len({row.label == positive for row in rows}) < 2 for rows in (train, scored)):
        return None
    lengths = np.array([len(row.text) for row in train])
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, lengths, side="right")
    attacks = np.bincount(bins, [row.label == positive for row in train], len(edges) + 1)
    share = (attacks + 1) / (np.bincount(bins, minlength=len(edges) + 1) + 2)
    at = np.searchsorted(edges, [len(row.text) for row in scored], side="right")
    return round(float(roc_auc_score([row.label == positive for row in scored], share[at])), 4)
