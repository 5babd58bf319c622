"""Which ONNX file of which release answers a task on a page: that of all tasks where there is one, else its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubtools.errors import DamagedRecord
from hubtools.publishing.published_files import read_published_file, read_released
from hubtools.records import from_json
from hubtools.records.onnx import FOLDER, LOGITS, MODEL, PARITY, QUANTISED, OnnxExport, TaskParity
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder


@dataclass(frozen=True)
class ReleasedGraph:
    """An ONNX file that answers a task.

    Attributes:
        repo, revision, file: where it is.
        output: of the graph, that answers this task.
        labels: of that output, in the order of their ids.
        int8: how the int8 file answers, which has scores and a threshold of its own; None of fp32, which answers as the
            weights do.
    """

    repo: str
    revision: str
    file: str
    output: str
    labels: list[str]
    int8: TaskParity | None

    def describe(self) -> dict[str, object]:
        """Return what models.json says of it."""
        return {key: getattr(self, key) for key in ("repo", "revision", "file", "output", "labels")}


def find_graphs(
    tasks: Mapping[str, TaskSpec], folders: Mapping[str, TaskFolder], together: TaskFolder, *, int8: bool
) -> dict[str, ReleasedGraph]:
    """Return the ONNX file that answers each task, by its name; those without one are left out.

    Args:
        tasks: which are released.
        together: the work folder of the multitask model.
        int8: take the int8 file where it was not withheld.
    """
    joint = together.read_published("push-model").model if together.released else None
    # Of the release, as the work folder may hold another training by now.
    joint_parity = _read_parity(read_published_file(joint, f"{FOLDER}/{PARITY}")) if joint else None
    cut_out = read_published_file(joint, "training.json").get("weights_sha256", {}) if joint else {}
    graphs = {}
    for name, task in tasks.items():
        own = folders[name].read_published("push-model").model
        assert own is not None, "it is released"
        config = read_released(folders[name], own, "config.json", "finetune")
        labels = [str(label) for _, label in sorted(config["id2label"].items(), key=lambda pair: int(pair[0]))]
        model, parity, output = own, _read_parity(read_released(folders[name], own, f"{FOLDER}/{PARITY}")), LOGITS
        # The model of all tasks answers as the classifier does that was cut out of it.
        if joint and joint_parity and cut_out.get(name) == own.weights_sha256:
            model, parity, output = joint, joint_parity, name
        if parity:
            file = _choose_file(task, parity, parity.tasks[name], int8)
            scores = parity.tasks[name] if file == QUANTISED else None
            graphs[name] = ReleasedGraph(model.repo, model.revision, f"{FOLDER}/{file}", output, labels, scores)
    return graphs


def _choose_file(task: TaskSpec, parity: OnnxExport, scores: TaskParity, int8: bool) -> str:
    # Without a threshold of its own nothing could be decided by the answers of int8.
    decides = scores.int8.thresholds is not None or not task.head.needs_threshold
    return QUANTISED if int8 and QUANTISED in parity.files and decides else MODEL


def _read_parity(content: Mapping[str, Any]) -> OnnxExport | None:
    """Return the record of a release's ONNX files; None where it has none, or of another version."""
    try:
        return from_json(content, OnnxExport) if content else None
    except DamagedRecord:
        return None
