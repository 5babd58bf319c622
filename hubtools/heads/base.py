"""What every head can do. Outside this folder nobody asks which one it is."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from hubtools.heads.answers import Answer
from hubtools.heads.inference import Tick
from hubtools.heads.plots import Plot
from hubtools.heads.probed import Probed
from hubtools.heads.rows import LabelMap, UserColumns
from hubtools.heads.threshold_choice import ChoosesThreshold
from hubtools.heads.unseen import ScoresUnseen
from hubtools.heads.values import (
    AnswerDifference,
    Column,
    Encoded,
    LabelPlan,
    Pipeline,
    Predicted,
    Rows,
    TextProbabilities,
    Truth,
)
from hubtools.heads.wording import Words
from hubtools.metrics.intervals import Answers
from hubtools.metrics.spans import SpanDict
from hubtools.reading import Window
from hubtools.records.dataset import LengthBaseline, SplitFacts
from hubtools.records.metrics import AnsweredExample, Metrics
from hubtools.records.scores import Baseline, Scores, ScoresOnOtherData
from hubtools.records.slices import Mistakes, Slices
from hubtools.records.thresholds import SplitCalibration
from hubtools.rows import Columns
from hubtools.spec import Example, LabelSet, Metric

# Names of types alone: heads are imported by every command, and these libraries take seconds to load.
if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch
    from datasets import Features
    from datasets.features.features import FeatureType
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Head(ScoresUnseen, ChoosesThreshold, Probed):
    """How a question is answered: what the truth and the answer of a row are, and all that follows from it.

    Attributes:
        name: the word that files use for it.
        granularity: what gets a label, in transformers' words: the text as a whole, or each of its tokens.
        pipeline: the task name that transformers' ``pipeline()`` and the Hub have for it.
        truth, answer: columns of the predictions that hold the true labels and the model's answers; ``truth`` is a
            column of the dataset as well.
        column_advice: which flags say what the columns of a user's data are.
        reads_tags: whether a user's rows may come as words with a tag each, instead of as texts.
        label_pattern, label_rule: what a label may look like, as a regular expression and in words.
        least_labels, most_labels: how many of them there may be.
        window: how a long text is cut into windows, which are all read; None where its beginning alone is read.
    """

    name: ClassVar[str]
    granularity: ClassVar[Literal["sequence", "token"]]
    pipeline: ClassVar[Literal["text-classification", "token-classification"]]
    answer: ClassVar[str]
    column_advice: ClassVar[str]
    reads_tags: ClassVar[bool] = False
    window: ClassVar[Window | None] = None

    @abstractmethod
    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return the model's labels in the order of ``id2label``."""

    # --- a task of one's own ---

    # Labels become keys of files, cells of tables and names in commands: what would break one is refused early.
    label_pattern: ClassVar[str] = r"\w[\w .,&/+'()-]{0,63}"
    label_rule: ClassVar[str] = "a letter or digit, then letters, digits, spaces and . , & / + ' ( ) - _, 64 at most"
    least_labels: ClassVar[int] = 2  # with one, every answer is right
    most_labels: ClassVar[int | None] = None

    @abstractmethod
    def default_question(self, labels: Sequence[str]) -> str:
        """Return the question in one sentence, for a task that does not put it itself."""

    # --- rows of a dataset ---

    def check_label(self, row: Example, label_set: LabelSet, others: Iterable[LabelSet]) -> None:
        """Check that a row's label has a place in the label set; spans of other types are left out instead.

        Args:
            others: all label sets of the task.

        Raises:
            Dropped: the label belongs to another label set.
            BadRow: it is not known at all.
        """
        return

    def find_defect(self, row: Example, label_set: LabelSet) -> str:
        """Return why ``row`` cannot be written as this head's columns, or ""."""
        return ""

    @abstractmethod
    def describe_label(self, row: Example) -> str:
        """Return a row's label, or what is marked in it, for people to read."""

    @abstractmethod
    def audit_classes(self, row: Example) -> set[str]:
        """Return the classes that a row is an example of in the audit file; never none."""

    def list_audit_classes(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return all classes of the audit file, in its order."""
        return label_set.labels

    @abstractmethod
    def make_columns(self, rows: Sequence[Example], label_set: LabelSet) -> Mapping[str, Sequence[object]]:
        """Return the columns of a dataset that hold the labels of ``rows``, as many values each."""

    @abstractmethod
    def make_features(self, label_set: LabelSet) -> dict[str, FeatureType]:
        """Return the types of these columns, as ``datasets.Features`` takes them."""

    @abstractmethod
    def index_truth(self, row: Example, label_set: LabelSet) -> Truth:
        """Return what the column ``truth`` holds for ``row``, whose labels are mapped: indices instead of names."""

    @abstractmethod
    def name_truth(self, row: Example, truth: Truth, label_set: LabelSet) -> Example:
        """Return ``row`` with the labels that ``truth``, a value of the column of that name, holds as indices."""

    @abstractmethod
    def describe_split(self, rows: Sequence[Example], label_set: LabelSet) -> SplitFacts:
        """Return what ``facts.json`` says of a split."""

    def needs_every_class(self, split: str) -> bool:
        """Return whether a split without rows of some class is of no use; no class is learned without rows."""
        return split == "train"

    def compose_matched_lengths(self, rows: Sequence[Example], seed: int) -> Iterator[Example]:
        """Yield rows to add to the training rows ``rows``, so that length alone does not tell the label."""
        return iter(())

    def measure_length_baseline(
        self, before: Sequence[Example], after: Sequence[Example], test: Sequence[Example]
    ) -> LengthBaseline | None:
        """Return how well length alone tells the label, or None where that is no question.

        Args:
            before, after: the training split without and with what was added to it.
        """
        return None

    @abstractmethod
    def choose_user_columns(
        self, columns: Columns, seen: Sequence[str], label_map: LabelMap, types: set[str]
    ) -> UserColumns:
        """Return how rows of a user's own data are read.

        Args:
            seen: names of the columns that the data has.
            types: labels that the task has, in its sources' names or its own.
        """

    def list_map_targets(self, label_set: LabelSet) -> list[str]:
        """Return what a label map may map to, besides ``null``."""
        return [*label_set.labels, *(name for name in label_set.mapping if name not in label_set.labels)]

    # --- training ---

    few_shot: ClassVar[bool] = False  # whether SetFit, which labels whole texts, can answer it
    # The weight of the task's loss where several tasks are trained together.
    loss_weight: ClassVar[float] = 1.0

    @property
    def per_token(self) -> bool:
        """Whether the model labels each token, not the text as a whole."""
        return self.granularity == "token"

    @abstractmethod
    def load_model(self, path: str, **options: object) -> PreTrainedModel:
        """Load a model with this head, as ``from_pretrained`` of transformers' auto class for it does."""

    @abstractmethod
    def read_label_names(self, features: Features) -> tuple[str, ...]:
        """Return the label names that the features of a dataset carry, in the order of their ids.

        Raises:
            KeyError: the dataset has no column for them.
        """

    @abstractmethod
    def encode(self, batch: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int, label_set: LabelSet) -> Encoded:
        """Return ``input_ids``, ``attention_mask``, ``length`` and ``labels`` of each text.

        Args:
            max_length: tokens of a text, special ones included, that are kept.
        """

    @abstractmethod
    def select_spans(self, batch: Rows) -> Sequence[Sequence[SpanDict]] | None:
        """Return the true spans of each text; None where texts are labelled as a whole."""

    @abstractmethod
    def reduce_logits(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None:
        """Return the function from logits and labels to the predictions that selection metrics take.

        None where these take the logits themselves.
        """

    @abstractmethod
    def select_multitask_predictions(
        self, first: np.ndarray, best: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions and true labels of one task, as its own training would give them to selection metrics.

        Args:
            first: (rows, labels), logits of the first position, where a label of the whole text stands.
            best: (rows, longest), the most likely label of each position.
            labels: (rows, longest), the true ones.
        """

    # --- predictions and scores ---

    # What the Trainer logs after each evaluation; a task of one's own is selected by the first, where it names none.
    selection: ClassVar[tuple[Metric, ...]]
    words: ClassVar[Words]
    # The end of the names of transformers' classes for it, by which a model of another kind is refused before it is
    # loaded; and the label that stands for no label.
    architecture: ClassVar[str]
    outside: ClassVar[str] = ""

    @property
    @abstractmethod
    def headlines(self) -> tuple[Metric, ...]:
        """The scores at the head of a card, the primary metric among them."""

    @property
    def at_threshold(self) -> tuple[Metric, ...]:
        """The metrics of a model at its threshold, where it has one to choose."""
        return ()

    # What a release must not make worse, beside the primary metric, each model at the threshold that it ships.
    gated: ClassVar[tuple[Metric, ...]] = ()

    @property
    def table(self) -> tuple[Metric, ...]:
        """The metrics in a table of other data and of other models."""
        return self.headlines + self.at_threshold

    # --- which columns hold truth and answers only the head knows; others hand them on ---

    @abstractmethod
    def read_truth(self, rows: Rows) -> Column:
        """Return the column of the true labels."""

    @abstractmethod
    def join_answers(self, truth: Column, answers: Column) -> Rows:
        """Return true and given answers as the columns of predictions that scores are computed from."""

    @abstractmethod
    def read_evaluation(self, predictions: np.ndarray, label_ids: np.ndarray, labels: Sequence[str]) -> Answers:
        """Turn what the Trainer hands to ``compute_metrics`` into the arrays that metrics are functions of.

        Args:
            predictions: (rows, labels) logits, or (rows, tokens) ids of the best tags.
            label_ids: (rows,) or (rows, tokens).
        """

    @abstractmethod
    def score(self, rows: Rows, labels: Sequence[str], threshold: float) -> Scores:
        """Return every score of a split's predictions."""

    def score_other_decodings(self, rows: Rows, labels: Sequence[str]) -> dict[str, Baseline]:
        """Return the scores of other ways to read answers out of the same model, by the name that cards give them."""
        return {}

    @abstractmethod
    def score_known(
        self, rows: Rows, labels: Sequence[str], known: Collection[int], threshold: float
    ) -> tuple[ScoresOnOtherData, set[int]]:
        """Return scores on what the data ask and the model can answer, and the labels that the data have.

        Args:
            rows: as :meth:`join_answers` makes them; answers may have one more label behind ``labels``, for all that
                are none of ours.
            known: indices of the labels that the model can answer with.
        """

    @abstractmethod
    def pair_answers(
        self, a: Rows, b: Rows, labels: Sequence[str], known: Collection[int], threshold: float
    ) -> tuple[Answers, Answers]:
        """Return two models' answers to the rows, or of the types, that both can answer.

        Args:
            a, b: the answers of each, with the same truth.
            known: indices of the labels that both models can answer with.
        """

    @abstractmethod
    def judge_answers(self, rows: Rows, labels: Sequence[str], threshold: float) -> np.ndarray:
        """Return (rows,): whether what is answered to each row of predictions is right, as a user gets it."""

    @abstractmethod
    def score_slices(self, rows: Rows, labels: Sequence[str], threshold: float) -> Slices:
        """Return scores by length and family."""

    @abstractmethod
    def find_mistakes(self, rows: Rows, labels: Sequence[str]) -> Mistakes:
        """Return the most confident mistakes."""

    @abstractmethod
    def measure_calibration(self, rows: Rows, temperature: float) -> SplitCalibration:
        """Return how sure answers are and how often they are right, without the temperature and with it."""

    @abstractmethod
    def answer_baselines(self, train: Rows, texts: Sequence[str], labels: Sequence[str]) -> Mapping[str, Column]:
        """Return the answers of each baseline to ``texts``, by its name."""

    @abstractmethod
    def make_baseline(
        self, about: str, scores: Scores, *, base: tuple[str, str | None] | None = None, version: str | None = None
    ) -> Baseline:
        """Return the headline scores as a column of the card's table of baselines; see the record for the rest."""

    @abstractmethod
    def predict(
        self,
        classifier: Pipeline,
        plan: LabelPlan,
        texts: Sequence[str],
        labels: Sequence[str],
        tick: Tick = lambda _: None,
    ) -> Predicted:
        """Return what a model answers to each text, in our labels, read as :attr:`window` says.

        Of a classification that is the probability of each of our labels, 0 for those that the model lacks, and behind
        them the largest one of a label that is none of ours; of spans, those of our types.
        """

    @abstractmethod
    def predict_columns(
        self, classifier: Pipeline, rows: Rows, labels: Sequence[str], tick: Tick, temperature: float
    ) -> Rows:
        """Return the columns of ``predictions.parquet`` that are the head's own, and none of the text.

        Args:
            rows: ``text``, and the column of the truth.
        """

    @property
    @abstractmethod
    def columns(self) -> dict[str, pa.DataType]:
        """Arrow types of the columns that predictions may have; they do not depend on the values."""

    @abstractmethod
    def answer_example(self, classifier: Pipeline, text: str, labels: Sequence[str]) -> AnsweredExample:
        """Return what the model answers to ``text``, in the form of a card's widget."""

    def shorten_labels(self, names: Sequence[str]) -> dict[str, str]:
        """Return what a model's labels name, by the name that a pipeline gives them."""
        return {name: name for name in names}

    def label_counts(self, rows: Rows) -> set[int]:
        """Return how many labels recorded answers choose from; empty where they do not tell."""
        return set()

    @abstractmethod
    def compare_answers(self, classifier: Pipeline, texts: Sequence[str], rows: Rows) -> AnswerDifference:
        """Ask the model again and compare with the recorded answers to the first rows."""

    @abstractmethod
    def decide(self, prediction: object, labels: Sequence[str], threshold: float | None) -> Answer:
        """Return the answer that one of :meth:`predict`'s predictions amounts to.

        Args:
            threshold: None where a model ships with none: it answers as its pipeline does.
        """

    @abstractmethod
    def pair_multitask_answers(
        self, probabilities: TextProbabilities, rows: Rows, row: int
    ) -> Iterator[tuple[float, float]]:
        """Yield (probability of the model of all tasks, recorded probability) of one row.

        Args:
            probabilities: (labels,) of the text, or (tokens, labels).
            rows: recorded predictions, of which ``row`` is the number of the text's.
        """

    @abstractmethod
    def list_plots(self, metrics: Metrics) -> tuple[Plot, ...]:
        """Return the head's own plots of ``metrics``, in the order of the card."""

    # --- cards, releases and the Space ---

    # What a row of a split is called on cards, and ``metrics`` in the front matter of a model card, in the Hub's words.
    unit: ClassVar[str]
    card_metrics: ClassVar[tuple[str, ...]]

    def describe_for_space(self) -> dict[str, str]:
        """Return what ``models.json`` says of the head, beside its name."""
        return {}

    @abstractmethod
    def list_shown_rows(self, mistakes: Mistakes) -> frozenset[str]:
        """Return the ids of the test rows whose text a model card shows, if the dataset's texts may be shown at all."""
