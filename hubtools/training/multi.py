"""All four tasks trained together on one body, and the five releases that come of it.

Each task's is an ordinary classifier, left in its own work folder as its own training would leave it. The fifth holds
the body once and four heads; it is made of the files of the four, after a temperature was folded into each.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubtools.errors import UsageError
from hubtools.records import write_json
from hubtools.tasks import JOINT, MULTI, TASKS
from hubtools.training.inputs import config_of, labels_of, load_splits, texts_sha256
from hubtools.training.job import Job
from hubtools.workdir import TaskFolder, sha256_of, task_folder

WEIGHTS = "model.safetensors"
HEADS = "heads.safetensors"
ABOUT_HEADS = "heads.json"
# Of a task's loss beside the others'. Most tokens are no personal data and soon easy: their mean loss is small beside
# that of whole texts, and so would be what pii learns. On the validation splits of the starter corpora, one epoch of
# the nano model reached a mean of 0.736 and 0.732 with weights of 12 and 30, and pii itself 0.63, 0.66.
LOSS_WEIGHTS = {"sequence": 1.0, "token": 12.0}
BODY = "model."  # of the names of weights, in every classifier of ModernBERT's
CLASSES = {"sequence": "ModernBertForSequenceClassification", "token": "ModernBertForTokenClassification"}


def check_flags(given: Any) -> None:
    """Raises :class:`UsageError` where ``given``, the flags as text, hold one that a joint training has no use for."""
    for flag, why, instead in (
        ("dataset", "reads four datasets: those of the work folder, or the pushed ones", "hubtools curate all"),
        ("label_set", "takes the labels of each dataset", "hubtools curate all --label-set TASK=NAME"),
        ("lora_rank", "has no adapters", "--freeze_layers and --layer_decay make it train less"),
    ):
        value = getattr(given, flag)
        if value not in (None, "0"):
            raise UsageError(
                f"A joint training {why}", expected=f"--task multi without --{flag}", found=f"--{flag} {value}",
                next=instead,
            )  # fmt: skip


def prepare(ours: Any, args: Any, tokenizer: Any, base_id: str, revision: str | None, patience: int) -> Job:
    """The joint training of all four tasks.

    Args:
        ours: the flags of ``FinetuneArguments``. args: those of ``TrainingArguments``.

    Raises:
        UsageError: the base is no ModernBERT.
    """
    import torch
    from transformers import EarlyStoppingCallback

    from hubtools.training.encoding import encode_splits, truncation, truncation_line
    from hubtools.training.joint import JointClassifier, JointTrainer, Part
    from hubtools.training.loss import chosen_weights
    from hubtools.training.model import readable
    from hubtools.training.progress import Progress
    from hubtools.training.tuning import tuned

    config = config_of(base_id, revision)
    if config.model_type != "modernbert":
        raise UsageError(
            f"{base_id} cannot carry four heads", expected="a ModernBERT", found=config.model_type,
            next="hubtools finetune all trains a model a task from any encoder",
        )  # fmt: skip
    work = Path(ours.work_dir)
    read = {task.name: load_splits(None, task_folder(work, task.name), task) for task in TASKS.values()}
    label_sets = {name: labels_of(data, TASKS[name], None) for name, data in read.items()}
    model: Any = JointClassifier.from_pretrained(
        base_id, revision=revision, dtype=torch.float32, classifier_pooling="mean",  # type: ignore[arg-type]
        heads={n: (TASKS[n].kind, len(TASKS[n].model_labels(label_set))) for n, label_set in label_sets.items()},
    )  # fmt: skip
    limit = readable(model, ours.max_length)
    model, options, lines = tuned(model, ours, args.learning_rate)
    parts, first, cut = [], 0, {}
    for name, label_set in label_sets.items():
        task, classes = TASKS[name], len(TASKS[name].model_labels(label_set))
        types = len(label_set.labels) if task.kind == "token" else 0
        with args.main_process_first(desc="encoding"):
            encoded = encode_splits(read[name], tokenizer, limit, types, task_folder(work, name).tokens)
        cut[name] = {split: truncation(rows, limit, types) for split, rows in encoded.items()}
        weights = chosen_weights(ours.class_weights, task.weighted_loss, encoded["train"]["labels"], classes)
        parts.append(Part(task, label_set, first, encoded, weights, LOSS_WEIGHTS[task.kind]))
        first += classes
    rows = {name: texts_sha256(data["train"]["text"]) for name, data in read.items()}
    trainer = JointTrainer(
        parts, focal_gamma=ours.focal_gamma, tokens_per_batch=ours.tokens_per_batch, may_pack=ours.pack,
        layer_decay=ours.layer_decay, model=model, args=args, processing_class=tokenizer,
        callbacks=[
            EarlyStoppingCallback(patience),
            Progress(MULTI, JOINT, {f"{p.task.name}_{p.task.primary.key}": p.task.name for p in parts}),
        ],
    )  # fmt: skip
    return Job(
        trainer=trainer,
        splits=[split for part in parts for split in part.encoded.values()],
        rows=f"{sum(part.rows for part in parts)} training rows ("
        + ", ".join(f"{part.task.name} {part.rows}" for part in parts) + ")",
        limit=limit,
        options=options,
        lines=[*lines, *(f"{name}: {truncation_line(costs)}" for name, costs in cut.items())],
        leave=lambda fresh, record: leave_all(fresh, work, trainer, parts, cut, rows, record),
    )  # fmt: skip


def leave_all(
    fresh: Path, work: Path, trainer: Any, parts: Sequence[Any], cut: Mapping[str, Any], rows: Mapping[str, str],
    record: Mapping[str, Any],
) -> None:  # fmt: skip
    """The end of a joint training: a release for each task, and the one that answers all four.

    Killed in the middle of it, the next training goes on from the last checkpoint, and does all of this again.

    Args:
        fresh: where the trained model was saved, beside the model of the joint training.
        cut: what the length limit costs each task.
        rows: what tells the training rows of each task from others.
    """
    from safetensors.torch import load_file

    from hubtools.training.batching import Collator
    from hubtools.training.release import leave
    from hubtools.training.selection import evaluation_of_best

    joint = load_file(fresh / WEIGHTS)
    history, best = record["history"], evaluation_of_best(trainer.state)
    folders = {}
    for part in parts:
        task = part.task
        folder = folders[task.name] = task_folder(work, task.name)
        made = folder.root / "model.new"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        export(joint, trainer.model.config, part, made)
        trainer.processing_class.save_pretrained(made)
        own = {
            "task": task.name,
            "method": MULTI,
            "label_set": part.label_set.name,
            "train_sha256": rows[task.name],
            "truncation": cut[task.name],
            "arguments": {**record["arguments"], "class_weights": part.class_weights},
            "best_validation": {task.primary.key: best.get(f"eval_{task.name}_{task.primary.key}")},
            "history": [_of_task(entry, task.name) for entry in history],
        }
        collator = Collator(trainer.data_collator.pad)
        leave(made, folder, task, part.label_set, part.encoded["validation"], collator, {**record, **own})
    folder = task_folder(work, MULTI)
    assemble(fresh, trainer.model.config, folders, parts)
    shutil.rmtree(folder.model, ignore_errors=True)
    fresh.rename(folder.model)
    told = {"method": MULTI, "best_validation": {JOINT.key: best.get(f"eval_{JOINT.key}")},
            "rows": {part.task.name: part.rows for part in parts},
            "loss_weights": {part.task.name: part.weight for part in parts},
            "weights_sha256": {name: sha256_of(one.model / WEIGHTS) for name, one in folders.items()}}  # fmt: skip
    write_json(folder.training, {**record, **told})
    shutil.rmtree(folder.runs, ignore_errors=True)


def _of_task(entry: Mapping[str, Any], task: str) -> dict[str, Any]:
    """A line of the joint training's history as a task's own training would have it."""
    others = tuple(f"eval_{name}_" for name in TASKS if name != task)
    return {key.replace(f"eval_{task}_", "eval_"): value for key, value in entry.items() if not key.startswith(others)}


def export(joint: Mapping[str, Any], config: Any, part: Any, folder: Path) -> None:
    """Write the classifier of one task: the weights of the body and of its head, under ModernBERT's own names."""
    from safetensors.torch import save_file

    ours = f"heads.{part.task.name}."
    tensors = {name.removeprefix(ours): tensor for name, tensor in joint.items() if name.startswith((BODY, ours))}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    own = copy.deepcopy(config)
    own.architectures = [CLASSES[part.task.kind]]
    own.id2label = dict(enumerate(part.labels))
    own.label2id = {name: i for i, name in enumerate(part.labels)}
    own.save_pretrained(folder)


def assemble(fresh: Path, config: Any, folders: Mapping[str, TaskFolder], parts: Sequence[Any]) -> None:
    """Make of the joint model saved in ``fresh`` the repo that answers all four: the body, which ``AutoModel`` loads,
    and the heads of the classifiers in ``folders``.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    from hubtools.training.calibration import FILE
    from hubtools.training.release import complete_config, complete_tokenizer

    body: dict[str, Any] = {}
    heads: dict[str, Any] = {}
    about: dict[str, Any] = {}
    for part in parts:
        folder = folders[part.task.name]
        with safe_open(folder.model / WEIGHTS, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                if not name.startswith(BODY):
                    heads[f"{part.task.name}.{name}"] = file.get_tensor(name)
                elif part is parts[0]:
                    body[name.removeprefix(BODY)] = file.get_tensor(name)
        about[part.task.name] = {
            "kind": part.task.kind,
            "labels": list(part.labels),
            "temperature": folder.read(folder.model / FILE, "finetune")["temperature"],
        }
    save_file(body, fresh / WEIGHTS, {"format": "pt"})
    save_file(heads, fresh / HEADS, {"format": "pt"})
    write_json(fresh / ABOUT_HEADS, about)
    own = copy.deepcopy(config)
    own.architectures = ["ModernBertModel"]
    own.save_pretrained(fresh)
    complete_config(fresh / "config.json")
    complete_tokenizer(fresh)
    (fresh / "training_args.bin").unlink(missing_ok=True)  # a pickle: releases are safetensors and JSON only
