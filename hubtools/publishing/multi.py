"""Release the one repo that answers all four questions, beside the four that answer one each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubtools.curation.licences import choose_model_licence, combine_licences
from hubtools.errors import MissingStage, VerificationFailed
from hubtools.evaluation.joint import ABOUT_HEADS, Joint, furthest
from hubtools.evaluation.thresholds import FILE as THRESHOLDS
from hubtools.publishing.cards import check_drift, lint, merged, plain, render, result_of
from hubtools.publishing.commits import Change, Release, difference, release
from hubtools.publishing.model import TOLERANCE, check_scores_belong, recorded_answers
from hubtools.records import write_json
from hubtools.tasks import MULTI, TASKS
from hubtools.workdir import TaskFolder, sha256_of, task_folder


def folders_of(work: Path) -> dict[str, TaskFolder]:
    """The work folders of the four tasks."""
    return {name: task_folder(work, name) for name in TASKS}


def check_of_one_training(work: Path) -> None:
    """Raises :class:`MissingStage` where a model is not of the joint training, or its scores are not the model's."""
    folder = task_folder(work, MULTI)
    known = folder.read(folder.training, "finetune")["weights_sha256"]
    for name, one in folders_of(work).items():
        file = one.model / "model.safetensors"
        found = sha256_of(file) if file.exists() else ""
        if found != known[name]:
            raise MissingStage(
                f"The {name} model is not the one that was trained with the others",
                expected=f"weights {known[name][:8]}, as the joint training left them",
                found=f"weights {found[:8]}, of another training" if found else "no model",
                next="hubtools finetune multi, then hubtools evaluate all and hubtools push-model all",
            )
        check_scores_belong(TASKS[name], one)


def about_heads(work: Path) -> dict[str, Any]:
    """``heads.json``: kind and labels of each head, the temperature that is folded into it, and the threshold that
    evaluation chose, where there is one."""
    folder = task_folder(work, MULTI)
    about = folder.read(folder.model / ABOUT_HEADS, "finetune")
    for name, one in folders_of(work).items():
        about[name].pop("threshold", None)
        if (one.model / THRESHOLDS).exists():
            about[name]["threshold"] = one.read(one.model / THRESHOLDS, "evaluate")["threshold"]
    return about


def rendered_multi_card(work: Path, repo: str) -> str:
    """The card from the files of the four tasks, checked.

    Raises:
        MissingStage: a task was not evaluated or not published, or its model is of another training.
    """
    check_of_one_training(work)
    folder = task_folder(work, MULTI)
    training = folder.read(folder.training, "finetune")
    rows, facts = [], {}
    for name, one in folders_of(work).items():
        published = one.read(one.published, "push-dataset")
        for kind in ("dataset", "model"):
            if kind not in published:
                raise MissingStage(
                    f"The {name} {kind} is not pushed", expected=f"the repo it was pushed to, in {one.published}",
                    found=f"{', '.join(published) or 'nothing'} alone", next=f"hubtools push-{kind} {name}",
                )  # fmt: skip
        if published["model"].get("weights_sha256") != training["weights_sha256"][name]:
            raise MissingStage(
                f"The {name} model on the Hub is of another training", expected="the same weights as here",
                found=f"{published['model']['repo']} {published['model']['tag']}", next=f"hubtools push-model {name}",
            )  # fmt: skip
        facts[name] = one.read(one.facts, "curate")
        metrics = one.read(one.metrics, "evaluate")
        rows.append({"task": TASKS[name], "metrics": metrics, "alone": _alone(metrics), **published})
    starter = sorted(name for name, found in facts.items() if found["sources"][0]["starter"])
    metadata = {
        "library_name": "transformers",
        "pipeline_tag": "feature-extraction",  # what pipeline() can do with it: the heads are a file of their own
        "license": choose_model_licence(combine_licences(found["license"]["id"] for found in facts.values())[0]),
        "language": ["en"],
        **({"base_model": training["base"], "base_model_relation": "finetune"} if training["base_revision"] else {}),
        "datasets": [row["dataset"]["repo"] for row in rows],
        "metrics": ["f1", "roc_auc"],
        "tags": ["hubtools", "semantic-router", *TASKS] + (["nano"] if training["base_note"] else [])
        + (["starter-corpus"] if starter else []),
        "model_max_length": training["arguments"]["max_length"],
        "widget": [{"text": task.examples[0], "example_title": task.title} for task in TASKS.values()],
        "model-index": [{
            "name": repo.split("/")[-1],
            "results": [result_of(row["task"], row["dataset"], _primary(row["metrics"])) for row in rows],
        }],
    }  # fmt: skip
    card = render(
        "model_cards", MULTI, metadata, repo=repo, training=training, rows=rows, starter=starter,
        heads=about_heads(work),
    )  # fmt: skip
    lint(card, "model")
    return card


def _primary(metrics: Mapping[str, Any]) -> list[tuple[str, str, Any]]:
    return [(metrics["primary"]["key"], metrics["primary"]["title"], metrics["primary"])]


def _alone(metrics: Mapping[str, Any]) -> float | None:
    """The primary metric of the version published before, where that was trained for its task by itself and answered
    the same test rows."""
    before = metrics.get("previous") or {}
    column = metrics["baselines"].get(f"previous version ({before.get('tag')})")
    if column is None or before.get("method", MULTI) == MULTI:
        return None
    return plain(column[metrics["primary"]["key"]])


def write_multi_card(work: Path, repo: str) -> Path:
    """Render the card and write it beside the weights, and what evaluation chose into ``heads.json``."""
    folder = task_folder(work, MULTI)
    card = rendered_multi_card(work, repo)
    write_json(folder.model / ABOUT_HEADS, about_heads(work))
    path = folder.model / "README.md"
    path.write_text(card)
    return path


def check_multi_card(work: Path, repo: str | None) -> Path:
    """Lint the card that is there; where ``repo`` is given, also compare it with what the files say now.

    Raises:
        CardRejected: the Hub would refuse it, or it is not what would be rendered.
    """
    folder = task_folder(work, MULTI)
    path = folder.need(folder.model / "README.md", "model-card")
    card = path.read_text()
    lint(card, "model")
    if repo is not None:
        check_drift(card, rendered_multi_card(work, repo), MULTI)
    return path


def push_multi(
    api: Any, work: Path, repo: str, *, private: bool = False, create_pr: bool = False, dry_run: bool = False
) -> Release | Change:
    """Push body, heads, card, and scores and predictions of all four; with ``dry_run`` only tell what would change.

    Raises:
        MissingStage: a task was not evaluated or not published, or its model is of another training.
    """
    card = rendered_multi_card(work, repo)
    folder = task_folder(work, MULTI)
    files: dict[str, Any] = {p.name: p for p in sorted(folder.model.iterdir()) if p.is_file()}
    files["training.json"] = folder.training
    files[ABOUT_HEADS] = (json.dumps(about_heads(work), indent=2, ensure_ascii=False) + "\n").encode()
    for name, one in folders_of(work).items():
        files |= {f"{name}/{path.name}": path for path in (one.metrics, one.predictions)}
    files["README.md"] = lambda theirs: merged(card, theirs).encode()
    if dry_run:
        return difference(api, repo, "model", files, _owned, private=private, create_pr=create_pr)
    write_multi_card(work, repo)
    scores = ", ".join(
        f"{name} {one.read(one.metrics, 'evaluate')['primary']['value']:.3f}" for name, one in folders_of(work).items()
    )
    done = release(
        api, repo, "model", files, message=f"One body, four heads: {scores}", owned=_owned, private=private,
        create_pr=create_pr,
    )  # fmt: skip
    folder.record_published("model", dataclasses.asdict(done))
    return done


def _owned(path: str) -> bool:
    """Weights of another form would stand beside ours and might be loaded instead."""
    return path.endswith((".safetensors", ".bin", ".safetensors.index.json"))


def verify_multi(repo: str, revision: str) -> dict[str, Any]:
    """Load ``repo`` at ``revision`` and compare its answers, all four in one pass, with its recorded predictions.

    Returns:
        rows compared and the largest difference of a probability.

    Raises:
        VerificationFailed: an answer differs, or the repo lacks what it needs.
    """
    rows, worst, joint = 0, 0.0, None
    for number, (name, task) in enumerate(TASKS.items()):
        texts, recorded = recorded_answers(repo, revision, f"{name}/predictions.parquet", number, MULTI)
        joint = joint or Joint(repo, revision)
        answers = [joint(text) for text in texts]
        known = recorded["tokens" if task.kind == "token" else "probabilities"][: len(texts)]
        rows, worst = rows + len(texts), max(worst, furthest(answers, known, name, task.kind))
    if worst > TOLERANCE:
        raise VerificationFailed(
            f"Model {repo!r} at {revision[:8]} answers otherwise than it was scored",
            expected=f"probabilities within {TOLERANCE:g}", found=f"{worst:.2g}", next="hubtools push-model multi",
        )  # fmt: skip
    return {"repo": repo, "revision": revision, "rows": rows, "largest_difference": worst}
