"""Texts to token ids, spans to BIO labels of subwords."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

IGNORED = -100  # label of special tokens: no loss, no score


def bio_labels(
    offsets: Sequence[tuple[int, int]],
    text: str,
    spans: Iterable[Mapping[str, int]],
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
    labels, begun, k = [], -1, 0
    for start, end in offsets:
        if start == end:
            labels.append(IGNORED)
            continue
        # A token of white space alone, such as a line break inside an address, keeps its place.
        start = next((i for i in range(start, end) if not text[i].isspace()), start)
        while k < len(ordered) and ordered[k]["end"] <= start:
            k += 1
        if k == len(ordered) or not (ordered[k]["start"] < end and start < ordered[k]["end"]):
            labels.append(0)
            continue
        labels.append(ids[ordered[k]["label"], "I" if begun == k else "B"])
        begun = k
    return labels


def encode_sequence(batch: Mapping[str, list[Any]], tokenizer: Any, max_length: int) -> dict[str, Any]:
    """Return token ids and the class of each text; a text longer than ``max_length`` tokens is cut."""
    encoded = tokenizer(batch["text"], truncation=True, max_length=max_length)
    return {**_input_columns(encoded), "labels": batch["label"]}


def encode_tokens(batch: Mapping[str, list[Any]], tokenizer: Any, max_length: int, types: int) -> dict[str, Any]:
    """Return token ids and BIO labels; a text longer than ``max_length`` tokens is cut."""
    ids = {(t, "B"): 1 + 2 * t for t in range(types)} | {(t, "I"): 2 + 2 * t for t in range(types)}
    encoded = tokenizer(batch["text"], truncation=True, max_length=max_length, return_offsets_mapping=True)
    labels = [
        bio_labels(offsets, text, spans, ids)
        for offsets, text, spans in zip(encoded["offset_mapping"], batch["text"], batch["spans"], strict=True)
    ]
    return {**_input_columns(encoded), "labels": labels}


def _input_columns(encoded: Mapping[str, Any]) -> dict[str, Any]:
    ids = encoded["input_ids"]
    return {"input_ids": ids, "attention_mask": encoded["attention_mask"], "length": [len(row) for row in ids]}
