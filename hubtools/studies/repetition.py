"""The same training with several seeds: how much of a score is chance."""

from __future__ import annotations

from dataclasses import replace

from hubtools.options import TrainingOptions, WorkOptions
from hubtools.records import extend, write_record
from hubtools.records.studies import RepetitionReport
from hubtools.studies.engine import PlannedTraining, open_study, raise_failures, summarize_scores
from hubtools.task import TaskSpec


def repeat_training(task: TaskSpec, work: WorkOptions, options: TrainingOptions, seeds: int) -> RepetitionReport | None:
    """Train with ``seeds`` seeds, from that of the options on; return what is written to ``repeat.json`` as well.

    The data stay as they are. The model of the first seed is kept, which is chosen before any score is known.

    Returns:
        the report; None for a dry run.

    Raises:
        MissingStage: the task is not curated here.
        TrainingFailed: not every training has a score; those that have are in the file all the same.
    """
    # Whichever seeds are asked for, the study is the same: each is a folder of its own.
    study = open_study(task, work, replace(options, seed=0), "seeds", None)
    # The model of the first seed is kept, whatever its score: the best of several would be chosen by chance.
    planned = [
        PlannedTraining(f"seed-{seed}", seed, keep_model=seed == options.seed)
        for seed in range(options.seed, options.seed + seeds)
    ]
    if options.dry_run:
        for training in planned:
            work.note(" ".join([f"would train {training.name}:", *options.flags.argv]))
        return None
    outcomes = study.train_all(planned)
    study.remove_models_but(planned[0].name)
    spread = summarize_scores(outcomes)
    report = extend(
        study.describe(outcomes),
        RepetitionReport,
        seed=options.seed,  # the study's own is 0
        seeds=[training.seed for training in planned],
        **vars(spread),
        kept=planned[0].name,
    )
    path = work.folder(task).root / "repeat.json"
    write_record(path, report)
    if spread.scored < len(outcomes):
        raise_failures(task, outcomes, path)
    return report
