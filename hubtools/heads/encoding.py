"""Texts to token ids, spans to BIO labels of subwords."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hubtools.heads.values import IGNORED, Encoded, Rows
from hubtools.heads.word_marks import mark_words
from hubtools.metrics.spans import SpanDict
from hubtools.reading import cut_windows

if TYPE_CHECKING:
    from transformers import BatchEncoding, PreTrainedTokenizerBase


def make_bio_labels(
    offsets: Sequence[tuple[int, int]],
    text: str,
    spans: Iterable[SpanDict],
    ids: Mapping[tuple[int, str], int],
) -> list[int]:
    """Return the BIO ids of subwords, from character offsets.

    The first subword that touches a span is B-, every further one I-: none is masked, because the router decodes
    every subword. A byte-level token may begin with the space before a word; that space does not count.

    Args:
        offsets: (start, end) of each subword in code points; (0, 0) for special tokens.
        spans: ``start``, ``end`` and ``label`` (index of the type), without overlap.
        ids: label id by (type index, "B" or "I").

    Returns:
        one id a subword; :data:`IGNORED` for special tokens, 0 for ``O``.
    """
    ordered = sorted(spans, key=lambda span: span["start"])
    # Subwords and spans are both in order: one walk over the text. ``index`` is that of the first span that does not
    # lie behind us, ``begun`` that of the last span with a B-.
    labels, begun, index = [], -1, 0
    for start, end in offsets:
        if start == end:
            labels.append(IGNORED)
            continue
        # A token of white space alone, such as a line break inside an address, keeps its place.
        start = next((i for i in range(start, end) if not text[i].isspace()), start)
        while index < len(ordered) and ordered[index]["end"] <= start:
            index += 1
        if index == len(ordered) or not (ordered[index]["start"] < end and start < ordered[index]["end"]):
            labels.append(0)
            continue
        labels.append(ids[ordered[index]["label"], "I" if begun == index else "B"])
        begun = index
    return labels


def label_tokens(offsets: Sequence[tuple[int, int]], text: str, spans: Iterable[SpanDict], types: int) -> list[int]:
    """Return :func:`make_bio_labels` in the order of a model's labels: O, then B- and I- of each of ``types`` types."""
    ids = {(t, "B"): 1 + 2 * t for t in range(types)} | {(t, "I"): 2 + 2 * t for t in range(types)}
    return make_bio_labels(offsets, text, spans, ids)


def encode_sequence(
    batch: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int, anywhere: Collection[int] = ()
) -> Encoded:
    """Return token ids and the class of each text; a text longer than ``max_length`` tokens is cut.

    Args:
        anywhere: numbers of rows of which any part may be read; of the others it is the beginning.
    """
    texts = list(batch["text"])
    size = max_length - tokenizer.num_special_tokens_to_add()
    # A token is at least a byte, and a tokenizer that is not fast says nothing of places.
    long = [row for row in anywhere if tokenizer.is_fast and len(_bytes_of(texts[row])) > size]
    if long:
        whole = tokenizer([texts[row] for row in long], add_special_tokens=False, return_offsets_mapping=True)
        for row, offsets in zip(long, whole["offset_mapping"], strict=True):
            texts[row] = _skip_to_window(texts[row], offsets, size)
    encoded = tokenizer(texts, truncation=True, max_length=max_length)
    return _join_labels(encoded, batch["label"])


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _skip_to_window(text: str, offsets: Sequence[tuple[int, int]], size: int) -> str:
    """Return a text from where one of the windows begins that it is read in, each as likely: the same one each time."""
    windows = list(cut_windows(len(offsets), size, size // 2))
    if len(windows) == 1:
        return text
    chosen = windows[zlib.crc32(_bytes_of(text)) % len(windows)]
    # The last window as long as the others.
    return text[offsets[min(chosen.start, len(offsets) - size)][0] :]


def encode_tokens(batch: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int, types: int) -> Encoded:
    """Return token ids and BIO labels, marked by words; a text longer than ``max_length`` tokens is cut."""
    encoded = tokenizer(list(batch["text"]), truncation=True, max_length=max_length, return_offsets_mapping=True)
    labels = [
        mark_words(label_tokens(offsets, text, spans, types), text, offsets)
        for offsets, text, spans in zip(encoded["offset_mapping"], batch["text"], batch["spans"], strict=True)
    ]
    return _join_labels(encoded, labels)


def _join_labels(encoded: BatchEncoding, labels: Sequence[int] | list[list[int]]) -> Encoded:
    # Columns by name: a tokenizer of BERT's kind gives token_type_ids too, which say nothing of a single text.
    ids = encoded["input_ids"]
    return {
        "input_ids": ids,
        "attention_mask": encoded["attention_mask"],
        "length": [len(row) for row in ids],
        "labels": labels,
    }
