"""What a dataset is like, in numbers and examples: the parts of ``facts.json``, and from there of its card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from hubtools.curation.augmentation import is_augmented
from hubtools.curation.cleaning import Drops
from hubtools.curation.duplicates import NEAR
from hubtools.curation.licences import combine_licences
from hubtools.curation.sources import SourceFiles
from hubtools.curation.split import SPLITS
from hubtools.curation.synthesis import VARIANT
from hubtools.heads import Head
from hubtools.records.dataset import (
    Comparison,
    DatasetExample,
    DecidedBy,
    LicenseFacts,
    RowsAndShare,
    SourceFacts,
)
from hubtools.rows import hash_content
from hubtools.spec import Example

# A card shows them, and has to stay readable.
_MOST_EXAMPLES, _MOST_CHARACTERS = 16, 300

COMPARISON = Comparison(
    folded="Unicode form (NFKC), case, punctuation and white space",
    near="Jaccard similarity of word 3-grams (4-grams of characters where a script has no spaces)",
    at_least=NEAR,
)


def choose_examples(rows: Iterable[Example], head: Head, labels: Sequence[str], main: str = "") -> list[DatasetExample]:
    """Return a short row of each label; where spans are marked, one for each type that comes first, and one without.

    Variants of templates, rows made of others, and rows of another source than ``main`` come only where a label has
    nothing else.
    """
    chosen: dict[str, DatasetExample] = {}

    def place(row: Example) -> tuple[bool, bool, bool, str, str]:
        # Last by content, whatever order they came in.
        return row.origin.startswith(VARIANT), is_augmented(row), row.source != main, hash_content(row.text), row.text

    for row in sorted(rows, key=place):
        first_class = next(iter(row.classes), "")
        if first_class not in chosen and len(row.text) < _MOST_CHARACTERS:
            chosen[first_class] = DatasetExample(text=row.text, label=head.describe_label(row))
    # A row without spans has no label of the set: it comes last.
    order: Mapping[str, int] = {label: number for number, label in enumerate(labels)}
    ordered = sorted(chosen, key=lambda label: (order.get(label, len(order)), label))
    return [chosen[label] for label in ordered][:_MOST_EXAMPLES]


def describe_licence(sources: Iterable[SourceFacts]) -> LicenseFacts:
    """Return the licence of the whole, and the rule that it follows from."""
    licence, rule = combine_licences(source.license for source in sources)
    return LicenseFacts(id=licence, rule=rule)


def describe_source(files: SourceFiles, read: int, rows: Iterable[Example]) -> SourceFacts:
    """Return where rows come from, under what licence, how a user's own were read, and what they bring.

    Args:
        read: rows of its files.
        rows: those of them that the dataset has.
    """
    source = files.source
    brought: dict[str, Counter[str]] = {}
    for row in rows:
        brought.setdefault(row.split, Counter()).update(row.classes or [""])
    return SourceFacts(
        id=source.id,
        revision=files.revision,
        license=source.license,
        attribution=source.attribution,
        labels=source.provenance,
        starter=source.starter,
        mapping=files.mapping,
        name=source.name,
        read=read,
        rows={split: dict(sorted(brought[split].items())) for split in SPLITS if split in brought},
        caveat=source.caveat,
    )


def count_decisions(rows: Iterable[Example], drops: Drops) -> DecidedBy | None:
    """Return how many labels a table of rules decided, how many a keyword, and how many none.

    Shares are of these three together. None where labels are the source's own.
    """
    # A rule is "table" or "keyword ..."; sources with labels of their own have neither.
    rules = Counter(row.rule.partition(" ")[0] for row in rows)
    total = rules["table"] + rules["keyword"] + drops.undecided
    if not total:
        return None

    def share(count: int) -> RowsAndShare:
        return RowsAndShare(rows=count, share=round(count / total, 4))

    return DecidedBy(table=share(rules["table"]), keyword=share(rules["keyword"]), dropped=share(drops.undecided))
