"""What a study measured, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hubtools.evaluation.tables import aligned
from hubtools.records.studies import CrossValidationReport, Outcome, RepetitionReport, SearchReport, StudyReport
from hubtools.studies.ranges import parse_words


def search_lines(report: SearchReport) -> list[str]:
    """Return a trial a line, the best first, with what it was given."""
    table = _make_table(report, list(report.ranges), [parse_words(trial.flags) for trial in report.trainings])
    shares = ", ".join(f"{name} {share:.2f}" for name, share in (report.importances or {}).items())
    explained = [f"Share of the scores' variance: {shares}."] if shares else []
    return [*table, *explained, *_sentences(report.notes)]


def folds_lines(report: CrossValidationReport) -> list[str]:
    """Return a fold a line with its rows, then mean and spread."""
    names = ["train", "validation", "left_out_as_leaks", "kept_in_training"]
    values = [{name: str(getattr(fold, name)) for name in names} for fold in report.trainings]
    return [*_make_table(report, names, values), _describe_spread(report), *_sentences(report.notes)]


def seeds_lines(report: RepetitionReport) -> list[str]:
    """Return a seed a line, then mean and spread."""
    lines = [*_make_table(report, [], [{}] * len(report.trainings)), _describe_spread(report)]
    return [*lines, f"The model of {report.kept} is kept: the first, whatever the scores."]


def _make_table(report: StudyReport, names: Sequence[str], values: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a training a line; ``values`` are its further columns, by name."""
    head = ["training", f"{report.metric.title}, validation", "seconds", *names]
    body = [
        [training.name, *_score_cells(training), *(given.get(name, "") for name in names)]
        for training, given in zip(report.trainings, values, strict=True)
    ]
    return aligned([head, *body])


def _score_cells(training: Outcome) -> tuple[str, str]:
    return (f"{training.score:.4f}", f"{training.seconds:.0f}") if training.score is not None else ("failed", "")


def _describe_spread(report: CrossValidationReport | RepetitionReport) -> str:
    line = f"{report.metric.title} on validation: mean {report.mean:.4f}"
    if report.standard_deviation is not None:
        line += f", standard deviation {report.standard_deviation:.4f}"
    return f"{line}, from {report.low:.4f} to {report.high:.4f}, of {report.scored} trainings."


def _sentences(notes: Sequence[str]) -> list[str]:
    return [f"{note[0].upper()}{note[1:]}." for note in notes]
