"""Strict F1 of spans from character offsets, as a module of the library ``evaluate``."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from hubtools.metrics import spans

_DESCRIPTION = """
Scores of typed spans given by character offsets. Strictly, a span counts where start, end and type agree with a true
one (micro-averaged over all documents). The overlap scores count spans that share a character with one of their type.
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
_METRICS = (
    spans.ENTITY_F1,
    spans.ENTITY_PRECISION,
    spans.ENTITY_RECALL,
    spans.OVERLAP_F1,
    spans.MACRO_F1_OF_TYPES,
)


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

    def _compute(self, *, predictions: Any, references: Any) -> dict[str, float]:
        types = sorted({span["label"] for side in (predictions, references) for row in side for span in row})
        index = {name: i for i, name in enumerate(types)}
        true, predicted = (
            [[{**span, "label": index[span["label"]]} for span in row] for row in side]
            for side in (references, predictions)
        )
        answers = spans.span_answers(true, predicted, len(types))
        return {metric.key: metric.function(answers) for metric in _METRICS}
