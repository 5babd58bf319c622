"""``config.json`` and the mapping files: what the router reads of them, and what would be read otherwise elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hubtools.router_contract.check import Check, failed, passed

FILE = "config.json"
SEQUENCE, TOKEN = "ModernBertForSequenceClassification", "ModernBertForTokenClassification"
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish")
# Layer type, key of transformers 4, and what every reader takes where neither key is there.
ROPE = (
    ("full_attention", "global_rope_theta", 160_000.0),
    ("sliding_attention", "local_rope_theta", 10_000.0),
)
GLOBAL_EVERY = 3  # what transformers takes where ``global_attn_every_n_layers`` is missing
PADDING = 50283  # what transformers takes where ``pad_token_id`` is missing
NORM_EPS = 1e-5


def is_span_model(labels: Sequence[str]) -> bool:
    """Return whether the labels are tags of tokens: B- and I- of each type, and O."""
    return any(label.startswith(("B-", "I-")) for label in labels)


def check_config(config: Mapping[str, Any], labels: Sequence[str]) -> list[Check]:
    """Return what is wrong with the configuration of a model that answers with ``labels``, or one passed check."""
    problems = [
        *_check_family(config, labels),
        *_check_labels(config, labels),
        *_check_values(config),
        *_check_norms(config),
        *_check_layers(config),
        *_check_rope(config),
    ]
    good = passed("config", FILE, f"one architecture, {len(labels)} labels in order, the same in transformers 4 and 5")
    return problems or [good]


def _problem(key: str, summary: str, expected: str, found: object, **more: Any) -> Check:
    return failed("config", FILE, f"{key}: {summary}", expected=expected, found=found, **more)


def _check_family(config: Mapping[str, Any], labels: Sequence[str]) -> Iterator[Check]:
    if config.get("model_type") != "modernbert":
        yield _problem("model_type", "the router knows one family of such models", "'modernbert'",
                       config.get("model_type"), next="hubtools finetune TASK --base of a ModernBERT")  # fmt: skip
    architectures = config.get("architectures")
    expected = TOKEN if is_span_model(labels) else SEQUENCE
    if architectures != [expected]:
        yield _problem("architectures", "names what loads the model", f"exactly {[expected]}", architectures)


def _check_labels(config: Mapping[str, Any], labels: Sequence[str]) -> Iterator[Check]:
    found = config.get("id2label")
    expected = {str(i): label for i, label in enumerate(labels)}
    if found != expected:
        given = found if isinstance(found, dict) else {}
        first = next((i for i in [*expected, *given] if given.get(i) != expected.get(i)), "")
        yield _problem(
            "id2label", f"its entry {first!r} is not the task's; ids count from 0 to {len(labels) - 1}",
            str(expected.get(first, "no such entry")), given.get(first, "no such entry"),
        )  # fmt: skip
    if config.get("architectures") == [TOKEN] and not (is_span_model(labels) and "O" in labels):
        yield _problem("id2label", "spans are read from tags", "O, and B- or I- before each type", list(labels))


def _check_values(config: Mapping[str, Any]) -> Iterator[Check]:
    if config.get("problem_type", None) not in (None, "single_label_classification"):
        yield _problem("problem_type", "with it probabilities no longer add up to 1",
                       "no such key, or 'single_label_classification'", config["problem_type"])  # fmt: skip
    if config.get("classifier_pooling") != "mean":
        yield _problem("classifier_pooling", "the models are trained with the mean over tokens; without the key "
                       "another one is taken", "'mean'", config.get("classifier_pooling"))  # fmt: skip
    for key, meaning in (
        ("local_attention", "the window of local layers; without the key 128 is taken"),
        ("max_position_embeddings", "the most tokens of a text"),
        ("vocab_size", "the rows of the embedding"),
    ):
        if not isinstance(config.get(key), int) or config[key] < 1:
            yield _problem(key, meaning, "a number of 1 or more", config.get(key))
    padding, rows = config.get("pad_token_id", PADDING), config.get("vocab_size")
    if isinstance(padding, int) and isinstance(rows, int) and padding >= rows:
        given = "pad_token_id" in config
        yield _problem("pad_token_id", "transformers does not load a model whose padding has no row in the embedding",
                       f"an id below {rows}", padding if given else f"no such key, so {PADDING} is taken",
                       severity="error" if given else "warning")  # fmt: skip
    for key in ("hidden_activation", "classifier_activation"):
        if config.get(key, "gelu") not in ACTIVATIONS:
            yield _problem(key, "the router does not know this function", ", ".join(ACTIVATIONS), config[key])


def _check_norms(config: Mapping[str, Any]) -> Iterator[Check]:
    ours, other = config.get("norm_eps"), config.get("layer_norm_eps")
    if ours is not None and ours == other:
        return
    # The router and transformers read norm_eps, Text Embeddings Inference reads layer_norm_eps.
    harmless = (ours is None or other is None) and (NORM_EPS if ours is None else ours) == (
        NORM_EPS if other is None else other
    )
    yield _problem(
        "norm_eps", "norm_eps and layer_norm_eps must say the same", "both keys, equal",
        f"norm_eps {ours}, layer_norm_eps {other}", severity="warning" if harmless else "error",
    )  # fmt: skip


def _check_layers(config: Mapping[str, Any]) -> Iterator[Check]:
    kinds, every = config.get("layer_types"), config.get("global_attn_every_n_layers")
    layers = config.get("num_hidden_layers")
    if not isinstance(layers, int) or layers < 1:
        yield _problem("num_hidden_layers", "how many layers there are", "a number of 1 or more", layers)
        return
    if every is not None and (not isinstance(every, int) or every < 1):
        yield _problem("global_attn_every_n_layers", "which layers are global", "a number of 1 or more", every)
        return
    pattern = ["sliding_attention" if i % (every or GLOBAL_EVERY) else "full_attention" for i in range(layers)]
    if kinds is not None and kinds != pattern:
        yield _problem(
            "layer_types", "the router reads layer_types, transformers 4 global_attn_every_n_layers: both must say "
            "the same", f"{pattern}, as global_attn_every_n_layers = {every or GLOBAL_EVERY} says", kinds,
        )  # fmt: skip
    elif every is None:
        yield _problem("global_attn_every_n_layers", f"transformers 4 takes {GLOBAL_EVERY}", "the key", None,
                       severity="warning")  # fmt: skip


def _check_rope(config: Mapping[str, Any]) -> Iterator[Check]:
    parameters = config.get("rope_parameters")
    for kind, legacy, default in ROPE:
        nested = (parameters.get(kind) if isinstance(parameters, dict) else None) or {}
        theta, old = nested.get("rope_theta"), config.get(legacy)
        key = f"rope_parameters.{kind}.rope_theta"
        if nested.get("rope_type", "default") != "default":
            yield _problem(f"rope_parameters.{kind}.rope_type", "the router computes no other", "'default'", nested)
        if theta is None and old is None:
            yield _problem(key, f"neither it nor {legacy} is there", "both keys, equal", f"readers take {default:g}")
        elif theta is None:
            yield _problem(key, "only the key of transformers 4 is there", f"{old}, as {legacy} says", None,
                           severity="warning")  # fmt: skip
        elif old is None:
            yield _problem(legacy, f"transformers 4 takes {default:g} without it", f"{theta}, as {key} says", None,
                           severity="warning")  # fmt: skip
        elif theta != old:
            yield _problem(key, f"the router and transformers 5 read it, transformers 4 reads {legacy}", f"{old}, "
                           f"as {legacy} says", theta)  # fmt: skip


def check_mappings(folder: Path, labels: Sequence[str]) -> list[Check]:
    """Return what is wrong with the label mappings of ``folder``; there need not be one."""
    checks = []
    numbers = {label: i for i, label in enumerate(labels)}
    names = {str(i): label for i, label in enumerate(labels)}
    for path in sorted(folder.glob("*_mapping.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            maps = list(content.values())
        except (ValueError, AttributeError, OSError) as error:
            checks.append(failed("mapping", path.name, "cannot be read", expected="two maps", found=str(error)))
            continue
        if maps != [numbers, names]:
            checks.append(
                failed("mapping", path.name, "says other numbers for the labels than config.json",
                       expected=f"{numbers}, and the same the other way round", found=str(content))
            )  # fmt: skip
        elif list(maps[0]) != list(labels):
            checks.append(failed("mapping", path.name, "has the labels in another order", expected=str(list(labels)),
                                 found=str(list(maps[0]))))  # fmt: skip
        else:
            checks.append(passed("mapping", path.name, f"the {len(labels)} labels in the order of their ids"))
    return checks
