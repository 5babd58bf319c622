"""What a study measured, as lines for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hubtools.evaluation.tables import align_cells, format_score
from hubtools.records.studies import (
    CrossValidationReport,
    LabelErrorsReport,
    Outcome,
    RepetitionReport,
    SearchReport,
    SourceReport,
    StudyReport,
)
from hubtools.studies.ranges import parse_words


def format_search(report: SearchReport) -> list[str]:
    """Return a line for each training, the best first, with its flags; then what explains the scores."""
    table = _make_table(report, list(report.ranges), [parse_words(trial.flags) for trial in report.trainings])
    # None for few scores: then nothing is said of them.
    shares = ", ".join(f"{name} {share:.2f}" for name, share in (report.importances or {}).items())
    explained = [f"Share of the scores' variance: {shares}."] if shares else []
    return [*table, *explained, *_make_sentences(report.notes)]


def format_folds(report: CrossValidationReport) -> list[str]:
    """Return a line for each fold with its rows, then mean and spread of the scores."""
    # As the fields of FoldOutcome are called.
    names = ["train", "validation", "left_out_as_leaks", "kept_in_training"]
    values = [{name: str(getattr(fold, name)) for name in names} for fold in report.trainings]
    return [*_make_table(report, names, values), _describe_spread(report), *_make_sentences(report.notes)]


def format_sources(report: SourceReport) -> list[str]:
    """Return a line for each collection that was left out, with its scores, then their means."""
    head = ["left out", "rows", "threshold", *report.titles.values()]
    body = []
    for outcome in report.trainings:
        held = outcome.held_out_scores
        scores = [format_score(held.scores.get(key)) if held else "failed" for key in report.titles]
        threshold = "" if held is None or held.threshold is None else f"{held.threshold:g}"
        body.append([", ".join(outcome.sources), str(outcome.held_out), threshold, *scores])
    means = [f"{report.means[key]:.3f}" if key in report.means else "–" for key in report.titles]
    lines = align_cells([head, *body, ["mean", "", "", *means]])
    redrawn = [", ".join(one.sources) for one in report.trainings if one.own_validation]
    if redrawn:
        lines.append(
            f"Without {'; '.join(redrawn)} the validation split lacks a class: one was drawn from the other sources."
        )
    return [*lines, *(f"{name} cannot be left out: {reason}." for name, reason in report.not_left_out.items())]


def format_label_errors(report: LabelErrorsReport) -> list[str]:
    """Return how many rows are doubted, and where they are."""
    kept = f" {report.kept} of its rows are filled in, and stay so." if report.kept else ""
    return [f"{report.task}: the label of {report.found} of {report.rows} rows is doubted: {report.file}.{kept}"]


def format_seeds(report: RepetitionReport) -> list[str]:
    """Return a line for each seed, then mean and spread of the scores."""
    lines = [*_make_table(report, [], [{}] * len(report.trainings)), _describe_spread(report)]
    return [*lines, f"The model of {report.kept} is kept: the first, whatever the scores."]


def _make_table(report: StudyReport, names: Sequence[str], values: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a heading and a line for each training.

    Args:
        names: of further columns.
        values: what they hold, by name, for each training; a value that is missing leaves its cell empty.
    """
    head = ["training", f"{report.metric.title}, validation", "seconds", *names]
    body = [
        [training.name, *_format_score(training), *(cells.get(name, "") for name in names)]
        for training, cells in zip(report.trainings, values, strict=True)
    ]
    return align_cells([head, *body])


def _format_score(training: Outcome) -> tuple[str, str]:
    """Return the cells of a training's score and of its seconds."""
    return (f"{training.score:.4f}", f"{training.seconds:.0f}") if training.score is not None else ("failed", "")


def _describe_spread(report: CrossValidationReport | RepetitionReport) -> str:
    # A single score has no deviation.
    line = f"{report.metric.title} on validation: mean {report.mean:.4f}"
    if report.standard_deviation is not None:
        line += f", standard deviation {report.standard_deviation:.4f}"
    return f"{line}, from {report.low:.4f} to {report.high:.4f}, of {report.scored} trainings."


def _make_sentences(notes: Sequence[str]) -> list[str]:
    return [f"{note[0].upper()}{note[1:]}." for note in notes]
