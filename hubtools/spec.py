"""The parts of a task: rows, labels, sources, metrics, base models. Frozen values, standard library only.

The task itself is in ``task.py``. What a run measured (counts, scores, revisions) is in ``records/``, never here.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from re import Pattern
from types import MappingProxyType
from typing import Any, Literal

# What a source gives: rows for all three splits, rows that join the training split alone, rows that are only ever
# scored (a benchmark), or values for the slots of templates.
# Words of the task files as well, but for "values": see tasks/file.py.
Role = Literal["whole", "training", "test", "values"]
# What the vLLM Semantic Router asks a model for; "classifier" is its place for any question of whole texts.
RouterSlot = Literal["domain", "personal_data", "prompt_guard", "classifier"]


# A language as the Hub's cards name it.
LANGUAGE = r"[a-z]{2,3}|code|multilingual|other|unknown"
LANGUAGE_RULE = "a code of two or three letters, such as en, or multilingual"


# Caught where rows are read (curation/cleaning.py), and nowhere else: a reader says what is wrong, not what to do.


class Dropped(Exception):
    """Raised by a row function for a row that the dataset must not hold; the message is the counted reason."""


class BadRow(Dropped):
    """Dropped because the source is wrong there: it stops curation, unless bad rows are to be skipped."""


class Flawed(Dropped):
    """Dropped because nobody can learn from it as it stands: a few of these are counted, many stop curation."""


class Undecided(Dropped):
    """Dropped because no rule decides its label."""


@dataclass(frozen=True)
class Span:
    """A marked stretch: ``text[start:end]`` in Unicode code points, ``type`` in the source's own names."""

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
        origin: file and line, or the row's number; for what we made ourselves, what it is made of.
    """

    text: str
    label: str = ""
    spans: tuple[Span, ...] = ()
    group: str = ""
    split: str = ""
    source: str = ""
    rule: str = ""
    origin: str = ""

    @property
    def classes(self) -> tuple[str, ...]:
        """Its label, or the type of each of its spans."""
        # A type counts as often as it is marked: that is what is balanced, and what a model learns from.
        return (self.label,) if self.label else tuple(span.type for span in self.spans)


@dataclass(frozen=True)
class Source:
    """Where rows come from.

    Attributes:
        id: a dataset repo on the Hub, ``owner/name``, or ``owner/name:config`` where ``files`` is empty. With files,
            ``owner/name:part`` tells several sources of one repo apart.
        files: glob patterns within the repo, by the split they hold; "" is one pool still to be split. Where there are
            none, the files and splits are those that ``datasets`` finds in the repo.
        columns: what each row must have.
        row: pure function from a raw row to an :class:`Example`; raises :class:`Dropped`. Of values, ``label`` is the
            slot, ``text`` the value and ``group`` what values go together, such as a country.
        parse: for files that are no tables: from (name, text) of each file of a split to (origin, raw row) of each
            row; raises what Python raises where they have another form.
        revision: the commit that is read where the Hub has it, else the newest.
        url: where the file is fetched, ``{file}`` is the pattern; or from a mirror of it on this machine.
        license: identifier as on the Hub.
        attribution: whom to name, and why.
        provenance: how its labels came about.
        starter: a corpus of our own writing, which is packaged.
        role: "whole" (training, validation and test), "training" (joins the training split alone), "test" (only ever
            scored), or "values" (fills slots of templates).
        name: what ``--supplement`` and ``--without`` call it, and ``--dataset`` where it is only ever scored. The named
            source of a task has none: it cannot be left out.
        share: the most of the training split that a source with the role "training" may make up.
        most: rows that are taken at most, classes in turns and within a class by content; None for all.
        label_sets: names of the label sets that its rows are marked for; none where they are marked for all.
        optional: joins only when it is asked for.
        templates: rows are templates, which curation fills.
        folder: where ``files`` are on this machine; then ``id`` is only what the source is called.
        annotators: who made its labels, in the Hub's words for ``annotations_creators``.
        layout: a user's own rows with the same columns are read as this source's.
        caveat: what it costs to have it: what its rows lack, or where they are wrong, in a sentence or two.
    """

    id: str
    # Patterns, since a repo may split a file into shards whose number changes.
    files: Mapping[str, tuple[str, ...]]
    columns: tuple[str, ...]
    # A raw row is whatever a file holds: its reader checks each value before it is used.
    row: Callable[[Mapping[str, object]], Example]
    license: str
    attribution: str
    provenance: str = ""
    revision: str | None = None
    url: str = ""
    starter: bool = False
    role: Role = "whole"
    name: str = ""
    share: float = 1.0
    optional: bool = False
    templates: bool = False
    folder: Path | None = None
    annotators: str = "other"
    parse: Callable[[Sequence[tuple[str, str]]], Iterable[tuple[str, Mapping[str, object]]]] | None = None
    most: int | None = None
    label_sets: tuple[str, ...] = ()
    layout: bool = True
    caveat: str = ""

    @property
    def repo(self) -> str:
        """The repo alone, ``owner/name``."""
        return self.id.partition(":")[0]


@dataclass(frozen=True)
class Augmentation:
    """Rows that are made of those of the training split, so that a model does not learn the form of a source.

    Attributes:
        name: what ``--augment`` calls it.
        share: how many rows are made, as a share of the training split, where nothing else is asked for.
        make: from the rows of the training split, in an order that follows from their content, to new ones, without
            end or until nothing more can be made.
        about: what it does, in a few words behind its name.
        of_starter: the share where the starter corpus stands in for the public sources; 0 makes none of it.
    """

    name: str
    share: float
    make: Callable[[Sequence[Example], random.Random], Iterator[Example]]
    about: str
    of_starter: float = 0.0


@dataclass(frozen=True)
class LabelSet:
    """The labels of a model, in the order of their ids.

    Attributes:
        name: what ``--label-set`` calls it.
        labels: sequence classes, or entity types for a token task.
        mapping: from a source's label or entity type to one of ``labels``; what it lacks is dropped
            (sequence) or left unmarked (token).
    """

    name: str
    labels: tuple[str, ...]
    mapping: Mapping[str, str]

    def map_labels(self, row: Example) -> Example:
        """Return ``row`` with its label, or the types of its spans, as ``labels`` has them; other spans are left out.

        Raises:
            KeyError: its label has no place in the set.
        """
        # A text without spans of ours is of use all the same; a text whose label is none of ours is not.
        spans = tuple(replace(s, type=self.mapping[s.type]) for s in row.spans if s.type in self.mapping)
        return replace(row, label=row.label and self.mapping[row.label], spans=spans)


@dataclass(frozen=True)
class TextKind:
    """A kind of text, told by the source where it names the family of a text, and by a rule elsewhere.

    Attributes:
        pattern: what is found somewhere in most texts of the kind, and rarely in others.
        families: what is found in the names of families that a source has for it.
    """

    name: str
    pattern: Pattern[str]
    families: Pattern[str]

    def covers(self, text: str, group: str) -> bool:
        """Return whether a text of a group, whose name begins with its family, is of the kind."""
        return bool(self.families.search(group) or self.pattern.search(text))


@dataclass(frozen=True)
class Metric:
    """A score of answers: what it is called, how it is computed, and which way is better.

    Attributes:
        key: its name in files.
        title: its name on cards.
        function: from answers, a value of ``hubtools/metrics``, to the score; nan where it is undefined.
        hub_type: its name in a model card's ``model-index``.
        counts: of a share of independent rows, the rows that count and all of them: its interval is exact. None for
            a score whose interval is bootstrapped.
    """

    key: str
    title: str
    # Of any head's answers: each head has arrays of its own, and metrics that read them.
    function: Callable[[Any], float]
    hub_type: str
    greater_is_better: bool = True
    counts: Callable[[Any], tuple[int, int]] | None = None

    @classmethod
    def share(
        cls, key: str, title: str, counts: Callable[[Any], tuple[int, int]], *, greater_is_better: bool = True
    ) -> Metric:
        """Make the metric of a share of rows; the Hub has no name of its own for it."""

        def function(answers: Any) -> float:
            hits, rows = counts(answers)
            # Undefined, not 0: there was nothing to get wrong.
            return hits / rows if rows else float("nan")

        return cls(key, title, function, key, greater_is_better, counts)


@dataclass(frozen=True)
class CardTexts:
    """What the cards of a task say in words. Where a text is left out, its head's template says what is always true.

    Each line of a tuple becomes a line of a list. Markdown is allowed.

    Attributes:
        sentence: what the model does, in one sentence at the head of its card.
        intended: what the model is for.
        out_of_scope: what it must not be used for.
        limits: what it gets wrong, beyond what its scores say.
        citation: whom to cite for the public data.
        labels: what each label means, by the label.
        dataset_sentence: what the dataset holds, in one sentence at the head of its card.
        dataset_limits: what the dataset lacks.
        languages: of the texts in the task's own sources, as ISO 639 codes; none where their rows are to tell.
        noun: what a text is, such as "prompt"; its plural ends in -s.
    """

    sentence: str = ""
    intended: tuple[str, ...] = ()
    out_of_scope: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    citation: str = ""
    # Read-only, as the whole value is: one empty mapping may stand in many tasks.
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    dataset_sentence: str = ""
    dataset_limits: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("en",)
    noun: str = "text"


@dataclass(frozen=True)
class Demo:
    """What the Space says of a task. All of it may be left out; the Space then makes it of what stands in brackets.

    Attributes:
        question: what the row of the task asks, in a few words (the task's question).
        about: a sentence about the task (the task's question).
        examples: prompts to click (the task's examples).
        example_titles: what the buttons of the first examples say; those without a title stand behind the others.
        topic: what the task asks about, inside a sentence, such as "kind of tool" (the task's title).
        tool: what the task's endpoint does, for programs (made of the topic, the labels and ``about``).
        returns: what the task's endpoint gives, for programs (a sentence for each kind of task).
        verdicts: of a detection, what is said at or above the threshold, and below ("Toxic", "Not toxic").
        action: what a router does on the answer, such as "send to the {label} model" (spans: "mask" and the topic).
    """

    question: str = ""
    about: str = ""
    examples: tuple[str, ...] = ()
    example_titles: tuple[str, ...] = ()
    topic: str = ""
    tool: str = ""
    returns: str = ""
    verdicts: tuple[str, str] | None = None
    action: str = ""


@dataclass(frozen=True)
class BaseModel:
    """An encoder to start from.

    Attributes:
        id: repo on the Hub.
        revision: the commit that is trained from; None for the newest.
        by_task: training arguments for this encoder, by the task's name; they beat all defaults, flags beat them.
        note: what a reader of a card must know before believing a model of this base, or "".
    """

    id: str
    revision: str | None = None
    by_task: Mapping[str, Mapping[str, float | int]] = field(default_factory=lambda: MappingProxyType({}))
    note: str = ""

    @property
    def short_name(self) -> str:
        """The part of a model's repo name that tells its base, such as ``modernbert-base``."""
        return self.id.rstrip("/").split("/")[-1].lower()
