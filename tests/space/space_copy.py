"""Where the Space lies, how its copies in tests are set up, and how one is imported and started."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hubtools.publishing.space_files import list_app_files
from hubtools.publishing.space_models import ShownModel, make_space_entry
from hubtools.tasks import TASKS

SPACE = Path(__file__).parents[2] / "spaces" / "router_demo"
THRESHOLDS = {"category": 0.3, "pii": 0.5, "jailbreak": 0.7, "intent": None}
# Threshold; of jailbreak the shares caught and stopped wrongly, of category the share answered and its accuracy, of pii
# the share found and that of texts without any in which something is marked.
CURVES = {
    "jailbreak": [
        (1.0, 0.0, 0.0),
        (0.9, 0.4, 0.0),
        (0.7, 0.6, 0.02),
        (0.5, 0.8, 0.1),
        (0.2, 0.95, 0.4),
        (0.0, 1.0, 1.0),
    ],
    "pii": [(1.0, 0.0, 0.0), (0.9, 0.7, 0.0), (0.5, 0.9, 0.04), (0.2, 0.95, 0.2)],
    "category": [(1.0, 0.0, 0.0), (0.8, 0.3, 0.95), (0.3, 0.9, 0.8), (0.0, 1.0, 0.75)],
}
NOTE = "nano model trained on the starter corpus"


def own_entry(name: str, repo: str, revision: str | None, graph: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What models.json says of one of hubtools' own tasks."""
    shown = ShownModel(
        repo=repo,
        revision=revision,
        threshold=THRESHOLDS[name],
        note=NOTE,
        dataset=f"local/router-{name}",
        languages=TASKS[name].card.languages,
        score={"title": "macro F1", "value": 0.8, "low": 0.75, "high": 0.85, "rows": 200},
        curve=CURVES.get(name, ()),
        graph=graph,
    )
    return make_space_entry(TASKS[name], shown)


def write_models(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> Path:
    path = folder / "models.json"
    path.write_text(json.dumps({"models": entries}))
    return path


def copy_space(folder: Path) -> None:
    """Put what push-space uploads, but for models.json and the README, into a folder."""
    for name, content in list_app_files([]).items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())


MODULES = sorted(Path(name).stem for name in list_app_files([]) if name.endswith(".py"))


def import_app(folder: Path) -> SimpleNamespace:
    """The modules of the Space in a folder by their names, `app` among them; those of another folder are others."""
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.path.insert(0, str(folder))
    try:
        return SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(folder))


def set_tasks(space: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tasks: dict[str, Any]) -> None:
    """Give every module of the Space other tasks than those of its models.json."""
    for module in vars(space).values():
        if hasattr(module, "tasks"):
            monkeypatch.setattr(module, "tasks", lambda: tasks)


@contextmanager
def running(folder: Path, log_file: Path) -> Iterator[str]:
    """Run `python app.py` in the folder: the address, once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_for(url, process, log_file)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, f"the Space exited:\n{log.read_text()}"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the Space did not answer within {seconds} s:\n{log.read_text()}")
