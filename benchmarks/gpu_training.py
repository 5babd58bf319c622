"""Fine-tuning steps of the GPU benchmark, in every way: their speed, and where the milliseconds of one go."""

from __future__ import annotations

import contextlib
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpu_models import TASKS, Tokenizer, lengths_of, make_model, rows_of, stock_collator
from gpu_plan import COMPILED, FIXED, GROUPED, PACKED, STOCK_COMPILED
from throughput import flops_of_a_token, forget_peak, peak_bytes


@contextlib.contextmanager
def trainer_of(bench: Any, way: str, size: str, rows: Any, steps: int, clock: Any) -> Iterator[Any]:
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


def make_clock(bench: Any, warm: int) -> Any:
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


def train(bench: Any, way: str, size: str, kind: str, round_number: int) -> dict[str, Any]:
    """Some steps of one way: real tokens a second, utilisation, memory, milliseconds of a step."""
    args = bench.args
    # A compiler meets most sizes of passes in its first steps.
    warm, timed = args.warm + (6 if way in (COMPILED, STOCK_COMPILED) and not bench.on_cpu else 0), args.steps
    lengths = lengths_of(kind, args.rows * (warm + timed), random.Random(round_number))
    if kind != TASKS:  # as many tokens a step, whatever their length
        lengths = lengths[: max(1, args.rows * 137 // int(kind)) * (warm + timed)]
    rows = rows_of(lengths)
    from transformers import PrinterCallback

    from hubtools.training.trainer import count_tokens

    clock = make_clock(bench, warm)
    counted: list[Any] = []
    with trainer_of(bench, way, size, rows, warm + timed, clock) as trainer:
        if kind != TASKS:
            trainer.args.per_device_train_batch_size = len(lengths) // (warm + timed)
            trainer._train_batch_size = trainer.args.per_device_train_batch_size
        trainer.remove_callback(PrinterCallback)
        inner = trainer.training_step

        def count(model: Any, inputs: Any, items: Any = None) -> Any:
            # A stock Trainer's batch is counted on the device, which nothing waits for until the end.
            counted.append(count_tokens(inputs) or inputs["attention_mask"].sum())
            return inner(model, inputs, items)

        trainer.training_step = count
        trainer.train()
        path = getattr(trainer, "path", "")
        compiling = getattr(trainer, "compile_seconds", 0.0)
        was_compiled = getattr(trainer, "compiled", None)
        model = trainer.model
    per_second = int(sum(counted[warm:])) / clock.seconds
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


def profile(bench: Any, way: str) -> dict[str, Any]:
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
                recorder.start()  # takes seconds on a GPU, the first time
                bench.wait()
                took.append(-time.perf_counter())

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == warm + 1:
                bench.wait()
                took[0] += time.perf_counter()
                recorder.stop()

    rows = rows_of(lengths_of(TASKS, bench.args.rows * (warm + 1), random.Random(0)))
    with trainer_of(bench, way, bench.args.size, rows, warm + 1, Watch()) as trainer:
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
            for entry in entries[:30]
        ],
    }  # fmt: skip
