"""Where a model is right and where it is wrong, as ``metrics.json`` holds it."""

from __future__ import annotations

from dataclasses import dataclass

from hubtools.records import Record
from hubtools.records.scores import Interval


@dataclass(frozen=True, kw_only=True)
class LengthSlice(Record):
    """Rows of like length; ``slice`` says of how many characters."""

    slice: str
    rows: int
    accuracy: Interval | None


@dataclass(frozen=True, kw_only=True)
class DetectionLengthSlice(LengthSlice):
    """The same of a detection; ``roc_auc`` is None where one class is missing."""

    positives: int
    negatives: int
    fnr: Interval | None
    fpr: Interval | None
    roc_auc: float | None


@dataclass(frozen=True, kw_only=True)
class Family(Record):
    """Rows of one family, such as those of one template."""

    family: str
    rows: int
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class LengthMatched(Record):
    """ROC-AUC over pairs of like length.

    Attributes:
        roc_auc: None where there is no such pair.
        length_alone: ROC-AUC that the number of characters alone reaches, in the better direction.
    """

    roc_auc: Interval | None
    pairs: int
    length_alone: float


@dataclass(frozen=True, kw_only=True)
class Alarming(Record):
    """False alarms among the negative rows that hold an alarming word, and among the others."""

    rows: int
    false_alarms: Interval | None
    others: int
    false_alarms_of_others: Interval | None


@dataclass(frozen=True, kw_only=True)
class ClassificationSlices(Record):
    """Scores by length, and the families with the lowest accuracy."""

    length: list[LengthSlice]
    families: list[Family]


@dataclass(frozen=True, kw_only=True)
class DetectionSlices(Record):
    """The same of a detection; ``alarming`` where the task names alarming words."""

    length: list[DetectionLengthSlice]
    families: list[Family]
    length_matched: LengthMatched
    alarming: Alarming | None = None


@dataclass(frozen=True, kw_only=True)
class SpanLengthSlice(Record):
    """Documents of like length."""

    slice: str
    rows: int
    entity_f1: Interval


@dataclass(frozen=True, kw_only=True)
class SpanFamily(Record):
    """Documents of one template."""

    family: str
    rows: int
    entity_f1: float
    overlap_f1: float


@dataclass(frozen=True, kw_only=True)
class CleanFamily(Record):
    """Documents of one template without personal data, and the share of them in which some was predicted."""

    family: str
    rows: int
    false_alarms: float


@dataclass(frozen=True, kw_only=True)
class SpanSlices(Record):
    """Scores by length and by template.

    Attributes:
        family_count: templates with a true span.
        family_mean: the mean of their strict F1, each counting once; None without one.
    """

    length: list[SpanLengthSlice]
    families: list[SpanFamily]
    clean_families: list[CleanFamily]
    family_count: int
    family_mean: float | None


Slices = DetectionSlices | ClassificationSlices | SpanSlices


@dataclass(frozen=True, kw_only=True)
class Mistake(Record):
    """A row answered wrongly, by its id in the test split."""

    id: str
    label: str
    predicted: str
    confidence: float
    slice: str


@dataclass(frozen=True, kw_only=True)
class ConfusedPair(Record):
    """Rows of ``label`` that were answered with ``predicted``, and the most confident of them."""

    label: str
    predicted: str
    rows: int
    worst: list[Mistake]


@dataclass(frozen=True, kw_only=True)
class WrongSlice(Record):
    """Rows of a slice, how many are wrong, and the most confident of these."""

    slice: str
    rows: int
    wrong: int
    worst: Mistake


@dataclass(frozen=True, kw_only=True)
class ClassificationMistakes(Record):
    """The most confident mistakes, by pair of labels and by slice."""

    pairs: list[ConfusedPair]
    slices: list[WrongSlice]


@dataclass(frozen=True, kw_only=True)
class TypeMistakes(Record):
    """True spans of a type by what became of them; ``false_alarm`` counts predicted ones that touch no true one."""

    label: str
    exact: int
    other_bounds: int
    other_type: int
    missed: int
    false_alarm: int


@dataclass(frozen=True, kw_only=True)
class SpanMistake(Record):
    """A wrong span, without its text.

    Attributes:
        label: the true type, or "nothing".
        kind: "other bounds", "other type" or "false alarm".
        characters: its length.
    """

    id: str
    label: str
    predicted: str
    kind: str
    confidence: float
    characters: int
    family: str


@dataclass(frozen=True, kw_only=True)
class SpanMistakes(Record):
    """What became of the spans of each type, and the most confident wrong ones."""

    kinds: list[TypeMistakes]
    worst: list[SpanMistake]


Mistakes = ClassificationMistakes | SpanMistakes
