"""The flags of a training, parsed once into a value that is handed on."""

from __future__ import annotations

import dataclasses
import re
from argparse import SUPPRESS, ArgumentParser
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from hubtools.errors import UsageError
from hubtools.training.arguments import FinetuneArguments


@dataclasses.dataclass(frozen=True)
class TrainingFlags:
    """What a person asked of a training; :func:`parse_training_flags` makes it.

    Attributes:
        argv: the flags as they were given, to hand to the process that trains.
        ours: our own flags; those that were not given have their defaults.
        given: the flags that were given, of both kinds: by name, as the command line spells it.
        trainer: values of the fields of ``TrainingArguments`` that were given, by name.
    """

    argv: tuple[str, ...] = ()
    ours: FinetuneArguments = dataclasses.field(default_factory=FinetuneArguments)
    given: Mapping[str, str] = dataclasses.field(default_factory=lambda: MappingProxyType({}))
    trainer: Mapping[str, Any] = dataclasses.field(default_factory=lambda: MappingProxyType({}))

    def prepend(self, argv: Sequence[str]) -> TrainingFlags:
        """Return the flags of ``argv`` and these; where both have a flag, these count."""
        return parse_training_flags((*argv, *self.argv))


def read_hub(argv: Sequence[str]) -> str | None:
    """Return what ``--hub`` names; None where it is not given.

    It is read by itself, before all other flags: transformers, whose arguments the others are, reads the environment
    that a Hub is chosen by when it is loaded.
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--hub", nargs="?")
    hub: str | None = parser.parse_known_args(argv)[0].hub
    return hub


def make_training_parser(
    *, prog: str | None = None, description: str | None = None, add_help: bool = True
) -> ArgumentParser:
    """Return the parser of all flags of a training, with the defaults of the classes.

    Args:
        prog, description, add_help: as ``ArgumentParser`` takes them.
    """
    from transformers import HfArgumentParser, TrainingArguments

    # transformers' own name for such a class is a new type that no class is of.
    classes: list[Any] = [FinetuneArguments, TrainingArguments]
    return HfArgumentParser(classes, allow_abbrev=False, prog=prog, description=description, add_help=add_help)


def parse_training_flags(argv: Sequence[str]) -> TrainingFlags:
    """Parse the flags of a training. transformers is loaded only where there are any.

    Raises:
        UsageError: a flag that is neither ours nor one of ``TrainingArguments``, a value of the wrong type or out of
            range, or one of our flags without another that it needs.
    """
    if not argv:
        return TrainingFlags()

    def refuse(message: str) -> NoReturn:
        raise UsageError(
            "These flags are neither ours nor the training's", expected="flags of hubtools and of TrainingArguments",
            found=message, next="python hubtools/finetune.py --help lists those of the training",
        )  # fmt: skip

    parser = make_training_parser(add_help=False)
    parser.error = refuse  # type: ignore[method-assign]
    for action in parser._actions:
        action.default = SUPPRESS  # what is parsed then holds the flags that were given, and no other
    # HfArgumentParser knows --learning-rate and --learning_rate: both spellings lead to one name.
    flags = {spelling: action.dest for action in parser._actions for spelling in action.option_strings}
    parsed, unknown = parser.parse_known_args([_rename(word, flags) for word in argv])
    if unknown:
        refuse(" ".join(unknown))
    values = vars(parsed)
    _refuse_publishing(values)
    words = (word.split("=")[0] for word in argv)
    spelled = {flags[word]: word for word in words if word in flags}
    own_names = {field.name for field in dataclasses.fields(FinetuneArguments)}
    return TrainingFlags(
        argv=tuple(argv),
        ours=FinetuneArguments(**{name: value for name, value in values.items() if name in own_names}),
        given=MappingProxyType(spelled),
        trainer=MappingProxyType({name: value for name, value in values.items() if name not in own_names}),
    )


def _refuse_publishing(values: Mapping[str, Any]) -> None:
    """Refuse the Trainer's own ways to the Hub, which know no licence, no card and no gate of ours.

    Raises:
        UsageError: one of them is asked for.
    """
    ways = ("hub_", "push_to_hub")
    asked = [name for name in values if name.startswith(ways) and values[name] not in (False, None)]
    # Curves go to a Space of Trackio where it is named, and this keeps them from strangers.
    if values.get("trackio_space_id"):
        asked = [name for name in asked if name != "hub_private_repo"]
    if asked:
        raise UsageError(
            f"--{asked[0]} would publish the model without its licence, card and scores",
            expected="a training that publishes nothing", found=", ".join(f"--{name}" for name in asked),
            next="leave it out: hubtools evaluate, then hubtools push-model, publish the model",
        )  # fmt: skip


def _rename(word: str, flags: Container[str]) -> str:
    """Return a word of the command line, a flag under the name that the installed transformers has for it.

    Newer versions call gradient checkpointing "activation_checkpointing"; the name that people know warns at each start
    there.
    """
    if "--activation_checkpointing" in flags:
        return re.sub("^--gradient[_-]checkpointing", "--activation_checkpointing", word)
    return word
