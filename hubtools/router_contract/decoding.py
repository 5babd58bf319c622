"""Spans as the router decodes them from the tags of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hubtools.reading import strip_span


@dataclass(frozen=True)
class TokenAnswer:
    """The answer to one token: its tag, the tag's probability, and where the token stands (code points)."""

    tag: str
    probability: float
    start: int
    end: int


@dataclass(frozen=True)
class PredictedSpan:
    """``text[start:end]`` in code points, without white space at its ends, and the mean of its tags' probabilities."""

    start: int
    end: int
    type: str
    score: float


def decode_spans(text: str, answers: Sequence[TokenAnswer]) -> list[PredictedSpan]:
    """Return the spans of a text, in order.

    B-X opens a span; I-X goes on with an open span of X, and opens one where there is none; all else closes.
    """
    spans: list[list[TokenAnswer]] = []
    open_type = ""
    for answer in answers:
        prefix, _, kind = answer.tag.partition("-")
        # O, or a tag without a prefix.
        if prefix not in ("B", "I"):
            open_type = ""
        elif prefix == "I" and kind == open_type:
            spans[-1].append(answer)
        # Also an I- that follows no span of its type: the router begins one there, and so does pipeline().
        else:
            spans.append([answer])
            open_type = kind
    found = []
    for tokens in spans:
        start, end = strip_span(text, tokens[0].start, tokens[-1].end)
        # A token of white space alone leaves nothing.
        if start < end:
            score = sum(token.probability for token in tokens) / len(tokens)
            found.append(PredictedSpan(start, end, tokens[0].tag.partition("-")[2], score))
    return found
