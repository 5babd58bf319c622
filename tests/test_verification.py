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

TEXTS = ["Ann Lee", "mail to ann@example.org", "nobody at home"]
Publish = Callable[[str, str, list[Any]], str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verified") / "model"
    return make_classifier(folder, list(PII.model_labels(PII.label_set())), "token", "B-PERSON")


@pytest.fixture(scope="module")
def answers(model: Path) -> list[Any]:
    return predict_spans(load_pipeline(PII.head.pipeline, str(model)), TEXTS, PII.label_set().labels)


@pytest.fixture
def publish(api: HfApi, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Publish the model with a file of predictions of the given column, scored on a dataset of three texts."""
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the embedded Hub has none

    def release(name: str, column: str, recorded: list[Any]) -> str:
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


def test_other_spans_than_the_recorded_ones_are_an_error_that_shows_both(
    hubtools: Command, hub: Hub, publish: Publish, answers: list[Any]
) -> None:
    repo = publish("pii_classifier_other", "predicted_spans", [answers[0][1:], *answers[1:]])
    done = hubtools("verify", repo, "--hub", "local", "--hub-dir", hub.data_dir, check=False)
    assert done.returncode == 1
    assert f"Error: Model '{repo}' at main finds other spans than it was scored with." in done.stderr
    assert "expected:" in done.stderr
    assert "hubtools push-model pii" in done.stderr
