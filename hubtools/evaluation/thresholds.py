"""Where to act on an answer: a threshold chosen on the validation split for a declared target, measured on test.

For a detector the score is the probability of its positive label; for a task with a fallback it is that of the
answer, and what lies below the threshold becomes the fallback. Nothing here looks at the test split to choose.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hubtools.errors import UsageError
from hubtools.evaluation.scores import macro_f1, rate, span_scores
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec

FILE = "thresholds.json"  # beside the weights
FEWEST = 100  # rows that a macro F1 is drawn of


@dataclass(frozen=True)
class Target:
    """What a threshold is chosen for: at most this share of false positives, or at least this share of true ones."""

    kind: str
    value: float


DETECTION = Target("fpr", 0.01)
ABSTENTION = Target("recall", 0.95)


def check_target(tasks: Sequence[TaskSpec], fpr: float | None, recall: float | None) -> None:
    """Refuse what no threshold can be chosen for.

    Raises:
        UsageError: two targets, one that is no share, or none of ``tasks`` has a threshold to choose.
    """
    asked = {name: value for name, value in (("--target-fpr", fpr), ("--target-recall", recall)) if value is not None}
    if len(asked) > 1:
        raise UsageError("A threshold has one target", expected="--target-fpr or --target-recall", found="both",
                         next="leave one of the two out")  # fmt: skip
    for name, value in asked.items():
        if not 0 < value < 1:
            raise UsageError(f"The target {name}", expected="a share between 0 and 1, such as 0.01", found=str(value))
        if not any(target_of(task, None, None) for task in tasks):
            raise UsageError(
                f"No threshold is chosen for {tasks[0].name!r}", expected="a task that flags, or that may be unsure",
                found=name, next=f"leave {name} out for {tasks[0].name}",
            )  # fmt: skip


def label_of(task: TaskSpec, label_set: LabelSet) -> str:
    """The label that a threshold is about: what a detector flags, or what an unsure answer becomes; "" for none."""
    return task.positive or (task.fallback if task.fallback in label_set.labels else "")


def shipped(metrics: Mapping[str, Any]) -> float | None:
    """The threshold that ``metrics`` chose; None where the task has none to choose."""
    chosen = metrics["thresholds"]
    return float(chosen["threshold"]) if chosen and chosen["kind"] in ("detection", "abstention") else None


def target_of(task: TaskSpec, fpr: float | None, recall: float | None) -> Target | None:
    """The target of a task: what is asked for, else its default; None for a task without a threshold to choose."""
    if not task.positive and not task.fallback:
        return None
    if fpr is not None:
        return Target("fpr", fpr)
    return Target("recall", recall) if recall is not None else DETECTION if task.positive else ABSTENTION


def threshold_for(positive: np.ndarray, score: np.ndarray, target: Target) -> float:
    """The threshold that keeps to ``target`` and gives most of the other: ``score >= threshold`` is flagged.

    It is the shortest decimal in the gap between two scores, so that what a card shows is what is used.
    """
    if target.kind == "fpr":  # above all negatives but the share that is allowed
        order = np.sort(score[~positive])[::-1]
        allowed = math.floor(target.value * len(order) + 1e-9)
        above = order[allowed] if allowed < len(order) else 0.0
        return short(float(above), float(min(score[score > above], default=1.0)))
    order = np.sort(score[positive])[::-1]
    needed = math.ceil(target.value * len(order) - 1e-9)
    upto = order[needed - 1] if needed else 1.0
    return short(float(max(score[score < upto], default=0.0)), float(upto))


def short(above: float, upto: float) -> float:
    """The number with the fewest decimals that is more than ``above`` and at most ``upto``."""
    for digits in range(2, 17):
        found = round((math.floor(above * 10**digits) + 1) / 10**digits, digits)
        if above < found <= upto:
            return float(found)
    return upto


def thresholds(
    task: TaskSpec, label_set: LabelSet, validation: Mapping[str, Any], test: Mapping[str, Any], target: Target | None
) -> dict[str, Any] | None:
    """What ``thresholds.json`` holds, from the predictions of both splits; None where a task has no threshold."""
    if task.kind == "token":
        return {
            "kind": "spans", "threshold": 0.0, "target": None,
            "router_default": {"threshold": task.threshold, "test": _spans(test, label_set.labels, task.threshold)},
        }  # fmt: skip
    label = label_of(task, label_set)
    if target is None or not label:
        return None
    index = label_set.labels.index(label)
    kind, measured = ("detection", _detection) if task.positive else ("abstention", _abstention)
    positive, score = _signal(validation, index, kind)
    chosen = threshold_for(positive, score, target)
    at = {
        name: {"threshold": t, **{split: measured(rows, index, t, len(label_set.labels))
                                  for split, rows in (("validation", validation), ("test", test))}}
        for name, t in (("shipped", chosen), ("router_default", task.threshold))
    }  # fmt: skip
    return {
        "kind": kind, "label": label, "threshold": chosen, "target": {target.kind: target.value}, **at,
    }  # fmt: skip


def abstention_curve(rows: Mapping[str, Any], classes: int) -> list[dict[str, float]]:
    """What abstaining buys: with the surest fiftieth of the rows ``answered``, with two, up to all of them.

    ``accuracy`` and ``macro_f1`` are those of the rows answered; of fewer than :data:`FEWEST` they say nothing.
    """
    labels, p = np.asarray(rows["label"]), np.asarray(rows["probabilities"], dtype=float)
    score, answer = p.max(1), p.argmax(1)
    curve = []
    for threshold in sorted({float(t) for t in np.quantile(score, np.arange(50) / 50, method="lower")}, reverse=True):
        on = score >= threshold
        if on.sum() >= min(FEWEST, len(labels)):
            curve.append({
                "threshold": threshold, "answered": float(on.mean()),
                "accuracy": float((answer[on] == labels[on]).mean()),
                "macro_f1": macro_f1(labels[on], answer[on], classes),
            })  # fmt: skip
    return curve


def _signal(rows: Mapping[str, Any], index: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Which rows are positive, and their scores: attacks by probability, or right answers by how sure they are."""
    labels, p = np.asarray(rows["label"]), np.asarray(rows["probabilities"], dtype=float)
    if kind == "detection":
        return labels == index, p[:, index]
    return p.argmax(1) == labels, p.max(1)


def _detection(rows: Mapping[str, Any], index: int, threshold: float, classes: int) -> dict[str, Any]:
    positive, score = _signal(rows, index, "detection")
    flagged = score >= threshold
    return {
        "positives": int(positive.sum()), "negatives": int((~positive).sum()),
        "fpr": rate(int((flagged & ~positive).sum()), int((~positive).sum())),
        "fnr": rate(int((~flagged & positive).sum()), int(positive.sum())),
    }  # fmt: skip


def _abstention(rows: Mapping[str, Any], index: int, threshold: float, classes: int) -> dict[str, Any]:
    """``kept`` of the right answers, ``caught`` of the wrong ones; what falls to the fallback may itself be right."""
    right, score = _signal(rows, index, "abstention")
    labels, p = np.asarray(rows["label"]), np.asarray(rows["probabilities"], dtype=float)
    answered = score >= threshold
    final = np.where(answered, p.argmax(1), index)
    return {
        "rows": len(labels),
        "answered": rate(int(answered.sum()), len(labels)),
        "kept": rate(int((answered & right).sum()), int(right.sum())),
        "caught": rate(int((~answered & ~right).sum()), int((~right).sum())),
        "accuracy_of_answered": rate(int((answered & right).sum()), int(answered.sum())),
        "macro_f1_of_answered": macro_f1(labels[answered], p[answered].argmax(1), classes) if answered.any() else None,
        "accuracy": float((final == labels).mean()),
        "macro_f1": macro_f1(labels, final, classes),
    }


def _spans(rows: Mapping[str, Any], types: Sequence[str], threshold: float) -> dict[str, Any]:
    kept = [[span for span in found if span["score"] >= threshold] for found in rows["found"]]
    scores = span_scores(rows["spans"], kept, types)
    return {key: scores[key] for key in ("entity_precision", "entity_recall", "entity_f1", "covered", "false_alarms")}
