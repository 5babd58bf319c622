"""The Space in a folder of its own, with hubtools' tasks and tiny models; as a module and as a running server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # browser.py, for tests outside this folder as well

from browser import browser, browser_page  # noqa: F401
from space_copy import copy_space, import_app, own_entry, running, write_models

from hubtools.tasks import TASKS


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
    """What the Space's repository holds for hubtools' own tasks, with the models as local folders."""
    from tiny_models import make_models

    folder = tmp_path_factory.mktemp("space")
    copy_space(folder)
    paths = make_models(folder / "models")
    write_models(folder, {name: own_entry(name, repo=str(paths[name]), revision=None) for name in TASKS})
    return folder


@pytest.fixture(scope="package")
def space(space_folder: Path) -> SimpleNamespace:
    """The modules of the Space, beside the tiny models."""
    return import_app(space_folder)


@pytest.fixture(scope="package")
def space_log(space_folder: Path) -> Path:
    """What the running Space prints."""
    return space_folder / "log.txt"


@pytest.fixture(scope="package")
def space_url(space_folder: Path, space_log: Path) -> Iterator[str]:
    """The Space, started as a visitor of its repository would: `python app.py`."""
    with running(space_folder, space_log) as url:
        yield url
