"""``external/<name>.json``, scores on other data, and what ``hubtools compare`` prints with ``--json``."""

from __future__ import annotations

from dataclasses import dataclass

from hubtools.records import Record
from hubtools.records.scores import Interval, ScoresOnOtherData


@dataclass(frozen=True, kw_only=True)
class RowsInTraining(Record):
    """Rows left out because they stand in our training or validation split, word for word or nearly."""

    # Apart, as a near-duplicate is a judgement: a reader may want to know how many rows it cost.
    exact: int
    near: int


@dataclass(frozen=True, kw_only=True)
class RowsScored(Record):
    """Rows on their way from a source to the scores.

    Attributes:
        dropped: rows by the reason they were dropped for.
        other_splits: rows of splits that were not asked for.
        in_training: None where there was no training split to compare with.
        repeated: rows that repeat another; they are scored.
    """

    read: int
    dropped: dict[str, int]
    other_splits: int
    in_training: RowsInTraining | None
    repeated: int
    scored: int


@dataclass(frozen=True, kw_only=True)
class LabelsUsed(Record):
    """Labels that were scored, and those that the data or the model lack.

    Attributes:
        other_answers: labels of the model that are none of ours.
        ignored: labels of the model that a label map sets to null.
    """

    scored: list[str]
    not_in_data: list[str]
    not_in_model: list[str]
    other_answers: list[str]
    ignored: list[str]


@dataclass(frozen=True, kw_only=True)
class OtherDataReport(Record):
    """The whole of ``external/<name>.json``.

    Attributes:
        model: None for the work folder's own.
        weights_sha256: None where the model is not one safetensors file.
        threshold: None for a task without a threshold.
        benchmark: the name of the task's benchmark that was scored; None for other data.
        unseen: scores of a collection that training never saw, by their keys; those of a head's ``list_unseen``.
    """

    task: str
    name: str
    dataset: str
    revision: str
    split: str
    # How the rows were read, so that somebody else can read them in the same way.
    columns: list[str]
    label_map: dict[str, str | None]
    other_files: list[str]
    rows: RowsScored
    # Of another's model alone: reports of our own go on the card.
    model: str | None
    model_revision: str | None
    weights_sha256: str | None
    label_set: str
    labels: LabelsUsed
    threshold: float | None
    scores: ScoresOnOtherData
    # Files of an earlier version lack them.
    license: str | None = None
    benchmark: str | None = None
    unseen: dict[str, Interval | None] | None = None


@dataclass(frozen=True, kw_only=True)
class PrimaryMetric(Record):
    """Key and title of the metric that models are compared by."""

    key: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Tests(Record):
    """Which statistical tests gave the p values."""

    primary: str
    accuracy: str


@dataclass(frozen=True, kw_only=True)
class ComparedModel(Record):
    """One of the models.

    Attributes:
        lacks: labels that it cannot answer with and the data have.
        scores: of the task's table, by their keys; None where a score is undefined.
        ships_threshold: whether ``threshold`` is its own; else that at which its pipeline answers.
        tokens_per_second: of the texts that it answered, on this device, one model after another.
    """

    model: str
    revision: str | None
    rows: int
    lacks: list[str]
    other_answers: list[str]
    ignored: list[str]
    # By key, not as a record of scores: models that lack labels have different ones.
    scores: dict[str, Interval | None]
    threshold: float | None
    ships_threshold: bool
    tokens_per_second: float


@dataclass(frozen=True, kw_only=True)
class Difference(Record):
    """A paired difference, its 95% interval, and a two-sided p."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, kw_only=True)
class AccuracyDifference(Record):
    """A difference of accuracy, the rows that only one of the two answers right, and the p of McNemar's test."""

    difference: float
    only_a: int
    only_b: int
    p: float


@dataclass(frozen=True, kw_only=True)
class PairDifference(Record):
    """``a`` minus ``b`` on the rows that both can answer; None where it is undefined."""

    a: str
    b: str
    rows: int
    primary: Difference | None
    accuracy: AccuracyDifference | None


@dataclass(frozen=True, kw_only=True)
class ModelComparison(Record):
    """What ``hubtools compare`` reports.

    Attributes:
        columns, label_map, other_files: of other data; None for our own test split.
    """

    task: str
    label_set: str
    dataset: str
    revision: str
    split: str
    columns: list[str] | None = None
    label_map: dict[str, str | None] | None = None
    other_files: list[str] | None = None
    license: str | None = None
    benchmark: str | None = None
    rows: RowsScored
    primary: PrimaryMetric
    tests: Tests
    models: list[ComparedModel]
    pairs: list[PairDifference]
