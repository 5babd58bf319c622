"""``facts.json``: what curation says of a dataset."""

from __future__ import annotations

from dataclasses import dataclass, field

from hubtools.records import Record

# Of sorted lengths in characters, the one below which so many percent stand: p10, p25, median, p75, p90, p99, max.
Quantiles = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ColumnMapping(Record):
    """How a user's own rows were read.

    Attributes:
        columns: that each row must have.
        label_map: theirs: ours, or None for a label whose rows are dropped.
    """

    columns: list[str]
    label_map: dict[str, str | None] | None = None


@dataclass(frozen=True, kw_only=True)
class SourceFacts(Record):
    """A source as it was read.

    Attributes:
        revision: the commit, or the version of hubtools for a corpus within the package.
        labels: how its labels came about.
        mapping: how the columns and labels of a user's own data were read.
        name: what ``--without`` calls it; "" for the named source of a task, and for a user's own.
        read: rows of its files.
        rows: what it brings: of each split its rows by label, or its spans by type and under "" its rows without any.
        caveat: what it costs to have it.
    """

    id: str
    revision: str
    license: str
    attribution: str
    labels: str
    starter: bool
    mapping: ColumnMapping | None = None
    name: str = ""
    read: int = 0
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    caveat: str = ""


@dataclass(frozen=True, kw_only=True)
class LicenseFacts(Record):
    """The licence of the whole, and the rule that it follows from."""

    id: str
    rule: str


@dataclass(frozen=True, kw_only=True)
class Counts(Record):
    """Rows on their way.

    Attributes:
        steps: rows that were left after each step, in order.
        dropped: rows by the reason they were dropped for.
        synthetic_train: rows of the training split that were made of templates.
        length_matched_train: rows of the training split that were made to match lengths.
        augmented_train: rows of the training split that were made of others, by the name of what made them.
        kept: rows of the whole dataset.
    """

    read: int
    # In the order in which the card tells them: a dict keeps it.
    steps: dict[str, int]
    dropped: dict[str, int]
    synthetic_train: int
    length_matched_train: int
    kept: int
    augmented_train: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RowsAndShare(Record):
    """Rows, and the share of all that they are, from 0 to 1."""

    rows: int
    share: float


@dataclass(frozen=True, kw_only=True)
class DecidedBy(Record):
    """How many labels a table of rules decided, how many a keyword, and how many rows no rule decided."""

    table: RowsAndShare
    keyword: RowsAndShare
    dropped: RowsAndShare


@dataclass(frozen=True, kw_only=True)
class SupplementFacts(Record):
    """A source that joined the training split.

    Attributes:
        name: what ``--supplement`` and ``--without`` call it.
        documents: how many were made of its templates.
        rows: those that joined; ``share`` of the training split, at most ``limit``.
    """

    id: str
    name: str
    license: str
    read: int
    documents: int
    dropped: dict[str, int]
    rows: int
    share: float
    limit: float
    decided_by: DecidedBy | None


@dataclass(frozen=True, kw_only=True)
class SplitFacts(Record):
    """One split.

    Attributes:
        labels: rows of each label, or spans of each type.
        characters: lengths of its texts.
        characters_by_label: the same for each label; of classification.
        rows_without_spans: texts in which nothing is marked; of span tasks.
    """

    rows: int
    groups: int
    labels: dict[str, int]
    characters: Quantiles
    characters_by_label: dict[str, Quantiles] | None = None
    rows_without_spans: int | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison(Record):
    """How texts are compared: what is folded, and what counts as a near-duplicate."""

    folded: str
    near: str
    at_least: float


@dataclass(frozen=True, kw_only=True)
class Leakage(Record):
    """What stands in two splits: every number must be 0."""

    exact_across_splits: int
    near_across_splits: int
    groups_across_splits: int


@dataclass(frozen=True, kw_only=True)
class BeforeAfter(Record):
    """ROC-AUC of length alone, without and with what was added to the training split; None where a class is missing."""

    # 0.5 is chance, and 1 means that nothing but length is needed.
    before: float | None
    after: float | None


@dataclass(frozen=True, kw_only=True)
class LongLengthBaseline(Record):
    """The same of texts of at least ``characters``."""

    characters: int
    train: BeforeAfter
    test: BeforeAfter


@dataclass(frozen=True, kw_only=True)
class LengthBaseline(Record):
    """How well the number of characters alone tells the positive label."""

    train: BeforeAfter
    test: BeforeAfter
    long: LongLengthBaseline


@dataclass(frozen=True, kw_only=True)
class Synthesis(Record):
    """What filled the templates."""

    generator: str
    seed: int
    locales: list[str]
    splits: list[str]


@dataclass(frozen=True, kw_only=True)
class DatasetExample(Record):
    """A training row as the card shows it."""

    text: str
    label: str


@dataclass(frozen=True, kw_only=True)
class CorrectedLabel(Record):
    """How many rows a person gave another label, or other spans, or dropped."""

    before: str
    after: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class CorrectionFacts(Record):
    """What a person corrected: the file, and the rows of each change."""

    file: str
    sha256: str
    rows: int
    changes: list[CorrectedLabel]


@dataclass(frozen=True, kw_only=True)
class DatasetFacts(Record):
    """The whole of ``facts.json``.

    Attributes:
        fingerprint: of all that decides the content; curation is skipped while it stays the same.
        rule_version: the task's version, which counts changes of its rows and labels.
        sources: those with rows for every split first, in the order of the task, then what joined the training split.
        decided_by: of weak labels; None where labels are the source's own.
        length_baseline: of detection alone.
        languages: of the texts, as ISO 639 codes; empty in a file of an earlier version.
        synthesis: where documents were made of templates.
        augmentations: what makes rows of the training split's, with the share of it that each was to make.
        corrections: None where nothing was corrected.
    """

    task: str
    fingerprint: str
    label_set: str
    labels: list[str]
    # What else decides the content, so that the same version of hubtools makes the same dataset of the same sources.
    rule_version: str
    seed: int
    hubtools: str
    sources: list[SourceFacts]
    license: LicenseFacts
    counts: Counts
    decided_by: DecidedBy | None
    supplements: list[SupplementFacts]
    splits: dict[str, SplitFacts]
    comparison: Comparison
    leakage: Leakage
    length_baseline: LengthBaseline | None
    synthesis: Synthesis | None
    examples: list[DatasetExample]
    languages: list[str] = field(default_factory=list)
    augmentations: dict[str, float] = field(default_factory=dict)
    corrections: CorrectionFacts | None = None
