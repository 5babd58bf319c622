"""What one training has of its own, so that ``run.py`` runs all of them in the same way; and that of a single task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.records import extend
from hubtools.records.training import TaskTrainingValues, TrainingRecord, TrainingRun, TuningOptions
from hubtools.training.dataset import match_label_set
from hubtools.training.inputs import hash_texts
from hubtools.training.plan import Plan

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from hubtools.training.trainer import ClassifierTrainer


@dataclass(frozen=True)
class Job:
    """A training that is ready to begin.

    Attributes:
        trainer: transformers' Trainer with model, rows and loss.
        splits: the encoded splits that it reads; ``validation`` are those of them that are evaluated.
        rows: what the log says of its training rows.
        max_length: tokens of a text that are read.
        options: of how it trains.
        lines: what else the log says before it begins.
        release: makes the release, given the folder that the trained model was saved to, and what is known of the
            training by then.
    """

    trainer: ClassifierTrainer
    splits: list[Dataset]
    validation: list[Dataset]
    rows: str
    max_length: int
    options: TuningOptions
    lines: list[str]
    release: Callable[[Path, TrainingRun], None]


def prepare_task(plan: Plan, tokenizer: PreTrainedTokenizerBase) -> Job:
    """Prepare the training of one task: model, encoded rows, loss, metrics and Trainer."""
    from transformers import EarlyStoppingCallback

    from hubtools.training.batching import Collator, weigh_rows
    from hubtools.training.encoding import describe_truncation, encode_splits, leave_out_cut, measure_truncation
    from hubtools.training.loss import choose_weights, make_loss_function
    from hubtools.training.model import find_max_length, load_new_classifier
    from hubtools.training.progress import Progress
    from hubtools.training.release import list_sources, release_model
    from hubtools.training.selection import BY_SOURCE, find_best_evaluation, make_selection_metrics
    from hubtools.training.timing import decide_compiling
    from hubtools.training.trainer import ClassifierTrainer
    from hubtools.training.tuning import tune

    [task] = plan.tasks
    ours, args, data = plan.ours, plan.args, plan.data[task.name]
    label_set = match_label_set(data, task, ours.label_set)
    names = task.model_labels(label_set)
    # Before the rows are encoded: a base that does not exist must not cost that time.
    classifier = load_new_classifier(task.head, names, plan.base, plan.revision)
    # What the model can read decides where texts are cut.
    limit = find_max_length(classifier, ours.max_length)
    model, options, lines = tune(classifier, ours, args.learning_rate)
    # The first process writes the cache, and the others read it.
    with args.main_process_first(desc="encoding"):
        encoded = encode_splits(data, tokenizer, limit, task.head, label_set, plan.folder.tokens)
    # Counted while encoding: what is cut cannot be told from the encoded rows.
    cut = {split: measure_truncation(part, limit) for split, part in encoded.items()}
    data, encoded = leave_out_cut(data, encoded)
    balance = task.balance if ours.balance is None else ours.balance
    if args.train_sampling_strategy != "random":
        balance = 0.0  # transformers' own strategies take each row once
    # Spans of a text may be of several types: there only sources are evened out.
    labels = [] if task.head.per_token else encoded["train"]["labels"][:]
    row_weights = weigh_rows(list_sources(data["train"]), labels, balance)
    # Of the encoded labels: a label that the limit cuts off is not trained on.
    weights = choose_weights(ours.class_weights, task.weighted_loss, encoded["train"]["labels"], len(names))
    evenly = {BY_SOURCE: "each source alike"} if args.metric_for_best_model == BY_SOURCE else {}
    trainer = ClassifierTrainer(
        tokens_per_batch=ours.tokens_per_batch,
        may_pack=ours.pack,
        compiled=decide_compiling(plan, sum(encoded["train"]["length"][:])),
        cache=plan.work_dir / "compiled",
        layer_decay=ours.layer_decay,
        row_weights=row_weights,
        model=model,
        args=args,
        train_dataset=encoded["train"],
        eval_dataset=encoded["validation"],
        processing_class=tokenizer,
        compute_loss_func=make_loss_function(
            weights, args.label_smoothing_factor, ours.focal_gamma, tied=task.head.per_token
        ),
        compute_metrics=make_selection_metrics(task, label_set, list_sources(data["validation"])),
        preprocess_logits_for_metrics=task.head.reduce_logits(),
        callbacks=[EarlyStoppingCallback(plan.patience), Progress(task.name, task.primary, evenly)],
    )

    # For the calibration after the training, which reads the validation split in plain batches.
    collator = Collator(tokenizer.pad_token_id or 0)

    def release(fresh: Path, run: TrainingRun) -> None:
        # The primary metric, even where a person let another one choose the checkpoint.
        best = find_best_evaluation(trainer.state).get(f"eval_{task.primary.key}")
        record = extend(
            run,
            TrainingRecord,
            task=task.name,
            label_set=label_set.name,
            train_sha256=hash_texts(plan.data[task.name]["train"]["text"]),
            arguments=extend(
                run.arguments,
                TaskTrainingValues,
                class_weights=weights,
                balance=None if row_weights is None else balance,
            ),
            truncation=cut,
            best_validation={task.primary.key: best},
            sources_alike=args.metric_for_best_model == BY_SOURCE,
        )
        sources = list_sources(data["validation"])
        release_model(fresh, plan.folder, task, label_set, encoded["validation"], collator, record, sources)

    rows = f"{len(encoded['train'])} training rows"
    if left_out := len(plan.data[task.name]["train"]) - len(encoded["train"]):
        rows += f" (without {left_out} made rows that the limit cuts)"
    return Job(
        trainer=trainer,
        splits=[*encoded.values()],
        validation=[encoded["validation"]],
        rows=rows,
        max_length=limit,
        options=options,
        lines=[*lines, describe_truncation(cut)],
        release=release,
    )
