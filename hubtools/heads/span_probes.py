"""What is asked of spans beside changed texts: names in lower case and of other countries, and what is no person."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from hubtools.heads.probes import Materials, ProbePart, select_rows
from hubtools.heads.values import Rows
from hubtools.metrics.intervals import Answers
from hubtools.metrics.spans import ENTITY_RECALL, FALSE_ALARMS, OVERLAP_RECALL, SpanDict
from hubtools.spec import Metric

Read = Callable[[Rows], Answers]

FOUND: tuple[Metric, ...] = (
    replace(ENTITY_RECALL, title="names found exactly"),
    replace(OVERLAP_RECALL, title="names found at least in part"),
)


def probe_names(rows: Rows, person: int, materials: Materials, read: Read) -> ProbePart | None:
    """Return documents that name people, with these names as they are, in lower case, and from other countries.

    None where no document names anybody.
    """
    numbers = [i for i, spans in enumerate(rows["spans"]) if any(span["label"] == person for span in spans)]
    if not numbers:
        return None
    named = select_rows(rows, materials.sample(numbers), "spans")

    def rename(rename_one: Callable[[str, int], str]) -> Rows:
        renamed = [
            replace_spans(text, spans, person, lambda value, row=row: rename_one(value, row))  # type: ignore[misc]
            for row, (text, spans) in enumerate(zip(named["text"], named["spans"], strict=True))
        ]
        return {**named, "text": [text for text, _ in renamed], "spans": [spans for _, spans in renamed]}

    conditions = {"as they stand": named, "in lower case": rename(lambda value, _: value.lower())}
    for country, names in materials.names.items():
        rng = materials.start_draws("names", country)
        drawn: dict[tuple[str, int], str] = {}
        # The same person of a document gets the same name each time.
        conditions[country] = rename(
            lambda value, row, names=names, rng=rng, drawn=drawn: drawn.setdefault(  # type: ignore[misc]
                (value, row), rng.choice(names)
            )
        )
    return ProbePart(
        "names",
        "The same documents with other names",
        f"{len(named['text'])} documents of the test split that name people, with their names in lower case, and in "
        "their place names that Faker has for a country.",
        FOUND,
        conditions,
        read,
    )


def replace_spans(
    text: str, spans: Sequence[SpanDict], label: int, rename: Callable[[str], str]
) -> tuple[str, list[SpanDict]]:
    """Return ``text`` with other values in the spans of ``label``, and all spans at their new places."""
    parts: list[str] = []
    moved: list[SpanDict] = []
    at = length = 0
    for span in sorted(spans, key=lambda span: span["start"]):
        value = text[span["start"] : span["end"]]
        parts += [text[at : span["start"]], rename(value) if span["label"] == label else value]
        start = length + span["start"] - at
        length = start + len(parts[-1])
        moved.append({"start": start, "end": length, "label": span["label"]})
        at = span["end"]
    return "".join((*parts, text[at:])), moved


def probe_others(materials: Materials, read: Read) -> ProbePart:
    """Return sentences that name something, and nobody."""
    conditions: Mapping[str, Rows] = {
        kind: {
            "text": [carrier.format(name) for name in names for carrier in materials.carriers],
            # Sentences about one name are alike.
            "group": [name for name in names for _ in materials.carriers],
            "spans": [[] for _ in names for _ in materials.carriers],
        }
        for kind, names in materials.others.items()
    }
    return ProbePart(
        "others",
        "What is taken for a person",
        f"Sentences of our own about something that is no person, each name in {len(materials.carriers)} of them.",
        (replace(FALSE_ALARMS, title="sentences in which a person is found"),),
        conditions,
        read,
    )
