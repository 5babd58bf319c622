"""Write ``onnx/`` beside the weights: both files, measured, and int8 only where it is as good."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.errors import ExportFailed, UsageError
from hubtools.onnx_export.current import find_export
from hubtools.records import read_record, write_record
from hubtools.records.metrics import Metrics
from hubtools.records.onnx import FOLDER, LOGITS, MODEL, PARITY, QUANTISED, OnnxExport, OnnxFile, TaskParity
from hubtools.records.thresholds import THRESHOLDS, WEIGHTS, ThresholdsFile
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, TASKS
from hubtools.workdir import TaskFolder, sha256_of, task_folder

if TYPE_CHECKING:
    from hubtools.onnx_export.graph import Graph

MOST_LOST = 0.01  # of the primary metric, by int8
TOLERANCE = 1e-3  # of a probability: more than rounding means that the graph computes something else
LIBRARIES = ("onnx", "onnxruntime", "onnxscript")


@dataclass(frozen=True)
class Part:
    """A task that a model answers.

    Attributes:
        folder: the task's own, with its dataset and scores, and a classifier of these weights.
        output: of the graph.
    """

    task: TaskSpec
    folder: TaskFolder
    output: str


def export_task(task: TaskSpec, folder: TaskFolder, note: Callable[[str], None]) -> OnnxExport:
    """Write the ONNX files of a task's model; skipped while those that are there are of these weights and scores.

    Raises:
        MissingStage: there is no dataset, no model, or no scores.
        ExportFailed: torch cannot write the graph, or it answers otherwise.
    """
    check_libraries()
    from hubtools.onnx_export.graph import Classifier

    return _export(
        folder, [Part(task, folder, LOGITS)], ["model.safetensors"], lambda: Classifier(task.head, folder.model), note
    )


def export_multitask(work: Path, note: Callable[[str], None]) -> OnnxExport:
    """Write the ONNX files of the model of all tasks: one graph, an output a task; see :func:`export_task`."""
    check_libraries()
    from hubtools.onnx_export.graph import SharedClassifier

    folder = task_folder(work, MULTI)
    parts = [Part(task, task_folder(work, name), name) for name, task in TASKS.items()]
    weights = ["model.safetensors", "heads.safetensors"]
    return _export(folder, parts, weights, lambda: SharedClassifier(folder.model), note)


def check_libraries() -> None:
    """Raise :class:`UsageError` where a library that the export needs is not installed."""
    from importlib.util import find_spec

    if missing := [name for name in LIBRARIES if find_spec(name) is None]:
        raise UsageError(
            "The export to ONNX needs libraries that are not installed",
            expected=", ".join(LIBRARIES),
            found=f"no {', '.join(missing)}",
            next="pip install 'hubtools[onnx]'",
        )


def _export(
    folder: TaskFolder,
    parts: list[Part],
    weights: list[str],
    load: Callable[[], Graph],
    note: Callable[[str], None],
) -> OnnxExport:
    """Write and measure the files of the model in ``folder``.

    Args:
        weights: the names of its files of weights.
        load: makes the model that is traced.
    """
    for name in weights:
        folder.need(folder.model / name, "finetune")
    metrics = {part.task.name: part.folder.read_metrics() for part in parts}
    known, _ = find_export(folder.model, metrics)
    if known:
        note(f"{folder.task}: the ONNX files are up to date")
        return known
    # Beside the folder that is released, into which they come whole.
    fresh = folder.root / "onnx.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    record = _write_and_measure(folder, parts, weights, load(), metrics, fresh)
    write_record(fresh / PARITY, record)
    shutil.rmtree(folder.model / FOLDER, ignore_errors=True)
    fresh.rename(folder.model / FOLDER)
    write_thresholds(folder, record)
    for line in _describe(folder.task, record):
        note(line)
    return record


def write_thresholds(folder: TaskFolder, record: OnnxExport) -> None:
    """Give each ONNX file its entry in ``thresholds.json``, where the model has that file.

    That of fp32, which answers as the weights do, is theirs. Evaluation writes the file anew, without these entries,
    where it chooses anew; the export counts as stale then.
    """
    path = folder.model / THRESHOLDS
    # The model of several tasks has its thresholds in heads.json, one a task.
    if len(record.tasks) > 1 or not path.exists():
        return
    [parity] = record.tasks.values()
    known = read_record(path, ThresholdsFile, task=folder.task, command="evaluate")
    chosen = {MODEL: known.weights[WEIGHTS], QUANTISED: parity.int8.thresholds}
    entries = {f"{FOLDER}/{name}": chosen[name] for name in record.files}
    weights = {WEIGHTS: known.weights[WEIGHTS]} | {name: entry for name, entry in entries.items() if entry}
    write_record(path, replace(known, weights=weights))


def _write_and_measure(
    folder: TaskFolder,
    parts: list[Part],
    weights: list[str],
    model: Graph,
    metrics: Mapping[str, Metrics],
    fresh: Path,
) -> OnnxExport:
    from transformers import AutoConfig, AutoTokenizer

    from hubtools.onnx_export.graph import quantise, write_graph
    from hubtools.onnx_export.measure import measure_speed

    try:
        write_graph(model, fresh / MODEL)
    except (RuntimeError, ValueError) as error:  # of the exporter, for a family of models that it cannot trace
        raise ExportFailed(
            f"The {folder.task} model cannot be written as ONNX",
            expected="a model that torch's exporter can trace",
            found=f"{type(error).__name__}: {error}".splitlines()[0],
            next="train on ModernBERT, whose export is tested",
        ) from error
    quantise(fresh / MODEL, fresh / QUANTISED)
    tasks = _measure_parity(parts, model, metrics, fresh)
    withheld = _find_reason_to_withhold(parts, tasks)
    int8_bytes = (fresh / QUANTISED).stat().st_size
    files = {"fp32": fresh / MODEL, "int8": fresh / QUANTISED}
    if withheld:
        files.pop("int8").unlink()
    tokenizer = AutoTokenizer.from_pretrained(folder.model)
    vocab = AutoConfig.from_pretrained(folder.model).vocab_size
    return OnnxExport(
        weights_sha256={name: sha256_of(folder.model / name) for name in weights},
        weights_bytes=sum((folder.model / name).stat().st_size for name in weights),
        files={path.name: OnnxFile(bytes=path.stat().st_size, sha256=sha256_of(path)) for path in files.values()},
        int8_bytes=int8_bytes,
        tasks=tasks,
        withheld=withheld,
        speed=measure_speed(model, files, tokenizer, vocab),
        versions={name: version(name) for name in ("torch", *LIBRARIES)},
    )


def _measure_parity(
    parts: list[Part], model: Graph, metrics: Mapping[str, Metrics], fresh: Path
) -> dict[str, TaskParity]:
    """Ask both files the whole test split of each task.

    Raises:
        ExportFailed: the fp32 file answers otherwise than torch.
    """
    from datasets import load_dataset

    from hubtools.heads.inference import load_pipeline
    from hubtools.onnx_export.measure import compare_with_torch, score_int8
    from hubtools.onnx_export.session import open_session, replace_model

    fp32, int8 = (open_session(fresh / name) for name in (MODEL, QUANTISED))
    tasks = {}
    for part in parts:
        task, folder = part.task, part.folder
        data = load_dataset(str(folder.need(folder.dataset, "curate")))
        classifier = load_pipeline(task.head.pipeline, str(folder.model))
        parity = compare_with_torch(model, fp32, part.output, classifier.tokenizer, list(data["test"]["text"]))
        if parity.largest_difference > TOLERANCE:
            raise ExportFailed(
                f"The ONNX file of {task.name!r} answers otherwise than its weights",
                expected=f"probabilities within {TOLERANCE:g} on the test split",
                found=f"{parity.largest_difference:.2g}, and {parity.differing} of {parity.answers} other answers",
                next="train on ModernBERT, whose export is tested",
            )
        labels = task.label_set(folder.read_facts().label_set).labels
        scores = score_int8(task, labels, data, replace_model(classifier, int8, part.output), metrics[task.name])
        tasks[task.name] = TaskParity(scores_of=metrics[task.name].fingerprint, fp32=parity, int8=scores)
    return tasks


def _find_reason_to_withhold(parts: list[Part], tasks: Mapping[str, TaskParity]) -> str:
    """Return why the int8 file is not released; "" where it loses little in every task."""
    reasons = []
    for part in parts:
        scores = tasks[part.task.name].int8
        lost = (scores.torch - scores.int8) * (1 if part.task.primary.greater_is_better else -1)
        if not lost <= MOST_LOST:  # a score that is no number is no better
            of_task = f" of {part.task.name}" if len(parts) > 1 else ""
            reasons.append(f"{scores.title}{of_task} {scores.int8:.3f} in place of {scores.torch:.3f}")
    return ", ".join(reasons)


def _describe(name: str, record: OnnxExport) -> Iterator[str]:
    """Yield what was found, a line a file."""
    megabytes = {file: about.bytes / 1e6 for file, about in record.files.items()}
    largest = max(parity.fp32.largest_difference for parity in record.tasks.values())
    differing = sum(parity.fp32.differing for parity in record.tasks.values())
    answers = sum(parity.fp32.answers for parity in record.tasks.values())
    yield (
        f"{name}: {MODEL} {megabytes[MODEL]:.1f} MB, {differing} of {answers} answers differ from torch's "
        f"(largest difference {largest:.1g})"
    )
    if record.withheld:
        yield f"{name}: {QUANTISED} is withheld: {record.withheld}"
        return
    scores = ", ".join(
        f"{parity.int8.title} {parity.int8.int8:.3f} (torch {parity.int8.torch:.3f})"
        for parity in record.tasks.values()
    )
    yield f"{name}: {QUANTISED} {megabytes[QUANTISED]:.1f} MB, {scores}"
