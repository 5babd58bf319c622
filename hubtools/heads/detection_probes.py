"""What is asked of a detection beside changed texts: kinds of what it looks for, and places in a long document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hubtools.heads.probes import PLACES, SIZES, Materials, ProbePart, select_rows
from hubtools.heads.values import Rows
from hubtools.metrics.detection import FPR_AT_THRESHOLD, RECALL_AT_THRESHOLD
from hubtools.metrics.intervals import Answers
from hubtools.spec import TextKind

Read = Callable[[Rows], Answers]


def probe_kinds(rows: Rows, positives: Sequence[int], kinds: Sequence[TextKind], noun: str, read: Read) -> ProbePart:
    """Return the texts that are looked for by their kind; one may be of several, or of none.

    Args:
        positives: numbers of these texts.
        noun: how a card calls one.
    """
    groups = rows.get("group") or [""] * len(rows["text"])
    numbers = {kind.name: [i for i in positives if kind.covers(rows["text"][i], groups[i])] for kind in kinds}
    known = {i for of_kind in numbers.values() for i in of_kind}
    numbers["none of these"] = [i for i in positives if i not in known]
    return ProbePart(
        "kinds",
        f"By kind of {noun}",
        "Kinds are told by the source where it names them, else by rules that miss some and take some for another "
        "(hubtools' docs/robustness.md says how many); a text may be of several.",
        (RECALL_AT_THRESHOLD,),
        {name: select_rows(rows, of_kind, "label") for name, of_kind in numbers.items() if of_kind},
        read,
    )


def probe_places(rows: Rows, positives: Sequence[int], noun: str, materials: Materials, read: Read) -> ProbePart:
    """Return texts that are looked for alone, and each as a paragraph of harmless documents."""
    alone = select_rows(rows, materials.sample(positives, materials.documents), "label")
    conditions: dict[str, Rows] = {"alone": alone}
    for size in SIZES:
        for place in PLACES:
            texts = []
            for number, text in enumerate(alone["text"]):
                paragraphs = materials.write_document(size, number)
                at = {"start": 0, "middle": len(paragraphs) // 2, "end": len(paragraphs)}[place]
                texts.append("\n\n".join((*paragraphs[:at], text, *paragraphs[at:])))
            conditions[f"{place} of {size:,} tokens"] = {**alone, "text": texts}
    return ProbePart(
        "places",
        f"{noun[0].upper()}{noun[1:]}s within long documents",
        f"The same {len(alone['text'])} texts as a paragraph at the start, in the middle or at the end of harmless "
        "documents of our own.",
        (RECALL_AT_THRESHOLD,),
        conditions,
        read,
    )


def probe_documents(negative: int, materials: Materials, read: Read) -> ProbePart:
    """Return these documents without anything in them that is looked for."""
    conditions: Mapping[str, Rows] = {
        f"{size:,} tokens": {
            "text": ["\n\n".join(materials.write_document(size, number)) for number in range(materials.documents)],
            "group": [""] * materials.documents,
            "label": [negative] * materials.documents,
        }
        for size in SIZES
    }
    sentences = sum(map(len, materials.topics))
    return ProbePart(
        "documents",
        "False alarms on long harmless documents",
        f"{materials.documents} documents of each length, drawn from {sentences} sentences of our own: those of a "
        "length share many, so that the intervals are too narrow for documents of other subjects.",
        (FPR_AT_THRESHOLD,),
        conditions,
        read,
    )
