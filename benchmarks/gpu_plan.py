"""The parts of the GPU benchmark in their order, and which of them there is time for: functions of numbers alone."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gpu_models import TASKS

FIXED, DYNAMIC, GROUPED, STOCK_COMPILED = "fixed", "dynamic", "grouped", "dynamic, torch_compile"
PACKED, STATIC, COMPILED = "hubtools, packed", "hubtools, static", "hubtools, compiled"
# The comparison that all is about, then what explains it; the stock Trainer's compiler, which takes a minute, last.
FEW = (DYNAMIC, STATIC, COMPILED)
WAYS = (*FEW, PACKED, FIXED, GROUPED, STOCK_COMPILED)

# Seconds on an H200. What this run measures takes their place as the benchmark goes on.
A_RUN = {DYNAMIC: 10.0, FIXED: 9.0, GROUPED: 11.0, STOCK_COMPILED: 90.0, PACKED: 4.0, STATIC: 4.0, COMPILED: 39.0}


@dataclass(frozen=True)
class Part:
    """A part of the benchmark.

    Attributes:
        kind: the list of the report that it goes to.
        given: what it is called with: (way, size, lengths, round) of a run, (way,) of a profile, and so on.
        rank: 0 is never left out; of the others, the highest goes first.
        seconds: that it will take.
    """

    kind: Literal["checks", "runs", "profile", "answers"]
    name: str
    given: tuple[str | int, ...]
    rank: int
    seconds: float

    @property
    def like(self) -> tuple[str | int, ...]:
        """What it shares with the parts that take as long: all but the round."""
        return (self.kind, *(self.given[:3] if self.kind == "runs" else self.given))


def plan(args: Namespace, checks: Sequence[tuple[str, float]]) -> list[Part]:
    """Return all parts in their order: what matters most comes first, and the order of ways turns with every round.

    Args:
        args: ``only``, ``size``, ``quick``, ``rounds``, ``prompts``; of a ``device`` "cpu" there are fewer.
        checks: name and seconds of each.
    """
    on_cpu = args.device == "cpu"

    def run(way: str, size: str, kind: str, number: int, rank: int) -> Part:
        seconds = A_RUN[way] * (2 if size == "large" else 1)
        return Part("runs", f"{size}, {kind}, {way}, round {number + 1}", (way, size, kind, number), rank, seconds)

    parts: list[Part] = []
    if args.only in (None, "checks"):
        parts += [Part("checks", name, (name,), 0, seconds) for name, seconds in checks]
    if args.only in (None, "speed"):
        # On a CPU torch compiles each new length for minutes.
        ways = [way for way in (FEW if args.quick else WAYS) if not (on_cpu and way == STOCK_COMPILED)]
        first = [run(way, args.size, TASKS, 0, 0 if way in FEW else 4) for way in ways]
        # The longest to compile is measured once, behind all that is measured in less.
        later = [part for part in first if part.given[0] == STOCK_COMPILED]
        parts += [part for part in first if part not in later]
        parts += [Part("profile", f"profile of {way}", (way,), 1, 4) for way in (STATIC, COMPILED)]
    if args.only in (None, "answers"):
        parts += [Part("answers", f"one prompt of {n}", ("one", n), 3, 3) for n in (32, 128, 512)]
        parts += [Part("answers", "four answers to one prompt", ("four", 128), 3, 5)]
        for dtype in ("bfloat16", "float32"):
            parts.append(Part("answers", f"{args.prompts} prompts, {dtype}", ("many", dtype), 3, 6))
    if args.only in (None, "speed"):
        for number in range(1, args.rounds):
            again = [way for way in ways if way != STOCK_COMPILED]
            again = again[::-1] if number % 2 else again
            parts += [run(way, args.size, TASKS, number, 2 if way in FEW else 5) for way in again]
        parts += [replace(part, rank=6) for part in later]
        if not args.quick and not on_cpu:
            parts += [run(way, args.size, kind, 0, rank) for kind, rank in (("512", 7), ("2048", 8)) for way in FEW]
            parts += [run(way, "large", TASKS, 0, 9) for way in FEW]
    return parts


def leave_out(parts: Sequence[Part], seconds: float) -> list[Part]:
    """Return the parts that there is no time for: the least important ones first, of equals the last.

    Args:
        seconds: that are left. Parts of rank 0 stay, whatever they take.
    """
    gone: list[Part] = []
    needed = sum(part.seconds for part in parts)
    for _, part in sorted(enumerate(parts), key=lambda place: (-place[1].rank, -place[0])):
        if needed <= seconds or not part.rank:
            break
        gone.append(part)
        needed -= part.seconds
    return gone


def learn(parts: Sequence[Part], done: Part, seconds: float) -> list[Part]:
    """Return the parts, those like ``done`` with the seconds that it took."""
    return [replace(part, seconds=seconds) if part.like == done.like else part for part in parts]


def without(parts: Sequence[Part], gone: Collection[Part]) -> list[Part]:
    """Return the parts that stay."""
    return [part for part in parts if part not in gone]
