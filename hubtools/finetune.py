"""Fine-tune one classifier: what accelerate launches.

    accelerate launch hubtools/finetune.py --task pii
    accelerate launch --num_processes 2 hubtools/finetune.py --task jailbreak --learning_rate 3e-5
    accelerate launch hubtools/finetune.py --task multi

Reads the curated dataset of the work folder (or ``--dataset``, a folder or a repo on the Hub), trains with
transformers' Trainer, and leaves the best checkpoint by the task's primary metric in ``<work-dir>/<task>/model``.
Every flag of ``TrainingArguments`` is taken; what is not given follows the size of the training split, the task
and the base model, and the log says which applied. The rows of a step, its loss and its gradient are the same however
many processes, accumulated batches and passes through the model share them. A training that was killed goes on from
its last checkpoint. ``--task multi`` trains all four tasks together on one body.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

if not __package__:  # started by path: the repository root, not hubtools/, must be what imports see first
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

# Threads that wait for one another without spinning: with another process on the same cores, spinning makes small
# models many times slower. Read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from hubtools.errors import HubtoolsError, TrainingFailed, UsageError
from hubtools.records import write_json
from hubtools.tasks import JOINT, MULTI, TASKS, base_named, task_named
from hubtools.training.arguments import SETFIT, FinetuneArguments, check_evaluations
from hubtools.training.fewshot import check_method, few_shot_preset, is_few_shot, preferred_bases
from hubtools.training.flags import TrainingFlags, parse_training_flags, read_hub, training_parser
from hubtools.training.inputs import commit_of, config_of, labels_of, load_splits, resolve_base, texts_sha256
from hubtools.training.job import Job
from hubtools.training.multi import check_flags
from hubtools.training.multi import prepare as prepare_joint
from hubtools.training.presets import preset_for, training_arguments
from hubtools.training.processes import fail, start_processes, world_size
from hubtools.training.tracking import PROJECT, keep_curves, prepare_reports, usual_report
from hubtools.workdir import task_folder


def parse(argv: list[str]) -> tuple[TrainingFlags, Any, list[str], int]:
    """Return the flags, the Trainer's arguments, the lines that say where defaults come from, and the patience.

    The defaults depend on the task, the base and the size of the dataset, so these are looked at first.
    """
    from hubtools.connection import connect

    connect(read_hub(argv))

    import torch
    from transformers import TrainingArguments
    from transformers.utils.logging import set_verbosity

    set_verbosity(logging.ERROR)  # a new head is what fine-tuning is for: no report that it is missing
    if {"-h", "--help"} & set(argv):
        training_parser(prog="finetune.py", description=__doc__).print_help()
        sys.exit(0)
    flags = parse_training_flags(argv)
    ours = flags.ours
    if not ours.task:
        raise UsageError("Nothing says what to train", expected="--task", next=f"--task {next(iter(TASKS))}")
    task = None if ours.task == MULTI else task_named(ours.task)
    work = Path(ours.work_dir)
    check_method(flags, [task] if task else [*TASKS.values()], world_size())
    if task:
        rows = len(load_splits(ours.dataset, task_folder(work, task.name), task)["train"])
    else:
        check_flags(ours)
        rows = sum(len(load_splits(None, task_folder(work, t.name), t)["train"]) for t in TASKS.values())
    base = resolve_base(ours.base, preferred_bases(flags))
    config = config_of(base, commit_of(base))
    if is_few_shot(flags):
        preset, said = few_shot_preset()
    else:
        preset, said = preset_for(rows, task, base_named(base), config.hidden_size, lora=bool(ours.lora_rank))
    given = flags.trainer
    together = world_size() * given.get("gradient_accumulation_steps", 1)
    if "per_device_train_batch_size" in given:
        preset = dataclasses.replace(preset, batch_size=given["per_device_train_batch_size"] * together)
    on_cpu = given.get("use_cpu", False) or not torch.accelerator.is_available()
    # fp16 gives NaN with ModernBERT, so never that unasked.
    bf16 = not given.get("fp16", False) and has_bf16(on_cpu, config)
    # How many steps an epoch has decides how often it is evaluated, unless that is said as well.
    adapted = training_arguments(preset, rows, together, given.get("eval_strategy"), given.get("eval_steps"))
    defaults = {
        "output_dir": str(task_folder(work, ours.task).runs),
        "load_best_model_at_end": True,
        "metric_for_best_model": (task.primary if task else JOINT).key,
        "save_total_limit": 2,
        "restore_callback_states_from_checkpoint": True,  # evaluations that have brought nothing are not forgotten
        "logging_steps": 0.1,
        "report_to": usual_report(),
        "project": PROJECT,
        "per_device_eval_batch_size": 128,
        "use_cpu": on_cpu,
        "bf16": bf16,
        "logging_nan_inf_filter": False,  # it would hide a loss that is no number, and wait for the device to do so
        "disable_tqdm": not sys.stderr.isatty(),
        "dataloader_pin_memory": torch.cuda.is_available(),
        **adapted,
    }
    try:
        trainer = TrainingArguments(**(defaults | dict(given)))
    except ValueError as error:
        raise UsageError(
            "These flags of the training do not go together", found=" ".join(str(error).split()),
            next="python hubtools/finetune.py --help lists them",
        ) from error  # fmt: skip
    check_evaluations(trainer)
    prepare_reports(trainer.report_to or [], task_folder(work, ours.task))
    return flags, trainer, said, preset.patience if ours.patience is None else ours.patience


def has_bf16(on_cpu: bool, config: Any) -> bool:
    """Whether mixed precision is exact enough and faster here.

    On a CPU that multiplies bf16 it is: 2.5 times faster at base size. A small encoder gains little there.
    """
    import torch

    if not on_cpu:
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    features: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # new in torch 2.11
    return bool((features.get("avx512_bf16") or features.get("amx_bf16")) and config.hidden_size >= 512)


def prepare(
    ours: FinetuneArguments, args: Any, tokenizer: Any, base_id: str, revision: str | None, patience: int
) -> Job:
    """The training of one task."""
    from transformers import EarlyStoppingCallback

    from hubtools.training.encoding import encode_splits, truncation, truncation_line
    from hubtools.training.loss import chosen_weights, loss_function
    from hubtools.training.model import new_classifier, readable
    from hubtools.training.progress import Progress
    from hubtools.training.release import leave
    from hubtools.training.selection import evaluation_of_best, selection_metrics
    from hubtools.training.trainer import ClassifierTrainer
    from hubtools.training.tuning import tuned

    task = task_named(ours.task)
    folder = task_folder(Path(ours.work_dir), task.name)
    data = load_splits(ours.dataset, folder, task)
    label_set = labels_of(data, task, ours.label_set)
    names = task.model_labels(label_set)
    model = new_classifier(task, names, base_id, revision)
    limit = readable(model, ours.max_length)
    model, options, tuning = tuned(model, ours, args.learning_rate)
    with args.main_process_first(desc="encoding"):
        types = len(label_set.labels) if task.kind == "token" else 0
        encoded = encode_splits(data, tokenizer, limit, types, folder.tokens)
    cut = {split: truncation(part, limit, types) for split, part in encoded.items()}
    weights = chosen_weights(ours.class_weights, task.weighted_loss, encoded["train"]["labels"], len(names))
    trainer = ClassifierTrainer(
        tokens_per_batch=ours.tokens_per_batch,
        may_pack=ours.pack,
        layer_decay=ours.layer_decay,
        model=model,
        args=args,
        train_dataset=encoded["train"],
        eval_dataset=encoded["validation"],
        processing_class=tokenizer,
        compute_loss_func=loss_function(weights, args.label_smoothing_factor, ours.focal_gamma),
        compute_metrics=selection_metrics(task, label_set),
        preprocess_logits_for_metrics=(lambda logits, _: logits.argmax(-1)) if task.kind == "token" else None,
        callbacks=[EarlyStoppingCallback(patience), Progress(task.name, task.primary)],
    )

    def leave_it(fresh: Path, record: dict[str, Any]) -> None:
        own = {
            "task": task.name,
            "label_set": label_set.name,
            "train_sha256": texts_sha256(data["train"]["text"]),
            "arguments": {**record["arguments"], "class_weights": weights},
            "truncation": cut,
            "best_validation": {task.primary.key: evaluation_of_best(trainer.state).get(f"eval_{task.primary.key}")},
        }
        leave(fresh, folder, task, label_set, encoded["validation"], trainer.data_collator, record | own)

    rows = f"{len(encoded['train'])} training rows"
    return Job(trainer, [*encoded.values()], rows, limit, options, [*tuning, truncation_line(cut)], leave_it)


def train(flags: TrainingFlags, args: Any, said: list[str], patience: int) -> None:
    """Train, and leave the release in the work folder."""
    ours = flags.ours
    if ours.method == SETFIT:
        from hubtools.training.fewshot import train as train_few_shot

        train_few_shot(ours, args, said)
        return
    import transformers
    from accelerate.utils import broadcast_object_list
    from transformers import AutoTokenizer, set_seed
    from transformers.trainer_utils import get_last_checkpoint

    from hubtools.training.emissions import Emissions
    from hubtools.training.release import environment
    from hubtools.training.tuning import merged

    folder = task_folder(Path(ours.work_dir), ours.task)
    base_id = resolve_base(ours.base)
    args._n_gpu = min(args.n_gpu, 1)  # one process, one GPU: DataParallel would divide the loss wrongly

    set_seed(args.seed)
    revision = commit_of(base_id)
    tokenizer = AutoTokenizer.from_pretrained(base_id, revision=revision)
    job = (prepare_joint if ours.task == MULTI else prepare)(ours, args, tokenizer, base_id, revision, patience)
    trainer = job.trainer
    emissions = [Emissions(ours.emissions_country or "", folder.runs)] if ours.emissions else []
    for measured in emissions:
        trainer.add_callback(measured)
    trainer.remove_callback(transformers.PrinterCallback)
    rows_a_step = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    if trainer.is_world_process_zero():
        for line in said:
            print(f"[{ours.task}] {line}", flush=True)
        print(
            f"[{ours.task}] {job.rows}, base {base_id}, device {args.device.type}, "
            f"{args.world_size} process{'es' * (args.world_size > 1)}, seed {args.seed}",
            flush=True,
        )
        for line in (f"{rows_a_step} rows a step, {trainer.path}", *job.lines):
            print(f"[{ours.task}] {line}", flush=True)

    checkpoint = None
    if trainer.is_world_process_zero():  # alone: it may remove what is there
        rows = [part._fingerprint for part in job.splits]
        mark = json.dumps([ours.fingerprint or flags.argv, rows_a_step, base_id, revision, *rows])
        checkpoint = resumable_checkpoint(folder.runs, mark, get_last_checkpoint)
        write_json(folder.runs / "fingerprint.json", mark)
        if checkpoint:
            print(f"[{ours.task}] going on from {Path(checkpoint).name}", flush=True)
        for line in keep_curves(trainer, folder, resumed=bool(checkpoint)):
            print(f"[{ours.task}] {line}", flush=True)
    checkpoint = broadcast_object_list([checkpoint])[0]
    started = time.time()
    if checkpoint and trainer.takes_up_the_end(checkpoint):
        for measured in emissions:  # what was used before it was killed
            measured.on_train_begin(args, trainer.state, trainer.control)
            measured.on_train_end(args, trainer.state, trainer.control)
    else:
        trainer.train(resume_from_checkpoint=checkpoint)
    seconds = time.time() - started
    fresh = folder.root / "model.new"
    if trainer.is_world_process_zero():
        shutil.rmtree(fresh, ignore_errors=True)
    tokenizer.model_max_length = job.limit
    trainer.model = merged(trainer.model)
    trainer.save_model(str(fresh))  # all take part where the weights are sharded; the first writes
    energy = [measured.found() for measured in emissions]
    trainer.accelerator.end_training()
    if not trainer.is_world_process_zero():
        return

    arguments = {
        "epochs": args.num_train_epochs,
        "batch_size": rows_a_step,
        "learning_rate": args.learning_rate,
        "weight_decay": args.weight_decay,
        "warmup": args.warmup_steps,
        "patience": patience,
        "max_length": job.limit,
        "seed": args.seed,
        "precision": "bf16" if args.bf16 else "fp32",
        "label_smoothing": args.label_smoothing_factor,
        "focal_gamma": ours.focal_gamma,
    }
    record = {
        "fingerprint": ours.fingerprint,
        "base": base_id,
        "base_revision": revision,
        "base_note": base_named(base_id).note,
        "method": ours.method,
        "presets": said,
        "arguments": arguments,
        "options": job.options | ({"gradient_checkpointing": True} if args.gradient_checkpointing else {}),
        "steps": trainer.state.global_step,
        "epochs_run": trainer.state.epoch,
        "history": [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry],
        "seconds": round(seconds, 1),
        "resumed": bool(checkpoint),
        "processes": args.world_size,
        "path": trainer.path,
        **({"emissions": energy[0]} if energy else {}),
        **environment(args.device),
    }
    job.leave(fresh, record)


def resumable_checkpoint(runs: Path, fingerprint: str, last: Any) -> str | None:
    """The last whole checkpoint of the same training, if there is one; others are removed.

    A checkpoint without a whole ``trainer_state.json`` was cut off: the Trainer writes that file last.
    """
    known = runs / "fingerprint.json"
    if not runs.exists():
        return None
    if not known.exists() or json.loads(known.read_text()) != fingerprint or not fingerprint:
        shutil.rmtree(runs, ignore_errors=True)
        return None
    while found := last(str(runs)):
        try:
            json.loads((Path(found) / "trainer_state.json").read_text())
            return str(found)
        except (OSError, ValueError):
            shutil.rmtree(found)
    return None


def main(argv: list[str] | None = None) -> None:
    """Parse, train; an error that is the user's to mend ends with its message, not with a stack trace."""
    try:
        train(*parse(sys.argv[1:] if argv is None else argv))
    except HubtoolsError as error:
        fail(str(error), error.exit_code)
    except OSError as error:
        fail(str(TrainingFailed("Training could not read or write", found=str(error))))
    except Exception as error:
        if world_size() == 1:
            raise
        if "peer" in str(error) or "NCCL" in str(error):  # what others see when one of them is gone
            print(f"Process {os.environ['RANK']} stops: another one of the training has ended.", file=sys.stderr)
            sys.exit(1)
        traceback.print_exc()
        fail(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    start_processes(str(Path(__file__).resolve()), sys.argv[1:])
    main()
