"""Scores on the validation split, which pick the checkpoint and stop the training.

They are the metrics that a card shows, computed from the Trainer's logits instead of from predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from hubtools.spec import LabelSet
from hubtools.task import TaskSpec

if TYPE_CHECKING:
    import numpy as np
    from transformers import EvalPrediction, TrainerState


def find_best_evaluation(state: TrainerState) -> dict[str, float]:
    """Return what the Trainer logged when it evaluated the checkpoint that it chose; empty where it did not.

    Args:
        state: the ``TrainerState`` after training.
    """
    # Lines of training steps have a loss, those of evaluations an eval_loss.
    history = [entry for entry in state.log_history if "eval_loss" in entry]
    return next((entry for entry in history if entry["step"] == state.best_global_step), {})


def make_selection_metrics(task: TaskSpec, label_set: LabelSet) -> Callable[[EvalPrediction], dict[str, float]]:
    """Return ``compute_metrics`` for the Trainer: the head's metrics, the task's primary one among them."""
    # A dictionary keeps the order and each metric once: the primary one is usually among the head's.
    metrics = dict.fromkeys((*task.head.selection, task.primary))

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        # A classifier has one output: transformers' tuples are for models of several.
        predictions, label_ids = cast("tuple[np.ndarray, np.ndarray]", (prediction.predictions, prediction.label_ids))
        answers = task.head.read_evaluation(predictions, label_ids, label_set.labels)
        return {metric.key: metric.function(answers) for metric in metrics}

    return compute
