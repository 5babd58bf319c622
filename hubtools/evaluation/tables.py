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
from hubtools.records.robustness import RobustnessReport
from hubtools.records.scores import Interval
from hubtools.task import TaskSpec


def format_score(score: Interval | None) -> str:
    """Return a score with its interval; a dash where it is undefined."""
    # nan is the only value that is not equal to itself.
    if score is None or score.value != score.value:
        return "–"
    return f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"


def describe_rows(report: OtherDataReport | ModelComparison) -> str:
    """Return whose rows were scored, how many, and how many were not, with the reasons."""
    rows = report.rows
    line = f"{report.task} on {report.dataset} ({report.split}): {rows.scored} of {rows.read} rows"
    return "; ".join([line, *describe_left_out(rows)])


def describe_left_out(rows: RowsScored) -> list[str]:
    """Return how many rows were not scored, and why; and how many repeat another."""
    in_training = rows.in_training
    parts = [f"{n} dropped: {why}" for why, n in rows.dropped.items()]
    if rows.other_splits:
        parts.append(f"{rows.other_splits} of other splits")
    if in_training is None:
        parts.append("overlap with a training split not looked at: the work folder has none")
    elif in_training.exact or in_training.near:
        parts.append(
            f"left out as they stand in our training or validation split: "
            f"{in_training.exact} exactly, {in_training.near} nearly"
        )
    if rows.repeated:
        parts.append(f"{rows.repeated} repeat another")
    return parts


def describe_comparison(task: TaskSpec, report: ModelComparison, *, markdown: bool) -> list[str]:
    """Return the table of scores, the table of pairs, and what has to be known to read them."""
    models, words = report.models, task.head.words
    titles = ["", *(entry.model for entry in models)]
    body = [["rows", *(str(entry.rows) for entry in models)]]
    body += [
        [metric.title, *(format_score(entry.scores[metric.key]) for entry in models)]
        for metric in task.head.table
        if any(entry.scores[metric.key] is not None for entry in models)
    ]
    body.append(["tokens a second", *(f"{entry.tokens_per_second:,.0f}" for entry in models)])
    primary = report.primary.title
    pairs = [
        [
            f"{pair.a} − {pair.b}",
            str(pair.rows),
            _format_difference(pair.primary),
            _format_p(pair.primary),
            _format_points(pair.accuracy),
            _format_p(pair.accuracy),
        ]
        for pair in report.pairs
    ]
    header = ["difference", "rows", primary, "p", words.right, "p"]
    notes = [
        describe_rows(report) + ".",
        "Brackets hold 95% bootstrap intervals.",
        f"p of {primary}: {report.tests.primary}. p of {words.right}: {report.tests.accuracy}.",
    ]
    # Of twenty pairs of equal models one has a p below 0.05: whoever reads several must know.
    if len(pairs) > 1:
        notes.append(f"The p values are not corrected for the {len(pairs)} pairs.")
    # Only where some model's row holds numbers at a threshold.
    if words.threshold and any(entry.threshold is not None for entry in models):
        notes.append(words.threshold)
    notes += [line for entry in models for line in (*_describe_threshold(entry), *_describe_labels(entry, task))]
    if markdown:
        return [*_make_markdown(titles, body), "", *_make_markdown(header, pairs), "", *notes]
    return [*align_cells([titles, *body]), "", *align_cells([header, *pairs]), "", *notes]


def _describe_threshold(entry: ComparedModel) -> list[str]:
    if entry.threshold is None:
        return []
    whose = "which it ships with" if entry.ships_threshold else "as it ships with none"
    return [f"{entry.model} is judged at the threshold {entry.threshold:g}, {whose}."]


def _describe_labels(entry: ComparedModel, task: TaskSpec) -> list[str]:
    words, lines = task.head.words, []
    if entry.lacks:
        lines.append(f"{entry.model} is not scored on {words.lacking} that it lacks: {', '.join(entry.lacks)}.")
    if entry.other_answers:
        others = ", ".join(entry.other_answers)
        lines.append(f"{entry.model} has labels that are none of ours: {others}; {words.others}.")
    if entry.ignored:
        lines.append(f"{entry.model} is read without {', '.join(entry.ignored)}.")
    return lines


def _format_difference(difference: Difference | None) -> str:
    if difference is None:
        return "–"
    return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def _format_points(difference: AccuracyDifference | None) -> str:
    if difference is None:
        return "–"
    return f"{difference.difference:+.3f} ({difference.only_a} : {difference.only_b})"


def _format_p(difference: Difference | AccuracyDifference | None) -> str:
    return "–" if difference is None else ("< 0.001" if difference.p < 0.001 else f"{difference.p:.3f}")


def describe_robustness(report: RobustnessReport) -> list[str]:
    """Return a table a part, and what flips texts that are caught."""
    lines: list[str] = []
    for part in report.parts:
        head = [part.title, "rows", *part.metrics.values()]
        body = [
            [one.name, str(one.rows), *(format_score(one.scores[key]) for key in part.metrics)]
            for one in part.conditions
        ]
        lines += [*align_cells([head, *body]), ""]
    if flips := report.flips:
        lines.append(
            f"Of {flips.caught} texts that are caught, one of {flips.words} harmless words before or behind lets "
            f"{format_score(flips.one)} pass, one or two let {format_score(flips.two)}"
        )
    return lines


def _make_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    # A bar within a cell, such as in a label, would end the cell.
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def align_cells(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of cells as text, each column as wide as its widest cell."""
    # Spaces, not tabs: a terminal and a log show them alike.
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
