"""What a GPU does with this package, in one command of at most six minutes, without a network.

    python benchmarks/gpu.py                             # ModernBERT-base, random weights
    python benchmarks/gpu.py --quick                     # 90 seconds: the shortest look
    python benchmarks/gpu.py --device cpu --size nano    # a rehearsal of every part; says nothing of a GPU

First what one large matrix product reaches, which is the limit of all else, and whether what the card computes is right
(``gpu_checks.py``). Then fine-tuning steps on texts of the lengths that our tasks have, in every way
(``gpu_training.py``): the stock Trainer with every text padded to the maximum, batch by batch, by like length, and with
its own ``torch_compile``; hubtools packed as the device likes, in passes of few sizes, and these compiled. The order of
ways turns with every round. Then where the milliseconds of a step go, and answers (``gpu_answers.py``). Dynamic, static
and compiled alone also at 512 and 2,048 tokens, and at the large size.

It ends in the time that it has. What there is no time for is left out, the least important first (``gpu_plan.py``): the
checks and the main comparison never. A part that runs when the time is over is broken off. The report names them.

Tokens are real ones: padding does not count. Utilisation is the share of the matrix product's operations a second that
the model's take, by the formula of ``throughput.py``. What was measured is in ``results/gpu-<card>.json`` after every
part: an interrupted benchmark loses nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BEGAN = time.monotonic()  # loading the libraries counts
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
# Read with torch. Spinning threads of a rehearsal on a busy machine made 100 steps of the small model last 483 s
# instead of 46.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import gpu_answers  # noqa: E402
import gpu_checks  # noqa: E402
import gpu_training  # noqa: E402
from gpu_models import SIZES, TASKS  # noqa: E402
from gpu_plan import COMPILED, DYNAMIC, STATIC, Part, learn, leave_out, plan, without  # noqa: E402
from throughput import matmul_flops  # noqa: E402

RESULTS = Path(__file__).parent / "results"


class TimeIsUp(BaseException):
    """The benchmark has no time left. No ``except Exception`` of a library may take it for a fault of its own."""


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Break off what runs for longer."""

    def ring(*_: Any) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.1, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Bench:
    """The device, what is asked of it, and the report, written after every part."""

    def __init__(self, args: argparse.Namespace) -> None:
        import torch

        self.args, self.torch = args, torch
        self.on_cpu = args.device == "cpu"
        self.device = torch.device("cpu" if self.on_cpu else "cuda")
        self.bf16 = not self.on_cpu and torch.cuda.is_bf16_supported(including_emulation=False)
        name = "rehearsal" if self.on_cpu else torch.cuda.get_device_name().replace(" ", "-").lower()
        self.file = args.out or RESULTS / f"gpu-{name}.json"
        self.report: dict[str, Any] = {
            "device": "CPU" if self.on_cpu else torch.cuda.get_device_name(), "driver": driver(self.on_cpu),
            "python": platform.python_version(), **versions(), "bf16": self.bf16, "size": args.size,
            "quick": args.quick, "seconds_allowed": args.seconds, "rounds": args.rounds, "steps": args.steps,
            "warm_steps": args.warm, "rows_a_step": args.rows, "tokens_per_batch": args.tokens,
            "prompts": args.prompts, "runs": [], "answers": [], "checks": [], "profile": [], "left_out": [],
        }  # fmt: skip
        self.keep()

    def keep(self) -> None:
        """Write the report whole."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(self.report, indent=2) + "\n")
        part.replace(self.file)

    def seconds_left(self) -> float:
        """Until the time that was asked for is over."""
        return float(self.args.seconds) - (time.monotonic() - BEGAN)

    def do_all(self, parts: list[Part], calls: dict[str, Callable[..., dict[str, Any]]]) -> None:
        """Do the parts in their order, and leave out what there is no time for.

        Args:
            calls: what does a part of each kind.
        """
        while parts:
            gone = leave_out(parts, self.seconds_left())
            self.report["left_out"] += [part.name for part in gone]
            parts = without(parts, gone)
            if parts:
                part, *parts = parts
                if self.seconds_left() > 0:
                    again = self.do(part, calls[part.kind])
                    parts = learn(parts, part, again)
                else:
                    self.report["left_out"].append(part.name)
        self.keep()

    def do(self, part: Part, call: Callable[..., dict[str, Any]]) -> float:
        """Do one part, keep what it found, and go on whatever happens to it; return the seconds that it takes again."""
        began = time.monotonic()
        try:
            with deadline(self.seconds_left()):
                found = call(self, *part.given)
        except TimeIsUp:
            found = {"failed": "broken off: the time was up"}
            self.report["left_out"].append(part.name)
        except Exception as error:  # one way that fails must not cost the others
            first = str(error).strip().splitlines() or [""]
            found = {"failed": f"{type(error).__name__}: {first[0][:300]}"}
        took = time.monotonic() - began
        found = {"name": part.name, **found, "took": round(took, 1)}
        self.report[part.kind].append(found)
        self.keep()
        shown = {key: value for key, value in found.items() if key not in ("name", "path")}
        print(f"[{time.monotonic() - BEGAN:5.0f} s] {part.name}: {json.dumps(shown)}", file=sys.stderr, flush=True)
        gc.collect()
        if not self.on_cpu:
            self.torch.cuda.empty_cache()
        return max(1.0, took - found.get("compile_s", 0.0))  # what is compiled once stays in this process

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if not self.on_cpu:
            self.torch.cuda.synchronize()


def driver(on_cpu: bool) -> str:
    """The version of the GPU's driver, "" where there is none."""
    if on_cpu:
        return ""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    return ""


def versions() -> dict[str, str]:
    """Of the libraries that decide speed."""
    from importlib.metadata import version

    return {name: version(name) for name in ("torch", "transformers", "accelerate", "datasets")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--size", choices=("nano", "base"), default="base")
    parser.add_argument("--quick", action="store_true", help="90 seconds")
    parser.add_argument("--seconds", type=float, help="in all [350, with --quick 85, on a CPU an hour]")
    parser.add_argument("--rounds", type=int, help="[3; with --quick, and on a CPU, 1]")
    parser.add_argument("--steps", type=int, help="timed, a run [20, with --quick 10, on a CPU 3]")
    parser.add_argument("--warm", type=int, help="steps before them [4, on a CPU 1]")
    parser.add_argument("--rows", type=int, help="of a step [128, on a CPU 4]")
    parser.add_argument("--tokens", type=int, help="at once, at most [32768, on a CPU 512]")
    parser.add_argument("--prompts", type=int, help="of a batch to answer [10000, on a CPU 40]")
    parser.add_argument("--cache", help="folder of what was compiled [torch's own]")
    parser.add_argument("--only", choices=("speed", "answers", "checks"), help="one part alone")
    parser.add_argument("--out", type=Path, help="[benchmarks/results/gpu-<card>.json]")
    parser.add_argument("--keep", type=Path, help="measure nothing: put a report's speeds into the package's table")
    args = parser.parse_args()
    if args.keep:
        keep_figures(json.loads(args.keep.read_text()), ROOT / "hubtools" / "training" / "figures.json")
        return
    import torch

    small = args.device == "cpu" or not torch.cuda.is_available()
    args.device = "cpu" if small else "auto"
    # On a CPU every pass has the same size, for which torch compiles once: each size takes it a minute.
    defaults = {
        "seconds": 3600.0 if small else 85.0 if args.quick else 350.0, "rounds": 1 if args.quick or small else 3,
        "steps": 3 if small else 10 if args.quick else 20, "warm": 1 if small else 4, "rows": 4 if small else 128,
        "tokens": 512 if small else 32_768, "prompts": 40 if small else 10_000,
    }  # fmt: skip
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    from transformers.utils.logging import set_verbosity_error

    set_verbosity_error()
    bench = Bench(args)
    bench.report["limit_flops"] = matmul_flops(bench.device, bench.bf16)
    bench.report["limit_teraflops"] = round(bench.report["limit_flops"] / 1e12, 3)
    bench.keep()
    print(f"{bench.report['device']}: {bench.report['limit_teraflops']} TFLOP/s in one matrix product", file=sys.stderr)
    # Their processes begin here, and are waited for before anything is timed.
    listed = gpu_checks.list_checks(bench) if args.only in (None, "checks") else []
    checks = {name: (call, seconds) for name, call, seconds in listed}
    calls: dict[str, Callable[..., dict[str, Any]]] = {
        # Before the speed of what might be wrong.
        "checks": lambda bench, name: checks[name][0](),
        "runs": gpu_training.train,
        "profile": gpu_training.profile,
        "answers": gpu_answers.answer,
    }
    bench.do_all(plan(args, [(name, seconds) for name, (_, seconds) in checks.items()]), calls)
    bench.report["seconds"] = round(time.monotonic() - BEGAN, 1)
    bench.keep()
    print(table(bench.report))


def keep_figures(report: dict[str, Any], file: Path) -> None:
    """Put the speeds of hubtools' ways at the tasks' lengths where estimates of trainings look for them."""
    from hubtools.records.figures import Figure, keep_figure

    done = [run for run in report["runs"] if "failed" not in run and run["lengths"] == TASKS]
    ours = [run for run in done if run["way"] in (STATIC, COMPILED)]
    for size, way in dict.fromkeys((run["size"], run["way"]) for run in ours):
        mine = [run for run in ours if (run["size"], run["way"]) == (size, way)]
        layers, width, *_ = SIZES[size]
        figure = Figure(
            device=report["device"], layers=layers, width=width, path=mine[0]["path"], compiled=way == COMPILED,
            tokens_per_second=statistics.median(run["tokens_per_second"] for run in mine),
            # The H200's report counts allocated memory, which leaves out what recorded layers hold: as much as static.
            peak_gib=max(run["peak_gib"] for run in ours if run["size"] == size),
            compile_seconds=max(run["compile_s"] for run in mine),
        )  # fmt: skip
        keep_figure(file, figure)


def table(report: dict[str, Any]) -> str:
    """The runs as a table: median and range of the rounds."""
    from throughput import spread

    lines = [
        f"| {report['device']}, torch {report['torch']} | real tokens/s | of the limit | times dynamic | p50, p95 of a "
        "step (ms) | peak GiB | first step (s) |",
        "|---" * 7 + "|",
    ]
    done = [run for run in report["runs"] if "failed" not in run]
    for size, kind, way in dict.fromkeys((run["size"], run["lengths"], run["way"]) for run in done):
        mine = [run for run in done if (run["size"], run["lengths"], run["way"]) == (size, kind, way)]
        others = {
            run["round"]: run["tokens_per_second"]
            for run in done
            if (run["size"], run["lengths"], run["way"]) == (size, kind, DYNAMIC)
        }
        ratios = [run["tokens_per_second"] / others[run["round"]] for run in mine if run["round"] in others]
        p50, p95 = (statistics.median(run[key] for run in mine) for key in ("step_ms_p50", "step_ms_p95"))
        lines.append(
            f"| {size}, {kind}: {way} | {spread([run['tokens_per_second'] for run in mine], 0)} "
            f"| {spread([100 * run['utilisation'] for run in mine], 1, '%')} | {spread(ratios, 2)} "
            f"| {p50:.1f}, {p95:.1f} | {max(run['peak_gib'] for run in mine):.2f} "
            f"| {max(run['first_step_s'] for run in mine):.1f} |"
        )
    failed = [
        f"{run['name']}: {run['failed']}"
        for kind in ("runs", "answers", "checks")
        for run in report[kind]
        if "failed" in run
    ]
    wrong = [check["name"] for check in report["checks"] if check.get("ok") is False]
    lines += ["", f"In one matrix product: {report['limit_teraflops']} TFLOP/s, bf16 {report['bf16']}."]
    lines += [f"Failed: {line}" for line in failed] + [f"Wrong: {name}" for name in wrong]
    lines += [f"Left out, for want of time: {', '.join(report['left_out'])}."] if report["left_out"] else []
    return "\n".join(lines)


if __name__ == "__main__":
    main()
