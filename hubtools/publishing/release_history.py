"""Releases of a model that are on the Hub, and the notes that a new one adds to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hubtools.errors import read_first_line
from hubtools.evaluation.previous import list_releases, name_next_release
from hubtools.publishing.changes import Content, compare_with_hub
from hubtools.publishing.front_matter import split_card
from hubtools.publishing.options import PushOptions
from hubtools.publishing.release_notes import (
    CHANGELOG,
    ReleaseFiles,
    TaskFiles,
    merge_release_notes,
    write_release_notes,
)
from hubtools.retries import call_with_retries
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS

if TYPE_CHECKING:
    from huggingface_hub import GitRefInfo, HfApi


def add_release_notes(
    api: HfApi,
    repo: str,
    content: Content,
    head: str | None,
    options: PushOptions,
    describe: tuple[Sequence[TaskSpec], Callable[[str], ReleaseFiles]],
) -> Content:
    """Return ``content`` and the changelog that goes with it; the one that is there, where nothing else differs.

    Args:
        head: the newest commit, upon which the release is made; None where the repo is new.
        describe: the tasks of the release, and what it says of itself under the tag that it is given.
    """
    tags: list[GitRefInfo] = []
    theirs = None
    if head is not None:
        tags = list_releases(call_with_retries(lambda: api.list_repo_refs(repo)).tags)
        theirs = read_file(api, repo, "model", CHANGELOG, head)
        # Not as a pull request: whether anything differs is the question, not whether one may be opened.
        if not compare_with_hub(api, repo, "model", content, PushOptions()).files:
            return content if theirs is None else _with_notes(content, theirs)
    tasks, make_files = describe
    tag = name_next_release(tags)
    # A pull request has no day of release yet; and it would be opened again the day after.
    date = "" if options.create_pr else format_today()
    section = write_release_notes(tasks, find_newest_release(api, repo, tags), make_files(tag), date)
    return _with_notes(content, merge_notes(theirs, section))


def _with_notes(content: Content, notes: bytes) -> Content:
    return replace(content, files={**content.files, CHANGELOG: notes})


def merge_notes(theirs: bytes | None, section: str) -> bytes:
    """Return the bytes of the changelog with ``section`` in it; bytes of a person's that are no UTF-8 stay."""
    text = theirs.decode("utf-8", "surrogateescape") if theirs is not None else None
    return merge_release_notes(text, section).encode("utf-8", "surrogateescape")


def format_today() -> str:
    """Return the date in UTC."""
    return datetime.now(UTC).date().isoformat()


def find_newest_release(api: HfApi, repo: str, tags: Iterable[GitRefInfo]) -> ReleaseFiles | None:
    """Return the first of ``tags`` that a hubtools of any version released; None for none."""
    found = (read_release(api, repo, ref.name, str(ref.target_commit)) for ref in tags)
    return next((files for files in found if files), None)


def read_release(api: HfApi, repo: str, tag: str, revision: str) -> ReleaseFiles | None:
    """Return what a release of a model says of itself; None where it is none of ours."""
    training, card = (_read_text(api, repo, "model", name, revision) for name in ("training.json", "README.md"))
    if training is None or card is None:
        return None
    # A model of several tasks has a folder for each.
    folders = {"": ""} if read_file(api, repo, "model", "metrics.json", revision) else {n: f"{n}/" for n in TASKS}
    tasks = {}
    try:
        index: Any = split_card(card)[0].get("model-index") or [{}]
        results = index[0].get("results") or []
        for number, folder in enumerate(folders.values()):
            text = _read_text(api, repo, "model", f"{folder}metrics.json", revision)
            predictions = download(api, repo, "model", f"{folder}predictions.parquet", revision)
            if text is None or predictions is None:
                return None
            metrics = json.loads(text)
            scored_on = results[number].get("dataset") or {} if number < len(results) else {}
            dataset = (str(scored_on["type"]), str(scored_on["revision"])) if "revision" in scored_on else None
            # Newer releases of one task have them beside the model.
            facts = None if folder else _read_text(api, repo, "model", "facts.json", revision)
            if facts is None and dataset:
                facts = _read_text(api, dataset[0], "dataset", "facts.json", dataset[1])
            tasks[str(metrics["task"])] = TaskFiles(metrics, predictions, dataset, json.loads(facts or "{}"))
        return ReleaseFiles(tag, json.loads(training), tasks)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None  # files of another program, by the same names


def download(api: HfApi, repo: str, kind: str, name: str, revision: str) -> Path | None:
    """Return a file of a repo; None where repo, revision or file are not there, or not for us to read."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    def load() -> Path:
        try:
            return Path(api.hf_hub_download(repo, name, repo_type=kind, revision=revision))
        except LocalEntryNotFoundError as error:
            # The client's name for a Hub that does not answer.
            raise ConnectionError(read_first_line(error)) from error

    try:
        return call_with_retries(load)
    except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError):
        return None


def read_file(api: HfApi, repo: str, kind: str, name: str, revision: str) -> bytes | None:
    """Return the content of a file; None as :func:`download`."""
    path = download(api, repo, kind, name, revision)
    return path.read_bytes() if path else None


def _read_text(api: HfApi, repo: str, kind: str, name: str, revision: str) -> str | None:
    content = read_file(api, repo, kind, name, revision)
    return content.decode("utf-8", "replace") if content is not None else None
