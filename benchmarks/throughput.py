"""Fine-tuning against the ways it is usually done: real tokens a second, memory, and the score that comes out.

    python benchmarks/throughput.py --mirror DIR                   # nano, rows of the public jailbreak data
    python benchmarks/throughput.py --mirror DIR --model base      # ModernBERT-base's size, random weights

One model, one dataset, the same epochs, rows a step and learning rate, on one device, in four ways: the plain Trainer
with every text padded to the maximum, with every batch padded to its longest text, with batches of like length
(``group_by_length``), and hubtools' Trainer with its defaults; where these mean bf16, hubtools in fp32 as well. Each
training runs in a process of its own, one after another, the ways alternating round by round. Padding does not count
as tokens, evaluation is not timed. Prints a table, and adds what was measured to
``benchmarks/results/throughput.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

RESULTS = Path(__file__).parent / "results"
NANO = Path(__file__).parent.parent / "hubtools" / "starter" / "hubtools" / "modernbert-nano"
FIXED, OURS = "padded to the maximum", "hubtools"
WAYS = (FIXED, "padded batch by batch", "batches of like length", OURS)


def curated(mirror: Path, root: Path) -> None:
    """The public jailbreak data as hubtools curates it, in ``root``/dataset."""
    from hubtools.curation.build import curate
    from hubtools.curation.sources import SourceFiles
    from hubtools.tasks.jailbreak import JAILBREAK
    from hubtools.workdir import TaskFolder

    source = JAILBREAK.source
    files = tuple((split, mirror / source.id / name) for split, names in source.files.items() for name in names)
    curate(JAILBREAK, SourceFiles(source, files, "mirror"), TaskFolder(root), label_set=JAILBREAK.label_set())


def trained(way: str, spec: SimpleNamespace) -> dict[str, Any]:
    """One training in this process: seconds, real tokens, peak memory, and the score on the test split."""
    import torch
    from datasets import load_dataset
    from scipy.special import softmax
    from sklearn.metrics import roc_auc_score
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        ModernBertConfig,
        ModernBertForSequenceClassification,
        Trainer,
        TrainingArguments,
        set_seed,
    )
    from transformers.utils.logging import set_verbosity_error

    from hubtools.finetune import has_bf16
    from hubtools.training.encoding import encode_splits
    from hubtools.training.loss import loss_function
    from hubtools.training.trainer import ClassifierTrainer

    set_verbosity_error()  # no report of the new head
    if spec.threads:
        torch.set_num_threads(spec.threads)
    set_seed(spec.seed)
    folder = str(NANO) if spec.model in ("nano", "base") else spec.model
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if spec.model == "base":
        special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
        config = ModernBertConfig(
            vocab_size=len(tokenizer), num_labels=2, classifier_pooling="mean", bos_token_id=None, eos_token_id=None,
            **special,
        )  # fmt: skip
        model = ModernBertForSequenceClassification(config)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=2, classifier_pooling="mean", dtype=torch.float32
        )
    data = load_dataset(str(Path(spec.data) / "dataset"))
    parts = {"train": data["train"], "validation": data["test"]}
    if spec.rows:
        parts = {name: part.shuffle(seed=0).select(range(min(spec.rows, len(part)))) for name, part in parts.items()}
    encoded = encode_splits(parts, tokenizer, spec.max_length, 0, Path(spec.data) / "tokens")
    train, test = encoded["train"], encoded["validation"]

    on_cpu = spec.device == "cpu" or not torch.cuda.is_available()
    ours = way.startswith(OURS)
    with tempfile.TemporaryDirectory() as scratch:
        args = TrainingArguments(
            scratch, use_cpu=on_cpu, num_train_epochs=spec.epochs, per_device_train_batch_size=spec.batch,
            per_device_eval_batch_size=64, learning_rate=spec.learning_rate, warmup_steps=0.1, weight_decay=0.01,
            seed=spec.seed, report_to="none", save_strategy="no", disable_tqdm=True, logging_strategy="no",
            dataloader_pin_memory=not on_cpu, logging_nan_inf_filter=not ours,
            train_sampling_strategy="group_by_length" if way == "batches of like length" else "random",
            bf16=way == OURS and has_bf16(on_cpu, model.config),
        )  # fmt: skip
        common: dict[str, Any] = {"model": model, "args": args, "train_dataset": train, "processing_class": tokenizer}
        if ours:
            trainer: Trainer = ClassifierTrainer(compute_loss_func=loss_function(None), **common)
        else:
            padding = {"padding": "max_length", "max_length": spec.max_length} if way == FIXED else {}
            trainer = Trainer(data_collator=DataCollatorWithPadding(tokenizer, **padding), **common)
        began, cpu = time.perf_counter(), time.process_time()
        trainer.train()
        if not on_cpu:
            torch.cuda.synchronize()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        peak = (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if on_cpu else torch.cuda.max_memory_allocated()
        )
        found = trainer.predict(test)
    scores = softmax(found.predictions, axis=-1)[:, 1]
    tokens = sum(train["length"][:])
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "tokens": tokens * spec.epochs,
        "tokens_per_second": tokens * spec.epochs / seconds,
        "teraflops": tokens * spec.epochs / seconds * flops_of_a_token(model, train["length"][:]) / 1e12,
        "peak_gib": peak / 2**30,
        "score": float(roc_auc_score(found.label_ids, scores)),
        "steps": trainer.state.global_step,
        "rows": len(train),
        "mean_length": tokens / len(train),
        "path": trainer.path if isinstance(trainer, ClassifierTrainer) else "fp32",
        "device": "cpu" if on_cpu else torch.cuda.get_device_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def flops_of_a_token(model: Any, lengths: list[int]) -> float:
    """Floating-point operations of training on a real token, forward and backward: 6 a weight, and attention's."""
    config = model.config
    weights = sum(p.numel() for name, p in model.named_parameters() if p.dim() == 2 and "embeddings" not in name)
    seen = 0.0
    for kind in config.layer_types:
        reach = 2 * config.sliding_window + 1 if kind == "sliding_attention" else max(lengths)
        seen += sum(n * min(n, reach) for n in lengths) / sum(lengths)
    return 6.0 * weights + 12.0 * config.hidden_size * seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror", type=Path, help="folder with the public data, laid out as DIR/<owner>/<name>/")
    parser.add_argument("--model", default="nano", help="nano, base (its size, random weights), or a folder")
    parser.add_argument("--rows", type=int, default=0, help="of the training split and of the test split [all]")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=16, help="rows a step")
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--learning-rate", type=float, help="[nano 1e-3, others 3e-5]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", choices=("auto", "cpu"), default="auto")
    parser.add_argument("--threads", type=int, default=0, help="on a CPU [torch's own choice]")
    parser.add_argument("--peak-teraflops", type=float, help="of the device, for the share of it that is used")
    parser.add_argument("--only", help="write under this name into another file, results/<name>.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        way, spec = json.loads(args.child)
        print(json.dumps(trained(way, SimpleNamespace(**spec))))
        return
    if not args.mirror:
        parser.error("--mirror DIR is needed")
    rate = args.learning_rate or (1e-3 if args.model == "nano" else 3e-5)
    runs: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        curated(args.mirror, Path(folder))
        for number in range(args.rounds):
            ways = [*WAYS, *([f"{OURS}, fp32"] if any("bf16" in run["path"] for run in runs.get(OURS, [])) else [])]
            for way in ways if number % 2 == 0 else reversed(ways):
                spec = {
                    "model": args.model, "data": folder, "rows": args.rows, "epochs": args.epochs, "batch": args.batch,
                    "max_length": args.max_length, "learning_rate": rate, "device": args.device, "seed": number,
                    "threads": args.threads,
                }  # fmt: skip
                child = [sys.executable, __file__, "--child", json.dumps([way, spec])]
                done = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=True)
                runs.setdefault(way, []).append(json.loads(done.stdout.splitlines()[-1]))
                run = runs[way][-1]
                print(f"{way}: {run['tokens_per_second']:,.0f} tokens/s, ROC-AUC {run['score']:.3f}", file=sys.stderr)

    one = runs[OURS][0]
    report = {
        "model": args.model,
        "device": one["device"] if one["device"] != "cpu" else f"CPU, {one['threads']} of {os.cpu_count()} cores",
        "rows": one["rows"],
        "mean_length": round(one["mean_length"], 1),
        "max_length": args.max_length,
        "batch": args.batch,
        "epochs": args.epochs,
        "peak_teraflops": args.peak_teraflops,
        "path": one["path"],
        "machine": {"cpu": platform.machine(), "torch": one["torch"], "python": platform.python_version()},
        "ways": {way: summary(found, runs[FIXED]) for way, found in runs.items()},
    }
    file = RESULTS / f"{args.only or 'throughput'}.json"
    known = json.loads(file.read_text()) if file.exists() else {}
    known[f"{args.model}, {report['device']}"] = report
    RESULTS.mkdir(exist_ok=True)
    file.write_text(json.dumps(known, indent=2) + "\n")
    print(table(known))


def summary(runs: list[dict[str, Any]], against: list[dict[str, Any]]) -> dict[str, Any]:
    """Means with spread; the ratio of each run is to the run of the same round and seed."""
    # A way that joined late has fewer rounds: the last ones.
    ratios = [
        run["tokens_per_second"] / base["tokens_per_second"]
        for run, base in zip(runs, against[-len(runs) :], strict=True)
    ]

    def of(key: str) -> list[float]:
        return [round(run[key], 4) for run in runs]

    return {
        "tokens_per_second": of("tokens_per_second"), "ratio": [round(ratio, 3) for ratio in ratios],
        "score": of("score"), "seconds": of("seconds"), "cpu_seconds": of("cpu_seconds"), "peak_gib": of("peak_gib"),
        "teraflops": of("teraflops"), "steps": runs[0]["steps"],
    }  # fmt: skip


def table(results: dict[str, Any]) -> str:
    lines = []
    for report in results.values():
        peak = report["peak_teraflops"]
        lines += [
            "| " + report["model"] + " | real tokens/s | times the first | peak GiB | ROC-AUC |"
            + (" of the device's peak |" if peak else ""),
            "|---" * (6 if peak else 5) + "|",
        ]  # fmt: skip
        for way, found in report["ways"].items():
            mean = statistics.mean
            lines.append(
                f"| {way} | {mean(found['tokens_per_second']):,.0f} | {mean(found['ratio']):.2f} "
                f"[{min(found['ratio']):.2f}, {max(found['ratio']):.2f}] | {mean(found['peak_gib']):.2f} | "
                f"{mean(found['score']):.3f} [{min(found['score']):.3f}, {max(found['score']):.3f}] |"
                + (f" {mean(found['teraflops']) / peak:.1%} |" if peak else "")
            )
        lines.append(
            f"\n{report['device']}; {report['rows']:,} rows of {report['mean_length']:.0f} tokens on average, at most "
            f"{report['max_length']}; {report['batch']} rows a step, {report['epochs']} epochs, "
            f"{len(report['ways'][OURS]['score'])} runs each: mean [lowest, highest]. hubtools: {report['path']}.\n"
        )
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    main()
