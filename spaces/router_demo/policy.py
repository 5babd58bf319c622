"""What follows from the answers: each task's verdict at a threshold, and the one decision that a router acts on.

Functions of what the models read (`Read`) and of the thresholds alone: no model is asked again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from answering import MAX_CHARS, Read, readable
from languages import find_language, find_script, is_invisible, name_languages
from tasks import Task, inside, plain, tasks, verdicts
from texts import compared, counted, listed, number, percent, say, upper

REVIEW = 0.5  # a detection at or above this is never passed without a look
Zone = Literal["pass", "review", "block"]
Action = Literal["pass", "mask", "review", "block"]


class Entity(TypedDict):
    """A stretch of the text, in code points: text[start:end] == word. `placeholder` stands for it in the copy."""

    entity_group: str
    start: int
    end: int
    score: float
    word: str
    placeholder: str


class LabelAnswer(TypedDict):
    """One label of several. `fallback`: the best label was below the threshold, and `label` stands for it."""

    label: str
    score: float
    threshold: float | None
    fallback: bool
    scores: dict[str, float]
    tokens_read: int
    windows: int
    truncated: bool


class DetectionAnswer(TypedDict):
    """Whether a label is reached. `strongest`: start and end of the window that decided, in code points."""

    label: str
    score: float
    threshold: float
    flagged: bool
    zone: Zone
    scores: dict[str, float]
    strongest: list[int]
    tokens_read: int
    windows: int
    truncated: bool


class SpansAnswer(TypedDict):
    """Stretches of the text, and a copy in which each is a numbered placeholder, the same for the same value."""

    entities: list[Entity]
    masked: str
    threshold: float
    tokens_read: int
    windows: int
    truncated: bool


Answer = LabelAnswer | DetectionAnswer | SpansAnswer
ANSWERS: dict[str, Any] = {"classification": LabelAnswer, "detection": DetectionAnswer, "spans": SpansAnswer}


class Decision(TypedDict):
    """What a router does with a prompt, and why.

    `prompt` is what it sends on: the masked copy where there is something to mask, None where it sends nothing.
    """

    action: Action
    headline: str
    reason: str
    prompt: str | None
    warnings: list[str]
    answers: dict[str, Any]
    models: dict[str, str]


def shipped() -> dict[str, float]:
    """The thresholds that the models ship with, of those that have one."""
    return {name: task.limit for name, task in tasks().items() if task.threshold is not None or task.head == "spans"}


def answer_at(task: Task, text: str, read: Read, limit: float | None) -> Any:
    """The answer of a task at a threshold: an `Answer` of its head. `text` is what was read."""
    part: Any = {key: read[key] for key in ("tokens_read", "windows", "truncated")}  # type: ignore[literal-required]
    if task.head == "spans":
        kept = place([entity for entity in read["entities"] if entity["score"] >= (limit or 0)])
        return SpansAnswer(entities=kept, masked=mask(text, kept), threshold=limit or 0.0, **part)
    scores = read["scores"]
    if task.head == "classification":
        best = next(iter(scores))
        unsure = bool(task.fallback) and limit is not None and scores[best] < limit
        label = task.fallback if unsure else best
        return LabelAnswer(
            label=label, score=scores[best], threshold=limit, fallback=unsure, scores=scores, **part
        )  # fmt: skip
    score, threshold = scores[task.positive], limit or 0.0
    flagged = score >= threshold  # at least, not above, as in the router
    zone: Zone = "block" if flagged else "review" if score >= REVIEW else "pass"
    label = task.positive if flagged else next(label for label in scores if label != task.positive)
    return DetectionAnswer(
        label=label,
        score=score,
        threshold=threshold,
        flagged=flagged,
        zone=zone,
        scores=scores,
        strongest=read["strongest"],
        **part,
    )


def place(entities: list[dict[str, Any]]) -> list[Entity]:
    """The entities with their placeholders, such as "[PERSON_1]": the same value gets the same."""
    numbers: dict[str, dict[str, int]] = {}
    placed = []
    for entity in entities:
        known = numbers.setdefault(entity["entity_group"], {})
        value = " ".join(entity["word"].casefold().split())
        turn = known.setdefault(value, len(known) + 1)
        placed.append(Entity(**entity, placeholder=f"[{entity['entity_group']}_{turn}]"))
    return placed


def mask(text: str, entities: list[Entity]) -> str:
    """The text with every entity replaced by its placeholder."""
    parts, end = [], 0
    for entity in entities:
        parts += [text[end : entity["start"]], entity["placeholder"]]
        end = entity["end"]
    return "".join([*parts, text[end:]])


def decide(text: str, reads: Mapping[str, Read], limits: Mapping[str, float] | None = None) -> Decision:
    """The decision on a text, as typed, at these thresholds; at the shipped ones where there are none."""
    whole, text = text, readable(text)
    limits = shipped() if limits is None else limits
    answers = {name: answer_at(tasks()[name], text, read, limits.get(name)) for name, read in reads.items()}
    detections = [(tasks()[name], a) for name, a in answers.items() if tasks()[name].head == "detection"]
    spans = [(tasks()[name], a) for name, a in answers.items() if tasks()[name].head == "spans" and a["entities"]]
    labels = [(tasks()[name], a) for name, a in answers.items() if tasks()[name].head == "classification"]
    zones = [a["zone"] for _, a in detections]
    prompt: str | None = None
    action: Action
    if "block" in zones or "review" in zones:
        action = "block" if "block" in zones else "review"
        headline = "Blocked" if action == "block" else "Review"
        reason = " ".join(say_detection(task, a) for task, a in detections if a["zone"] == action)
    else:
        action = "mask" if spans else "pass"
        headline = say_actions(spans, labels, passed=bool(detections))
        prompt = mask(text, place_together(spans)) if spans else text
        reason = say_reason(detections, spans, labels)
    return Decision(
        action=action,
        headline=headline,
        reason=reason,
        prompt=prompt,
        warnings=warn(whole),
        answers=answers,
        models={name: f"{task.repo}@{task.revision}" if task.revision else task.repo for name, task in tasks().items()},
    )


def place_together(spans: list[tuple[Task, Any]]) -> list[Entity]:
    """The entities of several tasks in the order of the text; of two that overlap the earlier one."""
    kept: list[Entity] = []
    for entity in sorted((e for _, a in spans for e in a["entities"]), key=lambda e: (e["start"], -e["end"])):
        if not kept or entity["start"] >= kept[-1]["end"]:
            kept.append(entity)
    return kept


def say_actions(spans: list[tuple[Task, Any]], labels: list[tuple[Task, Any]], passed: bool) -> str:
    """Such as "Mask personal data, then send to the math model"."""
    parts = [task.action or f"mask {task.topic}" for task, _ in spans]
    for task, answer in labels:
        if task.action:
            parts.append(task.action.format(label=plain(answer["label"])))
    if not parts and passed:
        parts.append("let it through")
    if not parts:
        parts += [f"{inside(task.title)}: {plain(answer['label'])}" for task, answer in labels] or ["nothing found"]
    return upper(", then ".join(parts))


def say_detection(task: Task, answer: Any) -> str:
    """The sentence of a detection that blocks or wants a look."""
    score, limit = compared(answer["score"], answer["threshold"])
    where = f", in one of {answer['windows']} parts of the text" if answer["windows"] > 1 else ""
    if answer["zone"] == "block":
        return f"{verdicts(task)[0]}: {score}, at or above the threshold {limit}{where}."
    score = max(score, compared(answer["score"], REVIEW)[0], key=len)
    return f"{verdicts(task)[0]}: {score}{where}. That is below the threshold {limit}, and too much to pass unseen."


def say_reason(detections: list[Any], spans: list[Any], labels: list[Any]) -> str:
    """The sentences of a prompt that may pass."""
    said = [f"{verdicts(task)[1]} ({compared(a['score'], REVIEW)[0]})." for task, a in detections]
    for task, answer in spans:
        kinds = Counter(plain(entity["entity_group"]) for entity in answer["entities"])
        said.append(f"{counted(len(answer['entities']), 'span')} of {task.topic}: {listed(kinds)}.")
    for task, answer in labels:
        score = f"{answer['score']:.2f}"
        if answer["fallback"]:
            best = plain(next(iter(answer["scores"])))
            shown, limit = compared(answer["score"], answer["threshold"])
            said.append(f"{task.title} unsure: {best} at {shown} is below {limit}, so {plain(answer['label'])}.")
        else:
            said.append(f"{task.title}: {plain(answer['label'])} ({score}).")
    return " ".join(said)


def say_languages() -> str:
    """Which languages the models know, such as "The models know English only."; "" where nobody knows."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for task in tasks().values():
        groups.setdefault(name_languages(task.languages), []).append(task.title)
    said = []
    for languages, titles in groups.items():
        everyone = len(titles) == len(tasks())
        who = ("The models" if titles[1:] else "The model") if everyone else listed(titles)
        if languages:
            said.append(say("knows", who=who, verb="know" if titles[1:] else "knows", languages=listed(languages)))
    return " ".join(said)


def warn(text: str) -> list[str]:
    """What a reader must know of this text before believing the answers."""
    said = []
    sets = {name_languages(task.languages) for task in tasks().values()} - {()}
    strange = {known: find_script(text, known) for known in sets}
    foreign = {known: find_language(text, known) for known in sets if not strange[known]}
    told = [say("script", script=script) for script in strange.values() if script]
    told = told or [say("language", language=language) for language in foreign.values() if language]
    if told:
        everyone = all(strange[known] or foreign[known] for known in sets)
        said.append(f"{told[0]} {say_languages()} {say('distrust', which='these' if everyone else 'all')}")
    if count := sum(map(is_invisible, text)):
        said.append(say("invisible", count=counted(count, "character"), verb="does" if count == 1 else "do"))
    if len(text) > MAX_CHARS:
        said.append(say("cut", length=f"{len(text):,}", limit=f"{MAX_CHARS:,}"))
    return said


# --- what a threshold gives, from the test split ---


def say_threshold(task: Task, limit: float) -> str:
    """What a task does at this threshold, as measured on its test split.

    True at every position: what holds at a threshold is the point of the curve at or above it.
    """
    reached = find_point(task, limit)
    if reached is None:
        return f"{say('marks', limit=f'{limit:g}')} {say('unmeasured')}" if task.head == "spans" else say("unmeasured")
    first, second = reached
    if task.head == "spans":
        return say("finds", found=percent(first), topic=task.topic, alarms=percent(second))
    if task.head == "classification":
        if first == 0:
            return f"Answers nothing: every prompt goes to {plain(task.fallback)}."
        others = f"; the others become {plain(task.fallback)}" if first < 1 else ""
        return f"Answers {percent(first)} of prompts, {percent(second)} of these rightly{others}."
    said = f"Catches {percent(first)} of what is {plain(task.positive)}, stops {percent(second)} of harmless prompts."
    if limit > REVIEW and (wider := find_point(task, REVIEW)):
        more, alarms = percent(wider[0] - first), percent(wider[1] - second)
        said += f" For review: another {more}, and {alarms} of harmless prompts."
    return said


def find_point(task: Task, limit: float) -> tuple[float, float] | None:
    """The shares of the curve at a threshold; of one above all scores nothing is reached. None without a curve."""
    if not task.curve:
        return None
    at = [point for point in task.curve if point[0] >= limit]
    return at[-1][1:] if at else (0.0, 0.0)


def at_shipped(task: Task, limit: float) -> bool:
    """Whether a slider, which moves in steps of 0.001, stands at the shipped threshold, which may be finer."""
    return abs(limit - task.limit) < 0.0005


def settle(limits: Mapping[str, float]) -> dict[str, float]:
    """The thresholds that sliders stand for."""
    return {name: tasks()[name].limit if at_shipped(tasks()[name], limit) else limit for name, limit in limits.items()}


def count_tasks() -> str:
    """Such as "four questions"."""
    return "a question" if len(tasks()) == 1 else f"{number(len(tasks()))} questions"
