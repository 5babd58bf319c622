"""Spans: stretches of a text, each of one type; BIO tags over subwords."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from hubtools.heads.base import Head
from hubtools.spec import LabelSet


@dataclass(frozen=True)
class Spans(Head):
    """Stretches of a text, each of one type."""

    name: ClassVar[str] = "spans"
    kind: ClassVar[Literal["sequence", "token"]] = "token"
    pipeline: ClassVar[Literal["text-classification", "token-classification"]] = "token-classification"
    truth: ClassVar[str] = "spans"
    answer: ClassVar[str] = "found"

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        """``O``, then B- and I- of each type: the router drops index 0."""
        return ("O", *(f"{prefix}-{t}" for t in label_set.labels for prefix in "BI"))

    # --- a task of one's own ---

    # A tag is B- or I- before the type, and O stands for none.
    label_pattern: ClassVar[str] = r"(?!O$)\w[\w.-]{0,63}"
    label_rule: ClassVar[str] = "a letter or digit, then letters, digits and . - _, 64 at most, and not O"
    least_labels: ClassVar[int] = 1

    def default_question(self, labels: Sequence[str]) -> str:
        return f"Where does the text hold {', '.join(labels)}?"

    # --- rows of a dataset ---

    # --- training ---

    # --- predictions and scores ---

    # --- cards, releases and the Space ---
