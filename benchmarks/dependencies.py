"""Measure what each dependency costs: ``python benchmarks/dependencies.py``.

Of each package that pyproject.toml names: MB on disk, alone and with all that only it brings along; seconds to import
it in a fresh process, the least of some; and its version. Import times overlap: what two of them load counts in both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from main_job import RESULTS
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
# What to import of a package whose modules have other names.
MODULES = {
    "faker": "faker", "jinja2": "jinja2", "onnx-ir": "onnx_ir", "pyyaml": "yaml", "scikit-learn": "sklearn",
    "sentence-transformers": "sentence_transformers",
}  # fmt: skip
ROUNDS = 3


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def list_dependencies() -> dict[str, str]:
    """Return the packages that pyproject.toml names for users, and the extra of each; "" for what is always there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = {"": project["dependencies"]} | project["optional-dependencies"]
    return {
        normalise(Requirement(line).name): extra
        for extra, lines in groups.items()
        if extra not in ("docs", "lint", "test")
        for line in lines
    }


def find_requirements(name: str) -> set[str]:
    """Return what is installed of the packages that a package needs in this environment, without extras."""
    found = set()
    for line in metadata.requires(name) or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            try:
                metadata.distribution(requirement.name)
            except metadata.PackageNotFoundError:
                continue
            found.add(normalise(requirement.name))
    return found


def close(names: set[str]) -> set[str]:
    """Return ``names`` and everything that they need."""
    found: set[str] = set()
    todo = set(names)
    while todo:
        name = todo.pop()
        found.add(name)
        todo |= find_requirements(name) - found
    return found


def measure_size(name: str) -> float:
    """Return the MB (10^6 bytes) of the files of an installed package, without compiled caches."""
    files = metadata.files(name) or []
    paths = [Path(str(file.locate())) for file in files if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def measure_import(module: str) -> float:
    """Return the processor seconds of an import in a fresh process, less those of an empty one; the least of some."""

    def spend(code: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    empty = min(spend("pass") for _ in range(ROUNDS))
    return max(0.0, min(spend(f"import {module}") for _ in range(ROUNDS)) - empty)


def measure() -> dict[str, object]:
    """Return the costs of each dependency, those with the most MB first."""
    dependencies = list_dependencies()
    report = []
    for name, extra in dependencies.items():
        others = close(set(dependencies) - {name})
        own = close({name}) - others
        report.append({
            "name": name, "extra": extra, "version": metadata.version(name), "mb": round(measure_size(name), 1),
            "mb_only_for_it": round(sum(map(measure_size, own)), 1) if name not in others else 0.0,
            "import_seconds": round(measure_import(MODULES.get(name, name.replace("-", "_"))), 2),
        })  # fmt: skip
    machine = {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count()}
    return {"machine": machine, "dependencies": sorted(report, key=lambda row: -float(str(row["mb"])))}


def table(report: dict) -> str:  # type: ignore[type-arg]
    """Return the report as a table of Markdown."""
    lines = ["| package | extra | version | MB | MB only for it | import, s |", "|---|---|---|---|---|---|"]
    for row in report["dependencies"]:
        cells = [row["name"], row["extra"], row["version"].split("+")[0], row["mb"], row["mb_only_for_it"]]
        lines.append(f"| {' | '.join(map(str, cells))} | {max(0.0, row['import_seconds']):.2f} |")
    return "\n".join(lines)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    (RESULTS / "dependencies.json").write_text(json.dumps(measure(), indent=2) + "\n")


if __name__ == "__main__":
    main()
