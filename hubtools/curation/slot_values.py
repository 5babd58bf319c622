"""Values for the slots of templates: people whom Faker invents, and what only looks like personal data.

Everything is seeded. The values of a split are its own: a name, an address or a number drawn for training is
never drawn for validation or test, so that a model cannot score by remembering values.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

from hubtools.curation.split import hash_to_fraction

if TYPE_CHECKING:
    from faker import Faker

# Share of the value space that belongs to each split.
_POOLS = {"test": (0.0, 0.15), "validation": (0.15, 0.3), "train": (0.3, 1.0)}

# English most of all, as prompts are; names and addresses of other countries are personal data too.
LOCALES = {"en_US": 10, "en_GB": 3, "en_CA": 2, "en_IN": 1, "es_ES": 1, "de_DE": 1, "fr_FR": 1, "it_IT": 1}

# Share of hosts, telephone numbers and social security numbers that nobody has: hosts of RFC 2606, numbers kept for
# fiction, areas, groups and serials that are not assigned. The rest keeps a model from taking these for the only ones.
RESERVED = 0.7

_RESERVED_PHONES = (
    "(%##) 555-01##", "%##-555-01##", "%##.555.01##", "%## 555 01##", "+1 %## 555 01##", "+1-%##-555-01##",
    "1-%##-555-01##", "%##55501##", "+1%##55501##", "(%##)555-01##", "%##-555-01## x###", "%##-555-01## ext. ##",
    "+44 20 7946 0###", "+44 7700 900###", "07700 900###", "+49 30 23125###", "+33 6 39 98 ## ##",
)  # fmt: skip
_PHONES = (
    "(%##) %##-####", "%##-%##-####", "%##.%##.####", "%## %## ####", "+1 %## %## ####", "+1-%##-%##-####",
    "1-%##-%##-####", "%#########", "+1%#########", "(%##)%##-####", "+44 20 7### ####", "+44 7### ######",
    "07### ######", "+49 30 #######", "+33 6 ## ## ## ##", "+34 6## ### ###", "+39 06 #### ####",
    "%##-%##-#### x###", "%##-%##-#### ext. ##", "+91 9#### #####",
)  # fmt: skip
# Areas from 900 on with a group up to 49: with the later groups they would be taxpayer numbers.
_RESERVED_SSNS = (
    "9##-0%-####", "9##-1#-####", "9##-2#-####", "9##-3#-####", "9##-4#-####", "666-##-####", "000-##-####",
    "###-00-####", "###-00-####", "###-##-0000", "###-##-0000",
)  # fmt: skip

# A fixed day: with Faker's "now" the same seed would give other dates tomorrow.
_UNTIL = datetime(2026, 1, 1)

# Of documents, names and addresses, where sources bring values for them.
_FROM_SOURCES = 0.5
_LOCAL_LETTERS = 0.15  # of the documents with names of a country

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
def _load_faker(locale: str) -> Faker:
    """Return the one generator of a locale: to make one takes longer than to fill a document."""
    from faker import Faker

    fake = Faker(locale)
    for provider in fake.get_providers():
        # it_IT lists its cities out of a set: another order in each process, and other people for one seed.
        if hasattr(provider, "cities"):
            provider.cities = sorted(provider.cities)
    return fake


def belongs_to(value: str, split: str, seed: int) -> bool:
    """Return whether a value is of the pool of a split: by its hash, so that whoever draws it first does not matter."""
    low, high = _POOLS[split]
    return low <= hash_to_fraction(value.casefold(), seed) < high


class SlotValues:
    """Values for the slots of one document: a method for each slot, which bears its name.

    Args:
        values: what sources bring for this split, by slot and by what goes together; they fill half of the documents.
    """

    def __init__(
        self,
        rng: random.Random,
        split: str,
        seed: int,
        values: Mapping[str, Mapping[str, Sequence[str]]] = MappingProxyType({}),
    ) -> None:
        self.rng, self.split, self.seed, self.values = rng, split, seed, values
        # One country a document: its names and its addresses go together.
        locale = rng.choices(list(LOCALES), weights=list(LOCALES.values()))[0]
        self.fake, self.us = _load_faker(locale), _load_faker("en_US")
        # Generators are shared by all documents: each document starts them anew, whatever came before it.
        for fake in (self.fake, self.us):
            fake.seed_instance(seed_of_fake := rng.getrandbits(64))
        # Reserved values are drawn apart: how many there are changes nothing else of a document.
        self.aside = random.Random(seed_of_fake)
        # Drawn only where there is something to choose: without such values a document stays what it was.
        countries = [country for country in values.get("first_name", {}) if country in values.get("last_name", {})]
        self.home = rng.choice(countries) if countries and rng.random() < _FROM_SOURCES else ""
        self.writes_local = bool(self.home) and rng.random() < _LOCAL_LETTERS

    def draw(self, make: Callable[[], str]) -> str:
        """Return a value of this split's pool."""
        value = make().strip()
        for _ in range(200):
            if belongs_to(value, self.split, self.seed):
                break
            value = make().strip()
        # After 200 tries a kind with few values may have none for this split: then one of another split has to do.
        return value

    def digits(self, pattern: str) -> str:
        """Return ``pattern`` with a digit for each ``#``, and one that is not zero for each ``%``."""
        return _fill_digits(pattern, self.rng)

    def moment(self, *patterns: str) -> str:
        """Return a date or a time; up to a fixed day, since Faker's "now" would give other text each second."""
        return str(self.us.date(self.rng.choice(patterns), end_datetime=_UNTIL))

    def _reserve(self, value: str, patterns: tuple[str, ...]) -> str:
        """Return ``value``, or most of the time one of ``patterns`` that nobody has, of this split's pool."""
        if self.aside.random() >= RESERVED:
            return value
        pattern = self.aside.choice(patterns)
        return self.draw(lambda: _fill_digits(pattern, self.aside))

    def _reserve_host(self, host: str) -> str:
        """Return ``host``, or most of the time one below a domain that RFC 2606 keeps for examples."""
        if self.aside.random() >= RESERVED:
            return host
        word = host.partition(".")[0]
        safe = self.aside.choice(("example.com", "example.org", "example.net"))
        top = self.aside.choice(("test", "invalid"))
        return self.aside.choice((safe, f"{word}.example", f"{word}.{top}", f"{word}.{safe}"))

    def blend_half(self, make: Callable[[], str]) -> str:
        """Return a value of this split's pool; for training half of them are blends of two.

        Such as Marena of Martin and Helena: Faker's lists are short, and a model that has learnt them by heart finds no
        other name.
        """
        value = self.draw(make)
        if self.split != "train" or self.rng.random() < 0.5:
            return value
        return blend(value, self.draw(make))

    def pick(self, slot: str) -> str | None:
        """Return a value of a source for a slot that is no part of a name; None where this document takes none."""
        choices = self.values.get(slot, {})
        if not choices or self.rng.random() >= _FROM_SOURCES:
            return None
        return self.rng.choice(choices[self.rng.choice([*choices])])

    def pick_name(self, slot: str, make: Callable[[], str], *, latin: bool = False) -> str:
        """Return a part of a name: of the document's country where it has one, else one that is made."""
        if not self.home:
            return self.blend_half(make)
        local = self.values.get(f"local_{slot}", {}).get(self.home, ())
        if local and self.writes_local and not latin:
            return self.rng.choice(local)
        return self.blend_half(lambda: self.rng.choice(self.values[slot][self.home]))

    def first_name(self) -> str:
        return self.pick_name("first_name", self.fake.first_name)

    def last_name(self) -> str:
        return self.pick_name("last_name", self.fake.last_name)

    def name(self) -> str:
        first, last = self.first_name(), self.last_name()
        # People write their names in several ways, and some write nothing in capitals.
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
        first, last = (
            re.sub(r"\W", "", part).lower()
            for part in (
                self.pick_name("first_name", self.fake.first_name, latin=True),
                self.pick_name("last_name", self.fake.last_name, latin=True),
            )
        )
        user = self.rng.choice(
            [
                f"{first}.{last}",
                f"{first}{last}",
                f"{first[:1]}{last}",
                f"{first}_{last}",
                f"{last}.{first}",
                f"{first}{self.digits('##')}",
                f"{first}.{last}{self.digits('%#')}",
                f"{last}{self.digits('###')}",
            ]
        )
        host = self.rng.choice([self.us.free_email_domain, self.us.domain_name, self.us.safe_domain_name])()
        address = f"{user}@{self._reserve_host(host)}"
        return address.title() if self.rng.random() < 0.03 else address

    def phone(self) -> str:
        pattern = self.rng.choice(_PHONES)
        return self._reserve(self.draw(lambda: self.digits(pattern)), _RESERVED_PHONES)

    def ssn(self) -> str:
        # Most with hyphens, as they are printed; some as they are typed.
        number = self._reserve(self.draw(self.us.ssn), _RESERVED_SSNS)
        form = self.rng.random()
        if form < 0.7:
            return number
        return number.replace("-", " ") if form < 0.85 else number.replace("-", "")

    def street_address(self) -> str:
        street = self.pick("street_address") or self.blend_half(self.fake.street_address).replace("\n", ", ")
        return street.lower() if self.rng.random() < 0.05 else street

    def city(self) -> str:
        return self.pick("city") or self.blend_half(self.fake.city)

    def state(self) -> str:
        return str(self.us.state_abbr() if self.rng.random() < 0.4 else self.us.state())

    def country(self) -> str:
        return (
            self.us.country()
            if self.rng.random() < 0.6
            else self.rng.choice(
                ["United States", "USA", "United Kingdom", "Canada", "Germany", "France", "Spain", "India", "Japan"]
            )
        )

    def zip(self) -> str:
        code = self.pick("zip") or self.draw(self.us.zipcode)
        return f"{code}-{self.digits('####')}" if self.rng.random() < 0.1 else code

    def full_address(self) -> str:
        return f"{self.street_address()}, {self.city()}, {self.us.state_abbr()} {self.zip()}"

    def address_block(self) -> str:
        lines = [self.street_address(), f"{self.city()}, {self.us.state_abbr()} {self.zip()}"]
        return "\n".join([*lines, self.country()] if self.rng.random() < 0.3 else lines)

    # What follows is not personal data, and much of it looks as if it were: a model that marks every number is wrong.
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
        host = self._reserve_host(self.us.domain_name())
        return f"https://{host}/{self.us.uri_path()}" if self.rng.random() < 0.6 else host

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
        # Each state has a pattern of its own; L stands for a letter.
        letter = self.rng.choice("ABCDEFGHJKLMNPRSTUVWY")
        pattern = self.rng.choice(
            [
                "#######",
                "########",
                "#########",
                "L#######",
                "L########",
                "L############",
                "L##############",
                "L###-####-####",
                "L###-###-##-###-#",
                "##-###-####",
                "####-##-####",
                "###-##-####L",
                "LL######L",
            ]
        )
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
        site = self._reserve_host(self.draw(self.fake.domain_name))
        form = self.rng.random()
        if form < 0.3:
            return site
        return f"www.{site}" if form < 0.5 else f"http{'s' * (form < 0.85)}://{'www.' * (form > 0.7)}{site}/"

    def year(self) -> str:
        return self.moment("%Y")

    def digit_date(self) -> str:
        """Return a date that looks like a number."""
        return self.moment("%Y%m%d", "%d%m%Y")

    def person_company(self) -> str:
        """Return a company called after people, whom it does not name."""
        first, second = self.last_name(), self.last_name()
        return self.rng.choice(
            [
                f"{first} & {second}",
                f"{first} and Sons",
                f"{first} Brothers",
                f"{self.first_name()}'s Bakery",
                f"{first} {second} LLP",
                f"{first}, {second} & Partners",
                f"{first} Motors",
                f"{first} Pharmaceuticals",
            ]
        )


def blend(one: str, other: str) -> str:
    """Return the first half of ``one`` with the second half of ``other``."""
    return one[: (len(one) + 1) // 2] + other[len(other) // 2 :].lstrip()


def _fill_digits(pattern: str, rng: random.Random) -> str:
    digit = {"#": "0123456789", "%": "123456789"}
    return "".join(rng.choice(digit[c]) if c in digit else c for c in pattern)
