"""Search for better training flags, by Optuna: each trial is a real training, scored on the validation split.

What is known lies in files: ``optuna.journal`` holds what each trial was given, a folder a trial what came of it. A
search that was killed goes on with the trial that was under way.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hubtools.errors import UsageError
from hubtools.records import write_json
from hubtools.settings import Settings
from hubtools.studies.engine import Outcome, Planned, Study, described, fail, opened
from hubtools.studies.ranges import Range, Value, default_ranges, flags_of, read_ranges
from hubtools.task import TaskSpec
from hubtools.tasks import base_named
from hubtools.training.fewshot import TAKEN, check_method, few_shot_preset, is_few_shot
from hubtools.training.flags import parse_training_flags
from hubtools.training.inputs import commit_of, config_of, resolve_base
from hubtools.training.presets import preset_for

DEFAULTS = "defaults"  # the training without any flag of ours, which the others must beat
JOURNAL = "optuna.journal"

_ENOUGH = 10  # scored trials, below which importances would be noise


def search(
    task: TaskSpec, settings: Settings, trials: int, ranges: Path | None = None, sampler_seed: int = 0
) -> dict[str, Any]:
    """Go on until ``trials`` trials have a score, or this call has tried as many as were lacking.

    Returns, and writes to ``search.json``, the ranges, the trials from the best to the worst, and what the best was
    trained with. Its model alone is kept.

    Args:
        ranges: a YAML file, see :func:`read_ranges`; by default what surrounds the defaults.

    Raises:
        UsageError: no Optuna, or ranges that cannot be used.
        MissingStage: the task is not curated here.
        TrainingFailed: no training has a score.
    """
    if importlib.util.find_spec("optuna") is None:
        raise UsageError(
            "A search needs Optuna, which is not installed", expected="hubtools with its extra 'search'",
            found="hubtools without it", next="pip install 'hubtools[search]'",
        )  # fmt: skip
    folder = settings.folder(task)
    varied = _varied(task, settings, ranges)
    written = {name: span.as_written() for name, span in varied.items()}
    study = opened(task, settings, "search", [written, sampler_seed])
    if settings.dry_run:
        settings.note(" ".join([f"would train {DEFAULTS}:", *settings.training.argv]))
        settings.note(f"would train {trials} trials, each with a value of every range:")
        for name, span in written.items():
            settings.note(f"  {name}: {', '.join(f'{key} {value}' for key, value in span.items())}")
        return {}
    importances = _trained(study, varied, trials, sampler_seed)
    outcomes = sorted(_outcomes(study), key=lambda o: -o.get("score", float("-inf")))
    scored = [outcome for outcome in outcomes if "score" in outcome]
    report = {
        **described(study, outcomes),
        "sampler_seed": sampler_seed,
        "ranges": written,
        "best": scored[0] if scored else None,
        "importances": importances,
        "notes": [f"the best of {len(scored)} scores on one split is above what its model reaches on others"],
    }
    path = folder.root / "search.json"
    write_json(path, report)
    if not scored:
        fail(task, outcomes, path)
    return report


def _varied(task: TaskSpec, settings: Settings, ranges: Path | None) -> dict[str, Range]:
    """The ranges, but for flags that are given: these hold for all trainings."""
    given = settings.training.given
    if ranges is None:
        found = _usual(task, settings)
    else:

        def check(flags: Sequence[str]) -> None:
            every = parse_training_flags((*settings.training.argv, *flags))
            check_method(every, [task], settings.processes)

        found = read_ranges(ranges, check)
    left = {name: span for name, span in found.items() if name not in given}
    if not left:
        raise UsageError(
            "Nothing is left to search", expected="a range whose flag is not given", found=", ".join(sorted(found)),
            next="leave one of these flags out, or name further ranges",
        )  # fmt: skip
    return left


def _usual(task: TaskSpec, settings: Settings) -> dict[str, Range]:
    """Ranges around what this training would take without them."""
    flags = settings.training
    few = is_few_shot(flags)
    if few:
        preset, _ = few_shot_preset()
    else:
        folder = settings.folder(task)
        rows = folder.read(folder.facts, "curate")["splits"]["train"]["rows"]
        base = resolve_base(settings.base)
        width = config_of(base, commit_of(base)).hidden_size
        preset, _ = preset_for(rows, task, base_named(base), width, lora=bool(flags.ours.lora_rank))
    found = default_ranges(preset, settings.processes * flags.trainer.get("gradient_accumulation_steps", 1))
    if "max_steps" in flags.given:  # which decides, whatever the epochs
        del found["num_train_epochs"]
    return {name: span for name, span in found.items() if not few or name in TAKEN}


def _trained(study: Study, varied: Mapping[str, Range], trials: int, sampler_seed: int) -> dict[str, float] | None:
    """Train what is lacking; returns how much of the scores' variance each flag explains, where that can be said."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: _distribution(span) for name, span in varied.items()}
    study.root.mkdir(parents=True, exist_ok=True)
    with study.at_work(trials + 1, sum("score" in outcome for outcome in _outcomes(study))) as tick:
        _mend(study.root / JOURNAL)
        book = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(study.root / JOURNAL))), study_name=study.root.name,
            direction="maximize", load_if_exists=True,
        )  # fmt: skip

        def attempt(number: int, values: Mapping[str, Value]) -> None:
            outcome = study.attempt(Planned(f"trial-{number:03}", study.settings.seed, flags_of(values)))
            score = outcome.get("score")
            book.tell(number, score, TrialState.FAIL if score is None else TrialState.COMPLETE)
            study.tidy(outcome["name"])  # a trial that failed is not tried again
            keep_best()
            tick()

        def keep_best() -> None:
            study.keep_model_of(max(_outcomes(study), key=lambda o: o.get("score", float("-inf")))["name"])

        if "score" not in (study.outcome(DEFAULTS) or {}):
            study.attempt(Planned(DEFAULTS, study.settings.seed))
            tick()
        lacking = trials - len(book.get_trials(states=(TrialState.COMPLETE,)))
        for trial in book.get_trials(states=(TrialState.RUNNING,)):  # under way when a search was killed
            if set(trial.params) == set(space):
                attempt(trial.number, trial.params)
                lacking -= 1
            else:
                book.tell(trial.number, state=TrialState.FAIL)
        for _ in range(lacking):
            # A sampler of its own for each trial: one that goes on after a kill would draw its first values again.
            number = len(book.trials)
            seed = random.Random(f"{sampler_seed}:{number}").getrandbits(32)
            book.sampler = optuna.samplers.TPESampler(seed=seed)
            attempt(number, book.ask(space).params)
        keep_best()
        scored = book.get_trials(states=(TrialState.COMPLETE,))
        if len(scored) < _ENOUGH or len({trial.value for trial in scored}) == 1:
            return None
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        found = optuna.importance.get_param_importances(book, evaluator=evaluator)
        return {name: round(float(share), 4) for name, share in found.items()}


def _outcomes(study: Study) -> list[Outcome]:
    """Of the defaults and of all trials that there are, in their order."""
    names = [DEFAULTS, *sorted(path.parent.name for path in study.root.glob("trial-*/outcome.json"))]
    return [outcome for name in names if (outcome := study.outcome(name))]


def _distribution(span: Range) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if span.choices:
        return CategoricalDistribution(span.choices)
    if span.whole:
        return IntDistribution(int(span.low), int(span.high), log=span.log, step=int(span.step or 1))
    return FloatDistribution(float(span.low), float(span.high), log=span.log, step=span.step)


def _mend(journal: Path) -> None:
    """Take a line off that a kill cut short: Optuna would write the next one behind it, and read neither."""
    content = journal.read_bytes() if journal.exists() else b""
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with journal.open("r+b") as file:
            file.truncate(whole)
