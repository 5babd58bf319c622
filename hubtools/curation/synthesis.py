"""Fill templates of documents with people whom Faker invents.

Everything is seeded. The values of a split are its own: a name, an address or a number drawn for training is
never drawn for validation or test, so that a model cannot score by remembering values.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from itertools import pairwise
from typing import Any

from hubtools.curation.split import hash_to_fraction
from hubtools.errors import SourceError
from hubtools.records.dataset import Synthesis
from hubtools.spec import Example, Span

_SLOT = re.compile(r"\{\{\s*(.*?)\s*\}\}")

# Share of the value space that belongs to each split.
_POOLS = {"test": (0.0, 0.15), "validation": (0.15, 0.3), "train": (0.3, 1.0)}

_LOCALES = {"en_US": 10, "en_GB": 3, "en_CA": 2, "en_IN": 1, "es_ES": 1, "de_DE": 1, "fr_FR": 1, "it_IT": 1}

_ROUNDS = 200  # of filling rare types: a type that stands in no template must not keep it going

_UNTIL = datetime(2026, 1, 1)

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

# Few enough that a model may know them all: nationalities, religions, political groups, as they stand in a sentence.
_NRP = (
    "American", "Argentinian", "Australian", "Austrian", "Belgian", "Brazilian", "British", "Bulgarian", "Canadian",
    "Chilean", "Chinese", "Colombian", "Croatian", "Cuban", "Czech", "Danish", "Dutch", "Egyptian", "English",
    "Estonian", "Ethiopian", "Filipino", "Finnish", "French", "German", "Ghanaian", "Greek", "Hungarian", "Icelandic",
    "Indian", "Indonesian", "Iranian", "Irish", "Israeli", "Italian", "Jamaican", "Japanese", "Jordanian", "Kenyan",
    "Korean", "Latvian", "Lebanese", "Lithuanian", "Malaysian", "Maltese", "Mexican", "Moroccan", "Nepalese",
    "Nigerian", "Norwegian", "Pakistani", "Peruvian", "Polish", "Portuguese", "Romanian", "Russian", "Scottish",
    "Serbian", "Slovak", "Slovenian", "Somali", "Spanish", "Sri Lankan", "Swedish", "Swiss", "Syrian", "Thai",
    "Tunisian", "Turkish", "Ukrainian", "Uruguayan", "Venezuelan", "Vietnamese", "Welsh", "Zambian",
    "Buddhist", "Catholic", "Christian", "Hindu", "Jewish", "Lutheran", "Methodist", "Muslim", "Orthodox", "Sikh",
    "Conservative", "Democratic", "Liberal", "Republican", "Social Democratic",
)  # fmt: skip


@cache
def _faker(locale: str) -> Any:
    from faker import Faker

    fake = Faker(locale)
    for provider in fake.get_providers():
        # it_IT lists its cities out of a set: another order in each process, and other people for one seed.
        if hasattr(provider, "cities"):
            provider.cities = sorted(provider.cities)
    return fake


class _Filler:
    """Values for the slots of one document."""

    def __init__(self, rng: random.Random, split: str, seed: int) -> None:
        self.rng, self.split, self.seed = rng, split, seed
        locale = rng.choices(list(_LOCALES), weights=list(_LOCALES.values()))[0]
        self.fake, self.us = _faker(locale), _faker("en_US")
        for fake in (self.fake, self.us):
            fake.seed_instance(rng.getrandbits(64))

    def draw(self, make: Callable[[], str]) -> str:
        """Return a value of this split's pool."""
        low, high = _POOLS[self.split]
        value = make().strip()
        for _ in range(200):
            if low <= hash_to_fraction(value.casefold(), self.seed) < high:
                break
            value = make().strip()
        return value

    def digits(self, pattern: str) -> str:
        """``#`` becomes a digit, ``%`` one that is not zero."""
        digit = {"#": "0123456789", "%": "123456789"}
        return "".join(self.rng.choice(digit[c]) if c in digit else c for c in pattern)

    def moment(self, *patterns: str) -> str:
        """Return a date or a time; up to a fixed day, since Faker's "now" would give other text each second."""
        return str(self.us.date(self.rng.choice(patterns), end_datetime=_UNTIL))

    def blend_half(self, make: Callable[[], str]) -> str:
        """Return a value of this split's pool; for training half of them are blends of two.

        Such as Marena of Martin and Helena: Faker's lists are short, and a model that has learnt them by heart finds no
        other name.
        """
        value = self.draw(make)
        if self.split != "train" or self.rng.random() < 0.5:
            return value
        return _blend(value, self.draw(make))

    def first_name(self) -> str:
        return self.blend_half(self.fake.first_name)

    def last_name(self) -> str:
        return self.blend_half(self.fake.last_name)

    def name(self) -> str:
        first, last = self.first_name(), self.last_name()
        form = self.rng.random()
        if form < 0.08:
            name = f"{first} {self.rng.choice('ABCDEFGHJKLMNPRSTW')}. {last}"
        elif form < 0.12:
            name = f"{last}, {first}"
        elif form < 0.15:
            name = f"{first} {last}-{self.last_name()}"
        else:
            name = f"{first} {last}"
        if self.rng.random() < 0.04:
            return name.upper()
        return name.lower() if self.rng.random() < 0.06 else name

    def email(self) -> str:
        first, last = (re.sub(r"\W", "", part).lower() for part in (self.first_name(), self.last_name()))
        user = self.rng.choice(
            [f"{first}.{last}", f"{first}{last}", f"{first[:1]}{last}", f"{first}_{last}", f"{last}.{first}",
             f"{first}{self.digits('##')}", f"{first}.{last}{self.digits('%#')}", f"{last}{self.digits('###')}"]
        )  # fmt: skip
        host = self.rng.choice([self.us.free_email_domain, self.us.domain_name, self.us.safe_domain_name])()
        address = f"{user}@{host}"
        return address.title() if self.rng.random() < 0.03 else address

    def phone(self) -> str:
        pattern = self.rng.choice(
            ["(%##) %##-####", "%##-%##-####", "%##.%##.####", "%## %## ####", "+1 %## %## ####", "+1-%##-%##-####",
             "1-%##-%##-####", "%#########", "+1%#########", "(%##)%##-####", "+44 20 7### ####", "+44 7### ######",
             "07### ######", "+49 30 #######", "+33 6 ## ## ## ##", "+34 6## ### ###", "+39 06 #### ####",
             "%##-%##-#### x###", "%##-%##-#### ext. ##", "+91 9#### #####"]
        )  # fmt: skip
        return self.draw(lambda: self.digits(pattern))

    def ssn(self) -> str:
        number = self.draw(self.us.ssn)
        form = self.rng.random()
        if form < 0.7:
            return number
        return number.replace("-", " ") if form < 0.85 else number.replace("-", "")

    def street_address(self) -> str:
        street = self.blend_half(self.fake.street_address).replace("\n", ", ")
        return street.lower() if self.rng.random() < 0.05 else street

    def city(self) -> str:
        return self.blend_half(self.fake.city)

    def state(self) -> str:
        return str(self.us.state_abbr() if self.rng.random() < 0.4 else self.us.state())

    def country(self) -> str:
        return self.us.country() if self.rng.random() < 0.6 else self.rng.choice(
            ["United States", "USA", "United Kingdom", "Canada", "Germany", "France", "Spain", "India", "Japan"]
        )  # fmt: skip

    def zip(self) -> str:
        code = self.draw(self.us.zipcode)
        return f"{code}-{self.digits('####')}" if self.rng.random() < 0.1 else code

    def full_address(self) -> str:
        return f"{self.street_address()}, {self.city()}, {self.us.state_abbr()} {self.zip()}"

    def address_block(self) -> str:
        lines = [self.street_address(), f"{self.city()}, {self.us.state_abbr()} {self.zip()}"]
        return "\n".join([*lines, self.country()] if self.rng.random() < 0.3 else lines)

    # What follows is not personal data, and much of it looks as if it were.
    def company(self) -> str:
        name = str(self.us.company())
        # "Stone-Davis" alone may be two people: not even a reader could tell that nobody is named.
        suffix = name.split()[-1] in ("Inc", "LLC", "Ltd", "PLC", "Group", "Sons")
        return name if suffix else f"{name} {self.rng.choice(['Inc', 'LLC', 'Ltd', 'Group', '& Co.'])}"

    def product(self) -> str:
        return self.rng.choice(
            ["Ridge 4 router", "NordLine desk", "Aqua Pro kettle", "Model 7 headset", "Comet backpack", "Pixelboard",
             "Trail Runner 2", "SoundBar Mini", "Everwarm jacket", "QuickCharge cable", "Office Suite",
             "Cloud Basic plan", "Delta drill",
             "Premium membership", "Family plan", "GardenMate hose", "Studio monitor", "Vista tent"]
        )  # fmt: skip

    def order_number(self) -> str:
        return self.digits(
            self.rng.choice(["####-####", "ORD-######", "#%#####", "A%######", "###-#######-#######", "#%########"])
        )

    def invoice_number(self) -> str:
        return self.digits(self.rng.choice(["INV-####", "INV-20##-####", "%#####", "R-####/##", "%####-##"]))

    def date(self) -> str:
        return self.moment("%Y-%m-%d", "%m/%d/%Y", "%d.%m.%Y", "%B %d, %Y", "%d %b %Y", "%m-%d-%y")

    def time(self) -> str:
        return self.moment("%H:%M", "%I:%M %p", "%H:%M:%S")

    def amount(self) -> str:
        return self.rng.choice(["$", "USD ", "€", "£"]) + f"{self.rng.uniform(3, 9000):,.2f}"

    def version(self) -> str:
        return self.digits(self.rng.choice(["%.#.#", "v%.##", "%.#.#-rc%", "20##.%"]))

    def url(self) -> str:
        return (
            f"https://{self.us.domain_name()}/{self.us.uri_path()}"
            if self.rng.random() < 0.6
            else self.us.domain_name()
        )

    def ip(self) -> str:
        return str(self.us.ipv4())

    def number(self) -> str:
        return self.digits(self.rng.choice(["%", "%#", "%##", "%,###", "%#####"]))

    def percent(self) -> str:
        return self.digits(self.rng.choice(["%%", "#.%%", "%#%"]))[:-1] + "%"

    def job_title(self) -> str:
        return str(self.us.job())

    def weekday(self) -> str:
        return self.moment("%A")

    def month(self) -> str:
        return self.moment("%B")

    def tracking_number(self) -> str:
        return self.digits(self.rng.choice(["1Z999AA1########", "%###########", "RB#########US", "%### #### ####"]))

    def isbn(self) -> str:
        return str(self.us.isbn13())

    def credit_card(self) -> str:
        number = self.us.credit_card_number("visa16")
        return number if self.rng.random() < 0.5 else " ".join(number[i : i + 4] for i in range(0, 16, 4))

    # Types that the router's five leave out; the label sets with all of presidio's types have them.
    def title(self) -> str:
        return self.rng.choice(["Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "Mr", "Mrs", "Ms", "Dr", "Miss", "Sir", "Rev."])

    def age(self) -> str:
        return str(self.rng.randint(18, 97))

    def nrp(self) -> str:
        name = self.rng.choice(_NRP)
        return name.lower() if self.rng.random() < 0.1 else name

    def iban(self) -> str:
        number = self.draw(self.fake.iban)
        form = self.rng.random()
        if form < 0.35:
            return " ".join(number[i : i + 4] for i in range(0, len(number), 4))
        return number.lower() if form > 0.9 else number

    def driver_license(self) -> str:
        letter = self.rng.choice("ABCDEFGHJKLMNPRSTUVWY")
        pattern = self.rng.choice(
            ["#######", "########", "#########", "L#######", "L########", "L############", "L##############",
             "L###-####-####", "L###-###-##-###-#", "##-###-####", "####-##-####", "###-##-####L", "LL######L"]
        )  # fmt: skip
        return self.draw(lambda: self.digits(pattern.replace("L", letter)))

    def card(self) -> str:
        number = self.draw(self.us.credit_card_number)
        form = self.rng.random()
        if form < 0.5:
            return number
        # American Express groups its 15 digits 4-6-5.
        cuts = (0, 4, 10, 15) if len(number) == 15 else (*range(0, len(number), 4), len(number))
        parts = [number[a:b] for a, b in pairwise(cuts)]
        return (" " if form < 0.8 else "-").join(parts)

    def ip_address(self) -> str:
        return str(self.us.ipv6() if self.rng.random() < 0.3 else self.us.ipv4())

    def website(self) -> str:
        site = self.draw(self.fake.domain_name)
        form = self.rng.random()
        if form < 0.3:
            return site
        return f"www.{site}" if form < 0.5 else f"http{'s' * (form < 0.85)}://{'www.' * (form > 0.7)}{site}/"

    def year(self) -> str:
        return self.moment("%Y")

    def digit_date(self) -> str:
        """A date that looks like a number."""
        return self.moment("%Y%m%d", "%d%m%Y")

    def person_company(self) -> str:
        """A company called after people, whom it does not name."""
        first, second = self.last_name(), self.last_name()
        return self.rng.choice(
            [f"{first} & {second}", f"{first} and Sons", f"{first} Brothers", f"{self.first_name()}'s Bakery",
             f"{first} {second} LLP", f"{first}, {second} & Partners", f"{first} Motors", f"{first} Pharmaceuticals"]
        )  # fmt: skip


def _blend(one: str, other: str) -> str:
    """The first half of ``one`` with the second half of ``other``."""
    return one[: (len(one) + 1) // 2] + other[len(other) // 2 :].lstrip()


def fill_template(template: str, rng: random.Random, split: str, seed: int) -> tuple[str, tuple[Span, ...]]:
    """Return one document: the template's text with values in its slots, and where they stand.

    Raises:
        SourceError: a slot that is not known.
    """
    filler = _Filler(rng, split, seed)
    text, last, pieces = "", 0, []
    for match in _SLOT.finditer(template):
        slot = match.group(1)
        make = vars(_Filler).get(slot)
        if make is None or slot in ("draw", "digits", "moment", "blend_half") or slot.startswith("_"):
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
        if _continues(previous, slot) and re.fullmatch(r"[,\s]{1,3}", text[spans[-1].end : start]):
            spans[-1] = Span(spans[-1].start, end, spans[-1].type)
        elif slot in SLOT_TYPES:
            spans.append(Span(start, end, SLOT_TYPES[slot]))
        previous = slot
    return text, tuple(spans)


def _continues(previous: str, slot: str) -> bool:
    return any(previous in parts and slot in parts and parts.index(previous) < parts.index(slot) for parts in _PARTS)


def vary_template(template: str, others: Sequence[str], rng: random.Random) -> str:
    """Return a template in other words: cut to a part, with words of ``others`` in place of some of its own, some
    capitals changed, or another template behind it. Slots stay as they are.

    A few hundred templates are few: a model that has seen each of them many times takes their very words for the
    sign of a name, and takes any word that they lack for a name: so some words are invented, halves of two others.
    For the training split only.
    """
    pieces = re.split(r"(\s+)", template)
    words = [i for i in range(0, len(pieces), 2) if pieces[i]]
    if len(words) > 6 and rng.random() < 0.4:
        first, last = sorted(rng.sample(words, 2))
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
            pieces[i] = _blend(pieces[i], rng.choice(rng.choice(others).split()))
        if "{" in pieces[i] or "}" in pieces[i]:  # a slot of another template would bring personal data of its own
            pieces[i] = "and"
    text = "".join(pieces)
    if rng.random() < 0.15:
        text += rng.choice(["\n", " ", "\n\n", " - "]) + rng.choice(others)
    return text


def fill_templates(templates: Iterable[Example], split: str, copies: int, seed: int) -> Iterator[Example]:
    """Yield ``copies`` documents of each template; a template without slots gives one.

    In the training split every copy but the first is of the template blend_half.
    """
    templates = list(templates)
    texts = [template.text for template in templates]
    for template in templates:
        times = copies if _SLOT.search(template.text) else max(1, copies // 3) if split == "train" else 1
        for number in range(times):
            rng = random.Random(f"{seed}:{template.group}:{number}")
            source = vary_template(template.text, texts, rng) if split == "train" and number else template.text
            text, spans = fill_template(source, rng, split, seed)
            yield replace(template, text=text, spans=spans, split=split, origin=f"made of {template.origin}")


def fill_rare_types(
    templates: Iterable[Example], have: Mapping[str, int], labels: Mapping[str, str], least: int, seed: int
) -> Iterator[Example]:
    """Yield further documents for the training split, until it holds ``least`` spans of each label.

    Args:
        have: spans of each label that the training split holds already.
        labels: the label of each entity type that has one.

    Of the templates with a rare label the half is filled that holds most rare ones: few documents, many spans.
    """
    templates = list(templates)
    texts = [template.text for template in templates]
    slot_labels = [[labels.get(SLOT_TYPES.get(slot, ""), "") for slot in _SLOT.findall(text)] for text in texts]
    counts = Counter(have)
    for number in range(_ROUNDS):
        lacking = {label for label in labels.values() if counts[label] < least}
        rare = [sum(label in lacking for label in slots) for slots in slot_labels]
        chosen = set()
        for label in sorted(lacking):
            with_it = sorted((i for i, slots in enumerate(slot_labels) if label in slots), key=lambda i: (-rare[i], i))
            chosen.update(with_it[: (len(with_it) + 1) // 2])
        if not chosen:
            return
        for i in sorted(chosen):
            if all(counts[label] >= least for label in slot_labels[i] if label in lacking):
                continue
            rng = random.Random(f"{seed}:{templates[i].group}:more {number}")
            text, spans = fill_template(vary_template(texts[i], texts, rng), rng, "train", seed)
            counts.update(labels[span.type] for span in spans if span.type in labels)
            origin = f"made of {templates[i].origin}"
            yield replace(templates[i], text=text, spans=spans, split="train", origin=origin)


def describe_synthesis(seed: int, splits: Iterable[str]) -> Synthesis:
    """Return what a dataset's facts say of the synthesis, so that somebody else can make the same documents."""
    from faker import VERSION

    return Synthesis(generator=f"Faker {VERSION}", seed=seed, locales=list(_LOCALES), splits=list(splits))
