"""Say in which script and language a text is written: the models know English alone, and a visitor is to be warned."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

# Words that are common in one language and are no English words. A language is named where its words outnumber the
# English ones, so that a borrowed word in an English text names none.
COMMON = {
    "English": "the of and to in is that it for you was with on are this be have from or not what how can my your i",
    "German": "der die das und ist nicht ich sie ein eine mit auf für den dem des wie wir mir bitte auch von zu im",
    "French": "le la les des et est une dans que qui pour pas vous nous je avec sur du au ce il mon votre être cette",
    "Spanish": "el los las una y es que en por para con no se su del mi cómo está esta al lo como pero más yo",
    "Italian": "il di che è e per una non con sono gli della del mi si le come questo anche più nel ho alla io",
    "Portuguese": "o os as uma é não que em para com por do da se meu você como mais dos das eu isso está no na",
    "Dutch": "het een en van ik niet je dat voor met zijn op te aan er hoe naar maar ook deze mijn wat bij",
    "Polish": "się na nie jest że w z do jak co to mój proszę przez dla o są ale czy tego",
    "Turkish": "ve bir bu için ile ne da de çok nasıl ben sen değil gibi var mı olarak",
    "Indonesian": "yang dan di ini itu untuk dengan tidak saya anda dari ke adalah bagaimana apa",
    "Swedish": "och att det som en är jag på av för inte med har till den ett hur om kan",
}
WORDS = {language: frozenset(words.split()) for language, words in COMMON.items()}
NAMES = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
INVISIBLE = frozenset({"Cf", "Co", "Cn", "Cs"})


def find_script(text: str) -> str | None:
    """The script that most letters belong to, such as "Cyrillic"; None for Latin and where there are no letters."""
    letters = [char for char in text[:20_000] if char.isalpha()]
    scripts = Counter("LATIN" if char.isascii() else script_of(char) for char in letters)
    if not scripts:
        return None
    script, count = scripts.most_common(1)[0]
    if script == "LATIN" or count < 2:
        return None
    return NAMES.get(script, script.capitalize())


def script_of(char: str) -> str:
    """The first word of the letter's name: LATIN, CYRILLIC, CJK ...; of a styled letter that of the plain one."""
    name = unicodedata.name(unicodedata.normalize("NFKC", char)[0], "OTHER")
    return name.split(" ")[0].split("-")[0]


def find_language(text: str) -> str | None:
    """The language that a text in Latin letters seems to be in; None for English and where nothing speaks for one."""
    words = re.findall(r"[^\W\d_]+", text[:20_000].lower())
    counts = {language: sum(word in known for word in words) for language, known in WORDS.items()}
    language = max(counts, key=lambda name: counts[name])
    # Two words more than English: "no" and "de" stand in English prompts as well.
    return language if language != "English" and counts[language] >= counts["English"] + 2 else None


def is_invisible(char: str) -> bool:
    """Whether nothing of a character shows: zero width, direction marks, tags, private use, controls."""
    category = unicodedata.category(char)
    if char in "\n\r\t":
        return False
    return category in INVISIBLE or category == "Cc" or char in "\u115f\u1160\u3164\uffa0\u2800\u034f"


def code_point(char: str) -> str:
    """Such as "U+200B"."""
    return f"U+{ord(char):04X}"
