"""What models.json of a Space says: of every released task, which model answers, at which threshold, in which words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hubtools.assets import find_asset
from hubtools.errors import MissingStage
from hubtools.evaluation.predictions import Predictions
from hubtools.heads.curves import CurvePoint, measure_curve
from hubtools.publishing.published_files import read_released
from hubtools.publishing.space_graphs import ReleasedGraph
from hubtools.records.release import Published
from hubtools.records.thresholds import THRESHOLDS, WEIGHTS
from hubtools.task import TaskSpec
from hubtools.tasks import find_base
from hubtools.workdir import TaskFolder


@dataclass(frozen=True)
class ShownModel:
    """A model that a Space shows.

    Attributes:
        repo: the model's repo at ``revision``, or a local folder.
        threshold: the one in its thresholds.json; None for a classification without a fallback.
        note: what a visitor must know of the model before believing it, or "".
        dataset: the repo of the dataset, where it is published.
        languages: of its texts, as ISO 639 codes; none where nobody knows.
        score: the primary score on the test split; ``curve``: what each threshold gives there.
        graph: the ONNX file that answers, as :class:`ReleasedGraph` describes it; None where the weights do.
    """

    repo: str
    revision: str | None
    threshold: float | None
    note: str = ""
    dataset: str | None = None
    languages: Sequence[str] = ()
    score: Mapping[str, object] | None = None
    curve: Sequence[CurvePoint] = ()
    graph: Mapping[str, object] | None = None


def find_released(tasks: Sequence[TaskSpec], folders: Mapping[str, TaskFolder]) -> dict[str, TaskSpec]:
    """Return those of ``tasks`` that are released, by their names; raises :class:`MissingStage` for none."""
    # Whatever the others lack: a Space is not to wait for tasks that nobody trains.
    released = {task.name: task for task in tasks if folders[task.name].released}
    if not released:
        raise MissingStage(
            "No model is released that a Space could show",
            expected="a released model of " + " or ".join(task.name for task in tasks),
            found="none in the work folder",
            next=f"hubtools push-model {tasks[0].name}",
        )
    return released


def describe_models(
    released: Mapping[str, TaskSpec], folders: Mapping[str, TaskFolder], graphs: Mapping[str, ReleasedGraph]
) -> dict[str, dict[str, object]]:
    """Return what models.json says of each released task, by its name."""
    # Only what is released is known to the world: weights of this folder that are newer are not shown.
    return {
        name: make_space_entry(task, _find_shown(task, folders[name], graphs.get(name)))
        for name, task in released.items()
    }


def make_space_entry(task: TaskSpec, shown: ShownModel) -> dict[str, object]:
    """Return what models.json says of a task; the keys are documented in ``Task`` of the Space's tasks.py."""
    demo = task.demo
    entry = {
        "head": task.head.name,
        **task.head.describe_for_space(),
        "repo": shown.repo,
        "revision": shown.revision,
        "threshold": shown.threshold,
        "note": shown.note,
        "dataset": shown.dataset,
        "title": task.title,
        "question": demo.question or task.question,
        "about": demo.about or task.question,
        "languages": [*shown.languages],
        "topic": demo.topic,
        "tool": demo.tool,
        "returns": demo.returns,
        "example_titles": [*demo.example_titles],
        "examples": [*(demo.examples or task.examples)],
        "verdicts": [*(demo.verdicts or ())],
        "action": demo.action,
        "score": shown.score,
        "curve": [*shown.curve],
        "graph": shown.graph,
    }
    # What is not there the Space makes of what is.
    return {key: value for key, value in entry.items() if value not in (None, "", [])}


def name_languages(models: Mapping[str, Mapping[str, object]]) -> str:
    """Return the languages that all models know, such as "English"; "" where they differ, or nobody knows."""
    table = find_asset("spaces") / "router_demo" / "languages.json"
    codes: dict[str, list[str]] = json.loads(table.read_text(encoding="utf-8"))["codes"]
    first, *others = [model.get("languages", []) for model in models.values()]
    assert isinstance(first, list)
    same = all(other == first for other in others)
    return " and ".join(codes.get(code, [code])[0] for code in first if code != "unknown") if same else ""


def _find_shown(task: TaskSpec, folder: TaskFolder, graph: ReleasedGraph | None) -> ShownModel:
    published = folder.read_published("push-model")
    model, dataset = published.model, published.dataset
    assert model is not None, "it is released"
    threshold = _read_threshold(task, folder, model)
    score, curve = _read_test_split(task, folder, model.weights_sha256)
    if graph and graph.int8:
        # Other weights, in effect: what was measured of them is said, and nothing of the others.
        int8 = graph.int8.int8
        threshold = int8.thresholds.threshold if int8.thresholds and threshold is not None else None
        score = {"title": f"{int8.title} (int8)", "value": int8.int8, "rows": graph.int8.fp32.texts}
        curve = int8.curve
    return ShownModel(
        repo=model.repo,
        revision=model.revision,
        threshold=threshold,
        note=find_base(read_released(folder, model, "training.json", "finetune")["base"]).note,
        dataset=dataset.repo if dataset else None,
        languages=_list_languages(task, folder),
        score=score,
        curve=curve,
        graph=graph.describe() if graph else None,
    )


def _list_languages(task: TaskSpec, folder: TaskFolder) -> Sequence[str]:
    found = folder.read(folder.facts, "curate").get("languages") if folder.facts.exists() else None
    return found or task.card.languages


def _read_test_split(
    task: TaskSpec, folder: TaskFolder, weights_sha256: str | None
) -> tuple[dict[str, object] | None, list[CurvePoint]]:
    """Return the primary score of the released weights on the test split, and what each threshold gives there.

    Nothing where the work folder knows them no longer, or scored other weights since.
    """
    score: dict[str, object] | None = None
    curve: list[CurvePoint] = []
    if folder.metrics.exists():
        metrics = folder.read(folder.metrics, "evaluate")
        if metrics.get("weights_sha256") == weights_sha256:
            score = {key: metrics["primary"][key] for key in ("title", "value", "low", "high")}
            score["rows"] = metrics["scores"]["rows"]
    if folder.predictions.exists():
        predictions = Predictions.read(folder, folder.predictions)
        if predictions.about.get("weights_sha256") == weights_sha256:
            labels = predictions.about["labels"]
            curve = measure_curve(task.head, predictions.rows, labels)
    return score, curve


def _read_threshold(task: TaskSpec, folder: TaskFolder, model: Published) -> float | None:
    """Return the threshold that was chosen and released with the model; None for a head that needs none.

    Raises:
        MissingStage: the head needs one and ``thresholds.json`` has none.
    """
    content = read_released(folder, model, THRESHOLDS)
    threshold = task.head.read_shipped_threshold(content)
    if threshold is None and task.head.needs_threshold:
        raise MissingStage(
            f"{THRESHOLDS} of {task.name!r} has no threshold that the Space could act on",
            expected=f"the one of {WEIGHTS}, as {model.repo} {model.tag} has it",
            found="a file of another model" if content else "no such file",
            next=f"hubtools evaluate {task.name}, then hubtools push-model {task.name}",
        )
    return threshold
