"""``CHANGELOG.md`` of a model: what each release changed, as a function of its files and of those of the one before.

Of a text nothing is told: rows are named by their ids.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubtools.evaluation.predictions import read_columns
from hubtools.evaluation.previous import describe_row_difference
from hubtools.heads import Head
from hubtools.heads.values import Rows
from hubtools.publishing.rendering import format_cell
from hubtools.task import TaskSpec

CHANGELOG = "CHANGELOG.md"
MOST_IDS = 200  # of rows that a list names
_TITLE = (
    "# Changelog\n\nWritten at each release, the newest first. What stands below an older release is kept as it is."
)
_HEADING = re.compile(r"^## (?=v\d+\b)", re.MULTILINE)
_TARGETS = {"fpr": "for a false positive rate of at most", "recall": "for a recall of at least"}

# As JSON has it: a release may be of any version of hubtools.
Json = Mapping[str, Any]


@dataclass(frozen=True)
class TaskFiles:
    """What a release says of one task.

    Attributes:
        metrics: its ``metrics.json``. predictions: the file of its answers to the test split.
        dataset: repo and revision that it was trained and scored on; None where it does not say.
        facts: ``facts.json`` of that dataset; {} where it cannot be read any more.
    """

    metrics: Json
    predictions: Path
    dataset: tuple[str, str] | None
    facts: Json


@dataclass(frozen=True)
class ReleaseFiles:
    """What a release says of itself: ``tasks`` by their names, one or, of a model of several, all of them."""

    tag: str
    training: Json
    tasks: Mapping[str, TaskFiles]


def merge_release_notes(theirs: str | None, section: str) -> str:
    """Return the changelog with ``section`` on top; what stands in it already stays, letter by letter.

    Args:
        theirs: the changelog that is there, None for none.
        section: of one release; where the newest section is of the same release, it takes its place.
    """
    section = section.rstrip("\n") + "\n"
    if not theirs or not theirs.strip():
        return f"{_TITLE}\n\n{section}"
    starts = [match.start() for match in _HEADING.finditer(theirs)]
    if not starts:  # a person began it: ours goes on below
        return theirs.rstrip("\n") + f"\n\n{section}"
    head, rest = theirs[: starts[0]], theirs[starts[0] :]
    if _read_tag(rest) == _read_tag(section):
        # A release that was never tagged: its number is given anew.
        rest = theirs[starts[1] :] if len(starts) > 1 else ""
    return head + section + (f"\n{rest}" if rest else "")


def _read_tag(section: str) -> str:
    return re.split(r"\W", section.removeprefix("## "), maxsplit=1)[0]


def write_release_notes(
    tasks: Sequence[TaskSpec], before: ReleaseFiles | None, now: ReleaseFiles, date: str = "", opening: str = ""
) -> str:
    """Return the section of a release.

    Args:
        tasks: those of the release that are known here; others are left out.
        before: the release before it; None for the first.
        date: of the release; "" where it is not known yet.
        opening: what is said of it first, besides.
    """
    lines = [f"## {now.tag}{f' ({date})' if date else ''}", ""]
    lines += [opening, ""] if opening else []
    lines += [f"What changed since {before.tag}." if before else "The first release.", ""]
    several = len(now.tasks) > 1
    for task in tasks:
        if task.name not in now.tasks:
            continue
        ours, theirs = now.tasks[task.name], before.tasks.get(task.name) if before else None
        tags = (before.tag if before and theirs else "", now.tag)
        for title, content in _describe_task(task, theirs, ours, tags):
            lines += [f"### {f'{task.title}: {title.lower()}' if several else title}", "", *content, ""]
    lines += ["### Settings", "", *_describe_settings(before, now)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _describe_task(
    task: TaskSpec, before: TaskFiles | None, now: TaskFiles, tags: tuple[str, str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield title and lines of each part of a section that is about one task."""
    why_not = describe_row_difference(task.head, now.predictions, before.predictions) if before else ""
    yield "Scores", _describe_scores(task.head, before, now, tags, why_not)
    yield "Data", [*_describe_data(before, now)]
    if thresholds := _describe_threshold(before, now):
        yield "Threshold", [thresholds]
    if before:
        yield "Answers to the test split", _describe_flips(task, before, now, tags, why_not)


def _describe_scores(
    head: Head, before: TaskFiles | None, now: TaskFiles, tags: tuple[str, str], why_not: str
) -> list[str]:
    columns = [
        (tag, files.metrics.get("scores") or {}) for tag, files in zip(tags, (before, now), strict=True) if files
    ]
    rows = [
        f"| {metric.title} | {' | '.join(_format_score(scores.get(metric.key)) for _, scores in columns)} |"
        for metric in (*head.headlines, *head.at_threshold)
        if any(scores.get(metric.key) is not None for _, scores in columns)
    ]
    counts = f"| {head.unit} | {' | '.join(str(scores.get('rows', '–')) for _, scores in columns)} |"
    table = [f"| | {' | '.join(tag for tag, _ in columns)} |", "|---" * (len(columns) + 1) + "|", *rows, counts]
    notes = [f"The columns do not compare. Of {tags[0]}: {why_not}."] if why_not else []
    same = before and before.metrics.get("weights_sha256") == now.metrics.get("weights_sha256")
    notes += [f"The weights are those of {tags[0]}."] if same else []
    return [*table, *(line for note in notes for line in ("", note))]


def _format_score(value: object) -> str:
    """Return a score of a file of any version, with its interval where it has one."""
    if isinstance(value, Mapping):
        score, low, high = (_format_number(value.get(key)) for key in ("value", "low", "high"))
        return f"{score} [{low}, {high}]"
    return _format_number(value)


def _format_number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) and not math.isnan(value) else "–"


def _describe_data(before: TaskFiles | None, now: TaskFiles) -> Iterator[str]:
    """Yield what the dataset holds, or what it holds that the one before did not."""
    if now.dataset:
        as_before = before is not None and before.dataset == now.dataset
        repo, revision = now.dataset
        yield f"- [{repo}](/datasets/{repo}) at `{revision[:8]}`{', as before' if as_before else ''}"
        if as_before:
            return
    theirs = before.facts if before else {}
    if before and not theirs:
        yield "- What the dataset before it held cannot be read any more."
    was, have = _count_rows(theirs), _count_rows(now.facts)
    for split in dict.fromkeys((*have, *was)):
        change = "" if not theirs else ", as before" if was.get(split) == have.get(split) else None
        yield f"- {split}: {have.get(split, 0):,} rows" + (
            f", were {was.get(split, 0):,}" if change is None else change
        )
    old, new = _list_sources(theirs), _list_sources(now.facts)
    for name, text in new.items():
        if not theirs:
            yield f"- source `{name}` {text}"
        elif name not in old:
            yield f"- source added: `{name}` {text}"
        elif old[name] != text:
            yield f"- source changed: `{name}` {text}, was {old[name]}"
    yield from (f"- source gone: `{name}` {text}" for name, text in old.items() if name not in new)
    for key, words in (("label_set", "label set"), ("rule_version", "version of the rules"), ("seed", "seed")):
        if theirs and theirs.get(key) != now.facts.get(key):
            yield f"- {words}: {now.facts.get(key)}, was {theirs.get(key)}"


def _count_rows(facts: Json) -> dict[str, int]:
    return {split: int(of.get("rows", 0)) for split, of in (facts.get("splits") or {}).items()}


def _list_sources(facts: Json) -> dict[str, str]:
    """Return revision and licence of each source by its id."""
    sources = facts.get("sources") or []
    return {str(s.get("id")): f"at `{str(s.get('revision'))[:12]}` ({s.get('license')})" for s in sources}


def _describe_threshold(before: TaskFiles | None, now: TaskFiles) -> str:
    """Return the shipped threshold and what it was; "" where none was ever chosen."""
    ours = _read_threshold(now)
    theirs = _read_threshold(before) if before else None
    if ours is None and theirs is None:
        return ""
    words = "none" if ours is None else f"{ours:g}, chosen {_format_target(now)}"
    if before is None:
        return f"{words}."
    if (ours, _format_target(now)) == (theirs, _format_target(before)):
        return f"{words}, as before."
    return f"{words}; was {'none' if theirs is None else f'{theirs:g}, chosen {_format_target(before)}'}."


def _read_threshold(files: TaskFiles) -> float | None:
    """Return the threshold that a release ships with; None where every answer counts."""
    thresholds = files.metrics.get("thresholds") or {}
    return float(thresholds["threshold"]) if files.metrics.get("target") and "threshold" in thresholds else None


def _format_target(files: TaskFiles) -> str:
    return " and ".join(f"{_TARGETS.get(key, key)} {v}" for key, v in (files.metrics.get("target") or {}).items())


def _describe_flips(
    task: TaskSpec, before: TaskFiles, now: TaskFiles, tags: tuple[str, str], why_not: str
) -> list[str]:
    """Return how many answers were right in one of the two releases alone, and to which rows."""
    if why_not:
        return [f"Not compared with {tags[0]}: {why_not}."]
    rows = read_columns(now.predictions)
    theirs = read_columns(before.predictions)
    # Their order may be another one.
    place = {row_id: i for i, row_id in enumerate(theirs["id"])}
    order = [place[row_id] for row_id in rows["id"]]
    right, was_right = _judge(task, now, rows), _judge(task, before, theirs)
    pairs = [(row_id, was_right[i], bool(r)) for row_id, i, r in zip(rows["id"], order, right, strict=True)]
    lost = sorted(row_id for row_id, was, is_now in pairs if was and not is_now)
    won = sorted(row_id for row_id, was, is_now in pairs if is_now and not was)
    counts = f"{sum(was_right):,} were right in {tags[0]} and {sum(right):,} are in {tags[1]}"
    lines = [f"Of {len(pairs):,} answers {counts}.{'' if lost or won else ' None flipped.'}"]
    for words, ids in (("right, now wrong", lost), ("wrong, now right", won)):
        lines += ["", f"- {len(ids):,} were {words}: {_list_ids(ids)}"] if ids else []
    return lines


def _judge(task: TaskSpec, files: TaskFiles, rows: Rows) -> list[bool]:
    """Return whether each answer of a release is right, at the threshold that it ships with."""
    threshold = _read_threshold(files)
    labels = task.label_set(files.facts.get("label_set")).labels
    judged = task.head.judge_answers(rows, labels, task.head.plain_threshold if threshold is None else threshold)
    return [bool(one) for one in judged]


def _list_ids(ids: Sequence[str]) -> str:
    more = len(ids) - MOST_IDS
    named = ", ".join(f"`{format_cell(row_id, 40)}`" for row_id in ids[:MOST_IDS])
    return named + (f" and {more:,} more, as predictions.parquet of both releases tell" if more > 0 else "")


def _describe_settings(before: ReleaseFiles | None, now: ReleaseFiles) -> list[str]:
    """Return the settings of the training, or those that differ from the release before."""
    old, new = _list_settings(before.training) if before else {}, _list_settings(now.training)
    names = [name for name in dict.fromkeys((*new, *old)) if not before or old.get(name) != new.get(name)]
    if not names:
        return ["As before."]
    if before is None:
        return ["| | |", "|---|---|", *(f"| {name} | {new[name]} |" for name in names)]
    rows = [f"| {name} | {old.get(name, '–')} | {new.get(name, '–')} |" for name in names]
    return [f"| | {before.tag} | {now.tag} |", "|---|---|---|", *rows]


def _list_settings(training: Json) -> dict[str, str]:
    """Return every setting of a training, of any version, by its name."""
    values = {
        **{key: training.get(key) for key in ("method", "base", "base_revision")},
        **(training.get("arguments") or {}),
        **(training.get("options") or {}),
    }
    return {
        name.replace("_", " "): format_cell(_format_setting(value))
        for name, value in values.items()
        if value is not None
    }


def _format_setting(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_format_setting(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_format_setting, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)
