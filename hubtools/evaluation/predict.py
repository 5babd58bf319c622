"""Run a model over texts, as a user of the published repo would."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hubtools.spec import LabelSet
from hubtools.task import TaskSpec

BATCH = 32


def load_classifier(task: TaskSpec, model: str, revision: str | None = None) -> Any:
    """transformers' pipeline for ``model``, a folder or a repo; its task comes from us, not from the Hub."""
    import torch
    import transformers

    pipeline: Any = transformers.pipeline  # its overloads know literal task names only
    kind = "token-classification" if task.kind == "token" else "text-classification"
    device = 0 if torch.cuda.is_available() else -1
    return pipeline(kind, model=model, revision=revision, device=device, dtype=torch.float32)


def probabilities(
    classifier: Any, texts: Sequence[str], labels: Sequence[str], tick: Callable[[int], None] = lambda _: None
) -> list[list[float]]:
    """Probability of each of ``labels``, for each text; a text longer than the model reads is cut."""
    order = _by_length(texts)
    out: list[list[float]] = [[] for _ in texts]
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        answers = classifier([texts[i] for i in chosen], top_k=None, truncation=True, batch_size=BATCH)
        for i, answer in zip(chosen, answers, strict=True):
            score = {entry["label"]: float(entry["score"]) for entry in answer}
            out[i] = [score[label] for label in labels]
        tick(len(chosen))
    return out


def spans(
    classifier: Any, texts: Sequence[str], types: Sequence[str], tick: Callable[[int], None] = lambda _: None
) -> list[list[dict[str, Any]]]:
    """Spans found in each text: ``start``, ``end`` (code points), ``label`` (index in ``types``), ``score``.

    Pieces overlap where a text is longer than the model reads, so that none of it goes unread. A span may come
    with the space before its first word, which a byte-level tokenizer counts to the word: it is cut off.
    """
    index = {name: i for i, name in enumerate(types)}
    order = _by_length(texts)
    out: list[list[dict[str, Any]]] = [[] for _ in texts]
    stride = min(128, classifier.tokenizer.model_max_length // 4)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        answers = classifier([texts[i] for i in chosen], aggregation_strategy="simple", stride=stride, batch_size=BATCH)
        for i, answer in zip(chosen, answers, strict=True):
            for entity in answer:
                begin, end = trimmed(texts[i], int(entity["start"]), int(entity["end"]))
                if begin < end:
                    out[i].append({"start": begin, "end": end, "label": index[entity["entity_group"]],
                                   "score": float(entity["score"])})  # fmt: skip
        tick(len(chosen))
    return out


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """``start`` and ``end`` without the white space at either side."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def token_answers(
    classifier: Any, texts: Sequence[str], spans: Sequence[Sequence[Mapping[str, Any]]], types: int, temperature: float
) -> list[list[dict[str, Any]]]:
    """What the model answers to each token, in order: the true ``label`` and the ``answer`` as ids of BIO tags, and
    the answer's probability, as it is (``confidence``) and as it was before a temperature was folded in (``raw``).

    A text is cut where the model stops reading.
    """
    import torch

    from hubtools.heads.encoding import IGNORED, encode_tokens

    tokenizer, model = classifier.tokenizer, classifier.model
    encoded = encode_tokens({"text": list(texts), "spans": list(spans)}, tokenizer, tokenizer.model_max_length, types)
    out: list[list[dict[str, Any]]] = [[] for _ in texts]
    order = _by_length(texts)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        batch = tokenizer.pad({"input_ids": [encoded["input_ids"][i] for i in chosen]}, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**batch.to(model.device)).logits.double().cpu()
        sure, answers = logits.softmax(-1).max(-1)
        raw = (logits * temperature).softmax(-1).amax(-1)
        for row, i in enumerate(chosen):
            out[i] = [
                {"label": label, "answer": int(answers[row, at]), "confidence": float(sure[row, at]),
                 "raw": float(raw[row, at])}
                for at, label in enumerate(encoded["labels"][i]) if label != IGNORED
            ]  # fmt: skip
    return out


def predictions_table(
    task: TaskSpec, label_set: LabelSet, classifier: Any, rows: Any, tick: Callable[[int], None],
    temperature: float = 1.0,
) -> Any:  # fmt: skip
    """What ``predictions.parquet`` holds: a row a row of ``rows``, in their order, and none of their text.

    Columns: ``id``, ``group`` and ``characters``, the length of the text; then ``label``, ``probabilities`` (in the
    order of the labels) and, of a detector, ``alarming`` (whether an alarming word is in the text); or ``spans``,
    ``found`` and ``tokens``, as :func:`spans` and :func:`token_answers` have them.
    """
    import pyarrow as pa

    texts = list(rows["text"])
    groups = list(rows["group"]) if "group" in rows.column_names else [""] * len(texts)
    columns: dict[str, Any] = {"id": list(rows["id"]), "group": groups, "characters": [len(text) for text in texts]}
    if task.kind == "sequence":
        if task.alarming:
            alarming = re.compile(rf"\b({'|'.join(task.alarming)})", re.IGNORECASE)
            columns["alarming"] = [bool(alarming.search(text)) for text in texts]
        columns["label"] = list(rows["label"])
        columns["probabilities"] = probabilities(classifier, texts, label_set.labels, tick)
        return pa.table(columns)
    columns["spans"] = list(rows["spans"])
    columns["found"] = spans(classifier, texts, label_set.labels, tick)
    columns["tokens"] = token_answers(classifier, texts, columns["spans"], len(label_set.labels), temperature)
    span = [("start", pa.int32()), ("end", pa.int32()), ("label", pa.int64())]
    token = [("label", pa.int16()), ("answer", pa.int16()), ("confidence", pa.float32()), ("raw", pa.float32())]
    return pa.table(
        columns,
        schema=pa.schema(
            [
                ("id", pa.string()),
                ("group", pa.string()),
                ("characters", pa.int64()),
                ("spans", pa.list_(pa.struct(span))),
                ("found", pa.list_(pa.struct([*span, ("score", pa.float64())]))),
                ("tokens", pa.list_(pa.struct(token))),
            ]
        ),
    )


def _by_length(texts: Sequence[str]) -> list[int]:
    """Texts of like length together: a batch is padded to its longest."""
    return sorted(range(len(texts)), key=lambda i: len(texts[i]))
