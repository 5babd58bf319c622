"""Classification: one label a text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hubtools.errors import shorten
from hubtools.heads import thresholds
from hubtools.heads.answers import Answer
from hubtools.heads.base import AnswerDifference, Batch, Head, LabelPlan, Words
from hubtools.heads.baselines import answer_by_words
from hubtools.heads.encoding import encode_sequence
from hubtools.heads.inference import Tick, predict_probabilities
from hubtools.heads.plots import ABSTENTION, CONFUSION, Plot
from hubtools.heads.rows import LabelMap, UserColumns, describe_split, measure_lengths_by_label, read_text_and_label
from hubtools.heads.scores import ANOTHER, abstaining_scores, classification_scores
from hubtools.heads.slices import classification_mistakes, classification_slices
from hubtools.heads.values import Column, Pipeline, Rows
from hubtools.lazy_numpy import np
from hubtools.metrics.calibration import reliability
from hubtools.metrics.labels import (
    ACCURACY,
    ACCURACY_OF_ANSWERED,
    ANSWERED,
    MACRO_F1,
    WEIGHTED_F1,
    LabelAnswers,
    label_answers,
)
from hubtools.records.dataset import SplitFacts
from hubtools.records.metrics import AnsweredExample, LabelOutput, Metrics
from hubtools.records.scores import (
    Baseline,
    ClassificationBaseline,
    ClassificationScores,
    DetectionBaseline,
    NoScores,
    ScoresOnOtherData,
)
from hubtools.records.slices import ClassificationMistakes, ClassificationSlices, DetectionSlices, Mistakes
from hubtools.records.thresholds import AbstentionStep, SplitCalibration, Target, Thresholds
from hubtools.rows import Columns
from hubtools.spec import BadRow, Dropped, Example, LabelSet, Metric

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel

MOST_LIKELY = 5  # labels that an example shows


@dataclass(frozen=True)
class Classification(Head):
    """One label a text.

    Attributes:
        fallback: the label that an answer below the threshold becomes; "" where every answer counts.
    """

    name: ClassVar[str] = "classification"
    granularity: ClassVar[Literal["sequence", "token"]] = "sequence"
    pipeline: ClassVar[Literal["text-classification", "token-classification"]] = "text-classification"
    truth: ClassVar[str] = "label"
    answer: ClassVar[str] = "probabilities"
    column_advice: ClassVar[str] = "name your columns with --text-column and --label-column"

    fallback: str = ""

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        return label_set.labels

    # --- a task of one's own ---

    def default_question(self, labels: Sequence[str]) -> str:
        return f"Which of {', '.join(labels)} is the text?"

    # --- rows of a dataset ---

    def check_label(self, row: Example, label_set: LabelSet, others: Iterable[LabelSet]) -> None:
        if row.label in label_set.mapping:
            return
        if any(row.label in other.mapping for other in others):
            raise Dropped("label outside the label set")
        raise BadRow(f"unknown label {shorten(row.label, 60)!r}")

    def describe_label(self, row: Example) -> str:
        return row.label

    def audit_classes(self, row: Example) -> set[str]:
        return {row.label}

    def make_columns(self, rows: Sequence[Example], label_set: LabelSet) -> dict[str, list[Any]]:
        return {"label": [self.index_truth(row, label_set) for row in rows]}

    def make_features(self, label_set: LabelSet) -> dict[str, Any]:
        from datasets import ClassLabel

        return {"label": ClassLabel(names=list(label_set.labels))}

    def index_truth(self, row: Example, label_set: LabelSet) -> int:
        return label_set.labels.index(row.label)

    def name_truth(self, row: Example, truth: int, label_set: LabelSet) -> Example:
        return replace(row, label=label_set.labels[truth])

    def describe_split(self, rows: Sequence[Example], label_set: LabelSet) -> SplitFacts:
        return describe_split(rows, by_label=measure_lengths_by_label(rows, label_set.labels))

    def choose_user_columns(
        self, columns: Columns, seen: Sequence[str], label_map: LabelMap, types: set[str]
    ) -> UserColumns:
        return read_text_and_label(columns, label_map)

    # --- training ---

    few_shot: ClassVar[bool] = True

    def load_model(self, path: str, **options: Any) -> PreTrainedModel:
        from transformers import AutoModelForSequenceClassification

        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(path, **options)
        return model

    def dataset_labels(self, features: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(features["label"].names)

    def encode(self, batch: Batch, tokenizer: Any, max_length: int, label_set: LabelSet) -> dict[str, Any]:
        return encode_sequence(batch, tokenizer=tokenizer, max_length=max_length)

    def marked_spans(self, batch: Batch) -> None:
        return None

    def reduce_logits(self) -> None:
        return None

    def multitask_predictions(
        self, first: np.ndarray, best: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return first, labels[:, 0]

    # --- predictions and scores ---

    @property
    def headlines(self) -> tuple[Metric, ...]:
        return (ACCURACY, MACRO_F1, WEIGHTED_F1)

    selection: ClassVar[tuple[Metric, ...]] = (MACRO_F1, ACCURACY)
    words: ClassVar[Words] = Words(
        classifier="a text classifier",
        right="accuracy",
        lacking="rows of labels",
        others="an answer with one is wrong",
        others_note="an answer with one counts as wrong",
        threshold="Every answer counts, however unsure, but in what is said of those at a threshold.",
        unit="rows",
        answers="rows",
    )
    architecture: ClassVar[str] = "ForSequenceClassification"
    baseline_record: ClassVar[type[ClassificationBaseline] | type[DetectionBaseline]] = ClassificationBaseline
    default_target: ClassVar[Target] = Target(recall=0.95)

    @property
    def at_threshold(self) -> tuple[Metric, ...]:
        return (ANSWERED, ACCURACY_OF_ANSWERED) if self.fallback else ()

    def read_answers(self, truth: Column, answers: Any, labels: Sequence[str], threshold: float = 0.0) -> LabelAnswers:
        return label_answers(truth, answers, threshold)

    def read_evaluation(self, predictions: np.ndarray, label_ids: np.ndarray, labels: Sequence[str]) -> LabelAnswers:
        from scipy.special import softmax

        return self.read_answers(list(label_ids), softmax(predictions, axis=-1), labels)

    def score(self, rows: Rows, labels: Sequence[str], threshold: float) -> ClassificationScores:
        return classification_scores(self.read_answers(rows["label"], rows["probabilities"], labels), labels)

    def score_known(
        self, truth: Column, answers: Column, labels: Sequence[str], known: Collection[int],
        threshold: float,
    ) -> tuple[ScoresOnOtherData, set[int]]:  # fmt: skip
        """A row whose label the model does not have is not scored."""
        rows = [i for i, label in enumerate(truth) if label in known]
        if not rows:
            return NoScores(rows=0), set(truth)
        p = np.array([answers[i] for i in rows])
        names = [*labels, ANOTHER]
        if not p[:, len(labels) :].any():  # the model has no label but ours
            p, names = p[:, : len(labels)], list(labels)
        return self.score_answers(self.read_answers([truth[i] for i in rows], p, labels, threshold), names), set(truth)

    def score_answers(self, answers: Any, names: Sequence[str]) -> ScoresOnOtherData:
        """Return the scores of answers to other data, with those at the threshold where there is one."""
        return (abstaining_scores if self.threshold_label(names) else classification_scores)(answers, names)

    def pair_answers(
        self, truth: Column, a: Column, b: Column, labels: Sequence[str], known: Collection[int],
        threshold: float,
    ) -> tuple[LabelAnswers, LabelAnswers]:  # fmt: skip
        rows = [i for i, label in enumerate(truth) if label in known]
        y = [truth[i] for i in rows]
        one, two = (
            self.read_answers(y, np.array([given[i] for i in rows]).reshape(len(rows), -1), labels, threshold)
            if rows
            else self.read_answers([], np.zeros((0, len(labels))), labels, threshold)
            for given in (a, b)
        )
        return one, two

    def slice_scores(
        self, rows: Rows, labels: Sequence[str], threshold: float
    ) -> ClassificationSlices | DetectionSlices:
        return classification_slices(self.read_answers(rows["label"], rows["probabilities"], labels), rows)

    def find_mistakes(self, rows: Rows, labels: Sequence[str]) -> ClassificationMistakes:
        answers = self.read_answers(rows["label"], rows["probabilities"], labels)
        return classification_mistakes(answers, rows, labels)

    def calibration(self, rows: Rows, temperature: float) -> SplitCalibration:
        """What a probability was before the temperature follows from what it is: p^T, normalised."""
        p = np.asarray(rows["probabilities"], dtype=float)
        raw = np.power(p, temperature)
        right = p.argmax(1) == np.asarray(rows["label"])
        (ece_before, bins_before), (ece_after, bins_after) = (
            reliability(confidence, right) for confidence in ((raw / raw.sum(1, keepdims=True)).max(1), p.max(1))
        )
        return SplitCalibration(
            answers=len(right),
            ece_before=ece_before,
            ece_after=ece_after,
            bins_before=bins_before,
            bins_after=bins_after,
        )

    def target(self, fpr: float | None, recall: float | None) -> Target | None:
        if not self.fallback:
            return None
        return self.default_target if fpr is None and recall is None else Target(fpr=fpr, recall=recall)

    def threshold_label(self, labels: Sequence[str]) -> str:
        return self.fallback if self.fallback in labels else ""

    def choose_thresholds(
        self, validation: Rows, test: Rows, labels: Sequence[str], target: Target | None, default: float
    ) -> Thresholds | None:
        label = self.threshold_label(labels)
        if target is None or not label:
            return None
        splits = [self.read_answers(rows["label"], rows["probabilities"], labels) for rows in (validation, test)]
        return self.thresholds_of(splits[0], splits[1], labels, target, default)

    def thresholds_of(
        self, validation: Any, test: Any, labels: Sequence[str], target: Target, default: float
    ) -> Thresholds:
        """Return the thresholds for ``target``, which is there."""
        return thresholds.abstention_thresholds(validation, test, tuple(labels), self.fallback, target, default)

    # The word that thresholds.json has for it.
    threshold_kind: ClassVar[str] = "abstention"

    def shipped_threshold(self, content: Any) -> float | None:
        try:
            if content["kind"] == self.threshold_kind and content["label"] == self.acts_on:
                return float(content["threshold"])
        except (TypeError, KeyError, ValueError):
            pass  # somebody else's file of that name
        return None

    @property
    def acts_on(self) -> str:
        """The label that a threshold is about, whatever the label set."""
        return self.fallback

    def abstention_curve(self, rows: Rows, labels: Sequence[str]) -> list[AbstentionStep] | None:
        if not self.threshold_label(labels):
            return None
        return thresholds.abstention_curve(self.read_answers(rows["label"], rows["probabilities"], labels))

    def answer_baselines(self, train: Rows, texts: Sequence[str], labels: Sequence[str]) -> Mapping[str, Any]:
        return answer_by_words(train, texts, len(labels))

    def baseline(
        self, about: str, scores: Any, *, base: tuple[str, str | None] | None = None, version: str | None = None
    ) -> Baseline:
        values = {metric.key: getattr(scores, metric.key) for metric in self.headlines}
        return self.baseline_record(about=about, base=base, version=version, **values)

    def predict(
        self,
        classifier: Pipeline,
        plan: LabelPlan,
        texts: Sequence[str],
        labels: Sequence[str],
        tick: Tick = lambda _: None,
    ) -> list[Any]:
        names = [*plan.ours, *plan.others]
        out = []
        for row in predict_probabilities(classifier, texts, names, tick):
            mine = [0.0] * (len(labels) + 1)
            for name, p in zip(names, row, strict=True):
                if name in plan.ours:
                    mine[plan.ours[name]] += p
                else:
                    mine[-1] = max(mine[-1], p)  # one wrong label among many others is still one answer
            out.append(mine)
        return out

    def prediction_columns(
        self, classifier: Pipeline, rows: Rows, labels: Sequence[str], tick: Tick, temperature: float
    ) -> dict[str, Any]:
        return {
            "label": list(rows["label"]),
            "probabilities": predict_probabilities(classifier, list(rows["text"]), labels, tick),
        }

    @property
    def columns(self) -> dict[str, pa.DataType]:
        import pyarrow as pa

        return {"label": pa.int64(), "probabilities": pa.list_(pa.float64())}

    def answer_example(self, classifier: Pipeline, text: str, labels: Sequence[str]) -> AnsweredExample:
        [row] = predict_probabilities(classifier, [text], labels)
        best = sorted(zip(labels, row, strict=True), key=lambda pair: -pair[1])[:MOST_LIKELY]
        return AnsweredExample(text=text, output=[LabelOutput(label=label, score=round(p, 4)) for label, p in best])

    def label_widths(self, answers: Column) -> set[int]:
        return {len(p) for p in answers}

    def compare_answers(self, classifier: Pipeline, texts: Sequence[str], rows: Rows) -> AnswerDifference:
        config = classifier.model.config
        answers = predict_probabilities(classifier, texts, [config.id2label[i] for i in range(config.num_labels)])
        pairs = zip(answers, rows["probabilities"], strict=False)  # texts are the first of the rows
        return AnswerDifference(max(abs(a - b) for row, known in pairs for a, b in zip(row, known, strict=True)))

    def decide(self, prediction: Any, labels: Sequence[str], threshold: float | None) -> Answer:
        probabilities = dict(zip(labels, prediction, strict=False))  # behind them stands what is none of ours
        best = max(probabilities, key=probabilities.__getitem__)
        score, limit = probabilities[best], threshold if threshold is not None and self.fallback in labels else 0.0
        return Answer(best if score >= limit else self.fallback, score, False, limit, probabilities)

    def multitask_pairs(self, probabilities: Any, rows: Rows, row: int) -> Iterator[tuple[float, float]]:
        return zip(probabilities, rows["probabilities"][row], strict=True)

    def plots(self, metrics: Metrics) -> tuple[Plot, ...]:
        return (CONFUSION, *((ABSTENTION,) if metrics.abstention else ()))

    # --- cards, releases and the Space ---

    unit: ClassVar[str] = "rows"
    card_metrics: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall", "accuracy")

    def rows_shown(self, mistakes: Mistakes) -> frozenset[str]:
        if not isinstance(mistakes, ClassificationMistakes):
            return frozenset()
        shown = [mistake for pair in mistakes.pairs for mistake in pair.worst]
        return frozenset(mistake.id for mistake in (*shown, *(part.worst for part in mistakes.slices)))
