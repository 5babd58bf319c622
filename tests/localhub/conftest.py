"""One embedded Hub in a process of its own for all tests here, and the real clients that talk to it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

from hubtools.localhub import Hub, start, stop
from hubtools.localhub.faults import VARIABLE

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to be mirrored: a dataset, a model, and links that lead out of them."""
    root = tmp_path_factory.mktemp("mirror")
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("secret")
    data = root / "acme" / "corpus"
    (data / "data").mkdir(parents=True)
    (data / "data" / "train.csv").write_text("text,label\nhello,0\n")
    (data / "big.parquet").write_bytes(b"PAR1" + bytes(100))
    (data / "inside.csv").symlink_to(data / "data" / "train.csv")
    (data / "link.txt").symlink_to(outside / "secret.txt")
    (data / "folder").symlink_to(outside)
    (root / "acme" / "elsewhere").symlink_to(outside)
    model = root / "acme" / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"model_type": "modernbert"}))
    return root


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults") / "faults.json"


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory, mirror: Path, faults: Path) -> Iterator[Hub]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(faults))
        # Read by the library at import, which is over by now; in a user's process Hub.environ sets it.
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        folder = tmp_path_factory.mktemp("hub")
        hub = start(folder, mirrors=[mirror])
        yield hub
        stop(folder)


@pytest.fixture(scope="session")
def api(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=hub.token)


@pytest.fixture(scope="session")
def anonymous(hub: Hub) -> HfApi:
    return HfApi(endpoint=hub.url, token=False)


@pytest.fixture
def new_repo(api: HfApi) -> Callable[..., str]:
    """Make a repo with a name of its own; returns its id."""

    def make(repo_type: str = "model", **options: Any) -> str:
        repo_id = f"local/{repo_type}-{next(_NUMBERS)}"
        if repo_type == "space":
            options.setdefault("space_sdk", "gradio")
        api.create_repo(repo_id, repo_type=repo_type, **options)
        return repo_id

    return make
