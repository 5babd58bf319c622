"""The version of a model that is published now, which the next one must beat."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hubtools.task import TaskSpec


def releases(tags: Iterable[Any]) -> list[Any]:
    """Of a repo's tags those that name a release, ``v1``, ``v2``…: the newest first."""
    named = [ref for ref in tags if ref.name[:1] == "v" and ref.name[1:].isdecimal()]
    return sorted(named, key=lambda ref: int(ref.name[1:]), reverse=True)


def previous_version(repo: str, weights_sha256: str) -> dict[str, Any] | None:
    """The newest release of ``repo`` that has other weights: its tag, its metrics, the file of its predictions, and
    the method of its training, "" for one task by itself.

    None where there is none, or none that hubtools made.
    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        tags = HfApi().list_repo_refs(repo).tags
    except RepositoryNotFoundError:
        return None
    for ref in releases(tags):
        revision = str(ref.target_commit)
        try:
            metrics = json.loads(Path(hf_hub_download(repo, "metrics.json", revision=revision)).read_text())
            predictions = Path(hf_hub_download(repo, "predictions.parquet", revision=revision))
            training = json.loads(Path(hf_hub_download(repo, "training.json", revision=revision)).read_text())
        except (EntryNotFoundError, ValueError):
            continue
        whole = isinstance(metrics, dict) and isinstance(training, dict)
        if not whole or metrics.get("weights_sha256") == weights_sha256:
            continue
        return {"repo": repo, "tag": ref.name, "revision": revision, "metrics": metrics,
                "predictions": predictions, "method": training.get("method", "")}  # fmt: skip
    return None


def difference_of_rows(task: TaskSpec, ours: Path, theirs: Path) -> str:
    """Why two files of predictions are not of the same rows; "" where they are, with the same truth."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    truth = "spans" if task.kind == "token" else "label"
    answer = "found" if task.kind == "token" else "probabilities"
    read = []
    for path in (ours, theirs):
        try:
            read.append(pq.read_table(path, columns=["id", truth, answer]).to_pydict())
        except (pa.ArrowException, KeyError):
            return "its predictions.parquet cannot be read"
    held = [dict(zip(rows["id"], rows[truth], strict=True)) for rows in read]
    shared = len(held[0].keys() & held[1].keys())
    if held[0].keys() != held[1].keys():
        return f"it was scored on other rows: {shared} of its {len(held[1])} test rows are among our {len(held[0])}"
    widths = [{len(p) for p in rows[answer]} if task.kind == "sequence" else set() for rows in read]
    if held[0] != held[1] or widths[0] != widths[1]:
        return "it was scored on the same texts with other labels"
    return ""
