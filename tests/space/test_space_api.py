"""The running Space, called by a program."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from gradio.utils import get_function_description
from tiny_models import ATTACK, CALCULUS, ERRAND

SENTENCE = "My name is Maria Keller and my mail is maria@example.com."


@pytest.fixture(scope="module")
def client(space_url: str) -> Iterator[Any]:
    from gradio_client import Client  # type: ignore[import-untyped]

    client = Client(space_url, verbose=False, analytics_enabled=False)
    yield client
    client.close()


def test_the_five_endpoints_and_no_other_are_public(client: Any) -> None:
    api = client.view_api(return_format="dict", print_info=False)
    assert sorted(api["named_endpoints"]) == ["/category", "/intent", "/jailbreak", "/pii", "/route"]
    assert not api["unnamed_endpoints"]


def test_each_endpoint_says_what_it_does(client: Any) -> None:
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert {name: endpoint["description"] for name, endpoint in endpoints.items()} == {
        "/route": "Ask all four questions of a prompt: subject domain, personal data, jailbreak attempt, kind of tool.",
        "/category": 'Find the subject domain of a prompt among the 14 of MMLU-Pro, from "biology" to "psychology".',
        "/pii": "Find personal data in a text: PERSON, EMAIL_ADDRESS, PHONE_NUMBER, US_SSN and LOCATION.",
        "/jailbreak": "Tell whether a prompt tries to talk a language model out of its rules.",
        "/intent": 'Find the kind of tool a prompt calls for, such as "calculation", or "no_function_needed".',
    }


def test_an_mcp_tool_has_the_name_and_the_documentation_of_its_function(app: ModuleType) -> None:
    """gradio names and describes a tool by these."""
    endpoints = app.endpoints()
    assert {name: endpoint.__name__ for name, endpoint in endpoints.items()} == {
        "route": "route_prompt",
        "category": "classify_domain",
        "pii": "find_personal_data",
        "jailbreak": "detect_jailbreak",
        "intent": "classify_intent",
    }
    described = {name: get_function_description(endpoint)[1:] for name, endpoint in endpoints.items()}
    window, everything = "The prompt. Its first 512 tokens are read.", "The text, up to 100,000 characters. "
    assert described == {
        "route": (
            {"text": "The prompt. Domain, jailbreak and intent read its first 512 tokens."},
            ["The answers of the four endpoints by their names, and in latency_ms the milliseconds each took."],
        ),
        "category": ({"text": window}, ["The probability of each domain, best first."]),
        "pii": (
            {"text": everything + "All of it is read."},
            ["The text read, its entities (start and end count code points) and a redacted copy."],
        ),
        "jailbreak": (
            {"text": window},
            ["scores: the probability of each label. threshold: the shipped one. flagged: whether it is reached."],
        ),
        "intent": ({"text": window}, ["The probability of each of the eight kinds, best first."]),
    }


def test_category_and_intent_give_probabilities(client: Any) -> None:
    assert next(iter(client.predict(CALCULUS, api_name="/category"))) == "math"
    intents = client.predict(ERRAND, api_name="/intent")
    assert next(iter(intents)) == "communication"
    assert sum(intents.values()) == pytest.approx(1, abs=1e-4)


def test_pii_gives_spans_and_a_redacted_copy(client: Any) -> None:
    answer = client.predict(text=SENTENCE, api_name="/pii")
    assert answer["redacted"] == "My name is [PERSON] and my mail is [EMAIL_ADDRESS]."
    assert [SENTENCE[e["start"] : e["end"]] for e in answer["entities"]] == ["Maria Keller", "maria@example.com"]


def test_jailbreak_gives_the_verdict_at_the_shipped_threshold(client: Any) -> None:
    flagged, passed = (client.predict(text, api_name="/jailbreak") for text in (ATTACK, CALCULUS))
    assert flagged["flagged"] is True
    assert passed["flagged"] is False
    assert flagged["threshold"] == 0.7
    assert set(flagged["scores"]) == {"benign", "jailbreak"}


def test_route_gives_what_the_four_endpoints_give(client: Any) -> None:
    answers = client.predict(ERRAND, api_name="/route")
    assert set(answers.pop("latency_ms")) == set(answers) == {"category", "pii", "jailbreak", "intent"}
    for name, answer in answers.items():
        assert answer == client.predict(ERRAND, api_name=f"/{name}"), name


@pytest.mark.parametrize("endpoint", ["/route", "/category", "/pii", "/jailbreak", "/intent"])
def test_an_empty_prompt_is_refused_with_a_hint(client: Any, endpoint: str) -> None:
    from gradio_client.exceptions import AppError  # type: ignore[import-untyped]

    with pytest.raises(AppError, match="Nothing to read yet"):
        client.predict("  ", api_name=endpoint)
