"""The loss: cross-entropy summed over a step and divided by what the whole step holds.

ModernBERT's own heads ignore ``num_items_in_batch``, so that the Trainer's gradient grows with the accumulation
steps and the number of processes. This one divides by it, and takes class weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from hubtools.training.encoding import IGNORED


def class_weights(labels: Iterable[int], classes: int) -> list[float]:
    """n / (k n_c) of each class c, as scikit-learn's "balanced"; a class that never occurs weighs 1."""
    counts = Counter(labels)
    total = sum(counts.values())
    return [total / (classes * counts[c]) if counts[c] else 1.0 for c in range(classes)]


def loss_function(weights: list[float] | None) -> Callable[..., Any]:
    """A ``compute_loss_func`` for the Trainer.

    It takes logits of any shape (..., classes) and labels of shape (...); label -100 is ignored.
    """
    import torch

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        logits = outputs.logits.float()
        weight = torch.tensor(weights, device=logits.device) if weights else None
        total = torch.nn.functional.cross_entropy(
            logits.flatten(0, -2), labels.flatten(), weight=weight, ignore_index=IGNORED, reduction="sum"
        )
        return total / (labels.ne(IGNORED).sum() if num_items_in_batch is None else num_items_in_batch)

    return loss
