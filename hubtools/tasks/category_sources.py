"""category: questions that are no examination's, and everyday requests that belong to no domain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from hubtools.rows import read_labelled_row, read_text
from hubtools.spec import BadRow, Dropped, Example, Source
from hubtools.tasks import intent, intent_sources, prompt_sources
from hubtools.tasks.further import join_further, locate_on_github

# ExpertQA's fields that are one of the 14 domains. The others lie between several (education, architecture, climate).
FIELDS = {
    "Biology": "biology",
    "Business": "business",
    "Chemistry": "chemistry",
    "Culinary Arts": "other",
    "Economics": "economics",
    "Engineering and Technology": "engineering",
    "Healthcare / Medicine": "health",
    "History": "history",
    "Law": "law",
    "Literature": "other",
    "Mathematics": "math",
    "Medicine": "health",
    "Music": "other",
    "Philosophy": "philosophy",
    "Physics and Astronomy": "physics",
    "Psychology": "psychology",
    "Visual Arts": "other",
}
# Of engineering what is computer science, management, or anything else that people with this field work at.
_NO_ENGINEERING = re.compile(
    r"\b(software|information|it|computer|comput\w*|data|cloud|web|program\w*|developer|ai|artificial|cyber\w*|network\w*|"
    r"crm|consultant|manag\w*|business|analyst|tester|ux|tech(nical)? support|video|game\w*)\b",
    re.IGNORECASE,
)
_ON_COMPUTERS = re.compile(
    r"\b(software|comput\w*|super\w*computer\w*|data\w*|cloud|web\w*|program\w*|developers?|ai|machine learning|"
    r"algorithms?|apps?|code|coding|network\w*|bank\w*|customers?)\b",
    re.IGNORECASE,
)
# Questions of an expert's day that are about running a company.
_NO_HEALTH = re.compile(r"\b(supply chain|administration|manag\w*|billing|market\w*)\b", re.IGNORECASE)


def read_expertqa_row(row: Mapping[str, object]) -> Example:
    """Return an expert's question, labelled by the expert's field."""
    metadata = row.get("metadata")
    field = metadata.get("field") if isinstance(metadata, Mapping) else None
    if not isinstance(metadata, Mapping) or not isinstance(field, str):
        raise BadRow("metadata has no field")
    label = FIELDS.get(field)
    if label is None:
        raise Dropped("its field lies between several domains")
    within = str(metadata.get("specific_field") or "")
    question = read_text(row, "question").strip()
    if (label == "engineering" and (_NO_ENGINEERING.search(within) or _ON_COMPUTERS.search(question))) or (
        label == "health" and _NO_HEALTH.search(within)
    ):
        raise Dropped("its field lies between several domains")
    return Example(question, label, rule=f"table {field}")


def read_counsel_row(row: Mapping[str, object]) -> Example:
    """Return what somebody asks a counsellor."""
    if row.get("topic") in ("legal-regulatory", "professional-ethics", "workplace-relationships"):
        raise Dropped("its topic lies between several domains")
    return replace(prompt_sources.read_counsel(row), label="psychology", rule="one domain")


def read_agieval_row(row: Mapping[str, object]) -> Example:
    """Return a problem of mathematics without its options."""
    return Example(read_text(row, "question").strip(), "math", rule="one domain")


def read_everyday_row(row: Mapping[str, object]) -> Example:
    """Return an everyday utterance of snips as ``other``: it belongs to no domain."""
    return Example(read_text(row, "text"), "other", group=intent_sources.name_pattern(row), rule="everyday request")


def read_errand_row(row: Mapping[str, object]) -> Example:
    """Return an office errand of WorkBench as ``other``."""
    if "analytics" in read_text(row, "domains"):
        raise Dropped("charts of a company's figures may be business")
    group = f"template {read_text(row, 'base_template')}"
    return Example(read_text(row, "query"), "other", group=group, rule="everyday request")


# What one asks an assistant to do, in no domain; what it calculates, looks up or analyses may be in any.
_ERRANDS = ("communication", "scheduling")


def read_request_row(row: Mapping[str, object]) -> Example:
    """Return a request of Glaive for an errand as ``other``."""
    request = intent.read_glaive_row(row)
    if request.label not in _ERRANDS:
        raise Dropped("may be of any domain")
    return replace(request, label="other", rule="everyday request")


# Families of our own intent corpus that are of daily life and belong to no domain, beside all work on files.
_DAILY = frozenset(
    (
        "adjust_photo", "check_flight_status", "closing_remarks", "compliments_and_replies", "cooking_chat",
        "film_talk", "find_hotel_rooms", "find_images_and_clips", "find_nearby_places", "find_recipes",
        "find_restaurants", "find_song_lyrics", "generate_password", "generate_random_number", "get_event_listings",
        "get_fuel_prices", "get_grocery_prices", "get_lottery_results", "get_opening_hours",
        "get_parking_and_charging", "get_podcast_episodes", "get_restaurant_menu", "get_showtimes_and_events",
        "get_snow_and_water_conditions", "get_song_charts", "get_sports_scores", "get_streaming_availability",
        "get_sun_and_moon_times", "get_tide_times", "get_traffic_conditions", "get_train_times", "get_tv_guide",
        "get_weather_forecast", "imaginary_and_playful", "lists_and_ideas", "lookup_phone_number", "name_ideas",
        "pick_random", "recommend_from_catalogue", "retouch_photo", "riddles_and_games", "roll_and_flip",
        "search_inbox", "search_movie_details", "search_real_estate", "small_talk", "song_talk", "tell_jokes",
        "tell_story", "text_to_speech", "thanks_and_goodbye", "track_package", "travel_chat", "write_poem",
    )
)  # fmt: skip
# Troubles that people take to a counsellor: a story of one's own is not always an errand.
_TROUBLES = frozenset(("appointments_nerves", "emotional_support", "personal_troubles", "relationship_advice"))


def read_starter_request_row(row: Mapping[str, object]) -> Example:
    """Return a request of our own intent corpus: ``other`` for an errand or daily life, psychology for a trouble."""
    request = read_labelled_row(row)
    family = request.group.removeprefix("function ")
    if family in _TROUBLES:
        return replace(request, label="psychology", rule="personal trouble", split="")
    if request.label not in (*_ERRANDS, "file_operations") and family not in _DAILY:
        raise Dropped("may be of any domain")
    return replace(request, label="other", rule="everyday request", split="")


_EVERYDAY = "Every row has the label `other`: an errand or a chat that belongs to no domain."

EXPERTQA = Source(
    id="chaitanyamalaviya/ExpertQA",
    files={"": ("data/r1_data_anon.jsonl",)},
    columns=("question", "metadata"),
    row=read_expertqa_row,
    license="mit",
    attribution="ExpertQA (Malaviya et al., 2023), MIT: questions that experts ask in their own field.",
    provenance="A table from the field that its author works in: 17 of 34 fields are one of the domains.",
    url=locate_on_github("chaitanyamalaviya/ExpertQA", "1aa7ba81bd4c083c12ef1aa2fee338f6cb60fa87"),
    name="expertqa",
    annotators="expert-generated",
    caveat="The field is the author's, not always the question's; no computer science.",
)
COUNSEL = replace(
    prompt_sources.COUNSEL,
    row=read_counsel_row,
    provenance="Every row has the label psychology; we leave out topics of law and work.",
    most=600,
    caveat="People's own troubles; one domain, in one voice.",
)
AGIEVAL = Source(
    id="ruixiangcui/AGIEval",
    files={"": tuple(f"data/v1/{part}.jsonl" for part in ("sat-math", "math", "aqua-rat"))},
    columns=("question",),
    row=read_agieval_row,
    license="mit",
    attribution="AGIEval's parts of mathematics (Zhong et al., 2023), MIT. Do not score a model on it that learned "
    "from them.",
    provenance="Every row has the label math. We leave out its parts of the law school admission test: they are logic.",
    url=locate_on_github("ruixiangcui/AGIEval", "5c77d073fda993f1652eaae3cf5d04cc5fd21d40"),
    name="agieval",
    most=500,
    annotators="expert-generated",
    caveat="A benchmark, in the form of examinations.",
)
# All of snips' intents but PlayMusic, whose file is in two encodings at once.
_EVERYDAY_INTENTS = (
    "AddToPlaylist", "BookRestaurant", "GetWeather", "RateBook", "SearchCreativeWork", "SearchScreeningEvent",
)  # fmt: skip
EVERYDAY = replace(
    intent_sources.SNIPS,
    id="sonos/nlu-benchmark:everyday",
    files={"": intent_sources.list_snips_files(_EVERYDAY_INTENTS)},
    row=read_everyday_row,
    provenance=_EVERYDAY,
    name="everyday",
    most=300,
)
ERRANDS = replace(
    intent_sources.WORKBENCH,
    id="olly-styles/WorkBench:errands",
    columns=("query", "domains", "base_template"),
    row=read_errand_row,
    provenance=_EVERYDAY,
    name="errands",
    most=100,
)
REQUESTS = replace(
    intent.GLAIVE,
    id="glaiveai/glaive-function-calling-v2:requests",
    row=read_request_row,
    attribution="Requests of glaiveai/glaive-function-calling-v2, Apache-2.0, that ask for an errand.",
    provenance=_EVERYDAY,
    name="requests",
    most=200,
    caveat="Few functions: mails, reminders, events, bookings.",
)
STARTER_REQUESTS = replace(
    intent.STARTER,
    id="hubtools/starter-intent",
    role="training",
    row=read_starter_request_row,
    provenance="Errands and daily life have the label `other`, a few personal troubles psychology.",
    name="starter-requests",
    share=0.05,
    caveat="In our own voice.",
)

FURTHER = join_further(
    EXPERTQA,
    COUNSEL,
    AGIEVAL,
    EVERYDAY,
    ERRANDS,
    REQUESTS,
    STARTER_REQUESTS,
)
