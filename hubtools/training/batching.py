"""Which rows a step takes, and which of them go through the model together.

A step holds the rows that its batch size says, drawn at random: batches of rows of like length, as length grouping
makes them, would hold rows of like label as well. What is computed together is another question, answered within
the step: the sum of the losses over the step's rows is divided once, so that any division gives the same gradient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import NotRequired, TypedDict

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler

from hubtools.errors import UsageError
from hubtools.heads.values import IGNORED

MOST_REPEATS = 4  # of a row in an epoch

# What a model is given of a batch: tensors (rows, longest) or (rows,), and the real length of each row; or a packed
# row, with the length of its longest text and what its head reads.
ModelInputs = dict[str, torch.Tensor | list[int] | int | str]


class EncodedRow(TypedDict):
    """A row as ``Head.encode`` makes it, without what training does not read.

    Attributes:
        labels: a label of the whole text, or one for each token.
        task: number of the row's task, in a multitask training.
    """

    input_ids: list[int]
    labels: int | list[int] | np.ndarray
    task: NotRequired[int]


def weigh_rows(sources: Sequence[str], labels: Sequence[Hashable], balance: float) -> np.ndarray | None:
    """Return (rows,) how often each row should come in an epoch, on average; None where each comes once.

    Args:
        sources: of the rows, none where they are not known. Rows of one source alone are as its makers divided them.
        labels: a class of each row, or none where rows have several.
        balance: 0 takes rows as they are, 1 every class of every source as often as any other. No row comes more
            than :data:`MOST_REPEATS` times, so that a few rows are not learned by heart.
    """
    if not balance or len(set(sources)) < 2:
        return None
    cells = [*zip(sources, labels, strict=True)] if labels else [*sources]
    counts = Counter(cells)
    weights = np.array([counts[cell] ** -balance for cell in cells])
    # What the limit takes from a few rows goes to the others, until nobody is above it.
    for _ in range(len(counts)):
        weights = np.minimum(weights * (len(cells) / weights.sum()), MOST_REPEATS)
    return weights


def draw_rows(rng: np.random.Generator, size: int, weights: np.ndarray | None) -> np.ndarray:
    """Return (size,) row numbers by chance: each once, or about as often as its weight says."""
    order = rng.permutation(size)
    if weights is None:
        return order
    # Evenly spaced marks on a line on which each row has its weight as its length: a row of weight 1.3 comes once or
    # twice, never not at all and never three times.
    ends = np.cumsum(weights[order])
    marks = (np.arange(size) + rng.random()) * (ends[-1] / size)
    return rng.permutation(order[np.minimum(np.searchsorted(ends, marks, side="right"), size - 1)])


class StepBatches(Sampler[list[int]]):
    """Each epoch's steps, one batch a part; the parts of a step are its processes times its accumulation.

    All steps of an epoch have the same number of rows up to one, and every row comes once: no last step of a few
    rows that would weigh as much as a whole one, and nothing repeated to fill up. The parts hold about as many tokens
    as one another, so that no process waits. The order follows from the seed and the epoch alone: any number of
    parts sees the same steps.

    Args:
        lengths: tokens of each row.
        rows: of a step.
        epoch: tells which one begins.
        weights: how often each row comes, compared to the others; None for every row once.
    """

    def __init__(
        self, lengths: Sequence[int], rows: int, parts: int, seed: int, epoch: Callable[[], int],
        weights: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        if len(lengths) < parts:
            raise UsageError(
                f"{len(lengths)} training rows are too few",
                expected=f"a row for each of {parts} batches of a step (processes times accumulation)",
                next="use fewer processes, or a smaller --gradient_accumulation_steps",
            )
        self.lengths, self.parts, self.seed, self.epoch, self.weights = lengths, parts, seed, epoch, weights
        # Rounded down: rows that are left over make steps larger by one row, not a small last step.
        self.steps = max(1, len(lengths) // rows)

    def __len__(self) -> int:
        return self.steps * self.parts

    def __iter__(self) -> Iterator[list[int]]:
        for step in np.array_split(self.order(np.random.default_rng([self.seed, self.epoch()])), self.steps):
            yield from self.deal(step.tolist())

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return the rows of an epoch, one step's behind another's."""
        return draw_rows(rng, len(self.lengths), self.weights)

    def deal(self, step: list[int]) -> list[list[int]]:
        """Return the step's rows in parts of about as many tokens: the longest first, each to the lightest part."""
        if self.parts == 1:
            return [step]
        dealt: list[list[int]] = [[] for _ in range(self.parts)]
        tokens = [0] * self.parts
        for row in sorted(step, key=lambda row: -self.lengths[row]):
            lightest = tokens.index(min(tokens))
            dealt[lightest].append(row)
            tokens[lightest] += self.lengths[row]
        return dealt


class MixedBatches(StepBatches):
    """Steps that hold rows of several datasets, each in the same proportion in every step, up to a row.

    Args:
        sizes: rows of each dataset; ``lengths`` has them one dataset behind another.
        lengths, rows, parts, seed, epoch: as in :class:`StepBatches`.
    """

    def __init__(
        self, sizes: Sequence[int], lengths: Sequence[int], rows: int, parts: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        super().__init__(lengths, rows, parts, seed, epoch)
        self.sizes = sizes

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return the rows of an epoch: those of each dataset in an order of their own, evenly over all steps."""
        # A row's position on the way through the epoch, from 0 to 1, whatever the size of its dataset.
        positions = [(rng.permutation(size) + rng.random(size)) / size for size in self.sizes]
        return np.argsort(np.concatenate(positions), kind="stable")


def divide_into_passes(lengths: Sequence[int], budget: int, padded: bool, a_pass: int) -> list[list[int]]:
    """Divide rows into passes through the model: the division that costs least.

    Args:
        lengths: tokens of each row.
        budget: tokens of a pass, at most; a row that is longer goes alone.
        padded: rows cost as much as the longest beside them.
        a_pass: what a further pass costs, in tokens.

    Returns:
        positions in ``lengths``, each once; all in their own order where one pass takes them all.
    """
    count = len(lengths)
    # In a division of least cost each pass holds rows that follow one another by length: dynamic programming over the
    # sorted rows finds it.
    order = sorted(range(count), key=lambda row: lengths[row])
    cost, begin = [0.0] + [float("inf")] * count, [0] * (count + 1)
    for end in range(1, count + 1):
        longest, real = lengths[order[end - 1]], 0
        for start in range(end - 1, -1, -1):
            real += lengths[order[start]]
            tokens = longest * (end - start) if padded else real
            if tokens > budget and end - start > 1:
                break
            if cost[start] + a_pass + tokens < cost[end]:
                cost[end], begin[end] = cost[start] + a_pass + tokens, start
    passes, end = [], count
    while end:
        passes.append(order[begin[end] : end])
        end = begin[end]
    return passes if len(passes) > 1 else [list(range(count))]


class Collator:
    """Rows to one padded batch: ``input_ids``, ``attention_mask``, ``labels`` and, as plain numbers, ``lengths``."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def label(self, rows: Sequence[EncodedRow]) -> Sequence[EncodedRow]:
        """Return the rows with the labels that training reads: here, their own."""
        return rows

    def stack_labels(self, rows: Sequence[EncodedRow]) -> torch.Tensor:
        """Return the labels of a batch: (rows,), or (rows, longest) where each token has one."""
        labels = [torch.tensor(row["labels"]) for row in rows]
        return pad_sequence(labels, True, IGNORED) if labels[0].dim() else torch.stack(labels)

    def __call__(self, rows: Sequence[EncodedRow]) -> ModelInputs:
        rows = self.label(rows)
        lengths = [len(row["input_ids"]) for row in rows]
        # lengths stay a list: a tensor would go to the device, and each look at it would wait for the device.
        return {
            "input_ids": pad_sequence([torch.tensor(row["input_ids"]) for row in rows], True, self.pad),
            "attention_mask": (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long(),
            "labels": self.stack_labels(rows),
            "lengths": lengths,
        }
