"""Types of what heads take and give: columns of rows, spans, and a model that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypedDict

from hubtools.metrics.spans import SpanDict

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

IGNORED = -100  # label of special tokens: no loss, no score

# A column whose type only the head knows, such as its truth: callers pass it on without a look inside.
Column: TypeAlias = "Sequence[object] | np.ndarray"
# (rows, labels): lists as a parquet file gives them, or an array as scikit-learn does.
Probabilities: TypeAlias = "Sequence[Sequence[float]] | np.ndarray"
# The truth of one row: the index of its label, or its spans.
Truth: TypeAlias = int | Sequence[SpanDict]
# What a model of several tasks answers to a text: (labels,), or (tokens, labels) where it labels each token.
TextProbabilities: TypeAlias = list[float] | list[list[float]]


class PredictedSpan(SpanDict):
    """A span that a model predicts; ``score``, from 0 to 1, is a mean over its tokens."""

    score: float


class TokenAnswer(TypedDict):
    """What a model answers to one token.

    Attributes:
        label, answer: ids of the true and the predicted BIO tag.
        confidence: probability of the answer, and ``raw``: the same before a temperature was folded in.
    """

    label: int
    answer: int
    confidence: float
    raw: float


# Not every row has every column: a head knows which it may ask for.
class Rows(TypedDict, total=False):
    """Columns by name: of a split of the dataset, of a batch of it, or of predictions. Each has one value a row.

    Attributes:
        source: id of the source that a row came from; an earlier version did not record it.
        characters: length of the text in code points.
        label: index of the true label.
        alarming: whether the text holds an alarming word.
        predicted_spans: decided over words.
        plain_spans, router_spans: those of plain ``pipeline()``, and as the Semantic Router decodes them.
        tokens: of predictions, what is answered to each token of the text.
        tokens_read, windows, truncated: how the text was read, as of :class:`Predicted`.
    """

    id: Sequence[str]
    text: Sequence[str]
    group: Sequence[str]
    source: Sequence[str]
    characters: Sequence[int]
    label: Sequence[int]
    probabilities: Probabilities
    alarming: Sequence[bool]
    spans: Sequence[Sequence[SpanDict]]
    predicted_spans: Sequence[Sequence[PredictedSpan]]
    plain_spans: Sequence[Sequence[PredictedSpan]]
    router_spans: Sequence[Sequence[PredictedSpan]]
    tokens: Sequence[Sequence[TokenAnswer]]
    tokens_read: Sequence[int]
    windows: Sequence[int]
    truncated: Sequence[bool]


@dataclass(frozen=True)
class Predicted:
    """What a model answers to texts, with a value a text.

    Attributes:
        answers: probabilities of labels, or spans.
        tokens_read: tokens of the text that were read, special ones left out.
        windows: in how many windows.
        truncated: whether the end of the text was not read.
    """

    answers: Column
    tokens_read: list[int]
    windows: list[int]
    truncated: list[bool]

    @property
    def reading(self) -> Rows:
        """How the texts were read, as columns of predictions."""
        return {"tokens_read": self.tokens_read, "windows": self.windows, "truncated": self.truncated}


class Encoded(TypedDict):
    """A batch of texts as a model takes it, one list a text.

    Attributes:
        length: tokens of the text, special ones included.
        labels: the class of the text, or the BIO id of each token.
    """

    input_ids: list[list[int]]
    attention_mask: list[list[int]]
    length: list[int]
    labels: Sequence[int] | list[list[int]]


class PipelineEntry(TypedDict, total=False):
    """One answer of a pipeline: ``label`` and ``score``; of spans ``entity_group`` for ``label``, and the offsets."""

    label: str
    entity_group: str
    score: float
    start: int
    end: int


class Pipeline(Protocol):
    """What transformers' ``pipeline()`` returns, whose own class says nothing of its answers."""

    tokenizer: PreTrainedTokenizerBase
    model: PreTrainedModel

    def __call__(self, texts: Sequence[str], **options: object) -> Sequence[Sequence[PipelineEntry]]:
        """Return the entries of each text."""


@dataclass(frozen=True)
class LabelPlan:
    """How the labels of a model, ours or another's, are read.

    Attributes:
        ours: from a label of the model to the index of ours.
        ignored: labels that a label map sets to null: as if the model did not have them.
        others: labels that are none of ours. An answer with one of them is wrong; a span of one is not counted.
    """

    ours: Mapping[str, int]
    ignored: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def known(self) -> frozenset[int]:
        """Indices of our labels that the model can answer with."""
        return frozenset(self.ours.values())


@dataclass(frozen=True)
class AnswerDifference:
    """How far a model's answers are from recorded ones.

    Attributes:
        largest: difference of a probability, from 0 to 1.
        recorded, answered: spans of the first text that is answered with other ones; "" where there is none.
    """

    largest: float
    # Texts for the message of an error, so that nobody has to look the spans up.
    recorded: str = ""
    answered: str = ""
