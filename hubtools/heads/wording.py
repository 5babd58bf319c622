"""How cards and pictures call rows of the two labels of a detection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassNouns:
    """Nouns without an article, such as "attack" and "harmless prompt"; their plurals end in -s."""

    positive: str
    negative: str

    @property
    def positives(self) -> str:
        """Several rows of the label that is looked for."""
        return f"{self.positive}s"

    @property
    def negatives(self) -> str:
        """Several rows of the other label."""
        return f"{self.negative}s"

    @property
    def a_positive(self) -> str:
        """One row of the label that is looked for."""
        return _add_article(self.positive)

    @property
    def a_negative(self) -> str:
        """One row of the other label."""
        return _add_article(self.negative)


def _add_article(noun: str) -> str:
    return f"{'an' if noun.lstrip('`')[:1].lower() in 'aeiou' else 'a'} {noun}"
