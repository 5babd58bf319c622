"""Cards: pure functions from what a run found to Markdown. They render again without a GPU or a network."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hubtools.assets import asset
from hubtools.curation.licences import OTHER, choose_model_licence
from hubtools.errors import CardRejected
from hubtools.evaluation.scores import AT_THRESHOLD, headlines, table_of
from hubtools.evaluation.tables import left_out
from hubtools.task import TaskSpec

START, END = "<!-- hubtools: written by a command; edit above or below -->", "<!-- hubtools: end -->"

_FRONT = re.compile(r"\A---\n(.*?)\n---\n?", re.DOTALL)


def render(folder: str, name: str, metadata: Mapping[str, Any], **values: Any) -> str:
    """Front matter and body of a card, from ``<folder>/<name>.md.jinja``; an undefined variable is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(asset(folder)), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=False,
    )  # fmt: skip
    environment.filters |= {
        "number": number, "whole": "{:,}".format, "cell": cell, "score": score, "share": share,
        "percent": lambda v: f"{100 * v:.1f}%",
        "plainly": plainly, "significant": lambda v: f"{_significant(v):,g}", "left_out": left_out,
    }  # fmt: skip
    body = environment.get_template(f"{name}.md.jinja").render(**values)
    body = re.sub(r"\n{3,}", "\n\n", body).strip()
    body = re.sub(r"^(- .*\n)\n(?=- )", r"\1", body, flags=re.MULTILINE)  # blank lines would make a list a loose one
    return join(metadata, f"{START}\n{body}\n{END}\n")


def join(metadata: Mapping[str, Any], body: str) -> str:
    import yaml

    front = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{front}---\n\n{body}"


def take_apart(card: str) -> tuple[dict[str, Any], str]:
    """Front matter and body of a card; no front matter gives an empty one.

    Raises:
        CardRejected: the front matter is not YAML.
    """
    import yaml

    match = _FRONT.match(card)
    if not match:
        return {}, card
    try:
        return yaml.safe_load(match.group(1)) or {}, card[match.end() :].lstrip("\n")
    except yaml.YAMLError as error:
        raise CardRejected("The card on the Hub has broken YAML", found=str(error).splitlines()[0]) from error


def merged(ours: str, theirs: str | None, offered: Mapping[str, Any] | None = None) -> str:
    """Our card with what a person added on the Hub: YAML keys that we do not set, and text outside our marks.

    Args:
        offered: keys that we set only where they are not there: their words are a person's to change.
    """
    metadata, body = take_apart(ours)
    if not theirs:
        return join(metadata | dict(offered), body) if offered else ours
    their_metadata, their_body = take_apart(theirs)
    metadata |= {key: value for key, value in (offered or {}).items() if key not in their_metadata}
    extra = {key: value for key, value in their_metadata.items() if key not in metadata}
    before, start, rest = their_body.partition(START)
    _, end, after = rest.partition(END)
    if start and end:
        body = before + body.rstrip("\n") + after
    metadata |= extra
    if metadata == their_metadata and _lines(body) == _lines(their_body):
        return theirs  # written by another program, with keys in another order or other blank lines: no change
    return join(metadata, body)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def number(value: float) -> str:
    return f"{value:.3f}"


def score(value: Any) -> str:
    """A score with its interval where it has one: ``0.912 [0.884, 0.939]``."""
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
    return number(value)


def share(value: Any) -> str:
    """A rate with its interval, in percent: ``5.0% [1.9%, 10.7%]``."""
    if value is None:
        return "–"
    return f"{100 * value['value']:.1f}% [{100 * value['low']:.1f}%, {100 * value['high']:.1f}%]"


def plainly(value: Any) -> str:
    """A setting, with those within it: ``rank 16, alpha 32``."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {plainly(inner)}" for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(plainly, value))
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def cell(text: str, limit: int = 160) -> str:
    """``text``, which may be anybody's, in one cell of a Markdown table: no link, picture or formula comes of it."""
    flat = " ".join(text.split())
    flat = flat if len(flat) <= limit else flat[: limit - 1] + "…"
    flat = flat.replace("&", "&amp;").replace("<", "&lt;")
    return _LINK.sub(lambda found: found[0].replace(":", "\\:").replace(".", "\\."), _MARKUP.sub(r"\\\g<0>", flat))


_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")  # an underscore within a word is no markup
_LINK = re.compile(r"(?:https?|ftp)://|\bwww\.", re.IGNORECASE)  # what GitHub's Markdown links by itself


def model_card(
    task: TaskSpec,
    repo: str,
    *,
    training: Mapping[str, Any],
    metrics: Mapping[str, Any],
    facts: Mapping[str, Any],
    dataset: Mapping[str, Any],
    texts: Mapping[str, str] | None = None,
    withheld: str = "",
    external: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The card of a model.

    Args:
        dataset: ``repo``, ``revision`` and ``tag`` of the dataset it was trained and scored on.
        texts: of the rows that it shows as mistakes, by their id; what is not there is not shown.
        withheld: why none is, in the words of the card.
        external: reports on other data, as ``evaluate --dataset`` writes them.
    """
    scores = metrics["scores"]
    rows = [
        {"title": title, "key": key, "ours": scores[key], "baselines": [b[key] for b in metrics["baselines"].values()]}
        for key, title in headlines(task)
    ]
    starter = any(source["starter"] for source in facts["sources"][:1])
    licence = choose_model_licence(facts["license"]["id"])
    tags = ["hubtools", "semantic-router", task.name] + (["nano"] if training["base_note"] else [])
    metadata = {
        "library_name": "transformers",
        "pipeline_tag": "token-classification" if task.kind == "token" else "text-classification",
        "license": licence,
        "language": ["en"],
        # A base from a folder has no page on the Hub to point to.
        **({"base_model": training["base"], "base_model_relation": "finetune"} if training["base_revision"] else {}),
        "datasets": [dataset["repo"]],
        "metrics": ["f1", "precision", "recall"]
        + (["accuracy"] if task.kind == "sequence" else [])
        + (["roc_auc"] if task.positive else []),
        "tags": tags + (["starter-corpus"] if starter else []),
        "model_max_length": training["arguments"]["max_length"],
        **_emissions(training),
        "widget": [
            {"text": e["text"], "example_title": f"Example {i}", "output": e["output"]}
            for i, e in enumerate((e for e in metrics["examples"] if e["output"]), 1)
        ],
        "model-index": [
            {
                "name": repo.split("/")[-1],
                "results": [
                    result_of(task, dataset, [(row["key"], row["title"], row["ours"]) for row in rows],
                              _at_threshold(scores))
                ],
            }
        ],
    }  # fmt: skip
    return render(
        "model_cards", task.name, metadata, task=task, repo=repo, training=training, metrics=metrics, scores=scores,
        facts=facts, dataset=dataset, rows=rows, starter=starter, label_set=task.label_set(facts["label_set"]),
        texts=texts or {}, withheld=withheld, hardware=_hardware(training), pictures=dict(metrics["plots"]),
        origin=_origin(task, facts),
        external=external, external_rows=_rows_of(external, task),
    )  # fmt: skip


def _emissions(training: Mapping[str, Any]) -> dict[str, Any]:
    """The Hub's key, in grams, where the training was measured."""
    found = training.get("emissions")
    if not found:
        return {}
    where = {"geographical_location": found["country"]} if found["country"] else {}
    return {
        "co2_eq_emissions": {
            "emissions": _significant(1000 * found["co2_kg"]),
            "source": found["tool"],
            "training_type": "fine-tuning",
            **where,
            "hardware_used": _hardware(training),
        }
    }


def _significant(value: float) -> float:
    """``value`` to four significant digits: what was measured is not known better."""
    return float(f"{value:.4g}")


def _hardware(training: Mapping[str, Any]) -> str:
    count = training["processes"]
    return f"{training['device']}, {count} process{'es' * (count > 1)}"


def result_of(
    task: TaskSpec, dataset: Mapping[str, Any], scores: Sequence[tuple[str, str, Any]],
    more: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:  # fmt: skip
    """An entry of a card's ``model-index``: what a model reaches on the test split of ``dataset``.

    Args:
        scores: key, title and value; without a value none is told.
        more: entries of its ``metrics``, as they are.
    """
    return {
        "task": {"type": "token-classification" if task.kind == "token" else "text-classification",
                 "name": task.title},
        "dataset": {"type": dataset["repo"], "name": dataset["repo"].split("/")[-1],
                    "config": "default", "split": "test", "revision": dataset["revision"]},
        "metrics": [
            {"type": _metric_type(key), "name": title, "value": plain(value)}
            for key, title, value in scores if value is not None
        ] + list(more),
    }  # fmt: skip


def _rows_of(external: Sequence[Mapping[str, Any]], task: TaskSpec) -> list[dict[str, Any]]:
    """Lines of the table of other data; a score that none of them has gets no line."""
    rows = [{"title": title, "values": [e["scores"].get(key) for e in external]} for key, title in table_of(task)]
    return [row for row in rows if any(value is not None for value in row["values"])]


def _at_threshold(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a detector: its two kinds of mistakes at the threshold that it ships with."""
    return [
        {"type": key, "name": title, "value": plain(scores[key]),
         "args": {"threshold": plain(scores["threshold"])}}
        for key, title in AT_THRESHOLD if scores.get(key) is not None
    ]  # fmt: skip


def dataset_card(task: TaskSpec, repo: str, facts: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """The card of a dataset, which says nothing that is not in its facts.

    Args:
        info: the ``configs`` and ``dataset_info`` that ``datasets`` writes.
    """
    kept = facts["counts"]["kept"]
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    origin = _origin(task, facts)
    starter = origin == "starter"
    licence = facts["license"]["id"]
    metadata = {
        "pretty_name": f"Router {task.title.lower()}" + (" (starter corpus)" if starter else ""),
        "language": ["en"],
        "license": licence,
        # What "other" means, the Hub wants to be told.
        **({"license_name": "see-sources-and-licences"} if licence == OTHER else {}),
        "task_categories": ["token-classification" if task.kind == "token" else "text-classification"],
        "task_ids": list(task.task_ids),
        "size_categories": [next((name for bound, name in bounds if kept < bound), "1M<n<10M")],
        "annotations_creators": [_annotator(task, origin)],
        "source_datasets": ["extended" if origin == "public" else "original"],
        "tags": ["hubtools", "semantic-router", task.name] + (["synthetic"] if facts["synthesis"] else []),
        **info,
    }
    return render(
        "dataset_cards", task.name, metadata, task=task, repo=repo, facts=facts, starter=starter, origin=origin,
        label_set=task.label_set(facts["label_set"]),
    )  # fmt: skip


def _origin(task: TaskSpec, facts: Mapping[str, Any]) -> str:
    """Where the rows are from: our own "starter" corpus, the task's "public" source, or a user's "own"."""
    main = facts["sources"][0]
    return "starter" if main["starter"] else "public" if main["id"] in {s.id for s in task.whole_sources} else "own"


def access_request(task: TaskSpec) -> dict[str, Any]:
    """The keys of a card that say what readers of a gated repo are asked; without them the Hub asks in its words."""
    if not task.access_prompt:
        return {}
    return {"extra_gated_prompt": task.access_prompt, "extra_gated_fields": dict(task.access_fields)}


def _annotator(task: TaskSpec, origin: str) -> str:
    """Spans come from the generator that placed them, intents of the public source from a table of rules."""
    if origin == "own":
        return "other"
    generated = task.kind == "token" or (task.name == "intent" and origin == "public")
    return "machine-generated" if generated else "expert-generated"


def check_drift(card: str, fresh: str, name: str) -> None:
    """Raises :class:`CardRejected`, with the first line that differs, where ``card`` is not ``fresh``.

    Args:
        name: of the task, or "multi".
    """
    if card == fresh:
        return
    pairs = itertools.zip_longest(fresh.splitlines(), card.splitlines(), fillvalue="(nothing)")
    new, old = next((pair for pair in pairs if pair[0] != pair[1]), ("another end of the file", "this one"))
    raise CardRejected(
        f"The {name} card is not what its files say", expected=new[:160], found=old[:160],
        next=f"hubtools model-card {name}",
    )  # fmt: skip


def _metric_type(key: str) -> str:
    if key in ("accuracy", "roc_auc"):
        return key
    if key.endswith("_f1") and "fpr" not in key:
        return "f1"
    return {"entity_precision": "precision", "entity_recall": "recall"}.get(key, key)


def plain(value: Any) -> float:
    """A score without its interval."""
    return float(value["value"] if isinstance(value, Mapping) else value)


# Only what our own templates could leave: an example row may say anything.
_LEFT_OVER = re.compile(r"\[More Information Needed\]|\{\{ [a-z_.]+|\bTODO:|!!python/\S+|\*\*nan\b")


def lint(card: str, kind: str) -> None:
    """Refuse a card that still holds a placeholder, that lacks what ours always have, or that the Hub would refuse.

    The Hub's rules are those that the embedded Hub applies; the Hub itself checks again when a commit arrives.

    Args:
        kind: "model", "dataset" or "space".

    Raises:
        CardRejected: with everything that is wrong.
    """
    from hubtools.localhub.cards import validate

    metadata, body = take_apart(card)
    if not isinstance(metadata, dict):
        raise CardRejected(
            f"The {kind} card has no front matter", expected="keys and values", found=repr(metadata)[:80]
        )
    faults = [f"left over: {match!r}" for match in _LEFT_OVER.findall(card)]
    licence = metadata.get("license")
    if licence is None:
        faults.append("license is missing")
    elif not isinstance(licence, str) or not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence) or licence == "license":
        faults.append(f"license is no identifier: {licence!r}")
    misspelled = {"licence", "licenses", "tag", "dataset"} & set(metadata)
    faults += [f"{key} is not a key that the Hub knows" for key in sorted(misspelled)]
    if kind == "space" and len(str(metadata.get("short_description", ""))) > 60:
        faults.append("short_description is longer than 60 characters")
    if not isinstance(metadata.get("widget", []), list):
        faults.append("widget is not a list")
    names = metadata.get("datasets", [])
    if not isinstance(names, list) or not all(isinstance(n, str) and _REPO.fullmatch(n) for n in names):
        faults.append(f"datasets is not a list of repos: {names}")
    faults += _index_faults(metadata.get("model-index", []))
    if not body.strip():
        faults.append("the body is empty")
    faults += [f"a section is empty: {title}" for title in _EMPTY.findall(body)]
    if kind == "model":
        faults += [f"{key} is missing" for key in MODEL_KEYS if key not in metadata]
    refused, _ = validate(card, kind)
    faults += [_without_list(fault) for fault in refused]
    if faults:
        raise CardRejected(
            f"The {kind} card would be rejected", expected="what the Hub accepts", found="; ".join(faults[:6])
        )


# What a reader of the Hub filters and compares models by.
MODEL_KEYS = ("library_name", "pipeline_tag", "language", "datasets", "metrics", "tags", "widget", "model-index")

_EMPTY = re.compile(r"^##+ (.+)\n+(?=(?:## |# |<!--|\Z))", re.MULTILINE)


def _without_list(fault: str) -> str:
    """A refusal of the Hub without all that would have been right, which may be a hundred names."""
    return re.sub(r"must be one of \[[^\]]{80,}\]", "is not one that the Hub knows", fault)


_REPO = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def _index_faults(index: Any) -> list[str]:
    """What the Hub would say of a ``model-index``: every result needs its task, dataset and plain numbers."""
    if not isinstance(index, list):
        return ["model-index is not a list"]
    faults = []
    for model in index:
        results = model.get("results") if isinstance(model, dict) else None
        if not isinstance(results, list) or not model.get("name"):
            faults.append("model-index: an entry lacks name or results")
            continue
        for result in results:
            task, dataset, metrics = (result.get(key) for key in ("task", "dataset", "metrics"))
            if not (task or {}).get("type") or not {"type", "name"} <= set(dataset or {}) or not metrics:
                faults.append("model-index: a result lacks task, dataset or metrics")
                continue
            for metric in metrics:
                value = metric.get("value")
                if not metric.get("type") or type(value) not in (int, float) or value != value:
                    faults.append(f"model-index: {metric.get('name') or 'a metric'} is no plain number: {value!r}")
    return faults
