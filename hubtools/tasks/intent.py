"""intent: which kind of tool a prompt calls for, from Glaive's function calling conversations.

No column of the source says the kind. It follows from the name of the first function that the assistant
calls, by a versioned table: exact names first, then rules over the words of a name. A name that neither
decides is dropped and counted. A wrong guess would teach the model, a dropped row costs little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from hubtools.spec import Dropped, Example, LabelSet, Metric, Source, TaskSpec
from hubtools.tasks.rows import labelled_row

LABELS = (
    "information_retrieval", "data_transformation", "calculation", "communication", "scheduling",
    "file_operations", "analysis", "no_function_needed",
)  # fmt: skip

TABLE_VERSION = "1"

AMBIGUOUS = "ambiguous"

# Names whose words mislead, or that fit no kind. "ambiguous" drops the row.
EXACT: dict[str, str] = {
    "book_flight": "scheduling",
    "book_hotel": "scheduling",
    "buy_product": AMBIGUOUS,
    "check_availability": AMBIGUOUS,
    "check_email": "communication",
    "check_word_count": "analysis",
    "count_words": "analysis",
    "create_invoice": "file_operations",
    "create_playlist": AMBIGUOUS,
    "create_user": AMBIGUOUS,
    "create_user_account": AMBIGUOUS,
    "create_user_profile": AMBIGUOUS,
    "find_shortest_path": "calculation",
    "generate_invoice": "file_operations",
    "get_random_fact": "information_retrieval",
    "get_random_joke": AMBIGUOUS,
    "get_translation": "data_transformation",
    "play_music": AMBIGUOUS,
    "track_calories": AMBIGUOUS,
}

# The first rule that matches decides: the object of a name says more than its verb.
RULES: tuple[tuple[str, str], ...] = (
    (r"(^|_)(calendar|event|reminder|alarm|appointment|meeting|schedule|todo|to_do|task|timer|booking|reservation)",
     "scheduling"),
    (r"^(remind|reserve|book|reschedule)_", "scheduling"),
    (r"^(send|post|reply|notify|call|forward|tweet|message|broadcast|email|share|publish)(_|$)", "communication"),
    (r"^(analy[sz]e|detect|classify|summari[sz]e|evaluate|assess|check_(grammar|spelling|plagiarism)|extract|"
     r"recogni[sz]e|identify|proofread|review)(_|$)", "analysis"),
    (r"sentiment|plagiarism|grammar", "analysis"),
    (r"^(calculate|compute|calc|estimate|solve|sum|add_numbers|multiply|divide)(_|$)|_calculator$", "calculation"),
    (r"^(convert|translate|transform|encode|decode|encrypt|decrypt|format|reverse|resize|parse|compress_(text|image)|"
     r"generate_(qr|barcode|password|random|username|uuid|hash|anagram))", "data_transformation"),
    (r"(^|_)(file|files|folder|directory|document|note|notes|pdf|backup)(_|$)", "file_operations"),
    (r"^(upload|download|save|rename|zip|unzip)(_|$)", "file_operations"),
    (r"^(search|find|get|fetch|lookup|look_up|retrieve|track|query|list|check|browse|recommend|suggest|locate)(_|$)",
     "information_retrieval"),
)  # fmt: skip

_COMPILED = tuple((re.compile(pattern), label) for pattern, label in RULES)

_CALL = re.compile(r"""<functioncall>\s*\{\s*["']name["']\s*:\s*["']([^"']+)["']""")
_MARK = "<functioncall>"
_TURN = re.compile(r"(?:^|\n)\s*(USER|ASSISTANT|FUNCTION RESPONSE):")
_END = "<|endoftext|>"

# An assistant that refuses, or asks back, has not answered without a tool.
_REFUSAL = re.compile(
    r"\b(i['’]?m sorry|i am sorry|sorry(?=,)|apologi([sz]e|es)|i['’]?m unable|i am unable|i can['’]?t|i cannot|"
    r"unfortunately|don['’]?t have (the )?(ability|capability|access)|not able to|as an ai)\b",
    re.IGNORECASE,
)


def snake_case(function: str) -> str:
    """One spelling for a function: ``getStockPrice``, ``get-stock-price`` and ``get_stock_price`` are the same."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[-\s]+", "_", function.strip()).lower()


def intent_of(function: str) -> tuple[str, str]:
    """The kind of tool ``function`` is, and which rule said so.

    Returns:
        (label, rule): ``label`` is one of :data:`LABELS`, :data:`AMBIGUOUS` where the table says that the name
        fits no kind, or "" where nothing matched; ``rule`` is "exact", the pattern, or "".
    """
    name = snake_case(function)
    if name in EXACT:
        return EXACT[name], "exact"
    for pattern, label in _COMPILED:
        if pattern.search(name):
            return label, pattern.pattern
    return "", ""


def turns_of(chat: str) -> list[tuple[str, str]]:
    """A Glaive conversation as (speaker, text) pairs, in order."""
    pieces = _TURN.split(chat)
    return [(who, text.replace(_END, "").strip()) for who, text in zip(pieces[1::2], pieces[2::2], strict=True)]


def glaive_row(row: Mapping[str, Any]) -> Example:
    """The first user turn, labelled by the first function that the assistant calls.

    A conversation without a call is ``no_function_needed`` where the assistant's first answer is neither a
    refusal nor a question back. What is called after a refusal answers another request.
    """
    chat, system = row.get("chat"), row.get("system")
    if not isinstance(chat, str) or not isinstance(system, str):
        raise Dropped("chat or system is not a text")
    turns = turns_of(chat)
    if not turns or turns[0][0] != "USER" or not turns[0][1]:
        raise Dropped("no first user turn")
    text = turns[0][1]
    answers = [said for who, said in turns if who == "ASSISTANT"]
    if answers and _MARK not in answers[0] and _REFUSAL.search(answers[0][:300]):
        raise Dropped("answer is a refusal")
    calling = next((said for said in answers if _MARK in said), "")
    if calling:
        call = _CALL.match(calling, calling.index(_MARK))
        if not call:
            raise Dropped("function call is malformed")
        label, _ = intent_of(call.group(1))
        if label == AMBIGUOUS:
            raise Dropped("function is ambiguous")
        if not label:
            raise Dropped("function matches no rule")
        return Example(text=text, label=label, group=f"function {snake_case(call.group(1))}")
    if not answers or not answers[0]:
        raise Dropped("no answer")
    if answers[0].endswith("?"):
        raise Dropped("answer asks back")
    return Example(text=text, label="no_function_needed")


INTENT = TaskSpec(
    name="intent",
    title="Intent",
    kind="sequence",
    question="Which kind of tool, if any, does the prompt call for?",
    label_sets=(LabelSet("tools8", LABELS, {label: label for label in LABELS}),),
    source=Source(
        id="glaiveai/glaive-function-calling-v2",
        files={"": ("glaive-function-calling-v2.json",)},
        columns=("system", "chat"),
        row=glaive_row,
        license="apache-2.0",
        attribution=(
            "glaiveai/glaive-function-calling-v2 (Apache-2.0). Labels are weak: a versioned table over the name "
            "of the first function called, checked on a sample."
        ),
        provenance=(
            f"Weak labels: a table of rules (version {TABLE_VERSION}) maps the name of the first function that the "
            "assistant calls to one of eight kinds; a conversation without a call is `no_function_needed` where the "
            "assistant neither refuses nor asks back. What is ambiguous is dropped and counted."
        ),
    ),
    starter=Source(
        id="hubtools/starter-intent",
        files={"": ("data.jsonl",)},
        columns=("text", "label"),
        row=labelled_row,
        license="apache-2.0",
        attribution="Requests of hubtools' own writing.",
        provenance="Each request was written for a function of its kind.",
        starter=True,
    ),
    group_name="called function and near-duplicate cluster",
    primary=Metric("macro_f1", "macro F1"),
    model_name="intent_classifier_{base}_model",
    mapping_file="",
    threshold=0.5,
    version=f"1.{TABLE_VERSION}",
    task_ids=("intent-classification",),
    examples=(
        "Send an e-mail to Anna that the meeting moves to three.",
        "How much is an 18% tip on 84.50?",
        "Convert this list of names to JSON.",
    ),
)
