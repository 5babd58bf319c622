"""intent: which kind of tool a prompt calls for, from Glaive's function calling conversations.

No column of the source says the kind. It follows from the name of the first function that the assistant
calls, by the table and the rules of :mod:`hubtools.tasks.intent_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from hubtools.heads import Classification
from hubtools.metrics.labels import MACRO_F1
from hubtools.rows import read_labelled_row, read_text
from hubtools.spec import CardTexts, Demo, Dropped, Example, Flawed, LabelSet, Source, Undecided
from hubtools.task import TaskSpec
from hubtools.tasks.further import locate_on_github, make_benchmark
from hubtools.tasks.intent_augmentation import AUGMENTATIONS
from hubtools.tasks.intent_rules import AMBIGUOUS, TABLE_VERSION, could_need_tool, decide_intent, to_snake_case
from hubtools.tasks.intent_sources import FURTHER

LABELS = (
    "information_retrieval",
    "data_transformation",
    "calculation",
    "communication",
    "scheduling",
    "file_operations",
    "analysis",
    "no_function_needed",
)

# A call is JSON only in part: its arguments often are not, and the name is all that is needed.
_CALL = re.compile(r"""<functioncall>\s*\{\s*["']name["']\s*:\s*["']([^"']+)["']""")
_CALL_TAG = "<functioncall>"
_TURN = re.compile(r"(?:^|\n)\s*(USER|ASSISTANT|FUNCTION RESPONSE):")
_END = "<|endoftext|>"

# An assistant that refuses, or asks back, has not answered without a tool.
_REFUSAL = re.compile(
    r"\b(i['’]?m sorry|i am sorry|sorry(?=,)|apologi([sz]e|es)|i['’]?m unable|i am unable|i can['’]?t|i cannot|"
    r"unfortunately|don['’]?t have (the )?(ability|capability|access)|not able to|as an ai)\b",
    re.IGNORECASE,
)


def split_turns(chat: str) -> list[tuple[str, str]]:
    """Return a Glaive conversation as (speaker, text) pairs, in order."""
    pieces = _TURN.split(chat)
    return [(who, text.replace(_END, "").strip()) for who, text in zip(pieces[1::2], pieces[2::2], strict=True)]


def read_glaive_row(row: Mapping[str, object]) -> Example:
    """Return the first user turn, labelled by the first function that the assistant calls.

    A conversation without a call is ``no_function_needed`` where the assistant's first answer is neither a
    refusal nor a question back, and the request is not one that a function could serve. What is called after a
    refusal answers another request.
    """
    # The functions on offer stand in ``system``; a row without it is no whole conversation.
    chat, system = row.get("chat"), row.get("system")
    if not isinstance(chat, str) or not isinstance(system, str):
        raise Flawed("chat or system is not a text")
    turns = split_turns(chat)
    if not turns or turns[0][0] != "USER" or not turns[0][1]:
        raise Dropped("no first user turn")
    text = turns[0][1]
    # Whatever a conversation turns to later, its first request is the prompt.
    answers = [words for who, words in turns if who == "ASSISTANT"]
    # A refusal says so at its beginning; further on the same words are part of an answer.
    if answers and _CALL_TAG not in answers[0] and _REFUSAL.search(answers[0][:300]):
        raise Dropped("answer is a refusal")
    calling = next((answer for answer in answers if _CALL_TAG in answer), "")
    if calling:
        call = _CALL.match(calling, calling.index(_CALL_TAG))
        if not call:
            raise Flawed("function call is malformed")
        return _label_by_function(text, call.group(1))
    if not answers or not answers[0]:
        raise Dropped("no answer")
    if answers[0].endswith("?"):
        raise Dropped("answer asks back")
    # Much of Glaive offers no function at all: that none was called says nothing of a request that one could serve.
    if could_need_tool(text):
        raise Dropped("asks for a tool's work, and none was called")
    return Example(text=text, label="no_function_needed", rule="no function called")


def _label_by_function(text: str, function: str) -> Example:
    """Return the prompt with the kind of tool that ``function`` is; raises :class:`Undecided` where no rule says."""
    # Two reasons, counted apart: a table that is to grow begins with the names that no rule matches.
    label, rule = decide_intent(function)
    if label == AMBIGUOUS:
        raise Undecided("function is ambiguous")
    if not label:
        raise Undecided("function matches no rule")
    # One group a function: its requests are alike, and a model is to be scored on functions that it has not seen.
    return Example(text=text, label=label, group=f"function {to_snake_case(function)}", rule=rule)


# Among MetaTool's queries stand answers of the model that wrote them, and remarks on its task.
_NO_REQUEST = re.compile(
    r"^\W*((yes|no|sure|certainly|absolutely|of course|here (is|are)|i can (definitely|certainly))\b|to \w+\b[^?]*,)|"
    r"\b(users?['’]? requests?|plugins?|chatbot feature)\b",
    re.IGNORECASE,
)


def read_metatool_row(row: Mapping[str, object]) -> Example:
    """Return a query of MetaTool, labelled by the name of its tool as if it were a function's."""
    text, tool = read_text(row, "Query"), read_text(row, "Tool")
    if _NO_REQUEST.search(text):
        raise Dropped("not a request")
    return _label_by_function(text, tool)


GLAIVE = Source(
    id="glaiveai/glaive-function-calling-v2",
    files={"": ("glaive-function-calling-v2.json",)},
    columns=("system", "chat"),
    row=read_glaive_row,
    license="apache-2.0",
    attribution=(
        "glaiveai/glaive-function-calling-v2 (Apache-2.0). Labels are weak: a versioned table over the name "
        "of the first function called, checked on a sample."
    ),
    provenance=(
        f"Weak labels: a table of rules (version {TABLE_VERSION}) maps the name of the first function that "
        "the assistant calls to one of eight kinds. A conversation without a call has the label "
        "`no_function_needed` where the assistant neither refuses nor asks back, and no function could serve the "
        "request. We drop and count what is ambiguous."
    ),
    annotators="machine-generated",
)
METATOOL = Source(
    id="HowieHwong/MetaTool",
    files={"": ("dataset/data/all_clean_data.csv",)},
    columns=("Query", "Tool"),
    row=read_metatool_row,
    license="mit",
    attribution=(
        "MetaTool (Huang et al., 2023), MIT. Language models wrote the queries for 199 tools; labels follow from "
        "the tool's name, as for functions."
    ),
    provenance=f"Weak labels: the same table of rules (version {TABLE_VERSION}), over the name of the query's tool.",
    url=locate_on_github("HowieHwong/MetaTool", "e1029bcfdb1039aff6ce24b548920d8bc25b1c3d"),
    role="training",
    name="metatool",
    share=0.3,
    caveat="Language models wrote them; one query in ten asks about the tool, and not for its work.",
)
STARTER = Source(
    id="hubtools/starter-intent",
    files={"": ("data.jsonl",)},
    columns=("text", "label"),
    row=read_labelled_row,
    license="apache-2.0",
    attribution="Requests of hubtools' own writing.",
    provenance="Its authors wrote each request for a function of its kind.",
    starter=True,
    annotators="expert-generated",
)

INTENT = TaskSpec(
    name="intent",
    title="Intent",
    head=Classification(),
    question="Which kind of tool, if any, does the prompt call for?",
    label_sets=(LabelSet("tools8", LABELS, {label: label for label in LABELS}),),
    sources=(
        GLAIVE,
        METATOOL,
        # Of our own writing: a corpus for the demo, and beside public data a part of what is trained on.
        replace(STARTER, role="training", name="starter", share=0.6),
        *FURTHER,
        make_benchmark(STARTER, "intent"),
    ),
    starter=STARTER,
    augmentations=AUGMENTATIONS,
    group_name="called function and near-duplicate cluster",
    primary=MACRO_F1,
    balance=0.5,  # without it the smaller sources are hardly seen beside Glaive
    model_name="intent_classifier_{base}_model",
    mapping_file="",
    version=f"2.{TABLE_VERSION}",
    card=CardTexts(noun="prompt"),
    task_ids=("intent-classification",),
    examples=(
        "Send an e-mail to Anna that the meeting moves to three.",
        "How much is an 18% tip on 84.50?",
        "Convert this list of names to JSON.",
    ),
    demo=Demo(
        question="Which kind of tool does it need?",
        about="Which of seven kinds of tool the prompt calls for, or that it calls for none.",
        examples=(
            "Send an e-mail to Anna that the meeting moves to 3 pm",
            "What is the monthly payment on a loan of 200,000 at 4% over 30 years?",
            "Tell me a joke",
        ),
        example_titles=("An errand",),
        topic="kind of tool",
        tool='Find the kind of tool a prompt calls for, such as "calculation", or "no_function_needed".',
        returns="The probability of each of the eight kinds, best first.",
    ),
)
