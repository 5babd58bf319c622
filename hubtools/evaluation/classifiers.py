"""Anyone's classifier, ours or another's, answering in our labels."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hubtools.curation.label_maps import read_label_map
from hubtools.errors import UsageError
from hubtools.evaluation.predict import load_classifier, probabilities, spans
from hubtools.evaluation.thresholds import FILE as THRESHOLDS
from hubtools.heads.span_rows import OUTSIDE
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import sha256_of

# The column behind those of our labels: what a model answers with labels that are none of ours.
ANOTHER = "another label"

_GENERIC = re.compile(r"LABEL_\d+", re.IGNORECASE)
_PREFIX = re.compile(r"[BILUES]-(?=.)")
_ARCHITECTURE = {"sequence": "ForSequenceClassification", "token": "ForTokenClassification"}


@dataclass(frozen=True)
class LabelPlan:
    """How a model's labels are read.

    Attributes:
        ours: from a label of the model to the index of ours.
        ignored: labels that a label map sets to null: as if the model did not have them.
        others: labels that are none of ours. An answer with one of them is wrong; a span of one is not counted.
    """

    ours: Mapping[str, int]
    ignored: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def known(self) -> frozenset[int]:
        """Indices of our labels that the model can answer with."""
        return frozenset(self.ours.values())


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
    """Label maps by the model they are for; "" is for the data and for every model.

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


def folded(name: str) -> str:
    """``name`` as labels are compared: letters and digits alone, in lower case."""
    return re.sub(r"[\W_]+", "", name).casefold()


def plan_labels(
    model: str, names: Sequence[str], label_set: LabelSet, label_map: Mapping[str, str | None], kind: str
) -> LabelPlan:
    """Read a model's labels by the map, else by their names, whatever their case and punctuation.

    Args:
        names: the model's labels; for a token task its entity types, without the tags' B- and I-.

    Raises:
        UsageError: names such as LABEL_0 that the map does not explain, or not one of our labels.
    """
    automatic = {folded(theirs): ours for theirs, ours in label_set.mapping.items()}
    automatic |= {folded(label): label for label in label_set.labels}
    ours: dict[str, int] = {}
    ignored, others, generic = [], [], []
    for name in names:
        target = label_map[name] if name in label_map else automatic.get(folded(name))
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
    if kind == "token":
        others = [name for name in others if name != OUTSIDE]
    return LabelPlan(ours, tuple(ignored), tuple(others))


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
    if not any(name.endswith(_ARCHITECTURE[task.kind]) for name in architectures):
        raise _no_classifier(model, task, ", ".join(architectures) or "no architecture in its config.json")
    names = [str(config.id2label[i]) for i in range(config.num_labels)]
    if task.kind == "token":  # as transformers names the groups of its spans
        names = list(dict.fromkeys(n[2:] if n[:2] in ("B-", "I-") else n for n in names if n != OUTSIDE))
        short = {name: _PREFIX.sub("", name) for name in names}
        known = {**{n: label_map[s] for n, s in short.items() if s in label_map}, **label_map}
        plan = plan_labels(model, list(short.values()), label_set, known, task.kind)
        plan = replace(plan, ours={n: plan.ours[s] for n, s in short.items() if s in plan.ours})
    else:
        plan = plan_labels(model, names, label_set, label_map, task.kind)
    pipeline = load_classifier(task, model, revision)
    tokenizer = pipeline.tokenizer
    if task.kind == "token" and not tokenizer.is_fast:
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
    """The threshold in a model's thresholds.json; None where there is no such file, or it is of something else."""
    kind = "detection" if task.positive else "abstention"
    try:
        known: Any = json.loads(path.read_text()) if path else {"kind": None}
        if known["kind"] == kind and known["label"] == (task.positive or task.fallback):
            return float(known["threshold"])
    except (OSError, ValueError, TypeError, KeyError):
        pass  # somebody else's file of that name
    return None


def answers(
    task: TaskSpec, label_set: LabelSet, classifier: Classifier, texts: Sequence[str],
    tick: Callable[[int], None] = lambda _: None,
) -> list[Any]:  # fmt: skip
    """What a model answers to each text.

    Returns:
        For a sequence task the probability of each of our labels, and behind them of :data:`ANOTHER`; labels that
        the model lacks have 0. For a token task the spans found, of our types.
    """
    plan = classifier.plan
    if task.kind == "token":
        types = [*plan.ours, *plan.ignored, *plan.others, *_groups(classifier, plan)]
        found = spans(classifier.pipeline, texts, types, tick)
        return [[{**s, "label": plan.ours[types[s["label"]]]} for s in row if types[s["label"]] in plan.ours]
                for row in found]  # fmt: skip
    names = [*plan.ours, *plan.others]
    out = []
    for row in probabilities(classifier.pipeline, texts, names, tick):
        mine = [0.0] * (len(label_set.labels) + 1)
        for name, p in zip(names, row, strict=True):
            if name in plan.ours:
                mine[plan.ours[name]] += p
            else:
                mine[-1] = max(mine[-1], p)  # one wrong label among many others is still one answer
        out.append(mine)
    return out


def _groups(classifier: Classifier, plan: LabelPlan) -> list[str]:
    """Names that spans may come with besides those of the plan."""
    labels = (str(label) for label in classifier.pipeline.model.config.id2label.values())
    names = {label[2:] if label[:2] in ("B-", "I-") else label for label in labels}
    return sorted(names - {*plan.ours, *plan.ignored, *plan.others})


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
    kind = "a token classifier" if task.kind == "token" else "a text classifier"
    return UsageError(
        f"Model {model!r} is not {kind}", expected=f"transformers' {_ARCHITECTURE[task.kind]}", found=found,
        next=f"name a model that answers {task.name}: a repo (owner/name) or a folder",
    )  # fmt: skip
