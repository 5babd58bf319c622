"""What every head can do. Outside this folder nobody asks which one it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hubtools.heads.rows import LabelMap, UserColumns
from hubtools.records.dataset import LengthBaseline, SplitFacts
from hubtools.rows import Columns
from hubtools.spec import Example, LabelSet

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedModel

# Of one batch, by the name of the column.
Batch = Mapping[str, list[Any]]


@dataclass(frozen=True)
class Head(ABC):
    """How a question is answered: what the truth and the answer of a row are, and all that follows from it.

    Attributes:
        name: the word that files use for it.
        pipeline: the task name that transformers' ``pipeline()`` and the Hub have for it.
        truth, answer: columns of the predictions that hold the true labels and the model's answers; ``truth`` is a
            column of the dataset as well.
        column_advice: which flags say what the columns of a user's data are.
        reads_tags: whether a user's rows may come as words with a tag each, instead of as texts.
        label_pattern, label_rule: what a label may look like, as a regular expression and in words.
        least_labels, most_labels: how many of them there may be.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["sequence", "token"]]
    pipeline: ClassVar[Literal["text-classification", "token-classification"]]
    truth: ClassVar[str]
    answer: ClassVar[str]
    column_advice: ClassVar[str]
    reads_tags: ClassVar[bool] = False

    @abstractmethod
    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return the model's labels in the order of ``id2label``."""

    # --- a task of one's own ---

    label_pattern: ClassVar[str] = r"\w[\w .,&/+'()-]{0,63}"
    label_rule: ClassVar[str] = "a letter or digit, then letters, digits, spaces and . , & / + ' ( ) - _, 64 at most"
    least_labels: ClassVar[int] = 2
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
    def make_columns(self, rows: Sequence[Example], label_set: LabelSet) -> dict[str, list[Any]]:
        """Return the columns of a dataset that hold the labels of ``rows``, as many values each."""

    @abstractmethod
    def make_features(self, label_set: LabelSet) -> dict[str, Any]:
        """Return the types of these columns, as ``datasets.Features`` takes them."""

    @abstractmethod
    def index_truth(self, row: Example, label_set: LabelSet) -> Any:
        """Return what the column ``truth`` holds for ``row``, whose labels are mapped: indices instead of names."""

    @abstractmethod
    def name_truth(self, row: Example, truth: Any, label_set: LabelSet) -> Example:
        """Return ``row`` with the labels that ``truth`` holds as indices."""

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

    # The model labels each token, not the text as a whole.
    per_token: ClassVar[bool]
    # Whether few-shot training (SetFit), which labels whole texts, can answer it.
    few_shot: ClassVar[bool] = False
    # The class of ModernBERT's that answers in this way, as config.json names it.
    architecture: ClassVar[str]
    # Of a task's loss beside the others', where several are trained together.
    loss_weight: ClassVar[float] = 1.0

    @abstractmethod
    def load_model(self, path: str, **options: Any) -> PreTrainedModel:
        """Load a model with this head, as ``from_pretrained`` of transformers' auto class for it does."""

    @abstractmethod
    def dataset_labels(self, features: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the label names that the ``Features`` of a dataset carry, in the order of their ids.

        Raises:
            KeyError: the dataset has no column for them.
        """

    @abstractmethod
    def encode(self, batch: Batch, tokenizer: Any, max_length: int, label_set: LabelSet) -> dict[str, Any]:
        """Return ``input_ids``, ``attention_mask``, ``length`` and ``labels`` of each text.

        Args:
            max_length: tokens of a text, special ones included, that are kept.
        """

    @abstractmethod
    def marked_spans(self, batch: Batch) -> list[list[Mapping[str, int]]] | None:
        """Return the true spans of each text; None where texts are labelled as a whole."""

    @abstractmethod
    def reduce_logits(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None:
        """Return what makes of logits and labels the predictions that selection metrics take; None for the logits."""

    @abstractmethod
    def multitask_predictions(
        self, first: np.ndarray, best: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return predictions and true labels of one task, as its own training would give them to selection metrics.

        Args:
            first: (rows, labels), logits of the first position, where a label of the whole text stands.
            best: (rows, longest), the most likely label of each position.
            labels: (rows, longest), the true ones.
        """

    # --- predictions and scores ---

    # --- cards, releases and the Space ---
