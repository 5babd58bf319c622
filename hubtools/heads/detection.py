"""Detection: two labels, of which one is looked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

from hubtools.heads.answers import Answer
from hubtools.heads.classification import Classification
from hubtools.heads.detection_probes import probe_documents, probe_kinds, probe_places
from hubtools.heads.encoding import encode_sequence
from hubtools.heads.flips import count_asked, search_flips
from hubtools.heads.inference import Tick
from hubtools.heads.length_matching import compose_negatives, measure_length_baseline
from hubtools.heads.plots import CONFUSION, Plot, make_detection_plots
from hubtools.heads.probes import Materials, ProbePart
from hubtools.heads.scores import compute_detection_scores, compute_one_class_scores, read_groups
from hubtools.heads.slices import slice_detection
from hubtools.heads.thresholds import AnswersBySource, BySource, choose_detection_threshold
from hubtools.heads.values import Column, Encoded, Pipeline, Probabilities, Rows
from hubtools.heads.wording import ClassNouns, Words
from hubtools.lazy_numpy import np
from hubtools.metrics.detection import (
    FNR_AT_THRESHOLD,
    FPR_AT_THRESHOLD,
    PR_AUC,
    RECALL_AT_1_FPR,
    RECALL_AT_5_FPR,
    RECALL_AT_THRESHOLD,
    ROC_AUC,
    DetectionAnswers,
    read_detection_answers,
)
from hubtools.metrics.labels import ACCURACY, MACRO_F1, LabelAnswers
from hubtools.reading import Window
from hubtools.records.dataset import LengthBaseline
from hubtools.records.metrics import Metrics
from hubtools.records.robustness import Flips
from hubtools.records.scores import ClassificationBaseline, DetectionBaseline, DetectionScores, ScoresOnOtherData
from hubtools.records.slices import DetectionSlices
from hubtools.records.thresholds import AbstentionStep, Target, Thresholds
from hubtools.spec import Example, LabelSet, Metric, TextKind

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Detection(Classification):
    """Two labels, of which one is looked for.

    Attributes:
        positive: the label that is looked for.
        alarming: beginnings of words that make harmless texts sound like ``positive``; false alarms are counted there.
        kinds: of texts that are looked for, each told by a rule; recall is told by kind.
        positive_noun, negative_noun: how cards call a row of each label, such as "attack", with a plural in -s; ""
            makes it of the label.
    """

    name: ClassVar[str] = "detection"
    window: ClassVar[Window | None] = Window()  # what is looked for may stand anywhere

    positive: str = ""
    alarming: tuple[str, ...] = ()
    kinds: tuple[TextKind, ...] = ()
    positive_noun: str = ""
    negative_noun: str = ""

    # --- a task of one's own ---

    most_labels: ClassVar[int | None] = 2  # what is looked for, and what is not

    def default_question(self, labels: Sequence[str]) -> str:
        return f"Is the text {self.positive}?"

    # --- rows of a dataset ---

    def needs_every_class(self, split: str) -> bool:
        """Return True: a detector can be neither chosen nor scored without both of its classes."""
        return True

    def compose_matched_lengths(self, rows: Sequence[Example], seed: int) -> Iterator[Example]:
        return compose_negatives(rows, self.positive, seed)

    def encode(self, batch: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int, label_set: LabelSet) -> Encoded:
        """Encode the beginning of each text; of a long one without what is looked for, any of its windows.

        All windows of a long text are read, and one is enough for an alarm: a model that saw beginnings alone takes
        what comes later for an attack. Nobody has marked in which window of an attack it stands.
        """
        positive = label_set.labels.index(self.positive)
        without = [row for row, label in enumerate(batch["label"]) if label != positive]
        return encode_sequence(batch, tokenizer, max_length, without)

    def measure_length_baseline(
        self, before: Sequence[Example], after: Sequence[Example], test: Sequence[Example]
    ) -> LengthBaseline:
        return measure_length_baseline(before, after, test, self.positive)

    # --- predictions and scores ---

    @property
    def headlines(self) -> tuple[Metric, ...]:
        return (RECALL_AT_1_FPR, RECALL_AT_5_FPR, ROC_AUC, PR_AUC, ACCURACY, MACRO_F1)

    # ROC-AUC first: it does not depend on a threshold, which is chosen after training.
    selection: ClassVar[tuple[Metric, ...]] = (ROC_AUC, MACRO_F1, ACCURACY)
    words: ClassVar[Words] = replace(Classification.words, threshold="")
    baseline_record: ClassVar[type[ClassificationBaseline] | type[DetectionBaseline]] = DetectionBaseline
    # A guard that every prompt passes through: one false alarm in a hundred harmless prompts is much already.
    default_target: ClassVar[Target] = Target(fpr=0.01)
    threshold_kind: ClassVar[str] = "detection"
    needs_threshold: ClassVar[bool] = True
    plain_threshold: ClassVar[float] = 0.5  # the more probable of two labels

    gated: ClassVar[tuple[Metric, ...]] = (RECALL_AT_THRESHOLD, FPR_AT_THRESHOLD)

    @property
    def at_threshold(self) -> tuple[Metric, ...]:
        return (FPR_AT_THRESHOLD, FNR_AT_THRESHOLD)

    def read_answers(self, rows: Rows, labels: Sequence[str], threshold: float = 0.0) -> DetectionAnswers:
        return read_detection_answers(
            rows["label"], rows["probabilities"], list(labels).index(self.positive), threshold
        )

    def score(self, rows: Rows, labels: Sequence[str], threshold: float) -> DetectionScores:
        return compute_detection_scores(self.read_answers(rows, labels, threshold), labels, read_groups(rows))

    def list_unseen(self, labels: Sequence[str]) -> tuple[Metric, ...]:
        return (FPR_AT_THRESHOLD, RECALL_AT_THRESHOLD, ROC_AUC)

    def score_answers(self, answers: LabelAnswers, names: Sequence[str]) -> ScoresOnOtherData:
        assert isinstance(answers, DetectionAnswers)
        # A benchmark of attacks alone has no ROC curve, and still a rate of attacks that are missed.
        both_classes = answers.positive.any() and not answers.positive.all()
        return (compute_detection_scores if both_classes else compute_one_class_scores)(answers, names)

    def judge_answers(self, rows: Rows, labels: Sequence[str], threshold: float) -> np.ndarray:
        answers = self.read_answers(rows, labels, threshold)
        # At the threshold, as the router acts: the more probable label may be another.
        right: np.ndarray = answers.flagged == answers.positive
        return right

    def score_slices(self, rows: Rows, labels: Sequence[str], threshold: float) -> DetectionSlices:
        return slice_detection(self.read_answers(rows, labels, threshold), rows)

    def choose_target(self, fpr: float | None, recall: float | None) -> Target | None:
        return self.default_target if fpr is None and recall is None else Target(fpr=fpr, recall=recall)

    def find_threshold_label(self, labels: Sequence[str]) -> str:
        return self.positive

    @property
    def acts_on(self) -> str:
        return self.positive

    @property
    def decisive(self) -> tuple[str, ...]:
        return (self.positive,)

    def measure_thresholds(
        self, validation: BySource, test: BySource, labels: Sequence[str], target: Target
    ) -> Thresholds:
        splits = (
            cast("AnswersBySource[DetectionAnswers]", validation),  # read_answers() of this head makes no others
            cast("AnswersBySource[DetectionAnswers]", test),
        )
        return choose_detection_threshold(*splits, self.positive, target)

    # Every text is either flagged or not: there is no third answer to abstain with.
    def measure_abstention(self, rows: Rows, labels: Sequence[str]) -> list[AbstentionStep] | None:
        return None

    # --- robustness ---

    robust: ClassVar[tuple[Metric, ...]] = (RECALL_AT_THRESHOLD, FPR_AT_THRESHOLD)

    def sample_rows(self, rows: Rows, labels: Sequence[str], materials: Materials) -> list[int]:
        positives = self.list_positives(rows, labels)
        negatives = sorted({*range(len(rows["label"]))} - {*positives})
        return sorted(materials.sample(positives) + materials.sample(negatives))

    def list_positives(self, rows: Rows, labels: Sequence[str]) -> list[int]:
        """Return the numbers of the rows that truly are what is looked for."""
        return [i for i, label in enumerate(rows["label"]) if labels[label] == self.positive]

    def list_probes(
        self, rows: Rows, labels: Sequence[str], threshold: float, materials: Materials
    ) -> Iterator[ProbePart]:
        yield from super().list_probes(rows, labels, threshold, materials)
        read = partial(self.read_answers, labels=labels, threshold=threshold)
        positives, nouns = self.list_positives(rows, labels), self.nouns(labels)
        if self.kinds:
            yield probe_kinds(rows, positives, self.kinds, nouns.positive, read)
        yield probe_places(rows, positives, nouns.positive, materials, read)
        yield probe_documents(list(labels).index(self.negative(labels)), materials, read)

    def count_flip_texts(self, rows: Rows, labels: Sequence[str], materials: Materials) -> int:
        return count_asked(len(materials.sample(self.list_positives(rows, labels))), len(materials.words))

    def search_flips(
        self,
        rows: Rows,
        labels: Sequence[str],
        threshold: float,
        materials: Materials,
        ask: Callable[[Sequence[str]], Column],
    ) -> Flips:
        positive = list(labels).index(self.positive)
        texts = [rows["text"][i] for i in materials.sample(self.list_positives(rows, labels))]
        return search_flips(
            texts,
            materials.words,
            threshold,
            lambda some: np.asarray(cast("Probabilities", ask(some)), dtype=float)[:, positive],
        )

    def predict_columns(
        self, classifier: Pipeline, rows: Rows, labels: Sequence[str], tick: Tick, temperature: float
    ) -> Rows:
        """Where the task names alarming words, ``alarming`` says whether a text holds one."""
        columns = super().predict_columns(classifier, rows, labels, tick, temperature)
        if not self.alarming:
            return columns
        # Beginnings of words: "hack" is to find "hacking" too, but not "shack".
        words = re.compile(rf"\b({'|'.join(self.alarming)})", re.IGNORECASE)
        # Computed here, as predictions hold no text: slices are functions of the predictions alone.
        return {"alarming": [bool(words.search(text)) for text in rows["text"]], **columns}

    def decide(self, prediction: object, labels: Sequence[str], threshold: float | None) -> Answer:
        row = cast("Sequence[float]", prediction)  # one of predict()'s
        probabilities = dict(zip(labels, row, strict=False))
        # Without a threshold the more probable of the two labels is the answer.
        score, limit = probabilities[self.positive], self.plain_threshold if threshold is None else threshold
        flagged = score >= limit
        return Answer(self.positive if flagged else self.negative(labels), score, flagged, limit, probabilities)

    @property
    def columns(self) -> dict[str, pa.DataType]:
        import pyarrow as pa

        return {"alarming": pa.bool_(), **super().columns}

    def list_plots(self, metrics: Metrics) -> tuple[Plot, ...]:
        # The labels of the model that was scored, whatever label set the task has by now.
        labels = [entry.label for entry in metrics.scores.per_class]
        return (CONFUSION, *make_detection_plots(self.nouns(labels)))

    # --- cards, releases and the Space ---

    card_metrics: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall", "accuracy", "roc_auc")

    def describe_for_space(self) -> dict[str, str]:
        return {"positive": self.positive}

    def negative(self, labels: Sequence[str]) -> str:
        """Return the label that is not looked for, of the two ``labels``."""
        return next(label for label in labels if label != self.positive)

    def nouns(self, labels: Sequence[str]) -> ClassNouns:
        """Return how cards call rows of the two ``labels``."""
        return ClassNouns(
            self.positive_noun or f"`{self.positive}` text", self.negative_noun or f"`{self.negative(labels)}` text"
        )
