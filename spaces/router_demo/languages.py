"""Say in which script and language a text is written, and which languages the models know, to warn a visitor."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

# `common`: words that are common in one language and rare in the others. A language is named where its words outnumber
# those of the known ones, so that a borrowed word names none. `codes`: what a code of ISO 639 stands for.
TABLES = json.loads((Path(__file__).parent / "languages.json").read_text(encoding="utf-8"))
WORDS = {language: frozenset(words.split()) for language, words in TABLES["common"].items()}
CODES: dict[str, tuple[str, str]] = {code: tuple(pair) for code, pair in TABLES["codes"].items()}
UNKNOWN = "unknown"  # what the Hub calls a language that nobody could tell
NAMES = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
INVISIBLE = frozenset({"Cf", "Co", "Cn", "Cs"})


def name_languages(codes: Iterable[str]) -> tuple[str, ...]:
    """The names of languages by their codes, such as ("English",); one without a name here is called by its code."""
    return tuple(CODES.get(code, (code, ""))[0] for code in codes if code != UNKNOWN)


def find_script(text: str, known: Iterable[str] = ("English",)) -> str | None:
    """The script that most letters belong to, such as "Cyrillic"; None where a known language is written in it.

    None as well where there are no letters, and of a single letter that is not Latin.
    """
    letters = [char for char in text[:20_000] if char.isalpha()]
    scripts = Counter("LATIN" if char.isascii() else script_of(char) for char in letters)
    if not scripts:
        return None
    script, count = scripts.most_common(1)[0]
    script = NAMES.get(script, script.capitalize())
    # Japanese is written in Chinese letters as well. A language that the table lacks may be written in any.
    own = dict(CODES.values()) | {"Japanese": "Japanese Chinese"}
    known_scripts = " ".join(own.get(name, script) for name in known).split()
    return None if script in known_scripts or count < 2 else script


def script_of(char: str) -> str:
    """The first word of the letter's name: LATIN, CYRILLIC, CJK ...; of a styled letter that of the plain one."""
    name = unicodedata.name(unicodedata.normalize("NFKC", char)[0], "OTHER")
    return name.split(" ")[0].split("-")[0]


def find_language(text: str, known: Iterable[str] = ("English",)) -> str | None:
    """The language that a text in Latin letters seems to be in; None for a known one, and where nothing speaks for one.

    `known` are names of languages; of one whose words are not known here a text may be anything.
    """
    words = re.findall(r"[^\W\d_]+", text[:20_000].lower())
    counts = {language: sum(word in known for word in words) for language, known in WORDS.items()}
    language = max(counts, key=lambda name: counts[name])
    known = [*known]
    # Two words more than the known ones: "no" and "de" stand in English prompts as well.
    most_known = max((counts.get(name, counts[language]) for name in known), default=0)
    return language if language not in known and counts[language] >= most_known + 2 else None


def is_invisible(char: str) -> bool:
    """Whether nothing of a character shows: zero width, direction marks, tags, private use, controls."""
    category = unicodedata.category(char)
    if char in "\n\r\t":
        return False
    return category in INVISIBLE or category == "Cc" or char in "\u115f\u1160\u3164\uffa0\u2800\u034f"


def code_point(char: str) -> str:
    """Such as "U+200B"."""
    return f"U+{ord(char):04X}"
