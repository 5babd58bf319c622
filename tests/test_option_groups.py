"""Groups of options: one command line for several groups, options left out, and help in other words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from hubtools.cli import app
from hubtools.option_groups import OptionGroup, omit, reword, takes_groups
from hubtools.options import MultitaskOptions, SourceOptions, TaskOptions, TrainingOptions

Seed = Annotated[int, typer.Option(help="A seed.")]


@dataclass(frozen=True)
class Paint(OptionGroup):
    color: Annotated[str, typer.Option(help="Colour of the paint.")] = "red"
    layers: Annotated[tuple[int, ...], typer.Option("--layer", help="A layer.")] = ()
    seed: Seed = 0
    secret: str = "kept"


@dataclass(frozen=True)
class Brush(OptionGroup):
    width: Annotated[int, typer.Option(help="Width of the brush.")] = 3
    seed: Seed = 0


def run_command(command: Any, *arguments: str) -> Any:
    single = typer.Typer()
    single.command()(command)
    return CliRunner().invoke(single, [*arguments])


def test_a_command_gets_its_groups_and_groups_share_an_option() -> None:
    taken: list[object] = []

    @takes_groups
    def draw(name: str, paint: Paint, brush: Annotated[Brush, omit("width")], size: int = 1) -> None:
        """Draw."""
        taken.extend((name, paint, brush, size))

    done = run_command(draw, "house", "--layer", "1", "--layer", "2", "--seed", "7", "--size", "4")
    assert done.exit_code == 0, done.output
    assert taken == ["house", Paint("red", (1, 2), 7), Brush(3, 7), 4]
    assert run_command(draw, "house", "--width", "9").exit_code == 2
    assert run_command(draw, "house", "--secret", "told").exit_code == 2


def test_help_can_be_said_otherwise_in_one_command_alone() -> None:
    @takes_groups
    def draw(paint: Annotated[Paint, reword(seed="Seed of the brush strokes.")]) -> None:
        """Draw."""

    assert "Seed of the brush strokes." in run_command(draw, "--help").output
    with pytest.raises(AssertionError, match="Paint has no sead"):
        takes_groups(wrong)
    with pytest.raises(AssertionError, match="two groups describe 'seed' differently"):
        takes_groups(contradictory)


def wrong(paint: Annotated[Paint, omit("sead")]) -> None:
    """Never run."""


def contradictory(paint: Annotated[Paint, reword(seed="Another.")], brush: Brush) -> None:
    """Never run."""


def commands(group: Any, path: str = "") -> list[tuple[str, Any]]:
    below = getattr(group, "commands", None)
    if below is None:
        return [(path, group)]
    return [found for name, command in below.items() for found in commands(command, f"{path} {name}".strip())]


def test_every_option_of_every_command_has_help() -> None:
    listed = commands(get_command(app))
    assert len(listed) > 20
    silent = [f"{name} {parameter.name}" for name, command in listed for parameter in command.params
              if not (parameter.help or "").strip()]  # fmt: skip
    assert silent == []


def test_every_command_with_a_task_takes_a_task_file() -> None:
    about_tasks = {"check", "curate", "push-dataset", "finetune", "search", "cross-validate", "repeat", "label-errors",
                   "evaluate", "robustness", "compare", "model-card", "push-model", "verify", "push-space", "export",
                   "run"}  # fmt: skip
    taking = {
        name for name, command in commands(get_command(app))
        if any("--task-file" in parameter.opts for parameter in command.params)
    }  # fmt: skip
    assert taking == about_tasks


def test_a_flag_of_the_training_may_stand_where_the_task_is_left_out(tmp_path: Path) -> None:
    left_out = TaskOptions("--max_steps", tmp_path)
    assert left_out.take_flags(["3"]) == (TaskOptions(None, tmp_path), ["--max_steps", "3"])
    assert TaskOptions("pii").take_flags(["--max_steps", "3"]) == (TaskOptions("pii"), ["--max_steps", "3"])
    assert MultitaskOptions("multi").multitask
    assert len(MultitaskOptions("multi").select()) == 4


def test_groups_are_plain_values() -> None:
    columns = SourceOptions(source="rows.csv", text_column="prompt", label_map=Path("map.yaml")).columns
    assert (columns.text, columns.label, columns.label_map) == ("prompt", None, Path("map.yaml"))
    assert TrainingOptions() == TrainingOptions(jobs=1)
