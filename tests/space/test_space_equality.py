"""What programs are told is what pipeline() and hubtools.Router answer: 100 texts, by the endpoints and by MCP."""

from __future__ import annotations

import asyncio
import json
import random
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_models import ATTACK, CALCULUS, ERRAND, FILLER, TEMPLATES, VALUES, filled

import hubtools

pytestmark = pytest.mark.exhaustive


def make_texts() -> list[str]:
    """Texts of the models' own words in any order, a tenth of them longer than a window."""
    draw = random.Random(0)
    words = f"{CALCULUS} {ATTACK} {ERRAND} \N{WAVING HAND SIGN} e\u0301 \u4f60\u597d x\u200by".split()
    rows = [text for text, _ in filled(TEMPLATES, VALUES)]
    texts = [" ".join(draw.choices(words, k=draw.randint(1, 12))) for _ in range(60)]
    return [*texts, *draw.sample(rows, 30), *(FILLER * draw.randint(6, 20) + draw.choice(rows) for _ in range(10))]


async def ask_tools(url: str, texts: list[str]) -> list[dict[str, Any]]:
    """What the MCP tool that decides answers to each text."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async with (
        streamable_http_client(f"{url}/gradio_api/mcp/") as (reading, writing, _),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        found = []
        for text in texts:
            [content] = (await session.call_tool("route_prompt", {"text": text})).content
            found.append(json.loads(content.text))
        return found


def test_a_hundred_texts_are_answered_as_by_pipeline_and_router(space_url: str, space: SimpleNamespace) -> None:
    from gradio_client import Client  # type: ignore[import-untyped]
    from transformers import pipeline

    texts, tasks = make_texts(), space.tasks.tasks()
    assert len(texts) == 100
    client = Client(space_url, verbose=False, analytics_enabled=False)
    told = [client.predict(text, api_name="/route") for text in texts]
    client.close()
    for by_endpoint, by_tool in zip(told, asyncio.run(ask_tools(space_url, texts)), strict=True):
        assert {**by_endpoint, "latency_ms": 0} == {**by_tool, "latency_ms": 0}

    repos = {name: task.repo for name, task in tasks.items()}
    router = hubtools.Router(repos)
    pipes: dict[str, Any] = {
        name: pipeline("text-classification", model=repo, device="cpu") for name, repo in repos.items() if name != "pii"
    }
    short = 0
    for text, decision in zip(texts, told, strict=True):
        answers, routed = decision["answers"], router(text)
        for name, answer in answers.items():
            expected = routed[name]
            assert [answer[key] for key in ("tokens_read", "windows", "truncated")] == [
                expected.tokens_read, expected.windows, expected.truncated
            ]  # fmt: skip
            if name == "pii":
                spans = space.answering.ask(name, text)["entities"]
                assert [(s["start"], s["end"], s["entity_group"]) for s in spans] == [
                    (s.start, s.end, s.type) for s in expected.spans
                ]
                kept = [(s["start"], s["end"]) for s in spans if s["score"] >= answer["threshold"]]
                assert [(s["start"], s["end"]) for s in answer["entities"]] == kept
                continue
            assert answer["scores"] == pytest.approx(dict(expected.probabilities), abs=1e-6)
            if answer["windows"] == 1 and not answer["truncated"]:
                short += 1
                by_pipeline = {a["label"]: a["score"] for a in pipes[name](text, top_k=None)}
                assert answer["scores"] == pytest.approx(by_pipeline, abs=1e-6)
    assert short > 200
