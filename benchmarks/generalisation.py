"""How far from home: each group of sources left out in turn, the default of an earlier commit against this one.

    python benchmarks/generalisation.py --mirror DIR                       # four tasks, nano, three seeds
    python benchmarks/generalisation.py --mirror DIR --bases MiniLM --seeds 1 --groups 2

A configuration is a commit's code (its mix of sources, its recipe) and how its threshold is chosen. Each curates its
own data; of each source at most ``--rows`` rows are taken. Of a group that is left out nothing like it is trained on,
by either; what is scored are the rows of the group as the newest configuration has them, the same for all. Every
training has the same base, as many steps, and as many tokens of a text. Scores are those of ``cross-validate --by
source``, at the threshold that the validation rows of the training chose.

A cell is written to ``benchmarks/results/generalisation.json`` as soon as it is done, and not measured again while
the settings stay the same. Prints the tables.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from quality import MINILM, NANO, TASKS, TITLES, bases, spread

from hubtools.tasks import TASKS as SPECS

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Configuration:
    """One of the ways that are compared.

    Attributes:
        about: what it is, in the words of the table.
        commit: whose code curates and trains; None for the working tree.
        train: further flags of the training.
        made: shares of the rows that are made of others, by name; None for those of the dataset.
        without: names of sources that nothing is trained on.
        pooled: the threshold is chosen on the pool of all validation rows, as before it was by source.
    """

    about: str
    commit: str | None = None
    train: tuple[str, ...] = ()
    made: Mapping[str, float] | None = None
    without: tuple[str, ...] = ()
    pooled: bool = False


# How many rows of each kind are made, as a share of the training split: of public data, and of the starter corpus.
SHARES = {made.name: made.share for task in SPECS.values() for made in task.augmentations}
STARTER = {made.name: made.of_starter for task in SPECS.values() for made in task.augmentations if made.of_starter}

BEFORE, NOW = "before", "now"  # what is compared; the rows of the second are what all are scored on
CONFIGURATIONS = {
    BEFORE: Configuration("the public sources of 80d7579, its recipe and its threshold", "80d7579", pooled=True),
    NOW: Configuration("today's default"),
    "none made": Configuration("today's default, no rows made of others", made={}),
    "one pool": Configuration(
        "today's default, the checkpoint chosen row by row", train=("--metric_for_best_model", "primary")
    ),
    "unsure": Configuration("today's default, a penalty on sure answers", train=("--label_smoothing_factor", "0.1")),
    "more hidden": Configuration("today's default, hidden attacks as of the starter corpus", made=SHARES | STARTER),
    "no languages-and-code": Configuration(
        "today's default without the source 'languages-and-code'", without=("languages-and-code",)
    ),
    **{
        f"no {name}": Configuration(
            f"today's default without the rows of '{name}'",
            made={kind: share for kind, share in SHARES.items() if kind != name},
        )
        for name in sorted(SHARES)
    },
}
MOST_GROUPS = 4
# What the tables show, for the space of a page; the file has all scores.
SHOWN = {
    "category": {"accuracy", "macro_f1", "fallback_reached"},
    "pii": {"entity_f1", "false_spans"},
    "jailbreak": {"fpr_at_threshold", "recall_at_threshold", "roc_auc"},
    "intent": {"macro_f1"},
}


def curated(work: Path, name: str, rows: int) -> list[Any]:
    """The rows of a curated dataset for training and validation, at most ``rows`` of each source."""
    from hubtools.curation.augmentation import is_augmented
    from hubtools.heads.length_matching import is_composed
    from hubtools.studies.folds import read_rows
    from hubtools.workdir import task_folder

    task, folder = SPECS[name], task_folder(work, name)
    label_set = task.label_set(json.loads(folder.facts.read_text())["label_set"])
    taken: defaultdict[str, int] = defaultdict(int)
    chosen = []
    # By content: the same rows are drawn whatever else is in the mix.
    for row in sorted(read_rows(folder, task, label_set), key=lambda row: hashlib.sha256(row.text.encode()).digest()):
        # Composed rows are made again of what is left.
        if not (is_composed(row) or is_augmented(row)) and taken[row.source] < rows:
            taken[row.source] += 1
            chosen.append(row)
    return chosen


def grouped(rows: Sequence[Any], most: int) -> dict[str, tuple[str, ...]]:
    """At most ``most`` groups of sources; those of one owner stay together, and owners are dealt in turns.

    If a class would lack rows without a group, an owner joins the next group instead of the one whose turn it is.
    """
    sources = sorted({row.source for row in rows})
    owners = sorted({owner_of(source) for source in sources}, key=str.lower)
    dealt: list[set[str]] = [set() for _ in range(min(most, len(owners)))]
    for place, owner in enumerate(owners):
        turns = [dealt[(place + step) % len(dealt)] for step in range(len(dealt))]
        next((part for part in turns if suffices(rows, part | {owner})), turns[0]).add(owner)
    parts = [tuple(source for source in sources if owner_of(source) in part) for part in dealt if part]
    return {" + ".join(part): part for part in parts}


def owner_of(source: str) -> str:
    return source.partition("/")[0]


def suffices(rows: Sequence[Any], without: set[str]) -> bool:
    """Whether each class has rows to train on and to validate with, of two groups at least, outside some owners."""
    groups: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name in row.classes:
            groups[name] |= set() if owner_of(row.source) in without else {row.group}
    return min(map(len, groups.values()), default=0) > 1


def prepared(spec: SimpleNamespace) -> str | None:
    """Write the data of one cell; or say why it cannot be trained."""
    from hubtools.curation.parquet import write_split
    from hubtools.records import from_json, write_record
    from hubtools.records.dataset import DatasetFacts
    from hubtools.studies.source_folds import leave_out
    from hubtools.workdir import task_folder

    task = SPECS[spec.task]
    own = curated(Path(spec.curated), spec.task, spec.rows)
    raw = json.loads(task_folder(Path(spec.curated), spec.task).facts.read_text())
    held = [row for row in curated(Path(spec.newest), spec.task, spec.scored) if row.source in spec.group]
    out = {*spec.group, *(source.id for source in task.sources if source.name in spec.without)}
    rows = [row for row in own if row.source not in out] + held
    facts = from_json(json.loads(task_folder(Path(spec.newest), spec.task).facts.read_text()), DatasetFacts)
    # An earlier version made no rows of others.
    made = raw.get("augmentations") or {} if spec.made is None else spec.made
    facts = replace(facts, augmentations=made)
    label_set = task.label_set(facts.label_set)
    fold = leave_out(rows, tuple(spec.group), task, label_set, facts, spec.seed)
    if isinstance(fold, str):
        return fold
    run = task_folder(Path(spec.work), spec.task)
    for split in ("train", "validation", "test"):
        write_split(fold.select(split), task.head, label_set, run.split_file(split))
    write_record(run.facts, replace(facts, fingerprint=""))
    return None


def scored(spec: SimpleNamespace) -> dict[str, Any]:
    """The scores of a training on what was left out."""
    from hubtools.evaluation.predictions import Predictions
    from hubtools.evaluation.unseen import score_held_out
    from hubtools.records import to_json
    from hubtools.workdir import task_folder

    task, run = SPECS[spec.task], task_folder(Path(spec.work), spec.task)
    label_set = task.label_set(run.read_facts().label_set)
    held = score_held_out(task, label_set, run)
    rows = {split: Predictions.read(run, path).rows for split, path in
            (("validation", run.validation_predictions), ("held_out", run.predictions))}  # fmt: skip
    found = {"rows": {name: len(part["id"]) for name, part in rows.items()}, **to_json(held)}
    target = task.head.choose_target(None, None)
    if spec.pooled and target:
        validation = {key: column for key, column in rows["validation"].items() if key != "source"}
        chosen = task.head.choose_thresholds(validation, rows["held_out"], label_set.labels, target)
        threshold = chosen.threshold if chosen else task.head.plain_threshold
        scores = task.head.score_unseen(rows["held_out"], label_set.labels, range(len(label_set.labels)), threshold)
        found |= {"threshold": threshold, "scores": {key: one and to_json(one) for key, one in scores.items()}}
    known, labels = range(len(label_set.labels)), label_set.labels
    each = {}
    for source in sorted(set(rows["held_out"]["source"])):
        places = [i for i, one in enumerate(rows["held_out"]["source"]) if one == source]
        own = {key: [column[i] for i in places] for key, column in rows["held_out"].items()}
        of_source = task.head.score_unseen(own, labels, known, found["threshold"] or task.head.plain_threshold)
        each[source] = {key: one and one.value for key, one in of_source.items()}
    found["each_source"] = each
    training = run.read_training()
    titles = {metric.key: metric.title for metric in task.head.list_unseen(label_set.labels)}
    return {**found, "titles": titles, "steps": training.steps, "seconds": training.seconds}


def code_of(configuration: Configuration, scratch: Path) -> Path:
    """The folder of a configuration's code, written out of the repository where it is another commit."""
    if configuration.commit is None:
        return ROOT
    folder = scratch / f"code-{configuration.commit}"
    if not folder.exists():
        folder.mkdir()
        packed = subprocess.run(
            ["git", "-c", "safe.directory=*", "archive", configuration.commit],
            cwd=ROOT,
            check=True,
            capture_output=True,
        )
        subprocess.run(["tar", "-x", "-C", str(folder)], input=packed.stdout, check=True)
    return folder


def with_code(environ: dict[str, str], code: Path) -> dict[str, str]:
    others = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part and Path(part) != ROOT]
    return environ | {"PYTHONPATH": os.pathsep.join([str(code), *others])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror", type=Path, help="folder with the public data, laid out as DIR/<owner>/<name>/")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--bases", nargs="+", choices=(NANO, MINILM), default=[NANO])
    parser.add_argument("--configurations", nargs="+", choices=CONFIGURATIONS, default=[BEFORE, NOW])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--groups", type=int, default=MOST_GROUPS, help="groups of sources left out, at most")
    parser.add_argument("--rows", type=int, default=800, help="of each source, at most")
    parser.add_argument("--scored", type=int, default=300, help="rows of each source that is left out, at most")
    parser.add_argument("--steps", type=int, default=240, help="of each training")
    parser.add_argument("--max-length", type=int, default=96, help="tokens of a text that training reads")
    parser.add_argument("--data", type=Path, help="folder that keeps the curated data from one call to the next")
    parser.add_argument("--at-once", type=int, default=2, help="trainings at a time, each with one thread")
    parser.add_argument("--name", default="generalisation", help="writes results/NAME.json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        step, spec = json.loads(args.child)
        print(json.dumps({"prepare": prepared, "score": scored}[step](SimpleNamespace(**spec))))
        return
    if not args.mirror:
        parser.error("--mirror DIR is needed")
    settings = {key: getattr(args, key) for key in ("rows", "scored", "steps", "max_length")}
    file = RESULTS / f"{args.name}.json"
    report = json.loads(file.read_text()) if file.exists() else {}
    if report.get("settings") != json.loads(json.dumps(settings)):
        report = {"settings": settings, "cells": {}}
    # A configuration that has changed is another one.
    known = report.setdefault("configurations", {})
    described = json.loads(json.dumps({name: vars(one) for name, one in CONFIGURATIONS.items()}))
    changed = {name for name, one in described.items() if known.get(name, one) != one}
    report["cells"] = {key: cell for key, cell in report["cells"].items() if cell["configuration"] not in changed}
    report["configurations"] = described
    report["machine"] = {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()}
    failed = run(report, args, file)
    print(table(report), table_of_parts(report), sep="\n\n")
    if failed:
        sys.exit("failed: " + "; ".join(failed))


def run(report: dict[str, Any], args: Any, file: Path) -> list[str]:
    """Measure the cells that are not there into ``report`` and ``file``; returns the keys of those that failed."""
    from hubtools.localhub import start, stop

    failed: list[str] = []
    writing = threading.Lock()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        hub = start(scratch / "hub", [args.mirror.resolve()])
        environ = os.environ | hub.environ | {"OMP_NUM_THREADS": "1"}
        found = bases()
        code = {name: code_of(CONFIGURATIONS[name], scratch) for name in args.configurations}

        def data_of(name: str) -> Path:
            kept = args.data or scratch
            return kept / (name if CONFIGURATIONS[name].commit else NOW)

        def child(step: str, spec: dict[str, Any]) -> Any:
            command = [sys.executable, __file__, "--child", json.dumps([step, spec])]
            done = subprocess.run(command, capture_output=True, text=True, env=with_code(environ, ROOT), check=False)
            if done.returncode:
                raise RuntimeError(done.stderr)
            return json.loads(done.stdout.splitlines()[-1])

        def cell(key: str, task: str, name: str, base: str, group: Sequence[str], seed: int) -> None:
            one = CONFIGURATIONS[name]
            work = scratch / hashlib.sha256(key.encode()).hexdigest()[:12]
            spec = {
                "task": task, "curated": str(data_of(name)), "newest": str(data_of(NOW)), "made": one.made,
                "without": list(one.without), "group": list(group), "seed": seed, "rows": args.rows,
                "scored": args.scored, "work": str(work), "pooled": one.pooled,
            }  # fmt: skip
            try:
                result: dict[str, Any] = {"why_not": child("prepare", spec)}
                if result["why_not"] is None:
                    flags = [SPECS[task].primary.key if flag == "primary" else flag for flag in one.train]
                    train = [
                        sys.executable, str(code[name] / "hubtools" / "finetune.py"), "--task", task, "--base",
                        found[base], "--dataset", str(work / task / "dataset"), "--work_dir", str(work), "--seed",
                        str(seed), "--max_steps", str(args.steps), "--max_length", str(args.max_length),
                        *flags,
                    ]  # fmt: skip
                    done = subprocess.run(
                        train, capture_output=True, text=True, env=with_code(environ, code[name]), check=False
                    )
                    if done.returncode:
                        raise RuntimeError(done.stderr)
                    result = child("score", spec)
            except RuntimeError as error:
                with writing:
                    failed.append(key)
                    print(f"{key} failed:\n{error}", file=sys.stderr)
                return
            with writing:
                about = {"task": task, "configuration": name, "base": base, "group": list(group), "seed": seed}
                report["cells"][key] = {**about, **result}
                RESULTS.mkdir(exist_ok=True)
                file.write_text(json.dumps(report, indent=2) + "\n")
                said = result["why_not"] if "why_not" in result else f"{result['seconds']:.0f} s"
                print(f"{key}: {said}", file=sys.stderr)

        try:
            cells = []
            for task in args.tasks:
                for name in {name if CONFIGURATIONS[name].commit else NOW for name in args.configurations} | {NOW}:
                    if not (data_of(name) / task / "facts.json").exists():
                        # -P: python would take the code of the current folder first.
                        curate = [sys.executable, "-P", "-m", "hubtools.cli", "curate", task]
                        curate += ["--work-dir", str(data_of(name))]
                        where = with_code(environ, code_of(CONFIGURATIONS[name], scratch))
                        subprocess.run(curate, env=where, check=True, stdout=subprocess.DEVNULL)
                for title, group in grouped(curated(data_of(NOW), task, sys.maxsize), args.groups).items():
                    cells += [
                        (" | ".join((base, name, task, title, str(seed))), task, name, base, group, seed)
                        for seed in range(args.seeds) for name in args.configurations for base in args.bases
                        if base in found
                    ]  # fmt: skip
            # A whole seed comes before the next.
            wanted = sorted((one for one in cells if one[0] not in report["cells"]), key=lambda one: one[-1])
            print(f"{len(wanted)} cells to measure, {len(report['cells'])} are there", file=sys.stderr)
            with ThreadPoolExecutor(args.at_once) as pool:
                for _ in pool.map(lambda one: cell(*one), wanted):
                    pass
        finally:
            stop(scratch / "hub")
    return failed


def score_default(report: dict[str, Any], task: str) -> float:
    """The primary score of today's default with the nano model: the mean of the groups, each the mean of its seeds."""
    key = SPECS[task].primary.key
    of_group: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
    for cell in report["cells"].values():
        if (cell["base"], cell["configuration"], cell["task"]) == (NANO, NOW, task) and cell.get("scores", {}).get(key):
            of_group[tuple(cell["group"])].append(cell["scores"][key]["value"])
    return statistics.mean(map(statistics.mean, of_group.values()))


def table(report: dict[str, Any]) -> str:
    """A table a base: each score on each group, mean and deviation over the seeds, then the mean of the groups."""
    cells = [cell for cell in report["cells"].values() if "scores" in cell and cell["configuration"] in (BEFORE, NOW)]
    names = [name for name in (BEFORE, NOW) if any(cell["configuration"] == name for cell in cells)]
    blocks = []
    for base in (NANO, MINILM):
        mine = [cell for cell in cells if cell["base"] == base]
        if not mine:
            continue
        seeds = len({cell["seed"] for cell in mine})
        head = f"{TITLES[base]}, {seeds} seed{'s' * (seeds != 1)}"
        lines = [f"| {head} | left out | score | {' | '.join(names)} | difference |"]
        lines.append("|---" * (len(names) + 4) + "|")
        for task in TASKS:
            of_task = [cell for cell in mine if cell["task"] == task]
            keys = {key: title for cell in of_task for key, title in cell["titles"].items() if key in SHOWN[task]}
            groups = sorted({" + ".join(cell["group"]) for cell in of_task})
            for key, title in keys.items():
                means: defaultdict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
                compared = 0
                for group in groups:
                    found = {
                        name: {
                            c["seed"]: c["scores"][key]["value"] for c in of_task
                            if c["configuration"] == name and " + ".join(c["group"]) == group and c["scores"][key]
                        }
                        for name in names
                    }  # fmt: skip
                    if not any(found.values()):
                        continue
                    lines.append(row_of(task, short(task, group), title, found))
                    # Only groups that every configuration could leave out have a place in a mean that compares them.
                    if all(found.values()):
                        compared += 1
                        for name, of_seed in found.items():
                            for seed, value in of_seed.items():
                                means[name][seed].append(value)
                if compared > 1:
                    averaged = {name: {s: statistics.mean(v) for s, v in means[name].items()} for name in names}
                    lines.append(row_of(task, "*mean*", title, averaged))
        blocks.append("\n".join(lines))
    settings = report["settings"]
    notes = [f"{name}: {report['configurations'][name]['about']}." for name in names]
    notes.append(
        f"At most {settings['rows']:,} rows of a source, {settings['steps']} steps, {settings['max_length']} tokens of "
        "a text; several seeds: mean ± standard deviation."
    )
    notes.append("A dash: the sources that are left have no rows of some class to train on.")
    return "\n\n".join([*blocks, "\n".join(f"- {note}" for note in notes)])


def table_of_parts(report: dict[str, Any]) -> str:
    """What each part of the default brings to the nano model: means of the same groups and seeds."""
    cells = [cell for cell in report["cells"].values() if "scores" in cell and cell["base"] == NANO]
    names = [name for name in report["configurations"] if name not in (BEFORE, NOW)]

    def cells_of(name: str) -> dict[tuple[str, tuple[str, ...], int], Mapping[str, Any]]:
        mine = [cell for cell in cells if cell["configuration"] == name]
        return {(cell["task"], tuple(cell["group"]), cell["seed"]): cell for cell in mine}

    lines = ["| task | instead of the default | trainings | score | default | so | difference |", "|---" * 7 + "|"]
    whole, measured = cells_of(NOW), []
    for task in TASKS:
        for name in names:
            other = cells_of(name)
            both = [key for key in other if key[0] == task and key in whole]
            measured += [name] * bool(both)
            titles = {k: t for key in both for k, t in other[key]["titles"].items() if k in SHOWN[task]}
            for score, title in titles.items():
                pairs = [
                    (whole[key]["scores"][score]["value"], other[key]["scores"][score]["value"]) for key in both
                    if whole[key]["scores"].get(score) and other[key]["scores"].get(score)
                ]  # fmt: skip
                if pairs:
                    now, so = (statistics.mean(values) for values in zip(*pairs, strict=True))
                    ends = f"{title} | {now:.3f} | {so:.3f} | {so - now:+.3f} |"
                    lines.append(f"| {task} | {name} | {len(pairs)} | {ends}")
    notes = [f"- {name}: {report['configurations'][name]['about']}." for name in dict.fromkeys(measured)]
    return "\n".join([*lines, "", *notes])


def short(task: str, group: str) -> str:
    """A group by the names of its sources, as ``--without`` takes them; the named source by its repo's."""
    names = {source.id: source.name or source.repo.partition("/")[2] for source in SPECS[task].sources}
    return ", ".join(names.get(source, source) for source in group.split(" + "))


def row_of(task: str, group: str, title: str, found: dict[str, dict[int, float]]) -> str:
    """A line of the table; the difference is today's default less that of before, of the same seeds."""
    first, last = found.get(BEFORE, {}), found.get(NOW, {})
    apart = [last[seed] - first[seed] for seed in last if seed in first]
    cells = [task, group, title, *(spread(list(values.values())) for values in found.values()), spread(apart, "+")]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
