"""Whether what a card computes is right: logits, a gradient, losses, a killed run, two processes, sharded weights.

Called by ``gpu.py``, and by itself for the trainings that are processes of their own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]
STEPS = 12  # of the trainings that are killed, shared or sharded
KILLED_AT = 6


def list_checks(bench: Any) -> list[tuple[str, Callable[[], dict[str, Any]], float]]:
    """Each check: what it is called, what makes it, and the seconds that it needs."""
    checks: list[tuple[str, Callable[[], dict[str, Any]], float]] = [
        ("logits of four heads against fp32 on the CPU", lambda: compare_logits(bench), 20),
        ("gradient of a step against padded batches", lambda: compare_gradient(bench), 10),
        ("no step waits for the device", lambda: check_waits(bench), 10),
    ]
    if bench.args.quick:
        return checks
    checks += [
        ("losses of 50 steps against the CPU's", lambda: compare_losses(bench), 20),
        ("a killed run goes on as if it had not been", lambda: resume_killed(bench), 40),
        ("two processes on one card", lambda: train_apart(bench, "two", 2), 40),
    ]
    if not bench.on_cpu:
        checks.append(("FSDP on one card", lambda: train_apart(bench, "fsdp", 1), 30))
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
    from gpu import TASKS, lengths_of, multitask_of

    from hubtools.packing.encoder import choose_packing, pack

    model = multitask_of(bench, bench.args.size)
    count = 16 if bench.on_cpu else 64
    lengths = lengths_of(TASKS, count, random.Random(2))
    (rows, _), given = pass_of(lengths, 512, task=0)
    reference = multitask_of(SimpleNamespace(torch=torch, device=torch.device("cpu")), bench.args.size)
    reference.load_state_dict(model.state_dict())
    right = plain_logits(reference, rows)
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


def gradient_of(bench: Any, lengths: list[int], **options: Any) -> Any:
    """The gradient of one step, as a vector on the CPU, in this way of going through the model."""
    import torch
    from gpu import Tokenizer, make_model, rows_of
    from transformers import TrainingArguments

    from hubtools.training.loss import make_loss_function
    from hubtools.training.trainer import ClassifierTrainer

    model = make_model(bench, bench.args.size)
    rows = rows_of(lengths, 50_000)
    with tempfile.TemporaryDirectory() as scratch:
        args = TrainingArguments(
            scratch, use_cpu=bench.on_cpu, bf16=bench.bf16, per_device_train_batch_size=len(lengths), report_to="none"
        )
        trainer = ClassifierTrainer(
            model=model, args=args, train_dataset=rows, processing_class=Tokenizer(),  # type: ignore[arg-type]
            compute_loss_func=make_loss_function(None, tied=False), **options,
        )  # fmt: skip
        batch = trainer._prepare_inputs(trainer.data_collator([rows[i] for i in range(len(rows))]))
        trainer.training_step(model, batch, torch.tensor(len(rows), device=bench.device))
    return torch.cat([p.grad.detach().float().flatten().cpu() for p in model.parameters() if p.grad is not None])


def compare_gradient(bench: Any) -> dict[str, Any]:
    """Static, packed and padded: of one step, in the precision of a training here."""
    from gpu import TASKS, lengths_of

    lengths = lengths_of(TASKS, 32 if not bench.on_cpu else 8, random.Random(4))
    padded = gradient_of(bench, lengths, may_pack=False)
    found: dict[str, Any] = {}
    for name, options in {"packed": {"static": False}, "static": {"static": True}}.items():
        found[name] = round(float((gradient_of(bench, lengths, **options) - padded).norm() / padded.norm()), 7)
    return {**found, "ok": max(found.values()) < (0.05 if bench.bf16 else 1e-4)}


def check_waits(bench: Any) -> dict[str, Any]:
    """Passes forward and backward while torch makes an error of every wait."""
    if bench.on_cpu:
        return {"ok": None, "note": "there is nothing to wait for on a CPU"}
    import torch
    from gpu import TASKS, Tokenizer, lengths_of, make_model, rows_of
    from transformers import TrainingArguments

    from hubtools.training.loss import make_loss_function
    from hubtools.training.trainer import ClassifierTrainer

    model, rows = make_model(bench, "nano"), rows_of(lengths_of(TASKS, 64, random.Random(0)), 50_000)
    with tempfile.TemporaryDirectory() as scratch:
        args = TrainingArguments(scratch, bf16=bench.bf16, per_device_train_batch_size=64, report_to="none")
        trainer = ClassifierTrainer(
            model=model, args=args, train_dataset=rows, processing_class=Tokenizer(),  # type: ignore[arg-type]
            compute_loss_func=make_loss_function([1.0, 2.0], tied=False),
        )  # fmt: skip
        batch = trainer._prepare_inputs(trainer.data_collator([rows[i] for i in range(64)]))
        count = torch.tensor(64, device=bench.device)
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
    from gpu import Tokenizer, make_model
    from transformers import TrainingArguments

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
    trainer.train(resume_from_checkpoint=resume)
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def compare_losses(bench: Any) -> dict[str, Any]:
    """Fifty steps of the small model on the device and, in fp32, on the CPU."""
    import torch

    on_cpu = SimpleNamespace(torch=torch, device=torch.device("cpu"), on_cpu=True, bf16=False)
    with tempfile.TemporaryDirectory() as scratch:
        here, there = losses_of(bench, 50, scratch), losses_of(on_cpu, 50, scratch)
    apart = max(abs(a - b) for a, b in zip(here, there, strict=True))
    return {"first": there[0], "last": there[-1], "last_here": here[-1], "apart": round(apart, 5), "ok": apart < 0.1}


def resume_killed(bench: Any) -> dict[str, Any]:
    """A training that is killed after a checkpoint and begun anew, against one that was not."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = child(bench, "whole", Path(scratch, "whole"))
        killed = child(bench, "killed", Path(scratch, "killed"))
        again = child(bench, "again", Path(scratch, "killed"))
    if killed is not None or whole is None or again is None:
        return {"failed": "the run that was to be killed was not, or another was"}
    apart = max(abs(a - b) for a, b in zip(whole[-(STEPS - KILLED_AT) :], again[-(STEPS - KILLED_AT) :], strict=True))
    return {"apart": round(apart, 6), "ok": apart < 0.02}


def train_apart(bench: Any, way: str, processes: int) -> dict[str, Any]:
    """A training on several processes, or with sharded weights, against one on one."""
    with tempfile.TemporaryDirectory() as scratch:
        whole = child(bench, "whole", Path(scratch, "whole"))
        other = child(bench, way, Path(scratch, way), processes)
    if whole is None or other is None:
        return {"failed": "one of the trainings ended; its message stands above"}
    apart = max(abs(a - b) for a, b in zip(whole, other, strict=True))
    return {"apart": round(apart, 6), "ok": apart < 0.05}


def child(bench: Any, way: str, folder: Path, processes: int = 0) -> list[float] | None:
    """The losses of a training in a process of its own, or in several; None where it ended otherwise."""
    folder.mkdir(exist_ok=True)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] if processes else []
    device = "cpu" if bench.on_cpu else "auto"
    command = [sys.executable, *launch, str(Path(__file__).resolve()), way, str(folder), device]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("LOSSES ")]
    return json.loads(lines[-1].removeprefix("LOSSES ")) if done.returncode == 0 and lines else None


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
