"""The rules of the house that a program can check: who imports whom, what is documented, and what stays out."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from hubtools.heads import HEADS
from hubtools.tasks import MULTI, TASKS

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hubtools"
MODULES = sorted(PACKAGE.rglob("*.py"))

# What each part may import of ours, besides itself and hubtools.__version__. Downwards only; peers do not know
# one another, with the exceptions that are named.
VALUES = {"tasks", "task", "heads", "reading", "metrics", "records", "rows", "spec", "errors", "workdir"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "records": {"errors"},
    "spec": set(),
    "lazy_numpy": set(),
    "words": set(),
    # Calls of the Hub that are made again, whoever makes them.
    "retries": {"errors"},
    # A Space carries both along.
    "reading": {"words"},
    "packing": set(),
    "metrics": {"lazy_numpy", "records", "spec"},
    "rows": {"spec", "words"},
    "heads": {
        "lazy_numpy",
        "words",
        "reading",
        "packing",
        "router_contract",
        "metrics",
        "records",
        "rows",
        "spec",
        "errors",
    },
    "task": {"heads", "spec"},
    "tasks": {"task", "heads", "metrics", "rows", "spec", "errors"},
    "assets": {"errors"},
    "workdir": {"records", "errors"},
    "localhub": {"errors"},
    # Starts the embedded Hub, sets the environment, and is gone: nothing else knows which Hub it speaks to.
    "connection": {"localhub", "retries", "errors"},
    "curation": VALUES,
    # How a text is labelled, and how sure an answer was, are the same questions in training and after it; other data
    # to score on are read as data to train on are.
    "evaluation": VALUES | {"curation", "training"},
    # ONNX files are scored as the weights are.
    "onnx_export": VALUES | {"evaluation"},
    # Cards show the scores that evaluation puts at the head, and a release is verified as it was scored;
    # a dataset is pushed in the splits that curation makes. Cards are checked by the Hub's rules before they go there.
    "publishing": VALUES
    | {"assets", "evaluation", "curation", "localhub", "onnx_export", "retries", "router_contract"},
    # What the Semantic Router needs of a model folder; a release is held against it before it is pushed.
    "router_contract": {"reading", "records", "spec", "errors"},
    # What was published, in the form in which it is run elsewhere.
    "export": VALUES | {"router_contract"},
    "training": VALUES | {"connection", "packing", "router_contract"},
    "finetune": VALUES | {"training", "connection", "library_errors"},
    "option_groups": set(),
    "column_flags": set(),
    # The groups are what commands parse and what stages take.
    "options": VALUES | {"column_flags", "option_groups", "connection", "training", "publishing"},
    "launch": VALUES | {"training", "options"},
    "repo_names": VALUES | {"connection", "options", "publishing"},
    "known_tasks": VALUES,
    # What the options say a dataset is made of.
    "dataset_inputs": VALUES | {"curation", "options"},
    "pipeline": VALUES
    | {
        "dataset_inputs",
        "known_tasks",
        "retries",
        "connection",
        "curation",
        "evaluation",
        "onnx_export",
        "publishing",
        "options",
    }
    | {"repo_names"},
    "preflight": VALUES | {"connection", "curation", "dataset_inputs", "training", "options"},
    "rollback": VALUES | {"connection", "known_tasks", "options", "pipeline", "publishing"},
    "run": VALUES
    | {"connection", "evaluation", "launch", "onnx_export", "options", "pipeline", "publishing", "training"},
    # Several trainings, on rows divided as curation divides them.
    "studies": VALUES | {"curation", "evaluation", "launch", "options", "training"},
    "config": {"errors"},
    "library_errors": {"errors", "retries"},
    "cli_hub": {"errors", "localhub", "option_groups", "options"},
    "cli_studies": VALUES | {"option_groups", "options", "studies", "training"},
    # The Python API, which the commands call.
    "router": VALUES | {"connection", "evaluation"},
    "api": VALUES | {"launch", "option_groups", "options", "pipeline", "publishing", "training"},
    "cli_evaluation": VALUES | {"api", "evaluation", "option_groups", "options", "pipeline"},
    "cli_release": VALUES | {"api", "option_groups", "options", "pipeline", "publishing", "repo_names"},
    "cli_export": VALUES | {"export", "option_groups", "options", "pipeline"},
    "cli_rollback": VALUES | {"option_groups", "options", "publishing", "rollback"},
    "cli": VALUES
    | {"cli_evaluation", "cli_export", "cli_hub", "cli_release", "cli_rollback", "cli_studies"}
    | {"config", "library_errors"}
    | {"api", "connection", "launch", "option_groups", "options", "pipeline", "preflight", "run", "training"},
}

# The training is a process of its own. What those who start it share with it loads nothing heavy.
LIGHT = {"arguments", "child_process", "dataset", "devices", "fewshot", "flags", "inputs", "presets", "processes"}

# Its own modules, the list of tasks, its two card templates; the rest are examples and other senses of the word.
FILES_THAT_NAME_A_TASK = 11


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_of(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(module, name) of every import, also of those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "accelerate starts finetune.py by path: relative imports would fail"
            yield from ((str(node.module), alias.name) for alias in node.names)


def ours(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(part, name) of the imports of hubtools, such as ("curation", "curate")."""
    for module, name in imports_of(tree):
        if module == "hubtools":
            if name != "__version__":
                yield name, ""
        elif module.startswith("hubtools."):
            yield module.split(".")[1], name


def tracked() -> list[Path]:
    """Files that git holds, or would hold; all that are no leftovers of a build where the tree is no checkout."""
    listed = subprocess.run(
        # The checkout may be another user's.
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if listed.returncode:
        made = ("__pycache__", "build", "dist", "hubtools-work")
        found = (path for path in ROOT.rglob("*") if path.is_file())
        return [p for p in found if not any(n in made or n[0] == "." for n in p.relative_to(ROOT).parts[:-1])]
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_run_one_way(path: Path) -> None:
    part = part_of(path)
    if part == "__init__":
        return
    assert {other for other, _ in ours(tree_of(path))} - {part} <= MAY_IMPORT[part]


def test_the_order_of_parts_has_no_circle() -> None:
    settled: set[str] = set()
    while ready := {part for part, others in MAY_IMPORT.items() if part not in settled and others <= settled}:
        settled |= ready
    assert settled == set(MAY_IMPORT)
    assert {part_of(path) for path in MODULES} - {"__init__"} == set(MAY_IMPORT)


def test_who_starts_the_training_shares_with_it_only_what_is_light() -> None:
    for path in MODULES:
        taken = {module for module, _ in imports_of(tree_of(path)) if module.startswith("hubtools.")}
        assert "hubtools.finetune" not in taken
        if part_of(path) in ("cli", "cli_studies", "launch", "options", "pipeline", "preflight", "run"):
            training = {module for module in taken if module.startswith("hubtools.training")}
            assert training <= {f"hubtools.training.{name}" for name in LIGHT}


def test_publishing_takes_from_the_embedded_hub_its_rules_for_cards_alone() -> None:
    paths = [path for path in MODULES if part_of(path) == "publishing"]
    taken = {name for path in paths for part, name in ours(tree_of(path)) if part == "localhub"}
    assert taken == {"validate"}


def test_stages_import_nothing_heavy_before_they_run() -> None:
    heavy = ("torch", "transformers", "datasets", "gradio", "sklearn", "huggingface_hub", "matplotlib", "optuna")
    code = f"""
import sys
import hubtools.cli, hubtools.pipeline, hubtools.run, hubtools.preflight, hubtools.finetune, hubtools.curation.build
import hubtools.publishing.model, hubtools.publishing.dataset, hubtools.publishing.space, hubtools.evaluation.evaluate
import hubtools.evaluation.compare, hubtools.evaluation.other_data, hubtools.onnx_export.export
import hubtools.studies.search, hubtools.studies.cross_validation, hubtools.studies.repetition
print(*[name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_values_and_errors_need_the_standard_library_alone() -> None:
    for path in (PACKAGE / "spec.py", PACKAGE / "task.py", PACKAGE / "errors.py", *(PACKAGE / "tasks").glob("*.py")):
        theirs = {module.split(".")[0] for module, _ in imports_of(tree_of(path))} - {"hubtools"}
        if path == PACKAGE / "tasks" / "keys.py":  # reads task files
            theirs -= {"yaml"}
        assert theirs <= sys.stdlib_module_names, path


def test_the_space_stands_alone() -> None:
    """On the Hub it runs without hubtools; and an __init__.py would hide the package ``spaces`` that gradio imports."""
    files = sorted((ROOT / "spaces").rglob("*.py"))
    assert files
    assert [path for path in files if path.name == "__init__.py"] == []
    assert [path for path in files if list(ours(tree_of(path)))] == []


def test_no_module_beside_finetune_hides_a_library() -> None:
    """``accelerate launch hubtools/finetune.py`` puts hubtools/ first on sys.path."""
    names = {path.stem for path in PACKAGE.glob("*.py")} | {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    hidden = (names & sys.stdlib_module_names) | (names & set(packages_distributions()) - {"hubtools"})
    assert {"finetune", "tasks"} <= names
    assert hidden - {"__init__", "__pycache__"} == set()
    assert not names & {"datasets", "evaluate", "spaces", "types", "logging"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree_of(path))


LINES_OF_A_MODULE, LINES_OF_A_FUNCTION, PARAMETERS = 450, 100, 8


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether its parameters are the options of a command."""
    decorators = {ast.unparse(decorator).split("(")[0] for decorator in function.decorator_list}
    return bool(decorators & {"takes_groups", "app.command", "app.callback"})


def test_modules_and_functions_stay_small_enough_to_read() -> None:
    """Those of the embedded Hub as well. A command may have as many parameters as it has options."""
    large = set()
    for path in MODULES:
        if len(path.read_text(encoding="utf-8").splitlines()) > LINES_OF_A_MODULE:
            large.add(name_of(path))
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = len(taken) - (bool(taken) and taken[0].arg in ("self", "cls"))
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LINES_OF_A_FUNCTION or (count > PARAMETERS and not is_command(node)):
                large.add(f"{name_of(path)}.{node.name}")
    assert large == set()


def test_every_public_function_has_a_docstring() -> None:
    """Outside the embedded Hub, whose functions are named after the Hub's routes."""
    missing = {
        f"{name_of(path)}.{node.name}"
        for path in MODULES
        if part_of(path) != "localhub"
        for node in tree_of(path).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and not ast.get_docstring(node)
    }
    assert missing == set()


def test_every_error_has_its_place_in_the_tree_that_is_drawn() -> None:
    tree = tree_of(PACKAGE / "errors.py")
    drawn = ast.get_docstring(tree) or ""
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    assert len(classes) > 5
    assert [name for name in classes if name not in drawn] == []


def test_nothing_of_ours_raises_what_main_does_not_catch() -> None:
    """Errors are for people: outside the embedded Hub, what is raised by name is of our tree, or says "cannot be"."""
    known = {node.name for node in tree_of(PACKAGE / "errors.py").body if isinstance(node, ast.ClassDef)}
    # The first six are caught where rows are read; a ConnectionError is tried again, and main() has words
    # for it; typer.Exit ends a command; the last three are for programmers.
    known |= {
        "Dropped",
        "BadRow",
        "Undecided",
        "Flawed",
        "LineTooLong",
        "Unreadable",
        "ConnectionError",
        "typer.Exit",
        "AssertionError",
        "AttributeError",  # of a module, for a name that it does not have
        "RuntimeError",
    }
    strange = []
    for path in MODULES:
        if part_of(path) == "localhub":
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                raised = ast.unparse(node.exc.func)
                if raised not in known and not raised.startswith("_"):
                    strange.append(f"{name_of(path)}: {raised}")
    assert strange == []


# Written in two pieces, so that this file does not find itself.
REGISTRIES = [
    "pypi" + ".org", "python" + "hosted.org", "download." + "pytorch.org", "npm" + "js.org", "anaconda" + ".org",
    "crates" + ".io",
]  # fmt: skip


def test_no_file_names_a_package_registry_or_a_path_of_this_machine() -> None:
    here = [str(ROOT), "/work/" + "main", "/work/" + "shared", "/root" + "/"]
    found = []
    for path in tracked():
        content = path.read_bytes()
        found += [(str(path.relative_to(ROOT)), word) for word in REGISTRIES + here if word.encode() in content]
    assert len(tracked()) > 50
    assert found == []


def test_every_test_runs_once_in_the_gate() -> None:
    """``make test`` and ``make test-all`` divide the tests by one marker, and the gate calls both."""
    rules = re.findall(r"^([a-z-]+):.*\n\t\$\(PYTEST\)(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {target: flags.strip() for target, flags in rules} == {
        "test": '-m "not exhaustive"',
        "test-all": "-m exhaustive",
    }
    assert re.findall(r"^make (.*)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE) == ["lint", "test", "test-all"]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert "exhaustive" in [marker.split(":")[0] for marker in settings["markers"]]
    assert "-m" not in settings["addopts"].split()


@pytest.mark.parametrize("task", TASKS)
def test_few_files_name_a_built_in_task(task: str) -> None:
    """What a task is stands in its own files; all else asks the task, or its head."""
    files = [path for path in MODULES if "starter" not in path.relative_to(PACKAGE).parts]
    files += [
        path
        for folder in ("model_cards", "dataset_cards", "spaces", "configs")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and "built" not in path.parts
    ]
    word = re.compile(rf"\b{task}\b", re.IGNORECASE)
    naming = [
        str(path.relative_to(ROOT))
        for path in files
        if word.search(path.name) or word.search(path.read_text(encoding="utf-8"))
    ]
    assert f"hubtools/tasks/{task}.py" in naming
    assert len(naming) <= FILES_THAT_NAME_A_TASK, naming


def test_what_we_import_is_declared() -> None:
    """Also what comes along with another package today."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    declared = {re.split(r"[\[<>=]", line)[0].lower().replace("_", "-") for line in lines}
    packages = packages_distributions()
    missing = {}
    for path in MODULES:
        for module in {module.split(".")[0] for module, _ in imports_of(tree_of(path))}:
            owners = {name.lower().replace("_", "-") for name in packages.get(module, [module])}
            if module not in sys.stdlib_module_names and module != "hubtools" and not owners & declared:
                missing[module] = name_of(path)
    # A baseline, and a kernel for attention, where somebody has installed them, which are no part of hubtools.
    assert missing.keys() <= {"flash_attn", "presidio_analyzer", "spacy"}


def test_what_the_wheel_carries_is_there() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(build["force-include"]) == {"dataset_cards", "model_cards", "spaces"}
    for folder, target in build["force-include"].items():
        assert any((ROOT / folder).iterdir())
        assert target == f"hubtools/_assets/{folder}", "where hubtools.assets looks first"


@pytest.mark.parametrize("folder", ["model_cards", "dataset_cards"])
def test_there_is_a_card_template_for_each_task_and_each_head_and_one_base(folder: str) -> None:
    more = (MULTI, "onnx", "robustness", "unseen") if folder == "model_cards" else ()
    names = {f"{name}.md.jinja" for name in (*TASKS, *HEADS, *more, "base")}
    assert {path.name for path in (ROOT / folder).iterdir()} == names


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_our_own_corpora_and_benchmark_of_each_task_are_packaged(task: object) -> None:
    ours = [source for source in (task.starter, *task.sources) if source.starter]  # type: ignore[attr-defined]
    assert any(source.role == "test" for source in ours)
    for source in ours:
        for pattern in (pattern for patterns in source.files.values() for pattern in patterns):
            assert (PACKAGE / "starter" / source.id / pattern).is_file()
