"""``run.json``: what a whole run took, and what it published."""

from __future__ import annotations

from dataclasses import dataclass, field

from hubtools.records import Record


@dataclass(frozen=True, kw_only=True)
class TaskResult(Record):
    """The primary metric of a task on its test split, with its 95% interval, and where dataset and model are.

    Attributes:
        baselines: the same metric of each baseline, by its name.
        dataset, model: addresses of the repos, or of the pull requests.
        pull_requests: addresses of those that are to be merged; a run without them makes releases.
        benchmarks: the same metric on each benchmark of the task, by its name; None where it is undefined.
        unseen: mean scores of sources by trainings that never saw them, by their titles; None where not measured.
    """

    metric: str
    value: float
    low: float
    high: float
    baselines: dict[str, float]
    dataset: str
    model: str
    pull_requests: tuple[str, ...] = ()
    # Files of an earlier version lack it.
    benchmarks: dict[str, float | None] = field(default_factory=dict)
    unseen: dict[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class SpaceResult(Record):
    """Where the Space is; None where it was not pushed."""

    # Both are left out of the file where it was not pushed.
    url: str | None = None
    repo: str | None = None


@dataclass(frozen=True, kw_only=True)
class CollectionResult(Record):
    """Where the collection is."""

    url: str
    slug: str


@dataclass(frozen=True, kw_only=True)
class RunRecord(Record):
    """The whole of ``run.json``.

    Attributes:
        seconds: of each stage, by task and stage; "space" and "collection" stand beside the tasks.
        results: by task; "space" and "collection" stand beside them.
    """

    seconds: dict[str, dict[str, float]]
    total_seconds: float
    results: dict[str, TaskResult | CollectionResult | SpaceResult]
