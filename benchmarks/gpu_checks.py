"""Whether what a card computes is right: logits, a gradient, losses, a killed run, two processes, sharded weights.

Called by ``gpu.py``, and by itself for the trainings that are processes of their own.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from gpu_models import TASKS, Tokenizer, lengths_of, make_model, multitask_of, rows_of  # noqa: E402

STEPS = 12  # of the trainings that are killed, shared or sharded
KILLED_AT = 6
LIMIT = 120  # seconds of a training in processes of its own: one that hangs must not cost all else


def list_checks(bench: Any) -> list[tuple[str, Callable[[], dict[str, Any]], float]]:
    """Each check: what it is called, what makes it, and the seconds that it takes, guessed."""
    checks: list[tuple[str, Callable[[], dict[str, Any]], float]] = [
        ("logits of four heads against fp32 on the CPU", lambda: compare_logits(bench), 26),
        ("gradient of a step against padded batches", lambda: compare_gradient(bench), 25),
        ("no step waits for the device", lambda: check_waits(bench), 4),
    ]
    if bench.args.quick:
        return checks
    apart = Apart(bench)
    checks += [
        ("losses of 50 steps against the CPU's", lambda: compare_losses(bench), 15),
        ("a killed run goes on as if it had not been", lambda: resume_killed(apart), 20),
        ("two processes on one card", lambda: train_apart(apart, "two"), 10),
    ]
    if not bench.on_cpu:
        checks.append(("FSDP on one card", lambda: train_apart(apart, "fsdp"), 10))
    return checks


def pass_of(lengths: list[int], longest: int, **more: Any) -> tuple[Any, dict[str, Any]]:
    """Texts as a padded batch, and as the model's parameters of a pass of a fixed size."""
    import torch

    from hubtools.training.batching import Collator
    from hubtools.training.static import StaticCollator, measure_sizes

    rng = random.Random(3)
    rows: Any = [{"input_ids": [rng.randrange(10, 50_000) for _ in range(n)], "labels": 0, **more} for n in lengths]
    collator = Collator(0)
    batch = StaticCollator(collator, measure_sizes([*lengths, longest], sum(lengths) + 512, len(lengths)))(rows)
    [part] = batch["passes"]
    given = {name: value for name, value in part.items() if name not in ("rows", "labels")}
    given["attention_mask"] = torch.ones_like(part["rows"])[:, None]
    return (rows, collator(rows)), {**given, "longest": batch["longest"], "rows": part["rows"]}


def moved(given: dict[str, Any], device: Any) -> dict[str, Any]:
    """The tensors of ``given`` on a device."""
    return {name: value.to(device) if hasattr(value, "to") else value for name, value in given.items()}


def plain_logits(model: Any, rows: Any) -> dict[str, list[Any]]:
    """What each head answers to each text alone, in fp32 and without anything of ours: (tokens or 1, labels) each."""
    import torch

    found: dict[str, list[Any]] = {name: [] for name in model.heads}
    with torch.inference_mode():
        for row in rows:
            states = model.model(torch.tensor([row["input_ids"]])).last_hidden_state
            for per_token, (name, head) in zip(model.per_token, model.heads.items(), strict=True):
                found[name].append(head(states if per_token else states.mean(1, keepdim=True))[0])
    return found


def compare_logits(bench: Any) -> dict[str, Any]:
    """Packed, in the device's precision, against padded in fp32 on the CPU, for each head of the joint model."""
    import torch

    from hubtools.packing.encoder import choose_packing, pack

    model = multitask_of(bench, bench.args.size)
    count = 8 if bench.on_cpu else 64
    lengths = lengths_of(TASKS, count, random.Random(2))
    (rows, _), given = pass_of(lengths, 512, task=0)
    right = plain_logits(copy.deepcopy(model).cpu(), rows)
    choice = choose_packing(model, bench.device, bench.bf16)
    if not choice.way:
        return {"failed": choice.reason}
    pack(model, choice.way)
    numbers = given.pop("rows")
    found: dict[str, Any] = {"way": choice.way, "reason": choice.reason}
    worst = 0.0
    for number, name in enumerate(model.heads):
        with torch.inference_mode():
            here = moved(given | {"task": torch.full_like(numbers, number)}, bench.device)
            with torch.autocast(bench.device.type, torch.bfloat16, enabled=bench.bf16):
                logits = model(**here).logits[0].float().cpu()
        text, place = given["text"], given["position_ids"][0]
        real = numbers[text] < count
        if not model.per_token[number]:
            real &= place == 0
        expected = torch.stack([right[name][row][at] for row, at in zip(numbers[text[real]], place[real], strict=True)])
        computed = logits[real][:, : expected.shape[1]]
        difference = float((computed - expected).norm() / expected.norm())
        same = float((computed.argmax(-1) == expected.argmax(-1)).float().mean())
        found[name] = {"relative": float(f"{difference:.2g}"), "same_answer": round(same, 4)}
        worst = max(worst, difference)
    # bf16 keeps eight bits, and a deep model adds up their errors.
    return {**found, "worst": float(f"{worst:.2g}"), "ok": worst < (0.05 if bench.bf16 else 1e-4)}


def gradient_of(bench: Any, size: str, lengths: list[int], **options: Any) -> Any:
    """The gradient of one step, as a vector on the CPU, in this way of going through the model."""
    import torch
    from transformers import TrainingArguments

    from hubtools.training.loss import make_loss_function
    from hubtools.training.trainer import ClassifierTrainer

    model = make_model(bench, size)
    rows = rows_of(lengths)
    with tempfile.TemporaryDirectory() as scratch:
        args = TrainingArguments(
            scratch, use_cpu=bench.on_cpu, bf16=bench.bf16, per_device_train_batch_size=len(lengths), report_to="none"
        )
        trainer = ClassifierTrainer(
            model=model, args=args, train_dataset=rows, processing_class=Tokenizer(),  # type: ignore[arg-type]
            compute_loss_func=make_loss_function(None, tied=False), **options,
        )  # fmt: skip
        batch = trainer._prepare_inputs(trainer.data_collator([rows[i] for i in range(len(rows))]))
        # The Trainer does so when it begins, and from then on the model computes in the precision of the training.
        trainer.accelerator.prepare(model)
        trainer.training_step(model, batch, torch.tensor(len(rows), device=bench.device))
    return torch.cat([p.grad.detach().float().flatten().cpu() for p in model.parameters() if p.grad is not None])


def compare_gradient(bench: Any) -> dict[str, Any]:
    """Packed, static, and on a card recorded in several passes: of one step, in the precision of a training here."""
    lengths = lengths_of(TASKS, 32 if not bench.on_cpu else 8, random.Random(4))
    ways: dict[str, tuple[str, dict[str, Any]]] = {
        "packed": (bench.args.size, {"static": False}), "static": (bench.args.size, {"static": True}),
    }  # fmt: skip
    if not bench.on_cpu:
        # Several passes of one size: what a graph is about to write over is kept. The small model, since the other one
        # is yet to be compiled for the first time.
        ways["recorded"] = ("nano", {"static": True, "compiled": True, "tokens_per_batch": 1024})
    padded = {size: gradient_of(bench, size, lengths, may_pack=False) for size, _ in ways.values()}
    found: dict[str, Any] = {}
    for name, (size, options) in ways.items():
        gradient = gradient_of(bench, size, lengths, **options)
        found[name] = round(float((gradient - padded[size]).norm() / padded[size].norm()), 7)
    return {**found, "ok": max(found.values()) < (0.05 if bench.bf16 else 1e-4)}


def check_waits(bench: Any) -> dict[str, Any]:
    """Passes forward and backward while torch makes an error of every wait."""
    if bench.on_cpu:
        return {"ok": None, "note": "there is nothing to wait for on a CPU"}
    import torch
    from transformers import TrainingArguments

    from hubtools.training.loss import make_loss_function
    from hubtools.training.trainer import ClassifierTrainer

    model, rows = make_model(bench, "nano"), rows_of(lengths_of(TASKS, 64, random.Random(0)))
    with tempfile.TemporaryDirectory() as scratch:
        args = TrainingArguments(scratch, bf16=bench.bf16, per_device_train_batch_size=64, report_to="none")
        trainer = ClassifierTrainer(
            model=model, args=args, train_dataset=rows, processing_class=Tokenizer(),  # type: ignore[arg-type]
            compute_loss_func=make_loss_function([1.0, 2.0], tied=False),
        )  # fmt: skip
        batch = trainer._prepare_inputs(trainer.data_collator([rows[i] for i in range(64)]))
        count = torch.tensor(64, device=bench.device)
        trainer.accelerator.prepare(model)
        trainer.training_step(model, batch, count)  # kernels are loaded at their first use
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(3):
                trainer.training_step(model, batch, count)
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return {"ok": True}


def losses_of(bench: Any, steps: int, folder: str, **more: Any) -> list[float]:
    """The losses of a training of the small model on rows that it can learn, step by step."""
    from datasets import Dataset
    from transformers import PrinterCallback, TrainingArguments

    from hubtools.training.loss import make_loss_function
    from hubtools.training.trainer import ClassifierTrainer

    rng = random.Random(7)
    labels = [rng.randrange(2) for _ in range(16 * steps)]
    ids = [
        [rng.randrange(100 + 400 * label, 500 + 400 * label) for _ in range(rng.randrange(8, 90))] for label in labels
    ]
    rows = Dataset.from_dict({"input_ids": ids, "labels": labels, "length": [len(row) for row in ids]})
    options = {"save_strategy": "no", "bf16": bench.bf16, "use_cpu": bench.on_cpu} | more
    callbacks = options.pop("callbacks", [])
    resume = options.pop("resume", None)
    args = TrainingArguments(
        folder, max_steps=steps, per_device_train_batch_size=options.pop("rows", 16), report_to="none",
        learning_rate=3e-4, lr_scheduler_type="constant", logging_steps=1, disable_tqdm=True,
        dataloader_pin_memory=not bench.on_cpu, seed=0, **options,
    )  # fmt: skip
    trainer = ClassifierTrainer(
        model=make_model(bench, "nano"), args=args, train_dataset=rows, processing_class=Tokenizer(),  # type: ignore[arg-type]
        compute_loss_func=make_loss_function(None, tied=False), callbacks=callbacks, static=True,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=resume)
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def compare_losses(bench: Any) -> dict[str, Any]:
    """Fifty steps of the small model on the device and, in fp32, on the CPU; ten where these are the same."""
    import torch

    steps = 10 if bench.on_cpu else 50
    on_cpu = SimpleNamespace(torch=torch, device=torch.device("cpu"), on_cpu=True, bf16=False)
    with tempfile.TemporaryDirectory() as scratch:
        here, there = losses_of(bench, steps, scratch), losses_of(on_cpu, steps, scratch)
    apart = max(abs(a - b) for a, b in zip(here, there, strict=True))
    return {
        "steps": steps, "first": there[0], "last": there[-1], "last_here": here[-1], "apart": round(apart, 5),
        "ok": apart < 0.02,
    }  # fmt: skip


class Apart:
    """Trainings in processes of their own, and the losses of one that nothing happened to.

    On a GPU they begin at once, and are waited for when they are asked for: loading the libraries takes most of their
    time, and nothing that is timed runs beside them.
    """

    def __init__(self, bench: Any) -> None:
        self.bench, self.whole = bench, list[float]()
        self.folder = tempfile.TemporaryDirectory()
        self.begun: dict[str, subprocess.Popen[str]] = {}
        atexit.register(self.end)
        if not bench.on_cpu:
            for way in ("killed", "two", "fsdp"):
                self.begin(way)

    def begin(self, way: str) -> None:
        """Start a training, or several processes of one."""
        folder = Path(self.folder.name, "killed" if way == "again" else way)
        folder.mkdir(exist_ok=True)
        processes = {"two": 2, "fsdp": 1}.get(way, 0)
        launch = (
            ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] if processes else []
        )
        device = "cpu" if self.bench.on_cpu else "auto"
        command = [sys.executable, *launch, str(Path(__file__).resolve()), way, str(folder), device]
        self.begun[way] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def losses(self, way: str) -> list[float] | None:
        """Wait for a training; return its losses, None where it ended otherwise, or not at all."""
        if way not in self.begun:
            self.begin(way)
        process = self.begun[way]
        try:
            # A rehearsal has no time limit, and may share its processor.
            said, _ = process.communicate(timeout=None if self.bench.on_cpu else LIMIT)
        except subprocess.TimeoutExpired:
            self.end()
            return None
        lines = [line for line in said.splitlines() if line.startswith("LOSSES ")]
        return json.loads(lines[-1].removeprefix("LOSSES ")) if process.returncode == 0 and lines else None

    def undisturbed(self) -> list[float]:
        """Return the losses of the same training in this process."""
        self.whole = self.whole or losses_of(self.bench, STEPS, self.folder.name)
        return self.whole

    def end(self) -> None:
        """End what still runs, with all its processes."""
        for process in self.begun.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def resume_killed(apart: Apart) -> dict[str, Any]:
    """A training that is killed after a checkpoint and begun anew, against one that was not."""
    killed, again, whole = apart.losses("killed"), apart.losses("again"), apart.undisturbed()
    if killed is not None or again is None:
        return {"failed": "the run that was to be killed was not, or the one that goes on ended"}
    rest = STEPS - KILLED_AT
    difference = max(abs(a - b) for a, b in zip(whole[-rest:], again[-rest:], strict=True))
    return {"apart": round(difference, 6), "ok": difference < 0.02}


def train_apart(apart: Apart, way: str) -> dict[str, Any]:
    """A training on several processes, or with sharded weights, against one on one."""
    other = apart.losses(way)
    if other is None:
        return {"failed": f"the training ended, or took more than {LIMIT} s; its message stands above"}
    difference = max(abs(a - b) for a, b in zip(apart.undisturbed(), other, strict=True))
    return {"apart": round(difference, 6), "ok": difference < 0.05}


def main() -> None:
    """Train as ``sys.argv`` says, and print the losses."""
    way, folder, device = sys.argv[1:4]
    if way == "two":
        os.environ["LOCAL_RANK"] = "0"  # both on the one card there is
    import torch
    from transformers import TrainerCallback

    on_cpu = device == "cpu" or not torch.cuda.is_available()
    where = torch.device("cpu" if on_cpu else "cuda")
    bf16 = not on_cpu and torch.cuda.is_bf16_supported(including_emulation=False)
    bench = SimpleNamespace(torch=torch, device=where, on_cpu=on_cpu, bf16=bf16)
    more: dict[str, Any] = {}
    if way in ("killed", "again"):
        more = {"save_strategy": "steps", "save_steps": KILLED_AT}
    if way == "again":
        more["resume"] = str(Path(folder, f"checkpoint-{KILLED_AT}"))
    if way == "killed":

        class Kill(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step == KILLED_AT + 2:
                    os.kill(os.getpid(), 9)

        more["callbacks"] = [Kill()]
    if way == "two":
        more |= {"rows": 8, "ddp_backend": "gloo"}
    if way == "fsdp":
        more |= {"fsdp": "full_shard", "fsdp_config": {"transformer_layer_cls_to_wrap": ["ModernBertEncoderLayer"]}}
    losses = losses_of(bench, STEPS, folder, **more)
    if int(os.environ.get("RANK", "0")) == 0:
        print("LOSSES " + json.dumps(losses), flush=True)


if __name__ == "__main__":
    main()
