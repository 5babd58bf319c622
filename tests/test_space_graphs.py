"""Which ONNX file answers a task of a Space: that of all tasks where the classifier was cut out of it, else its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants

sys.path.insert(0, str(Path(__file__).parent / "space"))

from handmade_graph import LABELS, NANO, make_repo

from hubtools.errors import MissingStage
from hubtools.publishing.space_files import SpaceForm, list_space_files
from hubtools.publishing.space_graphs import find_graphs
from hubtools.records import to_json, write_json
from hubtools.records.onnx import Fp32Parity, Int8Scores, OnnxExport, OnnxFile, Speed, TaskParity
from hubtools.records.release import Published
from hubtools.records.thresholds import DetectionRates, DetectionThresholds, Target
from hubtools.tasks import MULTI, TASKS
from hubtools.workdir import TaskFolder

NAMES = ("jailbreak", "intent")
CURVE = [(1.0, 0.0, 0.0), (0.5, 1.0, 0.1)]
FP32, INT8 = "onnx/model.onnx", "onnx/model_quantized.onnx"


def make_parity(names: list[str], withheld: str = "") -> dict[str, Any]:
    """What an export records; of jailbreak with a threshold of the int8 file."""
    rates = DetectionRates(positives=1, negatives=1, fpr=None, fnr=None)
    chosen = DetectionThresholds(
        kind="detection", label="jailbreak", threshold=0.6, target=Target(fpr=0.01), validation=rates, test=rates
    )
    fp32 = Fp32Parity(texts=5, answers=5, differing=0, largest_difference=0.0)
    int8 = Int8Scores(key="f1", title="F1", torch=0.8, int8=0.79, thresholds=None)
    own = replace(int8, thresholds=chosen, curve=CURVE)
    files = {"model.onnx": OnnxFile(bytes=1, sha256="x")}
    return to_json(OnnxExport(
        weights_sha256={}, weights_bytes=1, int8_bytes=1, withheld=withheld, versions={},
        files=files if withheld else files | {"model_quantized.onnx": OnnxFile(bytes=1, sha256="x")},
        tasks={n: TaskParity(scores_of="f", fp32=fp32, int8=own if n == "jailbreak" else int8) for n in names},
        speed=Speed(processor="x", latencies=[]),
    ))  # fmt: skip


@pytest.fixture
def pushed(api: HfApi, tmp_path: Path) -> Iterator[Any]:
    """A function that pushes a repo with further JSON files; the Hub of this process is the embedded one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("huggingface_hub.HfApi", lambda: api)  # the library reads its environment when it is imported
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)

        def push(name: str, files: dict[str, Any]) -> Published:
            repo, folder = f"local/graphs-{name}", make_repo(tmp_path / name)
            for path, content in files.items():
                write_json(folder / path, content)
            api.create_repo(repo, exist_ok=True)
            api.upload_folder(repo_id=repo, folder_path=folder)
            revision = str(api.model_info(repo).sha)
            return Published(repo=repo, kind="model", revision=revision, tag="v1", changed=True, url="")

        yield push


@pytest.fixture
def folders(pushed: Any, tmp_path: Path) -> dict[str, TaskFolder]:
    """The work folders of two released tasks, of which one has no int8 file."""
    found = {MULTI: TaskFolder(tmp_path / "work" / MULTI)}
    for name in NAMES:
        config = json.loads((NANO / "config.json").read_text()) | {"id2label": dict(enumerate(LABELS[name]))}
        threshold = {"kind": "detection", "label": "jailbreak", "threshold": 0.7}
        model = pushed(name, {
            "config.json": config,
            "onnx/parity.json": make_parity([name], "too bad" if name == "intent" else ""),
            "training.json": {"base": "hubtools/modernbert-nano"},
            "thresholds.json": {"task": name, "weights": {"model.safetensors": threshold}},
        })  # fmt: skip
        found[name] = TaskFolder(tmp_path / "work" / name)
        found[name].root.mkdir(parents=True)
        write_json(found[name].published, {"model": to_json(replace(model, weights_sha256=f"weights of {name}"))})
    return found


def choose(folders: dict[str, TaskFolder], int8: bool) -> dict[str, tuple[str, str, str]]:
    graphs = find_graphs({name: TASKS[name] for name in NAMES}, folders, folders[MULTI], int8=int8)
    return {
        name: (graph.repo.removeprefix("local/graphs-"), graph.file, graph.output) for name, graph in graphs.items()
    }


def test_the_graph_of_all_tasks_answers_what_was_cut_out_of_it(folders: dict[str, TaskFolder], pushed: Any) -> None:
    own = {"jailbreak": ("jailbreak", INT8, "logits"), "intent": ("intent", FP32, "logits")}
    assert choose(folders, int8=True) == own
    assert {file for _, file, _ in choose(folders, int8=False).values()} == {FP32}
    # Intent was trained anew since.
    cut_out = {"jailbreak": "weights of jailbreak", "intent": "other weights"}
    joint = pushed("multi", {"onnx/parity.json": make_parity([*TASKS]), "training.json": {"weights_sha256": cut_out}})
    folders[MULTI].root.mkdir()
    write_json(folders[MULTI].published, {"model": to_json(joint)})
    assert choose(folders, int8=True) == own | {"jailbreak": ("multi", INT8, "jailbreak")}
    assert choose(folders, int8=False)["jailbreak"] == ("multi", FP32, "jailbreak")


def test_a_page_that_asks_int8_shows_int8_s_own_threshold_score_and_curve(folders: dict[str, TaskFolder]) -> None:
    tasks = [TASKS[name] for name in NAMES]

    def read(form: SpaceForm) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(list_space_files(tasks, folders, form)["models.json"])["models"]  # type: ignore[arg-type]
        return found

    shown = read(SpaceForm("static"))["jailbreak"]
    assert (shown["threshold"], shown["curve"]) == (0.6, [[1.0, 0.0, 0.0], [0.5, 1.0, 0.1]])
    assert shown["score"] == {"title": "F1 (int8)", "value": 0.79, "rows": 5}
    shown = read(SpaceForm("gradio"))["jailbreak"]
    assert shown["threshold"] == 0.7
    assert shown["graph"]["file"] == FP32


def test_a_static_page_refuses_what_a_browser_could_not_load(folders: dict[str, TaskFolder], api: HfApi) -> None:
    from hubtools.errors import UsageError

    tasks = [TASKS[name] for name in NAMES]
    api.update_repo_settings("local/graphs-intent", private=True)
    with pytest.raises(UsageError, match=r"local/graphs-intent is private"):
        list_space_files(tasks, folders, SpaceForm("static"))
    api.update_repo_settings("local/graphs-intent", private=False)
    bare = json.loads(folders["intent"].published.read_text())["model"]
    api.delete_file("onnx/parity.json", "local/graphs-intent")
    revision = str(api.model_info("local/graphs-intent").sha)
    write_json(folders["intent"].published, {"model": bare | {"revision": revision}})
    with pytest.raises(MissingStage, match=r"(?s)The intent model has no ONNX file.*export intent --to onnx"):
        list_space_files(tasks, folders, SpaceForm("static"))
