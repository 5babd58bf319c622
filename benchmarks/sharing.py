"""What one body for four tasks costs in score, and what it saves: four trainings against the joint one.

    python benchmarks/sharing.py                  # starter corpora, nano model
    python benchmarks/sharing.py --mirror DIR     # the public data of DIR/<owner>/<name>/

Curates once, trains each task by itself and all four together with their defaults on the same rows, and scores both on
the same validation and test rows, by the user's commands. Then asks both the same texts one by one on one thread: the
four classifiers one after another, and one pass through the joint model, alternating. Further flags go to both
trainings. Prints a table, and writes ``benchmarks/results/sharing.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
LENGTHS = (32, 128)
ROUNDS, CALLS = 7, 20


def scored(work: Path, name: str) -> dict[str, Any]:
    """What the work folder of a task says of its model."""
    training, metrics = (json.loads((work / name / f"{file}.json").read_text()) for file in ("training", "metrics"))
    first = metrics["primary"]
    return {
        "metric": first["title"], "validation": training["best_validation"][first["key"]],
        "test": {key: first[key] for key in ("value", "low", "high")}, "seconds": training["seconds"],
        "steps": training["steps"], "epochs_run": training["epochs_run"],
    }  # fmt: skip


def speed(alone: Path, together: Path) -> dict[str, Any]:
    """Milliseconds a text for the four models and for the one, and the ratio of each round; one thread."""
    import torch
    from transformers import AutoTokenizer

    from hubtools.evaluation.multitask import MultitaskClassifier
    from hubtools.tasks import MULTI, TASKS

    torch.set_num_threads(1)
    folders = {name: alone / name / "model" for name in TASKS}
    models = [task.head.load_model(str(folders[name])).eval() for name, task in TASKS.items()]
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in folders.values()]
    joint = MultitaskClassifier(str(together / MULTI / "model"))

    def four(text: str) -> None:
        with torch.inference_mode():
            for tokenizer, model in zip(tokenizers, models, strict=True):
                model(**tokenizer(text, truncation=True, return_tensors="pt")).logits.softmax(-1).tolist()

    found = {}
    for length in LENGTHS:
        text = " a" * (length - 2)
        assert len(tokenizers[0](text)["input_ids"]) == length
        ways: dict[str, Any] = {"four": four, "one": joint}
        took: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(ROUNDS + 1):
            for way in ways if number % 2 else reversed(ways):
                began = time.perf_counter()
                for _ in range(CALLS):
                    ways[way](text)
                took[way].append((time.perf_counter() - began) / CALLS * 1000)
        took = {way: times[1:] for way, times in took.items()}  # the first round warms up
        ratios = [a / b for a, b in zip(took["four"], took["one"], strict=True)]
        found[str(length)] = {
            "four_ms": round(statistics.median(took["four"]), 2), "one_ms": round(statistics.median(took["one"]), 2),
            "ratio": [round(ratio, 2) for ratio in ratios],
        }  # fmt: skip
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror", help="folder with the public data, laid out as DIR/<owner>/<name>/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args, training = parser.parse_known_args()
    if args.child:
        print(json.dumps(speed(*map(Path, args.child))))
        return
    hubtools = [sys.executable, "-m", "hubtools.cli"]
    names = ("category", "pii", "jailbreak", "intent")
    with tempfile.TemporaryDirectory() as folder:
        hub_dir, alone, together = (Path(folder, name) for name in ("hub", "alone", "together"))
        hub = ["--hub", "local", "--hub-dir", str(hub_dir)]
        mirror = ["--mirror", args.mirror] if args.mirror else []
        seed = ["--seed", str(args.seed)]
        try:
            subprocess.run([*hubtools, "curate", "all", *hub, *mirror, *seed, "--work-dir", str(alone)], check=True)
            shutil.copytree(alone, together)
            for what, work in (("all", alone), ("multi", together)):
                at = [*hub, "--work-dir", str(work)]
                subprocess.run([*hubtools, "finetune", what, *at, *seed, *training], check=True)
                subprocess.run([*hubtools, "evaluate", what, *at], check=True)
            child = [sys.executable, __file__, "--child", str(alone), str(together)]
            asked = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True)
        finally:
            subprocess.run([*hubtools, "hub", "stop", "--hub-dir", str(hub_dir)], check=True)
        of_multi = json.loads((together / "multi" / "training.json").read_text())
        report = {
            "base": of_multi["base"], "data": "public" if args.mirror else "starter", "flags": training,
            "tasks": {name: {"alone": scored(alone, name), "together": scored(together, name)} for name in names},
            "joint": {key: of_multi[key] for key in ("seconds", "steps", "epochs_run", "rows", "loss_weights")},
            "answering": json.loads(asked.stdout.splitlines()[-1]),
            "machine": {"cpu": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version(),
                        "torch": of_multi["versions"]["torch"], "device": of_multi["device"]},
        }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sharing.json").write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))


def table(report: dict[str, Any]) -> str:
    """Scores and seconds of both ways, and how much faster one pass answers."""
    lines = ["| | metric | validation, alone | together | test, alone | together |", "|---" * 6 + "|"]

    def shown(test: dict[str, float]) -> str:
        return f"{test['value']:.3f} [{test['low']:.3f}, {test['high']:.3f}]"

    for name, of in report["tasks"].items():
        alone, together = of["alone"], of["together"]
        lines.append(
            f"| {name} | {alone['metric']} | {alone['validation']:.3f} | {together['validation']:.3f} | "
            f"{shown(alone['test'])} | {shown(together['test'])} |"
        )
    each = list(report["tasks"].values())
    means = {
        way: [
            statistics.mean(of[way]["validation"] for of in each),
            statistics.mean(of[way]["test"]["value"] for of in each),
        ]
        for way in ("alone", "together")
    }
    lines.append("| mean | | " + " | ".join(f"{means[w][i]:.3f}" for i in (0, 1) for w in ("alone", "together")) + " |")
    seconds = sum(of["alone"]["seconds"] for of in each)
    answers = "; ".join(
        f"{length} tokens: {found['four_ms']:.1f} ms and {found['one_ms']:.1f} ms, "
        f"{statistics.median(found['ratio']):.1f} times [{min(found['ratio']):.1f}, {max(found['ratio']):.1f}]"
        for length, found in report["answering"].items()
    )
    lines.append(
        f"\n{report['base']} on the {report['data']} data. Training: {seconds:.0f} s for the four, "
        f"{report['joint']['seconds']:.0f} s together ({report['machine']['device']}). Answering all four questions, "
        f"one text at a time on one thread, four models against one pass: {answers}."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
