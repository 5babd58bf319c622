"""What every head can do. Outside this folder nobody asks which one it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
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

    # Whether few-shot training (SetFit), which labels whole texts, can answer it.
    few_shot: ClassVar[bool] = False

    # --- predictions and scores ---

    # --- cards, releases and the Space ---
