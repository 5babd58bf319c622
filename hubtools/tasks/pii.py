"""pii: personal data in a prompt, as spans.

A model's tags are ``O`` first, then B- and I- of each type: the router drops index 0, and matches types by
prefix, so that no type's name may begin another's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from hubtools.heads import Spans
from hubtools.metrics.spans import ENTITY_F1
from hubtools.rows import read_text, sort_spans
from hubtools.spec import BadRow, CardTexts, Demo, Dropped, Example, LabelSet, Source, Span
from hubtools.task import TaskSpec
from hubtools.tasks.further import make_benchmark
from hubtools.tasks.pii_augmentation import AUGMENTATIONS
from hubtools.tasks.pii_sources import FURTHER

PRESIDIO_TYPES = (
    "PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "US_SSN", "STREET_ADDRESS", "GPE", "ZIP_CODE", "ORGANIZATION",
    "CREDIT_CARD", "DATE_TIME", "TITLE", "AGE", "NRP", "DOMAIN_NAME", "IBAN_CODE", "IP_ADDRESS",
    "US_DRIVER_LICENSE",
)  # fmt: skip

# What the Semantic Router acts on: its five types, three of presidio's places in one of them.
ROUTER_TYPES = {
    "PERSON": "PERSON",
    "EMAIL_ADDRESS": "EMAIL_ADDRESS",
    "PHONE_NUMBER": "PHONE_NUMBER",
    "US_SSN": "US_SSN",
    "STREET_ADDRESS": "LOCATION",
    "GPE": "LOCATION",
    "ZIP_CODE": "LOCATION",
}


# presidio-research's generator left some slots as they were.
_UNFILLED = re.compile(r"\{[a-z_]+\}")


def read_presidio_row(row: Mapping[str, object]) -> Example:
    """Read a row of presidio-research's synthetic set; offsets are verified against ``entity_value``."""
    text = read_text(row, "full_text")
    spans = []
    # Its text would be marked as if the slot were no personal data.
    if _UNFILLED.search(text):
        raise Dropped("a slot of the source's template is unfilled")
    marked = row.get("spans")
    if not isinstance(marked, list):
        raise BadRow("spans are not a list")
    for raw in marked:
        try:
            # A span that is no mapping fails here as well, by a TypeError.
            start, end = raw["start_position"], raw["end_position"]
            kind, value = raw["entity_type"], raw["entity_value"]
        except (TypeError, KeyError):
            raise BadRow("a span lacks a key") from None
        # type(), since True is an int.
        if type(start) is not int or type(end) is not int or not isinstance(kind, str):
            raise BadRow("a span has the wrong types")
        if kind not in PRESIDIO_TYPES:
            raise BadRow(f"unknown entity type {kind!r}")
        if start < 0 or text[start:end] != value:
            raise BadRow("span offsets do not give its value")
        # A missing cell of the generator's table, written out as a word.
        if value == "nan":
            raise Dropped("a value of the source is missing")
        spans.append(Span(start, end, kind))
    return Example(
        text=text,
        spans=sort_spans(text, spans),
        # All documents of a template stay in one split: they share its words.
        group=f"template {row['template_id']}" if "template_id" in row else "",
    )


def read_template_row(row: Mapping[str, object]) -> Example:
    """Read a template of our own; ``text`` still holds its slots, which curation fills."""
    return Example(text=read_text(row, "template"), group=str(row.get("id") or ""), rule="slots of a template")


PRESIDIO = Source(
    id="microsoft/presidio-research",
    files={"": ("synth_dataset_v2.json",)},
    columns=("full_text", "spans", "template_id"),
    row=read_presidio_row,
    license="cc-by-sa-3.0",
    attribution=(
        "microsoft/presidio-research (MIT), synth_dataset_v2.json at 7622dec. Its identities come from "
        "Fake Name Generator, CC BY-SA 3.0 US: a dataset derived from it keeps that licence."
    ),
    provenance="The source's own generator marked what it filled in; every span agrees with its text.",
    annotators="machine-generated",
    url=(
        "https://raw.githubusercontent.com/microsoft/presidio-research/"
        "7622dec1e5f7d25dc60b57c28c39f4c4af197018/data/{file}"
    ),
)
TEMPLATES = Source(
    id="hubtools/starter-pii",
    files={"": ("templates.jsonl",)},
    columns=("template", "id"),
    row=read_template_row,
    license="apache-2.0",
    attribution=(
        "Templates of hubtools' own writing with values of Faker: invented, though some may coincide with real ones."
    ),
    provenance="The generator marks what it fills in, so that spans are exact.",
    starter=True,
    annotators="machine-generated",
    templates=True,
    name="templates",
    share=0.7,
)

RARE_TYPES = replace(
    TEMPLATES,
    id="hubtools/supplement-pii",
    role="training",
    attribution="More templates of hubtools' own writing, for the types that are rare in presidio-research.",
    name="rare-types",
    share=0.7,
)

PII = TaskSpec(
    name="pii",
    title="Personal data",
    head=Spans(content="personal data", person="PERSON"),
    question="Does the prompt hold personal data, and where?",
    label_sets=(
        LabelSet("router5", tuple(dict.fromkeys(ROUTER_TYPES.values())), ROUTER_TYPES),
        LabelSet("presidio17", PRESIDIO_TYPES, {t: t for t in PRESIDIO_TYPES}),
    ),
    sources=(
        PRESIDIO,
        # Our templates serve twice: as the corpus where there is no public data, else beside it.
        replace(TEMPLATES, role="training"),
        RARE_TYPES,
        *FURTHER,
        make_benchmark(PRESIDIO, "pii"),
    ),
    starter=TEMPLATES,
    augmentations=AUGMENTATIONS,
    group_name="template",
    primary=ENTITY_F1,
    model_name="pii_classifier_{base}_presidio_token_model",
    mapping_file="pii_type_mapping.json",
    slot_of_router="personal_data",
    version="3",
    card=CardTexts(noun="prompt"),
    task_ids=("named-entity-recognition",),
    examples=(
        "Hi, this is Maria Jensen, you can reach me at maria.jensen@example.org or (212) 555-0187.",
        "My social security number is 536-22-8145 and I live at 81 Linden Avenue, Portland.",
        "Order 4481-2290 was shipped on March 3 with version 2.4.1 of the firmware.",
    ),
    demo=Demo(
        question="Does it hold personal data?",
        about=(
            "Where the prompt names a person, an e-mail address, a phone number, a US social security number or a "
            "place, so that it can be masked or kept in house."
        ),
        examples=(
            "My name is Maria Keller, you reach me at maria.keller@example.com or (212) 555-0147. "
            "My SSN is 078-05-1120 and I live in Portland.",
            "Please ship the parcel to 221 Baker Street, London, attention of John Watson.",
            "How many moons does Jupiter have?",
        ),
        example_titles=("A message with personal data",),
        action="mask personal data",
        topic="personal data",
        tool="Find personal data in a text: PERSON, EMAIL_ADDRESS, PHONE_NUMBER, US_SSN and LOCATION.",
    ),
)
