"""Spans as BIO tags of words and back, and as columns of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hubtools.metrics.spans import SpanDict, SpanRow
from hubtools.spec import Example, LabelSet, Span
from hubtools.words import find_words

if TYPE_CHECKING:
    from datasets.features.features import FeatureType

# Counted as the reason a row is dropped for.
SPLIT_WORD = "a span begins or ends within a word"


def tag_words(text: str, spans: Iterable[Span], types: Sequence[str]) -> tuple[list[str], list[int]]:
    """Return words and punctuation marks of ``text``, and their BIO tag ids in the order of ``model_labels``.

    Args:
        spans: in order, without overlap.
    """
    # A word that a span touches in part is tagged too: survive_tagging() tells such rows.
    tokens, tags = [], []
    ordered = list(spans)
    index, previous = 0, None
    for start, end in find_words(text):
        tokens.append(text[start:end])
        # Both are in order: one walk over the text, whatever the number of spans.
        while index < len(ordered) and ordered[index].end <= start:
            index += 1
        span = ordered[index] if index < len(ordered) and ordered[index].start < end else None
        # Ids: 0 is O, and type number n has B at 2n + 1 and I at 2n + 2.
        tags.append(0 if span is None else 1 + 2 * types.index(span.type) + (span is previous))
        previous = span
    return tokens, tags


def read_word_tags(text: str, tags: Sequence[int], types: Sequence[str]) -> list[Span]:
    """Return the spans that :func:`tag_words` made these tags of, where each begins and ends with a word."""
    spans: list[Span] = []
    for (start, end), tag in zip(find_words(text), tags, strict=True):
        if tag and tag % 2:  # B opens a span, I goes on with the last
            spans.append(Span(start, end, types[tag // 2]))
        elif tag:
            spans[-1] = replace(spans[-1], end=end)
    return spans


def survive_tagging(text: str, spans: Sequence[Span], types: Sequence[str]) -> bool:
    """Return whether spans, written as tags of words and read back, are the same."""
    return not spans or read_word_tags(text, tag_words(text, spans, types)[1], types) == list(spans)


def make_span_columns(rows: Sequence[Example], label_set: LabelSet) -> dict[str, Sequence[object]]:
    """Return the columns of a split, ready for :func:`make_span_features`.

    ``spans`` are what is scored; ``tokens`` and ``ner_tags`` say the same for those who train on words.
    """
    # The labels of ``label_set`` stand for the types, and their order for the ids of the tags.
    tagged = [tag_words(row.text, row.spans, label_set.labels) for row in rows]
    return {
        "spans": [index_spans(row.spans, label_set.labels) for row in rows],
        "tokens": [tokens for tokens, _ in tagged],
        "ner_tags": [tags for _, tags in tagged],
    }


def make_span_features(labels: Sequence[str], tags: Sequence[str]) -> dict[str, FeatureType]:
    """Return the types of these columns as ``datasets`` has them."""
    from datasets import ClassLabel, List, Value

    return {
        "spans": List({"start": Value("int32"), "end": Value("int32"), "label": ClassLabel(names=list(labels))}),
        "tokens": List(Value("string")),
        "ner_tags": List(ClassLabel(names=list(tags))),
    }


def index_spans(spans: Iterable[Span], labels: Sequence[str]) -> list[SpanDict]:
    """Return spans as a dataset holds them: ``start``, ``end``, and ``label`` as an index of ``labels``."""
    # Plain dicts: this is what a datasets.Dataset, a parquet file and a metric take.
    return [{"start": span.start, "end": span.end, "label": labels.index(span.type)} for span in spans]


def name_spans(spans: Iterable[SpanDict], labels: Sequence[str]) -> tuple[Span, ...]:
    """Return the spans that a dataset's row holds, with the names of their types."""
    return tuple(Span(span["start"], span["end"], labels[span["label"]]) for span in spans)


def widen_to_words(text: str, spans: SpanRow) -> list[SpanDict]:
    """Return the spans with their bounds at the words that they touch; punctuation at their ends is left out.

    Collections differ in whether a dot or a bracket belongs to a name: compared so, that makes no mistake.
    """
    words = [(start, end) for start, end in find_words(text) if text[start].isalnum()] if spans else []
    widened: list[SpanDict] = []
    for span in spans:
        touched = [word for word in words if word[0] < span["end"] and span["start"] < word[1]]
        bounds = (touched[0][0], touched[-1][1]) if touched else (span["start"], span["end"])
        widened.append({"start": bounds[0], "end": bounds[1], "label": span["label"]})
    return widened
