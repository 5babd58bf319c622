"""Integers of a ClassLabel as the names that they stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping


def name_class_labels(row: Mapping[str, object], features: Mapping[str, object] | None) -> Mapping[str, object]:
    """Return ``row`` with each integer of a ClassLabel as its name; what does not fit its type stays as it is.

    Args:
        features: types of the columns as ``datasets.Features.to_dict`` writes them; None where they are not known.
    """
    if features is None:
        return row
    return {column: _name_value(value, features.get(column)) for column, value in row.items()}


def _name_value(value: object, feature: object) -> object:
    """Return a value of the type ``feature``, and all that it holds, with names in place of integers."""
    if isinstance(feature, list):  # how older versions write a list
        feature = {"feature": feature[0]} if feature else {}
    if not isinstance(feature, Mapping):
        return value
    if feature.get("_type") == "ClassLabel":
        # CSV holds numbers as text; a name that is a number stays a name. True is no class, though it equals 1.
        names = feature.get("names") or []
        number = int(value) if isinstance(value, str) and value.isdecimal() and value not in names else value
        return names[number] if type(number) is int and 0 <= number < len(names) else value
    inner = feature.get("feature")
    if isinstance(value, list):
        return [_name_value(item, inner) for item in value]
    if isinstance(value, Mapping):
        # A struct is its columns' types by name, or such a mapping below ``feature`` where it is repeated.
        inner = inner if isinstance(inner, Mapping) and "_type" not in inner else feature
        return {key: _name_value(item, inner.get(key)) for key, item in value.items()}
    return value


def read_features(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, object] | None:
    """Return the types that ``datasets`` writes beside the columns, where it wrote the file."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return features if isinstance(features, dict) else None
