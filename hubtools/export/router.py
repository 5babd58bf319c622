"""One ``router.yaml`` for the Semantic Router, of what was published: repos, commits, labels and thresholds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hubtools.errors import MissingStage, UsageError
from hubtools.records.release import ROUTER_REPORT, Published
from hubtools.records.thresholds import THRESHOLDS, WEIGHTS
from hubtools.router_contract import CONTRACT, FAMILY
from hubtools.router_contract.settings import YOUR_MODEL, ServedModel, format_settings, has_place
from hubtools.task import TaskSpec
from hubtools.workdir import task_folder

HEAD = f"""\
# Serves these models in the vLLM Semantic Router, written for its runtime {CONTRACT}.
# Every threshold is the model's own, from its {THRESHOLDS}. 0.01 stands for 0: every span counts.
# The decisions are one for each signal, to begin with: put names of your own models for {YOUR_MODEL}, and add others.
"""


def export_router_settings(tasks: Sequence[TaskSpec], work_dir: Path) -> str:
    """Return the content of a ``router.yaml`` that serves the published models of ``tasks``.

    All of it is read from the releases: what lies in the work folder may be newer.

    Raises:
        MissingStage: a task has no published model, or none that ships what the router needs.
        UsageError: the router has no place for a model.
    """
    models = [read_served_model(task, _find_published(task, work_dir)) for task in tasks]
    return HEAD + format_settings(models)


def _find_published(task: TaskSpec, work_dir: Path) -> Published:
    published = task_folder(work_dir, task.name).read_published("push-model").model
    if published is None:
        raise MissingStage(
            f"The {task.name} model is not pushed",
            expected="a repo and a commit that the router can load",
            found="a dataset alone",
            next=f"hubtools push-model {task.name}",
        )
    return published


def read_served_model(task: TaskSpec, published: Published) -> ServedModel:
    """Return what the router is told of a release; see :func:`export_router_settings` for errors."""
    config = _read_release(published, "config.json") or {}
    labels = tuple(name for _, name in sorted(config.get("id2label", {}).items(), key=lambda item: int(item[0])))
    if config.get("model_type") != FAMILY:
        raise UsageError(
            f"Model {published.repo!r} does not load in the Semantic Router",
            expected=f"a model of the family {FAMILY}",
            found=str(config.get("model_type")),
            next=f"hubtools finetune {task.name} --base answerdotai/ModernBERT-base, then push-model",
        )
    if not has_place(task.slot_of_router, labels):
        raise UsageError(
            f"The Semantic Router has no place for the spans of {task.name!r}",
            expected="a task that labels whole texts, or the built-in one of personal data",
            found=f"labels such as {labels[1]}",
            next="leave the task out",
        )
    if (_read_release(published, ROUTER_REPORT) or {}).get("skipped") is True:
        raise MissingStage(
            f"Model {published.repo!r} was not checked for the Semantic Router",
            expected="a release that was held against what the router needs",
            found=f"{published.tag}, pushed with --skip-router-check",
            next=f"hubtools push-model {task.name}, without that flag",
        )
    threshold = task.head.read_shipped_threshold(_read_release(published, THRESHOLDS))
    if threshold is None and task.head.needs_threshold:
        raise MissingStage(
            f"Model {published.repo!r} ships no threshold",
            expected=f"one for {WEIGHTS}, in {THRESHOLDS} at {published.revision[:8]}",
            found="none that is this task's",
            next=f"hubtools evaluate {task.name}, then hubtools push-model {task.name}",
        )
    return ServedModel(
        task=task.name,
        slot=task.slot_of_router,
        repo=published.repo,
        revision=published.revision,
        labels=labels,
        acts_on=task.head.acts_on,
        threshold=threshold,
        max_tokens=int(config["max_position_embeddings"]),
    )


def _read_release(published: Published, name: str) -> dict[str, Any] | None:
    """Return the JSON object in a file of a release; None where it has no such file."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        path = hf_hub_download(published.repo, name, revision=published.revision)
    except EntryNotFoundError:
        return None
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content
