"""Read a task from a YAML file: the same value as a built-in task, made of the same parts.

``docs/own-task.md`` explains each key to users; ``template.py`` writes a file to start from.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType

from hubtools.heads import HEADS, Head
from hubtools.heads.rows import LabelMap, UserColumns
from hubtools.rows import GROUPS, Columns
from hubtools.spec import LANGUAGE, LANGUAGE_RULE, CardTexts, Demo, Example, LabelSet, Metric, Role, Source
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, TASKS
from hubtools.tasks.keys import Keys, Value, read_values

# The keys that a file may have, by level: all others are refused, since a misspelled one would do nothing, quietly.
KEYS = (
    "name", "title", "question", "head", "labels", "positive", "alarming", "fallback", "primary",
    "weighted_loss", "language", "sources", "group_name", "dataset_name", "model_name", "examples", "card",
    "space", "version",
)  # fmt: skip
SOURCE_KEYS = (
    "id", "files", "name", "role", "share", "columns", "label_map", "license",
    "attribution", "provenance", "revision", "url",
)  # fmt: skip
CARD_KEYS = ("sentence", "intended", "out_of_scope", "limits", "citation", "dataset_sentence", "dataset_limits")
SPACE_KEYS = ("question", "about", "topic", "examples", "verdicts")

# Words for people, and names of repos. A change to any other key makes another version, so that data, model and scores
# are made anew: each of them is known by the task's version.
WORDS = ("title", "question", "language", "group_name", "card", "space", "dataset_name", "model_name")

# The splits that files may be named for.
SPLITS = ("train", "validation", "test")

_ROLES: Mapping[str, Role] = MappingProxyType({"whole": "whole", "training": "training", "test": "test"})

_RESERVED = ("all", MULTI)  # what commands call several tasks, or all of them in one model

_NAME = r"[a-z0-9][a-z0-9_-]{0,39}"
_REPO = r"[A-Za-z0-9][\w.-]{0,94}(?<![.-])"
_REPO_RULE = "a repo name: letters, digits, - _ and ."
_VERSION = r"[\w.]{1,20}"
# What the Hub takes for a language.


def read_task_file(path: Path) -> TaskSpec:
    """Return the task that the YAML file at ``path`` describes.

    Raises:
        UsageError: it cannot be read, or a key is unknown, missing or wrong; the message names the file, the line and
            the key.
    """
    return make_task(read_values(path))


def make_task(content: Value) -> TaskSpec:
    """Return the task that the content of a file describes; raises as :func:`read_task_file` does."""
    if "threshold" in (given := content.read_pairs()):
        # Earlier versions took one as the router's. It had no part in what a model ships with.
        given["threshold"].reject("no such key: hubtools evaluate chooses the threshold, on the validation split")
    keys = content.read_keys(KEYS)
    # Name, head and labels first: what follows is read by the head, with these labels.
    name = _read_name(keys.need("name", "a name of lower-case letters, digits, - and _"))
    kind = HEADS[keys.need("head", "one of " + ", ".join(HEADS)).read_choice(HEADS)]
    labels = _read_labels(keys.need("labels", "a list of labels"), kind)
    head = _read_head(keys, kind, tuple(labels))
    sources = _read_sources(keys.get("sources"), head, tuple(labels))
    # What is left out gets the defaults that the built-in tasks have, or words made of the name.
    return TaskSpec(
        name=name,
        title=keys.read_text("title", re.sub("[_-]+", " ", name).capitalize()),
        head=head,
        question=keys.read_text("question", head.default_question(tuple(labels))),
        label_sets=(LabelSet("own", tuple(labels), {label: label for label in labels}),),
        sources=sources,
        group_name=keys.read_text("group_name", "near-duplicate cluster"),
        primary=_read_primary(keys.get("primary"), kind),
        model_name=_read_model_name(keys.get("model_name")) or f"{name}_classifier_{{base}}_model",
        mapping_file="",  # the router has slots for its own tasks alone
        version=f"{keys.read_word('version', _VERSION, 'letters, digits and dots, 20 at most', '1')}-{_digest(keys)}",
        dataset_pattern=keys.read_word("dataset_name", _REPO, f"{_REPO_RULE}, without its owner", f"router-{name}"),
        card=_read_card(keys.get("card"), labels, _read_languages(keys.get("language"))),
        weighted_loss=keys.read_bool("weighted_loss"),
        examples=keys.read_texts("examples"),
        demo=_read_demo(keys.get("space")),
        file=content.file,
    )


def _read_name(value: Value) -> str:
    """Return a name that folders, repos and commands can use, and that no other task has."""
    name = value.read_word(_NAME, "a name of lower-case letters, digits, - and _, 40 at most")
    if name in TASKS or name in _RESERVED:
        value.reject("a name that is not taken: not " + ", ".join((*TASKS, *_RESERVED)))
    return name


def _read_labels(value: Value, kind: type[Head]) -> dict[str, str]:
    """Return the labels in order, each with its description or ""."""
    described: dict[str, str] = {}
    # Keys with descriptions, or a plain list.
    if isinstance(value.content, dict):
        pairs = [(Value(v.file, v.key, v.line, label), v) for label, v in value.read_pairs().items()]
    else:
        pairs = [(item, Value(item.file, item.key, item.line, None)) for item in value.read_items()]
    for item, description in pairs:
        # The one word that YAML keeps for itself, though a label may well be called so.
        if item.content is None:
            item.reject("a label; in quotation marks where it is the word null")
        label = item.read_word(kind.label_pattern, f"a label: {kind.label_rule}")
        if label in described:
            item.reject("each label once", f"{label!r} a second time")
        described[label] = "" if description.content is None else description.read_text()
    if len(described) < kind.least_labels or len(described) > (kind.most_labels or len(described)):
        number = f"{'exactly' if kind.most_labels == kind.least_labels else 'at least'} {kind.least_labels}"
        value.reject(f"{number} labels for head {kind.name}", f"{len(described)}: {', '.join(described)}")
    return described


def _read_head(keys: Keys, kind: type[Head], labels: Sequence[str]) -> Head:
    """Return the head with what the file says of it; ``positive`` is needed where the head has such a field."""
    # By its fields, not by its name: a head that is added later brings its own.
    has = {field.name for field in fields(kind)}
    keys.refuse(
        [name for name in ("positive", "alarming", "fallback") if name not in has],
        f"no such key with head {kind.name}",
    )
    values: dict[str, str | tuple[str, ...]] = {}
    if "positive" in has:
        values["positive"] = keys.need("positive", "the label that is looked for: " + " or ".join(labels)).read_choice(
            labels
        )
    if alarming := keys.read_texts("alarming"):
        # Compared with texts in lower case.
        values["alarming"] = tuple(word.lower() for word in alarming)
    if fallback := keys.get("fallback"):
        values["fallback"] = fallback.read_choice(labels)
    return kind(**values)


def _read_primary(value: Value | None, kind: type[Head]) -> Metric:
    """Return the metric that picks the checkpoint: one that the head computes while it trains, by default the first."""
    metrics = {metric.key: metric for metric in kind.selection}
    return next(iter(metrics.values())) if value is None else metrics[value.read_choice(metrics)]


def _read_model_name(value: Value | None) -> str:
    """Return the pattern of the model's repo name, or "" where the file leaves it out."""
    if value is None:
        return ""
    name = value.read_text()
    if not re.fullmatch(_REPO, name.replace("{base}", "base")):
        value.reject(f"{_REPO_RULE}, without its owner; {{base}} is the base model's name")
    return name


def _read_languages(value: Value | None) -> tuple[str, ...]:
    """Return the languages of the texts, for the cards; none where the file does not say: rows will tell."""
    if value is None:
        return ()
    items = [value] if isinstance(value.content, str) else value.read_items()
    return tuple(item.read_word(LANGUAGE, LANGUAGE_RULE) for item in items)


def _read_card(value: Value | None, labels: Mapping[str, str], languages: tuple[str, ...]) -> CardTexts:
    """Return what the cards say in words; the head's template has words for what is left out."""
    described = {label: meaning for label, meaning in labels.items() if meaning}
    if value is None:
        return CardTexts(labels=described, languages=languages)
    keys = value.read_keys(CARD_KEYS)
    return CardTexts(
        sentence=keys.read_text("sentence"),
        intended=keys.read_texts("intended"),
        out_of_scope=keys.read_texts("out_of_scope"),
        limits=keys.read_texts("limits"),
        citation=keys.read_text("citation"),
        labels=described,
        dataset_sentence=keys.read_text("dataset_sentence"),
        dataset_limits=keys.read_texts("dataset_limits"),
        languages=languages,
    )


def _read_demo(value: Value | None) -> Demo:
    """Return what the Space says of the task; the Space has words for what is left out."""
    if value is None:
        return Demo()
    keys = value.read_keys(SPACE_KEYS)
    verdicts = keys.read_texts("verdicts")
    if verdicts and len(verdicts) != 2:
        keys.need("verdicts", "").reject("two texts: for an answer at or above the threshold, and below")
    return Demo(
        question=keys.read_text("question"),
        about=keys.read_text("about"),
        topic=keys.read_text("topic"),
        examples=keys.read_texts("examples"),
        verdicts=(verdicts[0], verdicts[1]) if verdicts else None,
    )


def _digest(keys: Keys) -> str:
    """Return a hash of the keys that decide data, model or scores, 12 hex digits."""
    plain = {name: _to_json(value) for name, value in keys.values.items() if name not in WORDS}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def _to_json(value: Value) -> object:
    """Return a value as JSON, whose text stands for its content."""
    if isinstance(value.content, dict):
        return [[key, _to_json(inner)] for key, inner in value.content.items()]  # the order of labels counts
    return [_to_json(item) for item in value.content] if isinstance(value.content, list) else value.content


# --- sources ---


def _read_sources(value: Value | None, head: Head, labels: Sequence[str]) -> tuple[Source, ...]:
    """Return the sources of the file; none where rows come with ``--source`` alone."""
    items = [] if value is None else value.read_items()
    sources: list[Source] = []
    for item in items:
        source = _read_source(item, head, labels)
        # Flags such as --without call a source by its name.
        if source.name in [other.name for other in sources]:
            item.reject("sources of different names", f"{source.name!r} a second time", "name")
        sources.append(source)
    return tuple(sources)


def _read_source(value: Value, head: Head, labels: Sequence[str]) -> Source:
    """Return one source: a repo on the Hub (``id``), files beside the task file (``files``), or files of a repo."""
    keys = value.read_keys(SOURCE_KEYS)
    id = keys.read_word(
        "id", rf"{_REPO}/{_REPO}(:[\w.-]+)?", "owner/name or owner/name:config; a file goes under `files`", ""
    )
    files = _read_files(keys.get("files"))
    if not id and not files:
        value.reject("`id` of a dataset repo, or `files` beside the task file", "neither")
    if ":" in id and files:
        value.reject("either a configuration, owner/name:config, or `files`", "both", "id")
    if not id:
        keys.refuse(("revision", "url"), "no such key without `id`")
    role = _ROLES[keys.read_choice("role", _ROLES, "whole")]
    if role != "training":
        keys.refuse(("share",), "no such key but with `role: training`")
    # Files alone have no repo to be called by: their first one names the source.
    called = id or next(Path(pattern).name for patterns in files.values() for pattern in patterns)
    columns = _read_columns(keys.get("columns"), head)
    reader = _make_reader(head, labels, columns, _read_label_map(keys.get("label_map"), labels, head))
    return Source(
        id=called,
        files=files,
        columns=reader.names,
        row=reader.read,
        license=keys.read_word(
            "license", r"[a-z0-9][a-z0-9.+-]*", "a licence as on the Hub, such as cc-by-4.0", "other"
        ),
        attribution=keys.read_text("attribution", f"Rows of {called}; whoever made this dataset answers for them."),
        provenance=keys.read_text("provenance", f"As {called} has them; nobody here checked them."),
        revision=keys.read_word("revision", r"\w[\w./-]*", "a commit, branch or tag", "") or None,
        url=_read_url(keys, files),
        role=role,
        name=keys.read_word("name", r"\w[\w.-]*", "letters, digits and . - _", Path(called.partition(":")[0]).stem),
        share=keys.read_share("share", 1.0),
        folder=None if id else value.file.absolute().parent,
    )


def _read_files(value: Value | None) -> dict[str, tuple[str, ...]]:
    """Return file patterns by split; "" is one pool still to be split."""
    if value is None:
        return {}
    if not isinstance(value.content, dict):
        return {"": value.read_texts()}
    return {
        split: patterns.read_texts() for split, patterns in value.read_keys(SPLITS).values.items() if patterns.content
    }


def _read_url(keys: Keys, files: Mapping[str, Sequence[str]]) -> str:
    """Return the address that files are fetched from where the Hub has no such repo, or ""."""
    value = keys.get("url")
    if value is None:
        return ""
    url = value.read_word(
        r"https://[^\s{}]+(\{file\})?[^\s{}]*", "an address that begins with https://, {file} being a file"
    )
    if not files:
        value.reject("`files` beside `url`: they take the place of {file}", "no files")
    return url


def _read_label_map(value: Value | None, labels: Sequence[str], head: Head) -> LabelMap:
    """Return our label for each of theirs; None drops their rows."""
    if value is None:
        return {}
    ours = head.list_map_targets(LabelSet("own", tuple(labels), {}))
    return {theirs: None if to.content is None else to.read_choice(ours) for theirs, to in value.read_pairs().items()}


# --- rows ---


def _read_columns(value: Value | None, head: Head) -> Columns:
    """Return the names of the source's columns; one that is left out has the name that hubtools gives it."""
    if value is None:
        return Columns()
    # A head's truth is a column of the dataset as well: "label" or "spans".
    keys = value.read_keys(("text", head.truth, *(("tokens", "tags") if head.reads_tags else ()), "group"))
    names = {name: text for name in keys.known if (text := keys.read_text(name))}
    return Columns(
        text=names.get("text"),
        label=names.get(head.truth),
        tokens=names.get("tokens"),
        tags=names.get("tags"),
        group=names.get("group"),
    )


def _make_reader(head: Head, labels: Sequence[str], columns: Columns, label_map: LabelMap) -> UserColumns:
    """Return how rows are read: as rows of a user's own data are, with ``--source``."""
    chosen = head.choose_user_columns(columns, (), label_map, set(labels))
    # Which columns there are is not known before the first row: a group is looked for in each.
    groups = (columns.group,) if columns.group else GROUPS

    def read(raw: Mapping[str, object]) -> Example:
        name = next((raw[group] for group in groups if raw.get(group) is not None), "")
        return replace(chosen.read(raw), group=str(name))

    return UserColumns((*chosen.names, *filter(None, (columns.group,))), read)
