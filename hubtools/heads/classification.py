"""Classification: one label a text."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from hubtools.errors import shorten
from hubtools.heads import thresholds
from hubtools.heads.answers import Answer
from hubtools.heads.base import Head
from hubtools.heads.baselines import answer_by_words
from hubtools.heads.encoding import encode_sequence
from hubtools.heads.inference import (
    Tick,
    list_label_names,
    list_reading_columns,
    predict_probabilities,
    read_probabilities,
)
from hubtools.heads.plots import ABSTENTION, CONFUSION, Plot
from hubtools.heads.rows import LabelMap, UserColumns, describe_split, measure_lengths_by_label, read_text_and_label
from hubtools.heads.scores import (
    ANOTHER,
    compute_abstaining_scores,
    compute_classification_scores,
    read_groups,
    score_defined,
)
from hubtools.heads.slices import list_classification_mistakes, slice_classification
from hubtools.heads.thresholds import BySource, split_by_source
from hubtools.heads.unseen import select_known
from hubtools.heads.values import (
    AnswerDifference,
    Column,
    Encoded,
    LabelPlan,
    Pipeline,
    Predicted,
    Probabilities,
    Rows,
    TextProbabilities,
    Truth,
)
from hubtools.heads.wording import Words
from hubtools.lazy_numpy import np
from hubtools.metrics.calibration import measure_reliability
from hubtools.metrics.labels import (
    ACCURACY,
    ACCURACY_OF_ANSWERED,
    ANSWERED,
    MACRO_F1,
    WEIGHTED_F1,
    LabelAnswers,
    make_fallback_metric,
    read_label_answers,
)
from hubtools.records.dataset import SplitFacts
from hubtools.records.metrics import AnsweredExample, LabelOutput, Metrics
from hubtools.records.scores import (
    Baseline,
    ClassificationBaseline,
    ClassificationScores,
    DetectionBaseline,
    Interval,
    NoScores,
    Scores,
    ScoresOnOtherData,
)
from hubtools.records.slices import ClassificationMistakes, ClassificationSlices, DetectionSlices, Mistakes
from hubtools.records.thresholds import AbstentionStep, SplitCalibration, Target, Thresholds
from hubtools.rows import Columns
from hubtools.spec import BadRow, Dropped, Example, LabelSet, Metric

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Features
    from datasets.features.features import FeatureType
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

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
        # Another set of the task knows the label: the row is sound, and a choice of the user leaves it out.
        if any(row.label in other.mapping for other in others):
            raise Dropped("label outside the label set")
        raise BadRow(f"unknown label {shorten(row.label, 60)!r}")

    def describe_label(self, row: Example) -> str:
        return row.label

    def audit_classes(self, row: Example) -> set[str]:
        return {row.label}

    def make_columns(self, rows: Sequence[Example], label_set: LabelSet) -> dict[str, list[int]]:
        return {"label": [self.index_truth(row, label_set) for row in rows]}

    def make_features(self, label_set: LabelSet) -> dict[str, FeatureType]:
        from datasets import ClassLabel

        return {"label": ClassLabel(names=list(label_set.labels))}

    def index_truth(self, row: Example, label_set: LabelSet) -> int:
        return label_set.labels.index(row.label)

    def name_truth(self, row: Example, truth: Truth, label_set: LabelSet) -> Example:
        return replace(row, label=label_set.labels[cast("int", truth)])

    def describe_split(self, rows: Sequence[Example], label_set: LabelSet) -> SplitFacts:
        return describe_split(rows, by_label=measure_lengths_by_label(rows, label_set.labels))

    def choose_user_columns(
        self, columns: Columns, seen: Sequence[str], label_map: LabelMap, types: set[str]
    ) -> UserColumns:
        return read_text_and_label(columns, label_map)

    # --- training ---

    few_shot: ClassVar[bool] = True

    def load_model(self, path: str, **options: object) -> PreTrainedModel:
        from transformers import AutoModelForSequenceClassification

        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(path, **options)
        return model

    def read_label_names(self, features: Features) -> tuple[str, ...]:
        return tuple(features["label"].names)

    def encode(self, batch: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int, label_set: LabelSet) -> Encoded:
        return encode_sequence(batch, tokenizer=tokenizer, max_length=max_length)

    def select_spans(self, batch: Rows) -> None:
        return None

    def reduce_logits(self) -> None:
        return None

    def select_multitask_predictions(
        self, first: np.ndarray, best: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        # A text's label stands at its first position; the others are padded to the longest text of the token tasks.
        return first, labels[:, 0]

    # --- predictions and scores ---

    @property
    def headlines(self) -> tuple[Metric, ...]:
        return (ACCURACY, MACRO_F1, WEIGHTED_F1)

    robust: ClassVar[tuple[Metric, ...]] = (ACCURACY, MACRO_F1)
    # Macro F1 first: accuracy hardly moves when a rare class is lost.
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
    # Of the right answers: few of them are given up, whatever that catches of the wrong ones.
    default_target: ClassVar[Target] = Target(recall=0.95)

    @property
    def at_threshold(self) -> tuple[Metric, ...]:
        return (ANSWERED, ACCURACY_OF_ANSWERED) if self.fallback else ()

    def read_truth(self, rows: Rows) -> Sequence[int]:
        return rows["label"]

    def join_answers(self, truth: Column, answers: Column) -> Rows:
        # Both come from this head's own columns; their types were lost on the way through code for all heads.
        return {"label": cast("Sequence[int]", truth), "probabilities": cast("Probabilities", answers)}

    def read_answers(self, rows: Rows, labels: Sequence[str], threshold: float = 0.0) -> LabelAnswers:
        """Return truth and answers as the arrays that metrics are functions of.

        Args:
            labels: of the label set; a row of probabilities may have one more behind them.
        """
        return read_label_answers(rows["label"], rows["probabilities"], threshold)

    def read_evaluation(self, predictions: np.ndarray, label_ids: np.ndarray, labels: Sequence[str]) -> LabelAnswers:
        # The Trainer hands over logits; scores are functions of probabilities.
        from scipy.special import softmax

        return self.read_answers(self.join_answers(list(label_ids), softmax(predictions, axis=-1)), labels)

    def score(self, rows: Rows, labels: Sequence[str], threshold: float) -> ClassificationScores:
        return compute_classification_scores(self.read_answers(rows, labels), labels, read_groups(rows))

    def score_known(
        self, rows: Rows, labels: Sequence[str], known: Collection[int], threshold: float
    ) -> tuple[ScoresOnOtherData, set[int]]:
        """A row whose label the model does not have is not scored."""
        present = set(rows["label"])
        scored = select_known(rows, known)
        if not scored["label"]:
            return NoScores(rows=0), present
        p = np.array(scored["probabilities"])
        names = [*labels, ANOTHER]
        # Without a label beside ours the matrix has no column for it: a confusion of zeros would say nothing.
        if not p[:, len(labels) :].any():
            p, names = p[:, : len(labels)], list(labels)
        answers = self.read_answers(self.join_answers(scored["label"], p), labels, threshold)
        return self.score_answers(answers, names), present

    def list_unseen(self, labels: Sequence[str]) -> tuple[Metric, ...]:
        fallback = self.find_threshold_label(labels)
        reached = (make_fallback_metric(list(labels).index(fallback), fallback),) if fallback else ()
        return (ACCURACY, MACRO_F1, *reached)

    def score_unseen(
        self, rows: Rows, labels: Sequence[str], known: Collection[int], threshold: float
    ) -> dict[str, Interval | None]:
        """A row whose label the model does not have is not scored."""
        metrics, scored = self.list_unseen(labels), select_known(rows, known)
        if not scored["label"]:
            return {metric.key: None for metric in metrics}
        return score_defined(metrics, self.read_answers(scored, labels, threshold), read_groups(scored))

    def score_answers(self, answers: LabelAnswers, names: Sequence[str]) -> ScoresOnOtherData:
        """Return the scores of answers to other data, with those at the threshold where there is one."""
        return (compute_abstaining_scores if self.find_threshold_label(names) else compute_classification_scores)(
            answers, names
        )

    def pair_answers(
        self, a: Rows, b: Rows, labels: Sequence[str], known: Collection[int], threshold: float
    ) -> tuple[LabelAnswers, LabelAnswers]:
        # Both have the same truth, so that the same rows are left of each: the tests are paired.
        def select(rows: Rows) -> LabelAnswers:
            selected = select_known(rows, known)
            # The shape of no rows: an empty list would be an array without the axis of labels.
            p = np.array(selected["probabilities"]) if selected["label"] else np.zeros((0, len(labels)))
            return self.read_answers(self.join_answers(selected["label"], p), labels, threshold)

        return select(a), select(b)

    def judge_answers(self, rows: Rows, labels: Sequence[str], threshold: float) -> np.ndarray:
        # The label itself, as accuracy counts it: what a fallback makes of an unsure one is the router's choice.
        return self.read_answers(rows, labels, threshold).right

    def score_slices(
        self, rows: Rows, labels: Sequence[str], threshold: float
    ) -> ClassificationSlices | DetectionSlices:
        return slice_classification(self.read_answers(rows, labels), rows)

    def find_mistakes(self, rows: Rows, labels: Sequence[str]) -> ClassificationMistakes:
        return list_classification_mistakes(self.read_answers(rows, labels), rows, labels)

    def measure_calibration(self, rows: Rows, temperature: float) -> SplitCalibration:
        """What a probability was before the temperature follows from what it is: p^T, normalised."""
        p = np.asarray(rows["probabilities"], dtype=float)
        # softmax(z / T)^T is proportional to softmax(z): the model need not be asked a second time.
        raw = np.power(p, temperature)
        right = p.argmax(1) == np.asarray(rows["label"])
        (ece_before, bins_before), (ece_after, bins_after) = (
            measure_reliability(confidence, right)
            for confidence in ((raw / raw.sum(1, keepdims=True)).max(1), p.max(1))
        )
        return SplitCalibration(
            answers=len(right),
            ece_before=ece_before,
            ece_after=ece_after,
            bins_before=bins_before,
            bins_after=bins_after,
        )

    def choose_target(self, fpr: float | None, recall: float | None) -> Target | None:
        if not self.fallback:
            return None
        return self.default_target if fpr is None and recall is None else Target(fpr=fpr, recall=recall)

    def find_threshold_label(self, labels: Sequence[str]) -> str:
        # A label set of the task may do without the fallback; then every answer counts.
        return self.fallback if self.fallback in labels else ""

    def choose_thresholds(
        self, validation: Rows, test: Rows, labels: Sequence[str], target: Target | None
    ) -> Thresholds | None:
        label = self.find_threshold_label(labels)
        if target is None or not label:
            return None
        splits = [split_by_source(self.read_answers(rows, labels), rows) for rows in (validation, test)]
        return self.measure_thresholds(splits[0], splits[1], labels, target)

    def measure_thresholds(
        self, validation: BySource, test: BySource, labels: Sequence[str], target: Target
    ) -> Thresholds:
        """Return the threshold for ``target`` and what it gives; see :meth:`choose_thresholds`."""
        # Who names a share of right answers gets that; the default may give up some for everyday requests.
        everyday, names = target == self.default_target, tuple(labels)
        return thresholds.choose_abstention_threshold(validation, test, names, self.fallback, target, everyday=everyday)

    threshold_kind: ClassVar[str] = "abstention"
    needs_threshold: ClassVar[bool] = False

    @property
    def acts_on(self) -> str:
        return self.fallback

    def describe_for_space(self) -> dict[str, str]:
        return {"fallback": self.fallback}

    def measure_abstention(self, rows: Rows, labels: Sequence[str]) -> list[AbstentionStep] | None:
        if not self.find_threshold_label(labels):
            return None
        return thresholds.measure_abstention_curve(self.read_answers(rows, labels))

    def answer_baselines(self, train: Rows, texts: Sequence[str], labels: Sequence[str]) -> Mapping[str, Column]:
        return answer_by_words(train, texts, len(labels))

    def make_baseline(
        self, about: str, scores: Scores, *, base: tuple[str, str | None] | None = None, version: str | None = None
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
    ) -> Predicted:
        # Labels that are to be ignored are not asked for; the others keep their probabilities as they are.
        names = [*plan.ours, *plan.others]
        # Several of theirs may be what is looked for.
        decides = [name for name, label in plan.ours.items() if labels[label] in self.decisive]
        predicted = read_probabilities(classifier, texts, names, self.window, decides, tick)
        answers = []
        for row in cast("list[list[float]]", predicted.answers):
            probabilities = [0.0] * (len(labels) + 1)
            for name, p in zip(names, row, strict=True):
                if name in plan.ours:
                    # Several of theirs may be one of ours: "insult" and "threat" are both "toxic".
                    probabilities[plan.ours[name]] += p
                else:
                    probabilities[-1] = max(probabilities[-1], p)  # one wrong label among many is still one answer
            answers.append(probabilities)
        return replace(predicted, answers=answers)

    def predict_columns(
        self, classifier: Pipeline, rows: Rows, labels: Sequence[str], tick: Tick, temperature: float
    ) -> Rows:
        predicted = read_probabilities(classifier, list(rows["text"]), labels, self.window, self.decisive, tick)
        answers = cast("list[list[float]]", predicted.answers)
        return {"label": list(rows["label"]), "probabilities": answers, **predicted.reading}

    # As wide as the values that arithmetic is done with: thresholds are chosen between two neighbouring scores.
    @property
    def columns(self) -> dict[str, pa.DataType]:
        import pyarrow as pa

        return {"label": pa.int64(), "probabilities": pa.list_(pa.float64()), **list_reading_columns()}

    def answer_example(self, classifier: Pipeline, text: str, labels: Sequence[str]) -> AnsweredExample:
        [row] = predict_probabilities(classifier, [text], labels)
        best = sorted(zip(labels, row, strict=True), key=lambda pair: -pair[1])[:MOST_LIKELY]
        return AnsweredExample(text=text, output=[LabelOutput(label=label, score=round(p, 4)) for label, p in best])

    def label_counts(self, rows: Rows) -> set[int]:
        return {len(p) for p in rows["probabilities"]}

    def compare_answers(self, classifier: Pipeline, texts: Sequence[str], rows: Rows) -> AnswerDifference:
        # Texts are the first of the rows. An earlier version recorded what pipeline() answers, and no windows.
        windows = rows.get("windows", [1] * len(texts))
        numbers = range(len(texts))
        names = list_label_names(classifier.model.config)
        short = [i for i in numbers if windows[i] == 1]
        answered = dict(zip(short, predict_probabilities(classifier, [texts[i] for i in short], names), strict=True))
        differences = [
            abs(p - q) for i, row in answered.items() for p, q in zip(row, rows["probabilities"][i], strict=True)
        ]
        if "windows" in rows:
            read = read_probabilities(classifier, texts, names, self.window, self.decisive).answers
            pairs = zip(cast("list[list[float]]", read), rows["probabilities"], strict=False)
            differences += [abs(p - q) for row, recorded in pairs for p, q in zip(row, recorded, strict=True)]
        return AnswerDifference(max(differences))

    def decide(self, prediction: object, labels: Sequence[str], threshold: float | None) -> Answer:
        row = cast("Sequence[float]", prediction)  # one of predict()'s
        probabilities = dict(zip(labels, row, strict=False))  # behind them stands what is none of ours
        # In a label set without the fallback every answer counts.
        best = max(probabilities, key=probabilities.__getitem__)
        score, limit = probabilities[best], threshold if threshold is not None and self.fallback in labels else 0.0
        return Answer(best if score >= limit else self.fallback, score, False, limit, probabilities)

    def pair_multitask_answers(
        self, probabilities: TextProbabilities, rows: Rows, row: int
    ) -> Iterator[tuple[float, float]]:
        return zip(cast("list[float]", probabilities), rows["probabilities"][row], strict=True)

    def list_plots(self, metrics: Metrics) -> tuple[Plot, ...]:
        return (CONFUSION, *((ABSTENTION,) if metrics.abstention else ()))

    # --- cards, releases and the Space ---

    unit: ClassVar[str] = "rows"
    card_metrics: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall", "accuracy")

    def list_shown_rows(self, mistakes: Mistakes) -> frozenset[str]:
        # A release of another head may lie in the repo: its mistakes name no rows of these.
        if not isinstance(mistakes, ClassificationMistakes):
            return frozenset()
        shown = [mistake for pair in mistakes.pairs for mistake in pair.worst]
        return frozenset(mistake.id for mistake in (*shown, *(part.worst for part in mistakes.slices)))
