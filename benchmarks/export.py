"""What ONNX files cost and save against torch: size, time and score, of the nano model and of one as large as base.

    python benchmarks/export.py --work-dir DIR      # DIR of a finished hubtools run; default: hubtools-work

Exports every task of the run by the user's command, and reads from ``onnx/parity.json`` how the files answer the whole
test split. Then exports a ModernBERT of base's size with random weights, whose answers mean nothing and whose speed
does. Times single texts on one thread: in each round torch, fp32 and int8 take turns, in another order every time, and
a ratio is of two turns of one round. Prints a table, and writes ``benchmarks/results/export.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
LENGTHS = (32, 128, 512)
ROUNDS = 7
SECONDS, FEWEST = 0.5, 3  # of a turn
FORMS = ("torch", "fp32", "int8")


def median_of_a_turn(call: Any, ids: np.ndarray) -> float:
    """Median milliseconds of the calls of one turn."""
    mask = np.ones_like(ids)
    took: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(took) < FEWEST or time.perf_counter() < end:
        began = time.perf_counter()
        call(ids, mask)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def speed(model: Any, files: dict[str, Path], vocab: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """By length: the median of each form's turns, and the ratio of torch to each file in every round."""
    import torch

    from hubtools.onnx_export.measure import call_file, call_torch

    torch.set_num_threads(1)
    calls = {"torch": call_torch(model), **{form: call_file(path, 1) for form, path in files.items()}}
    random = np.random.default_rng(0)
    found = {}
    for length in LENGTHS:
        ids = random.integers(0, vocab, (1, length), dtype=np.int64)
        took: dict[str, list[float]] = {form: [] for form in calls}
        for number in range(rounds + 1):
            order = [*calls][number % 3 :] + [*calls][: number % 3]
            for form in order:
                took[form].append(median_of_a_turn(calls[form], ids))
        took = {form: times[1:] for form, times in took.items()}  # the first round warms up
        found[str(length)] = {
            "p50_ms": {form: round(statistics.median(times), 2) for form, times in took.items()},
            "ratio": {
                form: [round(a / b, 2) for a, b in zip(took["torch"], took[form], strict=True)] for form in files
            },
        }
    return found


def nano(work: Path) -> dict[str, Any]:
    """Export the four tasks of a run: what each file scores, and the speed of one of them."""
    from hubtools.onnx_export.graph import Classifier
    from hubtools.tasks import TASKS

    subprocess.run(
        [sys.executable, "-m", "hubtools.cli", "export", "all", "--to", "onnx", "--work-dir", str(work)], check=True
    )
    tasks = {}
    for name in TASKS:
        record = json.loads((work / name / "model" / "onnx" / "parity.json").read_text())
        [parity] = record["tasks"].values()
        tasks[name] = {
            "bytes": {"torch": record["weights_bytes"], "fp32": record["files"]["model.onnx"]["bytes"],
                      "int8": record["int8_bytes"]},
            "answers": parity["fp32"]["answers"], "differing": parity["fp32"]["differing"],
            "largest_difference": parity["fp32"]["largest_difference"], "metric": parity["int8"]["title"],
            "torch": parity["int8"]["torch"], "int8": parity["int8"]["int8"], "withheld": record["withheld"],
        }  # fmt: skip
    # All four have the same body: one is timed.
    folder = work / "jailbreak" / "model"
    model = Classifier(TASKS["jailbreak"].head, folder)
    files = {"fp32": folder / "onnx" / "model.onnx", "int8": folder / "onnx" / "model_quantized.onnx"}
    return {
        "tasks": tasks,
        "speed": speed(model, files, json.loads((folder / "config.json").read_text())["vocab_size"]),
    }


def random_base(folder: Path) -> dict[str, Any]:
    """Size and speed of a detector as large as ModernBERT-base with random weights."""
    import torch
    from transformers import ModernBertConfig, ModernBertForSequenceClassification

    from hubtools.onnx_export.graph import Classifier, quantise, write_graph
    from hubtools.tasks import TASKS

    torch.manual_seed(0)
    config = ModernBertConfig(num_labels=2, classifier_pooling="mean")  # its defaults are base's
    ModernBertForSequenceClassification(config).save_pretrained(folder)
    model = Classifier(TASKS["jailbreak"].head, folder)
    files = {"fp32": folder / "model.onnx", "int8": folder / "model_quantized.onnx"}
    write_graph(model, files["fp32"])
    quantise(files["fp32"], files["int8"])
    paths = {"torch": folder / "model.safetensors", **files}
    return {
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "bytes": {form: path.stat().st_size for form, path in paths.items()},
        "speed": speed(model, files, config.vocab_size),
    }


def table(report: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = ["| nano | metric | torch | int8 | answers that fp32 changes |", "|---|---|---|---|---|"]
    for name, task in report["nano"]["tasks"].items():
        lines.append(
            f"| {name} | {task['metric']} | {task['torch']:.3f} | {task['int8']:.3f} | "
            f"{task['differing']} of {task['answers']} |"
        )
    lines += ["", "| model, tokens | torch | fp32 | int8 | torch / fp32 | torch / int8 |", "|---|---|---|---|---|---|"]
    for size in ("nano", "base"):
        for length, found in report[size]["speed"].items():
            times = " | ".join(f"{found['p50_ms'][form]:.2f} ms" for form in FORMS)
            ratios = " | ".join(
                f"{statistics.median(each):.2f} [{min(each):.2f}, {max(each):.2f}]" for each in found["ratio"].values()
            )
            lines.append(f"| {size}, {length} | {times} | {ratios} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work-dir", type=Path, default=Path("hubtools-work"), help="work folder of a finished run")
    args = parser.parse_args()
    from hubtools.onnx_export.measure import name_processor

    with tempfile.TemporaryDirectory() as folder:
        report = {
            "nano": nano(args.work_dir),
            "base": random_base(Path(folder)),
            "machine": {"processor": name_processor(), "cores": os.cpu_count(), "threads": 1,
                        "python": platform.python_version(),
                        **{name: version(name) for name in ("torch", "onnx", "onnxruntime")}},
        }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "export.json").write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))


if __name__ == "__main__":
    main()
