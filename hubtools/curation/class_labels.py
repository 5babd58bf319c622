"""Integers of a ClassLabel as the names that they stand for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def name_class_labels(value: Any, feature: Any) -> Any:
    """Return ``value`` with each integer of a ClassLabel as its name; what does not fit its type stays as it is.

    Args:
        feature: a type as ``datasets.Features.to_dict`` writes it.
    """
    if isinstance(feature, list):  # how older versions write a list
        feature = {"feature": feature[0]} if feature else {}
    if not isinstance(feature, Mapping):
        return value
    if feature.get("_type") == "ClassLabel":
        # CSV holds numbers as text; a name that is a number stays a name.
        names = feature.get("names") or []
        number = int(value) if isinstance(value, str) and value.isdecimal() and value not in names else value
        return names[number] if type(number) is int and 0 <= number < len(names) else value
    inner = feature.get("feature")
    if isinstance(value, list):
        return [name_class_labels(item, inner) for item in value]
    if isinstance(value, Mapping):
        inner = inner if isinstance(inner, Mapping) and "_type" not in inner else feature
        return {key: name_class_labels(item, inner.get(key)) for key, item in value.items()}
    return value


def read_features(metadata: Mapping[bytes, bytes] | None) -> Mapping[str, Any] | None:
    """Return the types that ``datasets`` writes beside the columns, where it wrote the file."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return features if isinstance(features, dict) else None
