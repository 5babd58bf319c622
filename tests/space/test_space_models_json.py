"""models.json: what hubtools writes is what the Space reads, and what is wrong in it is named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from space_copy import THRESHOLDS, copy_space, import_app, own_entry, write_models

from hubtools.tasks import TASKS


def write(tmp_path: Path, **changes: Any) -> Path:
    """models.json of hubtools' own tasks, each with the changes to its entry; a key that is None is left out."""
    entries = {name: own_entry(name, "owner/name", "a" * 40) | changes.get(name, {}) for name in THRESHOLDS}
    pruned = {name: {k: v for k, v in entry.items() if v is not None} for name, entry in entries.items()}
    return write_models(tmp_path, pruned)


def test_a_repo_is_loaded_at_its_pinned_revision(
    tmp_path: Path, space_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    write(tmp_path, category={"repo": str(space_folder / "models" / "category_classifier_tiny_model")})
    copy_space(tmp_path)
    space = import_app(tmp_path)
    asked = {}

    def from_pretrained(repo: str, revision: str | None, **options: Any) -> Any:
        asked[repo] = revision
        raise OSError("no such revision")

    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", from_pretrained)
    for name in THRESHOLDS:
        with pytest.raises(OSError, match="no such revision"):
            space.answering.load(name)
    assert asked["owner/name"] == "a" * 40
    assert [revision for repo, revision in asked.items() if repo != "owner/name"] == [None]
    with pytest.raises(SystemExit, match=r"The category model .* cannot be loaded.*no such revision"):
        space.app.main()


def test_a_commit_that_is_in_the_cache_is_loaded_without_asking_the_hub(
    space: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def look_up(repo: str, file: str, revision: str | None = None) -> str | None:
        return None if (repo, file) == ("half/there", "model.safetensors") else f"/cache/{file}"

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", look_up)
    asked = [
        space.answering.find_cached(repo, revision, "model.safetensors", lambda **options: options)
        for repo, revision in (("all/there", "a" * 40), ("half/there", "a" * 40), ("folder", None))
    ]
    assert asked == [{"local_files_only": True}, {}, {}]


GRAPH = {"repo": "a/b", "revision": "c", "file": "onnx/model.onnx", "output": "logits", "labels": ["x"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repo": None}, "models.jailbreak needs a 'repo' that is text, found None"),
        ({"revision": None}, "models.jailbreak is neither a local folder nor pinned to a 'revision', found None"),
        ({"threshold": None}, "models.jailbreak needs a 'threshold' between 0 and 1, found None"),
        ({"threshold": 70}, "between 0 and 1, found 70"),
        ({"threshold": "0.5"}, "between 0 and 1, found '0.5'"),
        ({"title": None}, "models.jailbreak needs a 'title' that is text, found None"),
        ({"languages": "en"}, "needs 'languages' to be a list of texts, found 'en'"),
        ({"graph": {"repo": "a/b"}}, "needs a 'graph' of repo, revision, file, output and labels, found"),
        ({"graph": {**GRAPH, "revision": None}}, "the 'graph' is neither a local folder nor pinned to a 'revision'"),
        ({"question": ""}, "models.jailbreak needs a 'question' that is text, found ''"),
        ({"about": ["a"]}, r"models.jailbreak needs a 'about' that is text, found \['a'\]"),
        ({"note": 3}, "models.jailbreak needs a 'note' that is text, found 3"),
        ({"examples": "one"}, "models.jailbreak needs 'examples' to be a list of texts, found 'one'"),
        ({"head": ["spans"]}, r"'head' that is one of classification, detection, spans, found \['spans'\]"),
        ({"head": "regression"}, "'head' that is one of classification, detection, spans, found 'regression'"),
        ({"positive": None}, "models.jailbreak needs a 'positive': the label that the detection looks for"),
        ({"verdicts": ["Yes"]}, r"models.jailbreak needs two 'verdicts', found \['Yes'\]"),
        ({"score": {"title": "F1"}}, "models.jailbreak needs a 'score' of title, value, low and high"),
        ({"curve": [[1, 2]]}, "models.jailbreak needs a 'curve' of lists of three numbers"),
    ],
)
def test_a_wrong_models_json_is_told_what_is_missing(
    space: SimpleNamespace, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=r"models\.json: .*" + message):
        space.tasks.read_tasks(write(tmp_path, jailbreak=changes))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "'models' needs at least one task under its name, found {}"),
        ([], r"'models' needs at least one task under its name, found \[\]"),
        ({"toxicity": "owner/name"}, "models.toxicity needs the keys of a task, found 'owner/name'"),
        ({"route": {}}, "models.route needs a name"),
        ({"a b": {}}, "models.a b needs a name"),
    ],
)
def test_a_models_json_without_tasks_is_told_so(
    space: SimpleNamespace, tmp_path: Path, entries: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        space.tasks.read_tasks(write_models(tmp_path, entries))


def test_a_threshold_is_asked_only_of_a_detection(space: SimpleNamespace, tmp_path: Path) -> None:
    read = space.tasks.read_tasks(write(tmp_path, category={"threshold": None}, pii={"threshold": None}))
    assert (read["category"].threshold, read["pii"].threshold) == (None, None)


def test_what_hubtools_says_of_its_own_tasks_is_what_the_space_reads(space: SimpleNamespace, tmp_path: Path) -> None:
    read = space.tasks.read_tasks(write(tmp_path))
    assert {name: task.head for name, task in read.items()} == {
        "category": "classification", "pii": "spans", "jailbreak": "detection", "intent": "classification",
    }  # fmt: skip
    for name, task in read.items():
        demo = TASKS[name].demo
        assert (task.question, task.about, task.examples) == (demo.question, demo.about, demo.examples)
        assert (task.example_titles, task.action) == (demo.example_titles, demo.action)
        assert (task.score.value, task.score.rows) == (0.8, 200)
    assert (read["category"].fallback, read["intent"].fallback) == ("other", "")


def test_a_missing_models_json_is_told_who_writes_it(space: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"models\.json is missing\. `hubtools push-space` writes it"):
        space.tasks.read_tasks(tmp_path / "models.json")
    (tmp_path / "models.json").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        space.tasks.read_tasks(tmp_path / "models.json")
