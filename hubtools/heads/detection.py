"""Detection: two labels, of which one is looked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from hubtools.heads.answers import Answer
from hubtools.heads.base import Words
from hubtools.heads.classification import Classification
from hubtools.heads.inference import Tick
from hubtools.heads.length_matching import compose_negatives, measure_length_baseline
from hubtools.heads.plots import CONFUSION, Plot, detection_plots
from hubtools.heads.scores import detection_scores, one_class_scores
from hubtools.heads.slices import detection_slices
from hubtools.heads.thresholds import detection_thresholds
from hubtools.heads.values import Column, Pipeline, Rows
from hubtools.heads.wording import ClassNouns
from hubtools.metrics.detection import (
    FNR_AT_THRESHOLD,
    FPR_AT_THRESHOLD,
    PR_AUC,
    RECALL_AT_1_FPR,
    RECALL_AT_5_FPR,
    ROC_AUC,
    DetectionAnswers,
    detection_answers,
)
from hubtools.metrics.labels import ACCURACY, MACRO_F1
from hubtools.records.dataset import LengthBaseline
from hubtools.records.metrics import Metrics
from hubtools.records.scores import ClassificationBaseline, DetectionBaseline, DetectionScores, ScoresOnOtherData
from hubtools.records.slices import DetectionSlices
from hubtools.records.thresholds import AbstentionStep, Target, Thresholds
from hubtools.spec import Example, Metric

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Detection(Classification):
    """Two labels, of which one is looked for.

    Attributes:
        positive: the label that is looked for.
        alarming: beginnings of words that make harmless texts sound like ``positive``; false alarms are counted there.
        positive_noun, negative_noun: how cards call a row of each label, such as "attack", with a plural in -s; ""
            makes it of the label.
    """

    name: ClassVar[str] = "detection"

    positive: str = ""
    alarming: tuple[str, ...] = ()
    positive_noun: str = ""
    negative_noun: str = ""

    # --- a task of one's own ---

    most_labels: ClassVar[int | None] = 2

    def default_question(self, labels: Sequence[str]) -> str:
        return f"Is the text {self.positive}?"

    # --- rows of a dataset ---

    def needs_every_class(self, split: str) -> bool:
        """Return True: a detector can be neither chosen nor scored without both of its classes."""
        return True

    def compose_matched_lengths(self, rows: Sequence[Example], seed: int) -> Iterator[Example]:
        return compose_negatives(rows, self.positive, seed)

    def measure_length_baseline(
        self, before: Sequence[Example], after: Sequence[Example], test: Sequence[Example]
    ) -> LengthBaseline:
        return measure_length_baseline(before, after, test, self.positive)

    # --- training ---

    # --- predictions and scores ---

    @property
    def headlines(self) -> tuple[Metric, ...]:
        return (RECALL_AT_1_FPR, RECALL_AT_5_FPR, ROC_AUC, PR_AUC, ACCURACY, MACRO_F1)

    selection: ClassVar[tuple[Metric, ...]] = (ROC_AUC, MACRO_F1, ACCURACY)
    words: ClassVar[Words] = replace(Classification.words, threshold="")
    baseline_record: ClassVar[type[ClassificationBaseline] | type[DetectionBaseline]] = DetectionBaseline
    default_target: ClassVar[Target] = Target(fpr=0.01)
    threshold_kind: ClassVar[str] = "detection"

    @property
    def at_threshold(self) -> tuple[Metric, ...]:
        return (FPR_AT_THRESHOLD, FNR_AT_THRESHOLD)

    def read_answers(
        self, truth: Column, answers: Any, labels: Sequence[str], threshold: float = 0.0
    ) -> DetectionAnswers:
        return detection_answers(truth, answers, list(labels).index(self.positive), threshold)

    def score(self, rows: Rows, labels: Sequence[str], threshold: float) -> DetectionScores:
        return detection_scores(self.read_answers(rows["label"], rows["probabilities"], labels, threshold), labels)

    def score_answers(self, answers: Any, names: Sequence[str]) -> ScoresOnOtherData:
        both = answers.positive.any() and not answers.positive.all()
        return (detection_scores if both else one_class_scores)(answers, names)

    def slice_scores(self, rows: Rows, labels: Sequence[str], threshold: float) -> DetectionSlices:
        return detection_slices(self.read_answers(rows["label"], rows["probabilities"], labels, threshold), rows)

    def target(self, fpr: float | None, recall: float | None) -> Target | None:
        return self.default_target if fpr is None and recall is None else Target(fpr=fpr, recall=recall)

    def threshold_label(self, labels: Sequence[str]) -> str:
        return self.positive

    @property
    def acts_on(self) -> str:
        return self.positive

    def thresholds_of(
        self, validation: Any, test: Any, labels: Sequence[str], target: Target, default: float
    ) -> Thresholds:
        return detection_thresholds(validation, test, self.positive, target, default)

    def abstention_curve(self, rows: Rows, labels: Sequence[str]) -> list[AbstentionStep] | None:
        return None

    def prediction_columns(
        self, classifier: Pipeline, rows: Rows, labels: Sequence[str], tick: Tick, temperature: float
    ) -> dict[str, Any]:
        """Where the task names alarming words, ``alarming`` says whether a text holds one."""
        columns = super().prediction_columns(classifier, rows, labels, tick, temperature)
        if not self.alarming:
            return columns
        words = re.compile(rf"\b({'|'.join(self.alarming)})", re.IGNORECASE)
        return {"alarming": [bool(words.search(text)) for text in rows["text"]], **columns}

    def decide(self, prediction: Any, labels: Sequence[str], threshold: float | None) -> Answer:
        probabilities = dict(zip(labels, prediction, strict=False))
        score, limit = probabilities[self.positive], 0.5 if threshold is None else threshold
        other = next(label for label in labels if label != self.positive)
        flagged = score >= limit
        return Answer(self.positive if flagged else other, score, flagged, limit, probabilities)

    @property
    def columns(self) -> dict[str, pa.DataType]:
        import pyarrow as pa

        return {"alarming": pa.bool_(), **super().columns}

    def plots(self, metrics: Metrics) -> tuple[Plot, ...]:
        labels = [entry.label for entry in metrics.scores.per_class]
        return (CONFUSION, *detection_plots(self.nouns(labels)))

    # --- cards, releases and the Space ---

    card_metrics: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall", "accuracy", "roc_auc")

    def describe_for_space(self) -> dict[str, str]:
        return {"positive": self.positive}

    def choose_space_threshold(self, chosen: float | None, default: float) -> float:
        return default if chosen is None else chosen

    def negative(self, labels: Sequence[str]) -> str:
        """Return the label that is not looked for, of the two ``labels``."""
        return next(label for label in labels if label != self.positive)

    def nouns(self, labels: Sequence[str]) -> ClassNouns:
        """Return how cards call rows of the two ``labels``."""
        return ClassNouns(
            self.positive_noun or f"`{self.positive}` text", self.negative_noun or f"`{self.negative(labels)}` text"
        )
