"""Configuration: a YAML file that holds what the flags hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hubtools.errors import UsageError

_POSITIONAL = {"TASK", "REPO", "help"}  # which a file has no keys for


def read_defaults(path: Path, command: Any) -> dict[str, Any]:
    """Return the defaults of each command's options, as the ``default_map`` of a click context.

    Args:
        path: keys are flags of the commands, such as ``hub: local`` or ``label-set: [seed10]``.
        command: the group of all commands.

    Raises:
        UsageError: the file is no YAML, or has a key that no command has.
    """
    flags = _read_flags(path)
    known: set[str] = set()

    def defaults_of(command: Any) -> dict[str, Any]:
        if hasattr(command, "commands"):
            return {name: defaults_of(below) for name, below in command.commands.items()}
        # A flag is known by its long name, a parameter by its Python name: `label-set` fills `label_sets`.
        names = {o.lstrip("-").replace("-", "_"): parameter for parameter in command.params for o in parameter.opts}
        known.update(names)
        given = {parameter: flags[flag] for flag, parameter in names.items() if flag in flags}
        return {
            parameter.name: [value] if parameter.multiple and not isinstance(value, list) else value
            for parameter, value in given.items()
        }

    defaults = defaults_of(command)
    unknown = sorted(set(flags) - known)
    if unknown:
        raise UsageError(
            f"Configuration {path} has unknown keys: {', '.join(unknown)}",
            expected="flags of the commands: " + ", ".join(sorted(known - _POSITIONAL)),
            next="mend the file; flags of the training follow the command instead",
        )
    return defaults


def _read_flags(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"Configuration {path}", expected="a YAML file", found=str(error).splitlines()[0], next="mend the file"
        ) from error
    if not isinstance(content, dict):
        raise UsageError(
            f"Configuration {path}",
            expected="flags and values, such as `hub: local`",
            found=repr(content)[:80],
            next="mend the file",
        )
    return {str(key).replace("-", "_"): value for key, value in content.items()}
