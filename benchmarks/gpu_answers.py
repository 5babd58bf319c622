"""Answers of the GPU benchmark: one prompt, four answers to it by one body, and a batch of many prompts."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from gpu_models import TASKS, lengths_of, make_model, multitask_of


def answer(bench: Any, what: str, given: Any) -> dict[str, Any]:
    """What of answers is measured: one prompt of ``given`` tokens, four answers to it, or many prompts in a dtype."""
    if what == "one":
        return answer_one(bench, given)
    return answer_four(bench, given) if what == "four" else answer_many(bench, given)


def timed(bench: Any, call: Callable[[], object], count: int) -> list[float]:
    """Milliseconds of each call, the first two left out."""
    took = []
    for _ in range(count + 2):
        began = time.perf_counter()
        call()
        bench.wait()
        took.append(1000 * (time.perf_counter() - began))
    return took[2:]


def answer_one(bench: Any, length: int) -> dict[str, Any]:
    """One prompt, as a router asks."""
    from hubtools.packing.answering import ManyAtOnce

    model = make_model(bench, bench.args.size).eval()
    ask, row = ManyAtOnce(model, 0), [5] * length
    each = timed(bench, lambda: ask.run_rows([row]), 20)
    return {"length": length, "ms_p50": round(statistics.median(each), 2), "ms_p95": round(sorted(each)[-2], 2)}


def answer_four(bench: Any, length: int) -> dict[str, Any]:
    """Four answers to one prompt, by one pass through the body."""
    torch, model = bench.torch, multitask_of(bench, bench.args.size)
    ids = torch.full((1, length), 5, device=bench.device)

    def ask() -> list[Any]:
        with torch.inference_mode():
            states = model.model(input_ids=ids).last_hidden_state
            pooled = states.mean(1, keepdim=True)
            heads = zip(model.per_token, model.heads.values(), strict=True)
            return [head(states if per_token else pooled).softmax(-1).cpu() for per_token, head in heads]

    each = timed(bench, ask, 20)
    return {"length": length, "ms_p50": round(statistics.median(each), 2), "ms_p95": round(sorted(each)[-2], 2)}


def answer_many(bench: Any, dtype: str) -> dict[str, Any]:
    """A batch of prompts of the tasks' lengths, all at once."""
    from hubtools.packing.answering import ManyAtOnce

    model, count = make_model(bench, bench.args.size).eval(), bench.args.prompts
    model = model.to(getattr(bench.torch, dtype))
    lengths = lengths_of(TASKS, count, random.Random(5))
    rows = [[5] * n for n in lengths]
    ask = ManyAtOnce(model, 0)
    ask.run_rows(rows[: max(1, count // 20)])
    bench.wait()
    launches, began = ask.launches, time.perf_counter()
    ask.run_rows(rows)
    bench.wait()
    seconds = time.perf_counter() - began
    return {
        "prompts": count, "dtype": dtype, "seconds": round(seconds, 2), "launches": ask.launches - launches,
        "prompts_per_second": round(count / seconds, 1), "tokens_per_second": round(sum(lengths) / seconds, 1),
    }  # fmt: skip
