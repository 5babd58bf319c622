"""What every head can do. Outside this folder nobody asks which one it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hubtools.spec import LabelSet

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
        truth, answer: columns of the predictions that hold the true labels and the model's answers.
        label_pattern, label_rule: what a label may look like, as a regular expression and in words.
        least_labels, most_labels: how many of them there may be.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["sequence", "token"]]
    pipeline: ClassVar[Literal["text-classification", "token-classification"]]
    truth: ClassVar[str]
    answer: ClassVar[str]

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

    # --- training ---

    # The model labels each token, not the text as a whole.
    per_token: ClassVar[bool]
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
