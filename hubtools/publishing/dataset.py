"""Push a curated dataset: parquet and card in one commit."""

from __future__ import annotations

import dataclasses
from typing import Any

from hubtools.curation.split import SPLITS
from hubtools.publishing.cards import dataset_card, lint, merged
from hubtools.publishing.commits import Change, Release, difference, release
from hubtools.spec import TaskSpec
from hubtools.workdir import TaskFolder


def dataset_files(task: TaskSpec, folder: TaskFolder, repo: str) -> dict[str, Any]:
    """Every file of the dataset repo by its path."""
    facts = folder.read(folder.facts, "curate")
    card = dataset_card(task, repo, facts, _dataset_info(folder), _examples(task, folder))
    lint(card, "dataset")
    files: dict[str, Any] = {f"data/{path.name}": path for path in sorted((folder.dataset / "data").glob("*.parquet"))}
    return files | {"README.md": card.encode(), "facts.json": folder.facts}


def push_dataset(
    api: Any, task: TaskSpec, folder: TaskFolder, repo: str, *, private: bool = False, create_pr: bool = False,
    dry_run: bool = False,
) -> Release | Change:  # fmt: skip
    """Push; with ``dry_run`` only tell what would change."""
    files = dataset_files(task, folder, repo)
    card = files["README.md"].decode()
    files["README.md"] = lambda theirs: merged(card, theirs).encode()
    if dry_run:
        return difference(api, repo, "dataset", files, _owned)
    (folder.dataset / "README.md").write_text(card)
    done = release(
        api, repo, "dataset", files, message=f"Curated {task.name} dataset, {_rows(folder)} rows", owned=_owned,
        private=private, create_pr=create_pr,
    )  # fmt: skip
    folder.record_published("dataset", dataclasses.asdict(done))
    return done


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


def _examples(task: TaskSpec, folder: TaskFolder) -> list[dict[str, str]]:
    """A row of each class from the training split, as the card shows them."""
    import pyarrow.parquet as pq

    facts = folder.read(folder.facts, "curate")
    rows = pq.read_table(folder.split_file("train")).to_pylist()
    shown: dict[str, dict[str, str]] = {}
    for row in rows:
        if task.kind == "sequence":
            label = facts["labels"][row["label"]]
        else:
            label = ", ".join(
                f"{facts['labels'][s['label']]}: {row['text'][s['start'] : s['end']]!r}" for s in row["spans"]
            ) or "no personal data"  # fmt: skip
        key = label.split(":")[0]
        if key not in shown and len(row["text"]) < 300:
            shown[key] = {"text": row["text"], "label": label}
    return [shown[key] for key in sorted(shown)][:16]
