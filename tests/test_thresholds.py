"""Where a threshold lies for a target, and what follows on each split; lengths, families and mistakes, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hubtools.errors import UsageError
from hubtools.evaluation.targets import check_target
from hubtools.heads import Detection
from hubtools.heads.slices import divide_by_length, find_family
from hubtools.heads.thresholds import choose_threshold, find_shortest_decimal, measure_abstention_curve
from hubtools.metrics.labels import read_label_answers
from hubtools.records import from_json, to_json
from hubtools.records.slices import CleanFamily
from hubtools.records.thresholds import Target, ThresholdsFile
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS
from hubtools.tasks.category import CATEGORY
from hubtools.tasks.intent import INTENT
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII

SCORES = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=60)


# --- choosing -------------------------------------------------------------------------------------------------------


def test_the_threshold_for_a_false_positive_rate_by_hand() -> None:
    """A hundred harmless rows at .00 to .99: one of them may be flagged, so the threshold lies above .98."""
    score = np.r_[np.arange(100) / 100, 0.5, 0.985, 0.995]
    positive = np.arange(103) >= 100
    assert choose_threshold(positive, score, Target(fpr=0.01)) == 0.981
    assert choose_threshold(positive, score, Target(fpr=0.05)) == 0.95
    assert choose_threshold(positive, score, Target(fpr=0.001)) == 0.991, "none may be flagged"


def test_the_threshold_for_a_recall_by_hand() -> None:
    score = np.array([0.9, 0.8, 0.61, 0.3, 0.7, 0.2])
    positive = np.array([True, True, True, True, False, False])
    assert choose_threshold(positive, score, Target(recall=0.75)) == 0.31
    assert choose_threshold(positive, score, Target(recall=0.5)) == 0.71
    assert choose_threshold(positive, score, Target(recall=0.51)) == 0.31


@settings(derandomize=True, deadline=None)
@given(SCORES, st.sampled_from([0.01, 0.1, 0.4]))
def test_a_target_is_kept_on_the_split_it_was_chosen_on_and_no_lower_threshold_would_keep_it(
    rows: list[tuple[bool, float]], limit: float
) -> None:
    positive, score = np.array([one for one, _ in rows]), np.array([s for _, s in rows])
    assume(0 < positive.sum() < len(positive))
    assume(score[~positive].max() < 1)  # above certainty there is no threshold
    found = choose_threshold(positive, score, Target(fpr=limit))
    assert (score[~positive] >= found).mean() <= limit
    lower = score[score < found]
    if len(lower):
        assert (score[~positive] >= lower.max()).mean() > limit
    kept = choose_threshold(positive, score, Target(recall=1 - limit))
    assert (score[positive] >= kept).mean() >= 1 - limit
    higher = score[score >= kept]
    assert not len(higher[higher > kept]) or (score[positive] > higher.min()).mean() < 1 - limit


@pytest.mark.parametrize(
    ("above", "upto", "expected"),
    [(0.431, 0.468, 0.44), (0.43, 0.44, 0.44), (0.431, 0.4312, 0.4311), (0.0, 1.0, 0.01), (0.999999, 1.0, 1.0)],
)
def test_a_threshold_is_the_shortest_decimal_in_its_gap(above: float, upto: float, expected: float) -> None:
    assert find_shortest_decimal(above, upto) == expected


def test_each_task_has_the_target_it_is_for() -> None:
    assert [task.head.choose_target(None, None) for task in (JAILBREAK, CATEGORY, INTENT, PII)] == [
        Target(fpr=0.01),
        Target(recall=0.95),
        None,
        None,
    ]
    assert JAILBREAK.head.choose_target(None, 0.9) == Target(recall=0.9)
    assert CATEGORY.head.choose_target(0.2, None) == Target(fpr=0.2)


@pytest.mark.parametrize(
    ("names", "fpr", "recall"),
    [(["jailbreak"], 0.01, 0.9), (["jailbreak"], 0.0, None), (["category"], None, 1.5), (["pii"], 0.01, None)],
)
def test_a_target_that_nothing_can_be_chosen_for_is_refused(
    names: list[str], fpr: float | None, recall: float | None
) -> None:
    with pytest.raises(UsageError):
        check_target([TASKS[name] for name in names], fpr, recall)


def test_of_all_tasks_those_take_a_target_that_have_a_threshold() -> None:
    check_target([*TASKS.values()], 0.02, None)
    check_target([PII, INTENT], None, None)


FPR = Target(fpr=0.01)

# --- what follows ---------------------------------------------------------------------------------------------------


def choose(task: TaskSpec, validation: Any, test: Any, target: Target | None, label_set: str | None = None) -> Any:
    return task.head.choose_thresholds(validation, test, task.label_set(label_set).labels, target)


def detector(scores: list[float], labels: list[int], **more: Any) -> dict[str, Any]:
    return {"label": labels, "probabilities": [[1 - s, s] for s in scores], **more}


def test_a_detector_is_measured_on_both_splits_at_its_threshold() -> None:
    validation = detector([0.1, 0.2, 0.6, 0.9], [0, 0, 1, 1])
    test = detector([0.3, 0.8, 0.5, 0.7], [0, 0, 1, 1])
    found = choose(JAILBREAK, validation, test, Target(fpr=0.01))
    assert found is not None
    assert (found.threshold, found.target, found.label) == (0.21, Target(fpr=0.01), "jailbreak")
    assert [getattr(getattr(found, s), k).value for s in ("validation", "test") for k in ("fpr", "fnr")] == [
        0,
        0,
        1,
        0,
    ]


def harmless(source: str, rows: int, flagged_above: float, alarms: int) -> list[tuple[float, int, str]]:
    """Rows of a source at a low score, but for ``alarms`` of them that score as high as attacks."""
    return [(flagged_above if i < alarms else 0.1, 0, source) for i in range(rows)]


def of_sources(rows: list[tuple[float, int, str]]) -> dict[str, Any]:
    return detector([score for score, _, _ in rows], [label for _, label, _ in rows], source=[s for *_, s in rows])


ATTACKS = [(0.95, 1, "attacks")] * 50


def test_a_false_positive_rate_is_kept_on_every_source_and_not_on_their_pool() -> None:
    """3 of 200 harmless rows of one source score 0.8: of all 2,200 they are less than 1%, and of their own more."""
    rows = [*harmless("easy", 2000, 0.1, 0), *harmless("hard", 200, 0.8, 3), *ATTACKS]
    pooled = choose(JAILBREAK, {k: v for k, v in of_sources(rows).items() if k != "source"}, of_sources(rows), FPR)
    found = choose(JAILBREAK, of_sources(rows), of_sources(rows), FPR)
    assert (pooled.threshold, found.threshold) == (0.11, 0.81)
    rates = {entry.source: (entry.negatives, entry.fpr.value) for entry in found.validation.sources}
    assert rates == {"easy": (2000, 0.0), "hard": (200, 0.0)}
    assert all(0 < entry.fpr.high < 0.05 for entry in found.validation.sources)
    assert {entry.source: entry.fpr.value for entry in pooled.test.sources} == {"easy": 0.0, "hard": 0.015}


def test_sources_with_few_harmless_rows_are_pooled_and_no_row_is_left_out() -> None:
    small = [*harmless("a", 60, 0.8, 1), *harmless("b", 60, 0.7, 1)]
    rows = [*harmless("easy", 500, 0.1, 0), *small, *ATTACKS]
    found = choose(JAILBREAK, of_sources(rows), of_sources(rows), FPR)
    assert found.threshold == 0.71, "one of the 120 may be flagged"
    assert {entry.source: entry.measured_with for entry in found.validation.sources} == {
        "a": ["b"], "b": ["a"], "easy": [],
    }  # fmt: skip
    few = [*harmless("easy", 500, 0.1, 0), *harmless("larger", 900, 0.1, 0), *harmless("a", 20, 0.8, 6), *ATTACKS]
    found = choose(JAILBREAK, of_sources(few), of_sources(few), FPR)
    assert found.threshold == 0.81, "too few for a rate of their own, they count with the smallest of the others"
    assert {entry.source: entry.measured_with for entry in found.validation.sources} == {
        "a": ["easy"], "easy": ["a"], "larger": [],
    }  # fmt: skip


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 10_000), st.integers(150, 900), st.floats(0.3, 4))
def test_the_rate_of_no_source_with_enough_rows_is_above_the_target(seed: int, rows: int, power: float) -> None:
    rng = np.random.default_rng(seed)
    drawn = zip(rng.random(rows) ** power, rng.integers(0, 2, rows), rng.choice([*"aaabbc"], rows), strict=True)
    split = of_sources([(float(score), int(label), str(source)) for score, label, source in drawn])
    found = choose(JAILBREAK, split, split, Target(fpr=0.05))
    assert all(entry.fpr.value <= 0.05 for entry in found.validation.sources if not entry.measured_with)


def sure_of(entries: list[tuple[str, str, float, str]]) -> dict[str, Any]:
    """Rows of category: true label, answer, how sure, source."""
    labels = list(CATEGORY.label_set().labels)
    p = np.full((len(entries), len(labels)), 0.0)
    for i, (_, answer, sure, _) in enumerate(entries):
        p[i] = (1 - sure) / (len(labels) - 1)
        p[i, labels.index(answer)] = sure
    truth = [labels.index(label) for label, *_ in entries]
    return {"label": truth, "probabilities": p.tolist(), "source": [source for *_, source in entries]}


def test_everyday_requests_reach_the_fallback_but_not_at_any_price() -> None:
    """Of 30 requests 20 are answered otherwise, as sure as 0.6: abstaining there gives up 10% of the right answers."""
    quiz = [("law", "law", 0.9, "quiz")] * 90 + [("law", "law", 0.55, "quiz")] * 10 + [("other", "law", 0.7, "quiz")]
    requests = [("other", "business", 0.6, "talk")] * 20 + [("other", "other", 0.99, "talk")] * 10
    split = sure_of([*quiz, *requests])
    found = choose(CATEGORY, split, split, CATEGORY.head.choose_target(None, None))
    assert 0.6 < found.threshold <= 0.9
    assert (found.everyday.validation.rows, found.everyday.validation.reached.value) == (30, 1.0)
    asked = choose(CATEGORY, split, split, Target(recall=0.96))
    assert asked.threshold <= 0.55, "who asks for a share of right answers gets it"
    assert (asked.everyday.share, asked.everyday.validation.reached.value) == (None, pytest.approx(1 / 3))
    surer = sure_of([*quiz, *(("other", "business", 0.95, "talk"),) * 30])
    capped = choose(CATEGORY, surer, surer, CATEGORY.head.choose_target(None, None))
    assert capped.validation.kept.value >= 0.8
    assert capped.everyday.validation.reached.value == 0
    alone = {key: value for key, value in split.items() if key != "source"}
    assert choose(CATEGORY, alone, alone, Target(recall=0.95)).everyday is None


def test_an_unsure_answer_becomes_the_fallback_which_may_be_right() -> None:
    """Of five rows, three are answered right; the least sure right answer is given up with the one below it."""
    labels = list(CATEGORY.label_set().labels)
    other = labels.index("other")

    def rows(entries: list[tuple[int, int, float]]) -> dict[str, Any]:
        p = np.full((len(entries), len(labels)), 0.0)
        for i, (_, answer, sure) in enumerate(entries):
            p[i] = (1 - sure) / (len(labels) - 1)
            p[i, answer] = sure
        return {"label": [label for label, _, _ in entries], "probabilities": p.tolist()}

    validation = rows([(0, 0, 0.9), (1, 1, 0.8), (2, 2, 0.3), (3, 0, 0.5)])
    test = rows([(0, 0, 0.9), (1, 1, 0.4), (2, 0, 0.7), (3, 0, 0.2), (other, 1, 0.3)])
    found = choose(CATEGORY, validation, test, Target(recall=0.6))
    assert found is not None
    assert (found.label, found.threshold) == ("other", 0.51)
    at = found.test
    assert [getattr(at, key).value for key in ("answered", "kept", "caught", "accuracy_of_answered")] == pytest.approx(
        [2 / 5, 1 / 2, 2 / 3, 1 / 2]
    )
    assert at.accuracy == pytest.approx(2 / 5), "the first row, and the last, which is other"
    assert at.macro_f1_of_answered == pytest.approx((2 / 3 + 0) / 2), "biology is answered to biology and chemistry"


def test_the_curve_of_abstention_ends_with_all_rows_and_leaves_out_what_few_rows_say() -> None:
    """Five hundred rows, of which the surest 300 are right, each of them surer than the next."""
    sure = np.linspace(0.99, 0.51, 500)
    labels = (np.arange(500) >= 300).astype(int)
    curve = measure_abstention_curve(read_label_answers(labels, np.c_[sure, 1 - sure]))
    assert [curve[0].answered, curve[-1].answered] == [0.202, 1.0]
    assert [at.accuracy for at in curve] == pytest.approx([min(1, 0.6 / at.answered) for at in curve])
    assert curve[-1].macro_f1 == pytest.approx(2 * 60 / (100 + 60) / 2)
    assert [at.threshold for at in curve] == sorted((at.threshold for at in curve), reverse=True)


def test_without_a_fallback_among_its_labels_a_label_set_has_no_threshold() -> None:
    assert choose(CATEGORY, {}, {}, Target(recall=0.95), "seed10") is None
    assert choose(INTENT, {}, {}, None) is None


def span(start: int, end: int, label: int, score: float | None = None) -> dict[str, Any]:
    return {"start": start, "end": end, "label": label} | ({} if score is None else {"score": score})


def test_every_span_counts() -> None:
    assert choose(PII, {}, {}, None).threshold == 0


# --- the file -------------------------------------------------------------------------------------------------------

ABSTAINS = {"kind": "abstention", "label": "other", "threshold": 0.31, "target": {"recall": 0.95}}
FLAGS = {"kind": "detection", "label": "jailbreak", "threshold": 0.43, "target": {"fpr": 0.01}}
SPANS = {"kind": "spans", "threshold": 0.0, "target": None}


@pytest.mark.parametrize(("task", "entry"), [(CATEGORY, ABSTAINS), (JAILBREAK, FLAGS), (PII, SPANS)])
def test_a_file_of_thresholds_is_read_in_its_form_of_today_and_in_the_flat_one(
    task: TaskSpec, entry: dict[str, Any]
) -> None:
    flat = {"task": task.name, **entry, "router_default": {"threshold": 0.7}}
    today = {"task": task.name, "weights": {"model.safetensors": entry, "onnx/model.onnx": entry | {"threshold": 0.9}}}
    read = task.head.read_shipped_threshold
    assert read(flat) == read(today) == entry["threshold"]
    assert read(today, "onnx/model.onnx") == 0.9
    assert read(flat, "onnx/model.onnx") is read(today, "onnx/model_quantized.onnx") is None


@pytest.mark.parametrize(
    "content", [None, [], 0.5, {}, {"weights": []}, {"weights": {"model.safetensors": 0.5}}, {"threshold": 0.5}]
)
def test_what_is_no_file_of_thresholds_has_no_threshold(content: Any) -> None:
    for task in TASKS.values():
        assert task.head.read_shipped_threshold(content) is None


def test_a_file_of_an_earlier_version_names_no_language() -> None:
    content = {"task": "pii", "weights": {"model.safetensors": SPANS}}
    assert from_json(content, ThresholdsFile).languages == []
    assert from_json(content | {"languages": ["de"]}, ThresholdsFile).languages == ["de"]


def test_a_threshold_of_another_head_or_label_is_none_of_ours() -> None:
    for task in TASKS.values():
        for entry in (ABSTAINS, FLAGS, SPANS):
            fits = entry.get("label", "") == task.head.acts_on and entry["kind"] == task.head.threshold_kind
            assert (task.head.read_shipped_threshold(entry) is not None) == fits
    assert INTENT.head.read_shipped_threshold(ABSTAINS) is None


# --- slices ---------------------------------------------------------------------------------------------------------


def test_the_bounds_of_a_length_slice_belong_to_it() -> None:
    found = {name: r.tolist() for name, r in divide_by_length([1, 100, 101, 300, 301, 1000, 1001])}
    assert found == {"up to 100": [0, 1], "101 to 300": [2, 3], "301 to 1,000": [4, 5], "over 1,000": [6]}
    assert [name for name, _ in divide_by_length([5000])] == ["over 1,000"]


def test_a_detector_that_knows_length_alone_is_seen_through() -> None:
    """Attacks of 800 characters score .9 and harmless prompts of 50 score .1; where both are as long, a coin."""
    rows = detector(
        [0.9] * 10 + [0.1] * 10 + [0.6, 0.4, 0.6, 0.4], [1] * 10 + [0] * 10 + [1, 1, 0, 0],
        characters=[800] * 10 + [50] * 10 + [200] * 4, group=["a"] * 24, alarming=[False] * 22 + [True] * 2,
    )  # fmt: skip
    found = JAILBREAK.head.score_slices(rows, JAILBREAK.label_set().labels, 0.5)
    matched = found.length_matched
    assert matched.pairs == 4
    assert matched.roc_auc.value == 0.5
    assert matched.length_alone > 0.95
    assert [(e.slice, e.positives, e.negatives) for e in found.length] == [
        ("up to 100", 0, 10), ("101 to 300", 2, 2), ("301 to 1,000", 10, 0),
    ]  # fmt: skip
    assert found.length[0].fnr is found.length[0].roc_auc is None
    assert found.alarming.rows == 2
    assert found.alarming.false_alarms.value == 0.5
    assert found.alarming.false_alarms_of_others.value == 0.0


def test_a_detection_without_alarming_words_is_sliced_like_any_other() -> None:
    """``positive`` is all that a detection needs: its predictions have no column of alarming words then."""
    rows = detector([0.9, 0.6, 0.2], [1, 0, 0], characters=[10, 20, 30], group=["a"] * 3, id=["a", "b", "c"])
    head, labels = Detection(positive="jailbreak"), JAILBREAK.label_set().labels
    slices = head.score_slices(rows, labels, 0.5)
    assert slices.alarming is None
    assert "alarming" not in to_json(slices)
    assert [(entry.slice, entry.rows) for entry in slices.length] == [("up to 100", 3)]
    assert [part.slice for part in head.find_mistakes(rows, labels).slices] == ["up to 100 characters"]


def test_without_a_harmless_prompt_as_long_there_is_no_length_matched_score() -> None:
    rows = detector([0.9, 0.1], [1, 0], characters=[800, 50], group=["a", "b"], alarming=[False, False])
    found = JAILBREAK.head.score_slices(rows, JAILBREAK.label_set().labels, 0.5).length_matched
    assert (found.roc_auc, found.pairs, found.length_alone) == (None, 0, 1.0)


@pytest.mark.parametrize(
    ("group", "family"),
    [("e-mail-signature 0a397104", "e-mail-signature"), ("template 12", "template 12"),
     ("function send_mail", "function send_mail"), ("text 0a397104bb", "")],
)  # fmt: skip
def test_a_family_is_named_by_its_kind(group: str, family: str) -> None:
    assert find_family(group) == family


def test_the_weakest_families_come_first_and_small_ones_do_not_count() -> None:
    rows = {
        "spans": [[span(0, 3, 0)]] * 17 + [[]] * 6,
        "predicted_spans": [[span(0, 3, 0, 0.9)]] * 10 + [[]] * 7 + [[]] * 6,
        "group": ["form 00000001"] * 5 + ["letter 00000002"] * 10 + ["note 00000003"] * 2 + ["empty 00000004"] * 6,
        "characters": [50] * 23,
    }
    found = PII.head.score_slices(rows, PII.label_set().labels, 0.0)
    assert [(f.family, f.rows) for f in found.families] == [("letter", 10), ("form", 5)]
    assert [f.entity_f1 for f in found.families] == pytest.approx([2 * 5 / (5 + 10), 1])
    assert [f.overlap_f1 for f in found.families] == pytest.approx([2 * 5 / (5 + 10), 1])
    assert found.clean_families == []
    assert (found.family_count, found.family_mean) == (3, pytest.approx((2 / 3 + 1 + 0) / 3))


def test_families_of_clean_documents_are_listed_by_their_false_alarms() -> None:
    rows = {
        "spans": [[]] * 15 + [[span(0, 3, 0)]],
        "predicted_spans": [[span(1, 2, 1, 0.6)]] * 2 + [[]] * 13 + [[span(1, 3, 0, 0.9)]],
        "group": ["order 00000001"] * 6 + ["note 00000002"] * 9 + ["order 00000001"],
        "characters": [50] * 16,
    }
    found = PII.head.score_slices(rows, PII.label_set().labels, 0.0)
    assert found.clean_families == [CleanFamily(family="order", rows=6, false_alarms=pytest.approx(1 / 3))]
    [order] = found.families
    assert (order.rows, order.entity_f1, order.overlap_f1) == (7, 0.0, pytest.approx(2 * (1 / 3) / (4 / 3)))


# --- mistakes -------------------------------------------------------------------------------------------------------


def test_the_most_confident_mistakes_of_a_pair_come_first() -> None:
    rows = detector(
        [0.6, 0.9, 0.7, 0.2, 0.8], [0, 0, 0, 1, 1], id=["a", "b", "c", "d", "e"], characters=[10, 20, 400, 10, 10],
    )  # fmt: skip
    found = JAILBREAK.head.find_mistakes(rows, JAILBREAK.label_set().labels)
    benign, attack = found.pairs
    assert (benign.label, benign.predicted, benign.rows) == ("benign", "jailbreak", 3)
    assert [(w.id, w.slice) for w in benign.worst] == [("b", "up to 100"), ("c", "301 to 1,000")]
    assert [w.confidence for w in attack.worst] == pytest.approx([0.8])
    assert [(s.slice, s.rows, s.wrong, s.worst.id) for s in found.slices] == [
        ("up to 100 characters", 4, 3, "b"), ("301 to 1,000 characters", 1, 1, "c"),
    ]  # fmt: skip
    loud = JAILBREAK.head.find_mistakes(
        rows | {"alarming": [False, False, True, True, True]}, JAILBREAK.label_set().labels
    ).slices[-1]
    assert (loud.slice, loud.rows, loud.wrong, loud.worst.id) == ("with an alarming word", 3, 2, "d")
    assert (loud.worst.label, loud.worst.predicted) == ("jailbreak", "benign")


def test_each_mistake_of_a_span_has_its_kind() -> None:
    rows = {
        "id": ["a", "b"],
        "group": ["form 00000001", "letter 00000002"],
        "spans": [[span(0, 10, 0), span(20, 30, 1), span(40, 50, 2), span(60, 70, 3)], []],
        "predicted_spans": [
            [span(0, 10, 0, 0.99), span(20, 28, 1, 0.9), span(40, 50, 0, 0.8)],
            [span(3, 6, 4, 0.7)],
        ],
    }
    found = PII.head.find_mistakes(rows, PII.label_set().labels)
    kinds = {entry.label: {k: v for k, v in to_json(entry).items() if k != "label" and v} for entry in found.kinds}
    assert kinds == {
        "PERSON": {"exact": 1}, "EMAIL_ADDRESS": {"other_bounds": 1}, "PHONE_NUMBER": {"other_type": 1},
        "US_SSN": {"missed": 1}, "LOCATION": {"false_alarm": 1},
    }  # fmt: skip
    assert [(w.label, w.predicted, w.kind, w.family) for w in found.worst] == [
        ("EMAIL_ADDRESS", "EMAIL_ADDRESS", "other bounds", "form"),
        ("PHONE_NUMBER", "PERSON", "other type", "form"),
        ("nothing", "LOCATION", "false alarm", "letter"),
    ]
