"""Make an older release of a model or a dataset the main branch again, as a new commit with a new tag."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hubtools.errors import MissingStage, UsageError
from hubtools.evaluation.previous import list_releases, name_next_release
from hubtools.publishing.changes import Change, Content, compare_with_hub
from hubtools.publishing.commits import find_head, release
from hubtools.publishing.front_matter import join_card, merge_card, split_card, take_our_card
from hubtools.publishing.manifest import FILE as MANIFEST
from hubtools.publishing.manifest import describe_manifest
from hubtools.publishing.model import TASK_FILE
from hubtools.publishing.options import PushOptions
from hubtools.publishing.release_history import (
    download,
    find_newest_release,
    format_today,
    merge_notes,
    read_file,
    read_release,
)
from hubtools.publishing.release_notes import CHANGELOG, ReleaseFiles, write_release_notes
from hubtools.publishing.released_files import find_named_hash
from hubtools.publishing.verification import verify_release
from hubtools.records.release import Published
from hubtools.retries import call_with_retries
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS
from hubtools.tasks.file import read_task_file

if TYPE_CHECKING:
    from huggingface_hub import GitRefInfo, HfApi

Kind = Literal["dataset", "model"]
README = "README.md"
_ASIDE = {README, CHANGELOG}  # what a person may have edited since, and what tells of the rollback

# Keys that a release writes on some cards alone: those of the newer release are none of a person's.
_SOMETIMES = {"base_model", "base_model_relation", "co2_eq_emissions", "license_name"}


@dataclass(frozen=True)
class Target:
    """An older release to go back to.

    Attributes:
        revision: its commit. tags: of all releases, the newest first.
        says: what it says of itself; None for a dataset.
    """

    kind: Kind
    repo: str
    tag: str
    revision: str
    tags: tuple[GitRefInfo, ...]
    says: ReleaseFiles | None

    @property
    def message(self) -> str:
        """The title of the commit."""
        return f"Rollback to {self.tag}"


def find_target(api: HfApi, name: str, tag: str) -> Target:
    """Return the release ``tag`` of a repo.

    Args:
        name: ``owner/name``, with ``models/`` or ``datasets/`` before it where both are called so.

    Raises:
        MissingStage: there is no such repo.
        UsageError: no release of ours has this tag, or main holds it already.
    """
    kind, repo = _find_repo(api, name)
    refs = call_with_retries(lambda: api.list_repo_refs(repo, repo_type=kind)).tags
    releases = list_releases(refs)
    found = next((ref for ref in refs if ref.name == tag), None)
    says = None
    if found is not None:
        says = read_release(api, repo, tag, str(found.target_commit)) if kind == "model" else None
        ours = says or (kind == "dataset" and read_file(api, repo, kind, "facts.json", str(found.target_commit)))
    if found is None or found not in releases or not ours:
        raise UsageError(
            f"{repo} has no release {tag!r} of hubtools" + ("" if found is None else ": the tag is another program's"),
            expected="one of " + (", ".join(ref.name for ref in releases) or "its releases, of which there are none"),
            found=tag,
            next="name one of them with --to" if releases else f"look at the tags of {repo}",
        )
    revision = str(found.target_commit)
    # The newest release, not main alone: a rollback that was killed before its tag is gone on with.
    newest = str(releases[0].target_commit)
    trees = [list_contents(api, kind, repo, at) for at in ("main", newest, revision)]
    if trees[0] == trees[1] == trees[2]:
        raise UsageError(
            f"{repo} is at {tag} already",
            expected="a release that main does not hold",
            found=f"{releases[0].name}, with the same files as {tag}",
            next="nothing is to be done, or name another release with --to",
        )
    return Target(kind, repo, tag, revision, tuple(releases), says)


def _find_repo(api: HfApi, name: str) -> tuple[Kind, str]:
    kinds: dict[str, tuple[Kind, ...]] = {"datasets/": ("dataset",), "models/": ("model",)}
    prefix = next((prefix for prefix in kinds if name.startswith(prefix)), "")
    repo, asked = name.removeprefix(prefix), kinds.get(prefix, ("model", "dataset"))
    there = [kind for kind in asked if _is_there(api, repo, kind)]
    if not there:
        raise MissingStage(
            f"There is no {' or '.join(asked)} {repo}",
            expected="the repo of a release, owner/name",
            found="none of that name, or one that your token may not read",
            next="look at the name",
        )
    if len(there) > 1:
        raise UsageError(
            f"{repo} is a model and a dataset",
            expected="one of the two",
            found="both",
            next=f"say which: models/{repo} or datasets/{repo}",
        )
    return there[0], repo


def _is_there(api: HfApi, repo: str, kind: Kind) -> bool:
    return call_with_retries(lambda: api.repo_exists(repo, repo_type=kind))


def list_contents(api: HfApi, kind: Kind, repo: str, revision: str) -> dict[str, str]:
    """Return the hash of each file of a commit by its path, but for those that a rollback writes anew."""
    from huggingface_hub.hf_api import RepoFile

    def look() -> dict[str, str]:
        entries = api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=kind)
        files = [entry for entry in entries if isinstance(entry, RepoFile) and entry.path not in _ASIDE]
        return {entry.path: entry.lfs.sha256 if entry.lfs else entry.blob_id for entry in files}

    return call_with_retries(look)


def roll_back(api: HfApi, target: Target, options: PushOptions) -> Published | Change:
    """Commit the files of the older release to main and tag them as the next one; see :class:`Target`.

    The card gets back what was generated then, and keeps what a person wrote around it; the changelog of a model gets
    a section. A model is verified on a branch before it is on main.

    Raises:
        VerificationFailed: the older release is not what its manifest says, or does not answer as it was scored.
        ParentMoved: somebody pushed meanwhile.
        UsageError: it was made before releases had a manifest, and what replaced it was not.
    """
    head = find_head(api, target.repo, target.kind)
    content = _make_content(api, target, str(head))
    if options.dry_run:
        return compare_with_hub(api, target.repo, target.kind, content, options)
    says = target.says

    def verify(revision: str) -> None:
        verify_release(api, target.repo, revision, _read_task(api, target))

    pushed = release(
        api, target.repo, target.kind, content, options, parent=head, check=verify if says is not None else None
    )
    weights = None
    if says and len(says.tasks) == 1:
        [of] = says.tasks.values()
        weights = of.metrics.get("weights_sha256")
    return replace(pushed, weights_sha256=weights)


def _make_content(api: HfApi, target: Target, head: str) -> Content:
    """Return what the repo is to hold upon ``head``: every file of the older release, and card and changelog."""
    paths = call_with_retries(lambda: api.list_repo_files(target.repo, repo_type=target.kind, revision=target.revision))
    files: dict[str, Path] = {}
    for path in paths:
        found = download(api, target.repo, target.kind, path, target.revision)
        assert found is not None, "it is in the list"
        files[path] = found
    if target.kind == "model" and MANIFEST not in files and find_named_hash(api, target.repo, head):
        raise UsageError(
            f"{target.repo} {target.tag} was made before releases had a manifest",
            expected="a release whose files can be verified, as those after it can",
            found=f"no {MANIFEST}",
            next="name a later release with --to, or push it anew from its work folder: hubtools push-model",
        )
    card = files[README].read_text(encoding="utf-8") if README in files else ""
    notes = _make_notes(api, target, head)
    return Content(
        {
            **{path: content for path, content in files.items() if path not in _ASIDE},
            **({README: lambda theirs: restore_card(card, theirs).encode()} if card else {}),
            **({CHANGELOG: notes} if notes is not None else {}),
        },
        message=target.message,
        description=describe_manifest(files[MANIFEST].read_bytes()) if MANIFEST in files else "",
        # What the older release did not have goes.
        is_ours=lambda _: True,
    )


def _make_notes(api: HfApi, target: Target, head: str) -> bytes | None:
    """Return the changelog with a section about the rollback; None for a dataset, which has no changelog."""
    theirs = read_file(api, target.repo, target.kind, CHANGELOG, head)
    now = list_contents(api, target.kind, target.repo, head)
    # A rollback that was killed before its tag has written the section.
    if target.says is None or now == list_contents(api, target.kind, target.repo, target.revision):
        return theirs
    task = _read_task(api, target)
    section = write_release_notes(
        [*TASKS.values(), *([task] if task else [])],
        find_newest_release(api, target.repo, target.tags),
        replace(target.says, tag=name_next_release(target.tags)),
        format_today(),
        opening=f"Back to {target.tag}: the files of that release, as they were. What follows compares it with the one "
        "that it replaces.",
    )
    return merge_notes(theirs, section)


def _read_task(api: HfApi, target: Target) -> TaskSpec | None:
    """Return the task of somebody's own that a release is of; None for a built-in one."""
    path = download(api, target.repo, target.kind, TASK_FILE, target.revision)
    return read_task_file(path) if path else None


def restore_card(then: str, now: str | None) -> str:
    """Return the card of an older release with what a person wrote since.

    Args:
        then: the card as it was. now: the card on main.
    """
    # Around our part stands what a person wrote: what they wrote last counts, which is on main.
    generated = take_our_card(then)
    metadata, _ = split_card(generated)
    if now is None:
        return generated
    theirs, text = split_card(now)
    kept = {key: value for key, value in theirs.items() if key in metadata or key not in _SOMETIMES}
    return merge_card(generated, now if kept == theirs else join_card(kept, text))
