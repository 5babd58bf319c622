"""Push a curated dataset: parquet and card in one commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hubtools.curation.licences import check_redistribution
from hubtools.curation.split import SPLITS
from hubtools.errors import LicenceRefused
from hubtools.publishing.cards import describe_access, render_dataset_card
from hubtools.publishing.changes import Change, Content, Files, compare_with_hub
from hubtools.publishing.commits import release
from hubtools.publishing.front_matter import FrontMatter, merge_card
from hubtools.publishing.lint import lint_card
from hubtools.publishing.options import PushOptions
from hubtools.records.release import Published
from hubtools.retries import call_with_retries
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def push_dataset(api: HfApi, task: TaskSpec, folder: TaskFolder, repo: str, options: PushOptions) -> Published | Change:
    """Push the dataset of the work folder; on a dry run return what would change.

    Raises:
        LicenceRefused: before anything is uploaded, where a source may not be handed on.
    """
    check_licences(api, task, folder, repo, options)
    card = _render_card(task, folder, repo)
    # The card is merged again for each try: the one on the Hub may have changed in between.
    content = Content(
        _list_files(task, folder, card, options),
        message=f"Curated {task.name} dataset, {folder.read_facts().counts.kept} rows",
        is_ours=_is_ours,
    )
    if options.dry_run:
        return compare_with_hub(api, repo, "dataset", content, options)
    # The folder is what was pushed, for who reads it here; a person's words on the Hub's card stay there alone.
    (folder.dataset / "README.md").write_text(merge_card(card, None, _ask_readers(task, options)), encoding="utf-8")
    pushed = release(api, repo, "dataset", content, options)
    folder.record_published("dataset", pushed)
    return pushed


def check_licences(api: HfApi, task: TaskSpec, folder: TaskFolder, repo: str, options: PushOptions) -> None:
    """Refuse a push that the licences of the sources do not allow.

    Raises:
        LicenceRefused: with what to do.
    """
    from huggingface_hub.errors import RepositoryNotFoundError

    sources = folder.read_facts().sources
    # Only what may not be handed on depends on the repo: then it has to be private, also where it exists already.
    if not check_redistribution(
        f"the {task.name} dataset", sources, private=options.private, accepted=options.accept_license
    ):
        return
    try:
        if call_with_retries(lambda: api.repo_info(repo, repo_type="dataset")).private:
            return
    except RepositoryNotFoundError:
        return  # it will be made, and private
    raise LicenceRefused(
        f"The repo {repo} is public, and its data must not be",
        expected="a private repo",
        found="--private, which is for repos that are new",
        next="make it private in its settings on the Hub, or name another with --dataset-name",
    )


def _render_card(task: TaskSpec, folder: TaskFolder, repo: str) -> str:
    """Return the card, checked by the Hub's rules."""
    card = render_dataset_card(task, repo, folder.read_facts(), _describe_splits(folder))
    lint_card(card, "dataset")
    return card


def _list_files(task: TaskSpec, folder: TaskFolder, card: str, options: PushOptions) -> Files:
    """Return every file of the dataset repo by its path; the README is merged with the one that is there."""
    questions = _ask_readers(task, options)
    return {
        **{f"data/{path.name}": path for path in sorted((folder.dataset / "data").glob("*.parquet"))},
        "README.md": lambda theirs: merge_card(card, theirs, questions).encode(),
        "facts.json": folder.facts,
    }


def _ask_readers(task: TaskSpec, options: PushOptions) -> FrontMatter:
    """Return what readers of a gated repo agree to and fill in; nothing for a repo that is not gated."""
    return describe_access(task) if options.gated else {}


def _is_ours(path: str) -> bool:
    """Say whether a file that we do not push is deleted: an older, larger split must not stay behind."""
    return path.startswith("data/")


def _describe_splits(folder: TaskFolder) -> FrontMatter:
    """Return ``configs`` and ``dataset_info`` as ``datasets`` writes them, so that viewer and loader agree."""
    import pyarrow.parquet as pq
    from datasets import DatasetInfo, Features, SplitDict, SplitInfo

    # Sizes are read from the files' footers: no column is loaded for them.
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
    data_files = [{"split": split, "path": f"data/{split}-*"} for split in SPLITS]
    return {
        "configs": [{"config_name": "default", "data_files": data_files}],
        # Private, and the one function that writes these keys as the Hub reads them; push_to_hub calls it too.
        "dataset_info": info._to_yaml_dict(),
    }
