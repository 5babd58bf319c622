"""Names for values of libraries, and of files, whose types are known at run time alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

# What transformers' pipeline() returns.
Pipeline: TypeAlias = Any
# One column of a dataset or of predictions, such as the true labels, and all of them by name.
Column: TypeAlias = Sequence[Any]
Rows: TypeAlias = Mapping[str, Column]
# ``start``, ``end`` and ``label`` of a span, and ``score`` where it is a predicted one.
SpanValues: TypeAlias = dict[str, Any]
