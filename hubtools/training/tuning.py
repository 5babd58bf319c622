"""Which weights of a classifier train, and how fast: frozen layers, LoRA, learning rates by depth."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from hubtools.errors import UsageError
from hubtools.records.training import LoraOptions, TuningOptions
from hubtools.training.arguments import FinetuneArguments

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")


def measure_depths(model: nn.Module) -> dict[str, int]:
    """Return how far from the input each weight stands, by its name: 0 for embeddings, 1 for the lowest layer and so
    on, and one more than there are layers for what comes after them.

    Raises:
        UsageError: the encoder has no layers with numbers, as all but a few have.
    """
    depths: dict[str, int | None] = {}
    for name, _ in model.named_parameters():
        number = _LAYER.search(name)
        depths[name] = int(number[1]) + 1 if number else 0 if "embeddings" in name else None
    layers = max((depth or 0 for depth in depths.values()), default=0)
    if not layers:
        raise UsageError(
            f"An encoder of type {plain(model).config.model_type} has no numbered layers",
            expected="BERT, RoBERTa, DistilBERT, DeBERTa, ModernBERT or the like for --freeze_layers and --layer_decay",
            next="train without these flags, or from another --base",
        )
    return {name: layers + 1 if depth is None else depth for name, depth in depths.items()}


def freeze(model: nn.Module, count: int) -> int:
    """Keep the embeddings and the ``count`` lowest layers as they are: no gradient is computed there.

    Returns:
        how many layers there are.

    Raises:
        UsageError: fewer than ``count``.
    """
    depth = measure_depths(model)
    layers = max(depth.values()) - 1
    if count > layers:
        raise UsageError(
            f"--freeze_layers {count}", expected=f"at most the {layers} layers of this base", found=str(count),
            next=f"--freeze_layers {layers} trains the head alone",
        )  # fmt: skip
    for name, weight in model.named_parameters():
        if depth[name] <= count:
            weight.requires_grad_(False)
    return layers


def add_lora(
    model: PreTrainedModel, rank: int, alpha: int, dropout: float, targets: str
) -> tuple[PeftModel, list[str]]:
    """Return ``model`` with adapters beside the encoder's linear layers (Hu et al. 2021, arXiv:2106.09685).

    The adapters train, and all that comes after the encoder's layers; frozen layers get no adapter.

    Args:
        targets: "all", or the last parts of the names of linear layers, with commas.

    Returns:
        the model as peft wraps it, and the last parts of the names of what is adapted.

    Raises:
        UsageError: the encoder has no such layer.
    """
    from peft import LoraConfig, get_peft_model

    encoder = model.base_model_prefix
    linear = [
        name for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and name.startswith(f"{encoder}.") and ".pooler." not in name
        and part.weight.requires_grad
    ]  # fmt: skip
    kinds = list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
    wanted = kinds if targets == "all" else [part.strip() for part in targets.split(",")]
    if not set(wanted) <= set(kinds) or not kinds:
        raise UsageError(
            "--lora_targets",
            expected=f"all, or some of the linear layers that are not frozen: {', '.join(kinds) or 'there are none'}",
            found=targets, next="hubtools finetune TASK --lora_rank 16",
        )  # fmt: skip
    # peft freezes all that is neither an adapter nor named here: all that is not the encoder must be.
    head = [name for name, part in model.named_children() if name != encoder and any(True for _ in part.parameters())]
    head += [f"{encoder}.pooler"] if getattr(model.base_model, "pooler", None) is not None else []
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, modules_to_save=head,
        target_modules=[name for name in linear if name.rpartition(".")[2] in wanted],
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that has a new one
        adapted = cast("PeftModel", get_peft_model(model, config))
    # Knowing the base's name, peft asks the Hub at each checkpoint whether the vocabulary has changed.
    adapted.peft_config["default"].base_model_name_or_path = None
    return adapted, wanted


def plain(model: nn.Module) -> PreTrainedModel:
    """Return the classifier itself, where peft has wrapped it."""
    # peft is loaded only where it is used: the model itself must tell.
    unwrap = getattr(model, "get_base_model", None)
    return cast("PreTrainedModel", unwrap() if unwrap else model)


def merge_adapters(model: nn.Module) -> nn.Module:
    """Return the classifier with its adapters added to its weights: the same answers, and nothing of peft is left."""
    merge = getattr(model, "merge_and_unload", None)
    return cast("nn.Module", merge()) if merge else model


def tune(
    classifier: PreTrainedModel, ours: FinetuneArguments, rate: float
) -> tuple[nn.Module, TuningOptions, list[str]]:
    """Return the model as the flags want it trained, what is in use of them, and lines that say so.

    Args:
        rate: the learning rate.
    """
    model: nn.Module = classifier
    lora = None
    lines = []
    if ours.freeze_layers:
        layers = freeze(model, ours.freeze_layers)
        lines.append(f"frozen: the embeddings and the lowest {ours.freeze_layers} of {layers} layers")
    if ours.lora_rank:
        alpha = ours.lora_alpha or 2 * ours.lora_rank
        model, targets = add_lora(classifier, ours.lora_rank, alpha, ours.lora_dropout, ours.lora_targets)
        lora = LoraOptions(rank=ours.lora_rank, alpha=alpha, dropout=ours.lora_dropout, targets=targets)
        trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
        share = trained / sum(weight.numel() for weight in plain(model).parameters())
        lines.append(
            f"LoRA of rank {ours.lora_rank} on {', '.join(targets)}: {share:.1%} of the weights train; "
            "merged at the end"
        )
    if ours.layer_decay < 1:
        lowest = rate * ours.layer_decay ** max(measure_depths(model).values())
        lines.append(
            f"learning rate {rate:g} at the head, {lowest:.2g} at the embeddings: times {ours.layer_decay:g} a layer"
        )
    options = TuningOptions(
        freeze_layers=ours.freeze_layers or None,
        lora=lora,
        layer_decay=ours.layer_decay if ours.layer_decay < 1 else None,
    )
    return model, options, lines


def decay_by_depth(optimizer: torch.optim.Optimizer, model: nn.Module, decay: float) -> None:
    """Divide the groups of ``optimizer`` by depth: each layer learns ``decay`` times as fast as the one above it.

    The head keeps the full rate, and its groups come first: their rate is the one that is logged. What else a group
    says, such as its weight decay, stays.
    """
    # An optimizer holds weights without their names.
    depth_by_name = measure_depths(model)
    depth = {id(weight): depth_by_name[name] for name, weight in model.named_parameters()}
    top = max(depth_by_name.values())
    groups = optimizer.param_groups[:]
    optimizer.param_groups.clear()
    for level in range(top, -1, -1):
        for group in groups:
            if weights := [weight for weight in group["params"] if depth[id(weight)] == level]:
                optimizer.add_param_group(group | {"params": weights, "lr": group["lr"] * decay ** (top - level)})
