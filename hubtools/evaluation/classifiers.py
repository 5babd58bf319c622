"""Anyone's classifier, ours or another's, answering in our labels."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hubtools.curation.label_maps import read_label_map
from hubtools.errors import UsageError
from hubtools.heads.base import LabelPlan
from hubtools.heads.inference import load_pipeline
from hubtools.heads.span_rows import OUTSIDE
from hubtools.records.thresholds import THRESHOLDS
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import sha256_of

_GENERIC = re.compile(r"LABEL_\d+", re.IGNORECASE)


@dataclass(frozen=True)
class Classifier:
    """A loaded model.

    Attributes:
        weights_sha256: None where it is not one safetensors file.
        threshold: the one that it ships with, in its thresholds.json; None where it ships none for the task.
    """

    name: str
    revision: str | None
    weights_sha256: str | None
    plan: LabelPlan
    pipeline: Any
    threshold: float | None = None


def label_maps(asked: Sequence[str], models: Sequence[str], task: TaskSpec, label_set: LabelSet) -> dict[str, Any]:
    """Return label maps by the model they are for; "" is for the data and for every model.

    Args:
        asked: ``FILE``, or ``MODEL=FILE``.

    Raises:
        UsageError: a file cannot be read or maps to what the task does not have, or a model is none of ``models``.
    """
    maps: dict[str, Any] = {}
    for entry in asked:
        model, sign, path = entry.partition("=")
        if not sign:
            model, path = "", entry
        if model and model not in models:
            raise UsageError(
                f"Label map {entry!r}", expected="FILE, or MODEL=FILE for one of " + ", ".join(models), found=model,
                next="write the model's name as it stands among the models",
            )  # fmt: skip
        maps[model] = maps.get(model, {}) | read_label_map(Path(path), task, label_set)
    return maps


def fold_name(name: str) -> str:
    """Return ``name`` as labels are compared: letters and digits alone, in lower case."""
    return re.sub(r"[\W_]+", "", name).casefold()


def plan_labels(
    model: str, names: Sequence[str], label_set: LabelSet, label_map: Mapping[str, str | None], outside: str = ""
) -> LabelPlan:
    """Read a model's labels by the map, else by their names, whatever their case and punctuation.

    Args:
        names: what the model's labels name: of spans their types, without the tags' B- and I-.
        outside: the label for no label, "" where there is none.

    Raises:
        UsageError: names such as LABEL_0 that the map does not explain, or not one of our labels.
    """
    automatic = {fold_name(theirs): ours for theirs, ours in label_set.mapping.items()}
    automatic |= {fold_name(label): label for label in label_set.labels}
    ours: dict[str, int] = {}
    ignored, others, generic = [], [], []
    for name in names:
        target = label_map[name] if name in label_map else automatic.get(fold_name(name))
        target = label_set.mapping.get(target, target) if target else target
        if name in label_map and target in (None, OUTSIDE):
            ignored.append(name)
        elif target in label_set.labels:
            ours[name] = label_set.labels.index(target)
        elif _GENERIC.fullmatch(name):
            generic.append(name)
        else:
            others.append(name)
    if generic or not ours:
        raise UsageError(
            f"Model {model!r} does not say what its labels mean" if generic
            else f"Model {model!r} has none of the labels",
            expected=", ".join(label_set.labels), found=", ".join(generic or names)[:300],
            next=f"say which is which with --label-map FILE (or {model}=FILE for this model alone), in lines such as "
            f"`{(generic or [*names, 'LABEL_0'])[0]}: {label_set.labels[0]}`",
        )  # fmt: skip
    return LabelPlan(ours, tuple(ignored), tuple(name for name in others if name != outside))


def open_classifier(task: TaskSpec, label_set: LabelSet, model: str, label_map: Mapping[str, str | None]) -> Classifier:
    """Load a repo at its newest commit, or a folder.

    Raises:
        UsageError: it is no classifier of the task's kind, or its labels cannot be read.
    """
    from transformers import AutoConfig

    revision = None if Path(model).is_dir() else _commit(model, task)
    try:
        config: Any = AutoConfig.from_pretrained(model, revision=revision)
    except (ValueError, KeyError) as error:  # an architecture that this version of transformers does not know
        raise _no_classifier(model, task, str(error).splitlines()[0]) from error
    architectures = list(config.architectures or [])
    if not any(name.endswith(task.head.architecture) for name in architectures):
        raise _no_classifier(model, task, ", ".join(architectures) or "no architecture in its config.json")
    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    short = task.head.short_labels(names)
    known = {**{name: label_map[word] for name, word in short.items() if word in label_map}, **label_map}
    plan = plan_labels(model, list(short.values()), label_set, known, task.head.outside)
    plan = replace(plan, ours={name: plan.ours[word] for name, word in short.items() if word in plan.ours})
    pipeline = load_pipeline(task.head.pipeline, model, revision)
    tokenizer = pipeline.tokenizer
    if task.head.per_token and not tokenizer.is_fast:
        raise _no_classifier(model, task, "a tokenizer that does not tell where its tokens stand")
    # Not every tokenizer knows how much its model reads; RoBERTa's kind keeps two places for itself.
    window = getattr(config, "max_position_embeddings", None)
    if window and tokenizer.model_max_length > window:
        tokenizer.model_max_length = window - 2
    weights = _file(model, revision, "model.safetensors")
    digest = sha256_of(weights) if weights else None
    threshold = shipped_threshold(task, _file(model, revision, THRESHOLDS))
    return Classifier(model, revision, digest, plan, pipeline, threshold)


def shipped_threshold(task: TaskSpec, path: Path | None) -> float | None:
    """Return the threshold in a model's thresholds.json; None where there is no such file, or it is of another kind."""
    try:
        return task.head.shipped_threshold(json.loads(path.read_text())) if path else None
    except (OSError, ValueError):
        return None  # somebody else's file of that name


def _commit(model: str, task: TaskSpec) -> str:
    from huggingface_hub import HfApi

    info = HfApi().model_info(model)
    names = [sibling.rfilename for sibling in info.siblings or []]
    if "config.json" not in names:
        raise _no_classifier(model, task, "no config.json")
    return str(info.sha)


def _file(model: str, revision: str | None, name: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    if Path(model).is_dir():
        path = Path(model) / name
        return path if path.exists() else None
    try:
        return Path(hf_hub_download(model, name, revision=revision))
    except EntryNotFoundError:
        return None


def _no_classifier(model: str, task: TaskSpec, found: str) -> UsageError:
    return UsageError(
        f"Model {model!r} is not {task.head.words.classifier}",
        expected=f"transformers' {task.head.architecture}",
        found=found,
        next=f"name a model that answers {task.name}: a repo (owner/name) or a folder",
    )
