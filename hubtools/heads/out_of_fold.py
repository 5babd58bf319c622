"""What a model answers to rows that it was not trained on, with every probability: what label errors are found by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from hubtools.heads.base import Head
from hubtools.heads.encoding import label_tokens
from hubtools.heads.inference import read_token_answers
from hubtools.heads.values import IGNORED, Pipeline, Rows
from hubtools.lazy_numpy import np
from hubtools.metrics.spans import SpanDict
from hubtools.reading import find_spans, list_tags


@dataclass(frozen=True)
class RowAnswer:
    """The answer to one row.

    Attributes:
        given: labels by their ids: that of the row, or the BIO tag of each of its tokens.
        probabilities: (labels given, labels) of the model.
        suggested: what the model would say instead, as the head's column of the truth has it.
    """

    given: list[int]
    probabilities: list[list[float]]
    suggested: int | list[SpanDict]


def answer_out_of_fold(head: Head, classifier: Pipeline, rows: Rows, labels: Sequence[str]) -> list[RowAnswer]:
    """Ask a model about rows that it was not trained on, which have ``text`` and the column of the truth."""
    if not head.per_token:
        columns = head.predict_columns(classifier, rows, labels, lambda _: None, 1.0)
        pairs = zip(columns["label"], columns["probabilities"], strict=True)
        return [RowAnswer([given], [list(p)], int(np.argmax(p))) for given, p in pairs]
    texts, spans = list(rows["text"]), list(rows["spans"])
    tags = list_tags(classifier.model)
    index = {name: i for i, name in enumerate(labels)}
    found = [RowAnswer([], [], []) for _ in texts]
    for i, answers in read_token_answers(classifier, texts, head.window):
        given = label_tokens(answers.offsets, texts[i], spans[i], len(labels))
        kept = [number for number, label in enumerate(given) if label != IGNORED]
        suggested = [
            {"start": span.start, "end": span.end, "label": index[span.type]}
            for span in find_spans(texts[i], answers, tags).spans
        ]
        found[i] = RowAnswer(
            [given[number] for number in kept],
            answers.probabilities[kept].tolist(),
            cast("list[SpanDict]", suggested),
        )
    return found
