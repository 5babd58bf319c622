"""pii: real sentences with names and places, real prompts without personal data, and values for templates."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from hubtools.rows import read_text, sort_spans
from hubtools.spec import BadRow, Dropped, Example, Flawed, Source, Span
from hubtools.tasks.further import join_further, locate_on_github
from hubtools.tasks.intent import METATOOL
from hubtools.tasks.prompt_sources import ARENA

Parsed = Iterator[tuple[str, Mapping[str, object]]]

# --- UNER: sentences of the web and of newspapers --------------------------------------------------------------------

# In presidio-research's names. An organization is neither a person nor a place: that is what it teaches.
UNER_TYPES = {"PER": "PERSON", "LOC": "GPE", "ORG": "ORGANIZATION"}
# What UNER does not mark, and would teach to overlook.
_UNMARKED = re.compile(
    r"[\w.+-]+@[\w-]+\.\w+|\(?\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}|\b\d{3}-\d{4}\b|\+\d[\d ().-]{7,}|\b\d{3}-\d{2}-\d{4}\b|"
    r"\b\d{5}(-\d{4})?\b|\b\d+ (\w+ ){1,3}(street|st|avenue|ave|road|rd|drive|dr|lane|blvd|boulevard|way|court)\b|"
    r"\bp\.?o\.? box\b",
    re.IGNORECASE,
)


def parse_uner(files: Sequence[tuple[str, str]]) -> Parsed:
    """Yield each sentence as it was written, with its document, its words and their tags."""
    for name, text in files:
        document, sentence = "", ""
        words: list[tuple[str, str]] = []
        for number, line in enumerate([*text.splitlines(), ""], 1):
            if line.startswith("# newdoc id = "):
                document = line.partition(" = ")[2]
            elif line.startswith("# text = "):
                sentence = line.partition(" = ")[2]
            elif line and not line.startswith("#"):
                cells = line.split("\t")
                words.append((cells[1], cells[2]))
            elif not line and words:
                yield f"{name}:{number}", {"text": sentence, "document": document, "words": words}
                words = []


def read_uner_row(row: Mapping[str, object]) -> Example:
    """Return a sentence with its persons, places and organizations, grouped by its document."""
    text, words = read_text(row, "text"), row.get("words")
    if not isinstance(words, list):
        raise BadRow("words are not a list")
    spans: list[Span] = []
    at, last = 0, "O"
    for word, tag in words:
        start = text.find(word, at)
        # Nothing but white space stands between two words: else one of them was found too late.
        if start < 0 or text[at:start].strip():
            raise Flawed("a word does not stand in its sentence")
        at = start + len(word)
        kind = UNER_TYPES.get(tag[2:])
        if tag != "O" and (kind is None or tag[:2] not in ("B-", "I-")):
            raise BadRow(f"unknown tag {tag!r}")
        if tag.startswith("I-") and spans and last[2:] == tag[2:]:
            spans[-1] = replace(spans[-1], end=at)
        elif kind:
            spans.append(Span(start, at, kind))
        last = tag
    if _UNMARKED.search(text):
        raise Dropped("may hold personal data that is not marked")
    return Example(text, spans=sort_spans(text, spans), group=f"document {read_text(row, 'document')}")


# --- prompts without personal data -----------------------------------------------------------------------------------

# Words that begin sentences of prompts, or are written with a capital in the middle of one, and name nobody.
_PLAIN_WORDS = """
    a add after all also an and another answer any are as ask at bash be because been before below between both
    build but by calculate can change check choose code compare compute consider convert could create define
    describe design did django do docker does each edit else english even every example excel explain fill find
    first fix flutter for from function generate get github give given go google had has have he hello help her here
    hey hi his how however i if implement improve in input instead is it its java javascript just keep kubernetes
    last let linux list look make many maybe me more most my mysql name need never new next no node not note now of
    ok okay on once one only or other our output please postgres postgresql previously problem propose provide
    python question react read remember replace return rewrite rust say second see send set she should show since
    sir so solve some start still such suggest suppose sure take task tell thank thanks that the their them then
    there these they thing think this those three to today translate try two typescript under unity use user using
    very want was we were what when where which while who why will windows with within without would write yes yet
    you your
"""
_NAMING_NOBODY = frozenset(_PLAIN_WORDS.split())
_LOOKS_LIKE_DATA = re.compile(
    r"@\w|\d{3}[ .-]?\d{4}|\b\d{5}\b|\bmrs?\b|\bmy name\b|\bnames? (of|are|as|is)\b|\bcharacters?\b|\bstory\b|"
    r"\bi'?m from\b",
    re.IGNORECASE,
)
# Places in few letters.
_STATES = """
    US USA UK EU UAE NYC LA SF DC AZ CA CO CT DE FL GA IA IL KS KY MD MI MN MO MT NC ND NE NH NJ NM NV NY OH RI SC SD TN
    TX UT VA VT WA WI WV WY
"""
_SHORT_PLACES = frozenset(_STATES.split())


def read_plain_prompt(text: str) -> Example:
    """Return a prompt in which nothing can be a name; raises :class:`Dropped` for one with a word that may be."""
    if not text.isascii():
        raise Dropped("not in plain letters")
    if _UNMARKED.search(text) or _LOOKS_LIKE_DATA.search(text):
        raise Dropped("may hold personal data that is not marked")
    for word in re.findall(r"[A-Za-z']+", text):
        # Short words in capitals are abbreviations; a capital within a word is a name of code.
        abbreviation = word.isupper() and len(word) < 6 and word not in _SHORT_PLACES
        if word[0].isupper() and not abbreviation and word.lower().partition("'")[0] not in _NAMING_NOBODY:
            raise Dropped("a word with a capital may be a name")
    return Example(text, rule="no word that may be personal data")


def read_plain_arena_row(row: Mapping[str, object]) -> Example:
    """Return a user's prompt of the arena without personal data."""
    return read_plain_prompt(read_text(row, "prompt"))


def read_plain_query_row(row: Mapping[str, object]) -> Example:
    """Return a query of MetaTool without personal data."""
    return read_plain_prompt(read_text(row, "Query"))


# --- values ----------------------------------------------------------------------------------------------------------


def parse_names(files: Sequence[tuple[str, str]]) -> Parsed:
    """Yield each name with its slot and country, in Latin letters, and where they differ in those of its country."""
    for name, text in files:
        slot = "first_name" if "forenames" in name else "last_name"
        for number, row in enumerate(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))), 2):
            local, latin = row["Localized Name"].strip(), row["Romanized Name"].strip()
            yield f"{name}:{number}", {"slot": slot, "value": latin or local, "group": row["Country"]}
            if local and latin and local != latin:
                yield f"{name}:{number} local", {"slot": f"local_{slot}", "value": local, "group": row["Country"]}


def parse_addresses(files: Sequence[tuple[str, str]]) -> Parsed:
    """Yield the parts of each address by themselves: filled in, no document holds one that is real as a whole."""
    for name, text in files:
        for number, row in enumerate(json.loads(text)["addresses"]):
            for slot, key in (("street_address", "address1"), ("city", "city"), ("zip", "postalCode")):
                # Some lack a city.
                if row.get(key):
                    yield f"{name}[{number}].{key}", {"slot": slot, "value": row[key], "group": "US"}


def read_value_row(row: Mapping[str, object]) -> Example:
    """Return a value for a slot of templates."""
    value = read_text(row, "value").strip()
    if not re.search(r"[^\W_]", value) or len(value) > 80:
        raise Dropped("no name and no address")
    return Example(value, label=read_text(row, "slot"), group=read_text(row, "group"))


UNER_EWT = Source(
    id="UniversalNER/UNER_English-EWT",
    files={"": ("en_ewt-ud-dev.iob2", "en_ewt-ud-test.iob2")},
    columns=("text", "words"),
    row=read_uner_row,
    parse=parse_uner,
    license="cc-by-sa-4.0",
    attribution="Universal NER's English Web Treebank (Mayhew et al., 2024), CC BY-SA 4.0: blogs, mails, reviews.",
    provenance="Persons, places and organizations as the source marks them; hubtools finds its words in the original "
    "sentence. We leave out sentences with numbers or addresses that it does not mark.",
    url=locate_on_github("UniversalNER/UNER_English-EWT", "8ed072de2fd24022cc62458997fe96a8fe191ea4"),
    name="uner-ewt",
    label_sets=("router5",),
    annotators="expert-generated",
    caveat="Share-alike: what you make of it stays under CC BY-SA 4.0. Single sentences without their document; the "
    "marks hold for public persons as well.",
)
UNER_PUD = replace(
    UNER_EWT,
    id="UniversalNER/UNER_English-PUD",
    files={"": ("en_pud-ud-test.iob2",)},
    license="cc-by-sa-3.0",
    attribution="Universal NER's English PUD (Mayhew et al., 2024), CC BY-SA 3.0: news and Wikipedia.",
    url=locate_on_github("UniversalNER/UNER_English-PUD", "07ea0553144e3fcf3d6633efe2a075b725a0d262"),
    name="uner-pud",
    caveat="Share-alike: what you make of it stays under CC BY-SA. Sentences of newspapers, not of prompts.",
)
_PLAIN = "No span: a rule takes a prompt only where we know of each word with a capital that it names nobody."
PLAIN_PROMPTS = replace(
    ARENA,
    id="lmarena/arena-hard-auto:plain",
    row=read_plain_arena_row,
    provenance=_PLAIN,
    name="plain-prompts",
    label_sets=("router5",),
    caveat="The rule overlooks a name in small letters.",
)
PLAIN_QUERIES = replace(
    METATOOL,
    id="HowieHwong/MetaTool:plain",
    row=read_plain_query_row,
    role="whole",
    attribution="Queries of MetaTool (Huang et al., 2023), MIT.",
    provenance=_PLAIN,
    name="plain-queries",
    most=400,
    label_sets=("router5",),
    caveat="Language models wrote them; the rule overlooks a name in small letters.",
)
NAMES = Source(
    id="sigpwned/popular-names-by-country-dataset",
    files={"": ("common-forenames-by-country.csv", "common-surnames-by-country.csv")},
    columns=("slot", "value", "group"),
    row=read_value_row,
    parse=parse_names,
    license="cc0-1.0",
    attribution="Popular names by country (Andy Boothe, 2022), CC0: in Latin letters and others.",
    provenance="Values of the synthesis: it draws forename and surname of one country, each by itself.",
    url=locate_on_github("sigpwned/popular-names-by-country-dataset", "eb62e13d4d62dd96cdfae79d293a02066352205f"),
    role="values",
    name="names",
    annotators="other",
    caveat="The most frequent names of a country: the synthesis still invents rare ones.",
)
ADDRESSES = Source(
    id="EthanRBrown/rrad",
    files={"": ("addresses-us-all.min.json",)},
    columns=("slot", "value", "group"),
    row=read_value_row,
    parse=parse_addresses,
    license="pddl",
    attribution="Real random addresses (Ethan Brown), public domain, from OpenAddresses: streets, cities, codes.",
    provenance="Values of the synthesis: it draws a street, a city and a code, each by itself, for invented people.",
    url=locate_on_github("EthanRBrown/rrad", "f68664a73b4f589fc665ad2ae3c0ec66683c5295"),
    role="values",
    name="addresses",
    annotators="other",
    caveat="Of fifteen states of the USA and its capital.",
)

FURTHER = join_further(
    UNER_EWT,
    UNER_PUD,
    PLAIN_PROMPTS,
    PLAIN_QUERIES,
    NAMES,
    ADDRESSES,
)
