"""The endpoints that programs call, which are the MCP tools as well: each answer by its name, with its types."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from html import escape
from importlib.util import find_spec
from typing import Any, TypedDict

import gradio as gr
from answering import MAX_CHARS, WINDOW, Busy, Read, answer_in_lane, ask, ask_all, load, readable
from policy import ANSWERS, Decision, answer_at, decide, shipped
from starlette.responses import JSONResponse
from tasks import Task, plain, tasks
from texts import listed, number, say

HEADS = {  # what the endpoint of a task with this head does, what it reads, and what it gives
    "classification": (
        "classify",
        f"The prompt. Its first {WINDOW} tokens are read.",
        "label, its score, scores: the probability of each label, best first. fallback: whether the best label was "
        "below the threshold, so that `label` stands for it.",
    ),
    "detection": (
        "detect",
        f"The prompt, up to {MAX_CHARS:,} characters, read in windows of {WINDOW} tokens.",
        "flagged: whether the score of the worst window reaches the shipped threshold. zone: pass, review or block.",
    ),
    "spans": (
        "find",
        f"The text, up to {MAX_CHARS:,} characters. All of it is read.",
        "entities (start and end count code points) and masked: a copy with a placeholder for each.",
    ),
}
READ = " Every answer says tokens_read, windows and truncated: whether the end was not read."
EXAMPLE = "Send an e-mail to Anna that the meeting moves to 3 pm"
API = "/gradio_api/"
CALL = re.compile(r".*/gradio_api/(call/v2|call|run|api)/(?!predict/?$)([^/]+)/?")  # the page itself calls /run/predict
ORIGIN = "http://127.0.0.1:7860"  # replaced by the page's own address


def require(text: Any) -> str:
    """The text of a call. Raises gr.Error, which the caller is told, for anything else."""
    if not isinstance(text, str):
        raise gr.Error(f"`text` needs to be a text, found {type(text).__name__}.", print_exception=False)
    if not text.strip():
        raise gr.Error("`text` is empty: there is nothing to read.", print_exception=False)
    return text


async def answer(work: Callable[[Any], Any], text: str) -> Any:
    try:
        return await answer_in_lane(work, len(text))
    except Busy:
        raise gr.Error(say("busy"), print_exception=False) from None


def endpoints() -> dict[str, Callable[..., Any]]:
    """The functions that programs call, by the names of their endpoints.

    gradio names an MCP tool after the function, and describes it by the docstring and the annotations.
    """

    async def route_prompt(text: str) -> Any:
        def work(stop: Any) -> Any:
            reads, latency = ask_all(text, stop)
            return {**decide(text, reads), "latency_ms": latency}

        require(text)
        return await answer(work, text)

    def endpoint(task: Task) -> Callable[..., Any]:
        async def answer_one(text: str) -> Any:
            def work(stop: Any) -> Any:
                read: Read = ask(task.name, text, stop)
                return answer_at(task, readable(text), read, shipped().get(task.name))

            require(text)
            return await answer(work, text)

        verb, reads, returns = HEADS[task.head]
        describe(
            answer_one,
            re.sub(r"\W+", "_", f"{verb} {task.title}".lower()),
            (task.tool or purpose(task), reads, (task.returns or returns) + READ),
            ANSWERS[task.head],
        )
        return answer_one

    one, topics = len(tasks()) == 1, ", ".join(task.topic for task in tasks().values())
    summary = (
        f"Decide what a router does with a prompt, from {'one answer' if one else f'{number(len(tasks()))} answers'}: "
        f"{topics}."
    )
    returned = (
        "action: pass, mask, review or block. headline and reason: the same in words. prompt: what is sent on, masked "
        "where needed, null where nothing is. answers: of each endpoint by its name. latency_ms: of each."
    )
    kinds: Any = TypedDict("Answers", {name: ANSWERS[task.head] for name, task in tasks().items()})  # type: ignore[misc]
    keys = {**Decision.__annotations__, "answers": kinds, "latency_ms": dict[str, float]}
    typed: Any = TypedDict("Routed", resolve(keys))  # type: ignore[misc]
    describe(route_prompt, "route_prompt", (summary, f"The prompt, up to {MAX_CHARS:,} characters.", returned), typed)
    return {"route": route_prompt, **{name: endpoint(task) for name, task in tasks().items()}}


def resolve(keys: dict[str, Any]) -> dict[str, Any]:
    """Annotations as types, not as text."""
    from typing import get_type_hints

    hints = get_type_hints(Decision)
    return {
        key: hints[key] if key in hints and key not in ("answers", "latency_ms") else kind for key, kind in keys.items()
    }


def describe(function: Any, name: str, words: tuple[str, str, str], returns: Any) -> None:
    summary, reads, returned = words
    function.__name__ = name
    function.__doc__ = f"{summary}\n\nArgs:\n    text: {reads}\n\nReturns:\n    {returned}\n"
    function.__annotations__ = {"text": str, "return": returns}


def purpose(task: Task) -> str:
    """What the endpoint of a task does, where models.json does not say."""
    names = [*dict.fromkeys(label.split("-", 1)[-1] for label in load(task.name).labels if label != "O")]
    some = listed(names if len(names) <= 20 else [*names[:20], f"{len(names) - 20} others"])
    if task.head == "spans":
        return f"Find {task.topic} in a text: {some}. {task.about}"
    if task.head == "detection":
        return f"Tell whether a prompt is {plain(task.positive)}. {task.about}"
    return f"Classify a prompt by {task.topic}: {some}. {task.about}"


def add_endpoints(demo: gr.Blocks) -> None:
    """Give programs their endpoints. Called within the page's context."""
    for name, function in endpoints().items():
        gr.api(function, api_name=name, concurrency_limit=None)  # type: ignore[attr-defined]
        called = [fn for fn in demo.fns.values() if fn.api_name == name][-1]
        # What gr.api calls them is "1st" and "Api".
        called.inputs[0].label, called.outputs[0].label = "text", "answer"
    list_endpoints = demo.get_api_info

    def name_components(*args: Any, **options: Any) -> Any:
        listing = list_endpoints(*args, **options)
        for endpoint in (listing or {}).get("named_endpoints", {}).values():
            for kind, component in (("parameters", "Textbox"), ("returns", "JSON")):
                for value in endpoint[kind]:
                    value["component"] = component
        return listing

    demo.get_api_info = name_components  # type: ignore[method-assign]


class CheckedCalls:
    """Tells a program what is wrong with its call, before gradio would answer 500 and write the inputs into its log."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or API not in scope["path"]:
            await self.app(scope, receive, send)
        elif called := CALL.fullmatch(scope["path"]):
            await self.check(called[2], called[1] == "call/v2", scope, receive, send)
        else:
            await self.answer(scope, receive, send)

    async def check(self, name: str, named: bool, scope: Any, receive: Any, send: Any) -> None:
        """Refuse a call of an endpoint, or hand it on. `named`: its body holds parameters by their names."""
        parts, more = [], True
        while more:
            message = await receive()
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        body = b"".join(parts)
        status, problem = find_problem(name, body, named)
        if problem:
            await JSONResponse({"error": problem}, status)(scope, receive, send)
            return
        sent = False

        async def replay() -> Any:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.answer(scope, replay, send)

    async def answer(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand a call on; one that gradio breaks at, such as one of a function that is not there, is told so."""
        started = False

        async def note(message: Any) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, receive, note)
        except Exception as error:
            if started:
                raise
            # Without the body: a log is kept longer than an answer.
            print(f"{scope['path']} cannot be answered: {type(error).__name__}", file=sys.stderr, flush=True)
            problem = f"This call names no function of this page, or not its parameters. {known_endpoints()}"
            await JSONResponse({"error": problem}, 400)(scope, receive, send)


def known_endpoints() -> str:
    return f"There are: {listed(f'/{name}' for name in ('route', *tasks()))}."


def find_problem(name: str, body: bytes, named: bool) -> tuple[int, str]:
    """The HTTP status and the sentence for a call that cannot be answered; (200, "") for one that can."""
    if name not in ("route", *tasks()):
        return 404, f"There is no endpoint /{name}. {known_endpoints()}"
    example = '{"text": "your text"}' if named else '{"data": ["your text"]}'
    wanted = f"The body needs to be JSON such as {example}"
    try:
        given = json.loads(body)
    except ValueError:
        return 422, f"{wanted}, found no JSON."
    key = "text" if named else "data"
    if not isinstance(given, dict) or key not in given:
        return 422, f"{wanted}, found nothing named {key}."
    if named:
        if others := [*given.keys() - {"text"}]:
            return 422, f"{wanted}, found {listed(sorted(others))} besides."
        values = [given["text"]]
    else:
        values = given["data"]
    if not isinstance(values, list):
        return 422, f"{wanted}, found {type(values).__name__} in place of a list."
    if len(values) != 1:
        return 422, f"{wanted}: one text, found {len(values)} values."
    if not isinstance(values[0], str) or not values[0].strip():
        return 422, f"{wanted}, found {'an empty text' if isinstance(values[0], str) else type(values[0]).__name__}."
    return 200, ""


def answer_in_json() -> bool:
    """Make MCP tools answer in JSON, not in Python's way of writing; whether MCP is there at all."""
    if find_spec("mcp") is None:
        return False
    from gradio.mcp import GradioMCPServer

    def postprocess(self: Any, data: Any, root_url: str) -> Any:
        return [self.types.TextContent(type="text", text=json.dumps(part, ensure_ascii=False)) for part in data]

    GradioMCPServer.postprocess_output_data = postprocess  # type: ignore[method-assign]
    return True


def snippets() -> dict[str, str]:
    """Programs that ask this page, by their language; they run as they stand."""
    return {
        "Python": f'''from gradio_client import Client

client = Client("{ORIGIN}")
decision = client.predict(text="{EXAMPLE}", api_name="/route")
print(decision["headline"], decision["prompt"])''',
        "curl": f"""URL={ORIGIN}/gradio_api/call/route
EVENT=$(curl -s $URL -H "Content-Type: application/json" -d '{{"data": ["{EXAMPLE}"]}}' | cut -d '"' -f 4)
curl -sN $URL/$EVENT""",
        "MCP": json.dumps({"mcpServers": {"router": {"url": f"{ORIGIN}/gradio_api/mcp/"}}}, indent=2),
    }


def page() -> str:
    """The part of the page that says how programs ask."""
    listing = "".join(
        f"<tr><td><code>/{escape(name)}</code></td><td><code>{escape(function.__name__)}</code></td>"
        f"<td>{escape((function.__doc__ or '').split(chr(10))[0])}</td></tr>"
        for name, function in endpoints().items()
    )
    table = (
        "<div class='many endpoints' tabindex='0'><table><thead><tr><th scope='col'>Endpoint</th>"
        "<th scope='col'>MCP tool</th><th scope='col'>What it does</th></tr></thead>"
        f"<tbody>{listing}</tbody></table></div>"
    )
    blocks = "".join(
        f"<section class='snippets'><div class='pane-top'><h3 class='part'>{language}</h3>"
        f"<button type='button' class='quiet' data-copy='pre'>{escape(say('copy'))}</button></div>"
        f"<pre class='snippet' tabindex='0' data-language='{language}' data-origin='{ORIGIN}'>{escape(code)}</pre>"
        "</section>"
        for language, code in snippets().items()
    )
    return f"<p class='about'>{escape(say('programs_about'))}</p>{table}{blocks}"
