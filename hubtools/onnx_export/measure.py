"""How an ONNX file answers: against torch on the test split, by its own scores, and how fast."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch

from hubtools.evaluation.predictions import predictions_table
from hubtools.heads.curves import measure_curve
from hubtools.heads.inference import BATCH
from hubtools.heads.values import Pipeline, Rows
from hubtools.onnx_export.graph import INPUTS, Graph
from hubtools.onnx_export.session import open_session, run_session
from hubtools.records.metrics import Metrics
from hubtools.records.onnx import Fp32Parity, Int8Scores, Latency, Milliseconds, Speed
from hubtools.task import TaskSpec

if TYPE_CHECKING:
    from datasets import DatasetDict
    from onnxruntime import InferenceSession
    from transformers import PreTrainedTokenizerBase

LENGTHS = (32, 128, 512)  # tokens of the texts that speed is measured with
CALLS, FEWEST_CALLS, SECONDS = 50, 7, 0.4  # at each length: as many as fit into the seconds, and no fewer

Call = Callable[[np.ndarray, np.ndarray], object]  # of int64 ids and mask, (texts, tokens)


def compare_with_torch(
    model: Graph, session: InferenceSession, output: str, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> Fp32Parity:
    """Ask both the same batches, padded to their longest text, and return how far apart the answers are.

    Args:
        output: the one to compare.
    """
    answers, differing, largest = 0, 0, 0.0
    order = sorted(texts, key=len)
    for start in range(0, len(order), BATCH):
        batch: Any = tokenizer(order[start : start + BATCH], truncation=True, padding=True, return_tensors="pt")
        ids, mask = (batch[name] for name in INPUTS)
        with torch.inference_mode():
            expected = model(ids, mask)[model.outputs.index(output)]
        [found] = run_session(session, ids.numpy(), mask.numpy(), [output])
        p, q = (logits.double().softmax(-1) for logits in (expected, torch.from_numpy(found)))
        if p.ndim == 3:  # what stands on padding is no answer
            p, q = p[mask.bool()], q[mask.bool()]
        answers += len(p)
        differing += int((p.argmax(-1) != q.argmax(-1)).sum())
        largest = max(largest, float((p - q).abs().max()))
    return Fp32Parity(texts=len(order), answers=answers, differing=differing, largest_difference=largest)


def score_int8(
    task: TaskSpec, labels: Sequence[str], data: DatasetDict, classifier: Pipeline, metrics: Metrics
) -> Int8Scores:
    """Score the test split by the answers of the int8 file, at a threshold chosen by its answers to validation.

    Args:
        classifier: a pipeline with the file in the place of its model.
        metrics: of the torch model; the threshold is chosen for the same target.
    """
    # As evaluation asks the model and scores it, so that the two scores differ by the file alone.
    splits = {split: predictions_table(task.head, classifier, data[split], labels, lambda _: None).to_pydict()
              for split in ("validation", "test")}  # fmt: skip
    validation, test = (cast("Rows", splits[split]) for split in ("validation", "test"))
    thresholds = task.head.choose_thresholds(validation, test, labels, metrics.target)
    scores = task.head.score(test, labels, thresholds.threshold if thresholds else task.head.plain_threshold)
    primary = metrics.primary
    return Int8Scores(
        key=primary.key,
        title=primary.title,
        torch=primary.value,
        int8=getattr(scores, primary.key).value,
        thresholds=thresholds,
        curve=measure_curve(task.head, test, labels),
    )


def measure_speed(model: Graph, files: dict[str, Path], tokenizer: PreTrainedTokenizerBase, vocab: int) -> Speed:
    """Time single texts of :data:`LENGTHS` on one thread and on all cores, by torch and by each file.

    Args:
        files: by "fp32" and "int8".
        vocab: how many ids the model knows.
    """
    random = np.random.default_rng(0)
    before = torch.get_num_threads()
    latencies = []
    try:
        for threads in sorted({1, count_cores()}):
            torch.set_num_threads(threads)
            for length in (n for n in LENGTHS if n <= tokenizer.model_max_length):
                ids = random.integers(0, vocab, (1, length), dtype=np.int64)
                calls, milliseconds = {}, {}
                for form in ("torch", *files):
                    # Opened for its turn alone: the threads of a session that is open keep spinning.
                    call = call_torch(model) if form == "torch" else call_file(files[form], threads)
                    took = time_calls(call, ids)
                    calls[form] = len(took)
                    p50, p95 = (round(float(value), 3) for value in np.percentile(took, (50, 95)))
                    milliseconds[form] = Milliseconds(p50=p50, p95=p95)
                latencies.append(Latency(tokens=length, threads=threads, calls=calls, milliseconds=milliseconds))
    finally:
        torch.set_num_threads(before)
    return Speed(processor=name_processor(), latencies=latencies)


def call_torch(model: Graph) -> Call:
    """Return a function that asks a model of torch."""

    def call(ids: np.ndarray, mask: np.ndarray) -> object:
        with torch.inference_mode():
            return model(torch.from_numpy(ids), torch.from_numpy(mask))

    return call


def call_file(path: Path, threads: int) -> Call:
    """Return a function that asks an ONNX file for all of its outputs."""
    session = open_session(path, threads)
    names = [output.name for output in session.get_outputs()]
    return lambda ids, mask: run_session(session, ids, mask, names)


def time_calls(call: Call, ids: np.ndarray) -> list[float]:
    """Return the milliseconds of each of up to :data:`CALLS` calls, after one that warms up."""
    mask = np.ones_like(ids)
    call(ids, mask)
    took: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(took) < FEWEST_CALLS or (len(took) < CALLS and time.perf_counter() < end):
        began = time.perf_counter()
        call(ids, mask)
        took.append((time.perf_counter() - began) * 1000)
    return took


def count_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def name_processor() -> str:
    """Return what the processor calls itself."""
    # Linux says it here alone; platform knows the family.
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine()
