"""What robustness asks of a model: texts with their truth, in several conditions, and the scores that are taken."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hubtools.heads.changes import CHANGES
from hubtools.heads.values import Rows
from hubtools.metrics.intervals import Answers
from hubtools.spec import Metric

# Of a language, below which it has no line: one text in a hundred is taken for another language than it is in.
LEAST_ROWS, LEAST_SHARE = 20, 0.03
SIZES = (200, 1_000, 4_000)  # tokens of a document
PLACES = ("start", "middle", "end")
_OF_TOPIC = 5  # sentences in a row


@dataclass(frozen=True)
class Materials:
    """What probes are made of, beside the rows of the test split: texts of our own, none of the data.

    Attributes:
        words: harmless ones, to be put before and behind a text.
        topics: sentences of harmless documents, those of a topic in their order.
        names: full names of people, by country.
        others: names of what is no person, by its kind; ``carriers``: sentences with a ``{}`` for one of them.
        limit: most rows of a kind that a part asks.
        count: tokens of a text, as the model reads it.
        find_language: the language of a text.
    """

    words: Sequence[str]
    topics: Sequence[Sequence[str]]
    names: Mapping[str, Sequence[str]]
    others: Mapping[str, Sequence[str]]
    carriers: Sequence[str]
    limit: int
    seed: int
    count: Callable[[str], int]
    find_language: Callable[[str], str]

    def start_draws(self, *names: object) -> random.Random:
        """Return a source of chance for what ``names`` name: what else is drawn does not change it."""
        return random.Random(repr((self.seed, *names)))

    def sample(self, numbers: Iterable[int], most: int | None = None) -> list[int]:
        """Return at most ``most`` of the numbers, by default the limit, in their order."""
        found = sorted(numbers)
        most = self.limit if most is None else most
        return found if len(found) <= most else sorted(self.start_draws("rows").sample(found, most))

    @property
    def documents(self) -> int:
        """How many documents of a size are asked: they are long."""
        return max(1, self.limit // 4)

    def write_document(self, tokens: int, number: int) -> list[str]:
        """Return the paragraphs of a harmless document of about ``tokens`` tokens, another one for each number."""
        rng, left, paragraphs = self.start_draws("document", tokens, number), tokens, list[str]()
        while left > 0:
            topic = rng.choice(self.topics)
            chosen = sorted(rng.sample(range(len(topic)), min(_OF_TOPIC, len(topic))))
            taken: list[str] = []
            for sentence in (topic[i] for i in chosen):
                if left > 0:
                    taken.append(sentence)
                    left -= self.count(sentence)
            paragraphs.append(" ".join(taken))
        return paragraphs


@dataclass(frozen=True)
class ProbePart:
    """One question about a model.

    Attributes:
        title, about: as of :class:`~hubtools.records.robustness.MeasuredPart`.
        conditions: by name, the rows that are asked: ``text``, ``group`` and the truth.
        read: from rows with what was answered to the arrays that ``metrics`` are functions of.
    """

    key: str
    title: str
    about: str
    metrics: tuple[Metric, ...]
    conditions: Mapping[str, Rows]
    read: Callable[[Rows], Answers]


def select_rows(rows: Rows, numbers: Sequence[int], truth: str) -> Rows:
    """Return what a probe needs of the rows with these numbers.

    Args:
        truth: name of the column of the truth.
    """
    columns: Any = rows
    groups = columns.get("group") or [""] * len(columns["text"])
    selected = {"text": columns["text"], "group": groups, truth: columns[truth]}
    return cast("Rows", {name: [values[i] for i in numbers] for name, values in selected.items()})


def change_rows(rows: Rows, materials: Materials) -> dict[str, Rows]:
    """Return ``rows`` as they stand and after each change, by name; spans move along."""
    conditions: dict[str, Rows] = {"as it stands": rows}
    for name, change in CHANGES.items():
        changed = [change(text, materials.start_draws(name, text)) for text in rows["text"]]
        conditions[name] = {**rows, "text": [one.text for one in changed]}
        if "spans" in rows:
            conditions[name]["spans"] = [one.move(spans) for one, spans in zip(changed, rows["spans"], strict=True)]
    return conditions


def divide_by_language(rows: Rows, materials: Materials, truth: str) -> dict[str, Rows]:
    """Return the rows of each language that has enough of them; {} where it is one alone."""
    languages = [materials.find_language(text) for text in rows["text"]]
    numbers = {name: [i for i, found in enumerate(languages) if found == name] for name in sorted({*languages} - {""})}
    least = max(LEAST_ROWS, LEAST_SHARE * len(languages))
    enough = {name: of_language for name, of_language in numbers.items() if len(of_language) >= least}
    if len(enough) < 2:
        return {}
    return {name: select_rows(rows, materials.sample(of_language), truth) for name, of_language in enough.items()}
