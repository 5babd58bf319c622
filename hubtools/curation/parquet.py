"""A split as it is published: one parquet file, with the types that ``datasets`` reads beside the columns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hubtools.curation.duplicates import content_hash
from hubtools.curation.intake import word_tags
from hubtools.spec import Example, LabelSet
from hubtools.task import TaskSpec


def write_split(rows: Iterable[Example], task: TaskSpec, label_set: LabelSet, path: Path) -> None:
    """The rows in an order that follows from their texts alone."""
    from datasets import ClassLabel, Dataset, Features, List, Value

    rows = sorted(rows, key=lambda row: content_hash(row.text) + row.text)
    columns: dict[str, list[Any]] = {
        "id": [hashlib.sha256(r.text.encode("utf-8", "surrogatepass")).hexdigest()[:16] for r in rows],
        "text": [r.text for r in rows],
    }
    features: dict[str, Any] = {"id": Value("string"), "text": Value("string")}
    if task.kind == "sequence":
        columns["label"] = [label_set.labels.index(r.label) for r in rows]
        features["label"] = ClassLabel(names=list(label_set.labels))
    else:
        tagged = [word_tags(r.text, r.spans, label_set.labels) for r in rows]
        columns["spans"] = [
            [{"start": s.start, "end": s.end, "label": label_set.labels.index(s.type)} for s in r.spans] for r in rows
        ]
        columns["tokens"] = [tokens for tokens, _ in tagged]
        columns["ner_tags"] = [tags for _, tags in tagged]
        features["spans"] = List(
            {"start": Value("int32"), "end": Value("int32"), "label": ClassLabel(names=list(label_set.labels))}
        )
        features["tokens"] = List(Value("string"))
        features["ner_tags"] = List(ClassLabel(names=list(task.model_labels(label_set))))
    columns["group"] = [r.group for r in rows]
    columns["source"] = [r.source for r in rows]
    features["group"] = features["source"] = Value("string")
    path.parent.mkdir(parents=True, exist_ok=True)
    Dataset.from_dict(columns, features=Features(features)).to_parquet(str(path))
