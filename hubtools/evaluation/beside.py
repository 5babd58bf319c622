"""What stands beside a model's scores, on the same test rows: baselines, and the version published before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hubtools.evaluation.baselines import ABOUT, FEW_SHOT, baselines, few_shot
from hubtools.evaluation.previous import difference_of_rows, previous_version
from hubtools.evaluation.scores import plain_headlines, scores_of
from hubtools.spec import LabelSet, TaskSpec
from hubtools.workdir import TaskFolder


def beside(
    task: TaskSpec, label_set: LabelSet, folder: TaskFolder, weights_sha256: str, repo: str | None,
    note: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    """``baselines`` by the name that the card gives them, and ``previous`` where ``repo`` holds an earlier version.

    That version is among the baselines where it answered the same test rows; else ``previous`` says why it is not.
    """
    from datasets import load_dataset

    data = load_dataset(str(folder.dataset))
    found = baselines(task, label_set, data["train"], data["test"], task.threshold)
    columns: dict[str, Any] = {
        "baselines": {name: _column(task, scores, ABOUT[name]) for name, scores in found.items()}
    }
    before = previous_version(repo, weights_sha256) if repo else None
    if before is None:
        return columns
    first = before["metrics"].get("primary") or {}
    title, value, tag = first.get("title"), first.get("value"), before["tag"]
    why_not = difference_of_rows(task, folder.predictions, before["predictions"])
    columns["previous"] = {key: before[key] for key in ("repo", "tag", "revision")} | {
        "why_not": why_not, "title": title, "value": value
    }  # fmt: skip
    if why_not:
        had = "has no scores" if value is None else f"had {title} {value:.3f}"
        note(f"{task.name}: {repo} {tag} {had}, which is not comparable: {why_not}")
        return columns
    import pyarrow.parquet as pq

    scores = scores_of(task, label_set, pq.read_table(before["predictions"]).to_pydict(), task.threshold)
    about = f"{repo} at {tag}, its own answers to the same test rows"
    columns["baselines"][f"previous version ({tag})"] = _column(task, scores, about)
    return columns


def few_shot_column(
    task: TaskSpec, label_set: LabelSet, folder: TaskFolder, training: Mapping[str, Any], note: Callable[[str], None]
) -> dict[str, Any]:
    """The column of :data:`FEW_SHOT`, trained on the base that the model was trained from."""
    from datasets import load_dataset

    note(f"{task.name}: training the SetFit baseline on {training['base']}")
    data = load_dataset(str(folder.dataset))
    train, test = data["train"], data["test"]
    found = few_shot(
        training["base"], training["base_revision"], list(train["text"]), list(train["label"]), list(test["text"]),
        len(label_set.labels),
    )  # fmt: skip
    scores = scores_of(task, label_set, {"label": test["label"], "probabilities": found}, task.threshold)
    return _column(task, scores, ABOUT[FEW_SHOT])


def _column(task: TaskSpec, scores: Mapping[str, Any], about: str) -> dict[str, Any]:
    return {"about": about, **plain_headlines(task, scores)}
