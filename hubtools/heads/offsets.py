"""Spans from offsets, however they were counted, where that is certain; else in what way they look miscounted."""

from __future__ import annotations

import html
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from hubtools.heads.rows import normalize_label
from hubtools.heads.span_rows import SPLIT_WORD
from hubtools.spec import BadRow, Flawed, Span
from hubtools.words import find_words

# What others call the parts of a span.
_START = ("start", "start_position", "start_offset", "begin", "start_char")
_END = ("end", "end_position", "end_offset", "stop", "end_char")
_TYPE = ("label", "type", "entity_type", "entity_group", "entity", "tag", "labels")
_VALUE = ("value", "entity_value", "text", "word")


@dataclass(frozen=True)
class _Marked:
    """A span as it was written; ``value`` is the text that it says it marks, or None."""

    start: int
    end: int
    type: str
    value: str | None


# From a text to where each offset, counted in some way, is in code points: None for one that is nowhere.
_Place = Callable[[int], int | None]


def read_offsets(text: str, written: Sequence[object]) -> list[Span]:
    """Return the spans of a text, counted in code points.

    Offsets that were counted otherwise are read where the texts beside all of them show it.

    Raises:
        BadRow: one is not a span, lies outside the text, or is not where its text is.
        Flawed: one begins or ends within a word, where it would not in another way of counting.
    """
    marked = [_read_marked(item) for item in written]
    spans = _place(text, marked, lambda offset: offset)
    if spans is not None and _are_right(text, marked, spans):
        if _lie_at_words(text, spans):
            return spans
        for way, certain, other in _count_otherwise(text, marked):
            if other and _lie_at_words(text, other):
                reason = f"{SPLIT_WORD}: offsets look like {way}"
                if certain:
                    raise BadRow(reason)
                raise Flawed(reason)
        return spans  # left to whoever tags words
    known = bool(marked) and all(span.value is not None for span in marked)
    for way, _, other in _count_otherwise(text, marked):
        if other and _are_right(text, marked, other):
            if known:
                return other
            if _lie_at_words(text, other):
                raise BadRow(f"span outside the text: offsets look like {way}")
    if spans is None:
        raise BadRow("span outside the text")
    raise BadRow("span offsets do not give its value")


def _count_otherwise(text: str, marked: Sequence[_Marked]) -> Iterator[tuple[str, bool, list[Span] | None]]:
    """Yield each way of counting that differs for this text: in words, whether it is certain, and its spans."""
    if any(ord(letter) > 0xFFFF for letter in text):
        yield "UTF-16 units", True, _place(text, marked, _make_place(text, lambda c: 1 + (ord(c) > 0xFFFF)))
    if not text.isascii():
        yield "bytes of UTF-8", True, _place(text, marked, _make_place(text, _count_bytes))
    if "\r\n" in text:
        # The carriage return counts nothing: an offset behind the line is that of the next line.
        yield (
            "counted with \\n for \\r\\n",
            True,
            _place(text, marked, _make_place(text, _Returns(text).count, last=True)),
        )
    yield (
        "ends that are the last character",
        False,
        _place(
            text, [_Marked(span.start, span.end + 1, span.type, span.value) for span in marked], lambda offset: offset
        ),
    )
    yield (
        "counted from 1",
        False,
        _place(
            text,
            [_Marked(span.start - 1, span.end - 1, span.type, span.value) for span in marked],
            lambda offset: offset,
        ),
    )
    plain = html.unescape(text)
    if plain != text:
        # Of another text: they cannot be placed in this one, and only tell what was done.
        unescaped = _place(plain, marked, lambda offset: offset)
        if unescaped is not None and _are_right(plain, marked, unescaped) and _lie_at_words(plain, unescaped):
            raise BadRow("span offsets are of the text without its HTML entities, such as &amp;")


def _count_bytes(character: str) -> int:
    return len(character.encode("utf-8", "surrogatepass"))


class _Returns:
    """Counts characters of a text one after another, but no carriage return before a line feed."""

    def __init__(self, text: str) -> None:
        self.following = iter(text[1:] + " ")

    def count(self, character: str) -> int:
        following = next(self.following)
        return 0 if character == "\r" and following == "\n" else 1


def _make_place(text: str, count: Callable[[str], int], *, last: bool = False) -> _Place:
    """Return where an offset is that counts each character as ``count`` says.

    Args:
        last: of several characters at one offset, the last.
    """
    behind = [0, *accumulate(map(count, text))]

    def place(offset: int) -> int | None:
        at = bisect_left(behind, offset)
        if at == len(behind) or behind[at] != offset:
            return None
        while last and at + 1 < len(behind) and behind[at + 1] == offset:
            at += 1
        return at

    return place


def _place(text: str, marked: Sequence[_Marked], place: _Place) -> list[Span] | None:
    """Return the spans at their places; None where one of them has none in the text."""
    spans = []
    for span in marked:
        start, end = place(span.start), place(span.end)
        if start is None or end is None or not 0 <= start < end <= len(text):
            return None
        spans.append(Span(start, end, span.type))
    return spans


def _are_right(text: str, marked: Sequence[_Marked], spans: Sequence[Span]) -> bool:
    """Return whether spans mark the texts that they say they mark, where they say it."""
    return all(
        span.value is None or text[at.start : at.end] in (span.value, span.value.replace("\n", "\r\n"))
        for span, at in zip(marked, spans, strict=True)
    )


def _lie_at_words(text: str, spans: Sequence[Span]) -> bool:
    """Return whether spans, without white space at their ends, begin and end with words."""
    words = find_words(text) if spans else []
    starts, ends = {start for start, _ in words}, {end for _, end in words}
    for span in spans:
        inner = text[span.start : span.end]
        start = span.start + len(inner) - len(inner.lstrip())
        if start not in starts or start + len(inner.strip()) not in ends:
            return False
    return True


def _read_marked(raw: object) -> _Marked:
    """Return a span as it was written; raises :class:`BadRow` where it is none."""
    start: object
    end: object
    span_type: object
    value: object
    if isinstance(raw, Mapping):
        start, end, span_type = (_first_value(raw, names) for names in (_START, _END, _TYPE))
        value = _first_value(raw, _VALUE)
    elif isinstance(raw, list | tuple) and len(raw) == 3:
        (start, end, span_type), value = raw, None
    else:
        raise BadRow("a span is not an object with start, end and label")
    if isinstance(span_type, list) and len(span_type) == 1:  # as Label Studio has it
        [span_type] = span_type
    if start is None or end is None or span_type is None:
        raise BadRow("a span lacks a key")
    # Tables write a column of integers as floats where a cell is empty.
    start, end = (int(at) if isinstance(at, float) and at.is_integer() else at for at in (start, end))
    # Not isinstance: True is an int as well, and no offset.
    if type(start) is not int or type(end) is not int or not isinstance(span_type, str | int):
        raise BadRow("a span has the wrong types")
    if value is not None and not isinstance(value, str):
        raise BadRow("span offsets do not give its value")
    return _Marked(start, end, normalize_label(span_type), value)


def _first_value(raw: Mapping[str, object], names: Sequence[str]) -> object:
    return next((raw[name] for name in names if raw.get(name) is not None), None)
