"""What every head can do. Outside this folder nobody asks which one it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from hubtools.records.slices import Mistakes
from hubtools.spec import LabelSet, Metric


@dataclass(frozen=True)
class Head(ABC):
    """How a question is answered: what the truth and the answer of a row are, and all that follows from it.

    Attributes:
        name: the word that files use for it.
        pipeline: the task name that transformers' ``pipeline()`` and the Hub have for it.
        truth, answer: columns of the predictions that hold the true labels and the model's answers.
        unit: what cards call the rows of a split.
        answer_unit: what cards call the single answers, whose probabilities are calibrated.
        card_metrics: ``metrics`` in the front matter of a model card, in the Hub's words.
        rates: of mistakes at the threshold that a model ships with, for ``model-index``.
        one_pass: column of the predictions that a model of all tasks is compared with, as it answers in one pass.
    """

    name: ClassVar[str]
    kind: ClassVar[Literal["sequence", "token"]]
    pipeline: ClassVar[Literal["text-classification", "token-classification"]]
    truth: ClassVar[str]
    answer: ClassVar[str]
    unit: ClassVar[str]
    answer_unit: ClassVar[str]
    card_metrics: ClassVar[tuple[str, ...]]
    one_pass: ClassVar[str]
    rates: ClassVar[tuple[Metric, ...]] = ()

    @abstractmethod
    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return the model's labels in the order of ``id2label``."""

    # --- rows of a dataset ---

    # --- training ---

    # --- predictions and scores ---

    # --- cards, releases and the Space ---

    @abstractmethod
    def rows_shown(self, mistakes: Mistakes) -> frozenset[str]:
        """Return the ids of the test rows whose text a model card shows, if the dataset's texts may be shown at all."""

    @abstractmethod
    def answer_difference(self, recorded: Any, answer: Any) -> float | None:
        """Compare two answers to one text, as the column ``answer`` of the predictions holds them.

        Returns:
            the largest difference of a probability; None where they differ in more than probabilities.
        """

    @abstractmethod
    def one_pass_difference(self, recorded: Any, answer: Any) -> float:
        """Return the largest difference of a probability between the two.

        Args:
            recorded: a row of the column ``one_pass``.
            answer: probabilities of the labels, (labels,) of a text or (tokens, labels) of its tokens.
        """
