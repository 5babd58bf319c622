"""app.py's functions, on four tiny models that know a handful of sentences by heart."""

from __future__ import annotations

import ast
import json
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from space_copy import NOTE, SPACE, THRESHOLDS, import_app, own_entry, write_models
from tiny_models import ATTACK, CALCULUS, CATEGORIES, ERRAND, FILLER, INTENTS, PII_TYPES, WINDOW

from hubtools.tasks import TASKS

WAVE = "\N{WAVING HAND SIGN}"
SENTENCE = "My name is Maria Keller and my mail is maria@example.com."


def found(app: ModuleType, text: str, threshold: float | None = None) -> list[tuple[str, str]]:
    return [(entity["entity_group"], entity["word"]) for entity in app.find_spans("pii", text, threshold)["entities"]]


@pytest.mark.parametrize(
    ("task", "labels"), [("category", CATEGORIES), ("jailbreak", ["benign", "jailbreak"]), ("intent", INTENTS)]
)
def test_classify_gives_every_label_a_probability_best_first(app: ModuleType, task: str, labels: list[str]) -> None:
    scores = app.classify(task, CALCULUS)
    assert sorted(scores) == sorted(labels)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
    assert {type(score) for score in scores.values()} == {float}


def test_route_gives_all_four_answers_and_their_latency(app: ModuleType) -> None:
    answers = app.route(ERRAND)
    assert next(iter(answers["category"])) == "business"
    assert next(iter(answers["intent"])) == "communication"
    assert next(iter(answers["jailbreak"])) == "benign"
    assert [entity["word"] for entity in answers["pii"]["entities"]] == ["Anna"]
    assert set(answers["latency_ms"]) == set(THRESHOLDS)
    assert all(ms > 0 for ms in answers["latency_ms"].values())
    assert next(iter(app.classify("jailbreak", ATTACK))) == "jailbreak"
    json.dumps(answers)


def test_spans_are_exact_and_carry_no_white_space(app: ModuleType) -> None:
    text = f"She moved to Portland {WAVE}\nMaria Keller"
    entities = app.find_spans("pii", text)["entities"]
    assert [(entity["entity_group"], entity["word"]) for entity in entities] == [
        ("LOCATION", "Portland"),
        ("PERSON", "Maria Keller"),
    ]
    for entity in entities:
        assert text[entity["start"] : entity["end"]] == entity["word"] == entity["word"].strip()
        assert 0 < entity["score"] <= 1


@pytest.mark.parametrize(
    "text",
    [f"{WAVE}{WAVE} Anna{WAVE}", "\n\n Anna \t\n", "e\u0301 Anna", "\x00 Anna", "\ud800 Anna", " \u00a0Anna\u00a0 "],
)
def test_odd_characters_do_not_shift_the_spans(app: ModuleType, text: str) -> None:
    answer = app.find_spans("pii", text, 0.0)
    assert len(answer["text"]) == len(text)
    end = 0
    for entity in answer["entities"]:
        assert end <= entity["start"] < entity["end"] <= len(text)
        assert answer["text"][entity["start"] : entity["end"]] == entity["word"] == entity["word"].strip()
        end = entity["end"]
    app.route(text)


def test_personal_data_beyond_the_first_window_is_found(app: ModuleType) -> None:
    text = FILLER * 40 + SENTENCE
    assert app.count_tokens("pii", text) > 5 * WINDOW
    assert found(app, text, 0.9)[-2:] == [("PERSON", "Maria Keller"), ("EMAIL_ADDRESS", "maria@example.com")]
    one_window = app.load("pii")(text, aggregation_strategy="simple")
    assert max((piece["end"] for piece in one_window), default=0) < len(text) - len(SENTENCE)


def test_a_window_seam_neither_splits_nor_repeats_a_span(app: ModuleType) -> None:
    for words in range(4, 40, 3):
        text = " ".join([*(FILLER * 6).split()[-words:], SENTENCE])
        spans = [word for _, word in found(app, text, 0.9)]
        assert spans.count("Maria Keller") == 1, words
        assert spans.count("maria@example.com") == 1, words


def piece(kind: str, start: int, end: int, score: float = 1.0) -> dict[str, Any]:
    return {"entity_group": kind, "start": start, "end": end, "score": score}


@pytest.mark.parametrize(
    ("text", "pieces", "expected"),
    [
        pytest.param("John Watson", [piece("PERSON", 0, 2), piece("PERSON", 2, 4)], ["John"], id="touching: one"),
        pytest.param("Ann Bob", [piece("PERSON", 0, 3), piece("PERSON", 3, 7)], ["Ann", "Bob"], id="a space: two"),
        pytest.param("AnnLondon", [piece("PERSON", 0, 3), piece("LOCATION", 3, 9)], ["Ann", "London"], id="two types"),
        pytest.param("a \n b", [piece("PERSON", 1, 4)], [], id="white space alone: none"),
        pytest.param(f"x{WAVE}", [piece("PERSON", 0, 2), piece("LOCATION", 1, 2)], [f"x{WAVE}"], id="shared character"),
        pytest.param("a b", [piece("PERSON", 1, 3), piece("PERSON", 0, 1)], ["a", "b"], id="out of order"),
    ],
)
def test_pieces_are_joined_where_they_touch(
    app: ModuleType, text: str, pieces: list[dict[str, Any]], expected: list[str]
) -> None:
    assert [span["word"] for span in app.join_pieces(text, pieces)] == expected


def test_a_joined_span_scores_the_mean_of_its_pieces_by_length(app: ModuleType) -> None:
    (span,) = app.join_pieces("John", [piece("PERSON", 0, 1, 0.6), piece("PERSON", 1, 4, 1.0)])
    assert span["score"] == pytest.approx(0.9)


def test_the_threshold_drops_weaker_spans_only(app: ModuleType) -> None:
    everything = app.find_spans("pii", SENTENCE, 0.0)["entities"]
    scores = sorted(entity["score"] for entity in everything)
    assert app.find_spans("pii", SENTENCE, scores[-1])["entities"] == [
        e for e in everything if e["score"] == scores[-1]
    ]
    assert found(app, SENTENCE) == found(app, SENTENCE, THRESHOLDS["pii"])


def test_the_redacted_copy_holds_none_of_what_was_found(app: ModuleType) -> None:
    answer = app.find_spans("pii", SENTENCE, 0.9)
    assert app.redact(answer) == "My name is [PERSON] and my mail is [EMAIL_ADDRESS]."
    assert {entity["entity_group"] for entity in answer["entities"]} <= set(PII_TYPES)


@pytest.mark.parametrize("text", ["", "  \n\t", None])
def test_an_empty_prompt_is_answered_with_nothing_and_a_hint(app: ModuleType, text: Any) -> None:
    assert app.classify("category", text) == {}
    assert app.find_spans("pii", text)["entities"] == []
    assert app.route(text)["jailbreak"] == {}
    for shown in (
        app.show_route(text)[1],
        app.show_task("intent", text)[0],
        app.show_task("jailbreak", text, 0.5)[0],
        app.show_task("pii", text, 0.5)[0],
    ):
        assert app.HINT in shown


def test_a_very_long_prompt_is_answered_and_told_what_was_read(app: ModuleType) -> None:
    text = (FILLER * 4000)[: app.MAX_CHARS + 1]
    answers = app.route(text)
    assert len(answers["pii"]["text"]) == app.MAX_CHARS
    assert answers["category"] == app.classify("category", text[:2000])
    said = app.status(list(app.tasks()), text, 1.0)
    assert f"Domain, jailbreak and intent read the first {WINDOW} tokens." in said
    assert "only the first 100,000 were read" in said


def test_threads_do_not_disturb_each_other(app: ModuleType) -> None:
    prompts = [CALCULUS, FILLER * 20, ATTACK, ERRAND] * 4
    alone = [app.classify("category", prompt) for prompt in prompts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda prompt: app.classify("category", prompt), prompts))
        spans = list(pool.map(partial(app.find_spans, "pii"), [SENTENCE, FILLER * 20 + SENTENCE] * 8))
    assert together == alone
    assert spans[:2] * 8 == spans


@pytest.mark.parametrize(
    ("score", "threshold", "words"),
    [
        (0.97, 0.7, "Jailbreak: 0.97, at or above the shipped threshold 0.70"),
        (0.12, 0.7, "No jailbreak: 0.12, below the shipped threshold 0.70"),
        (0.7, 0.7, "Jailbreak: 0.70, at or above the shipped threshold 0.70"),
        (0.699, 0.7, "No jailbreak: 0.699, below the shipped threshold 0.700"),
        (0.87341, 0.8734, "Jailbreak: 0.87341, at or above the shipped threshold 0.87340"),
    ],
)
def test_the_verdict_never_rounds_across_the_threshold(
    app: ModuleType, score: float, threshold: float, words: str
) -> None:
    assert app.verdict("jailbreak", score, threshold) == words


def test_a_slider_at_the_shipped_value_means_the_shipped_value(app: ModuleType) -> None:
    assert app.settle("jailbreak", 0.7004) == (0.7, "the shipped threshold")
    assert app.settle("jailbreak", 0.71) == (0.71, "your threshold")


def test_what_a_prompt_or_a_note_says_is_never_markup(app: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    entity = {"entity_group": "<u>", "word": "<img src=x>", "score": 0.5}
    words = dict.fromkeys(("title", "question", "about", "note", "positive"), "<script>")
    task = replace(app.tasks()["jailbreak"], repo="<u>/x", revision="<u>" * 9, dataset="<u>/y", **words)
    task = replace(task, verdicts=("<u>", "<u>"))
    monkeypatch.setattr(app, "tasks", lambda: {"jailbreak": task})
    verdict_card = app.verdict_card("jailbreak", {"<script>": 0.9, "<u>": 0.1}, 0.5)
    for markup in (
        *(app.spans_list([entity]), app.line("<script>"), app.facts("jailbreak"), app.notes(), app.tiles()),
        *(app.tiles({"jailbreak": {"<script>": 0.9}, "latency_ms": {"jailbreak": 1.0}}), verdict_card),
    ):
        assert "&lt;" in markup
        assert not re.search(r"<(u|img|script)\b", markup)


# --- models.json


def test_notes_and_facts_say_where_the_models_come_from(app: ModuleType, tmp_path: Path) -> None:
    assert NOTE in app.notes()
    assert "local folder category_classifier_tiny_model" in app.facts("category")
    assert "/datasets/local/router-pii" in app.facts("pii")
    assert "<b>Shipped threshold</b> 0.7" in app.facts("jailbreak")


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ({"pii": "small"}, "Personal data: small."),
        ({"pii": "small", "intent": ""}, "Personal data: small."),
        ({"pii": "small.", "intent": "small."}, "Both: small."),
        ({"pii": "small", "intent": "old"}, "Personal data: small; Intent: old."),
        (dict.fromkeys(("pii", "intent", "category"), "small"), "All three: small."),
    ],
)
def test_a_note_that_all_models_have_is_said_once(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch, notes: dict[str, str], words: str
) -> None:
    noted = {name: replace(app.tasks()[name], note=note) for name, note in notes.items()}
    monkeypatch.setattr(app, "tasks", lambda: noted)
    assert app.notes() == f"<p class='note'>{words}</p>"


def write(tmp_path: Path, **changes: Any) -> Path:
    """models.json of hubtools' own tasks, each with the changes to its entry; a key that is None is left out."""
    entries = {name: own_entry(name, "owner/name", "a" * 40) | changes.get(name, {}) for name in THRESHOLDS}
    pruned = {name: {k: v for k, v in entry.items() if v is not None} for name, entry in entries.items()}
    return write_models(tmp_path, pruned)


def test_a_repo_is_loaded_at_its_pinned_revision(
    tmp_path: Path, space_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    write(tmp_path, category={"repo": str(space_folder / "models" / "category_classifier_tiny_model")})
    app = import_app(Path(shutil_copy(tmp_path)))
    asked = {}

    def pipeline(task: str, model: str, revision: str | None, **options: Any) -> Any:
        asked[model] = task, revision
        raise OSError("no such revision")

    monkeypatch.setattr(transformers, "pipeline", pipeline)
    for name in THRESHOLDS:
        with pytest.raises(OSError, match="no such revision"):
            app.load(name)
    assert asked["owner/name"] == ("text-classification", "a" * 40)
    assert [revision for model, (_, revision) in asked.items() if model != "owner/name"] == [None]
    with pytest.raises(SystemExit, match=r"The category model .* cannot be loaded.*no such revision"):
        app.main()


def shutil_copy(folder: Path) -> Path:
    (folder / "app.py").write_text((SPACE / "app.py").read_text())
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repo": None}, "models.pii needs a 'repo' that is text, found None"),
        ({"revision": None}, "models.pii is neither a local folder nor pinned to a 'revision', found None"),
        ({"threshold": None}, "models.pii needs a 'threshold' between 0 and 1, found None"),
        ({"threshold": 70}, "between 0 and 1, found 70"),
        ({"threshold": "0.5"}, "between 0 and 1, found '0.5'"),
        ({"title": None}, "models.pii needs a 'title' that is text, found None"),
        ({"question": ""}, "models.pii needs a 'question' that is text, found ''"),
        ({"about": ["a"]}, r"models.pii needs a 'about' that is text, found \['a'\]"),
        ({"note": 3}, "models.pii needs a 'note' that is text, found 3"),
        ({"examples": "one"}, "models.pii needs 'examples' to be a list of texts, found 'one'"),
        ({"head": ["spans"]}, r"'head' that is one of classification, detection, spans, found \['spans'\]"),
        ({"head": "regression"}, "'head' that is one of classification, detection, spans, found 'regression'"),
        ({"head": "detection"}, "models.pii needs a 'positive': the label that the detection looks for"),
        ({"verdicts": ["Yes"]}, r"models.pii needs two 'verdicts', found \['Yes'\]"),
    ],
)
def test_a_wrong_models_json_is_told_what_is_missing(
    app: ModuleType, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=r"models\.json: .*" + message):
        app.read_tasks(write(tmp_path, pii=changes))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "'models' needs at least one task under its name, found {}"),
        ([], r"'models' needs at least one task under its name, found \[\]"),
        ({"toxicity": "owner/name"}, "models.toxicity needs the keys of a task, found 'owner/name'"),
        ({"route": {}}, "models.route needs a name"),
        ({"a b": {}}, "models.a b needs a name"),
    ],
)
def test_a_models_json_without_tasks_is_told_so(app: ModuleType, tmp_path: Path, entries: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        app.read_tasks(write_models(tmp_path, entries))


def test_a_threshold_is_asked_only_of_heads_that_need_one(app: ModuleType, tmp_path: Path) -> None:
    assert app.read_tasks(write(tmp_path, category={"threshold": None}))["category"].threshold is None


def test_what_hubtools_says_of_its_own_tasks_is_what_the_space_reads(app: ModuleType, tmp_path: Path) -> None:
    read = app.read_tasks(write(tmp_path))
    assert {name: task.head for name, task in read.items()} == {
        "category": "classification", "pii": "spans", "jailbreak": "detection", "intent": "classification",
    }  # fmt: skip
    for name, task in read.items():
        demo = TASKS[name].demo
        assert (task.question, task.about, task.examples) == (demo.question, demo.about, demo.examples)


def test_a_missing_models_json_is_told_who_writes_it(app: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"models\.json is missing\. `hubtools push-space` writes it"):
        app.read_tasks(tmp_path / "models.json")
    (tmp_path / "models.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        app.read_tasks(tmp_path / "models.json")


# --- the folder


def test_the_space_stands_alone() -> None:
    names = set()
    for node in ast.walk(ast.parse((SPACE / "app.py").read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert names - set(sys.stdlib_module_names) == {"gradio", "huggingface_hub", "transformers", "spaces"}
    assert not (SPACE.parent / "__init__.py").exists()


def test_the_requirements_leave_gradio_to_the_host() -> None:
    lines = (SPACE / "requirements.txt").read_text().splitlines()
    required = {re.split(r"\W", line)[0] for line in lines if line and not line.startswith("#")}
    assert required == {"transformers", "torch"}
