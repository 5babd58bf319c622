"""Refuse a card that the Hub would refuse, that is not finished, or that is not what its files say."""

from __future__ import annotations

import itertools
import re

from hubtools.errors import CardRejected
from hubtools.publishing.front_matter import split_card

# What a reader of the Hub filters and compares models by.
MODEL_KEYS = ("library_name", "pipeline_tag", "language", "datasets", "metrics", "tags", "widget", "model-index")

# Only what our own templates could leave: an example row may say anything, and must not keep a card from the Hub.
_LEFT_OVER = re.compile(r"\[More Information Needed\]|\{\{ [a-z_.]+|\bTODO:|!!python/\S+|\*\*nan\b")
# A heading with nothing below it.
_EMPTY = re.compile(r"^##+ (.+)\n+(?=(?:## |# |<!--|\Z))", re.MULTILINE)
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def lint_card(card: str, kind: str) -> None:
    """Refuse a card that still holds a placeholder, that lacks what ours always have, or that the Hub would refuse.

    The Hub's rules are those that the embedded Hub applies; the Hub itself checks again when a commit arrives.

    Args:
        kind: "model", "dataset" or "space".

    Raises:
        CardRejected: with everything that is wrong.
    """
    from hubtools.localhub.cards import validate

    metadata, body = split_card(card)
    if not isinstance(metadata, dict):
        raise CardRejected(
            f"The {kind} card has no front matter", expected="keys and values", found=repr(metadata)[:80]
        )
    # All faults at once, not the first alone: a person mends a card in one go.
    faults = [f"left over: {match!r}" for match in _LEFT_OVER.findall(card)]
    licence = metadata.get("license")
    if licence is None:
        faults.append("license is missing")
    elif not isinstance(licence, str) or not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence) or licence == "license":
        faults.append(f"license is no identifier: {licence!r}")
    # Keys that people write, and that the Hub takes without a word and without an effect.
    misspelled = {"licence", "licenses", "tag", "dataset"} & set(metadata)
    faults += [f"{key} is not a key that the Hub knows" for key in sorted(misspelled)]
    if kind == "space" and len(str(metadata.get("short_description", ""))) > 60:
        faults.append("short_description is longer than 60 characters")
    if not isinstance(metadata.get("widget", []), list):
        faults.append("widget is not a list")
    names = metadata.get("datasets", [])
    if not isinstance(names, list) or not all(isinstance(n, str) and _REPO.fullmatch(n) for n in names):
        faults.append(f"datasets is not a list of repos: {names}")
    faults += _find_index_faults(metadata.get("model-index", []))
    if not body.strip():
        faults.append("the body is empty")
    faults += [f"a section is empty: {title}" for title in _EMPTY.findall(body)]
    if kind == "model":
        faults += [f"{key} is missing" for key in MODEL_KEYS if key not in metadata]
    # Warnings, the second part, keep nothing from being pushed.
    refused, _ = validate(card, kind)
    faults += [_shorten_refusal(fault) for fault in refused]
    if faults:
        raise CardRejected(
            f"The {kind} card would be rejected", expected="what the Hub accepts", found="; ".join(faults[:6])
        )


def check_drift(card: str, fresh: str, name: str) -> None:
    """Compare the card that is there with the one that would be rendered now.

    Args:
        name: of the task, or "multi".

    Raises:
        CardRejected: they differ; the message has the first line that does.
    """
    if card == fresh:
        return
    # The first line that differs is enough to see why; the rest may be the same change moved down.
    pairs = itertools.zip_longest(fresh.splitlines(), card.splitlines(), fillvalue="(nothing)")
    new, old = next((pair for pair in pairs if pair[0] != pair[1]), ("another end of the file", "this one"))
    raise CardRejected(
        f"The {name} card is not what its files say",
        expected=new[:160],
        found=old[:160],
        next=f"hubtools model-card {name}",
    )


def _shorten_refusal(fault: str) -> str:
    """Leave out of a refusal of the Hub all that would have been right, which may be a hundred names."""
    return re.sub(r"must be one of \[[^\]]{80,}\]", "is not one that the Hub knows", fault)


def _find_index_faults(index: object) -> list[str]:
    """List what the Hub would say of a ``model-index``: every result needs its task, dataset and plain numbers."""
    if not isinstance(index, list):
        return ["model-index is not a list"]
    faults = []
    for model in index:
        results = model.get("results") if isinstance(model, dict) else None
        if not isinstance(results, list) or not model.get("name"):
            faults.append("model-index: an entry lacks name or results")
            continue
        for result in results:
            task, dataset, metrics = (result.get(key) for key in ("task", "dataset", "metrics"))
            if not (task or {}).get("type") or not {"type", "name"} <= set(dataset or {}) or not metrics:
                faults.append("model-index: a result lacks task, dataset or metrics")
                continue
            for metric in metrics:
                value = metric.get("value")
                # NaN is the one number that is not equal to itself; a bool is an int, and no score.
                if not metric.get("type") or type(value) not in (int, float) or value != value:
                    faults.append(f"model-index: {metric.get('name') or 'a metric'} is no plain number: {value!r}")
    return faults
