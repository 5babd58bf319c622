"""Which tasks the page shows: models.json beside this file, read and checked.

{"models": {"toxicity": {"head": "detection", "positive": "toxic",
                         "repo": "owner/name", "revision": "<commit>", "threshold": 0.5,
                         "title": "Toxicity", "question": "Is it toxic?", "about": "Whether ..."},
            "topic": {"head": "classification", ...}}}
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEADS = ("classification", "detection", "spans")
NEEDED = ("repo", "title", "question", "about")
LISTS = ("languages", "examples", "example_titles", "verdicts")
OPTIONAL = (
    *("positive", "note", "dataset", "topic", "tool", "returns"),
    *("action", "fallback"),
)


@dataclass(frozen=True)
class TestScore:
    """How good the model was on its test split: `low` to `high` is the 95% interval of `value`."""

    title: str
    value: float
    low: float
    high: float
    rows: int | None = None


@dataclass(frozen=True)
class Graph:
    """An ONNX file that answers in place of the weights; several tasks may share one, each with an output of its own.

    Attributes:
        repo: a repo on the Hub at `revision`, or a local folder; `file` is the path in it.
        labels: of `output`, in the order of their ids.
    """

    repo: str
    revision: str | None
    file: str
    output: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One question asked of every prompt, the model that answers it, and the words around it.

    Attributes:
        head: "classification" (one label of several), "detection" (a label that is reached or not) or "spans"
            (stretches of the text: marked and masked).
        repo: a repo on the Hub, pinned to `revision`; or a local folder, which is read as it is.
        threshold: between 0 and 1. A detection needs one; where a classification has one, answers below it become
            `fallback`; of spans it is the least score, 0 where it is left out.
        title, question, about: the name of its answer, the question on its row, and a sentence about it.
        positive: the label that a detection looks for.
        note: what a visitor must know of the model before believing it.
        topic: what it asks about, in a few words.
        tool, returns: what programs read of the endpoint: what it does, and what it gives.
        languages: of the texts that it was trained on, as ISO 639 codes; none where nobody knows.
        examples: prompts to click, and what the buttons of the first ones say.
        verdicts: what a detection says at or above its threshold, and below.
        action: what a router does on this answer, such as "send to the {label} model" or "mask personal data".
        score: of the test split, where it is known.
        curve: the test split at each threshold, falling: of a detection [threshold, share of the positive rows that
            reach it, share of the others]; of a classification [threshold, share answered, accuracy of these]; of
            spans [threshold, share found, share of the texts without any in which something is marked].
        graph: what answers, where it is not the weights of `repo`.
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
    action: str = ""
    fallback: str = ""
    languages: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    example_titles: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    score: TestScore | None = None
    curve: tuple[tuple[float, float, float], ...] = ()
    graph: Graph | None = None

    @property
    def limit(self) -> float:
        """The threshold that the model ships with; 0 where it ships with none."""
        return self.threshold or 0.0


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
    """Read one task of models.json. Raises ValueError that begins with `where`."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or name in ("route", "batch", "latency_ms"):
        raise ValueError(f"{where} needs a name of a-z, 0-9, _ and - that is not taken: it becomes an endpoint.")
    if not isinstance(entry, dict):
        raise ValueError(f"{where} needs the keys of a task, found {entry!r}.")
    for key in (*NEEDED, *OPTIONAL):
        if not isinstance(entry.get(key) or "", str) or (key in NEEDED and not entry.get(key)):
            raise ValueError(f"{where} needs a {key!r} that is text, found {entry.get(key)!r}.")
    for key in LISTS:
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
    if not fits and (threshold is not None or head == "detection"):
        raise ValueError(f"{where} needs a 'threshold' between 0 and 1, found {threshold!r}.")
    words = {key: entry.get(key) or "" for key in (*NEEDED, *OPTIONAL)}
    words["topic"] = words["topic"] or inside(words["title"])
    return Task(
        name=name,
        head=head,
        revision=revision,
        threshold=threshold,
        score=read_score(entry.get("score"), where),
        curve=read_curve(entry.get("curve"), where),
        graph=read_graph(entry.get("graph"), where),
        **{key: tuple(entry.get(key) or ()) for key in LISTS},
        **words,
    )


def read_score(value: Any, where: str) -> TestScore | None:
    if value is None:
        return None
    try:
        return TestScore(**value)
    except TypeError:
        raise ValueError(f"{where} needs a 'score' of title, value, low and high, found {value!r}.") from None


def read_curve(value: Any, where: str) -> tuple[tuple[float, float, float], ...]:
    points = value or []
    if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 3 for p in points):
        raise ValueError(f"{where} needs a 'curve' of lists of three numbers, found {value!r}.")
    return tuple((float(limit), float(first), float(second)) for limit, first, second in points)


def read_graph(value: Any, where: str) -> Graph | None:
    if value is None:
        return None
    try:
        graph = Graph(**{**value, "labels": tuple(value["labels"])})
    except (TypeError, KeyError):
        raise ValueError(
            f"{where} needs a 'graph' of repo, revision, file, output and labels, found {value!r}."
        ) from None
    if not Path(graph.repo).is_dir() and not graph.revision:
        raise ValueError(f"{where}: the 'graph' is neither a local folder nor pinned to a 'revision', found {value!r}.")
    return graph


@cache
def tasks() -> dict[str, Task]:
    return read_tasks(HERE / "models.json")


# --- words of a task ---


def plain(label: str) -> str:
    return label.replace("_", " ")


def inside(title: str) -> str:
    """A title inside a sentence: without its capital, unless it has others."""
    return title.lower() if title[1:] == title[1:].lower() else title


def verdicts(task: Task) -> tuple[str, ...]:
    """What a detection says at or above its threshold, and below."""
    word = plain(task.positive)
    return task.verdicts or (word[:1].upper() + word[1:], f"Not {word}")
