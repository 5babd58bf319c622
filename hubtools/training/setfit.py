"""Few-shot training by SetFit, left as a plain ModernBERT classifier.

SetFit (Tunstall et al. 2022, arXiv:2209.11055) trains an encoder until texts of one class have like embeddings, then
fits a logistic regression to them. That regression is a pickle, which no release holds and no other runtime reads: here
it is fitted to what ModernBERT's own head makes of the embeddings, and written into the last layer of the model.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from hubtools.errors import UsageError
from hubtools.records.training import FewShot, TaskTrainingValues, TrainingRecord, Truncation
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.tasks import EMBEDDING, find_base
from hubtools.training.arguments import SETFIT
from hubtools.training.dataset import match_label_set
from hubtools.training.fewshot import MAX_LENGTH, SHOTS, draw_shots
from hubtools.training.inputs import hash_texts, load_config
from hubtools.training.plan import Plan
from hubtools.training.presets import Preset

if TYPE_CHECKING:
    from datasets import Dataset
    from setfit import SetFitModel
    from sklearn.linear_model import LogisticRegression
    from transformers import ModernBertForSequenceClassification, PreTrainedConfig, TrainerCallback

    from hubtools.training.batching import Collator
    from hubtools.training.progress import PairProgress

PAIRS = 20  # each row is put beside as many of its own class, and as many of others
LARGEST = 0.1  # of what goes into the head's gelu: so near to zero it is a line


@dataclass(frozen=True)
class PairTraining:
    """How an encoder is trained on pairs of texts.

    Attributes:
        preset: epochs, pairs a step, learning rate, weight decay and warm-up count.
        max_steps: of pairs, in place of the epochs; -1 for none.
        max_length: tokens of a text that are read, at most.
    """

    preset: Preset
    seed: int
    max_steps: int = -1
    max_length: int = MAX_LENGTH


@dataclass(frozen=True)
class Drawn:
    """Training rows of a few-shot training.

    Attributes:
        rows: those that were drawn.
        asked: rows of each class that were asked for.
        fewer: labels that have fewer, with their rows.
        line: what the log says of all that.
    """

    rows: Dataset
    asked: int
    fewer: dict[str, int]
    line: str


@dataclass(frozen=True)
class Outcome:
    """What is known when the model is trained.

    Attributes:
        progress: of the training on pairs.
        max_length, max_length_of_pairs: tokens of a text that are read, by the model and in a pair.
        score: the primary metric on the validation split.
    """

    label_set: LabelSet
    drawn: Drawn
    pairs: PairTraining
    progress: PairProgress
    truncation: dict[str, Truncation]
    max_length: int
    max_length_of_pairs: int
    score: float
    seconds: float


def train_on_pairs(
    base: str, revision: str | None, texts: Sequence[str], labels: Sequence[int], pairs: PairTraining,
    callbacks: Sequence[TrainerCallback] = (),
) -> SetFitModel:  # fmt: skip
    """Train an encoder on pairs of ``texts``, and a logistic regression on its embeddings.

    Args:
        base: a repo or a folder; the embedding that is trained is the mean of its tokens.
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
    body.max_seq_length = min(pairs.max_length, body.max_seq_length or pairs.max_length)
    model = SetFitModel(model_body=body, model_head=LogisticRegression(max_iter=1000))
    preset = pairs.preset
    # num_iterations pairs of each kind for each row, as SetFit draws them.
    epoch = math.ceil(2 * PAIRS * len(texts) / preset.batch_size)
    steps = pairs.max_steps if pairs.max_steps > 0 else preset.epochs * epoch
    with tempfile.TemporaryDirectory() as aside:
        arguments = TrainingArguments(
            output_dir=aside, batch_size=preset.batch_size, num_epochs=(preset.epochs, 1), num_iterations=PAIRS,
            body_learning_rate=preset.learning_rate, l2_weight=preset.weight_decay, warmup_proportion=preset.warmup,
            max_steps=pairs.max_steps, seed=pairs.seed, report_to="none", save_strategy="no",
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


def fit_head(model: ModernBertForSequenceClassification, rows: Dataset, collator: Collator) -> LogisticRegression:
    """Fit a logistic regression to what ``model``'s own head makes of ``rows``, and write it into the last layer.

    ModernBERT's head is dense, gelu and layer norm. With a small multiple of the identity for its dense layer, gelu is
    a line, and what comes out is the embedding, centred and of one length, which the weight of the norm makes that of
    the embeddings on average: so the regression is regularised as SetFit's own is.

    Args:
        model: its encoder is trained; its head is replaced.
        rows: encoded, with ``labels``, of which each class has one at least.

    Returns:
        the regression: ``predict_proba`` of the head's output is what the model answers.
    """
    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegression

    from hubtools.training.calibration import compute_logits

    head, last = model.head, model.classifier
    # Without its head and its last layer, what the model answers is the embedding of a text.
    for name in ("head", "classifier"):
        model.set_submodule(name, torch.nn.Identity())
    embeddings, *_ = compute_logits(model, rows, collator)
    model.head = head
    with torch.no_grad():
        torch.nn.init.eye_(head.dense.weight).mul_(LARGEST / float(np.abs(embeddings).max()))
        head.norm.weight.fill_(1)
        for offset in (head.dense.bias, head.norm.bias):
            if offset is not None:
                offset.zero_()
    features, labels, _ = compute_logits(model, rows, collator)
    # The norm makes all outputs of one length; SetFit's regularization is right for that of the embeddings.
    scale = float(np.sqrt((embeddings**2).mean() / (features**2).mean()))
    model.classifier = last
    regression = LogisticRegression(max_iter=1000).fit(scale * features, labels)
    weight, bias = regression.coef_, regression.intercept_
    if len(weight) == 1:  # of two classes, one row says how much likelier the second is
        weight, bias = (np.concatenate([-side, side]) / 2 for side in (weight, bias))
    with torch.no_grad():
        head.norm.weight.fill_(scale)
        last.weight.copy_(torch.from_numpy(weight))
        last.bias.copy_(torch.from_numpy(bias))
    return regression


def run_setfit(plan: Plan) -> None:
    """Train on some rows of each class, and leave the release in the work folder.

    Raises:
        UsageError: a base whose head cannot hold what is trained, or a class without a training row.
    """
    from transformers import AutoTokenizer, EvalPrediction, set_seed

    from hubtools.training.batching import Collator
    from hubtools.training.calibration import compute_logits
    from hubtools.training.encoding import describe_truncation, encode_splits, measure_truncation
    from hubtools.training.model import find_max_length, load_new_classifier
    from hubtools.training.progress import PairProgress
    from hubtools.training.release import list_sources, release_model
    from hubtools.training.selection import make_selection_metrics

    [task] = plan.tasks
    data, args, folder = plan.data[task.name], plan.args, plan.folder
    label_set = match_label_set(data, task, plan.ours.label_set)
    _check_head(plan.base, load_config(plan.base, plan.revision))
    drawn = _draw(plan, label_set)
    _log(task, *plan.presets, drawn.line, f"base {plan.base}, device {args.device.type}, fp32")

    set_seed(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(plan.base, revision=plan.revision)
    classifier = load_new_classifier(task.head, task.model_labels(label_set), plan.base, plan.revision)
    model = cast("ModernBertForSequenceClassification", classifier)  # _check_head() let no other pass
    model.train(False)
    limit = find_max_length(model, plan.ours.max_length)
    splits = {"train": drawn.rows, "validation": data["validation"]}
    encoded = encode_splits(splits, tokenizer, limit, task.head, label_set, folder.tokens)
    cut = {split: measure_truncation(part, limit) for split, part in encoded.items()}
    _log(task, describe_truncation(cut))
    if args.device.type == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"  # SetFit's arguments have no flag for it
    progress, collator = PairProgress(task.name), Collator(tokenizer.pad_token_id or 0)
    pairs = _plan_pairs(plan, limit)
    started = time.time()
    few = train_on_pairs(plan.base, plan.revision, drawn.rows["text"], drawn.rows["label"], pairs, [progress])
    body = few.model_body
    # Only the encoder is taken over; SetFit's regression is a pickle, and is fitted again below.
    model.model.load_state_dict(body[0].model.state_dict())
    fit_head(model, encoded["train"], collator)
    seconds = time.time() - started
    logits, labels, _ = compute_logits(model, encoded["validation"], collator)
    score = make_selection_metrics(task, label_set)(EvalPrediction(logits, labels))[task.primary.key]
    _log(task, f"validation {task.primary.title} {score:.4f}")

    fresh = folder.root / "model.new"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.rmtree(folder.logs, ignore_errors=True)  # curves of another model
    tokenizer.model_max_length = limit
    model.save_pretrained(fresh)
    tokenizer.save_pretrained(fresh)
    outcome = Outcome(label_set, drawn, pairs, progress, cut, limit, body.max_seq_length, score, seconds)
    record = _describe(plan, outcome)
    sources = list_sources(plan.data[task.name]["validation"])
    release_model(fresh, folder, task, label_set, encoded["validation"], collator, record, sources)


def _log(task: TaskSpec, *lines: str) -> None:
    for line in lines:
        print(f"[{task.name}] {line}", flush=True)


def _draw(plan: Plan, label_set: LabelSet) -> Drawn:
    """Draw training rows of each class by the seed; raises :class:`UsageError` where a class has none."""
    [task] = plan.tasks
    train, seed = plan.data[task.name]["train"], plan.args.seed
    asked = plan.ours.shots or SHOTS
    rows = train.select(draw_shots(train["label"], asked, seed))
    counts = Counter(rows["label"])
    absent = [label for number, label in enumerate(label_set.labels) if number not in counts]
    if absent:
        raise UsageError(
            f"No training row has {', '.join(absent)}", expected="a row of each class at least",
            found=f"{len(train)} rows of {len(counts)} classes", next=f"hubtools curate {task.name}",
        )  # fmt: skip
    fewer = {label: counts[number] for number, label in enumerate(label_set.labels) if counts[number] < asked}
    line = f"{len(rows)} of {len(train)} training rows, {asked} a class, drawn by seed {seed}"
    if fewer:
        line += " (all that there are of " + ", ".join(f"{label}: {n}" for label, n in fewer.items()) + ")"
    return Drawn(rows, asked, fewer, line)


def _plan_pairs(plan: Plan, limit: int) -> PairTraining:
    """Return how the Trainer's arguments want pairs trained; ``limit`` is the model's, in tokens."""
    args = plan.args
    preset = Preset(
        epochs=args.num_train_epochs, batch_size=args.per_device_train_batch_size, learning_rate=args.learning_rate,
        weight_decay=args.weight_decay, warmup=args.warmup_steps, eval_steps=0, patience=0,
    )  # fmt: skip
    return PairTraining(preset, args.seed, args.max_steps, min(limit, MAX_LENGTH))


def _describe(plan: Plan, outcome: Outcome) -> TrainingRecord:
    """Return what ``training.json`` says."""
    from hubtools.training.devices import describe_device
    from hubtools.training.release import read_versions

    [task] = plan.tasks
    drawn, progress, preset = outcome.drawn, outcome.progress, outcome.pairs.preset
    values = TaskTrainingValues(
        shots=drawn.asked,
        pairs=min(2 * PAIRS * len(drawn.rows), progress.steps * preset.batch_size),
        epochs=preset.epochs,
        batch_size=preset.batch_size,
        learning_rate=preset.learning_rate,
        weight_decay=preset.weight_decay,
        warmup=preset.warmup,
        max_length=outcome.max_length,
        max_length_of_pairs=outcome.max_length_of_pairs,
        seed=outcome.pairs.seed,
        precision="fp32",
        class_weights=None,
    )
    return TrainingRecord(
        fingerprint=plan.ours.fingerprint,
        base=plan.base,
        base_revision=plan.revision,
        base_note=find_base(plan.base).note,
        method=plan.ours.method,
        presets=plan.presets,
        few_shot=FewShot(rows=len(drawn.rows), fewer=drawn.fewer),
        arguments=values,
        steps=progress.steps,
        epochs_run=progress.epoch,
        history=[],
        seconds=round(outcome.seconds, 1),
        resumed=False,
        processes=1,
        path="pairs of texts, padded, fp32",
        device=describe_device(plan.args.device),
        versions=read_versions("setfit", "scikit-learn"),
        task=task.name,
        label_set=outcome.label_set.name,
        train_sha256=hash_texts(plan.data[task.name]["train"]["text"]),
        truncation=outcome.truncation,
        best_validation={task.primary.key: outcome.score},
    )


def _check_head(base_id: str, config: PreTrainedConfig) -> None:
    """Raise :class:`UsageError` where the classifier of an encoder cannot hold what is trained here."""
    if config.model_type == "modernbert" and config.classifier_activation == "gelu":
        return
    raise UsageError(
        f"Base model {base_id!r} cannot hold what SetFit trains",
        expected="a ModernBERT encoder, whose classifier reads the mean of the tokens through a gelu",
        found=f"a {config.model_type} encoder",
        next=f"name another with --base, such as {EMBEDDING.id}, or train on all rows: leave --method {SETFIT} out",
    )
