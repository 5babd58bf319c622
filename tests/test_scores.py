"""Scores and baselines against scikit-learn, seqeval, and counting by hand."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)

from hubtools.evaluation.baselines import answer_and_score
from hubtools.heads.baselines import PATTERNS, match_patterns, predict_by_tfidf, predict_majority
from hubtools.heads.scores import compute_classification_scores, compute_detection_scores, compute_span_scores
from hubtools.metrics.detection import (
    average_precision,
    matched_roc_auc,
    read_detection_answers,
    recall_at_fpr,
    roc_auc,
)
from hubtools.metrics.intervals import bootstrap, draw_resamples, measure_share, number_groups, rate, score_metrics
from hubtools.metrics.labels import ANSWERED, LabelAnswers, macro_f1, read_label_answers, weighted_f1
from hubtools.metrics.spans import count_spans, read_span_answers, strict_prf
from hubtools.records import to_json
from hubtools.records.scores import ClassificationScores, Confusion, DetectionScores, Interval, SpanScores
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII

TYPES = PII.label_set().labels


def score_labels(labels: Any, probabilities: Any, names: Sequence[str]) -> ClassificationScores:
    return compute_classification_scores(read_label_answers(labels, probabilities), names)


def score_detection(labels: Any, probabilities: Any, positive: int, threshold: float) -> DetectionScores:
    return compute_detection_scores(
        read_detection_answers(labels, probabilities, positive, threshold), ("benign", "jailbreak")
    )


def score_spans(true: Any, predicted: Any, types: Sequence[str]) -> SpanScores:
    return compute_span_scores(read_span_answers(true, predicted, len(types)), types)


def one_hot(chosen: list[int], classes: int) -> np.ndarray:
    return np.eye(classes)[chosen]


def assert_plain(value: Any) -> None:
    """What JSON and YAML take as it is: a numpy float would be written to a card as a Python object."""
    if isinstance(value, dict):
        assert all(type(key) is str for key in value)
        for item in value.values():
            assert_plain(item)
    elif isinstance(value, list):
        for item in value:
            assert_plain(item)
    else:
        assert type(value) in (int, float, str, bool, type(None)), (type(value), value)


# --- intervals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "correct"), [(400, 360), (200, 100), (1000, 990)])
def test_the_interval_of_an_accuracy_is_the_binomials(rows: int, correct: int) -> None:
    """Resampling rows draws the number of right answers from Binomial(rows, accuracy)."""
    right = np.arange(rows) < correct
    found = bootstrap(lambda r: float(right[r].mean()), np.arange(rows))
    low, high = binom.ppf([0.025, 0.975], rows, correct / rows) / rows
    spread = np.sqrt(correct * (rows - correct) / rows**3)
    assert found.value == correct / rows
    assert found.low == pytest.approx(low, abs=0.25 * spread + 1 / rows)
    assert found.high == pytest.approx(high, abs=0.25 * spread + 1 / rows)


def test_an_interval_over_groups_is_that_of_as_many_independent_rows() -> None:
    """Ten rows of a template that are all right or all wrong tell as much as one."""
    right = np.repeat(np.arange(40) % 4 > 0, 10)
    whole = bootstrap(lambda r: float(right[r].mean()), np.repeat(np.arange(40), 10))
    one_each = bootstrap(lambda r: float(right[::10][r].mean()), np.arange(40))
    assert (whole.value, whole.low, whole.high) == (one_each.value, one_each.low, one_each.high)
    by_row = bootstrap(lambda r: float(right[r].mean()), np.arange(400))
    assert whole.high - whole.low > 2 * (by_row.high - by_row.low)


def test_a_resample_holds_whole_groups_whatever_the_order_of_their_rows() -> None:
    groups = number_groups(["b", "", "a", "b", "", "a", "b"])
    assert groups.tolist() == [0, 1, 2, 0, 3, 2, 0]
    for rows in itertools.islice(draw_resamples(groups), 50):
        counts = np.bincount(rows, minlength=7)
        assert counts[0] == counts[3] == counts[6]
        assert counts[2] == counts[5]
        assert counts[[0, 1, 2, 4]].sum() == 4, "as many groups as there are"


def test_a_share_of_groups_is_as_sure_as_of_as_many_rows() -> None:
    alone, groups = np.arange(40) % 4 > 0, np.repeat(np.arange(40), 10)
    assert measure_share(alone, None) == rate(30, 40)
    whole = measure_share(np.repeat(alone, 10), groups)
    assert whole == bootstrap(lambda r: float(np.repeat(alone, 10)[r].mean()), groups)
    assert measure_share(np.ones(400, bool), groups) == rate(40, 40)
    assert measure_share(np.zeros(400, bool), groups) == rate(0, 40)
    assert measure_share(np.zeros(0, bool), None) is None


def test_the_f1_of_each_label_has_an_interval_by_group_and_a_label_without_a_row_has_none() -> None:
    """Ten rows of a template that are alike tell as much as one."""
    labels = np.repeat(np.arange(60) % 2, 10)
    right = np.repeat(np.arange(60) % 3 > 0, 10)
    answers = read_label_answers(labels, np.eye(3)[np.where(right, labels, 1 - labels)])
    by_row, by_group = (
        compute_classification_scores(answers, ("a", "b", "c"), groups).per_class
        for groups in (None, np.repeat(np.arange(60), 10))
    )
    for narrow, wide in zip(by_row[:2], by_group[:2], strict=True):
        assert narrow.f1_interval[0] < narrow.f1 < narrow.f1_interval[1]
        assert wide.f1_interval[1] - wide.f1_interval[0] > 2 * (narrow.f1_interval[1] - narrow.f1_interval[0])
    assert by_group[2].f1_interval is None


def test_a_share_of_grouped_rows_without_a_miss_has_the_interval_of_as_many_groups() -> None:
    answers = read_label_answers([0] * 100, [[1.0, 0.0]] * 100)
    [alone] = score_metrics([ANSWERED], answers).values()
    [grouped] = score_metrics([ANSWERED], answers, np.repeat(np.arange(20), 5)).values()
    assert alone == rate(100, 100)
    assert grouped == rate(20, 20)


def test_an_interval_is_the_same_each_time_and_leaves_out_what_is_undefined() -> None:
    def score(rows: np.ndarray) -> float:
        return float("nan") if 0 in rows[1:] else 0.5

    assert bootstrap(score, np.arange(5)) == bootstrap(score, np.arange(5)) == Interval(value=0.5, low=0.5, high=0.5)
    assert bootstrap(lambda r: float(r.mean()), np.arange(50)) != bootstrap(
        lambda r: float(r.mean()), np.arange(50), seed=1
    )


def test_the_interval_of_a_rate_is_exact_and_wide_where_nothing_was_seen() -> None:
    """Without a hit in n, Clopper and Pearson's upper end solves (1 - x)^n = 0.025."""
    found = rate(0, 75)
    assert found is not None
    assert (found.value, found.low, found.high) == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 75)))
    assert rate(75, 75) == Interval(value=1.0, low=pytest.approx(0.025 ** (1 / 75)), high=1.0)
    assert rate(0, 0) is None


# --- one label a text -----------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c", "d")


def test_classification_scores_by_hand() -> None:
    """Six rows: a a a b b c, answered a a b b c c. No row is of class d."""
    scores = score_labels([0, 0, 0, 1, 1, 2], one_hot([0, 0, 1, 1, 2, 2], 4), NAMES)
    assert scores.rows == 6
    assert scores.accuracy.value == pytest.approx(4 / 6)
    assert [c.precision for c in scores.per_class] == pytest.approx([1, 1 / 2, 1 / 2, 0])
    assert [c.recall for c in scores.per_class] == pytest.approx([2 / 3, 1 / 2, 1, 0])
    assert [c.f1 for c in scores.per_class] == pytest.approx([4 / 5, 1 / 2, 2 / 3, 0])
    assert [c.support for c in scores.per_class] == [3, 2, 1, 0]
    assert scores.macro_f1.value == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert scores.weighted_f1.value == pytest.approx((3 * 4 / 5 + 2 * 1 / 2 + 2 / 3) / 6)
    assert scores.confusion == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert scores.most_confused == [
        Confusion(label="a", predicted="b", rows=1),
        Confusion(label="b", predicted="c", rows=1),
    ]
    assert scores.absent == ["d"]


@pytest.mark.parametrize("seed", range(4))
def test_classification_scores_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 120)
    probabilities = rng.dirichlet(np.ones(4), 120)
    probabilities[np.arange(120), labels] += 0.3
    chosen = probabilities.argmax(1)
    scores = score_labels(labels.tolist(), probabilities.tolist(), NAMES)
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = precision_recall_fscore_support(labels, chosen, average=average)
        assert getattr(scores, f"{average}_precision") == pytest.approx(precision)
        assert getattr(scores, f"{average}_recall") == pytest.approx(recall)
        assert getattr(scores, f"{average}_f1").value == pytest.approx(f1)
    assert scores.accuracy.value == pytest.approx(accuracy_score(labels, chosen))
    assert scores.confusion == confusion_matrix(labels, chosen).tolist()
    for key in ("accuracy", "macro_f1", "weighted_f1"):
        assert getattr(scores, key).low < getattr(scores, key).value < getattr(scores, key).high
    assert scores.absent == []


def test_absent_classes_stay_out_of_the_macro_average_even_where_they_are_guessed() -> None:
    """A class that no test row has would count as F1 0 and pull the mean down by what nobody can know."""
    scores = score_labels([0, 0, 1, 1], one_hot([0, 0, 1, 3], 4), NAMES)
    assert scores.absent == ["c", "d"]
    assert scores.macro_f1.value == pytest.approx((1 + 2 / 3) / 2)
    assert scores.macro_recall == pytest.approx((1 + 1 / 2) / 2)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_the_fast_f1s_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, chosen = (np.array(column) for column in zip(*pairs, strict=True))
    for fast, average in ((macro_f1, "macro"), (weighted_f1, "weighted")):
        expected = f1_score(labels, chosen, average=average, labels=np.unique(labels), zero_division=0)
        assert fast(LabelAnswers(labels, chosen, np.ones(len(labels)), 5, 0.0)) == pytest.approx(expected)


def test_the_most_confused_pairs_come_first_and_are_five_at_most() -> None:
    labels = [0] * 6 + [1] * 5 + [2] * 4 + [3] * 9
    chosen = [1] * 3 + [2] * 2 + [3] + [0] * 4 + [2] + [0] * 4 + [0] * 5 + [1] * 4
    pairs = score_labels(labels, one_hot(chosen, 4), NAMES).most_confused
    assert [(p.label, p.predicted, p.rows) for p in pairs] == [
        ("d", "a", 5), ("b", "a", 4), ("c", "a", 4), ("d", "b", 4), ("a", "b", 3),
    ]  # fmt: skip


# --- a detector -----------------------------------------------------------------------------------------------------


def test_recall_at_a_false_positive_rate_on_counted_cases() -> None:
    """100 negatives at .00, .01 … .99; four positives, of which two lie above all, one above 99, one above 94."""
    negative = np.arange(100) / 100
    positive = np.array([1.5, 1.2, 0.985, 0.945])
    truth = np.r_[np.zeros(100, bool), np.ones(4, bool)]
    score = np.r_[negative, positive]
    assert recall_at_fpr(truth, score, 0.0) == 2 / 4
    assert recall_at_fpr(truth, score, 0.01) == 3 / 4
    assert recall_at_fpr(truth, score, 0.049) == 3 / 4
    assert recall_at_fpr(truth, score, 0.05) == 4 / 4


def test_equal_scores_are_flagged_together_or_not_at_all() -> None:
    truth = np.array([True] * 5 + [False] * 10)
    assert recall_at_fpr(truth, np.full(15, 0.5), 0.05) == 0.0
    assert recall_at_fpr(truth, np.r_[[1.0] * 3, np.full(12, 0.5)], 0.05) == 3 / 5


@pytest.mark.parametrize("truth", [[True, True], [False, False]])
def test_without_both_classes_recall_and_area_are_undefined(truth: list[bool]) -> None:
    assert np.isnan(recall_at_fpr(np.array(truth), np.array([0.1, 0.9]), 0.01))
    assert np.isnan(roc_auc(np.array(truth), np.array([0.1, 0.9])))


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40),
    st.sampled_from([0, 0.05, 0.1, 0.5, 1]),
)
def test_recall_and_area_are_those_of_scikit_learns_curve(rows: list[tuple[bool, int]], limit: float) -> None:
    truth, score = np.array([one for one, _ in rows]), np.array([n / 6 for _, n in rows])
    assume(0 < truth.sum() < len(truth))
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    assert recall_at_fpr(truth, score, limit) == pytest.approx(tpr[fpr <= limit].max())
    assert roc_auc(truth, score) == pytest.approx(roc_auc_score(truth, score))
    assert average_precision(truth, score) == pytest.approx(average_precision_score(truth, score))


def test_detection_scores_by_hand() -> None:
    """The threshold itself flags: two of four negatives, three of four positives."""
    positive = [0.9, 0.8, 0.7, 0.2]
    negative = [0.75, 0.7, 0.3, 0.1]
    p = [[1 - x, x] for x in positive + negative]
    scores = score_detection([1] * 4 + [0] * 4, p, 1, 0.7)
    assert scores.fpr_at_threshold.value == 2 / 4
    assert scores.fnr_at_threshold.value == 1 / 4
    # of 16 pairs: .9 and .8 beat all four, .7 beats two and ties one, .2 beats one
    assert scores.roc_auc.value == pytest.approx((4 + 4 + 2.5 + 1) / 16)
    assert scores.recall_at_1_fpr.value == scores.recall_at_5_fpr.value == pytest.approx(2 / 4)
    assert (scores.positives, scores.negatives, scores.threshold) == (4, 4, 0.7)
    assert scores.roc[0] == (0.0, 0.0)
    assert scores.roc[-1] == (1.0, 1.0)
    # recall and precision after the first two attacks, and when the last of them is flagged
    assert (0.5, 1.0) in scores.pr
    assert (1.0, 4 / 7) in scores.pr


def test_detection_scores_agree_with_scikit_learn_whichever_class_is_positive() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    p = np.clip(rng.normal(0.35 + 0.3 * labels, 0.2), 0, 1)
    scores = score_detection(labels.tolist(), np.c_[1 - p, p], 1, 0.7)
    assert scores.roc_auc.value == pytest.approx(roc_auc_score(labels, p))
    assert scores.pr_auc.value == pytest.approx(average_precision_score(labels, p))
    assert scores.roc_auc.low < scores.roc_auc.value < scores.roc_auc.high
    turned = score_detection((1 - labels).tolist(), np.c_[p, 1 - p], 0, 0.7)
    of_labels = {"per_class", "confusion", "most_confused"}  # these follow the order of the labels
    kept = [{k: v for k, v in to_json(one).items() if k not in of_labels} for one in (turned, scores)]
    assert kept[0] == kept[1]


def test_a_matched_area_counts_the_pairs_of_a_stratum_alone() -> None:
    """Between strata the score is all; within them it is worth a coin: the first has 1 of 2 pairs, the second a tie."""
    truth = np.array([True, False, False, True, False])
    score = np.array([0.8, 0.7, 0.9, 0.2, 0.2])
    stratum = np.array([3, 3, 3, 1, 1])
    assert matched_roc_auc(truth, score, stratum) == pytest.approx((1 + 0.5) / 3)
    assert np.isnan(matched_roc_auc(truth, score, np.array([0, 1, 1, 2, 1])))


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=40))
def test_a_matched_area_is_the_mean_of_scikit_learns_by_their_pairs(rows: list[tuple[bool, int, int]]) -> None:
    truth, score, stratum = (np.array(column) for column in zip(*rows, strict=True))
    won = pairs = 0.0
    for s in set(stratum.tolist()):
        inside = stratum == s
        count = truth[inside].sum() * (~truth[inside]).sum()
        if count:
            won += count * roc_auc_score(truth[inside], score[inside])
            pairs += count
    assume(pairs)
    assert matched_roc_auc(truth, score / 4, stratum) == pytest.approx(won / pairs)
    assert matched_roc_auc(truth, score / 4, np.zeros_like(stratum)) == pytest.approx(roc_auc(truth, score / 4))


# --- spans ----------------------------------------------------------------------------------------------------------


def span(start: int, end: int, label: int) -> dict[str, int]:
    return {"start": start, "end": end, "label": label}


def random_spans(rng: random.Random, tokens: int) -> list[dict[str, int]]:
    """Spans over token numbers, some of them side by side."""
    spans, at = [], 0
    while at < tokens:
        if rng.random() < 0.4:
            end = min(tokens, at + rng.randint(1, 3))
            spans.append(span(at, end, rng.randrange(len(TYPES))))
            at = end
        else:
            at += 1
    return spans


def tags_of(spans: list[dict[str, int]], tokens: int) -> list[str]:
    tags = ["O"] * tokens
    for s in spans:
        for at in range(s["start"], s["end"]):
            tags[at] = ("B-" if at == s["start"] else "I-") + TYPES[s["label"]]
    return tags


@pytest.mark.parametrize("seed", range(4))
def test_span_scores_agree_with_strict_seqeval(seed: int) -> None:
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2

    rng = random.Random(seed)
    true, found = [], []
    for _ in range(60):
        spans = random_spans(rng, 12)
        true.append(spans)
        kept = [s for s in spans if rng.random() < 0.7]
        moved = [s | {"label": rng.randrange(len(TYPES))} if rng.random() < 0.2 else s for s in kept]
        cut = [s | {"end": s["end"] - 1} if s["end"] - s["start"] > 1 and rng.random() < 0.2 else s for s in moved]
        free = [s for s in random_spans(rng, 12) if all(s["end"] <= o["start"] or o["end"] <= s["start"] for o in cut)]
        found.append(cut + free[:1])
    report = classification_report(
        [tags_of(spans, 12) for spans in true], [tags_of(spans, 12) for spans in found], mode="strict", scheme=IOB2,
        output_dict=True, zero_division=0,
    )  # fmt: skip
    scores = score_spans(true, found, TYPES)
    assert 0.3 < scores.entity_f1.value < 0.9
    assert scores.entity_f1.value == pytest.approx(report["micro avg"]["f1-score"])
    assert scores.entity_precision.value == pytest.approx(report["micro avg"]["precision"])
    assert scores.entity_recall.value == pytest.approx(report["micro avg"]["recall"])
    assert scores.macro_f1.value == pytest.approx(report["macro avg"]["f1-score"])
    for entry in scores.per_class:
        theirs = report[entry.label]
        assert (entry.precision, entry.recall, entry.f1, entry.support) == pytest.approx(
            (theirs["precision"], theirs["recall"], theirs["f1-score"], theirs["support"])
        )
    assert scores.entity_f1.low < scores.entity_f1.value < scores.entity_f1.high


@pytest.mark.parametrize(
    "near_miss", [span(0, 4, 0), span(1, 5, 0), span(0, 5, 1), span(0, 6, 0)], ids=["end", "start", "type", "longer"]
)
def test_a_span_counts_only_where_start_end_and_type_agree(near_miss: dict[str, int]) -> None:
    assert score_spans([[span(0, 5, 0)]], [[near_miss]], TYPES).entity_f1.value == 0.0
    assert score_spans([[span(0, 5, 0)]], [[span(0, 5, 0)]], TYPES).entity_f1.value == 1.0


def test_overlapping_spans_and_covered_characters_by_hand() -> None:
    """Two types. Of three true spans one is touched by its own type, one by another, one not at all."""
    true = [[span(0, 10, 0), span(20, 24, 1), span(30, 36, 0)], []]
    found = [[span(5, 12, 0), span(21, 23, 0)], [span(0, 3, 1)]]
    scores = score_spans(true, found, TYPES)
    assert scores.entity_f1.value == 0.0
    assert scores.overlap_precision.value == pytest.approx(1 / 3)
    assert scores.overlap_recall.value == pytest.approx(1 / 3)
    assert scores.overlap_f1.value == pytest.approx(1 / 3)
    assert scores.covered.value == pytest.approx((5 + 2) / 20)
    assert [entry.overlap_f1 for entry in scores.per_class[:2]] == pytest.approx([2 * 0.5 * 0.5 / 1, 0])


def test_of_two_halves_of_a_span_one_is_right_by_overlap() -> None:
    scores = score_spans([[span(0, 10, 0)]], [[span(0, 4, 0), span(5, 10, 0)]], TYPES)
    assert (scores.overlap_precision.value, scores.overlap_recall.value) == (0.5, 1.0)
    assert scores.covered.value == 9 / 10


def test_one_long_span_finds_one_of_the_spans_within_it_by_overlap() -> None:
    scores = score_spans([[span(0, 4, 0), span(5, 9, 0), span(10, 14, 0)]], [[span(0, 14, 0)]], TYPES)
    assert (scores.overlap_precision.value, scores.overlap_recall.value) == (1.0, pytest.approx(1 / 3))


@settings(derandomize=True)
@given(st.lists(st.lists(st.integers(0, 40), min_size=2, max_size=8, unique=True), min_size=2, max_size=2))
def test_no_other_pairing_of_overlapping_spans_has_more_pairs(sides: list[list[int]]) -> None:
    """Held against scipy's matching, for spans that do not overlap on their own side."""
    from scipy.optimize import linear_sum_assignment

    true, found = (
        [span(a, b, 0) for a, b in zip(sorted(side)[::2], sorted(side)[1::2], strict=False)] for side in sides
    )
    overlaps = np.array([[t["start"] < f["end"] and f["start"] < t["end"] for f in found] for t in true])
    best = overlaps[linear_sum_assignment(overlaps, maximize=True)].sum()
    assert count_spans([true], [found], 1)[0, 0, 3] == best


def test_spans_are_counted_by_document_and_type() -> None:
    true = [[span(0, 10, 0), span(20, 24, 1)], [span(0, 3, 1)]]
    found = [[span(0, 10, 0)], [span(0, 3, 1), span(2, 6, 0)]]
    counts = count_spans(true, found, 2)
    assert counts.tolist() == [[[1, 1, 1, 1], [0, 0, 1, 0]], [[0, 1, 0, 0], [1, 1, 1, 1]]]
    assert strict_prf(counts.sum((0, 1)))[2] == score_spans(true, found, TYPES).entity_f1.value
    assert strict_prf(counts.sum((0, 1))) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_a_span_of_one_document_is_no_answer_to_another() -> None:
    scores = score_spans([[span(0, 5, 0)], []], [[], [span(0, 5, 0)]], TYPES)
    assert (scores.entity_precision.value, scores.entity_recall.value) == (0.0, 0.0)


def test_false_alarms_are_the_share_of_clean_documents_with_a_find() -> None:
    true = [[span(0, 2, 0)], [], [], [], []]
    found = [[], [span(0, 1, 0), span(3, 4, 1)], [], [span(5, 6, 4)], []]
    scores = score_spans(true, found, TYPES)
    assert scores.clean_documents == 4
    assert scores.false_alarms.value == 2 / 4


def test_without_clean_documents_there_is_no_rate_of_false_alarms() -> None:
    scores = score_spans([[span(0, 2, 0)]], [[]], TYPES)
    assert (scores.clean_documents, scores.false_alarms) == (0, None)


def test_types_without_a_test_span_are_absent_and_out_of_the_macro_average() -> None:
    scores = score_spans([[span(0, 2, 0), span(3, 4, 1)]], [[span(0, 2, 0), span(5, 6, 2)]], TYPES)
    assert scores.absent == list(TYPES[2:])
    assert scores.macro_f1.value == pytest.approx((1 + 0) / 2)


def test_documents_without_any_span_score_zero_and_not_nothing() -> None:
    scores = score_spans([[], []], [[], []], TYPES)
    assert scores.macro_f1.value == scores.entity_f1.value == scores.false_alarms.value == 0.0
    assert scores.covered is None
    json.dumps(to_json(scores), allow_nan=False)


def test_all_scores_are_plain_json() -> None:
    rng = np.random.default_rng(0)
    labels, p = rng.integers(0, 2, 30), rng.dirichlet([1, 1], 30)
    for scores in (
        score_labels(labels, p, ("benign", "jailbreak")),
        score_detection(labels, p, 1, 0.7),
        score_spans([[span(0, 2, 0)], []], [[span(0, 2, 0) | {"score": np.float32(0.5)}], []], TYPES),
    ):
        content = to_json(scores)
        assert_plain(content)
        assert json.loads(json.dumps(content, allow_nan=False)) == content


# --- baselines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SSN 536-22-8145.", [("536-22-8145", "US_SSN")]),
        (
            "a@b.co and x.y+z@mail.example.org,",
            [("a@b.co", "EMAIL_ADDRESS"), ("x.y+z@mail.example.org", "EMAIL_ADDRESS")],
        ),
        ("(212) 555-0187", [("(212) 555-0187", "PHONE_NUMBER")]),
        ("+1 212-555-0187 or 212.555.0187", [("+1 212-555-0187", "PHONE_NUMBER"), ("212.555.0187", "PHONE_NUMBER")]),
        ("mail 536-22-8145@example.com", [("536-22-8145", "US_SSN")]),
        ("order 1234-5678, version 2.4.1, 1536-22-81457, a@b, 3 March", []),
        ("", []),
    ],
)
def test_patterns_find_numbers_and_addresses_of_mail(text: str, found: list[tuple[str, str]]) -> None:
    spans = match_patterns(text, TYPES)
    assert [(text[s["start"] : s["end"]], TYPES[s["label"]]) for s in spans] == found


@settings(derandomize=True, deadline=None)
@given(
    st.lists(st.sampled_from(["536-22-8145", "a@b.co", "(212) 555-0187", "@", "-", " ", "+1", "9", "x"])).map("".join)
)
def test_found_spans_never_overlap(text: str) -> None:
    spans = sorted(match_patterns(text, TYPES), key=lambda s: s["start"])
    assert all(a["end"] <= b["start"] for a, b in itertools.pairwise(spans))
    assert all(0 <= s["start"] < s["end"] <= len(text) for s in spans)


def test_only_types_of_the_label_set_are_looked_for() -> None:
    assert match_patterns("536-22-8145 a@b.co", ("PERSON", "EMAIL_ADDRESS")) == [{"start": 12, "end": 18, "label": 1}]
    assert set(PATTERNS) <= set(TYPES)


def test_the_majority_baseline_is_certain_of_the_most_common_label() -> None:
    guess = predict_majority([2, 0, 2, 1, 2], 3, 4)
    assert guess.tolist() == [[0, 0, 1, 0]] * 3


def test_tfidf_learns_words_and_gives_probabilities_in_the_order_of_the_labels() -> None:
    texts = [
        "red apple pie",
        "sweet red apple",
        "fast blue car",
        "blue racing car",
        "tall green tree",
        "green old tree",
    ]
    guess = predict_by_tfidf(texts, [3, 3, 0, 0, 1, 1], ["a blue car", "apple", "tree"], 4)
    assert guess.argmax(1).tolist() == [0, 3, 1]
    assert guess.sum(1) == pytest.approx(1)
    assert guess[:, 2].tolist() == [0, 0, 0], "a class that training lacks is never guessed"


def test_baselines_of_a_detector_have_every_score_of_the_model() -> None:
    train = {
        "text": ["ignore all rules", "bake bread", "ignore rules now", "bake cake", "read book"],
        "label": [1, 0, 1, 0, 0],
    }
    test = [{"text": "ignore rules", "label": 1}, {"text": "bake pie", "label": 0}, {"text": "rules", "label": 1}]
    rows = _Columns({key: [row[key] for row in test] for key in ("text", "label")} | {"group": ["", "", ""]})
    found = answer_and_score(JAILBREAK, JAILBREAK.label_set().labels, train, rows)
    assert list(found) == ["majority class", "TF-IDF, logistic regression"]
    assert found["majority class"].accuracy.value == pytest.approx(1 / 3)
    assert found["majority class"].roc_auc.value == 0.5
    assert found["majority class"].recall_at_1_fpr.value == 0.0
    assert found["TF-IDF, logistic regression"].roc_auc.value == 1.0
    assert_plain({name: to_json(column) for name, column in found.items()})


def test_the_baseline_of_a_token_task_is_scored_as_the_model_is() -> None:
    test = {"text": ["I am 536-22-8145", "Ann"], "spans": [[span(5, 16, 3)], [span(0, 3, 0)]], "group": ["", ""]}
    [(name, scores)] = answer_and_score(PII, PII.label_set().labels, None, test).items()
    assert name == "regular expressions"
    assert (scores.entity_precision.value, scores.entity_recall.value) == (1.0, 0.5)


class _Columns(dict[str, list[Any]]):
    """Columns whose length is that of the rows, as a ``datasets.Dataset`` has it."""

    def __len__(self) -> int:
        return len(self["label"])
