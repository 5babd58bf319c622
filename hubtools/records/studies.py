"""``outcome.json`` of one training of a study, and ``search.json``, ``cross-validation.json`` and ``repeat.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hubtools.records import Record


@dataclass(frozen=True, kw_only=True)
class Outcome(Record):
    """What came of a training: a score with its costs, or a failure.

    Attributes:
        name: of its folder in the study.
        flags: beside those that all trainings of the study have.
        score: the primary metric on the validation split.
        failure: the message of a training without a score.
    """

    name: str
    seed: int
    flags: list[str]
    score: float | None = None
    seconds: float | None = None
    steps: int | None = None
    epochs: float | None = None
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class FoldOutcome(Outcome):
    """The same of a fold, with its rows.

    Attributes:
        train, validation: rows that were trained on, and rows that were held out.
        left_out_as_leaks: rows that were not trained on because the like is held out.
        kept_in_training: rows that were not held out because training would have lacked a class without them.
    """

    train: int
    validation: int
    left_out_as_leaks: int
    kept_in_training: int


@dataclass(frozen=True, kw_only=True)
class StudyMetric(Record):
    """The primary metric of the task."""

    key: str
    title: str


@dataclass(frozen=True, kw_only=True)
class SearchRange(Record):
    """What a flag might be: see ``studies/ranges.py``."""

    low: float | int | None = None
    high: float | int | None = None
    log: bool | None = None
    step: float | int | None = None
    choices: list[float | int | str | bool] | None = None


@dataclass(frozen=True, kw_only=True)
class StudyReport(Record):
    """What every report of a study says.

    Attributes:
        split: where scores were measured: always "validation".
        base: what all trainings started from.
        flags: those that all trainings have.
        folder: where the trainings are.
    """

    task: str
    metric: StudyMetric
    split: str
    base: str
    seed: int
    flags: list[str]
    folder: str
    trainings: Sequence[Outcome]


@dataclass(frozen=True, kw_only=True)
class SearchReport(StudyReport):
    """The whole of ``search.json``; ``trainings`` are sorted from the best to the worst.

    Attributes:
        ranges: by flag.
        best: None where no training has a score.
        importances: share of the scores' variance that each flag explains; None where that cannot be said.
        notes: what has to be known to read the scores.
    """

    sampler_seed: int
    ranges: dict[str, SearchRange]
    best: Outcome | None
    importances: dict[str, float] | None
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class ScoreSpread(Record):
    """How far scores spread.

    Attributes:
        scored: trainings that have a score.
        standard_deviation: of the sample; None for a single score.
    """

    scored: int
    mean: float | None
    standard_deviation: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class CrossValidationReport(StudyReport):
    """The whole of ``cross-validation.json``; see :class:`ScoreSpread` for the numbers."""

    trainings: Sequence[FoldOutcome]
    folds: int
    scored: int
    mean: float | None
    standard_deviation: float | None
    low: float | None
    high: float | None
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class RepetitionReport(StudyReport):
    """The whole of ``repeat.json``; see :class:`ScoreSpread` for the numbers.

    Attributes:
        kept: the training whose model is left.
    """

    seeds: list[int]
    scored: int
    mean: float | None
    standard_deviation: float | None
    low: float | None
    high: float | None
    kept: str
