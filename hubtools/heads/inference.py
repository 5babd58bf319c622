"""Run a model over texts, as a user of the published repo would. Its own words: a classifier is a ``pipeline()``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hubtools.heads.values import Column, Pipeline, SpanValues

BATCH = 32

Tick = Callable[[int], None]  # called with the number of rows that are done


def load_pipeline(kind: str, model: str, revision: str | None = None) -> Any:
    """Return transformers' pipeline of the task ``kind`` for a folder or a repo; the Hub's own task is not asked."""
    import torch
    import transformers

    pipeline: Any = transformers.pipeline  # its overloads know literal task names only
    device = 0 if torch.cuda.is_available() else -1
    return pipeline(kind, model=model, revision=revision, device=device, dtype=torch.float32)


def predict_probabilities(
    classifier: Pipeline, texts: Sequence[str], labels: Sequence[str], tick: Tick = lambda _: None
) -> list[list[float]]:
    """Return (texts, labels) probabilities; a text longer than the model reads is cut."""
    order = _sort_by_length(texts)
    out: list[list[float]] = [[] for _ in texts]
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        answers = classifier([texts[i] for i in chosen], top_k=None, truncation=True, batch_size=BATCH)
        for i, answer in zip(chosen, answers, strict=True):
            score = {entry["label"]: float(entry["score"]) for entry in answer}
            out[i] = [score[label] for label in labels]
        tick(len(chosen))
    return out


def predict_spans(
    classifier: Pipeline, texts: Sequence[str], types: Sequence[str], tick: Tick = lambda _: None
) -> list[list[SpanValues]]:
    """Return the spans of each text: ``start``, ``end`` (code points), ``label`` (index in ``types``), ``score``.

    Pieces overlap where a text is longer than the model reads, so that none of it goes unread. A span may come
    with the space before its first word, which a byte-level tokenizer counts to the word: it is cut off.
    """
    index = {name: i for i, name in enumerate(types)}
    order = _sort_by_length(texts)
    out: list[list[SpanValues]] = [[] for _ in texts]
    stride = min(128, classifier.tokenizer.model_max_length // 4)
    for begin in range(0, len(order), BATCH):
        chosen = order[begin : begin + BATCH]
        answers = classifier([texts[i] for i in chosen], aggregation_strategy="simple", stride=stride, batch_size=BATCH)
        for i, answer in zip(chosen, answers, strict=True):
            for entity in answer:
                start, end = strip_span(texts[i], int(entity["start"]), int(entity["end"]))
                if start < end:
                    label, score = index[entity["entity_group"]], float(entity["score"])
                    out[i].append({"start": start, "end": end, "label": label, "score": score})
        tick(len(chosen))
    return out


def strip_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Return ``start`` and ``end`` without the white space at either side."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def predict_tokens(
    classifier: Pipeline, texts: Sequence[str], spans: Column, types: int, temperature: float
) -> list[list[SpanValues]]:
    """Return what the model answers to each token, in order.

    They are the true ``label`` and the ``answer`` as ids of BIO tags, and the answer's probability, as it is
    (``confidence``) and as it was before a temperature was folded in (``raw``). A text is cut where the model stops
    reading.
    """
    import torch

    from hubtools.heads.encoding import IGNORED, encode_tokens

    tokenizer, model = classifier.tokenizer, classifier.model
    encoded = encode_tokens({"text": list(texts), "spans": list(spans)}, tokenizer, tokenizer.model_max_length, types)
    out: list[list[SpanValues]] = [[] for _ in texts]
    order = _sort_by_length(texts)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        batch = tokenizer.pad({"input_ids": [encoded["input_ids"][i] for i in chosen]}, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**batch.to(model.device)).logits.double().cpu()
        confidence, answers = logits.softmax(-1).max(-1)
        raw = (logits * temperature).softmax(-1).amax(-1)
        for row, i in enumerate(chosen):
            out[i] = [
                {
                    "label": label,
                    "answer": int(answers[row, at]),
                    "confidence": float(confidence[row, at]),
                    "raw": float(raw[row, at]),
                }
                for at, label in enumerate(encoded["labels"][i])
                if label != IGNORED
            ]
    return out


def _sort_by_length(texts: Sequence[str]) -> list[int]:
    """Return the order in which texts of like length are together: a batch is padded to its longest."""
    return sorted(range(len(texts)), key=lambda i: len(texts[i]))
