"""A user's map of labels: theirs to ours, from a YAML file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hubtools.errors import UsageError, shorten
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec


def accept_own_labels(label_set: LabelSet) -> LabelSet:
    """Return the label set for data that may use its labels themselves as well as the source's."""
    return replace(label_set, mapping={label: label for label in label_set.labels} | dict(label_set.mapping))


class LabelsOfRows(dict[str, str | None]):
    """A label map that remembers which of its keys rows have.

    Attributes:
        used: keys that were looked up.
    """

    def __init__(self, content: Mapping[str, str | None]) -> None:
        super().__init__(content)
        self.used: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return our label for theirs, and remember theirs."""
        self.used.add(key)
        return super().get(key, default)

    def describe(self) -> list[str]:
        """Return what is worth a look, once all rows were read: keys that none has."""
        unused = [repr(key) for key in self if key not in self.used]
        return [f"the label map names labels that no row has: {shorten(', '.join(unused))}"] if unused else []


def read_label_map(path: Path, task: TaskSpec, label_set: LabelSet) -> LabelsOfRows:
    """Return our label for each of theirs, from a YAML file; None drops their rows.

    Keys are text as they are written there.

    Raises:
        UsageError: it cannot be read, or maps to what the task does not have.
    """
    import yaml

    # YAML would read labels such as 1, no or 2020-01-01 as other types, and they would match none of the data's.
    class Words(yaml.SafeLoader):
        """Leaves 1, yes and 2020-01-01 as they are written: labels of a file are text. A key twice is an error."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            keys = [key.value for key, _ in node.value]
            if twice := [str(key) for key in keys if keys.count(key) > 1]:
                raise _refuse_map(path, ours, f"{twice[0]!r} twice, and one of the two would be lost")
            return super().construct_mapping(node, deep)

    Words.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag == "tag:yaml.org,2002:null"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    ours = task.head.list_map_targets(label_set)
    try:
        content = yaml.load(path.read_text(encoding="utf-8-sig"), Words)  # a SafeLoader
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _refuse_map(path, ours, error) from error
    if not isinstance(content, dict) or not content:
        raise _refuse_map(path, ours, "nothing" if content is None else repr(content)[:80])
    # All that is wrong at once: a map of a hundred types is mended in one go.
    wrong = [
        f"{theirs!r}: {target!r}"
        for theirs, target in content.items()
        if not isinstance(theirs, str) or not (target is None or target in ours)
    ]
    if wrong:
        raise _refuse_map(path, ours, "; ".join(wrong[:5]))
    return LabelsOfRows(content)


def _refuse_map(path: Path, ours: Sequence[str], found: object) -> UsageError:
    return UsageError(
        f"Label map {str(path)!r}",
        expected="lines such as `theirs: ours`, ours being one of " + ", ".join(ours),
        found=shorten(found),
        next="mend the file; null as ours drops the rows of a label",
    )
