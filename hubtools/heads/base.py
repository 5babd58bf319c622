"""What every head can do. Outside this folder nobody asks which one it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hubtools.heads.inference import Tick
from hubtools.heads.plots import Plot
from hubtools.heads.rows import Column, Pipeline, Rows
from hubtools.metrics.intervals import Answers
from hubtools.records.metrics import AnsweredExample, Metrics
from hubtools.records.scores import Baseline, Scores, ScoresOnOtherData
from hubtools.records.slices import Mistakes, Slices
from hubtools.records.thresholds import AbstentionStep, SplitCalibration, Target, Thresholds
from hubtools.spec import LabelSet, Metric

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


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
class Words:
    """How tables and messages speak of a head.

    Attributes:
        classifier: what a model with it is.
        right: the share of rows that are right.
        lacking: what is not scored where a model lacks labels.
        others: what happens to answers with labels that are none of ours; ``others_note`` says so in a message.
        threshold: what a comparison says of answers below a threshold, "" for nothing.
        unit: what the support of a label counts; ``answers`` what calibration does.
    """

    classifier: str
    right: str
    lacking: str
    others: str
    others_note: str
    threshold: str
    unit: str
    answers: str


@dataclass(frozen=True)
class AnswerDifference:
    """How far a model's answers are from recorded ones: ``largest`` of a probability.

    Attributes:
        expected, found: of the first text that is answered with other spans; "" where none is.
    """

    largest: float
    expected: str = ""
    found: str = ""


@dataclass(frozen=True)
class Head(ABC):
    """How a question is answered: what the truth and the answer of a row are, and all that follows from it.

    Attributes:
        name: the word that files use for it.
        pipeline: the task name that transformers' ``pipeline()`` and the Hub have for it.
        truth, answer: columns of the predictions that hold the true labels and the model's answers.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["sequence", "token"]]
    pipeline: ClassVar[Literal["text-classification", "token-classification"]]
    truth: ClassVar[str]
    answer: ClassVar[str]

    @abstractmethod
    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return the model's labels in the order of ``id2label``."""

    # --- rows of a dataset ---

    # --- training ---

    # --- predictions and scores ---

    # The scores that the Trainer logs after each evaluation.
    selection: ClassVar[tuple[Metric, ...]]
    words: ClassVar[Words]
    # The end of the names of transformers' classes for it, and the label that stands for no label.
    architecture: ClassVar[str]
    outside: ClassVar[str] = ""
    # Whether offsets of tokens are needed, whether SetFit can answer it, whether the body's output is averaged.
    needs_offsets: ClassVar[bool] = False
    few_shot: ClassVar[bool] = False
    pooled: ClassVar[bool] = True

    @property
    @abstractmethod
    def headlines(self) -> tuple[Metric, ...]:
        """The scores at the head of a card, the primary metric among them."""

    @property
    def at_threshold(self) -> tuple[Metric, ...]:
        """The metrics of a model at its threshold, where it has one to choose."""
        return ()

    @property
    def table(self) -> tuple[Metric, ...]:
        """The metrics in a table of other data and of other models."""
        return self.headlines + self.at_threshold

    def metric(self, key: str) -> Metric:
        """Return the metric called ``key``; raises :class:`KeyError` for any other word."""
        return {metric.key: metric for metric in (*self.table, *self.selection)}[key]

    @abstractmethod
    def read_answers(self, truth: Column, answers: Any, labels: Sequence[str], threshold: float = 0.0) -> Answers:
        """Turn true and given answers into the arrays that metrics are functions of.

        Args:
            truth, answers: the columns of the predictions of these names.
            labels: of the label set; ``answers`` may have one more behind them, for labels that are none of ours.
        """

    @abstractmethod
    def read_evaluation(self, predictions: np.ndarray, label_ids: np.ndarray, labels: Sequence[str]) -> Answers:
        """Turn what the Trainer hands to ``compute_metrics`` into the same arrays.

        Args:
            predictions: (rows, labels) logits, or (rows, tokens) ids of the best tags.
            label_ids: (rows,) or (rows, tokens).
        """

    @abstractmethod
    def score(self, rows: Rows, labels: Sequence[str], threshold: float) -> Scores:
        """Return every score of a split's predictions."""

    @abstractmethod
    def score_known(
        self, truth: Column, answers: Column, labels: Sequence[str], known: Collection[int],
        threshold: float,
    ) -> tuple[ScoresOnOtherData, set[int]]:  # fmt: skip
        """Return scores on what the data ask and the model can answer, and the labels that the data have.

        Args:
            known: labels that the model can answer with.
        """

    @abstractmethod
    def pair_answers(
        self, truth: Column, a: Column, b: Column, labels: Sequence[str], known: Collection[int],
        threshold: float,
    ) -> tuple[Any, Any]:  # fmt: skip
        """Return two models' answers to the rows, or of the types, that both can answer."""

    @abstractmethod
    def slice_scores(self, rows: Rows, labels: Sequence[str], threshold: float) -> Slices:
        """Return scores by length and family."""

    @abstractmethod
    def find_mistakes(self, rows: Rows, labels: Sequence[str]) -> Mistakes:
        """Return the most confident mistakes."""

    @abstractmethod
    def calibration(self, rows: Rows, temperature: float) -> SplitCalibration:
        """Return how sure answers are and how often they are right, without the temperature and with it."""

    def target(self, fpr: float | None, recall: float | None) -> Target | None:
        """Return what a threshold is chosen for: what is asked for, else the default; None where none is chosen."""
        return None

    def threshold_label(self, labels: Sequence[str]) -> str:
        """Return the label that a threshold is about: what is flagged, or what an unsure answer becomes, or ""."""
        return ""

    def choose_thresholds(
        self, validation: Rows, test: Rows, labels: Sequence[str], target: Target | None, default: float
    ) -> Thresholds | None:
        """Return what ``thresholds.json`` holds; None where no threshold is chosen.

        Args:
            default: the router's threshold for the task.
        """
        return None

    def shipped_threshold(self, content: Any) -> float | None:
        """Return the threshold in a ``thresholds.json``, anyone's; None where it is not one of this head's."""
        return None

    def abstention_curve(self, rows: Rows, labels: Sequence[str]) -> list[AbstentionStep] | None:
        """Return what abstaining buys; None where an answer is never unsure."""
        return None

    @abstractmethod
    def answer_baselines(self, train: Rows, texts: Sequence[str], labels: Sequence[str]) -> Mapping[str, Any]:
        """Return the answers of each baseline to ``texts``, by its name."""

    @abstractmethod
    def baseline(
        self, about: str, scores: Any, *, base: tuple[str, str | None] | None = None, version: str | None = None
    ) -> Baseline:
        """Return the headlines of ``scores`` as a column beside the model's; see the record for the rest."""

    @abstractmethod
    def predict(
        self,
        classifier: Pipeline,
        plan: LabelPlan,
        texts: Sequence[str],
        labels: Sequence[str],
        tick: Tick = lambda _: None,
    ) -> list[Any]:
        """Return what a pipeline answers to each text, in our labels.

        Of a classification that is the probability of each of our labels, 0 for those that the model lacks, and behind
        them that of all labels that are none of ours; of spans, those of our types.
        """

    @abstractmethod
    def prediction_columns(
        self, classifier: Pipeline, rows: Rows, labels: Sequence[str], tick: Tick, temperature: float
    ) -> dict[str, Any]:
        """Return the columns of ``predictions.parquet`` that are the head's own, and none of the text.

        Args:
            rows: ``text``, and the column of the truth.
        """

    @property
    @abstractmethod
    def columns(self) -> dict[str, pa.DataType]:
        """Arrow types of the columns that predictions may have."""

    @abstractmethod
    def answer_example(self, classifier: Pipeline, text: str, labels: Sequence[str]) -> AnsweredExample:
        """Return what the model answers to ``text``, in the form of a card's widget."""

    def short_labels(self, names: Sequence[str]) -> dict[str, str]:
        """Return what a model's labels name, by the name that a pipeline gives them."""
        return {name: name for name in names}

    def label_widths(self, answers: Column) -> set[int]:
        """Return how many labels recorded answers have; empty where they do not tell."""
        return set()

    @abstractmethod
    def compare_answers(self, classifier: Pipeline, texts: Sequence[str], rows: Rows) -> AnswerDifference:
        """Ask the model again and compare with the recorded answers to the first rows."""

    @abstractmethod
    def multitask_pairs(self, probabilities: Any, rows: Rows, row: int) -> Iterator[tuple[float, float]]:
        """Yield (probability of the model of all tasks, recorded probability) of one row."""

    @abstractmethod
    def plots(self, metrics: Metrics) -> tuple[Plot, ...]:
        """Return the head's own plots of ``metrics``, in the order of the card."""

    # --- cards, releases and the Space ---

    # What a split is made of, and ``metrics`` in the front matter of a model card, in the Hub's words.
    unit: ClassVar[str]
    card_metrics: ClassVar[tuple[str, ...]]

    @abstractmethod
    def rows_shown(self, mistakes: Mistakes) -> frozenset[str]:
        """Return the ids of the test rows whose text a model card shows, if the dataset's texts may be shown at all."""
