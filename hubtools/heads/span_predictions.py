"""What a model of spans answers: decided over words, by plain ``pipeline()``, and as the Semantic Router decodes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from hubtools.heads.inference import (
    Tick,
    decode_as_router,
    describe_tokens,
    predict_spans,
    read_token_answers,
)
from hubtools.heads.values import AnswerDifference, Pipeline, Predicted, PredictedSpan, Rows, TokenAnswer
from hubtools.lazy_numpy import np
from hubtools.metrics.calibration import measure_reliability
from hubtools.metrics.spans import SpanDict
from hubtools.reading import FoundSpan, SpanAnswer, Window, find_spans, list_tags
from hubtools.records.thresholds import SplitCalibration
from hubtools.router_contract.decoding import PredictedSpan as RouterSpan

NOTHING = SpanAnswer([], 0, 1, False)


def predict_decided_spans(
    classifier: Pipeline,
    texts: Sequence[str],
    labels: Mapping[str, int],
    window: Window | None,
    tick: Tick = lambda _: None,
) -> Predicted:
    """Return the spans of each text that are decided over words; types that ``labels`` lacks are left out."""
    tags = list_tags(classifier.model)
    found = [NOTHING] * len(texts)
    for i, answers in read_token_answers(classifier, texts, window, tick):
        found[i] = find_spans(texts[i], answers, tags)
    return _join(found, labels)


def predict_span_columns(
    classifier: Pipeline, rows: Rows, labels: Sequence[str], window: Window | None, tick: Tick, temperature: float
) -> Rows:
    """Return the columns of predictions that are those of spans; see :meth:`Head.predict_columns`."""
    texts, true = list(rows["text"]), list(rows["spans"])
    tags = list_tags(classifier.model)
    index = {name: i for i, name in enumerate(labels)}
    found = [NOTHING] * len(texts)
    router: list[list[PredictedSpan]] = [[] for _ in texts]
    tokens: list[list[TokenAnswer]] = [[] for _ in texts]
    # The model is asked once for all that is decided from its tokens.
    for i, answers in read_token_answers(classifier, texts, window, tick):
        found[i] = find_spans(texts[i], answers, tags)
        router[i] = _index_types(decode_as_router(texts[i], answers, tags), index)
        tokens[i] = describe_tokens(texts[i], true[i], answers, len(labels), temperature)
    predicted = _join(found, index)
    return {
        "spans": true,
        "predicted_spans": cast("list[list[PredictedSpan]]", predicted.answers),
        "plain_spans": predict_spans(classifier, texts, labels),
        "router_spans": router,
        "tokens": tokens,
        **predicted.reading,
    }


def list_other_decodings(rows: Rows) -> dict[str, tuple[str, Sequence[Sequence[SpanDict]]]]:
    """Return what other ways to decode found in the same answers: what each is and its spans, by the card's name."""
    if "plain_spans" not in rows:  # predictions of an earlier version
        return {}
    return {
        "plain `pipeline()`": ('transformers\' own decoding, `aggregation_strategy="simple"`', rows["plain_spans"]),
        "Semantic Router": ("the router's decoding, token by token, in the same windows", rows["router_spans"]),
    }


def measure_span_calibration(rows: Rows) -> SplitCalibration:
    """Return how sure answers are and how often they are right, without the temperature and with it.

    An answer is a token; what a user sees are spans, whose score is the mean of their tokens'.
    """
    tokens = [token for row in rows["tokens"] for token in row]
    right = np.array([token["label"] == token["answer"] for token in tokens])
    (ece_before, bins_before), (ece_after, bins_after) = (
        measure_reliability(np.array(probabilities), right)
        for probabilities in ([token["raw"] for token in tokens], [token["confidence"] for token in tokens])
    )
    # The score of a span mixes its tokens: well calibrated tokens do not make well calibrated spans.
    true = [{(s["start"], s["end"], s["label"]) for s in row} for row in rows["spans"]]
    predicted = [(i, span) for i, row in enumerate(rows["predicted_spans"]) for span in row]
    confidence = np.array([span["score"] for _, span in predicted], dtype=float)
    exact = np.array([(s["start"], s["end"], s["label"]) in true[i] for i, s in predicted], dtype=float)
    return SplitCalibration(
        answers=len(right),
        ece_before=ece_before,
        ece_after=ece_after,
        bins_before=bins_before,
        bins_after=bins_after,
        spans=len(predicted),
        ece_of_spans=measure_reliability(confidence, exact)[0] if predicted else None,
    )


def compare_spans(classifier: Pipeline, texts: Sequence[str], rows: Rows, window: Window | None) -> AnswerDifference:
    """Ask ``pipeline()`` and the decoder again, and compare with the recorded answers to the first rows."""
    types = [tag[2:] for tag in list_tags(classifier.model) if tag.startswith("B-")]
    plain = rows.get("plain_spans", rows["predicted_spans"])
    pairs = [*zip(plain, predict_spans(classifier, texts, types), strict=False)]
    # An earlier version recorded what pipeline() finds, and nothing else.
    if "plain_spans" in rows:
        labels = {name: i for i, name in enumerate(types)}
        decided = cast("list[list[PredictedSpan]]", predict_decided_spans(classifier, texts, labels, window).answers)
        pairs += zip(rows["predicted_spans"], decided, strict=False)
    largest = 0.0
    for recorded, spans in pairs:
        bounds = [[(s["start"], s["end"], s["label"]) for s in side] for side in (recorded, spans)]
        if bounds[0] != bounds[1]:
            return AnswerDifference(1.0, str(recorded), str(spans))
        largest = max([largest, *(abs(a["score"] - b["score"]) for a, b in zip(recorded, spans, strict=True))])
    return AnswerDifference(largest)


def _join(found: Sequence[SpanAnswer], labels: Mapping[str, int]) -> Predicted:
    return Predicted(
        [_index_types(answer.spans, labels) for answer in found],
        [answer.tokens_read for answer in found],
        [answer.windows for answer in found],
        [answer.truncated for answer in found],
    )


def _index_types(spans: Sequence[FoundSpan | RouterSpan], labels: Mapping[str, int]) -> list[PredictedSpan]:
    return [
        {"start": span.start, "end": span.end, "label": labels[span.type], "score": span.score}
        for span in spans
        if span.type in labels
    ]
