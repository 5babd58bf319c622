"""The parts of the page as markup: everything that a visitor, a model or models.json said is escaped here."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from answering import WINDOW, load
from huggingface_hub import constants
from languages import code_point, is_invisible
from policy import REVIEW, Decision, Entity, find_point, place_together, say_threshold
from tasks import Task, plain, tasks, verdicts
from texts import compared, counted, listed, number, say

# Of the types of spans, in the order of the model's labels; white letters on each have a contrast above 4.5 to 1.
PALETTE = (
    *("#3f6fd1", "#167d74", "#9a650c", "#c03a4e", "#7a4fc0", "#2f7d2f"),
    *("#b0327f", "#0f6f9c", "#a3491a", "#5f6b16", "#586574", "#8a4a6b"),
)
TONES = {"block": "bad", "review": "warn", "mask": "known", "pass": "good"}


def colors(name: str) -> dict[str, str]:
    """A colour for each type of a model's spans; beyond the palette they begin anew."""
    kinds = dict.fromkeys(label.split("-", 1)[-1] for label in load(name).labels if label != "O")
    return {kind: PALETTE[place % len(PALETTE)] for place, kind in enumerate(kinds)}


def line(words: str, tone: str = "", aloud: str = "") -> str:
    """The one line that says what goes on. A screen reader reads it, and `aloud`, which stands large below it."""
    heard = f"<span class='heard'>{escape(aloud)}. </span>" if aloud else ""
    return f"<p class='status {tone}'>{heard}{escape(words)}</p>"


def link(path: str, words: str) -> str:
    address = escape(f"{constants.ENDPOINT}/{path}")
    return f"<a href='{address}' target='_blank' rel='noopener'>{escape(words)}</a>"


def masthead(asked: str) -> str:
    return (
        f"<header class='masthead'><h1>{escape(say('heading'))}</h1><p>{escape(say('lead', asked=asked))}</p>"
        f"{notes()}</header>"
    )


def notes() -> str:
    """What a visitor must know of these models before believing them; "" where there is nothing."""
    noted = [task for task in tasks().values() if task.note]
    if not noted:
        return ""
    if len(noted) == len(tasks()) > 1 and len({task.note for task in noted}) == 1:
        words = f"{'Both' if len(noted) == 2 else f'All {number(len(tasks()))}'}: {noted[0].note}"
    else:
        words = "; ".join(f"{task.title}: {task.note}" for task in noted)
    return f"<p class='note'>{escape(words.rstrip('.'))}.</p>"


def result(text: str, decision: Decision, latency: dict[str, float]) -> str:
    """The answer: decision, annotated prompt, masked copy, a row for each task, and the decision as JSON."""
    answers = decision["answers"]
    found = [(task, answers[name]) for name, task in tasks().items() if task.head == "spans"]
    entities = place_together(found)
    panes = [pane(say("annotated"), f"<div class='annotated' tabindex='0'>{annotate(text, decision, entities)}</div>")]
    if entities:
        masked = decision["prompt"] if decision["action"] == "mask" else found[0][1]["masked"]
        copied = f"<pre class='masked' tabindex='0'>{show_invisible(str(masked))}</pre>"
        panes.append(pane(say("masked"), copied, copy=True))
    rows = "".join(row(task, answers[name], latency.get(name)) for name, task in tasks().items())
    return (
        f"<section class='result' data-action='{decision['action']}' aria-label='Answer'>{strip(decision)}"
        f"<div class='panes'>{''.join(panes)}</div><ul class='rows'>{rows}</ul>{as_json(decision)}</section>"
    )


def strip(decision: Decision) -> str:
    warnings = "".join(f"<li>{escape(words)}</li>" for words in decision["warnings"])
    return (
        f"<div class='decision {TONES[decision['action']]}'><h2>{escape(decision['headline'])}</h2>"
        f"<p>{escape(decision['reason'])}</p>{f'<ul class=warnings>{warnings}</ul>' if warnings else ''}</div>"
    )


def pane(title: str, body: str, copy: bool = False) -> str:
    button = f"<button type='button' class='quiet' data-copy='pre'>{escape(say('copy'))}</button>" if copy else ""
    return f"<section class='pane'><div class='pane-top'><h3>{escape(title)}</h3>{button}</div>{body}</section>"


def annotate(text: str, decision: Decision, entities: list[Entity]) -> str:
    """The text once: spans underlined and named, the windows that looked like what is sought shaded, all shown."""
    shaded = [
        (*answer["strongest"], verdicts(tasks()[name])[0], TONES[answer["zone"]])
        for name, answer in decision["answers"].items()
        if tasks()[name].head == "detection" and answer["zone"] != "pass"
    ]
    shades = {
        kind: color for name, task in tasks().items() if task.head == "spans" for kind, color in colors(name).items()
    }
    parts, end = [], 0
    for start, stop, words, tone in sorted(shaded)[:1]:
        parts.append(mark_spans(text, end, start, entities, shades))
        inner = mark_spans(text, start, stop, entities, shades)
        parts.append(f"<span class='shaded {tone}'><b class='name'>{escape(words)}</b>{inner}</span>")
        end = stop
    return "".join([*parts, mark_spans(text, end, len(text), entities, shades)])


def mark_spans(text: str, start: int, stop: int, entities: list[Entity], shades: dict[str, str]) -> str:
    """text[start:stop] with the entities in it marked; of one that reaches beyond, the part that is in it."""
    parts = []
    for entity in entities:
        first, last = max(start, entity["start"]), min(stop, entity["end"])
        if first >= last:
            continue
        name, kind = entity["placeholder"].strip("[]"), entity["entity_group"]
        parts.append(show_invisible(text[start:first]))
        parts.append(
            f"<mark class='span' style='--shade:{shades.get(kind, PALETTE[0])}' title='{entity['score']:.2f}'>"
            f"{show_invisible(text[first:last])}<b class='name'>{escape(plain(name))}</b></mark>"
        )
        start = last
    return "".join([*parts, show_invisible(text[start:stop])])


def show_invisible(text: str) -> str:
    """Escaped, with a chip in the place of each character that does not show."""
    if not any(map(is_invisible, text)):
        return escape(text)
    return "".join(
        f"<span class='unseen' title='a character that does not show'>{code_point(char)}</span>"
        if is_invisible(char)
        else escape(char)
        for char in text
    )


def row(task: Task, answer: Any, ms: float | None) -> str:
    """Question, answer, bar with the threshold's mark, how good the model is, and where it comes from."""
    words, tone, score, limit = say_answer(task, answer)
    mark = f"<i class='mark' style='left:{100 * limit:.1f}%'></i>" if limit else ""
    shown, at = (f"{score:.2f}", "") if limit is None else (lambda pair: (pair[0], pair[1]))(compared(score, limit))
    told = f"{shown} of 1" + (f", threshold {at}" if at and limit else "")
    if task.head == "spans" and not answer["entities"]:
        shown, told = "", "nothing found"
    under = f"<span>{escape(shown)}</span>" + (f"<span>threshold {at}</span>" if at and limit else "<span></span>")
    return (
        f"<li class='row {tone}' data-task='{escape(task.name)}'>"
        f"<div class='row-ask'><span class='ask'>{escape(task.question)}</span>"
        f"<strong class='said'>{escape(words)}</strong></div>"
        f"<div class='row-bar'><div class='meter' role='img' aria-label='{escape(told)}'>"
        f"<i class='fill' style='width:{100 * score:.1f}%'></i>{mark}</div>"
        f"<p class='scale' aria-hidden='true'>{under}</p></div>"
        f"<div class='row-model'><p>{escape(say_score(task))}</p>"
        f"<p>{source(task)}</p><p>{escape(say_read(task, answer, ms))}</p></div></li>"
    )


def say_answer(task: Task, answer: Any) -> tuple[str, str, float, float | None]:
    """What a row says, its tone, its score and its threshold."""
    if task.head == "spans":
        found = answer["entities"]
        best = max((entity["score"] for entity in found), default=0.0)
        kinds = listed(dict.fromkeys(plain(entity["entity_group"]) for entity in found)) if found else ""
        words = f"{len(found):,} found: {kinds}" if found else "None found"
        return words, "known" if found else "good", best, answer["threshold"]
    if task.head == "detection":
        high, low = verdicts(task)
        words, tone = {
            "block": (high, "bad"),
            "review": (f"{high}? Worth a look", "warn"),
            "pass": (low, "good"),
        }[answer["zone"]]
        return words, tone, answer["score"], answer["threshold"]
    if answer["fallback"]:
        best = plain(next(iter(answer["scores"])))
        return f"{plain(answer['label'])} (unsure: {best})", "unsure", answer["score"], answer["threshold"]
    return plain(answer["label"]), "known", answer["score"], answer["threshold"]


def say_score(task: Task) -> str:
    """How good the model was on its test split."""
    score = task.score
    if score is None:
        return "No test score known"
    rows = f", {score.rows:,} test prompts" if score.rows else ""
    return f"{score.title} {score.value:.2f} ({score.low:.2f} to {score.high:.2f}){rows}"


def source(task: Task) -> str:
    """The card of the model, and the commit that answers."""
    if not task.revision:
        return f"Local folder {escape(task.repo.rstrip('/').rsplit('/', 1)[-1])}"
    card = link(f"{task.repo}/blob/{task.revision}/README.md", "model card")
    data = f", {link('datasets/' + task.dataset, 'dataset')}" if task.dataset else ""
    return f"{card}{data}, commit <code>{escape(task.revision[:7])}</code>"


def say_read(task: Task, answer: Any, ms: float | None) -> str:
    """Which part of the text was read, and how fast."""
    tokens, windows = answer["tokens_read"], answer["windows"]
    if answer["truncated"]:
        said = f"Read the first {counted(tokens, 'token')} only"
    elif windows > 1:
        said = f"Read all {counted(tokens, 'token')} in {windows} windows"
    else:
        said = f"Read all {counted(tokens, 'token')}"
    return said + (f" in {ms:,.0f} ms" if ms is not None else "")


def as_json(decision: Decision) -> str:
    shown = json.dumps(rounded(decision), indent=2, ensure_ascii=False)
    return (
        f"<details class='json'><summary>{escape(say('json'))}</summary>"
        f"<button type='button' class='quiet' data-copy='pre'>{escape(say('copy'))}</button>"
        f"<pre tabindex='0'>{escape(shown)}</pre></details>"
    )


def rounded(value: Any) -> Any:
    """The same JSON with six decimals, which is more than a model knows."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


# --- the policy drawer ---


def policy_words(task: Task, limit: float) -> str:
    """What the threshold gives on the test split, with the curve and the point on it."""
    said = say_threshold(task, limit)
    whose = "shipped threshold" if limit == task.limit else "your threshold"
    at = f"<b>{escape(whose.capitalize())} {limit:g}.</b> "
    return f"<div class='policy'>{curve(task, limit)}<p>{at}{escape(said)}</p></div>"


def curve(task: Task, limit: float) -> str:
    """The curve of the test split as a drawing: what is found over what is a false alarm, or accuracy over share."""
    if not task.curve:
        return ""
    turned = task.head != "classification"
    pairs = [(b, a) if turned else (a, b) for _, a, b in task.curve]
    points = " ".join(f"{100 * x:.1f},{60 - 60 * y:.1f}" for x, y in pairs)
    first, second = find_point(task, limit) or (0.0, 0.0)
    x, y = (second, first) if turned else (first, second)
    axes = {"detection": "harmless stopped, caught", "spans": "false alarms, found"}.get(task.head, "answered, right")
    return (
        f"<svg class='curve' viewBox='-3 -3 106 66' aria-hidden='true'><title>{axes}</title>"
        f"<path d='M0 0V60H100' /><polyline points='{points}' />"
        f"<circle cx='{100 * x:.1f}' cy='{60 - 60 * y:.1f}' r='3' /></svg>"
    )


def first_window() -> str:
    """Which tasks read the beginning of a long text alone, for the foot of the page."""
    titles = [task.title for task in tasks().values() if task.head == "classification"]
    if not titles:
        return ""
    return f"{listed(titles)} read{'' if titles[1:] else 's'} the first {WINDOW} tokens of a long text."


def zones() -> str:
    return f"Below {REVIEW:g} a detection passes, from its threshold on it blocks, between the two somebody has a look."
