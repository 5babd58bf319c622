"""``metrics.json``: every number that evaluation computes.

Its parts are in ``scores``, ``thresholds`` and ``slices``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hubtools.records import Record
from hubtools.records.robustness import RobustnessReport
from hubtools.records.scores import Baseline, Scores
from hubtools.records.slices import Mistakes, Slices
from hubtools.records.thresholds import AbstentionStep, Calibration, Target, Thresholds


@dataclass(frozen=True, kw_only=True)
class Primary(Record):
    """The metric that heads the card; ``key`` is that of the scores."""

    key: str
    title: str
    value: float
    low: float
    high: float


# Outputs have the keys that the Hub's widgets read in the front matter of a card.


@dataclass(frozen=True, kw_only=True)
class LabelOutput(Record):
    """A label and its probability, as a card's widget has it."""

    label: str
    score: float


@dataclass(frozen=True, kw_only=True)
class SpanOutput(Record):
    """A predicted span, as a card's widget has it: ``text[start:end]`` is ``word``."""

    entity_group: str
    score: float
    start: int
    end: int
    word: str


@dataclass(frozen=True, kw_only=True)
class AnsweredExample(Record):
    """One of the task's examples and what the model answers."""

    text: str
    output: list[LabelOutput | SpanOutput]


@dataclass(frozen=True, kw_only=True)
class PreviousVersion(Record):
    """The version that was published before.

    Attributes:
        method: how it was trained; "" where it does not say.
        why_not: why its answers cannot be compared; "" where they are among the baselines.
        title, value: of its own primary metric, on its own test rows.
    """

    repo: str
    tag: str
    revision: str
    method: str
    why_not: str
    title: str | None
    value: float | None


@dataclass(frozen=True, kw_only=True)
class Metrics(Record):
    """The whole of ``metrics.json``.

    Attributes:
        other_decodings: of spans, the scores of other ways to read them out of the same model, by their name.
        target: what the threshold was chosen for; None where none is chosen.
        abstention: the curve of a task with a fallback.
        fingerprint: of the predictions and the target that all this was computed from.
        baselines_of: fingerprint of the data that the baselines were computed from.
        baselines: by the name that the card gives them.
        plots: (file, caption) in the order of the card.
        robustness: what ``hubtools robustness`` found of these weights at this threshold; it asks the model anew.
    """

    task: str
    weights_sha256: str
    primary: Primary
    scores: Scores
    other_decodings: dict[str, Baseline] = field(default_factory=dict)
    target: Target | None
    thresholds: Thresholds | None
    abstention: list[AbstentionStep] | None = None
    calibration: Calibration
    slices: Slices
    mistakes: Mistakes
    examples: list[AnsweredExample]
    fingerprint: str
    # Baselines depend on the data alone, and some take minutes: they stay while this fingerprint does.
    baselines_of: str
    baselines: dict[str, Baseline]
    previous: PreviousVersion | None = None
    plots: list[tuple[str, str]]
    robustness: RobustnessReport | None = None

    @property
    def shipped_threshold(self) -> float | None:
        """The threshold that was chosen; None where none is."""
        # Spans have a record of thresholds without a target: there, every span counts.
        return self.thresholds.threshold if self.target and self.thresholds else None
