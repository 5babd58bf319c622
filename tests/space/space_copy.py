"""Where the Space lies, how its copies in tests are set up, and how one is imported and started."""

from __future__ import annotations

import importlib.util
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
from types import ModuleType
from typing import Any

from hubtools.publishing.space import make_space_entry
from hubtools.tasks import TASKS

SPACE = Path(__file__).parents[2] / "spaces" / "router_demo"
THRESHOLDS = {"category": 0.5, "pii": 0.5, "jailbreak": 0.7, "intent": 0.5}
NOTE = "nano model trained on the starter corpus"


def own_entry(name: str, repo: str, revision: str | None) -> dict[str, Any]:
    """What models.json says of one of hubtools' own tasks."""
    return make_space_entry(
        TASKS[name],
        repo=repo,
        revision=revision,
        threshold=THRESHOLDS[name],
        note=NOTE,
        dataset=f"local/router-{name}",
    )


def write_models(folder: Path, entries: Mapping[str, Mapping[str, Any]]) -> Path:
    path = folder / "models.json"
    path.write_text(json.dumps({"models": entries}))
    return path


def import_app(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"router_demo_{folder.name}", folder / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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
