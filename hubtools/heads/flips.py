"""A greedy search for harmless words that let a text pass which a detection catches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from hubtools.lazy_numpy import np
from hubtools.metrics.intervals import rate
from hubtools.records.robustness import FlippingWord, Flips

MOST_WORDS = 2
TOGETHER = 4  # texts whose candidates are asked at once
SHOWN = 5  # words that the report names


def count_asked(texts: int, words: int) -> int:
    """Return how many texts the search asks at most."""
    return texts * (1 + MOST_WORDS * 2 * words)


def search_flips(
    texts: Sequence[str], words: Sequence[str], threshold: float, ask: Callable[[Sequence[str]], np.ndarray]
) -> Flips:
    """Put the word before or behind each text that brings its score down most, then a second one likewise.

    Args:
        texts: that are to be caught.
        threshold: at or above which one is.
        ask: from texts to (texts,) scores.
    """
    flagged = ask(texts) >= threshold if texts else np.zeros(0, dtype=bool)
    caught = [text for text, is_flagged in zip(texts, flagged, strict=True) if is_flagged]
    flipped, used = [0] * MOST_WORDS, Counter[str]()
    for begin in range(0, len(caught), TOGETHER):
        left = [(text, list[str]()) for text in caught[begin : begin + TOGETHER]]
        for number in range(MOST_WORDS):
            # All candidates of a text in one order, so that the same words win where scores are equal.
            candidates = [
                [(f"{word} {text}", word) for word in words] + [(f"{text} {word}", word) for word in words]
                for text, _ in left
            ]
            scores = ask([text for of_text in candidates for text, _ in of_text]).reshape(len(left), -1)
            lowest = scores.argmin(1)
            still = []
            for row, best in enumerate(lowest):
                text, word = candidates[row][best]
                chosen = [*left[row][1], word]
                if scores[row, best] < threshold:
                    flipped[number] += 1
                    used.update({*chosen})
                else:
                    still.append((text, chosen))
            left = still
            if not left:
                break
    return Flips(
        rows=len(texts),
        caught=len(caught),
        words=len(words),
        one=rate(flipped[0], len(caught)),
        two=rate(sum(flipped), len(caught)),
        frequent=[
            FlippingWord(word=word, rows=rows)
            for word, rows in sorted(used.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
        ],
    )
