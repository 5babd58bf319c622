"""Values for the slots of templates that sources bring, beside those that Faker makes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from hubtools.curation.slot_values import belongs_to
from hubtools.curation.source_rows import iterate_rows
from hubtools.curation.sources import SourceFiles
from hubtools.spec import Dropped

BySlot = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Values:
    """Values by their slot, such as ``first_name``, and by what values go together, such as a country."""

    by_slot: BySlot = field(default_factory=lambda: MappingProxyType({}))

    def select(self, split: str, seed: int) -> BySlot:
        """Return the values that belong to a split; a group that has none there is left out."""
        of_split = {
            slot: {
                group: [value for value in values if belongs_to(value, split, seed)] for group, values in groups.items()
            }
            for slot, groups in self.by_slot.items()
        }
        return {slot: {g: values for g, values in groups.items() if values} for slot, groups in of_split.items()}


def read_values(sources: Iterable[SourceFiles]) -> tuple[Values, dict[str, int]]:
    """Return the values of all sources, without what cannot be used, and how many rows each source had, by its id.

    Raises:
        SourceError: a file is missing or has another form.
    """
    # Sorted and each once: the order in which a file has them decides nothing.
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    read: dict[str, int] = {}
    for files in sources:
        read[files.source.id] = 0
        for _, raw in iterate_rows(files):
            read[files.source.id] += 1
            if raw.row is None:
                continue
            try:
                value = files.source.row(raw.row)
            except Dropped:
                continue
            found[value.label][value.group].add(value.text)
    return Values({s: {g: sorted(v) for g, v in sorted(groups.items())} for s, groups in sorted(found.items())}), read
