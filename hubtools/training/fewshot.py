"""Few-shot training: SetFit on some rows of each class, left as a plain ModernBERT classifier.

SetFit (Tunstall et al. 2022, arXiv:2209.11055) trains an encoder until texts of one class have like embeddings, then
fits a logistic regression to them. That regression is a pickle, which no release holds and no other runtime reads: here
it is fitted to what ModernBERT's own head makes of the embeddings, and written into the last layer of the model.
"""

from __future__ import annotations

import math
import random
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hubtools.errors import UsageError
from hubtools.spec import BaseModel
from hubtools.task import TaskSpec
from hubtools.tasks import EMBEDDING, base_named, task_named
from hubtools.training.arguments import SETFIT, FinetuneArguments
from hubtools.training.flags import TrainingFlags
from hubtools.training.presets import Preset, listed
from hubtools.workdir import task_folder

SHOTS = 8
PAIRS = 20  # each row is put beside as many of its own class, and as many of others
MAX_LENGTH = 256  # tokens of a text in a pair: enough for a prompt, and contrastive training reads each many times
LARGEST = 0.1  # of what goes into the head's gelu: so near to zero it is a line
# The flags that mean something here. Any other would change nothing, and is refused.
TAKEN = {
    "task", "base", "dataset", "label_set", "work_dir", "hub", "fingerprint", "method", "shots", "max_length", "seed",
    "use_cpu", "learning_rate", "num_train_epochs", "per_device_train_batch_size", "max_steps", "warmup_steps",
    "disable_tqdm",  # which whoever starts several trainings at once gives to each
}  # fmt: skip


def is_few_shot(flags: TrainingFlags) -> bool:
    """Return whether the flags of a training ask for this method."""
    return flags.ours.method == SETFIT


def preferred_bases(flags: TrainingFlags) -> tuple[BaseModel, ...]:
    """The bases to start from, before the usual ones, where none is asked for."""
    return (EMBEDDING,) if is_few_shot(flags) else ()


def check_method(flags: TrainingFlags, tasks: Sequence[TaskSpec], processes: int) -> None:
    """Refuse a few-shot training of what it cannot train, or with flags that it has no use for.

    Raises:
        UsageError: a task of spans, a flag that would change nothing, or several processes.
    """
    if not is_few_shot(flags):
        return
    spans = [task.name for task in tasks if task.kind == "token"]
    if spans:
        others = ", ".join(task.name for task in tasks if task.kind == "sequence") or "a task such as jailbreak"
        raise UsageError(
            f"SetFit labels whole texts, and {spans[0]!r} asks for spans", expected=others, found=f"--method {SETFIT}",
            next=f"train {spans[0]} by a command of its own, without --method and --shots",
        )  # fmt: skip
    unused = [spelled for name, spelled in flags.given.items() if name not in TAKEN]
    if unused:
        ours = sorted(TAKEN - {"task", "fingerprint"})
        raise UsageError(
            f"With --method {SETFIT}, {', '.join(unused)} would change nothing",
            expected="of " + ", ".join(f"--{name}" for name in ours), found=", ".join(unused), next="leave it out",
        )  # fmt: skip
    if processes > 1:
        raise UsageError(
            "SetFit trains in one process: so few rows need no more", expected="one process",
            found=f"{processes} processes", next="leave --processes (or --num_processes) out",
        )  # fmt: skip


def few_shot_preset() -> tuple[Preset, list[str]]:
    """The defaults of contrastive training, which are SetFit's own for every base, and the line that says so."""
    preset = Preset(1, 16, 2e-5, weight_decay=0.01, warmup=0.1, eval_steps=0, patience=0)
    counted = {name: getattr(preset, name) for name in ("epochs", "batch_size", "learning_rate")}
    return preset, [f"method {SETFIT}: {listed(counted)}"]


def shots(labels: Sequence[int], count: int, seed: int) -> list[int]:
    """Row numbers: ``count`` of each label, or all that it has, drawn by ``seed``; in the order of the labels."""
    rows: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        rows[label].append(row)
    draw = random.Random(seed)
    return [row for label in sorted(rows) for row in sorted(draw.sample(rows[label], min(count, len(rows[label]))))]


def trained(
    base: str, revision: str | None, texts: Sequence[str], labels: Sequence[int], preset: Preset, seed: int,
    max_steps: int = -1, max_length: int = MAX_LENGTH, callbacks: Sequence[Any] = (),
) -> Any:  # fmt: skip
    """A ``SetFitModel``: an encoder trained on pairs of ``texts``, and a logistic regression on its embeddings.

    Args:
        base: a repo or a folder; the embedding that is trained is the mean of its tokens.
        preset: epochs, pairs a step, learning rate, weight decay and warm-up count.
        max_steps: of pairs, in place of the epochs; -1 for none.
        max_length: tokens of a text that are read, at most.
    """
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from setfit import SetFitModel, Trainer, TrainingArguments, logging
    from sklearn.linear_model import LogisticRegression
    from transformers import PrinterCallback, ProgressCallback

    logging.set_verbosity_warning()
    at = {"revision": revision}
    encoder = Transformer(base, model_kwargs=at | {"dtype": torch.float32}, processor_kwargs=at, config_kwargs=at)
    body = SentenceTransformer(modules=[encoder, Pooling(encoder.get_embedding_dimension(), "mean")])
    body.max_seq_length = min(max_length, body.max_seq_length or max_length)
    model = SetFitModel(model_body=body, model_head=LogisticRegression(max_iter=1000))
    steps = max_steps if max_steps > 0 else preset.epochs * math.ceil(2 * PAIRS * len(texts) / preset.batch_size)
    with tempfile.TemporaryDirectory() as aside:
        arguments = TrainingArguments(
            output_dir=aside, batch_size=preset.batch_size, num_epochs=(preset.epochs, 1), num_iterations=PAIRS,
            body_learning_rate=preset.learning_rate, l2_weight=preset.weight_decay, warmup_proportion=preset.warmup,
            max_steps=max_steps, seed=seed, report_to="none", save_strategy="no",
            logging_steps=max(1, int(steps) // 10), logging_first_step=False, show_progress_bar=False,
        )  # fmt: skip
        rows = Dataset.from_dict({"text": list(texts), "label": list(labels)})
        trainer = Trainer(model=model, args=arguments, train_dataset=rows, callbacks=list(callbacks))
        trainer.st_trainer.args.dataloader_pin_memory = torch.cuda.is_available()
        trainer.st_trainer.args.logging_nan_inf_filter = False  # it would hide a loss that is no number
        for callback in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(callback)
        trainer.train()
    return model


def fit_head(model: Any, rows: Any, collator: Callable[[list[Any]], Any]) -> Any:
    """Fit a logistic regression to what ``model``'s own head makes of ``rows``, and write it into the last layer.

    ModernBERT's head is dense, gelu and layer norm. With a small multiple of the identity for its dense layer, gelu is
    a line, and what comes out is the embedding, centred and of one length, which the weight of the norm makes that of
    the embeddings on average: so the regression is regularised as SetFit's own is.

    Args:
        model: a ``ModernBertForSequenceClassification`` whose encoder is trained; its head is replaced.
        rows: encoded, with ``labels``, of which each class has one at least.

    Returns:
        the regression: ``predict_proba`` of the head's output is what the model answers.
    """
    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegression

    from hubtools.training.calibration import validation_logits

    head, last = model.head, model.classifier
    model.head = model.classifier = torch.nn.Identity()
    embeddings, _ = validation_logits(model, rows, collator)
    model.head = head
    with torch.no_grad():
        torch.nn.init.eye_(head.dense.weight).mul_(LARGEST / float(np.abs(embeddings).max()))
        head.norm.weight.fill_(1)
        for bias in (head.dense.bias, head.norm.bias):
            if bias is not None:
                bias.zero_()
    features, labels = validation_logits(model, rows, collator)
    scale = float(np.sqrt((embeddings**2).mean() / (features**2).mean()))
    model.classifier = last
    found = LogisticRegression(max_iter=1000).fit(scale * features, labels)
    weight, bias = found.coef_, found.intercept_
    if len(weight) == 1:  # of two classes, one row says how much likelier the second is
        weight, bias = (np.concatenate([-part, part]) / 2 for part in (weight, bias))
    with torch.no_grad():
        head.norm.weight.fill_(scale)
        last.weight.copy_(torch.from_numpy(weight))
        last.bias.copy_(torch.from_numpy(bias))
    return found


def train(ours: FinetuneArguments, args: Any, said: list[str]) -> None:
    """Train on some rows of each class, and leave the release in the work folder.

    Args:
        args: ``TrainingArguments``, of which those in :data:`TAKEN` count.
        said: where the defaults come from.

    Raises:
        UsageError: a base whose head cannot hold what is trained, or a class without a training row.
    """
    import os
    from importlib.metadata import version

    from transformers import AutoTokenizer, EvalPrediction, set_seed

    from hubtools.training.batching import Collator
    from hubtools.training.calibration import validation_logits
    from hubtools.training.encoding import encode_splits, truncation, truncation_line
    from hubtools.training.inputs import commit_of, config_of, labels_of, load_splits, resolve_base, texts_sha256
    from hubtools.training.model import new_classifier, readable
    from hubtools.training.progress import PairProgress
    from hubtools.training.release import environment, leave
    from hubtools.training.selection import selection_metrics

    task = task_named(ours.task)
    folder = task_folder(Path(ours.work_dir), task.name)
    data = load_splits(ours.dataset, folder, task)
    label_set = labels_of(data, task, ours.label_set)
    base_id = resolve_base(ours.base, (EMBEDDING,))
    revision = commit_of(base_id)
    _check_head(base_id, config_of(base_id, revision))

    count = ours.shots or SHOTS
    chosen = data["train"].select(shots(data["train"]["label"], count, args.seed))
    held = Counter(chosen["label"])
    absent = [label for number, label in enumerate(label_set.labels) if number not in held]
    if absent:
        raise UsageError(
            f"No training row has {', '.join(absent)}", expected="a row of each class at least",
            found=f"{len(data['train'])} rows of {len(held)} classes", next=f"hubtools curate {task.name}",
        )  # fmt: skip
    fewer = {label: held[number] for number, label in enumerate(label_set.labels) if held[number] < count}
    rows = f"{len(chosen)} of {len(data['train'])} training rows, {count} a class, drawn by seed {args.seed}"
    if fewer:
        rows += " (all that there are of " + ", ".join(f"{label}: {n}" for label, n in fewer.items()) + ")"
    preset = Preset(
        epochs=args.num_train_epochs, batch_size=args.per_device_train_batch_size, learning_rate=args.learning_rate,
        weight_decay=args.weight_decay, warmup=args.warmup_steps, eval_steps=0, patience=0,
    )  # fmt: skip
    for line in (*said, rows, f"base {base_id}, device {args.device.type}, fp32"):
        print(f"[{task.name}] {line}", flush=True)

    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(base_id, revision=revision)
    model = new_classifier(task, task.model_labels(label_set), base_id, revision).eval()
    limit = readable(model, ours.max_length)
    encoded = encode_splits({"train": chosen, "validation": data["validation"]}, tokenizer, limit, 0, folder.tokens)
    cut = {split: truncation(part, limit, 0) for split, part in encoded.items()}
    print(f"[{task.name}] {truncation_line(cut)}", flush=True)
    if args.device.type == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"  # SetFit's arguments have no flag for it
    progress = PairProgress(task.name)
    began = time.time()
    few = trained(
        base_id, revision, chosen["text"], chosen["label"], preset, args.seed, args.max_steps, min(limit, MAX_LENGTH),
        [progress],
    )  # fmt: skip
    model.model.load_state_dict(few.model_body[0].model.state_dict())
    collator = Collator(tokenizer.pad_token_id or 0)
    fit_head(model, encoded["train"], collator)
    seconds = time.time() - began
    logits, labels = validation_logits(model, encoded["validation"], collator)
    scores = selection_metrics(task, label_set)(EvalPrediction(logits, labels))
    print(f"[{task.name}] validation {task.primary.title} {scores[task.primary.key]:.4f}", flush=True)

    fresh = folder.root / "model.new"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(folder.logs, ignore_errors=True)  # curves of another model
    tokenizer.model_max_length = limit
    model.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    about = environment(args.device)
    record = {
        "task": task.name,
        "fingerprint": ours.fingerprint,
        "method": ours.method,
        "base": base_id,
        "base_revision": revision,
        "base_note": base_named(base_id).note,
        "label_set": label_set.name,
        "train_sha256": texts_sha256(data["train"]["text"]),
        "presets": said,
        "few_shot": {"rows": len(chosen), "fewer": fewer},
        "arguments": {
            "shots": count,
            "pairs": min(2 * PAIRS * len(chosen), progress.steps * preset.batch_size),
            "epochs": preset.epochs,
            "batch_size": preset.batch_size,
            "learning_rate": preset.learning_rate,
            "weight_decay": preset.weight_decay,
            "warmup": preset.warmup,
            "max_length": limit,
            "max_length_of_pairs": few.model_body.max_seq_length,
            "seed": args.seed,
            "precision": "fp32",
            "class_weights": None,
        },
        "options": {},
        "truncation": cut,
        "steps": progress.steps,
        "epochs_run": progress.epoch,
        "best_validation": {task.primary.key: scores[task.primary.key]},
        "history": [],
        "seconds": round(seconds, 1),
        "resumed": False,
        "processes": 1,
        "path": "pairs of texts, padded, fp32",
        **about,
        "versions": about["versions"] | {name: version(name) for name in ("setfit", "scikit-learn")},
    }
    leave(fresh, folder, task, label_set, encoded["validation"], collator, record)


def _check_head(base_id: str, config: Any) -> None:
    """Raises :class:`UsageError` where the classifier of an encoder cannot hold what is trained here."""
    if config.model_type == "modernbert" and config.classifier_activation == "gelu":
        return
    raise UsageError(
        f"Base model {base_id!r} cannot hold what SetFit trains",
        expected="a ModernBERT encoder, whose classifier reads the mean of the tokens through a gelu",
        found=f"a {config.model_type} encoder",
        next=f"name another with --base, such as {EMBEDDING.id}, or train on all rows: leave --method {SETFIT} out",
    )
