"""Configuration: a YAML file that holds what the flags hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from hubtools.errors import UsageError, read_first_line


class Parameter(Protocol):
    """An option or argument of a command; ``opts`` are its flags."""

    @property
    def name(self) -> str | None: ...
    @property
    def opts(self) -> Sequence[str]: ...
    @property
    def multiple(self) -> bool: ...


class Command(Protocol):
    """A command of click. A protocol, since versions of typer bring click along or need it beside them."""

    @property
    def params(self) -> Sequence[Parameter]: ...


_POSITIONAL = {"TASK", "REPO", "help"}  # which a file has no keys for


def read_defaults(path: Path, command: Command) -> dict[str, object]:
    """Return the defaults of each command's options, as the ``default_map`` of a click context.

    Args:
        path: keys are flags of the commands, such as ``hub: local`` or ``label-set: [seed10]``.
        command: the group of all commands.

    Raises:
        UsageError: the file is no YAML, or has a key that no command has.
    """
    flags = _read_flags(path)
    known: set[str] = set()

    def read_command(command: Command) -> dict[str, object]:
        # A group, such as ``hubtools hub``, has commands of its own.
        if hasattr(command, "commands"):
            return {name: read_command(below) for name, below in command.commands.items()}
        # A flag is known by its long name, a parameter by its Python name: `label-set` fills `label_sets`.
        names = {o.lstrip("-").replace("-", "_"): parameter for parameter in command.params for o in parameter.opts}
        known.update(names)
        configured = {parameter: flags[flag] for flag, parameter in names.items() if flag in flags}
        # One value may stand alone for an option that can be repeated.
        return {
            str(parameter.name): [value] if parameter.multiple and not isinstance(value, list) else value
            for parameter, value in configured.items()
        }

    defaults = read_command(command)
    # Known only now: a key that one command lacks may be another's.
    unknown = sorted(set(flags) - known)
    if unknown:
        raise UsageError(
            f"Configuration {path} has unknown keys: {', '.join(unknown)}",
            expected="flags of the commands: " + ", ".join(sorted(known - _POSITIONAL)),
            next="mend the file; flags of the training follow the command instead",
        )
    return defaults


def _read_flags(path: Path) -> dict[str, object]:
    """Return the values of the file by flag, spelled with underscores."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"Configuration {path}", expected="a YAML file", found=read_first_line(error), next="mend the file"
        ) from error
    if not isinstance(content, dict):
        raise UsageError(
            f"Configuration {path}",
            expected="flags and values, such as `hub: local`",
            found=repr(content)[:80],
            next="mend the file",
        )
    return {str(key).replace("-", "_"): value for key, value in content.items()}
