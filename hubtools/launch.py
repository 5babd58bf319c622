"""Trainings as processes of their own: whether one is needed, what starts it, several side by side, and their end."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from hubtools import __version__
from hubtools.errors import TrainingFailed
from hubtools.options import TrainingOptions, WorkOptions
from hubtools.records import write_json
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, TASKS, base_named
from hubtools.training.fewshot import check_method, preferred_bases
from hubtools.training.inputs import contents, resolve_base
from hubtools.training.processes import FAILURE
from hubtools.workdir import TaskFolder, sha256_of, task_folder


def training_fingerprint(task: TaskSpec, work: WorkOptions, options: TrainingOptions) -> tuple[str, str]:
    """The base to train from, and what identifies the training: data, base and its content, flags, version."""
    folder = work.folder(task)
    facts = folder.read(folder.facts, "curate")
    base = resolve_base(options.base, preferred_bases(options.flags))
    ours = base_named(base)
    defaults = [dict(task.overrides), dict(ours.by_task.get(task.name, {}))]
    known = [__version__, facts["fingerprint"], base, *contents(base, options.flags), options.seed,
             options.processes, options.flags.argv, defaults]  # fmt: skip
    return base, hashlib.sha256(json.dumps(known).encode()).hexdigest()


def joint_fingerprint(work: WorkOptions, options: TrainingOptions) -> tuple[str, str]:
    """As :func:`training_fingerprint`, of all four tasks trained together."""
    of_each = [training_fingerprint(task, work, options) for task in TASKS.values()]
    base = of_each[0][0]
    known = [MULTI, dict(base_named(base).by_task.get(MULTI, {})), *(mark for _, mark in of_each)]
    return base, hashlib.sha256(json.dumps(known).encode()).hexdigest()


def finetune_task(task: TaskSpec, work: WorkOptions, options: TrainingOptions) -> dict[str, Any]:
    """``training.json`` of the task, trained now unless the same training is already done."""
    [done] = finetune_tasks([task], work, options)
    return done.known


class Trained(NamedTuple):
    """A task, its ``training.json``, and the seconds that its training took; 0 for an earlier one."""

    task: TaskSpec
    known: dict[str, Any]
    seconds: float


def finetune_tasks(tasks: Sequence[TaskSpec], work: WorkOptions, options: TrainingOptions) -> Generator[Trained]:
    """Train, ``options.jobs`` at a time, and give each task when its model is there.

    Whoever stops asking ends the trainings under way; they go on from their last checkpoints next time.

    Raises:
        TrainingFailed: one of them ended without a model; its own message stands above.
    """
    check_method(options.flags, tasks, options.processes)
    if options.dry_run:
        for task in tasks:
            yield Trained(task, _would_train(task, work, options), 0.0)
        return
    by_name = {task.name: task for task in tasks}
    waiting: list[TaskSpec] = [*tasks]
    running: dict[str, tuple[Training | None, float, contextlib.ExitStack]] = {}
    gpus = visible_gpus() if options.jobs > 1 else []
    places: dict[str, int] = {}
    with contextlib.ExitStack() as all_of_them:

        def start() -> None:
            while waiting and len(running) < options.jobs:
                task = waiting.pop(0)
                one = all_of_them.enter_context(contextlib.ExitStack())
                taken = {places[name] for name in running}
                places[task.name] = next(place for place in itertools.count() if place not in taken)
                devices = devices_of(places[task.name], options.processes, gpus)
                running[task.name] = (one.enter_context(_training(task, work, options, devices)), time.time(), one)

        while waiting or running:
            start()
            ended = {}
            for name, (training, began, one) in [*running.items()]:
                if training is not None and training.code() is None:
                    continue
                ended[name] = time.time() - began if training else 0.0
                del running[name]
                one.close()
                if training and training.code():
                    raise _failed(work.folder(by_name[name]), training.code() or 0)
            start()  # before whoever asks does something with those that ended
            for name, seconds in ended.items():
                folder = work.folder(by_name[name])
                yield Trained(by_name[name], folder.read(folder.training, "finetune"), seconds)
            if not ended:
                time.sleep(0.1)


def visible_gpus() -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` names, or the number of each GPU of the machine."""
    if not shutil.which("nvidia-smi"):  # where there is none, torch need not be loaded to count them
        return []
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",") if named else [str(number) for number in range(torch.cuda.device_count())]


def devices_of(place: int, processes: int, gpus: Sequence[str]) -> dict[str, str]:
    """The environment of the training at ``place`` among those side by side: each has GPUs of its own, while they last.

    Left alone, all of them would take the first.
    """
    own = [gpus[(place * processes + number) % len(gpus)] for number in range(processes if gpus else 0)]
    return {"CUDA_VISIBLE_DEVICES": ",".join(dict.fromkeys(own))} if own else {}


def finetune_multi(work: WorkOptions, options: TrainingOptions) -> dict[str, Any]:
    """``training.json`` of all four tasks trained together on one body, now unless the same training is already done.

    It leaves a model in the work folder of each task, and one that answers all four in ``multi``.

    Raises:
        TrainingFailed: it ended without the models; its own message stands above.
    """
    check_method(options.flags, [*TASKS.values()], options.processes)
    folder = task_folder(work.work_dir, MULTI)
    base, mark = joint_fingerprint(work, options)
    command = _command(MULTI, base, mark, work, options)
    with contextlib.ExitStack() as stack:
        held = []
        if not options.dry_run:
            folders = [work.folder(task) for task in TASKS.values()]
            held = [stack.enter_context(one.alone(work.note)) for one in (folder, *folders)]
        if _are_trained(folder, mark, work):
            work.note(f"{MULTI}: models are up to date")
            return folder.read(folder.training, "finetune")
        if options.dry_run:
            work.note("would run: " + " ".join(command))
            return {"command": command}
        with _begun(command, held, folder) as training:
            code = training.process.wait()
    if code:
        raise _failed(folder, code)
    return folder.read(folder.training, "finetune")


def _are_trained(folder: TaskFolder, mark: str, work: WorkOptions) -> bool:
    """Whether the joint training is done, and its models are still those of the four tasks."""
    if not _is_trained(folder, mark):
        return False
    files = {task.name: work.folder(task).model / "model.safetensors" for task in TASKS.values()}
    known = folder.read(folder.training, "finetune")["weights_sha256"]
    return all(file.exists() and sha256_of(file) == known[name] for name, file in files.items())


@contextlib.contextmanager
def _training(
    task: TaskSpec, work: WorkOptions, options: TrainingOptions, devices: Mapping[str, str]
) -> Iterator[Training | None]:
    """The training of a task, whose folder it holds; None where the model is up to date."""
    folder = work.folder(task)
    command, mark = _training_command(task, work, options)
    with folder.alone(work.note) as held:
        if _is_trained(folder, mark):
            work.note(f"{task.name}: model is up to date")
            yield None
            return
        if taken_over(folder, folder.trained(mark), work.note):
            yield None
            return
        with _begun(command, [held], folder, devices) as training:
            yield training


@contextlib.contextmanager
def _begun(
    command: list[str], held: Sequence[int], folder: TaskFolder, devices: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Training]:
    """A training whose message, if it fails, will lie in ``folder``; it ends with the block, if not before."""
    failure = folder.root / "failure.txt"
    failure.unlink(missing_ok=True)
    training = Training(command, held, failure, devices)
    try:
        yield training
    finally:
        training.end()


def _would_train(task: TaskSpec, work: WorkOptions, options: TrainingOptions) -> dict[str, Any]:
    """What a dry run says of a training: what is known of it where it is done, else its command."""
    folder = work.folder(task)
    command, mark = _training_command(task, work, options)
    if _is_trained(folder, mark):
        work.note(f"{task.name}: model is up to date")
        return folder.read(folder.training, "finetune")
    for other in folder.trained(mark):
        if other.has_model:
            work.note(f"{task.name}: would take over the model of {other.root}: the same training was done there")
            return other.read(other.training, "finetune")
    work.note("would run: " + " ".join(command))
    return {"command": command}


def _training_command(task: TaskSpec, work: WorkOptions, options: TrainingOptions) -> tuple[list[str], str]:
    """What starts the training of a task, and the mark that ``training.json`` will bear."""
    base, mark = training_fingerprint(task, work, options)
    return _command(task.name, base, mark, work, options), mark


def _command(name: str, base: str, mark: str, work: WorkOptions, options: TrainingOptions) -> list[str]:
    together = options.jobs * options.processes
    return [
        sys.executable, "-m", "accelerate.commands.launch", "--quiet", "--num_machines", "1", "--mixed_precision", "no",
        "--dynamo_backend", "no", "--num_processes", str(options.processes),
        # Several side by side would meet at the same port.
        *(["--main_process_port", "0"] if together > options.processes > 1 else []),
        # Left to itself, accelerate gives each process on a CPU one thread.
        "--num_cpu_threads_per_process", str(max(1, (os.cpu_count() or 1) // together)),
        str(Path(__file__).with_name("finetune.py")), "--task", name, "--work_dir", str(work.work_dir),
        *(["--task_file", str(options.task_file)] if options.task_file else []),
        "--base", base, "--seed", str(options.seed), "--fingerprint", mark,
        *(["--disable_tqdm", "true"] if options.jobs > 1 else []), *options.flags.argv,
    ]  # fmt: skip


def _is_trained(folder: TaskFolder, mark: str) -> bool:
    if not (folder.training.exists() and folder.has_model):
        return False
    return folder.read(folder.training, "finetune").get("fingerprint") == mark


def taken_over(folder: TaskFolder, others: Iterable[TaskFolder], note: Callable[[str], None]) -> bool:
    """Whether one of ``others``, which did the same training, has its model still, which then is ``folder``'s as well.

    The caller holds ``folder``.
    """
    for other in others:
        if other == folder:
            continue
        with other.alone(note):  # so that its study does not remove it meanwhile
            if not other.has_model:
                continue
            fresh = folder.root / "model.new"
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(other.model, fresh)
            shutil.rmtree(folder.model, ignore_errors=True)  # first: no model stands beside another's training.json
            write_json(folder.training, other.read(other.training, "finetune"))
            fresh.rename(folder.model)
            shutil.rmtree(folder.runs, ignore_errors=True)
        note(f"{folder.task}: the same training was done in {other.root}: its model is taken over")
        return True
    return False


def _failed(folder: TaskFolder, code: int) -> TrainingFailed:
    failure = folder.root / "failure.txt"
    said = " ".join(failure.read_text().split()) if failure.exists() else ""
    failure.unlink(missing_ok=True)
    return TrainingFailed(
        f"Training {folder.task!r} ended without a model",
        expected="exit code 0",
        found=said or (f"killed by {signal.Signals(-code).name}" if code < 0 else
              f"exit code {code}; its own message stands above, or it was killed (often for want of memory)"),
        next=f"run the same command again: it goes on from the last checkpoint (or: hubtools finetune {folder.task})",
    )  # fmt: skip


class Training:
    """A training under way, a group of processes that ends when :meth:`end` is called, if not before.

    Args:
        command: starts it.
        held: descriptors that it inherits.
        failure: where it leaves its message.
        devices: environment variables that say which are its own.
    """

    def __init__(self, command: list[str], held: Sequence[int], failure: Path, devices: Mapping[str, str]) -> None:
        with _signals_kept() as signals:
            self.process = subprocess.Popen(
                command,
                stdout=sys.stderr,  # line by line: our stdout is for data
                env=os.environ | {"PYTHONUNBUFFERED": "1", FAILURE: str(failure.resolve()), **devices},
                pass_fds=held,
                start_new_session=True,  # Ctrl-C reaches us alone: no stack trace of each process
            )
        try:
            for number in signals:
                signal.raise_signal(number)
        except BaseException:
            self.end()
            raise

    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.poll()

    def end(self) -> None:
        """Stop it where it still runs. accelerate does not pass a signal on to the training: the whole group ends."""
        if self.process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def _signals_kept() -> Iterator[list[int]]:
    """Signals that would end us, kept for later: one that comes while a child is started would leave it alone."""
    kept: list[int] = []
    ours = threading.current_thread() is threading.main_thread()  # no other may set handlers, or is interrupted
    before = {
        number: signal.signal(number, lambda number, _: kept.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if ours
    }
    try:
        yield kept
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
