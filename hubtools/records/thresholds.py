"""``thresholds.json`` and ``calibration.json``: where to act on an answer, and how sure answers are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hubtools.records import Record
from hubtools.records.scores import Interval

THRESHOLDS = "thresholds.json"  # its name, beside the weights
WEIGHTS = "model.safetensors"  # the weights that evaluation chooses for


@dataclass(frozen=True, kw_only=True)
class Target(Record):
    """What a threshold is chosen for: at most this false positive rate, or at least this recall. One of the two."""

    # The one that is not asked for is left out of the file.
    fpr: float | None = None
    recall: float | None = None


@dataclass(frozen=True, kw_only=True)
class SourceRate(Record):
    """The false positive rate on the harmless rows of one source.

    Attributes:
        measured_with: further sources whose rows are pooled with these where a threshold is chosen, as each has few.
    """

    source: str
    negatives: int
    fpr: Interval | None
    measured_with: list[str]


@dataclass(frozen=True, kw_only=True)
class DetectionRates(Record):
    """Rates of a split at a threshold; None where it has no row that the rate is of.

    Attributes:
        sources: the rate on each; none in a file of an earlier version.
    """

    positives: int
    negatives: int
    fpr: Interval | None
    fnr: Interval | None
    sources: list[SourceRate] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class DetectionThresholds(Record):
    """The threshold of a detection, chosen for ``target`` on the validation split, and what it gives on both splits.

    Attributes:
        label: what is flagged, at or above the threshold.
    """

    kind: Literal["detection"]  # tells the three kinds apart
    label: str
    threshold: float
    target: Target
    validation: DetectionRates
    test: DetectionRates


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
    # Of what the router acts on: an unsure answer that is replaced by the fallback may become right by that.
    accuracy: float
    macro_f1: float


@dataclass(frozen=True, kw_only=True)
class EverydayRate(Record):
    """How many everyday requests a split has, and which share is answered with the fallback or becomes it."""

    rows: int
    reached: Interval | None


@dataclass(frozen=True, kw_only=True)
class Everyday(Record):
    """Everyday requests: rows of the fallback from other sources than the main one.

    Attributes:
        share: that the threshold was raised for, up to a limit; None where another target was asked for.
        test: None where the split has too few.
    """

    share: float | None
    validation: EverydayRate | None
    test: EverydayRate | None


@dataclass(frozen=True, kw_only=True)
class AbstentionThresholds(Record):
    """The threshold of a classification with a fallback, whose name is ``label``; see the one of detection.

    Attributes:
        everyday: None where the validation split has no such requests.
    """

    kind: Literal["abstention"]
    label: str
    threshold: float
    target: Target
    validation: AbstentionRates
    test: AbstentionRates
    everyday: Everyday | None = None


@dataclass(frozen=True, kw_only=True)
class SpanThresholds(Record):
    """The threshold of spans: every span counts, and the scores of a release are of all of them."""

    kind: Literal["spans"]
    threshold: float  # 0: every span counts
    target: None


Thresholds = DetectionThresholds | AbstentionThresholds | SpanThresholds


@dataclass(frozen=True, kw_only=True)
class ThresholdsFile(Record):
    """The whole of ``thresholds.json``: what each file of weights of a release is acted on at.

    Attributes:
        languages: of the texts that the thresholds were chosen on, as ISO 639 codes; empty in a file of an earlier
            version.
        weights: by the path of the file in the release, such as ``"model.safetensors"``.
    """

    task: str
    languages: list[str] = field(default_factory=list)
    weights: dict[str, Thresholds]


def find_entry(content: object, weights: str = WEIGHTS) -> Mapping[str, object]:
    """Return what the JSON of a ``thresholds.json`` says of a file of weights; nothing where it says nothing.

    It may be anyone's file, or one of an earlier version, which was flat and about :data:`WEIGHTS` alone.
    """
    if not isinstance(content, dict):
        return {}
    files = content.get("weights", {WEIGHTS: content})
    entry = files.get(weights) if isinstance(files, dict) else None
    return entry if isinstance(entry, dict) else {}


def read_threshold(content: object, weights: str, kind: str, label: str) -> float | None:
    """Return the threshold of a file of weights; None where it says nothing of them, or is of another kind or label."""
    entry = find_entry(content, weights)
    threshold = entry.get("threshold")
    if entry.get("kind") != kind or entry.get("label", "") != label or not isinstance(threshold, int | float):
        return None
    return float(threshold)


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
    # A span's score is the mean over its tokens: it may be badly calibrated where they are not.
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
