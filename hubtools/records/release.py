"""``published.json`` and ``router.json``: what was pushed, of one task and of all, and what was looked at before."""

from __future__ import annotations

from dataclasses import dataclass

from hubtools.records import Record

ROUTER_REPORT = "router.json"  # its name, beside the weights


@dataclass(frozen=True, kw_only=True)
class Published(Record):
    """A release.

    Attributes:
        kind: "dataset", "model" or "space".
        revision: the commit; ``tag`` is its name.
        changed: whether a commit was made.
        url: of the repo, or of the pull request.
        pull_request: whether ``revision`` is one that somebody has yet to merge: it has no tag.
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
    pull_request: bool = False


@dataclass(frozen=True, kw_only=True)
class PublishedRepos(Record):
    """The whole of ``published.json``: the newest release of each kind."""

    # A model's card links to the dataset, which is pushed before it.
    dataset: Published | None = None
    model: Published | None = None


@dataclass(frozen=True, kw_only=True)
class GateCheck(Record):
    """A score of the new model against that of the published one, on the same rows.

    Attributes:
        metric: what it is called on the card.
        difference: new minus published.
        bound: the new model is no better than by this, with one-sided 95% certainty; of a rate of mistakes, no lower.
        passed: False where the new model is worse with that certainty, or by more than the margin.
    """

    metric: str
    ours: float
    published: float
    difference: float
    bound: float
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Gate(Record):
    """``gate.json``: a new model held against the one that is published, before it takes its place.

    Attributes:
        fingerprint: of the metrics of the new model.
        repo, revision: what is published; ``tag`` is "" where its commit has none.
        rows, groups: of the test split that both answered; groups of rows are what is resampled.
        asked: whether the published model was asked anew, as its recorded answers are to other rows.
        why_not: why nothing was compared; "" where it was.
        forced: why it was released all the same, in the words of the person who did.
    """

    fingerprint: str
    repo: str
    tag: str
    revision: str
    rows: int = 0
    groups: int = 0
    asked: bool = False
    checks: tuple[GateCheck, ...] = ()
    why_not: str = ""
    forced: str | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the release."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, kw_only=True)
class Manifest(Record):
    """``manifest.json``: what a release consists of, so that anybody can tell whether it still does.

    Attributes:
        hubtools: the version that wrote it.
        task: its name.
        dataset: the release of the dataset that the model was trained and scored on; None of the multitask model.
        files: SHA-256 of each file by its path, but of this one and of the card.
        card: SHA-256 of our part of the card's text, and ``metadata`` of our ``keys`` of its front matter: what a
            person adds to either is theirs.
    """

    hubtools: str
    task: str
    dataset: Published | None
    files: dict[str, str]
    card: str
    metadata: str
    keys: list[str]


@dataclass(frozen=True, kw_only=True)
class CollectionItem(Record):
    """A repo in a collection: its kind, which is "dataset", "model" or "space", and the note that we gave it."""

    kind: str
    repo: str
    note: str


@dataclass(frozen=True, kw_only=True)
class PublishedCollection(Record):
    """A collection that a work folder keeps.

    Attributes:
        slug: its name on the Hub, ``owner/title-id``.
        changed: whether anything on the Hub was changed.
        items: those that were added from this work folder, which alone are ours to move and to remove.
    """

    slug: str
    title: str
    url: str
    changed: bool
    items: tuple[CollectionItem, ...]


@dataclass(frozen=True, kw_only=True)
class PublishedTogether(Record):
    """The whole of ``published.json`` of a work folder: what shows all of its tasks."""

    space: Published | None = None
    collection: PublishedCollection | None = None


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
class RouterReport(Record):
    """The whole of ``router.json``: what of the Semantic Router's needs was checked before a push.

    Attributes:
        contract: the runtime whose needs they are.
        weights_sha256: of the model that was checked.
        skipped: whether the user wanted no check.
        family: of the model, as its config.json has it.
        max_tokens: that the model reads; None where it was not checked.
        texts: that the second forward and ``pipeline()`` both answered.
        different: answers that differ between the two: labels, tags and spans.
        checks: empty where none was asked for, or where the router does not know the family.
    """

    contract: str
    weights_sha256: str
    skipped: bool
    family: str
    max_tokens: int | None
    texts: int
    different: int
    checks: list[RouterCheck]


@dataclass(frozen=True, kw_only=True)
class Verified(Record):
    """A published model that answers as it was scored: texts compared, and the largest difference of a probability.

    Attributes:
        router_checks: empty where they were not asked for, or where the router does not know such models.
        notes: what a reader should know, and what is no defect.
    """

    repo: str
    revision: str
    rows: int
    largest_difference: float
    router_checks: tuple[RouterCheck, ...] = ()
    notes: tuple[str, ...] = ()
