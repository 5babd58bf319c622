"""The running Space, called by a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
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
