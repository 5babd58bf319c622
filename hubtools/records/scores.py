"""Scores of answers, with one class for each kind of answer: labels, a detection, and spans.

Shares, scores and probabilities lie between 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from hubtools.records import Record


@dataclass(frozen=True, kw_only=True)
class Interval(Record):
    """A score and its 95% interval; nan where it is undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ClassScores(Record):
    """Scores of one label.

    Attributes:
        f1_interval: its 95% interval; None where no row has the label, and in a file of an earlier version.
        support: rows that truly have it.
    """

    label: str
    precision: float
    recall: float
    f1: float
    f1_interval: tuple[float, float] | None = None
    support: int


@dataclass(frozen=True, kw_only=True)
class Confusion(Record):
    """Rows of ``label`` that were answered with ``predicted``."""

    label: str
    predicted: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class ClassificationScores(Record):
    """Scores of the most probable label.

    Attributes:
        absent: labels without a row, which the macro averages leave out.
        confusion: (labels, labels) counts; a row holds the rows of one true label.
        most_confused: at most five pairs, the most frequent first.
    """

    rows: int
    accuracy: Interval
    macro_f1: Interval
    macro_precision: float
    macro_recall: float
    weighted_f1: Interval
    weighted_precision: float
    weighted_recall: float
    per_class: list[ClassScores]
    absent: list[str]
    # All counts, so that whoever has only this file can compute any other score of the labels.
    confusion: list[list[int]]
    most_confused: list[Confusion]


@dataclass(frozen=True, kw_only=True)
class DetectionScores(ClassificationScores):
    """Scores of two labels of which one is looked for.

    Attributes:
        threshold: rows whose probability of the positive label is at least this are flagged.
        fpr_at_threshold, fnr_at_threshold: share of negative rows that are flagged, and of positive ones that are not.
        roc: (false positive rate, recall) of each threshold, and ``pr``: (recall, precision).
    """

    roc_auc: Interval
    pr_auc: Interval
    recall_at_1_fpr: Interval
    recall_at_5_fpr: Interval
    threshold: float
    # None where the split lacks the class that the rate is a share of.
    fpr_at_threshold: Interval | None
    fnr_at_threshold: Interval | None
    positives: int
    negatives: int
    roc: list[tuple[float, float]]
    pr: list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class OneClassScores(ClassificationScores):
    """Scores of a detection on rows of one class alone: one of the two rates is defined, and no curve."""

    threshold: float
    fpr_at_threshold: Interval | None = None
    fnr_at_threshold: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class AbstainingScores(ClassificationScores):
    """Scores with those at a threshold: how many rows are answered, and how many of the answers are right."""

    threshold: float
    answered: Interval | None
    accuracy_of_answered: Interval | None


@dataclass(frozen=True, kw_only=True)
class NoScores(Record):
    """What is there to say where no row could be scored."""

    rows: int


@dataclass(frozen=True, kw_only=True)
class TypeScores(Record):
    """Scores of the spans of one type; ``support`` counts its true spans, ``f1_interval`` is as with a label."""

    label: str
    precision: float
    recall: float
    f1: float
    f1_interval: tuple[float, float] | None = None
    overlap_f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class SpanScores(Record):
    """Scores of spans.

    Attributes:
        entity_f1, entity_precision, entity_recall: of spans whose start, end and type agree.
        overlap_f1, overlap_precision, overlap_recall: of spans that share a character with one of their type, each
            with one other.
        covered: share of the characters within true spans that lie in a predicted one of whatever type; None without
            a true span.
        macro_f1: mean of the strict F1 of the types that occur.
        false_alarms: share of documents without a true span in which one was predicted; None without such a document.
    """

    rows: int
    entity_f1: Interval
    entity_precision: Interval
    entity_recall: Interval
    overlap_f1: Interval
    overlap_precision: Interval
    overlap_recall: Interval
    covered: Interval | None
    per_class: list[TypeScores]
    absent: list[str]
    macro_f1: Interval
    clean_documents: int
    false_alarms: Interval | None


# A file is read as the one of them whose keys it has: a record refuses those that it does not know.
# Scores of the test split, and of other data, which may lack labels that the metrics need.
Scores = DetectionScores | ClassificationScores | SpanScores
ScoresOnOtherData = DetectionScores | OneClassScores | AbstainingScores | ClassificationScores | SpanScores | NoScores


@dataclass(frozen=True, kw_only=True)
class ClassificationBaseline(Record):
    """Scores of something to beat, on the same test rows.

    Attributes:
        about: what it is, in the words of the card.
        base: repo and commit of the encoder that it was trained from, where it was.
        version: the tag of a release of the same model, where it is one.
    """

    about: str
    accuracy: Interval
    macro_f1: Interval
    weighted_f1: Interval
    base: tuple[str, str | None] | None = None
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class DetectionBaseline(Record):
    """The same of a detection."""

    about: str
    recall_at_1_fpr: Interval
    recall_at_5_fpr: Interval
    roc_auc: Interval
    pr_auc: Interval
    accuracy: Interval
    macro_f1: Interval
    base: tuple[str, str | None] | None = None
    version: str | None = None


@dataclass(frozen=True, kw_only=True)
class SpanBaseline(Record):
    """The same of spans."""

    about: str
    entity_f1: Interval
    entity_precision: Interval
    entity_recall: Interval
    overlap_f1: Interval
    macro_f1: Interval
    covered: Interval | None
    false_alarms: Interval | None
    version: str | None = None


Baseline = DetectionBaseline | ClassificationBaseline | SpanBaseline
