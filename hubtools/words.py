"""What a word is, in every script: one rule for span boundaries, comparison and decoding. Imports nothing of ours."""

from __future__ import annotations

import regex

# Scripts that put no space between words, and Korean, whose particles follow a name without one: a name may end
# anywhere within such a run, so that each of its characters, as readers see them, is a word of its own.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"

# \X is a grapheme cluster of UAX 29: a letter with its marks, an emoji with all that is joined to it. Punctuation ends
# a word, unlike in UAX 29: of "Michael's" the name is marked alone. A mark or joiner never does.
_WORD = regex.compile(rf"(?:(?![{UNSPACED}])[\p{{L}}\p{{N}}][\p{{M}}\u200c\u200d]*)+|(?!\s)\X", flags=regex.VERSION1)


def find_words(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each word of ``text``, in order, in code points; white space belongs to none."""
    return [match.span() for match in _WORD.finditer(text)]
