"""Spans: stretches of a text, each of one type; BIO tags over subwords."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from hubtools.heads.answers import Answer, AnsweredSpan
from hubtools.heads.base import Head
from hubtools.heads.baselines import answer_by_rules
from hubtools.heads.encoding import encode_tokens
from hubtools.heads.inference import Tick, list_reading_columns, predict_spans
from hubtools.heads.plots import TYPES, Plot
from hubtools.heads.probes import Materials, ProbePart
from hubtools.heads.rows import LabelMap, UserColumns, describe_split
from hubtools.heads.scores import compute_span_scores, read_groups, score_defined
from hubtools.heads.slices import list_span_mistakes, slice_spans
from hubtools.heads.span_predictions import (
    compare_spans,
    list_other_decodings,
    measure_span_calibration,
    predict_decided_spans,
    predict_span_columns,
)
from hubtools.heads.span_probes import probe_names, probe_others
from hubtools.heads.span_rows import (
    SPLIT_WORD,
    index_spans,
    make_span_columns,
    make_span_features,
    name_spans,
    survive_tagging,
    widen_to_words,
)
from hubtools.heads.user_spans import choose_span_columns
from hubtools.heads.values import (
    IGNORED,
    AnswerDifference,
    Column,
    Encoded,
    LabelPlan,
    Pipeline,
    Predicted,
    PredictedSpan,
    Rows,
    TextProbabilities,
    Truth,
)
from hubtools.heads.word_marks import clear_marks, tag_by_words
from hubtools.heads.wording import Words
from hubtools.lazy_numpy import np
from hubtools.metrics.spans import (
    COVERED,
    ENTITY_F1,
    ENTITY_PRECISION,
    ENTITY_RECALL,
    FALSE_ALARMS,
    FALSE_SPANS,
    MACRO_F1_OF_TYPES,
    OVERLAP_F1,
    OVERLAP_RECALL,
    WORD_F1,
    SpanAnswers,
    SpanDict,
    SpanRow,
    read_span_answers,
    read_tag_answers,
)
from hubtools.reading import OUTSIDE, Window
from hubtools.records.dataset import SplitFacts
from hubtools.records.metrics import AnsweredExample, Metrics, SpanOutput
from hubtools.records.scores import Baseline, Interval, Scores, ScoresOnOtherData, SpanBaseline, SpanScores
from hubtools.records.slices import Mistakes, SpanMistakes, SpanSlices
from hubtools.records.thresholds import SpanThresholds, SplitCalibration, Target, Thresholds
from hubtools.rows import Columns
from hubtools.spec import Example, LabelSet, Metric

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from datasets import Features
    from datasets.features.features import FeatureType
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Of all schemes that models of others are trained with: BIO, BILOU, BIOES.
_PREFIX = re.compile(r"[BILUES]-(?=.)")


@dataclass(frozen=True)
class Spans(Head):
    """Stretches of a text, each of one type.

    Attributes:
        content: what spans hold, as cards call it: a noun without an article or a plural, such as "personal data".
        person: the type of people's names, "" for none.
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
    window: ClassVar[Window | None] = Window()  # a span may stand anywhere

    # So that a card can say "false alarms on documents without personal data" of any task.
    content: str = "marked text"
    person: str = ""

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
        # Of the types of this label set alone: what it leaves out is not tagged either.
        spans = label_set.map_labels(row).spans
        return "" if survive_tagging(row.text, spans, label_set.labels) else SPLIT_WORD

    def describe_label(self, row: Example) -> str:
        return ", ".join(f"{span.type}: {row.text[span.start : span.end]!r}" for span in row.spans) or self.no_spans

    def audit_classes(self, row: Example) -> set[str]:
        return {span.type for span in row.spans} or {self.no_spans}

    def list_audit_classes(self, label_set: LabelSet) -> tuple[str, ...]:
        return (*label_set.labels, self.no_spans)

    def make_columns(self, rows: Sequence[Example], label_set: LabelSet) -> Mapping[str, Sequence[object]]:
        return make_span_columns(rows, label_set)

    def make_features(self, label_set: LabelSet) -> dict[str, FeatureType]:
        return make_span_features(label_set.labels, self.model_labels(label_set))

    def index_truth(self, row: Example, label_set: LabelSet) -> list[SpanDict]:
        return index_spans(row.spans, label_set.labels)

    def name_truth(self, row: Example, truth: Truth, label_set: LabelSet) -> Example:
        return replace(row, spans=name_spans(cast("Sequence[SpanDict]", truth), label_set.labels))

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

    def load_model(self, path: str, **options: object) -> PreTrainedModel:
        from transformers import AutoModelForTokenClassification

        model: PreTrainedModel = AutoModelForTokenClassification.from_pretrained(path, **options)
        return model

    def read_label_names(self, features: Features) -> tuple[str, ...]:
        return tuple(features["spans"].feature["label"].names)

    def encode(self, batch: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int, label_set: LabelSet) -> Encoded:
        return encode_tokens(batch, tokenizer=tokenizer, max_length=max_length, types=len(label_set.labels))

    def select_spans(self, batch: Rows) -> Sequence[Sequence[SpanDict]]:
        return batch["spans"]

    def reduce_logits(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        # Logits of all tokens of a split would fill the memory; their best tags are enough to score spans.
        return tag_by_words

    def select_multitask_predictions(
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

    # Strict first: a name cut in half is not redacted.
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

    def read_truth(self, rows: Rows) -> Sequence[Sequence[SpanDict]]:
        return rows["spans"]

    def join_answers(self, truth: Column, answers: Column) -> Rows:
        # Both come from this head's own columns; their types were lost on the way through code for all heads. The spans
        # of a baseline may lack a score, which nothing that is computed for it looks at.
        return {
            "spans": cast("Sequence[Sequence[SpanDict]]", truth),
            "predicted_spans": cast("Sequence[Sequence[PredictedSpan]]", answers),
        }

    def read_answers(self, rows: Rows, labels: Sequence[str], threshold: float = 0.0) -> SpanAnswers:
        """Return true and predicted spans as the counts that metrics are functions of: every span counts."""
        return read_span_answers(rows["spans"], rows["predicted_spans"], len(labels))

    def read_evaluation(self, predictions: np.ndarray, label_ids: np.ndarray, labels: Sequence[str]) -> SpanAnswers:
        names = np.array(["O", *(f"{prefix}-{t}" for t in labels for prefix in "BI")])
        # Special tokens and padding belong to no word: what is predicted there does not count.
        is_token = [row != IGNORED for row in label_ids]
        label_ids = clear_marks(label_ids)
        true, predicted = (
            [names[row[mask]].tolist() for row, mask in zip(side, is_token, strict=True)]
            for side in (label_ids, predictions)
        )
        return read_tag_answers(true, predicted, labels)

    def score(self, rows: Rows, labels: Sequence[str], threshold: float) -> SpanScores:
        return compute_span_scores(self.read_answers(rows, labels), labels, read_groups(rows))

    def score_other_decodings(self, rows: Rows, labels: Sequence[str]) -> dict[str, Baseline]:
        found = {}
        for name, (about, spans) in list_other_decodings(rows).items():
            answers = read_span_answers(rows["spans"], spans, len(labels))
            found[name] = self.make_baseline(about, compute_span_scores(answers, labels, read_groups(rows)))
        return found

    def score_known(
        self, rows: Rows, labels: Sequence[str], known: Collection[int], threshold: float
    ) -> tuple[ScoresOnOtherData, set[int]]:
        """Only types that the data annotate somewhere count: of others, a right span would be a false alarm."""
        annotated = {span["label"] for spans in rows["spans"] for span in spans}
        types = sorted(annotated & set(known))
        return compute_span_scores(_answers_of_types(rows, types), [labels[i] for i in types]), annotated

    def list_unseen(self, labels: Sequence[str]) -> tuple[Metric, ...]:
        return (ENTITY_F1, WORD_F1, FALSE_SPANS)

    def score_unseen(
        self, rows: Rows, labels: Sequence[str], known: Collection[int], threshold: float
    ) -> dict[str, Interval | None]:
        """Only types that the data annotate somewhere count; where they annotate none, every span is a false alarm."""
        annotated = {span["label"] for spans in rows["spans"] for span in spans} & set(known)
        types, groups = sorted(annotated or known), read_groups(rows)
        scores = score_defined(
            (ENTITY_F1, FALSE_SPANS) if annotated else (FALSE_SPANS,), _answers_of_types(rows, types), groups
        )
        if annotated and "text" in rows:
            sides = (rows["spans"], rows["predicted_spans"])
            true, predicted = (list(map(widen_to_words, rows["text"], side)) for side in sides)
            words = _answers_of_types(self.join_answers(true, predicted), types)
            scores |= score_defined((WORD_F1,), words, groups)
        return {metric.key: scores.get(metric.key) for metric in self.list_unseen(labels)}

    def pair_answers(
        self, a: Rows, b: Rows, labels: Sequence[str], known: Collection[int], threshold: float
    ) -> tuple[SpanAnswers, SpanAnswers]:
        types = sorted({span["label"] for spans in a["spans"] for span in spans} & set(known))
        return _answers_of_types(a, types), _answers_of_types(b, types)

    def judge_answers(self, rows: Rows, labels: Sequence[str], threshold: float) -> np.ndarray:
        return self.read_answers(rows, labels).right

    def score_slices(self, rows: Rows, labels: Sequence[str], threshold: float) -> SpanSlices:
        return slice_spans(self.read_answers(rows, labels), rows)

    def find_mistakes(self, rows: Rows, labels: Sequence[str]) -> SpanMistakes:
        return list_span_mistakes(rows, labels)

    def measure_calibration(self, rows: Rows, temperature: float) -> SplitCalibration:
        return measure_span_calibration(rows)

    robust: ClassVar[tuple[Metric, ...]] = (ENTITY_F1, OVERLAP_RECALL, FALSE_ALARMS)

    def list_probes(
        self, rows: Rows, labels: Sequence[str], threshold: float, materials: Materials
    ) -> Iterator[ProbePart]:
        yield from super().list_probes(rows, labels, threshold, materials)
        if self.person in labels:
            person = list(labels).index(self.person)
            if names := probe_names(rows, person, materials, lambda some: _answers_of_types(some, [person])):
                yield names
            yield probe_others(materials, lambda some: _answers_of_types(some, [person]))

    threshold_kind: ClassVar[str] = "spans"

    def choose_thresholds(
        self, validation: Rows, test: Rows, labels: Sequence[str], target: Target | None
    ) -> Thresholds | None:
        return SpanThresholds(kind="spans", threshold=0.0, target=None)

    def answer_baselines(self, train: Rows, texts: Sequence[str], labels: Sequence[str]) -> Mapping[str, Column]:
        return answer_by_rules(texts, labels)

    def make_baseline(
        self, about: str, scores: Scores, *, base: tuple[str, str | None] | None = None, version: str | None = None
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
    ) -> Predicted:
        # A plan may name a type with the prefix of a scheme that pipeline() does not know, such as U-.
        ours = {_PREFIX.sub("", name): label for name, label in plan.ours.items()} | dict(plan.ours)
        return predict_decided_spans(classifier, texts, ours, self.window, tick)

    def predict_columns(
        self, classifier: Pipeline, rows: Rows, labels: Sequence[str], tick: Tick, temperature: float
    ) -> Rows:
        return predict_span_columns(classifier, rows, labels, self.window, tick, temperature)

    @property
    def columns(self) -> dict[str, pa.DataType]:
        import pyarrow as pa

        span = [("start", pa.int32()), ("end", pa.int32()), ("label", pa.int64())]
        # Small types: there is such a row for every token of the split, and the file is published.
        token = [("label", pa.int16()), ("answer", pa.int16()), ("confidence", pa.float32()), ("raw", pa.float32())]
        predicted = pa.list_(pa.struct([*span, ("score", pa.float64())]))
        return {
            self.truth: pa.list_(pa.struct(span)),
            self.answer: predicted,
            "plain_spans": predicted,
            "router_spans": predicted,
            "tokens": pa.list_(pa.struct(token)),
            **list_reading_columns(),
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

    def shorten_labels(self, names: Sequence[str]) -> dict[str, str]:
        """Entity types, as transformers names the groups of its spans, without the prefixes of other schemes."""
        # The pipeline itself cuts off B- and I- alone; what it leaves of other schemes is cut off for the comparison.
        groups = dict.fromkeys(n[2:] if n[:2] in ("B-", "I-") else n for n in names if n != self.outside)
        return {name: _PREFIX.sub("", name) for name in groups}

    def compare_answers(self, classifier: Pipeline, texts: Sequence[str], rows: Rows) -> AnswerDifference:
        return compare_spans(classifier, texts, rows, self.window)

    def decide(self, prediction: object, labels: Sequence[str], threshold: float | None) -> Answer:
        limit = threshold or 0.0
        predicted = cast("Sequence[PredictedSpan]", prediction)  # one of predict()'s
        spans = tuple(
            AnsweredSpan(span["start"], span["end"], labels[span["label"]], span["score"])
            for span in sorted(predicted, key=lambda span: span["start"])
            if span["score"] >= limit
        )
        return Answer("", max((span.score for span in spans), default=0.0), bool(spans), limit, spans=spans)

    def pair_multitask_answers(
        self, probabilities: TextProbabilities, rows: Rows, row: int
    ) -> Iterator[tuple[float, float]]:
        # Predictions of an earlier version end where the model stopped reading.
        pairs = zip(cast("list[list[float]]", probabilities), rows["tokens"][row], strict=False)
        # Recorded is the probability of the answer alone, not of all tags.
        return ((p[token["answer"]], token["confidence"]) for p, token in pairs)

    def list_plots(self, metrics: Metrics) -> tuple[Plot, ...]:
        # A confusion matrix has no place for spans that are missed or too many.
        return (TYPES,)

    # --- cards, releases and the Space ---

    unit: ClassVar[str] = "documents"
    card_metrics: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall")

    def list_shown_rows(self, mistakes: Mistakes) -> frozenset[str]:
        """Return no id: a mistake is told by its type, its length and its row, and what a span holds may be private."""
        return frozenset()


def _answers_of_types(rows: Rows, types: Sequence[int]) -> SpanAnswers:
    """Return true and predicted spans of ``types`` alone, counted; their labels become indices of ``types``."""
    true, predicted = (_select_types(spans, types) for spans in (rows["spans"], rows["predicted_spans"]))
    return read_span_answers(true, predicted, len(types))


def _select_types(rows: Sequence[SpanRow], types: Sequence[int]) -> list[list[SpanDict]]:
    index = {label: i for i, label in enumerate(types)}
    return [[{**span, "label": index[span["label"]]} for span in row if span["label"] in index] for row in rows]
