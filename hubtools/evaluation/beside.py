"""What stands beside a model's scores, on the same test rows: baselines, and the version published before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from hubtools.evaluation.baselines import ABOUT, FEW_SHOT, baselines, few_shot
from hubtools.evaluation.previous import difference_of_rows, previous_version
from hubtools.evaluation.scores import headlines, scores_of
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder, sha256_of

BASELINES = 1  # bumped when a baseline would be computed otherwise


def beside(
    task: TaskSpec, label_set: LabelSet, folder: TaskFolder, training: Mapping[str, Any], known: Mapping[str, Any],
    *, weights_sha256: str, few_shots: bool, repo: str | None, note: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """``baselines`` by the name that the card gives them, and ``previous`` where ``repo`` holds an earlier version.

    That version is among the baselines where it answered the same test rows; else ``previous`` says why it is not.
    None of them depends on this model or its threshold: they stay while the data, and for the version before the
    weights, are the same.

    Args:
        known: the metrics that are there, or {}.
        few_shots: whether :data:`FEW_SHOT` is asked for; one that is there stays anyhow.
    """
    mark = _mark(folder)
    kept: dict[str, Any] = known["baselines"] if known.get("baselines_of") == mark else {}
    base = [training["base"], training["base_revision"]]
    columns = {n: c for n, c in kept.items() if "version" not in c and c.get("base", base) == base}
    if not kept:
        columns = _trained(task, label_set, folder)
    if few_shots and FEW_SHOT not in columns:
        columns[FEW_SHOT] = few_shot_column(task, label_set, folder, training, note)
    if kept and known["weights_sha256"] == weights_sha256:
        before = {key: known[key] for key in ("previous",) if key in known}
        version = {n: c for n, c in kept.items() if "version" in c}
    else:
        before, version = _previous(task, label_set, folder, weights_sha256, repo, note)
    return {"baselines_of": mark, "baselines": columns | version, **before}


def _mark(folder: TaskFolder) -> str:
    """What the baselines were trained and scored on."""
    files = (sha256_of(folder.need(folder.split_file(split), "curate")) for split in ("train", "test"))
    return hashlib.sha256("".join([*files, str(BASELINES)]).encode()).hexdigest()


def _trained(task: TaskSpec, label_set: LabelSet, folder: TaskFolder) -> dict[str, Any]:
    from datasets import load_dataset

    data = load_dataset(str(folder.dataset))
    found = baselines(task, label_set, data["train"], data["test"], task.threshold)
    return {name: _column(task, scores, ABOUT[name]) for name, scores in found.items()}


def few_shot_column(
    task: TaskSpec, label_set: LabelSet, folder: TaskFolder, training: Mapping[str, Any], note: Callable[[str], None]
) -> dict[str, Any]:
    """The column of :data:`FEW_SHOT`, trained on the ``base`` that the model was trained from."""
    from datasets import load_dataset

    note(f"{task.name}: training the SetFit baseline on {training['base']}")
    data = load_dataset(str(folder.dataset))
    train, test = data["train"], data["test"]
    base, revision = training["base"], training["base_revision"]
    found = few_shot(
        base, revision, list(train["text"]), list(train["label"]), list(test["text"]), len(label_set.labels)
    )
    scores = scores_of(task, label_set, {"label": test["label"], "probabilities": found}, task.threshold)
    return _column(task, scores, ABOUT[FEW_SHOT]) | {"base": [base, revision]}


def _previous(
    task: TaskSpec, label_set: LabelSet, folder: TaskFolder, weights_sha256: str, repo: str | None,
    note: Callable[[str], None],
) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """What is to be said of the version before, and its column where it answered the same rows."""
    before = previous_version(repo, weights_sha256) if repo else None
    if before is None:
        return {}, {}
    first = before["metrics"].get("primary") or {}
    title, value, tag = first.get("title"), first.get("value"), before["tag"]
    why_not = difference_of_rows(task, folder.predictions, before["predictions"])
    previous = {key: before[key] for key in ("repo", "tag", "revision", "method")} | {
        "why_not": why_not, "title": title, "value": value
    }  # fmt: skip
    if why_not:
        had = "has no scores" if value is None else f"had {title} {value:.3f}"
        note(f"{task.name}: {repo} {tag} {had}, which is not comparable: {why_not}")
        return {"previous": previous}, {}
    import pyarrow.parquet as pq

    scores = scores_of(task, label_set, pq.read_table(before["predictions"]).to_pydict(), task.threshold)
    column = _column(task, scores, f"{repo} at {tag}, its own answers to the same test rows") | {"version": tag}
    return {"previous": previous}, {f"previous version ({tag})": column}


def _column(task: TaskSpec, scores: Mapping[str, Any], about: str) -> dict[str, Any]:
    return {"about": about, **{key: scores[key] for key, _ in headlines(task)}}
