"""What the page says, from texts.json, and how numbers and lists are said."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

TEXTS: dict[str, str] = json.loads((Path(__file__).parent / "texts.json").read_text(encoding="utf-8"))
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def say(key: str, **values: object) -> str:
    """A text of texts.json with its holes filled."""
    return TEXTS[key].format(**values)


def number(count: int) -> str:
    """Such as "three"; from 13 on in digits."""
    return NUMBERS[count] if count < len(NUMBERS) else f"{count:,}"


def counted(count: int, noun: str) -> str:
    """Such as "1 token" or "1,200 tokens"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def listed(words: Iterable[str]) -> str:
    """Such as "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def upper(words: str) -> str:
    """With a capital at the beginning."""
    return words[:1].upper() + words[1:]


def compared(value: float, limit: float) -> tuple[str, str]:
    """Both numbers with two decimals, or with as many as it takes to tell them apart."""
    for digits in range(2, 7):
        shown = f"{value:.{digits}f}", f"{limit:.{digits}f}"
        if shown[0] != shown[1] or value == limit:
            break
    return shown


def percent(share: float) -> str:
    """Such as "94%"; never 0% or 100% where it is not quite that."""
    shown = f"{100 * share:.0f}"
    if (shown == "0" and share > 0) or (shown == "100" and share < 1):
        return f"{100 * share:.1f}%" if 0.0005 <= share < 0.9995 else ("under 0.1%" if share < 0.5 else "over 99.9%")
    return f"{shown}%"
