"""Texts of our own that robustness asks with: words, sentences of harmless documents, names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

from hubtools.curation.languages import find_language
from hubtools.heads.probes import Materials

_HERE = Path(__file__).parent
_LEAST_CHARACTERS = 40  # of a text whose language is found: of a shorter one it is guessed
_NAMES = 40  # of a country

# Beside those that the synthesis of training documents draws most names from, many that it does not know.
COUNTRIES = {
    "the United States": "en_US", "Britain": "en_GB", "India": "en_IN", "Spain": "es_ES", "Germany": "de_DE",
    "France": "fr_FR", "Italy": "it_IT", "Brazil": "pt_BR", "the Czech Republic": "cs_CZ", "Finland": "fi_FI",
    "Hungary": "hu_HU", "Indonesia": "id_ID", "the Netherlands": "nl_NL", "Poland": "pl_PL", "Romania": "ro_RO",
    "Sweden": "sv_SE", "Turkey": "tr_TR", "Ghana": "tw_GH", "Greece, in Greek": "el_GR",
    "Ukraine, in Cyrillic": "uk_UA", "Japan, in Japanese": "ja_JP", "Korea, in Korean": "ko_KR",
    "China, in Chinese": "zh_CN",
}  # fmt: skip
_FAMILY_NAME_FIRST = ("ja_JP", "ko_KR", "zh_CN")  # and no space between the two

OTHERS = {
    "businesses called after people": (
        "Harper & Sons", "Miller Brothers", "Ford Motors", "Johnson Controls", "Wells Fargo", "Marks & Spencer",
        "Jacobs Coffee", "Dr. Martens", "Levi Strauss", "Philip Morris", "Ben & Jerry's", "Dolce & Gabbana",
        "Arthur Andersen", "Goldman Sachs", "Morgan Stanley", "Bauer Media", "Becker Logistics", "Hugo Boss",
        "Ralph Lauren", "Thomas Cook", "Wagner Pizza", "Carl Zeiss", "Estelle's Bakery", "Oliver Bonacini Ltd",
    ),
    "other businesses": (
        "Northwind Traders", "Acme Corporation", "Blue Harbor Shipping", "Greenleaf Energy", "Summit Bank",
        "Pixel Forge Studios", "Redstone Mining", "Silverlake Partners", "Bright Horizons", "Cedar Grove Dairy",
        "Atlas Copco", "Sunrise Bakery", "General Electric", "Deutsche Bahn", "Nippon Steel", "Royal Dutch Shell",
        "Delta Airlines", "Orange", "Target", "Subway", "Santander", "Lufthansa", "Samsung", "Ryanair",
    ),
    "products": (
        "Galaxy Tab", "Air Jordan", "Windows Server", "Model Y", "Golf", "Corolla", "Jaguar", "Alexa", "Siri",
        "Lexus", "Nutella", "Coca-Cola", "Jack Daniel's", "Earl Grey", "Granny Smith", "PlayStation", "Kindle Fire",
        "Office Suite", "Aqua Pro", "Comet Backpack", "Trail Runner", "Macbook Air", "Post-it", "Excel",
    ),
    "places": (
        "Paris", "Lake Victoria", "Mount Everest", "Carson City", "San Jose", "Charlotte", "Austin", "Lincoln",
        "Jackson Heights", "Georgetown", "St. Petersburg", "Sydney", "Florence", "Victoria Station", "Jordan", "Chad",
        "Saint Lucia", "Madison Avenue", "Houston", "Denver", "Wellington", "Alexandria", "Washington", "Santa Monica",
    ),
}  # fmt: skip
CARRIERS = ("We compared the prices before we decided on {}.", "what do people online think about {} these days?")


def load_materials(limit: int, seed: int, count: Callable[[str], int]) -> Materials:
    """Return what probes are made of; see :class:`~hubtools.heads.probes.Materials` for the arguments."""
    topics = (_HERE / "harmless_sentences.txt").read_text("utf-8").strip().split("\n\n")
    return Materials(
        words=tuple((_HERE / "harmless_words.txt").read_text("utf-8").split()),
        topics=tuple(tuple(topic.splitlines()) for topic in topics),
        names=_list_names(),
        others=OTHERS,
        carriers=CARRIERS,
        limit=limit,
        seed=seed,
        count=cache(count),
        find_language=lambda text: find_language(text) if len(text) >= _LEAST_CHARACTERS else "",
    )


@cache
def _list_names() -> dict[str, tuple[str, ...]]:
    """Return full names of people whom Faker invents, by country."""
    from faker import Faker

    names = {}
    for country, locale in COUNTRIES.items():
        fake = Faker(locale)
        fake.seed_instance(0)
        pairs = [(str(fake.first_name()), str(fake.last_name())) for _ in range(_NAMES)]
        names[country] = tuple(
            last + first if locale in _FAMILY_NAME_FIRST else f"{first} {last}" for first, last in pairs
        )
    return names
