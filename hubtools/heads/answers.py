"""What a model answers to one text, in the words of its task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class AnsweredSpan:
    """A stretch of the text: ``text[start:end]`` in Unicode code points, its type, and its score from 0 to 1."""

    start: int
    end: int
    type: str
    score: float


# One class for all heads: who asks several tasks loops over their answers without asking which kind each is.
@dataclass(frozen=True)
class Answer:
    """The answer of one task to one text.

    Attributes:
        label: of a classification its label, or the task's fallback where the model is not sure enough; of a detection
            the positive label where ``flagged``, else the other; "" for spans.
        score: the probability that was compared with the threshold, from 0 to 1; of spans that of the surest, 0 for
            none.
        flagged: whether a router should act: the positive label was detected, or spans were found. Always False for a
            classification.
        threshold: what the score was compared with: the one that the model ships with, else that of its pipeline.
        probabilities: of each label, in the order of the model's; {} for spans.
        spans: those with a score at or above the threshold, in the order of the text; () for whole texts.
        tokens_read: tokens of the text that the model read, special ones left out; ``windows``: in how many windows.
        truncated: whether the end of the text was not read.
    """

    # Plain values: they go into JSON and logs as they are.
    label: str
    score: float
    flagged: bool
    threshold: float
    probabilities: Mapping[str, float] = field(default_factory=dict)
    spans: tuple[AnsweredSpan, ...] = ()
    tokens_read: int = 0
    windows: int = 1
    truncated: bool = False
