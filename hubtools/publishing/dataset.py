"""Push a curated dataset: parquet and card in one commit."""

from __future__ import annotations

import dataclasses
from typing import Any

from hubtools.curation.licences import check_redistribution
from hubtools.curation.split import SPLITS
from hubtools.errors import LicenceRefused
from hubtools.publishing.cards import access_request, dataset_card, lint, merged
from hubtools.publishing.commits import Change, Release, difference, release, retrying
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder


def dataset_files(task: TaskSpec, folder: TaskFolder, repo: str, gated: str | None = None) -> dict[str, Any]:
    """Every file of the dataset repo by its path; the README is made of the one that is there."""
    card = dataset_card(task, repo, folder.read(folder.facts, "curate"), _dataset_info(folder))
    lint(card, "dataset")
    files: dict[str, Any] = {f"data/{path.name}": path for path in sorted((folder.dataset / "data").glob("*.parquet"))}
    asked = access_request(task) if gated else {}
    return files | {"README.md": lambda theirs: merged(card, theirs, asked).encode(), "facts.json": folder.facts}


def push_dataset(
    api: Any, task: TaskSpec, folder: TaskFolder, repo: str, *, private: bool = False, create_pr: bool = False,
    dry_run: bool = False, gated: str | None = None, accept_license: bool = False,
) -> Release | Change:  # fmt: skip
    """Push; with ``dry_run`` only tell what would change.

    Raises:
        LicenceRefused: before anything is uploaded, where a source may not be handed on.
    """
    check_licences(api, task, folder, repo, private=private, accepted=accept_license)
    files = dataset_files(task, folder, repo, gated)
    if dry_run:
        return difference(api, repo, "dataset", files, _owned, private=private, create_pr=create_pr, gated=gated)
    (folder.dataset / "README.md").write_bytes(files["README.md"](None))
    done = release(
        api, repo, "dataset", files, message=f"Curated {task.name} dataset, {_rows(folder)} rows", owned=_owned,
        private=private, create_pr=create_pr, gated=gated,
    )  # fmt: skip
    folder.record_published("dataset", dataclasses.asdict(done))
    return done


def check_licences(api: Any, task: TaskSpec, folder: TaskFolder, repo: str, *, private: bool, accepted: bool) -> None:
    """Refuse a push that the licences of the sources do not allow.

    Raises:
        LicenceRefused: with what to do.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    sources = folder.read_facts().sources
    if not check_redistribution(f"the {task.name} dataset", sources, private=private, accepted=accepted):
        return
    try:
        if retrying(lambda: api.repo_info(repo, repo_type="dataset")).private:
            return
    except RepositoryNotFoundError:
        return  # it will be made, and private
    raise LicenceRefused(
        f"The repo {repo} is public, and its data must not be", expected="a private repo",
        found="--private, which is for repos that are new",
        next="make it private in its settings on the Hub, or name another with --dataset-name",
    )  # fmt: skip


def _owned(path: str) -> bool:
    """Parquet under ``data/`` is ours: an older, larger split must not stay behind."""
    return path.startswith("data/")


def _rows(folder: TaskFolder) -> int:
    return int(folder.read(folder.facts, "curate")["counts"]["kept"])


def _dataset_info(folder: TaskFolder) -> dict[str, Any]:
    """``configs`` and ``dataset_info`` as ``datasets`` writes them, so that the viewer and the loader agree."""
    import pyarrow.parquet as pq
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo

    splits, features, stored = SplitDict(), None, 0
    for split in SPLITS:
        path = folder.split_file(split)
        file = pq.ParquetFile(path)
        features = features or Features.from_arrow_schema(file.schema_arrow)
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
        splits.add(SplitInfo(name=split, num_bytes=size, num_examples=file.metadata.num_rows))
        stored += path.stat().st_size
    info = DatasetInfo(
        features=features,
        splits=splits,
        download_size=stored,
        dataset_size=sum(split.num_bytes for split in splits.values()),
    )
    return {
        "configs": [
            {"config_name": "default", "data_files": [{"split": s, "path": f"data/{s}-*"} for s in SPLITS]}
        ],
        "dataset_info": info._to_yaml_dict(),
    }  # fmt: skip
