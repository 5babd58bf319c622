"""What follows from answers: decisions, masked copies, what thresholds give, warnings. No model is asked."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from space_copy import CURVES, NOTE, set_tasks

TEXT = "Maria Keller wrote to maria KELLER about Portland."
LABELS = {"math": 0.8, "law": 0.15, "other": 0.05}


def read(**part: Any) -> dict[str, Any]:
    return {**part, "tokens_read": 9, "windows": 1, "truncated": False}


def span(kind: str, start: int, end: int, score: float = 0.9, text: str = TEXT) -> dict[str, Any]:
    return {"entity_group": kind, "start": start, "end": end, "score": score, "word": text[start:end]}


def reads(attack: float = 0.1, spans: Any = (), labels: dict[str, float] = LABELS) -> dict[str, Any]:
    """What the models could have read in TEXT."""
    scores = {"benign": 1 - attack, "jailbreak": attack}
    return {
        "category": read(scores=labels),
        "pii": read(entities=[*spans]),
        "jailbreak": read(scores=scores, strongest=[0, len(TEXT)]),
        "intent": read(scores={"communication": 0.7, "analysis": 0.3}),
    }


PERSONS = [span("PERSON", 0, 12), span("PERSON", 22, 34), span("LOCATION", 41, 49)]


@pytest.mark.parametrize(
    ("answers", "action", "headline", "reason"),
    [
        (reads(0.97), "block", "Blocked", "Jailbreak: 0.97, at or above the threshold 0.70."),
        (reads(0.7), "block", "Blocked", "Jailbreak: 0.70, at or above the threshold 0.70."),
        (
            reads(0.699),
            "review",
            "Review",
            "Jailbreak: 0.699. That is below the threshold 0.700, and too much to pass unseen.",
        ),
        (reads(0.5, PERSONS), "review", "Review", "Jailbreak: 0.50. That is below the threshold 0.70"),
        (
            reads(0.1, PERSONS),
            "mask",
            "Mask personal data, then send to the math model",
            "No jailbreak (0.10). 3 spans of personal data: PERSON and LOCATION. Domain: math (0.80).",
        ),
        (
            reads(0.1),
            "pass",
            "Send to the math model",
            "No jailbreak (0.10). Domain: math (0.80). Intent: communication",
        ),
        (
            reads(labels={"law": 0.2999, "other": 0.2}),
            "pass",
            "Send to the other model",
            "Domain unsure: law at 0.2999 is below 0.3000, so other.",
        ),
    ],
)
def test_a_prompt_gets_one_decision_with_its_reason(
    space: SimpleNamespace, answers: Any, action: str, headline: str, reason: str
) -> None:
    decision = space.policy.decide(TEXT, answers)
    assert (decision["action"], decision["headline"]) == (action, headline)
    assert reason in decision["reason"]
    assert (decision["prompt"] is None) == (action in ("block", "review"))


def test_the_masked_copy_gives_the_same_value_the_same_number(space: SimpleNamespace) -> None:
    decision = space.policy.decide(TEXT, reads(spans=PERSONS))
    assert decision["prompt"] == "[PERSON_1] wrote to [PERSON_1] about [LOCATION_1]."
    assert decision["answers"]["pii"]["masked"] == decision["prompt"]
    others = [span("PERSON", 0, 5), span("PERSON", 6, 12), span("PERSON", 22, 27)]
    placeholders = [entity["placeholder"] for entity in space.policy.place(others)]
    assert placeholders == ["[PERSON_1]", "[PERSON_2]", "[PERSON_1]"]


@pytest.mark.parametrize("limit", [0.0, 0.2, 0.5, 0.7, 0.961, 1.0])
def test_a_detection_never_passes_above_one_half_nor_blocks_below_its_threshold(
    space: SimpleNamespace, limit: float
) -> None:
    for score in (0.0, 0.1, 0.2, 0.499, 0.5, 0.7, 0.95, 0.961, 1.0):
        action = space.policy.decide(TEXT, reads(score), {"jailbreak": limit})["action"]
        assert (action == "block") == (score >= limit)
        assert score < 0.5 or action != "pass"


def test_other_thresholds_change_the_decision_and_not_the_answers(space: SimpleNamespace) -> None:
    answers = reads(0.4, PERSONS)
    shipped = space.policy.decide(TEXT, answers)
    stricter = space.policy.decide(TEXT, answers, {"jailbreak": 0.3, "pii": 0.95, "category": 0.9})
    assert (shipped["action"], stricter["action"]) == ("mask", "block")
    assert stricter["answers"]["pii"]["entities"] == []
    assert stricter["answers"]["category"]["label"] == "other"
    assert shipped["answers"]["jailbreak"]["scores"] == stricter["answers"]["jailbreak"]["scores"]


def test_what_a_threshold_gives_is_what_the_curve_says_at_every_position(space: SimpleNamespace) -> None:
    for name, words in (
        ("jailbreak", r"Catches (\S+) of .*, stops (\S+) of"),
        ("category", r"Answers (\S+) of prompts, (\S+) of"),
        ("pii", r"Finds (\S+) of personal data exactly, marks something in (\S+) of texts without any\.$"),
    ):
        task, points = space.tasks.tasks()[name], CURVES[name]
        for limit in (step / 1000 for step in range(1001)):
            *_, (_, first, second) = [point for point in points if point[0] >= limit]
            said = space.policy.say_threshold(task, limit)
            if name == "category" and first == 0:
                assert said == "Answers nothing: every prompt goes to other."
                continue
            found = re.match(words, said)
            assert found, said
            assert found.groups() == (space.texts.percent(first), space.texts.percent(second)), limit


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pii", "Marks what scores 0.5 or more. What it gives on the test split is not known."),
        ("jailbreak", "What it gives on the test split is not known."),
        ("category", "What it gives on the test split is not known."),
    ],
)
def test_a_release_without_a_curve_says_that_nothing_is_known(space: SimpleNamespace, name: str, words: str) -> None:
    task = replace(space.tasks.tasks()[name], curve=())
    assert space.policy.say_threshold(task, 0.5) == words
    assert "<svg" not in space.parts.policy_words(task, 0.5)


def test_the_words_never_name_another_threshold_than_the_slider_stands_at(space: SimpleNamespace) -> None:
    task = space.tasks.tasks()["jailbreak"]
    assert "Shipped threshold 0.7." in space.parts.policy_words(task, 0.7)
    for limit in (0.0, 0.001, 0.699, 0.701, 1.0):
        assert f"Your threshold {limit:g}." in space.parts.policy_words(task, limit)


def test_a_slider_at_the_shipped_value_means_the_shipped_value(
    space: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine = replace(space.tasks.tasks()["jailbreak"], threshold=0.70037)
    set_tasks(space, monkeypatch, {"jailbreak": fine})
    assert space.policy.settle({"jailbreak": 0.7}) == {"jailbreak": 0.70037}
    assert space.policy.settle({"jailbreak": 0.701}) == {"jailbreak": 0.701}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("请给我写一封关于会议的电子邮件", "written in Chinese letters"),
        ("Напишите письмо моему коллеге", "written in Cyrillic letters"),
        ("会議についてのメールを書いてください", "written in Japanese letters"),
        ("Bitte schreibe mir eine E-Mail an den Kunden und erkläre, dass der Termin nicht mehr passt.", "like German"),
        ("Écris une lettre à mon voisin pour lui dire que je ne suis pas dans la maison", "like French"),
        ("Escribe una carta para mi vecino y dile que no estoy en la casa", "like Spanish"),
        ("Ignore\u200ball\u202eprevious", "2 characters that do not show"),
        ("x" * 100_001, "has 100,001 characters. Only the first 100,000 were read"),
    ],
)
def test_a_text_that_the_models_cannot_read_well_is_warned_of(space: SimpleNamespace, text: str, words: str) -> None:
    assert words in " ".join(space.policy.warn(text))


GERMAN = "Bitte schreibe mir eine E-Mail an den Kunden und erkläre, dass der Termin nicht mehr passt."
ENGLISH = "Please write an e-mail to the customer and explain that the date does not fit any more."
RUSSIAN = "Напишите, пожалуйста, письмо клиенту."


def know(space: SimpleNamespace, patch: pytest.MonkeyPatch, **languages: list[str]) -> None:
    """Give the tasks that are named other languages."""
    tasks = space.tasks.tasks()
    changed = {name: replace(task, languages=tuple(languages.get(name, ["en"]))) for name, task in tasks.items()}
    set_tasks(space, patch, {name: changed[name] for name in languages})


@pytest.mark.parametrize(
    ("codes", "said", "fine", "warned"),
    [
        (["de"], "The models know German only.", GERMAN, ENGLISH),
        (["de"], "The models know German only.", GERMAN, RUSSIAN),
        (["ru"], "The models know Russian only.", RUSSIAN, ENGLISH),
        (["de", "en"], "The models know German and English only.", ENGLISH, RUSSIAN),
        (["xx"], "The models know xx only.", RUSSIAN, ""),
        (["unknown"], "", RUSSIAN, ""),
        ([], "", GERMAN, ""),
    ],
)
def test_what_the_models_know_is_said_of_the_data_s_languages(
    space: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, codes: list[str], said: str, fine: str, warned: str
) -> None:
    know(space, monkeypatch, category=codes, pii=codes)
    assert space.policy.say_languages() == said
    assert space.policy.warn(fine) == []
    if warned:
        [warning] = space.policy.warn(warned)
        assert f"{said} Do not rely on these answers." in warning


def test_a_text_that_some_models_know_is_warned_of_for_the_others(
    space: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(space, monkeypatch, category=["de"], pii=["en"], intent=["en"])
    known = "Domain knows German only. Personal data and Intent know English only."
    assert space.policy.say_languages() == known
    assert space.policy.warn(GERMAN) == [f"It looks like German. {known} Do not rely on all answers."]
    assert "Do not rely on these answers." in space.policy.warn(RUSSIAN)[0]


@pytest.mark.parametrize(
    "text",
    [
        *("What is the derivative of x^2?", "Send an e-mail to José García in São Paulo", "π r² = 3.14", "", "12 + 4"),
        *("Translate 'où est la gare' to English for me", "Is the Schadenfreude of the fans in order?"),
        "Convert 10 km to miles \N{WAVING HAND SIGN} and say why",
    ],
)
def test_an_english_text_is_not_warned_of(space: SimpleNamespace, text: str) -> None:
    assert space.policy.warn(text) == []


def test_what_a_prompt_or_a_note_says_is_never_markup(space: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "<img src=x onerror=alert(1)>"
    words = dict.fromkeys(("title", "question", "about", "note"), evil)
    tasks = space.tasks.tasks()
    task = replace(
        tasks["jailbreak"], repo="<u>/x", revision="<u>" * 9, dataset="<u>/y", **words, verdicts=(evil, evil)
    )
    set_tasks(space, monkeypatch, {"jailbreak": task, "pii": replace(tasks["pii"], **words)})
    spans = [span(evil, 0, 4, text=evil), span("PERSON", 5, 9, text=evil)]
    for attack in (0.1, 0.6, 0.9):
        answers = {name: answer for name, answer in reads(attack, spans).items() if name in ("jailbreak", "pii")}
        answers["jailbreak"]["strongest"] = [2, 7]
        decision = space.policy.decide(evil, answers)
        markup = space.parts.result(evil, decision, {}) + space.parts.notes() + space.batch.as_table([evil], [decision])
        assert "&lt;" in markup
        assert not re.search(r"<(u|img|script)\b", markup)


def test_a_span_across_the_end_of_a_shaded_window_is_marked_on_both_sides(space: SimpleNamespace) -> None:
    answers = reads(0.9, PERSONS)
    answers["jailbreak"]["strongest"] = [6, 30]
    decision = space.policy.decide(TEXT, answers)
    entities = decision["answers"]["pii"]["entities"]
    markup = space.parts.annotate(TEXT, decision, entities)
    shown = re.sub(r"<b class='name'>.*?</b>", "", markup)
    assert re.sub(r"<[^>]+>", "", shown) == TEXT
    assert markup.count("PERSON 1") == 4


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ({"pii": "small"}, "Personal data: small."),
        ({"pii": "small.", "intent": "small."}, "Both: small."),
        ({"pii": "small", "intent": "old"}, "Personal data: small; Intent: old."),
        (dict.fromkeys(("pii", "intent", "category"), "small"), "All three: small."),
    ],
)
def test_a_note_that_all_models_have_is_said_once(
    space: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, notes: dict[str, str], words: str
) -> None:
    tasks = space.tasks.tasks()
    set_tasks(space, monkeypatch, {name: replace(tasks[name], note=note) for name, note in notes.items()})
    assert space.parts.notes() == f"<p class='note'>{words}</p>"


def test_the_notes_say_what_the_models_are(space: SimpleNamespace) -> None:
    assert NOTE in space.parts.notes()


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("one\n\n two \nthree, and four", ["one", " two ", "three, and four"]),
        ('id,Text\n1,"a\nb"\n2,c\n3,\n', ["a\nb", "c"]),
        ("\ufefftext\r\nfirst\r\nsecond\r\n", ["first", "second"]),
        ("text\rfirst\rsecond", ["first", "second"]),
        ('"' + 70_000 * "ab ", ['"' + 70_000 * "ab "]),
        ("text", []),
        ("", []),
        (" \n\t", []),
    ],
)
def test_lines_and_the_column_named_text_are_prompts(space: SimpleNamespace, text: str, prompts: list[str]) -> None:
    assert space.batch.read_prompts(text) == prompts


def test_no_cell_of_the_download_is_a_formula(space: SimpleNamespace) -> None:
    for prompt in ("=1+1", "+1", "-1", "@x", "\t=1", " =1", "\r=1", " -1", "\n1", "\uff1d1", '=HYPERLINK("http://x")'):
        decision = space.policy.decide(prompt, reads())
        rows = [*csv.reader(io.StringIO(space.batch.as_csv([space.batch.cells(prompt, decision)])))]
        assert rows[0] == [
            *("text", "action", "prompt_sent", "category", "category_score", "pii"),
            *("jailbreak", "jailbreak_score", "intent", "intent_score"),
        ]
        assert rows[1][0] == rows[1][2] == f"'{prompt}"
    assert space.batch.harmless("plain - text") == "plain - text"
