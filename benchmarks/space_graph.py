"""One prompt, all four answers: the multitask model's ONNX file in the Space against four calls of pipeline().

    python benchmarks/space_graph.py

Models of the nano model's and of base's size, with random weights: their answers mean nothing, their speed does. Both
ways go from the text to the answers, on one core; in each round they take turns. Prints the ratio, and writes
``benchmarks/results/space_graph.json``.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ROUNDS, SECONDS, FEWEST = 5, 1.0, 3  # of a turn
PROMPTS = {
    "short": "What is the derivative of x^2 * sin(x), and where does it vanish between 0 and pi?",
    "long": "The tenant keeps the rooms in good order and tells the owner of any damage without delay. " * 12,
}


def make_models(folder: Path, size: str) -> dict[str, Any]:
    """Write the model of all tasks, with its graph, and one classifier of each kind: the pipelines of four calls."""
    import torch
    from safetensors.torch import save_file
    from transformers import (
        AutoConfig,
        AutoTokenizer,
        ModernBertConfig,
        ModernBertForSequenceClassification,
        ModernBertForTokenClassification,
        ModernBertModel,
        pipeline,
    )
    from transformers.models.modernbert.modeling_modernbert import ModernBertPredictionHead

    from hubtools.assets import find_asset
    from hubtools.onnx_export.graph import SharedClassifier, write_graph
    from hubtools.tasks import TASKS

    torch.manual_seed(0)
    nano = find_asset("hubtools/starter") / "hubtools" / "modernbert-nano"
    tokenizer = AutoTokenizer.from_pretrained(nano)
    # The nano model's tokenizer for both: a larger vocabulary costs memory and no time.
    config = AutoConfig.from_pretrained(nano) if size == "nano" else ModernBertConfig()
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder)
    ModernBertModel(config).save_pretrained(folder)
    labels = {name: task.model_labels(task.label_set()) for name, task in TASKS.items()}
    heads = torch.nn.ModuleDict({
        name: torch.nn.ModuleDict({"head": ModernBertPredictionHead(config),
                                   "classifier": torch.nn.Linear(config.hidden_size, len(names))})
        for name, names in labels.items()
    })  # fmt: skip
    save_file(heads.state_dict(), folder / "heads.safetensors")
    about = {name: {"kind": TASKS[name].head.granularity, "labels": names} for name, names in labels.items()}
    (folder / "heads.json").write_text(json.dumps(about))
    write_graph(SharedClassifier(folder), folder / "model.onnx")
    calls = {}
    for name, names in labels.items():
        own = copy.deepcopy(config)
        own.id2label, own.label2id = dict(enumerate(names)), {label: i for i, label in enumerate(names)}
        task = TASKS[name].head.pipeline
        if TASKS[name].head.per_token:
            model, options = ModernBertForTokenClassification(own), {"aggregation_strategy": "simple"}
        else:
            model, options = ModernBertForSequenceClassification(own), {"top_k": None, "truncation": True}
        calls[name] = pipeline(task, model=model.eval(), tokenizer=tokenizer, **options)
    return {"labels": labels, "pipelines": calls}


def open_space(folder: Path, models: Path, labels: dict[str, list[str]]) -> Callable[[str], Any]:
    """Return what the Space does with a prompt, answered by the graph in ``models``."""
    from hubtools.publishing.space_files import list_app_files
    from hubtools.publishing.space_models import ShownModel, make_space_entry
    from hubtools.tasks import TASKS

    for name, content in list_app_files([]).items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    entries = {}
    for name, task in TASKS.items():
        graph = {"repo": str(models), "revision": None, "file": "model.onnx", "output": name, "labels": labels[name]}
        entries[name] = make_space_entry(task, ShownModel(str(models), None, 0.5, graph=graph))
    (folder / "models.json").write_text(json.dumps({"models": entries}))
    sys.path.insert(0, str(folder))
    for module in ("tasks", "answering", "reading", "words"):
        sys.modules.pop(module, None)
    answering = importlib.import_module("answering")
    sys.path.remove(str(folder))
    return lambda text: answering.ask_all(text)


def median_of_a_turn(call: Callable[[], Any]) -> float:
    """Median milliseconds of the calls of one turn."""
    took: list[float] = []
    end = time.perf_counter() + SECONDS
    while len(took) < FEWEST or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def compare(size: str, rounds: int) -> dict[str, Any]:
    """By prompt: tokens, median milliseconds of both ways, and their ratio in every round."""
    with tempfile.TemporaryDirectory() as models, tempfile.TemporaryDirectory() as space:
        made = make_models(Path(models), size)
        ask_space = open_space(Path(space), Path(models), made["labels"])
        found = {}
        for kind, prompt in PROMPTS.items():
            ways: dict[str, Callable[[], Any]] = {
                "pipelines": lambda prompt=prompt: [call(prompt) for call in made["pipelines"].values()],
                "graph": lambda prompt=prompt: ask_space(prompt),
            }
            took: dict[str, list[float]] = {way: [] for way in ways}
            for _ in range(rounds + 1):
                for way, call in ways.items():
                    took[way].append(median_of_a_turn(call))
            took = {way: times[1:] for way, times in took.items()}  # the first round warms up
            found[kind] = {
                "tokens": len(made["pipelines"]["category"].tokenizer(prompt)["input_ids"]),
                "p50_ms": {way: round(statistics.median(times), 2) for way, times in took.items()},
                "ratio": [round(a / b, 2) for a, b in zip(took["pipelines"], took["graph"], strict=True)],
            }
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["nano", "base"], choices=["nano", "base"])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    args = parser.parse_args()
    import torch

    from hubtools.onnx_export.measure import name_processor

    # ONNX Runtime takes as many threads as the process may use cores.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    path = RESULTS / "space_graph.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    report["machine"] = {"processor": name_processor(), "cores": os.cpu_count(),
                         **{name: version(name) for name in ("torch", "onnxruntime", "transformers")}}  # fmt: skip
    for size in args.sizes:
        report[size] = compare(size, args.rounds)
        path.write_text(json.dumps(report, indent=2) + "\n")  # base takes long: what was measured is kept
        for kind, row in report[size].items():
            ratio = statistics.median(row["ratio"])
            print(f"{size}, {kind}, {row['tokens']} tokens: {row['p50_ms']} ms, {ratio:.1f} times as fast", flush=True)


if __name__ == "__main__":
    main()
