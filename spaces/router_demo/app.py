"""The Space: classifiers that stand in front of a language model, answering in the browser.

Run it with `python app.py`; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where it listens. Which tasks it shows, and
every word that only one of them has, stands in `models.json` beside this file; Task documents its keys:

    {"models": {"toxicity": {"head": "detection", "positive": "toxic",
                             "repo": "owner/name", "revision": "<commit>", "threshold": 0.5,
                             "title": "Toxicity", "question": "Is it toxic?", "about": "Whether ..."},
                "topic": {"head": "classification", ...}}}
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read with torch: spinning threads slow a small host down

import gradio as gr
from huggingface_hub import constants

if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # the package of that host

    @spaces.GPU  # type: ignore
    def never_called() -> None:
        """ZeroGPU refuses to start an app that asks for no GPU; these models answer on the CPU."""


HERE = Path(__file__).parent
WINDOW = 512  # tokens a classifier reads at once, as in the router
MAX_CHARS = 100_000
HINT = "Nothing to read yet. Type a prompt, or pick one of the examples."


# --- the tasks and their models ----------------------------------------------------------------------------

FIRST_WINDOW = f"The prompt. Its first {WINDOW} tokens are read."
HEADS = {  # for programs: what the endpoint of a task with this head does, what it reads, and what it gives
    "classification": ("classify", FIRST_WINDOW, "The probability of each label, best first."),
    "detection": (
        "detect",
        FIRST_WINDOW,
        "scores: the probability of each label. threshold: the shipped one. flagged: whether it is reached.",
    ),
    "spans": (
        "find",
        f"The text, up to {MAX_CHARS:,} characters. All of it is read.",
        "The text read, its entities (start and end count code points) and a redacted copy.",
    ),
}
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

# Of the types of spans, in the order of the model's labels; white letters on each have a contrast above 4.5 to 1.
PALETTE = (
    *("#3f6fd1", "#167d74", "#9a650c", "#c03a4e", "#7a4fc0", "#2f7d2f"),
    *("#b0327f", "#0f6f9c", "#a3491a", "#5f6b16", "#586574", "#8a4a6b"),
)


@dataclass(frozen=True)
class Task:
    """One question asked of every prompt, the model that answers it, and the words around it.

    Attributes:
        head: "classification" (one label of several: bars), "detection" (a label that is reached or not: a verdict) or
            "spans" (stretches of the text: highlighted and masked).
        repo: a repo on the Hub, pinned to `revision`; or a local folder, which is read as it is.
        threshold: between 0 and 1. Left out, a classification has none; the other heads need one.
        title, question, about: the name of its tab, the question on its tile, and the sentence above its tab.
        positive: the label that a detection looks for.
        note: what a visitor must know of the model before believing it.
        topic: what it asks about, in a few words.
        tool, returns: what programs read of the endpoint: what it does, and what it gives.
        examples: prompts to click; the first stands on the first tab too, under `example_title`.
        verdicts: what a detection says at or above its threshold, and below.
    """

    name: str
    head: str
    repo: str
    revision: str | None
    threshold: float | None
    title: str
    question: str
    about: str
    positive: str = ""
    note: str = ""
    dataset: str = ""
    topic: str = ""
    tool: str = ""
    returns: str = ""
    example_title: str = ""
    examples: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    lock: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)


def read_tasks(path: Path) -> dict[str, Task]:
    """Read models.json: the tasks by name, in the order of the file.

    Raises ValueError with the file, what was expected and what was found.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing. `hubtools push-space` writes it beside app.py.") from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    entries = data.get("models") if isinstance(data, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise ValueError(f"{path}: 'models' needs at least one task under its name, found {entries!r}.")
    return {name: read_task(name, entry, f"{path}: models.{name}") for name, entry in entries.items()}


def read_task(name: str, entry: Any, where: str) -> Task:
    """One task of models.json. Raises ValueError that begins with `where`."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or name in ("route", "latency_ms"):
        raise ValueError(f"{where} needs a name of a-z, 0-9, _ and - that is not taken: it becomes an endpoint.")
    if not isinstance(entry, dict):
        raise ValueError(f"{where} needs the keys of a task, found {entry!r}.")
    needed = ("repo", "title", "question", "about")
    optional = ("positive", "note", "dataset", "topic", "tool", "returns", "example_title")
    for key in (*needed, *optional):
        if not isinstance(entry.get(key) or "", str) or (key in needed and not entry.get(key)):
            raise ValueError(f"{where} needs a {key!r} that is text, found {entry.get(key)!r}.")
    for key in ("examples", "verdicts"):
        value = entry.get(key) or []
        if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
            raise ValueError(f"{where} needs {key!r} to be a list of texts, found {value!r}.")
    head, threshold = entry.get("head"), entry.get("threshold")
    if head not in [*HEADS]:
        raise ValueError(f"{where} needs a 'head' that is one of {', '.join(HEADS)}, found {head!r}.")
    if head == "detection" and not entry.get("positive"):
        raise ValueError(f"{where} needs a 'positive': the label that the detection looks for.")
    if len(entry.get("verdicts") or []) not in (0, 2):
        raise ValueError(f"{where} needs two 'verdicts', found {entry['verdicts']!r}.")
    revision = None if Path(entry["repo"]).is_dir() else entry.get("revision")
    if not Path(entry["repo"]).is_dir() and (not revision or not isinstance(revision, str)):
        raise ValueError(f"{where} is neither a local folder nor pinned to a 'revision', found {revision!r}.")
    fits = type(threshold) in (int, float) and 0 <= threshold <= 1
    if not fits and (threshold is not None or head != "classification"):
        raise ValueError(f"{where} needs a 'threshold' between 0 and 1, found {threshold!r}.")
    words = {key: entry.get(key) or "" for key in (*needed, *optional)}
    words["topic"] = words["topic"] or inside(words["title"])
    lists = {key: tuple(entry.get(key) or ()) for key in ("examples", "verdicts")}
    return Task(name=name, head=head, revision=revision, threshold=threshold, **words, **lists)


@cache
def tasks() -> dict[str, Task]:
    return read_tasks(HERE / "models.json")


def shipped(name: str) -> float:
    """The threshold a model ships with; 0 where it ships with none."""
    return tasks()[name].threshold or 0.0


@cache
def load(name: str) -> Any:
    """The pipeline of a task, from its pinned revision, reading WINDOW tokens or what the model can."""
    from transformers import pipeline

    task = tasks()[name]
    kind = "token-classification" if task.head == "spans" else "text-classification"
    loaded: Any = pipeline(kind, model=task.repo, revision=task.revision, device="cpu")  # type: ignore[call-overload]
    limit = getattr(loaded.model.config, "max_position_embeddings", WINDOW)
    loaded.tokenizer.model_max_length = min(WINDOW, limit, loaded.tokenizer.model_max_length)
    if task.head == "detection" and task.positive not in loaded.model.config.label2id:
        raise ValueError(f"its labels are {sorted(loaded.model.config.label2id)}, {task.positive!r} is not among them")
    return loaded


def labels(name: str) -> list[str]:
    """The labels of a model in its own order, or the types of its spans."""
    named = load(name).model.config.id2label
    ordered = [named[number] for number in sorted(named)]
    if tasks()[name].head != "spans":
        return ordered
    return list(dict.fromkeys(re.sub("^[BI]-", "", label) for label in ordered if label != "O"))


def colors(name: str) -> dict[str, str]:
    """A colour for each type of a model's spans; beyond the palette they begin anew."""
    return {kind: PALETTE[number % len(PALETTE)] for number, kind in enumerate(labels(name))}


# --- their answers -----------------------------------------------------------------------------------------


def readable(text: str | None) -> str:
    """The text the models are given: at most MAX_CHARS characters, lone surrogates replaced one for one."""
    return (text or "")[:MAX_CHARS].encode("utf-8", "replace").decode("utf-8")


def count_tokens(name: str, text: str) -> int:
    """The length of a text in tokens of this model, special tokens included."""
    # A fast tokenizer holds its truncation as state: two threads in one pipeline raise "Already borrowed".
    with tasks()[name].lock:
        return len(load(name).tokenizer(readable(text), truncation=False, verbose=False)["input_ids"])


def classify(name: str, text: str) -> dict[str, float]:
    """The probability of every label, best first, from the first window of the text; {} for an empty text."""
    text = readable(text)
    if not text.strip():
        return {}
    pipe = load(name)
    with tasks()[name].lock:
        answers = pipe(text, top_k=None, truncation=True)
    return {answer["label"]: float(answer["score"]) for answer in answers}


def find_spans(name: str, text: str, threshold: float | None = None) -> dict[str, Any]:
    """The spans in all of the text whose score is at or above the threshold (the shipped one if None).

    Returns {"text", "entities"}: what gr.HighlightedText takes. Offsets count code points, and
    text[start:end] == word.
    """
    text = readable(text)
    if not text.strip():
        return {"text": text, "entities": []}
    pipe = load(name)
    with tasks()[name].lock:
        # Without a stride the pipeline drops all that is beyond the first window and says nothing.
        pieces = pipe(text, aggregation_strategy="simple", stride=pipe.tokenizer.model_max_length // 4)
    threshold = shipped(name) if threshold is None else threshold
    entities = [entity for entity in join_pieces(text, pieces) if entity["score"] >= threshold]
    return {"text": text, "entities": entities}


def join_pieces(text: str, pieces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Spans without the white space at their ends, in order, pieces of one word that touch made one.

    The score of a joined span is the mean of its pieces, weighted by length.
    """
    spans: list[dict[str, Any]] = []
    for piece in sorted(pieces, key=lambda piece: piece["start"]):
        start, end = piece["start"], piece["end"]
        start += len(text[start:end]) - len(text[start:end].lstrip())
        end -= len(text[start:end]) - len(text[start:end].rstrip())
        if spans:
            start = max(start, spans[-1]["end"])  # a character of several tokens can end one span and open the next
        if start >= end:
            continue
        span = {
            "entity_group": piece["entity_group"],
            "start": start,
            "end": end,
            "score": float(piece["score"]),
        }
        last = spans[-1] if spans else None
        if last and last["end"] == start and last["entity_group"] == span["entity_group"]:
            long, short = last["end"] - last["start"], end - start
            last["score"] = (last["score"] * long + span["score"] * short) / (long + short)
            last["end"] = end
        else:
            spans.append(span)
    return [{**span, "word": text[span["start"] : span["end"]]} for span in spans]


def redact(found: dict[str, Any]) -> str:
    """The text with every entity replaced by its type in brackets."""
    text: str = found["text"]
    for entity in reversed(found["entities"]):
        text = f"{text[: entity['start']]}[{entity['entity_group']}]{text[entity['end'] :]}"
    return text


def ask(name: str, text: str) -> dict[str, Any]:
    """The answer of a task at its shipped threshold: its spans, or the probability of every label."""
    return find_spans(name, text) if tasks()[name].head == "spans" else classify(name, text)


def route(text: str) -> dict[str, Any]:
    """The answer of each task under its name, and under "latency_ms" the milliseconds each took."""
    answers: dict[str, Any] = {}
    latency = {}
    for name in tasks():
        start = time.perf_counter()
        answers[name] = ask(name, text)
        latency[name] = round(1000 * (time.perf_counter() - start), 1)
    return {**answers, "latency_ms": latency}


# --- the API and the MCP tools -----------------------------------------------------------------------------


def require(text: str) -> str:
    if not (text or "").strip():
        raise gr.Error(HINT, print_exception=False)
    return text


def public_answer(name: str, answer: dict[str, Any]) -> dict[str, Any]:
    """What a program is told: with spans a redacted copy, with the scores of a detection its verdict."""
    task = tasks()[name]
    if task.head == "spans":
        return {**answer, "redacted": redact(answer)}
    if task.head == "detection":
        threshold = shipped(name)
        return {"scores": answer, "threshold": threshold, "flagged": answer[task.positive] >= threshold}
    return answer


def endpoints() -> dict[str, Callable[[str], dict[str, Any]]]:
    """The functions that programs call, by the names of their endpoints.

    gradio names an MCP tool after the function and describes it by the docstring, in this form.
    """

    def route_prompt(text: str) -> dict[str, Any]:
        answers = route(require(text))
        return {name: public_answer(name, answer) if name in tasks() else answer for name, answer in answers.items()}

    def endpoint(task: Task) -> Callable[[str], dict[str, Any]]:
        def answer(text: str) -> dict[str, Any]:
            return public_answer(task.name, ask(task.name, require(text)))

        verb, reads, returns = HEADS[task.head]
        answer.__name__ = re.sub(r"\W+", "_", f"{verb} {task.title}".lower())
        answer.__doc__ = docstring(task.tool or purpose(task), reads, task.returns or returns)
        return answer

    one, topics = len(tasks()) == 1, ", ".join(task.topic for task in tasks().values())
    named = "answer of the endpoint by its name" if one else f"answers of the {number()} endpoints by their names"
    route_prompt.__doc__ = docstring(
        f"Ask {'the question' if one else f'all {number()} questions'} of a prompt: {topics}.",
        f"The prompt. {first_window(tasks(), f'its first {WINDOW}')}".strip(),
        f"The {named}, and in latency_ms the milliseconds {'it' if one else 'each'} took.",
    )
    return {"route": route_prompt, **{name: endpoint(task) for name, task in tasks().items()}}


def purpose(task: Task) -> str:
    """What the endpoint of a task does, where models.json does not say."""
    names = labels(task.name)
    some = listed(names if len(names) <= 20 else [*names[:20], f"{len(names) - 20} others"])
    if task.head == "spans":
        return f"Find {task.topic} in a text: {some}. {task.about}"
    if task.head == "detection":
        return f"Tell whether a prompt is {plain(task.positive)}. {task.about}"
    return f"Classify a prompt by {task.topic}: {some}. {task.about}"


def docstring(summary: str, text: str, returned: str) -> str:
    return f"{summary}\n\nArgs:\n    text: {text}\n\nReturns:\n    {returned}\n"


# --- words and markup --------------------------------------------------------------------------------------


def compared(value: float, threshold: float) -> tuple[str, str]:
    """Both numbers with two decimals, or with as many as it takes to tell them apart."""
    for digits in range(2, 7):
        shown = f"{value:.{digits}f}", f"{threshold:.{digits}f}"
        if shown[0] != shown[1] or value == threshold:
            break
    return shown


def against(value: float, threshold: float, whose: str = "the shipped threshold") -> str:
    shown, limit = compared(value, threshold)
    return f"{shown}, {'at or above' if value >= threshold else 'below'} {whose} {limit}"


def settle(name: str, threshold: float) -> tuple[float, str]:
    """A slider's value and what to call it. The slider has steps of 0.001, the shipped value may be finer."""
    if abs(threshold - shipped(name)) < 0.0005:
        return shipped(name), "the shipped threshold"
    return threshold, "your threshold"


def plain(label: str) -> str:
    return label.replace("_", " ")


def inside(title: str) -> str:
    """A title inside a sentence: without its capital, unless it has others."""
    return title.lower() if title[1:] == title[1:].lower() else title


def listed(words: Iterable[str]) -> str:
    """Such as "a, b and c"."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def number() -> str:
    """How many tasks there are, in words."""
    return NUMBERS[len(tasks())] if len(tasks()) < len(NUMBERS) else f"{len(tasks())}"


def first_window(names: Iterable[str], window: str) -> str:
    """Which of the tasks read the first window of a text alone, such as "Domain and tool read the first"."""
    titles = [tasks()[name].title for name in names if tasks()[name].head != "spans"]
    if not titles:
        return ""
    return f"{listed([titles[0], *map(inside, titles[1:])])} read{'' if titles[1:] else 's'} {window} tokens."


def bars(scores: dict[str, float]) -> dict[str, float] | None:
    return {plain(label): score for label, score in scores.items()} or None


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def tile(name: str, answer: str = "", detail: str = "", ms: float | None = None, tone: str = "") -> str:
    """One of the answers at a glance. `tone` is "", "good", "warn" or "bad"."""
    task = tasks()[name]
    took = f"<span class='tile-ms'>{ms:,.0f} ms</span>" if ms is not None else ""
    shown = escape(answer) if answer else "<span aria-label='no answer yet'>&ndash;</span>"
    return (
        f"<section class='tile {tone}' data-task='{name}'>"
        f"<p class='tile-top'><span>{escape(task.title)}</span>{took}</p>"
        f"<p class='tile-answer'>{shown}</p>"
        f"<p class='tile-detail'>{escape(detail or task.question)}</p></section>"
    )


def tiles(answers: dict[str, Any] | None = None) -> str:
    """The answers side by side; the questions where there is no answer yet."""
    if answers is None:
        return f"<div class='tiles'>{''.join(tile(name) for name in tasks())}</div>"
    parts = []
    for name, task in tasks().items():
        answer, limit = answers[name], shipped(name)
        if task.head == "spans":
            spans = answer["entities"]
            title, tone = (f"{len(spans):,} found", "warn") if spans else ("None found", "good")
            detail = ", ".join(dict.fromkeys(plain(span["entity_group"]) for span in spans))
            detail = detail or f"no span at or above the shipped threshold {limit:g}"
        elif task.head == "detection":
            score = answer[task.positive]
            title, detail = verdicts(task)[score < limit], against(score, limit)
            tone = "bad" if score >= limit else "good"
        else:
            label, score = next(iter(answer.items()))
            title, detail = plain(label), f"{score:.2f}" if task.threshold is None else against(score, limit)
            tone = "known" if score >= limit else "unsure"
        parts.append(tile(name, title, detail, answers["latency_ms"][name], tone))
    return f"<div class='tiles'>{''.join(parts)}</div>"


def verdicts(task: Task) -> tuple[str, ...]:
    """What a detection says at or above its threshold, and below."""
    word = plain(task.positive)
    return task.verdicts or (word[:1].upper() + word[1:], f"Not {word}")


def verdict(name: str, score: float, threshold: float, whose: str = "the shipped threshold") -> str:
    """Such as "Toxic: 0.97, at or above the shipped threshold 0.70"."""
    return f"{verdicts(tasks()[name])[score < threshold]}: {against(score, threshold, whose)}"


def verdict_card(name: str, scores: dict[str, float], threshold: float, whose: str = "the shipped threshold") -> str:
    positive = tasks()[name].positive
    score, others = scores[positive], [plain(label) for label in scores if label != positive]
    words = verdict(name, score, threshold, whose)
    rest = against(score, threshold, whose)
    tone = "bad" if score >= threshold else "good"
    return (
        f"<div class='verdict {tone}'><p><strong>{escape(words.removesuffix(rest).strip())}</strong> {escape(rest)}</p>"
        f"<div class='meter' role='img' aria-label='{escape(words)}'>"
        f"<i class='fill' style='width:{100 * score:.1f}%'></i>"
        f"<i class='mark' style='left:{100 * threshold:.1f}%'></i></div>"
        f"<p class='scale' aria-hidden='true'><span>0 {escape(listed(others))}</span>"
        f"<span>{escape(plain(positive))} 1</span></p></div>"
    )


def status(names: Sequence[str], text: str, ms: float) -> str:
    """How long the tasks of these names took, and what they left unread. The first one's tokens are counted."""
    window, tokens = load(names[0]).tokenizer.model_max_length, count_tokens(names[0], text)
    parts = [f"{counted(tokens, 'token')} in {ms:,.0f} ms."]
    if len(text) > MAX_CHARS:
        parts.append(f"The text has {len(text):,} characters: only the first {MAX_CHARS:,} were read.")
    if tokens > window:
        parts.append(first_window(names, f"the first {window:,}"))
        topics = [tasks()[name].topic for name in names if tasks()[name].head == "spans"]
        if topics and len(text) <= MAX_CHARS:
            parts.append(f"All of it is searched for {listed(topics)}.")
    return line(" ".join(part for part in parts if part))


def line(words: str, tone: str = "") -> str:
    return f"<p class='status {tone}' role='status'>{escape(words)}</p>"


def spans_list(entities: list[dict[str, Any]]) -> str:
    """Every span with its type and score; "" where there is none."""
    rows = "".join(
        f"<li><span>{escape(plain(entity['entity_group']))}</span><span>{escape(entity['word'])}</span>"
        f"<span>{entity['score']:.2f}</span></li>"
        for entity in entities
    )
    return f"<ul class='spans' aria-label='Spans with their scores'>{rows}</ul>" if rows else ""


def link(path: str, words: str) -> str:
    address = escape(f"{constants.ENDPOINT}/{path}")
    return f"<a href='{address}' target='_blank' rel='noopener'>{escape(words)}</a>"


def facts(name: str) -> str:
    """The line under a tab's sentence: model at its revision, dataset, shipped threshold, note."""
    task = tasks()[name]
    if task.revision:
        source = link(f"{task.repo}/tree/{task.revision}", task.repo) + f" @ {escape(task.revision[:7])}"
    else:
        source = f"local folder {escape(Path(task.repo).name)}"
    parts = [f"<span><b>Model</b> {source}</span>"]
    if task.dataset:
        parts.append(f"<span><b>Dataset</b> {link('datasets/' + task.dataset, task.dataset)}</span>")
    if task.threshold is not None:
        parts.append(f"<span><b>Shipped threshold</b> {task.threshold:g}</span>")
    if task.note:
        parts.append(f"<span><b>Note</b> {escape(task.note)}</span>")
    return f"<p class='about'>{escape(task.about)}</p><p class='facts'>{''.join(parts)}</p>"


def notes() -> str:
    """What a visitor must know of these models before believing them; "" where there is nothing."""
    noted = [task for task in tasks().values() if task.note]
    if not noted:
        return ""
    if len(noted) == len(tasks()) > 1 and len({task.note for task in noted}) == 1:
        words = f"{'Both' if len(noted) == 2 else f'All {number()}'}: {noted[0].note}"
    else:
        words = "; ".join(f"{task.title}: {task.note}" for task in noted)
    return f"<p class='note'>{escape(words.rstrip('.'))}.</p>"


# --- the handlers ------------------------------------------------------------------------------------------


def answer_values(name: str, answer: dict[str, Any] | None, threshold: float, whose: str) -> list[Any]:
    """What answer_boxes() hold for an answer, or for None: bars; a verdict; highlights and the redacted copy."""
    head = tasks()[name].head
    if head == "spans":
        return [answer, redact(answer)] if answer else [None, ""]
    if head == "detection":
        return [verdict_card(name, answer, threshold, whose) if answer else ""]
    return [bars(answer or {})]


def show_route(text: str) -> tuple[Any, ...]:
    """Tiles, status, details' visibility, and what each task shows."""
    if not (text or "").strip():
        nothing = [value for name in tasks() for value in answer_values(name, None, 0, "")]
        return tiles(), line(HINT, "hint"), gr.update(visible=False), *nothing
    answers = route(text)
    values = [v for name in tasks() for v in answer_values(name, answers[name], shipped(name), "the shipped threshold")]
    top = status([*tasks()], text, sum(answers["latency_ms"].values()))
    return tiles(answers), top, gr.update(visible=True), *values


def show_task(name: str, text: str, threshold: float = 0.0) -> tuple[Any, ...]:
    """Status and what the task shows; then the list of spans, or the bars of a detection."""
    head = tasks()[name].head
    more: list[Any] = {"spans": [""], "detection": [None]}.get(head, [])
    if not (text or "").strip():
        return line(HINT, "hint"), *answer_values(name, None, 0, ""), *more
    start = time.perf_counter()
    limit, whose = settle(name, threshold)
    answer = find_spans(name, text, limit) if head == "spans" else classify(name, text)
    top = status([name], text, 1000 * (time.perf_counter() - start))
    if head == "spans":
        top += line(f"{counted(len(answer['entities']), 'span')} at or above {whose} {limit:g}.")
        more = [spans_list(answer["entities"])]
    elif head == "detection":
        more = [bars(answer)]
    return top, *answer_values(name, answer, limit, whose), *more


# --- the page ----------------------------------------------------------------------------------------------

THEME = gr.themes.Base(
    primary_hue="teal",
    secondary_hue="teal",
    neutral_hue="slate",
    font=(
        gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)),
        "ui-sans-serif",
        "system-ui",
        "sans-serif",
    ),
).set(
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    body_background_fill="*neutral_50",
    body_background_fill_dark="#0e1419",
    block_background_fill="white",
    block_background_fill_dark="#161e25",
    background_fill_primary_dark="#161e25",
    background_fill_secondary_dark="#11181e",
    input_background_fill="white",
    input_background_fill_dark="#11181e",
    border_color_primary="*neutral_200",
    border_color_primary_dark="#2a3640",
    block_border_color_dark="#2a3640",
    block_label_background_fill_dark="#161e25",
    block_label_text_color="*neutral_600",
    block_label_text_color_dark="*neutral_300",
    block_title_text_weight="600",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    button_primary_text_color="white",
    link_text_color="*primary_700",
    link_text_color_dark="*primary_300",
    stat_background_fill="*primary_600",
    stat_background_fill_dark="*primary_500",
    color_accent="*primary_700",
    slider_color="*primary_600",
)
CSS = """
.gradio-container { --good: #1f7a4d; --warn: #8a5a0b; --bad: #b3263a; }
.dark .gradio-container {
  --good: #5fc894; --warn: #e0a94a; --bad: #f2808f; --color-accent: var(--primary-300); }
.gradio-container .main.app { max-width: 1120px !important; padding: 16px clamp(12px, 4vw, 32px) !important; }
.gradio-container .html-container { padding: 0 !important; }
.gradio-container footer .divider { visibility: hidden; }
.masthead { padding-top: 12px; }
.masthead h1 { font-size: 29px; line-height: 1.2; letter-spacing: -.01em; margin: 0 0 8px; font-weight: 700; }
.masthead p { margin: 0; color: var(--body-text-color-subdued); font-size: 16px; line-height: 1.5; }
.masthead .note { margin-top: 14px; padding: 8px 12px; border-left: 3px solid; border-color: var(--warn);
  font-size: 14px; color: var(--body-text-color);
  background: color-mix(in srgb, var(--warn) 10%, transparent); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; }
.tile, .verdict { border: 1px solid; border-color: var(--border-color-primary); border-radius: 6px;
  background: var(--block-background-fill); padding: 12px 14px; }
.tile { border-top-width: 3px; }
.tile p { margin: 0; }
.tile .tile-top { display: flex; justify-content: space-between; gap: 8px; font-size: 13px; font-weight: 700;
  color: var(--body-text-color-subdued); }
.tile-ms { font-weight: 400; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tile .tile-answer { font-size: 21px; line-height: 1.25; font-weight: 700; margin: 8px 0 4px; }
.tile .tile-detail { font-size: 13px; line-height: 1.45; color: var(--body-text-color-subdued); }
.tile.known { border-top-color: var(--color-accent); }
.tile.unsure .tile-answer { color: var(--body-text-color-subdued); }
.tile.good { border-top-color: var(--good); } .tile.good .tile-answer { color: var(--good); }
.tile.warn { border-top-color: var(--warn); } .tile.warn .tile-answer { color: var(--warn); }
.tile.bad { border-top-color: var(--bad); } .tile.bad .tile-answer { color: var(--bad); }
.verdict p { margin: 0 0 12px; font-size: 16px; line-height: 1.4; }
.verdict.good strong { color: var(--good); } .verdict.bad strong { color: var(--bad); }
.meter { position: relative; height: 10px; border-radius: 5px; background: var(--border-color-primary); }
.meter .fill { position: absolute; inset: 0 auto 0 0; border-radius: 5px; background: var(--good); }
.verdict.bad .fill { background: var(--bad); }
.meter .mark { position: absolute; top: -4px; bottom: -4px; width: 3px; margin-left: -1px; border-radius: 2px;
  background: var(--body-text-color); }
.verdict .scale { display: flex; justify-content: space-between; margin: 8px 0 0; font-size: 13px;
  color: var(--body-text-color-subdued); }
.status { margin: 0; font-size: 14px; line-height: 1.5; color: var(--body-text-color-subdued); }
.status.hint { color: var(--warn); }
.about { margin: 8px 0; font-size: 16px; line-height: 1.5; max-width: 80ch; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 4px; font-size: 13px; }
.facts span { overflow-wrap: anywhere; }
.facts b { margin-right: 4px; }
.facts a { text-underline-offset: 2px; margin: 0 !important; padding: 0 !important; }
.prose ul.spans { list-style: none; margin: 0; padding: 0; font-size: 14px; }
.prose .spans li { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr) auto; gap: 12px; margin: 0;
  padding: 7px 2px; border-bottom: 1px solid; border-color: var(--border-color-primary); }
.prose .spans span { overflow-wrap: anywhere; }
.prose .spans span:first-child { color: var(--body-text-color-subdued); }
.bars dt, .bars dd, .bars .label { font-family: var(--font) !important; font-size: 14px !important; }
.scroll { max-height: 420px; overflow-y: auto !important; }
.scroll .textfield { line-height: 1.9; overflow-wrap: anywhere; word-break: normal !important; }
.scroll .token-container { margin: 0 !important; }
.scroll .token.highlighted { color: var(--body-text-color) !important; border-radius: 4px; padding: 2px 3px;
  margin: 0 1px; }
.scroll .token .label { color: white !important; border-radius: 3px; font-size: 11px; }
.colophon { margin: 12px 0 0; font-size: 13px; color: var(--body-text-color-subdued); text-align: center; }
@media (max-width: 760px) {
  .tiles { grid-template-columns: repeat(auto-fit, minmax(max(140px, 34%), 1fr)); gap: 8px; }
  .tile { padding: 10px 11px; } .tile .tile-answer { font-size: 18px; }
  .masthead h1 { font-size: 25px; }
}
"""


def prompt_box(lines: int = 4) -> gr.Textbox:
    return gr.Textbox(
        label="Prompt", lines=lines, max_lines=16, placeholder="Type or paste a prompt. Shift+Enter runs it."
    )


def answer_on(fn: Any, inputs: list[Any], outputs: list[Any], *triggers: Any) -> None:
    """Every trigger runs the same private handler; the public endpoints are typed functions of their own."""
    gr.on(list(triggers), fn, inputs, outputs, api_visibility="private", show_progress="minimal")


def bars_box(label: str, best: int | None = None) -> gr.Label:
    return gr.Label(label=label, num_top_classes=best, show_heading=False, elem_classes="bars")


def examples_for(
    text: gr.Textbox,
    prompts: list[str],
    fn: Any,
    inputs: list[Any],
    outputs: list[Any],
    labels: list[str] | None = None,
) -> None:
    """Examples that fill the box and run at once, with whatever threshold is set."""
    examples = gr.Examples(
        [[prompt] for prompt in prompts],
        [text],
        cache_examples=False,
        example_labels=labels,
        label="Examples, answered at a click",
        api_visibility="private",
    )
    examples.load_input_event.then(fn, inputs, outputs, api_visibility="private", show_progress="minimal")


def answer_boxes(name: str, most: int | None = None) -> list[Any]:
    """Where the answer of a task is shown; of a classification the best labels, `most` of them."""
    task = tasks()[name]
    if task.head == "spans":
        return [
            gr.HighlightedText(label=task.title, color_map=colors(name), elem_classes="scroll"),
            gr.Textbox(label="Redacted copy", lines=2, max_lines=12, interactive=False, buttons=["copy"]),
        ]
    if task.head == "detection":
        return [gr.HTML()]
    if most is None:
        return [bars_box("Probabilities")]
    best = f", best {NUMBERS[most]}" if len(labels(name)) > most else ""
    return [bars_box(f"{task.title}{best}", most)]


def threshold_slider(name: str) -> gr.Slider:
    info = f"Ships at {shipped(name):g}."
    return gr.Slider(0, 1, value=shipped(name), step=0.001, label="Threshold", info=info, buttons=["reset"])


def route_tab() -> None:
    text = prompt_box()
    examples = gr.Column()
    button = gr.Button("Route this prompt", variant="primary")
    said = gr.HTML(line("Nothing you type is kept."))
    top = gr.HTML(tiles(), elem_id="tiles")
    # Bars on the left; on the right what has no length of its own. One kind alone takes the whole width.
    by_head = {head: [name for name, task in tasks().items() if task.head == head] for head in HEADS}
    columns = [by_head["classification"], by_head["detection"] + by_head["spans"]]
    boxes: dict[str, list[Any]] = {}
    with gr.Row(visible=False, elem_id="details") as details:
        for names in filter(None, columns):
            with gr.Column():
                boxes |= {name: answer_boxes(name, 5) for name in names}
    outputs = [top, said, details, *(box for name in tasks() for box in boxes[name])]
    answer_on(show_route, [text], outputs, button.click, text.submit)
    with examples:
        firsts = {task.examples[0]: task.example_title for task in tasks().values() if task.examples}
        names = [title or prompt for prompt, title in firsts.items()]
        examples_for(text, list(firsts), show_route, [text], outputs, names)


def classifier_tab(name: str) -> None:
    """Sentence and facts above; the prompt on the left, the answer on the right."""
    task = tasks()[name]
    gr.HTML(facts(name))
    with gr.Row():
        with gr.Column():
            text = prompt_box(lines=6)
            inputs: list[Any] = [text]
            if task.head != "classification":
                inputs.append(threshold_slider(name))
            examples = gr.Column()
            button = gr.Button(f"Find {task.topic}" if task.head == "spans" else "Classify", variant="primary")
        with gr.Column():
            outputs = [gr.HTML(line("The answer will appear here.")), *answer_boxes(name)]
            if task.head == "spans":
                outputs.append(gr.HTML())
            elif task.head == "detection":
                outputs.append(bars_box("Probabilities"))
    handler = partial(show_task, name)
    answer_on(handler, inputs, outputs, button.click, text.submit, *[slider.release for slider in inputs[1:]])
    with examples:
        examples_for(text, list(task.examples), handler, inputs, outputs)


def build() -> gr.Blocks:
    """The page, the endpoints and, where gradio[mcp] is installed, the MCP tools of the same functions."""
    one = len(tasks()) == 1
    asked = "a question" if one else f"{number()} questions"
    answering = "A classifier answers it here." if one else f"{number().capitalize()} classifiers answer them here."
    demo: gr.Blocks
    with gr.Blocks(title="Router classifiers", analytics_enabled=False) as demo:
        gr.HTML(
            f"<header class='masthead'><h1>Router classifiers</h1><p>A semantic router asks {asked} of "
            f"every prompt before a language model sees it. {answering}</p>{notes()}</header>"
        )
        with gr.Tabs(overflow_behavior="wrap"):
            with gr.Tab("Route a prompt", id="route"):
                route_tab()
            for name, task in tasks().items():
                with gr.Tab(task.title, id=name):
                    classifier_tab(name)
        gr.HTML("<p class='colophon'>No history, no analytics: what you type is answered and forgotten.</p>")
        for name, endpoint in endpoints().items():
            gr.api(endpoint, api_name=name)  # type: ignore[attr-defined]
    return demo


def warm_up() -> None:
    """Load the models in order and let each answer once, so that the first visitor does not wait.

    Raises SystemExit that names the model which cannot be loaded.
    """
    for name, task in tasks().items():
        where = f"{task.repo} at {task.revision[:7]}" if task.revision else task.repo
        start = time.perf_counter()
        try:
            load(name)
            ask(name, "Send an e-mail to Anna that the meeting moves to 3 pm")
        except Exception as error:
            source = "" if task.revision is None else f" from {constants.ENDPOINT}"
            raise SystemExit(f"The {name} model {where} cannot be loaded{source}: {error}") from error
        print(f"{name}: {where}, ready in {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)


def main() -> None:
    try:
        tasks()
    except ValueError as error:
        raise SystemExit(str(error)) from error
    warm_up()
    demo = build()
    demo.queue(default_concurrency_limit=2, max_size=32)
    demo.launch(
        theme=THEME,
        css=CSS,
        footer_links=["api", "settings"],
        run_history=False,
        ssr_mode=False,
        mcp_server=find_spec("mcp") is not None,
    )


if __name__ == "__main__":
    main()
