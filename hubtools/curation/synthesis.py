"""Fill templates of documents with values for their slots, and mark where these are.

Everything is seeded: the same templates, split and seed give the same documents.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from hubtools.curation.slot_values import LOCALES, SlotValues, blend
from hubtools.curation.values import BySlot, Values
from hubtools.errors import SourceError
from hubtools.records.dataset import Synthesis
from hubtools.spec import Example, Span

_SLOT = re.compile(r"\{\{\s*(.*?)\s*\}\}")

_SHARED = ("draw", "digits", "moment", "blend_half", "pick", "pick_name")  # methods of SlotValues that are no slots

_NONE = Values()

# How the origin of a document of a varied template begins.
VARIANT = "a variant, "

_ROUNDS = 200  # of filling rare types: a type that stands in no template must not keep it going

# Entity type of each slot, in the names of presidio-research; a slot that is not here is no personal data of ours.
SLOT_TYPES = {
    "name": "PERSON", "first_name": "PERSON", "last_name": "PERSON",
    "email": "EMAIL_ADDRESS", "phone": "PHONE_NUMBER", "ssn": "US_SSN",
    "street_address": "STREET_ADDRESS", "full_address": "STREET_ADDRESS", "address_block": "STREET_ADDRESS",
    "city": "GPE", "state": "GPE", "country": "GPE", "zip": "ZIP_CODE",
    "company": "ORGANIZATION", "credit_card": "CREDIT_CARD", "ip": "IP_ADDRESS", "url": "DOMAIN_NAME",
    "date": "DATE_TIME", "time": "DATE_TIME", "weekday": "DATE_TIME", "month": "DATE_TIME", "job_title": "TITLE",
    "title": "TITLE", "age": "AGE", "nrp": "NRP", "iban": "IBAN_CODE", "driver_license": "US_DRIVER_LICENSE",
    "card": "CREDIT_CARD", "ip_address": "IP_ADDRESS", "website": "DOMAIN_NAME", "year": "DATE_TIME",
    "digit_date": "DATE_TIME", "person_company": "ORGANIZATION",
}  # fmt: skip

# Parts of one address, or of one name: in this order and with only commas and white space between them they
# are one span.
_PARTS = (("street_address", "city", "state", "zip", "country"), ("first_name", "last_name"), ("date", "time"))


def fill_template(
    template: str, rng: random.Random, split: str, seed: int, values: BySlot = MappingProxyType({})
) -> tuple[str, tuple[Span, ...]]:
    """Return one document: the template's text with values in its slots, and where they stand.

    Args:
        values: of this split, that sources bring.

    Raises:
        SourceError: a slot that is not known.
    """
    filler = SlotValues(rng, split, seed, values)
    # Where each value stands is known when it is put in; spans are made of these positions afterwards.
    text, last, pieces = "", 0, []
    for match in _SLOT.finditer(template):
        slot = match.group(1)
        # A slot is a method of the class; what the methods share is none.
        make = vars(SlotValues).get(slot)
        if make is None or slot in _SHARED or slot.startswith("_"):
            raise SourceError(f"Template slot {{{{{slot}}}}} is unknown", found=template[:80])
        text += template[last : match.start()]
        value = make(filler)
        pieces.append((slot, len(text), len(text) + len(value)))
        text += value
        last = match.end()
    text += template[last:]

    spans: list[Span] = []
    previous = ""
    for slot, start, end in pieces:
        # A city behind a street is a part of one address, as a reader marks it.
        if _continues(previous, slot) and re.fullmatch(r"[,\s]{1,3}", text[spans[-1].end : start]):
            spans[-1] = Span(spans[-1].start, end, spans[-1].type)
        elif slot in SLOT_TYPES:
            spans.append(Span(start, end, SLOT_TYPES[slot]))
        previous = slot
    return text, tuple(spans)


def _continues(previous: str, slot: str) -> bool:
    """Return whether ``slot`` goes on with the address, name or time that ``previous`` began."""
    return any(previous in parts and slot in parts and parts.index(previous) < parts.index(slot) for parts in _PARTS)


def vary_template(template: str, others: Sequence[str], rng: random.Random) -> str:
    """Return a template in other words; slots stay as they are.

    It is cut to a part, some words are replaced by words of ``others``, some capitals are changed, or another template
    follows it.

    A few hundred templates are few: a model that has seen each of them many times takes their very words for the
    sign of a name, and takes any word that they lack for a name: so some words are invented, halves of two others.
    For the training split only.
    """
    # Words at even places, the white space between them at odd ones: it is kept as it is.
    pieces = re.split(r"(\s+)", template)
    words = [i for i in range(0, len(pieces), 2) if pieces[i]]
    if len(words) > 6 and rng.random() < 0.4:
        first, last = sorted(rng.sample(words, 2))
        # A shorter part would be of few words, and hold a slot only now and then.
        if last - first >= 6:
            pieces = pieces[first : last + 1]
    for i in range(0, len(pieces), 2):
        if "{" in pieces[i] or not pieces[i]:
            continue
        chance = rng.random()
        if chance < 0.2:
            pieces[i] = rng.choice(rng.choice(others).split())
        elif chance < 0.28:
            pieces[i] = pieces[i].capitalize()
        elif chance < 0.31:
            pieces[i] = pieces[i].upper()
        elif chance < 0.43:
            pieces[i] = blend(pieces[i], rng.choice(rng.choice(others).split()))
        if "{" in pieces[i] or "}" in pieces[i]:  # a slot of another template would bring personal data of its own
            pieces[i] = "and"
    text = "".join(pieces)
    if rng.random() < 0.15:
        text += rng.choice(["\n", " ", "\n\n", " - "]) + rng.choice(others)
    return text


def fill_templates(
    templates: Iterable[Example], split: str, copies: int, seed: int, values: Values = _NONE
) -> Iterator[Example]:
    """Yield ``copies`` documents of each template; a template without slots gives one.

    In the training split every copy but the first is of a variant of the template, see :func:`vary_template`.
    """
    templates = list(templates)
    of_split = values.select(split, seed)
    texts = [template.text for template in templates]
    for template in templates:
        # Without slots all copies would be the same text; in training some variants of its words are of use.
        times = copies if _SLOT.search(template.text) else max(1, copies // 3) if split == "train" else 1
        for number in range(times):
            # Seeded by the group, so that a document does not depend on which other templates there are.
            rng = random.Random(f"{seed}:{template.group}:{number}")
            varied = split == "train" and number > 0
            source = vary_template(template.text, texts, rng) if varied else template.text
            text, spans = fill_template(source, rng, split, seed, of_split)
            origin = f"{VARIANT if varied else ''}made of {template.origin}"
            yield replace(template, text=text, spans=spans, split=split, origin=origin)


def fill_rare_types(
    templates: Iterable[Example],
    have: Mapping[str, int],
    labels: Mapping[str, str],
    least: int,
    seed: int,
    values: Values = _NONE,
) -> Iterator[Example]:
    """Yield further documents for the training split, until it holds ``least`` spans of each label.

    Args:
        have: spans of each label that the training split holds already.
        labels: the label of each entity type that has one.

    Of the templates with a rare label the half is filled that holds most rare ones: few documents, many spans.
    """
    templates = list(templates)
    of_split = values.select("train", seed)
    texts = [template.text for template in templates]
    slot_labels = [[labels.get(SLOT_TYPES.get(slot, ""), "") for slot in _SLOT.findall(text)] for text in texts]
    counts = Counter(have)
    for number in range(_ROUNDS):
        lacking = {label for label in labels.values() if counts[label] < least}
        rare = [sum(label in lacking for label in slots) for slots in slot_labels]
        chosen = set()
        for label in sorted(lacking):
            # Half of the templates that hold it: fewer would repeat their words, all would be many more documents.
            with_it = sorted((i for i, slots in enumerate(slot_labels) if label in slots), key=lambda i: (-rare[i], i))
            chosen.update(with_it[: (len(with_it) + 1) // 2])
        if not chosen:
            return
        for i in sorted(chosen):
            if all(counts[label] >= least for label in slot_labels[i] if label in lacking):
                continue
            rng = random.Random(f"{seed}:{templates[i].group}:more {number}")
            text, spans = fill_template(vary_template(texts[i], texts, rng), rng, "train", seed, of_split)
            counts.update(labels[span.type] for span in spans if span.type in labels)
            origin = f"{VARIANT}made of {templates[i].origin}"
            yield replace(templates[i], text=text, spans=spans, split="train", origin=origin)


def describe_synthesis(seed: int, splits: Iterable[str]) -> Synthesis:
    """Return what a dataset's facts say of the synthesis, so that somebody else can make the same documents."""
    from faker import VERSION

    return Synthesis(generator=f"Faker {VERSION}", seed=seed, locales=list(LOCALES), splits=list(splits))
