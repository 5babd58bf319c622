"""What a model must beat, on the same test rows: baselines, and the version published before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from hubtools.errors import DamagedRecord
from hubtools.evaluation.predictions import read_columns
from hubtools.evaluation.previous import describe_row_difference, find_previous_version
from hubtools.heads.baselines import describe_baseline
from hubtools.heads.values import Rows
from hubtools.records import Record, from_json
from hubtools.records.metrics import PreviousVersion
from hubtools.records.scores import Baseline
from hubtools.records.training import TrainingRecord
from hubtools.task import TaskSpec
from hubtools.training.fewshot import MAX_LENGTH, SHOTS, choose_few_shot_preset, describe_few_shot_preset, draw_shots
from hubtools.workdir import TaskFolder, load_folder, sha256_of

BASELINES = 3  # bumped when a baseline would be computed otherwise

# Its name is a key of metrics.json: with another number of shots it is another baseline.
FEW_SHOT = f"SetFit, {SHOTS} shots a class"

_ABOUT_FEW_SHOT = (
    f"SetFit on {SHOTS} training rows of each class, drawn by seed 0: contrastive training of the embeddings of this "
    f"model's own base ({describe_few_shot_preset()}, {MAX_LENGTH} tokens of a text), then "
    "scikit-learn's logistic regression on them"
)

Note = Callable[[str], None]


@dataclass(frozen=True)
class BaselineScores(Record):
    """The part of ``metrics.json`` that does not depend on the model; see the record there.

    Attributes:
        weights_sha256: of the model that the previous version was looked up for.
    """

    weights_sha256: str
    baselines_of: str
    baselines: dict[str, Baseline]
    previous: PreviousVersion | None = None

    @classmethod
    def read(cls, folder: TaskFolder) -> BaselineScores:
        """Read those of ``metrics.json``, also of an earlier version; there are none where it cannot be read."""
        try:
            content = json.loads(folder.metrics.read_text("utf-8"))
            # These keys alone: the other ones may be of an earlier version, and are computed again in seconds.
            keys = ("weights_sha256", "baselines_of", "baselines", "previous")
            return from_json({key: content[key] for key in keys if key in content}, cls)
        except (OSError, ValueError, TypeError, DamagedRecord):
            return cls("", "", {})


def score_baselines(
    task: TaskSpec,
    folder: TaskFolder,
    training: TrainingRecord,
    *,
    weights_sha256: str,
    few_shot: bool,
    repo: str | None,
    note: Note,
) -> BaselineScores:
    """Score the baselines, and the newest earlier version where ``repo`` holds one.

    That version is among the baselines where it answered the same test rows; else ``previous`` says why it is not.
    None of them depends on this model or its threshold: they stay while the data, and for the version before the
    weights, are the same.

    Args:
        few_shot: whether :data:`FEW_SHOT` is asked for; one that is there stays anyhow.
    """
    labels = task.label_set(folder.read_facts().label_set).labels
    recorded, fingerprint = BaselineScores.read(folder), _compute_data_fingerprint(folder)
    kept = recorded.baselines if recorded.baselines_of == fingerprint else {}
    base = (training.base, training.base_revision)
    # A column of an earlier version depends on the weights, and SetFit's on the base that it was trained from.
    columns = {
        name: column
        for name, column in kept.items()
        if not column.version and getattr(column, "base", None) in (None, base)
    }
    if not kept:
        columns = _score_head_baselines(task, labels, folder)
    if few_shot and FEW_SHOT not in columns:
        columns[FEW_SHOT] = score_few_shot(task, labels, folder, training, note)
    if kept and recorded.weights_sha256 == weights_sha256:
        previous, versions = recorded.previous, {name: column for name, column in kept.items() if column.version}
    else:
        # Other weights may have another version before them, and the Hub is asked.
        previous, versions = _score_previous(task, labels, folder, weights_sha256, repo, note)
    return BaselineScores(weights_sha256, fingerprint, columns | versions, previous)


def _compute_data_fingerprint(folder: TaskFolder) -> str:
    """Return the fingerprint of what the baselines are trained and scored on."""
    files = (sha256_of(folder.need(folder.split_file(split), "curate")) for split in ("train", "test"))
    return hashlib.sha256("".join([*files, str(BASELINES)]).encode()).hexdigest()


def _score_head_baselines(task: TaskSpec, labels: Sequence[str], folder: TaskFolder) -> dict[str, Baseline]:
    data = load_folder(folder.dataset)
    return answer_and_score(task, labels, data["train"], data["test"])


def answer_and_score(task: TaskSpec, labels: Sequence[str], train: Rows, test: Rows) -> dict[str, Baseline]:
    """Score the head's own baselines on the rows of ``test``, by the names that the card gives them.

    Args:
        train, test: ``text``, and the column of the truth.
    """
    # Scored by the head as the model is: a baseline has no threshold of its own.
    head = task.head
    answers = head.answer_baselines(train, list(test["text"]), labels)
    truth, groups = list(head.read_truth(test)), list(test["group"])
    return {
        name: head.make_baseline(
            describe_baseline(name),
            # With groups, so that a baseline's interval is as wide as the model's.
            head.score(_join_groups(head.join_answers(truth, predictions), groups), labels, head.plain_threshold),
        )
        for name, predictions in answers.items()
    }


def _join_groups(rows: Rows, groups: Sequence[str]) -> Rows:
    return cast("Rows", {**rows, "group": groups})


def score_few_shot(
    task: TaskSpec, labels: Sequence[str], folder: TaskFolder, training: TrainingRecord, note: Note
) -> Baseline:
    """Score :data:`FEW_SHOT`, trained on the ``base`` that the model was trained from."""
    # Minutes on a CPU, so that the user is told what is going on.
    note(f"{task.name}: training the SetFit baseline on {training.base}")
    data = load_folder(folder.dataset)
    train, test = data["train"], data["test"]
    texts = list(train["text"]), list(train["label"]), list(test["text"])
    probabilities = predict_few_shot(training.base, training.base_revision, *texts, len(labels))
    rows = _join_groups(task.head.join_answers(list(test["label"]), probabilities), list(test["group"]))
    base = (training.base, training.base_revision)
    return task.head.make_baseline(_ABOUT_FEW_SHOT, task.head.score(rows, labels, task.head.plain_threshold), base=base)


def predict_few_shot(
    base: str,
    revision: str | None,
    texts: Sequence[str],
    labels: Sequence[int],
    test: Sequence[str],
    classes: int,
    seed: int = 0,
    max_length: int = MAX_LENGTH,
) -> np.ndarray:
    """Return (rows, classes): SetFit on a few rows of each class, from an encoder that is a repo or a folder.

    Args:
        max_length: tokens of a text that are read, at most.
    """
    from hubtools.training.setfit import PairTraining, train_on_pairs

    chosen = draw_shots(labels, SHOTS, seed)
    preset, _ = choose_few_shot_preset()
    few = [texts[i] for i in chosen], [labels[i] for i in chosen]
    model = train_on_pairs(base, revision, *few, PairTraining(preset, seed, max_length=max_length))
    # A class that has no training row is none of the model's: it stays at 0.
    probabilities = np.zeros((len(test), classes))
    answers = model.predict_proba(list(test), as_numpy=True, show_progress_bar=False)
    probabilities[:, model.model_head.classes_] = answers
    return probabilities


def _score_previous(
    task: TaskSpec, labels: Sequence[str], folder: TaskFolder, weights_sha256: str, repo: str | None, note: Note
) -> tuple[PreviousVersion | None, dict[str, Baseline]]:
    """Return the record of the version before, and its column where it answered the same rows."""
    release = find_previous_version(repo, weights_sha256) if repo else None
    if release is None:
        return None, {}
    why_not = describe_row_difference(task.head, folder.predictions, release.predictions)
    previous = release.make_record(why_not)
    if why_not:
        score = "has no scores" if previous.value is None else f"had {previous.title} {previous.value:.3f}"
        note(f"{task.name}: {repo} {release.tag} {score}, which is not comparable: {why_not}")
        return previous, {}
    # Scored again from its answers, so that both columns come from this version's metrics.
    scores = task.head.score(read_columns(release.predictions), labels, task.head.plain_threshold)
    about = f"{repo} at {release.tag}, its own answers to the same test rows"
    return previous, {f"previous version ({release.tag})": task.head.make_baseline(about, scores, version=release.tag)}
