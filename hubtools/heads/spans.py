"""Spans: stretches of a text, each of one type; BIO tags over subwords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hubtools.heads.base import Head
from hubtools.records.slices import Mistakes
from hubtools.spec import LabelSet


@dataclass(frozen=True)
class Spans(Head):
    """Stretches of a text, each of one type.

    Attributes:
        content: what spans hold, as cards call it: a noun without an article or a plural, such as "personal data".
    """

    name: ClassVar[str] = "spans"
    kind: ClassVar[Literal["sequence", "token"]] = "token"
    pipeline: ClassVar[Literal["text-classification", "token-classification"]] = "token-classification"
    truth: ClassVar[str] = "spans"
    answer: ClassVar[str] = "found"
    unit: ClassVar[str] = "documents"
    answer_unit: ClassVar[str] = "tokens"
    card_metrics: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall")
    one_pass: ClassVar[str] = "tokens"

    content: str = "marked text"

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        """``O``, then B- and I- of each type: the router drops index 0."""
        return ("O", *(f"{prefix}-{t}" for t in label_set.labels for prefix in "BI"))

    # --- rows of a dataset ---

    # --- training ---

    # --- predictions and scores ---

    # --- cards, releases and the Space ---

    def rows_shown(self, mistakes: Mistakes) -> frozenset[str]:
        """Return no id: a mistake is told by its type, its length and its row, and what a span holds may be private."""
        return frozenset()

    def answer_difference(
        self, recorded: Sequence[Mapping[str, Any]], answer: Sequence[Mapping[str, Any]]
    ) -> float | None:
        """Compare spans by ``score``; None where they have other bounds or another type."""
        places = [[(span["start"], span["end"], span["label"]) for span in spans] for spans in (recorded, answer)]
        if places[0] != places[1]:
            return None
        return max((abs(a["score"] - b["score"]) for a, b in zip(recorded, answer, strict=True)), default=0.0)

    def one_pass_difference(self, recorded: Sequence[Mapping[str, Any]], answer: Sequence[Sequence[float]]) -> float:
        """Compare the probability of each token's recorded label."""
        pairs = zip(recorded, answer, strict=True)
        return max((abs(of_token[token["answer"]] - token["confidence"]) for token, of_token in pairs), default=0.0)
