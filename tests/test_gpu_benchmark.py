"""The GPU benchmark on a CPU: every part of it runs, says what it found, and keeps it when it is interrupted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from as_user import REPOSITORY

from hubtools.records.figures import read_figures

sys.path.append(str(REPOSITORY / "benchmarks"))
import full_results
import gpu
import gpu_checks
import gpu_wheels
from gpu_models import TASKS, lengths_of
from gpu_plan import COMPILED, DYNAMIC, FEW, PACKED, STATIC, STOCK_COMPILED, WAYS, Part, learn, leave_out, plan, without


def rehearse(out: Path, *more: str) -> dict[str, Any]:
    small = ("--steps", "2", "--rows", "3", "--prompts", "20")
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "gpu.py"), "--device", "cpu", "--size", "nano"]
    subprocess.run([*command, *small, "--out", str(out), *more], check=True, capture_output=True, cwd=out.parent)
    report: dict[str, Any] = json.loads(out.read_text())
    return report


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)  # torch's compiler took five minutes of a processor that five others used
def test_every_way_of_fine_tuning_and_every_answer_is_measured(tmp_path: Path) -> None:
    report = rehearse(tmp_path / "report.json", "--only", "speed")
    runs = {run["way"]: run for run in report["runs"]}
    failed = {way: run["failed"] for way, run in runs.items() if "failed" in run}
    # torch's compiler needs a C++ compiler, which a machine may lack.
    assert failed.keys() <= {COMPILED}
    assert set(runs) == set(WAYS) - {STOCK_COMPILED}
    assert all(
        run["tokens_per_second"] > 0 and 0 < run["utilisation"] < 1 for run in runs.values() if run["way"] not in failed
    )
    assert runs[STATIC]["path"].startswith("packed, no padding")
    assert "in passes of few sizes" in runs[STATIC]["path"]
    assert "in passes of few sizes" not in runs[PACKED]["path"]
    assert report["profile"][0]["most"][0]["ms"] > 0
    assert f"nano, {TASKS}: {STATIC}" in gpu.table(report)


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_what_a_device_computes_is_held_against_the_cpu(tmp_path: Path) -> None:
    report = rehearse(tmp_path / "report.json", "--only", "checks")
    found = {check["name"]: check.get("ok", check.get("failed")) for check in report["checks"]}
    assert len(found) == 6
    assert {name: ok for name, ok in found.items() if ok is not True} == {"no step waits for the device": None}


@pytest.mark.exhaustive
def test_answers_are_timed_and_what_there_is_no_time_for_is_named(tmp_path: Path) -> None:
    report = rehearse(tmp_path / "report.json", "--only", "answers")
    assert [answer for answer in report["answers"] if "failed" in answer] == []
    assert report["answers"][-1]["launches"] == 1
    report = rehearse(tmp_path / "none.json", "--seconds", "1")
    assert len(report["left_out"]) > 10
    assert report["runs"] == report["checks"] == []


def test_lengths_are_those_of_prompts_and_the_same_for_the_same_seed() -> None:
    import random

    lengths = lengths_of(TASKS, 5000, random.Random(0))
    assert lengths == lengths_of(TASKS, 5000, random.Random(0))
    assert 6 <= min(lengths) < max(lengths) == 512
    assert sum(lengths) / 5000 == pytest.approx(137, rel=0.03)
    assert lengths_of("2048", 2, random.Random(0)) == [2048, 2048]


def test_speeds_of_a_report_are_what_estimates_are_made_of(tmp_path: Path) -> None:
    def run(way: str, speed: float, **more: Any) -> dict[str, Any]:
        return {
            "way": way, "size": "base", "lengths": TASKS, "tokens_per_second": speed, "peak_gib": 20.0,
            "compile_s": 30.0 if way == COMPILED else 0.0, "path": "packed", **more,
        }  # fmt: skip

    runs = [run(DYNAMIC, 1.0), *(run(STATIC, speed) for speed in (10.0, 30.0, 20.0)), run(COMPILED, 40.0)]
    gpu.keep_figures({"device": "a card", "runs": [*runs, run(STATIC, 99.0, failed="x")]}, tmp_path / "f.json")
    plain, compiled = read_figures(tmp_path / "f.json")
    assert (plain.tokens_per_second, plain.compiled, plain.width) == (20.0, False, 768)
    assert (compiled.tokens_per_second, compiled.compile_seconds) == (40.0, 30.0)


def test_the_table_of_the_documents_is_that_of_the_card_that_was_measured() -> None:
    report = json.loads((REPOSITORY / "benchmarks" / "results" / "gpu-nvidia-h200.json").read_text())
    assert gpu.table(report).split("\n\n")[0] in (REPOSITORY / "docs" / "gpu.md").read_text()
    assert {check["ok"] for check in report["checks"]} == {True}


def all_parts(**more: Any) -> list[Part]:
    asked = {"only": None, "rounds": 3, "quick": False, "size": "base", "device": "auto", "prompts": 10_000} | more
    return plan(SimpleNamespace(**asked), [("logits", 12.0), ("gradient", 8.0)])


def test_what_matters_most_is_measured_first_and_the_order_turns() -> None:
    parts = all_parts()
    assert [part.kind for part in parts[:2]] == ["checks", "checks"]
    runs = [part.given for part in parts if part.kind == "runs"]
    ways = [way for way in WAYS if way != STOCK_COMPILED]
    assert [way for way, *_ in runs[:12]] == ways + ways[::-1]
    assert [(way, size) for way, size, *_ in runs[-3:]] == [(way, "large") for way in FEW]
    assert [part.given[0] for part in all_parts(quick=True, rounds=1) if part.kind == "runs"] == list(FEW)
    assert STOCK_COMPILED not in {part.given[0] for part in all_parts(device="cpu")}


def test_what_there_is_no_time_for_is_left_out_the_largest_and_longest_first_and_the_comparison_never() -> None:
    parts = all_parts()
    needed = sum(part.seconds for part in parts)
    assert leave_out(parts, needed) == []
    [first] = leave_out(parts, needed - 1)
    assert first.given[:2] == (COMPILED, "large")
    order = leave_out(parts, 0)
    sizes = [(part.kind, *part.given[1:3]) for part in order]
    assert sizes[:9] == [("runs", size, kind) for size, kind in
                         [("large", TASKS)] * 3 + [("base", "2048")] * 3 + [("base", "512")] * 3]  # fmt: skip
    stay = without(parts, order)
    assert [part.name for part in stay if part.kind == "checks"] == ["logits", "gradient"]
    assert [part.given for part in stay if part.kind == "runs"] == [(way, "base", TASKS, 0) for way in FEW]
    assert len(stay) == 5


def test_what_parts_took_decides_what_else_there_is_time_for() -> None:
    parts = all_parts(only="speed")
    done = next(part for part in parts if part.given[0] == STATIC)
    slow = learn(parts, done, 100.0)
    assert {part.given for part in slow if part.seconds == 100.0} == {(STATIC, "base", TASKS, i) for i in range(3)}
    seconds = sum(part.seconds for part in parts)
    assert len(leave_out(slow, seconds)) > len(leave_out(parts, seconds))


def test_a_part_that_runs_when_the_time_is_up_is_broken_off_and_named(tmp_path: Path) -> None:
    asked = {"device": "cpu", "size": "nano", "quick": True, "seconds": 1e9, "rounds": 1, "steps": 1, "warm": 1,
             "rows": 2, "tokens": 512, "prompts": 1, "out": tmp_path / "report.json"}  # fmt: skip
    bench = gpu.Bench(SimpleNamespace(**asked))

    def hang(bench: Any, name: str) -> dict[str, Any]:
        bench.args.seconds = time.monotonic() - gpu.BEGAN + 0.2
        with gpu.deadline(bench.seconds_left()):
            try:
                time.sleep(60)
            except Exception:  # as a library that falls back to another way would
                time.sleep(60)
        return {}

    parts = [Part("checks", name, (name,), rank, 1.0) for name, rank in (("hangs", 0), ("late", 0), ("more", 1))]
    bench.do_all(parts, {"checks": hang})
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["left_out"] == ["hangs", "more", "late"]
    assert [check["failed"] for check in report["checks"]] == ["broken off: the time was up"]


@pytest.mark.exhaustive
def test_checks_compute_in_the_precision_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, make = set[Any](), gpu_checks.make_model

    def watched(bench: Any, size: str) -> Any:
        model = make(bench, size)
        model.model.layers[1].attn.Wqkv.register_forward_hook(lambda module, given, computed: seen.add(computed.dtype))
        return model

    monkeypatch.setattr(gpu_checks, "make_model", watched)
    cpu = torch.device("cpu")
    asked = SimpleNamespace(on_cpu=True, bf16=True, device=cpu, args=SimpleNamespace(size="nano"))
    assert gpu_checks.gradient_of(asked, "nano", [6, 9], static=True).isfinite().all()
    assert seen == {torch.bfloat16}


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
