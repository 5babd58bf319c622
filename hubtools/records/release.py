"""``published.json``: what was pushed from a work folder."""

from __future__ import annotations

from dataclasses import dataclass

from hubtools.records import Record


@dataclass(frozen=True, kw_only=True)
class Published(Record):
    """A release.

    Attributes:
        kind: "dataset", "model" or "space".
        revision: the commit; ``tag`` is its name.
        changed: whether a commit was made.
        url: of the repo, or of the pull request.
        access: who may read: "public", "private" or "gated".
        weights_sha256: of a model of one task.
    """

    repo: str
    kind: str
    # The commit as well as its name: a tag can be moved to another commit.
    revision: str
    tag: str
    # False where the repo already holds these files: nothing is pushed, and its last release stays.
    changed: bool
    url: str
    access: str = "public"
    weights_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedRepos(Record):
    """The whole of ``published.json``: the newest release of each kind."""

    # A model's card links to the dataset, which is pushed before it.
    dataset: Published | None = None
    model: Published | None = None


@dataclass(frozen=True, kw_only=True)
class RouterCheck(Record):
    """One thing that the Semantic Router needs of a model: what was looked at, and what was found out.

    Attributes:
        result: "passed" or "warning".
        summary: the file, and one sentence.
    """

    name: str
    result: str
    summary: str


@dataclass(frozen=True, kw_only=True)
class Verified(Record):
    """A published model that answers as it was scored: texts compared, and the largest difference of a probability.

    Attributes:
        router_checks: empty where they were not asked for, or where the router does not know such models.
    """

    repo: str
    revision: str
    rows: int
    largest_difference: float
    router_checks: tuple[RouterCheck, ...] = ()
