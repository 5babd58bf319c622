"""Many prompts at once: lines or a CSV in, a table and a CSV out; nothing is written to the server's disk."""

from __future__ import annotations

import csv
import io
import sys
import traceback
from collections.abc import AsyncIterator
from html import escape
from typing import Any

import gradio as gr
import parts
from answering import LONG_LANE, MAX_CHARS, Busy, Cancelled, ask_all, in_lane
from handlers import limits_of
from policy import Decision, decide
from tasks import tasks
from texts import counted, say

csv.field_size_limit(2**31 - 1)  # by default the csv module ends with an error at a cell of 131,072 characters
MOST = 500  # prompts of a batch
SHOWN = 100  # rows of the table; the CSV has all


def read_prompts(text: str) -> list[str]:
    """The prompts of a CSV with a column named text, or else every line that is not blank."""
    text = (text or "").lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    header = next(csv.reader(io.StringIO(text)), [])
    columns = [name.strip().lower() for name in header]
    if "text" in columns:
        rows = csv.DictReader(io.StringIO(text), fieldnames=columns)
        found = [row["text"] or "" for row in rows][1:]
    else:
        found = text.splitlines()
    return [prompt for prompt in found if prompt.strip()]


def harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    # The wide forms of the signs begin a formula as well, where they are typed.
    begins = cell.startswith(("\t", "\r", "\n")) or cell.lstrip().startswith(tuple("=+-@\uff1d\uff0b\uff0d\uff20"))
    return f"'{cell}" if begins else cell


def header() -> list[str]:
    columns = ["text", "action", "prompt_sent"]
    for name, task in tasks().items():
        columns += [name] if task.head == "spans" else [name, f"{name}_score"]
    return columns


def cells(text: str, decision: Decision) -> list[str]:
    """One row of the answers: a label and its score for each task, or what was found."""
    row = [text, decision["action"], decision["prompt"] or ""]
    for name, task in tasks().items():
        answer = decision["answers"][name]
        if task.head == "spans":
            row.append("; ".join(f"{entity['entity_group']}: {entity['word']}" for entity in answer["entities"]))
        else:
            row += [answer["label"], f"{answer['score']:.6f}"]
    return [harmless(cell) for cell in row]


def as_csv(rows: list[list[str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([header(), *rows])
    return out.getvalue()


def as_table(prompts: list[str], decisions: list[Decision]) -> str:
    rows = "".join(
        f"<tr><td>{parts.show_invisible(shorten(prompt))}</td>"
        f"<td class='{parts.TONES[decision['action']]}'><strong>{escape(decision['headline'])}</strong></td></tr>"
        for prompt, decision in list(zip(prompts, decisions, strict=True))[:SHOWN]
    )
    actions = [decision["action"] for decision in decisions]
    sums = {action: actions.count(action) for action in ("block", "review", "mask", "pass")}
    said = say("batch_sums", prompts=counted(len(decisions), "prompt"), **sums)
    more = f" {say('batch_shown', shown=SHOWN)}" if len(decisions) > SHOWN else ""
    return (
        f"<p class='about'><b>{said}</b>{more} "
        f"<button type='button' class='quiet' data-download='answers.csv'>{escape(say('download'))}</button></p>"
        "<div class='many' tabindex='0'><table class='lines'><thead><tr>"
        f"<th scope='col'>{say('prompt')}</th><th scope='col'>{say('decision')}</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def shorten(prompt: str) -> str:
    return prompt if len(prompt) <= 200 else f"{prompt[:197]}..."


async def check_all(text: str, *values: float) -> AsyncIterator[tuple[Any, Any, Any]]:
    """Status, table and CSV, as they come."""
    prompts = read_prompts(text)
    if not prompts:
        yield parts.line(say("empty_batch"), "warn"), "", ""
        return
    if len(prompts) > MOST or sum(map(len, prompts)) > 5 * MAX_CHARS:
        told = say("batch_cap", found=f"{len(prompts):,}", limit=f"{MOST:,}", chars=f"{5 * MAX_CHARS:,}")
        yield parts.line(told, "bad"), "", ""
        return
    decisions: list[Decision] = []
    of = f"{len(prompts):,}"

    def work(stop: Any) -> tuple[str, str]:
        for prompt in prompts:
            decisions.append(decide(prompt, ask_all(prompt, stop)[0], limits_of(values)))
        rows = [cells(prompt, decision) for prompt, decision in zip(prompts, decisions, strict=True)]
        return as_table(prompts, decisions), as_csv(rows)

    try:
        async for kind, news in in_lane(work, LONG_LANE, lambda: len(decisions)):
            if kind == "waiting":
                yield parts.line(say("waiting_long", before=counted(news, "text"))), gr.skip(), gr.skip()
            elif kind == "reading":
                yield parts.line(say("batch_answered", done=f"{news:,}", of=of)), gr.skip(), gr.skip()
            else:
                yield parts.line(say("batch_answered", done=of, of=of)), *news
    except Busy:
        yield parts.line(say("busy"), "bad"), "", ""
    except Cancelled:
        yield parts.line(say("cancelled")), "", ""
    except Exception:
        traceback.print_exc(limit=-3, file=sys.stderr)
        yield parts.line(say("failed"), "bad"), "", ""
