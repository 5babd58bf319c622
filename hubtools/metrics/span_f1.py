"""Strict F1 of spans from character offsets, as a module of the library ``evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import datasets
import evaluate

from hubtools.metrics import spans

_DESCRIPTION = """
Scores of typed spans given by character offsets. Strictly, a span counts where start, end and type agree with a true
one (micro-averaged over all documents). The overlap scores count pairs of a true and a predicted span of one type that
share a character; no span is in two pairs.
"""
_INPUTS = """
Args:
    predictions: of each document a list of {"start": int, "end": int, "label": str}; end is exclusive.
    references: the true spans, in the same form.
Returns:
    entity_f1, entity_precision, entity_recall, overlap_f1: between 0 and 1; 0 where there is nothing to divide by.
    macro_f1: the mean of the strict F1 of the types that occur among the references.
"""
_CITATION = "Tjong Kim Sang and De Meulder 2003, Introduction to the CoNLL-2003 shared task"
# The same values that a model's own scores are computed with, under the same keys.
_METRICS = (
    spans.ENTITY_F1,
    spans.ENTITY_PRECISION,
    spans.ENTITY_RECALL,
    spans.OVERLAP_F1,
    spans.MACRO_F1_OF_TYPES,
)


class NamedSpan(TypedDict):
    """A span whose ``label`` is the name of its type."""

    start: int
    end: int
    label: str


class SpanF1(evaluate.Metric):
    """Strict and overlapping F1 of typed spans."""

    def _info(self) -> evaluate.MetricInfo:
        span = {
            "start": datasets.Value("int64"),
            "end": datasets.Value("int64"),
            "label": datasets.Value("string"),
        }
        features = datasets.Features({"predictions": [span], "references": [span]})
        return evaluate.MetricInfo(
            description=_DESCRIPTION, citation=_CITATION, inputs_description=_INPUTS, features=features
        )

    def _compute(
        self, *, predictions: Sequence[Sequence[NamedSpan]], references: Sequence[Sequence[NamedSpan]]
    ) -> dict[str, float]:
        # Nobody hands over a label set here: the types are those that occur on either side.
        types = sorted({span["label"] for side in (predictions, references) for row in side for span in row})
        index = {name: i for i, name in enumerate(types)}

        def with_indices(rows: Sequence[Sequence[NamedSpan]]) -> list[list[spans.SpanDict]]:
            return [
                [{"start": span["start"], "end": span["end"], "label": index[span["label"]]} for span in row]
                for row in rows
            ]

        answers = spans.read_span_answers(with_indices(references), with_indices(predictions), len(types))
        return {metric.key: metric.function(answers) for metric in _METRICS}
