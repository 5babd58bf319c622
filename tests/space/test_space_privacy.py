"""What is left of a text after it was answered: nothing in gradio's sessions, in files, in the log, on any route."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from browser import ask, open_tab
from playwright.sync_api import Page
from space_copy import running

MARKER = "xylophone-4711-marker"

# The Space in this process: what gradio holds can be looked at. It prints where the marker was found.
PROBE = f"""
import gc, os, sys
import app
from gradio_client import Client
demo = app.build()
demo.queue(default_concurrency_limit=None)
_, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, css="", **app.keep_nothing())
client = Client(url, verbose=False)
for name in ("route", "pii", "jailbreak"):
    client.predict("{MARKER} wrote to Anna", api_name=f"/{{name}}")
held = [repr(config) for state in demo.state_holder.session_data.values() for config in state.components]
held += [repr(state.state_data) for state in demo.state_holder.session_data.values()]
assert len(held) > 10
print("sessions:", sum("{MARKER}" in one for one in held))
print("default:", "{MARKER}" in repr(demo.config))
client.close()
demo.close()
"""


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gradio")


def test_no_session_of_gradio_holds_a_text_that_was_answered(space_folder: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=space_folder, capture_output=True, text=True, timeout=180,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "sessions: 0\ndefault: False\n" in ran.stdout


def test_a_text_is_in_no_file_no_log_and_on_no_route(
    browser_page: Page, space_folder: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    log, sessions = temporary.parent / "privacy-log.txt", []
    with running(space_folder, log) as url:
        browser_page.on(
            "request", lambda request: sessions.append(request.url) if "session_hash=" in request.url else None
        )
        ask(browser_page, url, f"{MARKER} wrote to Anna")
        open_tab(browser_page, "Many prompts")
        browser_page.get_by_label("Prompts").fill(f"text\n{MARKER} one\n{MARKER} two")
        browser_page.get_by_role("button", name="Check them all").click()
        browser_page.get_by_text("2 prompts:").wait_for()
        session = sessions[0].split("session_hash=")[1].split("&")[0]
        for path in ("deep_link", "deep_link/"):
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"{url}/gradio_api/{path}?session_hash={session}", timeout=20)
            assert caught.value.code == 404
            caught.value.close()
        for path in ("", "config", "gradio_api/info", "monitoring", "gradio_api/startup-events"):
            try:
                with urllib.request.urlopen(f"{url}/{path}", timeout=20) as answer:
                    assert MARKER.encode() not in answer.read(), path
            except urllib.error.HTTPError as error:
                error.close()
    files = [path for folder in (temporary, space_folder) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if MARKER.encode() in path.read_bytes()] == []
    assert MARKER not in log.read_text()
