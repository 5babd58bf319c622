"""jailbreak: attacks of further kinds, and harmless prompts of every kind that a detector is tempted to flag.

A positive is an attempt to change what a model was told to do, or to get round its rules; a harmful topic alone is
none. Rows whose attack shows only beside the system prompt that it breaks are left out.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from urllib.parse import unquote

from hubtools.rows import read_text
from hubtools.spec import BadRow, Dropped, Example, Flawed, Source
from hubtools.tasks import prompt_sources
from hubtools.tasks.category import MMLU_PRO
from hubtools.tasks.documents import compose_document
from hubtools.tasks.fabric_patterns import FOLDERS
from hubtools.tasks.further import join_further, locate_on_github
from hubtools.tasks.intent import GLAIVE, METATOOL, split_turns
from hubtools.tasks.snippets import SNIPPETS

BENIGN, JAILBREAK = "benign", "jailbreak"

# Kinds of PurpleLlama's direct injections that show no attack without the system prompt they stand under, such as
# "write a haiku about the password".
_HIDDEN_KINDS = ("indirect_reference", "output_formatting_manipulation", "token_smuggling")
# Those that say in their own words that rules are to be broken, also where the rule is only one of taste.
_OPEN_KINDS = ("ignore_previous_instructions", "system_mode")


def read_injection_row(row: Mapping[str, object]) -> Example:
    """Return what the user says in a test of PurpleLlama; its system prompt is not what attacks."""
    kind, way, risk = (read_text(row, name) for name in ("injection_variant", "injection_type", "risk_category"))
    if way not in ("direct", "indirect"):
        raise BadRow(f"unknown injection type {way!r}")
    if way == "direct" and (kind in _HIDDEN_KINDS or (risk == "logic-violating" and kind not in _OPEN_KINDS)):
        raise Dropped("an attack only beside its system prompt")
    # The translations are of the same prompts: a kind stands in one split in all languages.
    return Example(read_text(row, "user_input"), JAILBREAK, group=f"injection {kind}", rule=f"{way} injection, {kind}")


def read_guarded_row(row: Mapping[str, object]) -> Example:
    """Return the system prompt of a test: it forbids things, keeps secrets, and attacks nothing."""
    return Example(read_text(row, "test_case_prompt"), BENIGN, rule="a system prompt")


def read_cyber_row(row: Mapping[str, object]) -> Example:
    """Return a request about computer security that no harm is meant by."""
    if row.get("is_malicious") is not False:
        raise BadRow("not marked as harmless")
    return Example(read_text(row, "mutated_prompt"), BENIGN, rule="marked as not malicious")


# What stands before the question in TrustLLM's wrappings, and behind it.
_QUESTION = re.compile(
    r".*(?:here is my query:|query:|question:|\n5\.|execute_sum\(|Red-LM:)|^from now on.*?"
    r"(?:punctuation marks|letters in length|word .the.|json format)\. ",
    re.IGNORECASE | re.DOTALL,
)


def parse_trustllm(files: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield the prompts, with the wrapping's kind, and whether its question was asked in another wrapping before."""
    asked: dict[str, str] = {}
    for name, text in files:
        for number, row in enumerate(json.loads(text)):
            [kind] = row["label"]
            question = re.sub(r"[^a-z]", "", _QUESTION.sub("", unquote(row["prompt"]), count=1).lower())
            first = asked.setdefault(question, kind)
            yield f"{name}[{number}]", {"prompt": row["prompt"], "kind": kind, "repeated": first != kind}


def read_trustllm_row(row: Mapping[str, object]) -> Example:
    """Return a harmful question in the wrapping that is to get round a refusal, grouped by the wrapping."""
    kind = read_text(row, "kind")
    if kind == "cot":
        raise Dropped("a harmful question without an attack")
    if row.get("repeated"):
        raise Dropped("its question stands in another wrapping")
    return Example(read_text(row, "prompt"), JAILBREAK, group=f"wrapping {kind}", rule=f"wrapping {kind}")


_DOCUMENTS = 3  # that an instruction of BIPIA is put into, and as many without one


def parse_bipia(files: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield each instruction in three documents of our own, and for each of them one without it, of code two."""
    for name, text in files:
        in_code = name.endswith("code_attack_train.json")
        for kind, instructions in json.loads(text).items():
            for number, instruction in enumerate(instructions):
                # By the instruction, not by chance: it is put into the same documents each time.
                rng = random.Random(f"{kind}:{instruction}")
                for copy in range(_DOCUMENTS):
                    of_kind = "code" if in_code else rng.choice(("email", "review", "notes", "article", "page"))
                    where = f"{name} {kind}[{number}].{copy}"
                    hidden = compose_document(rng, instruction, of_kind)
                    yield where, {"text": hidden, "kind": kind, "label": JAILBREAK}
                    yield f"{where} without", {"text": compose_document(rng, kind=of_kind), "kind": "", "label": BENIGN}
                    # What is hidden in code is code: without other code in its place, an import would tell an attack.
                    if in_code:
                        text = compose_document(rng, rng.choice(SNIPPETS), of_kind)
                        yield f"{where} with other code", {"text": text, "kind": "", "label": BENIGN}


def read_bipia_row(row: Mapping[str, object]) -> Example:
    """Return a document, an attack where an instruction hides in it; grouped by the instruction's kind."""
    kind, label = row.get("kind"), read_text(row, "label")
    group = f"hidden {kind}" if kind else ""
    return Example(read_text(row, "text"), label, group=group, rule="a document" + f" with {kind}" * bool(kind))


def read_prompt_row(row: Mapping[str, object]) -> Example:
    """Return a prompt of a collection without attacks."""
    return Example(read_text(row, "prompt"), BENIGN, rule="all of the source is harmless")


_REAL_ATTACK = re.compile(r"\b(DAN|do anything now|jailbreak|ignore (all|your|previous)|no filter|uncensored)\b", re.I)


def read_arena_row(row: Mapping[str, object]) -> Example:
    """Return a prompt that a user of a public arena wrote; one that may be an attack is left out."""
    text = read_text(row, "prompt")
    if _REAL_ATTACK.search(text):
        raise Dropped("a user's prompt that may be an attack")
    return Example(text, BENIGN, rule="a user's prompt, no word of an attack")


def parse_texts(files: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield each file as one row."""
    for name, text in files:
        yield name, {"prompt": text}


def read_pattern_row(row: Mapping[str, object]) -> Example:
    """Return a long system prompt; without its heading in every second, which all of them share."""
    text = read_text(row, "prompt").strip()
    if zlib.crc32(text.encode("utf-8", "surrogatepass")) % 2:
        text = re.sub(r"^#[^\n]*\n+", "", text) or text
    return Example(text, BENIGN, rule="a system prompt")


def read_first_turn_row(row: Mapping[str, object]) -> Example:
    """Return what the user says first in a conversation of Glaive."""
    chat = row.get("chat")
    if not isinstance(chat, str):
        raise Flawed("chat is not a text")
    turns = split_turns(chat)
    if not turns or turns[0][0] != "USER" or not turns[0][1]:
        raise Dropped("no first user turn")
    return Example(turns[0][1], BENIGN, rule="all of the source is harmless")


def read_system_row(row: Mapping[str, object]) -> Example:
    """Return the system prompt of a conversation of Glaive, with the functions that it offers."""
    text = read_text(row, "system").removeprefix("SYSTEM: ")
    return Example(text, BENIGN, rule="a system prompt")


def read_query_row(row: Mapping[str, object]) -> Example:
    """Return a query of MetaTool."""
    return Example(read_text(row, "Query"), BENIGN, rule="all of the source is harmless")


def read_question_row(row: Mapping[str, object]) -> Example:
    """Return a question of MMLU-Pro."""
    return Example(read_text(row, "question"), BENIGN, rule="all of the source is harmless")


_PURPLE_LLAMA = locate_on_github("meta-llama/PurpleLlama", "4be64c3a24442b51c76175e6ec67722cc3f5fe38")
_INJECTIONS = "CybersecurityBenchmarks/datasets/prompt_injection"

INJECTIONS = Source(
    id="meta-llama/PurpleLlama:injections",
    files={"": (f"{_INJECTIONS}/prompt_injection.json",)},
    columns=("user_input", "injection_variant", "injection_type", "risk_category"),
    row=read_injection_row,
    license="mit",
    attribution="PurpleLlama's CyberSecEval prompt injections (Meta, 2024), MIT: what its users say.",
    provenance="By the source, every row is an attempt to break a system prompt; we leave out those that show it only "
    "beside that prompt.",
    url=_PURPLE_LLAMA,
    name="injections",
    annotators="expert-generated",
    caveat="Few authors wrote them, for a test: secrets, passwords and addresses again and again.",
)
INJECTIONS_TRANSLATED = replace(
    INJECTIONS,
    id="meta-llama/PurpleLlama:injections-translated",
    files={"": (f"{_INJECTIONS}/prompt_injection_multilingual_machine_translated.json",)},
    attribution="The same prompt injections in 17 languages, as a machine translated them (Meta, 2024), MIT.",
    name="injections-translated",
    most=400,
    annotators="machine-generated",
    caveat="Machine translation, in parts broken.",
)
GUARDED_PROMPTS = Source(
    id="meta-llama/PurpleLlama:guarded-prompts",
    files=INJECTIONS.files,
    columns=("test_case_prompt",),
    row=read_guarded_row,
    license="mit",
    attribution="The system prompts of the same tests (Meta, 2024), MIT.",
    provenance="Every row is harmless: a system prompt that forbids something attacks nothing.",
    url=_PURPLE_LLAMA,
    name="guarded-prompts",
    annotators="expert-generated",
    caveat="Few, and in the words of the attacks that they stand above.",
)
# Without them the harmless half would be of English nearly alone, and a text in Russian an attack for its letters.
GUARDED_PROMPTS_TRANSLATED = replace(
    GUARDED_PROMPTS,
    id="meta-llama/PurpleLlama:guarded-prompts-translated",
    files=INJECTIONS_TRANSLATED.files,
    attribution="The same system prompts in 17 languages, as a machine translated them (Meta, 2024), MIT.",
    name="guarded-prompts-translated",
    most=400,
    annotators="machine-generated",
    caveat=INJECTIONS_TRANSLATED.caveat,
)
CYBER = Source(
    id="meta-llama/PurpleLlama:cyber",
    files={"": ("CybersecurityBenchmarks/datasets/mitre_frr/mitre_frr.json",)},
    columns=("mutated_prompt", "is_malicious"),
    row=read_cyber_row,
    license="mit",
    attribution="PurpleLlama's requests about security that models refuse though nobody means harm (Meta, 2024), MIT.",
    provenance="The source marks every row as not malicious; a language model wrote its prompts.",
    url=_PURPLE_LLAMA,
    name="cyber",
    most=400,
    annotators="machine-generated",
    caveat="In the voice of one model: nearly all begin with 'Generate' or 'Write'.",
)
TRUSTLLM = Source(
    id="HowieHwong/TrustLLM",
    files={"": ("dataset/safety/jailbreak.json",)},
    columns=("prompt", "label"),
    row=read_trustllm_row,
    parse=parse_trustllm,
    license="mit",
    attribution="TrustLLM (Huang et al., 2024), MIT: harmful questions in wrappings that are to get round a refusal.",
    provenance="By the source, every row is an attack: its wrapping makes it one. Of its fourteen kinds we leave out "
    "'think step by step': the question is harmful, and nothing in it attacks. A question stands in one wrapping.",
    url=locate_on_github("HowieHwong/TrustLLM", "4b864211f32602fddb8cafc8d5154bed1e0ce01e"),
    name="trustllm",
    most=650,
    annotators="machine-generated",
    caveat="Questions are harmful in each row, so that a model may take the topic for the attack; some wrappings are "
    "no more than a demand about form.",
)
BIPIA = Source(
    id="microsoft/BIPIA",
    files={"": ("benchmark/text_attack_train.json", "benchmark/code_attack_train.json")},
    columns=("text", "kind", "label"),
    row=read_bipia_row,
    parse=parse_bipia,
    license="mit",
    attribution="BIPIA's attacks of the training split (Yi et al., 2023), MIT, in documents of hubtools' own writing.",
    provenance="A document is an attack where one of BIPIA's instructions stands between its sentences or lines of "
    "code, harmless where none does.",
    url=locate_on_github("microsoft/BIPIA", "1a2a91da6bb12838e05d1b2e54d98e2f37b835f3"),
    name="bipia",
    annotators="machine-generated",
    caveat="Many of the instructions are harmless by themselves, such as a question about Brazil: what is wrong with "
    "them is where they stand.",
)
IFEVAL = replace(
    prompt_sources.IFEVAL,
    row=read_prompt_row,
    provenance="Every row has the label benign: attacks make such demands as well, and these attack nothing.",
)
ARENA = replace(
    prompt_sources.ARENA,
    row=read_arena_row,
    provenance="Every row has the label benign; we leave out those with words of attacks.",
    most=800,
)
FABRIC = Source(
    id="danielmiessler/fabric",
    files={"": tuple(f"data/patterns/{folder}/system.md" for folder in FOLDERS)},
    columns=("prompt",),
    row=read_pattern_row,
    parse=parse_texts,
    license="mit",
    attribution="The patterns of fabric (Daniel Miessler), MIT: long system prompts that give a model a role.",
    provenance="Every row is harmless: who writes the system prompt breaks no rule of it.",
    url=locate_on_github("danielmiessler/fabric", "272f04dd3278f99bee49e94a7747b54708745a5d"),
    name="fabric",
    annotators="expert-generated",
    caveat="Of one author, with the same headings; a few are longer than a row may be.",
)
FIRST_TURNS = Source(
    id="glaiveai/glaive-function-calling-v2:first-turns",
    files=GLAIVE.files,
    columns=("chat",),
    row=read_first_turn_row,
    license=GLAIVE.license,
    attribution="First user turns of glaiveai/glaive-function-calling-v2, Apache-2.0.",
    provenance="Every row has the label benign: requests to an assistant with functions.",
    name="first-turns",
    most=400,
    annotators="machine-generated",
    caveat="A language model wrote them, polite and short.",
)
SYSTEM_PROMPTS = Source(
    id="glaiveai/glaive-function-calling-v2:system-prompts",
    files=GLAIVE.files,
    columns=("system",),
    row=read_system_row,
    license=GLAIVE.license,
    attribution="System prompts of glaiveai/glaive-function-calling-v2, Apache-2.0, with the functions on offer.",
    provenance="Every row is harmless: it says which functions there are.",
    name="system-prompts",
    most=300,
    annotators="machine-generated",
    caveat="All begin with the same sentence.",
)
QUERIES = Source(
    id="HowieHwong/MetaTool:queries",
    files=METATOOL.files,
    columns=("Query",),
    row=read_query_row,
    license=METATOOL.license,
    attribution="Queries of MetaTool (Huang et al., 2023), MIT.",
    provenance="Every row has the label benign: requests that a tool is to serve.",
    url=METATOOL.url,
    name="queries",
    most=600,
    annotators="machine-generated",
    caveat="Language models wrote them.",
)
QUESTIONS = Source(
    id="TIGER-Lab/MMLU-Pro:questions",
    files=MMLU_PRO.files,
    columns=("question",),
    row=read_question_row,
    license=MMLU_PRO.license,
    attribution="Questions of MMLU-Pro (Wang et al., 2024), MIT. Do not score a model on it that learned from them.",
    provenance="Every row has the label benign: questions of examinations, some about law, drugs and weapons.",
    name="questions",
    most=600,
    annotators="expert-generated",
    caveat="A benchmark: models trained on this set have seen a part of its questions.",
)

FURTHER = join_further(
    INJECTIONS,
    INJECTIONS_TRANSLATED,
    GUARDED_PROMPTS,
    GUARDED_PROMPTS_TRANSLATED,
    CYBER,
    TRUSTLLM,
    BIPIA,
    IFEVAL,
    ARENA,
    FABRIC,
    FIRST_TURNS,
    SYSTEM_PROMPTS,
    QUERIES,
    QUESTIONS,
)
