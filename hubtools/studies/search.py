"""Search for better training flags, by Optuna: each trial is a real training, scored on the validation split.

What is known lies in files: ``optuna.journal`` holds what each trial was given, a folder a trial what came of it. A
search that was killed goes on with the trial that was under way.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.errors import UsageError
from hubtools.options import TrainingOptions, WorkOptions
from hubtools.records import extend, to_json, write_record
from hubtools.records.studies import Outcome, SearchReport
from hubtools.studies.engine import PlannedTraining, Study, check_extra, open_study, raise_failures
from hubtools.studies.ranges import Range, Value, format_flags, read_ranges, surround_defaults
from hubtools.task import TaskSpec
from hubtools.tasks import find_base
from hubtools.training.fewshot import TAKEN, check_method, choose_few_shot_preset, is_few_shot
from hubtools.training.flags import parse_training_flags
from hubtools.training.inputs import find_commit, load_config, resolve_base
from hubtools.training.presets import choose_preset

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DEFAULTS = "defaults"  # the training without any flag of ours, which the others must beat
JOURNAL = "optuna.journal"

_ENOUGH = 10  # scored trials, below which importances would be noise


def search_flags(
    task: TaskSpec,
    work: WorkOptions,
    options: TrainingOptions,
    trials: int,
    ranges: Path | None = None,
    sampler_seed: int = 0,
) -> SearchReport | None:
    """Go on until ``trials`` trials have a score, or this call has tried as many as were lacking.

    What is returned is written to ``search.json`` as well. The model of the best training alone is kept.

    Args:
        ranges: a YAML file, see :func:`read_ranges`; by default what surrounds the defaults.
        sampler_seed: of what Optuna draws.

    Returns:
        the report; None for a dry run.

    Raises:
        UsageError: no Optuna, or ranges that cannot be used.
        MissingStage: the task is not curated here.
        TrainingFailed: no training has a score.
    """
    check_extra("search", "optuna", "A search needs Optuna, which is not installed")
    # A search over other ranges, or by another sampler, is another study.
    searched = _choose_ranges(task, work, options, ranges)
    records = {name: span.to_record() for name, span in searched.items()}
    written = {name: to_json(record) for name, record in records.items()}
    study = open_study(task, work, options, "search", [written, sampler_seed])
    if options.dry_run:
        work.note(" ".join([f"would train {DEFAULTS}:", *options.flags.argv]))
        work.note(f"would train {trials} trials, each with a value of every range:")
        for name, span in written.items():
            work.note(f"  {name}: {', '.join(f'{key} {value}' for key, value in span.items())}")
        return None
    importances = _train_trials(study, searched, trials, sampler_seed)
    outcomes = sorted(_read_outcomes(study), key=lambda outcome: -_rank_outcome(outcome))
    scored = [outcome for outcome in outcomes if outcome.score is not None]
    report = extend(
        study.describe(outcomes),
        SearchReport,
        sampler_seed=sampler_seed,
        ranges=records,
        best=scored[0] if scored else None,
        importances=importances,
        notes=[f"the best of {len(scored)} scores on one split is above what its model reaches on others"],
    )
    path = work.folder(task).root / "search.json"
    write_record(path, report)
    if not scored:
        raise_failures(task, outcomes, path)
    return report


def _choose_ranges(task: TaskSpec, work: WorkOptions, options: TrainingOptions, path: Path | None) -> dict[str, Range]:
    """Return the ranges, but for flags that are given: these hold for all trainings."""
    if path is None:
        ranges = _make_ranges(task, work, options)
    else:

        def check(flags: Sequence[str]) -> None:
            check_method(parse_training_flags((*options.flags.argv, *flags)), [task], options.processes)

        ranges = read_ranges(path, check)
    open_ranges = {name: span for name, span in ranges.items() if name not in options.flags.given}
    if not open_ranges:
        raise UsageError(
            "Nothing is left to search",
            expected="a range whose flag is not given",
            found=", ".join(sorted(ranges)),
            next="leave one of these flags out, or name further ranges",
        )
    return open_ranges


def _make_ranges(task: TaskSpec, work: WorkOptions, options: TrainingOptions) -> dict[str, Range]:
    """Return ranges around what this training would take without them."""
    flags = options.flags
    few = is_few_shot(flags)
    if few:
        preset, _ = choose_few_shot_preset()
    else:
        rows = work.folder(task).read_facts().splits["train"].rows
        base = resolve_base(options.base)
        # Of the encoder's width: what small ones learn with is too fast for large ones.
        width = load_config(base, find_commit(base)).hidden_size
        preset, _ = choose_preset(rows, task, find_base(base), width, lora=bool(flags.ours.lora_rank))
    # A flag that few-shot training does not take is left out below.
    ranges = surround_defaults(preset, options.processes * flags.trainer.get("gradient_accumulation_steps", 1))
    if "max_steps" in flags.given:  # which decides, whatever the epochs
        del ranges["num_train_epochs"]
    return {name: span for name, span in ranges.items() if not few or name in TAKEN}


def _train_trials(study: Study, ranges: Mapping[str, Range], trials: int, sampler_seed: int) -> dict[str, float] | None:
    """Train what is lacking, and return the importances of the flags.

    Returns:
        how much of the scores' variance each flag explains; None for too few scores, or one score alone.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: _make_distribution(span) for name, span in ranges.items()}
    study.root.mkdir(parents=True, exist_ok=True)
    finished = sum(outcome.score is not None for outcome in _read_outcomes(study))
    with study.lock_folder(trials + 1, finished) as tick:
        _drop_broken_line(study.root / JOURNAL)
        # Optuna's own study: what was drawn, and what came of it, for the sampler to learn from.
        sampled = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(study.root / JOURNAL))),
            study_name=study.root.name,
            direction="maximize",
            load_if_exists=True,
        )

        def train(number: int, values: Mapping[str, Value]) -> None:
            planned = PlannedTraining(f"trial-{number:03}", study.options.seed, format_flags(values))
            outcome = study.train(planned)
            state = TrialState.FAIL if outcome.score is None else TrialState.COMPLETE
            sampled.tell(number, outcome.score, state)
            study.remove_leftovers(outcome.name)  # a trial that failed is not tried again
            keep_best()  # after each trial, so that the disk holds two models at most
            tick()

        def keep_best() -> None:
            study.remove_models_but(max(_read_outcomes(study), key=_rank_outcome).name)

        defaults = study.read_outcome(DEFAULTS)
        if defaults is None or defaults.score is None:
            study.train(PlannedTraining(DEFAULTS, study.options.seed))
            tick()
        lacking = trials - len(sampled.get_trials(states=(TrialState.COMPLETE,)))
        for trial in sampled.get_trials(states=(TrialState.RUNNING,)):  # under way when a search was killed
            if set(trial.params) == set(space):
                train(trial.number, trial.params)
                lacking -= 1
            else:
                sampled.tell(trial.number, state=TrialState.FAIL)
        for _ in range(lacking):
            # A sampler of its own for each trial: one that goes on after a kill would draw its first values again.
            number = len(sampled.trials)
            seed = random.Random(f"{sampler_seed}:{number}").getrandbits(32)
            sampled.sampler = optuna.samplers.TPESampler(seed=seed)
            train(number, sampled.ask(space).params)
        keep_best()
        scored = sampled.get_trials(states=(TrialState.COMPLETE,))
        # With one score alone there is no variance to explain.
        if len(scored) < _ENOUGH or len({trial.value for trial in scored}) == 1:
            return None
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        importances = optuna.importance.get_param_importances(sampled, evaluator=evaluator)
        return {name: round(float(share), 4) for name, share in importances.items()}


def _read_outcomes(study: Study) -> list[Outcome]:
    """Return the outcomes of the defaults and of all trials that there are, in their order."""
    names = [DEFAULTS, *sorted(path.parent.name for path in study.root.glob("trial-*/outcome.json"))]
    return [outcome for name in names if (outcome := study.read_outcome(name))]


def _rank_outcome(outcome: Outcome) -> float:
    """Return the score to sort by, by which a failure comes after all scores."""
    return float("-inf") if outcome.score is None else outcome.score


def _make_distribution(span: Range) -> BaseDistribution:
    """Return a range as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if span.choices:
        return CategoricalDistribution(span.choices)
    if span.whole:
        return IntDistribution(int(span.low), int(span.high), log=span.log, step=int(span.step or 1))
    return FloatDistribution(float(span.low), float(span.high), log=span.log, step=span.step)


def _drop_broken_line(journal: Path) -> None:
    """Drop a last line that a kill cut short: Optuna would write the next one behind it, and read neither."""
    content = journal.read_bytes() if journal.exists() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with journal.open("r+b") as file:
            file.truncate(whole)
