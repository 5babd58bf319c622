"""What a task is: frozen values, standard library only.

What a run *found* (counts, scores, revisions) lives in the JSON files of the work folder, never here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal


class Dropped(Exception):
    """Raised by a row function for a row that the dataset must not hold; the message is the counted reason."""


class BadRow(Dropped):
    """Dropped because the source is wrong there: it stops curation, unless bad rows are to be skipped."""


class Undecided(Dropped):
    """Dropped because no rule decides its label."""


@dataclass(frozen=True)
class Span:
    """A stretch of personal data: ``text[start:end]`` in Unicode code points, ``type`` in the source's own names."""

    start: int
    end: int
    type: str


@dataclass(frozen=True)
class Example:
    """One row on its way from a source to a dataset.

    Attributes:
        text: the prompt, exactly as it is trained on.
        label: a label in the source's own names; "" for token tasks.
        spans: sorted, without overlap; empty for sequence tasks.
        group: what must not stand on both sides of a split (template, family, function); "" for none.
        split: the source's own split where it is official, else "".
        source: id of the source the row came from.
        rule: what decided the label, in a few words; "" where it is the source's own.
        place: file and line, or the row's number; for what we made ourselves, what it is made of.
    """

    text: str
    label: str = ""
    spans: tuple[Span, ...] = ()
    group: str = ""
    split: str = ""
    source: str = ""
    rule: str = ""
    place: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Its label, or the type of each of its spans."""
        return (self.label,) if self.label else tuple(span.type for span in self.spans)


@dataclass(frozen=True)
class Source:
    """Where rows come from.

    Attributes:
        id: a dataset repo on the Hub, ``owner/name``.
        files: glob patterns within the repo, by the split they hold; "" is one pool still to be split.
        columns: what each row must have.
        row: pure function from a raw row to an :class:`Example`; raises :class:`Dropped`.
        labels: every label that ``row`` may return, before a label set maps it.
        revision: the commit that is read where the Hub has it, else the newest.
        url: where the file is fetched when the Hub has no such repo; ``{file}`` is the pattern.
        license: identifier as on the Hub.
        attribution: whom to name, and why.
        provenance: how its labels came about.
        starter: a corpus of our own writing, which is packaged.
        name: what ``--supplement`` and ``--without`` call it; for supplements.
        share: the most of the training split that it may make up as a supplement.
        optional: a supplement that joins only when it is asked for.
        templates: rows are templates, which curation fills.
    """

    id: str
    files: Mapping[str, tuple[str, ...]]
    columns: tuple[str, ...]
    row: Callable[[Mapping[str, Any]], Example]
    license: str
    attribution: str
    provenance: str = ""
    revision: str | None = None
    url: str = ""
    starter: bool = False
    name: str = ""
    share: float = 1.0
    optional: bool = False
    templates: bool = False


@dataclass(frozen=True)
class LabelSet:
    """The labels of a model, in the order of their ids.

    Attributes:
        labels: sequence classes, or entity types for a token task.
        mapping: from a source's label or entity type to one of ``labels``; what it lacks is dropped
            (sequence) or left unmarked (token).
    """

    name: str
    labels: tuple[str, ...]
    mapping: Mapping[str, str]

    def mapped(self, row: Example) -> Example:
        """``row`` with its label, or the types of its spans, as ``labels`` has them; other spans are left out.

        Raises:
            KeyError: its label has no place in the set.
        """
        spans = tuple(replace(s, type=self.mapping[s.type]) for s in row.spans if s.type in self.mapping)
        return replace(row, label=row.label and self.mapping[row.label], spans=spans)


@dataclass(frozen=True)
class Metric:
    """The number that picks the checkpoint and heads the card; greater is better for all of them."""

    key: str
    title: str


@dataclass(frozen=True)
class Demo:
    """What the Space says of a task. All of it may be left out; the Space then makes it of what stands in brackets.

    Attributes:
        question: what the tile of the task asks, in a few words (the task's question).
        about: the sentence above the task's tab (the task's question).
        examples: prompts to click (the task's examples).
        example_title: what the button of the first example says on the first tab (the example).
        topic: what the task asks about, inside a sentence, such as "kind of tool" (the task's title).
        tool: what the task's endpoint does, for programs (made of the topic, the labels and ``about``).
        returns: what the task's endpoint gives, for programs (a sentence for each kind of task).
        verdicts: of a detection, what is said at or above the threshold, and below ("Toxic", "Not toxic").
    """

    question: str = ""
    about: str = ""
    examples: tuple[str, ...] = ()
    example_title: str = ""
    topic: str = ""
    tool: str = ""
    returns: str = ""
    verdicts: tuple[str, str] | None = None


@dataclass(frozen=True)
class TaskSpec:
    """One of the four questions a router asks, and everything that follows from it.

    Attributes:
        kind: "sequence" (one label a text) or "token" (BIO tags over subwords).
        question: what the classifier answers, in one sentence.
        label_sets: the first is the default.
        source, starter: the public data, and our own corpus that stands in for it.
        supplements: sources whose rows join the training split only.
        match_lengths: add harmless prompts as long as the positive ones to the training split.
        group_name: what a group is in this task, for cards.
        weighted_loss: weigh classes by n / (k n_c) of the training split.
        overrides: training arguments that beat the size-adaptive defaults.
        model_name: repo name; ``{base}`` is the short name of the base model.
        mapping_file: the label mapping that the Semantic Router reads, "" where it has no slot.
        threshold: the router's default threshold for this task.
        positive: the label that a two-class task is about.
        alarming: beginnings of words that make harmless texts sound like ``positive``: false alarms are counted there.
        fallback: the label that an unsure answer becomes, "" where there is none.
        version: bumped when the rows or labels would change.
        demo: what the Space says of the task.
        task_ids: the Hub's finer words for the task, for the dataset card.
        access_prompt, access_fields: what readers of a gated dataset agree to and fill in, as the Hub's cards have it.
    """

    name: str
    title: str
    kind: Literal["sequence", "token"]
    question: str
    label_sets: tuple[LabelSet, ...]
    source: Source
    starter: Source
    group_name: str
    primary: Metric
    model_name: str
    mapping_file: str
    threshold: float
    version: str
    supplements: tuple[Source, ...] = ()
    weighted_loss: bool = False
    overrides: Mapping[str, float | int] = field(default_factory=lambda: MappingProxyType({}))
    positive: str = ""
    alarming: tuple[str, ...] = ()
    fallback: str = ""
    match_lengths: bool = False
    examples: tuple[str, ...] = ()
    demo: Demo = Demo()
    task_ids: tuple[str, ...] = ()
    access_prompt: str = ""
    access_fields: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def dataset_name(self) -> str:
        return f"router-{self.name}"

    def label_set(self, name: str | None = None) -> LabelSet:
        """The label set called ``name``, or the default one.

        Raises:
            KeyError: no such label set.
        """
        if name is None:
            return self.label_sets[0]
        return {s.name: s for s in self.label_sets}[name]

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        """Labels in the order of ``id2label``: the classes, or ``O`` and then B- and I- of each type."""
        if self.kind == "sequence":
            return label_set.labels
        return ("O", *(f"{prefix}-{t}" for t in label_set.labels for prefix in "BI"))


@dataclass(frozen=True)
class BaseModel:
    """An encoder to start from.

    Attributes:
        id: repo on the Hub.
        by_task: training arguments for this encoder, by the task's name; they beat all defaults, flags beat them.
    """

    id: str
    revision: str | None = None
    by_task: Mapping[str, Mapping[str, float | int]] = field(default_factory=lambda: MappingProxyType({}))
    note: str = ""

    @property
    def short_name(self) -> str:
        """The part of a model's repo name that tells its base, such as ``modernbert-base``."""
        return self.id.rstrip("/").split("/")[-1].lower()
