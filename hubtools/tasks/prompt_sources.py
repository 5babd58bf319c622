"""Prompts that people write to language models: collections that several tasks read, each with labels of its own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence

from hubtools.rows import read_text
from hubtools.spec import Example, Source
from hubtools.tasks.further import locate_on_github


def read_prompt(row: Mapping[str, object]) -> Example:
    """Return a prompt, to be labelled by the task."""
    return Example(read_text(row, "prompt"))


def parse_counsel(files: Sequence[tuple[str, str]]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield each question once, where the table has it once an answer; neither answers nor who gave them are read."""
    asked = set()
    for name, text in files:
        for number, row in enumerate(csv.DictReader(io.StringIO(text)), 1):
            if row["questionID"] not in asked:
                asked.add(row["questionID"])
                yield f"{name}[{number}]", {key: row[key] for key in COUNSEL.columns}


def read_counsel(row: Mapping[str, object]) -> Example:
    """Return what somebody asks a counsellor, to be labelled by the task."""
    title, text = read_text(row, "questionTitle").strip(), str(row.get("questionText") or "").strip()
    # A title that only begins the text says nothing twice.
    joined = text if text.lower().startswith(title.lower()[:30]) else f"{title} {text}".strip()
    return Example(joined, group=f"question {read_text(row, 'questionID')}")


IFEVAL = Source(
    id="josejg/instruction_following_eval",
    files={"": ("instruction_following_eval/data/input_data.jsonl",)},
    columns=("prompt",),
    row=read_prompt,
    license="apache-2.0",
    attribution="IFEval (Zhou et al., 2023), Apache-2.0: requests with strict demands about form.",
    url=locate_on_github("josejg/instruction_following_eval", "0c495b2f95155e8b10acb919ae283bfb4d5be6e2"),
    name="ifeval",
    annotators="expert-generated",
    caveat="A benchmark: models trained on this set have seen its prompts.",
)
ARENA = Source(
    id="lmarena/arena-hard-auto",
    files={"": ("data/arena-hard-v0.1/question.jsonl", "data/arena-hard-v2.0/question.jsonl")},
    columns=("prompt",),
    row=read_prompt,
    license="apache-2.0",
    attribution="Arena-Hard (LMArena, 2024 and 2025), Apache-2.0: hard prompts that users wrote.",
    url=locate_on_github("lmarena/arena-hard-auto", "196f6b826783b3da7310e361a805fa36f0be83f3"),
    name="arena",
    annotators="crowdsourced",
    caveat="Nobody here read them all; a benchmark as well.",
)
COUNSEL = Source(
    id="nbertagnolli/counsel-chat",
    files={"": ("data/20200325_counsel_chat.csv",)},
    columns=("questionID", "questionTitle", "questionText", "topic"),
    row=read_counsel,
    parse=parse_counsel,
    license="mit",
    attribution="counsel-chat (Nicolas Bertagnolli, 2020), MIT: what people ask counsellors; no name goes with a row.",
    url=locate_on_github("nbertagnolli/counsel-chat", "e202e19c5002482f4f6631af754c276dd9adf7f2"),
    name="counsel-chat",
    annotators="expert-generated",
    caveat="People's own troubles, in one voice.",
)
