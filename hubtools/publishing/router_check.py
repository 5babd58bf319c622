"""Hold a model folder, before a push, or a published model, after it, against what the Semantic Router needs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hubtools.errors import VerificationFailed
from hubtools.records.release import RouterCheck
from hubtools.router_contract import Check, check_package, failures, table_of
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

TEXTS = 50  # that both ways of computing the answers are asked, at most


def check_model_folder(task: TaskSpec, folder: TaskFolder) -> list[Check]:
    """Check the model in ``folder`` on its first test texts or, where these are not there, on the task's examples.

    Returns:
        Checks that passed, and warnings; an empty list for a model of a family that the router does not know.

    Raises:
        VerificationFailed: the router could not load the model, or would answer otherwise.
    """
    label_set = task.label_set(folder.read_training().label_set)
    checks = _check(folder.model, task.model_labels(label_set), _read_test_texts(folder) or task.examples)
    _raise_errors(
        f"The {task.name} model in {folder.model}", task, checks, f"do that, then hubtools push-model {task.name}"
    )
    return checks


def check_published(task: TaskSpec, repo: str, revision: str, texts: Sequence[str]) -> tuple[RouterCheck, ...]:
    """Download ``repo`` at ``revision`` and return what was checked, as :func:`check_model_folder` does.

    Raises:
        VerificationFailed: the router could not load the model, or would answer otherwise.
    """
    from huggingface_hub import snapshot_download

    # Pictures apart, only what stands at the top of a repo is read by those who load a model.
    snapshot = Path(snapshot_download(repo, revision=revision, ignore_patterns=["*/*", "*.png"]))
    checks = _check(snapshot, task.model_labels(_read_label_set(task, snapshot)), texts)
    # Here the way back is another push, not another training.
    told = [replace(check, next="") for check in checks]
    _raise_errors(f"Model {repo!r} at {revision[:8]}", task, told, f"hubtools push-model {task.name}")
    return tuple(RouterCheck(name=name, result=result, summary=summary) for name, result, summary in table_of(checks))


def describe_checks(checks: Sequence[Check]) -> list[str]:
    """Return lines for the user: the warnings, then how many checks passed; none where nothing was checked."""
    if not checks:
        return []
    warnings = [check for check in checks if not check.ok]
    passed = f"{len(checks) - len(warnings)} of {len(checks)} checks of what the Semantic Router needs passed"
    return [*(f"warning: {check.file}: {check.summary}" for check in warnings), passed]


def _check(folder: Path, labels: Sequence[str], texts: Sequence[str]) -> list[Check]:
    try:
        family = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        family = "modernbert"  # so that the check names the file
    if family != "modernbert":
        return []
    return [_excuse(check) for check in check_package(folder, labels, list(texts))]


def _excuse(check: Check) -> Check:
    """Make a warning of the one error that does not stop a push.

    A model that finds no span in the self-check's texts keeps the router from starting. It is pushed all the same,
    because a small one after a few steps finds nothing anywhere: refused, nobody could try the whole way with such a
    model. For a model that is meant for the router this should be an error; nothing tells the two apart yet.
    """
    return replace(check, severity="warning") if check.name == "self-check" else check


def _raise_errors(subject: str, task: TaskSpec, checks: Sequence[Check], next: str) -> None:
    errors = [replace(check, next=check.next.replace("TASK", task.name)) for check in failures(checks)]
    if errors:
        messages = "\n".join(check.message for check in errors)
        raise VerificationFailed(
            f"{subject} fails {len(errors)} of {len(checks)} checks of what the Semantic Router needs",
            expected="a model that loads there and answers as pipeline() does",
            found=messages.replace("\n", "\n    "),
            next=next,
        )


def _read_test_texts(folder: TaskFolder) -> list[str]:
    import pyarrow.parquet as pq

    path = folder.split_file("test")
    if not path.exists():
        return []
    texts: list[str] = pq.read_table(path, columns=["text"]).slice(0, TEXTS)["text"].to_pylist()
    return texts


def _read_label_set(task: TaskSpec, snapshot: Path) -> LabelSet:
    """Return the label set that ``training.json`` of a release names; an older release may lack it."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return task.label_set(json.loads((snapshot / "training.json").read_text(encoding="utf-8"))["label_set"])
    return task.label_set()
