"""Release the one repo that answers the questions of all tasks, beside those that answer one each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.curation.languages import list_languages
from hubtools.curation.licences import choose_model_licence, combine_licences
from hubtools.errors import MissingStage
from hubtools.evaluation.examples import check_examples
from hubtools.evaluation.multitask import ABOUT_HEADS, MultitaskClassifier, find_largest_difference
from hubtools.onnx_export.current import find_export, list_files
from hubtools.publishing.cards import (
    describe_base,
    describe_hardware,
    describe_latency,
    drop_interval,
    make_result,
    name_tracking,
)
from hubtools.publishing.changes import Change, Content
from hubtools.publishing.commits import release_model
from hubtools.publishing.curves import list_curves
from hubtools.publishing.front_matter import merge_card
from hubtools.publishing.lint import check_drift, lint_card
from hubtools.publishing.manifest import FILE as MANIFEST
from hubtools.publishing.manifest import describe_manifest, make_manifest
from hubtools.publishing.model import (
    check_scores_belong,
    describe_left_out_onnx,
    describe_task,
    is_weights,
)
from hubtools.publishing.options import PushOptions
from hubtools.publishing.release_history import add_release_notes
from hubtools.publishing.release_notes import ReleaseFiles
from hubtools.publishing.released_files import ReleasedFiles
from hubtools.publishing.rendering import render_template
from hubtools.publishing.verification import check_difference, read_recorded_answers
from hubtools.records import write_json
from hubtools.records.dataset import DatasetFacts
from hubtools.records.metrics import Metrics
from hubtools.records.onnx import OnnxExport
from hubtools.records.release import Published, Verified
from hubtools.records.thresholds import THRESHOLDS
from hubtools.records.training import MultitaskRecord
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, TASKS
from hubtools.workdir import TaskFolder, sha256_of, task_folder

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True)
class TaskRow:
    """What the card says of one task.

    Attributes:
        dataset, model: its releases as a classifier of its own.
        single_task_score: the primary metric of the version published before, where that was trained for this task
            by itself and answered the same test rows; else None.
    """

    task: TaskSpec
    metrics: Metrics
    facts: DatasetFacts
    dataset: Published
    model: Published
    single_task_score: float | None

    @property
    def example(self) -> str:
        """A text of the kind that the model was scored on; none of a dataset that not everybody may read."""
        return self.metrics.examples[0].text if self.metrics.examples else self.task.examples[0]


def list_folders(work: Path) -> dict[str, TaskFolder]:
    """Return the work folders of the tasks by their names."""
    return {name: task_folder(work, name) for name in TASKS}


def check_same_training(work: Path) -> None:
    """Raise :class:`MissingStage` where a model is not of the multitask training, or its scores are not the model's."""
    # The models of the tasks are cut out of one training; each can be trained anew by itself, and is another then.
    known = task_folder(work, MULTI).read_multitask_training().weights_sha256
    for name, folder in list_folders(work).items():
        file = folder.model / "model.safetensors"
        weights = sha256_of(file) if file.exists() else ""
        if weights != known[name]:
            raise MissingStage(
                f"The {name} model is not the one that was trained with the others",
                expected=f"weights {known[name][:8]}, as the joint training left them",
                found=f"weights {weights[:8]}, of another training" if weights else "no model",
                next="hubtools finetune multi, then hubtools evaluate all and hubtools push-model all",
            )
        check_scores_belong(TASKS[name], folder)


def describe_heads(work: Path) -> dict[str, dict[str, object]]:
    """Return what ``heads.json`` is to hold: by task its head's kind and labels, the temperature that is folded into
    it, and the threshold that evaluation chose, where there is one.
    """
    folder = task_folder(work, MULTI)
    heads: dict[str, dict[str, object]] = folder.read(folder.model / ABOUT_HEADS, "finetune")
    for name, one in list_folders(work).items():
        # A task may have been scored again for another target, or with none.
        heads[name].pop("threshold", None)
        if (one.model / THRESHOLDS).exists():
            content = one.read(one.model / THRESHOLDS, "evaluate")
            heads[name]["threshold"] = TASKS[name].head.read_shipped_threshold(content)
    return heads


def render_multitask_card(work: Path, repo: str) -> str:
    """Return the card from the files of all tasks, checked.

    Raises:
        MissingStage: a task was not evaluated or not published, or its model is of another training.
    """
    check_same_training(work)
    training = task_folder(work, MULTI).read_multitask_training()
    rows = [_read_task(TASKS[name], folder, training) for name, folder in list_folders(work).items()]
    starter = sorted(row.task.name for row in rows if row.facts.sources[0].starter)
    # One result a task, in the order of TASKS: verification counts on it.
    results = [make_result(row.task, row.dataset, [(row.task.primary, row.metrics.primary)]) for row in rows]
    metadata = {
        "library_name": "transformers",
        "pipeline_tag": "feature-extraction",  # what pipeline() can do with it: the heads are a file of their own
        "license": choose_model_licence(combine_licences(row.facts.license.id for row in rows)[0]),
        "language": [*dict.fromkeys(language for row in rows for language in list_languages(row.task, row.facts))],
        **describe_base(training),
        "datasets": [row.dataset.repo for row in rows],
        "metrics": ["f1", "roc_auc"],  # the Hub's names of the four primary metrics
        "tags": [
            *("hubtools", "semantic-router", *TASKS),
            *(["nano"] if training.base_note else []),
            *(["starter-corpus"] if starter else []),
            *name_tracking(training),
        ],
        "model_max_length": training.arguments.max_length,
        "widget": [{"text": row.example, "example_title": row.task.title} for row in rows],
        "model-index": [{"name": repo.split("/")[-1], "results": results}],
    }
    onnx = find_multitask_onnx(work)[0]
    card = render_template(
        "model_cards",
        [MULTI],
        metadata,
        repo=repo,
        training=training,
        rows=rows,
        starter=starter,
        heads=describe_heads(work),
        licence=metadata["license"],
        onnx=onnx,
        latency=describe_latency(onnx, MULTI),
        hardware=describe_hardware(training),
    )
    lint_card(card, "model")
    return card


def _read_task(task: TaskSpec, folder: TaskFolder, training: MultitaskRecord) -> TaskRow:
    """Read what the card says of a task.

    Raises:
        MissingStage: it was not evaluated or not published, or what is on the Hub is of another training.
    """
    published = folder.read_published("push-dataset")
    dataset, model = published.dataset, published.model
    if dataset is None or model is None:
        missing = "dataset" if dataset is None else "model"
        there = [kind for kind, release in (("dataset", dataset), ("model", model)) if release is not None]
        raise MissingStage(
            f"The {task.name} {missing} is not pushed",
            expected=f"the repo it was pushed to, in {folder.published}",
            found=f"{', '.join(there) or 'nothing'} alone",
            next=f"hubtools push-{missing} {task.name}",
        )
    # What was pushed may be older than what is here.
    if model.weights_sha256 != training.weights_sha256[task.name]:
        raise MissingStage(
            f"The {task.name} model on the Hub is of another training",
            expected="the same weights as here",
            found=f"{model.repo} {model.tag}",
            next=f"hubtools push-model {task.name}",
        )
    metrics, facts = folder.read_metrics(), folder.read_facts()
    check_examples(task, facts, dataset, metrics)
    return TaskRow(task, metrics, facts, dataset, model, _find_single_task_score(metrics))


def _find_single_task_score(metrics: Metrics) -> float | None:
    """Return the primary metric of the version before, where it was trained alone and answered the same test rows."""
    before = metrics.previous
    # The version before answered our test rows as a baseline does, where it could be asked.
    column = metrics.baselines.get(f"previous version ({before.tag})") if before else None
    if before is None or column is None or before.method == MULTI:
        return None
    return drop_interval(getattr(column, metrics.primary.key))


def write_multitask_card(work: Path, repo: str) -> Path:
    """Write the card beside the weights, and what evaluation chose into ``heads.json``; return the card's path."""
    return _write_card(work, render_multitask_card(work, repo))


def _write_card(work: Path, card: str) -> Path:
    folder = task_folder(work, MULTI)
    write_json(folder.model / ABOUT_HEADS, describe_heads(work))
    path = folder.model / "README.md"
    path.write_text(card, encoding="utf-8")
    return path


def check_multitask_card(work: Path, repo: str | None) -> Path:
    """Lint the card that is there; where ``repo`` is given, also compare it with what the files say now.

    Raises:
        CardRejected: the Hub would refuse it, or it is not what would be rendered.
    """
    folder = task_folder(work, MULTI)
    path = folder.need(folder.model / "README.md", "model-card")
    card = path.read_text("utf-8")
    lint_card(card, "model")
    if repo is not None:
        check_drift(card, render_multitask_card(work, repo), MULTI)
    return path


def find_multitask_onnx(work: Path) -> tuple[OnnxExport | None, str]:
    """Return the record of the ONNX files of these weights, or why they must not be released."""
    metrics = {name: folder.read_metrics() for name, folder in list_folders(work).items()}
    return find_export(task_folder(work, MULTI).model, metrics)


def push_multitask(
    api: HfApi,
    work: Path,
    repo: str,
    options: PushOptions,
    *,
    verify: Callable[[str], None],
    note: Callable[[str], None],
) -> Published | Change:
    """Push body, heads, card, and scores and predictions of all tasks; on a dry run return what would change.

    Args:
        verify: called with a commit of the release on a branch that nobody reads, before it is one.
        note: takes a line about what is left out.

    Raises:
        MissingStage: a task was not evaluated or not published, or its model is of another training.
    """
    card = render_multitask_card(work, repo)
    _, left_out = find_multitask_onnx(work)
    if left_out:
        note(describe_left_out_onnx(MULTI, left_out))
    files = _list_files(work)
    options = options.without_gate()
    # In the title of the commit, so that a list of releases shows what each was worth.
    scores = ", ".join(
        f"{name} {folder.read_metrics().primary.value:.3f}" for name, folder in list_folders(work).items()
    )
    manifest = make_manifest(MULTI, None, files, card)
    content = Content(
        {**files, MANIFEST: manifest, "README.md": lambda theirs: merge_card(card, theirs).encode()},
        message=f"One body, four heads: {scores}",
        description=describe_manifest(manifest),
        # Weights of another form would stand beside ours and might be loaded instead.
        is_ours=is_weights,
    )
    folder = task_folder(work, MULTI)

    def describe(tag: str) -> ReleaseFiles:
        tasks = {name: describe_task(one) for name, one in list_folders(work).items()}
        return ReleaseFiles(tag, folder.read(folder.training, "finetune"), tasks)

    def add_notes(head: str | None) -> Content:
        return add_release_notes(api, repo, content, head, options, ([*TASKS.values()], describe))

    if not options.dry_run:
        _write_card(work, card)
    pushed = release_model(api, repo, add_notes, options, check=verify, note=lambda line: note(f"{MULTI}: {line}"))
    # As with the model of one task.
    if isinstance(pushed, Published) and not pushed.pull_request:
        folder.record_published("model", pushed)
    return pushed


def _list_files(work: Path) -> dict[str, bytes | Path]:
    """Return every file of the repo by its path, but for the card and the manifest of all others."""
    folder = task_folder(work, MULTI)
    heads = json.dumps(describe_heads(work), indent=2, ensure_ascii=False) + "\n"
    return {
        **{path.name: path for path in sorted(folder.model.iterdir()) if path.is_file() and path.name != "README.md"},
        "training.json": folder.training,
        ABOUT_HEADS: heads.encode(),
        **{
            f"{name}/{path.name}": path
            for name, one in list_folders(work).items()
            for path in (one.metrics, one.predictions)
        },
        **list_curves(folder.read_multitask_training()),
        **list_files(folder.model, find_multitask_onnx(work)[0]),
    }


def verify_multitask(released: ReleasedFiles) -> Verified:
    """Compare the answers of a release, all tasks in one pass, with its recorded predictions.

    Raises:
        VerificationFailed: an answer differs, or the repo lacks what it needs.
    """
    repo, revision = released.repo, released.revision
    rows, largest, model = 0, 0.0, None
    for number, (name, task) in enumerate(TASKS.items()):
        # Results on the card stand in the order of the tasks.
        texts, columns = read_recorded_answers(repo, revision, f"{name}/predictions.parquet", number, MULTI)
        # Downloaded once, after it is known that there are answers to compare with.
        model = model or MultitaskClassifier(repo, revision)
        answers = [model(text) for text in texts]
        rows, largest = rows + len(texts), max(largest, find_largest_difference(task.head, name, answers, columns))
    check_difference(repo, revision, largest, MULTI)
    return Verified(repo=repo, revision=revision, rows=rows, largest_difference=largest, notes=released.notes)
