"""Fine-tuning against the ways it is usually done: real tokens a second, memory, and the score that comes out.

    python benchmarks/throughput.py --mirror DIR                # the nano model, rows of the public jailbreak data
    python benchmarks/throughput.py --mirror DIR --size base    # ModernBERT-base's size with random weights, then nano

One model, one dataset, the same epochs, rows a step and learning rate, on one device, in four ways: the plain Trainer
with every text padded to the maximum, with every batch padded to its longest text, with batches of like length
(``group_by_length``), and hubtools' Trainer with its defaults; where these mean bf16, hubtools in fp32 as well. Each
training is a process of its own, one after another, the ways in turn, round by round; a ratio is of two trainings of
one round, which share their seed. Padding does not count as tokens; loading, encoding and scoring are not timed.

Random weights learn nothing in a few steps: at ModernBERT-base's size nothing is scored, and the same ways are scored
with the nano model. The rows are as long as those of the whole training split, however few they are. The Trainer's
``group_by_length`` sorts within a quarter of the steps, at most 50: of the two steps at ModernBERT-base's size, it has
nothing to sort, and shows what it does with the nano model. Without ``--mirror``, rows are of the starter corpus.

Prints a table. What was measured is in ``benchmarks/results/throughput.json`` after every training.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

RESULTS = Path(__file__).parent / "results"
STARTER = Path(__file__).parent.parent / "hubtools" / "starter"
NANO = STARTER / "hubtools" / "modernbert-nano"
FIXED, DYNAMIC, GROUPED = "padded to the maximum", "padded batch by batch", "batches of like length"
OURS, OURS_FP32 = "hubtools", "hubtools, fp32"
WAYS = (FIXED, DYNAMIC, GROUPED, OURS)
# Rows of the training split, 0 for all, and epochs: on two cores, some minutes a round.
AMOUNT = {"base": (32, 1), "nano": (0, 2)}


def curated(mirror: Path | None, root: Path) -> str:
    """The jailbreak data as hubtools curates it, in ``root``/dataset; returns where it is from."""
    from hubtools.curation.build import CurationInputs, curate
    from hubtools.curation.sources import SourceFiles
    from hubtools.tasks.jailbreak import JAILBREAK
    from hubtools.workdir import TaskFolder

    source = JAILBREAK.whole_sources[0] if mirror else JAILBREAK.starter
    folder = (mirror or STARTER) / source.id
    files = tuple((split, folder / name) for split, names in source.files.items() for name in names)
    inputs = CurationInputs((SourceFiles(source, files, "mirror"),), JAILBREAK.label_set())
    curate(JAILBREAK, TaskFolder(root), inputs)
    return source.id


def spread_out(lengths: Sequence[int], count: int) -> list[int]:
    """``count`` row numbers whose lengths are distributed as all are: every so-manieth of the rows by length."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    count = min(count, len(order))
    return sorted(order[(2 * i + 1) * len(order) // (2 * count)] for i in range(count))


def fresh_model(spec: SimpleNamespace, tokenizer: Any) -> Any:
    """The model that is trained: the nano, that of a folder, or one of ModernBERT-base's size with random weights."""
    import torch
    from transformers import AutoModelForSequenceClassification, ModernBertConfig, ModernBertForSequenceClassification

    if spec.size != "base":
        model = AutoModelForSequenceClassification.from_pretrained(spec.folder, num_labels=2, dtype=torch.float32)
    else:
        special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
        model = ModernBertForSequenceClassification(
            ModernBertConfig(
                num_labels=2, classifier_pooling="mean", bos_token_id=None, eos_token_id=None, **special
            )
        )  # fmt: skip
    return model


def trained(way: str, spec: SimpleNamespace) -> dict[str, Any]:
    """One training in this process: seconds, real tokens, peak memory, and the scores on the test split."""
    import torch
    from datasets import load_dataset
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments, set_seed
    from transformers.utils.logging import set_verbosity_error

    from hubtools.tasks.jailbreak import JAILBREAK
    from hubtools.training.encoding import encode_splits
    from hubtools.training.loss import make_loss_function
    from hubtools.training.plan import has_bf16
    from hubtools.training.trainer import ClassifierTrainer

    set_verbosity_error()  # no report of the new head
    if spec.threads:
        torch.set_num_threads(spec.threads)
    tokenizer = AutoTokenizer.from_pretrained(spec.folder)
    data = load_dataset(str(Path(spec.data) / "dataset"))
    encoded = encode_splits(
        {"train": data["train"], "validation": data["test"]},
        tokenizer,
        spec.max_length,
        JAILBREAK.head,
        JAILBREAK.label_set(),
        Path(spec.data) / "tokens",
    )
    train, test = encoded["train"], encoded["validation"]
    if spec.rows:
        train = train.select(spread_out(train["length"][:], spec.rows))
    set_seed(spec.seed)
    model = fresh_model(spec, tokenizer)

    on_cpu = spec.device == "cpu" or not torch.cuda.is_available()
    ours = way in (OURS, OURS_FP32)
    bf16 = has_bf16(on_cpu, model.config) and (way == OURS or (spec.bf16 and not ours))
    with tempfile.TemporaryDirectory() as scratch:
        args = TrainingArguments(
            scratch, use_cpu=on_cpu, num_train_epochs=spec.epochs, per_device_train_batch_size=spec.batch,
            per_device_eval_batch_size=64, learning_rate=spec.learning_rate, warmup_steps=0.1, weight_decay=0.01,
            seed=spec.seed, report_to="none", save_strategy="no", disable_tqdm=True, logging_strategy="no",
            dataloader_pin_memory=not on_cpu, logging_nan_inf_filter=not ours, bf16=bf16,
            train_sampling_strategy="group_by_length" if way == GROUPED else "random",
        )  # fmt: skip
        common: dict[str, Any] = {"model": model, "args": args, "train_dataset": train, "processing_class": tokenizer}
        if ours:
            trainer: Trainer = ClassifierTrainer(compute_loss_func=make_loss_function(None, tied=False), **common)
        else:
            padding = {"padding": "max_length", "max_length": spec.max_length} if way == FIXED else {}
            trainer = Trainer(data_collator=DataCollatorWithPadding(tokenizer, **padding), **common)
        warm_up(model, args.device, bf16)
        forget_peak(on_cpu)
        began, cpu = time.perf_counter(), time.process_time()
        trainer.train()
        if not on_cpu:
            torch.cuda.synchronize()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        peak = peak_bytes(on_cpu)
        scores = {} if spec.size == "base" else scores_of(trainer.predict(test))
    lengths = train["length"][:]
    per_second = sum(lengths) * spec.epochs / seconds
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "tokens_per_second": round(per_second, 1),
        "peak_gib": round(peak / 2**30, 3),
        "teraflops": round(per_second * flops_of_a_token(model, lengths) / 1e12, 5),
        "matmul_teraflops": round(matmul_flops(args.device, bf16) / 1e12, 5),
        **scores,
        "steps": trainer.state.global_step,
        "rows": len(train),
        "mean_length": round(sum(lengths) / len(train), 1),
        "bf16": bf16,
        "path": trainer.path if isinstance(trainer, ClassifierTrainer) else "",
        "device": "CPU" if on_cpu else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def scores_of(found: Any) -> dict[str, float]:
    """Scores of a detector that do not depend on a threshold, from the Trainer's predictions."""
    from scipy.special import softmax
    from sklearn.metrics import average_precision_score, roc_auc_score

    jailbreak = softmax(found.predictions, axis=-1)[:, 1]
    return {
        "roc_auc": round(float(roc_auc_score(found.label_ids, jailbreak)), 5),
        "pr_auc": round(float(average_precision_score(found.label_ids, jailbreak)), 5),
    }


def warm_up(model: Any, device: Any, bf16: bool) -> None:
    """A short text forward and backward, so that what is loaded at the first use is loaded."""
    import torch

    ids = torch.zeros((1, 16), dtype=torch.long, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    logits.float().sum().backward()
    model.zero_grad()


def forget_peak(on_cpu: bool) -> None:
    """Count the peak memory from here on."""
    import torch

    if not on_cpu:
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes(on_cpu: bool) -> int:
    """The most memory since :func:`forget_peak`: of the device, or resident of this process, libraries and all."""
    import torch

    if not on_cpu:  # what torch took from the driver: recorded graphs do not count as allocated
        return int(torch.cuda.max_memory_reserved())
    if Path("/proc/self/clear_refs").exists():
        line = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert line
        return int(line.group(1)) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def flops_of_a_token(model: Any, lengths: Sequence[int]) -> float:
    """Floating-point operations of training on a real token, forward and backward: 6 a weight, and attention's.

    Embeddings are looked up, not multiplied, and the head reads one vector a text: neither counts.
    """
    config, body = model.config, model.base_model
    weights = sum(p.numel() for name, p in body.named_parameters() if p.dim() == 2 and "embedding" not in name)
    seen = 0.0
    for kind in getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers:
        reach = 2 * config.sliding_window + 1 if kind == "sliding_attention" else max(lengths)
        seen += sum(n * min(n, reach) for n in lengths) / sum(lengths)
    return 6.0 * weights + 12.0 * config.hidden_size * seen


def matmul_flops(device: Any, bf16: bool) -> float:
    """Floating-point operations a second of one large matrix product, the best of some: what the device can do."""
    import torch

    n = 1024 if device.type == "cpu" else 8192
    a = torch.randn(n, n, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
    best = float("inf")
    for _ in range(8 if device.type == "cpu" else 200):  # a GPU that was idle takes a while to its full clock
        began = time.perf_counter()
        product = a @ a
        float(product[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - began)
    return 2.0 * n**3 / best


def measured(spec: dict[str, Any], report: dict[str, Any], rounds: int, keep: Any) -> None:
    """All trainings of one size, one after another, each kept as soon as it is done."""
    runs = report["runs"]
    for number in range(rounds):
        known_bf16 = any(run["bf16"] for run in runs if run["way"] == OURS)
        ways = [*WAYS, *([OURS_FP32] if known_bf16 else [])]
        ways = ways if number % 2 == 0 else ways[::-1]
        while ways:
            way = ways.pop(0)
            child = [sys.executable, __file__, "--child", json.dumps([way, spec | {"seed": number}])]
            # Threads wait as hubtools lets them wait, whichever way it is.
            environ = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
            done = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True, env=environ)
            run = {"way": way, "round": number, **json.loads(done.stdout.splitlines()[-1])}
            runs.append(run)
            if way == OURS and run["bf16"] and not known_bf16:  # the first shows whether there is bf16 here
                known_bf16 = True
                ways.append(OURS_FP32)
            keep()
            score = f", ROC-AUC {run['roc_auc']:.4f}" if "roc_auc" in run else ""
            print(
                f"{report['size']}, round {number + 1}, {way}: {run['seconds']:.1f} s, "
                f"{run['tokens_per_second']:,.0f} tokens/s, {run['peak_gib']:.2f} GiB{score}",
                file=sys.stderr,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror", type=Path, help="folder with the public data, DIR/<owner>/<name>/ [starter corpus]")
    parser.add_argument("--size", default="nano", help="nano, base (random weights; then nano), or a model's folder")
    parser.add_argument("--rows", type=int, help="of the training split, 0 for all [base 32, others all]")
    parser.add_argument("--epochs", type=int, help="[base 1, others 2]")
    parser.add_argument("--batch", type=int, default=16, help="rows a step")
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--learning-rate", type=float, help="[nano 1e-3, others 3e-5]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--speed-only", action="store_true", help="with --size base: leave the nano's scores out")
    parser.add_argument("--bf16", action="store_true", help="the plain Trainer in bf16 too, where hubtools is")
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="on a CPU [torch's own choice]")
    parser.add_argument("--name", default="throughput", help="writes results/NAME.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        way, spec = json.loads(args.child)
        print(json.dumps(trained(way, SimpleNamespace(**spec))))
        return
    file = RESULTS / f"{args.name}.json"
    RESULTS.mkdir(exist_ok=True)
    known = json.loads(file.read_text()) if file.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        source = curated(args.mirror, Path(folder))
        for size in [args.size, *(["nano"] if args.size == "base" and not args.speed_only else [])]:
            rows, epochs = AMOUNT.get(size, (0, 2))
            if size == args.size:  # flags are for what was asked for, the nano beside it is as always
                rows, epochs = rows if args.rows is None else args.rows, args.epochs or epochs
            rate = (args.learning_rate if size == args.size else None) or (1e-3 if size == "nano" else 3e-5)
            spec = {
                "size": size, "folder": size if Path(size).is_dir() else str(NANO), "data": folder, "rows": rows,
                "epochs": epochs, "batch": args.batch, "max_length": args.max_length, "learning_rate": rate,
                "device": args.device, "threads": args.threads, "bf16": args.bf16,
            }  # fmt: skip
            report: dict[str, Any] = {
                "size": Path(size).name, "source": source,
                **{key: spec[key] for key in ("epochs", "batch", "max_length", "learning_rate")},
                "machine": {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()},
                "runs": [],
            }  # fmt: skip

            def keep(report: dict[str, Any] = report) -> None:
                device = report["runs"][0]["device"] + (", the plain Trainer in bf16 too" if args.bf16 else "")
                known[f"{report['size']}, {device}"] = report
                file.write_text(json.dumps(known, indent=2) + "\n")

            measured(spec, report, args.rounds, keep)
    print(table(known))


def ratios(runs: Sequence[dict[str, Any]], way: str, against: str) -> list[float]:
    """Speed of ``way`` over that of ``against``, a ratio a round that has both."""
    speed = {(run["way"], run["round"]): run["tokens_per_second"] for run in runs}
    rounds = sorted({run["round"] for run in runs})
    return [speed[way, n] / speed[against, n] for n in rounds if {(way, n), (against, n)} <= speed.keys()]


def spread(values: Sequence[float], digits: int, unit: str = "") -> str:
    """Median and range, such as "5.21 [5.02, 5.40]"."""
    if not values:
        return "–"
    middle = f"{statistics.median(values):,.{digits}f}{unit}"
    return middle + (f" [{min(values):,.{digits}f}, {max(values):,.{digits}f}]" if len(values) > 1 else "")


def table(results: dict[str, Any]) -> str:
    blocks = []
    for report in results.values():
        runs = report["runs"]
        scored = "roc_auc" in runs[0]
        name = {"base": "ModernBERT-base's size, random weights", "nano": "nano model"}.get(
            report["size"], report["size"]
        )
        columns = [name, "real tokens/s", "times that to the maximum", "times that batch by batch", "peak GiB"]
        columns += ["of a matrix product's FLOP/s"]
        columns += ["ROC-AUC", "PR-AUC"] if scored else []
        lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
        for way in dict.fromkeys([*WAYS, OURS_FP32, *(run["way"] for run in runs)]):
            mine = [run for run in runs if run["way"] == way]
            if not mine:
                continue
            cells = [
                way + (", bf16" if mine[0]["bf16"] else ""),
                spread([run["tokens_per_second"] for run in mine], 0),
                *(spread(ratios(runs, way, against), 2) for against in (FIXED, DYNAMIC)),
                spread([run["peak_gib"] for run in mine], 2),
                spread([100 * run["teraflops"] / run["matmul_teraflops"] for run in mine], 1, "%"),
                *(spread([run[key] for run in mine], 3) for key in ("roc_auc", "pr_auc") if scored),
            ]
            lines.append(f"| {' | '.join(cells)} |")
        one, count = runs[0], len({run["round"] for run in runs})
        path = next((run["path"] for run in runs if run["way"] == OURS), "not measured")
        where = one["device"]
        where += f", {one['threads']} of {report['machine']['cores']} cores" if where == "CPU" else ""
        lines.append(
            f"\n{where}; {one['rows']:,} rows of {report['source']}, {one['mean_length']:.0f} tokens on average, at "
            f"most {report['max_length']}; {report['batch']} rows a step, {report['epochs']} "
            f"epoch{'s' * (report['epochs'] > 1)}, {count} round{'s' * (count > 1)}: median [lowest, highest]. "
            f"hubtools: {path}."
        )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


if __name__ == "__main__":
    main()
