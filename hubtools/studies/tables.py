"""What a study found, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hubtools.evaluation.tables import aligned
from hubtools.studies.ranges import words_of

Report = Mapping[str, Any]


def search_lines(report: Report) -> list[str]:
    """A trial a line, the best first, with what it was given."""
    names = list(report["ranges"])
    table = _table(report, names, [words_of(trial["flags"]) for trial in report["trainings"]])
    shares = ", ".join(f"{name} {share:.2f}" for name, share in (report["importances"] or {}).items())
    return [*table, *([f"Share of the scores' variance: {shares}."] if shares else []), *_notes(report)]


def folds_lines(report: Report) -> list[str]:
    """A fold a line with its rows, then mean and spread."""
    names = ["train", "validation", "left_out_as_leaks", "kept_in_training"]
    return [*_table(report, names, report["trainings"]), _spread(report), *_notes(report)]


def seeds_lines(report: Report) -> list[str]:
    """A seed a line, then mean and spread."""
    lines = [*_table(report, [], [{}] * len(report["trainings"])), _spread(report)]
    return [*lines, f"The model of {report['kept']} is kept: the first, whatever the scores."]


def _table(report: Report, names: Sequence[str], values: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ["training", f"{report['metric']['title']}, validation", "seconds", *names]
    body = [
        [training["name"], *_score(training), *(str(given.get(name, "")) for name in names)]
        for training, given in zip(report["trainings"], values, strict=True)
    ]
    return aligned([head, *body])


def _score(training: Mapping[str, Any]) -> tuple[str, str]:
    return (f"{training['score']:.4f}", f"{training['seconds']:.0f}") if "score" in training else ("failed", "")


def _spread(report: Report) -> str:
    line = f"{report['metric']['title']} on validation: mean {report['mean']:.4f}"
    if report["standard_deviation"] is not None:
        line += f", standard deviation {report['standard_deviation']:.4f}"
    return f"{line}, from {report['low']:.4f} to {report['high']:.4f}, of {report['scored']} trainings."


def _notes(report: Report) -> list[str]:
    return [f"{note[0].upper()}{note[1:]}." for note in report["notes"]]
