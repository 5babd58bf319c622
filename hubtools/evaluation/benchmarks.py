"""The benchmarks of a task, scored with every release: sources that no training, checkpoint or threshold has seen."""

from __future__ import annotations

from hubtools.errors import HubtoolsError
from hubtools.evaluation.other_data import Note, OtherData, evaluate_on, read_own_reports
from hubtools.rows import Columns
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder


def score_benchmarks(task: TaskSpec, folder: TaskFolder, weights_sha256: str, note: Note = lambda _: None) -> None:
    """Score each benchmark of the task that these weights were not scored on yet, at their shipped threshold.

    One that cannot be read is told and left out: a release can do without, and a machine may have no network.
    """
    scored = {report.benchmark for _, report in read_own_reports(folder, weights_sha256)}
    for source in task.benchmarks:
        if source.name in scored:
            continue
        try:
            report = evaluate_on(task, folder, OtherData(source.name, Columns()), note=note)
        except HubtoolsError as error:
            again = f"hubtools evaluate {task.name} --dataset {source.name} scores it"
            note(f"{task.name}: benchmark {source.name} is left out: {error.subject}; {again}")
        else:
            note(f"{task.name}: benchmark {source.name}: {report.rows.scored} rows scored")
