"""Spans: stretches of a text, each of one type; BIO tags over subwords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from hubtools.heads.base import Head
from hubtools.heads.rows import LabelMap, UserColumns, describe_split
from hubtools.heads.span_rows import (
    OUTSIDE,
    SPLIT_WORD,
    index_spans,
    make_span_columns,
    make_span_features,
    name_spans,
    survive_tagging,
)
from hubtools.heads.user_spans import choose_span_columns
from hubtools.records.dataset import SplitFacts
from hubtools.rows import Columns
from hubtools.spec import Example, LabelSet


@dataclass(frozen=True)
class Spans(Head):
    """Stretches of a text, each of one type.

    Attributes:
        no_spans: what a text without any is called, in the audit file and on the dataset's card.
    """

    name: ClassVar[str] = "spans"
    kind: ClassVar[Literal["sequence", "token"]] = "token"
    pipeline: ClassVar[Literal["text-classification", "token-classification"]] = "token-classification"
    truth: ClassVar[str] = "spans"
    answer: ClassVar[str] = "found"
    column_advice: ClassVar[str] = (
        "name your columns: --text-column and --label-column (the spans), or --tokens-column and --tags-column"
    )
    reads_tags: ClassVar[bool] = True

    no_spans: str = "no spans"

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return ``O``, then B- and I- of each type: the router drops index 0."""
        return ("O", *(f"{prefix}-{t}" for t in label_set.labels for prefix in "BI"))

    # --- rows of a dataset ---

    def find_defect(self, row: Example, label_set: LabelSet) -> str:
        """Return "" where the spans come back from the tags of words: a model that tags words cannot mark others."""
        spans = label_set.mapped(row).spans
        return "" if survive_tagging(row.text, spans, label_set.labels) else SPLIT_WORD

    def describe_label(self, row: Example) -> str:
        return ", ".join(f"{span.type}: {row.text[span.start : span.end]!r}" for span in row.spans) or self.no_spans

    def audit_classes(self, row: Example) -> set[str]:
        return {span.type for span in row.spans} or {self.no_spans}

    def list_audit_classes(self, label_set: LabelSet) -> tuple[str, ...]:
        return (*label_set.labels, self.no_spans)

    def make_columns(self, rows: Sequence[Example], label_set: LabelSet) -> dict[str, list[Any]]:
        return make_span_columns(rows, label_set)

    def make_features(self, label_set: LabelSet) -> dict[str, Any]:
        return make_span_features(label_set.labels, self.model_labels(label_set))

    def index_truth(self, row: Example, label_set: LabelSet) -> list[dict[str, int]]:
        return index_spans(row.spans, label_set.labels)

    def name_truth(self, row: Example, truth: Sequence[Mapping[str, int]], label_set: LabelSet) -> Example:
        return replace(row, spans=name_spans(truth, label_set.labels))

    def describe_split(self, rows: Sequence[Example], label_set: LabelSet) -> SplitFacts:
        return describe_split(rows, without_spans=sum(not row.spans for row in rows))

    def choose_user_columns(
        self, columns: Columns, seen: Sequence[str], label_map: LabelMap, types: set[str]
    ) -> UserColumns:
        return choose_span_columns(columns, seen, label_map, types)

    def list_map_targets(self, label_set: LabelSet) -> list[str]:
        """Return the types, and ``O``, which leaves a span out and keeps its row."""
        return [*super().list_map_targets(label_set), OUTSIDE]

    # --- training ---

    # --- predictions and scores ---

    # --- cards, releases and the Space ---
