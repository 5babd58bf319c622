"""All scores of a split's answers as one record, for each kind of answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubtools.heads.values import Rows
from hubtools.lazy_numpy import np
from hubtools.metrics.detection import (
    FNR_AT_THRESHOLD,
    FPR_AT_THRESHOLD,
    PR_AUC,
    RECALL_AT_1_FPR,
    RECALL_AT_5_FPR,
    ROC_AUC,
    DetectionAnswers,
)
from hubtools.metrics.intervals import Answers, bound_each, number_groups, score_metrics
from hubtools.metrics.labels import (
    ACCURACY,
    ACCURACY_OF_ANSWERED,
    ANSWERED,
    MACRO_F1,
    WEIGHTED_F1,
    LabelAnswers,
    mean_by_support,
    mean_of_present,
    precision_recall_f1,
)
from hubtools.metrics.spans import (
    COVERED,
    ENTITY_F1,
    ENTITY_PRECISION,
    ENTITY_RECALL,
    FALSE_ALARMS,
    MACRO_F1_OF_TYPES,
    OVERLAP_F1,
    OVERLAP_PRECISION,
    OVERLAP_RECALL,
    SpanAnswers,
    overlap_prf,
    strict_prf,
)
from hubtools.records.scores import (
    AbstainingScores,
    ClassificationScores,
    ClassScores,
    Confusion,
    DetectionScores,
    Interval,
    OneClassScores,
    SpanScores,
    TypeScores,
)
from hubtools.spec import Metric

# The column behind those of our labels: what a model answers with labels that are none of ours.
ANOTHER = "another label"

_LABEL_METRICS = (ACCURACY, MACRO_F1, WEIGHTED_F1)
_DETECTION_METRICS = (
    ROC_AUC,
    PR_AUC,
    RECALL_AT_1_FPR,
    RECALL_AT_5_FPR,
    FPR_AT_THRESHOLD,
    FNR_AT_THRESHOLD,
)
# In the order of the file; those that a card's head shows are a head's ``headlines``.
_SPAN_METRICS = (
    ENTITY_F1,
    ENTITY_PRECISION,
    ENTITY_RECALL,
    OVERLAP_F1,
    OVERLAP_PRECISION,
    OVERLAP_RECALL,
    COVERED,
    MACRO_F1_OF_TYPES,
    FALSE_ALARMS,
)


def read_groups(rows: Rows) -> np.ndarray | None:
    """Return (rows,) the numbers of the groups of rows, for their intervals; None where rows have no such column."""
    return number_groups(rows["group"]) if "group" in rows else None


def score_defined(
    metrics: Sequence[Metric], answers: Answers, groups: np.ndarray | None = None
) -> dict[str, Interval | None]:
    """Return each metric with its interval by its key; None where it is undefined, as an AUC of one class is."""
    scores = score_metrics(metrics, answers, groups)
    return {key: score if score and score.value == score.value else None for key, score in scores.items()}


def compute_classification_scores(
    answers: LabelAnswers, names: Sequence[str], groups: np.ndarray | None = None
) -> ClassificationScores:
    """Return the scores of the most probable labels.

    Classes without a row are left out of the macro averages, and named in ``absent``.

    Args:
        names: of the classes, in the order of their indices; the last may be :data:`ANOTHER`, which no row truly has.
        groups: see :func:`read_groups`.
    """
    return ClassificationScores(**_describe_labels(answers, names, _LABEL_METRICS, groups))


def compute_abstaining_scores(answers: LabelAnswers, names: Sequence[str]) -> AbstainingScores:
    """Return the same with the scores of what is answered at the threshold of ``answers``."""
    metrics = (*_LABEL_METRICS, ANSWERED, ACCURACY_OF_ANSWERED)
    return AbstainingScores(**_describe_labels(answers, names, metrics), threshold=answers.threshold)


def compute_detection_scores(
    answers: DetectionAnswers, names: Sequence[str], groups: np.ndarray | None = None
) -> DetectionScores:
    """Return the scores of a detection; both classes must have a row."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    fpr, tpr, _ = roc_curve(answers.positive, answers.score)
    # Without points on a straight line between two others, which draw nothing: the file holds the curve.
    precision, recall, _ = precision_recall_curve(answers.positive, answers.score, drop_intermediate=True)
    return DetectionScores(
        **_describe_labels(answers, names, (*_LABEL_METRICS, *_DETECTION_METRICS), groups),
        threshold=answers.threshold,
        positives=int(answers.positive.sum()),
        negatives=int((~answers.positive).sum()),
        roc=[(float(a), float(b)) for a, b in zip(fpr, tpr, strict=True)],
        pr=[(float(a), float(b)) for a, b in zip(recall, precision, strict=True)],
    )


def compute_one_class_scores(answers: DetectionAnswers, names: Sequence[str]) -> OneClassScores:
    """Return the scores of a detection on rows of one class: without a curve, and with one of the two rates."""
    metrics = (*_LABEL_METRICS, FPR_AT_THRESHOLD, FNR_AT_THRESHOLD)
    return OneClassScores(**_describe_labels(answers, names, metrics), threshold=answers.threshold)


def _fill(groups: np.ndarray | None, answers: LabelAnswers | SpanAnswers) -> np.ndarray:
    return np.arange(len(answers)) if groups is None else groups


def _describe_labels(
    answers: LabelAnswers, names: Sequence[str], metrics: Sequence[Metric], groups: np.ndarray | None = None
) -> dict[str, Any]:
    """Return the fields of a record of scores: ``metrics`` by their keys, and what is counted of each label."""
    counts = answers.confusion
    support = counts.sum(1)
    precision, recall, f1 = precision_recall_f1(counts)
    bounds = bound_each(lambda rows: precision_recall_f1(answers.take(rows).confusion)[2], _fill(groups, answers))
    # By name where pairs are equally frequent, so that the same predictions give the same file.
    confusions = sorted(
        ((int(counts[i, j]), names[i], names[j]) for i in range(len(names)) for j in range(len(names)) if i != j),
        key=lambda confusion: (-confusion[0], confusion[1], confusion[2]),
    )
    return {
        **score_metrics(metrics, answers, groups),
        "rows": len(answers),
        "macro_precision": mean_of_present(precision, support),
        "macro_recall": mean_of_present(recall, support),
        "weighted_precision": mean_by_support(precision, support),
        "weighted_recall": mean_by_support(recall, support),
        "per_class": [
            ClassScores(
                label=name,
                precision=float(precision[i]),
                recall=float(recall[i]),
                f1=float(f1[i]),
                f1_interval=bounds[i] if support[i] else None,
                support=int(support[i]),
            )
            for i, name in enumerate(names)
        ],
        "absent": [name for i, name in enumerate(names) if not support[i] and name != ANOTHER],
        "confusion": counts.tolist(),
        "most_confused": [Confusion(label=a, predicted=b, rows=n) for n, a, b in confusions[:5] if n],
    }


def compute_span_scores(answers: SpanAnswers, types: Sequence[str], groups: np.ndarray | None = None) -> SpanScores:
    """Return the scores of spans; see the record for what each of them counts."""
    per_type = []

    def score_types(rows: np.ndarray) -> np.ndarray:
        return np.array([strict_prf(counts)[2] for counts in answers.counts[rows].sum(0)])

    bounds = bound_each(score_types, _fill(groups, answers))
    for label, name in enumerate(types):
        counts: np.ndarray = answers.counts[:, label].sum(0)
        precision, recall, f1 = strict_prf(counts)
        per_type.append(
            TypeScores(
                label=name,
                precision=precision,
                recall=recall,
                f1=f1,
                f1_interval=bounds[label] if counts[2] else None,
                overlap_f1=overlap_prf(counts)[2],
                support=int(counts[2]),
            )
        )
    # Keys are those of the record's fields, which from_json() checks when the file is read.
    fields: dict[str, Any] = {
        **score_metrics(_SPAN_METRICS, answers, groups),
        "rows": len(answers),
        "per_class": per_type,
        "absent": [entry.label for entry in per_type if not entry.support],
        "clean_documents": int(answers.clean.sum()),
    }
    # Without a character in a true span there is no share: None, as for other shares of nothing.
    if not answers.covered.any():
        fields[COVERED.key] = None
    return SpanScores(**fields)
