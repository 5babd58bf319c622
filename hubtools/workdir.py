"""The work folder: where the files of a run live, one subfolder a task."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hubtools.errors import DamagedRecord, MissingStage, UsageError
from hubtools.records import from_json, read_record, to_json, write_json, write_record
from hubtools.records.dataset import DatasetFacts
from hubtools.records.metrics import Metrics
from hubtools.records.release import Published, PublishedRepos, PublishedTogether
from hubtools.records.studies import SourceReport
from hubtools.records.training import MultitaskRecord, TrainingRecord

if TYPE_CHECKING:
    from datasets import DatasetDict

DEFAULT = Path("hubtools-work")  # in the current folder
UNSEEN = "leave-one-source-out.json"  # of a task, in its folder and in its release
PUBLISHED = "published.json"  # of a task in its folder, of what shows all of them beside these folders


@dataclass(frozen=True)
class TaskFolder:
    """Paths of one task. Everything that a later stage needs of an earlier one is a file here."""

    root: Path

    # In the order in which a run writes them.

    @property
    def task(self) -> str:
        """The name of the task, which its folder bears."""
        return self.root.name

    @property
    def dataset(self) -> Path:
        """Laid out as it is pushed: ``load_dataset(folder.dataset)`` reads it."""
        return self.root / "dataset"

    @property
    def facts(self) -> Path:
        """What curation says of the dataset: rows, sources, licences, leaks."""
        return self.root / "facts.json"

    @property
    def audit(self) -> Path:
        """Rows of each class for a person to check."""
        return self.root / "audit.csv"

    @property
    def dropped(self) -> Path:
        """Place and reason of rows that curation dropped, a JSON object a line."""
        return self.root / "dropped.jsonl"

    @property
    def model(self) -> Path:
        """The release: weights, tokenizer, mapping, and after evaluation the card, scores and plots."""
        return self.root / "model"

    @property
    def has_model(self) -> bool:
        """Whether there are weights."""
        return (self.model / "model.safetensors").exists()

    @property
    def training(self) -> Path:
        """What training did: arguments, which preset applied, hours, versions."""
        return self.root / "training.json"

    @property
    def runs(self) -> Path:
        """Checkpoints of the training under way."""
        return self.root / "runs"

    @property
    def logs(self) -> Path:
        """Curves of this and earlier trainings, a folder each."""
        return self.root / "logs"

    @property
    def tokens(self) -> Path:
        """The encoded splits of the last training."""
        return self.root / "tokens"

    @property
    def predictions(self) -> Path:
        """Answers of the model to the test split."""
        return self.root / "predictions.parquet"

    @property
    def validation_predictions(self) -> Path:
        """Answers to the validation split, which thresholds and calibration figures are made of."""
        return self.root / "predictions.validation.parquet"

    @property
    def metrics(self) -> Path:
        """All scores of the predictions."""
        return self.root / "metrics.json"

    @property
    def gate(self) -> Path:
        """The model held against the one that was published when it was pushed."""
        return self.root / "gate.json"

    @property
    def unseen(self) -> Path:
        """Scores on each source by a training that never saw it."""
        return self.root / UNSEEN

    @property
    def studies(self) -> Path:
        """Trainings beside the one that is released: a folder a study, in it a work folder a training."""
        return self.root / "studies"

    @property
    def published(self) -> Path:
        """Repos, revisions and tags of what was pushed."""
        return self.root / PUBLISHED

    @property
    def released(self) -> bool:
        """Whether a model was pushed from here."""
        return self.published.exists() and "model" in self.read(self.published, "push-model")

    def split_file(self, split: str) -> Path:
        """Return the file of a split."""
        # Named as ``push_to_hub`` of datasets names the shards of a split.
        return self.dataset / "data" / f"{split}-00000-of-00001.parquet"

    def find_trained(self, fingerprint: str) -> Iterator[TaskFolder]:
        """Yield this folder, and those of its studies, in which the training with this fingerprint was done."""
        # The task's own first: its model may be the one that is released.
        for path in (self.training, *sorted(self.studies.glob(f"*/*/{self.task}/{self.training.name}"))):
            # Not as a record: what another version wrote only does not match.
            with contextlib.suppress(OSError, ValueError):
                if json.loads(path.read_text("utf-8")).get("fingerprint") == fingerprint:
                    yield TaskFolder(path.parent)

    def need(self, path: Path, command: str) -> Path:
        """Return ``path`` where it exists; raises :class:`MissingStage`, naming the command that makes it."""
        if not path.exists():
            raise MissingStage(
                f"{path.name} of {self.task!r} is not there",
                expected=str(path),
                found="nothing there",
                next=f"hubtools {command} {self.task}",
            )
        return path

    def read(self, path: Path, command: str) -> dict[str, Any]:
        """Return the JSON object in ``path``, unchecked; raises :class:`MissingStage` where it is absent or cut off."""
        try:
            # For who needs a key or two of a file that any version may have written.
            content: dict[str, Any] = json.loads(self.need(path, command).read_text("utf-8"))
        except ValueError as error:
            raise MissingStage(
                f"{path.name} of {self.task!r} is damaged", found=str(error), next=f"hubtools {command} {self.task}"
            ) from error
        return content

    def read_facts(self) -> DatasetFacts:
        """Read ``facts.json``; raises :class:`MissingStage` where curation has not run, or by another version."""
        return read_record(self.facts, DatasetFacts, task=self.task, command="curate")

    def read_training(self) -> TrainingRecord:
        """Read ``training.json`` of a task; raises :class:`MissingStage` where there is no model."""
        return read_record(self.training, TrainingRecord, task=self.task, command="finetune")

    def read_multitask_training(self) -> MultitaskRecord:
        """Read ``training.json`` of the tasks trained together; raises :class:`MissingStage` as above."""
        return read_record(self.training, MultitaskRecord, task=self.task, command="finetune")

    def read_metrics(self) -> Metrics:
        """Read ``metrics.json``; raises :class:`MissingStage` where nothing was scored, or by another version."""
        return read_record(self.metrics, Metrics, task=self.task, command="evaluate")

    def find_unseen(self) -> SourceReport | None:
        """Return the scores on sources that were left out, where the model is of the same rows, base and flags."""
        try:
            report = from_json(json.loads(self.unseen.read_text("utf-8")), SourceReport)
        except (OSError, ValueError, DamagedRecord):  # none, or one of another version
            return None
        return report if report.training == self.read_training().fingerprint else None

    def read_published(self, command: str) -> PublishedRepos:
        """Read ``published.json``; raises :class:`MissingStage`, naming ``command``, where nothing was pushed."""
        return read_record(self.published, PublishedRepos, task=self.task, command=command)

    @contextlib.contextmanager
    def lock(self, note: Callable[[str], None]) -> Iterator[int]:
        """Wait until nobody else works in this folder, and lock it for the block.

        Yields a file descriptor. A child that inherits it keeps the folder locked, as long as it lives: where a
        command is killed and its training is not, the next command waits for the training instead of joining in.
        """
        # The lock is a file of the folder, which may not be there yet.
        self.root.mkdir(parents=True, exist_ok=True)
        # A file of its own: those that are swapped in take no lock along.
        with open(self.root / ".lock", "a+") as file:
            # The lock goes with the process, however it ends: no file is left that would have to be removed.
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                way = _tell_how_to_stop(self.root / ".lock")
                note(f"{self.task}: another command works in {self.root}; waiting for it to end ({way} stops it)")
                fcntl.flock(file, fcntl.LOCK_EX)
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield file.fileno()

    def record_published(self, kind: Literal["dataset", "model"], release: Published) -> None:
        """Write the newest release of a kind into ``published.json``; those of the other kind stay."""
        # As it stands there, not as a record: what a later version wrote stays.
        known = json.loads(self.published.read_text("utf-8")) if self.published.exists() else {}
        write_json(self.published, {**known, kind: to_json(release)})


def _tell_how_to_stop(lock: Path) -> str:
    """Return the command that ends whoever holds a lock: the process named in it, or a training that it left behind."""
    pid = lock.read_text("utf-8")
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return f"fuser -k {shlex.quote(str(lock))}"
    except PermissionError:  # another user's
        pass
    return f"kill {pid}"


@contextlib.contextmanager
def replace_folder(fresh: Path, target: Path) -> Iterator[None]:
    """Put a whole folder in the place of another when the block ends; within it, neither stands there.

    The one before is removed last, and comes back where the block ends with an error. A link to elsewhere stays one.
    """
    target = target.resolve()
    if target.parent != fresh.parent.resolve():  # on another disk, perhaps, where nothing can be renamed to
        moved = target.with_name(target.name + ".new")
        shutil.rmtree(moved, ignore_errors=True)
        shutil.copytree(fresh, moved)
        shutil.rmtree(fresh)
        fresh = moved
    before = target.with_name(target.name + ".old")
    shutil.rmtree(before, ignore_errors=True)
    if target.exists():
        target.rename(before)
    try:
        yield
        fresh.rename(target)
    except BaseException:
        if before.exists() and not target.exists():
            before.rename(target)
        raise
    shutil.rmtree(before, ignore_errors=True)


def load_folder(folder: Path | str) -> DatasetDict:
    """Load the splits of a folder; one of ours by its files' names, whatever signs of patterns stand in its path.

    Raises:
        UsageError: the path holds ``::``, which ``datasets`` takes for the end of an address.
    """
    from datasets import load_dataset

    path = Path(folder).resolve()
    if "::" in str(path):
        raise UsageError(
            f"Folder {str(path)!r}", expected="a path without '::', which the reader of datasets takes for two",
            found=str(path), next="rename the folder, or name another --work-dir",
        )  # fmt: skip
    # As push_to_hub names the shards of a split. Characters that a pattern has for others are escaped.
    found = {split: sorted((path / "data").glob(f"{split}-*.parquet")) for split in ("train", "validation", "test")}
    files = {split: [glob.escape(str(file)) for file in of_split] for split, of_split in found.items() if of_split}
    splits: DatasetDict = load_dataset("parquet", data_files=files) if files else load_dataset(str(folder))
    return splits


def task_folder(work_dir: Path, task: str) -> TaskFolder:
    """Return the folder of the task called ``task``; nothing is made on the disk."""
    return TaskFolder(work_dir / task)


def read_published_together(work_dir: Path) -> PublishedTogether:
    """Return which Space and which collection were pushed from a work folder; raises :class:`MissingStage`."""
    path = work_dir / PUBLISHED
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")), PublishedTogether)
    except FileNotFoundError:
        return PublishedTogether()
    except (ValueError, DamagedRecord) as error:
        raise MissingStage(
            f"{path} is damaged, or was written by another version of hubtools",
            found=str(error),
            next="remove it, then hubtools push-space and hubtools push-collection",
        ) from error


def record_published_together(work_dir: Path, **values: object) -> None:
    """Write the Space or the collection that was pushed; the other stays."""
    write_record(work_dir / PUBLISHED, replace(read_published_together(work_dir), **values))  # type: ignore[arg-type]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex, without holding the file in memory."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
