"""What ``hubtools robustness`` measures, which ``metrics.json`` holds beside the scores; no text of the data."""

from __future__ import annotations

from dataclasses import dataclass

from hubtools.records import Record
from hubtools.records.scores import Interval


@dataclass(frozen=True, kw_only=True)
class Condition(Record):
    """Texts that were asked in one form, and the scores of what was answered, by the keys of the part's metrics."""

    name: str
    rows: int
    scores: dict[str, Interval | None]


@dataclass(frozen=True, kw_only=True)
class MeasuredPart(Record):
    """One question about the model: the same scores under several conditions.

    Attributes:
        title, about: heading and explanation, in the words of the card.
        metrics: titles by key, in the order of the card's columns.
    """

    key: str
    title: str
    about: str
    metrics: dict[str, str]
    conditions: list[Condition]


@dataclass(frozen=True, kw_only=True)
class FlippingWord(Record):
    """A word of ours, and how many texts were flipped with it."""

    word: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Flips(Record):
    """What one or two harmless words, put before or behind a text, do to texts that a detection catches.

    Attributes:
        rows: texts that were tried, and ``caught``: those of them that are flagged as they stand.
        words: how many words were tried.
        one, two: share of the caught that one word, or at most two, let pass; None where none is caught.
        frequent: the words that did it most often.
    """

    rows: int
    caught: int
    words: int
    one: Interval | None
    two: Interval | None
    frequent: list[FlippingWord]


@dataclass(frozen=True, kw_only=True)
class RobustnessReport(Record):
    """The whole report.

    Attributes:
        fingerprint: of the weights, the test rows, the threshold, the limit, the seed and this measure's version.
        threshold: at which answers were judged; None for a task without one.
        limit: most rows of a kind that each part asks.
    """

    fingerprint: str
    weights_sha256: str
    threshold: float | None
    limit: int
    seed: int
    parts: list[MeasuredPart]
    flips: Flips | None = None
