"""ONNX files of the model that answers all tasks, and of the classifiers that were cut out of it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from as_user import Command
from browser import browser, new_page, visit
from huggingface_hub import HfApi
from test_multi import REPO, base, curated, flags, hub_of_its_own, joint, said, train
from test_training import one_thread, tokenizer

sys.path.insert(0, str(Path(__file__).parent / "space"))

from space_copy import copy_space, import_app, write_models
from static_pages import serving

from hubtools.localhub import Hub
from hubtools.tasks import MULTI, TASKS

__all__ = ["base", "browser", "curated", "flags", "hub_of_its_own", "joint", "one_thread", "said", "tokenizer", "train"]

pytestmark = pytest.mark.exhaustive  # a joint training


@pytest.fixture(scope="module")
def exported(hubtools: Command, joint: Path, flags: tuple[object, ...]) -> Path:
    """The work folder of ``joint`` with the ONNX files of all five models, which were pushed."""
    for name in ("all", MULTI):
        hubtools("export", name, "--to", "onnx", *flags)
    for name in ("all", MULTI):
        hubtools("push-model", name, *flags)
    return joint


def record_of(work: Path, name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((work / name / "model" / "onnx" / "parity.json").read_text())
    return record


@pytest.mark.parametrize("name", [*TASKS, MULTI])
def test_every_model_answers_as_its_weights_do(exported: Path, name: str) -> None:
    record = record_of(exported, name)
    assert list(record["tasks"]) == ([*TASKS] if name == MULTI else [name])
    for task, parity in record["tasks"].items():
        assert (
            parity["fp32"]["texts"]
            == json.loads((exported / task / "facts.json").read_text())["splits"]["test"]["rows"]
        )
        assert parity["fp32"]["largest_difference"] < 1e-5
        assert parity["fp32"]["differing"] == 0
    assert ("model_quantized.onnx" in record["files"]) == (not record["withheld"])


def test_one_graph_has_an_output_for_each_task(exported: Path) -> None:
    from onnxruntime import InferenceSession

    session = InferenceSession(exported / MULTI / "model" / "onnx" / "model.onnx")
    labels = {name: len(task.model_labels(task.label_set())) for name, task in TASKS.items()}
    assert {put.name: put.shape for put in session.get_outputs()} == {
        name: ["batch", "sequence", count] if TASKS[name].head.per_token else ["batch", count]
        for name, count in labels.items()
    }


def test_the_snippet_on_the_card_of_all_tasks_answers_as_the_four_do(
    hubtools: Command, exported: Path, hub_of_its_own: Hub
) -> None:
    api = HfApi(endpoint=hub_of_its_own.url, token=hub_of_its_own.token)
    repo = REPO.format("tiny")
    assert {"onnx/model.onnx", "onnx/parity.json"} <= {*api.list_repo_files(repo)}
    card = Path(api.hf_hub_download(repo, "README.md", local_dir=exported / "read")).read_text()
    first, by_onnx = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    said = [
        hubtools.run(sys.executable, "-c", snippet, env=hub_of_its_own.environ).stdout for snippet in (first, by_onnx)
    ]
    answers = eval(said[0])  # the first prints a dict of (label, probability)
    found = {line.split(" ", 1)[0]: eval(line.split(" ", 1)[1]) for line in said[1].splitlines()}
    assert found == {task: [label for label, _ in labelled] for task, labelled in answers.items()}


def test_a_static_page_answers_all_four_from_the_graph_of_all_tasks(
    browser: Any,
    hubtools: Command,
    joint: Path,
    flags: tuple[object, ...],
    hub_of_its_own: Hub,
    tmp_path: Path,
) -> None:
    work = flags[-2:]
    commands = [
        ("export", MULTI, "--to", "onnx", *work),
        ("push-model", MULTI, *work),
        ("push-space", "--sdk", "static", *work),
    ]
    hubtools.in_turn(*commands, env=hub_of_its_own.environ)
    api = HfApi(endpoint=hub_of_its_own.url, token=hub_of_its_own.token)
    site = Path(api.snapshot_download("local/router-classifiers", repo_type="space", local_dir=tmp_path / "site"))
    entries = json.loads((site / "models.json").read_text())["models"]
    graphs = {name: entry["graph"] for name, entry in entries.items()}
    assert {name: (graph["repo"], graph["output"]) for name, graph in graphs.items()} == {
        name: (REPO.format("tiny"), name) for name in TASKS
    }
    [(revision, file)] = {(graph["revision"], graph["file"]) for graph in graphs.values()}
    # The same graph in Python: the app of the Gradio Space, with the files of that commit.
    repo = api.snapshot_download(REPO.format("tiny"), revision=revision, local_dir=tmp_path / "repo")
    (tmp_path / "app").mkdir()
    copy_space(tmp_path / "app")
    local = {"repo": repo, "revision": None}
    write_models(tmp_path / "app", {n: e | {"graph": e["graph"] | local} for n, e in entries.items()})
    app = import_app(tmp_path / "app")
    # Other kernels compute int8 a little otherwise: a score that rounds to the next step moves by up to this.
    nearly = 1e-4 if file == "onnx/model.onnx" else 0.05
    spans = 0
    with serving(site) as url, new_page(browser) as page:
        visit(page, url)
        for text in [example for task in TASKS.values() for example in task.demo.examples]:
            page.get_by_label("Prompt", exact=True).first.fill(text)
            page.get_by_role("button", name="Check this prompt").click()
            page.locator("body:not(.asking) #answer .row").first.wait_for()
            answers = json.loads(page.locator("details.json pre").text_content())["answers"]
            reads, _ = app.answering.ask_all(text)
            for name, expected in app.policy.decide(text, reads)["answers"].items():
                found = answers[name]
                assert found["tokens_read"] == expected["tokens_read"]
                if name == "pii":
                    here, there = ([(e["entity_group"], e["word"]) for e in a["entities"]] for a in (found, expected))
                    assert here == there
                    spans += len(here)
                else:
                    assert found["scores"] == pytest.approx(expected["scores"], abs=nearly), text
    assert spans
