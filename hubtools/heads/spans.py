"""Spans: stretches of a text, each of one type; BIO tags over subwords."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from hubtools.heads.answers import Answer, AnsweredSpan
from hubtools.heads.base import AnswerDifference, Batch, Head, LabelPlan, Words
from hubtools.heads.baselines import answer_by_rules
from hubtools.heads.encoding import IGNORED, encode_tokens
from hubtools.heads.inference import Tick, predict_spans, predict_tokens
from hubtools.heads.plots import TYPES, Plot
from hubtools.heads.rows import LabelMap, UserColumns, describe_split
from hubtools.heads.scores import span_scores
from hubtools.heads.slices import span_mistakes, span_slices
from hubtools.heads.span_rows import (
    OUTSIDE,
    SPLIT_WORD,
    index_spans,
    make_span_columns,
    make_span_features,
    name_spans,
    survive_tagging,
)
from hubtools.heads.user_spans import choose_span_columns
from hubtools.heads.values import Column, Pipeline, Rows, SpanValues
from hubtools.lazy_numpy import np
from hubtools.metrics.calibration import reliability
from hubtools.metrics.spans import (
    COVERED,
    ENTITY_F1,
    ENTITY_PRECISION,
    ENTITY_RECALL,
    FALSE_ALARMS,
    MACRO_F1_OF_TYPES,
    OVERLAP_F1,
    SpanAnswers,
    SpanRow,
    answers_of_tags,
    span_answers,
)
from hubtools.records.dataset import SplitFacts
from hubtools.records.metrics import AnsweredExample, Metrics, SpanOutput
from hubtools.records.scores import Baseline, ScoresOnOtherData, SpanBaseline, SpanScores
from hubtools.records.slices import Mistakes, SpanMistakes, SpanSlices
from hubtools.records.thresholds import SpanPoint, SpanRates, SpanThresholds, SplitCalibration, Target, Thresholds
from hubtools.rows import Columns
from hubtools.spec import Example, LabelSet, Metric

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from transformers import PreTrainedModel

_PREFIX = re.compile(r"[BILUES]-(?=.)")


@dataclass(frozen=True)
class Spans(Head):
    """Stretches of a text, each of one type.

    Attributes:
        content: what spans hold, as cards call it: a noun without an article or a plural, such as "personal data".
    """

    name: ClassVar[str] = "spans"
    granularity: ClassVar[Literal["sequence", "token"]] = "token"
    pipeline: ClassVar[Literal["text-classification", "token-classification"]] = "token-classification"
    truth: ClassVar[str] = "spans"
    answer: ClassVar[str] = "predicted_spans"

    column_advice: ClassVar[str] = (
        "name your columns: --text-column and --label-column (the spans), or --tokens-column and --tags-column"
    )
    reads_tags: ClassVar[bool] = True

    content: str = "marked text"

    @property
    def no_spans(self) -> str:
        """What a text without any span is called, in the audit file and on the dataset's card."""
        return f"no {self.content}"

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return ``O``, then B- and I- of each type: the router drops index 0."""
        return ("O", *(f"{prefix}-{t}" for t in label_set.labels for prefix in "BI"))

    # --- a task of one's own ---

    # A tag is B- or I- before the type, and O stands for none.
    label_pattern: ClassVar[str] = r"(?!O$)\w[\w.-]{0,63}"
    label_rule: ClassVar[str] = "a letter or digit, then letters, digits and . - _, 64 at most, and not O"
    least_labels: ClassVar[int] = 1

    def default_question(self, labels: Sequence[str]) -> str:
        return f"Where does the text hold {', '.join(labels)}?"

    # --- rows of a dataset ---

    def find_defect(self, row: Example, label_set: LabelSet) -> str:
        """Return "" where the spans come back from the tags of words: a model that tags words cannot mark others."""
        spans = label_set.mapped(row).spans
        return "" if survive_tagging(row.text, spans, label_set.labels) else SPLIT_WORD

    def describe_label(self, row: Example) -> str:
        return ", ".join(f"{span.type}: {row.text[span.start : span.end]!r}" for span in row.spans) or self.no_spans

    def audit_classes(self, row: Example) -> set[str]:
        return {span.type for span in row.spans} or {self.no_spans}

    def list_audit_classes(self, label_set: LabelSet) -> tuple[str, ...]:
        return (*label_set.labels, self.no_spans)

    def make_columns(self, rows: Sequence[Example], label_set: LabelSet) -> dict[str, list[Any]]:
        return make_span_columns(rows, label_set)

    def make_features(self, label_set: LabelSet) -> dict[str, Any]:
        return make_span_features(label_set.labels, self.model_labels(label_set))

    def index_truth(self, row: Example, label_set: LabelSet) -> list[dict[str, int]]:
        return index_spans(row.spans, label_set.labels)

    def name_truth(self, row: Example, truth: Sequence[Mapping[str, int]], label_set: LabelSet) -> Example:
        return replace(row, spans=name_spans(truth, label_set.labels))

    def describe_split(self, rows: Sequence[Example], label_set: LabelSet) -> SplitFacts:
        return describe_split(rows, without_spans=sum(not row.spans for row in rows))

    def choose_user_columns(
        self, columns: Columns, seen: Sequence[str], label_map: LabelMap, types: set[str]
    ) -> UserColumns:
        return choose_span_columns(columns, seen, label_map, types)

    def list_map_targets(self, label_set: LabelSet) -> list[str]:
        """Return the types, and ``O``, which leaves a span out and keeps its row."""
        return [*super().list_map_targets(label_set), OUTSIDE]

    # --- training ---

    # Most tokens are no personal data and soon easy: their mean loss is small beside that of whole texts, and so would
    # be what they learn. On the validation splits of the starter corpora, one epoch of the nano model reached a mean of
    # 0.736 and 0.732 with weights of 12 and 30, and the spans themselves 0.63 and 0.66.
    loss_weight: ClassVar[float] = 12.0

    def load_model(self, path: str, **options: Any) -> PreTrainedModel:
        from transformers import AutoModelForTokenClassification

        model: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(path, **options)
        return model

    def dataset_labels(self, features: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(features["spans"].feature["label"].names)

    def encode(self, batch: Batch, tokenizer: Any, max_length: int, label_set: LabelSet) -> dict[str, Any]:
        return encode_tokens(batch, tokenizer=tokenizer, max_length=max_length, types=len(label_set.labels))

    def marked_spans(self, batch: Batch) -> list[list[Mapping[str, int]]]:
        return batch["spans"]

    def reduce_logits(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        return lambda logits, labels: logits.argmax(-1)

    def multitask_predictions(
        self, first: np.ndarray, best: np.ndarray, labels: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return best, labels

    # --- predictions and scores ---

    @property
    def headlines(self) -> tuple[Metric, ...]:
        return (
            ENTITY_F1,
            ENTITY_PRECISION,
            ENTITY_RECALL,
            OVERLAP_F1,
            MACRO_F1_OF_TYPES,
            replace(COVERED, title=f"characters of {self.content} found"),
            replace(FALSE_ALARMS, title=f"false alarms on documents without {self.content}"),
        )

    selection: ClassVar[tuple[Metric, ...]] = (ENTITY_F1, ENTITY_PRECISION, ENTITY_RECALL)
    words: ClassVar[Words] = Words(
        classifier="a token classifier",
        right="documents without a mistake",
        lacking="types",
        others="spans of them are not counted",
        others_note="its spans of these are not counted",
        threshold="",
        unit="spans",
        answers="tokens",
    )
    architecture: ClassVar[str] = "ForTokenClassification"
    outside: ClassVar[str] = "O"

    def read_answers(self, truth: Column, answers: Any, labels: Sequence[str], threshold: float = 0.0) -> SpanAnswers:
        return span_answers(truth, answers, len(labels))

    def read_evaluation(self, predictions: np.ndarray, label_ids: np.ndarray, labels: Sequence[str]) -> SpanAnswers:
        names = np.array(["O", *(f"{prefix}-{t}" for t in labels for prefix in "BI")])
        kept = [row != IGNORED for row in label_ids]
        true, predicted = (
            [names[row[counted]].tolist() for row, counted in zip(side, kept, strict=True)]
            for side in (label_ids, predictions)
        )
        return answers_of_tags(true, predicted, labels)

    def score(self, rows: Rows, labels: Sequence[str], threshold: float) -> SpanScores:
        return span_scores(self.read_answers(rows[self.truth], rows[self.answer], labels), labels)

    def score_known(
        self, truth: Column, answers: Column, labels: Sequence[str], known: Collection[int],
        threshold: float,
    ) -> tuple[ScoresOnOtherData, set[int]]:  # fmt: skip
        """Only types that the data mark somewhere count: what nobody marked cannot be told from a false alarm."""
        marked = {span["label"] for spans in truth for span in spans}
        kept = sorted(marked & set(known))
        true, predicted = (select_types(rows, kept) for rows in (truth, answers))
        return span_scores(span_answers(true, predicted, len(kept)), [labels[i] for i in kept]), marked

    def pair_answers(
        self, truth: Column, a: Column, b: Column, labels: Sequence[str], known: Collection[int],
        threshold: float,
    ) -> tuple[SpanAnswers, SpanAnswers]:  # fmt: skip
        kept = sorted({span["label"] for spans in truth for span in spans} & set(known))
        true, one, two = (select_types(rows, kept) for rows in (truth, a, b))
        return span_answers(true, one, len(kept)), span_answers(true, two, len(kept))

    def slice_scores(self, rows: Rows, labels: Sequence[str], threshold: float) -> SpanSlices:
        return span_slices(self.read_answers(rows[self.truth], rows[self.answer], labels), rows)

    def find_mistakes(self, rows: Rows, labels: Sequence[str]) -> SpanMistakes:
        return span_mistakes(rows, self.truth, self.answer, labels)

    def calibration(self, rows: Rows, temperature: float) -> SplitCalibration:
        """An answer is a token; what a user sees are spans, whose score is the mean of their tokens'."""
        tokens = [token for row in rows["tokens"] for token in row]
        right = np.array([token["label"] == token["answer"] for token in tokens])
        (ece_before, bins_before), (ece_after, bins_after) = (
            reliability(np.array([token[key] for token in tokens]), right) for key in ("raw", "confidence")
        )
        true = [{(s["start"], s["end"], s["label"]) for s in row} for row in rows[self.truth]]
        shown = [
            (s["score"], (s["start"], s["end"], s["label"]) in true[i])
            for i, row in enumerate(rows[self.answer])
            for s in row
        ]
        confidence, exact = (np.array([span[k] for span in shown], dtype=float) for k in (0, 1))
        return SplitCalibration(
            answers=len(right),
            ece_before=ece_before,
            ece_after=ece_after,
            bins_before=bins_before,
            bins_after=bins_after,
            spans=len(shown),
            ece_of_spans=reliability(confidence, exact)[0] if shown else None,
        )

    def choose_thresholds(
        self, validation: Rows, test: Rows, labels: Sequence[str], target: Target | None, default: float
    ) -> Thresholds | None:
        """Every span counts; beside that, what the router's default would leave."""
        kept = [[span for span in spans if span["score"] >= default] for spans in test[self.answer]]
        scores = span_scores(self.read_answers(test[self.truth], kept, labels), labels)
        rates = SpanRates(
            entity_precision=scores.entity_precision,
            entity_recall=scores.entity_recall,
            entity_f1=scores.entity_f1,
            covered=scores.covered,
            false_alarms=scores.false_alarms,
        )
        point = SpanPoint(threshold=default, test=rates)
        return SpanThresholds(kind="spans", threshold=0.0, target=None, router_default=point)

    def answer_baselines(self, train: Rows, texts: Sequence[str], labels: Sequence[str]) -> Mapping[str, Any]:
        return answer_by_rules(texts, labels)

    def baseline(
        self, about: str, scores: Any, *, base: tuple[str, str | None] | None = None, version: str | None = None
    ) -> Baseline:
        values = {metric.key: getattr(scores, metric.key) for metric in self.headlines}
        return SpanBaseline(about=about, version=version, **values)

    def predict(
        self,
        classifier: Pipeline,
        plan: LabelPlan,
        texts: Sequence[str],
        labels: Sequence[str],
        tick: Tick = lambda _: None,
    ) -> list[Any]:
        named = {*plan.ours, *plan.ignored, *plan.others}
        groups = (str(label) for label in classifier.model.config.id2label.values())
        unnamed = sorted({g[2:] if g[:2] in ("B-", "I-") else g for g in groups} - named)
        types = [*plan.ours, *plan.ignored, *plan.others, *unnamed]
        return [
            [{**s, "label": plan.ours[types[s["label"]]]} for s in row if types[s["label"]] in plan.ours]
            for row in predict_spans(classifier, texts, types, tick)
        ]

    def prediction_columns(
        self, classifier: Pipeline, rows: Rows, labels: Sequence[str], tick: Tick, temperature: float
    ) -> dict[str, Any]:
        texts, true = list(rows["text"]), list(rows[self.truth])
        return {
            self.truth: true,
            self.answer: predict_spans(classifier, texts, labels, tick),
            "tokens": predict_tokens(classifier, texts, true, len(labels), temperature),
        }

    @property
    def columns(self) -> dict[str, pa.DataType]:
        import pyarrow as pa

        span = [("start", pa.int32()), ("end", pa.int32()), ("label", pa.int64())]
        token = [("label", pa.int16()), ("answer", pa.int16()), ("confidence", pa.float32()), ("raw", pa.float32())]
        return {
            self.truth: pa.list_(pa.struct(span)),
            self.answer: pa.list_(pa.struct([*span, ("score", pa.float64())])),
            "tokens": pa.list_(pa.struct(token)),
        }

    def answer_example(self, classifier: Pipeline, text: str, labels: Sequence[str]) -> AnsweredExample:
        [spans] = predict_spans(classifier, [text], labels)
        return AnsweredExample(
            text=text,
            output=[
                SpanOutput(
                    entity_group=labels[s["label"]],
                    score=round(s["score"], 4),
                    start=s["start"],
                    end=s["end"],
                    word=text[s["start"] : s["end"]],
                )
                for s in spans
            ],
        )

    def short_labels(self, names: Sequence[str]) -> dict[str, str]:
        """Entity types, as transformers names the groups of its spans, without the prefixes of other schemes."""
        groups = dict.fromkeys(n[2:] if n[:2] in ("B-", "I-") else n for n in names if n != self.outside)
        return {name: _PREFIX.sub("", name) for name in groups}

    def compare_answers(self, classifier: Pipeline, texts: Sequence[str], rows: Rows) -> AnswerDifference:
        config = classifier.model.config
        tags = [config.id2label[i] for i in range(config.num_labels)]
        types = [tag[2:] for tag in tags if tag.startswith("B-")]
        largest = 0.0
        for known, spans in zip(rows[self.answer], predict_spans(classifier, texts, types), strict=False):
            if [(s["start"], s["end"], s["label"]) for s in known] != [
                (s["start"], s["end"], s["label"]) for s in spans
            ]:
                return AnswerDifference(1.0, str(known), str(spans))
            largest = max([largest, *(abs(a["score"] - b["score"]) for a, b in zip(known, spans, strict=True))])
        return AnswerDifference(largest)

    def decide(self, prediction: Any, labels: Sequence[str], threshold: float | None) -> Answer:
        limit = threshold or 0.0
        spans = tuple(
            AnsweredSpan(span["start"], span["end"], labels[span["label"]], span["score"])
            for span in sorted(prediction, key=lambda span: (span["start"], span["end"]))
            if span["score"] >= limit
        )
        return Answer("", max((span.score for span in spans), default=0.0), bool(spans), limit, spans=spans)

    def multitask_pairs(self, probabilities: Any, rows: Rows, row: int) -> Iterator[tuple[float, float]]:
        tokens = rows["tokens"][row]
        return ((p[token["answer"]], token["confidence"]) for p, token in zip(probabilities, tokens, strict=True))

    def plots(self, metrics: Metrics) -> tuple[Plot, ...]:
        return (TYPES,)

    # --- cards, releases and the Space ---

    unit: ClassVar[str] = "documents"
    card_metrics: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall")

    def rows_shown(self, mistakes: Mistakes) -> frozenset[str]:
        """Return no id: a mistake is told by its type, its length and its row, and what a span holds may be private."""
        return frozenset()


def select_types(rows: Sequence[SpanRow], types: Sequence[int]) -> list[list[SpanValues]]:
    """Return the spans of ``types`` alone, their labels as indices of it."""
    place = {label: i for i, label in enumerate(types)}
    return [[{**span, "label": place[span["label"]]} for span in row if span["label"] in place] for row in rows]
