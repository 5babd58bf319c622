"""Load a published model back, as a user would, and compare its answers with those that it was scored with."""

from __future__ import annotations

from dataclasses import replace

from hubtools.errors import VerificationFailed
from hubtools.evaluation.predictions import read_columns
from hubtools.heads.values import Rows
from hubtools.records.release import Verified
from hubtools.task import TaskSpec

VERIFIED_ROWS = 16  # enough to see that weights, tokenizer and labels are those that were scored
TOLERANCE = 1e-4  # batches of other shapes differ in the last bits of float32


def verify_model(task: TaskSpec, repo: str, revision: str) -> Verified:
    """Load ``repo`` at ``revision`` by ``pipeline()`` and compare its answers with its own ``predictions.parquet``.

    Raises:
        VerificationFailed: an answer differs, or the repo lacks what it needs.
    """
    texts, columns = read_recorded_answers(repo, revision, "predictions.parquet", 0, task.name)
    return _compare_answers(task, repo, revision, texts, columns)


def verify_release(task: TaskSpec, repo: str, revision: str) -> Verified:
    """Check what the Semantic Router needs of ``repo`` at ``revision``, then do as :func:`verify_model` does.

    Raises:
        VerificationFailed: a check fails, an answer differs, or the repo lacks what it needs.
    """
    from hubtools.publishing.router_check import check_published

    texts, columns = read_recorded_answers(repo, revision, "predictions.parquet", 0, task.name)
    checks = check_published(task, repo, revision, texts)
    return replace(_compare_answers(task, repo, revision, texts, columns), router_checks=checks)


def _compare_answers(task: TaskSpec, repo: str, revision: str, texts: list[str], columns: Rows) -> Verified:
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
