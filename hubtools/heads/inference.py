"""Run a model over texts: by plain ``pipeline()``, as a user of the published repo may, and by ``hubtools.reading``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hubtools.heads.encoding import label_tokens
from hubtools.heads.values import IGNORED, Pipeline, Predicted, PredictedSpan, TokenAnswer
from hubtools.lazy_numpy import np
from hubtools.metrics.spans import SpanDict
from hubtools.reading import LabelAnswer, TokenAnswers, Window, read_labels, read_tokens, strip_span
from hubtools.router_contract.decoding import PredictedSpan as RouterSpan
from hubtools.router_contract.decoding import TokenAnswer as RouterToken
from hubtools.router_contract.decoding import decode_spans

if TYPE_CHECKING:
    import pyarrow as pa
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


def choose_reader(classifier: Pipeline) -> Any:
    """Return what answers the texts: the model, or on a GPU the same model, asked many texts at once."""
    model = classifier.model
    if model.device.type != "cuda":
        return model
    from hubtools.packing.answering import ManyAtOnce

    return ManyAtOnce(model, classifier.tokenizer.pad_token_id or 0)


def list_label_names(config: PreTrainedConfig) -> list[str]:
    """Return the names of a model's labels in the order of their ids."""
    names = config.id2label
    assert names is not None  # the configuration of a classifier always has them
    return [str(name) for _, name in sorted(names.items())]


def predict_probabilities(
    classifier: Pipeline, texts: Sequence[str], labels: Sequence[str], tick: Tick = lambda _: None
) -> list[list[float]]:
    """Return (texts, labels) probabilities of plain ``pipeline()``; a text longer than the model reads is cut."""
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
    """Return the spans that plain ``pipeline()`` finds in each text.

    They have ``start``, ``end`` (code points), ``label`` (index in ``types``) and ``score``.

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


def read_probabilities(
    classifier: Pipeline,
    texts: Sequence[str],
    labels: Sequence[str],
    window: Window | None,
    decides: Sequence[str],
    tick: Tick = lambda _: None,
) -> Predicted:
    """Return (texts, labels) probabilities, each of the window of a text that has most of ``decides``.

    Args:
        decides: names of the model's labels that are looked for; with none, the beginning of a text is all that counts.
    """
    names = list_label_names(classifier.model.config)
    order = _sort_by_length(texts)
    answers: list[LabelAnswer] = [
        *read_labels(
            choose_reader(classifier), classifier.tokenizer, [texts[i] for i in order],
            window=window if decides else None, positive=[names.index(name) for name in decides], tick=tick,
        )
    ]  # fmt: skip
    answers = [answers[place] for place in _invert(order)]
    places = [names.index(label) for label in labels]
    return Predicted(
        [[answer.probabilities[place] for place in places] for answer in answers],
        [answer.tokens_read for answer in answers],
        [answer.windows for answer in answers],
        [answer.truncated for answer in answers],
    )


def read_token_answers(
    classifier: Pipeline, texts: Sequence[str], window: Window | None, tick: Tick = lambda _: None
) -> Iterator[tuple[int, TokenAnswers]]:
    """Yield the number of each text, in no order, and what the model answers to its tokens."""
    order = _sort_by_length(texts)
    ordered = [texts[i] for i in order]
    found = read_tokens(choose_reader(classifier), classifier.tokenizer, ordered, window=window, tick=tick)
    return zip(order, found, strict=True)


def describe_tokens(
    text: str, spans: Sequence[SpanDict], answers: TokenAnswers, types: int, temperature: float
) -> list[TokenAnswer]:
    """Return what the model answers to each token of a text, in order, beside the true tag.

    Args:
        spans: the true ones.
        types: how many types there are.
        temperature: that was folded into the weights; 1 where none was.
    """
    labels = label_tokens(answers.offsets, text, spans, types)
    # The weights hold the logits divided by the temperature: times it, they are as the training left them.
    raw = np.maximum(answers.probabilities, np.finfo(float).tiny) ** temperature
    raw = raw / raw.sum(1, keepdims=True)
    return [
        {"label": label, "answer": int(p.argmax()), "confidence": float(p.max()), "raw": float(q.max())}
        for label, p, q in zip(labels, answers.probabilities, raw, strict=True)
        if label != IGNORED  # a token without a character
    ]


def decode_as_router(text: str, answers: TokenAnswers, tags: Sequence[str]) -> list[RouterSpan]:
    """Return the spans as the Semantic Router decodes them, token by token."""
    best = answers.probabilities.argmax(1)
    return decode_spans(
        text,
        [
            RouterToken(tags[tag], float(p[tag]), start, end)
            for tag, p, (start, end) in zip(best, answers.probabilities, answers.offsets, strict=True)
        ],
    )


def list_reading_columns() -> dict[str, pa.DataType]:
    """Return the Arrow types of the columns that say how a text was read."""
    import pyarrow as pa

    return {"tokens_read": pa.int32(), "windows": pa.int32(), "truncated": pa.bool_()}


def _sort_by_length(texts: Sequence[str]) -> list[int]:
    """Return the order in which texts of like length are together: a batch is padded to its longest."""
    return sorted(range(len(texts)), key=lambda i: len(texts[i]))


def _invert(order: Sequence[int]) -> list[int]:
    """Return at which place of ``order`` each number stands."""
    return sorted(range(len(order)), key=order.__getitem__)
