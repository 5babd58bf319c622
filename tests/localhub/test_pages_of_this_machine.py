"""A page in a browser may read files of the embedded Hub where this machine serves it, and nowhere else."""

from __future__ import annotations

import urllib.request

import pytest

from hubtools.localhub import Hub


def ask(hub: Hub, origin: str, method: str = "GET") -> dict[str, str]:
    headers = {"Origin": origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
    request = urllib.request.Request(f"{hub.url}/healthz", headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return {name.lower(): value for name, value in answer.headers.items()}


@pytest.mark.parametrize("origin", ["http://127.0.0.1:7860", "http://localhost:8000", "https://localhost"])
def test_a_page_of_this_machine_may_read(hub: Hub, origin: str) -> None:
    assert ask(hub, origin)["access-control-allow-origin"] == origin
    allowed = ask(hub, origin, "OPTIONS")
    assert allowed["access-control-allow-origin"] == origin
    assert "POST" not in allowed["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in allowed


@pytest.mark.parametrize(
    "origin", ["https://example.com", "http://127.0.0.1.example.com", "http://localhost.example.com:80", "null"]
)
def test_a_page_of_another_host_may_not(hub: Hub, origin: str) -> None:
    assert "access-control-allow-origin" not in ask(hub, origin)
