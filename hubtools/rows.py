"""What a row is read by and known by, whatever the task: its texts, its spans, its columns, its identity."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hubtools.spec import BadRow, Dropped, Example, Span

# Where nothing names the column of groups: the first of these that is there.
GROUPS = ("group", "family", "template_id")

# What separates words: an underscore too, since it is punctuation to a reader.
_NO_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a user's data, as flags gave them; None leaves it to what the data has.

    Attributes:
        label: of the label; where spans are marked, of the spans.
        tokens, tags: of words and their tags, instead of text and spans.
        label_map: a YAML file, theirs: ours.
    """

    text: str | None = None
    label: str | None = None
    tokens: str | None = None
    tags: str | None = None
    group: str | None = None
    label_map: Path | None = None

    @property
    def named(self) -> bool:
        """Whether a flag names any of them."""
        return self != Columns()


def read_text(row: Mapping[str, object], column: str) -> str:
    """Return the text in ``column``; raises :class:`Dropped` where it is not a text or holds nothing."""
    value = row.get(column)
    if not isinstance(value, str):
        raise Dropped(f"{column} is not a text")
    if not value.strip():
        raise Dropped(f"{column} is empty")
    return value


def read_labelled_row(row: Mapping[str, object]) -> Example:
    """Read a row with ``text``, ``label`` and, where it has one, ``family``."""
    label = row.get("label")
    if not isinstance(label, str) or not label.strip():
        raise BadRow("label is missing")
    return Example(text=read_text(row, "text"), label=label.strip(), group=str(row.get("family") or ""))


def sort_spans(text: str, spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return the spans in order; raises :class:`BadRow` where one is empty, outside the text, or overlaps another."""
    ordered = sorted(spans, key=lambda span: (span.start, span.end))
    last = 0
    # Neither is mended: where offsets are wrong once, they may be wrong everywhere.
    for span in ordered:
        if not 0 <= span.start < span.end <= len(text):
            raise BadRow("span outside the text")
        if span.start < last:
            raise BadRow("overlapping spans")
        last = span.end
    return tuple(ordered)


def make_comparison_key(text: str) -> str:
    """Return ``text`` as it is compared, never as it is trained on: words in lower case, one space between them.

    A text of punctuation alone is compared as it is, or all of them would be duplicates.
    """
    # NFKC first: full-width letters and ligatures become those that casefold knows.
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _NO_WORD.sub(" ", folded).strip() or folded


def hash_content(text: str) -> str:
    """Return the SHA-256 of the comparison key, in hex: the identity of a text for duplicates and splits."""
    # Half a pair of surrogates has no UTF-8 form: a text with one is dropped later, and compared until then.
    return hashlib.sha256(make_comparison_key(text).encode("utf-8", "surrogatepass")).hexdigest()
