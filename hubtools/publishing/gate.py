"""Hold a new model against the published one that it would replace, on the same test rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from hubtools.errors import UsageError, WorseThanPublished
from hubtools.evaluation.predictions import read_columns
from hubtools.evaluation.previous import describe_row_difference, list_releases
from hubtools.heads.values import Rows
from hubtools.metrics.intervals import Answers, number_groups, resample_difference
from hubtools.publishing.release_history import download
from hubtools.records import from_json, read_object, to_json
from hubtools.records.metrics import Metrics
from hubtools.records.release import Gate, GateCheck
from hubtools.records.thresholds import THRESHOLDS
from hubtools.retries import call_with_retries
from hubtools.spec import Metric
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

FILE = "gate.json"
MARGIN = 0.02  # a fall of a score, or a rise of a rate of mistakes, that stops a release whatever its certainty
CERTAINTY = 95  # percent, one-sided


def hold_against_published(api: HfApi, task: TaskSpec, folder: TaskFolder, repo: str, head: str | None) -> Gate | None:
    """Compare the model of the work folder with the one that ``repo`` holds at the commit ``head``.

    Both are scored on our test rows: from recorded answers where these are to the same rows, else the published model
    is asked. What depends on a threshold is taken at the one that each model ships.

    Returns:
        None where nothing is published yet. Where the same model is, scored alike, the record that is published with
        it: it is no new release.
    """
    metrics = folder.read_metrics()
    published = _Published(api, repo, head) if head else None
    if published is None or published.find("config.json") is None:
        return None
    recorded = published.read_json("metrics.json")
    if recorded.get("fingerprint") == metrics.fingerprint and recorded.get("target") == _name_target(metrics):
        kept = published.read_json(FILE)
        return from_json(kept, Gate) if kept else None
    gate = Gate(fingerprint=metrics.fingerprint, repo=repo, tag=published.find_tag(), revision=published.revision)
    labels = task.label_set(folder.read_facts().label_set).labels
    try:
        theirs, known, asked = published.answer(task, folder, labels)
    except UsageError as error:
        return replace(gate, why_not=f"{error.subject}: {error.found}")
    ours = read_columns(folder.predictions)
    plain = task.head.plain_threshold
    own = metrics.thresholds.threshold if metrics.thresholds else plain
    shipped = task.head.read_shipped_threshold(published.read_json(THRESHOLDS) or None)
    # Each at the threshold that it ships; the same rows are left of both.
    a, b = (
        task.head.pair_answers(ours, theirs, labels, known, threshold)[side]
        for side, threshold in enumerate((own, plain if shipped is None else shipped))
    )
    groups = _read_groups(ours, known, len(a))
    if not len(a):
        return replace(gate, why_not="no test row has a label that both models know")
    checks = [_compare(metric, a, b, groups) for metric in (task.primary, *task.head.gated)]
    return replace(
        gate, rows=len(a), groups=int(groups.max()) + 1, asked=asked, checks=tuple(check for check in checks if check)
    )


def _name_target(metrics: Metrics) -> object:
    return to_json(metrics.target) if metrics.target else None


def _read_groups(rows: Rows, known: frozenset[int], left: int) -> np.ndarray:
    """Return (rows,) the numbers of the groups of those rows that are compared."""
    names = list(rows["group"])
    # A row whose label one of the models lacks was left out; of spans it is types that are.
    if len(names) != left:
        names = [name for name, label in zip(names, rows["label"], strict=True) if label in known]
    return number_groups(names)


def _compare(metric: Metric, ours: Answers, theirs: Answers, groups: np.ndarray) -> GateCheck | None:
    """Return the comparison by one metric; None where it is undefined, as a rate is without a row that it is of."""
    difference, resampled = resample_difference(metric, ours, theirs, groups)
    if difference != difference or not len(resampled):
        return None
    sign = 1 if metric.greater_is_better else -1
    # The best that the data leave room for: below zero, the new model is worse.
    best = sign * float(np.percentile(sign * resampled, CERTAINTY))
    worse = sign * best < 0 or sign * difference < -MARGIN
    return GateCheck(
        metric=metric.title,
        ours=float(metric.function(ours)),
        published=float(metric.function(theirs)),
        difference=difference,
        bound=best,
        passed=not worse,
    )


def describe_gate(gate: Gate | None) -> list[str]:
    """Return lines for the user about what was compared."""
    if gate is None:
        return []
    published = f"{gate.repo} {gate.tag or gate.revision[:8]}"
    if gate.why_not:
        return [f"warning: not held against {published}: {gate.why_not}"]
    return [
        f"{check.metric} {check.ours:.3f}, of {published} {check.published:.3f}: "
        + ("passed" if check.passed else "worse" + (", forced" if gate.forced else ""))
        for check in gate.checks
    ]


def refuse_worse(task: TaskSpec, gate: Gate) -> None:
    """Raise :class:`WorseThanPublished` where the gate did not pass."""
    failed = [check for check in gate.checks if not check.passed]
    if not failed:
        return
    found = "; ".join(
        f"{check.metric} {check.ours:.3f}, published {check.published:.3f} "
        f"({check.difference:+.3f}, at best {check.bound:+.3f} with {CERTAINTY}% certainty)"
        for check in failed
    )
    raise WorseThanPublished(
        f"The new {task.name} model is worse than {gate.repo} {gate.tag or gate.revision[:8]}, which it would replace",
        expected=f"on the same {gate.rows} test rows no fall that is certain, and none of more than {MARGIN}",
        found=found,
        next=f"hubtools push-model {task.name} --create-pr to show it without releasing it; or "
        f'--force "why it is right all the same", which the card will say',
    )


class _Published:
    """What a model repo holds at a commit, of whatever version of hubtools or by whomever."""

    def __init__(self, api: HfApi, repo: str, revision: str) -> None:
        self._api, self._repo, self.revision = api, repo, revision

    def find(self, path: str) -> Path | None:
        """Return a file of it; None where it has none of that name."""
        return download(self._api, self._repo, "model", path, self.revision)

    def find_tag(self) -> str:
        """Return the newest release that this commit is, or stands upon; "" where none is."""
        tags = list_releases(call_with_retries(lambda: self._api.list_repo_refs(self._repo)).tags)
        return tags[0].name if tags else ""

    def read_json(self, path: str) -> dict[str, object]:
        """Return the object in a file; {} where there is none, or it is none of ours."""
        found = self.find(path)
        return read_object(found) if found else {}

    def answer(self, task: TaskSpec, folder: TaskFolder, labels: Sequence[str]) -> tuple[Rows, frozenset[int], bool]:
        """Return its answers to our test rows, which labels it knows, and whether it was asked for them.

        Raises:
            UsageError: it is no classifier of the task.
        """
        path = self.find("predictions.parquet")
        if path and not describe_row_difference(task.head, folder.predictions, path):
            known = frozenset(range(len(labels)))
            return _sort_like(read_columns(folder.predictions), read_columns(path)), known, False
        from hubtools.curation.evaluation_rows import read_test_split
        from hubtools.evaluation.classifiers import open_classifier
        from hubtools.evaluation.other_data import predict_answers

        label_set = task.label_set(folder.read_facts().label_set)
        classifier = call_with_retries(lambda: open_classifier(task, label_set, self._repo, {}, self.revision))
        rows = read_test_split(task, folder)
        answers = predict_answers(task, label_set, classifier, rows, lambda _: None).answers
        joined = cast("Rows", {**task.head.join_answers(rows.truth, answers), "id": rows.ids})
        return _sort_like(read_columns(folder.predictions), joined), classifier.plan.known, True


def _sort_like(ours: Rows, theirs: Rows) -> Rows:
    """Return the columns of ``theirs`` in the order of the ids of ``ours``."""
    place = {row: i for i, row in enumerate(theirs["id"])}
    order = [place[row] for row in ours["id"]]
    return cast("Rows", {name: [column[i] for i in order] for name, column in theirs.items()})  # type: ignore[index]
