"""Release a model: weights, card, scores and plots in one commit."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.curation.licences import OTHER
from hubtools.errors import CardRejected, MissingStage
from hubtools.evaluation.evaluate import are_metrics_current, check_trained_on
from hubtools.evaluation.other_data import FOLDER, list_reports_for_card
from hubtools.publishing.cards import ModelRun, render_model_card
from hubtools.publishing.commits import Change, Files, compare_with_hub, release
from hubtools.publishing.front_matter import merge_card
from hubtools.publishing.lint import check_drift, lint_card
from hubtools.publishing.options import PushOptions
from hubtools.publishing.router_check import check_model_folder, describe_checks
from hubtools.records.dataset import DatasetFacts
from hubtools.records.metrics import Metrics
from hubtools.records.release import Published
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder, sha256_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi


def render_card(task: TaskSpec, folder: TaskFolder, repo: str) -> str:
    """Return the model's card from the files of the run, checked.

    Raises:
        CardRejected: the Hub would refuse it.
        MissingStage: a file is missing, or the dataset is not pushed.
    """
    published = folder.read_published("push-dataset")
    metrics = folder.read_metrics()
    facts = folder.read_facts()
    training = folder.read_training()
    check_trained_on(folder, training)  # else the card would describe another dataset
    if published.dataset is None:
        raise MissingStage(
            f"The {task.name} dataset is not pushed",
            expected=f"the repo it was pushed to, in {folder.published}",
            found="model alone" if published.model else "nothing alone",
            next=f"hubtools push-dataset {task.name}",
        )
    # A model card can be read by everybody, whoever may read the dataset.
    withheld = _find_reason_to_withhold(facts, published.dataset)
    run = ModelRun(
        training,
        metrics,
        facts,
        published.dataset,
        texts={} if withheld else _read_texts_shown(task, folder, metrics),
        withheld=withheld,
        other_data=list_reports_for_card(folder, metrics),
    )
    card = render_model_card(task, repo, run)
    lint_card(card, "model")
    return card


def _find_reason_to_withhold(facts: DatasetFacts, dataset: Published) -> str:
    """Return why a card, which may be public, shows no text of the dataset; "" where it may."""
    if facts.license.id == OTHER:
        return "the licence of a source does not allow to hand them on"
    return "" if dataset.access == "public" else f"the dataset is {dataset.access}"


def _read_texts_shown(task: TaskSpec, folder: TaskFolder, metrics: Metrics) -> dict[str, str]:
    """Return the texts that the card shows, by row id."""
    import pyarrow.parquet as pq

    wanted = task.head.list_shown_rows(metrics.mistakes)
    if not wanted or not folder.split_file("test").exists():
        return {}
    rows = pq.read_table(folder.split_file("test"), columns=["id", "text"])
    # By position, as the columns were asked for: a table keeps that order.
    texts = zip(*(column.to_pylist() for column in rows.columns), strict=True)
    return {row_id: text for row_id, text in texts if row_id in wanted}


def write_model_card(task: TaskSpec, folder: TaskFolder, repo: str) -> Path:
    """Render the card, write it beside the weights, and return its path."""
    path = folder.need(folder.model, "finetune") / "README.md"
    path.write_text(render_card(task, folder, repo))
    return path


def check_card(task: TaskSpec, folder: TaskFolder, repo: str | None) -> Path:
    """Lint the card in the model folder; where ``repo`` is given, also compare it with what the files say now.

    Raises:
        CardRejected: the Hub would refuse it, a picture is missing, or it is not what would be rendered.
        MissingStage: there is no card, or the scores are not those of the predictions.
    """
    path = folder.need(folder.model / "README.md", "model-card")
    card = path.read_text()
    lint_card(card, "model")
    # Pictures of the release are named by their file; those of an address are not ours to check.
    missing = [name for name in re.findall(r"!\[[^\]]*\]\(([^):]+)\)", card) if not (folder.model / name).exists()]
    if missing:
        raise CardRejected(
            f"Pictures of the {task.name} card",
            expected=", ".join(missing),
            found="no such files",
            next=f"hubtools evaluate {task.name} --from-predictions",
        )
    # What would be rendered names the repo: without one there is nothing to compare with.
    if repo is not None:
        check_scores_follow(task, folder)
        check_drift(card, render_card(task, folder, repo), task.name)
    return path


def push_model(
    api: HfApi, task: TaskSpec, folder: TaskFolder, repo: str, options: PushOptions, note: Callable[[str], None]
) -> Published | Change:
    """Push what is in the model folder; on a dry run return what would change.

    Args:
        note: takes a line about what was checked.

    Raises:
        MissingStage: the scores are not those of these weights.
        VerificationFailed: the Semantic Router could not load the model, or would answer otherwise.
    """
    # Whatever would be wrong on the Hub is found before anything is uploaded.
    card = render_card(task, folder, repo)
    check_scores_belong(task, folder)
    checks = check_model_folder(task, folder)
    metrics = folder.read_metrics()
    files = _list_files(folder, card, metrics)
    options = options.without_gate()
    if options.dry_run:
        return compare_with_hub(api, repo, "model", files, _is_ours, options)
    for line in describe_checks(checks):
        note(f"{task.name}: {line}")
    (folder.model / "README.md").write_text(card)
    pushed = release(
        api,
        repo,
        "model",
        files,
        message=f"{task.title} classifier, {metrics.primary.title} {metrics.primary.value:.3f}",
        is_ours=_is_ours,
        options=options,
    )
    # With the weights, so that a later command can tell whether the model here is still the one on the Hub.
    folder.record_published("model", replace(pushed, weights_sha256=metrics.weights_sha256))
    return pushed


def _list_files(folder: TaskFolder, card: str, metrics: Metrics) -> Files:
    """Return every file of the model repo by its path; the README is merged with the one that is there."""
    # What its scores were computed from goes along: anybody can compute them again, and verify the model by them.
    scores = (folder.metrics, folder.training, folder.predictions, folder.validation_predictions)
    reports = [f"{FOLDER}/{report.name}.json" for report in list_reports_for_card(folder, metrics)]
    return {
        **{path.name: path for path in sorted(folder.model.iterdir()) if path.is_file()},
        **{path.name: path for path in scores},
        **{name: folder.root / name for name in reports},
        "README.md": lambda theirs: merge_card(card, theirs).encode(),
    }


def _is_ours(path: str) -> bool:
    """Say whether a file that we do not push is deleted.

    Weights of another form would stand beside ours and might be loaded instead; scores of other weights mislead.
    """
    return is_weights(path) or path == "lora_config.json" or path.startswith(f"{FOLDER}/")


def is_weights(path: str) -> bool:
    """Say whether a file of a repo holds weights, or tells where they are."""
    return path.endswith((".safetensors", ".bin", ".safetensors.index.json"))


def check_scores_belong(task: TaskSpec, folder: TaskFolder) -> None:
    """Compare the weights in the model folder with those that were scored.

    Raises:
        MissingStage: they are others, or the scores are not those of the predictions.
    """
    # By content: a model of another training may have the same name, shape and date.
    weights = sha256_of(folder.model / "model.safetensors")
    scored = folder.read_metrics().weights_sha256
    if scored != weights:
        raise MissingStage(
            f"The scores of {task.name!r} are those of other weights",
            expected=f"scores of {weights[:8]}",
            found=f"scores of {scored[:8]}",
            next=f"hubtools evaluate {task.name}",
        )
    check_scores_follow(task, folder)


def check_scores_follow(task: TaskSpec, folder: TaskFolder) -> None:
    """Raise :class:`MissingStage` where metrics.json was not computed from the predictions that are there."""
    if not are_metrics_current(folder, folder.read_metrics()):
        raise MissingStage(
            f"The scores of {task.name!r} are not those of its predictions",
            expected="metrics.json made of them",
            found=f"{folder.predictions.name} or its companion was changed since",
            next=f"hubtools evaluate {task.name} --from-predictions",
        )
