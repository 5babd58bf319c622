"""Anyone's classifier, ours or another's, answering in our labels."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.curation.label_maps import read_label_map
from hubtools.errors import UsageError, read_first_line
from hubtools.heads.inference import list_label_names, load_pipeline
from hubtools.heads.values import LabelPlan, Pipeline
from hubtools.reading import OUTSIDE
from hubtools.records.thresholds import THRESHOLDS
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import sha256_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# What transformers calls the labels of a model whose owner has named none.
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
    pipeline: Pipeline
    threshold: float | None = None

    def choose_threshold(self, task: TaskSpec) -> float:
        """Return the threshold that its answers are judged at: the one that it ships with, else its pipeline's."""
        return task.head.plain_threshold if self.threshold is None else self.threshold


def read_label_maps(
    entries: Sequence[str], models: Sequence[str], task: TaskSpec, label_set: LabelSet
) -> dict[str, dict[str, str | None]]:
    """Return label maps by the model they are for; "" is for the data and for every model.

    Args:
        entries: ``FILE``, or ``MODEL=FILE``.

    Raises:
        UsageError: a file cannot be read or maps to what the task does not have, or a model is none of ``models``.
    """
    maps: dict[str, dict[str, str | None]] = {}
    for entry in entries:
        model, sign, path = entry.partition("=")
        if not sign:
            model, path = "", entry
        if model and model not in models:
            raise UsageError(
                f"Label map {entry!r}",
                expected="FILE, or MODEL=FILE for one of " + ", ".join(models),
                found=model,
                next="write the model's name as it stands among the models",
            )
        maps[model] = maps.get(model, {}) | read_label_map(Path(path), task, label_set)
    return maps


def fold_name(name: str) -> str:
    """Return ``name`` as labels are compared: letters and digits alone, in lower case."""
    # "Credit-Card", "credit_card" and "CREDITCARD" are one label.
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
    by_name = {fold_name(theirs): ours for theirs, ours in label_set.mapping.items()}
    by_name |= {fold_name(label): label for label in label_set.labels}
    ours: dict[str, int] = {}
    ignored, others, generic = [], [], []
    for name in names:
        target = label_map[name] if name in label_map else by_name.get(fold_name(name))
        # A map may name a label as our sources do, which the label set then maps on.
        target = label_set.mapping.get(target, target) if target else target
        if name in label_map and target in (None, OUTSIDE):
            ignored.append(name)
        elif target in label_set.labels:
            ours[name] = label_set.labels.index(target)
        elif _GENERIC.fullmatch(name):
            generic.append(name)
        else:
            others.append(name)
    # LABEL_0 may be either class: guessed wrong, every score would be upside down.
    if generic or not ours:
        raise UsageError(
            f"Model {model!r} does not say what its labels mean"
            if generic
            else f"Model {model!r} has none of the labels",
            expected=", ".join(label_set.labels),
            found=", ".join(generic or names)[:300],
            next=f"say which is which with --label-map FILE (or {model}=FILE for this model alone), in lines such as "
            f"`{(generic or [*names, 'LABEL_0'])[0]}: {label_set.labels[0]}`",
        )
    return LabelPlan(ours, tuple(ignored), tuple(name for name in others if name != outside))


def open_classifier(
    task: TaskSpec,
    label_set: LabelSet,
    model: str,
    label_map: Mapping[str, str | None],
    revision: str | None = None,
) -> Classifier:
    """Load a repo, or a folder.

    Args:
        revision: of a repo; its newest commit where it is None.

    Raises:
        UsageError: it is no classifier of the task's kind, or its labels cannot be read.
    """
    from transformers import AutoConfig

    # The commit, so that configuration and weights are of one state of the repo, and the report can name it.
    revision = None if Path(model).is_dir() else _find_commit(model, task, revision)
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(model, revision=revision)
    except (ValueError, KeyError) as error:  # an architecture that this version of transformers does not know
        raise _make_kind_error(model, task, read_first_line(error)) from error
    architectures = list(config.architectures or [])
    if not any(name.endswith(task.head.architecture) for name in architectures):
        raise _make_kind_error(model, task, ", ".join(architectures) or "no architecture in its config.json")
    names = list_label_names(config)
    short = task.head.shorten_labels(names)
    # A map may name a type ("PERSON") or the pipeline's own name of it; the latter is more exact, and goes before.
    full_map = {**{name: label_map[word] for name, word in short.items() if word in label_map}, **label_map}
    plan = plan_labels(model, list(short.values()), label_set, full_map, task.head.outside)
    missing = [label for label in task.head.decisive if label_set.labels.index(label) not in plan.ours.values()]
    if missing:
        first = next((name for name in short.values() if name not in plan.ours), "THEIRS")
        raise UsageError(
            f"Model {model!r} has no label {missing[0]!r}: what it detects would be left out of every score",
            expected=", ".join(label_set.labels), found=", ".join(short.values()),
            next=f"say which of its labels that is with --label-map FILE, in a line such as `{first}: {missing[0]}`",
        )  # fmt: skip
    plan = replace(plan, ours={name: plan.ours[word] for name, word in short.items() if word in plan.ours})
    pipeline = load_pipeline(task.head.pipeline, model, revision)
    tokenizer = pipeline.tokenizer
    if task.head.per_token and not tokenizer.is_fast:
        raise _make_kind_error(model, task, "a tokenizer that does not tell where its tokens stand")
    # Not every tokenizer knows how much its model reads; RoBERTa's kind keeps two places for itself.
    # Without a limit the pipeline would not cut, and a long text end in an error.
    window = getattr(config, "max_position_embeddings", None)
    if window and tokenizer.model_max_length > window:
        tokenizer.model_max_length = window - 2
    weights = _fetch_file(model, revision, "model.safetensors")
    digest = sha256_of(weights) if weights else None
    threshold = read_shipped_threshold(task, _fetch_file(model, revision, THRESHOLDS))
    return Classifier(model, revision, digest, plan, pipeline, threshold)


def read_shipped_threshold(task: TaskSpec, path: Path | None) -> float | None:
    """Return the threshold in a model's thresholds.json; None where there is no such file, or it is of another kind."""
    try:
        return task.head.read_shipped_threshold(json.loads(path.read_text("utf-8"))) if path else None
    except (OSError, ValueError):
        return None  # somebody else's file of that name


def _find_commit(model: str, task: TaskSpec, revision: str | None) -> str:
    from huggingface_hub import HfApi

    info = HfApi().model_info(model, revision=revision)
    names = [sibling.rfilename for sibling in info.siblings or []]
    if "config.json" not in names:
        raise _make_kind_error(model, task, "no config.json")
    return str(info.sha)


def _fetch_file(model: str, revision: str | None, name: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    # A release may lack the file: other people's models ship no thresholds.json.
    if Path(model).is_dir():
        path = Path(model) / name
        return path if path.exists() else None
    try:
        return Path(hf_hub_download(model, name, revision=revision))
    except EntryNotFoundError:
        return None


def _make_kind_error(model: str, task: TaskSpec, found: str) -> UsageError:
    return UsageError(
        f"Model {model!r} is not {task.head.words.classifier}",
        expected=f"transformers' {task.head.architecture}",
        found=found,
        next=f"name a model that answers {task.name}: a repo (owner/name) or a folder",
    )
