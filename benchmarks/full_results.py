"""The whole job with ModernBERT-base on the public data: what ``make results`` runs, and what it found.

    python benchmarks/full_results.py                                    # the Hub that you are logged in to
    python benchmarks/full_results.py --hub local --mirror DIR           # an embedded one, with DIR/<owner>/<name>/
    python benchmarks/full_results.py intent --private                   # one task; other flags are those of the run

Runs ``hubtools run`` with this base, one training after another, in a work folder that stays: the same command goes on
where it stopped. Then writes what the work folder says of each task that is scored, also where the run ended with an
error, to ``benchmarks/results/full.json``: test scores with their intervals, minutes, memory and device; and puts the
table into the pages that have a place for it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
BASE = "answerdotai/ModernBERT-base"


def found_in(work: Path) -> dict[str, Any]:
    """What the work folder says of each task that was trained and scored, by the task's name."""
    tasks = {}
    for metrics_file in sorted(work.glob("*/metrics.json")):
        folder = metrics_file.parent
        metrics, training, facts = (
            json.loads((folder / f"{name}.json").read_text()) for name in ("metrics", "training", "facts")
        )
        first = metrics["primary"]
        parameters = (folder / "model" / "model.safetensors").stat().st_size
        tasks[folder.name] = {
            "metric": first["title"], **{key: first[key] for key in ("value", "low", "high")},
            "rows": metrics["scores"]["rows"], "sources": [source["id"] for source in facts["sources"]],
            "base": training["base"], "base_revision": training["base_revision"], "weights_bytes": parameters,
            "minutes": round(training["seconds"] / 60, 2), "resumed": training["resumed"],
            "expected_minutes": _minutes(training.get("expected_seconds")), "peak_gib": training.get("peak_gib"),
            "tokens_per_second": training.get("tokens_per_second"), "device": training["device"],
            "path": training["path"], "versions": training["versions"],
        }  # fmt: skip
    return tasks


def _minutes(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds / 60, 2)


def table(report: dict[str, Any]) -> str:
    """The tasks in rows."""
    columns = ["task", "test score", "rows", "data", "minutes", "peak GiB", "tokens a second", "device"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, task in report["tasks"].items():
        cells = [
            name, f"{task['metric']} {task['value']:.3f} [{task['low']:.3f}, {task['high']:.3f}]", f"{task['rows']:,}",
            ", ".join(task["sources"]),
            f"{task['minutes']:.1f}" + (" (after an interruption)" if task["resumed"] else ""),
            _shown(task["peak_gib"], 1), _shown(task["tokens_per_second"], 0), task["device"],
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    bases = ", ".join(sorted({task["base"] for task in report["tasks"].values()}))
    return "\n".join([*lines, f"\n{bases}. Brackets hold 95% bootstrap intervals; minutes are those of training."])


def _shown(value: float | None, digits: int) -> str:
    return "not measured" if value is None else f"{value:,.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument(
        "--work-dir", type=Path, default=Path(".results"), help="stays, so that a run goes on [.results]"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "full.json", help="[benchmarks/results/full.json]")
    parser.add_argument("--pages", action=argparse.BooleanOptionalAction, default=True, help="fill in the tables")
    args, further = parser.parse_known_args()
    command = [sys.executable, "-m", "hubtools.cli", "run", "--base", BASE, "--work-dir", str(args.work_dir), *further]
    code = subprocess.run(command, check=False).returncode
    tasks = found_in(args.work_dir)
    if tasks:
        # Without the folders of this machine.
        flags = ["DIR" if Path(word).is_absolute() else word for word in further]
        report = {"command": " ".join(["hubtools run --base", BASE, *flags]), "complete": code == 0, "tasks": tasks}
        args.out.parent.mkdir(exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2) + "\n")
        print(table(report))
        if args.pages:
            subprocess.run([sys.executable, str(Path(__file__).with_name("readme.py"))], check=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
