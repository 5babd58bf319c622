"""Near-duplicates at 10,000 to a million rows, and the curation of 113,000 conversations: seconds, peak memory.

    python benchmarks/curation.py                  # synthetic prompts, filled templates
    python benchmarks/curation.py --mirror DIR     # and Glaive's sample in DIR/<owner>/<name>/, multiplied

Every figure comes from a process of its own. Prints tables, and writes ``benchmarks/results/curation.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
REPEATS = {10_000: 7, 100_000: 3, 1_000_000: 1}
CONVERSATIONS = 113_000
PLANTED = 0.1


def prompts(count: int, seed: int) -> tuple[list[str], list[tuple[int, int]]]:
    """Prompts of 20 to 60 words, and the pairs (original, near-duplicate) among them.

    Words follow Zipf's law, and 500 openings recur. A near-duplicate has one word more or another at an end.
    """
    import numpy as np

    draw = np.random.default_rng(seed)
    vocabulary = np.array([f"w{i}" for i in range(50_000)], dtype=object)
    weights = np.cumsum(1 / np.arange(1, len(vocabulary) + 1))

    def words(number: int) -> list[str]:
        return vocabulary[np.searchsorted(weights, draw.random(number) * weights[-1])].tolist()

    openings = [words(number) for number in draw.integers(4, 9, 500)]
    lengths = draw.integers(20, 60, count)
    bodies = iter(words(int(lengths.sum())))
    copies = draw.random(count) < PLANTED
    choices = draw.integers(0, 2**31, (count, 3)).tolist()
    rows: list[str] = []
    originals: list[int] = []
    pairs: list[tuple[int, int]] = []
    for i, (which, how, extra) in enumerate(choices):
        if copies[i] and originals:
            original = originals[which % len(originals)]
            pairs.append((original, i))
            old, new = rows[original].split(), [f"extra{extra}"]
            rows.append(" ".join([old + new, new + old, old[:-1] + new][how % 3]))
        else:
            originals.append(i)
            opening = openings[which % len(openings)]
            rows.append(" ".join(opening + [next(bodies) for _ in range(lengths[i] - len(opening))]))
    return rows, pairs


def filled(words: int, slots: int, values: int, most: int, count: int = 50_000) -> list[str]:
    """A template of so many words, filled so often; each slot takes one to ``most`` words of so many values."""
    rng = random.Random(0)
    at = sorted(rng.sample(range(words), slots), reverse=True)
    texts: dict[str, None] = {}
    while len(texts) < count:
        text = [f"t{i}" for i in range(words)]
        for place in at:
            text[place:place] = [f"v{rng.randrange(values)}" for _ in range(rng.randint(1, most))]
        texts[" ".join(text)] = None
    return list(texts)


TEMPLATES: dict[str, Callable[[], list[str]]] = {
    "all alike": lambda: filled(60, 1, 10**9, 1),
    "just too different": lambda: filled(40, 2, 10**9, 3),
    "in between": lambda: filled(60, 3, 300, 3),
}


def near_duplicates(texts: list[str], pairs: list[tuple[int, int]]) -> dict[str, Any]:
    """Time comparison keys and clusters; count what is compared, and the planted pairs that are found."""
    import numpy  # noqa: F401  (its import is not what is measured)

    from hubtools.curation import duplicates
    from hubtools.rows import make_comparison_key

    compared, compute_jaccard = 0, duplicates.compute_jaccard

    def counting(a: frozenset[str], b: frozenset[str]) -> float:
        nonlocal compared
        compared += 1
        return compute_jaccard(a, b)

    duplicates.compute_jaccard = counting
    wall, cpu = time.perf_counter(), time.process_time()
    clusters = duplicates.cluster_near_duplicates([make_comparison_key(text) for text in texts])
    return {
        "rows": len(texts),
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "compared": compared,
        "clusters": len(set(clusters)),
        "planted": len(pairs),
        "planted_found": sum(clusters[i] == clusters[j] for i, j in pairs),
    }


def conversations(sample: list[dict[str, str]], count: int) -> Iterator[dict[str, str]]:
    """The sample again and again, each time with other words in the first user turn: swapped, replaced, appended."""
    rng = random.Random(0)
    vocabulary = [word for row in sample for word in row["chat"].split("ASSISTANT:")[0].split()[1:]]
    for number in range(count):
        row = sample[number % len(sample)]
        turn, mark, answers = row["chat"].partition("ASSISTANT:")
        words = turn.split()
        for _ in range(rng.randrange(1, 5) if number >= len(sample) else 0):
            at = rng.randrange(1, len(words))
            if rng.random() < 1 / 3:
                words.append(rng.choice(vocabulary))
            elif rng.random() < 1 / 2:
                words[at] = rng.choice(vocabulary)
            else:
                other = rng.randrange(1, len(words))
                words[at], words[other] = words[other], words[at]
        yield {"system": row["system"], "chat": " ".join(words) + "\n\n\n" + mark + answers}


def curation(path: Path) -> dict[str, Any]:
    """Time the curation of the intent task from ``path``."""
    import datasets

    from hubtools.curation.build import CurationInputs, curate
    from hubtools.curation.sources import SourceFiles
    from hubtools.tasks.intent import INTENT
    from hubtools.workdir import TaskFolder

    datasets.disable_progress_bars()
    source = SourceFiles(INTENT.whole_sources[0], (("", path),), "multiplied")
    with tempfile.TemporaryDirectory() as work:
        wall, cpu = time.perf_counter(), time.process_time()
        inputs = CurationInputs((source,), INTENT.label_set())
        facts = curate(INTENT, TaskFolder(Path(work, "intent")), inputs)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "rows": facts.counts.read,
        "megabytes": round(path.stat().st_size / 1e6),
        "seconds": wall,
        "cpu_seconds": cpu,
        "kept": facts.counts.kept,
        "groups": sum(split.groups for split in facts.splits.values()),
        "leakage": vars(facts.leakage),
    }


def in_child(what: str, argument: str) -> dict[str, Any]:
    """One measurement, in a process of its own, with that process's peak memory."""
    done = subprocess.run([sys.executable, __file__, "--child", what, argument], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def child(what: str, argument: str) -> None:
    if what == "prompts":
        found = near_duplicates(*prompts(int(argument), seed=0))
    elif what == "template":
        found = near_duplicates(TEMPLATES[argument](), [])
    else:
        found = curation(Path(argument))
    found["peak_memory_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    json.dump(found, sys.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror", type=Path, help="folder with the public data, laid out as DIR/<owner>/<name>/")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(*args.child)
        return

    report: dict[str, Any] = {"prompts": [], "templates": {}}
    for count, repeats in REPEATS.items():
        runs = [in_child("prompts", str(count)) for _ in range(repeats)]
        middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        report["prompts"].append(middle | {"rows": count, "repeats": repeats, "planted_share": PLANTED})
    for name in TEMPLATES:
        report["templates"][name] = in_child("template", name)
    sample = args.mirror and args.mirror / "glaiveai/glaive-function-calling-v2/glaive-function-calling-v2.json"
    if sample and sample.exists():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, sample.name)
            path.write_text(json.dumps(list(conversations(json.loads(sample.read_text()), CONVERSATIONS))))
            report["conversations"] = in_child("conversations", str(path))
    else:
        print(f"No conversations: {sample or '--mirror DIR'} is not there.", file=sys.stderr)
    report["machine"] = {
        "cores": os.cpu_count(), "cpu": platform.processor() or platform.machine(), "python": platform.python_version(),
        "load": os.getloadavg()[2],
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "curation.json").write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))


def table(report: dict) -> str:
    small = report["prompts"][0]
    lines = [
        "| near-duplicates | seconds | rows/s | peak GiB | CPU time a row, to the first | planted pairs found |",
        "|---|---|---|---|---|---|",
    ]
    for run in report["prompts"]:
        ratio = run["cpu_seconds"] / run["rows"] / (small["cpu_seconds"] / small["rows"])
        lines.append(
            f"| {run['rows']:,} prompts | {run['seconds']:.2f} | {run['rows'] / run['seconds']:,.0f} "
            f"| {run['peak_memory_gib']:.2f} | {ratio:.2f} | {run['planted_found']:,.0f} of {run['planted']:,.0f} |"
        )
    lines += [
        "",
        "| one template, filled | seconds | peak GiB | pairs | compared | clusters |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in report["templates"].items():
        lines.append(
            f"| {run['rows']:,} times, {name} | {run['seconds']:.1f} | {run['peak_memory_gib']:.2f} "
            f"| {run['rows'] * (run['rows'] - 1) // 2:,} | {run['compared']:,} | {run['clusters']:,} |"
        )
    if run := report.get("conversations"):
        leaks = sum(run["leakage"].values())
        lines.append(
            f"\nCuration of {run['rows']:,} conversations ({run['megabytes']} MB, Glaive's sample multiplied): "
            f"{run['seconds']:.0f} s, peak memory {run['peak_memory_gib']:.2f} GiB; {run['kept']:,} rows kept in "
            f"{run['groups']:,} groups, {leaks} leaks. {report['machine']['cores']} cores, of which one is used."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
