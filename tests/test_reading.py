"""How a model reads a text: windows, and spans over words. With functions for models, so that nothing is loaded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hubtools.reading import (
    TokenAnswers,
    Window,
    choose_windows,
    cut_windows,
    find_best_path,
    find_spans,
    read_label,
    read_labels,
    read_spans,
    read_tokens,
)
from hubtools.words import find_words

TAGS = ("O", "B-PERSON", "I-PERSON", "B-PLACE", "I-PLACE")

# Latin, Cyrillic, Greek, Arabic, Hebrew, Devanagari, Thai, Han with kana, Hangul, Armenian, and what is no script.
SCRIPTS = {
    "latin": "Michael O'Brien-Łukasz lives at 12b Main St., née Müller.",
    "cyrillic": "Меня зовут Мария Ивановна, я живу в Санкт-Петербурге.",
    "greek": "Ονομάζομαι Γιώργος Παπαδόπουλος από την Αθήνα.",
    "arabic": "اسمي محمد عبد الله وأسكن في القاهرة، رقم ٤٥.",
    "hebrew": "שמי דוד כהן ואני גר בתל־אביב.",
    "devanagari": "मेरा नाम राहुल शर्मा है और मैं दिल्ली में रहता हूँ।",
    "thai": "ผมชื่อสมชายใจดีอาศัยอยู่ที่กรุงเทพ",
    "japanese": "私の名前は山田太郎です。東京に住んでいます。",
    "korean": "제 이름은 김철수이고 서울에 삽니다.",
    "armenian": "Իմ անունը Արամ Սարգսյան է, Երևան։",
    "emoji": "👩‍👩‍👧 Zoë\u0301 🏳️‍🌈 a\u0308b 1️⃣",
}


@dataclass
class _Characters:
    """A tokenizer of ``width`` characters a token, framed by 1 and 2: its tokens know nothing of words."""

    width: int = 1
    model_max_length: int = 512
    pad_token_id: int = 0
    is_fast: bool = True

    def __call__(self, texts: Any, **options: Any) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": [1, 10, 2], "special_tokens_mask": [1, 0, 1]}
        assert options["add_special_tokens"] is False
        offsets = [[(i, min(i + self.width, len(t))) for i in range(0, len(t), self.width)] for t in texts]
        ids = [[10 + ord(text[a]) for a, _ in row] for text, row in zip(texts, offsets, strict=True)]
        return {"input_ids": ids, "offset_mapping": offsets}


def make_characters(**options: Any) -> Any:
    return _Characters(**options)


def random_answers(rng: np.random.Generator, text: str, width: int) -> TokenAnswers:
    logits = rng.normal(0, 3, (math.ceil(len(text) / width), len(TAGS)))
    powers = np.exp(logits)
    offsets = [(i, min(i + width, len(text))) for i in range(0, len(text), width)]
    return TokenAnswers(powers / powers.sum(1, keepdims=True), offsets, 1, False)


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_span_begins_or_ends_within_a_word(script: str) -> None:
    text, rng, found = SCRIPTS[script], np.random.default_rng(0), 0
    words = find_words(text)
    begins, ends = {start for start, _ in words}, {end for _, end in words}
    for width in (1, 2, 3, 7):
        for _ in range(20):
            spans = find_spans(text, random_answers(rng, text, width), TAGS).spans
            found += len(spans)
            assert {span.start for span in spans} <= begins
            assert {span.end for span in spans} <= ends
            assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
            assert all(0 < span.score <= 1 for span in spans)
    assert found > 50


def best_by_trying_all(opens: np.ndarray, goes_on: np.ndarray, outside: np.ndarray) -> float:
    words, types = opens.shape
    tags = [("O", -1), *((prefix, kind) for prefix in "BI" for kind in range(types))]
    return max(
        score_of(path, opens, goes_on, outside) for path in itertools.product(tags, repeat=words) if is_allowed(path)
    )


def is_allowed(path: Sequence[tuple[str, int]]) -> bool:
    before = [("O", -1), *path]
    return all(
        tag != "I" or (last[0] != "O" and last[1] == kind) for last, (tag, kind) in zip(before, path, strict=False)
    )


def score_of(path: Sequence[tuple[str, int]], opens: np.ndarray, goes_on: np.ndarray, outside: np.ndarray) -> float:
    of_tag: dict[str, Callable[[int, int], float]] = {
        "O": lambda word, _: float(outside[word]),
        "B": lambda word, kind: float(opens[word, kind]),
        "I": lambda word, kind: float(goes_on[word, kind]),
    }
    return sum(of_tag[tag](word, kind) for word, (tag, kind) in enumerate(path))


def test_the_path_is_the_best_of_all_that_are_allowed() -> None:
    rng = np.random.default_rng(0)
    for words, types in itertools.product((1, 2, 3, 4), (1, 2)):
        for _ in range(25):
            opens, goes_on = rng.normal(0, 2, (2, words, types))
            outside = rng.normal(0, 2, words)
            path = find_best_path(opens, goes_on, outside)
            assert is_allowed(path)
            assert score_of(path, opens, goes_on, outside) == pytest.approx(best_by_trying_all(opens, goes_on, outside))


def answer_tokens(text: str, offsets: list[tuple[int, int]], tags: Sequence[str], names: Sequence[str] = TAGS) -> Any:
    """Return sure answers to the tokens of ``text``."""
    probabilities = np.full((len(offsets), len(names)), 0.02)
    probabilities[np.arange(len(offsets)), [names.index(tag) for tag in tags]] = 1 - 0.02 * (len(names) - 1)
    return TokenAnswers(probabilities, offsets, 1, False)


def spans_of(text: str, offsets: list[tuple[int, int]], tags: Sequence[str], names: Sequence[str] = TAGS) -> list[str]:
    found = find_spans(text, answer_tokens(text, offsets, tags, names), names).spans
    return [f"{span.type}:{text[span.start : span.end]}" for span in found]


def test_a_word_is_decided_by_all_its_tokens() -> None:
    offsets = [(0, 3), (3, 5), (5, 7)]
    assert spans_of("Michael", offsets, ["B-PERSON", "I-PERSON", "I-PERSON"]) == ["PERSON:Michael"]
    assert spans_of("Michael", offsets, ["B-PERSON", "I-PERSON", "O"]) == ["PERSON:Michael"]
    assert spans_of("Michael", offsets, ["B-PERSON", "O", "O"]) == []


def test_a_token_may_cover_several_words() -> None:
    # As a tokenizer has them: two characters of Han, a literal [SEP], and white space before a word.
    assert spans_of("张伟住", [(0, 2), (2, 3)], ["B-PERSON", "O"]) == ["PERSON:张伟"]
    assert spans_of("[SEP] Bob", [(0, 5), (5, 9)], ["O", "B-PERSON"]) == ["PERSON:Bob"]
    assert spans_of("a b.c d", [(0, 1), (1, 5), (5, 7)], ["O", "B-PLACE", "I-PLACE"]) == ["PLACE:b.c d"]


def test_white_space_alone_neither_ends_nor_makes_a_span() -> None:
    assert spans_of("A\n\nB", [(0, 1), (1, 3), (3, 4)], ["B-PLACE", "O", "I-PLACE"]) == ["PLACE:A\n\nB"]
    assert spans_of("A\n\n", [(0, 1), (1, 3)], ["O", "B-PLACE"]) == []


@pytest.mark.parametrize(
    ("names", "tags"),
    [
        (("O", "B-PERSON", "I-PERSON", "L-PERSON", "U-PERSON"), ["B-PERSON", "L-PERSON", "O", "U-PERSON"]),
        (("B-PERSON", "I-PERSON", "E-PERSON", "S-PERSON", "O"), ["B-PERSON", "E-PERSON", "O", "S-PERSON"]),
        (("O", "PERSON"), ["PERSON", "PERSON", "O", "PERSON"]),
        (("O", "E-MAIL"), ["E-MAIL", "E-MAIL", "O", "E-MAIL"]),
    ],
)
def test_tags_of_other_schemes_are_read(names: Sequence[str], tags: Sequence[str]) -> None:
    kind = names[1].removeprefix("B-") if names[0] == "O" else "PERSON"
    found = spans_of("ab cd ef gh", [(0, 2), (3, 5), (6, 8), (9, 11)], tags, names)
    assert found == [f"{kind}:ab cd", f"{kind}:gh"]


@pytest.mark.parametrize(
    ("tokens", "size", "overlap"), [(0, 5, 2), (5, 5, 2), (6, 5, 2), (100, 7, 3), (1100, 510, 255)]
)
def test_windows_cover_every_token_and_share_the_overlap(tokens: int, size: int, overlap: int) -> None:
    windows = list(cut_windows(tokens, size, overlap))
    assert sorted({place for window in windows for place in window}) == list(range(tokens))
    assert all(len(window) <= size for window in windows)
    assert all(a.stop - b.start == overlap for a, b in itertools.pairwise(windows))
    chosen = choose_windows(windows)
    for place, number in enumerate(chosen):
        context = [min(place - w.start, w.stop - 1 - place) if place in w else -1 for w in windows]
        assert context[number] == max(context)


def sum_of_tokens(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A detector of "!": its second label grows with how many there are."""
    found = ((ids == 10 + ord("!")) * mask).sum(1)
    return np.stack([np.ones(len(ids)), found.astype(float)], 1)


def test_an_attack_at_the_end_of_a_long_text_is_found_in_windows() -> None:
    text = "a" * 1500 + "!!!!!!"
    whole = read_label(sum_of_tokens, make_characters(), text, window=None, positive=None)
    assert (whole.tokens_read, whole.windows, whole.truncated) == (510, 1, True)
    assert whole.probabilities[1] < 0.5
    answer = read_label(sum_of_tokens, make_characters(), text, window=Window(), positive=1)
    assert answer.probabilities[1] > 0.9
    assert sum(answer.probabilities) == pytest.approx(1)
    assert (answer.tokens_read, answer.windows, answer.truncated) == (1506, 5, False)
    assert answer.strongest == (1020, 1506)


def test_a_text_of_one_window_is_read_as_a_whole() -> None:
    for text in ("", "ab!", "!" * 510):
        one, whole = (
            read_label(sum_of_tokens, make_characters(), text, window=window, positive=1) for window in (Window(), None)
        )
        assert one == whole
        assert not one.truncated


def test_answers_come_in_the_order_of_the_texts_whatever_their_length() -> None:
    texts = ["!" * (i * 37 % 50) + "a" * (i * 211 % 900) for i in range(80)]
    ticks: list[int] = []
    answers = list(read_labels(sum_of_tokens, make_characters(), texts, window=Window(), positive=1, tick=ticks.append))
    assert [a.tokens_read for a in answers] == [len(text) for text in texts]
    for text, answer in zip(texts, answers, strict=True):
        assert answer.probabilities[1] == pytest.approx(1 / (1 + math.exp(1 - text.count("!"))))
    assert sum(ticks) == 80


def tag_capitals(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tag capital letters: the first B-PERSON, where a letter before it is no capital in this window."""
    capital = (ids >= 10 + ord("A")) & (ids <= 10 + ord("Z"))
    begins = capital & ~np.pad(capital, ((0, 0), (1, 0)))[:, :-1]
    logits = np.zeros((*ids.shape, len(TAGS)))
    logits[..., 0] = 9.0 * ~capital
    logits[..., 1] = 9.0 * begins
    logits[..., 2] = 9.0 * (capital & ~begins)
    return logits


def test_spans_of_a_long_text_are_found_once_wherever_windows_meet() -> None:
    text = "ab CDE fg " * 150
    answer = read_spans(tag_capitals, make_characters(), text, window=Window(), tags=TAGS)
    assert [(span.start, span.end) for span in answer.spans] == [(10 * i + 3, 10 * i + 6) for i in range(150)]
    assert (answer.tokens_read, answer.truncated) == (1500, False)
    short = read_spans(tag_capitals, make_characters(), text, window=None, tags=TAGS)
    assert (len(short.spans), short.tokens_read, short.truncated) == (51, 510, True)


def test_a_window_holds_no_more_than_the_model_reads() -> None:
    longest = 0

    def watch(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        nonlocal longest
        longest = max(longest, ids.shape[1])
        return tag_capitals(ids, mask)

    [answers] = read_tokens(watch, make_characters(model_max_length=16), ["x" * 100], window=Window())
    assert longest == 16
    assert len(answers.probabilities) == 100
    assert answers.windows == 14
