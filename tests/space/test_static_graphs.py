"""Trained models by their graphs: in the browser as in Python, in fp32 and int8, and in the app without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from browser import new_page, visit
from huggingface_hub import HfApi, constants
from space_copy import copy_space, import_app, own_entry, write_models
from static_pages import serving
from tiny_models import ATTACK, CALCULUS, ERRAND, FILLER

from hubtools.localhub import Hub
from hubtools.onnx_export.graph import Classifier, quantise, write_graph
from hubtools.publishing.space_files import list_static_files
from hubtools.tasks import TASKS

pytestmark = pytest.mark.exhaustive  # four exports

SECRET = "maria@example.com"
SENTENCE = f"My name is Maria Keller and my mail is {SECRET}. Maria Keller"
TEXTS = [
    ERRAND,
    CALCULUS,
    ATTACK,
    SENTENCE,
    FILLER * 30 + ATTACK,
    "Zoë lives in São Paulo \N{WAVING HAND SIGN} e\u0301",
    "请给我写",
]


@pytest.fixture(scope="module")
def graphs(hub: Hub, api: HfApi, space_folder: Path) -> dict[str, Path]:
    """The tiny models with their ONNX files, pushed: their folders."""
    folders = {path.name.split("_")[0]: path for path in (space_folder / "models").iterdir()}
    for name, folder in folders.items():
        (folder / "onnx").mkdir(exist_ok=True)
        write_graph(Classifier(TASKS[name].head, folder), folder / "onnx" / "model.onnx")
        quantise(folder / "onnx" / "model.onnx", folder / "onnx" / "model_quantized.onnx")
        api.create_repo(f"local/static-{name}", exist_ok=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the embedded Hub has none
            api.upload_folder(repo_id=f"local/static-{name}", folder_path=folder)
    return folders


def describe(api: HfApi, graphs: dict[str, Path], file: str) -> dict[str, dict[str, Any]]:
    """What models.json says of each task whose graph is ``file``."""
    entries = {}
    for name, folder in graphs.items():
        repo = f"local/static-{name}"
        labels = [label for _, label in sorted(json.loads((folder / "config.json").read_text())["id2label"].items(),
                                               key=lambda pair: int(pair[0]))]  # fmt: skip
        graph = {"repo": repo, "revision": api.model_info(repo).sha, "file": file, "output": "logits", "labels": labels}
        entries[name] = own_entry(name, repo, api.model_info(repo).sha, graph)
    return {name: entries[name] for name in TASKS}


@pytest.fixture(scope="module", params=["onnx/model.onnx", "onnx/model_quantized.onnx"])
def site(
    request: pytest.FixtureRequest,
    hub: Hub,
    api: HfApi,
    graphs: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SimpleNamespace]:
    """The page on its server, and the app of the Gradio Space with the same graphs."""
    folder, app = tmp_path_factory.mktemp("static"), tmp_path_factory.mktemp("app")
    entries = describe(api, graphs, request.param)
    for name, content in list_static_files(entries, hub.url).items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    copy_space(app)
    local = {n: e | {"graph": e["graph"] | {"repo": str(graphs[n]), "revision": None}} for n, e in entries.items()}
    write_models(app, local)
    with serving(folder) as url:
        yield SimpleNamespace(url=url, hub=hub.url, file=request.param, app=import_app(app), app_folder=app)


def decided(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(page.locator("details.json pre").text_content())
    return found


def test_answers_are_those_of_the_same_graph_in_python(browser: Any, site: SimpleNamespace) -> None:
    # Other kernels compute int8 a little otherwise: a score that rounds to the next step moves by up to this.
    nearly = 1e-4 if site.file == "onnx/model.onnx" else 0.05
    with new_page(browser) as page:
        visit(page, site.url)
        for text in TEXTS:
            page.get_by_label("Prompt", exact=True).first.fill(text)
            page.get_by_role("button", name="Check this prompt").click()
            page.locator("body:not(.asking) #answer .row").first.wait_for()
            answers, expected = (
                decided(page)["answers"],
                site.app.policy.decide(text, site.app.answering.ask_all(text)[0]),
            )
            for name, answer in expected["answers"].items():
                found = answers[name]
                assert [found[k] for k in ("tokens_read", "windows", "truncated")] == [
                    answer[k] for k in ("tokens_read", "windows", "truncated")
                ]
                if name == "pii":
                    assert [(e["start"], e["end"], e["entity_group"], e["placeholder"]) for e in found["entities"]] == [
                        (e["start"], e["end"], e["entity_group"], e["placeholder"]) for e in answer["entities"]
                    ]
                    assert found["masked"] == answer["masked"]
                else:
                    assert found["label"] == answer["label"]
                    assert found["scores"] == pytest.approx(answer["scores"], abs=nearly)
                assert found.get("strongest") == answer.get("strongest")


def test_the_app_answers_by_the_same_graphs_as_by_the_weights(site: SimpleNamespace, space: SimpleNamespace) -> None:
    if site.file != "onnx/model.onnx":
        pytest.skip("int8 answers a little otherwise than the weights")
    for text in TEXTS:
        graphs, weights = (app.answering.ask_all(text)[0] for app in (site.app, space))
        for name, read in weights.items():
            if "scores" in read:
                assert graphs[name]["scores"] == pytest.approx(read["scores"], abs=1e-5)
            else:
                assert [(e["start"], e["end"], e["entity_group"]) for e in graphs[name]["entities"]] == [
                    (e["start"], e["end"], e["entity_group"]) for e in read["entities"]
                ]
            assert {k: read[k] for k in ("tokens_read", "windows", "truncated")}.items() <= graphs[name].items()


def test_the_app_starts_and_answers_where_there_is_no_torch(site: SimpleNamespace) -> None:
    program = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "import answering; reads, _ = answering.ask_all(sys.argv[1])\n"
        "print(next(iter(reads['jailbreak']['scores'])), 'torch' in sys.modules and sys.modules['torch'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, ATTACK], cwd=site.app_folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "jailbreak None"
