"""Scores on the validation split, which pick the checkpoint and stop the training.

They are the metrics that a card shows, computed from the Trainer's logits instead of from predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from hubtools.heads.thresholds import divide_by_source
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec

if TYPE_CHECKING:
    import numpy as np
    from transformers import EvalPrediction, TrainerState


BY_SOURCE = "by_source"  # the key of the primary metric of rows in which each source counts alike
FEWEST = 20  # rows of a source that count for themselves


def find_best_evaluation(state: TrainerState) -> dict[str, float]:
    """Return what the Trainer logged when it evaluated the checkpoint that it chose; empty where it did not.

    Args:
        state: the ``TrainerState`` after training.
    """
    # Lines of training steps have a loss, those of evaluations an eval_loss.
    history = [entry for entry in state.log_history if "eval_loss" in entry]
    return next((entry for entry in history if entry["step"] == state.best_global_step), {})


def make_selection_metrics(
    task: TaskSpec, label_set: LabelSet, sources: Sequence[str] = ()
) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return ``compute_metrics`` for the Trainer: the head's metrics, the task's primary one among them.

    Where the rows are of several sources, :data:`BY_SOURCE` is the primary metric of rows in which each source counts
    alike: a large one would choose the checkpoint alone.

    Args:
        sources: of the validation rows, in their order; none where they are not known.
    """
    # A dictionary keeps the order and each metric once: the primary one is usually among the head's.
    metrics = dict.fromkeys((*task.head.selection, task.primary))
    even = take_evenly(sources)

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        # A classifier has one output: transformers' tuples are for models of several.
        predictions, label_ids = cast("tuple[np.ndarray, np.ndarray]", (prediction.predictions, prediction.label_ids))
        answers = task.head.read_evaluation(predictions, label_ids, label_set.labels)
        by_source = {} if even is None else {BY_SOURCE: task.primary.function(answers.take(even))}
        return {metric.key: metric.function(answers) for metric in metrics} | by_source

    return compute


def take_evenly(sources: Sequence[str]) -> np.ndarray | None:
    """Return row numbers, with repetition, among which each source has as many; None for fewer than two sources.

    Sources with fewer than :data:`FEWEST` rows count as one; where they are too few together, they join the smallest
    of the others.
    """
    import numpy as np

    every = np.ones(len(sources), dtype=bool)
    parts = [rows for _, rows in divide_by_source(np.asarray(sources, dtype=object), every, FEWEST)]
    if len(parts) < 2:
        return None
    most = max(len(rows) for rows in parts)
    return np.concatenate([np.resize(rows, most) for rows in parts])
