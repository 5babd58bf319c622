"""The loss: cross-entropy summed over a step and divided by what the whole step holds.

ModernBERT's own heads ignore ``num_items_in_batch``, so that the Trainer's gradient grows with the accumulation
steps and the number of processes. This one divides by it, and knows class weights, label smoothing and focal loss.
The tokens of a word are made to agree: who decodes token by token, as plain ``pipeline()``, cuts fewer words then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from hubtools.errors import UsageError
from hubtools.heads.values import IGNORED
from hubtools.heads.word_marks import GOES_ON, clear_marks

if TYPE_CHECKING:
    from torch import Tensor


# How much the disagreement of a word's tokens counts beside their cross-entropy. On the validation split of the
# starter corpus of spans, with the nano model and one seed, plain pipeline() cut a word with 18 of 411 spans instead of
# 58 of 438, and its strict F1 rose from 0.783 to 0.836; decided over words it was 0.858 and 0.863 before (test: 0.923
# and 0.915).
AGREEMENT = 1.0


class HasLogits(Protocol):
    """What a model returns, as far as a loss reads it."""

    @property
    def logits(self) -> Tensor:
        """(..., classes)."""


class LossFunction(Protocol):
    """A ``compute_loss_func`` of transformers' Trainer."""

    def __call__(self, outputs: HasLogits, labels: Tensor, num_items_in_batch: Tensor | None = None) -> Tensor:
        """Return the loss, a number; ``num_items_in_batch`` counts the labels of the whole step."""


def class_weights(labels: Iterable[int], classes: int) -> list[float]:
    """Return n / (k n_c) of each class c, as scikit-learn's "balanced"; a class that never occurs weighs 1."""
    counts = Counter(labels)
    total = sum(counts.values())
    # A class without a row has no weight to compute, and no row that would use it.
    return [total / (classes * counts[c]) if counts[c] else 1.0 for c in range(classes)]


def choose_weights(asked: str, weighted: bool, labels: Iterable[int | list[int]], classes: int) -> list[float] | None:
    """Return the class weights that ``--class_weights`` asks for; None for a plain loss.

    Args:
        asked: "auto" (balanced where the task is ``weighted``), "balanced", "none", or a number a class, such as
            "1,2.5", in the order of the labels.
        labels: of the training split: one a row, or one a token, of which :data:`IGNORED` do not count.

    Raises:
        UsageError: none of these.
    """
    # A split is counted label by label: rows of tokens hold lists.
    if asked == "balanced" or (asked == "auto" and weighted):
        flat = (label for row in labels for label in (row if isinstance(row, list) else [row]))
        # Labels of tokens are marked by words.
        return class_weights((label % GOES_ON for label in flat if label != IGNORED), classes)
    if asked in ("auto", "none"):
        return None
    try:
        weights = [float(part) for part in asked.split(",")]
    # Falls through to the message below, which names all that may be said.
    except ValueError:
        weights = []
    if len(weights) != classes or not all(0 < weight < float("inf") for weight in weights):
        raise UsageError(
            "--class_weights", expected=f"auto, balanced, none, or {classes} positive numbers with commas", found=asked,
            next="hubtools finetune TASK --class_weights balanced",
        )  # fmt: skip
    return weights


def measure_disagreement(logits: Tensor, labels: Tensor) -> Tensor:
    """Return how much the tokens of words disagree: the sum over neighbours of half their Jeffreys divergence.

    It is that of the types: B- and I- of one count together, as the tokens of a word have either. Without marks it is
    0, as of whole texts.

    Args:
        logits: (tokens, tags) of O, then B- and I- of each type.
        labels: (tokens,), marked where a token goes on with the word of the token before it.
    """
    import torch

    if labels.is_cuda:
        return measure_all_neighbours(logits, labels)
    places = (labels >= GOES_ON).nonzero().squeeze(1)
    if not len(places):
        return logits.new_zeros(())
    before, after = _sum_types(torch.stack([logits[places - 1], logits[places]])).log_softmax(-1)
    disagreement: Tensor = 0.5 * ((before.exp() - after.exp()) * (before - after)).sum()
    return disagreement


def measure_all_neighbours(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the same as :func:`measure_disagreement`, without a look at the labels that would wait for a GPU."""
    types = _sum_types(logits).log_softmax(-1)
    before, after = types[:-1], types[1:]
    each = 0.5 * ((before.exp() - after.exp()) * (before - after)).sum(-1)
    disagreement: Tensor = (each * (labels[1:] >= GOES_ON)).sum()
    return disagreement


def _sum_types(logits: Tensor) -> Tensor:
    """Return (..., O and types) of (..., tags): B- and I- of a type count together."""
    import torch

    return torch.cat([logits[..., :1], torch.logaddexp(logits[..., 1::2], logits[..., 2::2])], -1)


def make_loss_function(
    weights: list[float] | None, label_smoothing: float = 0.0, focal_gamma: float = 0.0, *, tied: bool = True
) -> LossFunction:
    """Return a ``compute_loss_func`` for the Trainer.

    It takes logits of any shape (..., classes) and labels of shape (...); label -100 is ignored.

    Args:
        weights: of each class.
        label_smoothing: share of the target that goes to all classes alike; the Trainer leaves it to its loss function.
        focal_gamma: an item whose class has probability p counts (1 - p) ** gamma: hard ones more (Lin et al., 2017).
        tied: whether labels are tags of tokens, those of a word marked; False for labels of whole texts.
    """
    import torch

    # By device, which is known only when the loss is computed: a copy in each step would wait for a GPU.
    on_device: dict[torch.device, Tensor] = {}

    def loss(outputs: HasLogits, labels: Tensor, num_items_in_batch: Tensor | None = None) -> Tensor:
        # In fp32, also under autocast: sums of many small losses in bf16 lose digits.
        logits, marked = outputs.logits.float().flatten(0, -2), labels.flatten()
        labels = clear_marks(marked)
        if weights and logits.device not in on_device:
            on_device[logits.device] = torch.tensor(weights, device=logits.device)
        weight = on_device.get(logits.device)
        each = torch.nn.functional.cross_entropy(
            logits, labels, weight=weight, ignore_index=IGNORED, reduction="none", label_smoothing=label_smoothing
        )
        if focal_gamma:
            p = logits.softmax(-1).gather(1, labels.clamp(min=0)[:, None]).squeeze(1)
            each = each * (1 - p).clamp(min=1e-6) ** focal_gamma  # at p = 1 a gamma below 1 has no gradient
        # An evaluation has no step to divide by: the mean of its own batch.
        count = labels.ne(IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        total = each.sum()
        return (total + AGREEMENT * measure_disagreement(logits, marked) if tied else total) / count

    return loss
