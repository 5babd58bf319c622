"""The whole job on the embedded Hub: seconds a stage, peak memory, scores.

    python benchmarks/main_job.py                             # starter corpora: what `make demo SERVE=0` does
    python benchmarks/main_job.py --mirror DIR --name real    # public data from DIR/<owner>/<name>/

Runs ``hubtools run --hub local --jobs 2`` in fresh folders, adds up the resident memory of its whole process tree and
of the embedded Hub four times a second, prints a table, and writes ``benchmarks/results/<name>.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from generalisation import score_default

from hubtools.records.run import TaskResult
from hubtools.run import format_result

RESULTS = Path(__file__).parent / "results"


def resident(root: psutil.Process, hub_dir: Path) -> int:
    """Bytes resident in ``root``, all below it, and the Hub on ``hub_dir``, which outlives its starter."""
    total = 0
    hubs = [p for p in psutil.process_iter(["cmdline"]) if str(hub_dir) in (p.info["cmdline"] or [])]
    for process in {root, *root.children(recursive=True), *hubs}:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror", help="folder with the public data, laid out as DIR/<owner>/<name>/")
    parser.add_argument("--name", default="demo")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        hub_dir, work = Path(folder, "hub"), Path(folder, "work")
        hubtools = [sys.executable, "-m", "hubtools.cli"]
        command = [*hubtools, "run", "--hub", "local", "--hub-dir", str(hub_dir), "--work-dir", str(work)]
        command += ["--jobs", "2"]
        command += ["--mirror", args.mirror] if args.mirror else []
        started = time.time()
        process = subprocess.Popen(command)
        peak, ended = 0, threading.Event()

        def watch() -> None:
            nonlocal peak
            while not ended.wait(0.25):
                try:
                    peak = max(peak, resident(psutil.Process(process.pid), hub_dir))
                except psutil.NoSuchProcess:
                    return

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
        seconds = time.time() - started
        ended.set()
        watcher.join()
        subprocess.run([*hubtools, "hub", "stop", "--hub-dir", str(hub_dir)], check=False)
        if code:
            sys.exit(code)
        report = json.loads((work / "run.json").read_text())

    report |= {
        "command": "hubtools run --hub local --jobs 2" + (" --mirror DIR" if args.mirror else ""),
        "total_seconds": round(seconds, 1),
        "peak_memory_gib": round(peak / 2**30, 2),
        "machine": {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()},
    }
    for result in report["results"].values():  # addresses of a Hub that is gone
        for key in ("dataset", "model", "url", "slug"):
            result.pop(key, None)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{args.name}.json").write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))


def table(report: dict) -> str:
    stages = ["curate", "push-dataset", "finetune", "evaluate", "push-model"]
    columns = ["task, and seconds of", *stages, "test score", "baselines"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for task, result in scores(report).items():
        seconds = report["seconds"][task]
        baselines = ", ".join(f"{name} {value:.3f}" for name, value in result["baselines"].items())
        score = f"{result['metric']} {bracketed(result)}"
        if result.get("unseen"):  # what to expect elsewhere stands beside it
            score += "; never seen: " + ", ".join(f"{title} {mean:.3f}" for title, mean in result["unseen"].items())
        lines.append(f"| {task} | " + " | ".join(f"{seconds[s]:.1f}" for s in stages) + f" | {score} | {baselines} |")
    lines.append(
        f"\nSpace {report['seconds']['space']['push-space']:.1f} s. In all {report['total_seconds']:.0f} s, "
        f"peak memory {report['peak_memory_gib']:.2f} GiB, {report['machine']['cores']} cores."
    )
    return "\n".join(lines)


def printed(report: dict) -> str:
    """Return what the run prints at its end, without addresses, and what it took."""
    took = f"It takes about {round(report['total_seconds'] / 60)} minutes and {report['peak_memory_gib']:.1f} GiB of "
    took += f"memory on {report['machine']['cores']} cores. Installing is not counted. It ends with:"
    lines = [f"{'task':<10} {'metric':<26} test score"]
    for task, result in scores(report).items():
        lines += [line.rstrip() for line in format_result(task, TaskResult(**result, dataset="", model=""))]
    return "\n".join([took, "", "```", *lines, f"Done in {report['total_seconds']:.0f} s.", "```"])


def small(report: dict) -> str:
    """Return each task's score: of the demo, also on texts written apart, of the public data, and of unseen sources."""
    real, away = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("real", "generalisation"))
    columns = ["task", "score", "our texts", "`written-apart`", "public data", "sources left out"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for task, result in scores(report).items():
        apart = ", ".join(f"{value:.3f}" for value in result["benchmarks"].values())
        public = bracketed(scores(real)[task])
        cells = [task, result["metric"], bracketed(result), apart, public, f"{score_default(away, task):.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def bracketed(result: dict) -> str:
    """Return a test score with its 95% interval."""
    return f"{result['value']:.3f} [{result['low']:.3f}, {result['high']:.3f}]"


def scores(report: dict) -> dict[str, dict]:
    """Return the results of the tasks, without those of the Space and the collection."""
    return {task: result for task, result in report["results"].items() if "metric" in result}


if __name__ == "__main__":
    main()
