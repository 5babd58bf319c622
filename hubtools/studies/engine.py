"""Several trainings of one task, each by ``accelerate launch`` in a folder of its own, and their scores.

A study lies in ``<task>/studies/<kind>-<what identifies it>/``, a folder a training. A training that has a score is
never done again; one that was killed goes on from its last checkpoint; one that failed leaves its message, and is tried
again by the next command. Scores are those of the validation split: the test split is not even in these folders.
"""

from __future__ import annotations

import contextlib
import hashlib
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
from typing import Any, NoReturn

from hubtools.errors import TrainingFailed
from hubtools.launch import finetune_task, taken_over, training_fingerprint
from hubtools.records import write_json
from hubtools.settings import Settings
from hubtools.task import TaskSpec
from hubtools.training.fewshot import check_method
from hubtools.workdir import TaskFolder

Outcome = dict[str, Any]  # name, seed and flags; score, seconds, steps and epochs, or failure


@dataclass(frozen=True)
class Planned:
    """One training of a study.

    Attributes:
        name: of its folder.
        flags: beside those that all have.
        keep: its model is wanted, and not its score alone.
    """

    name: str
    seed: int
    flags: tuple[str, ...] = ()
    keep: bool = False


@dataclass(frozen=True)
class Study:
    """Trainings of one task that belong together.

    Attributes:
        root: their folder.
        base: what all start from.
        lay_out: puts the data of a training, by its name, into the folder that it is given: splits to train and to
            validate on, and a ``facts.json`` with a fingerprint, written last.
    """

    task: TaskSpec
    settings: Settings
    root: Path
    base: str
    lay_out: Callable[[str, TaskFolder], None]

    def training_folder(self, name: str) -> TaskFolder:
        """The work folder's part for one training."""
        return replace(self.settings, work_dir=self.root / name).folder(self.task)

    def outcome(self, name: str) -> Outcome | None:
        """What is known of a training: with a score where it is done, with a failure where it was tried."""
        path = self.root / name / "outcome.json"
        try:
            known: Outcome = json.loads(path.read_text())
        except (OSError, ValueError):
            return None
        return known

    def attempt(self, training: Planned) -> Outcome:
        """Train, unless that is done, and say what came of it; a failure is an outcome as well."""
        known = self.outcome(training.name)
        gone = training.keep and not self.training_folder(training.name).has_model
        if known is None or "score" not in known or gone:
            said = {"name": training.name, "seed": training.seed, "flags": list(training.flags)}
            self.settings.note(f"{self._about(training.name)}: {' '.join(training.flags) or f'seed {training.seed}'}")
            try:
                known = said | self._trained(training)
            except TrainingFailed as error:
                known = said | {"failure": error.found or error.subject}
            write_json(self.root / training.name / "outcome.json", known)
            self.settings.note(f"{self._about(training.name)}: {self._came_of(known)}")
        if "score" in known:
            self.tidy(training.name)
        return known

    def tidy(self, name: str) -> None:
        """Remove what only a training that goes on would need."""
        run = self.training_folder(name)
        run.facts.unlink(missing_ok=True)  # first: it says that the data are there
        for path in (run.dataset, run.tokens, run.runs, _cache(run)):
            shutil.rmtree(path, ignore_errors=True)

    def _trained(self, training: Planned) -> dict[str, Any]:
        """Score and costs."""
        settings = replace(
            self.settings, work_dir=self.root / training.name, seed=training.seed,
            training=self.settings.training.prepend(training.flags),
        )  # fmt: skip
        run = settings.folder(self.task)
        if not run.facts.exists():
            self.lay_out(training.name, run)
        _, mark = training_fingerprint(self.task, settings)
        found = self._done_elsewhere(training, run, mark)
        if found is None:
            with _environment(HF_DATASETS_CACHE=str(_cache(run).resolve())):  # the user's own is not for passing data
                found = finetune_task(self.task, settings)
        score = found["best_validation"].get(self.task.primary.key)
        if score is None or not math.isfinite(score):
            raise TrainingFailed(
                f"{training.name} has no score", expected=f"{self.task.primary.title} on the validation split",
                found=f"{self.task.primary.title} {score}; a training must be evaluated on the way",
            )  # fmt: skip
        return {"score": score, "seconds": found["seconds"], "steps": found["steps"], "epochs": found["epochs_run"]}

    def _done_elsewhere(self, training: Planned, run: TaskFolder, mark: str) -> dict[str, Any] | None:
        """The ``training.json`` of the very same training in another folder of the task, with its model if wanted."""
        others = [folder for folder in self.settings.folder(self.task).trained(mark) if folder != run]
        if training.keep:
            with run.alone(self.settings.note):
                return run.read(run.training, "finetune") if taken_over(run, others, self.settings.note) else None
        if not others:
            return None
        self.settings.note(f"{self._about(training.name)}: the same training was done in {others[0].root}")
        return others[0].read(others[0].training, "finetune")

    def keep_model_of(self, kept: str | None) -> None:
        """Remove the models of all trainings but one, of done ones alone."""
        for path in self.root.glob("*/outcome.json"):
            run = self.training_folder(path.parent.name)
            if path.parent.name != kept and run.model.exists():
                with run.alone(self.settings.note):
                    shutil.rmtree(run.model)

    def _about(self, name: str) -> str:
        return f"{self.task.name}: {name}"

    def _came_of(self, outcome: Outcome) -> str:
        if "failure" in outcome:
            return f"failed: {outcome['failure']}"
        return f"{self.task.primary.title} {outcome['score']:.4f} on validation, {outcome['seconds']:.0f} s"

    @contextlib.contextmanager
    def at_work(self, trainings: int, done: int = 0) -> Iterator[Callable[[], None]]:
        """Hold the study's folder; the task's own stays free. Yields what to call after each training.

        A bar that is drawn over itself would not survive what the trainings say: each state of it is a line.
        """
        from tqdm import tqdm  # type: ignore[import-untyped]

        began, ended = time.monotonic(), itertools.count(done + 1)

        def tick() -> None:
            self.settings.note(
                tqdm.format_meter(
                    next(ended), trainings, time.monotonic() - began, ncols=100, initial=done, unit="training",
                    prefix=f"{self.task.name}: trainings",
                )
            )  # fmt: skip

        with TaskFolder(self.root).alone(self.settings.note):
            yield tick

    def attempt_all(self, trainings: Sequence[Planned]) -> list[Outcome]:
        """The outcomes of ``trainings``, in their order; a failure does not keep the others from being tried."""
        outcomes = []
        with self.at_work(len(trainings)) as tick:
            for training in trainings:
                outcomes.append(self.attempt(training))
                tick()
        return outcomes


def opened(
    task: TaskSpec, settings: Settings, kind: str, causes: Any, lay_out: Callable[[str, TaskFolder], None] | None = None
) -> Study:
    """The study of this ``kind`` that data, base, flags and ``causes`` identify: the same again goes on.

    Args:
        causes: what else decides the scores; as JSON.
        lay_out: see :class:`Study`; by default all trainings have the curated training and validation split.

    Raises:
        MissingStage: the task is not curated here.
        UsageError: a flag that training does not know.
    """
    check_method(settings.training, [task], settings.processes)
    base, mark = training_fingerprint(task, settings)
    name = hashlib.sha256(json.dumps([mark, causes]).encode()).hexdigest()[:12]
    folder = settings.folder(task)

    def curated(_: str, run: TaskFolder) -> None:
        with folder.alone(settings.note):
            facts = folder.read(folder.facts, "curate")
            for split in ("train", "validation"):
                path = run.split_file(split)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                _link(folder.need(folder.split_file(split), "curate"), path)
        write_json(run.facts, facts)

    return Study(task, settings, folder.studies / f"{kind}-{name}", base, lay_out or curated)


def described(study: Study, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """What every report of a study says: the metric and where it was measured, what was trained, and how it went."""
    return {
        "task": study.task.name,
        "metric": {"key": study.task.primary.key, "title": study.task.primary.title},
        "split": "validation",
        "base": study.base,
        "seed": study.settings.seed,
        "flags": list(study.settings.training.argv),
        "folder": str(study.root),
        "trainings": list(outcomes),
    }


def spread(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Mean, sample standard deviation (None for a single score), least and greatest of the scores that there are."""
    scores = [outcome["score"] for outcome in outcomes if "score" in outcome]
    return {
        "scored": len(scores),
        "mean": statistics.fmean(scores) if scores else None,
        "standard_deviation": statistics.stdev(scores) if len(scores) > 1 else None,
        "low": min(scores, default=None),
        "high": max(scores, default=None),
    }


def fail(task: TaskSpec, outcomes: Sequence[Outcome], report: Path) -> NoReturn:
    """Raise the error of a study whose trainings have no score, or not all of them where it needs all."""
    failures = [outcome for outcome in outcomes if "failure" in outcome]
    raise TrainingFailed(
        f"{len(failures)} of {len(outcomes)} trainings of {task.name!r} ended without a score",
        expected=f"a score on validation; {report} has what there is",
        found="; ".join(f"{outcome['name']}: {outcome['failure']}" for outcome in failures[:3]),
        next="mend what it names and run the same command again: trainings that have a score are kept",
    )


def _cache(run: TaskFolder) -> Path:
    return run.root.parent / "cache"


def _link(source: Path, path: Path) -> None:
    """The same file under another name, where the disk can do that, so that it costs no room."""
    try:
        os.link(source, path)
    except OSError:
        shutil.copyfile(source, path)


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Variables for the processes that are started within the block."""
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
