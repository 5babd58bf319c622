"""ONNX files: they answer as the weights do, are measured before they are released, and never of other weights."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib import util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from as_user import Command
from huggingface_hub import HfApi
from test_published_cards import onnx_of, run_of
from tiny_releases import TEXTS, change_weights, make_release

from hubtools import run
from hubtools.curation.build import CurationInputs, curate
from hubtools.curation.user_data import choose_sources
from hubtools.errors import ExportFailed, UsageError
from hubtools.evaluation.evaluate import evaluate
from hubtools.heads.inference import load_pipeline, predict_probabilities
from hubtools.onnx_export import export, graph
from hubtools.onnx_export.current import find_export, list_files
from hubtools.onnx_export.export import export_task
from hubtools.onnx_export.graph import Classifier, quantise, write_graph
from hubtools.onnx_export.measure import compare_with_torch
from hubtools.onnx_export.session import OnnxModel, open_session, run_session
from hubtools.options import WorkOptions
from hubtools.publishing.model import is_weights
from hubtools.records import from_json, to_json, write_json
from hubtools.records.metrics import Metrics
from hubtools.records.onnx import LOGITS, OnnxExport
from hubtools.records.release import Published
from hubtools.rows import Columns
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS
from hubtools.workdir import TaskFolder

JAILBREAK, PII = TASKS["jailbreak"], TASKS["pii"]
UNLIKE = [*TEXTS, "x", "a longer one, " * 40]  # in one batch: all but one are padded


# --- answers --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=[JAILBREAK, pytest.param(PII, marks=pytest.mark.exhaustive)])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Classifier, Path]:
    """A tiny classifier and its ONNX file."""
    folder = make_release(tmp_path_factory.mktemp("tiny") / "model", request.param)
    model, path = Classifier(request.param.head, folder), folder.parent / "model.onnx"
    write_graph(model, path)
    return model, path


def test_the_graph_answers_as_torch_does_alone_and_in_a_padded_batch(written: tuple[Classifier, Path]) -> None:
    model, path = written
    tokenizer = load_tokenizer(path)
    for texts in (["x"], UNLIKE, TEXTS * 15):  # the last takes several batches
        parity = compare_with_torch(model, open_session(path), LOGITS, tokenizer, texts)
        assert parity.texts == len(texts)
        assert parity.differing == 0
        assert parity.largest_difference < 1e-5
    assert parity.answers >= parity.texts


def load_tokenizer(path: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path.parent / "model")


def test_a_graph_that_answers_otherwise_is_seen(written: tuple[Classifier, Path], tmp_path: Path) -> None:
    model, path = written
    shutil.copytree(path.parent / "model", tmp_path / "model")
    wreck(path, tmp_path / "wrecked.onnx")
    parity = compare_with_torch(model, open_session(tmp_path / "wrecked.onnx"), LOGITS, load_tokenizer(path), UNLIKE)
    assert parity.differing > 0
    assert parity.largest_difference > 0.1


def wreck(source: Path, target: Path) -> None:
    """Write an ONNX file whose every label is as likely as any other but for its bias."""
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2:
            values = onnx.numpy_helper.to_array(tensor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values * 0, tensor.name))
    onnx.save(model, target)


def test_the_names_are_those_that_transformers_js_asks_for(written: tuple[Classifier, Path], tmp_path: Path) -> None:
    _, path = written
    quantise(path, tmp_path / "int8.onnx")
    for file in (path, tmp_path / "int8.onnx"):
        session = open_session(file)
        assert {(put.name, put.type, tuple(put.shape)) for put in session.get_inputs()} == {
            (name, "tensor(int64)", ("batch", "sequence")) for name in ("input_ids", "attention_mask")
        }
        assert [put.name for put in session.get_outputs()] == ["logits"]
        assert str(Path(torch.__file__).parents[1]).encode() not in file.read_bytes(), "a path of this machine"
        assert [opset.version for opset in onnx.load(file).opset_import if not opset.domain] == [18]
    int8 = {tensor.name for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer if tensor.data_type == 3}
    assert len(int8) > 10, "matrices and embeddings"


def test_a_text_is_answered_by_itself_whatever_stands_beside_it(
    written: tuple[Classifier, Path], tmp_path: Path
) -> None:
    """int8 scales its numbers by all of a batch: read so, the same text would get other answers beside others."""
    model, path = written
    quantise(path, tmp_path / "int8.onnx")
    session = open_session(tmp_path / "int8.onnx")
    tokenizer = load_tokenizer(path)
    batch = tokenizer(UNLIKE, padding=True, truncation=True, return_tensors="pt")
    answered = OnnxModel(session, LOGITS, model.model.config)(**batch).logits
    for row, text in enumerate(UNLIKE):
        one = tokenizer([text], truncation=True, return_tensors="np")
        [expected] = run_session(session, one["input_ids"], one["attention_mask"], [LOGITS])
        found = answered[row] if answered.ndim == 2 else answered[row][batch["attention_mask"][row].bool()]
        np.testing.assert_array_equal(found.numpy(), expected[0])


# --- a whole export -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> TaskFolder:
    """A tiny detector with random weights, scored on rows that it labelled itself: it is right everywhere."""
    folder = TaskFolder(tmp_path_factory.mktemp("work") / "jailbreak")
    make_release(folder.model, JAILBREAK)
    rng = random.Random(5)
    words = ["soup", "tents", "rivers", "poems", "taxes", "bikes", "lamps", "trains", "bread", "stars"]
    texts = [" ".join(f"{rng.choice(words)} {rng.randrange(10**4)}" for _ in range(3)) for _ in range(120)]
    labels = JAILBREAK.label_set().labels
    classifier = load_pipeline("text-classification", str(folder.model))
    scores = [row[1] for row in predict_probabilities(classifier, texts, labels)]
    rows = [
        {"text": text, "label": labels[int(score > np.median(scores))], "split": ("train", "validation", "test")[i % 3]}
        for i, (text, score) in enumerate(zip(texts, scores, strict=True))
    ]
    file = folder.root.parent / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sources, label_set = choose_sources(JAILBREAK, str(file), Columns(), JAILBREAK.label_set(), "mit")
    curate(JAILBREAK, folder, CurationInputs(sources, label_set))
    write_json(folder.training, run_of(JAILBREAK, "public")["training"] | {"train_sha256": None})
    assert evaluate(JAILBREAK, folder).primary.value == 1.0
    return folder


@pytest.fixture
def copy(scored: TaskFolder, tmp_path: Path) -> TaskFolder:
    shutil.copytree(scored.root, tmp_path / "work" / "jailbreak")
    return TaskFolder(tmp_path / "work" / "jailbreak")


@pytest.fixture(scope="module")
def written_once(scored: TaskFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph of ``scored``."""
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_graph(Classifier(JAILBREAK.head, scored.model), path)
    return path


@pytest.fixture(autouse=True)
def trace_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports of ``copy`` take the graph that was traced for all of them."""
    if "copy" in request.fixturenames:
        path = request.getfixturevalue("written_once")
        monkeypatch.setattr(graph, "write_graph", lambda model, target: shutil.copy(path, target))


def test_an_export_is_measured_on_the_whole_test_split_and_done_once(copy: TaskFolder) -> None:
    said: list[str] = []
    record = export_task(JAILBREAK, copy, said.append)
    assert json.loads((copy.model / "onnx" / "parity.json").read_text())["weights_sha256"] == record.weights_sha256
    parity = record.tasks["jailbreak"]
    assert parity.fp32.texts == parity.fp32.answers == copy.read_facts().splits["test"].rows
    assert parity.fp32.differing == 0
    assert parity.fp32.largest_difference < 1e-5
    assert (parity.int8.torch, parity.int8.key) == (1.0, "roc_auc")
    assert parity.int8.thresholds is not None
    assert parity.int8.thresholds.target == copy.read_metrics().target
    shipped = json.loads((copy.model / "thresholds.json").read_text())
    entries = shipped["weights"]
    assert shipped["languages"] == copy.read_facts().languages != []
    assert entries.keys() == {"model.safetensors", *(f"onnx/{name}" for name in record.files)}
    assert entries["onnx/model.onnx"] == entries["model.safetensors"]
    if not record.withheld:
        assert entries["onnx/model_quantized.onnx"] == to_json(parity.int8.thresholds)
    names = {path.name for path in (copy.model / "onnx").iterdir()}
    assert names == {"model.onnx", "parity.json"} | ({"model_quantized.onnx"} if not record.withheld else set())
    assert record.files.keys() == names - {"parity.json"}
    assert {row.tokens for row in record.speed.latencies} == {32}, "this tiny model reads 64 tokens"
    assert all(took.p95 >= took.p50 > 0 for row in record.speed.latencies for took in row.milliseconds.values())
    assert record.speed.processor
    assert export_task(JAILBREAK, copy, said.append) == record
    assert said[-1] == "jailbreak: the ONNX files are up to date"


def test_int8_that_loses_too_much_is_withheld(copy: TaskFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "quantise", wreck)
    said: list[str] = []
    record = export_task(JAILBREAK, copy, said.append)
    assert record.withheld == f"ROC-AUC {record.tasks['jailbreak'].int8.int8:.3f} in place of 1.000"
    assert record.tasks["jailbreak"].int8.int8 < 0.9
    assert record.files.keys() == {"model.onnx"}
    assert not (copy.model / "onnx" / "model_quantized.onnx").exists()
    assert {took for row in record.speed.latencies for took in row.milliseconds} == {"torch", "fp32"}
    assert said[-1] == f"jailbreak: model_quantized.onnx is withheld: {record.withheld}"
    assert list_files(copy.model, record).keys() == {"onnx/model.onnx", "onnx/parity.json"}


def test_fp32_that_answers_otherwise_is_no_release(copy: TaskFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    write = graph.write_graph

    def write_wrecked(model: Any, path: Path) -> None:
        write(model, path)
        wreck(path, path)

    monkeypatch.setattr(graph, "write_graph", write_wrecked)
    with pytest.raises(ExportFailed, match=r"(?s)answers otherwise than its weights.*probabilities within 0.001"):
        export_task(JAILBREAK, copy, print)
    assert not (copy.model / "onnx").exists()


@pytest.mark.parametrize(
    ("int8", "greater_is_better", "withheld"),
    [(0.89, True, False), (0.8801, True, False), (0.8799, True, True), (0.95, True, False), (float("nan"), True, True),
     (0.8999, False, False), (0.9001, False, True)],
)  # fmt: skip
def test_int8_may_lose_a_hundredth_and_no_more(int8: float, greater_is_better: bool, withheld: bool) -> None:
    parity = record_of(JAILBREAK).tasks["jailbreak"]
    parity = replace(parity, int8=replace(parity.int8, torch=0.89, int8=int8))
    task = replace(JAILBREAK, primary=replace(JAILBREAK.primary, greater_is_better=greater_is_better))
    part = export.Part(task, TaskFolder(Path()), LOGITS)
    assert bool(export._find_reason_to_withhold([part], {"jailbreak": parity})) == withheld


def record_of(task: TaskSpec) -> OnnxExport:
    return from_json(onnx_of(task), OnnxExport)


# --- of other weights -----------------------------------------------------------------------------------------------


@pytest.fixture
def planted(scored: TaskFolder, tmp_path: Path) -> tuple[Path, dict[str, Metrics]]:
    """A model folder with ONNX files that are what their record says, and the model's metrics."""
    model, metrics = tmp_path / "model", scored.read_metrics()
    shutil.copytree(scored.model, model)
    (model / "onnx").mkdir()
    plain = onnx_of(JAILBREAK)
    assert plain is not None
    plain["weights_sha256"] = {"model.safetensors": metrics.weights_sha256}
    plain["tasks"]["jailbreak"]["scores_of"] = metrics.fingerprint
    for name, file in plain["files"].items():
        (model / "onnx" / name).write_bytes(name.encode())
        file["sha256"] = export.sha256_of(model / "onnx" / name)
    write_json(model / "onnx" / "parity.json", plain)
    return model, {"jailbreak": metrics}


def test_files_of_these_weights_are_released(planted: tuple[Path, dict[str, Metrics]]) -> None:
    model, metrics = planted
    record, why_not = find_export(model, metrics)
    assert (record is not None, why_not) == (True, "")
    assert list_files(model, record).keys() == {
        f"onnx/{name}" for name in ("model.onnx", "model_quantized.onnx", "parity.json")
    }


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


STALE: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights": (lambda model: change_weights(model, lambda t: t["classifier.bias"].add_(1)), "made of other weights"),
    "a file": (lambda model: append(model / "onnx" / "model.onnx"), "a file was changed"),
    "no file": (lambda model: (model / "onnx" / "model_quantized.onnx").unlink(), "a file was changed"),
    "no record": (lambda model: (model / "onnx" / "parity.json").unlink(), "missing, damaged or of another version"),
    "a damaged record": (
        lambda model: append(model / "onnx" / "parity.json"),
        "missing, damaged or of another version",
    ),
}


@pytest.mark.parametrize("change", STALE)
def test_files_of_other_weights_are_left_out(planted: tuple[Path, dict[str, Metrics]], change: str) -> None:
    model, metrics = planted
    alter, reason = STALE[change]
    alter(model)
    record, why_not = find_export(model, metrics)
    assert record is None
    assert reason in why_not
    assert list_files(model, record) == {}


def test_files_are_left_out_where_the_model_was_scored_again(planted: tuple[Path, dict[str, Metrics]]) -> None:
    model, metrics = planted
    again = {"jailbreak": replace(metrics["jailbreak"], fingerprint="of another target")}
    assert find_export(model, again) == (None, "the model was scored again since")
    shutil.rmtree(model / "onnx")
    assert find_export(model, metrics) == (None, "")


def test_onnx_files_on_the_hub_that_are_not_pushed_are_removed_and_others_stay() -> None:
    assert [p for p in ("onnx/model.onnx", "onnx/model_q4.onnx", "onnx.md", "notes/x.onnx") if is_weights(p)] == [
        "onnx/model.onnx", "onnx/model_q4.onnx",
    ]  # fmt: skip


# --- the user's command ---------------------------------------------------------------------------------------------


@pytest.mark.exhaustive
def test_an_exported_model_is_pushed_with_its_files_and_without_them_once_scored_again(
    hubtools: Command, hub: Any, api: HfApi, scored: TaskFolder, tmp_path: Path
) -> None:
    work, repo, name = tmp_path / "work", "local/exported-model", ("--model-name", "exported-model")
    onnx = Path(shutil.copytree(scored.root, work / "jailbreak")) / "model" / "onnx"
    flags = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", work)
    done = hubtools.in_turn(
        ("push-dataset", "jailbreak", "--dataset-name", "exported-rows", *flags),
        ("export", "jailbreak", "--to", "onnx", *flags),
        ("push-model", "jailbreak", *name, *flags),
    )
    assert str(onnx / "model.onnx") in done.stdout.splitlines()
    assert "0 of" in done.stderr
    pushed = {name for name in api.list_repo_files(repo) if name.startswith("onnx/")}
    assert pushed == {f"onnx/{path.name}" for path in onnx.iterdir()}
    assert {"onnx/model.onnx", "onnx/parity.json"} <= pushed
    assert "## ONNX" in Path(api.hf_hub_download(repo, "README.md", local_dir=tmp_path / "read")).read_text()
    # The scores that the card holds them against are others now.
    metrics = json.loads((onnx / "parity.json").read_text())
    metrics["tasks"]["jailbreak"]["scores_of"] = "others"
    write_json(onnx / "parity.json", metrics)
    told = hubtools("push-model", "jailbreak", *name, "--dry-run", *flags).stderr
    again = "hubtools export jailbreak --to onnx"
    assert f"jailbreak: onnx/ is left out, as the model was scored again since; {again}" in told
    assert "would delete onnx/model.onnx" in told


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("export", "jailbreak", "--to", "onnx"), 1, "hubtools finetune jailbreak"),
        (("export", "multi", "--to", "onnx"), 1, "hubtools finetune multi"),
        (("export", "jailbreak"), 2, "--to"),
        (("export", "jailbreak", "--to", "onnx", "--out", "x"), 2, "leave --out out"),
        (("export", "jailbreak", "--to", "tflite"), 2, "onnx"),
    ],
)
def test_what_cannot_be_exported_is_said(
    hubtools: Command, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = hubtools(*arguments, "--work-dir", tmp_path, check=False)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_libraries_are_named_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *rest: None if name == "onnxruntime" else find(name, *rest))
    with pytest.raises(UsageError, match=r"(?s)found: +no onnxruntime\n +next: +pip install 'hubtools\[onnx\]'"):
        export.check_libraries()


@pytest.mark.parametrize("to", [None, "onnx"])
def test_a_run_exports_before_it_releases_and_only_where_it_is_asked_to(
    to: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    finished = SimpleNamespace(task=JAILBREAK, seconds=0.0)
    monkeypatch.setattr(run, "finetune_tasks", lambda *_: (one for one in [finished]))
    monkeypatch.setattr(run, "_make_result", lambda *_: None)

    def note(stage: str) -> Published:
        done.append(stage)
        return object.__new__(Published)

    for stage in ("evaluate_task", "export_onnx", "push_model_task"):
        monkeypatch.setattr(run, stage, lambda *_, stage=stage: note(stage))
    run._train_and_release([JAILBREAK], run.RunOptions(WorkOptions(tmp_path), export=to), run._Clock())
    assert done == ["evaluate_task", *(["export_onnx"] if to else []), "push_model_task"]
