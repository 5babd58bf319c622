"""An embedded Hub, the console command, a small release and a finished run of all four tasks."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from as_user import Command, Demo
from huggingface_hub import HfApi

from hubtools.localhub import Hub, start, stop
from hubtools.localhub.faults import VARIABLE

RUN = "RUN_OF_TESTS_OF_HUBTOOLS"  # in the environment of every process that the tests start


def pytest_configure() -> None:
    """Started in the background of a script, we ignore Ctrl-C, and so would every command that is started here."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault(RUN, str(os.getpid()))


def find_left_processes() -> list[psutil.Process]:
    """Return the processes of this run that are there still, but for this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            # A process that has ended and is not waited for has no environment.
            if process.pid != os.getpid() and process.environ().get(RUN) == os.environ[RUN]:
                found.append(process)
    return found


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that leaves processes behind."""
    if hasattr(session.config, "workerinput"):
        return
    until = time.monotonic() + 10  # those that are about to end
    while (left := find_left_processes()) and time.monotonic() < until:
        time.sleep(0.1)
    for process in left:
        with contextlib.suppress(psutil.Error):
            print(f"\nleft behind: {process.pid} {' '.join(process.cmdline())}")
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The file that looks at the main job begins first, as it takes longest; a second worker does the others."""
    items.sort(key=lambda item: "test_run.py" not in item.path.name)


@pytest.fixture(scope="session")
def hubtools(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The list of faults that ``hub`` reads; see hubtools/localhub/faults.py."""
    return tmp_path_factory.mktemp("faults") / "faults.json"


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory, faults: Path) -> Iterator[Hub]:
    """An embedded Hub that all tests share."""
    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(faults))
        hub = start(folder)
    yield hub
    stop(folder)


@pytest.fixture(scope="session")
def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token)


@pytest.fixture
def flags(hub: Hub, tmp_path: Path) -> tuple[object, ...]:
    """A work folder of its own, on the shared Hub."""
    return ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", tmp_path / "work")


@pytest.fixture(scope="session")
def released(hubtools: Command, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder in which intent has gone all the way, on three steps of training."""
    work = tmp_path_factory.mktemp("released")
    flags = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", work)
    hubtools.in_turn(
        ("push-dataset", "intent", "--dataset-name", "small-dataset", *flags),
        ("finetune", "intent", *flags, "--max_steps", 3),
        ("evaluate", "intent", *flags),
        ("push-model", "intent", "--model-name", "small-model", *flags),
    )
    return work


@pytest.fixture(scope="session")
def demo(hubtools: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """The main job, once for all tests that look at it: all four tasks on the starter corpora."""
    folder = tmp_path_factory.mktemp("demo")
    hub_dir, work = folder / "hub", folder / "work"
    flags = ("--hub", "local", "--hub-dir", hub_dir, "--work-dir", work)
    began = time.monotonic()
    try:
        done = hubtools("run", *flags, "--jobs", 2, timeout=3600)
        seconds = time.monotonic() - began
        shown = hubtools.run("bash", "-c", 'eval "$(hubtools hub env --hub-dir "$0")"; env -0', hub_dir).stdout
        exported = dict(item.split("=", 1) for item in shown.split("\0") if item)
        environ = {name: value for name, value in exported.items() if hubtools.environ.get(name) != value}
        yield Demo(hub_dir, work, flags, environ, seconds, done.stdout)
    finally:
        stop(hub_dir)
