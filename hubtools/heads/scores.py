"""All scores of a split's answers as one record, for each kind of answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
from hubtools.metrics.intervals import score_metrics
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
    OneClassScores,
    SpanScores,
    TypeScores,
)
from hubtools.spec import Metric

# The column behind those of our labels: what a model answers with labels that are none of ours.
ANOTHER = "another label"

_OF_LABELS = (ACCURACY, MACRO_F1, WEIGHTED_F1)
_OF_DETECTION = (
    ROC_AUC,
    PR_AUC,
    RECALL_AT_1_FPR,
    RECALL_AT_5_FPR,
    FPR_AT_THRESHOLD,
    FNR_AT_THRESHOLD,
)
_OF_SPANS = (
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


def classification_scores(answers: LabelAnswers, names: Sequence[str]) -> ClassificationScores:
    """Return the scores of the most probable labels.

    Classes without a row are left out of the macro averages, and named in ``absent``.

    Args:
        names: of the classes, in the order of their indices; the last may be :data:`ANOTHER`, which no row truly has.
    """
    return ClassificationScores(**_describe_labels(answers, names, _OF_LABELS))


def abstaining_scores(answers: LabelAnswers, names: Sequence[str]) -> AbstainingScores:
    """Return the same with the scores of what is answered at the threshold of ``answers``."""
    metrics = (*_OF_LABELS, ANSWERED, ACCURACY_OF_ANSWERED)
    return AbstainingScores(**_describe_labels(answers, names, metrics), threshold=answers.threshold)


def detection_scores(answers: DetectionAnswers, names: Sequence[str]) -> DetectionScores:
    """Return the scores of a detection; both classes must have a row."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    fpr, tpr, _ = roc_curve(answers.positive, answers.score)
    precision, recall, _ = precision_recall_curve(answers.positive, answers.score, drop_intermediate=True)
    return DetectionScores(
        **_describe_labels(answers, names, (*_OF_LABELS, *_OF_DETECTION)),
        threshold=answers.threshold,
        positives=int(answers.positive.sum()),
        negatives=int((~answers.positive).sum()),
        roc=[(float(a), float(b)) for a, b in zip(fpr, tpr, strict=True)],
        pr=[(float(a), float(b)) for a, b in zip(recall, precision, strict=True)],
    )


def one_class_scores(answers: DetectionAnswers, names: Sequence[str]) -> OneClassScores:
    """Return the scores of a detection on rows of one class: without a curve, and with one of the two rates."""
    metrics = (*_OF_LABELS, FPR_AT_THRESHOLD, FNR_AT_THRESHOLD)
    return OneClassScores(**_describe_labels(answers, names, metrics), threshold=answers.threshold)


def _describe_labels(answers: LabelAnswers, names: Sequence[str], metrics: Sequence[Metric]) -> dict[str, Any]:
    """Return the fields of a record of scores: ``metrics`` by their keys, and what is counted of each label."""
    counts = answers.confusion
    support = counts.sum(1)
    each = precision_recall_f1(counts)
    pairs = sorted(
        ((int(counts[i, j]), names[i], names[j]) for i in range(len(names)) for j in range(len(names)) if i != j),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    return {
        **score_metrics(metrics, answers),
        "rows": len(answers),
        "macro_precision": mean_of_present(each[0], support),
        "macro_recall": mean_of_present(each[1], support),
        "weighted_precision": mean_by_support(each[0], support),
        "weighted_recall": mean_by_support(each[1], support),
        "per_class": [
            ClassScores(
                label=name,
                precision=float(each[0][i]),
                recall=float(each[1][i]),
                f1=float(each[2][i]),
                support=int(support[i]),
            )
            for i, name in enumerate(names)
        ],
        "absent": [name for i, name in enumerate(names) if not support[i] and name != ANOTHER],
        "confusion": counts.tolist(),
        "most_confused": [Confusion(label=a, predicted=b, rows=n) for n, a, b in pairs[:5] if n],
    }


def span_scores(answers: SpanAnswers, types: Sequence[str]) -> SpanScores:
    """Return the scores of spans; see the record for what each of them counts."""
    per_type = []
    for kind, name in enumerate(types):
        counts: np.ndarray = answers.counts[:, kind].sum(0)
        precision, recall, f1 = strict_prf(counts)
        per_type.append(
            TypeScores(
                label=name,
                precision=precision,
                recall=recall,
                f1=f1,
                overlap_f1=overlap_prf(counts)[2],
                support=int(counts[2]),
            )
        )
    fields: dict[str, Any] = {
        **score_metrics(_OF_SPANS, answers),
        "rows": len(answers),
        "per_class": per_type,
        "absent": [entry.label for entry in per_type if not entry.support],
        "clean_documents": int(answers.clean.sum()),
    }
    if not answers.covered.any():
        fields[COVERED.key] = None
    return SpanScores(**fields)
