"""What heads make of a model that reads in windows: predictions, other decodings, and the check of a release."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_classifiers import WINDOW, make_classifier, make_tokenizer

from hubtools.evaluation.classifiers import open_classifier
from hubtools.evaluation.multitask import ABOUT_HEADS, MultitaskClassifier, find_largest_difference
from hubtools.heads.inference import load_pipeline, predict_probabilities, predict_spans
from hubtools.heads.values import Rows
from hubtools.reading import cut_windows
from hubtools.router import Router
from hubtools.tasks import TASKS
from hubtools.training.multitask_release import HEADS
from hubtools.words import find_words

JAILBREAK, PII, CATEGORY = TASKS["jailbreak"], TASKS["pii"], TASKS["category"]
LONG = "Please tell Ann Lee of 12 Main Street, Rome, that her number is 555-0100. " * 4
TEXTS = ["Ann Lee", LONG, "nobody at home", ""]


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_classifier(tmp_path_factory.mktemp("guard"), list(JAILBREAK.label_set().labels), seed=1)


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = list(PII.model_labels(PII.label_set()))
    return make_classifier(tmp_path_factory.mktemp("tagger"), labels, "token", seed=2)


@pytest.fixture(scope="module")
def columns(tagger: Path) -> Rows:
    rows: Rows = {"text": TEXTS, "spans": [[] for _ in TEXTS]}
    return PII.head.predict_columns(pii_pipeline(tagger), rows, PII.label_set().labels, lambda _: None, 1.0)


def pii_pipeline(folder: Path) -> Any:
    return load_pipeline(PII.head.pipeline, str(folder))


def test_the_score_of_a_detection_is_the_highest_of_its_windows(guard: Path) -> None:
    label_set = JAILBREAK.label_set()
    classifier = open_classifier(JAILBREAK, label_set, str(guard), {})
    predicted = JAILBREAK.head.predict(classifier.pipeline, classifier.plan, [LONG], label_set.labels)
    # A token of the tiny tokenizer is a character: its windows are parts of the text.
    parts = [LONG[w.start : w.stop] for w in cut_windows(len(LONG), WINDOW - 2, (WINDOW - 2) // 2)]
    alone = [row[1] for row in predict_probabilities(classifier.pipeline, parts, label_set.labels)]
    [answer] = predicted.answers  # type: ignore[misc]
    assert answer[1] == pytest.approx(max(alone), abs=1e-5)
    assert max(alone) - min(alone) > 1e-4
    assert sum(answer[:2]) == pytest.approx(1)
    assert (predicted.tokens_read, predicted.windows, predicted.truncated) == ([len(LONG)], [len(parts)], [False])


def test_an_answer_of_the_api_says_how_much_was_read(guard: Path, tagger: Path, tmp_path: Path) -> None:
    category = make_classifier(tmp_path / "category", list(CATEGORY.label_set().labels))
    answers = Router({"jailbreak": guard, "pii": tagger, "category": category})(LONG)
    for name in ("jailbreak", "pii"):
        assert (answers[name].tokens_read, answers[name].truncated) == (len(LONG), False)
        assert answers[name].windows > 5
    assert (answers["category"].tokens_read, answers["category"].windows, answers["category"].truncated) == (
        62,
        1,
        True,
    )


def test_predictions_hold_spans_over_words_those_of_pipeline_and_the_routers(columns: Rows, tagger: Path) -> None:
    assert columns["plain_spans"] == predict_spans(pii_pipeline(tagger), TEXTS, PII.label_set().labels)
    for text, spans in zip(TEXTS, columns["predicted_spans"], strict=True):
        starts, ends = {start for start, _ in find_words(text)}, {end for _, end in find_words(text)}
        assert all(span["start"] in starts and span["end"] in ends for span in spans)
    # A random model cuts words wherever each token is decided alone; within one window the router does as pipeline().
    for i in (0, 2, 3):
        plain, router = (
            [(s["start"], s["end"], s["label"]) for s in spans[i]]
            for spans in (columns["plain_spans"], columns["router_spans"])
        )
        assert plain == router
    assert columns["windows"][0] == 1
    assert columns["windows"][1] > 5
    assert [len(tokens) for tokens in columns["tokens"]] == columns["tokens_read"] == [len(text) for text in TEXTS]


def test_other_decodings_are_scored_beside_where_predictions_have_them(columns: Rows) -> None:
    labels = PII.label_set().labels
    rows: Rows = {**columns, "group": ["a", "b", "c", "d"], "spans": [[{"start": 0, "end": 7, "label": 0}], [], [], []]}
    found = PII.head.score_other_decodings(rows, labels)
    assert list(found) == ["plain `pipeline()`", "Semantic Router"]
    older: Rows = {"group": rows["group"], "spans": rows["spans"], "predicted_spans": rows["plain_spans"]}
    assert PII.head.score_other_decodings(older, labels) == {}
    scores = PII.head.score(older, labels, 0.0)
    assert found["plain `pipeline()`"].entity_f1 == scores.entity_f1  # type: ignore[union-attr]


def test_verification_asks_pipeline_and_the_decoder(columns: Rows, tagger: Path) -> None:
    head, classifier = PII.head, pii_pipeline(tagger)
    assert head.compare_answers(classifier, TEXTS, columns).largest < 1e-5
    for column in ("plain_spans", "predicted_spans"):
        changed: Any = {**columns, column: [[], *columns[column][1:]]}  # type: ignore[literal-required]
        assert head.compare_answers(classifier, TEXTS, changed).largest == 1
    older: Rows = {"spans": columns["spans"], "predicted_spans": columns["plain_spans"]}
    assert head.compare_answers(classifier, TEXTS, older).largest < 1e-5


def test_verification_of_a_detection_asks_pipeline_for_short_texts_and_reads_long_ones(guard: Path) -> None:
    head, labels = JAILBREAK.head, JAILBREAK.label_set().labels
    classifier = load_pipeline(head.pipeline, str(guard))
    rows: Rows = {"text": TEXTS, "label": [0] * len(TEXTS)}
    recorded = head.predict_columns(classifier, rows, labels, lambda _: None, 1.0)
    assert head.compare_answers(classifier, TEXTS, recorded).largest < 1e-5
    older: Rows = {"label": [0] * len(TEXTS), "probabilities": predict_probabilities(classifier, TEXTS, labels)}
    assert head.compare_answers(classifier, TEXTS, older).largest < 1e-5
    without_alarming = replace(head, alarming=()).predict_columns(classifier, rows, labels, lambda _: None, 1.0)
    assert recorded.keys() - without_alarming.keys() == {"alarming"}
    for i in range(len(TEXTS)):
        probabilities: Any = [list(row) for row in recorded["probabilities"]]
        probabilities[i][0] += 0.1
        assert head.compare_answers(classifier, TEXTS, {**recorded, "probabilities": probabilities}).largest > 0.09


def test_one_body_with_several_heads_reads_a_text_as_each_of_its_repos(
    guard: Path, tagger: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    one, other = (
        kind.from_pretrained(folder)
        for kind, folder in ((AutoModelForSequenceClassification, guard), (AutoModelForTokenClassification, tagger))
    )
    other.model.load_state_dict(one.model.state_dict())
    tokenizer = make_tokenizer()
    weights, about, alone = {}, {}, {}
    for task, model, kind in ((JAILBREAK, one, "sequence"), (PII, other, "token")):
        labels = list(task.model_labels(task.label_set()))
        about[task.name] = {"kind": kind, "labels": labels}
        for part in ("head", "classifier"):
            state = getattr(model, part).state_dict()
            weights |= {f"{task.name}.{part}.{name}": value.clone() for name, value in state.items()}
        model.save_pretrained(tmp_path / task.name)
        tokenizer.save_pretrained(tmp_path / task.name)
        alone[task.name] = load_pipeline(task.head.pipeline, str(tmp_path / task.name))
    together = tmp_path / "together"
    one.model.save_pretrained(together)
    tokenizer.save_pretrained(together)
    save_file(weights, together / HEADS)
    (together / ABOUT_HEADS).write_text(json.dumps(about))
    classifier = MultitaskClassifier(str(together))
    answers = [classifier(text) for text in TEXTS]
    for task, truth in ((JAILBREAK, {"label": [0] * len(TEXTS)}), (PII, {"spans": [[] for _ in TEXTS]})):
        rows: Any = {"text": TEXTS, **truth}
        labels = task.label_set().labels
        recorded = task.head.predict_columns(alone[task.name], rows, labels, lambda _: None, 1.0)
        assert find_largest_difference(task.head, task.name, answers, recorded) < 1e-5
        assert sum(1 for _ in task.head.pair_multitask_answers(answers[1][task.name], recorded, 1)) in (2, len(LONG))
