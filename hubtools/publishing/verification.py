"""Verify a published model as a stranger would: its files, its numbers, what the router needs, and its answers."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools import __version__
from hubtools.errors import CardRejected, DamagedRecord, MissingStage, UsageError, VerificationFailed, read_first_line
from hubtools.evaluation.evaluate import compute_metrics
from hubtools.evaluation.multitask import ABOUT_HEADS
from hubtools.evaluation.other_data import FOLDER
from hubtools.evaluation.predictions import Predictions, read_columns
from hubtools.heads.values import Rows
from hubtools.publishing.front_matter import START, split_card, take_our_part
from hubtools.publishing.lint import check_drift
from hubtools.publishing.manifest import FILE as MANIFEST
from hubtools.publishing.manifest import hash_metadata
from hubtools.publishing.model import TASK_FILE, render_card
from hubtools.publishing.released_files import Defect, ReleasedFiles, download_release, refuse_defects
from hubtools.records import read_object, to_json
from hubtools.records.release import Manifest, Published, Verified
from hubtools.records.thresholds import THRESHOLDS, WEIGHTS, find_entry
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS
from hubtools.workdir import TaskFolder

if TYPE_CHECKING:
    from huggingface_hub import HfApi

VERIFIED_ROWS = 16  # enough to see that weights, tokenizer and labels are those that were scored
TOLERANCE = 1e-4  # batches of other shapes differ in the last bits of float32
SAME = 1e-6  # versions of numpy and scipy differ in the last digits of a score

# Keys of metrics.json that do not follow from the predictions: baselines depend on the dataset, plots are files, and
# robustness asks the model what the test split does not hold.
_NOT_COMPUTED = {"baselines_of", "baselines", "previous", "plots", "robustness"}


def verify_release(api: HfApi, repo: str, revision: str = "main", task: TaskSpec | None = None) -> Verified:
    """Check a published model, of one task or of all four, without anything of the machine that released it.

    In this order: every file against the manifest that the commit names; every number of ``metrics.json``,
    ``thresholds.json`` and the card against the predictions; labels, configuration, tokenizer and weights against what
    the Semantic Router needs; then a sample of the answers, asked by ``pipeline()``.

    Args:
        revision: a commit, tag or branch.
        task: None for the one that the repo names, which is a built-in one or described by its ``task.yaml``.

    Raises:
        VerificationFailed: something of this is not so; the message names file and next command.
        UsageError: the repo does not say which task it is of.
    """
    from hubtools.publishing.router_check import check_published

    released = download_release(api, repo, revision)
    if ABOUT_HEADS in released.files:
        from hubtools.publishing.multitask import verify_multitask

        return verify_multitask(released)
    task = task or find_task_of(released)
    if released.manifest:
        _check_numbers(task, released, released.manifest)
    texts, columns = read_recorded_answers(repo, released.revision, "predictions.parquet", 0, task.name)
    checks = check_published(task, repo, released.revision, texts)
    verified = compare_answers(task, repo, released.revision, texts, columns)
    return replace(verified, router_checks=checks, notes=released.notes)


def find_task_of(released: ReleasedFiles) -> TaskSpec:
    """Return the task that a release is of; raises :class:`UsageError` where it does not say."""
    from hubtools.tasks.file import read_task_file

    # Data, read by the parser of task files: nothing in it is run.
    if (path := released.folder / TASK_FILE).exists():
        return read_task_file(path)
    recorded = read_object(released.folder / "metrics.json").get("task")
    # The oldest releases say it by their name alone, which begins with it.
    ours = (task for task in TASKS if released.repo.split("/")[-1].startswith(task))
    name = released.manifest.task if released.manifest else recorded or next(ours, None)
    if name not in TASKS:
        raise UsageError(
            f"Model {released.repo!r} does not say which task it is of",
            expected="one of " + ", ".join(TASKS) + f", or a {TASK_FILE}",
            found=str(name or "none"),
            next=f"hubtools verify {released.repo} --task TASK, or --task-file FILE",
        )
    return TASKS[str(name)]


def _check_numbers(task: TaskSpec, released: ReleasedFiles, manifest: Manifest) -> None:
    """Compute every number again from the predictions, and render the card again from the files.

    Raises:
        VerificationFailed: a number is another, or the card does not say what the files do.
    """
    if manifest.dataset is None:
        defects = [Defect(MANIFEST, "the dataset that the model was scored on", "none named")]
    else:
        with _make_work_folder(task, released, manifest.dataset) as folder:
            defects = [*_find_other_numbers(task, folder)]
            # Another version may word a card otherwise; that it is the released one, the manifest has told.
            if not defects and manifest.hubtools == __version__:
                defects += _compare_rendered_card(task, folder, released)
    refuse_defects(released.repo, released.revision, defects, task.name)


@contextlib.contextmanager
def _make_work_folder(task: TaskSpec, released: ReleasedFiles, dataset: Published) -> Iterator[TaskFolder]:
    """Lay a release out as the work folder that it came from, so that the same functions compute and render it.

    Args:
        dataset: that it was scored on.
    """
    from huggingface_hub import hf_hub_download

    with tempfile.TemporaryDirectory() as scratch:
        folder = TaskFolder(Path(scratch) / task.name)
        at_root = {path.name for path in (folder.metrics, folder.training, folder.facts, folder.gate, folder.unseen)}
        at_root |= {folder.predictions.name, folder.validation_predictions.name}
        for path in sorted(released.files):
            root = folder.root if path in at_root or path.startswith(f"{FOLDER}/") else folder.model
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(released.folder / path, root / path)
        folder.record_published("dataset", dataset)
        # Only a card that shows texts needs them, and these everybody may read.
        if dataset.access == "public":
            split = folder.split_file("test")
            name = split.relative_to(folder.dataset).as_posix()
            file = hf_hub_download(dataset.repo, name, repo_type="dataset", revision=dataset.revision)
            split.parent.mkdir(parents=True)
            shutil.copyfile(file, split)
        yield folder


def _find_other_numbers(task: TaskSpec, folder: TaskFolder) -> Iterator[Defect]:
    try:
        metrics = folder.read_metrics()
        test, validation = (
            Predictions.read(folder, path) for path in (folder.predictions, folder.validation_predictions)
        )
        labels = task.label_set(folder.read_facts().label_set).labels
    except (MissingStage, KeyError) as error:
        yield Defect("metrics.json", "the files of a release, as this version reads them", read_first_line(error))
        return
    expected = list(task.model_labels(task.label_set(folder.read_facts().label_set)))
    if test.about.get("labels") != expected:
        yield Defect("predictions.parquet", f"answers with the labels {expected}", str(test.about.get("labels")))
        return
    computed = compute_metrics(task, labels, test, validation, metrics.target)
    for key, recorded in to_json(metrics).items():
        if key not in _NOT_COMPUTED:
            yield from _compare_values(f"metrics.json: {key}", to_json(computed).get(key), recorded)
    if computed.thresholds:
        content = folder.read(folder.model / THRESHOLDS, "evaluate")
        # Of other files of weights the predictions say nothing.
        yield from _compare_values(f"{THRESHOLDS}: {WEIGHTS}", to_json(computed.thresholds), find_entry(content))
    temperature = folder.model / "calibration.json"
    if temperature.exists():
        recorded = folder.read(temperature, "finetune")["temperature"]
        yield from _compare_values("calibration.json: temperature", computed.calibration.temperature, recorded)


def _compare_values(where: str, computed: object, recorded: object) -> Iterator[Defect]:
    """Yield each place at which two JSON values differ by more than the last digits."""
    if isinstance(computed, dict) and isinstance(recorded, dict):
        for key in sorted(computed.keys() | recorded.keys()):
            yield from _compare_values(f"{where}.{key}", computed.get(key), recorded.get(key))
    elif isinstance(computed, list | tuple) and isinstance(recorded, list) and len(computed) == len(recorded):
        for number, pair in enumerate(zip(computed, recorded, strict=True)):
            yield from _compare_values(f"{where}[{number}]", *pair)
    elif isinstance(computed, float) and isinstance(recorded, int | float):
        both_undefined = computed != computed and recorded != recorded
        if not both_undefined and not abs(computed - recorded) <= SAME * max(1.0, abs(computed)):
            yield Defect(where, f"{computed!r}, as the predictions have it", repr(recorded))
    elif computed != recorded:
        yield Defect(where, f"{computed!r}, as the predictions have it", repr(recorded))


def _compare_rendered_card(task: TaskSpec, folder: TaskFolder, released: ReleasedFiles) -> list[Defect]:
    try:
        metadata, body = split_card(render_card(task, folder, released.repo))
        theirs, their_body = split_card((released.folder / "README.md").read_text(encoding="utf-8"))
        # Our part alone: what stands around it, and where, is a person's.
        check_drift(take_our_part(their_body) or "", take_our_part(body) or "", task.name)
    except (CardRejected, MissingStage, DamagedRecord) as error:
        return [Defect("README.md", error.expected or "the card of these files", error.found or error.subject)]
    # Our title and sentence stand above the mark, among what a person may have written there.
    above = {line.rstrip() for line in their_body.partition(START)[0].splitlines()}
    for line in body.partition(START)[0].splitlines():
        if line.rstrip() and line.rstrip() not in above:
            return [Defect("README.md", line[:160], "no such line above our part of the card")]
    if hash_metadata(theirs, [*metadata]) != hash_metadata(metadata, [*metadata]):
        return [Defect("README.md", "the front matter of these files", "another value of one of its keys")]
    return []


def compare_answers(task: TaskSpec, repo: str, revision: str, texts: list[str], columns: Rows) -> Verified:
    """Ask a published model by ``pipeline()`` and compare with what it answered when it was scored.

    Raises:
        VerificationFailed: an answer differs.
    """
    from hubtools.heads.inference import load_pipeline

    # By pipeline(), as the card tells a user to do: no code of ours answers.
    classifier = load_pipeline(task.head.pipeline, repo, revision)
    difference = task.head.compare_answers(classifier, texts, columns)
    if difference.answered:
        raise VerificationFailed(
            f"Model {repo!r} at {revision[:8]} finds other spans than it was scored with",
            expected=difference.recorded,
            found=difference.answered,
            next=f"hubtools push-model {task.name}",
        )
    check_difference(repo, revision, difference.largest, task.name)
    return Verified(repo=repo, revision=revision, rows=len(texts), largest_difference=difference.largest)


def check_difference(repo: str, revision: str, largest: float, name: str) -> None:
    """Raise :class:`VerificationFailed` where the largest difference of a probability is no rounding error.

    Args:
        name: what ``push-model`` calls the model.
    """
    if largest > TOLERANCE:
        raise VerificationFailed(
            f"Model {repo!r} at {revision[:8]} answers otherwise than it was scored",
            expected=f"probabilities within {TOLERANCE:g}",
            found=f"{largest:.2g}",
            next=f"hubtools push-model {name}",
        )


def read_recorded_answers(repo: str, revision: str, file: str, number: int, name: str) -> tuple[list[str], Rows]:
    """Read the first texts that a published model was scored on, and the columns of what it answered.

    Args:
        file: its predictions.
        number: of the result on its card that they belong to.
        name: what ``push-model`` calls the model.

    Raises:
        VerificationFailed: the repo lacks what it needs.
    """
    import pyarrow as pa
    from datasets import load_dataset
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.repocard import ModelCard

    try:
        columns = read_columns(hf_hub_download(repo, file, revision=revision))
        card = ModelCard.load(hf_hub_download(repo, "README.md", revision=revision))
        # The card names the release of the dataset: its rows may have changed since.
        result = card.data.to_dict()["model-index"][0]["results"][number]["dataset"]
        rows = load_dataset(result["type"], split="test", revision=result["revision"])
        text_of = dict(zip(rows["id"], rows["text"], strict=True))
        return [text_of[i] for i in columns["id"][:VERIFIED_ROWS]], columns
    except LocalEntryNotFoundError:
        raise  # the Hub did not answer
    except (EntryNotFoundError, KeyError, IndexError, pa.ArrowException) as error:
        raise VerificationFailed(
            f"Model {repo!r} at {revision[:8]} cannot be checked",
            expected=f"a release of hubtools: {file}, and a card that names the rows it was scored on",
            found=f"{type(error).__name__}: {error}".splitlines()[0],
            next=f"hubtools push-model {name}",
        ) from error
