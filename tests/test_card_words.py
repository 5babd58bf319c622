"""Cards in plain English: short sentences of short words, and the actor first.

Measured over the prose of a card: its paragraphs and lists, without tables, code, headings and pictures.
"""

from __future__ import annotations

import re
from statistics import median

import pytest
import textstat
from test_published_cards import CARDS, dataset_card_of, model_card_of

from hubtools.publishing.front_matter import split_card
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS

# What follows a form of "be" in the passive, beside all words in -ed.
IRREGULAR = (
    "begun|bought|brought|built|caught|chosen|cut|done|drawn|driven|found|forgotten|given|held|hidden|kept|known|laid|"
    "left|lent|lost|made|meant|met|paid|put|read|said|seen|sent|set|shown|split|spoken|spread|taken|taught|thought|"
    "told|understood|withheld|written"
)
PASSIVE = re.compile(
    rf"\b(?:am|is|are|was|were|be|been|being|gets?|got)\b(?: (?:not|never|also|then|only|ever|still|\w+ly))*"
    rf" (?:\w+ed|{IRREGULAR})\b",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')*]*\s+(?=[\"'(*`]*[A-Z0-9`])")


def list_sentences(card: str) -> list[str]:
    """The sentences of a card's prose, without Markdown."""
    body = split_card(card)[1]
    body = re.sub(r"```.*?```|<!--.*?-->|<summary>.*?</summary>", "", body, flags=re.DOTALL)
    sentences = []
    for block in re.split(r"\n\s*\n|\n(?=- )", body):
        text = " ".join(line for line in block.splitlines() if not re.match(r"\s*(\||#|!\[|\*[^*]|</?details)", line))
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text.strip().removeprefix("- ").removeprefix("> "))
        text = re.sub(r"[*`]|\[[\d., %–]+\]", "", text)
        sentences += [part.strip() for part in SENTENCE_END.split(text) if re.search(r"[a-z]{2}", part)]
    return sentences


def count_words(sentence: str) -> int:
    return len(re.findall(r"[^\W\d_][\w'-]*", sentence))


CARD = pytest.mark.parametrize(
    "card",
    [
        pytest.param((kind, task, variant), id=f"{kind}-{task.name}-{variant}")
        for kind in CARDS
        for task in TASKS.values()
        for variant in ("public", "starter")
    ],
)


@CARD
def test_a_card_is_plain_english(card: tuple[str, TaskSpec, str]) -> None:
    kind, task, variant = card
    sentences = list_sentences(CARDS[kind](task, variant))
    assert len(sentences) > 10
    assert median(map(count_words, sentences)) < 18
    passive = [sentence for sentence in sentences if PASSIVE.search(sentence)]
    assert len(passive) <= 0.1 * len(sentences), passive
    assert textstat.flesch_reading_ease(" ".join(sentences)) >= 55


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
@pytest.mark.parametrize("variant", ["public", "starter"])
def test_a_reader_meets_score_threshold_and_snippet_in_the_first_quarter(task: TaskSpec, variant: str) -> None:
    body = split_card(model_card_of(task, variant))[1]
    quarter = body[: len(body) // 4]
    assert "threshold" in quarter
    assert "## How to use\n\n```python\n" in quarter
    assert quarter.index("## Scores") < quarter.index("## How to use")


def test_what_is_folded_on_a_card_is_closed_and_read_as_markdown() -> None:
    for card in (model_card_of(TASKS["pii"]), model_card_of(TASKS["jailbreak"]), dataset_card_of(TASKS["pii"])):
        assert card.count("<details>\n<summary>") == card.count("\n\n</details>\n")
        assert re.findall(r"</summary>\n(?!\n)|(?<!\n)\n</details>|</details>\n(?!\n)(?!<!--)", card) == []


def test_the_measure_of_words_knows_a_passive_from_an_adjective() -> None:
    assert PASSIVE.search("Rows are split by family.")
    assert PASSIVE.search("It was never seen in training.")
    assert not PASSIVE.search("The model reads a text. It is fast.")
    assert list_sentences("---\nlicense: mit\n---\n# T\n\nOne. Two of `x`!\n\n| a |\n|---|\n\n- Three here.\n") == [
        "One.", "Two of x!", "Three here.",
    ]  # fmt: skip
