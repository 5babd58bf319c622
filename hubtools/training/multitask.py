"""Several tasks trained together on one body; what comes of it is in ``multitask_release.py``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.errors import UsageError
from hubtools.records.training import TrainingRun, Truncation
from hubtools.tasks import MEAN_SCORE
from hubtools.training.arguments import FinetuneArguments
from hubtools.training.dataset import match_label_set
from hubtools.training.inputs import hash_texts, load_config
from hubtools.workdir import task_folder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hubtools.training.job import Job
    from hubtools.training.multitask_model import MultitaskClassifier, Part
    from hubtools.training.plan import Plan


def check_flags(ours: FinetuneArguments) -> None:
    """Raise :class:`UsageError` where a flag is given that a training of several tasks has no use for."""
    for flag, why, instead in (
        ("dataset", "reads four datasets: those of the work folder, or the pushed ones", "hubtools curate all"),
        ("label_set", "takes the labels of each dataset", "hubtools curate all --label-set TASK=NAME"),
        ("balance", "mixes whole datasets, in the same proportion in every step", "leave it out"),
        ("lora_rank", "has no adapters", "--freeze_layers and --layer_decay make it train less"),
    ):
        # None and 0 are the defaults of these.
        value = getattr(ours, flag)
        if value not in (None, 0):
            raise UsageError(
                f"A joint training {why}", expected=f"--task multi without --{flag}", found=f"--{flag} {value}",
                next=instead,
            )  # fmt: skip


def prepare_multitask(plan: Plan, tokenizer: PreTrainedTokenizerBase) -> Job:
    """Prepare the training of all tasks of ``plan``: one model, the rows of each, and their Trainer.

    Raises:
        UsageError: the base is no ModernBERT.
    """
    from transformers import EarlyStoppingCallback

    from hubtools.training.encoding import describe_truncation
    from hubtools.training.job import Job
    from hubtools.training.model import find_max_length
    from hubtools.training.multitask_model import MultitaskTrainer
    from hubtools.training.multitask_release import release_all
    from hubtools.training.progress import Progress
    from hubtools.training.timing import decide_compiling
    from hubtools.training.tuning import tune

    ours, args = plan.ours, plan.args
    classifier = _load_model(plan)
    limit = find_max_length(classifier, ours.max_length)
    model, options, lines = tune(classifier, ours, args.learning_rate)
    parts, cut = _encode_parts(plan, tokenizer, limit)
    # Of the texts as they were read: evaluation compares them with the work folder's.
    hashes = {name: hash_texts(splits["train"]["text"]) for name, splits in plan.data.items()}
    # The log shows each task's own score beside the mean that chooses the checkpoint.
    of_tasks = {f"{part.task.name}_{part.task.primary.key}": part.task.name for part in parts}
    trainer = MultitaskTrainer(
        parts,
        focal_gamma=ours.focal_gamma,
        tokens_per_batch=ours.tokens_per_batch,
        may_pack=ours.pack,
        compiled=decide_compiling(plan, sum(sum(part.encoded["train"]["length"][:]) for part in parts)),
        cache=plan.work_dir / "compiled",
        layer_decay=ours.layer_decay,
        model=model,
        args=args,
        processing_class=tokenizer,
        callbacks=[EarlyStoppingCallback(plan.patience), Progress(plan.name, MEAN_SCORE, of_tasks)],
    )

    def release(fresh: Path, run: TrainingRun) -> None:
        release_all(fresh, plan, trainer, cut, hashes, run)

    counts = ", ".join(f"{part.task.name} {part.rows}" for part in parts)
    return Job(
        trainer=trainer,
        splits=[split for part in parts for split in part.encoded.values()],
        validation=[part.encoded["validation"] for part in parts],
        rows=f"{sum(part.rows for part in parts)} training rows ({counts})",
        max_length=limit,
        options=options,
        lines=[*lines, *(f"{name}: {describe_truncation(costs)}" for name, costs in cut.items())],
        release=release,
    )


def _load_model(plan: Plan) -> MultitaskClassifier:
    """Return the base with a new head for each task."""
    import torch

    from hubtools.training.multitask_model import MultitaskClassifier

    config = load_config(plan.base, plan.revision)
    # The heads are ModernBERT's own layers, and each release loads as ModernBERT's classifier.
    if config.model_type != "modernbert":
        raise UsageError(
            f"{plan.base} cannot carry four heads", expected="a ModernBERT", found=config.model_type,
            next="hubtools finetune all trains a model a task from any encoder",
        )  # fmt: skip
    heads = {}
    # The width of a head is how many labels its dataset's label set has.
    for task in plan.tasks:
        label_set = match_label_set(plan.data[task.name], task, None)
        heads[task.name] = (task.head, len(task.model_labels(label_set)))
    model: MultitaskClassifier = MultitaskClassifier.from_pretrained(
        plan.base,
        revision=plan.revision or "main",  # a folder has no revision, and transformers reads none there
        dtype=torch.float32,
        classifier_pooling="mean",
        heads=heads,
    )
    return model


def _encode_parts(
    plan: Plan, tokenizer: PreTrainedTokenizerBase, limit: int
) -> tuple[list[Part], dict[str, dict[str, Truncation]]]:
    """Return each task with its encoded splits, and what the limit costs them, by the task's name."""
    from hubtools.training.encoding import encode_splits, leave_out_cut, measure_truncation
    from hubtools.training.loss import choose_weights
    from hubtools.training.multitask_model import Part

    parts: list[Part] = []
    cut = {}
    first = 0
    for task in plan.tasks:
        splits = plan.data[task.name]
        label_set = match_label_set(splits, task, None)
        classes = len(task.model_labels(label_set))
        cache = task_folder(plan.work_dir, task.name).tokens
        # The first process writes the cache, and the others read it.
        with plan.args.main_process_first(desc="encoding"):
            encoded = encode_splits(splits, tokenizer, limit, task.head, label_set, cache)
        cut[task.name] = {split: measure_truncation(rows, limit) for split, rows in encoded.items()}
        _, encoded = leave_out_cut(splits, encoded)
        weights = choose_weights(plan.ours.class_weights, task.weighted_loss, encoded["train"]["labels"], classes)
        parts.append(Part(task, label_set, first, encoded, weights, task.head.loss_weight))
        first += classes  # the labels of all tasks are numbered through
    return parts, cut
