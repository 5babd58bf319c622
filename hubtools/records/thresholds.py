"""``thresholds.json`` and ``calibration.json``: where to act on an answer, and how sure answers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hubtools.records import Record
from hubtools.records.scores import Interval

THRESHOLDS = "thresholds.json"  # its name, beside the weights


@dataclass(frozen=True, kw_only=True)
class Target(Record):
    """What a threshold is chosen for: at most this false positive rate, or at least this recall. One of the two."""

    fpr: float | None = None
    recall: float | None = None


@dataclass(frozen=True, kw_only=True)
class DetectionRates(Record):
    """Rates of a split at a threshold; None where it has no row that the rate is of."""

    positives: int
    negatives: int
    fpr: Interval | None
    fnr: Interval | None


@dataclass(frozen=True, kw_only=True)
class DetectionPoint(Record):
    """A threshold and what it gives on both splits."""

    threshold: float
    validation: DetectionRates
    test: DetectionRates


@dataclass(frozen=True, kw_only=True)
class DetectionThresholds(Record):
    """``thresholds.json`` of a detection: ``threshold`` was chosen for ``target`` on the validation split.

    Attributes:
        task: in the file beside the weights alone.
        label: what is flagged.
    """

    task: str | None = None
    kind: Literal["detection"]
    label: str
    threshold: float
    target: Target
    shipped: DetectionPoint
    router_default: DetectionPoint


@dataclass(frozen=True, kw_only=True)
class AbstentionRates(Record):
    """Rates of a split where answers below a threshold become the fallback.

    Attributes:
        answered: share of the rows at or above the threshold.
        kept: share of the right answers that are answered; ``caught``: of the wrong ones that are not.
        accuracy_of_answered, macro_f1_of_answered: None where no row is answered.
        accuracy, macro_f1: of all rows, the fallback being the answer below the threshold.
    """

    rows: int
    answered: Interval | None
    kept: Interval | None
    caught: Interval | None
    accuracy_of_answered: Interval | None
    macro_f1_of_answered: float | None
    accuracy: float
    macro_f1: float


@dataclass(frozen=True, kw_only=True)
class AbstentionPoint(Record):
    """A threshold and what it gives on both splits."""

    threshold: float
    validation: AbstentionRates
    test: AbstentionRates


@dataclass(frozen=True, kw_only=True)
class AbstentionThresholds(Record):
    """``thresholds.json`` of a classification with a fallback, whose name is ``label``; see the one of detection."""

    task: str | None = None
    kind: Literal["abstention"]
    label: str
    threshold: float
    target: Target
    shipped: AbstentionPoint
    router_default: AbstentionPoint


@dataclass(frozen=True, kw_only=True)
class SpanRates(Record):
    """Scores of the spans whose own score is at or above a threshold; see :class:`SpanScores`."""

    entity_precision: Interval
    entity_recall: Interval
    entity_f1: Interval
    covered: Interval | None
    false_alarms: Interval | None


@dataclass(frozen=True, kw_only=True)
class SpanPoint(Record):
    """A threshold and what it gives on the test split."""

    threshold: float
    test: SpanRates


@dataclass(frozen=True, kw_only=True)
class SpanThresholds(Record):
    """``thresholds.json`` of spans: every span counts, and what the router's default would leave."""

    task: str | None = None
    kind: Literal["spans"]
    threshold: float
    target: None
    router_default: SpanPoint


Thresholds = DetectionThresholds | AbstentionThresholds | SpanThresholds


@dataclass(frozen=True, kw_only=True)
class AbstentionStep(Record):
    """One point of the curve: the share of rows ``answered`` at a threshold, and the scores of these."""

    threshold: float
    answered: float
    accuracy: float
    macro_f1: float


@dataclass(frozen=True, kw_only=True)
class Bin(Record):
    """Answers of like confidence: their number, their mean confidence, and the share that is right."""

    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class SplitCalibration(Record):
    """Expected calibration error of a split, without the temperature (``before``) and with it (``after``).

    Attributes:
        answers: rows of a classification, tokens where spans are predicted.
        spans: how many were predicted; ``ece_of_spans`` is None where that is 0. Of spans alone.
    """

    answers: int
    ece_before: float
    ece_after: float
    bins_before: list[Bin]
    bins_after: list[Bin]
    spans: int | None = None
    ece_of_spans: float | None = None


@dataclass(frozen=True, kw_only=True)
class Calibration(Record):
    """How sure the answers are and how often they are right; ``temperature`` is folded into the weights."""

    temperature: float
    validation: SplitCalibration
    test: SplitCalibration


@dataclass(frozen=True, kw_only=True)
class Temperature(Record):
    """The whole of ``calibration.json``: what was fitted, on how many answers, and what came of it, in words."""

    temperature: float
    split: str
    answers: int
    result: str
