"""Scores on the validation split, which pick the checkpoint and stop the training.

They are the metrics that a card shows, computed from the Trainer's logits instead of from predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubtools.spec import LabelSet
from hubtools.task import TaskSpec


def evaluation_of_best(state: Any) -> dict[str, Any]:
    """Return what the Trainer logged when it evaluated the checkpoint that it chose; empty where it did not.

    Args:
        state: the ``TrainerState`` after training.
    """
    history = [entry for entry in state.log_history if "eval_loss" in entry]
    return next((entry for entry in history if entry["step"] == state.best_global_step), {})


def selection_metrics(task: TaskSpec, label_set: LabelSet) -> Callable[[Any], dict[str, float]]:
    """Return ``compute_metrics`` for the Trainer: the head's metrics, the task's primary one among them."""
    metrics = dict.fromkeys((*task.head.selection, task.primary))

    def compute(prediction: Any) -> dict[str, float]:
        answers = task.head.read_evaluation(prediction.predictions, prediction.label_ids, label_set.labels)
        return {metric.key: metric.function(answers) for metric in metrics}

    return compute
