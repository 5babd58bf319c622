"""How a model reads a text: in overlapping windows or its beginning alone, and spans that end where words do.

One way for evaluation, API, Space and exported models. It needs numpy and the module of words beside it, and torch
where the model is one of transformers: a Space carries both files along.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from hubtools.words import find_words

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# (rows, longest) token ids and their mask of 0 and 1 to logits: (rows, labels), or (rows, longest, labels) where each
# token gets some. What computes them may be torch, ONNX Runtime, or one body with several heads.
Forward: TypeAlias = "Callable[[np.ndarray, np.ndarray], np.ndarray]"

FIRST = 512  # tokens of a text that are read where it is not read in windows, special ones included
BATCH = 32  # windows that go through the model at once
CHUNK = 128  # texts whose answers are held at once
OUTSIDE = "O"  # the tag of what is in no span
SMALLEST = 1e-12  # a probability of 0 would make a path impossible, whatever else speaks for it

# Prefixes of BIO, BILOU and BIOES.
_OPENING, _CONTINUING = "BSU", "IEL"
_PREFIX = re.compile(rf"[{_OPENING}{_CONTINUING}]-(?=.)")


@dataclass(frozen=True)
class Window:
    """How a long text is cut: ``size`` tokens, special ones included, of which ``overlap`` are shared with the next."""

    size: int = 512
    overlap: int = 255


@dataclass(frozen=True)
class LabelAnswer:
    """The answer to a text as a whole.

    Attributes:
        probabilities: (labels,), those of the window that decided: they sum up to 1.
        tokens_read: of the text, special ones left out.
        windows: how many it was read in.
        truncated: whether the end of the text was not read.
        strongest: (start, end) of the window that decided, in code points.
    """

    probabilities: list[float]
    tokens_read: int
    windows: int
    truncated: bool
    strongest: tuple[int, int]


@dataclass(frozen=True)
class FoundSpan:
    """``text[start:end]``, in code points, and its type.

    ``score``, from 0 to 1, is the mean over its tokens of the probability that a token belongs to this type.
    """

    start: int
    end: int
    type: str
    score: float


@dataclass(frozen=True)
class SpanAnswer:
    """The spans of a text, in its order and without overlap; the rest as of :class:`LabelAnswer`."""

    spans: list[FoundSpan]
    tokens_read: int
    windows: int
    truncated: bool


@dataclass(frozen=True)
class TokenAnswers:
    """The answer to each token of a text.

    Attributes:
        probabilities: (tokens, tags).
        offsets: (start, end) of each token in code points; a byte-level token may begin with the space before a word.
        windows, truncated: as of :class:`LabelAnswer`.
    """

    probabilities: np.ndarray
    offsets: list[tuple[int, int]]
    windows: int
    truncated: bool


def cut_windows(tokens: int, size: int, overlap: int) -> Iterator[range]:
    """Yield the windows over ``tokens`` places, each of at most ``size``, each sharing ``overlap`` with the next."""
    start = 0
    while True:
        yield range(start, min(start + size, tokens))
        # The last window ends where the text does, however short it is.
        if start + size >= tokens:
            return
        start += size - overlap


def choose_windows(windows: Sequence[range]) -> np.ndarray:
    """Return (tokens,), the number of the window in which each token has most context to its nearer side."""
    import numpy as np

    chosen = np.zeros(windows[-1].stop, dtype=int)
    most = np.full(len(chosen), -1)
    for number, window in enumerate(windows):
        context = np.minimum(np.arange(len(window)), np.arange(len(window))[::-1])
        here = slice(window.start, window.stop)
        chosen[here] = np.where(context > most[here], number, chosen[here])  # the earlier one where both have as much
        most[here] = np.maximum(context, most[here])
    return chosen


def read_label(
    model: PreTrainedModel | Forward, tokenizer: PreTrainedTokenizerBase, text: str, *,
    window: Window | None, positive: int | Sequence[int] | None,
) -> LabelAnswer:  # fmt: skip
    """Return the answer to one text; see :func:`read_labels`."""
    return next(read_labels(model, tokenizer, [text], window=window, positive=positive))


def read_labels(
    model: PreTrainedModel | Forward, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *,
    window: Window | None, positive: int | Sequence[int] | None, tick: Callable[[int], None] = lambda _: None,
) -> Iterator[LabelAnswer]:  # fmt: skip
    """Yield the answer to each text, in order.

    Args:
        model: of transformers, or a function from token ids and mask to logits.
        window: None reads the first :data:`FIRST` tokens alone.
        positive: index of the label that is looked for, or of several: the window with most of it decides. Without
            one the first window does.
        tick: called with the number of texts that are done.
    """
    sought = [positive] if isinstance(positive, int) else list(positive or [])
    # As pipeline() decides it: labels may be questions of their own.
    config: Any = getattr(model, "config", None)
    independent = bool(config) and (config.problem_type == "multi_label_classification" or config.num_labels == 1)
    for text, windows in zip(texts, _run(model, tokenizer, texts, window, tick), strict=True):
        rows = [_softmax(logits, independent) for logits in windows.logits]
        decides = max(range(len(rows)), key=lambda i: float(rows[i][sought].sum()))
        # A tokenizer that does not tell where its tokens stand leaves the whole text.
        of_window = windows.offsets[windows.places[decides].start : windows.places[decides].stop]
        strongest = strip_span(text, of_window[0][0], of_window[-1][1]) if of_window else (0, len(text))
        yield LabelAnswer(rows[decides].tolist(), windows.tokens_read, len(rows), windows.truncated, strongest)


def read_spans(
    model: PreTrainedModel | Forward, tokenizer: PreTrainedTokenizerBase, text: str, *,
    window: Window | None, tags: Sequence[str] | None = None,
) -> SpanAnswer:  # fmt: skip
    """Return the spans of one text.

    Args:
        window: as of :func:`read_labels`.
        tags: of the model, in the order of their ids; None takes them from its configuration.
    """
    return find_spans(text, next(read_tokens(model, tokenizer, [text], window=window)), tags or list_tags(model))


def read_tokens(
    model: PreTrainedModel | Forward, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *,
    window: Window | None, tick: Callable[[int], None] = lambda _: None,
) -> Iterator[TokenAnswers]:  # fmt: skip
    """Yield the answers to the tokens of each text, in order; see :func:`read_labels`.

    A token that stands in two windows is answered by the one in which it has most context.
    """
    import numpy as np

    for windows in _run(model, tokenizer, texts, window, tick):
        chosen = choose_windows(windows.places)
        logits = np.empty((windows.tokens_read, windows.logits[0].shape[-1]))
        for number, (places, computed) in enumerate(zip(windows.places, windows.logits, strict=True)):
            own = chosen[places.start : places.stop] == number
            logits[places.start : places.stop][own] = computed[own]
        read = windows.offsets[: windows.tokens_read]
        yield TokenAnswers(_softmax(logits), read, len(windows.places), windows.truncated)


def list_tags(model: Any) -> list[str]:
    """Return the names of a model's tags in the order of their ids."""
    return [str(name) for _, name in sorted(model.config.id2label.items())]


def split_tag(tag: str, tags: Sequence[str]) -> tuple[str, str]:
    """Return the prefix of a tag and its type; the prefix is "" of a tag of a model without any."""
    has_prefixes = any(name[:2] in ("B-", "I-") for name in tags)
    return (tag[0], tag[2:]) if has_prefixes and _PREFIX.match(tag) else ("", tag)


def find_spans(text: str, answers: TokenAnswers, tags: Sequence[str]) -> SpanAnswer:
    """Return the spans that the answers to the tokens of ``text`` amount to.

    They are decided over words, whose tokens are tied: no span begins or ends within a word. Of all ways to tag the
    words in which an I- follows a B- or I- of its type, the most probable one is taken.

    Args:
        tags: of the model, in the order of their ids: BIO, BILOU, BIOES, or types alone with O.
    """
    types, opens, goes_on, outside = _read_probabilities(answers.probabilities, tags)
    words = join_words(text, answers.offsets)
    spans: list[FoundSpan] = []
    if words and types:
        path = find_best_path(*tie_tokens(words, opens, goes_on, outside))
        belongs = (opens + goes_on).clip(max=1.0)
        for first, end, type_index in _list_runs(path):
            tokens = dict.fromkeys(chain.from_iterable(word.tokens for word in words[first:end]))
            score = float(belongs[list(tokens), type_index].mean())
            spans.append(FoundSpan(words[first].start, words[end - 1].end, types[type_index], score))
    return SpanAnswer(spans, len(answers.offsets), answers.windows, answers.truncated)


def find_best_path(opens: np.ndarray, goes_on: np.ndarray, outside: np.ndarray) -> list[tuple[str, int]]:
    """Return the most probable tags of words: ("B", type), ("I", type) or ("O", -1) each.

    An I follows a B or I of its type alone.

    Args:
        opens, goes_on: (words, types) log-probabilities of B and I; ``outside``: (words,) of O.
    """
    import numpy as np

    words, types = opens.shape
    # The tags in one row: O, then all B, then all I. What is best word by word is best altogether where it may be.
    scores = np.concatenate([outside[:, None], opens, goes_on], 1)
    tags = scores.argmax(1)
    kind = (tags - 1) % types
    orphans = (tags > types) & ((np.roll(tags, 1) == 0) | (np.roll(kind, 1) != kind))
    orphans[0] = tags[0] > types
    if orphans.any():
        best = np.concatenate([scores[0, : types + 1], np.full(types, -np.inf)])
        before = np.zeros(scores.shape, dtype=int)
        for word in range(1, words):
            # O and B may follow anything; an I its own B or I.
            any_tag = int(best.argmax())
            before[word, : types + 1] = any_tag
            from_open = best[1 : types + 1] >= best[types + 1 :]
            before[word, types + 1 :] = np.arange(types) + np.where(from_open, 1, types + 1)
            best = scores[word] + best[before[word]]
        tags[-1] = best.argmax()
        for word in range(words - 1, 0, -1):
            tags[word - 1] = before[word, tags[word]]
    return [("O", -1) if tag == 0 else ("B" if tag <= types else "I", int(tag - 1) % types) for tag in tags]


class Word(NamedTuple):
    """A word of a text, the numbers of its tokens, and whether the first of them covers an earlier word too."""

    start: int
    end: int
    tokens: list[int]
    begins_within_token: bool


class _Windows(NamedTuple):
    """What the model computed for a text: ``places`` of the tokens in each window, and its logits."""

    offsets: list[tuple[int, int]]
    tokens_read: int
    places: list[range]
    logits: list[np.ndarray]
    truncated: bool


def _run(
    model: Any, tokenizer: Any, texts: Sequence[str], window: Window | None, tick: Callable[[int], None]
) -> Iterator[_Windows]:
    """Yield what the model computes for each text, in order."""
    is_torch, chunk = hasattr(model, "config"), getattr(model, "chunk", CHUNK)
    forward = partial(_run_torch, model) if is_torch else model
    (prefix, suffix), pad = _find_frame(tokenizer), tokenizer.pad_token_id or 0
    most = getattr(model.config, "max_position_embeddings", None) if is_torch else None
    size = min(window.size if window else FIRST, tokenizer.model_max_length, most or FIRST) - len(prefix) - len(suffix)
    # A model that reads less than a window holds shares as much of what it reads.
    overlap = min(window.overlap, size // 2) if window else 0
    for begin in range(0, len(texts), chunk):
        some = list(texts[begin : begin + chunk])
        encoded = tokenizer(
            some, add_special_tokens=False, truncation=False, return_offsets_mapping=tokenizer.is_fast, verbose=False
        )
        places = [
            list(cut_windows(len(ids), size, overlap)) if window else [range(min(len(ids), size))]
            for ids in encoded["input_ids"]
        ]
        rows = [
            [*prefix, *encoded["input_ids"][i][place.start : place.stop], *suffix]
            for i, of_text in enumerate(places)
            for place in of_text
        ]
        logits = iter(getattr(model, "run_rows", partial(_run_batches, forward, pad=pad))(rows))
        for i, of_text in enumerate(places):
            computed = [next(logits) for _ in of_text]
            # Of tokens: special ones belong to no text.
            if computed[0].ndim == 2:
                computed = [
                    row[len(prefix) : len(prefix) + len(place)] for row, place in zip(computed, of_text, strict=True)
                ]
            offsets = [tuple(pair) for pair in encoded["offset_mapping"][i]] if tokenizer.is_fast else []
            read = of_text[-1].stop
            yield _Windows(offsets, read, of_text, computed, read < len(encoded["input_ids"][i]))
            tick(1)


def _run_batches(forward: Forward, rows: Sequence[Sequence[int]], pad: int) -> list[np.ndarray]:
    """Return the logits of each row of token ids, in the order of ``rows``; rows of like length go together."""
    import numpy as np

    found: list[np.ndarray] = [np.zeros(0)] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    for begin in range(0, len(order), BATCH):
        numbers = order[begin : begin + BATCH]
        longest = len(rows[numbers[-1]])
        ids = np.full((len(numbers), longest), pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for line, i in enumerate(numbers):
            ids[line, : len(rows[i])] = rows[i]
            mask[line, : len(rows[i])] = 1
        for i, logits in zip(numbers, forward(ids, mask), strict=True):
            # Of a whole text there is one row of logits, of its tokens one each, also of those that fill up.
            found[i] = np.array(logits[: len(rows[i])] if logits.ndim == 2 else logits, dtype=np.float64)
    return found


def _run_torch(model: Any, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
        on_device = [torch.from_numpy(array).to(model.device) for array in (ids, mask)]
        logits: np.ndarray = model(input_ids=on_device[0], attention_mask=on_device[1]).logits.float().cpu().numpy()
    return logits


def _find_frame(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the special tokens that a tokenizer puts before and behind a text."""
    encoded = tokenizer("a", return_special_tokens_mask=True)
    ids, is_special = list(encoded["input_ids"]), list(encoded["special_tokens_mask"])
    first = is_special.index(0)
    end = len(ids) - is_special[::-1].index(0)
    return ids[:first], ids[end:]


def _softmax(logits: np.ndarray, independent: bool = False) -> np.ndarray:
    import numpy as np

    powers = np.exp(logits - logits.max(-1, keepdims=True))
    shares: np.ndarray = 1 / (1 + np.exp(-logits)) if independent else powers / powers.sum(-1, keepdims=True)
    return shares


def strip_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Return ``start`` and ``end`` without the white space at either side."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _read_probabilities(
    probabilities: np.ndarray, tags: Sequence[str]
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return the types, and of each token how probably it opens (tokens, types), goes on, or is outside (tokens,)."""
    import numpy as np

    split = [split_tag(tag, tags) for tag in tags]
    types = list(dict.fromkeys(name for tag, (_, name) in zip(tags, split, strict=True) if tag != OUTSIDE))
    opens, goes_on = np.zeros((2, len(probabilities), len(types)))
    outside = np.zeros(len(probabilities))
    for column, (tag, (prefix, name)) in enumerate(zip(tags, split, strict=True)):
        if tag == OUTSIDE:
            outside += probabilities[:, column]
        else:
            (opens if prefix and prefix in _OPENING else goes_on)[:, types.index(name)] += probabilities[:, column]
    for index, name in enumerate(types):
        prefixes = {prefix for prefix, other in split if other == name}
        # A type with one kind of tag alone, as of a model without prefixes: it stands for both.
        if not prefixes & set(_OPENING):
            opens[:, index] = goes_on[:, index] * 0.999  # where both may be, the span goes on
        elif not prefixes - set(_OPENING):
            goes_on[:, index] = opens[:, index]
    return types, opens, goes_on, outside


def join_words(text: str, offsets: Sequence[tuple[int, int]]) -> list[Word]:
    """Return the words of a text that have a token, in order; a token of white space alone belongs to none."""
    words: list[Word] = []
    first = 0
    seen = -1  # the last token of an earlier word
    for start, end in find_words(text):
        # Both are in order; a token may cover several words, so that the walk goes back to it.
        while first < len(offsets) and offsets[first][1] <= start:
            first += 1
        tokens = []
        for number in range(first, len(offsets)):
            if offsets[number][0] >= end:
                break
            if offsets[number][1] > max(start, offsets[number][0]):
                tokens.append(number)
        if tokens:
            words.append(Word(start, end, tokens, tokens[0] == seen))
            seen = tokens[-1]
    return words


def tie_tokens(
    words: Sequence[Word], opens: np.ndarray, goes_on: np.ndarray, outside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return log-probabilities of words to open, to go on, and to be outside: the mean over their tokens.

    A word that opens a span does so with its first token; the others belong to it, whether they are tagged B or I. A
    token that covers several words opens with the first of them, and the others belong to it.
    """
    import numpy as np

    log_opens, log_goes_on, log_outside = (np.log(np.maximum(p, SMALLEST)) for p in (opens, goes_on, outside))
    log_either = np.log(np.maximum(opens + goes_on, SMALLEST))
    tied = np.empty((len(words), 2, opens.shape[1]))
    tied_outside = np.empty(len(words))
    for number, word in enumerate(words):
        head, rest = word.tokens[0], word.tokens[1:]
        goes_on_with = log_either if word.begins_within_token else log_goes_on
        for column, first in enumerate((log_opens, goes_on_with)):
            tied[number, column] = (first[head] + log_either[rest].sum(0)) / len(word.tokens)
        tied_outside[number] = log_outside[word.tokens].mean()
    return tied[:, 0], tied[:, 1], tied_outside


def _list_runs(path: Sequence[tuple[str, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (first word, word after the last, type) of each span."""
    begin = None
    for number, (prefix, _) in enumerate([*path, ("O", -1)]):
        if prefix != "I":
            if begin is not None:
                yield begin, number, path[begin][1]
            begin = number if prefix == "B" else None
