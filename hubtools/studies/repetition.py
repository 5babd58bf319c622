"""The same training with several seeds: how much of a score is chance."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hubtools.records import write_json
from hubtools.settings import Settings
from hubtools.studies.engine import Planned, described, fail, opened, spread
from hubtools.task import TaskSpec


def repeat(task: TaskSpec, settings: Settings, seeds: int) -> dict[str, Any]:
    """Train with ``seeds`` seeds, from that of the settings on. Returns, and writes to ``repeat.json``, all scores.

    The data stay as they are. The model of the first seed is kept, which is chosen before any score is known.

    Raises:
        MissingStage: the task is not curated here.
        TrainingFailed: not every training has a score; those that have are in the file all the same.
    """
    folder = settings.folder(task)
    study = opened(task, replace(settings, seed=0), "seeds", None)  # whichever seeds: each is a folder of its own
    trainings = [
        Planned(f"seed-{seed}", seed, keep=seed == settings.seed)
        for seed in range(settings.seed, settings.seed + seeds)
    ]
    if settings.dry_run:
        for training in trainings:
            settings.note(" ".join([f"would train {training.name}:", *settings.training.argv]))
        return {}
    outcomes = study.attempt_all(trainings)
    study.keep_model_of(trainings[0].name)
    report = {
        **described(study, outcomes),
        "seed": settings.seed,
        "seeds": [training.seed for training in trainings],
        **spread(outcomes),
        "kept": trainings[0].name,
    }
    path = folder.root / "repeat.json"
    write_json(path, report)
    if report["scored"] < len(outcomes):
        fail(task, outcomes, path)
    return report
