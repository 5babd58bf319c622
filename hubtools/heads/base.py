"""What every head can do. Outside this folder nobody asks which one it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from hubtools.spec import LabelSet


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

    # --- cards, releases and the Space ---
