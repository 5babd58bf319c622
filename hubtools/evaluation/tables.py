"""A comparison of models, or what was scored, as lines for a terminal or a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hubtools.evaluation.scores import table_of
from hubtools.task import TaskSpec


def score_text(value: Any) -> str:
    """A score with its interval where it has one; a dash where it is undefined."""
    if isinstance(value, Mapping):
        return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]" if _is(value["value"]) else "–"
    return f"{value:.3f}" if value is not None and _is(value) else "–"


def rows_line(report: Mapping[str, Any]) -> str:
    """Whose rows were scored, how many, and how many were not, with the reasons."""
    rows = report["rows"]
    line = f"{report['task']} on {report['dataset']} ({report['split']}): {rows['scored']} of {rows['read']} rows"
    return "; ".join([line, *left_out(rows)])


def left_out(rows: Mapping[str, Any]) -> list[str]:
    """What was not scored, and why; and what stands twice."""
    known = rows["in_training"]
    told = [f"{n} dropped: {why}" for why, n in rows["dropped"].items()]
    if rows["other_splits"]:
        told.append(f"{rows['other_splits']} of other splits")
    if known is None:
        told.append("overlap with a training split not looked at: the work folder has none")
    elif known["exact"] or known["near"]:
        told.append(
            "left out as they stand in our training or validation split: "
            f"{known['exact']} exactly, {known['near']} nearly"
        )
    if rows["repeated"]:
        told.append(f"{rows['repeated']} repeat another")
    return told


def comparison(task: TaskSpec, report: Mapping[str, Any], *, markdown: bool) -> list[str]:
    """The table of scores, the table of pairs, and what has to be known to read them."""
    models = report["models"]
    titles = ["", *(entry["model"] for entry in models)]
    body = [["rows", *(str(entry["rows"]) for entry in models)]]
    body += [
        [title, *(score_text(entry["scores"][key]) for entry in models)] for key, title in table_of(task)
        if any(entry["scores"][key] is not None for entry in models)
    ]  # fmt: skip
    accuracy = "documents without a mistake" if task.kind == "token" else "accuracy"
    primary = report["primary"]["title"]
    pairs = [
        [f"{pair['a']} − {pair['b']}", str(pair["rows"]), _difference(pair["primary"]), _p(pair["primary"]),
         _points(pair["accuracy"]), _p(pair["accuracy"])]
        for pair in report["pairs"]
    ]  # fmt: skip
    head = ["difference", "rows", primary, "p", accuracy, "p"]
    notes = [
        rows_line(report) + ".",
        "Brackets hold 95% bootstrap intervals.",
        f"p of {primary}: {report['tests']['primary']}. p of {accuracy}: {report['tests']['accuracy']}.",
    ]
    if len(pairs) > 1:
        notes.append(f"The p values are not corrected for the {len(pairs)} pairs.")
    if task.kind == "sequence" and not task.positive and any(entry["threshold"] is not None for entry in models):
        notes.append("Every answer counts, however unsure, but in what is said of those at a threshold.")
    notes += [line for entry in models for line in (*_of_threshold(entry), *_of_labels(entry, task))]
    if markdown:
        return [*_markdown(titles, body), "", *_markdown(head, pairs), "", *notes]
    return [*aligned([titles, *body]), "", *aligned([head, *pairs]), "", *notes]


def _of_threshold(entry: Mapping[str, Any]) -> list[str]:
    if entry["threshold"] is None:
        return []
    whose = "which it ships with" if entry["ships_threshold"] else "the router's default, as it ships with none"
    return [f"{entry['model']} is judged at the threshold {entry['threshold']:g}, {whose}."]


def _of_labels(entry: Mapping[str, Any], task: TaskSpec) -> list[str]:
    told = []
    what = "types" if task.kind == "token" else "rows of labels"
    if entry["lacks"]:
        told.append(f"{entry['model']} is not scored on {what} that it lacks: {', '.join(entry['lacks'])}.")
    if entry["other_answers"]:
        wrong = "spans of them are not counted" if task.kind == "token" else "an answer with one is wrong"
        told.append(f"{entry['model']} has labels that are none of ours: {', '.join(entry['other_answers'])}; {wrong}.")
    if entry["ignored"]:
        told.append(f"{entry['model']} is read without {', '.join(entry['ignored'])}.")
    return told


def _is(value: float) -> bool:
    return value == value


def _difference(found: Mapping[str, Any] | None) -> str:
    return "–" if found is None else f"{found['value']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def _points(found: Mapping[str, Any] | None) -> str:
    return "–" if found is None else f"{found['difference']:+.3f} ({found['only_a']} : {found['only_b']})"


def _p(found: Mapping[str, Any] | None) -> str:
    return "–" if found is None else ("< 0.001" if found["p"] < 0.001 else f"{found['p']:.3f}")


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells as text, each column as wide as its widest cell."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
