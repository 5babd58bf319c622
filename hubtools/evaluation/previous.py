"""The version of a model that is published now, which the next one must beat."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.evaluation.predictions import read_columns
from hubtools.heads import Head
from hubtools.records.metrics import PreviousVersion

if TYPE_CHECKING:
    from huggingface_hub import GitRefInfo


@dataclass(frozen=True)
class Release:
    """An earlier release of a model, of whatever version of hubtools.

    Attributes:
        title, value: of its primary metric, as its metrics.json has them; None where it has none.
        predictions: the file of its answers.
        method: how it was trained; "" where it does not say.
    """

    repo: str
    tag: str
    revision: str
    title: str | None
    value: float | None
    predictions: Path
    method: str

    def make_record(self, why_not: str) -> PreviousVersion:
        """Return what ``metrics.json`` says of it; ``why_not`` is why its answers cannot be compared, or ""."""
        return PreviousVersion(
            repo=self.repo,
            tag=self.tag,
            revision=self.revision,
            method=self.method,
            why_not=why_not,
            title=self.title,
            value=self.value,
        )


def list_releases(tags: Iterable[GitRefInfo]) -> list[GitRefInfo]:
    """Return those of a repo's tags that name a release, ``v1``, ``v2``…: the newest first."""
    names_release = [ref for ref in tags if ref.name[:1] == "v" and ref.name[1:].isdecimal()]
    # By number: as text, v10 comes before v9.
    return sorted(names_release, key=lambda ref: int(ref.name[1:]), reverse=True)


def name_next_release(tags: Sequence[GitRefInfo]) -> str:
    """Return the tag that follows ``tags``, the newest of which comes first."""
    return f"v{int(tags[0].name[1:]) + 1 if tags else 1}"


def find_previous_version(repo: str, weights_sha256: str) -> Release | None:
    """Return the newest release of ``repo`` that has other weights; None where hubtools made none.

    Its files are read key by key, as any version of hubtools may have written them.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        tags = HfApi().list_repo_refs(repo).tags
    except RepositoryNotFoundError:
        return None
    for ref in list_releases(tags):
        revision = str(ref.target_commit)
        try:
            metrics = json.loads(Path(hf_hub_download(repo, "metrics.json", revision=revision)).read_text("utf-8"))
            predictions = Path(hf_hub_download(repo, "predictions.parquet", revision=revision))
            training = json.loads(Path(hf_hub_download(repo, "training.json", revision=revision)).read_text("utf-8"))
        except (EntryNotFoundError, ValueError):
            continue  # not made by hubtools, or before it wrote predictions: an older one may serve
        # The same weights are this model itself, pushed again with another card.
        readable = isinstance(metrics, dict) and isinstance(training, dict)
        if not readable or metrics.get("weights_sha256") == weights_sha256:
            continue
        primary = metrics.get("primary") or {}
        return Release(
            repo=repo,
            tag=ref.name,
            revision=revision,
            title=primary.get("title"),
            value=primary.get("value"),
            predictions=predictions,
            method=training.get("method", ""),
        )
    return None


def describe_row_difference(head: Head, ours: Path, theirs: Path) -> str:
    """Return why two files of predictions are not of the same rows; "" where they are, with the same truth."""
    import pyarrow as pa

    try:
        tables = [read_columns(path) for path in (ours, theirs)]
        truths = [dict(zip(rows["id"], head.read_truth(rows), strict=True)) for rows in tables]
        label_counts = [head.label_counts(rows) for rows in tables]
    # A release of another head, or of somebody else's program, lacks these columns.
    except (pa.ArrowException, KeyError):
        return "its predictions.parquet cannot be read"
    # The order of rows does not matter: ids do, which are hashes of the texts.
    shared = len(truths[0].keys() & truths[1].keys())
    if truths[0].keys() != truths[1].keys():
        return f"it was scored on other rows: {shared} of its {len(truths[1])} test rows are among our {len(truths[0])}"
    if truths[0] != truths[1] or label_counts[0] != label_counts[1]:
        return "it was scored on the same texts with other labels"
    return ""
