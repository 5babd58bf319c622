"""Batches of few shapes: the rows of a batch packed into rows of fixed sizes, on the CPU, before the device sees them.

What a GPU is given then has the same shapes in every step. Nothing is compiled twice, and no step waits for the device
to count what it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict

import torch

from hubtools.heads.values import IGNORED
from hubtools.training.batching import Collator, EncodedRow

# Tokens of a pass, sixteen sizes an octave, from 512 to 65,536: at most a seventeenth of a pass is padding, beyond the
# smallest.
SIZES = (*(step << octave for octave in range(7) for step in range(512, 1024, 32)), 65_536)
GRAIN = 64  # the longest text is rounded up to a multiple of this
# A pass has room for half as many texts again as it would hold of the usual length: room costs next to nothing, but
# kernels look at each empty place.
ROOM = 1.5


class StaticPass(TypedDict):
    """What goes through the model at once, all of it tensors whose shapes follow from the size of the pass.

    Attributes:
        input_ids, position_ids: (1, tokens).
        bounds: int32, (texts + 1,); see :class:`hubtools.packing.attention.Texts`. The rest of the tokens are texts of
            their own, and texts that are left are empty.
        text: (tokens,), the text of each token.
        rows: (texts,), the row of the batch that a text is; their number for what fills up.
        labels: (texts,), of whole texts, or (1, tokens), of tokens.
        task: (texts,), number of each text's task, in a multitask training.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    bounds: torch.Tensor
    text: torch.Tensor
    rows: torch.Tensor
    labels: torch.Tensor
    task: NotRequired[torch.Tensor]


class StaticBatch(TypedDict):
    """A batch: its labels as in any other, which count its rows, and its passes.

    Attributes:
        longest: tokens; no text has more.
        tokens: of its rows.
    """

    labels: torch.Tensor
    passes: list[StaticPass]
    longest: int
    tokens: int


@dataclass(frozen=True)
class Sizes:
    """The shapes that passes may have.

    Attributes:
        budget: tokens of a pass, at most.
        longest: tokens of a text, at most.
        usual: tokens of a text, on average: how many texts a pass has room for.
        rows: of a batch, at most.
    """

    budget: int
    longest: int
    usual: float
    rows: int

    def allow(self, longest: int) -> Sizes:
        """Return these shapes, or larger ones where a text has more tokens than any of them was made for."""
        if longest <= self.longest:
            return self
        longest = _round_up(longest)
        return replace(self, longest=longest, budget=max(self.budget, longest))

    def choose_size(self, tokens: int) -> int:
        """Return the smallest size that holds so many tokens."""
        return next((size for size in SIZES if tokens <= size < self.budget), self.budget)

    def fit(self, lengths: Sequence[int]) -> int:
        """Return the size of the pass of texts of these lengths."""
        size = self.choose_size(sum(lengths))
        # A small pass may be full of short texts: the next size that has room for them.
        while self.count_texts(size) < len(lengths) and size < self.budget:
            size = self.choose_size(size + 1)
        return size

    def count_texts(self, size: int) -> int:
        """Return how many texts of rows a pass of this size has room for."""
        return max(1, min(self.rows, int(ROOM * size / self.usual)))

    def count_places(self, size: int) -> int:
        """Return for how many texts it has bounds: those of rows, and those that fill up."""
        return self.count_texts(size) + -(-size // self.longest)


def measure_sizes(lengths: Sequence[int], budget: int, rows: int) -> Sizes:
    """Return the shapes of the passes over a dataset.

    Args:
        lengths: tokens of each row of it.
        budget: tokens of a pass, at most; a row that is longer goes alone.
        rows: of a batch, at most.
    """
    longest = _round_up(max(lengths))
    return Sizes(max(budget, longest), longest, sum(lengths) / len(lengths), rows)


def _round_up(tokens: int) -> int:
    return -(-tokens // GRAIN) * GRAIN


def fill_passes(lengths: Sequence[int], sizes: Sizes) -> list[list[int]]:
    """Divide rows into passes, each to the first that has room for it, the longest first.

    Args:
        lengths: tokens of each row.

    Returns:
        positions in ``lengths``, each once.
    """
    passes: list[list[int]] = []
    tokens: list[int] = []
    most = sizes.count_texts(sizes.budget)
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        fits = (i for i, held in enumerate(tokens) if held + lengths[row] <= sizes.budget and len(passes[i]) < most)
        number = next(fits, len(passes))
        if number == len(passes):
            passes.append([])
            tokens.append(0)
        passes[number].append(row)
        tokens[number] += lengths[row]
    return passes


def pick_batches(batches: Iterable[list[int]], lengths: Sequence[int], sizes: Sizes) -> list[list[int]]:
    """Return the first batches in which each size occurs that the passes of ``batches`` have."""
    picked, known = list[list[int]](), set[int]()
    for batch in batches:
        of_rows = [lengths[row] for row in batch]
        found = {sizes.fit([of_rows[i] for i in numbers]) for numbers in fill_passes(of_rows, sizes)}
        if not found <= known:
            picked.append(batch)
            known |= found
    return picked


def pack_rows(rows: Sequence[EncodedRow], numbers: Sequence[int], sizes: Sizes, pad: int) -> StaticPass:
    """Return the pass of some rows of a batch.

    Args:
        numbers: of the rows, in the batch.
        pad: token that fills up.
    """
    mine = [rows[number] for number in numbers]
    lengths = [len(row["input_ids"]) for row in mine]
    size = sizes.fit(lengths)
    places = sizes.count_places(size)
    rest = size - sum(lengths)
    lengths += [min(sizes.longest, rest - begin) for begin in range(0, rest, sizes.longest)]
    lengths += [0] * (places - len(lengths))
    # What fills up is ignored, and so is every place that no text takes.
    ids = torch.full((1, size), pad)
    ids[0, : size - rest] = torch.tensor([token for row in mine for token in row["input_ids"]])
    counts = torch.tensor(lengths)
    bounds = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    text = torch.repeat_interleave(torch.arange(places), counts)
    per_token = [torch.as_tensor(row["labels"]) for row in mine]
    if per_token[0].dim():
        labels = torch.full((1, size), IGNORED)
        labels[0, : size - rest] = torch.cat(per_token)
    else:
        labels = torch.full((places,), IGNORED)
        labels[: len(mine)] = torch.stack(per_token)
    of_rows = torch.full((places,), len(rows))
    of_rows[: len(mine)] = torch.tensor(numbers)
    packed = StaticPass(
        input_ids=ids,
        position_ids=(torch.arange(size) - bounds[text])[None],
        bounds=bounds.to(torch.int32),
        text=text,
        rows=of_rows,
        labels=labels,
    )
    if "task" in mine[0]:
        packed["task"] = torch.zeros(places, dtype=torch.long)
        packed["task"][: len(mine)] = torch.tensor([row["task"] for row in mine])
    return packed


class StaticCollator:
    """Rows to one batch of passes.

    Args:
        collator: makes the batch's labels, which the Trainer counts and evaluation returns.
    """

    def __init__(self, collator: Collator, sizes: Sizes) -> None:
        self.collator, self.sizes = collator, sizes

    def __call__(self, rows: Sequence[EncodedRow]) -> StaticBatch:
        rows = self.collator.label(rows)
        lengths = [len(row["input_ids"]) for row in rows]
        sizes = self.sizes.allow(max(lengths))
        passes = [pack_rows(rows, numbers, sizes, self.collator.pad) for numbers in fill_passes(lengths, sizes)]
        return StaticBatch(
            labels=self.collator.stack_labels(rows), passes=passes, longest=sizes.longest, tokens=sum(lengths)
        )


def join_logits(batch: StaticBatch, computed: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the logits of a batch's rows, in their own order, from those of its passes.

    Args:
        computed: of each pass (texts, labels), or (1, tokens, labels).

    Returns:
        (rows, labels), or (rows, longest, labels).
    """
    labels = batch["labels"]
    # One row more takes what fills up.
    shape = (len(labels) + 1, *labels.shape[1:], computed[0].shape[-1])
    found = computed[0].new_zeros(shape)
    for part, logits in zip(batch["passes"], computed, strict=True):
        if labels.dim() == 1:
            found[part["rows"]] = logits
        else:
            row = part["rows"][part["text"]]
            # Texts that fill up may be longer than any of this batch.
            found[row, part["position_ids"][0].clamp(max=labels.shape[1] - 1)] = logits[0]
    return found[:-1]
