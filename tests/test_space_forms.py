"""The three forms of a Space: what each installs, downloads and may speak to, and how long a push waits for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from as_user import Command
from huggingface_hub import HfApi

from hubtools.errors import HubtoolsError
from hubtools.localhub import Hub
from hubtools.publishing import space
from hubtools.publishing.space import wait_for_space
from hubtools.publishing.space_files import (
    GRADIO,
    SpaceForm,
    list_app_files,
    list_hub_hosts,
    list_preloaded,
    list_requirements,
    list_static_files,
)

WEIGHTS = {"repo": "ann/topic", "revision": "a" * 40}
GRAPH = {"repo": "ann/all", "revision": "b" * 40, "file": "onnx/model.onnx", "output": "topic", "labels": ["x", "y"]}
BY_GRAPH = {**WEIGHTS, "graph": GRAPH}


def name_packages(lines: Sequence[str]) -> set[str]:
    """The names of exact requirements."""
    assert all(re.fullmatch(r"[a-z_]+==[\w.]+", line) for line in lines), lines
    return {line.split("==")[0] for line in lines}


def test_an_app_whose_models_all_have_graphs_installs_no_torch() -> None:
    assert name_packages(list_requirements({"a": BY_GRAPH, "b": BY_GRAPH}, SpaceForm())) == {
        "mcp", "numpy", "onnxruntime", "regex", "tokenizers"
    }  # fmt: skip
    assert "torch" in name_packages(list_requirements({"a": BY_GRAPH, "b": WEIGHTS}, SpaceForm()))


def test_gradio_s_version_is_the_card_s_and_a_container_s_own() -> None:
    assert not any(line.startswith("gradio") for line in list_requirements({"a": WEIGHTS}, SpaceForm("gradio")))
    assert f"gradio=={GRADIO}" in list_requirements({"a": WEIGHTS}, SpaceForm("docker"))


def test_what_answers_is_downloaded_once_before_the_app_starts() -> None:
    assert list_preloaded({"a": BY_GRAPH, "b": {**BY_GRAPH, "graph": GRAPH | {"output": "b"}}, "c": WEIGHTS}) == [
        f"ann/all config.json,onnx/model.onnx,tokenizer.json,tokenizer_config.json {'b' * 40}",
        f"ann/topic config.json,model.safetensors,tokenizer.json,tokenizer_config.json {'a' * 40}",
    ]


def test_a_static_page_may_speak_to_the_hub_alone() -> None:
    assert list_hub_hosts("http://127.0.0.1:8123/") == ["http://127.0.0.1:8123"]
    assert list_hub_hosts("https://huggingface.co")[0] == "https://huggingface.co"
    page = list_static_files({}, "http://127.0.0.1:8123")["index.html"]
    assert isinstance(page, bytes)
    assert b"connect-src 'self' http://127.0.0.1:8123;" in page
    assert not re.search(rb"(?:src|href)=\"(?:https?:)?//", page)


def test_both_pages_take_texts_and_style_from_the_same_files() -> None:
    app, page = list_app_files([]), list_static_files({}, "https://huggingface.co")
    assert page["style.css"] == app["style.css"]
    assert page["page.js"] == app["page.js"]


@pytest.mark.parametrize(("sdk", "hardware"), [("static", None), ("docker", None), ("gradio", "zero-a10g")])
def test_a_space_keeps_the_form_that_it_has(api: HfApi, sdk: str, hardware: str | None) -> None:
    repo = f"local/form-{sdk}"
    api.create_repo(repo, repo_type="space", space_sdk=sdk)
    hint = f"suggested_hardware: {hardware}\n" if hardware else ""
    card = f"---\ntitle: x\nsdk: {sdk}\n{hint}---\n"
    api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repo, repo_type="space")
    assert space._find_form(api, repo) == SpaceForm(sdk, zero_gpu=hardware is not None)  # type: ignore[arg-type]


def test_a_space_that_is_not_there_is_gradio_s(api: HfApi) -> None:
    assert space._find_form(api, "local/no-such-space") == SpaceForm("gradio")


class Building:
    """A Hub that runs Spaces, as the embedded one does not: each look finds the next stage."""

    def __init__(self, *stages: str) -> None:
        self.stages = [*stages]
        self.logs: list[bool] = []

    def get_space_runtime(self, repo: str) -> SimpleNamespace:
        return SimpleNamespace(stage=self.stages.pop(0) if len(self.stages) > 1 else self.stages[0])

    def fetch_space_logs(self, repo: str, build: bool) -> list[str]:
        self.logs.append(build)
        return [f"line {number}\n" for number in range(40)]


def test_a_push_waits_until_the_space_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(space.time, "sleep", pauses.append)
    hub: Any = Building("BUILDING", "APP_STARTING", "RUNNING")
    assert wait_for_space(hub, "ann/space", wait=60) == "RUNNING"
    assert len(pauses) == 2
    assert wait_for_space(Building("BUILDING"), "ann/space", wait=-1) == "BUILDING"  # type: ignore[arg-type]
    assert wait_for_space(Building("PAUSED"), "ann/space", wait=60) == "PAUSED"  # type: ignore[arg-type]


@pytest.mark.parametrize(("stage", "of_build"), [("BUILD_ERROR", True), ("RUNTIME_ERROR", False)])
def test_a_space_that_fails_shows_the_end_of_its_log(stage: str, of_build: bool) -> None:
    hub: Any = Building(stage)
    with pytest.raises(HubtoolsError, match=rf"(?s)ended in {stage}.*line 20\nline 21.*line 39") as caught:
        wait_for_space(hub, "ann/space", wait=60)
    assert "line 19" not in str(caught.value)
    assert hub.logs == [of_build]


def test_the_embedded_hub_says_that_it_runs_no_spaces(api: HfApi) -> None:
    api.create_repo("local/stored", repo_type="space", space_sdk="static")
    assert wait_for_space(api, "local/stored", wait=60) == "PAUSED"
    assert "does not run them" in "".join(map(str, api.fetch_space_logs("local/stored")))


def test_a_static_page_of_a_model_without_a_graph_says_how_to_make_one(
    hubtools: Command, released: Path, hub: Hub
) -> None:
    flags = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", released)
    told = hubtools("push-space", "--sdk", "static", "--dry-run", *flags, check=False)
    assert told.returncode != 0
    assert "The intent model has no ONNX file that a browser could run" in told.stderr
    assert "hubtools export intent --to onnx" in told.stderr


def test_zero_gpu_is_of_gradio(hubtools: Command, tmp_path: Path) -> None:
    told = hubtools("push-space", "--sdk", "static", "--zero-gpu", "--work-dir", tmp_path, check=False)
    assert told.returncode != 0
    assert "--zero-gpu is of Spaces that gradio serves" in told.stderr
