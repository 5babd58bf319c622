"""The wheel in an environment without a checkout, made from the source archive as whoever packages it would."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from as_user import REPOSITORY, Command

from hubtools.localhub import stop

pytestmark = pytest.mark.exhaustive

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive alone."""
    folder = tmp_path_factory.mktemp("built")

    def build(target: str, source: Path) -> None:
        command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(folder)]
        subprocess.run(command, cwd=source, check=True, capture_output=True)

    build("sdist", REPOSITORY)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(folder, filter="data")
    build("wheel", folder / archive.name.removesuffix(".tar.gz"))
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scripts of an environment with the wheel and all extras. Libraries are those that run the tests, not installed
    again; hubtools is the wheel's alone."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder)
    [site] = folder.glob("lib/python*/site-packages")
    libraries = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))  # a path of a .pth brings no editable install along
    pip = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--ignore-installed", wheel], check=True)
    # With nowhere to download from, this succeeds only where every extra's requirements are met.
    subprocess.run([*pip, "hubtools[emissions,lora,onnx,search,tracking]"], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs run; it holds no checkout."""
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def run(installed: Path, hubtools: Command, folder: Path) -> Iterator[Run]:
    """Run a program of that environment."""
    environment = {"PYTHONPATH": "", "PATH": f"{installed}:/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    environment["HUBTOOLS_HUB_DIR"] = str(folder / "hub")

    def call(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        at = ("--hub", "local", "--work-dir", folder / "work")
        return hubtools.run(installed / program, *arguments, *at, env=environment, cwd=folder)

    yield call
    stop(folder / "hub")


def test_a_task_is_run_from_the_wheel_alone(run: Run, folder: Path) -> None:
    run("hubtools", "run", "intent", "--max_steps", 2)
    record = json.loads((folder / "work" / "run.json").read_text())
    assert [*record["results"]] == ["intent", "space", "collection"]


def test_accelerate_launches_the_module_of_the_wheel_with_what_extras_bring(run: Run, folder: Path) -> None:
    run(
        "python", "-m", "accelerate.commands.launch", "--num_processes", 1, "-m", "hubtools.finetune",
        "--task", "jailbreak", "--max_steps", 2, "--use_cpu",
        "--report_to", "trackio", "--emissions", "--emissions_country", "USA",
    )  # fmt: skip
    task = folder / "work" / "jailbreak"
    training = json.loads((task / "training.json").read_text())
    assert training["steps"] == 2
    assert training["emissions"]["country"] == "USA"
    assert [*(task / "logs").rglob("*.db")], "Trackio's"
    assert (task / "model" / "model.safetensors").exists()


def test_a_search_runs_from_the_wheel(run: Run, folder: Path) -> None:
    run("hubtools", "search", "jailbreak", "--trials", 1, "--max_steps", 2)
    report = json.loads((folder / "work" / "jailbreak" / "search.json").read_text())
    assert [training["name"] for training in report["trainings"]] == ["defaults", "trial-000"]


def test_the_wheel_says_that_it_has_types_and_comes_with_no_tests(installed: Path) -> None:
    [package] = installed.parent.glob("lib/python*/site-packages/hubtools")
    assert (package / "py.typed").exists()
    assert {path.name for path in package.parent.iterdir()} & {"tests", "benchmarks", "spaces", "tools"} == set()
    code = "import hubtools, sys; print(hubtools.__file__, 'torch' in sys.modules)"
    shown = subprocess.run(
        [installed / "python", "-P", "-c", code], cwd=package.parent, capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == [str(package / "__init__.py"), "False"]
