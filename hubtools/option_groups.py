"""Groups of options: dataclasses whose fields are options of a command, and commands that take them whole.

A field of a group carries the option's help, name and metavar once::

    @dataclass(frozen=True)
    class WorkOptions(OptionGroup):
        work_dir: Annotated[Path, typer.Option(help="Folder of the run's files.")] = Path("hubtools-work")

    @app.command()
    @takes_groups
    def curate(task: TaskArgument, work: WorkOptions) -> None: ...
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from copy import copy
from types import GenericAlias
from typing import Annotated, get_args, get_origin, get_type_hints

from typer.models import ParameterInfo


@dataclasses.dataclass(frozen=True)
class OptionGroup:
    """Base of all groups. A field with a ``typer.Option`` or ``typer.Argument`` is an option; others are not.

    A field of the type ``tuple[X, ...]`` is an option that may be repeated.
    """


@dataclasses.dataclass(frozen=True)
class Omitted:
    """Fields of a group that a command has no option for: they keep their defaults."""

    names: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Reworded:
    """Help that differs from the group's in one command, by field."""

    help: Mapping[str, str]


def omit(*names: str) -> Omitted:
    """Leave fields of a group out of a command: ``source: Annotated[SourceOptions, omit("seed")]``."""
    return Omitted(frozenset(names))


def reword(**help: str) -> Reworded:
    """Describe fields of a group otherwise in one command: ``Annotated[TrainingOptions, reword(seed="...")]``."""
    return Reworded(help)


def takes_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the groups among its parameters.

    Args:
        command: takes groups as parameters, ``Annotated`` with :func:`omit` or :func:`reword` where it does not want
            all of them; other parameters stay as they are.

    Returns:
        a function with a parameter an option. Where two groups share a field, it is one option whose value both get.
    """
    # Annotations are text (``from __future__ import annotations``) until somebody asks for them.
    hints = get_type_hints(command, include_extras=True)
    parameters: dict[str, inspect.Parameter] = {}
    groups: dict[str, tuple[type[OptionGroup], list[str]]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        kind, details = _split_annotated(hints[name])
        if not (isinstance(kind, type) and issubclass(kind, OptionGroup)):
            parameters[name] = parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
            continue
        # In the order of the command's parameters and of the group's fields, which is that of --help.
        options = _make_parameters(kind, details)
        groups[name] = kind, [*options]
        for option, described in options.items():
            # One option cannot have two helps or defaults: a field that two groups share is declared once, by name.
            if option in parameters and described.annotation != parameters[option].annotation:
                raise AssertionError(f"{command.__name__}: two groups describe {option!r} differently")
            parameters.setdefault(option, described)

    @functools.wraps(command)
    def run(**values: object) -> None:
        arguments = {name: value for name, value in values.items() if name in hints and name not in groups}
        for name, (kind, options) in groups.items():
            arguments[name] = kind(**{option: _convert_value(kind, option, values[option]) for option in options})
        command(**arguments)

    # typer reads the signature, and the types of its parameters from the annotations.
    run.__signature__ = inspect.Signature([*parameters.values()])  # type: ignore[attr-defined]
    run.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    return run


def _make_parameters(group: type[OptionGroup], details: tuple[object, ...]) -> dict[str, inspect.Parameter]:
    """Return a parameter for each field of ``group`` that is an option here, in their order."""
    left_out = {name for detail in details if isinstance(detail, Omitted) for name in detail.names}
    reworded = {name: text for detail in details if isinstance(detail, Reworded) for name, text in detail.help.items()}
    hints = get_type_hints(group, include_extras=True)
    fields = {field.name: field for field in dataclasses.fields(group)}
    # A misspelled name would leave an option in that the command does not want.
    if strange := (left_out | {*reworded}) - {*fields}:
        raise AssertionError(f"{group.__name__} has no {', '.join(sorted(strange))}")
    parameters = {}
    for name, field in fields.items():
        kind, details = _split_annotated(hints[name])
        option = next((detail for detail in details if isinstance(detail, ParameterInfo)), None)
        if option is None or name in left_out:
            continue
        if name in reworded:
            option = copy(option)  # the group's own stays as it is for other commands
            option.help = reworded[name]
        default = field.default
        if get_origin(kind) is tuple:  # typer knows repeated options as lists
            kind, default = GenericAlias(list, get_args(kind)[:1]) | None, None
        parameters[name] = inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
        )
    return parameters


def _split_annotated(annotation: object) -> tuple[object, tuple[object, ...]]:
    """Return the type of an annotation, and what ``Annotated`` says beside it."""
    if get_origin(annotation) is Annotated:
        kind, *details = get_args(annotation)
        return kind, tuple(details)
    return annotation, ()


def _convert_value(group: type[OptionGroup], name: str, value: object) -> object:
    """Return an option's value as the group's field has it: a tuple where it may be repeated."""
    default = next(field.default for field in dataclasses.fields(group) if field.name == name)
    if not isinstance(default, tuple):
        return value
    return tuple(value) if isinstance(value, list | tuple) else ()  # None where the option is left out
