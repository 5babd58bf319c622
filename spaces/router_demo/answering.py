"""Load the models and ask them: answers of a text, window by window, in two lanes, so that a long text stops nobody."""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from reading import Window, list_tags, read_label, read_spans
from tasks import Task, tasks

WINDOW = 512  # tokens a classifier reads at once, as in the router
MAX_CHARS = int(os.environ.get("ROUTER_DEMO_MAX_CHARS", "100000"))  # what a host of two cores reads within a minute
LONG = 4_000  # characters: what is longer takes the lane of long texts
MOST_WAITING = 200  # texts in a lane: who comes later is told so, not left to wait


class Read(TypedDict, total=False):
    """What a model said of a text, before any threshold; it is JSON, and what is decided of it follows from it alone.

    Every one has `tokens_read` (special ones left out), `windows` and `truncated`: whether the end was not read. A
    classification and a detection have `scores`, best first; a detection `strongest`, the start and end of the window
    that decided; spans have `entities`, all of them, whatever their score. All offsets count code points.
    """

    scores: dict[str, float]
    strongest: list[int]
    entities: list[dict[str, Any]]
    tokens_read: int
    windows: int
    truncated: bool


class Cancelled(Exception):
    """The visitor no longer waits for this answer."""


class Busy(Exception):
    """More texts wait than will be answered in reasonable time."""


@dataclass
class Lane:
    """Texts that are read one after the other, `workers` at a time."""

    workers: int
    waiting: int = 0
    pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(self.workers, thread_name_prefix="lane")

    @property
    def before(self) -> int:
        """How many texts wait for a worker."""
        return max(0, self.waiting - self.workers)


SHORT_LANE, LONG_LANE = Lane(2), Lane(1)
_counting = threading.Lock()  # of those that wait


Logits = dict[str, np.ndarray]  # by the name of an output


@dataclass(frozen=True)
class Model:
    """A loaded model.

    Attributes:
        labels: in the order of their ids.
        run: token ids and their mask, (texts, tokens), to the logits of each output, of which `output` is this task's.
        lock: held while it runs.
    """

    tokenizer: Any
    labels: list[str]
    run: Callable[[np.ndarray, np.ndarray], Logits]
    output: str
    lock: threading.Lock


@cache
def load(name: str) -> Model:
    """The model of a task, from its pinned revision: from the cache where it is there, else from the Hub."""
    task = tasks()[name]
    if task.graph:
        tokenizer, run, lock = open_graph(task.graph.repo, task.graph.revision, task.graph.file)
        model = Model(tokenizer, [*task.graph.labels], run, task.graph.output, lock)
    else:
        model = open_weights(task)
    if task.head == "detection" and task.positive not in model.labels:
        raise ValueError(f"its labels are {sorted(model.labels)}, {task.positive!r} is not among them")
    return model


@cache
def open_graph(repo: str, revision: str | None, file: str) -> tuple[Any, Callable[..., Logits], threading.Lock]:
    """An ONNX file and its tokenizer, which all tasks that it answers share."""
    import onnxruntime
    from huggingface_hub import hf_hub_download

    def fetch(**options: Any) -> list[str]:
        names = (file, "tokenizer.json", "tokenizer_config.json", "config.json")
        if revision is None:
            return [f"{repo}/{name}" for name in names]
        return [hf_hub_download(repo, name, revision=revision, **options) for name in names]

    path, tokens, *configs = find_cached(repo, revision, file, fetch)
    tokenizer = BareTokenizer.read(Path(tokens), [Path(config) for config in configs])
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = [output.name for output in session.get_outputs()]

    def run(ids: np.ndarray, mask: np.ndarray) -> Logits:
        return dict(zip(outputs, session.run(outputs, {"input_ids": ids, "attention_mask": mask}), strict=True))

    return tokenizer, run, threading.Lock()


def open_weights(task: Task) -> Model:
    """A model of transformers."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoTokenizer

    kind: Any = AutoModelForTokenClassification if task.head == "spans" else AutoModelForSequenceClassification
    tokenizer, model = find_cached(task.repo, task.revision, "model.safetensors", lambda **options: (
        AutoTokenizer.from_pretrained(task.repo, revision=task.revision, **options),  # type: ignore[no-untyped-call]
        kind.from_pretrained(task.repo, revision=task.revision, **options).eval(),
    ))  # fmt: skip
    limit = getattr(model.config, "max_position_embeddings", WINDOW)
    tokenizer.model_max_length = min(WINDOW, limit, tokenizer.model_max_length)

    def run(ids: np.ndarray, mask: np.ndarray) -> Logits:
        with torch.inference_mode():
            logits = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits
        return {"logits": logits.float().numpy()}

    return Model(tokenizer, list_tags(model), run, "logits", threading.Lock())


@dataclass(frozen=True)
class BareTokenizer:
    """What reading.py asks of a tokenizer, without transformers, which is larger than all else that answers here."""

    core: Any
    model_max_length: int
    is_fast: bool = True
    pad_token_id: int = 0  # padding is left out before a model sees it

    @classmethod
    def read(cls, path: Path, configs: list[Path]) -> BareTokenizer:
        """Read tokenizer.json, and from the configurations beside it how much the model reads."""
        from tokenizers import Tokenizer

        core = Tokenizer.from_file(str(path))
        core.no_truncation()
        core.no_padding()
        said = {key: value for config in configs for key, value in json.loads(config.read_text("utf-8")).items()}
        most = (said.get("model_max_length"), said.get("max_position_embeddings"))
        return cls(core, min([WINDOW, *(int(limit) for limit in most if limit)]))

    def __call__(self, texts: str | list[str], add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        """Token ids, offsets and masks of one text, or of each."""
        several = [texts] if isinstance(texts, str) else texts
        encoded = self.core.encode_batch(several, add_special_tokens=add_special_tokens)
        kinds = {"input_ids": "ids", "offset_mapping": "offsets", "special_tokens_mask": "special_tokens_mask"}
        found = {key: [getattr(one, kind) for one in encoded] for key, kind in kinds.items()}
        return {key: values[0] for key, values in found.items()} if isinstance(texts, str) else found


def find_cached(repo: str, revision: str | None, weights: str, make: Callable[..., Any]) -> Any:
    """What `make` gives with the files of the cache, or, where it lacks some, with those of the Hub."""
    from huggingface_hub import try_to_load_from_cache

    files = ("config.json", weights, "tokenizer.json")
    # A commit never changes: whatever stands in the cache is right, and asking costs a minute where no Hub answers.
    if revision and all(isinstance(try_to_load_from_cache(repo, file, revision=revision), str) for file in files):
        return make(local_files_only=True)
    return make()


def readable(text: str | None) -> str:
    """The text the models are given: at most MAX_CHARS characters, lone surrogates replaced one for one."""
    return (text or "")[:MAX_CHARS].encode("utf-8", "replace").decode("utf-8")


Memo = dict[tuple[int, bytes], Logits]  # what was computed for one text, by the model's lock and the window's ids


def stepwise(
    model: Model, stop: threading.Event | None, memo: Memo
) -> Callable[[np.ndarray, np.ndarray], list[np.ndarray]]:
    """The model, window by window: between two of them the lock is released, and a cancelled text ends.

    A window that another task has had read by the same graph is not read again. Padding is left out.
    """

    def forward(ids: np.ndarray, mask: np.ndarray) -> list[np.ndarray]:
        rows = []
        for row, kept in zip(ids, mask.astype(bool), strict=True):
            if stop is not None and stop.is_set():
                raise Cancelled
            window = row[kept][None]
            key = id(model.lock), window.tobytes()
            if key not in memo:
                with model.lock:
                    memo[key] = model.run(window, np.ones_like(window))
                time.sleep(0)  # lets the thread go on that waits for the lock
            rows.append(memo[key][model.output][0])
        return rows

    return forward


def ask(name: str, text: str, stop: threading.Event | None = None, memo: Memo | None = None) -> Read:
    """What the model of a task says of a text.

    A detection and spans read overlapping windows, of which the one with most of the label decides; a classification
    reads the first. Raises Cancelled as soon as `stop` is set. `memo` holds what other tasks have had read.
    """
    task, model, text = tasks()[name], load(name), readable(text)
    forward: Any = stepwise(model, stop, {} if memo is None else memo)
    if task.head == "spans":
        found = read_spans(forward, model.tokenizer, text, window=Window(), tags=model.labels)
        entities = [
            {"entity_group": s.type, "start": s.start, "end": s.end, "score": s.score, "word": text[s.start : s.end]}
            for s in found.spans
        ]
        return Read(entities=entities, tokens_read=found.tokens_read, windows=found.windows, truncated=found.truncated)
    positive = model.labels.index(task.positive) if task.head == "detection" else None
    window = Window() if task.head == "detection" else None
    read = read_label(forward, model.tokenizer, text, window=window, positive=positive)
    scores = dict(sorted(zip(model.labels, read.probabilities, strict=True), key=lambda pair: -pair[1]))
    answer = Read(scores=scores, tokens_read=read.tokens_read, windows=read.windows, truncated=read.truncated)
    if task.head == "detection":
        answer["strongest"] = [*read.strongest]
    return answer


def ask_all(text: str, stop: threading.Event | None = None) -> tuple[dict[str, Read], dict[str, float]]:
    """The answer of each task under its name, and the milliseconds each took; those of one graph share its time."""
    answers, took = {}, {}
    memo: Memo = {}
    for name in tasks():
        start = time.perf_counter()
        answers[name] = ask(name, text, stop, memo)
        took[name] = 1000 * (time.perf_counter() - start)
    graph = {name: id(load(name).lock) for name in took}
    together = {key: [took[name] for name in took if graph[name] == key] for key in graph.values()}
    return answers, {name: round(sum(together[key]) / len(together[key]), 1) for name, key in graph.items()}


def lane_of(chars: int) -> Lane:
    """The lane of a text of this length."""
    return LONG_LANE if chars > LONG else SHORT_LANE


async def in_lane(
    work: Callable[[threading.Event], Any], lane: Lane, progress: Callable[[], Any] = lambda: None
) -> AsyncIterator[tuple[str, Any]]:
    """Do a work in a lane: ("waiting", how many are before), ("reading", the progress), ("done", what it gave).

    Whoever stops listening cancels it. Raises Busy, and whatever the work raises.
    """
    if lane.waiting >= MOST_WAITING:
        raise Busy
    stop, started = threading.Event(), threading.Event()

    def run() -> Any:
        started.set()
        if stop.is_set():
            raise Cancelled
        return work(stop)

    with _counting:
        lane.waiting += 1
    future: Future[Any] = lane.pool.submit(run)
    future.add_done_callback(lambda _: _leave(lane))
    try:
        told: Any = object()
        pause = 0.005
        while not future.done():
            news = ("reading", progress()) if started.is_set() else ("waiting", lane.before)
            if news != told and pause > 0.1:  # who gets an answer at once needs no news
                yield news
                told = news
            await asyncio.sleep(pause)
            pause = min(0.2, pause * 1.5)
        yield "done", future.result()
    finally:
        stop.set()
        future.cancel()


def _leave(lane: Lane) -> None:
    with _counting:
        lane.waiting -= 1


async def answer_in_lane(work: Callable[[threading.Event], Any], chars: int) -> Any:
    """The same for a program, which reads no news."""
    async for kind, value in in_lane(work, lane_of(chars)):
        if kind == "done":
            return value
    raise Cancelled
