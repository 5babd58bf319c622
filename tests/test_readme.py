"""What the README says is what is there."""

from __future__ import annotations

import subprocess
import sys

from as_user import REPOSITORY, Command


def test_the_tables_of_the_readme_are_those_of_the_results() -> None:
    check = [sys.executable, str(REPOSITORY / "benchmarks" / "readme.py"), "--check"]
    assert subprocess.run(check, check=False).returncode == 0, "python benchmarks/readme.py"


def test_the_readme_names_every_command(hubtools: Command) -> None:
    text = (REPOSITORY / "README.md").read_text()
    commands = hubtools("--help").stdout.split("Commands:")[1].split("\n")
    names = [line.split()[0] for line in commands if line.startswith("  ") and line[2] != " "]
    assert len(names) > 8
    assert [name for name in names if f"`hubtools {name}" not in text] == []
