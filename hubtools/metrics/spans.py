"""Metrics of spans: stretches of a text, each of one type, given by offsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypedDict

from hubtools.lazy_numpy import np
from hubtools.spec import Metric


class SpanDict(TypedDict):
    """A span as datasets and predictions hold it.

    Attributes:
        start, end: offsets, of code points or of tokens; ``end`` is exclusive.
        label: index of its type.
    """

    start: int
    end: int
    label: int


# The spans of one document.
SpanRow = Sequence[SpanDict]


@dataclass(frozen=True)
class SpanAnswers:
    """True and predicted spans of documents, counted.

    Attributes:
        counts: (documents, types, 4); see :func:`count_spans`.
        covered: (documents, 2): characters of true spans that lie in a predicted one, and all characters of true spans.
        predicted: (documents,) whether any span was predicted.
    """

    counts: np.ndarray
    covered: np.ndarray
    predicted: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    def take(self, rows: np.ndarray) -> Self:
        """Return the documents with these numbers."""
        return type(self)(self.counts[rows], self.covered[rows], self.predicted[rows])

    @property
    def clean(self) -> np.ndarray:
        """(documents,): whether there is no true span."""
        clean: np.ndarray = self.counts[:, :, 2].sum(1) == 0
        return clean

    @property
    def right(self) -> np.ndarray:
        """(documents,): whether exactly the true spans were predicted."""
        # As many exact ones as there are of both: none is missed, and none is predicted beside them.
        exact, predicted, true = np.moveaxis(self.counts.sum(1), 1, 0)[:3]
        right: np.ndarray = (exact == predicted) & (exact == true)
        return right

    @property
    def total(self) -> np.ndarray:
        """(4,): counts over all documents and types."""
        total: np.ndarray = self.counts.sum((0, 1))
        return total


def read_span_answers(true: Sequence[SpanRow], predicted: Sequence[SpanRow], types: int) -> SpanAnswers:
    """Count the spans of each document, whose labels lie between 0 and ``types``."""
    covered = [_count_covered(*row) for row in zip(true, predicted, strict=True)]
    return SpanAnswers(
        count_spans(true, predicted, types),
        np.array(covered, dtype=int).reshape(-1, 2),  # two columns also where there is no document
        np.array([bool(row) for row in predicted], dtype=bool),
    )


def count_spans(true: Sequence[SpanRow], predicted: Sequence[SpanRow], types: int) -> np.ndarray:
    """Return (documents, types, 4) counts of spans.

    They are: predicted exactly, predicted, true; then pairs of a true and a predicted span of one type that share a
    character. No span is in two pairs: one long prediction does not find three names.
    """
    counts = np.zeros((len(true), types, 4), dtype=int)
    for row, sides in enumerate(zip(true, predicted, strict=True)):
        # Sets: a span that is predicted twice is one answer, as seqeval counts it.
        true_spans, predicted_spans = ({(s["start"], s["end"], s["label"]) for s in side} for side in sides)
        found = _pair_overlapping(true_spans, predicted_spans)
        for column, spans in enumerate((true_spans & predicted_spans, predicted_spans, true_spans, found)):
            for _, _, label in spans:
                counts[row, label, column] += 1
    return counts


def _pair_overlapping(
    true: set[tuple[int, int, int]], predicted: set[tuple[int, int, int]]
) -> list[tuple[int, int, int]]:
    """Return the true spans that have a predicted one of their type, each a different one, that overlaps them."""
    # From left to right, each with the first that ends: of spans that do not overlap on their own side no other choice
    # gives more pairs.
    left, found = sorted(predicted, key=lambda span: (span[1], span[0])), []
    for span in sorted(true, key=lambda span: (span[1], span[0])):
        partner = next((p for p in left if p[2] == span[2] and _overlap(span, p)), None)
        if partner:
            left.remove(partner)
            found.append(span)
    return found


def _count_covered(true: SpanRow, predicted: SpanRow) -> tuple[int, int]:
    # Types are left aside: what matters for redaction is that the character is covered at all.
    predicted_characters = {i for s in predicted for i in range(s["start"], s["end"])}
    true_characters = {i for s in true for i in range(s["start"], s["end"])}
    return len(true_characters & predicted_characters), len(true_characters)


def _overlap(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def strict_prf(counts: np.ndarray) -> tuple[float, float, float]:
    """Return precision, recall and F1 of exact spans, from one sum of :func:`count_spans`."""
    hits, predicted, true = (int(n) for n in counts[:3])
    # 0 where there is nothing to divide by, as seqeval has it: a resample may lack a type altogether.
    precision = hits / predicted if predicted else 0.0
    recall = hits / true if true else 0.0
    return precision, recall, 2 * hits / (predicted + true) if predicted + true else 0.0


def overlap_prf(counts: np.ndarray) -> tuple[float, float, float]:
    """Return the same of spans that share a character with one of their type, one to one."""
    return strict_prf(np.array([counts[3], counts[1], counts[2]]))


def read_tag_spans(tags: Sequence[str]) -> set[tuple[int, int, str]]:
    """Return (first token, token after the last, type) of the spans that BIO tags mark.

    An I- that follows no tag of its type begins a span, as in seqeval and in transformers' ``pipeline()``.
    """
    spans: list[tuple[int, int, str]] = []
    for index, tag in enumerate(tags):
        prefix, _, span_type = tag.partition("-")
        # The last span goes on only where it ends right before this token and is of the same type.
        if prefix == "I" and spans and spans[-1][1:] == (index, span_type):
            spans[-1] = (spans[-1][0], index + 1, span_type)
        elif prefix in ("B", "I") and span_type:
            spans.append((index, index + 1, span_type))
    return set(spans)


def read_tag_answers(
    true: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], types: Sequence[str]
) -> SpanAnswers:
    """Count the spans that BIO tags mark in sequences of tokens, with positions of tokens for offsets."""

    def read_spans(rows: Sequence[Sequence[str]]) -> list[list[SpanDict]]:
        return [
            [{"start": start, "end": end, "label": types.index(name)} for start, end, name in read_tag_spans(tags)]
            for tags in rows
        ]

    return read_span_answers(read_spans(true), read_spans(predicted), len(types))


def _entity_precision(answers: SpanAnswers) -> float:
    return strict_prf(answers.total)[0]


def _entity_recall(answers: SpanAnswers) -> float:
    return strict_prf(answers.total)[1]


def _entity_f1(answers: SpanAnswers) -> float:
    return strict_prf(answers.total)[2]


def _overlap_precision(answers: SpanAnswers) -> float:
    return overlap_prf(answers.total)[0]


def _overlap_recall(answers: SpanAnswers) -> float:
    return overlap_prf(answers.total)[1]


def _overlap_f1(answers: SpanAnswers) -> float:
    return overlap_prf(answers.total)[2]


def _macro_f1(answers: SpanAnswers) -> float:
    # A type without a true span has no recall: it would only pull the mean down.
    present = [strict_prf(type_counts)[2] for type_counts in answers.counts.sum(0) if type_counts[2]]
    return float(np.mean(present)) if present else 0.0


def _share_covered(answers: SpanAnswers) -> float:
    covered, characters = answers.covered.sum(0)
    return float(covered / characters) if characters else float("nan")


def count_false_alarms(answers: SpanAnswers) -> tuple[int, int]:
    """Count the documents without a true span in which one was predicted, of all documents without one."""
    # Only there is any prediction wrong for certain, whatever its type and bounds.
    clean = answers.clean
    return int((clean & answers.predicted).sum()), int(clean.sum())


def _false_spans_a_document(answers: SpanAnswers) -> float:
    # Predicted spans less those that are paired with a true one of their type, which they share a character with.
    _, predicted, _, paired = answers.total
    return float((predicted - paired) / len(answers)) if len(answers) else float("nan")


ENTITY_F1 = Metric("entity_f1", "entity F1 (strict spans)", _entity_f1, "f1")
ENTITY_PRECISION = Metric("entity_precision", "entity precision", _entity_precision, "precision")
ENTITY_RECALL = Metric("entity_recall", "entity recall", _entity_recall, "recall")
OVERLAP_F1 = Metric("overlap_f1", "entity F1 (overlapping spans)", _overlap_f1, "f1")
OVERLAP_PRECISION = Metric("overlap_precision", "entity precision (overlapping spans)", _overlap_precision, "precision")
OVERLAP_RECALL = Metric("overlap_recall", "entity recall (overlapping spans)", _overlap_recall, "recall")
MACRO_F1_OF_TYPES = Metric("macro_f1", "macro F1 over types", _macro_f1, "f1")
COVERED = Metric("covered", "characters of true spans found", _share_covered, "covered")
# The same function, of answers whose bounds are widened to words.
WORD_F1 = Metric("word_f1", "entity F1 (whole words)", _entity_f1, "f1")
FALSE_SPANS = Metric(
    "false_spans", "false alarms a document", _false_spans_a_document, "false_spans", greater_is_better=False
)
FALSE_ALARMS = Metric.share(
    "false_alarms", "false alarms on documents without a true span", count_false_alarms, greater_is_better=False
)
