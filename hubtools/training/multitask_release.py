"""The releases that come of a training of several tasks: one for each task, and one that answers all of them.

Each task's is an ordinary classifier, left in its own work folder as its own training would leave it. The last holds
the body once and a head for each task; it is made of the files of the others, after a temperature was folded into each.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from hubtools.records import extend, read_record, write_json, write_record
from hubtools.records.thresholds import Temperature
from hubtools.records.training import MultitaskRecord, TaskTrainingValues, TrainingRecord, TrainingRun, Truncation
from hubtools.tasks import MEAN_SCORE, MULTI
from hubtools.workdir import TaskFolder, replace_folder, sha256_of, task_folder

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from hubtools.training.multitask_model import MultitaskTrainer, Part
    from hubtools.training.plan import Plan

WEIGHTS = "model.safetensors"
HEADS = "heads.safetensors"
ABOUT_HEADS = "heads.json"
BODY = "model."  # of the names of weights, in every classifier of ModernBERT's


def release_all(
    fresh: Path, plan: Plan, trainer: MultitaskTrainer, cut: Mapping[str, dict[str, Truncation]],
    hashes: Mapping[str, str], run: TrainingRun,
) -> None:  # fmt: skip
    """Make a release for each task, and the one that answers all of them: the end of a training.

    Killed in the middle of it, the next training goes on from the last checkpoint, and does all of this again.

    Args:
        fresh: where the trained model was saved, beside the model that answers all.
        cut: what the length limit costs each task.
        hashes: what tells the training rows of each task from others.
    """
    from safetensors.torch import load_file

    from hubtools.training.batching import Collator
    from hubtools.training.release import list_sources, measure_weights, release_model
    from hubtools.training.selection import find_best_evaluation

    # Read once; each task's classifier takes the body and its own head from it.
    weights = load_file(fresh / WEIGHTS)
    best = find_best_evaluation(trainer.state)
    config = cast("PreTrainedModel", trainer.model).config
    tokenizer = cast("PreTrainedTokenizerBase", trainer.processing_class)
    collator = Collator(tokenizer.pad_token_id or 0)
    names = [part.task.name for part in trainer.parts]
    run = replace(run, method=MULTI)
    folders = {}
    for part in trainer.parts:
        task = part.task
        folder = folders[task.name] = task_folder(plan.work_dir, task.name)
        # As a task's own training does: the model before stays until this one is complete.
        made = folder.root / "model.new"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        export(weights, config, part, made)
        tokenizer.save_pretrained(made)
        # A card of one task shows no scores of the others.
        others = [f"eval_{name}_" for name in names if name != task.name]
        record = extend(
            run,
            TrainingRecord,
            task=task.name,
            label_set=part.label_set.name,
            train_sha256=hashes[task.name],
            truncation=cut[task.name],
            arguments=extend(run.arguments, TaskTrainingValues, class_weights=part.class_weights),
            best_validation={task.primary.key: best.get(f"eval_{task.name}_{task.primary.key}")},
            history=[_select_scores(entry, task.name, others) for entry in run.history],
        )
        sources = list_sources(plan.data[task.name]["validation"])
        release_model(made, folder, task, part.label_set, part.encoded["validation"], collator, record, sources)
    # After the four: their temperatures are folded into the heads that it takes.
    folder = plan.folder
    assemble(fresh, config, folders, trainer.parts)
    # Replaced last: until its training.json is written, the training of all tasks counts as not done.
    with replace_folder(fresh, folder.model):
        pass
    record_of_all = extend(
        run,
        MultitaskRecord,
        best_validation={MEAN_SCORE.key: best.get(f"eval_{MEAN_SCORE.key}")},
        rows={part.task.name: part.rows for part in trainer.parts},
        loss_weights={part.task.name: part.weight for part in trainer.parts},
        weights_sha256={name: sha256_of(one.model / WEIGHTS) for name, one in folders.items()},
        weights=measure_weights(folder.model / WEIGHTS, folder.model / HEADS),
    )
    # Last: it says that the training of all tasks is done.
    write_record(folder.training, record_of_all)
    shutil.rmtree(folder.runs, ignore_errors=True)


def _select_scores(entry: Mapping[str, float], task: str, others: Sequence[str]) -> dict[str, float]:
    """Return a line of the history as a task's own training would have it.

    Args:
        others: beginnings of the keys of other tasks' scores.
    """
    return {
        key.replace(f"eval_{task}_", "eval_"): value
        for key, value in entry.items()
        if not key.startswith(tuple(others))
    }


def export(weights: Mapping[str, Tensor], config: PreTrainedConfig, part: Part, folder: Path) -> None:
    """Write the classifier of one task: the weights of the body and of its head, under ModernBERT's own names."""
    from safetensors.torch import save_file

    # Under the names that ModernBertFor...Classification gives its own head: plain from_pretrained loads it.
    head = f"heads.{part.task.name}."
    tensors = {name.removeprefix(head): tensor for name, tensor in weights.items() if name.startswith((BODY, head))}
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    task_config = copy.deepcopy(config)
    task_config.architectures = [f"ModernBert{part.task.head.architecture}"]
    task_config.id2label = dict(enumerate(part.labels))
    task_config.label2id = {name: i for i, name in enumerate(part.labels)}
    task_config.save_pretrained(folder)


def assemble(fresh: Path, config: PreTrainedConfig, folders: Mapping[str, TaskFolder], parts: Sequence[Part]) -> None:
    """Make of the model saved in ``fresh`` the repo that answers all tasks: the body, which ``AutoModel`` loads, and
    the heads of the classifiers in ``folders``.
    """
    from safetensors import safe_open
    from safetensors.torch import save_file

    from hubtools.training.calibration import FILE
    from hubtools.training.release import complete_config, complete_tokenizer

    body: dict[str, Tensor] = {}
    heads: dict[str, Tensor] = {}
    about: dict[str, dict[str, object]] = {}
    for part in parts:
        folder = folders[part.task.name]
        with safe_open(folder.model / WEIGHTS, "pt") as file:
            for name in file.keys():  # noqa: SIM118
                if not name.startswith(BODY):
                    heads[f"{part.task.name}.{name}"] = file.get_tensor(name)
                # The body is the same in all of them; one copy is enough.
                elif part is parts[0]:
                    body[name.removeprefix(BODY)] = file.get_tensor(name)
        about[part.task.name] = {
            "kind": part.task.head.granularity,
            "labels": list(part.labels),
            "temperature": read_record(
                folder.model / FILE, Temperature, task=part.task.name, command="finetune"
            ).temperature,
        }
    save_file(body, fresh / WEIGHTS, {"format": "pt"})
    save_file(heads, fresh / HEADS, {"format": "pt"})
    write_json(fresh / ABOUT_HEADS, about)
    # The file that was saved with the weights names the model that trained, a class of ours.
    body_config = copy.deepcopy(config)
    body_config.architectures = ["ModernBertModel"]
    body_config.save_pretrained(fresh)
    complete_config(fresh / "config.json")
    # The repo is loaded by the same clients as those of single tasks.
    complete_tokenizer(fresh)
    (fresh / "training_args.bin").unlink(missing_ok=True)  # a pickle: releases are safetensors and JSON only
