"""Read a YAML file as words: each value as it is written, with the line that it stands on.

YAML takes ``no``, ``1.0`` and ``2020-01-01`` for a truth, a number and a date. In a file of labels they are words, so
that nothing is converted here; whoever asks for a number gets one. Nothing of the file is executed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hubtools.errors import UsageError

if TYPE_CHECKING:
    import yaml

MOST_BYTES = 256 << 10  # of a file: a task of hundreds of labels with descriptions is far smaller

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_SHOWN = 80  # characters of a value in a message

# What YAML itself takes a value for. A number, a truth or a date stays the word that it is written as.
_PLAIN = {"str", "null", "bool", "int", "float", "timestamp", "merge", "value", "seq", "map"}


@dataclass(frozen=True)
class Value:
    """A value of the file: a word, nothing, a list, or keys with their values.

    Attributes:
        key: its keys from the top of the file, such as ``sources[0].files``; "" for the file itself.
        line: where it begins, from 1.
    """

    file: Path
    key: str
    line: int
    content: str | list[Value] | dict[str, Value] | None

    def reject(self, expected: str, found: str = "", key: str = "") -> NoReturn:
        """Raise :class:`UsageError` for this value, or for a ``key`` that it lacks or should not have."""
        name = ".".join(filter(None, (self.key, key)))
        raise UsageError(
            f"Task file {str(self.file)!r}, line {self.line}" + (f", key {name!r}" if name else ""),
            expected=expected,
            found=found or self.describe(),
            next="mend the file and run the command again; `hubtools init-task --help` tells how to have one written",
        )

    def describe(self) -> str:
        """Return what stands there, short enough for a message."""
        if self.content is None:
            return "nothing"
        if isinstance(self.content, str):
            return repr(self.content if len(self.content) <= _SHOWN else self.content[:_SHOWN] + " …")
        return "a list" if isinstance(self.content, list) else "keys with values"

    def read_text(self) -> str:
        """Return a text that says something, without white space at its ends; raises :class:`UsageError`."""
        if not isinstance(self.content, str) or not self.content.strip():
            self.reject("a text")
        return self.content.strip()

    def read_word(self, pattern: str, expected: str) -> str:
        """Return a text that matches ``pattern`` as a whole; raises :class:`UsageError` with ``expected``."""
        word = self.read_text()
        if not re.fullmatch(pattern, word):
            self.reject(expected)
        return word

    def read_choice(self, names: Collection[str]) -> str:
        """Return one of ``names``; raises :class:`UsageError`."""
        if not isinstance(self.content, str) or self.content.strip() not in names:
            self.reject("one of " + ", ".join(names))
        return self.content.strip()

    def read_bool(self) -> bool:
        """Return True for ``true`` or ``yes``, False for ``false`` or ``no``; raises :class:`UsageError`."""
        # The words that YAML itself takes for true and false, but for on and off.
        word = self.content.strip().lower() if isinstance(self.content, str) else ""
        if word not in ("true", "yes", "false", "no"):
            self.reject("true or false")
        return word in ("true", "yes")

    def read_share(self) -> float:
        """Return a number above 0 and at most 1; raises :class:`UsageError`."""
        try:
            number = float(self.content) if isinstance(self.content, str) else 0.0
        except ValueError:
            number = 0.0
        if not 0 < number <= 1:
            self.reject("a number above 0 and at most 1")
        return number

    def read_items(self) -> list[Value]:
        """Return the values of a list that holds something; raises :class:`UsageError`."""
        if not isinstance(self.content, list) or not self.content:
            self.reject("a list")
        return self.content

    def read_texts(self) -> tuple[str, ...]:
        """Return the texts of a list, or the one text that stands in its place; raises :class:`UsageError`."""
        if isinstance(self.content, str):
            return (self.read_text(),)
        return tuple(item.read_text() for item in self.read_items())

    def read_keys(self, known: Collection[str]) -> Keys:
        """Return the keys and their values, all of them ``known``; raises :class:`UsageError`."""
        return Keys(self, self.read_pairs(), known)

    def read_pairs(self) -> dict[str, Value]:
        """Return whatever keys stand there, and their values; raises :class:`UsageError` where there are none."""
        if not isinstance(self.content, dict) or not self.content:
            self.reject("keys with values, such as `key: value`")
        return self.content


@dataclass(frozen=True)
class Keys:
    """Keys and their values. A key with nothing behind it counts as left out.

    Attributes:
        whole: the value that they are the content of, for messages.
        known: the keys that there may be.
    """

    whole: Value
    values: dict[str, Value]
    known: Collection[str] = field(default=())

    def __post_init__(self) -> None:
        for name, value in self.values.items():
            if name not in self.known:
                near = difflib.get_close_matches(name, self.known, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                value.reject("one of " + ", ".join(self.known), f"a key that is not known{hint}")

    def get(self, name: str) -> Value | None:
        """Return the value of ``name``, or None where it is left out."""
        value = self.values.get(name)
        return None if value is None or value.content is None else value

    def need(self, name: str, expected: str) -> Value:
        """Return the value of ``name``; raises :class:`UsageError` where it is left out."""
        value = self.get(name)
        if value is None:
            self.whole.reject(expected, "nothing", name)
        return value

    def read_text(self, name: str, default: str = "") -> str:
        """Return the text of ``name``, or ``default`` where it is left out."""
        value = self.get(name)
        return default if value is None else value.read_text()

    def read_word(self, name: str, pattern: str, expected: str, default: str) -> str:
        """Return the text of ``name``, which matches ``pattern`` as a whole, or ``default`` where it is left out."""
        value = self.get(name)
        return default if value is None else value.read_word(pattern, expected)

    def read_choice(self, name: str, names: Collection[str], default: str) -> str:
        """Return the one of ``names`` that stands behind ``name``, or ``default`` where it is left out."""
        value = self.get(name)
        return default if value is None else value.read_choice(names)

    def read_share(self, name: str, default: float) -> float:
        """Return the number of ``name``, above 0 and at most 1, or ``default`` where it is left out."""
        value = self.get(name)
        return default if value is None else value.read_share()

    def read_bool(self, name: str) -> bool:
        """Return whether ``name`` is true; a key that is left out is not."""
        value = self.get(name)
        return value is not None and value.read_bool()

    def read_texts(self, name: str) -> tuple[str, ...]:
        """Return the texts of ``name``; none where it is left out."""
        value = self.get(name)
        return () if value is None else value.read_texts()

    def refuse(self, names: Collection[str], why: str) -> None:
        """Raise :class:`UsageError` for a key of ``names`` that is there; ``why`` says what would be right."""
        for name in names:
            value = self.get(name)
            if value is not None:
                value.reject(why)


def read_values(path: Path) -> Value:
    """Return the content of a YAML file.

    Raises:
        UsageError: it cannot be read, is too large or empty, or is not YAML of words, lists and keys.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        folder = isinstance(error, IsADirectoryError)
        raise UsageError(
            f"Task file {str(path)!r}",
            expected="a YAML file that describes a task",
            found="a folder" if folder else getattr(error, "strerror", None) or str(error),
            next="look at the path; `hubtools init-task NAME --labels A,B` writes such a file",
        ) from error
    return parse_values(raw, path)


def parse_values(raw: bytes, path: Path) -> Value:
    """Return the content of YAML that stands in ``path``, or will; raises as :func:`read_values` does."""
    import yaml

    whole = Value(path, "", 1, None)
    # Of a larger file only the beginning was read.
    if len(raw) > MOST_BYTES:
        whole.reject(f"at most {MOST_BYTES >> 10} KiB", "a larger file")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        whole.reject("a file in UTF-8", f"byte {error.object[error.start]:#04x} at {error.start}")
    # Composed, not loaded: nodes know their lines, and nothing is made of a word but the word.
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        Value(path, "", line, None).reject("YAML", " ".join(str(error.problem or error.context).split()))
    except yaml.reader.ReaderError as error:
        whole.reject("YAML", f"the character U+{error.character:04X}")
    except (ValueError, OverflowError):  # "\U99999999"
        whole.reject("YAML", "an escape that stands for no character")
    except RecursionError:
        whole.reject("lists and keys a few levels deep", "far more levels")
    if root is None:
        whole.reject("keys such as name, head and labels", "an empty file")
    try:
        return _make_value(path, "", root, set())
    except RecursionError:
        whole.reject("lists and keys a few levels deep", "far more levels")


def _make_value(path: Path, key: str, node: yaml.Node, seen: set[int]) -> Value:
    """Return a node of the YAML file as a value; ``seen`` are the nodes so far, which only an alias meets again."""
    import yaml

    empty = Value(path, key, node.start_mark.line + 1, None)
    if id(node) in seen:  # a few aliases of aliases stand for billions of values
        empty.reject("each value written out", "an alias (*)")
    seen.add(id(node))  # the tree of nodes stays alive, so that no two have one id
    _refuse_tag(node, empty)
    if isinstance(node, yaml.ScalarNode):
        if node.style is None and node.tag == "tag:yaml.org,2002:null":
            return empty
        if _CONTROL.search(node.value):
            empty.reject("text without control characters", repr(_CONTROL.findall(node.value)[0]))
        return Value(path, key, empty.line, str(node.value))
    if isinstance(node, yaml.SequenceNode):
        items = [_make_value(path, f"{key}[{number}]", item, seen) for number, item in enumerate(node.value)]
        return Value(path, key, empty.line, items)
    assert isinstance(node, yaml.MappingNode)
    return Value(path, key, empty.line, dict(_read_pairs(path, key, node, seen)))


def _read_pairs(path: Path, key: str, node: yaml.MappingNode, seen: set[int]) -> Iterator[tuple[str, Value]]:
    """Yield the keys of a mapping with their values; a key that stands there twice is refused."""
    names: set[str] = set()
    for name_node, value_node in node.value:
        # A key is read as a value is: it may be an alias, or a list, as well.
        name = _make_value(path, key, name_node, seen)
        if not isinstance(name.content, str) or not name.content.strip():
            name.reject("a key that is a word", name.describe())
        word = name.content.strip()
        if word in names:
            name.reject("each key once", f"{word!r} a second time")
        names.add(word)
        yield word, _make_value(path, f"{key}.{word}" if key else word, value_node, seen)


def _refuse_tag(node: yaml.Node, value: Value) -> None:
    """Raise for a value that a tag, such as ``!!python/object``, asks to make something else of."""
    if node.tag.removeprefix("tag:yaml.org,2002:") not in _PLAIN:
        value.reject("a value without a tag", node.tag[:_SHOWN])
