"""Words of cards, tables and messages that depend on the head."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """How tables and messages speak of a head.

    Attributes:
        classifier: what a model with it is.
        right: the share of rows that are right.
        lacking: what is not scored where a model lacks labels.
        others: what happens to answers with labels that are none of ours; ``others_note`` says so in a message.
        threshold: what a comparison says of answers below a threshold, "" for nothing.
        unit: what the support of a label counts; ``answers`` what calibration does.
    """

    classifier: str
    right: str
    lacking: str
    others: str
    others_note: str
    threshold: str
    unit: str
    answers: str


@dataclass(frozen=True)
class ClassNouns:
    """How cards and pictures call rows of the two labels of a detection.

    Nouns without an article, such as "attack" and "harmless prompt"; their plurals end in -s.
    """

    # Plurals and articles are made here, so that a task file needs no more than a noun for each label.
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
    # A noun may be a label between backticks, which are not spoken.
    return f"{'an' if noun.lstrip('`')[:1].lower() in 'aeiou' else 'a'} {noun}"
