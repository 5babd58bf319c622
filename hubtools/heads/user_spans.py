"""Spans of a user's own data: objects with offsets, or words with tags, however their owner writes them."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence

from hubtools.heads.offsets import read_offsets
from hubtools.heads.rows import LabelMap, UserColumns, map_label
from hubtools.heads.tags import merge_tags
from hubtools.reading import OUTSIDE
from hubtools.rows import Columns, read_text, sort_spans
from hubtools.spec import BadRow, Example, Flawed, Span

# Where no flag names the column of tags: the first of these that is there.
TAGS = ("ner_tags", "tags")

_Read = Callable[[Mapping[str, object]], Example]


def choose_span_columns(columns: Columns, seen: Sequence[str], label_map: LabelMap, types: set[str]) -> UserColumns:
    """Return how text and spans are read: from a column of spans, or from words and their tags.

    Words are taken where a flag names them, or where the data has them and no spans.

    Args:
        seen: names of the columns that the data has.
        types: entity types that the task has, in its sources' names or its own.
    """
    # Names that a flag gives go before the usual ones, and the usual ones before an error.
    text = columns.text or "text"
    tokens = columns.tokens or "tokens"
    tags = columns.tags or next((name for name in TAGS if name in seen), TAGS[0])
    has_spans = columns.label or "spans" in seen
    if columns.tokens or columns.tags or (not has_spans and tokens in seen):
        # With a text of its own, spans are offsets in that; otherwise the text is made of the words.
        text_columns = (text,) if columns.text or text in seen else ()
        read = _make_tag_reader(text if text_columns else "", tokens, tags, label_map, types)
        return UserColumns((*text_columns, tokens, tags), read)
    spans = columns.label or "spans"
    return UserColumns((text, spans), _make_span_reader(text, spans, label_map, types))


def _make_span_reader(text_column: str, span_column: str, label_map: LabelMap, types: set[str]) -> _Read:
    def read(raw: Mapping[str, object]) -> Example:
        text = read_text(raw, text_column)
        spans = read_offsets(text, _read_list(raw.get(span_column), "spans"))
        return Example(text=text, spans=_map_types(text, spans, label_map, types))

    return read


def _make_tag_reader(
    text_column: str, token_column: str, tag_column: str, label_map: LabelMap, types: set[str]
) -> _Read:
    """Return a row function; a ``text_column`` of "" stands for a text that is made of the words."""
    known = {*label_map, *types}

    def read(raw: Mapping[str, object]) -> Example:
        # Both are read before either is checked: a row without tags says so, whatever its tokens are.
        token_values, tag_values = _read_list(raw.get(token_column), "tokens"), _read_list(raw.get(tag_column), "tags")
        words = [word for word in token_values if isinstance(word, str)]
        if len(words) < len(token_values):
            raise BadRow("tokens are not a list of texts")
        tags = [tag for tag in tag_values if isinstance(tag, str)]
        if len(tags) < len(tag_values):
            raise BadRow("tags are not a list of texts, nor integers of a ClassLabel")
        if len(words) != len(tags):
            raise BadRow("tokens and tags differ in number")
        if text_column:
            text = read_text(raw, text_column)
            offsets = align_words(text, words)
        else:
            text, offsets = join_words(words)
            if not text.strip():
                raise Flawed(f"{token_column} is empty")
        spans = merge_tags(offsets, tags, known)
        for tag in tags:  # a map may name these, and is told which of its keys there are
            label_map.get(tag)
        return Example(text=text, spans=_map_types(text, spans, label_map, types))

    return read


def _read_list(value: object, what: str) -> list[object]:
    """Return a list, which a csv file holds as text: JSON, or as Python writes it.

    Args:
        what: the value's name in the message of an error, in the plural.
    """
    if isinstance(value, str):
        written = value
        try:
            value = json.loads(written)
        except (ValueError, RecursionError):
            # pandas writes a column of lists as repr() does, with single quotes. Nothing is evaluated but literals.
            try:
                value = ast.literal_eval(written.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                raise BadRow(f"{what} are not a list") from None
    if isinstance(value, Mapping):  # columns instead of rows, as older datasets write a list of objects
        columns = list(value.values())
        if not all(isinstance(column, list) for column in columns) or len({len(column) for column in columns}) > 1:
            raise BadRow(f"{what} are not a list")
        return [dict(zip(value, items, strict=True)) for items in zip(*columns, strict=True)]
    if not isinstance(value, list | tuple):
        raise BadRow(f"{what} are not a list")
    return list(value)


def _map_types(text: str, spans: Sequence[Span], label_map: LabelMap, types: set[str]) -> tuple[Span, ...]:
    """Return spans of the task's types, in order and without white space at their ends: the router trims it too."""
    kept = []
    for span in spans:
        mapped = map_label(span.type, label_map)
        if mapped == OUTSIDE:
            continue
        # A misspelled type would otherwise be lost quietly, and its text be trained on as no entity.
        if mapped not in types:
            raise BadRow(f"unknown entity type {mapped!r}")
        # White space at the ends is no part of a name, and words carry none: the span would not survive tagging.
        inner = text[span.start : span.end]
        start = span.start + len(inner) - len(inner.lstrip())
        kept.append(Span(start, start + len(inner.strip()), mapped))
    return sort_spans(text, kept)


_NO_SPACE_BEFORE = (".", ",", ";", ":", "!", "?", ")", "]", "}", "%", "'s", "’s", "n't", "n’t")
_NO_SPACE_AFTER = ("(", "[", "{", "$", "#")


def join_words(tokens: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Return a text of ``tokens``, and the offsets of each in it: spaces between, none before closing punctuation."""
    text, offsets = "", list[tuple[int, int]]()
    previous = ""
    for token in tokens:
        # The model reads prompts as people write them: "(see p. 3)", not "( see p . 3 )".
        without_space = token in _NO_SPACE_BEFORE or previous in _NO_SPACE_AFTER
        if text and token.strip() and not without_space and not text[-1].isspace():
            text += " "
        offsets.append((len(text), len(text) + len(token)))
        text += token
        previous = token
    return text, offsets


def align_words(text: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Return the offsets of each of ``tokens`` in ``text``, with nothing but white space between.

    Raises:
        BadRow: they are not the words of this text.
    """
    offsets = []
    position = 0  # behind the word before
    for token in tokens:
        start = text.find(token, position)
        # Anything but white space in between means that a word was skipped, or that these are another text's words.
        if start < 0 or text[position:start].strip():
            raise BadRow("tokens do not stand in the text")
        position = start + len(token)
        offsets.append((start, position))
    if text[position:].strip():
        raise BadRow("tokens do not stand in the text")
    return offsets
