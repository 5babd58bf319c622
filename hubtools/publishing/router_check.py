"""Hold a model folder, before a push, or a published model, after it, against what the Semantic Router needs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hubtools.records import read_object, write_record
from hubtools.records.release import ROUTER_REPORT, RouterCheck, RouterReport
from hubtools.router_contract import CONTRACT, FAMILY, Check, check_package, raise_failures, read_family, table_of
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder, sha256_of


def check_model_folder(task: TaskSpec, folder: TaskFolder, *, skip: bool = False) -> RouterReport:
    """Check the model in ``folder`` on its whole test split or, where that is not there, on the task's examples.

    Args:
        skip: check nothing, and let the report say so.

    Raises:
        VerificationFailed: the router could not load the model, would not start with it, or would answer otherwise.
    """
    family = read_family(folder.model)
    report = RouterReport(
        contract=CONTRACT,
        weights_sha256=sha256_of(folder.need(folder.model / "model.safetensors", "finetune")),
        skipped=skip,
        family=family,
        max_tokens=None,
        texts=0,
        different=0,
        checks=[],
    )
    if skip or family != FAMILY:
        return report
    label_set = task.label_set(folder.read_training().label_set)
    texts = _read_test_texts(folder) or list(task.examples)
    checks = check_package(folder.model, task.model_labels(label_set), texts)
    # What the router merely puts up with, a training of ours does not leave.
    raise_failures(
        f"The {task.name} model in {folder.model}",
        task.name,
        checks,
        f"do that, then hubtools push-model {task.name}",
        strict=True,
    )
    config = folder.read(folder.model / "config.json", "finetune")
    return replace(
        report,
        max_tokens=int(config["max_position_embeddings"]),
        texts=len(texts),
        different=sum(int(check.numbers.get("different", 0)) for check in checks),
        checks=_list_checks(checks),
    )


def write_report(folder: TaskFolder, report: RouterReport) -> None:
    """Write ``router.json`` beside the weights, where it becomes a part of the release."""
    write_record(folder.model / ROUTER_REPORT, report)


def check_published(task: TaskSpec, repo: str, revision: str, texts: Sequence[str]) -> tuple[RouterCheck, ...]:
    """Download ``repo`` at ``revision`` and return what was checked; nothing where its push was to check nothing.

    Raises:
        VerificationFailed: the router could not load the model, would not start with it, or would answer otherwise.
    """
    from huggingface_hub import snapshot_download

    # Pictures apart, only what stands at the top of a repo is read by those who load a model.
    snapshot = Path(snapshot_download(repo, revision=revision, ignore_patterns=["*/*", "*.png"]))
    report = read_object(snapshot / ROUTER_REPORT)
    if read_family(snapshot) != FAMILY or report.get("skipped") is True:
        return ()
    checks = check_package(snapshot, task.model_labels(_read_label_set(task, snapshot)), list(texts))
    # Here the way back is another push, not another training.
    told = [replace(check, next="") for check in checks]
    raise_failures(
        f"Model {repo!r} at {revision[:8]}",
        task.name,
        told,
        f"hubtools push-model {task.name}",
        # Of a release without a report, older or of somebody else, the router's own patience is the measure.
        strict=bool(report),
    )
    return tuple(_list_checks(checks))


def describe_report(report: RouterReport) -> list[str]:
    """Return lines for the user: the warnings, then how many checks passed; none where nothing was checked."""
    if not report.checks:
        return []
    warnings = [check for check in report.checks if check.result != "passed"]
    passed = f"{len(report.checks) - len(warnings)} of {len(report.checks)} checks of what the Semantic Router needs"
    return [*(f"warning: {check.summary}" for check in warnings), f"{passed} passed"]


def _list_checks(checks: Sequence[Check]) -> list[RouterCheck]:
    return [RouterCheck(name=name, result=result, summary=summary) for name, result, summary in table_of(checks)]


def _read_test_texts(folder: TaskFolder) -> list[str]:
    import pyarrow.parquet as pq

    path = folder.split_file("test")
    if not path.exists():
        return []
    texts: list[str] = pq.read_table(path, columns=["text"])["text"].to_pylist()
    return texts


def _read_label_set(task: TaskSpec, snapshot: Path) -> LabelSet:
    """Return the label set that ``training.json`` of a release names; an older release may lack it."""
    with contextlib.suppress(KeyError):
        return task.label_set(read_object(snapshot / "training.json")["label_set"])
    return task.label_set()
