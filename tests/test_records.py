"""Records: what is written is read back, and what is damaged is named."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
import pkgutil
import typing

import numpy as np
import pytest

import hubtools.records
from hubtools.errors import DamagedRecord
from hubtools.heads import HEADS, Classification, Detection, Spans
from hubtools.records import Record, from_json, to_json
from hubtools.records.metrics import AnsweredExample
from hubtools.records.scores import Baseline, Scores, ScoresOnOtherData
from hubtools.records.slices import Mistakes, Slices, SpanMistakes
from hubtools.records.thresholds import Thresholds

MODULES = [
    importlib.import_module(f"hubtools.records.{module.name}")
    for module in pkgutil.iter_modules(hubtools.records.__path__)
]
RECORDS = {
    value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Record) and dataclasses.is_dataclass(value)
}


def unions_within(annotation: object) -> typing.Iterator[list[type[Record]]]:
    """The records that may stand in the same place, for each place within a field's type."""
    arguments = typing.get_args(annotation)
    records = [one for one in arguments if isinstance(one, type) and issubclass(one, Record)]
    if len(records) > 1:
        yield records
    for inner in arguments:
        yield from unions_within(inner)


def keys_of(record: type[Record]) -> tuple[set[str], set[str], dict[str, object]]:
    """Keys that must be there, keys that may be there, and those with one value alone."""
    fields = dataclasses.fields(record)  # type: ignore[arg-type]
    hints = typing.get_type_hints(record)
    needed = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    words = {name: hint for name, hint in hints.items() if typing.get_origin(hint) is typing.Literal}
    return needed, {f.name for f in fields}, words


def test_records_that_may_stand_in_one_place_are_told_apart_by_their_keys_however_empty() -> None:
    unions = [
        union for record in RECORDS for hint in typing.get_type_hints(record).values() for union in unions_within(hint)
    ]
    unions += [
        [*typing.get_args(union)] for union in (Scores, ScoresOnOtherData, Slices, Mistakes, Baseline, Thresholds)
    ]
    assert len(unions) > 6
    for a, b in {pair for union in unions for pair in itertools.combinations(union, 2)}:
        (needed_a, known_a, words_a), (needed_b, known_b, words_b) = keys_of(a), keys_of(b)
        by_word = any(words_a[name] != words_b[name] for name in words_a.keys() & words_b.keys())
        assert needed_a - known_b or needed_b - known_a or by_word, (a, b)


def test_mistakes_of_a_model_that_finds_no_span_are_read_back() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Holder(Record):
        mistakes: Mistakes

    rows = {"id": ["a"], "group": [""], "spans": [[{"start": 0, "end": 3, "label": 0}]], "predicted_spans": [[]]}
    for spans in (rows, {name: [] for name in rows}):
        mistakes = Spans().find_mistakes(spans, ["A", "B"])
        written = json.loads(json.dumps(to_json(Holder(mistakes=mistakes))))
        assert from_json(written, Holder).mistakes == mistakes
        assert isinstance(mistakes, SpanMistakes)


@pytest.mark.parametrize("name", HEADS)
def test_scores_without_a_right_answer_are_read_back(name: str) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Holder(Record):
        scores: Scores
        slices: Slices
        mistakes: Mistakes

    head = {"classification": Classification(), "detection": Detection(positive="b"), "spans": Spans()}[name]
    spans = [{"start": 0, "end": 3, "label": 0}]
    rows = {
        "id": ["1", "2"], "group": ["", ""], "characters": [5, 6], "label": [0, 1],
        "probabilities": [[0.0, 1.0], [1.0, 0.0]], "spans": [spans, []], "predicted_spans": [[], []],
    }  # fmt: skip
    whole = Holder(
        scores=head.score(rows, ["a", "b"], 0.5),
        slices=head.score_slices(rows, ["a", "b"], 0.5),
        mistakes=head.find_mistakes(rows, ["a", "b"]),
    )
    read = from_json(json.loads(json.dumps(to_json(whole))), Holder)
    np.testing.assert_equal(to_json(read), to_json(whole))
    assert [type(getattr(read, part)) for part in ("scores", "slices", "mistakes")] == [
        type(getattr(whole, part)) for part in ("scores", "slices", "mistakes")
    ]


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ({"label": "A"}, "output.0.LabelOutput.score: Field required"),
        ({"label": "A", "score": "high"}, "output.0.LabelOutput.score: Input should be a valid number"),
        ({"entity_group": "A", "score": 1.0, "start": 0, "end": 3}, "output.0.SpanOutput.word: Field required"),
        ({"entity_group": "A", "score": 1.0, "start": 0, "end": 3, "words": "Ann"}, "output.0.SpanOutput.word"),
    ],
)
def test_what_is_wrong_with_a_record_is_said_of_the_one_that_is_meant(output: dict[str, object], says: str) -> None:
    with pytest.raises(DamagedRecord, match=says):
        from_json({"text": "Ann", "output": [output]}, AnsweredExample)
