"""What a row is read by and known by, whatever the task: its texts, its spans, its columns, its identity."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import regex

from hubtools.spec import BadRow, Example, Flawed, Span
from hubtools.words import UNSPACED, find_words

# Where nothing names the column of groups: the first of these that is there.
GROUPS = ("group", "family", "template_id")

# How the group of a row begins that was made of others of the training split.
MADE = "augmented "

# What separated words where only letters and digits counted: groups, and so splits, are still named by it.
_NO_WORD = re.compile(r"[\W_]+")

# Signs that Unicode counts as punctuation, where they calculate ("9 - 13", "9*13", "x / y", "5%", "-5") or name ("c#").
_MAYBE_SIGN = re.compile("[*/%#-]")
_SIGN = re.compile(
    r"[*/-](?<=[\d)] .)(?= ?[\d(])|[*/](?<=[\d)].)(?= ?[\d(])|[*/](?<= .)(?= )"
    r"|%(?<=\d.)|-(?<![^ (\[{].)(?=\d)|#(?<=[a-z].)"
)
# What they are written as until other punctuation is gone: control characters, which no row of a dataset holds.
_SIGNS = {"*": " \x11 ", "/": " \x12 ", "-": " \x13 ", "%": " \x14 ", "#": " \x15 "}
# Most texts: Latin, Greek and Cyrillic without marks of their own, where `re` and its \w see what Unicode does.
_PLAIN = re.compile(r"[\x00-\u02c1\u0386-\u03f5\u0400-\u0481\u048a-\u0556\u1e00-\u1eff\u2010-\u2027\u2030-\u2043]*")
_PLAIN_SYMBOL = re.compile(r"[$+<=>^|~¢£¤¥¦©¬®°±×÷\x11-\x15]")
_PLAIN_FOLDED = re.compile(r"(?:[^\w$+<=>^|~¢£¤¥¦©¬®°±×÷\x11-\x15]|_)+")
# A backtick is typed for a quotation mark, as the acute accent is.
_UNSPACED = regex.compile(f"[{UNSPACED}]")
_FOLDED = regex.compile(r"[[\p{P}\p{C}\p{M}`´]--[\x11-\x15]]", flags=regex.VERSION1)


@dataclass(frozen=True)
class Columns:
    """Names of the columns of a user's data, as flags gave them; None leaves it to what the data has.

    Attributes:
        label: of the label; where spans are marked, of the spans.
        tokens, tags: of words and their tags, instead of text and spans.
        label_map: a YAML file, theirs: ours.
        chat: of chat messages in place of a text, take the "last" one of the user, or "all"; None refuses them.
        encoding: of a file's text; None for the one that its bytes show.
    """

    text: str | None = None
    label: str | None = None
    tokens: str | None = None
    tags: str | None = None
    group: str | None = None
    label_map: Path | None = None
    chat: Literal["last", "all"] | None = None
    encoding: str | None = None

    @property
    def named(self) -> bool:
        """Whether a flag names a column, or says what stands in it."""
        # A layout that is known stays known in another encoding.
        return replace(self, encoding=None) != Columns()


def read_text(row: Mapping[str, object], column: str, chat: str | None = None) -> str:
    """Return the text in ``column``; raises :class:`Flawed` where it is not a text or holds nothing.

    Args:
        chat: what to take of chat messages; see :class:`Columns`.
    """
    value = row.get(column)
    messages = _read_messages(value)
    if messages and chat:
        turns = [text for role, text in messages if chat == "all" or role in _USERS]
        value = "\n".join(turns if chat == "all" else turns[-1:])
    if not isinstance(value, str) or (messages and not chat):
        found = ": chat messages, which --chat last or --chat all reads" if messages else ""
        found = found or (": a list" if isinstance(value, list | tuple) else "")
        raise Flawed(f"{column} is not a text{found}")
    if not value.strip():
        raise Flawed(f"{column} is empty")
    return value


# Roles and keys of messages, as the formats of several makers call them.
_USERS = ("user", "human", "prompter")
_ROLE, _CONTENT = ("role", "from"), ("content", "value")


def _read_messages(value: object) -> list[tuple[str, str]]:
    """Return (role, text) of each of a list of chat messages, or of the JSON of one; [] for anything else."""
    if isinstance(value, str):
        # A table has no lists: a cell holds one as JSON.
        if not value.lstrip().startswith("[") or not any(f'"{name}"' in value for name in _ROLE):
            return []
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return []
    found = []
    for message in value if isinstance(value, list | tuple) else ():
        if not isinstance(message, Mapping):
            return []
        role = next((message[name] for name in _ROLE if name in message), None)
        content = next((message[name] for name in _CONTENT if name in message), None)
        if isinstance(content, list):  # parts, of which some may be pictures
            parts = (part.get("text") for part in content if isinstance(part, Mapping))
            content = "\n".join(part for part in parts if isinstance(part, str))
        if not isinstance(role, str) or not isinstance(content, str):
            return []
        found.append((role, content))
    return found


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
    """Return ``text`` as it is compared, never as it is trained on: words and symbols, one space between them.

    Punctuation, white space and case are folded. Where a script puts no spaces between words, each character with the
    next one is taken for a word: three words in a row, which near-duplicates are told by, are four characters there,
    about as much as three words of English say. A text of punctuation alone is compared as it is, or all of them would
    be duplicates.
    """
    # NFKC first: full-width letters and ligatures become those that casefold knows.
    folded = unicodedata.normalize("NFKC", text).casefold()
    marked = _SIGN.sub(lambda sign: _SIGNS[sign[0]], folded) if _MAYBE_SIGN.search(folded) else folded
    if marked.isascii() or _PLAIN.fullmatch(marked):
        if not _PLAIN_SYMBOL.search(marked):
            return _NO_WORD.sub(" ", marked).strip() or folded
        return _PLAIN_FOLDED.sub(" ", _PLAIN_SYMBOL.sub(r" \g<0> ", marked)).strip() or folded
    # Whether an emoji is drawn in colour is no word of the text.
    marked = marked.replace("\ufe0f", "")
    words = [word for start, end in find_words(marked) if not _FOLDED.match(word := marked[start:end])]
    if not _UNSPACED.search(marked):
        return " ".join(words) or folded
    pairs = []
    unspaced = [bool(_UNSPACED.match(word)) for word in words] + [False]
    for i, word in enumerate(words):
        if unspaced[i] and unspaced[i + 1]:
            pairs.append(word + words[i + 1])
        elif not (unspaced[i] and i and unspaced[i - 1]):  # the last character of several stands in a pair already
            pairs.append(word)
    return " ".join(pairs) or folded


def hash_content(text: str) -> str:
    """Return a SHA-256 of the letters and digits of a text, in hex: what names its group, and with that its split.

    Symbols do not count, unlike in the comparison key: texts that these alone tell apart belong into one split, and a
    text that was split before stays where it was.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    letters = _NO_WORD.sub(" ", folded).strip() or folded
    # Half a pair of surrogates has no UTF-8 form: a text with one is dropped later, and compared until then.
    return hashlib.sha256(letters.encode("utf-8", "surrogatepass")).hexdigest()
