"""The running Space, called by a program: its endpoints, its MCP tools, and the programs that its page shows."""

from __future__ import annotations

import asyncio
import html
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_models import ATTACK, CALCULUS, ERRAND, FILLER

SENTENCE = "My name is Maria Keller and my mail is maria@example.com."
ENDPOINTS = ["/category", "/intent", "/jailbreak", "/pii", "/route"]


@pytest.fixture(scope="module")
def client(space_url: str) -> Iterator[Any]:
    from gradio_client import Client  # type: ignore[import-untyped]

    client = Client(space_url, verbose=False, analytics_enabled=False)
    yield client
    client.close()


@pytest.fixture(scope="module")
def listing(client: Any) -> dict[str, Any]:
    api: dict[str, Any] = client.view_api(return_format="dict", print_info=False)
    assert not api["unnamed_endpoints"]
    return dict(api["named_endpoints"])


def test_the_five_endpoints_and_no_other_are_public(listing: dict[str, Any]) -> None:
    assert sorted(listing) == ENDPOINTS


def test_each_endpoint_says_what_it_does(listing: dict[str, Any]) -> None:
    assert {name: endpoint["description"] for name, endpoint in listing.items()} == {
        "/route": (
            "Decide what a router does with a prompt, from four answers: "
            "subject domain, personal data, jailbreak attempt, kind of tool."
        ),
        "/category": 'Find the subject domain of a prompt among the 14 of MMLU-Pro, from "biology" to "psychology".',
        "/pii": "Find personal data in a text: PERSON, EMAIL_ADDRESS, PHONE_NUMBER, US_SSN and LOCATION.",
        "/jailbreak": "Tell whether a prompt tries to talk a language model out of its rules.",
        "/intent": 'Find the kind of tool a prompt calls for, such as "calculation", or "no_function_needed".',
    }


def test_each_endpoint_says_what_it_takes_and_gives(listing: dict[str, Any]) -> None:
    keys = {
        "/category": {"label", "score", "threshold", "fallback", "scores"},
        "/jailbreak": {"label", "score", "threshold", "flagged", "zone", "scores", "strongest"},
        "/pii": {"entities", "masked", "threshold"},
    }
    for name, endpoint in listing.items():
        [taken], [given] = endpoint["parameters"], endpoint["returns"]
        assert (taken["label"], taken["type"], taken["component"]) == ("text", {"type": "string"}, "Textbox")
        assert (given["label"], given["component"]) == ("answer", "JSON")
        assert "Any" not in given["python_type"]["type"]
        if name in keys:
            assert set(given["type"]["properties"]) == keys[name] | {"tokens_read", "windows", "truncated"}
    answers = listing["/route"]["returns"][0]["type"]["properties"]["answers"]["properties"]
    assert set(answers) == {"category", "pii", "jailbreak", "intent"}
    assert answers["pii"]["properties"]["masked"] == {"type": "string"}


def test_each_endpoint_gives_what_its_model_says(client: Any, space: SimpleNamespace) -> None:
    for text in (CALCULUS, ATTACK, ERRAND, SENTENCE, FILLER * 20 + SENTENCE):
        reads, _ = space.answering.ask_all(text)
        expected = space.policy.decide(text, reads)
        decision = client.predict(text, api_name="/route")
        assert set(decision.pop("latency_ms")) == set(reads)
        assert json.loads(json.dumps(decision)) == expected
        for name, answer in expected["answers"].items():
            assert client.predict(text=text, api_name=f"/{name}") == answer, name


def test_an_attack_is_flagged_and_personal_data_is_masked(client: Any) -> None:
    flagged, passed = (client.predict(text, api_name="/jailbreak") for text in (ATTACK, CALCULUS))
    assert (flagged["flagged"], flagged["zone"]) == (True, "block")
    assert (passed["flagged"], passed["zone"]) == (False, "pass")
    assert flagged["threshold"] == 0.7
    answer = client.predict(text=SENTENCE, api_name="/pii")
    assert answer["masked"] == "My name is [PERSON_1] and my mail is [EMAIL_ADDRESS_1]."
    assert [SENTENCE[e["start"] : e["end"]] for e in answer["entities"]] == ["Maria Keller", "maria@example.com"]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(("given", "message"), [("  ", "is empty"), (5, "found int"), (["a"], "found list")])
def test_a_wrong_value_is_refused_with_a_sentence(client: Any, endpoint: str, given: Any, message: str) -> None:
    from gradio_client.exceptions import AppError  # type: ignore[import-untyped]

    with pytest.raises(AppError, match=message):
        client.predict(given, api_name=endpoint)


@pytest.mark.parametrize(
    ("route", "body", "status", "message"),
    [
        ("call/jailbreak", '{"data": []}', 422, "one text, found 0 values"),
        ("call/jailbreak", '{"data": ["a secret", "b"]}', 422, "one text, found 2 values"),
        ("call/route", '{"text": "x"}', 422, "found nothing named data"),
        ("call/route", '{"data": "x"}', 422, "found str in place of a list"),
        ("call/route", "nonsense", 422, "found no JSON"),
        ("run/pii", '{"data": [7]}', 422, "found int"),
        ("api/pii", '{"data": [" "]}', 422, "found an empty text"),
        ("call/nosuch", '{"data": ["x"]}', 404, "There are: /route, /category, /pii, /jailbreak and /intent."),
        ("call/v2/nosuch", '{"text": "a secret"}', 404, "There are: /route, "),
        ("call/v2/route", '{"data": ["a secret"]}', 422, 'such as {"text": "your text"}, found nothing named text'),
        ("call/v2/route", '{"text": "a secret", "b": 1}', 422, "found b besides"),
        ("call/v2/pii", '{"text": ["a secret"]}', 422, "found list"),
        ("queue/join", '{"data": ["a secret"], "session_hash": "h", "fn_index": 999}', 400, "There are: /route, "),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong_with_it(
    space_url: str, space_log: Any, route: str, body: str, status: int, message: str
) -> None:
    request = urllib.request.Request(
        f"{space_url}/gradio_api/{route}", body.encode(), {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=20)
    assert caught.value.code == status
    assert message in json.loads(caught.value.read())["error"]
    caught.value.close()
    assert "secret" not in space_log.read_text()


async def use_mcp(url: str, text: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tools of the MCP server by name, and what each answers to a text."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async with (
        streamable_http_client(f"{url}/gradio_api/mcp/") as (reading, writing, _),
        ClientSession(reading, writing) as session,
    ):
        await session.initialize()
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        return tools, {name: await session.call_tool(name, {"text": text}) for name in tools}


def test_the_mcp_tools_answer_in_json_what_the_endpoints_answer(space_url: str, client: Any) -> None:
    tools, answers = asyncio.run(use_mcp(space_url, SENTENCE))
    names = {
        "route_prompt": "route",
        "classify_domain": "category",
        "find_personal_data": "pii",
        "detect_jailbreak": "jailbreak",
        "classify_intent": "intent",
    }
    assert set(tools) == set(names)
    for tool, endpoint in names.items():
        assert "Args" not in (tools[tool].description or "")
        assert tools[tool].inputSchema["properties"]["text"]["description"]
        [content] = answers[tool].content
        given, expected = json.loads(content.text), client.predict(SENTENCE, api_name=f"/{endpoint}")
        for answer in (given, expected):
            answer.pop("latency_ms", None)
        assert given == expected, tool


def test_an_mcp_tool_refuses_an_empty_text(space_url: str) -> None:
    _, answers = asyncio.run(use_mcp(space_url, ""))
    for answer in answers.values():
        assert answer.isError
        assert "there is nothing to read" in answer.content[0].text


def test_the_programs_on_the_page_run_as_they_stand(space_url: str, space: SimpleNamespace) -> None:
    page, origin = space.programs.page(), space.programs.ORIGIN
    found = re.findall(r"data-language='(\w+)'[^>]*>(.*?)</pre>", page, re.DOTALL)
    shown = {language: html.unescape(code).replace(origin, space_url) for language, code in found}
    assert set(shown) == {"Python", "curl", "MCP"}
    ran = subprocess.run([sys.executable, "-c", shown["Python"]], capture_output=True, text=True, timeout=60)
    assert "[PERSON_1]" in ran.stdout, ran.stderr
    ran = subprocess.run(["bash", "-c", shown["curl"]], capture_output=True, text=True, timeout=60)
    assert '"action": "mask"' in ran.stdout, ran.stderr
    url = json.loads(shown["MCP"])["mcpServers"]["router"]["url"]
    tools, _ = asyncio.run(use_mcp(url.removesuffix("/gradio_api/mcp/"), ERRAND))
    assert len(tools) == 5
