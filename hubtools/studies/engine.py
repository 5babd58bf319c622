"""Several trainings of one task, each by ``accelerate launch`` in a folder of its own, and their scores.

A study lies in ``<task>/studies/<kind>-<what identifies it>/``, a folder a training. A training that has a score is
never done again; one that was killed goes on from its last checkpoint; one that failed leaves its message, and is tried
again by the next command. Scores are those of the validation split, or of what is held out: the dataset's
test split is not even in these folders.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import json
import math
import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from hubtools.errors import DamagedRecord, TrainingFailed, UsageError
from hubtools.launch import compute_training_fingerprint, copy_model, finetune_task
from hubtools.options import TrainingOptions, WorkOptions
from hubtools.records import from_json, write_json, write_record
from hubtools.records.studies import Outcome, ScoreSpread, StudyMetric, StudyReport
from hubtools.records.training import TrainingRecord
from hubtools.task import TaskSpec
from hubtools.training.fewshot import check_method
from hubtools.workdir import TaskFolder

# Called with the name and the folder of a training that has ended, while its data and its model are there.
Finisher = Callable[[str, TaskFolder], None]
# Writes the data of a training, which is given by its name, into a folder: splits to train and to validate on, and a
# ``facts.json`` with a fingerprint, written last.
DataWriter = Callable[[str, TaskFolder], None]


@dataclass(frozen=True)
class PlannedTraining:
    """One training of a study.

    Attributes:
        name: of its folder.
        flags: beside those that all have.
        keep_model: its model is wanted, and not its score alone.
    """

    name: str
    seed: int
    flags: tuple[str, ...] = ()
    keep_model: bool = False


@dataclass(frozen=True)
class Study:
    """Trainings of one task that belong together.

    Attributes:
        root: their folder.
        base: what all start from.
        fingerprint: of the task's own training with these options.
        write_data: see :data:`DataWriter`.
        finish: see :data:`Finisher`; then no model is kept.
    """

    task: TaskSpec
    work: WorkOptions
    options: TrainingOptions
    root: Path
    base: str
    fingerprint: str
    write_data: DataWriter
    finish: Finisher | None = None

    def find_folder(self, name: str) -> TaskFolder:
        """Return the work folder's part for one training."""
        return replace(self.work, work_dir=self.root / name).folder(self.task)

    def read_outcome(self, name: str) -> Outcome | None:
        """Return the outcome of a training; None where it was not tried, or was killed."""
        path = self.root / name / "outcome.json"
        try:
            return from_json(json.loads(path.read_text("utf-8")), Outcome)
        except (OSError, ValueError, DamagedRecord):
            return None  # trained again: a damaged outcome is as good as none

    def train(self, planned: PlannedTraining) -> Outcome:
        """Train, unless there is a score already, and return the outcome; a failure is one as well."""
        outcome = self.read_outcome(planned.name)
        # The model of a training may have been removed, when another one was the best.
        lacks_model = planned.keep_model and not self.find_folder(planned.name).has_model
        if outcome is None or outcome.score is None or lacks_model:
            self._note(planned.name, " ".join(planned.flags) or f"seed {planned.seed}")
            outcome = Outcome(name=planned.name, seed=planned.seed, flags=list(planned.flags))
            try:
                outcome = self._score(outcome, self._find_or_train(planned))
            # Flags that a search draws may well diverge: that is an answer too, and no reason to stop.
            except TrainingFailed as error:
                outcome = replace(outcome, failure=error.found or error.subject)
            write_record(self.root / planned.name / "outcome.json", outcome)
            self._note(planned.name, self._format_outcome(outcome))
        if outcome.score is not None:
            self.remove_leftovers(planned.name)
        return outcome

    def remove_leftovers(self, name: str) -> None:
        """Remove data, tokens, checkpoints and cache, which only a training that goes on would need."""
        run = self.find_folder(name)
        run.facts.unlink(missing_ok=True)  # first: it says that the data are there
        made = [run.model] if self.finish else []
        for path in (run.dataset, run.tokens, run.runs, _locate_cache(run), *made):
            shutil.rmtree(path, ignore_errors=True)

    def _find_or_train(self, planned: PlannedTraining) -> TrainingRecord:
        """Return the record of the same training in any folder of the task, else train here."""
        work = replace(self.work, work_dir=self.root / planned.name)
        options = replace(self.options, seed=planned.seed, flags=self.options.flags.prepend(planned.flags))
        run = work.folder(self.task)
        # Facts are written last: without them the data are not whole.
        if not run.facts.exists():
            self.write_data(planned.name, run)
        _, fingerprint = compute_training_fingerprint(self.task, work, options)
        record = self._find_same_training(planned, run, fingerprint)
        with _set_environment(HF_DATASETS_CACHE=str(_locate_cache(run).resolve())):  # keeps the user's own clean
            if record is None:
                finetune_task(self.task, work, options)
                record = run.read_training()
            if self.finish:
                self.finish(planned.name, run)
        return record

    def _score(self, outcome: Outcome, record: TrainingRecord) -> Outcome:
        """Return ``outcome`` with its score and costs; raises :class:`TrainingFailed` where there is no score."""
        score = record.best_validation.get(self.task.primary.key)
        if score is None or not math.isfinite(score):
            raise TrainingFailed(
                f"{outcome.name} has no score",
                expected=f"{self.task.primary.title} on the validation split",
                found=f"{self.task.primary.title} {score}; a training must be evaluated on the way",
            )
        return replace(outcome, score=score, seconds=record.seconds, steps=record.steps, epochs=record.epochs_run)

    def _find_same_training(self, planned: PlannedTraining, run: TaskFolder, fingerprint: str) -> TrainingRecord | None:
        """Return the record of the same training elsewhere in the task's folder, or None; copy its model if wanted."""
        # By its fingerprint: the default training of a search is often the one that the task has already.
        others = [folder for folder in self.work.folder(self.task).find_trained(fingerprint) if folder != run]
        if planned.keep_model or self.finish:
            with run.lock(self.work.note):
                return run.read_training() if copy_model(run, others, self.work.note) else None
        if not others:
            return None
        self._note(planned.name, f"the same training was done in {others[0].root}")
        return others[0].read_training()

    def remove_models_but(self, kept: str | None) -> None:
        """Remove the models of all trainings that have an outcome but that of ``kept``; None keeps none."""
        for path in self.root.glob("*/outcome.json"):
            run = self.find_folder(path.parent.name)
            if path.parent.name != kept and run.model.exists():
                with run.lock(self.work.note):
                    shutil.rmtree(run.model)

    def _note(self, name: str, line: str) -> None:
        """Print a line about a training."""
        self.work.note(f"{self.task.name}: {name}: {line}")

    def _format_outcome(self, outcome: Outcome) -> str:
        """Return an outcome as a line for a terminal."""
        if outcome.score is None:
            return f"failed: {outcome.failure}"
        return f"{self.task.primary.title} {outcome.score:.4f} on validation, {outcome.seconds:.0f} s"

    @contextlib.contextmanager
    def lock_folder(self, trainings: int, finished: int = 0) -> Iterator[Callable[[], None]]:
        """Lock the study's folder for the block; the task's own stays free. Yields what to call after each training.

        A bar that is drawn over itself would not survive what the trainings print: each state of it is a line.

        Args:
            trainings: how many there are in all.
            finished: how many of them have a score already.
        """
        from tqdm import tqdm  # type: ignore[import-untyped]

        began, ended = time.monotonic(), itertools.count(finished + 1)

        def tick() -> None:
            line = tqdm.format_meter(
                next(ended),
                trainings,
                time.monotonic() - began,
                ncols=100,
                initial=finished,  # the rate is that of the trainings of this command
                unit="training",
                prefix=f"{self.task.name}: trainings",
            )
            self.work.note(line)

        with TaskFolder(self.root).lock(self.work.note):
            yield tick

    def train_all(self, planned: Sequence[PlannedTraining]) -> list[Outcome]:
        """Return the outcomes in the order of ``planned``; a failure does not keep the others from being tried."""
        outcomes = []
        with self.lock_folder(len(planned)) as tick:
            for training in planned:
                outcomes.append(self.train(training))
                tick()
        return outcomes

    def describe(self, outcomes: Sequence[Outcome]) -> StudyReport:
        """Return what every report of a study says."""
        return StudyReport(
            task=self.task.name,
            metric=StudyMetric(key=self.task.primary.key, title=self.task.primary.title),
            split="validation",
            base=self.base,
            seed=self.options.seed,
            flags=list(self.options.flags.argv),
            folder=str(self.root),
            trainings=list(outcomes),
        )


def open_study(
    task: TaskSpec,
    work: WorkOptions,
    options: TrainingOptions,
    kind: str,
    causes: object,
    write_data: DataWriter | None = None,
    finish: Finisher | None = None,
) -> Study:
    """Return the study of this ``kind`` that data, base, flags and ``causes`` identify: the same again goes on.

    Args:
        causes: what else decides the scores; as JSON.
        write_data: by default all trainings have the curated training and validation split.
        finish: what is done with each model that was trained.

    Raises:
        MissingStage: the task is not curated here.
        UsageError: flags that do not go together.
    """
    check_method(options.flags, [task], options.processes)
    base, fingerprint = compute_training_fingerprint(task, work, options)
    # The fingerprint names the data, the base and the flags; what else makes a study another one joins it here.
    name = hashlib.sha256(json.dumps([fingerprint, causes]).encode()).hexdigest()[:12]
    folder = work.folder(task)

    def link_curated(_: str, run: TaskFolder) -> None:
        # Locked: a curation that runs at the same time swaps the files.
        with folder.lock(work.note):
            facts = folder.read(folder.facts, "curate")
            for split in ("train", "validation"):
                path = run.split_file(split)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                _link_or_copy(folder.need(folder.split_file(split), "curate"), path)
        write_json(run.facts, facts)

    root = folder.studies / f"{kind}-{name}"
    return Study(task, work, options, root, base, fingerprint, write_data or link_curated, finish)


def check_extra(extra: str, package: str, subject: str) -> None:
    """Raise :class:`UsageError` about ``subject`` where the package of an extra of hubtools is not installed."""
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            subject,
            expected=f"hubtools with its extra {extra!r}",
            found="hubtools without it",
            next=f"pip install 'hubtools[{extra}]'",
        )


def refuse_named_dataset(task: TaskSpec, options: TrainingOptions) -> None:
    """Raise :class:`UsageError` where flags name other data than the curated dataset, which folds are made of."""
    if options.flags.ours.dataset is not None:
        raise UsageError(
            "Folds are made of the curated dataset",
            expected="no --dataset",
            found="--dataset",
            next=f"curate these data with hubtools curate {task.name} --source, then cross-validate",
        )


def summarize_scores(outcomes: Sequence[Outcome]) -> ScoreSpread:
    """Return mean, sample standard deviation, least and greatest of the scores that there are."""
    scores = [outcome.score for outcome in outcomes if outcome.score is not None]
    return ScoreSpread(
        scored=len(scores),
        mean=statistics.fmean(scores) if scores else None,
        standard_deviation=statistics.stdev(scores) if len(scores) > 1 else None,
        low=min(scores, default=None),
        high=max(scores, default=None),
    )


def raise_failures(task: TaskSpec, outcomes: Sequence[Outcome], report: Path) -> NoReturn:
    """Raise the error of a study whose trainings have no score, or not all of them where it needs all."""
    # Three of them are enough to see what is wrong; the report has all.
    failures = [outcome for outcome in outcomes if outcome.failure is not None]
    raise TrainingFailed(
        f"{len(failures)} of {len(outcomes)} trainings of {task.name!r} ended without a score",
        expected=f"a score on validation; {report} has what there is",
        found="; ".join(f"{outcome.name}: {outcome.failure}" for outcome in failures[:3]),
        next="mend what it names and run the same command again: trainings that have a score are kept",
    )


def _locate_cache(run: TaskFolder) -> Path:
    """Return the folder of what ``datasets`` keeps of a training's data."""
    return run.root.parent / "cache"


def _link_or_copy(source: Path, path: Path) -> None:
    """Make ``path`` the same file as ``source``, where the disk can do that, so that it costs no room."""
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)


@contextlib.contextmanager
def _set_environment(**values: str) -> Iterator[None]:
    """Set variables for the processes that are started within the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
