"""The Space: classifiers that stand in front of a language model, answering in the browser.

Run it with `python app.py`; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where it listens. Which tasks it shows, and
every word that only one of them has, stands in `models.json` beside this file; tasks.py documents its keys.
"""

from __future__ import annotations

import json
import os
import sys
import time
from html import escape
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read with torch: spinning threads slow a small host down

import gradio as gr
import parts
import programs
from answering import ask, load
from batch import MOST, check_all
from handlers import check, move, thresholds, words
from huggingface_hub import constants
from policy import count_tasks, say_languages
from privacy import keep_nothing
from tasks import Task, tasks
from texts import say
from theme import THEME

HERE = Path(__file__).parent

if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # the package of that host

    @spaces.GPU  # type: ignore
    def never_called() -> None:
        """ZeroGPU refuses to start an app that asks for no GPU; these models answer on the CPU."""


ASKED = "(...values) => { window.routerDemo.asked(values[0]); return values; }"
# Of a question that was cancelled, this comes once the server has heard of it; gradio leaves alone what [] lacks.
CANCELLED = json.dumps(parts.line(say("cancelled")))
DONE = f"() => window.routerDemo.done() ? [{CANCELLED}, '', null] : []"
ALL_ASKED = "(...values) => { window.routerDemo.batch(true); return values; }"
ALL_DONE = f"() => window.routerDemo.batch(false) ? [{CANCELLED}, '', ''] : []"
# The text stands behind the #, which a browser sends to no server.
SHARE = """async text => {
  const link = location.href.split("#")[0] + "#prompt=" + encodeURIComponent(text ?? "");
  history.replaceState(null, "", link);
  try { await navigator.clipboard.writeText(link); } catch {}
}"""
# What somebody has typed while the page was still loading stays.
OPEN = """() => {
  const typed = document.querySelector("#prompt textarea")?.value ?? "";
  const shared = /^#prompt=(.*)/s.exec(location.hash);
  try { return shared ? decodeURIComponent(shared[1]) : typed; } catch { return typed; }
}"""


def sliders() -> tuple[list[gr.Slider], list[gr.HTML]]:
    """A slider for each threshold that can be moved, and below it what it gives."""
    made, said = [], []
    for name in thresholds():
        task = tasks()[name]
        label = {"detection": "block from", "spans": "mark from", "classification": "answer from"}[task.head]
        named = f"{task.title}: {label}"
        made.append(gr.Slider(0, 1, value=task.limit, step=0.001, label=named, elem_id=f"limit-{name}", buttons=[]))
        said.append(gr.HTML(words_at_shipped()[len(said)]))
    return made, said


def words_at_shipped() -> list[str]:
    return words(tuple(tasks()[name].limit for name in thresholds()))


def examples() -> dict[str, str]:
    """Prompts to click by what their buttons say: those with a title, then the first of tasks without one."""
    titled = {
        title: prompt
        for task in tasks().values()
        for title, prompt in zip(task.example_titles, task.examples, strict=False)
    }
    others = {shorten(task.examples[0]): task.examples[0] for task in tasks().values() if task.examples}
    untitled = {short: prompt for short, prompt in others.items() if prompt not in titled.values()}
    return dict([*titled.items(), *untitled.items()][:6])


def shorten(prompt: str) -> str:
    return prompt if len(prompt) <= 48 else prompt[:45].rsplit(" ", 1)[0] + " ..."


def prompt_tab() -> tuple[gr.Textbox, list[gr.Slider]]:
    text = gr.Textbox(
        label=say("prompt"), lines=4, max_lines=10, placeholder=say("placeholder"), elem_id="prompt", autofocus=True
    )
    with gr.Row(elem_classes="bar"):
        button = gr.Button(say("ask"), variant="primary", elem_id="ask")
        stop = gr.Button(say("cancel"), elem_id="cancel", elem_classes="cancel")
        gr.HTML("<span class='keys'><kbd>Ctrl</kbd> + <kbd>Enter</kbd></span>")
        share = gr.Button(say("share"), elem_id="share", elem_classes="quiet", variant="secondary")
    gr.HTML(f"<p class='fine'><b>{escape(say_languages())}</b> {escape(say('kept'))}</p>")
    picked = gr.Examples(
        [[prompt] for prompt in examples().values()],
        [text],
        cache_examples=False,
        example_labels=[*examples()],
        label=say("examples"),
        api_visibility="private",
    )
    status = gr.HTML(parts.line(say("first")), elem_id="status")
    answer = gr.HTML(elem_id="answer")
    held = gr.JSON(visible=False)  # the answers stand on the page alone: thresholds move without a model
    with gr.Accordion(say("policy"), open=False, elem_id="policy"):
        gr.HTML(f"<p class='about'>{say('policy_about')} {parts.zones()}</p>")
        limits, said = sliders()
        reset = gr.Button(say("policy_reset"), size="sm", elem_id="reset")

    outputs = [status, answer, held]
    asking: Any = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
    events = [
        gr.on([button.click, text.submit], check, [text, *limits], outputs, js=ASKED, **asking),
        picked.load_input_event.then(check, [text, *limits], outputs, js=ASKED, **asking),
    ]
    for event in events:
        event.then(None, None, outputs, js=DONE)
    quick: Any = {"api_visibility": "private", "show_progress": "hidden", "queue": False}
    stop.click(None, cancels=events)
    moved: Any = [held, *limits]
    gr.on([s.input for s in limits], move, moved, [answer, *said], trigger_mode="always_last", **quick)
    reset.click(lambda: [tasks()[name].limit for name in thresholds()], None, limits, **quick).then(
        move, moved, [answer, *said], **quick
    )
    share.click(None, text, js=SHARE)
    share.click(lambda: parts.line(say("shared")), None, status, **quick)
    return text, limits


def batch_tab(limits: list[gr.Slider]) -> None:
    """Many prompts, at the thresholds of the first tab."""
    gr.HTML(f"<p class='about'>{say('batch_about', limit=MOST)} {say('batch_kept')}</p>")
    lines = gr.Textbox(label=say("batch_lines"), lines=6, max_lines=16, elem_id="lines")
    gr.HTML(
        f"<p class='filepick'><label>{say('batch_file')} "
        "<input type='file' id='csv-file' accept='.csv,.txt,text/csv,text/plain'></label></p>"
    )
    with gr.Row(elem_classes="bar"):
        button = gr.Button(say("batch_ask"), variant="primary", elem_id="ask-all")
        stop = gr.Button(say("cancel"), elem_id="cancel-all", elem_classes="cancel")
    status = gr.HTML(parts.line(""), elem_id="batch-status")
    table = gr.HTML(elem_id="batch-answer")
    rows = gr.Textbox(label="CSV", elem_id="csv", visible="hidden", lines=2)
    outputs = [status, table, rows]
    event = button.click(
        check_all, [lines, *limits], outputs, js=ALL_ASKED, api_visibility="private", show_progress="hidden"
    )
    event.then(None, None, outputs, js=ALL_DONE)
    stop.click(None, cancels=[event])


def build() -> gr.Blocks:
    """The page, the endpoints and the MCP tools of the same functions."""
    demo: gr.Blocks
    with gr.Blocks(title=say("title"), analytics_enabled=False) as demo:
        gr.HTML(parts.masthead(count_tasks()))
        with gr.Tabs(overflow_behavior="wrap"):
            with gr.Tab(say("tab_one"), id="one"):
                text, limits = prompt_tab()
            with gr.Tab(say("tab_many"), id="many"):
                batch_tab(limits)
            with gr.Tab(say("tab_programs"), id="programs"):
                gr.HTML(programs.page())
        programs.add_endpoints(demo)
        demo.load(None, None, text, js=OPEN)
    return demo


def warm_up() -> None:
    """Load the models in order and let each answer once, so that the first visitor does not wait.

    Raises SystemExit that names the model which cannot be loaded.
    """
    for name, task in tasks().items():
        start = time.perf_counter()
        try:
            load(name)
            ask(name, "Send an e-mail to Anna that the meeting moves to 3 pm")
        except Exception as error:
            source = "" if task.revision is None else f" from {constants.ENDPOINT}"
            raise SystemExit(f"The {name} model {where(task)} cannot be loaded{source}: {error}") from error
        print(f"{name}: {where(task)}, ready in {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def where(task: Task) -> str:
    return f"{task.repo} at {task.revision[:7]}" if task.revision else task.repo


def main() -> None:
    try:
        tasks()
    except ValueError as error:
        raise SystemExit(str(error)) from error
    warm_up()
    demo = build()
    demo.queue(default_concurrency_limit=None, max_size=400)
    try:
        demo.launch(
            theme=THEME,
            css_paths=HERE / "style.css",
            head=f"<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>",
            footer_links=["settings"],
            ssr_mode=False,
            mcp_server=programs.answer_in_json(),
            **keep_nothing(programs.CheckedCalls),
        )
    except OSError as error:
        raise SystemExit(f"The page cannot be served: {error} GRADIO_SERVER_PORT names another port.") from error


if __name__ == "__main__":
    main()
