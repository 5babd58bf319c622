"""Numbers from predictions alone: nothing here needs a model, a text or a network.

Every value is a plain float or int, ready for JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

RESAMPLES = 1000


def interval(score: Callable[[np.ndarray], float], rows: int, seed: int = 0) -> dict[str, float]:
    """Percentile bootstrap over rows: the score of all rows and its 95% interval.

    Args:
        score: from row numbers (with repetition) to a score; it may return nan where it is undefined.
    """
    rng = np.random.default_rng(seed)
    values = [score(rng.integers(0, rows, rows)) for _ in range(RESAMPLES)]
    defined = [v for v in values if v == v]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined else (float("nan"), float("nan"))
    return {"value": float(score(np.arange(rows))), "low": float(low), "high": float(high)}


def macro_f1(labels: np.ndarray, chosen: np.ndarray, classes: int) -> float:
    """Mean F1 over the classes that occur in ``labels``, as scikit-learn counts it; vectorised for the bootstrap."""
    confusion = np.bincount(labels * classes + chosen, minlength=classes * classes).reshape(classes, classes)
    hits = np.diag(confusion)
    total = confusion.sum(0) + confusion.sum(1)
    present = confusion.sum(1) > 0
    return float(np.mean(2 * hits[present] / total[present]))


def classification_scores(labels: Sequence[int], probabilities: Any, names: Sequence[str]) -> dict[str, Any]:
    """Scores of a sequence task by its most probable label.

    Args:
        probabilities: (rows, classes), rows sum to 1.

    Classes without a test row are left out of the macro averages, and named in ``absent``.
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    y = np.asarray(labels)
    p = np.asarray(probabilities, dtype=float)
    chosen = p.argmax(1)
    present = sorted(set(y.tolist()))
    each = precision_recall_fscore_support(y, chosen, labels=range(len(names)), zero_division=0.0)
    macro = precision_recall_fscore_support(y, chosen, labels=present, average="macro", zero_division=0.0)
    weighted = precision_recall_fscore_support(y, chosen, labels=present, average="weighted", zero_division=0.0)
    confusion = confusion_matrix(y, chosen, labels=range(len(names)))
    pairs = sorted(
        ((int(confusion[i, j]), names[i], names[j]) for i in range(len(names)) for j in range(len(names)) if i != j),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    return {
        "rows": len(y),
        "accuracy": interval(lambda r: float((y[r] == chosen[r]).mean()), len(y)) | {
            "value": float(accuracy_score(y, chosen))},
        "macro_f1": interval(lambda r: macro_f1(y[r], chosen[r], len(names)), len(y)) | {"value": float(macro[2])},
        "macro_precision": float(macro[0]),
        "macro_recall": float(macro[1]),
        "weighted_f1": float(weighted[2]),
        "weighted_precision": float(weighted[0]),
        "weighted_recall": float(weighted[1]),
        "per_class": [
            {"label": name, "precision": float(each[0][i]), "recall": float(each[1][i]), "f1": float(each[2][i]),
             "support": int(each[3][i])}
            for i, name in enumerate(names)
        ],
        "absent": [name for i, name in enumerate(names) if i not in present],
        "confusion": confusion.tolist(),
        "most_confused": [{"label": a, "as": b, "rows": n} for n, a, b in pairs[:5] if n],
    }  # fmt: skip


def recall_at_fpr(positive: np.ndarray, score: np.ndarray, limit: float) -> float:
    """The largest recall of any threshold whose false positive rate is at most ``limit``; nan without both classes.

    As scikit-learn's ``roc_curve`` has it, at a twentieth of the time: the bootstrap asks a thousand times.
    """
    if positive.all() or not positive.any():
        return float("nan")
    order = np.argsort(-score)
    hits, alarms = np.cumsum(positive[order]), np.cumsum(~positive[order])
    whole = np.append(np.diff(score[order]) != 0, True)  # equal scores are flagged together
    return float(hits[whole & (alarms / alarms[-1] <= limit)].max(initial=0) / hits[-1])


def roc_auc(positive: np.ndarray, score: np.ndarray) -> float:
    """How often a positive row scores above a negative one, a tie being half; nan without both classes."""
    from scipy.stats import rankdata

    count = int(positive.sum())
    if count in (0, len(positive)):
        return float("nan")
    below = rankdata(score)[positive].sum() - count * (count + 1) / 2
    return float(below / (count * (len(positive) - count)))


def detection_scores(labels: Sequence[int], probabilities: Any, positive: int, threshold: float) -> dict[str, Any]:
    """Scores of a two-class task as a detector of the class ``positive``."""
    from sklearn.metrics import average_precision_score, roc_curve

    y = np.asarray(labels) == positive
    score = np.asarray(probabilities, dtype=float)[:, positive]
    flagged = score >= threshold
    fpr, tpr, _ = roc_curve(y, score)
    return {
        "roc_auc": interval(lambda r: roc_auc(y[r], score[r]), len(y)),
        "pr_auc": float(average_precision_score(y, score)),
        "recall_at_1_fpr": interval(lambda r: recall_at_fpr(y[r], score[r], 0.01), len(y)),
        "recall_at_5_fpr": interval(lambda r: recall_at_fpr(y[r], score[r], 0.05), len(y)),
        "threshold": threshold,
        "fpr_at_threshold": float(flagged[~y].mean()),
        "fnr_at_threshold": float((~flagged[y]).mean()),
        "positives": int(y.sum()),
        "negatives": int((~y).sum()),
        "roc": [[float(a), float(b)] for a, b in zip(fpr, tpr, strict=True)],
    }


def span_scores(
    spans: Sequence[Sequence[Mapping[str, Any]]], found: Sequence[Sequence[Mapping[str, Any]]], types: Sequence[str]
) -> dict[str, Any]:
    """Strict entity scores: a span counts where start, end and type agree.

    ``false_alarms`` is the share of documents without personal data in which something was found.
    """
    kinds = len(types)
    counts = np.zeros((len(spans), kinds, 3), dtype=int)  # hits, found, true: by document and type
    for row, (true, guess) in enumerate(zip(spans, found, strict=True)):
        wanted = {(s["start"], s["end"], s["label"]) for s in true}
        given = {(s["start"], s["end"], s["label"]) for s in guess}
        for column, group in enumerate((wanted & given, given, wanted)):
            for _, _, label in group:
                counts[row, label, column] += 1
    per_type: list[dict[str, Any]] = []
    for kind, name in enumerate(types):
        p, r, f = _prf(counts[:, kind].sum(0))
        per_type.append({"label": name, "precision": p, "recall": r, "f1": f, "support": int(counts[:, kind, 2].sum())})
    precision, recall, _ = _prf(counts.sum((0, 1)))
    present = [entry["f1"] for entry in per_type if entry["support"]]
    clean = [row for row, true in enumerate(spans) if not true]
    return {
        "rows": len(spans),
        "entity_f1": interval(lambda r: _prf(counts[r].sum((0, 1)))[2], len(spans)),
        "entity_precision": precision,
        "entity_recall": recall,
        "per_class": per_type,
        "absent": [entry["label"] for entry in per_type if not entry["support"]],
        "macro_f1": float(np.mean(present)) if present else 0.0,
        "clean_documents": len(clean),
        "false_alarms": float(np.mean([bool(found[row]) for row in clean])) if clean else None,
    }


def _prf(counts: Any) -> tuple[float, float, float]:
    hits, found, true = (int(n) for n in counts)
    precision = hits / found if found else 0.0
    recall = hits / true if true else 0.0
    return precision, recall, 2 * hits / (found + true) if found + true else 0.0
