"""What a GPU does with this package, in one command of at most six minutes, without a network.

    python benchmarks/gpu.py                             # ModernBERT-base, random weights
    python benchmarks/gpu.py --quick                     # 90 seconds: the shortest look
    python benchmarks/gpu.py --device cpu --size nano    # a rehearsal; says nothing of a GPU

First what one large matrix product reaches, which is the limit of all else. Then fine-tuning steps on texts of the
lengths that our tasks have, in every way: the stock Trainer with every text padded to the maximum, batch by batch, by
like length, and with its own ``torch_compile``; hubtools packed as the device likes, in passes of few sizes, and these
compiled. The order of ways turns with every round. Dynamic, static and compiled alone also at 512 and 2,048 tokens, and
at the large size. Then answers: one prompt, four answers by one body, ten thousand prompts. Then whether what the card
computes is right (``gpu_checks.py``), and where the milliseconds of a step go.

Tokens are real ones: padding does not count. Utilisation is the share of the matrix product's operations a second that
the model's take, by the formula of ``throughput.py``. What was measured is in ``results/gpu-<card>.json`` after every
run: an interrupted benchmark loses nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from throughput import flops_of_a_token, forget_peak, matmul_flops, peak_bytes  # noqa: E402

RESULTS = Path(__file__).parent / "results"
FIXED, DYNAMIC, GROUPED, STOCK_COMPILED = "fixed", "dynamic", "grouped", "dynamic, torch_compile"
PACKED, STATIC, COMPILED = "hubtools, packed", "hubtools, static", "hubtools, compiled"
WAYS = (FIXED, DYNAMIC, GROUPED, STOCK_COMPILED, PACKED, STATIC, COMPILED)
FEW = (DYNAMIC, STATIC, COMPILED)
# Layers, width, intermediate size, heads. Base and large are ModernBERT's own, of which the configuration's defaults
# are the base; nano is of the packaged model's size.
SIZES = {"nano": (4, 256, 384, 4), "base": (22, 768, 1152, 12), "large": (28, 1024, 2624, 16)}
TASKS = "the tasks' lengths"


def lengths_of(kind: str, count: int, rng: random.Random) -> list[int]:
    """Lengths in tokens: as prompts have them, 137 on average and at most 512; or all the same."""
    if kind == TASKS:
        return [min(512, max(6, round(rng.lognormvariate(4.6, 0.8)))) for _ in range(count)]
    return [int(kind)] * count


def rows_of(lengths: list[int], vocabulary: int, per_token: bool = False) -> Any:
    """A dataset of random tokens and labels."""
    from datasets import Dataset

    rng = random.Random(1)
    ids = [[rng.randrange(10, vocabulary) for _ in range(n)] for n in lengths]
    labels = [[rng.randrange(3) for _ in row] if per_token else rng.randrange(2) for row in ids]
    return Dataset.from_dict({"input_ids": ids, "labels": labels, "length": lengths})


def config_of(size: str, **more: Any) -> Any:
    """ModernBERT's configuration of a size."""
    from transformers import ModernBertConfig

    layers, width, inner, heads = SIZES[size]
    return ModernBertConfig(
        num_hidden_layers=layers, hidden_size=width, intermediate_size=inner, num_attention_heads=heads,
        classifier_pooling="mean", num_labels=2, bos_token_id=None, eos_token_id=None, **more,
    )  # fmt: skip


class Tokenizer:
    """As much of a tokenizer as a Trainer asks for: the rows are tokens already."""

    pad_token_id = 0
    padding_side = "right"
    model_input_names = ("input_ids", "attention_mask")

    def pad(self, rows: Any, padding: Any = True, max_length: int | None = None, **_: Any) -> Any:
        """Pad to the longest, or to ``max_length``; called by transformers' own collator."""
        import torch
        from transformers import BatchEncoding

        longest = max_length if padding == "max_length" and max_length else max(len(row["input_ids"]) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for line, row in enumerate(rows):
            ids[line, : len(row["input_ids"])] = torch.tensor(row["input_ids"])
            mask[line, : len(row["input_ids"])] = 1
        labels = torch.tensor([row.get("labels", row.get("label")) for row in rows])
        return BatchEncoding({"input_ids": ids, "attention_mask": mask, "labels": labels})

    def save_pretrained(self, *_: Any, **__: Any) -> tuple[str, ...]:
        """Nothing: a checkpoint of ours needs no tokenizer."""
        return ()


def stock_collator(longest: int | None) -> Callable[[Any], Any]:
    """Transformers' padding of a batch: to its longest text, or to ``longest``."""
    tokenizer = Tokenizer()
    options: dict[str, Any] = {"padding": "max_length", "max_length": longest} if longest else {}
    return lambda rows: tokenizer.pad(rows, **options)


class Bench:
    """The device, what is asked of it, and the report, written after every run."""

    def __init__(self, args: argparse.Namespace) -> None:
        import torch

        self.args, self.torch = args, torch
        self.on_cpu = args.device == "cpu" or not torch.cuda.is_available()
        self.device = torch.device("cpu" if self.on_cpu else "cuda")
        self.bf16 = not self.on_cpu and torch.cuda.is_bf16_supported(including_emulation=False)
        self.began = time.monotonic()
        name = "cpu" if self.on_cpu else torch.cuda.get_device_name().replace(" ", "-").lower()
        self.file = args.out or RESULTS / f"gpu-{name}.json"
        self.report: dict[str, Any] = {
            "device": "CPU" if self.on_cpu else torch.cuda.get_device_name(), "driver": driver(self.on_cpu),
            "python": platform.python_version(), **versions(), "bf16": self.bf16, "size": args.size,
            "quick": args.quick, "rows_a_step": args.rows, "tokens_per_batch": args.tokens, "runs": [], "answers": [],
            "checks": [], "profile": [], "left_out": [],
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
        return float(self.args.seconds) - (time.monotonic() - self.began)

    def do(self, kind: str, name: str, call: Callable[[], dict[str, Any]], needs: float) -> None:
        """Run one part, keep what it found, and go on whatever happens to it.

        Args:
            needs: seconds, without which it is left out.
        """
        if self.seconds_left() < needs:
            self.report["left_out"].append(name)
            self.keep()
            return
        began = time.monotonic()
        try:
            found = call()
        except Exception as error:  # one way that fails must not cost the others
            first = str(error).strip().splitlines() or [""]
            found = {"failed": f"{type(error).__name__}: {first[0][:300]}"}
        found = {"name": name, **found, "took": round(time.monotonic() - began, 1)}
        self.report[kind].append(found)
        self.keep()
        shown = {key: value for key, value in found.items() if key not in ("name", "path")}
        print(f"[{time.monotonic() - self.began:5.0f} s] {name}: {json.dumps(shown)}", file=sys.stderr, flush=True)
        gc.collect()
        if not self.on_cpu:
            self.torch.cuda.empty_cache()

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


# --- fine-tuning ------------------------------------------------------------------------------------------------------


def make_model(bench: Bench, size: str) -> Any:
    """A classifier with random weights, made on the device."""
    from transformers import ModernBertForSequenceClassification

    bench.torch.manual_seed(0)
    with bench.device:
        return ModernBertForSequenceClassification(config_of(size))


@contextlib.contextmanager
def trainer_of(bench: Bench, way: str, size: str, rows: Any, steps: int, clock: Any) -> Iterator[Any]:
    """A Trainer of one way that will take so many steps."""
    from transformers import Trainer, TrainingArguments

    from hubtools.training.loss import make_loss_function
    from hubtools.training.trainer import ClassifierTrainer

    model, args = make_model(bench, size), bench.args
    with tempfile.TemporaryDirectory() as scratch:
        arguments = TrainingArguments(
            scratch, use_cpu=bench.on_cpu, max_steps=steps, per_device_train_batch_size=args.rows, report_to="none",
            learning_rate=3e-5, save_strategy="no", logging_strategy="no", disable_tqdm=True, bf16=bench.bf16,
            dataloader_pin_memory=not bench.on_cpu, dataloader_num_workers=0 if bench.on_cpu else 2,
            logging_nan_inf_filter=False, torch_compile=way == STOCK_COMPILED,
            train_sampling_strategy="group_by_length" if way == GROUPED else "random",
            accelerator_config={"non_blocking": not bench.on_cpu},
        )  # fmt: skip
        common = {"model": model, "args": arguments, "train_dataset": rows, "callbacks": [clock]}
        if way.startswith("hubtools"):
            yield ClassifierTrainer(
                processing_class=Tokenizer(), compute_loss_func=make_loss_function(None, tied=False),  # type: ignore[arg-type]
                tokens_per_batch=args.tokens, static=way != PACKED, compiled=way == COMPILED,
                cache=Path(args.cache) if args.cache else None, **common,
            )  # fmt: skip
        else:
            longest = max(rows["length"][:]) if way == FIXED else None
            yield Trainer(data_collator=stock_collator(longest), **common)


def make_clock(bench: Bench, warm: int) -> Any:
    """A callback that times the steps behind the first ``warm`` ones, each by the device's own clock."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.began = time.perf_counter()
            self.first, self.seconds, self.marks = 0.0, 0.0, list[Any]()

        def mark(self) -> None:
            if bench.on_cpu:
                self.marks.append(time.perf_counter())
            else:
                event = bench.torch.cuda.Event(enable_timing=True)
                event.record()
                self.marks.append(event)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 1:
                bench.wait()
                self.first = time.perf_counter() - self.began
            if state.global_step == warm:
                bench.wait()
                forget_peak(bench.on_cpu)
                self.seconds = -time.perf_counter()
                self.mark()
            elif state.global_step > warm:
                self.mark()
            if state.global_step == state.max_steps:
                bench.wait()
                self.seconds += time.perf_counter()

        def milliseconds(self) -> list[float]:
            pairs = zip(self.marks, self.marks[1:], strict=False)
            return [1000 * (b - a) if bench.on_cpu else a.elapsed_time(b) for a, b in pairs]

    return Clock()


def train(bench: Bench, way: str, size: str, kind: str, round_number: int) -> dict[str, Any]:
    """Some steps of one way: real tokens a second, utilisation, memory, milliseconds of a step."""
    args = bench.args
    # A compiler meets most sizes of passes in its first steps.
    warm, timed = args.warm + (6 if way in (COMPILED, STOCK_COMPILED) and not bench.on_cpu else 0), args.steps
    lengths = lengths_of(kind, args.rows * (warm + timed), random.Random(round_number))
    if kind != TASKS:  # as many tokens a step, whatever their length
        lengths = lengths[: max(1, args.rows * 137 // int(kind)) * (warm + timed)]
    rows = rows_of(lengths, 50_000)
    from transformers import PrinterCallback

    from hubtools.training.trainer import count_tokens

    clock = make_clock(bench, warm)
    counted: list[int] = []
    with trainer_of(bench, way, size, rows, warm + timed, clock) as trainer:
        if kind != TASKS:
            trainer.args.per_device_train_batch_size = len(lengths) // (warm + timed)
            trainer._train_batch_size = trainer.args.per_device_train_batch_size
        trainer.remove_callback(PrinterCallback)
        inner = trainer.training_step

        def count(model: Any, inputs: Any, items: Any = None) -> Any:
            counted.append(count_tokens(inputs))
            return inner(model, inputs, items)

        trainer.training_step = count
        trainer.train()
        path = getattr(trainer, "path", "")
        compiling = getattr(trainer, "compile_seconds", 0.0)
        was_compiled = getattr(trainer, "compiled", None)
        model = trainer.model
    # There is one epoch, of which the timed steps have their share, unless the batches say how many tokens they hold.
    exact = sum(counted[warm:])
    real = exact or sum(lengths) * timed / (warm + timed)
    per_second = real / clock.seconds
    teraflops = per_second * flops_of_a_token(getattr(model, "_orig_mod", model), lengths) / 1e12
    each = sorted(clock.milliseconds())
    found = {
        "way": way, "size": size, "lengths": kind, "round": round_number,
        "tokens_per_second": round(per_second, 1),
        "utilisation": round(teraflops * 1e12 / bench.report["limit_flops"], 4),
        "step_ms_p50": round(statistics.median(each), 2), "step_ms_p95": round(each[-(-95 * len(each) // 100) - 1], 2),
        "first_step_s": round(clock.first, 2), "compile_s": compiling,
        "peak_gib": round(peak_bytes(bench.on_cpu) / 2**30, 3), "path": path,
    }  # fmt: skip
    if way == COMPILED and not was_compiled:
        found["failed"] = "layers are not compiled; see the line above"
    return found


# --- answers ----------------------------------------------------------------------------------------------------------


def timed(bench: Bench, call: Callable[[], object], count: int) -> list[float]:
    """Milliseconds of each call, the first two left out."""
    took = []
    for _ in range(count + 2):
        began = time.perf_counter()
        call()
        bench.wait()
        took.append(1000 * (time.perf_counter() - began))
    return took[2:]


def answer_one(bench: Bench, size: str, length: int) -> dict[str, Any]:
    """One prompt, as a router asks."""
    from hubtools.packing.answering import ManyAtOnce

    model = make_model(bench, size).eval()
    ask, row = ManyAtOnce(model, 0), [5] * length
    each = timed(bench, lambda: ask.run_rows([row]), 20)
    return {"length": length, "ms_p50": round(statistics.median(each), 2), "ms_p95": round(sorted(each)[-2], 2)}


def multitask_of(bench: Bench, size: str) -> Any:
    """One body with the heads of the four tasks, random weights."""
    from hubtools.tasks import TASKS as BUILT_IN
    from hubtools.training.multitask_model import MultitaskClassifier

    heads = {name: (task.head, len(task.model_labels(task.label_set()))) for name, task in BUILT_IN.items()}
    bench.torch.manual_seed(0)
    return MultitaskClassifier(config_of(size), heads).to(bench.device).eval()


def answer_four(bench: Bench, size: str, length: int) -> dict[str, Any]:
    """Four answers to one prompt, by one pass through the body."""
    torch, model = bench.torch, multitask_of(bench, size)
    ids = torch.full((1, length), 5, device=bench.device)

    def ask() -> list[Any]:
        with torch.inference_mode():
            states = model.model(input_ids=ids).last_hidden_state
            pooled = states.mean(1, keepdim=True)
            heads = zip(model.per_token, model.heads.values(), strict=True)
            return [head(states if per_token else pooled).softmax(-1).cpu() for per_token, head in heads]

    each = timed(bench, ask, 20)
    return {"length": length, "ms_p50": round(statistics.median(each), 2), "ms_p95": round(sorted(each)[-2], 2)}


def answer_many(bench: Bench, size: str, count: int, dtype: str) -> dict[str, Any]:
    """A batch of prompts of the tasks' lengths, all at once."""
    from hubtools.packing.answering import ManyAtOnce

    model = make_model(bench, size).eval().to(getattr(bench.torch, dtype))
    lengths = lengths_of(TASKS, count, random.Random(5))
    rows = [[5] * n for n in lengths]
    ask = ManyAtOnce(model, 0)
    ask.run_rows(rows[: max(1, count // 20)])
    bench.wait()
    launches, began = ask.launches, time.perf_counter()
    ask.run_rows(rows)
    bench.wait()
    seconds = time.perf_counter() - began
    return {
        "prompts": count, "dtype": dtype, "seconds": round(seconds, 2), "launches": ask.launches - launches,
        "prompts_per_second": round(count / seconds, 1), "tokens_per_second": round(sum(lengths) / seconds, 1),
    }  # fmt: skip


# --- where the milliseconds go ----------------------------------------------------------------------------------------


def profile(bench: Bench, way: str, size: str) -> dict[str, Any]:
    """The operations that a step spends most of its time in, and the share of time in which the device has none."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record
    from transformers import TrainerCallback

    warm, kinds = bench.args.warm, [ProfilerActivity.CPU, *([] if bench.on_cpu else [ProfilerActivity.CUDA])]
    recorder = record(activities=kinds)
    took: list[float] = []

    class Watch(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == warm:
                bench.wait()
                took.append(-time.perf_counter())
                recorder.start()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == warm + 1:
                bench.wait()
                recorder.stop()
                took[0] += time.perf_counter()

    rows = rows_of(lengths_of(TASKS, bench.args.rows * (warm + 1), random.Random(0)), 50_000)
    with trainer_of(bench, way, size, rows, warm + 1, Watch()) as trainer:
        trainer.train()
    key = "self_cpu_time_total" if bench.on_cpu else "self_device_time_total"
    entries = sorted(recorder.key_averages(), key=lambda entry: -getattr(entry, key))
    # Of a GPU, the kernels alone: an operation would count them again.
    if not bench.on_cpu:
        entries = [entry for entry in entries if "CUDA" in str(entry.device_type)]
    total = sum(getattr(entry, key) for entry in entries) / 1000
    return {
        "way": way, "step_ms": round(1000 * took[0], 2), "busy_ms": round(total, 2),
        "launches": sum(entry.count for entry in entries),
        "most": [
            {"what": entry.key[:80], "ms": round(getattr(entry, key) / 1000, 3), "count": entry.count}
            for entry in entries[:12]
        ],
    }  # fmt: skip


# --- the whole --------------------------------------------------------------------------------------------------------


def plan(args: argparse.Namespace) -> list[tuple[str, str, str, int]]:
    """The training runs in their order: way, size, lengths, round. What matters most comes first."""
    runs = []
    for number in range(args.rounds):
        # On a CPU torch compiles each new length for minutes.
        ways = [way for way in (FEW if args.quick else WAYS) if args.device != "cpu" or way != STOCK_COMPILED]
        runs += [(way, args.size, TASKS, number) for way in (ways if number % 2 == 0 else ways[::-1])]
    if args.quick or args.device == "cpu":
        return runs
    runs += [(way, args.size, kind, 0) for kind in ("512", "2048") for way in FEW]
    return runs + [(way, "large", TASKS, 0) for way in FEW]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--size", choices=("nano", "base"), default="base")
    parser.add_argument("--quick", action="store_true", help="90 seconds")
    parser.add_argument("--seconds", type=float, help="stop beginning runs then [350, with --quick 85]")
    parser.add_argument("--rounds", type=int, help="[3, with --quick 1]")
    parser.add_argument("--steps", type=int, help="timed, a run [20, with --quick 10]")
    parser.add_argument("--warm", type=int, default=4, help="steps before them")
    parser.add_argument("--rows", type=int, help="of a step [128, on a CPU 8]")
    parser.add_argument("--tokens", type=int, help="at once, at most [32768, on a CPU 4096]")
    parser.add_argument("--prompts", type=int, help="of a batch to answer [10000, on a CPU 100]")
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
    defaults = {
        "seconds": 85.0 if args.quick and not small else 350.0, "rounds": 1 if args.quick else 3,
        "steps": 10 if args.quick else 20, "rows": 8 if small else 128, "tokens": 4096 if small else 32_768,
        "prompts": 100 if small else 10_000,
    }  # fmt: skip
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if small and args.out is None:
        args.out = RESULTS / "gpu-rehearsal.json"
    from transformers.utils.logging import set_verbosity_error

    set_verbosity_error()
    bench = Bench(args)
    bench.report["limit_flops"] = matmul_flops(bench.device, bench.bf16)
    bench.report["limit_teraflops"] = round(bench.report["limit_flops"] / 1e12, 3)
    bench.keep()
    print(f"{bench.report['device']}: {bench.report['limit_teraflops']} TFLOP/s in one matrix product", file=sys.stderr)
    if args.only in (None, "checks"):
        import gpu_checks

        # Before the speed of what might be wrong.
        for name, call, needs in gpu_checks.list_checks(bench):
            bench.do("checks", name, call, needs)
    if args.only in (None, "speed"):
        for way, size, kind, number in plan(args):
            name = f"{size}, {kind}, {way}, round {number + 1}"
            bench.do("runs", name, lambda r=(way, size, kind, number): train(bench, *r), 12)  # type: ignore[misc]
        for way in (STATIC, COMPILED):
            bench.do("profile", f"profile of {way}", lambda way=way: profile(bench, way, args.size), 10)  # type: ignore[misc]
    if args.only in (None, "answers"):
        for length in (32, 128, 512):
            bench.do("answers", f"one prompt of {length}", lambda n=length: answer_one(bench, args.size, n), 5)  # type: ignore[misc]
        bench.do("answers", "four answers to one prompt", lambda: answer_four(bench, args.size, 128), 5)
        for dtype in ("float32", "bfloat16"):
            name = f"{args.prompts} prompts, {dtype}"
            bench.do("answers", name, lambda d=dtype: answer_many(bench, args.size, args.prompts, d), 10)  # type: ignore[misc]
    bench.report["seconds"] = round(time.monotonic() - bench.began, 1)
    bench.keep()
    print(table(bench.report))


def keep_figures(report: dict[str, Any], file: Path) -> None:
    """Put the speeds of hubtools' ways at the tasks' lengths where estimates of trainings look for them."""
    from hubtools.records.figures import Figure, keep_figure

    done = [run for run in report["runs"] if "failed" not in run and run["lengths"] == TASKS]
    for size, way in dict.fromkeys((run["size"], run["way"]) for run in done if run["way"] in (STATIC, COMPILED)):
        mine = [run for run in done if (run["size"], run["way"]) == (size, way)]
        layers, width, *_ = SIZES[size]
        figure = Figure(
            device=report["device"], layers=layers, width=width, path=mine[0]["path"], compiled=way == COMPILED,
            tokens_per_second=statistics.median(run["tokens_per_second"] for run in mine),
            peak_gib=max(run["peak_gib"] for run in mine), compile_seconds=max(run["compile_s"] for run in mine),
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
