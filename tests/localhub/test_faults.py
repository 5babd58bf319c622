"""Faults on request, for the tests of what talks to a Hub."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session

from hubtools.localhub import Hub

Inject = Callable[..., None]


@pytest.fixture
def inject(faults: Path) -> Iterator[Inject]:
    def write(*items: dict[str, Any]) -> None:
        faults.write_text(json.dumps(items))

    yield write
    faults.unlink()


def test_a_fault_is_answered_as_often_as_asked_and_then_no_more(hub: Hub, inject: Inject) -> None:
    inject(
        {
            "method": "GET",
            "path_regex": "^/healthz$",
            "status": 429,
            "times": 2,
            "headers": {"Retry-After": "1"},
        }
    )
    answers = [get_session().get(f"{hub.url}/healthz") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["retry-after"] == "1"
    assert get_session().get(f"{hub.url}/api/models").status_code == 200


def test_status_0_drops_the_connection(hub: Hub, inject: Inject) -> None:
    inject({"path_regex": "healthz", "status": 0})
    with pytest.raises(Exception, match=r"disconnected|reset"):
        get_session().get(f"{hub.url}/healthz")
    assert get_session().get(f"{hub.url}/healthz").status_code == 200


def test_before_the_commit_nothing_happened_and_after_it_only_the_answer_is_lost(
    api: HfApi, new_repo: Callable[..., str], inject: Inject
) -> None:
    repo_id = new_repo()
    upload = {"path_or_fileobj": b"a", "path_in_repo": "a.txt", "repo_id": repo_id}
    inject({"method": "POST", "path_regex": "/commit/main", "status": 503})
    with pytest.raises(HfHubHTTPError):
        api.upload_file(**upload)
    assert len(api.list_repo_commits(repo_id)) == 1
    inject({"method": "POST", "path_regex": "/commit/main", "status": 0, "after": True})
    with pytest.raises(Exception, match=r"disconnected|reset"):
        api.upload_file(**upload)
    assert len(api.list_repo_commits(repo_id)) == 2
    api.upload_file(**upload)
    assert len(api.list_repo_commits(repo_id)) == 2
