"""The answers of a release: a second forward against ``pipeline()``, decoding, and the router's self-check."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from hubtools.reading import OUTSIDE, choose_windows, cut_windows, strip_span
from hubtools.router_contract.check import TRAIN, Check, failed, passed
from hubtools.router_contract.config import is_span_model
from hubtools.router_contract.decoding import PredictedSpan, TokenAnswer, decode_spans
from hubtools.router_contract.forward import SecondForward
from hubtools.router_contract.tokenizer import Framing, framing_of, load_tokenizer
from hubtools.router_contract.weights import WEIGHTS, load_config

TOLERANCE = 1e-5  # between two ways to compute the same in float32
BATCH = 8  # texts that pipeline() reads at once; the second forward reads one, as the router does at its load
LONG = 512  # tokens; a text that is longer shows whether local layers see the right window
WINDOW, OVERLAP = 512, 255  # tokens; how the router is told to read long texts for spans
# The router asks a model two texts of its own before it serves it: an answer without any number keeps it from starting.
# These two are ours and stand in for them; they are of the same kind, a request for code, and a telephone number and a
# city in German.
SELF_CHECK = (
    "Please give me a small shell script that sorts my holiday photos into folders by month.",
    "Rufen Sie mich bitte unter 040 5550 1234 an, ich bin bis Freitag in Hamburg.",
)
SELF_CHECK_NAME = "self-check"
RETRAIN = f"{TRAIN}; if it stays, the model and the contract differ"


@dataclass(frozen=True)
class RouterModel:
    """A release as the router has it: the tokenizer of ``tokenizers`` alone, and the second forward."""

    tokenizer: Any
    framing: Framing
    forward: SecondForward
    labels: tuple[str, ...]
    answered: dict[str, list[TokenAnswer]] = field(default_factory=dict)  # texts that were read as a whole

    def token_count(self, text: str) -> int:
        """Return how many tokens a text has, with those that frame it."""
        return len(self.tokenizer.encode(text).ids)

    def label_probabilities(self, text: str) -> list[float]:
        """Return the probability of each label for a text."""
        found: list[float] = self.forward.probabilities(self.tokenizer.encode(text).ids).tolist()
        return found

    def probabilities_of(self, text: str) -> list[float]:
        """Return the probability of each label or, where tokens are answered, of the answer to each token."""
        if is_span_model(self.labels):
            return [answer.probability for answer in self.token_answers(text)]
        return self.label_probabilities(text)

    def token_answers(self, text: str, size: int = 0, overlap: int = 0) -> list[TokenAnswer]:
        """Return the answer to each token but those that frame the text.

        Args:
            size: read in windows of so many tokens, frame included; 0: as a whole. overlap: of neighbouring windows.
        """
        if not size:
            if text not in self.answered:
                self.answered[text] = self.token_answers(text, self.token_count(text) + 1)
            return self.answered[text]
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        prefix, suffix = self.framing.prefix, self.framing.suffix
        windows = list(cut_windows(len(encoding.ids), size - len(prefix) - len(suffix), overlap))
        read = [
            self.forward.probabilities([*prefix, *(encoding.ids[i] for i in window), *suffix])[len(prefix) :].tolist()
            for window in windows
        ]
        answers = []
        for place, (chosen, (start, end)) in enumerate(zip(choose_windows(windows), encoding.offsets, strict=True)):
            row = read[chosen][place - windows[chosen].start]
            best = max(range(len(row)), key=row.__getitem__)  # the first of equal ones
            answers.append(TokenAnswer(self.labels[best], row[best], start, end))
        return answers

    def spans(self, text: str, size: int = 0, overlap: int = 0) -> list[PredictedSpan]:
        """Return the spans of a text; see :meth:`token_answers`."""
        return decode_spans(text, self.token_answers(text, size, overlap))


def check_answers(
    folder: Path, config: Mapping[str, Any], labels: Sequence[str], texts: Sequence[str]
) -> list[Check]:  # fmt: skip
    """Return what the answers of a release show; its files, configuration and tokenizer must be in order.

    Args:
        texts: blank ones, and those that are longer than the model reads, are left out and counted.
    """
    tokenizer = load_tokenizer(folder)
    framing = framing_of(tokenizer)
    assert framing is not None, "the tokenizer was checked"
    model = RouterModel(tokenizer, framing, SecondForward(folder), tuple(labels))
    limit = int(config["max_position_embeddings"])
    long = _long_text(model, texts, limit)
    if not all(math.isfinite(p) for text in SELF_CHECK for p in model.probabilities_of(text)):
        return [failed("answers", WEIGHTS, "an answer is no number", expected="probabilities", found="inf or nan",
                       next=RETRAIN)]  # fmt: skip
    asked = [text for text in (*texts, long) if text.strip() and model.token_count(text) <= limit]
    try:
        classifier = _load_pipeline(folder, labels, limit)
    except Exception as error:  # transformers has many ways to say that it cannot load a model
        return [failed("answers", "config.json", "pipeline() cannot load the model", expected="a model that answers",
                       found=f"{type(error).__name__}: {error}".split("\n")[0])]  # fmt: skip
    if not is_span_model(labels):
        return [*_compare_labels(model, classifier, asked), *_check_self(model)]
    compared = [*_compare_spans(model, classifier, asked)]
    return [*compared, _report_windows(model, texts, limit), *_check_self(model)]


def _load_pipeline(folder: Path, labels: Sequence[str], limit: int) -> Any:
    """Return transformers' own answers, on the CPU as the router's, reading as much of a text as the router does."""
    import torch
    import transformers

    pipeline: Any = transformers.pipeline  # its overloads know literal task names only
    kind = "token-classification" if is_span_model(labels) else "text-classification"
    model: Any = str(folder)
    settings = load_config(folder)
    if settings.pad_token_id is None:  # as the router, which needs none; by its name pipeline() would take another
        architecture = getattr(transformers, settings.architectures[0])
        model = architecture.from_pretrained(folder, config=settings, dtype=torch.float32)
    classifier = pipeline(kind, model=model, tokenizer=str(folder), device=-1, dtype=torch.float32)
    classifier.tokenizer.model_max_length = limit
    return classifier


def _long_text(model: RouterModel, texts: Sequence[str], limit: int) -> str:
    """Return texts in a row, more than :data:`LONG` tokens where the model reads so many, else as many as it reads."""
    long = ""
    fitting = [text for text in texts if text.strip() and model.token_count(text) <= limit]
    for text in cycle(fitting or SELF_CHECK):
        longer = f"{long} {text}".strip()
        if model.token_count(longer) > limit:
            return long
        long = longer
        if model.token_count(long) > LONG:
            return long
    return long


def _compare_labels(model: RouterModel, classifier: Any, texts: Sequence[str]) -> Iterator[Check]:
    worst, other = 0.0, 0
    # Texts of like length together: less of a batch is padding.
    texts = sorted(texts, key=model.token_count)
    for text, answers in zip(texts, classifier(texts, top_k=None, batch_size=BATCH), strict=True):
        ours = model.label_probabilities(text)
        theirs = {entry["label"]: float(entry["score"]) for entry in answers}
        worst = max([worst, *(_distance(p, theirs[label]) for p, label in zip(ours, model.labels, strict=True))])
        label = model.labels[ours.index(max(ours))]
        other += max(theirs.values()) - theirs[label] > TOLERANCE
    yield _compared("answers", f"{len(texts) - other} of {len(texts)} labels", len(texts), other, worst)


def _compare_spans(model: RouterModel, classifier: Any, texts: Sequence[str]) -> Iterator[Check]:
    """Compare the tags of tokens, and the spans that both make of them."""
    tags, spans = _Tally(), _Tally()
    for text in texts:
        entries = classifier(text, aggregation_strategy="none", ignore_labels=[])
        ours = model.token_answers(text)
        tags.number += len(ours)
        tags.other += abs(len(ours) - len(entries))
        for own, entry in zip(ours, entries, strict=False):
            distance = _distance(own.probability, float(entry["score"]))
            place = (own.start, own.end) == (entry["start"], entry["end"])
            # Two tags that are equally likely may come in either order.
            tags.other += not place or (own.tag != entry["entity"] and distance > TOLERANCE)
            tags.worst = max(tags.worst, distance)
        found = {(span.start, span.end, span.type): span.score for span in model.spans(text)}
        theirs = {}
        # What pipeline() calls for the strategy "simple": the model, which takes the time, is asked once.
        for entry in classifier.group_entities(entries):
            start, end = strip_span(text, int(entry["start"]), int(entry["end"]))
            if start < end and entry["entity_group"] != OUTSIDE:
                theirs[start, end, entry["entity_group"]] = float(entry["score"])
        spans.number += len(theirs)
        spans.other += len(found.keys() ^ theirs.keys())
        shared = found.keys() & theirs.keys()
        spans.worst = max([spans.worst, *(_distance(found[key], theirs[key]) for key in shared)])
    yield _compared("answers", f"{tags.number - tags.other} of {tags.number} tags", tags.number, tags.other, tags.worst)
    equal = f"{spans.number - spans.other} of {spans.number} spans"
    yield _compared("spans", equal, spans.number, spans.other, spans.worst)


@dataclass
class _Tally:
    """How many answers were compared, how many are others, and the largest difference of a probability."""

    number: int = 0
    other: int = 0
    worst: float = 0.0


def _distance(a: float, b: float) -> float:
    return abs(a - b) if math.isfinite(a) and math.isfinite(b) else math.inf


def _compared(name: str, equal: str, number: int, other: int, worst: float) -> Check:
    summary = f"{equal} as pipeline() has them, largest difference of a probability {worst:.1e}"
    numbers = {"compared": number, "different": other, "largest_difference": worst}
    if other or worst > TOLERANCE:
        expected, found = f"all of them, within {TOLERANCE:g}", f"{other} others, {worst:.1e}"
        return Check(name, False, WEIGHTS, summary, expected, found, RETRAIN, numbers=numbers)
    return passed(name, WEIGHTS, summary, **numbers)


def _report_windows(model: RouterModel, texts: Sequence[str], limit: int) -> Check:
    """How many spans a long document keeps, read as a whole and in windows: a number to report, never a failure."""
    document, alone = "", []
    for text in texts:
        longer = f"{document}\n{text}" if document else text
        if model.token_count(longer) > min(limit, 3 * LONG):
            break
        shift = len(longer) - len(text)
        alone += [(s.start + shift, s.end + shift, s.type) for s in model.spans(text)]
        document = longer
    kept = [
        len(set(alone) & {(s.start, s.end, s.type) for s in model.spans(document, size, overlap)})
        for size, overlap in ((0, 0), (WINDOW, OVERLAP))
    ]
    tokens = model.token_count(document)
    return passed(
        "windows", WEIGHTS,
        f"of {len(alone)} spans found text by text, a document of {tokens} tokens keeps {kept[0]} read as a whole, "
        f"{kept[1]} in windows of {WINDOW} with an overlap of {OVERLAP}",
        tokens=tokens, alone=len(alone), whole=kept[0], windows=kept[1],
    )  # fmt: skip


def _check_self(model: RouterModel) -> Iterator[Check]:
    """The router asks two texts twice before it serves: answers must be finite, equal, and at least one number.

    :data:`SELF_CHECK` stands in for the router's own texts, so that this tells what is likely there, not what is sure.
    """
    numbers: list[float] = []
    repeated: list[float] = []
    for into in (numbers, repeated):
        for text in SELF_CHECK:
            if is_span_model(model.labels):
                model.answered.pop(text, None)
                into += [span.score for span in model.spans(text)]
            else:
                into += model.label_probabilities(text)
    if not numbers:
        yield failed(
            SELF_CHECK_NAME, WEIGHTS, "the model finds no span in two texts like those that the router asks first; "
            "where it finds none in those, the router does not start",
            expected=f"at least one span in {SELF_CHECK[0]!r} or {SELF_CHECK[1]!r}", found="none",
            next="train longer, or on more texts with telephone numbers and places, also German ones: hubtools "
            "finetune TASK; where no router is to load the model, hubtools push-model TASK --skip-router-check",
        )  # fmt: skip
    elif repeated != numbers or not all(map(math.isfinite, numbers)):
        yield failed("answers", WEIGHTS, "two texts are answered otherwise the second time, or by no number",
                     expected="finite, equal answers", found=str(numbers[:5]), next=RETRAIN)  # fmt: skip
    else:
        answers = "spans" if is_span_model(model.labels) else "probabilities"
        summary = f"{len(numbers)} {answers} for two texts like those that the router asks first"
        yield passed(SELF_CHECK_NAME, WEIGHTS, summary, numbers=len(numbers))
