"""What the Hub says about a repo from its files: tags, task, library, configuration."""

from __future__ import annotations

import json
import struct
from collections import OrderedDict
from typing import Any

from hubtools.localhub import cards, vocabulary
from hubtools.localhub.backend import Backend
from hubtools.localhub.store import Commit, Repo

_FACTS: OrderedDict[tuple[str, str, str], dict[str, Any]] = OrderedDict()  # commits never change
_FACTS_KEPT = 512
_TAG_FIELDS = (
    "task_categories", "task_ids", "annotations_creators", "language_creators", "multilinguality",
    "source_datasets", "size_categories",
)  # fmt: skip


def describe_files(backend: Backend, repo: Repo, commit: Commit) -> dict[str, Any]:
    """Fields of the repo's info that follow from its files at this commit."""
    # A commit never changes, and neither does what follows from its files.
    key = (repo.kind, repo.id, commit.id)
    found = _FACTS.get(key)
    if found is None:
        found = _FACTS[key] = _describe_files(backend, repo, commit)
        if len(_FACTS) > _FACTS_KEPT:
            _FACTS.popitem(last=False)
    return found


def _describe_files(backend: Backend, repo: Repo, commit: Commit) -> dict[str, Any]:
    try:
        card = cards.parse(backend.text(repo, commit, "README.md") or "")
    except cards.CardError:
        card = {}  # pushed before it was checked, or mirrored
    found: dict[str, Any] = {"cardData": card} if card else {}
    if repo.kind == "models":
        found.update(_model(backend, repo, commit, card))
    elif repo.kind == "spaces":
        found["sdk"] = card.get("sdk") or repo.sdk
        found["models"] = cards.as_list(card.get("models"))
        found["datasets"] = cards.as_list(card.get("datasets"))
    found["tags"] = _tags(repo, card, found)
    return found


def _model(backend: Backend, repo: Repo, commit: Commit, card: dict[str, Any]) -> dict[str, Any]:
    config = _json(backend.text(repo, commit, "config.json"))
    found: dict[str, Any] = {}
    library = card.get("library_name") or ("transformers" if config.get("model_type") else None)
    task = card.get("pipeline_tag")
    heads = [name for name in cards.as_list(config.get("architectures")) if isinstance(name, str)]
    # As the Hub does: the card's word counts, and without one the model's class.
    if not task and heads and library == "transformers":
        task = next((task for end, task in vocabulary.TASK_BY_HEAD.items() if heads[0].endswith(end)), None)
    if library:
        found["library_name"] = library
    if task:
        found["pipeline_tag"] = task
    if config:
        found["config"] = {name: config[name] for name in ("architectures", "model_type") if name in config}
    if library == "transformers" and heads:
        found["transformersInfo"] = {
            "auto_model": vocabulary.AUTO_MODEL_BY_TASK.get(task or "", "AutoModel"),
            "pipeline_tag": task,
            "processor": "AutoTokenizer",
        }
    for name, field in (("model-index", "model-index"), ("widget", "widgetData")):
        if card.get(name):
            found[field] = card[name]
    # One file of weights alone: sharded ones are not counted here.
    weights = commit.tree.get("model.safetensors")
    if weights:
        parameters = _parameters(backend, repo, commit)
        if parameters:
            found["safetensors"] = {"parameters": parameters, "total": sum(parameters.values())}
    return found


def _parameters(backend: Backend, repo: Repo, commit: Commit) -> dict[str, int]:
    """How many parameters of each type ``model.safetensors`` holds; {} where its header is not readable."""
    counts: dict[str, int] = {}
    try:
        with open(backend.file(repo, "model.safetensors", commit.tree["model.safetensors"]), "rb") as file:
            # safetensors: eight bytes with the length of a JSON header, the header, then the weights.
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length)) if length < 50_000_000 else {}
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for side in tensor["shape"]:
                    size *= side
                counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + size
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error):
        return {}
    return counts


def _tags(repo: Repo, card: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """The card's tags and those the Hub adds; they are what ``list_models(filter=...)`` looks in."""
    tags = [found.get("library_name"), found.get("config", {}).get("model_type"), found.get("pipeline_tag")]
    if "safetensors" in found:
        tags.append("safetensors")
    if repo.kind == "spaces":
        tags.append(found.get("sdk"))
    tags += cards.as_list(card.get("tags"))
    # The Hub writes the language of a model bare, and that of a dataset with its field.
    prefix = "" if repo.kind == "models" else "language:"
    tags += [f"{prefix}{code}" for code in cards.as_list(card.get("language"))]
    for field in _TAG_FIELDS:
        tags += [f"{field}:{value}" for value in cards.as_list(card.get(field))]
    if repo.kind == "models":
        tags += [f"dataset:{name}" for name in cards.as_list(card.get("datasets"))]
        relation = card.get("base_model_relation")
        for base in cards.as_list(card.get("base_model")):
            tags += [f"base_model:{base}", *([f"base_model:{relation}:{base}"] if relation else [])]
    # list_models(filter="license:mit") looks for exactly this.
    tags += [f"license:{name}" for name in cards.as_list(card.get("license"))]
    return list(dict.fromkeys(tag for tag in tags if isinstance(tag, str) and tag))


def _json(text: str | None) -> dict[str, Any]:
    try:
        # Python writes NaN into files where JSON has none: an answer with it could be read by nobody.
        value = json.loads(text or "{}", parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
