"""Run a model over texts, as a user of the published repo would: a classifier here is a ``pipeline()``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from hubtools.heads.values import Pipeline, PredictedSpan, TokenAnswer
from hubtools.metrics.spans import SpanDict

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

BATCH = 32  # texts at a time

Tick = Callable[[int], None]  # called with the number of rows that are done


def load_pipeline(kind: str, model: str, revision: str | None = None) -> Pipeline:
    """Return transformers' pipeline of the task ``kind`` for a folder or a repo.

    Args:
        kind: "text-classification" or "token-classification". The pipeline would ask the Hub where it is left out.
        revision: a commit, or the newest one for None; a folder has none.
    """
    import torch
    import transformers

    make_pipeline: Any = transformers.pipeline  # its overloads know literal task names only
    device = 0 if torch.cuda.is_available() else -1
    # float32 everywhere: recorded answers are compared with those of another machine.
    classifier: Pipeline = make_pipeline(kind, model=model, revision=revision, device=device, dtype=torch.float32)
    return classifier


def list_label_names(config: PreTrainedConfig) -> list[str]:
    """Return the names of a model's labels in the order of their ids."""
    names = config.id2label
    assert names is not None  # the configuration of a classifier always has them
    return [str(name) for _, name in sorted(names.items())]


def predict_probabilities(
    classifier: Pipeline, texts: Sequence[str], labels: Sequence[str], tick: Tick = lambda _: None
) -> list[list[float]]:
    """Return (texts, labels) probabilities; a text longer than the model reads is cut."""
    order = _sort_by_length(texts)
    probabilities: list[list[float]] = [[] for _ in texts]
    for start in range(0, len(order), BATCH):
        numbers = order[start : start + BATCH]
        answers = classifier([texts[i] for i in numbers], top_k=None, truncation=True, batch_size=BATCH)
        for i, answer in zip(numbers, answers, strict=True):
            # A pipeline gives the likeliest label first: they are put back into the order of ``labels``.
            score = {entry["label"]: float(entry["score"]) for entry in answer}
            probabilities[i] = [score[label] for label in labels]
        tick(len(numbers))
    return probabilities


def predict_spans(
    classifier: Pipeline, texts: Sequence[str], types: Sequence[str], tick: Tick = lambda _: None
) -> list[list[PredictedSpan]]:
    """Return the spans of each text: ``start``, ``end`` (code points), ``label`` (index in ``types``), ``score``.

    Pieces overlap where a text is longer than the model reads, so that none of it goes unread. A span may come
    with the space before its first word, which a byte-level tokenizer counts to the word: it is cut off.
    """
    index = {name: i for i, name in enumerate(types)}
    order = _sort_by_length(texts)
    spans: list[list[PredictedSpan]] = [[] for _ in texts]
    stride = min(128, classifier.tokenizer.model_max_length // 4)  # tokens that two pieces of a text share
    for begin in range(0, len(order), BATCH):
        numbers = order[begin : begin + BATCH]
        batch = [texts[i] for i in numbers]
        # "simple" reads every subword, as training labels every one: the others ask the first of a word alone.
        answers = classifier(batch, aggregation_strategy="simple", stride=stride, batch_size=BATCH)
        for i, answer in zip(numbers, answers, strict=True):
            for entity in answer:
                start, end = strip_span(texts[i], int(entity["start"]), int(entity["end"]))
                if start < end:  # a span of white space alone is none
                    label, score = index[entity["entity_group"]], float(entity["score"])
                    spans[i].append({"start": start, "end": end, "label": label, "score": score})
        tick(len(numbers))
    return spans


def strip_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Return ``start`` and ``end`` without the white space at either side."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def predict_tokens(
    classifier: Pipeline, texts: Sequence[str], spans: Sequence[Sequence[SpanDict]], types: int, temperature: float
) -> list[list[TokenAnswer]]:
    """Return what the model answers to each token of each text, in order, special tokens left out.

    A text is cut where the model stops reading.

    Args:
        spans: the true ones of each text.
        types: how many types there are.
        temperature: that was folded into the weights; 1 where none was.
    """
    import torch

    from hubtools.heads.encoding import IGNORED, encode_tokens

    tokenizer, model = classifier.tokenizer, classifier.model
    encoded = encode_tokens({"text": list(texts), "spans": list(spans)}, tokenizer, tokenizer.model_max_length, types)
    labels = cast("list[list[int]]", encoded["labels"])  # of tokens, not of texts
    token_answers: list[list[TokenAnswer]] = [[] for _ in texts]
    order = _sort_by_length(texts)
    for start in range(0, len(order), BATCH):
        numbers = order[start : start + BATCH]
        batch = tokenizer.pad({"input_ids": [encoded["input_ids"][i] for i in numbers]}, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**batch.to(model.device)).logits.double().cpu()
        confidence, answers = logits.softmax(-1).max(-1)
        # The weights hold the logits divided by the temperature: times it, they are as the training left them.
        raw = (logits * temperature).softmax(-1).amax(-1)
        for row, i in enumerate(numbers):
            token_answers[i] = [
                {
                    "label": label,
                    "answer": int(answers[row, position]),
                    "confidence": float(confidence[row, position]),
                    "raw": float(raw[row, position]),
                }
                for position, label in enumerate(labels[i])
                if label != IGNORED
            ]
    return token_answers


def _sort_by_length(texts: Sequence[str]) -> list[int]:
    """Return the order in which texts of like length are together: a batch is padded to its longest."""
    return sorted(range(len(texts)), key=lambda i: len(texts[i]))
