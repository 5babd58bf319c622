"""What is released for the Semantic Router: checked before a push, told on the card, exported as one router.yaml."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from as_user import Command
from huggingface_hub import HfApi
from tiny_releases import TEXTS, change_json, change_weights, make_release

from hubtools.localhub import Hub
from hubtools.records import write_json
from hubtools.router_contract.settings import LOWEST_THRESHOLD
from hubtools.tasks import PII, TASKS
from hubtools.training.run import CHECKED, check_releases

SHIPPED = {
    "category": {"kind": "abstention", "label": "other", "threshold": 0.3785},
    "pii": {"kind": "spans", "threshold": 0.0},
    "jailbreak": {"kind": "detection", "label": "jailbreak", "threshold": 0.961},
}


# --- router.yaml ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published(hub: Hub, api: HfApi, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work folder from which tiny models of all four tasks were pushed."""
    work = tmp_path_factory.mktemp("published")
    for name, task in TASKS.items():
        folder = make_release(work / name / "model", task)
        if name in SHIPPED:
            write_json(folder / "thresholds.json", {"task": name, "weights": {"model.safetensors": SHIPPED[name]}})
        repo = f"local/export-{name}"
        api.create_repo(repo)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
            commit = api.upload_folder(repo_id=repo, folder_path=folder)
        release = {"repo": repo, "kind": "model", "revision": commit.oid, "tag": "v1", "changed": True, "url": ""}
        write_json(work / name / "published.json", {"model": release})
        # What lies here meanwhile is another matter.
        (folder / "thresholds.json").unlink(missing_ok=True)
    return work


@pytest.fixture
def export(hubtools: Command, hub: Hub) -> Callable[..., Any]:
    def run(work: Path, *arguments: object, check: bool = True) -> Any:
        at = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", work)
        return hubtools("export", *arguments, "--to", "router", *at, check=check)

    return run


def test_one_file_serves_the_four_models_each_at_its_own_threshold(
    export: Callable[..., Any], published: Path, tmp_path: Path
) -> None:
    out = tmp_path / "router.yaml"
    assert export(published, "all", "--out", out).stdout == f"{out}\n"
    settings = yaml.safe_load(out.read_text())
    assert export(published, *TASKS).stdout == out.read_text()
    catalog = settings["global"]["model_catalog"]
    for name in TASKS:
        released = json.loads((published / name / "published.json").read_text())["model"]
        deployment = catalog["deployments"][f"{name}-model"]
        assert (deployment["artifact"], deployment["revision"]) == (released["repo"], released["revision"])
        assert re.fullmatch("[0-9a-f]{40}", deployment["revision"])
        assert deployment["provider"] == "model_runtime"
    window = {"size": 512, "overlap": 255}
    assert catalog["modules"] == {
        "classifier": {
            "domain": {"threshold": 0.3785},
            "pii": {"threshold": LOWEST_THRESHOLD, "window": window, "on_error": "block"},
        },
        "prompt_guard": {"threshold": 0.961, "window": window, "on_error": "block"},
    }
    assert {name: catalog["deployments"][f"{name}-model"]["input"] for name in TASKS} == {
        **{key: {"max_tokens": 512, "overflow": "truncate"} for key in ("category", "intent")},
        **{key: {"max_tokens": 2048, "overflow": "window"} for key in ("pii", "jailbreak")},
    }
    signals = settings["routing"]["signals"]
    labels = {name: [*task.model_labels(task.label_set())] for name, task in TASKS.items()}
    assert [domain["mmlu_categories"] for domain in signals["domains"]] == [[label] for label in labels["category"]]
    assert signals["classifiers"] == [{"name": "intent", "type": "local", "labels": labels["intent"]}]
    assert signals["jailbreak"] == [{"name": "jailbreak", "threshold": 0.961}]
    assert signals["pii"] == [{"name": "pii", "threshold": LOWEST_THRESHOLD, "pii_types_allowed": []}]
    bound = {**catalog["bindings"], **settings["routing"]["model_bindings"]}
    assert {name: (of["deployment"], of["contract"]) for name, of in bound.items()} == {
        "domain_classifier": ("category-model", "label_distribution.v1"),
        "classifier.intent": ("intent-model", "label_distribution.v1"),
        "pii_classifier": ("pii-model", "token_spans.v1"),
        "prompt_guard": ("jailbreak-model", "label_distribution.v1"),
    }


def test_every_decision_names_a_signal_that_is_there(export: Callable[..., Any], published: Path) -> None:
    routing = yaml.safe_load(export(published, "all").stdout)["routing"]
    named = {"domain": "domains", "classifier": "classifiers", "pii": "pii", "jailbreak": "jailbreak"}
    conditions = [condition for decision in routing["decisions"] for condition in decision["rules"]["conditions"]]
    assert {condition["type"] for condition in conditions} == named.keys()
    for condition in conditions:
        [signal] = [s for s in routing["signals"][named[condition["type"]]] if s["name"] == condition["name"]]
        if condition["type"] == "classifier":
            assert condition["label"] in signal["labels"]
            assert condition["predicate"] == {"gte": 0.5}


def test_no_threshold_of_no_module_is_left_to_the_router(export: Callable[..., Any], published: Path) -> None:
    """It would take one of another model."""
    for name in SHIPPED:
        settings = yaml.safe_load(export(published, name).stdout)
        modules = settings["global"]["model_catalog"]["modules"]
        assert str(modules).count("threshold") == 1
        signals = [signal for kind in settings["routing"]["signals"].values() for signal in kind]
        assert all("threshold" in signal for signal in signals) == (name != "category")


def change_published(work: Path, name: str, **values: object) -> None:
    change_json(work / name / "published.json", lambda content: content["model"].update(values))


def test_what_the_router_cannot_serve_is_refused_with_the_way_on(
    export: Callable[..., Any], hub: Hub, api: HfApi, published: Path, tmp_path: Path
) -> None:
    work = Path(shutil.copytree(published, tmp_path / "work"))

    def upload(name: str, file: str, content: object) -> None:
        repo = f"local/export-{name}"
        done = api.upload_file(
            path_or_fileobj=json.dumps(content).encode(), path_in_repo=file, repo_id=repo,
        )  # fmt: skip
        change_published(work, name, revision=done.oid)

    def refused(*arguments: object) -> str:
        done = export(work, *arguments, check=False)
        assert done.returncode in (1, 2)
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        return str(done.stderr)

    assert "hubtools export all --to router" in refused("multi")
    assert "or --task-file FILE" in refused()
    upload("category", "config.json", {"model_type": "bert", "id2label": {"0": "math"}})
    assert "does not load in the Semantic Router" in refused("category")
    upload("jailbreak", "thresholds.json", {"weights": {}})
    assert "hubtools evaluate jailbreak, then hubtools push-model jailbreak" in refused("jailbreak")
    upload("pii", "router.json", {"skipped": True})
    assert "hubtools push-model pii, without that flag" in refused("pii")
    (work / "intent" / "published.json").unlink()
    assert "hubtools push-model intent" in refused("intent")


def test_thresholds_of_an_earlier_version_are_exported(
    export: Callable[..., Any], api: HfApi, published: Path, tmp_path: Path
) -> None:
    work = Path(shutil.copytree(published, tmp_path / "work"))
    flat = {"task": "jailbreak", **SHIPPED["jailbreak"], "threshold": 0.75}
    done = api.upload_file(
        path_or_fileobj=json.dumps(flat).encode(), path_in_repo="thresholds.json", repo_id="local/export-jailbreak"
    )
    change_published(work, "jailbreak", revision=done.oid)
    settings = yaml.safe_load(export(work, "jailbreak").stdout)
    assert settings["global"]["model_catalog"]["modules"]["prompt_guard"]["threshold"] == 0.75


# --- before a release -----------------------------------------------------------------------------------------------


def test_a_release_carries_what_was_checked_and_its_card_shows_it(
    export: Callable[..., Any], api: HfApi, released: Path
) -> None:
    model = json.loads((released / "intent" / "published.json").read_text())["model"]
    report, card, config = (
        Path(api.hf_hub_download(model["repo"], name, revision=model["revision"])).read_text()
        for name in ("router.json", "README.md", "config.json")
    )
    checked = json.loads(report)
    rows = json.loads((released / "intent" / "facts.json").read_text())["splits"]["test"]["rows"]
    assert (checked["texts"], checked["different"], checked["skipped"]) == (rows, 0, False)
    assert f"the {rows} texts of the test split" in card
    assert card.count("| vllm-srun 0.2.0 |") == len(checked["checks"])
    shown = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", card, re.DOTALL)[0])
    whole = yaml.safe_load(export(released, "intent").stdout)
    [deployment] = whole["global"]["model_catalog"]["deployments"].values()
    assert deployment["revision"] == model["revision"]
    deployment["revision"] = "<the 40 hex digits of the commit>"
    assert shown == whole
    assert whole["routing"]["signals"]["classifiers"][0]["labels"] == [*json.loads(config)["id2label"].values()]


def silence(tensors: dict[str, Any]) -> None:
    tensors["classifier.bias"][0] += 100


@pytest.mark.exhaustive
def test_a_model_that_keeps_the_router_from_starting_is_pushed_only_where_no_router_is_meant(
    hubtools: Command, api: HfApi, flags: tuple[object, ...], tmp_path: Path
) -> None:
    hubtools("push-dataset", "pii", "--dataset-name", "silent-rows", *flags)
    trained = hubtools("finetune", "pii", *flags, "--max_steps", 1)
    assert f"checks of what the Semantic Router needs passed, on {CHECKED} validation rows" in trained.stderr
    change_weights(tmp_path / "work" / "pii" / "model", silence)
    hubtools("evaluate", "pii", *flags)
    done = hubtools("push-model", "pii", "--model-name", "silent", *flags, check=False)
    assert done.returncode == 1
    for part in ("finds no span in two texts", "does not start", "hubtools finetune pii", "--skip-router-check"):
        assert part in done.stderr
    assert not api.repo_exists("local/silent")
    hubtools("push-model", "pii", "--model-name", "silent", "--skip-router-check", *flags)
    card = Path(api.hf_hub_download("local/silent", "README.md")).read_text()
    assert "Pushed with `--skip-router-check`" in card
    assert "```yaml" not in card


# --- at the end of a training ---------------------------------------------------------------------------------------


class Rows(dict[str, list[str]]):
    """A split, which is cut by rows."""

    def __getitem__(self, key: Any) -> Any:
        return (
            {name: values[key] for name, values in self.items()} if isinstance(key, slice) else super().__getitem__(key)
        )


def plan_of(work: Path) -> Any:
    return SimpleNamespace(tasks=[PII], work_dir=work, data={"pii": {"validation": Rows(text=[*TEXTS])}})


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from hubtools.workdir import TaskFolder

    make_release(tmp_path / "pii" / "model", PII)
    record = SimpleNamespace(label_set=PII.label_set().name)
    monkeypatch.setattr(TaskFolder, "read_training", lambda folder: record)
    return tmp_path


def test_a_training_warns_where_the_router_would_not_load_the_model(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_releases(plan_of(trained))
    assert f"[pii] 9 of 9 checks of what the Semantic Router needs passed, on {len(TEXTS)}" in capsys.readouterr().out
    (trained / "pii" / "model" / "special_tokens_map.json").unlink()
    check_releases(plan_of(trained))
    assert "[pii] warning, for the Semantic Router: special_tokens_map.json: " in capsys.readouterr().out


def test_a_training_that_finds_nothing_yet_ends_with_a_warning(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_weights(trained / "pii" / "model", silence)
    check_releases(plan_of(trained))
    assert (
        "[pii] warning, for the Semantic Router: model.safetensors: the model finds no span in two texts"
        in capsys.readouterr().out
    )
