"""The GPU benchmark on a CPU: every part of it runs, says what it found, and keeps it when it is interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from as_user import REPOSITORY

from hubtools.records.figures import read_figures

sys.path.append(str(REPOSITORY / "benchmarks"))
import full_results
import gpu
import gpu_wheels


def rehearse(out: Path, *more: str) -> dict[str, Any]:
    small = ("--steps", "2", "--warm", "1", "--rows", "3", "--prompts", "20", "--rounds", "1")
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "gpu.py"), "--device", "cpu", "--size", "nano"]
    subprocess.run([*command, *small, "--out", str(out), *more], check=True, capture_output=True, cwd=out.parent)
    report: dict[str, Any] = json.loads(out.read_text())
    return report


@pytest.mark.exhaustive
def test_every_way_of_fine_tuning_and_every_answer_is_measured(tmp_path: Path) -> None:
    report = rehearse(tmp_path / "report.json", "--seconds", "500", "--only", "speed")
    runs = {run["way"]: run for run in report["runs"]}
    failed = {way: run["failed"] for way, run in runs.items() if "failed" in run}
    # torch's compiler needs a C++ compiler, which a machine may lack.
    assert failed.keys() <= {gpu.COMPILED}
    assert set(runs) == set(gpu.WAYS) - {gpu.STOCK_COMPILED}
    assert all(
        run["tokens_per_second"] > 0 and 0 < run["utilisation"] < 1 for run in runs.values() if run["way"] not in failed
    )
    assert runs[gpu.STATIC]["path"].startswith("packed, no padding")
    assert "in passes of few sizes" in runs[gpu.STATIC]["path"]
    assert "in passes of few sizes" not in runs[gpu.PACKED]["path"]
    assert report["profile"][0]["most"][0]["ms"] > 0
    assert f"nano, {gpu.TASKS}: {gpu.STATIC}" in gpu.table(report)


@pytest.mark.exhaustive
def test_what_a_device_computes_is_held_against_the_cpu(tmp_path: Path) -> None:
    report = rehearse(tmp_path / "report.json", "--seconds", "500", "--only", "checks")
    found = {check["name"]: check.get("ok", check.get("failed")) for check in report["checks"]}
    assert len(found) == 6
    assert {name: ok for name, ok in found.items() if ok is not True} == {"no step waits for the device": None}


@pytest.mark.exhaustive
def test_answers_are_timed_and_what_there_is_no_time_for_is_named(tmp_path: Path) -> None:
    report = rehearse(tmp_path / "report.json", "--seconds", "300", "--only", "answers")
    assert [answer for answer in report["answers"] if "failed" in answer] == []
    assert report["answers"][-1]["launches"] == 1
    report = rehearse(tmp_path / "none.json", "--seconds", "1")
    assert len(report["left_out"]) > 10
    assert report["runs"] == []


def test_lengths_are_those_of_prompts_and_the_same_for_the_same_seed() -> None:
    import random

    lengths = gpu.lengths_of(gpu.TASKS, 5000, random.Random(0))
    assert lengths == gpu.lengths_of(gpu.TASKS, 5000, random.Random(0))
    assert 6 <= min(lengths) < max(lengths) == 512
    assert sum(lengths) / 5000 == pytest.approx(137, rel=0.03)
    assert gpu.lengths_of("2048", 2, random.Random(0)) == [2048, 2048]


def test_speeds_of_a_report_are_what_estimates_are_made_of(tmp_path: Path) -> None:
    def run(way: str, speed: float, **more: Any) -> dict[str, Any]:
        return {
            "way": way, "size": "base", "lengths": gpu.TASKS, "tokens_per_second": speed, "peak_gib": 20.0,
            "compile_s": 30.0 if way == gpu.COMPILED else 0.0, "path": "packed", **more,
        }  # fmt: skip

    runs = [run(gpu.DYNAMIC, 1.0), *(run(gpu.STATIC, speed) for speed in (10.0, 30.0, 20.0)), run(gpu.COMPILED, 40.0)]
    gpu.keep_figures({"device": "a card", "runs": [*runs, run(gpu.STATIC, 99.0, failed="x")]}, tmp_path / "f.json")
    plain, compiled = read_figures(tmp_path / "f.json")
    assert (plain.tokens_per_second, plain.compiled, plain.width) == (20.0, False, 768)
    assert (compiled.tokens_per_second, compiled.compile_seconds) == (40.0, 30.0)


def test_what_matters_most_is_measured_first_and_the_order_turns() -> None:
    runs = gpu.plan(SimpleNamespace(rounds=3, quick=False, size="base", device="auto"))
    assert [way for way, *_ in runs[:7]] == list(gpu.WAYS)
    assert [way for way, *_ in runs[7:14]] == list(gpu.WAYS[::-1])
    assert [(way, size) for way, size, *_ in runs[-3:]] == [(way, "large") for way in gpu.FEW]
    quick = gpu.plan(SimpleNamespace(rounds=1, quick=True, size="base", device="auto"))
    assert [way for way, *_ in quick] == list(gpu.FEW)


def test_wheels_are_downloaded_by_name_for_the_python_of_the_gpu_machine() -> None:
    command = gpu_wheels.command(Path("wheels"), "3.12")
    assert command[1:4] == ["-m", "pip", "download"]
    assert command[command.index("--python-version") + 1] == "3.12"
    pinned = dict(line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().split() if "==" in line)
    assert all(pinned[name] == version for name, version in (one.split("==") for one in gpu_wheels.LACKING))


def test_a_table_of_results_says_what_was_not_measured() -> None:
    task = {
        "metric": "macro F1", "value": 0.5, "low": 0.4, "high": 0.6, "rows": 1000, "sources": ["a/b"], "base": "c/d",
        "minutes": 1.25, "resumed": True, "peak_gib": None, "tokens_per_second": 1234.5, "device": "CPU, 2 threads",
    }  # fmt: skip
    shown = full_results.table({"tasks": {"category": task}})
    assert (
        "| category | macro F1 0.500 [0.400, 0.600] | 1,000 | a/b | 1.2 (after an interruption) | not measured |"
        in shown
    )
