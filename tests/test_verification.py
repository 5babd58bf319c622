"""``hubtools verify``: releases of this version and of older ones, whose predictions call their columns otherwise."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from as_user import Command
from huggingface_hub import HfApi, constants
from tiny_classifiers import make_classifier

from hubtools.heads.inference import load_pipeline, predict_spans
from hubtools.localhub import Hub
from hubtools.tasks.pii import PII
from hubtools.training.release import finish_release

TEXTS = ["Ann Lee", "mail to ann@example.org", "nobody at home"]
Publish = Callable[..., str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verified") / "model"
    return make_pii_model(folder, "B-PERSON")


def make_pii_model(folder: Path, sure_of: str) -> Path:
    """A release that answers ``sure_of`` to every token."""
    make_classifier(folder, list(PII.model_labels(PII.label_set())), "token", sure_of)
    finish_release(folder, PII, PII.label_set())
    return folder


@pytest.fixture(scope="module")
def answers(model: Path) -> list[Any]:
    return predict_spans(load_pipeline(PII.head.pipeline, str(model)), TEXTS, PII.label_set().labels)


@pytest.fixture
def publish(api: HfApi, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Publish a model with a file of predictions of the given column, scored on a dataset of three texts."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its cache of chunks lies in the user's home

    def release(name: str, column: str, recorded: list[Any], model: Path = model) -> str:
        repo, dataset = f"local/{name}", f"local/{name}-rows"
        ids = [f"row{i}" for i in range(len(TEXTS))]
        pq.write_table(pa.table({"id": ids, "text": TEXTS}), tmp_path / "test-00000-of-00001.parquet")
        api.create_repo(dataset, repo_type="dataset")
        path = "data/test-00000-of-00001.parquet"
        rows = api.upload_file(
            path_or_fileobj=tmp_path / Path(path).name, path_in_repo=path, repo_id=dataset, repo_type="dataset"
        )
        index = [{"name": name, "results": [{"dataset": {"type": dataset, "revision": rows.oid}}]}]
        index[0]["results"][0] |= {"task": {"type": PII.head.pipeline}, "metrics": [{"type": "f1", "value": 0.5}]}
        index[0]["results"][0]["dataset"]["name"] = "rows"
        (model / "README.md").write_text(f"---\nlicense: mit\nmodel-index: {json.dumps(index)}\n---\n# {name}\n")
        pq.write_table(pa.table({"id": ids, column: recorded}), model / "predictions.parquet")
        api.create_repo(repo)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*commit a data file.*")
            api.upload_folder(repo_id=repo, folder_path=model)
        return repo

    return release


def test_a_release_of_an_older_version_is_verified_by_the_column_that_it_has(
    hubtools: Command, hub: Hub, publish: Publish, answers: list[Any]
) -> None:
    repo = publish("pii_classifier_older", "found", answers)
    done = hubtools("verify", repo, "--hub", "local", "--hub-dir", hub.data_dir, "--json")
    report = json.loads(done.stdout)
    assert (report["repo"], report["rows"]) == (repo, len(TEXTS))
    assert report["largest_difference"] < 1e-5
    assert {check["name"]: check["result"] for check in report["router_checks"]} == dict.fromkeys(
        ("files", "config", "mapping", "weights", "tokenizer", "answers", "spans", "windows", "self-check"), "passed"
    )


def test_other_spans_than_the_recorded_ones_are_an_error_that_shows_both(
    hubtools: Command, hub: Hub, publish: Publish, answers: list[Any]
) -> None:
    repo = publish("pii_classifier_other", "predicted_spans", [answers[0][1:], *answers[1:]])
    done = hubtools("verify", repo, "--hub", "local", "--hub-dir", hub.data_dir, check=False)
    assert done.returncode == 1
    assert "finds other spans than it was scored with." in done.stderr
    assert "expected:" in done.stderr
    assert "hubtools push-model pii" in done.stderr


@pytest.mark.exhaustive
def test_two_labels_that_were_swapped_in_a_published_config_are_named(
    hubtools: Command, hub: Hub, api: HfApi, publish: Publish, answers: list[Any], tmp_path: Path
) -> None:
    repo = publish("pii_classifier_swapped", "predicted_spans", answers)
    config = json.loads(Path(api.hf_hub_download(repo, "config.json", local_dir=tmp_path)).read_text())
    names = config["id2label"]
    names["1"], names["3"] = names["3"], names["1"]
    content = json.dumps(config).encode()
    api.upload_file(path_or_fileobj=content, path_in_repo="config.json", repo_id=repo)
    done = hubtools("verify", repo, "--hub", "local", "--hub-dir", hub.data_dir, check=False)
    assert done.returncode == 1
    assert "fails 1 of " in done.stderr
    assert "config.json: id2label: its entry '1' is not the task's" in done.stderr
    assert f"expected: {names['3']}" in done.stderr
    assert f"found: {names['1']}" in done.stderr
    assert "next:     hubtools push-model pii" in done.stderr


@pytest.mark.exhaustive
def test_a_model_that_finds_no_span_fails_unless_its_push_was_to_check_nothing(
    hubtools: Command, hub: Hub, api: HfApi, publish: Publish, tmp_path: Path
) -> None:
    """The router asks a model two texts before it serves it, and does not start with one that finds nothing."""
    repo = publish("pii_classifier_silent", "predicted_spans", [[], [], []], make_pii_model(tmp_path / "silent", "O"))
    at = ("--hub", "local", "--hub-dir", hub.data_dir)
    done = hubtools("verify", repo, *at, check=False)
    assert done.returncode == 1
    assert "model.safetensors: the model finds no span in two texts" in done.stderr
    report = {"contract": "x", "weights_sha256": "", "skipped": True, "family": "modernbert", "max_tokens": None,
              "texts": 0, "different": 0, "checks": []}  # fmt: skip
    api.upload_file(path_or_fileobj=json.dumps(report).encode(), path_in_repo="router.json", repo_id=repo)
    assert "router_checks" in (told := json.loads(hubtools("verify", repo, *at, "--json").stdout))
    assert told["router_checks"] == []


@pytest.mark.exhaustive
def test_what_the_router_puts_up_with_is_a_warning_of_others_and_an_error_of_a_release_of_today(
    hubtools: Command, hub: Hub, api: HfApi, publish: Publish, answers: list[Any], tmp_path: Path
) -> None:
    model = make_pii_model(tmp_path / "cutting", "B-PERSON")
    content = json.loads((model / "tokenizer.json").read_text())
    truncation = {"direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0}
    (model / "tokenizer.json").write_text(json.dumps(content | {"truncation": truncation}))
    repo = publish("pii_classifier_cutting", "predicted_spans", answers, model)
    at = ("--hub", "local", "--hub-dir", hub.data_dir)
    assert "warning: tokenizer.json: truncation is stored" in hubtools("verify", repo, *at).stdout
    api.upload_file(path_or_fileobj=b'{"skipped": false}', path_in_repo="router.json", repo_id=repo)
    done = hubtools("verify", repo, *at, check=False)
    assert done.returncode == 1
    assert "tokenizer.json: truncation is stored" in done.stderr
