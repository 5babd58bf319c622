"""One rule says what a word is."""

import pytest

from hubtools.words import find_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Michael's e-mail", ["Michael", "'", "s", "e", "-", "mail"]),
        ("a_b 3.14 x2", ["a", "_", "b", "3", ".", "14", "x2"]),
        ("मेरा नाम राम", ["मेरा", "नाम", "राम"]),
        ("क्‍ष", ["क्‍ष"]),
        ("مُحَمَّد هنا", ["مُحَمَّد", "هنا"]),
        ("Zoe\u0301 Nu\u0303nez", ["Zoe\u0301", "Nu\u0303nez"]),
        ("田中さん", ["田", "中", "さ", "ん"]),
        ("김철수에게 2시", ["김", "철", "수", "에", "게", "2", "시"]),
        ("ฉันชื่อ", ["ฉั", "น", "ชื่", "อ"]),
        ("ok 👩‍👩‍👧🇫🇷!", ["ok", "👩‍👩‍👧", "🇫🇷", "!"]),
        ("한국 Bob이", ["한", "국", "Bob", "이"]),
        (" \n\t", []),
        ("", []),
    ],
)
def test_a_word_is_a_run_of_letters_with_their_marks_or_one_character_where_no_space_is_written(
    text: str, words: list[str]
) -> None:
    assert [text[start:end] for start, end in find_words(text)] == words


def test_words_cover_all_but_white_space() -> None:
    text = "".join(map(chr, [*range(0x20, 0x3000), *range(0x1F300, 0x1F700)]))
    within = {i for start, end in find_words(text) for i in range(start, end)}
    assert not [hex(ord(c)) for i, c in enumerate(text) if i not in within and not c.isspace()]
