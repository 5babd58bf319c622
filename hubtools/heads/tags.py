"""Spans from the tags of words, whichever scheme their owner writes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from hubtools.reading import OUTSIDE
from hubtools.spec import Span

# A letter before or behind the type, with a dash or an underscore: B-X, B_X, X-B, X_B.
_BEFORE = re.compile(r"([BILOUES])([-_])(.+)", re.DOTALL)
_BEHIND = re.compile(r"(.+)([-_])([BILOUES])", re.DOTALL)


def merge_tags(offsets: Sequence[tuple[int, int]], tags: Sequence[str], known: Collection[str] = ()) -> list[Span]:
    """Return spans over words from their tags: BIO in both its forms, BILOU, BIOES, IO, or bare types.

    A letter that opens (B, U, S) always begins a span; any other goes on with one of its type, or begins one.

    Args:
        known: what the task or a label map names: such a tag is a type as it stands, where it is no part of a scheme.
    """
    spans: list[Span] = []
    open_type = ""  # type of the span that the next word may go on with
    for (start, end), tag in zip(offsets, tags, strict=True):
        letter, span_type = _read_tag(tag, known)
        if not span_type.strip() or span_type == OUTSIDE or letter == OUTSIDE:
            open_type = ""
            continue
        if span_type == open_type and letter in ("I", "L", "E"):
            spans[-1] = replace(spans[-1], end=end)
        else:
            # A map that names the tags themselves has no word for what stands beside the letter.
            named = tag if tag in known and span_type not in known else span_type
            spans.append(Span(start, end, named))
        # L and E close a span, U and S are a span of one word: what follows begins another.
        open_type = "" if letter in ("L", "E", "U", "S") else span_type
    return spans


def _read_tag(tag: str, known: Collection[str]) -> tuple[str, str]:
    """Return a tag's letter and type; a bare type goes on with the word before, as I does."""
    if found := _BEFORE.fullmatch(tag):
        letter, dash, span_type = found.groups()
        others = [f"{other}{dash}{span_type}" for other in "BI" if other != letter]
    elif found := _BEHIND.fullmatch(tag):
        span_type, dash, letter = found.groups()
        others = [f"{span_type}{dash}{other}" for other in "BI" if other != letter]
    else:
        return "I", tag
    # A type may look like this itself: E-MAIL, S_NUMBER, VITAMIN-B.
    if tag in known:
        of_scheme = any(other in known for other in others) or (letter in "BI" and span_type in known)
        return (letter, span_type) if of_scheme else ("I", tag)
    if span_type in known or (dash == "-" and tag[1] == "-"):
        return letter, span_type
    return "I", tag
