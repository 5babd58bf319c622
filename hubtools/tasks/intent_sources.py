"""intent: requests of further collections, labelled by a table of rules for each; what is ambiguous is left out."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from hubtools.rows import read_text
from hubtools.spec import BadRow, Example, Flawed, Source, Undecided
from hubtools.tasks import prompt_sources
from hubtools.tasks.further import join_further, locate_on_github
from hubtools.tasks.intent_rules import could_need_tool

Parsed = Iterator[tuple[str, Mapping[str, object]]]


# --- snips: what one says to a voice assistant -----------------------------------------------------------------------

# Of its seven intents those that are one of the eight kinds; players of music and ratings of books are none.
SNIPS_LABELS = {
    "BookRestaurant": "scheduling",  # by the convention for bookings
    "GetWeather": "information_retrieval",
    "SearchCreativeWork": "information_retrieval",
    "SearchScreeningEvent": "information_retrieval",
}
_PLAYS = re.compile(
    r"^\W*(please\W+|can you\W+|i('d| would)? (like|want|need)( you)? to\W+)*(play|watch|hear|listen)\b", re.I
)


def parse_snips(files: Sequence[tuple[str, str]]) -> Parsed:
    """Yield each utterance with its intent, and with its slots' names in place of their values."""
    for name, text in files:
        for intent, utterances in json.loads(text).items():
            for number, utterance in enumerate(utterances):
                pieces = utterance["data"]
                pattern = "".join(f"<{piece['entity']}>" if "entity" in piece else piece["text"] for piece in pieces)
                said = "".join(piece["text"] for piece in pieces).strip()
                yield f"{name}[{number}]", {"intent": intent, "text": said, "pattern": pattern}


def read_snips_row(row: Mapping[str, object]) -> Example:
    """Return an utterance, grouped with those that differ in the values of slots alone."""
    intent, text = read_text(row, "intent"), read_text(row, "text")
    label = SNIPS_LABELS.get(intent)
    if label is None or _PLAYS.search(text):
        raise Undecided("its intent is none of the eight kinds")
    return Example(text, label, group=name_pattern(row), rule=f"table {intent}")


def name_pattern(row: Mapping[str, object]) -> str:
    """Return the group of a snips utterance."""
    return "pattern " + " ".join(re.findall(r"[\w<>]+", read_text(row, "pattern").lower()))


def list_snips_files(intents: Iterable[str]) -> tuple[str, ...]:
    """Return the files that hold the utterances of some intents of snips."""
    return tuple(f"2017-06-custom-intent-engines/{intent}/train_{intent}_full.json" for intent in intents)


SNIPS = Source(
    id="sonos/nlu-benchmark",
    files={"": list_snips_files(SNIPS_LABELS)},
    columns=("text", "intent"),
    row=read_snips_row,
    parse=parse_snips,
    license="cc0-1.0",
    attribution="Snips' custom intent engines (Coucke et al., 2018), CC0: what people say to a voice assistant.",
    provenance="A table from its intents: some book a restaurant (scheduling); others look up weather, films and "
    "their times (information_retrieval). We leave out music and ratings.",
    url=locate_on_github("sonos/nlu-benchmark", "b86ac7f1577868c42158d0dec77db50956046696"),
    name="snips",
    most=1000,
    annotators="crowdsourced",
    caveat="Many near copies, with places and titles that nobody would ask for.",
)

# --- banking: questions to a bank ------------------------------------------------------------------------------------

# Questions that a look-up of the bank's terms answers. The other intents report a trouble, or ask for a change.
BANKING_LOOKUPS = frozenset(
    (
        "age_limit", "atm_support", "card_acceptance", "country_support", "disposable_card_limits", "exchange_charge",
        "exchange_rate", "fiat_currency_support", "supported_cards_and_currencies", "top_up_by_bank_transfer_charge",
        "top_up_by_card_charge", "top_up_limits",
    )
)  # fmt: skip
# Told as one's own story, and no question: whoever reads it cannot say what is to be looked up.
_QUESTION = re.compile(r"\?|^\W*(what|which|how|is|are|do|does|can|will|where|tell me|list)\b", re.I)


def read_banking_row(row: Mapping[str, object]) -> Example:
    """Return a question to a bank that a look-up answers, grouped by its intent."""
    intent, text = read_text(row, "category"), read_text(row, "text").strip()
    if intent not in BANKING_LOOKUPS or not _QUESTION.search(text):
        raise Undecided("its intent is none of the eight kinds")
    return Example(text, "information_retrieval", group=f"banking {intent}", rule=f"table {intent}")


BANKING = Source(
    id="PolyAI-LDN/task-specific-datasets",
    files={"": ("banking_data/train.csv",)},
    columns=("text", "category"),
    row=read_banking_row,
    license="cc-by-4.0",
    attribution="Banking77's training split (Casanueva et al., 2020), CC BY 4.0: questions to a bank.",
    provenance="A table from its 77 intents: twelve ask for a bank's terms (information_retrieval); we leave "
    "out all others.",
    url=locate_on_github("PolyAI-LDN/task-specific-datasets", "57ec275d8078af65b7731c2a98be812d844a6d6b"),
    name="banking",
    most=400,
    annotators="crowdsourced",
    caveat="One class alone, and one bank's products in every row.",
)

# --- nl2bash: command lines in words ---------------------------------------------------------------------------------

_FILES = {
    "chgrp", "chmod", "chown", "cp", "find", "gunzip", "gzip", "ln", "locate", "ls", "mkdir", "mv", "rm", "rmdir",
    "rsync", "split", "tar", "touch", "tree", "unzip", "zip",
}  # fmt: skip
_CONTENT = re.compile(r"\b(grep|egrep|fgrep|zgrep|awk|sed|perl|cut|sort|tr|head|tail|cat|md5sum|du|ssh|echo|xargs)\b")
_COUNTS = re.compile(r"\b(wc|uniq\s+-\w*c)\b|^\s*(diff|comm|cmp)\b")
_ASKS_TO_COUNT = re.compile(r"^(count|calculate|compare|show the differences?|report the number|print the number|"
                            r"display the number|find (out )?the number)\b", re.I)  # fmt: skip
_ASKS_FOR_FILES = re.compile(
    r"^(recursively )?(find|search|list|remove|delete|create|copy|move|rename|archive|compress|extract|unzip|change|"
    r"set|make|show|display|print|split|locate|force|forcefully)\b",
    re.I,
)
_NAMES_FILES = re.compile(
    r"\b(files?|director(y|ies)|folders?|symlinks?|symbolic links?|hard ?links?|archives?)\b", re.I
)
_COUNTED = re.compile(r"\b(files?|lines?|words?|characters|directories|folders)\b", re.IGNORECASE)
# What stands in one command line alone.
_PARTICULAR = re.compile(r"\"[^\"]*\"|'[^']*'|\S*[/.*$~_\d-]\S*")


def parse_nl2bash(files: Sequence[tuple[str, str]]) -> Parsed:
    """Yield each description with its command line: they stand in two files, line by line."""
    texts = {name.rpartition(".")[2]: text.splitlines() for name, text in files}
    pairs = zip(texts["nl"], texts["cm"], strict=True)
    for number, (described, command) in enumerate(pairs, 1):
        yield f"all.nl:{number}", {"text": described, "command": command}


def read_nl2bash_row(row: Mapping[str, object]) -> Example:
    """Return what a command line does, where it is said as a request; grouped by its words without names."""
    text, command = read_text(row, "text").strip(), read_text(row, "command")
    first = re.match(r"\s*(?:sudo\s+)?([\w-]+)", command)
    counts = _COUNTS.search(command)
    if counts and _ASKS_TO_COUNT.search(text) and _COUNTED.search(text):
        label = "analysis"
    elif (
        not counts
        and first
        and first[1] in _FILES
        and not _CONTENT.search(command)
        and _ASKS_FOR_FILES.search(text)
        and _NAMES_FILES.search(text)
    ):
        label = "file_operations"
    else:
        raise Undecided("its command is none of the eight kinds, or it is no request")
    skeleton = " ".join(re.findall(r"\w+", _PARTICULAR.sub(" _ ", text.lower())))
    return Example(text, label, group=f"command {skeleton}", rule=f"table {first[1] if first else ''}")


NL2BASH = Source(
    id="TellinaTool/nl2bash",
    files={"": ("data/bash/all.nl", "data/bash/all.cm")},
    columns=("text", "command"),
    row=read_nl2bash_row,
    parse=parse_nl2bash,
    license="mit",
    attribution="NL2Bash (Lin et al., 2018), data MIT: what command lines do, in words.",
    provenance="Rules over the command: find, copy, archive and their like are file_operations, counting and comparing "
    "analysis. We take only what has the form of a request, and no command that also reads or changes contents.",
    url=locate_on_github("TellinaTool/nl2bash", "466c5fe873ab08c7cc0112ea1521cc6ad9c20992"),
    name="nl2bash",
    most=600,
    annotators="expert-generated",
    caveat="Descriptions of command lines, terser than what one asks an assistant for, most of them of `find`.",
)

# --- WorkBench: errands in an office ---------------------------------------------------------------------------------

WORKBENCH_LABELS = {
    "analytics.create_plot": "analysis",
    "calendar.create_event": "scheduling",
    "calendar.delete_event": "scheduling",
    "calendar.update_event": "scheduling",
    "email.forward_email": "communication",
    "email.reply_email": "communication",
    "email.send_email": "communication",
    "project_management.create_task": "scheduling",
}
_FUNCTION = re.compile(r"([a-z_]+\.[a-z_]+)\.func\(")


def list_functions(row: Mapping[str, object]) -> list[str]:
    """Return the functions that the answer to an errand calls, each once, in order."""
    try:
        calls = ast.literal_eval(read_text(row, "answer"))
    except (ValueError, SyntaxError):
        raise Flawed("answer is no list of calls") from None
    found = [_FUNCTION.match(call) if isinstance(call, str) else None for call in calls]
    if not isinstance(calls, list) or not all(found):
        raise BadRow("answer is no list of calls")
    return list(dict.fromkeys(match[1] for match in found if match))


def read_workbench_row(row: Mapping[str, object]) -> Example:
    """Return an errand that one function serves, grouped by the template that it was made of."""
    functions = list_functions(row)
    if len(functions) != 1 or functions[0] not in WORKBENCH_LABELS:
        raise Undecided("none, several, or another function than one of the eight kinds")
    return Example(
        read_text(row, "query"),
        WORKBENCH_LABELS[functions[0]],
        group=f"template {read_text(row, 'base_template')}",
        rule=f"table {functions[0]}",
    )


WORKBENCH = Source(
    id="olly-styles/WorkBench",
    files={
        "": tuple(
            f"data/processed/queries_and_answers/{domain}_queries_and_answers.csv"
            for domain in ("analytics", "calendar", "email", "project_management")
        )
    },
    columns=("query", "answer", "base_template"),
    row=read_workbench_row,
    license="mit",
    attribution="WorkBench (Styles et al., 2024), MIT: errands in an office with calendar, mail, tasks and charts.",
    provenance="A table from the function that its answer calls; we leave out errands of several functions, of none, "
    "and those in a customer list.",
    url=locate_on_github("olly-styles/WorkBench", "42f1b6dc18986f47701ca83de2d63dd4f95c59a0"),
    name="workbench",
    annotators="machine-generated",
    caveat="About thirty filled templates: few kinds of errand, many times.",
)

# --- prompts that a language model answers by itself -----------------------------------------------------------------


def read_prompt_row(row: Mapping[str, object]) -> Example:
    """Return a prompt of people to a language model that needs no tool: code, stories, explanations."""
    prompt = prompt_sources.read_prompt(row)
    if row.get("subcategory") == "math" or could_need_tool(prompt.text):
        raise Undecided("a tool could serve it")
    return _need_no_tool(prompt)


def read_trouble_row(row: Mapping[str, object]) -> Example:
    """Return what somebody asks a counsellor: no tool has an answer."""
    return _need_no_tool(prompt_sources.read_counsel(row))


def _need_no_tool(prompt: Example) -> Example:
    return replace(prompt, label="no_function_needed", rule="a prompt to a language model")


_NO_TOOL = "Every row has the label no_function_needed; we leave out what a search, a calculation or an edit could do."

ARENA = replace(prompt_sources.ARENA, row=read_prompt_row, provenance=_NO_TOOL, most=400)
IFEVAL = replace(prompt_sources.IFEVAL, row=read_prompt_row, provenance=_NO_TOOL, most=200)
COUNSEL = replace(
    prompt_sources.COUNSEL,
    columns=("questionID", "questionTitle", "questionText"),
    row=read_trouble_row,
    provenance="Every row has the label no_function_needed.",
    most=150,
)

FURTHER = join_further(
    SNIPS,
    BANKING,
    NL2BASH,
    WORKBENCH,
    ARENA,
    IFEVAL,
    COUNSEL,
)
