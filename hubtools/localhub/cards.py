"""Reading a card's YAML front matter, and the check behind ``/api/validate-yaml``.

The rejections are those known of huggingface.co, in its wording where it is known. They are not its
whole schema: a card that passes here can still be refused there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Iterable
from datetime import date
from typing import Any

import yaml

from hubtools.localhub import vocabulary

_FRONT_MATTER = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)(?:\r?\n)?^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_REPO_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
_LANGUAGE = re.compile(r"[a-z]{2,3}")
_LANGUAGE_EXTRA = frozenset({"code", "multilingual", "sign", "other", "unknown"})


class CardError(ValueError):
    """The front matter is not YAML that the Hub reads. The message says where."""


class _Loader(yaml.SafeLoader):
    """YAML as the Hub's parser has it: no repeated key, and ``no`` is Norwegian, not False."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        # PyYAML keeps the last of two keys and says nothing; the Hub refuses the card.
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f'duplicated key "{key.value}"', problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


# PyYAML reads YAML 1.1, where yes, no, on and off are booleans; the Hub's parser does not.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


_MOST_VALUES = 100_000  # of a card


def split(text: str) -> tuple[str | None, str]:
    """The front matter, None where there is none, and the body."""
    match = _FRONT_MATTER.match(text)
    return (match[1], text[match.end() :].lstrip("\r\n")) if match else (None, text)


def _measure(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, with those of its aliases each time; each node is looked at once."""
    if id(node) not in known:
        known[id(node)] = 1  # of one that holds itself, which is refused later
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            parts = node.value
        elif isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        known[id(node)] = 1 + sum(_measure(part, known) for part in parts)
    return known[id(node)]


def parse(text: str) -> dict[str, Any]:
    """The front matter as JSON-safe values; {} where there is none. Raises CardError."""
    # JSON has no word for .nan and .inf: an answer with one could be read by nobody.
    return {key: _drop_not_finite(value) for key, value in _read_values(text).items()}


def _read_values(text: str) -> dict[str, Any]:
    """The same with numbers that JSON does not have, which a check names."""
    front, _ = split(text)
    try:
        node = yaml.compose(front or "", _Loader)
        if node is not None and _measure(node, {}) > _MOST_VALUES:
            raise CardError(f"Invalid YAML: its aliases stand for more than {_MOST_VALUES:,} values")
        data = yaml.load(front or "", _Loader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CardError(f"Invalid YAML: {_one_line(error)}") from None
    # Two lines of dashes with nothing between them.
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise CardError("YAML metadata must be a mapping of keys to values")
    try:
        return {str(key): _json_safe(value) for key, value in data.items()}
    except RecursionError:  # an anchor that holds itself
        raise CardError("Invalid YAML: a value contains itself") from None


def validate(text: str, kind: str) -> tuple[list[str], list[str]]:
    """Errors that make the Hub refuse the card, and warnings that do not. ``kind``: model, dataset, space."""
    try:
        card = _read_values(text)
    except CardError as error:
        return [str(error)], []
    check = _Check(card)
    if not card:
        check.warnings.append("empty or missing yaml metadata in repo card")
    _check_common(check)
    if kind == "model":
        _check_model(check)
    elif kind == "dataset":
        _check_dataset(check)
    elif kind == "space":
        _check_space(check)
    return check.errors, check.warnings


def as_list(value: Any) -> list[Any]:
    """A card's "one or several" fields as a list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


class _Check:
    """A card under inspection and what was found."""

    def __init__(self, card: dict[str, Any]) -> None:
        self.card = card
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def strings(self, name: str, *, single: bool = True) -> list[str]:
        """The strings of a field, reporting what else is there. ``single``: a lone string will do."""
        value = self.card.get(name)
        if name not in self.card or (value is None and single):
            return []
        if not isinstance(value, list) and not (single and isinstance(value, str)):
            self.errors.append(f'"{name}" must be an array' if not single else f'"{name}" must be a string or array')
            return []
        found = []
        for index, item in enumerate(as_list(value)):
            if isinstance(item, str):
                found.append(item)
            else:
                place = f"{name}[{index}]" if isinstance(value, list) else name
                self.errors.append(f'"{place}" must be a string, found {_quote(item)}')
        return found

    def one_of(self, name: str, allowed: Iterable[str], *, required: bool = False) -> None:
        value = self.card.get(name)
        if value is None and not required:
            return
        if value is None:
            self.errors.append(f'"{name}" is required')
        elif value not in allowed:
            self.errors.append(f'"{name}" must be one of [{", ".join(sorted(allowed))}], found {_quote(value)}')


def _check_common(check: _Check) -> None:
    for licence in check.strings("license"):
        if licence not in vocabulary.LICENSES:
            names = ", ".join(sorted(vocabulary.LICENSES))
            check.errors.append(f'"license" must be one of [{names}], found {_quote(licence)}')
    for code in check.strings("language"):
        if not _LANGUAGE.fullmatch(code) and code not in _LANGUAGE_EXTRA:
            check.errors.append(
                f'"language" with value {_quote(code)} is not valid. It must be an ISO 639-1, 639-2 or 639-3 '
                'code (two/three letters), or a special value like "code", "multilingual". If you want '
                "to use BCP-47 identifiers, you can specify them in language_bcp47."
            )
    check.strings("tags", single=False)
    _check_repo_ids(check, "datasets", "dataset", "datasets")
    _check_access_request(check)
    # JSON has no word for them, and the Hub keeps metadata as JSON.
    for number in _numbers(check.card):
        if not math.isfinite(number):
            check.errors.append("YAML metadata holds a number that is not finite (.nan or .inf)")
            break


def _check_repo_ids(check: _Check, name: str, noun: str, page: str) -> None:
    for index, value in enumerate(check.strings(name)):
        # A local path is what the Trainer writes when the data or the base model came from a folder.
        if not _REPO_ID.fullmatch(value) or value.startswith("."):
            check.errors.append(
                f'"{name}[{index}]" with value {_quote(value)} is not valid. '
                f"If possible, use a {noun} id from https://hf.co/{page}."
            )


def _check_access_request(check: _Check) -> None:
    """What readers of a gated repo are asked. https://huggingface.co/docs/hub/datasets-gated"""
    for name in ("extra_gated_heading", "extra_gated_prompt", "extra_gated_button_content"):
        if check.card.get(name) is not None and not isinstance(check.card[name], str):
            check.errors.append(f'"{name}" must be a string')
    fields = check.card.get("extra_gated_fields")
    if fields is not None and not isinstance(fields, dict):
        check.errors.append('"extra_gated_fields" must be of type object')
        return
    for name, field in (fields or {}).items():
        kind = field.get("type") if isinstance(field, dict) else field
        if kind not in vocabulary.GATE_FIELDS:
            allowed = ", ".join(sorted(vocabulary.GATE_FIELDS))
            check.errors.append(f'"extra_gated_fields.{name}" must be one of [{allowed}], found {_quote(kind)}')
        elif kind == "select" and not (isinstance(field, dict) and isinstance(field.get("options"), list)):
            check.errors.append(f'"extra_gated_fields.{name}.options" must be an array')


def _check_model(check: _Check) -> None:
    card = check.card
    _check_repo_ids(check, "base_model", "model", "models")
    check.strings("metrics")
    for name in ("pipeline_tag", "library_name"):
        if card.get(name) is not None and not isinstance(card[name], str):
            check.errors.append(f'"{name}" must be a string')
    # The Hub takes any tag, and shows a widget for those that it knows.
    tag = card.get("pipeline_tag")
    if isinstance(tag, str) and tag not in vocabulary.PIPELINE_TAGS:
        names = ", ".join(sorted(vocabulary.PIPELINE_TAGS))
        check.warnings.append(f"The pipeline tag {_quote(tag)} is not in the official list: {names}")
    if "widget" in card and card["widget"] is not False and not isinstance(card["widget"], list):
        check.errors.append('"widget" must be an array')
    if "model-index" in card:
        _check_model_index(check, card["model-index"])


def _check_model_index(check: _Check, index: Any) -> None:
    if not isinstance(index, list):
        check.errors.append('"model-index" must be an array')
        return

    def need(value: Any, place: str, *names: str) -> bool:
        if not isinstance(value, dict):
            check.errors.append(f'"{place}" must be of type object')
            return False
        for name in names:
            if value.get(name) is None:
                check.errors.append(f'"{place}.{name}" is required')
        return True

    for i, model in enumerate(index):
        place = f"model-index[{i}]"
        if not need(model, place, "name", "results"):
            continue
        if not isinstance(model.get("results") or [], list):
            check.errors.append(f'"{place}.results" must be an array')
            continue
        for j, result in enumerate(model.get("results") or []):
            where = f"{place}.results[{j}]"
            if not need(result, where, "task", "dataset", "metrics"):
                continue
            if result.get("task") is not None:
                need(result["task"], f"{where}.task", "type")
            if result.get("dataset") is not None:
                need(result["dataset"], f"{where}.dataset", "type", "name")
            metrics = result.get("metrics")
            if metrics is not None and not isinstance(metrics, list):
                check.errors.append(f'"{where}.metrics" must be an array')
                continue
            for k, metric in enumerate(metrics or []):
                need(metric, f"{where}.metrics[{k}]", "type", "value")


def _check_dataset(check: _Check) -> None:
    sizes = check.strings("size_categories")
    for size in sizes:
        if size not in vocabulary.SIZE_CATEGORIES:
            check.warnings.append(f'The size category "{size}" is not in the official list')
    for task in check.strings("task_categories"):
        if task not in vocabulary.PIPELINE_TAGS:
            check.warnings.append(f'The task category "{task}" is not in the official list')
    for name in (
        "task_ids",
        "annotations_creators",
        "language_creators",
        "multilinguality",
        "source_datasets",
    ):
        check.strings(name)
    configs = check.card.get("configs")
    if configs is not None and not isinstance(configs, list):
        check.errors.append('"configs" must be an array')
    for index, config in enumerate(as_list(configs)):
        if not isinstance(config, dict) or not isinstance(config.get("config_name"), str):
            check.errors.append(f'"configs[{index}].config_name" is required')


def _check_space(check: _Check) -> None:
    card = check.card
    check.one_of("sdk", vocabulary.SPACE_SDKS, required=True)
    check.one_of("colorFrom", vocabulary.SPACE_COLOURS)
    check.one_of("colorTo", vocabulary.SPACE_COLOURS)
    _check_repo_ids(check, "models", "model", "models")
    text = card.get("short_description")
    limit = vocabulary.SPACE_DESCRIPTION_LIMIT
    if text is not None and (not isinstance(text, str) or len(text) > limit):
        check.errors.append(
            f'"short_description" length must be less than or equal to {limit} characters long, found {len(str(text))}'
        )
    emoji = card.get("emoji")
    if emoji is not None and (not isinstance(emoji, str) or not emoji or emoji.isascii()):
        check.errors.append(f'"emoji" must be an emoji character, found {_quote(emoji)}')
    for name in ("pinned", "hf_oauth", "disable_embedding"):
        if card.get(name) is not None and not isinstance(card[name], bool):
            check.errors.append(f'"{name}" must be a boolean')


def _numbers(value: Any) -> Iterable[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from _numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, float):
        yield value


def _json_safe(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_json_safe(item) for item in value]
    # YAML makes a date of 2026-01-31; JSON has none.
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value


def _drop_not_finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _drop_not_finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_drop_not_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _quote(value: Any) -> str:
    text = "null" if value is None else str(value)
    return f'"{text[:80]}"'


def _one_line(error: Exception) -> str:
    """A YAML error without its excerpt, on one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        return error.problem + line
    return " ".join(str(error).split())[:300]
