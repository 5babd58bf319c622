"""The tokens of a word in training: marked in their labels, decided together, and made to agree."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hubtools.heads.values import IGNORED
from hubtools.heads.word_marks import GOES_ON, clear_marks, mark_words, tag_by_words
from hubtools.reading import TokenAnswers, find_spans
from hubtools.training.loss import AGREEMENT, choose_weights, make_loss_function, measure_disagreement

TEXT = "Call Michael now."
OFFSETS = [(0, 0), (0, 4), (4, 9), (9, 12), (12, 16), (16, 17), (0, 0)]  # [CLS] Call| Mich|ael| now|. [SEP]
LABELS = [IGNORED, 0, 1, 2, 0, 0, IGNORED]
MARKED = [IGNORED, 0, 1, 2 + GOES_ON, 0, 0, IGNORED]


def test_a_token_that_goes_on_with_a_word_is_marked_and_no_other() -> None:
    assert mark_words(LABELS, TEXT, OFFSETS) == MARKED
    assert clear_marks(np.array(MARKED)).tolist() == LABELS
    assert clear_marks(torch.tensor(MARKED)).tolist() == LABELS


def test_tags_of_an_evaluation_are_those_of_the_spans_that_are_found() -> None:
    rng = np.random.default_rng(0)
    some = 0
    for _ in range(50):
        logits = rng.normal(0, 2, (1, len(OFFSETS), 5))
        tags = tag_by_words(torch.tensor(logits), torch.tensor([MARKED]))[0, 1:-1].tolist()
        powers = np.exp(logits[0, 1:-1])
        answers = TokenAnswers(powers / powers.sum(1, keepdims=True), OFFSETS[1:-1], 1, False)
        spans = find_spans(TEXT, answers, ["O", "B-A", "I-A", "B-B", "I-B"]).spans
        some += len(spans)
        starts = [i for i, tag in enumerate(tags) if tag in (1, 3)]
        assert [(span.start, span.type) for span in spans] == [
            ([0, 5, 9, 13, 16][i], "AB"[tags[i] // 2]) for i in starts
        ]
        assert (tags[1] == 0) == (tags[2] == 0)  # the two tokens of Michael
    assert some > 20


def test_tokens_of_a_word_that_agree_cost_nothing_and_others_do() -> None:
    labels = torch.tensor(MARKED)
    agree = torch.zeros(len(MARKED), 5)
    agree[2, 1], agree[3, 2] = 4.0, 4.0  # B- and I- of the same type
    assert float(measure_disagreement(agree, labels)) == pytest.approx(0, abs=1e-6)
    other = agree.clone()
    other[3] = torch.tensor([4.0, 0, 0, 0, 0])
    assert float(measure_disagreement(other, labels)) > 1
    assert float(measure_disagreement(other, clear_marks(labels))) == 0
    # What stands beside the word may be anything.
    other = agree.clone()
    other[4] = torch.tensor([9.0, 0, 0, 0, 0])
    assert float(measure_disagreement(other, labels)) == pytest.approx(0, abs=1e-6)


def test_the_loss_is_the_cross_entropy_and_the_disagreement_of_words() -> None:
    logits, labels = torch.randn(1, len(MARKED), 5, generator=torch.Generator().manual_seed(0)), torch.tensor([MARKED])
    loss = make_loss_function(None)(SimpleNamespace(logits=logits), labels)
    plain = torch.nn.functional.cross_entropy(logits[0], torch.tensor(LABELS))
    disagreement = measure_disagreement(logits[0], labels[0])
    assert float(loss) == pytest.approx(float(plain + AGREEMENT * disagreement / 5), rel=1e-5)


def test_class_weights_count_labels_whatever_their_marks() -> None:
    assert choose_weights("balanced", False, [MARKED], 3) == choose_weights("balanced", False, [LABELS], 3)
