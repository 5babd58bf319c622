"""What stands around the code: workflows, forms, linters before a commit, citation."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from as_user import REPOSITORY

import hubtools

GITHUB = REPOSITORY / ".github"
MAKEFILE = (REPOSITORY / "Makefile").read_text()
SCHEMAS = {
    "github-workflows": sorted((GITHUB / "workflows").glob("*.yml")),
    "github-issue-forms": sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml")),
    "citation-file-format": [REPOSITORY / "CITATION.cff"],
}


def read(path: Path) -> Any:
    # YAML 1.1 reads the key `on` as true.
    return yaml.load(path.read_text(), yaml.BaseLoader)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_for_others_follow_their_schemas(schema: str) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*check, *map(str, SCHEMAS[schema])], capture_output=True, text=True, check=False)
    assert SCHEMAS[schema]
    assert done.returncode == 0, done.stdout


def steps(workflow: Any) -> list[dict[str, str]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_continuous_integration_covers_pythons_versions_and_systems_by_the_commands_of_the_readme() -> None:
    workflow = read(GITHUB / "workflows" / "ci.yml")
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    cells = [(o, p, v) for o in matrix["os"] for p in matrix["python"] for v in matrix["versions"]]
    cells += [(cell["os"], cell["python"], cell["versions"]) for cell in matrix["include"]]
    assert {python for _, python, _ in cells} == {"3.11", "3.12", "3.13", "3.14"}
    assert {versions for *_, versions in cells} == {"lowest", "pinned", "highest"}
    assert {system.split("-")[0] for system, *_ in cells} == {"ubuntu", "macos"}
    called = {found for step in steps(workflow) for found in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))}
    assert called == {"install", "lint", "test", "test-all", "demo"}
    assert called <= set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_a_release_is_published_without_a_token_that_anybody_keeps() -> None:
    for path in SCHEMAS["github-workflows"]:
        assert "secrets." not in path.read_text(), path
        assert read(path)["permissions"] == {"contents": "read"}
    publish = read(GITHUB / "workflows" / "release.yml")["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert publish["steps"][-1]["uses"].startswith("pypa/gh-action-pypi-publish@")


def test_a_commit_is_linted_by_what_make_lint_runs() -> None:
    [recipe] = re.findall(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    [repo] = read(REPOSITORY / ".pre-commit-config.yaml")["repos"]
    assert repo["repo"] == "local"
    assert [hook["entry"] for hook in repo["hooks"]] == commands


def test_a_bug_report_asks_for_what_check_says() -> None:
    form = read(GITHUB / "ISSUE_TEMPLATE" / "bug.yml")
    [field] = [part for part in form["body"] if "hubtools check --json" in part["attributes"]["label"]]
    assert field["validations"]["required"] == "true"


def test_the_citation_is_of_this_version() -> None:
    assert read(REPOSITORY / "CITATION.cff")["version"] == hubtools.__version__
