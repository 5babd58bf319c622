"""A comparison of models, or what was scored, as lines for a terminal or a document."""

from __future__ import annotations

from collections.abc import Sequence

from hubtools.records.comparison import (
    AccuracyDifference,
    ComparedModel,
    Difference,
    ModelComparison,
    OtherDataReport,
    RowsScored,
)
from hubtools.records.scores import Interval
from hubtools.task import TaskSpec


def score_text(score: Interval | None) -> str:
    """Return a score with its interval; a dash where it is undefined."""
    if score is None or score.value != score.value:
        return "–"
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def rows_line(report: OtherDataReport | ModelComparison) -> str:
    """Return whose rows were scored, how many, and how many were not, with the reasons."""
    rows = report.rows
    line = f"{report.task} on {report.dataset} ({report.split}): {rows.scored} of {rows.read} rows"
    return "; ".join([line, *left_out(rows)])


def left_out(rows: RowsScored) -> list[str]:
    """Return what was not scored, and why; and what stands twice."""
    known = rows.in_training
    parts = [f"{n} dropped: {why}" for why, n in rows.dropped.items()]
    if rows.other_splits:
        parts.append(f"{rows.other_splits} of other splits")
    if known is None:
        parts.append("overlap with a training split not looked at: the work folder has none")
    elif known.exact or known.near:
        parts.append(
            f"left out as they stand in our training or validation split: {known.exact} exactly, {known.near} nearly"
        )
    if rows.repeated:
        parts.append(f"{rows.repeated} repeat another")
    return parts


def comparison_lines(task: TaskSpec, report: ModelComparison, *, markdown: bool) -> list[str]:
    """Return the table of scores, the table of pairs, and what has to be known to read them."""
    models, words = report.models, task.head.words
    titles = ["", *(entry.model for entry in models)]
    body = [["rows", *(str(entry.rows) for entry in models)]]
    body += [
        [metric.title, *(score_text(entry.scores[metric.key]) for entry in models)]
        for metric in task.head.table
        if any(entry.scores[metric.key] is not None for entry in models)
    ]
    primary = report.primary.title
    pairs = [
        [
            f"{pair.a} − {pair.b}",
            str(pair.rows),
            _difference_text(pair.primary),
            _p_text(pair.primary),
            _points_text(pair.accuracy),
            _p_text(pair.accuracy),
        ]
        for pair in report.pairs
    ]
    header = ["difference", "rows", primary, "p", words.right, "p"]
    notes = [
        rows_line(report) + ".",
        "Brackets hold 95% bootstrap intervals.",
        f"p of {primary}: {report.tests.primary}. p of {words.right}: {report.tests.accuracy}.",
    ]
    if len(pairs) > 1:
        notes.append(f"The p values are not corrected for the {len(pairs)} pairs.")
    if words.threshold and any(entry.threshold is not None for entry in models):
        notes.append(words.threshold)
    notes += [line for entry in models for line in (*_threshold_lines(entry), *_label_lines(entry, task))]
    if markdown:
        return [*_markdown(titles, body), "", *_markdown(header, pairs), "", *notes]
    return [*aligned([titles, *body]), "", *aligned([header, *pairs]), "", *notes]


def _threshold_lines(entry: ComparedModel) -> list[str]:
    if entry.threshold is None:
        return []
    whose = "which it ships with" if entry.ships_threshold else "the router's default, as it ships with none"
    return [f"{entry.model} is judged at the threshold {entry.threshold:g}, {whose}."]


def _label_lines(entry: ComparedModel, task: TaskSpec) -> list[str]:
    words, lines = task.head.words, []
    if entry.lacks:
        lines.append(f"{entry.model} is not scored on {words.lacking} that it lacks: {', '.join(entry.lacks)}.")
    if entry.other_answers:
        others = ", ".join(entry.other_answers)
        lines.append(f"{entry.model} has labels that are none of ours: {others}; {words.others}.")
    if entry.ignored:
        lines.append(f"{entry.model} is read without {', '.join(entry.ignored)}.")
    return lines


def _difference_text(difference: Difference | None) -> str:
    if difference is None:
        return "–"
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def _points_text(difference: AccuracyDifference | None) -> str:
    if difference is None:
        return "–"
    return f"{difference.difference:+.3f} ({difference.only_a} : {difference.only_b})"


def _p_text(difference: Difference | AccuracyDifference | None) -> str:
    return "–" if difference is None else ("< 0.001" if difference.p < 0.001 else f"{difference.p:.3f}")


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of cells as text, each column as wide as its widest cell."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
