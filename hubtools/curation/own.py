"""A user's own data: which of its columns say what a task needs, and how its labels are mapped to the task's."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hubtools.curation.reading import one_line
from hubtools.errors import SourceError, UsageError
from hubtools.spec import BadRow, Dropped, Example, LabelSet, Source, Span
from hubtools.task import TaskSpec
from hubtools.tasks.pii import checked_spans
from hubtools.tasks.rows import text_of

OUTSIDE = "O"

# Where no flag names a column: the first of these that is there.
GROUPS = ("group", "family", "template_id")
TAGS = ("ner_tags", "tags")

# What others call the parts of a span.
_START = ("start", "start_position", "start_offset", "begin")
_END = ("end", "end_position", "end_offset", "stop")
_TYPE = ("label", "type", "entity_type", "entity_group", "entity", "tag")
_VALUE = ("value", "entity_value")


@dataclass(frozen=True)
class Columns:
    """Names of columns as flags gave them; None leaves it to what the data has.

    Attributes:
        label: of the label; for a token task of the spans.
        tokens, tags: of a token task's words and their tags, instead of text and spans.
        label_map: a YAML file, theirs: ours.
    """

    text: str | None = None
    label: str | None = None
    tokens: str | None = None
    tags: str | None = None
    group: str | None = None
    label_map: Path | None = None

    @property
    def given(self) -> bool:
        """Whether any flag was given."""
        return self != Columns()


def own_source(task: TaskSpec, id: str, seen: Sequence[str], asked: Columns, label_set: LabelSet) -> Source:
    """A source of rows with the columns that ``asked`` names, or that its rows are found to have.

    Args:
        seen: names of the columns that the data has.

    Raises:
        UsageError: the label map cannot be read or names a label that the task does not have, or a flag does not
            fit the task.
    """
    label_map = read_label_map(asked.label_map, task, label_set) if asked.label_map else {}
    if task.kind == "sequence" and (asked.tokens or asked.tags):
        raise UsageError(
            f"Task {task.name!r} labels whole texts", expected="--text-column and --label-column",
            found="--tokens-column or --tags-column, which are for pii", next=f"hubtools curate {task.name} --help",
        )  # fmt: skip
    if asked.group and asked.group not in seen:
        raise SourceError(
            f"Source {id!r} lacks a column: {asked.group}", expected=asked.group, found=one_line(", ".join(seen)),
            next="name a column that is there with --group-column, or leave the flag out",
        )  # fmt: skip
    group = asked.group or next((name for name in GROUPS if name in seen), "")
    columns: tuple[str, ...]
    row: Callable[[Mapping[str, Any]], Example]
    text = asked.text or "text"
    if task.kind == "sequence":
        columns = (text, asked.label or "label")
        row = _labelled(*columns, label_map)
    else:
        types = {kind for labels in task.label_sets for kind in labels.mapping} | set(label_set.labels)
        tokens, tags = asked.tokens or "tokens", asked.tags or next((name for name in TAGS if name in seen), TAGS[0])
        by_tokens = asked.tokens or asked.tags or (not (asked.label or "spans" in seen) and tokens in seen)
        if by_tokens:
            given = (text,) if asked.text or text in seen else ()
            columns = (*given, tokens, tags)
            row = _tagged(text if given else "", tokens, tags, label_map, types)
        else:
            columns = (text, asked.label or "spans")
            row = _spanned(*columns, label_map, types)

    def grouped(raw: Mapping[str, Any]) -> Example:
        name = raw.get(group)
        return replace(row(raw), group="" if name is None else str(name))

    return replace(
        task.source,
        id=id,
        files={},
        columns=(*columns, asked.group) if asked.group else columns,
        row=grouped,
        revision=None,
        url="",
        starter=False,
    )


def own_labels(label_set: LabelSet) -> LabelSet:
    """The label set for data that may use its labels themselves as well as the source's."""
    return replace(label_set, mapping={label: label for label in label_set.labels} | dict(label_set.mapping))


def read_label_map(path: Path, task: TaskSpec, label_set: LabelSet) -> dict[str, str | None]:
    """Theirs: ours, from a YAML file. Keys are text as they are written there; ``null`` drops the row.

    Raises:
        UsageError: it cannot be read, or maps to what the task does not have.
    """
    import yaml

    class Words(yaml.SafeLoader):
        """Leaves 1, yes and 2020-01-01 as they are written: labels of a file are text."""

    Words.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag == "tag:yaml.org,2002:null"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    ours = [*label_set.labels, *(name for name in label_set.mapping if name not in label_set.labels)]
    if task.kind == "token":
        ours.append(OUTSIDE)
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Words)  # a SafeLoader
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _unfit_map(path, ours, error) from error
    if not isinstance(content, dict) or not content:
        raise _unfit_map(path, ours, "nothing" if content is None else repr(content)[:80])
    wrong = [
        f"{theirs!r}: {target!r}" for theirs, target in content.items()
        if not isinstance(theirs, str) or not (target is None or target in ours)
    ]  # fmt: skip
    if wrong:
        raise _unfit_map(path, ours, "; ".join(wrong[:5]))
    return content


def _unfit_map(path: Path, ours: Sequence[str], found: object) -> UsageError:
    return UsageError(
        f"Label map {str(path)!r}", expected="lines such as `theirs: ours`, ours being one of " + ", ".join(ours),
        found=one_line(found), next="mend the file; null as ours drops the rows of a label",
    )  # fmt: skip


def spelled(label: object) -> str:
    """A label as a label map writes it: 1 and 1.0 are "1", True is "true"; "" where there is none."""
    if isinstance(label, bool):
        return str(label).lower()
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label).strip() if isinstance(label, str | int | float) else ""


def _labelled(text: str, label: str, label_map: Mapping[str, str | None]) -> Callable[[Mapping[str, Any]], Example]:
    def row(raw: Mapping[str, Any]) -> Example:
        theirs = spelled(raw.get(label))
        if not theirs or (theirs == "-1" and theirs not in label_map):  # how datasets writes that there is none
            raise BadRow("label is missing")
        return Example(text=text_of(raw, text), label=_mapped(theirs, label_map))

    return row


def _mapped(theirs: str, label_map: Mapping[str, str | None]) -> str:
    ours = label_map.get(theirs, theirs)
    if ours is None:
        raise Dropped(f"label {theirs!r} is mapped to null")
    return ours


def _spanned(
    text: str, spans: str, label_map: Mapping[str, str | None], types: set[str]
) -> Callable[[Mapping[str, Any]], Example]:
    def row(raw: Mapping[str, Any]) -> Example:
        content = text_of(raw, text)
        found = [_span(content, item) for item in _list(raw.get(spans), "spans")]
        return Example(text=content, spans=_of_types(content, found, label_map, types))

    return row


def _tagged(
    text: str, tokens: str, tags: str, label_map: Mapping[str, str | None], types: set[str]
) -> Callable[[Mapping[str, Any]], Example]:
    def row(raw: Mapping[str, Any]) -> Example:
        words, marks = _list(raw.get(tokens), "tokens"), _list(raw.get(tags), "tags")
        if not all(isinstance(word, str) for word in words):
            raise BadRow("tokens are not a list of texts")
        if not all(isinstance(mark, str) for mark in marks):
            raise BadRow("tags are not a list of texts, nor integers of a ClassLabel")
        if len(words) != len(marks):
            raise BadRow("tokens and tags differ in number")
        if text:
            content = text_of(raw, text)
            places = aligned(content, words)
        else:
            content, places = joined(words)
            if not content.strip():
                raise Dropped(f"{tokens} is empty")
        found = spans_of(places, marks)
        return Example(text=content, spans=_of_types(content, found, label_map, types))

    return row


def _list(value: Any, what: str) -> list[Any]:
    """A list, which a csv file holds as text: JSON, or as Python writes it."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            try:
                value = ast.literal_eval(value.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                raise BadRow(f"{what} are not a list") from None
    if isinstance(value, Mapping):  # columns instead of rows, as older datasets write a list of objects
        columns = list(value.values())
        if not all(isinstance(column, list) for column in columns) or len({len(column) for column in columns}) > 1:
            raise BadRow(f"{what} are not a list")
        return [dict(zip(value, items, strict=True)) for items in zip(*columns, strict=True)]
    if not isinstance(value, list | tuple):
        raise BadRow(f"{what} are not a list")
    return list(value)


def _span(text: str, raw: Any) -> Span:
    if isinstance(raw, Mapping):
        start, end, kind = (_first(raw, names) for names in (_START, _END, _TYPE))
        value = _first(raw, _VALUE)
    elif isinstance(raw, list | tuple) and len(raw) == 3:
        (start, end, kind), value = raw, None
    else:
        raise BadRow("a span is not an object with start, end and label")
    if start is None or end is None or kind is None:
        raise BadRow("a span lacks a key")
    # Tables write a column of integers as floats where a cell is empty.
    start, end = (int(at) if isinstance(at, float) and at.is_integer() else at for at in (start, end))
    if type(start) is not int or type(end) is not int or not isinstance(kind, str | int):
        raise BadRow("a span has the wrong types")
    if not 0 <= start < end <= len(text):
        raise BadRow("span outside the text")
    if value is not None and text[start:end] != value:
        raise BadRow("span offsets do not give its value")
    return Span(start, end, spelled(kind))


def _first(raw: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((raw[name] for name in names if raw.get(name) is not None), None)


def _of_types(
    text: str, found: Sequence[Span], label_map: Mapping[str, str | None], types: set[str]
) -> tuple[Span, ...]:
    """Spans of the task's types, in order and without white space at their ends, where the router trims as well."""
    kept = []
    for span in found:
        kind = _mapped(span.type, label_map)
        if kind == OUTSIDE:
            continue
        if kind not in types:
            raise BadRow(f"unknown entity type {kind!r}")
        inner = text[span.start : span.end]
        start = span.start + len(inner) - len(inner.lstrip())
        kept.append(Span(start, start + len(inner.strip()), kind))
    return checked_spans(text, kept)


def spans_of(places: Sequence[tuple[int, int]], tags: Sequence[str]) -> list[Span]:
    """Spans over words from their tags: BIO in both its forms, BILOU, BIOES, or bare types.

    A prefix that opens (B, U, S) always begins a span; any other goes on with one of its type, or begins one.
    """
    spans: list[Span] = []
    going = ""  # type of the span that the next word may go on with
    for (start, end), tag in zip(places, tags, strict=True):
        prefix, dash, kind = tag.partition("-")
        if not (dash and prefix in tuple("BILOUES")):
            prefix, kind = "I", tag
        if not kind.strip() or kind == OUTSIDE or prefix == OUTSIDE:
            going = ""
            continue
        if kind == going and prefix in ("I", "L", "E"):
            spans[-1] = replace(spans[-1], end=end)
        else:
            spans.append(Span(start, end, kind))
        going = "" if prefix in ("L", "E", "U", "S") else kind
    return spans


_NO_SPACE_BEFORE = (".", ",", ";", ":", "!", "?", ")", "]", "}", "%", "'s", "’s", "n't", "n’t")
_NO_SPACE_AFTER = ("(", "[", "{", "$", "#")


def joined(tokens: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """A text of ``tokens``, and where each stands in it: spaces between words, none before closing punctuation."""
    text, places = "", list[tuple[int, int]]()
    before = ""
    for token in tokens:
        glued = token in _NO_SPACE_BEFORE or before in _NO_SPACE_AFTER
        if text and token.strip() and not glued and not text[-1].isspace():
            text += " "
        places.append((len(text), len(text) + len(token)))
        text += token
        before = token
    return text, places


def aligned(text: str, tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Where each of ``tokens`` stands in ``text``, with nothing but white space between.

    Raises:
        BadRow: they are not the words of this text.
    """
    places = []
    at = 0
    for token in tokens:
        start = text.find(token, at)
        if start < 0 or text[at:start].strip():
            raise BadRow("tokens do not stand in the text")
        at = start + len(token)
        places.append((start, at))
    if text[at:].strip():
        raise BadRow("tokens do not stand in the text")
    return places
