"""What happens on a click: the answer to one prompt, a moved threshold."""

from __future__ import annotations

import sys
import traceback
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr
import parts
from answering import LONG, Busy, Cancelled, ask_all, in_lane, lane_of, readable
from policy import decide, settle
from tasks import tasks
from texts import counted, say


def thresholds() -> list[str]:
    """The tasks whose threshold can be moved, in their order."""
    return [
        name
        for name, task in tasks().items()
        if task.head != "classification" or (task.threshold is not None and task.fallback)
    ]


def limits_of(values: tuple[float, ...]) -> dict[str, float]:
    return settle(dict(zip(thresholds(), values, strict=True)))


def words(values: tuple[float, ...]) -> list[str]:
    """What the sliders say of the thresholds they stand at."""
    return [parts.policy_words(tasks()[name], limit) for name, limit in limits_of(values).items()]


async def check(text: str, *values: float) -> AsyncIterator[tuple[Any, Any, Any]]:
    """Status, answer and what is held of it on the page, as they come."""
    text = text or ""
    if not text.strip():
        yield parts.line(say("empty"), "warn"), "", None
        return

    def work(stop: Any) -> tuple[str, str, dict[str, Any]]:
        reads, latency = ask_all(text, stop)
        decision = decide(text, reads, limits_of(values))
        markup = parts.result(readable(text), decision, latency)
        return decision["headline"], markup, {"text": text, "reads": reads, "latency": latency}

    is_long = len(text) > LONG
    try:
        async for kind, news in in_lane(work, lane_of(len(text))):
            if kind == "waiting":
                told = say("waiting_long" if is_long else "waiting", before=counted(news, "prompt"))
                yield parts.line(told), gr.skip(), gr.skip()
            elif kind == "reading":
                yield parts.line(say("reading", chars=f"{len(text):,}")), gr.skip(), gr.skip()
            else:
                headline, markup, held = news
                took = sum(held["latency"].values())
                told = f"{counted(len(held['reads']), 'answer')} in {took:,.0f} ms."
                yield parts.line(told, aloud=headline), markup, held
    except Busy:
        yield parts.line(say("busy"), "bad"), "", None
    except Cancelled:
        yield parts.line(say("cancelled")), "", None
    except Exception:
        # Without the text: a log is kept longer than an answer.
        traceback.print_exc(limit=-3, file=sys.stderr)
        yield parts.line(say("failed"), "bad"), "", None


def move(held: Any, *values: float) -> list[Any]:
    """The answer at other thresholds, no model being asked, and what each slider says."""
    try:
        answer: Any = gr.skip()
        if held:
            decision = decide(held["text"], held["reads"], limits_of(values))
            answer = parts.result(readable(held["text"]), decision, held["latency"])
    except (KeyError, TypeError, AttributeError):
        answer = gr.skip()  # not what this page holds
    return [answer, *words(values)]
