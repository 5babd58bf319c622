"""What the Space reads of a text, on four tiny models that know a handful of sentences by heart."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from space_copy import SPACE
from tiny_models import ATTACK, CALCULUS, CATEGORIES, ERRAND, FILLER, INTENTS, WINDOW

SECRET = "xylophone-4711-marker"
WAVE = "\N{WAVING HAND SIGN}"
SENTENCE = "My name is Maria Keller and my mail is maria@example.com."


def found(space: SimpleNamespace, text: str) -> list[tuple[str, str]]:
    """What the model of personal data is sure of."""
    entities = space.answering.ask("pii", text)["entities"]
    return [(entity["entity_group"], entity["word"]) for entity in entities if entity["score"] >= 0.8]


@pytest.mark.parametrize(
    ("task", "labels"), [("category", CATEGORIES), ("jailbreak", ["benign", "jailbreak"]), ("intent", INTENTS)]
)
def test_every_label_has_a_probability_best_first(space: SimpleNamespace, task: str, labels: list[str]) -> None:
    scores = space.answering.ask(task, CALCULUS)["scores"]
    assert sorted(scores) == sorted(labels)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert sum(scores.values()) == pytest.approx(1, abs=1e-5)
    assert {type(score) for score in scores.values()} == {float}


def test_all_four_answer_and_say_how_long_it_took(space: SimpleNamespace) -> None:
    answers, latency = space.answering.ask_all(ERRAND)
    assert next(iter(answers["category"]["scores"])) == "business"
    assert next(iter(answers["intent"]["scores"])) == "communication"
    assert next(iter(answers["jailbreak"]["scores"])) == "benign"
    assert [entity["word"] for entity in answers["pii"]["entities"]] == ["Anna"]
    assert set(latency) == set(answers) == {"category", "pii", "jailbreak", "intent"}
    assert all(ms > 0 for ms in latency.values())
    json.dumps(answers)


@pytest.mark.parametrize("task", ["category", "jailbreak", "intent"])
def test_a_text_of_one_window_is_answered_as_the_pipeline_does(space: SimpleNamespace, task: str) -> None:
    from transformers import pipeline

    pipe: Any = pipeline("text-classification", model=space.tasks.tasks()[task].repo, device="cpu")
    for text in (CALCULUS, ATTACK, ERRAND, SENTENCE, f"{WAVE} \n"):
        expected = {answer["label"]: answer["score"] for answer in pipe(text, top_k=None)}
        assert space.answering.ask(task, text)["scores"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "text",
    [f"{WAVE}{WAVE} Anna{WAVE}", "\n\n Anna \t\n", "e\u0301 Anna", "\x00 Anna", "\ud800 Anna", " \u00a0Anna\u00a0 "],
)
def test_odd_characters_do_not_shift_the_spans(space: SimpleNamespace, text: str) -> None:
    read = space.answering.readable(text)
    assert len(read) == len(text)
    end = 0
    for entity in space.answering.ask("pii", text)["entities"]:
        assert end <= entity["start"] < entity["end"] <= len(text)
        assert read[entity["start"] : entity["end"]] == entity["word"] == entity["word"].strip()
        end = entity["end"]


def test_personal_data_beyond_the_first_window_is_found(space: SimpleNamespace) -> None:
    text = FILLER * 40 + SENTENCE
    answer = space.answering.ask("pii", text)
    assert answer["tokens_read"] > 5 * WINDOW
    assert answer["windows"] > 5
    assert not answer["truncated"]
    assert found(space, text)[-2:] == [("PERSON", "Maria Keller"), ("EMAIL_ADDRESS", "maria@example.com")]


def test_the_window_that_looks_most_like_an_attack_counts(space: SimpleNamespace) -> None:
    text = FILLER * 40 + ATTACK + " " + FILLER * 40
    alone, hidden = (space.answering.ask("jailbreak", one) for one in (FILLER * 80, text))
    assert hidden["windows"] > 10
    assert not hidden["truncated"]
    assert hidden["scores"]["jailbreak"] > alone["scores"]["jailbreak"]
    start, end = hidden["strongest"]
    assert start <= text.index(ATTACK) < end
    assert end - start < len(text) / 10


def test_a_classification_says_that_it_read_the_beginning_alone(space: SimpleNamespace) -> None:
    long = space.answering.ask("category", FILLER * 40)
    assert long["truncated"]
    assert long["tokens_read"] == WINDOW - 2
    assert long["windows"] == 1
    assert not space.answering.ask("category", CALCULUS)["truncated"]


def test_a_cancelled_text_is_read_no_further(space: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, read = threading.Event(), []
    model = space.answering.load("jailbreak")

    def run(ids: Any, mask: Any) -> Any:
        read.append(len(ids))
        if len(read) == 3:
            stop.set()
        return model.run(ids, mask)

    watched = replace(model, run=run)
    monkeypatch.setattr(space.answering, "load", lambda name: watched)
    with pytest.raises(space.answering.Cancelled):
        space.answering.ask("jailbreak", FILLER * 80, stop)
    assert read == [1, 1, 1], "window by window"


def test_a_long_text_does_not_hold_a_short_one_up(space: SimpleNamespace) -> None:
    begin, end = threading.Event(), threading.Event()

    def read_long(stop: threading.Event) -> str:
        begin.set()
        assert end.wait(30)
        return "long"

    async def visit() -> list[str]:
        lane_of = space.answering.lane_of
        long = asyncio.create_task(space.answering.answer_in_lane(read_long, 50_000))
        while not begin.is_set():
            await asyncio.sleep(0.01)
        assert lane_of(50_000).waiting == 1
        short = await space.answering.answer_in_lane(lambda stop: "short", 50)
        assert not long.done()
        end.set()
        return [short, await long]

    assert asyncio.run(visit()) == ["short", "long"]


def test_who_stops_listening_cancels(space: SimpleNamespace) -> None:
    stopped = threading.Event()

    def read(stop: threading.Event) -> None:
        if stop.wait(30):
            stopped.set()

    async def visit() -> None:
        asking = asyncio.create_task(space.answering.answer_in_lane(read, 50))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(visit())
    assert stopped.wait(30)


def test_a_visitor_is_told_how_many_wait_before_and_when_there_are_too_many(
    space: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane, end = space.answering.Lane(1), threading.Event()
    monkeypatch.setattr(space.answering, "MOST_WAITING", 3)

    async def visit() -> list[Any]:
        waiting = [asyncio.create_task(collect(lambda stop: end.wait(30))) for _ in range(3)]
        await asyncio.sleep(0.5)
        with pytest.raises(space.answering.Busy):
            await collect(lambda stop: None)
        end.set()
        return [await one for one in waiting]

    async def collect(work: Any) -> list[Any]:
        return [news async for news in space.answering.in_lane(work, lane)]

    first, *others = asyncio.run(visit())
    assert first[0][0] == "reading"
    assert [news[0][0] for news in others] == ["waiting", "waiting"]
    assert {news[-1] for news in (first, *others)} == {("done", True)}
    assert lane.waiting == 0


def test_threads_do_not_disturb_each_other(space: SimpleNamespace) -> None:
    ask = space.answering.ask
    prompts = [CALCULUS, FILLER * 20, ATTACK, ERRAND] * 4
    alone = [ask("category", prompt) for prompt in prompts]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(partial(ask, "category"), prompts))
        spans = list(pool.map(partial(ask, "pii"), [SENTENCE, FILLER * 20 + SENTENCE] * 8))
    assert together == alone
    assert spans[:2] * 8 == spans


def test_an_error_is_one_line_without_the_text(
    space: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(text: str, stop: object) -> None:
        raise RuntimeError("the model is gone")

    monkeypatch.setattr(space.handlers, "ask_all", fail)

    async def collect() -> list[tuple[object, ...]]:
        return [shown async for shown in space.handlers.check(SECRET, 0.3, 0.5, 0.7)]

    status, answer, held = asyncio.run(collect())[-1]
    assert "could not be answered" in str(status)
    assert (answer, held) == ("", None)
    said = capsys.readouterr().err
    assert "the model is gone" in said
    assert SECRET not in said


# --- the folder


def test_the_space_stands_alone() -> None:
    names = set()
    own = {path.stem for path in SPACE.glob("*.py")} | {"reading"}
    for path in SPACE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add((node.module or "").split(".")[0])
    theirs = {"gradio", "huggingface_hub", "transformers", "tokenizers", "torch", "onnxruntime", "numpy", "spaces"}
    theirs |= {"starlette"}
    assert names - set(sys.stdlib_module_names) - own == theirs
    assert not (SPACE.parent / "__init__.py").exists()


def test_the_page_is_made_of_small_files() -> None:
    for path in SPACE.glob("*.py"):
        assert len(path.read_text().splitlines()) < 400, path.name
