"""Cards of tasks that have no templates of their own: their head's templates, with the words of the task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from test_published_cards import INFO, as_records, facts_of, run_of

from hubtools.heads import Classification, Detection, Head, Spans
from hubtools.metrics.detection import ROC_AUC
from hubtools.metrics.labels import MACRO_F1
from hubtools.metrics.spans import ENTITY_F1
from hubtools.publishing.cards import render_dataset_card, render_model_card
from hubtools.publishing.front_matter import split_card
from hubtools.publishing.lint import lint_card
from hubtools.records import from_json
from hubtools.records.dataset import DatasetFacts
from hubtools.spec import CardTexts, Example, LabelSet, Metric, Source
from hubtools.task import TaskSpec

# What is true of the four tasks that come with hubtools, and of no other.
WORDS_OF_OTHERS = (
    "attack", "jailbreak", "harmless", "benign", "personal data", "PERSON", "Faker", "Presidio", "MMLU", "Glaive",
    "domain", "function named", "break", "kind of tool", "alarming", "starter", "SSN", "router's own",
)  # fmt: skip


def read_nothing(row: Mapping[str, Any]) -> Example:
    raise AssertionError("no card reads rows")


def task_of(name: str, title: str, head: Head, labels: tuple[str, ...], primary: Metric, question: str) -> TaskSpec:
    return TaskSpec(
        name=name,
        title=title,
        head=head,
        question=question,
        label_sets=(LabelSet("own", labels, {label: label for label in labels}),),
        sources=(
            Source(
                id=f"shop/{name}",
                files={"": ("rows.csv",)},
                columns=("text", "label"),
                row=read_nothing,
                license="cc-by-4.0",
                attribution="The shop's reviews of 2025.",
                provenance="Two readers each, in the shop.",
            ),
        ),
        group_name="near-duplicate cluster",
        primary=primary,
        model_name=f"{name}_classifier_{{base}}_model",
        mapping_file="",
        version="1",
        examples=("The kettle leaks and nobody answers my mails.",),
    )


REVIEWS = (
    task_of("toxicity", "Toxicity", Detection(positive="toxic"), ("ok", "toxic"), ROC_AUC, "Is the review toxic?"),
    task_of(
        "sentiment", "Sentiment", Classification(), ("bad", "mixed", "good"), MACRO_F1, "What does the review think?"
    ),
    task_of(
        "queue", "Queue", Classification(fallback="desk"), ("desk", "returns", "billing"), MACRO_F1, "Who answers it?"
    ),
    task_of("goods", "Goods", Spans(), ("PRODUCT", "PRICE"), ENTITY_F1, "Which products and prices does it name?"),
)
TASK = pytest.mark.parametrize("task", REVIEWS, ids=lambda task: task.name)
ORIGIN = pytest.mark.parametrize("own", [False, True], ids=["public", "own"])


def facts_for(task: TaskSpec, own: bool) -> dict[str, Any]:
    facts = facts_of(task, "public")
    facts["synthesis"] = None
    if own:
        facts["sources"][0]["id"] = "reviews.csv"
    return facts


def model_card_for(task: TaskSpec, own: bool = True) -> str:
    run = run_of(task, "public")
    run["facts"] = facts_for(task, own)
    if isinstance(task.head, Spans):  # nothing is known of its types without training
        run["metrics"]["baselines"] = {}
    return render_model_card(task, f"shop/{task.name}_model", as_records(run))


def dataset_card_for(task: TaskSpec, own: bool = True) -> str:
    return render_dataset_card(task, f"shop/router-{task.name}", from_json(facts_for(task, own), DatasetFacts), INFO)


@TASK
@ORIGIN
def test_cards_pass_lint_and_have_no_word_of_another_task(task: TaskSpec, own: bool) -> None:
    for kind, card in (("model", model_card_for(task, own)), ("dataset", dataset_card_for(task, own))):
        lint_card(card, kind)
        # The words of the robustness report are harmless in every task.
        body = split_card(card)[1].replace("harmless words", "")
        assert [word for word in WORDS_OF_OTHERS if word in body] == []
        assert "\n\n\n" not in card
        assert all(label in body for label in task.label_set().labels)


@TASK
def test_the_sentence_after_the_title_says_what_the_model_does(task: TaskSpec) -> None:
    sentences = [
        [part.strip() for part in split_card(card)[1].split("\n\n") if part.strip()][1]
        for card in (model_card_for(task), dataset_card_for(task))
    ]
    assert all(sentence[0].isupper() and sentence.endswith(".") and "\n" not in sentence for sentence in sentences)
    assert all(label in sentence for sentence in sentences for label in task.label_set().labels)


@TASK
def test_the_words_of_a_task_stand_on_its_cards(task: TaskSpec) -> None:
    words = CardTexts(
        sentence="Reads reviews of kettles.",
        intended=("Sorting the mail.", "Counting complaints."),
        out_of_scope=("Firing people.",),
        limits=("Irony is lost on it.",),
        citation="Kettle (2025), *Reviews*.",
        labels=dict.fromkeys(task.label_set().labels, "what the readers agreed on"),
        dataset_sentence="Reviews of kettles.",
        dataset_limits=("Kettles alone.",),
        languages=("de",),
    )
    told = replace(task, card=words)
    model, dataset = model_card_for(told, own=False), dataset_card_for(told, own=False)
    for line in ("Sorting the mail.", "Counting complaints.", "Firing people.", "Irony is lost on it."):
        assert f"\n- {line}\n" in model
    assert "\nReads reviews of kettles.\n" in model
    assert "\n\nKettle (2025), *Reviews*.\n" in model.split("## Citation\n")[1]
    assert "English only" not in model
    assert "\nReviews of kettles.\n" in dataset
    assert "\n- Kettles alone.\n" in dataset
    for card in (model, dataset):
        assert split_card(card)[0]["language"] == ["de"]
        assert all(f"- `{label}`: what the readers agreed on\n" in card for label in task.label_set().labels)
    assert "Kettle (2025)" not in model_card_for(told, own=True)


@TASK
def test_a_task_without_examples_has_snippets_all_the_same(task: TaskSpec) -> None:
    run = run_of(task, "public")
    run["metrics"]["examples"] = []
    card = render_model_card(replace(task, examples=()), "shop/model", as_records(run))
    lint_card(card, "model")
    assert 'text = "The text that you want to ask about."' in card


def test_a_detection_calls_its_rows_by_the_nouns_of_the_task() -> None:
    task = replace(REVIEWS[0], head=Detection(positive="toxic", positive_noun="insult", negative_noun="opinion"))
    card = model_card_for(task)
    assert "100 insults and 200 opinions." in card
    assert "pairs of an insult and an opinion of like length" in card
    assert "| opinions flagged (FPR) | insults missed (FNR) |" in card
    assert "The median insult of the test split" in dataset_card_for(task)


def test_spans_call_what_they_hold_by_the_noun_of_the_task() -> None:
    card = model_card_for(replace(REVIEWS[3], head=Spans(content="goods and prices")))
    assert "| characters of goods and prices found |" in card
    assert "| false alarms on documents without goods and prices |" in card
    assert "30 test documents hold no goods and prices." in card


def test_who_made_the_labels_is_what_the_source_says() -> None:
    task = REVIEWS[1]
    known = replace(task, sources=(replace(task.sources[0], annotators="crowdsourced"),))
    assert split_card(dataset_card_for(known, own=False))[0]["annotations_creators"] == ["crowdsourced"]
    assert split_card(dataset_card_for(task, own=False))[0]["annotations_creators"] == ["other"]
    assert split_card(dataset_card_for(known, own=True))[0]["annotations_creators"] == ["other"]
