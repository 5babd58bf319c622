"""``outcome.json`` of one training of a study, and the reports of studies, such as ``search.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hubtools.records import Record
from hubtools.records.scores import Interval


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
    # Either a score with its costs, or a failure: a training that broke off is told, not left out.
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
class HeldOutScores(Record):
    """What a training scores on a collection that it never saw.

    Attributes:
        threshold: chosen on the validation rows of the other sources; None for a task without a threshold.
        scores: by the key of the metric; None where the collection does not define one.
    """

    threshold: float | None
    scores: dict[str, Interval | None]


@dataclass(frozen=True, kw_only=True)
class SourceOutcome(Outcome):
    """The same of a training without some sources. Its ``score`` is that of validation rows of the other sources.

    Attributes:
        sources: ids of those that are left out.
        train, validation, held_out: rows.
        left_out_as_leaks: rows of other sources that were not used because the like is held out.
        own_validation: whether validation rows were drawn anew, as those of the other sources lack a class.
        held_out_scores: None where the training failed.
    """

    sources: list[str]
    train: int
    validation: int
    held_out: int
    left_out_as_leaks: int
    own_validation: bool
    held_out_scores: HeldOutScores | None


@dataclass(frozen=True, kw_only=True)
class StudyMetric(Record):
    """The primary metric of the task."""

    key: str
    title: str


@dataclass(frozen=True, kw_only=True)
class SearchRange(Record):
    """What a flag might be: see ``studies/ranges.py``."""

    # A range, or choices: the other fields are left out of the file.
    low: float | int | None = None
    high: float | int | None = None
    log: bool | None = None
    step: float | int | None = None
    choices: list[float | int | str | bool] | None = None


@dataclass(frozen=True, kw_only=True)
class StudyReport(Record):
    """What every report of a study says.

    Attributes:
        split: where scores were measured: "validation", or "held out" where sources are left out.
        base: what all trainings started from.
        flags: those that all trainings have.
        folder: where the trainings are.
    """

    task: str
    metric: StudyMetric
    # Never the test split: a study chooses, and what it chooses by is no longer independent.
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
    # None where no training has a score.
    mean: float | None
    standard_deviation: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class CrossValidationReport(StudyReport):
    """The whole of ``cross-validation.json``; see :class:`ScoreSpread` for the numbers."""

    trainings: Sequence[FoldOutcome]
    folds: int
    # The fields of a ScoreSpread, beside the others: the file is flat.
    scored: int
    mean: float | None
    standard_deviation: float | None
    low: float | None
    high: float | None
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class LabelErrorsReport(StudyReport):
    """The whole of ``label-errors.json``.

    Attributes:
        rows: that were answered by a model which was not trained on them.
        found: rows whose label is doubted.
        kept: rows of the file that a person has filled in.
        file: where the rows are.
    """

    folds: int
    rows: int
    found: int
    kept: int
    file: str


@dataclass(frozen=True, kw_only=True)
class SourceReport(StudyReport):
    """The whole of ``leave-one-source-out.json``.

    Attributes:
        dataset: fingerprint of the curated dataset.
        training: fingerprint of a training with the same flags and base on all sources: of whose model this tells.
        titles: of the scores, by their keys.
        means: of each score over the collections that define it.
        not_left_out: why the others could not be left out, by their ids.
    """

    trainings: Sequence[SourceOutcome]
    dataset: str
    training: str
    titles: dict[str, str]
    means: dict[str, float]
    not_left_out: dict[str, str]

    @property
    def means_by_title(self) -> dict[str, float]:
        """The means as cards and terminals name them."""
        return {self.titles[key]: mean for key, mean in self.means.items()}


@dataclass(frozen=True, kw_only=True)
class RepetitionReport(StudyReport):
    """The whole of ``repeat.json``; see :class:`ScoreSpread` for the numbers.

    Attributes:
        kept: the training whose model is left.
    """

    seeds: list[int]
    # Those of a ScoreSpread, as above.
    scored: int
    mean: float | None
    standard_deviation: float | None
    low: float | None
    high: float | None
    kept: str
