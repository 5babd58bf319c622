"""Length as a shortcut: how well it alone tells the positive label, and negative texts that match positive lengths.

Attacks of the public data are several times as long as harmless prompts. A detector that learns this flags every
long prompt, and misses every short attack. Harmless prompts of the training split, joined until they are as long as
an attack, take the shortcut away; validation and test stay as they are.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from hubtools.records.dataset import BeforeAfter, LengthBaseline, LongLengthBaseline
from hubtools.rows import hash_content
from hubtools.spec import Example

RATIO = 6  # negative texts for each positive one at every length, at most
_GROUP = "lengths "  # how the group of each row begins that is made here
_BINS = 20  # stretches of length: fine enough for the shape, coarse enough for some rows in each
_TRIES = 20  # to compose a text of some length, before that one is given up
_SEPARATOR = "\n\n"


def compose_negatives(rows: Sequence[Example], positive: str, seed: int) -> Iterator[Example]:
    """Yield negative rows to add to the training split, so that each length holds as many for each positive one.

    As many as the split has for each, rounded up, and ``RATIO`` at most: length then tells nothing.

    Lengths are divided into twentieths of the positive texts. Each new row is made of rows of one source.
    """
    lengths = sorted(len(row.text) for row in rows if row.label == positive)
    # Sorted by content: the order in which sources were read must not decide which rows are drawn.
    negatives = sorted((row for row in rows if row.label != positive), key=lambda row: hash_content(row.text))
    # One source a text: licences and style of two are not mixed in one row.
    by_source: dict[str, list[Example]] = defaultdict(list)
    for row in negatives:
        by_source[row.source].append(row)
    sources = sorted(by_source)
    if not lengths or not negatives:
        return
    ratio = min(RATIO, math.ceil(len(negatives) / len(lengths)))
    # Edges are quantiles of the positive texts, so that each stretch has about as many of them.
    edges = sorted({lengths[len(lengths) * i // _BINS] for i in range(1, _BINS)})
    bounds = list(zip([0, *edges], [*edges, lengths[-1] + 1], strict=True))
    # A generator of its own: what other steps draw does not change these rows.
    rng = random.Random(f"{seed}:lengths")
    composed: set[str] = set()
    for low, high in bounds:
        targets = [length for length in lengths if low <= length < high]
        missing = ratio * len(targets) - sum(low <= len(row.text) < high for row in negatives)
        for _ in range(max(0, missing)):
            # A source gives new rows in proportion to what it has, so that none is repeated more than another.
            weights = [len(by_source[source]) for source in sources]
            parts = _draw_parts(by_source[rng.choices(sources, weights)[0]], rng.choice(targets), low, high, rng)
            text = _SEPARATOR.join(part.text.strip() for part in parts)
            if parts and text not in composed:
                composed.add(text)
                yield Example(
                    text=text,
                    label=parts[0].label,
                    group=f"{_GROUP}{hash_content(text)[:16]}",
                    split="train",
                    source=parts[0].source,
                    rule=f"{len(parts)} harmless prompts of the training split",
                    origin=f"made of {parts[0].origin} and {len(parts) - 1} more",
                )


def is_composed(row: Example) -> bool:
    """Return whether a row of the dataset was made by :func:`compose_negatives`."""
    return row.group.startswith(_GROUP)


def _draw_parts(pieces: Sequence[Example], target: int, low: int, high: int, rng: random.Random) -> list[Example]:
    """Return pieces that together reach ``target`` characters and stay below ``high``; [] where chance finds none."""
    for _ in range(_TRIES):
        parts: list[Example] = []
        size = -len(_SEPARATOR)  # the first part has none before it
        for _ in range(200):  # a piece that is too long, or there already, costs a draw
            if size >= target:
                break
            piece = rng.choice(pieces)
            longer = size + len(_SEPARATOR) + len(piece.text.strip())
            if longer < high and piece not in parts:
                parts.append(piece)
                size = longer
        # A single piece would repeat a row that is in the split.
        if len(parts) > 1 and low <= size < high:
            return parts
    return []


def measure_length_baseline(
    before: Sequence[Example], after: Sequence[Example], test: Sequence[Example], positive: str
) -> LengthBaseline:
    """Return the ROC-AUC of a classifier that knows nothing but the number of characters; 0.5 is chance.

    It learns, from the training split, the share of positive texts in each of twenty stretches of length.

    Args:
        before, after: the training split without and with what was added to it.

    Returns:
        Scores of all rows, and under ``long`` of those at least as long (``characters``) as all but the shortest
        twentieth of the positive texts.
    """
    positive_lengths = sorted(len(row.text) for row in before if row.label == positive)
    limit = positive_lengths[len(positive_lengths) // 20] if positive_lengths else 0

    def score(least: int) -> tuple[BeforeAfter, BeforeAfter]:
        """Return the scores on train and on test of rows of at least so many characters."""
        without, with_, held_out = ([r for r in rows if len(r.text) >= least] for rows in (before, after, test))
        return (
            BeforeAfter(before=_roc_auc(without, without, positive), after=_roc_auc(with_, with_, positive)),
            BeforeAfter(before=_roc_auc(without, held_out, positive), after=_roc_auc(with_, held_out, positive)),
        )

    train, on_test = score(0)
    long_train, long_test = score(limit)
    return LengthBaseline(
        train=train, test=on_test, long=LongLengthBaseline(characters=limit, train=long_train, test=long_test)
    )


def _roc_auc(train: Sequence[Example], scored: Sequence[Example], positive: str) -> float | None:
    """Return None where a class is missing."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    if any(len({row.label == positive for row in rows}) < 2 for rows in (train, scored)):
        return None
    lengths = np.array([len(row.text) for row in train])
    # Equal lengths may give equal quantiles: unique, as an empty stretch between two of them is none.
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, lengths, side="right")
    positives = np.bincount(bins, [row.label == positive for row in train], len(edges) + 1)
    # One more of each class, so that a stretch without rows has a share as well.
    share = (positives + 1) / (np.bincount(bins, minlength=len(edges) + 1) + 2)
    scored_bins = np.searchsorted(edges, [len(row.text) for row in scored], side="right")
    return round(float(roc_auc_score([row.label == positive for row in scored], share[scored_bins])), 4)
