"""Numbers from predictions alone: nothing here needs a model, a text or a network.

Every value is a plain float or int, ready for JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hubtools.spec import LabelSet
from hubtools.task import TaskSpec

RESAMPLES = 1000


HEADLINES = {
    "sequence": (("accuracy", "accuracy"), ("macro_f1", "macro F1"), ("weighted_f1", "weighted F1")),
    "detection": (
        ("recall_at_1_fpr", "recall at 1% FPR"), ("recall_at_5_fpr", "recall at 5% FPR"), ("roc_auc", "ROC-AUC"),
        ("pr_auc", "PR-AUC"), ("accuracy", "accuracy"), ("macro_f1", "macro F1"),
    ),
    "token": (
        ("entity_f1", "entity F1 (strict spans)"), ("entity_precision", "entity precision"),
        ("entity_recall", "entity recall"), ("overlap_f1", "entity F1 (overlapping spans)"),
        ("macro_f1", "macro F1 over types"), ("covered", "characters of personal data found"),
        ("false_alarms", "false alarms on documents without personal data"),
    ),
}  # fmt: skip


def headlines(task: TaskSpec) -> tuple[tuple[str, str], ...]:
    """(key, title) of the scores at the head of a card, the primary metric among them."""
    return HEADLINES["detection" if task.positive else task.kind]


# Of a detector, with the threshold that it was judged at; either is absent where the other's rows are.
AT_THRESHOLD = (("fpr_at_threshold", "FPR at the threshold"), ("fnr_at_threshold", "FNR at the threshold"))
# Of a model that may leave a row to the fallback.
ABSTAINING = (
    ("answered", "answered at the threshold"), ("accuracy_of_answered", "accuracy of what is answered"),
)  # fmt: skip


def table_of(task: TaskSpec) -> tuple[tuple[str, str], ...]:
    """(key, title) of the scores on other data and of other models: the headlines, and those at a threshold."""
    return headlines(task) + (AT_THRESHOLD if task.positive else ABSTAINING if task.fallback else ())


def scores_of(task: TaskSpec, label_set: LabelSet, rows: Mapping[str, Any], threshold: float) -> dict[str, Any]:
    """Every score of a split's predictions: ``label`` and ``probabilities``, or ``spans`` and ``found``."""
    if task.kind == "token":
        return span_scores(rows["spans"], rows["found"], label_set.labels)
    scores = classification_scores(rows["label"], rows["probabilities"], label_set.labels)
    if task.positive:
        positive = label_set.labels.index(task.positive)
        scores |= detection_scores(rows["label"], rows["probabilities"], positive, threshold)
    return scores


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


def rate(hits: int, of: int) -> dict[str, float] | None:
    """A share of independent rows and its exact (Clopper-Pearson) 95% interval, which has a width at 0 and 1 too."""
    from scipy.stats import binomtest

    if not of:
        return None
    low, high = binomtest(hits, of).proportion_ci(0.95, method="exact")
    return {"value": hits / of, "low": float(low), "high": float(high)}


def macro_f1(labels: np.ndarray, chosen: np.ndarray, classes: int) -> float:
    """Mean F1 over the classes that occur in ``labels``, as scikit-learn counts it; vectorised for the bootstrap."""
    f1, support = _f1_by_class(labels, chosen, classes)
    return float(np.mean(f1[support > 0]))


def weighted_f1(labels: np.ndarray, chosen: np.ndarray, classes: int) -> float:
    """Mean F1 over rows: each class counts by its support."""
    f1, support = _f1_by_class(labels, chosen, classes)
    return float(np.average(f1, weights=support))


def _f1_by_class(labels: np.ndarray, chosen: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    confusion = np.bincount(labels * classes + chosen, minlength=classes * classes).reshape(classes, classes)
    support = confusion.sum(1)
    return 2 * np.diag(confusion) / np.maximum(confusion.sum(0) + support, 1), support


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
        "weighted_f1": interval(lambda r: weighted_f1(y[r], chosen[r], len(names)), len(y)) | {
            "value": float(weighted[2])},
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


def average_precision(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the precision-recall curve, as scikit-learn's steps have it; nan without a positive row."""
    if not positive.any():
        return float("nan")
    order = np.argsort(-score)
    hits = np.cumsum(positive[order])
    whole = np.append(np.diff(score[order]) != 0, True)
    precision = (hits / np.arange(1, len(hits) + 1))[whole]
    return float((np.diff(hits[whole], prepend=0) * precision).sum() / hits[-1])


def matched_roc_auc(positive: np.ndarray, score: np.ndarray, stratum: np.ndarray) -> float:
    """:func:`roc_auc` over the pairs within a stratum alone; nan without such a pair.

    Args:
        stratum: (rows,), small non-negative integers.
    """
    from scipy.stats import rankdata

    _, place = np.unique(score, return_inverse=True)
    ranks = rankdata(stratum * len(score) + place)  # a higher stratum stands above all of a lower one
    rows = np.bincount(stratum)
    hits = np.bincount(stratum, positive, len(rows))
    below = (np.cumsum(rows) - rows)[stratum]
    won = (ranks - below)[positive].sum() - (hits * (hits + 1) / 2).sum()
    pairs = (hits * (rows - hits)).sum()
    return float(won / pairs) if pairs else float("nan")


def detection_scores(labels: Sequence[int], probabilities: Any, positive: int, threshold: float) -> dict[str, Any]:
    """Scores of a two-class task as a detector of the class ``positive``."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    y = np.asarray(labels) == positive
    score = np.asarray(probabilities, dtype=float)[:, positive]
    flagged = score >= threshold
    fpr, tpr, _ = roc_curve(y, score)
    precision, recall, _ = precision_recall_curve(y, score, drop_intermediate=True)
    return {
        "roc_auc": interval(lambda r: roc_auc(y[r], score[r]), len(y)) | {"value": float(roc_auc_score(y, score))},
        "pr_auc": interval(lambda r: average_precision(y[r], score[r]), len(y)) | {
            "value": float(average_precision_score(y, score))},
        "recall_at_1_fpr": interval(lambda r: recall_at_fpr(y[r], score[r], 0.01), len(y)),
        "recall_at_5_fpr": interval(lambda r: recall_at_fpr(y[r], score[r], 0.05), len(y)),
        "threshold": threshold,
        "fpr_at_threshold": rate(int(flagged[~y].sum()), int((~y).sum())),
        "fnr_at_threshold": rate(int((~flagged[y]).sum()), int(y.sum())),
        "positives": int(y.sum()),
        "negatives": int((~y).sum()),
        "roc": [[float(a), float(b)] for a, b in zip(fpr, tpr, strict=True)],
        "pr": [[float(a), float(b)] for a, b in zip(recall, precision, strict=True)],
    }  # fmt: skip


def span_scores(
    spans: Sequence[Sequence[Mapping[str, Any]]], found: Sequence[Sequence[Mapping[str, Any]]], types: Sequence[str]
) -> dict[str, Any]:
    """Entity scores: strictly, a span counts where start, end and type agree.

    ``overlap_f1`` takes a span for found where one of its type shares a character with it. ``covered`` is the share
    of the characters of personal data that lie in a found span of whatever type: what a mask would hide.
    ``false_alarms`` is the share of documents without personal data in which something was found.
    """
    counts = span_counts(spans, found, len(types))
    covered = np.array([_covered(true, guess) for true, guess in zip(spans, found, strict=True)]).reshape(-1, 2)
    per_type: list[dict[str, Any]] = []
    for kind, name in enumerate(types):
        p, r, f = strict_prf(counts[:, kind].sum(0))
        per_type.append({"label": name, "precision": p, "recall": r, "f1": f,
                         "overlap_f1": overlap_prf(counts[:, kind].sum(0))[2],
                         "support": int(counts[:, kind, 2].sum())})  # fmt: skip
    micro = counts.sum(1)
    clean = [row for row, true in enumerate(spans) if not true]

    def scored(part: int, by: Callable[[Any], tuple[float, float, float]] = strict_prf) -> dict[str, float]:
        return interval(lambda r: by(micro[r].sum(0))[part], len(spans))

    return {
        "rows": len(spans),
        "entity_f1": scored(2),
        "entity_precision": scored(0),
        "entity_recall": scored(1),
        "overlap_f1": scored(2, overlap_prf),
        "overlap_precision": scored(0, overlap_prf),
        "overlap_recall": scored(1, overlap_prf),
        "covered": interval(lambda r: _share(covered[r].sum(0)), len(spans)) if covered.any() else None,
        "per_class": per_type,
        "absent": [entry["label"] for entry in per_type if not entry["support"]],
        "macro_f1": interval(lambda r: _macro(counts[r].sum(0)), len(spans)),
        "clean_documents": len(clean),
        "false_alarms": rate(sum(bool(found[row]) for row in clean), len(clean)),
    }


def span_counts(
    spans: Sequence[Sequence[Mapping[str, Any]]], found: Sequence[Sequence[Mapping[str, Any]]], types: int
) -> np.ndarray:
    """(documents, types, 5): spans found exactly, found at all, and true; then found spans that share a character with
    a true one of their type, and true ones that do with a found one.
    """
    counts = np.zeros((len(spans), types, 5), dtype=int)
    for row, (true, guess) in enumerate(zip(spans, found, strict=True)):
        wanted = {(s["start"], s["end"], s["label"]) for s in true}
        given = {(s["start"], s["end"], s["label"]) for s in guess}
        touched = {s for s in wanted if any(_overlap(s, g) for g in given if g[2] == s[2])}
        touching = {g for g in given if any(_overlap(s, g) for s in wanted if g[2] == s[2])}
        for column, group in enumerate((wanted & given, given, wanted, touching, touched)):
            for _, _, label in group:
                counts[row, label, column] += 1
    return counts


def _covered(true: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Characters of personal data that lie in a found span, and all of them."""
    hidden = {i for s in found for i in range(s["start"], s["end"])}
    personal = {i for s in true for i in range(s["start"], s["end"])}
    return len(personal & hidden), len(personal)


def _overlap(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _share(counts: Any) -> float:
    return float(counts[0] / counts[1]) if counts[1] else float("nan")


def _macro(counts: Any) -> float:
    """Mean F1 of the types that occur."""
    present = [strict_prf(of_type)[2] for of_type in counts if of_type[2]]
    return float(np.mean(present)) if present else 0.0


def strict_prf(counts: Any) -> tuple[float, float, float]:
    """Precision, recall and F1 of exact spans, from a row of :func:`span_counts`, or a sum of them."""
    hits, found, true = (int(n) for n in counts[:3])
    precision = hits / found if found else 0.0
    recall = hits / true if true else 0.0
    return precision, recall, 2 * hits / (found + true) if found + true else 0.0


def overlap_prf(counts: Any) -> tuple[float, float, float]:
    """The same of spans that share a character."""
    _, found, true, touching, touched = (int(n) for n in counts)
    precision = touching / found if found else 0.0
    recall = touched / true if true else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0
