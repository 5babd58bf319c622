"""``router.yaml``: how the Semantic Router is told to serve released models, each at its own threshold.

Every threshold is set. The router's own are those of other models, and it takes them wherever it finds none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hubtools.router_contract.answers import OVERLAP, WINDOW
from hubtools.router_contract.config import is_span_model
from hubtools.spec import RouterSlot

FILE = "router.yaml"
REVISION = "<the 40 hex digits of the commit>"  # on a card, which is part of the commit and cannot name it
YOUR_MODEL = "your-model"
# A threshold of 0 could be taken for none. No span of a hundred labels or fewer has a lower score, as that is the
# mean of the highest probabilities of its tokens.
LOWEST_THRESHOLD = 0.01
LOWEST_PREDICATE = 0.5  # the least that the router takes for a label of its generic classifiers

# The router's names for what a place is bound to, and for where its threshold stands.
BINDINGS = {"domain": "domain_classifier", "personal_data": "pii_classifier", "prompt_guard": "prompt_guard"}
MODULES = {"domain": "domain", "personal_data": "pii"}

# A deployment, a signal, or any other object of the file.
Settings = dict[str, object]


@dataclass(frozen=True)
class ServedModel:
    """A released model, as the router is told of it.

    Attributes:
        task: its name, which the deployment and the signal get.
        revision: the whole commit: the router takes neither tags nor branches.
        labels: of the release, in the order of their ids.
        acts_on: the label that a detection looks for, "" where any label may be the answer.
        threshold: the one that it ships with; None where every answer counts.
        max_tokens: that it reads, at most.
    """

    task: str
    slot: RouterSlot
    repo: str
    revision: str
    labels: tuple[str, ...]
    acts_on: str
    threshold: float | None
    max_tokens: int


def has_place(slot: RouterSlot, labels: Sequence[str]) -> bool:
    """Return whether the router can ask a model with these labels: the spans that it knows are of personal data."""
    return slot != "classifier" or not is_span_model(labels)


def format_settings(models: Sequence[ServedModel]) -> str:
    """Return the settings as YAML, without the comment at its head."""
    import yaml

    # Lists and objects without others in them stand in one line each.
    text: str = yaml.safe_dump(
        make_settings(models), sort_keys=False, default_flow_style=None, width=1000, allow_unicode=True
    )
    return text


def make_settings(models: Sequence[ServedModel]) -> Settings:
    """Return what ``router.yaml`` holds: signals and first decisions, deployments, bindings and thresholds."""
    signals: dict[str, list[Settings]] = {}
    decisions: list[Settings] = []
    generic: Settings = {}
    deployments: Settings = {}
    bindings: Settings = {}
    modules: dict[str, Settings] = {}
    for model in models:
        deployments[_deployment(model)] = _describe_deployment(model)
        kind, entries, condition = _describe_signal(model)
        signals.setdefault(kind, []).extend(entries)
        decisions.append(_make_decision(model, condition))
        spans = is_span_model(model.labels)
        binding = {"deployment": _deployment(model), "contract": "token_spans.v1" if spans else "label_distribution.v1"}
        if model.slot == "classifier":
            generic[f"classifier.{model.task}"] = binding
        else:
            bindings[BINDINGS[model.slot]] = binding
        if model.slot == "prompt_guard":
            modules["prompt_guard"] = _describe_module(model)
        elif model.slot != "classifier":
            modules.setdefault("classifier", {})[MODULES[model.slot]] = _describe_module(model)
    catalog = {"deployments": deployments, "bindings": bindings, "modules": modules}
    return {
        "routing": {
            "signals": signals,
            "decisions": decisions,
            **({"model_bindings": generic} if generic else {}),
        },
        # A part without an entry is left out: the router would read it as "nothing".
        "global": {"model_catalog": {name: part for name, part in catalog.items() if part}},
    }


def _deployment(model: ServedModel) -> str:
    return f"{model.task}-model"


def _reads_windows(model: ServedModel) -> bool:
    # A classification takes no windows there: it rejects a long text, or cuts it.
    return model.slot in ("prompt_guard", "personal_data")


def _describe_deployment(model: ServedModel) -> Settings:
    windows = _reads_windows(model)
    return {
        "provider": "model_runtime",
        "artifact": model.repo,
        "revision": model.revision,
        "device": "cpu",
        "input": {
            "max_tokens": model.max_tokens if windows else min(WINDOW, model.max_tokens),
            "overflow": "window" if windows else "truncate",
        },
    }


def _describe_module(model: ServedModel) -> Settings:
    threshold: Settings = {"threshold": _threshold(model)}
    if not _reads_windows(model):
        return threshold
    size = min(WINDOW, model.max_tokens)
    # As far as windows may overlap: half of a window without the two tokens that frame it.
    window = {"size": size, "overlap": min(OVERLAP, (size - 2) // 2)}
    return {**threshold, "window": window, "on_error": "block"}


def _threshold(model: ServedModel) -> float:
    return max(model.threshold or 0.0, LOWEST_THRESHOLD)


def _describe_signal(model: ServedModel) -> tuple[str, list[Settings], Settings]:
    """Return the signal's kind, its entries, and the condition of a decision that uses it."""
    threshold = _threshold(model)
    if model.slot == "domain":
        domains: list[Settings] = [{"name": label, "mmlu_categories": [label]} for label in model.labels]
        return "domains", domains, {"type": "domain", "name": model.labels[0]}
    if model.slot == "prompt_guard":
        return "jailbreak", [{"name": model.task, "threshold": threshold}], {"type": "jailbreak", "name": model.task}
    if model.slot == "personal_data":
        entry = {"name": model.task, "threshold": threshold, "pii_types_allowed": list[str]()}
        return "pii", [entry], {"type": "pii", "name": model.task}
    generic: Settings = {"name": model.task, "type": "local", "labels": [*model.labels]}
    label = model.acts_on if model.acts_on in model.labels else model.labels[0]
    predicate = {"gte": max(threshold, LOWEST_PREDICATE)}
    return "classifiers", [generic], {"type": "classifier", "name": model.task, "label": label, "predicate": predicate}


def _make_decision(model: ServedModel, condition: Settings) -> Settings:
    return {
        "name": f"first-{model.task}",
        # What must not reach a model at all is looked at before what chooses one.
        "priority": 200 if _reads_windows(model) else 100,
        "modelRefs": [{"model": YOUR_MODEL}],
        "rules": {"operator": "AND", "conditions": [condition]},
    }
