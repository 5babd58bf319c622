"""Trainings as processes of their own: whether one is needed, what starts it, several side by side, and their end."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from hubtools import __version__
from hubtools.errors import TrainingFailed
from hubtools.options import TrainingOptions, WorkOptions
from hubtools.records import write_record
from hubtools.records.training import MultitaskRecord, PlannedCommand, TrainingRecord
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, TASKS, find_base
from hubtools.training.child_process import TrainingProcess
from hubtools.training.dataset import check_dataset
from hubtools.training.fewshot import check_method, list_preferred_bases
from hubtools.training.inputs import identify_contents, resolve_base
from hubtools.training.processes import read_failure
from hubtools.workdir import TaskFolder, replace_folder, sha256_of, task_folder


@dataclass(frozen=True)
class FinishedTraining:
    """A training that is done, or that a dry run looked at.

    Attributes:
        record: its ``training.json``; of a dry run, the command that would be run where it is not done yet.
        seconds: that it took; 0 for one that was done before.
    """

    task: TaskSpec
    record: TrainingRecord | PlannedCommand
    seconds: float = 0.0


@dataclass
class _Running:
    """A training under way.

    Attributes:
        process: None where the model was up to date.
        position: among those side by side; the smallest that was free.
        resources: what it holds, until it is closed.
    """

    task: TaskSpec
    process: TrainingProcess | None
    position: int
    started: float
    resources: contextlib.ExitStack


def compute_training_fingerprint(task: TaskSpec, work: WorkOptions, options: TrainingOptions) -> tuple[str, str]:
    """Return the base to train from, and what identifies the training: data, base and its content, flags, version."""
    folder = work.folder(task)
    # A dataset that is named is identified by its own content, and needs no curated one beside it.
    known = folder.facts.exists() or options.flags.ours.dataset is None
    facts = folder.read(folder.facts, "curate") if known else {"fingerprint": ""}
    base = resolve_base(options.base, list_preferred_bases(options.flags))
    defaults = [dict(task.overrides), dict(find_base(base).by_task.get(task.name, {}))]
    causes = [__version__, facts["fingerprint"], base, *identify_contents(base, options.flags), options.seed,
              options.processes, options.flags.argv, defaults]  # fmt: skip
    return base, hashlib.sha256(json.dumps(causes).encode()).hexdigest()


def compute_multitask_fingerprint(work: WorkOptions, options: TrainingOptions) -> tuple[str, str]:
    """Return the same of all four tasks trained together."""
    of_each = [compute_training_fingerprint(task, work, options) for task in TASKS.values()]
    base = of_each[0][0]  # all tasks have the same: it follows from the flags alone
    causes = [MULTI, dict(find_base(base).by_task.get(MULTI, {})), *(fingerprint for _, fingerprint in of_each)]
    return base, hashlib.sha256(json.dumps(causes).encode()).hexdigest()


def finetune_task(task: TaskSpec, work: WorkOptions, options: TrainingOptions) -> TrainingRecord | PlannedCommand:
    """Train a task unless the same training is already done, and return its ``training.json``."""
    [finished] = finetune_tasks([task], work, options)
    return finished.record


def finetune_tasks(
    tasks: Sequence[TaskSpec], work: WorkOptions, options: TrainingOptions
) -> Generator[FinishedTraining]:
    """Train, ``options.jobs`` at a time and the largest first, and yield each task when its model is there.

    Whoever stops asking ends the trainings under way; they go on from their last checkpoints next time.

    Raises:
        TrainingFailed: one of them ended without a model; its own message stands above.
    """
    check_method(options.flags, tasks, options.processes)
    check_dataset(options.flags.ours, tasks)
    if options.dry_run:
        for task in tasks:
            yield FinishedTraining(task, _describe_planned(task, work, options))
        return
    waiting = order_by_size(tasks, work) if options.jobs > 1 else [*tasks]
    # In the order in which they were started; they may end in any other.
    running: list[_Running] = []
    gpus = list_visible_gpus() if options.jobs > 1 else []
    with contextlib.ExitStack() as everything:

        def start() -> None:
            while waiting and len(running) < options.jobs:
                task = waiting.pop(0)
                # Each position has devices of its own: the smallest free one, so that none is left idle.
                taken = {one.position for one in running}
                position = next(number for number in itertools.count() if number not in taken)
                # A position that is free again gives its GPUs to the next training.
                devices = choose_devices(position, options.processes, gpus)
                resources = everything.enter_context(contextlib.ExitStack())
                process = resources.enter_context(_train(task, work, options, devices))
                running.append(_Running(task, process, position, time.time(), resources))

        while waiting or running:
            start()
            ended = [one for one in running if one.process is None or one.process.poll() is not None]
            finished = []
            for one in ended:
                seconds = time.time() - one.started if one.process else 0.0
                running.remove(one)
                one.resources.close()
                if one.process and (code := one.process.poll()):
                    raise _make_error(work.folder(one.task), code)
                finished.append((one.task, seconds))
            start()  # before whoever asks does something with those that ended
            for task, seconds in finished:
                yield FinishedTraining(task, work.folder(task).read_training(), seconds)
            if not ended:  # a short sleep: the time that a training took is measured here
                time.sleep(0.1)


def order_by_size(tasks: Sequence[TaskSpec], work: WorkOptions) -> list[TaskSpec]:
    """Return the tasks with the largest training split first: started last, it would train on when all others are done.

    A dataset that is not in the work folder counts as none.
    """

    def size(task: TaskSpec) -> int:
        file = work.folder(task).split_file("train")
        return file.stat().st_size if file.exists() else 0

    return sorted(tasks, key=size, reverse=True)


def list_visible_gpus() -> list[str]:
    """Return what ``CUDA_VISIBLE_DEVICES`` names, or the number of each GPU of the machine."""
    if not shutil.which("nvidia-smi"):  # where there is none, torch need not be loaded to count them
        return []
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def choose_devices(position: int, processes: int, gpus: Sequence[str]) -> dict[str, str]:
    """Return the environment of one of several trainings side by side: each has GPUs of its own, while they last.

    Without it, all of them would take the first.

    Args:
        position: of the training among those side by side, from 0.
    """
    devices = [gpus[(position * processes + number) % len(gpus)] for number in range(processes if gpus else 0)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(dict.fromkeys(devices))} if devices else {}


def finetune_multi(work: WorkOptions, options: TrainingOptions) -> MultitaskRecord | PlannedCommand:
    """Train all four tasks together on one body unless that is already done, and return its ``training.json``.

    It leaves a model in the work folder of each task, and one that answers all four in ``multi``.

    Raises:
        TrainingFailed: it ended without the models; its own message stands above.
    """
    check_method(options.flags, [*TASKS.values()], options.processes)
    folder = task_folder(work.work_dir, MULTI)
    base, fingerprint = compute_multitask_fingerprint(work, options)
    command = _make_command(MULTI, None, base, fingerprint, work, options)
    with contextlib.ExitStack() as stack:
        locks = []
        if not options.dry_run:
            folders = [work.folder(task) for task in TASKS.values()]
            locks = [stack.enter_context(one.lock(work.note)) for one in (folder, *folders)]
        if _are_up_to_date(folder, fingerprint, work):
            work.note(f"{MULTI}: models are up to date")
            return folder.read_multitask_training()
        if options.dry_run:
            work.note("would run: " + " ".join(command))
            return PlannedCommand(command=command)
        with _start(command, locks, folder) as process:
            code = process.wait()
    if code:
        raise _make_error(folder, code)
    return folder.read_multitask_training()


def _are_up_to_date(folder: TaskFolder, fingerprint: str, work: WorkOptions) -> bool:
    """Return whether the training of all tasks is done, and its models are still those of the four tasks."""
    if not _is_up_to_date(folder, fingerprint):
        return False
    files = {task.name: work.folder(task).model / "model.safetensors" for task in TASKS.values()}
    weights = folder.read_multitask_training().weights_sha256
    return all(file.exists() and sha256_of(file) == weights[name] for name, file in files.items())


@contextlib.contextmanager
def _train(
    task: TaskSpec, work: WorkOptions, options: TrainingOptions, devices: Mapping[str, str]
) -> Iterator[TrainingProcess | None]:
    """Start the training of a task in its locked folder; yield None where the model is up to date."""
    folder = work.folder(task)
    base, fingerprint = compute_training_fingerprint(task, work, options)
    with folder.lock(work.note) as lock:
        if _is_up_to_date(folder, fingerprint):
            work.note(f"{task.name}: model is up to date")
            yield None
        elif copy_model(folder, folder.find_trained(fingerprint), work.note):
            yield None
        else:
            command = _make_command(task.name, task.file, base, fingerprint, work, options)
            with _start(command, [lock], folder, devices) as process:
                yield process


@contextlib.contextmanager
def _start(
    command: list[str], locks: Sequence[int], folder: TaskFolder, devices: Mapping[str, str] = MappingProxyType({})
) -> Iterator[TrainingProcess]:
    """Start a training whose message, if it fails, will lie in ``folder``; it ends with the block, if not before."""
    failure = folder.root / "failure.json"
    failure.unlink(missing_ok=True)
    process = TrainingProcess(command, locks, failure, devices)
    try:
        yield process
    finally:
        process.end()


def _describe_planned(task: TaskSpec, work: WorkOptions, options: TrainingOptions) -> TrainingRecord | PlannedCommand:
    """Return the record of a training where it is done, else the command that a run would start."""
    folder = work.folder(task)
    base, fingerprint = compute_training_fingerprint(task, work, options)
    if _is_up_to_date(folder, fingerprint):
        work.note(f"{task.name}: model is up to date")
        return folder.read_training()
    for other in folder.find_trained(fingerprint):
        if other.has_model:
            work.note(f"{task.name}: would take over the model of {other.root}: the same training was done there")
            return other.read_training()
    command = _make_command(task.name, task.file, base, fingerprint, work, options)
    work.note("would run: " + " ".join(command))
    return PlannedCommand(command=command)


def _make_command(
    name: str, file: Path | None, base: str, fingerprint: str, work: WorkOptions, options: TrainingOptions
) -> list[str]:
    """Return what starts a training, whose ``training.json`` will bear the fingerprint.

    Args:
        name: of the task, or "multi".
        file: that describes the task; None for a built-in one.
    """
    together = options.jobs * options.processes
    return [
        sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--num_machines", "1", "--mixed_precision", "no",
        "--dynamo_backend", "no", "--num_processes", str(options.processes),
        # Ours: a configuration that the user once wrote for other trainings may ask for DeepSpeed or be broken.
        "--config_file", str(Path(__file__).with_name("training") / "accelerate.yaml"),
        *(["--multi_gpu"] if options.processes > 1 and len(list_visible_gpus()) > 1 else []),
        # Several side by side would meet at the same port.
        *(["--main_process_port", "0"] if together > options.processes > 1 else []),
        # Left to itself, accelerate gives each process on a CPU one thread.
        "--num_cpu_threads_per_process", str(max(1, (os.cpu_count() or 1) // together)),
        str(Path(__file__).with_name("finetune.py")), "--task", name, "--work_dir", str(work.work_dir),
        *(["--task_file", str(file)] if file else []),
        "--base", base, "--seed", str(options.seed), "--fingerprint", fingerprint,
        *(["--disable_tqdm", "true"] if options.jobs > 1 else []), *options.flags.argv,
    ]  # fmt: skip


def _is_up_to_date(folder: TaskFolder, fingerprint: str) -> bool:
    """Return whether ``folder`` has the model of the training with this fingerprint."""
    if not (folder.training.exists() and folder.has_model):
        return False
    # Not as a record: one of an older version is no error here, but a reason to train.
    return folder.read(folder.training, "finetune").get("fingerprint") == fingerprint


def copy_model(folder: TaskFolder, others: Iterable[TaskFolder], note: Callable[[str], None]) -> bool:
    """Make the model of the first of ``others`` that has one still that of ``folder``; return whether there was one.

    The caller has locked ``folder``.

    Args:
        others: folders in which the same training was done.
    """
    for other in others:
        if other == folder:
            continue
        with other.lock(note):  # so that its study does not remove it meanwhile
            if not other.has_model:
                continue
            fresh = folder.root / "model.new"
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(other.model, fresh)
            with replace_folder(fresh, folder.model):  # no model stands beside another's training.json
                write_record(folder.training, other.read_training())
            shutil.rmtree(folder.runs, ignore_errors=True)
        note(f"{folder.task}: the same training was done in {other.root}: its model is taken over")
        return True
    return False


def _make_error(folder: TaskFolder, code: int) -> TrainingFailed:
    """Return the error of a training that ended with ``code``, with the message that it left."""
    failure = folder.root / "failure.json"
    message, has_next = read_failure(failure)
    message = " ".join(message.split())
    failure.unlink(missing_ok=True)
    if not message and code < 0:  # a process that is killed leaves no message
        message = f"killed by {signal.Signals(-code).name}"
    return TrainingFailed(
        f"Training {folder.task!r} ended without a model",
        expected="exit code 0",
        found=message or f"exit code {code}; its own message stands above, or it was killed (often for want of memory)",
        next=""
        if has_next
        else f"run the same command again: it goes on from the last checkpoint (or: hubtools finetune {folder.task})",
    )
