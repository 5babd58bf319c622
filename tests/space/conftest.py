"""The Space in a folder of its own, with four tiny models; as a module and as a running server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # browser.py, for tests outside this folder as well

from browser import browser, browser_page  # noqa: F401
from space_copy import NOTE, SPACE, THRESHOLDS, import_app


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on more threads: forty times slower where the cores are busy."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="package")
def space_folder(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """What the Space's repository holds, with the models as local folders."""
    from tiny_models import make_models

    folder = tmp_path_factory.mktemp("space")
    shutil.copy(SPACE / "app.py", folder)
    models = {
        name: {"repo": str(path), "revision": None, "threshold": THRESHOLDS[name], "note": NOTE}
        for name, path in make_models(folder / "models").items()
    }
    datasets = {name: f"local/router-{name}" for name in models}
    (folder / "models.json").write_text(json.dumps({"models": models, "datasets": datasets}))
    return folder


@pytest.fixture(scope="package")
def app(space_folder: Path) -> ModuleType:
    """app.py as a module, beside the tiny models."""
    return import_app(space_folder)


@pytest.fixture(scope="package")
def space_log(space_folder: Path) -> Path:
    """What the running Space prints."""
    return space_folder / "log.txt"


@pytest.fixture(scope="package")
def space_url(space_folder: Path, space_log: Path) -> Iterator[str]:
    """The Space, started as a visitor of its repository would: `python app.py`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "GRADIO_SERVER_PORT": str(port), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with space_log.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=space_folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_for(url, process, space_log)
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
