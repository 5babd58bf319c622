"""Which tokens go on with a word, marked in their labels: the Trainer hands labels to losses and metrics, not texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from hubtools.heads.values import IGNORED
from hubtools.lazy_numpy import np
from hubtools.reading import Word, find_best_path, join_words, tie_tokens

if TYPE_CHECKING:
    import torch

LabelArray = TypeVar("LabelArray", "np.ndarray", "torch.Tensor")

# Added to the label of a token that goes on with the word of the token before it; more than there are labels.
GOES_ON = 1 << 16


def mark_words(labels: Sequence[int], text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Return the labels of tokens with :data:`GOES_ON` added where a token goes on with a word."""
    inside = {number for word in join_words(text, offsets) for number in word.tokens[1:]}
    return [label + GOES_ON if i in inside and label != IGNORED else label for i, label in enumerate(labels)]


def clear_marks(labels: LabelArray) -> LabelArray:
    """Return labels of any shape without the marks."""
    cleared: LabelArray = labels - GOES_ON * (labels >= GOES_ON)
    return cleared


def tag_by_words(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return (rows, longest) ids of the tags that are decided over words, as ``hubtools.reading`` decides spans.

    Args:
        logits: (rows, longest, tags), O and then B- and I- of each type.
        labels: (rows, longest), with marks; where they are ignored the tag is O.
    """
    import torch

    found = torch.zeros_like(labels)
    for row, marked in enumerate(labels):
        places = (marked != IGNORED).nonzero().squeeze(1)
        words: list[Word] = []
        for number, label in enumerate(marked[places].tolist()):
            if label >= GOES_ON and words:
                words[-1].tokens.append(number)
            else:
                words.append(Word(0, 0, [number], False))
        if not words:
            continue
        p = logits[row, places].double().softmax(-1).cpu().numpy()
        path = find_best_path(*tie_tokens(words, p[:, 1::2], p[:, 2::2], p[:, 0]))
        tags = np.zeros(len(places), dtype=int)
        for word, (tag, kind) in zip(words, path, strict=True):
            if tag != "O":
                tags[word.tokens] = 2 + 2 * kind
                tags[word.tokens[0]] -= tag == "B"
        found[row, places] = torch.from_numpy(tags).to(found)
    return found
