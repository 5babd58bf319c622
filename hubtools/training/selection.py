"""Scores on the validation split, which pick the checkpoint and stop the training.

They are computed from the Trainer's logits. What stands on a card is computed elsewhere, from predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hubtools.heads.encoding import IGNORED
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec


def evaluation_of_best(state: Any) -> dict[str, Any]:
    """What the Trainer logged when it evaluated the checkpoint that it chose; empty where it did not.

    Args:
        state: the ``TrainerState`` after training.
    """
    history = [entry for entry in state.log_history if "eval_loss" in entry]
    return next((entry for entry in history if entry["step"] == state.best_global_step), {})


def selection_metrics(task: TaskSpec, label_set: LabelSet) -> Callable[[Any], dict[str, float]]:
    """``compute_metrics`` for the Trainer; its keys hold the task's primary metric."""
    if task.kind == "token":
        return _entity_scores(task.model_labels(label_set))
    positive = label_set.labels.index(task.positive) if task.positive else None

    def scores(prediction: Any) -> dict[str, float]:
        from scipy.special import softmax
        from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

        logits, labels = prediction.predictions, prediction.label_ids
        chosen = logits.argmax(-1)
        found = {
            "accuracy": float(accuracy_score(labels, chosen)),
            "macro_f1": float(f1_score(labels, chosen, average="macro", labels=sorted(set(labels.tolist())))),
        }
        if positive is not None:
            found["roc_auc"] = float(roc_auc_score(labels == positive, softmax(logits, axis=-1)[:, positive]))
        return found

    return scores


def _entity_scores(names: tuple[str, ...]) -> Callable[[Any], dict[str, float]]:
    def scores(prediction: Any) -> dict[str, float]:
        from seqeval.metrics import f1_score, precision_score, recall_score

        tagged, found = [], []
        for labels, chosen in zip(prediction.label_ids, prediction.predictions, strict=True):
            kept = labels != IGNORED
            tagged.append([names[i] for i in labels[kept]])
            found.append([names[i] for i in chosen[kept]])
        # Grouped as pipeline() groups: an I- that follows no span of its type begins one, and is a false alarm.
        return {
            "entity_f1": float(f1_score(tagged, found, zero_division=0)),
            "entity_precision": float(precision_score(tagged, found, zero_division=0)),
            "entity_recall": float(recall_score(tagged, found, zero_division=0)),
        }

    return scores
