"""One atomic commit a release: checked on a branch first, made again after a conflict, skipped when nothing changed."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.errors import VerificationFailed
from hubtools.evaluation.previous import list_releases, name_next_release
from hubtools.publishing.changes import (
    Change,
    Content,
    compare_with_hub,
    find_changes,
    hash_data_files,
    list_repo_files,
    read_card,
    refuse_pull_request,
    render_contents,
)
from hubtools.publishing.manifest import hash_content
from hubtools.publishing.options import PushOptions
from hubtools.records.release import Published
from hubtools.retries import call_with_retries

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi

# Branches on which a release is verified before it is one.
STAGING = "hubtools-staging-"


class ParentMoved(Exception):
    """Somebody committed to the main branch since it was looked at: what was found out about it holds no longer."""


def find_head(api: HfApi, repo: str, kind: str) -> str | None:
    """Return the newest commit of the main branch; None where there is no such repo."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return str(call_with_retries(lambda: api.repo_info(repo, repo_type=kind)).sha)
    except RepositoryNotFoundError:
        return None


def release(
    api: HfApi,
    repo: str,
    kind: str,
    content: Content,
    options: PushOptions,
    *,
    space_sdk: str | None = None,
    parent: str | None = None,
    check: Callable[[str], None] | None = None,
) -> Published:
    """Bring ``repo`` to ``content`` in one commit and tag it ``v1``, ``v2``…; do nothing where nothing differs.

    The commit names its parent, so that a change by somebody else in between is never overwritten unseen: the
    difference is then taken again.

    Args:
        kind: "model", "dataset" or "space".
        options: a pull request is opened on a repo that is there; one that is open and says the same will do. The gate
            is set before anything is uploaded.
        space_sdk: what a new Space runs.
        parent: the commit that ``content`` was made for; None for whichever is the newest.
        check: called with a commit of the same files on a branch that nobody reads, before the one on main is made. It
            raises where they are not what they should be: main and tags then stay as they are.

    Raises:
        MissingStage: a pull request is asked for, and there is no such repo.
        ParentMoved: the newest commit is not ``parent``.
        VerificationFailed: the Hub made other files of the same commit.
    """
    if options.create_pr and not call_with_retries(lambda: api.repo_exists(repo, repo_type=kind)):
        refuse_pull_request(repo, kind)
    url = call_with_retries(lambda: _create_repo(api, repo, kind, options, space_sdk))
    gated = options.gated
    if gated and getattr(call_with_retries(lambda: api.repo_info(repo, repo_type=kind)), "gated", None) != gated:
        call_with_retries(lambda: api.update_repo_settings(repo, gated=gated, repo_type=kind))
    target = _Target(api, repo, kind, content)
    revision, changed, where = target.commit(url, options.create_pr, parent, check)
    pull_request, tag = where != url, ""
    # A pull request is no release yet: it gets its tag with the first push after it is merged.
    if not pull_request:
        revision, tag = call_with_retries(
            lambda: _find_release(api, repo, kind, revision, content.message, changed, may_tag=not options.create_pr)
        )
    info = call_with_retries(lambda: api.repo_info(repo, repo_type=kind))
    access = "private" if info.private else "gated" if getattr(info, "gated", False) else "public"
    return Published(
        repo=repo,
        kind=kind,
        revision=revision,
        tag=tag,
        changed=changed,
        url=where,
        access=access,
        pull_request=pull_request,
    )


def release_model(
    api: HfApi,
    repo: str,
    make_content: Callable[[str | None], Content],
    options: PushOptions,
    *,
    check: Callable[[str], None],
    note: Callable[[str], None],
) -> Published | Change:
    """Release a model whose content depends on what the repo holds; on a dry run return what would change.

    Args:
        make_content: from the newest commit, None where the repo is new. It is asked anew where somebody pushed
            meanwhile, and raises where the model must not take the place of what is there.
        check: as of :func:`release`.
        note: takes a line about such a push.
    """
    while True:
        head = find_head(api, repo, "model")
        content = make_content(head)
        if options.dry_run:
            return compare_with_hub(api, repo, "model", content, options)
        try:
            return release(api, repo, "model", content, options, parent=head, check=check)
        except ParentMoved:
            note(f"somebody pushed to {repo} meanwhile; beginning again from that version")


def _create_repo(api: HfApi, repo: str, kind: str, options: PushOptions, space_sdk: str | None) -> str:
    """Create the repo where it is not there, and return its address."""
    # None leaves a repo that exists as it is: False would ask for one that everybody may read.
    private = options.private or None

    def create() -> str:
        return str(api.create_repo(repo, repo_type=kind, private=private, exist_ok=True, space_sdk=space_sdk))

    try:
        return create()
    except KeyError:
        # The client takes any 409 for "it exists" and reads the address from its answer, which may hold none.
        return create()


@dataclass(frozen=True)
class _Target:
    """A repo and what it is to hold."""

    api: HfApi
    repo: str
    kind: str
    content: Content

    def commit(
        self, url: str, create_pr: bool, parent: str | None, check: Callable[[str], None] | None
    ) -> tuple[str, bool, str]:
        """Return the commit that holds the files, whether it was made now, and where it is."""
        while True:
            head = self._find_head()
            if parent not in (None, head):
                raise ParentMoved
            try:
                return self._commit_upon(head, url, create_pr, check)
            except ParentMoved:
                # Taken anew from what is there now, unless the caller has to look at that first.
                if parent is not None:
                    raise

    def _commit_upon(
        self, head: str, url: str, create_pr: bool, check: Callable[[str], None] | None
    ) -> tuple[str, bool, str]:
        contents = call_with_retries(
            lambda: render_contents(self.content.files, read_card(self.api, self.repo, self.kind, head))
        )
        change = call_with_retries(lambda: self._compare(contents, head))
        if not change:
            if check is not None:
                # A push that was killed right after its commit has left it.
                self.remove_branch(self._name_branch(contents))
            return head, False, url
        if create_pr and (same := call_with_retries(lambda: self._find_open_request(contents))):
            return same[0], False, same[1]
        # One change for both commits: the branch and main have the same parent.
        if check is None:
            return self._publish(contents, change, head, url, create_pr)
        return self._commit_checked(contents, change, head, url, create_pr, check)

    def _commit_checked(
        self,
        contents: Mapping[str, bytes | Path],
        change: Change,
        head: str,
        url: str,
        create_pr: bool,
        check: Callable[[str], None],
    ) -> tuple[str, bool, str]:
        """Make the commit on a branch of its own, check it there, then make it for its readers."""
        branch = self._name_branch(contents)
        try:
            staged = call_with_retries(lambda: self._stage(contents, change, head, branch))
            call_with_retries(lambda: check(staged))
            revision, changed, url = self._publish(contents, change, head, url, create_pr)
            if self._list_blobs(revision) != self._list_blobs(staged):
                raise VerificationFailed(
                    f"Commit {revision[:8]} of {self.repo} does not hold the files that were verified",
                    expected=f"the files of {staged[:8]}",
                    found="others, from the same upload",
                    next="look at the commits of the repo; it was not tagged, so that nothing points there yet",
                )
            return revision, changed, url
        finally:
            # Also after an error: what failed is of no use to anybody.
            with contextlib.suppress(Exception):
                self.remove_branch(branch)

    def _publish(
        self, contents: Mapping[str, bytes | Path], change: Change, head: str, url: str, create_pr: bool
    ) -> tuple[str, bool, str]:
        """Commit to main, or open a pull request; raises :class:`ParentMoved` where main is no longer ``head``."""

        def commit() -> tuple[str, bool, str]:
            now = self._find_head()
            if now != head:
                # The commit may have been made and its answer lost: then all is there.
                if not create_pr and not self._compare(contents, now):
                    return now, True, url
                raise ParentMoved
            if create_pr and (same := self._find_open_request(contents)):
                return same[0], True, same[1]
            info = self._create_commit(contents, change, head, create_pr=create_pr)
            return str(info.oid), True, str(info.pr_url or url)

        return call_with_retries(commit)

    def _stage(self, contents: Mapping[str, bytes | Path], change: Change, head: str, branch: str) -> str:
        """Return a commit of the files on ``branch``, whose parent is ``head``."""
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            staged = self._find_head(branch)
        except RevisionNotFoundError:
            staged = None
        if staged not in (None, head):
            commits = self.api.list_repo_commits(self.repo, repo_type=self.kind, revision=branch)
            # Made by a push that was killed, or by a call whose answer was lost.
            if [commit.commit_id for commit in commits[1:2]] == [head] and not self._compare(contents, str(staged)):
                return str(staged)
            self.remove_branch(branch)
            staged = None
        if staged is None:
            self.api.create_branch(self.repo, branch=branch, revision=head, repo_type=self.kind)
        return str(self._create_commit(contents, change, head, revision=branch).oid)

    def _create_commit(
        self,
        contents: Mapping[str, bytes | Path],
        change: Change,
        parent: str,
        *,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> CommitInfo:
        with warnings.catch_warnings():
            # predictions.parquet belongs beside the model that made it.
            warnings.filterwarnings("ignore", message=".*commit a data file.*")
            return self.api.create_commit(
                self.repo,
                _make_operations(change, contents),  # anew: the client takes each of them once
                repo_type=self.kind,
                commit_message=self.content.message,
                commit_description=self.content.description,
                revision=revision,
                parent_commit=parent,
                create_pr=create_pr,
            )

    def remove_branch(self, branch: str) -> None:
        """Remove a branch that may be gone already."""
        from huggingface_hub.errors import HfHubHTTPError

        def remove() -> None:
            try:
                self.api.delete_branch(self.repo, branch=branch, repo_type=self.kind)
            except HfHubHTTPError as error:
                if error.response is None or error.response.status_code != 404:
                    raise

        call_with_retries(remove)

    def _name_branch(self, contents: Mapping[str, bytes | Path]) -> str:
        # By its content: a push that was killed finds its own branch again.
        digest = hashlib.sha256()
        for path, content in sorted(contents.items()):
            digest.update(f"{path}\0{hash_content(content)}".encode())
        return f"{STAGING}{digest.hexdigest()[:16]}"

    def _find_head(self, revision: str | None = None) -> str:
        return str(call_with_retries(lambda: self.api.repo_info(self.repo, repo_type=self.kind, revision=revision)).sha)

    def _compare(self, contents: Mapping[str, bytes | Path], revision: str) -> Change:
        return find_changes(self.api, self.repo, self.kind, contents, self.content.is_ours, revision)

    def _list_blobs(self, revision: str) -> dict[str, str]:
        files = call_with_retries(lambda: list_repo_files(self.api, self.repo, self.kind, revision))
        return {path: entry.blob_id for path, entry in files.items()}

    def _find_open_request(self, contents: Mapping[str, bytes | Path]) -> tuple[str, str] | None:
        """Return commit and address of an open pull request that brings the repo to ``contents``; None for none."""
        for request in self.api.get_repo_discussions(
            self.repo, repo_type=self.kind, discussion_type="pull_request", discussion_status="open"
        ):
            # The title is our message: a person's own request is not taken for ours.
            if request.title != self.content.message or request.status != "open":
                continue
            head = self._find_head(request.git_reference)
            if not self._compare(contents, head):
                return head, str(request.url)
        return None


def _make_operations(
    change: Change, contents: Mapping[str, bytes | Path]
) -> list[CommitOperationAdd | CommitOperationDelete]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    return [
        *(CommitOperationAdd(file.path, contents[file.path]) for file in (*change.add, *change.replace)),
        *(CommitOperationDelete(file.path) for file in change.delete),
    ]


def _find_release(
    api: HfApi, repo: str, kind: str, revision: str, message: str, changed: bool, may_tag: bool
) -> tuple[str, str]:
    """Return the release that ``revision`` holds, and its tag: the one it has, or the next number.

    Where the last commits are a person's, who changed the card alone, the release is the one below them; its tag may
    still be missing, where an earlier push was killed before it.

    Args:
        changed: ``revision`` was made by this push.
        may_tag: whether one that has no tag gets it; else its tag is "".
    """
    tags = list_releases(api.list_repo_refs(repo, repo_type=kind).tags)
    if not changed:
        commits = api.list_repo_commits(repo, repo_type=kind, revision=revision)
        tagged = {ref.target_commit for ref in tags}
        # The newest commit that has a tag, or our message and no tag yet.
        below = next((c.commit_id for c in commits if c.commit_id in tagged or c.title.startswith(message)), revision)
        if below != revision and hash_data_files(api, repo, kind, below) == hash_data_files(api, repo, kind, revision):
            revision = below
    for ref in tags:
        if ref.target_commit == revision:
            return revision, str(ref.name)
    if not may_tag:
        return revision, ""
    name = name_next_release(tags)
    api.create_tag(repo, tag=name, revision=revision, repo_type=kind)
    return revision, name
