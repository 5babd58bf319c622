"""A release folder, looked at in the order in which the router does: files first, answers last."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hubtools.router_contract.answers import check_answers
from hubtools.router_contract.check import Check, failed, failures, passed
from hubtools.router_contract.config import check_config, check_mappings
from hubtools.router_contract.tokenizer import check_tokenizer
from hubtools.router_contract.weights import WEIGHTS, check_weights

FAMILY = "modernbert"  # the one that the router knows
REQUIRED = ("config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
# Read by the router, or by transformers, in place of the weights or beside them.
UNWANTED = {
    "operating_point.json": "the router takes it for a model of sigmoid scores, and refuses it beside a softmax",
    "lora_config.json": "the router takes the weights for adapters",
    "adapter_config.json": "transformers takes the weights for adapters",
}
OTHER_WEIGHTS = (".bin", ".safetensors.index.json", ".safetensors", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")


def check_package(folder: Path, labels: Sequence[str], texts: Sequence[str]) -> list[Check]:
    """Return every check of a release, the passed ones too; the answers are compared where all before is in order.

    Args:
        folder: what is, or will be, the repo: a folder, or a snapshot in the Hub's cache.
        labels: the model's labels in the order of their ids, as the task has them.
        texts: what both forwards answer, such as 50 rows of a split; one longer than 512 tokens is made of them.
    """
    # Without the files nothing else can be looked at, and each later check needs those before it.
    checks = _check_files(folder)
    config, unreadable = _read_json(folder, "config.json")
    checks += [unreadable] if unreadable else check_config(config, labels)
    checks += check_mappings(folder, labels)
    lacking = {check.file for check in failures(checks)}  # what they would be checked against, or they themselves
    if not lacking & {"config.json", WEIGHTS}:
        checks += check_weights(folder, config)
    if not lacking & {"config.json", "tokenizer.json", "tokenizer_config.json"}:
        tokenizer_config, unreadable = _read_json(folder, "tokenizer_config.json")
        checks += [unreadable] if unreadable else check_tokenizer(folder, config, tokenizer_config, texts)
    # A second forward over broken weights would only repeat what is wrong.
    if failures(checks):
        return [*checks, _not_compared()]
    return [*checks, *check_answers(folder, config, labels, texts)]


def _not_compared() -> Check:
    return failed(
        "answers", WEIGHTS, "the answers were not compared", expected="no error before this check",
        found="the errors above", next="mend them, then check again", severity="warning",
    )  # fmt: skip


def read_family(folder: Path) -> str:
    """Return the family of the model in ``folder``; the router's own, which a check names, where it cannot be read."""
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(content.get("model_type", FAMILY))
    except (OSError, ValueError, AttributeError):
        return FAMILY


def _check_files(folder: Path) -> list[Check]:
    problems = []
    for name in REQUIRED:
        path = folder / name
        if not path.exists():
            problems.append(failed("files", name, "the router needs this file", expected=name, found="no such file"))
        # A snapshot of the Hub's cache is links; anywhere else the router refuses one.
        elif path.is_symlink() and not _in_hub_cache(path):
            problems.append(
                failed("files", name, "the router refuses a link outside the Hub's cache", expected="a regular file",
                       found=f"a link to {path.resolve()}", next=f"copy the file itself to {path}")
            )  # fmt: skip
        elif not path.is_file():
            problems.append(failed("files", name, "no regular file", expected="a file", found="a folder"))
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        reason = UNWANTED.get(path.name)
        # Clients that prefer another form would load it, and nobody scored it.
        if path.name != WEIGHTS and path.name.endswith(OTHER_WEIGHTS):
            reason = "weights of another form might be loaded in place of the one file"
        if reason:
            problems.append(
                failed("files", path.name, reason, expected="no such file", found="the file is there",
                       next=f"remove {path.name}, then hubtools push-model TASK")
            )  # fmt: skip
    return problems or [passed("files", WEIGHTS, f"the {len(REQUIRED)} files that the router reads, and no other form")]


def _in_hub_cache(path: Path) -> bool:
    """Whether a link is the Hub client's: from ``snapshots/<commit>`` into ``blobs`` of the same repo."""
    snapshot = path.parent
    # The layout of the client's cache: snapshots/<commit>/<file> is a link into blobs/.
    if snapshot.parent.name != "snapshots" or not re.fullmatch(r"[0-9a-f]{40}", snapshot.name):
        return False
    return path.resolve().is_relative_to((snapshot.parent.parent / "blobs").resolve())


def _read_json(folder: Path, name: str) -> tuple[dict[str, Any], Check | None]:
    """Return the object in a file, or an empty one and what is wrong."""
    subject = name.split(".")[0].split("_")[0]
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        return {}, failed(subject, name, "cannot be read", expected="a JSON object", found=str(error))
    # JSON, but a list or a number: no reader expects that.
    if not isinstance(content, dict):
        return {}, failed(subject, name, "cannot be read", expected="a JSON object", found=content)
    return content, None
