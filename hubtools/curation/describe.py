"""What a dataset is like, in numbers and examples: for ``facts.json``, and from there for its card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hubtools.curation.duplicates import NEAR, content_hash
from hubtools.curation.intake import Drops
from hubtools.curation.licences import composed
from hubtools.curation.sources import SourceFiles
from hubtools.spec import Example, LabelSet
from hubtools.task import TaskSpec

_PERCENT = {"p10": 10, "p25": 25, "median": 50, "p75": 75, "p90": 90, "p99": 99, "max": 100}
_SHOWN, _SHOWN_CHARACTERS = 16, 300

COMPARISON = {
    "folded": "Unicode form (NFKC), case, punctuation and white space",
    "near": "Jaccard similarity of word 3-grams",
    "at_least": NEAR,
}


def quantiles(texts: Iterable[str]) -> dict[str, int]:
    """Lengths in characters: of sorted lengths, the one below which so many percent stand; {} for no texts."""
    lengths = sorted(map(len, texts))
    return {name: lengths[min(len(lengths) * p // 100, len(lengths) - 1)] for name, p in _PERCENT.items() if lengths}


def lengths_by_label(rows: Sequence[Example], labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Quantiles of the lengths of each label's texts; a label without rows is left out."""
    texts: dict[str, list[str]] = {label: [] for label in labels}
    for row in rows:
        texts[row.label].append(row.text)
    return {label: quantiles(found) for label, found in texts.items() if found}


def examples(rows: Iterable[Example], labels: Sequence[str]) -> list[dict[str, str]]:
    """A short row of each label, or of each type that comes first in a document and of none: text and label."""
    shown: dict[str, dict[str, str]] = {}
    for row in sorted(rows, key=lambda row: (content_hash(row.text), row.text)):  # whatever order they came in
        spans = ", ".join(f"{span.type}: {row.text[span.start : span.end]!r}" for span in row.spans)
        label = row.label or spans or "no personal data"
        key = row.label or (row.spans[0].type if row.spans else "")
        if key not in shown and len(row.text) < _SHOWN_CHARACTERS:
            shown[key] = {"text": row.text, "label": label}
    order: Mapping[str, int] = {label: number for number, label in enumerate(labels)}
    return [shown[key] for key in sorted(shown, key=lambda key: (order.get(key, len(order)), key))][:_SHOWN]


def licence_facts(sources: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The licence of the whole, and the rule that it follows from."""
    licence, rule = composed(str(source["license"]) for source in sources)
    return {"id": licence, "rule": rule}


def source_facts(files: SourceFiles) -> dict[str, Any]:
    """Where rows come from, under what licence, and how a user's own columns and labels were read."""
    source = files.source
    facts: dict[str, Any] = {
        "id": source.id, "revision": files.revision, "license": source.license, "attribution": source.attribution,
        "labels": source.provenance, "starter": source.starter,
    }  # fmt: skip
    if files.mapping:
        facts["mapping"] = {key: value for key, value in files.mapping.items() if key != "features"}
    return facts


def decided_by(rows: Iterable[Example], drops: Drops) -> dict[str, Any] | None:
    """How many labels a table of rules decided, how many a keyword, how many none: rows, and shares of all of them.

    None where labels are the source's own.
    """
    rules = Counter(row.rule.partition(" ")[0] for row in rows)
    kinds = {"table": rules["table"], "keyword": rules["keyword"], "dropped": drops.undecided}
    total = sum(kinds.values())
    return {kind: {"rows": n, "share": round(n / total, 4)} for kind, n in kinds.items()} if total else None


def split_facts(rows: Sequence[Example], task: TaskSpec, label_set: LabelSet) -> dict[str, Any]:
    """Rows, groups, labels and lengths of a split."""
    facts: dict[str, Any] = {
        "rows": len(rows),
        "groups": len({row.group for row in rows}),
        "labels": dict(sorted(Counter(c for row in rows for c in row.classes).items())),
        "characters": quantiles(row.text for row in rows),
    }
    if task.kind == "sequence":
        facts["characters_by_label"] = lengths_by_label(rows, label_set.labels)
    else:
        facts["rows_without_spans"] = sum(not row.spans for row in rows)
    return facts
