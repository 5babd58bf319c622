"""Release a model: weights, card, scores and plots in one commit, then load it back as a user would."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubtools.curation.licences import OTHER
from hubtools.errors import CardRejected, MissingStage, VerificationFailed
from hubtools.evaluation.evaluate import check_trained_on, metrics_are_current
from hubtools.evaluation.other_data import FOLDER, reports_for_card
from hubtools.evaluation.predictions import read_columns
from hubtools.publishing.cards import check_drift, lint, merged, model_card
from hubtools.publishing.commits import Change, Release, difference, release
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder, sha256_of

VERIFIED_ROWS = 16
TOLERANCE = 1e-4  # batches of other shapes differ in the last bits of float32


def rendered_card(task: TaskSpec, folder: TaskFolder, repo: str) -> str:
    """The card from the files of the run, checked."""
    published = folder.read(folder.published, "push-dataset")
    metrics = folder.read(folder.metrics, "evaluate")
    facts = folder.read(folder.facts, "curate")
    training = folder.read(folder.training, "finetune")
    check_trained_on(folder, folder.read_training())
    if "dataset" not in published:
        raise MissingStage(
            f"The {task.name} dataset is not pushed", expected=f"the repo it was pushed to, in {folder.published}",
            found=f"{', '.join(published) or 'nothing'} alone", next=f"hubtools push-dataset {task.name}",
        )  # fmt: skip
    withheld = _withheld(facts, published["dataset"])
    card = model_card(
        task,
        repo,
        training=training,
        metrics=metrics,
        facts=facts,
        dataset=published["dataset"],
        texts={} if withheld else _texts_of_mistakes(task, folder, metrics),
        withheld=withheld,
        external=reports_for_card(folder, folder.read_metrics()),
    )
    lint(card, "model")
    return card


def _withheld(facts: Mapping[str, Any], dataset: Mapping[str, Any]) -> str:
    """Why a card, which may be public, shows no text of the dataset; "" where it may."""
    if facts["license"]["id"] == OTHER:
        return "the licence of a source does not allow to hand them on"
    access = dataset.get("access", "public")
    return "" if access == "public" else f"the dataset is {access}"


def _texts_of_mistakes(task: TaskSpec, folder: TaskFolder, metrics: Mapping[str, Any]) -> dict[str, str]:
    """The texts that the card shows, by row id: none of personal data."""
    import pyarrow.parquet as pq

    if task.kind == "token" or not folder.split_file("test").exists():
        return {}
    found = metrics["mistakes"]
    shown = [*(mistake for pair in found["pairs"] for mistake in pair["worst"]), *(s["worst"] for s in found["slices"])]
    wanted = {mistake["id"] for mistake in shown}
    rows = pq.read_table(folder.split_file("test"), columns=["id", "text"])
    return {i: text for i, text in zip(*(column.to_pylist() for column in rows.columns), strict=True) if i in wanted}


def write_model_card(task: TaskSpec, folder: TaskFolder, repo: str) -> Path:
    """Render the card and write it beside the weights."""
    path = folder.need(folder.model, "finetune") / "README.md"
    path.write_text(rendered_card(task, folder, repo))
    return path


def check_card(task: TaskSpec, folder: TaskFolder, repo: str | None) -> Path:
    """Lint the card in the model folder; where ``repo`` is given, also compare it with what the files say now.

    Raises:
        CardRejected: the Hub would refuse it, a picture is missing, or it is not what would be rendered.
        MissingStage: there is no card, or the scores are not those of the predictions.
    """
    path = folder.need(folder.model / "README.md", "model-card")
    card = path.read_text()
    lint(card, "model")
    missing = [name for name in re.findall(r"!\[[^\]]*\]\(([^):]+)\)", card) if not (folder.model / name).exists()]
    if missing:
        raise CardRejected(f"Pictures of the {task.name} card", expected=", ".join(missing), found="no such files",
                           next=f"hubtools evaluate {task.name} --from-predictions")  # fmt: skip
    if repo is not None:
        check_scores_follow(task, folder)
        check_drift(card, rendered_card(task, folder, repo), task.name)
    return path


def push_model(
    api: Any, task: TaskSpec, folder: TaskFolder, repo: str, *, private: bool = False, create_pr: bool = False,
    dry_run: bool = False,
) -> Release | Change:  # fmt: skip
    """Push what is in the model folder; with ``dry_run`` only tell what would change.

    Raises:
        MissingStage: the scores are not those of these weights.
    """
    card = rendered_card(task, folder, repo)
    check_scores_belong(task, folder)
    files: dict[str, Any] = {p.name: p for p in sorted(folder.model.iterdir()) if p.is_file()}
    ours = (folder.metrics, folder.training, folder.predictions, folder.validation_predictions)
    files |= {path.name: path for path in ours}
    metrics = folder.read(folder.metrics, "evaluate")
    others = [f"{FOLDER}/{report.name}.json" for report in reports_for_card(folder, folder.read_metrics())]
    files |= {name: folder.root / name for name in others}
    files["README.md"] = lambda theirs: merged(card, theirs).encode()
    if dry_run:
        return difference(api, repo, "model", files, _owned, private=private, create_pr=create_pr)
    (folder.model / "README.md").write_text(card)
    first = metrics["primary"]
    done = release(
        api, repo, "model", files, message=f"{task.title} classifier, {first['title']} {first['value']:.3f}",
        owned=_owned, private=private, create_pr=create_pr,
    )  # fmt: skip
    folder.record_published("model", dataclasses.asdict(done) | {"weights_sha256": metrics["weights_sha256"]})
    return done


def _owned(path: str) -> bool:
    """Weights of another form would stand beside ours and might be loaded instead; scores of others mislead."""
    weights = path.endswith((".safetensors", ".bin", ".safetensors.index.json")) or path == "lora_config.json"
    return weights or path.startswith(f"{FOLDER}/")


def check_scores_belong(task: TaskSpec, folder: TaskFolder) -> None:
    weights = sha256_of(folder.model / "model.safetensors")
    scored = folder.read(folder.metrics, "evaluate")["weights_sha256"]
    if scored != weights:
        raise MissingStage(
            f"The scores of {task.name!r} are those of other weights", expected=f"scores of {weights[:8]}",
            found=f"scores of {str(scored)[:8]}", next=f"hubtools evaluate {task.name}",
        )  # fmt: skip
    check_scores_follow(task, folder)


def check_scores_follow(task: TaskSpec, folder: TaskFolder) -> None:
    """Raises :class:`MissingStage` where metrics.json was not computed from the predictions that are there."""
    if not metrics_are_current(folder, folder.read_metrics()):
        raise MissingStage(
            f"The scores of {task.name!r} are not those of its predictions", expected="metrics.json made of them",
            found=f"{folder.predictions.name} or its companion was changed since",
            next=f"hubtools evaluate {task.name} --from-predictions",
        )  # fmt: skip


def verify_model(task: TaskSpec, repo: str, revision: str) -> dict[str, Any]:
    """Load ``repo`` at ``revision`` by ``pipeline()`` and compare its answers with its own ``predictions.parquet``.

    Returns:
        rows compared and the largest difference of a probability.

    Raises:
        VerificationFailed: an answer differs, or the repo lacks what it needs.
    """
    from hubtools.heads.inference import load_pipeline

    texts, recorded = recorded_answers(repo, revision, "predictions.parquet", 0, task.name)
    classifier = load_pipeline(task.head.pipeline, repo, revision)
    answers = task.head.compare_answers(classifier, texts, recorded)
    if answers.found:
        raise VerificationFailed(
            f"Model {repo!r} at {revision[:8]} finds other spans than it was scored with",
            expected=answers.expected, found=answers.found, next=f"hubtools push-model {task.name}",
        )  # fmt: skip
    worst = answers.largest
    if worst > TOLERANCE:
        raise VerificationFailed(
            f"Model {repo!r} at {revision[:8]} answers otherwise than it was scored",
            expected=f"probabilities within {TOLERANCE:g}",
            found=f"{worst:.2g}",
            next=f"hubtools push-model {task.name}",
        )
    return {"repo": repo, "revision": revision, "rows": len(texts), "largest_difference": worst}


def recorded_answers(repo: str, revision: str, file: str, number: int, name: str) -> tuple[list[str], dict[str, Any]]:
    """The first texts that a published model was scored on, and the columns of what it answered.

    Args:
        file: its predictions. number: of the result on its card that they belong to. name: what pushes it.

    Raises:
        VerificationFailed: the repo lacks what it needs.
    """
    import pyarrow as pa
    from datasets import load_dataset
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.repocard import ModelCard

    try:
        recorded = read_columns(hf_hub_download(repo, file, revision=revision))
        card = ModelCard.load(hf_hub_download(repo, "README.md", revision=revision))
        result = card.data.to_dict()["model-index"][0]["results"][number]["dataset"]
        rows = load_dataset(result["type"], split="test", revision=result["revision"])
        text_of = dict(zip(rows["id"], rows["text"], strict=True))
        return [text_of[i] for i in recorded["id"][:VERIFIED_ROWS]], recorded
    except LocalEntryNotFoundError:
        raise  # the Hub did not answer
    except (EntryNotFoundError, KeyError, IndexError, pa.ArrowException) as error:
        raise VerificationFailed(
            f"Model {repo!r} at {revision[:8]} cannot be checked",
            expected=f"a release of hubtools: {file}, and a card that names the rows it was scored on",
            found=f"{type(error).__name__}: {error}".splitlines()[0], next=f"hubtools push-model {name}",
        ) from error  # fmt: skip
