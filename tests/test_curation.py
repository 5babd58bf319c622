"""From public rows to a dataset: duplicates, splits, synthesis, damaged files, and curate() from end to end."""

from __future__ import annotations

import csv
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hubtools.curation.build import TEMPLATE_COPIES, CurationInputs, curate
from hubtools.curation.cleaning import MAX_CHARACTERS
from hubtools.curation.duplicates import (
    NEAR,
    Clusters,
    compute_jaccard,
    find_near_duplicates_of_earlier,
    make_shingles,
)
from hubtools.curation.facts import choose_examples
from hubtools.curation.reading import read_rows
from hubtools.curation.sources import SourceFiles, locate_addition
from hubtools.curation.split import SPLITS, hash_to_fraction, split_groups
from hubtools.curation.synthesis import SLOT_TYPES, fill_template, fill_templates
from hubtools.curation.user_data import choose_sources
from hubtools.errors import HubtoolsError, SourceError
from hubtools.heads.span_rows import tag_words
from hubtools.records import to_json
from hubtools.rows import Columns, hash_content, make_comparison_key
from hubtools.spec import Example, Span
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS
from hubtools.tasks.category import CATEGORY
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII, ROUTER_TYPES
from hubtools.workdir import TaskFolder

WORDS = (Path(__file__).parent.parent / "LICENSE").read_text().split()
Rows = list[dict[str, Any]]


def sentence(rng: random.Random, words: int = 9) -> str:
    return " ".join(rng.choice(WORDS) + str(rng.randrange(1000)) for _ in range(words))


# --- duplicates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Hello, World!", "hello world"),
        ("STRASSE", "straße"),
        ("ﬁne  print\n\there", "fine print here"),
        ("Ｆｕｌｌ width", "full width"),
        ("snake_case", "snake case"),
        ("…what?!", "... What"),
    ],
)
def test_texts_that_differ_in_case_width_or_punctuation_are_the_same(a: str, b: str) -> None:
    assert make_comparison_key(a) == make_comparison_key(b)
    assert hash_content(a) == hash_content(b)


@pytest.mark.parametrize(("a", "b"), [("2+2", "22"), ("?", "!"), ("cafe", "café"), ("a b", "ab"), ("no", "on")])
def test_texts_that_differ_in_a_letter_or_a_boundary_are_not_the_same(a: str, b: str) -> None:
    assert make_comparison_key(a) != make_comparison_key(b)


@settings(derandomize=True)
@given(st.text())
def test_a_comparison_key_is_never_empty_for_a_text_that_holds_something(text: str) -> None:
    assert bool(make_comparison_key(text).strip()) == bool(text.strip())
    assert len(hash_content(text)) == 64


def test_a_short_text_is_one_shingle() -> None:
    assert make_shingles("one two") == {"one two"}
    assert make_shingles("one two three four") == {"one two three", "two three four"}
    assert compute_jaccard(make_shingles("a b c d"), make_shingles("a b c e")) == pytest.approx(1 / 3)


def near_pairs(keys: Sequence[str]) -> list[tuple[int, int]]:
    """All pairs (i, j), i < j, of near-duplicates: for each row, those that are found when it alone comes earlier."""
    size = range(len(keys))
    found = [(i, find_near_duplicates_of_earlier(keys, [row != i for row in size])) for i in size]
    return [(i, j) for i, rows in found for j in sorted(rows) if i < j]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.data())
def test_near_duplicates_are_exactly_those_that_brute_force_finds(data: st.DataObject) -> None:
    text = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30)
    originals = data.draw(st.lists(text, min_size=1, max_size=8))
    corpus = [" ".join(words) for words in originals]
    for words in originals:  # and copies with a word replaced, many of them around the limit
        changed = list(words)
        changed[data.draw(st.integers(0, len(words) - 1))] = data.draw(st.sampled_from("abcdefxyz"))
        corpus.append(" ".join(changed))
    expected = [
        (i, j)
        for i in range(len(corpus))
        for j in range(i + 1, len(corpus))
        if compute_jaccard(make_shingles(corpus[i]), make_shingles(corpus[j])) >= NEAR
    ]
    assert near_pairs(corpus) == expected


def test_near_duplicates_at_the_very_limit_are_found() -> None:
    """Twelve words against the same with one appended: 10 of 11 shingles; two of twelve changed at the end: 8 of 12."""
    words = [f"w{i}" for i in range(12)]
    keys = [" ".join(words), " ".join([*words, "x"]), " ".join([*words[:10], "y", "z"])]
    assert near_pairs(keys) == [(0, 1)]
    eight_of_ten = [" ".join(words[:11]), " ".join([*words[:10], "q"])]
    assert compute_jaccard(*map(make_shingles, eight_of_ten)) == NEAR
    assert near_pairs(eight_of_ten) == [(0, 1)]


@pytest.mark.parametrize("keys", [[], ["alone"]])
def test_fewer_than_two_texts_have_no_pairs(keys: list[str]) -> None:
    assert near_pairs(keys) == []


@settings(derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_clusters_are_the_connected_components_named_by_their_smallest_member(joins: list[tuple[int, int]]) -> None:
    clusters = Clusters(20)
    reached = {i: {i} for i in range(20)}
    for i, j in joins:
        clusters.join(i, j)
        together = reached[i] | reached[j]
        for member in together:
            reached[member] = together
    assert [clusters.find(i) for i in range(20)] == [min(reached[i]) for i in range(20)]


# --- splits ---------------------------------------------------------------------------------------------------------

one_label = st.dictionaries(
    st.text("abcdefgh0123", min_size=1, max_size=6), st.sampled_from("xyz").map(lambda label: [label]), max_size=60
)


@settings(derandomize=True, deadline=None)
@given(one_label, st.integers(0, 9))
def test_a_class_with_three_groups_is_in_all_splits(labels: dict[str, list[str]], seed: int) -> None:
    split = split_groups(labels, seed)
    assert split.keys() == labels.keys()
    for label, groups in Counter(label for [label] in labels.values()).items():
        held = {split[group] for group in labels if labels[group] == [label]}
        assert held == set(("train", "test", "validation")[:groups])


@settings(derandomize=True, deadline=None)
@given(
    st.dictionaries(
        st.text("abcdefgh0123", min_size=1, max_size=6), st.lists(st.sampled_from("vwxyz"), min_size=1, max_size=3),
        max_size=60,
    ),
    st.integers(0, 9),
)  # fmt: skip
def test_groups_of_several_classes_never_cost_the_training_split_a_class(
    labels: dict[str, list[str]], seed: int
) -> None:
    split = split_groups(labels, seed)
    everywhere = {label for group in labels.values() for label in group}
    assert {label for group in labels if split[group] == "train" for label in labels[group]} == everywhere


@settings(derandomize=True, deadline=None)
@given(
    st.integers(0, 500), st.integers(30, 90), st.dictionaries(st.text(min_size=1), st.sampled_from("xyz"), max_size=40)
)
def test_more_groups_never_move_an_old_one_while_no_class_is_missing(seed: int, size: int, new: dict[str, str]) -> None:
    old = {f"group {i}": ["xy"[i % 2]] for i in range(size)}
    by_hash = {
        group: "test" if (u := hash_to_fraction(group, seed)) < 0.1 else "validation" if u < 0.2 else "train"
        for group in old
    }
    assume(len({(split, *old[group]) for group, split in by_hash.items()}) == 6)
    assert split_groups(old, seed) == by_hash
    after = split_groups({group: [label] for group, label in new.items()} | old, seed)
    assert {group: after[group] for group in old} == by_hash


def test_more_groups_never_move_an_old_one_of_a_large_source() -> None:
    """The claim without a condition that could empty it: 400 groups, all classes everywhere."""
    old = {f"group {i}": ["ab"[i % 2]] for i in range(400)}
    new = {f"later {i}": ["abc"[i % 3]] for i in range(300)}
    before = split_groups(old, 0)
    after = split_groups(new | old, 0)
    assert {group: after[group] for group in old} == before
    shares = Counter(before.values())
    assert 280 <= shares["train"] <= 360
    assert min(shares["test"], shares["validation"]) >= 20


def test_the_order_of_groups_does_not_matter_and_the_seed_does() -> None:
    labels = {f"group {i}": ["ab"[i % 2]] for i in range(40)}
    backwards = dict(reversed(labels.items()))
    assert split_groups(backwards, 3) == split_groups(labels, 3)
    assert split_groups(labels, 4) != split_groups(labels, 3)


@settings(derandomize=True, deadline=None)
@given(
    one_label,
    st.dictionaries(st.text("pq", min_size=1, max_size=4), st.sampled_from("xyz"), max_size=12),
    st.integers(0, 9),
)
def test_an_official_split_is_kept_and_an_official_test_split_takes_no_other_group(
    pool: dict[str, list[str]], official: dict[str, str], seed: int
) -> None:
    labels = pool | {f"official {name}": [label] for name, label in official.items()}
    fixed = {f"official {name}": "test" for name in official}
    split = split_groups(labels, seed, fixed)
    assert {group: split[group] for group in fixed} == fixed
    if fixed:
        assert {group for group in split if split[group] == "test"} == set(fixed)


def test_with_two_groups_a_class_is_in_train_and_test() -> None:
    assert sorted(split_groups({"a": ["x"], "b": ["x"]}, 0).values()) == ["test", "train"]
    assert split_groups({"a": ["x"]}, 0) == {"a": "train"}
    assert split_groups({}, 0) == {}


# --- synthesis ------------------------------------------------------------------------------------------------------


def between(text: str) -> str:
    return text[text.index("⟦") + 1 : text.index("⟧")]


@pytest.mark.parametrize("slot", SLOT_TYPES)
@pytest.mark.parametrize("split", SPLITS)
def test_a_slot_of_personal_data_gives_one_exact_span(slot: str, split: str) -> None:
    for number in range(20):
        text, spans = fill_template(f"Ünï 😀 ⟦{{{{{slot}}}}}⟧ {{{{number}}}}", random.Random(number), split, 0)
        [span] = spans
        assert text[span.start : span.end] == between(text) != ""
        assert span.type == SLOT_TYPES[slot]


@pytest.mark.parametrize(
    ("template", "kind"),
    [
        ("⟦{{first_name}} {{last_name}}⟧", "PERSON"),
        ("⟦{{street_address}}, {{city}}⟧", "STREET_ADDRESS"),
        ("⟦{{street_address}}\n{{city}}, {{state}} {{zip}}\n{{country}}⟧", "STREET_ADDRESS"),
        ("⟦{{city}}, {{country}}⟧", "GPE"),
    ],
)
def test_parts_of_one_name_or_one_address_are_one_span(template: str, kind: str) -> None:
    text, spans = fill_template(f"To {template}.", random.Random(5), "train", 0)
    assert [(text[s.start : s.end], s.type) for s in spans] == [(between(text), kind)]


@pytest.mark.parametrize(
    "template",
    [
        "{{first_name}} and {{last_name}}",
        "{{first_name}} {{first_name}}",
        "{{city}}; {{country}}",
        "{{country}}, {{city}}",
        "{{name}}, {{city}}",
        "{{email}} {{phone}}",
    ],
)
def test_neighbours_that_are_not_parts_of_one_thing_stay_two_spans(template: str) -> None:
    _, spans = fill_template(template, random.Random(5), "train", 0)
    assert len(spans) == 2


@pytest.mark.parametrize("slot", ["product", "order_number", "amount", "version", "tracking_number", "isbn"])
def test_what_only_looks_like_personal_data_is_not_marked(slot: str) -> None:
    text, spans = fill_template(f"⟦{{{{{slot}}}}}⟧", random.Random(1), "train", 0)
    assert between(text)
    assert spans == ()


@pytest.mark.parametrize(
    "slot",
    ["nickname", "own", "digits", "moment", "seed", "split", "rng", "fake", "us", "__init__", "Name", "name2", ""],
)
def test_an_unknown_slot_is_an_error_that_names_it(slot: str) -> None:
    with pytest.raises(SourceError, match=rf"slot {{{{{slot}}}}} is unknown"):
        fill_template(f"Hello {{{{{slot}}}}}", random.Random(0), "train", 0)


def test_the_same_seed_gives_the_same_text_and_another_seed_another() -> None:
    template = Example("{{name}}, {{address_block}}, {{phone}}, {{email}}, {{date}} {{time}}", group="g")
    first = list(fill_templates([template], "train", 5, 1))
    assert list(fill_templates([template], "train", 5, 1)) == first
    assert len({document.text for document in first}) == 5
    assert not {d.text for d in fill_templates([template], "train", 5, 2)} & {d.text for d in first}
    assert not {d.text for d in fill_templates([replace(template, group="h")], "train", 5, 1)} & {d.text for d in first}


def test_no_value_depends_on_the_day_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    from faker.providers.date_time import Provider

    true = Provider._parse_end_datetime.__func__

    def parse(cls: Any, value: Any) -> Any:
        assert value is not None, "Faker's default is now"
        return true(cls, value)

    monkeypatch.setattr(Provider, "_parse_end_datetime", classmethod(parse))
    slots = [*SLOT_TYPES, "date", "time", "weekday", "month", "order_number", "amount", "job_title", "isbn", "percent"]
    for number in range(10):
        fill_template(" ".join(f"{{{{{slot}}}}}" for slot in slots), random.Random(number), "train", 0)


def test_a_template_without_slots_gives_one_document_and_keeps_its_braces() -> None:
    template = Example("def f(): return {1: {2}}", group="code", source="s", origin="rows.jsonl:7")
    [document] = fill_templates([template], "test", 9, 0)
    assert document == replace(template, split="test", origin="made of rows.jsonl:7")


def test_the_examples_of_a_dataset_are_templates_as_they_were_written() -> None:
    templates = [
        Example(f"Please write to {{{{{slot}}}}} about the garden at noon, number {i}.", group=f"{slot}{i}", source="s")
        for slot in ("email", "ssn") for i in range(4)
    ]  # fmt: skip
    rows = [PII.label_set().map_labels(row) for row in fill_templates(templates, "train", 6, 0) if row.spans]
    for example in choose_examples(rows, PII.head, PII.label_set().labels):
        assert re.match(r"Please write to .* about the garden at noon, number \d\.$", example.text)


# Hosts of RFC 2606, numbers kept for fiction in five countries, and areas, groups and serials that no social security
# number has.
NOBODYS = {
    "email": r"[^@]+@([\w-]+\.)?(example\.(com|net|org)|[\w-]+\.(example|test|invalid))",
    "url": r"(https://)?([\w-]+\.)?(example\.(com|net|org)|[\w-]+\.(example|test|invalid))(/.*)?",
    "phone": r".*555.?01\d\d( (x|ext\. )\d+)?|\+44 20 7946 0.*|(\+44 |0)7700 900.*|\+49 30 23125.*|\+33 6 39 98 .*",
    "ssn": r"(000|666|9\d\d)\D?\d\d\D?\d{4}|\d{3}\D?(00\D?\d{4}|\d\d\D?0000)",
}


@pytest.mark.parametrize("slot", NOBODYS)
@pytest.mark.parametrize("split", SPLITS)
def test_most_hosts_and_numbers_are_nobodys_and_not_all(slot: str, split: str) -> None:
    values = [fill_template(f"{{{{{slot}}}}}", random.Random(i), split, 0)[0].lower() for i in range(200)]
    reserved = [value for value in values if re.fullmatch(NOBODYS[slot], value)]
    assert 0.55 < len(reserved) / len(values) < 0.9
    assert len({*reserved}) > 50


@pytest.mark.parametrize("slot", ["first_name", "last_name", "city", "street_address", "phone", "ssn", "zip"])
def test_values_of_one_split_are_never_drawn_for_another(slot: str) -> None:
    draws = 500 if slot == "zip" else 150  # chance alone would rarely draw one zip code twice

    def values(split: str) -> set[str]:
        texts = [fill_template(f"{{{{{slot}}}}}", random.Random(f"{split}{i}"), split, 0)[0] for i in range(draws)]
        assert [text for text in texts if text != text.strip()] == [], "a span has no space at its ends"
        # A zip code may carry four more digits, a social security number spaces or nothing for its hyphens.
        return {text.casefold()[:5] if slot == "zip" else text.casefold().replace("-", " ") for text in texts}

    train, validation, test = (values(split) for split in SPLITS)
    assert len(train) > 30
    assert not train & validation
    assert not train & test
    assert not validation & test


# --- words and tags -------------------------------------------------------------------------------------------------


def test_words_carry_b_on_the_first_and_i_on_the_rest_of_a_span() -> None:
    text = "Ann-Lee of Rome."
    tokens, tags = tag_words(text, [Span(0, 7, "PERSON"), Span(11, 15, "LOCATION")], ("PERSON", "LOCATION"))
    assert tokens == ["Ann", "-", "Lee", "of", "Rome", "."]
    assert tags == [1, 2, 2, 0, 3, 0]


def test_touching_spans_of_one_type_begin_anew() -> None:
    tokens, tags = tag_words("Ann Bob", [Span(0, 3, "PERSON"), Span(4, 7, "PERSON")], ("PERSON",))
    assert (tokens, tags) == (["Ann", "Bob"], [1, 1])


def test_a_span_that_begins_with_a_space_or_inside_a_word_still_begins_with_b() -> None:
    assert tag_words("to Ann Lee", [Span(2, 10, "PERSON")], ("PERSON",))[1] == [0, 1, 2]
    assert tag_words("xAnn Lee", [Span(1, 8, "PERSON")], ("PERSON",))[1] == [1, 2]
    assert tag_words("AB-CD", [Span(0, 1, "X"), Span(1, 5, "Y")], ("X", "Y"))[1] == [1, 3, 4]


def test_a_text_without_words_has_no_tags() -> None:
    assert tag_words(" \n", [], ()) == ([], [])


# --- reading sources ------------------------------------------------------------------------------------------------

COLUMNS = ("text", "label")
GOOD: Rows = [{"text": f'row {i}, "quoted"\nsecond line ü😀', "label": "ab"[i % 2]} for i in range(6)]


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as out:
            names = list(dict.fromkeys(name for row in rows for name in row))
            writer = csv.DictWriter(out, names)
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_every_format_gives_the_same_rows(suffix: str, tmp_path: Path) -> None:
    read = list(read_rows(write(tmp_path / f"rows{suffix}", GOOD), COLUMNS))
    assert [dict(raw.row or {}) for raw in read] == GOOD
    assert len({raw.origin for raw in read}) == len(GOOD)


def test_a_place_is_the_line_that_an_editor_shows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "label": "b"}\n\n{"text": \n')
    good, bad = read_rows(path, COLUMNS)
    assert (good.origin, bad.origin, bad.row) == ("rows.jsonl:1", "rows.jsonl:3", None)
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,b\nonly one\n")
    assert [raw.origin for raw in read_rows(path, COLUMNS)] == ["rows.csv:2", "rows.csv:3"]


def test_spreadsheet_csv_with_a_byte_order_mark_and_windows_lines_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes('\ufefftext,label\r\n"a\r\nb",x\r\n'.encode())
    assert [raw.row for raw in read_rows(path, COLUMNS)] == [{"text": "a\r\nb", "label": "x"}]


def test_a_json_file_of_an_object_a_line_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in GOOD))
    assert [raw.row for raw in read_rows(path, COLUMNS)] == GOOD


@pytest.mark.parametrize(
    ("content", "defect"),
    [
        (b'{"text": "a", "label": "b"', "broken JSON"),
        (b'{"text": "a"}', "lacks label"),
        (b"[1]", "not a JSON object"),
        (b'"text label"', "not a JSON object"),
        (b'{"text": "a", "label": "b", "text": "c"}', "has a key twice"),
        (b"[" * 20_000, "broken JSON"),
        (b'{"text": ' + b"9" * 5000 + b"}", "broken JSON"),
    ],
)
def test_a_broken_line_comes_with_its_defect_and_the_rest_is_read(content: bytes, defect: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content + b'\n{"text": "a", "label": "b"}\n')
    bad, good = read_rows(path, COLUMNS)
    assert bad.row is None
    assert bad.defect.startswith(defect)
    assert good.row == {"text": "a", "label": "b"}


@pytest.mark.parametrize("line", ["only one", "one,two,three"])
def test_a_csv_row_with_another_number_of_fields_is_bad(line: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"text,label\na,b\n{line}\nc,d\n")
    assert [raw.defect for raw in read_rows(path, COLUMNS)] == ["", "expected 2 fields", ""]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", None, "nothing at"),
        ("rows.txt", b"text", r"one of .csv, .tsv, .json, .jsonl, .ndjson, .parquet"),
        ("rows.csv", b"", "is empty"),
        ("rows.jsonl", b"\n\n", "holds no rows"),
        ("rows.json", b"[]", "holds no rows"),
        ("rows.csv", b"text,label\n", "holds no rows"),
        ("rows.csv", b"text,label,text\n1,2,3\n", "has a column twice"),
        ("rows.csv", b"Text,label\na,b\n", "(?s)lacks a column.*found: +Text, label"),
        ("rows.jsonl", b'{"prompt": "a"}\n', "(?s)lacks a column.*found: +prompt.*--text-column"),
        ("rows.json", b'{"rows":\n[]}', "holds no rows"),
        ("rows.json", b'{"rows":\n7}', "(?s)a list of objects.*an object"),
        ("rows.json", b"[{", "(?s)has no row that can be read.*broken JSON"),
        ("rows.jsonl", b"{\n[", "(?s)has no row that can be read.*broken JSON"),
        ("rows.json", b"\x80\x81", "is broken JSON"),
        ("rows.parquet", b"PAR1 this is none PAR1", "is broken parquet"),
    ],
)
def test_a_file_that_is_wrong_as_a_whole_says_what_is_wrong(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        list(read_rows(tmp_path / name, COLUMNS))


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """``content`` with up to five stretches of it deleted, doubled, or replaced by other bytes."""
    noise = st.one_of(
        st.binary(max_size=6),
        st.sampled_from([b'"', b"\n", b"\r", b",", b"{", b"}", b"[", b"\x00", b"\xff", b"\\ud800", b"NaN"]),
    )
    edits = st.lists(
        st.tuples(st.integers(0, len(content)), st.integers(0, 40), noise, st.booleans()), min_size=1, max_size=5
    )

    def apply(chosen: list[tuple[int, int, bytes, bool]]) -> bytes:
        out = content
        for at, length, new, double in chosen:
            out = out[:at] + new + (out[at:] if double else out[at + length :])
        return out

    return edits.map(apply)


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl"])
def test_no_damage_to_a_file_raises_anything_but_a_source_error(
    suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write(tmp_path_factory.mktemp("damage") / f"rows{suffix}", GOOD)

    @settings(derandomize=True, deadline=None, max_examples=250, database=None)
    @given(damaged(path.read_bytes()))
    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            rows = list(read_rows(path, COLUMNS))
        except SourceError as error:
            refused.append(str(error))
            return
        assert rows
        for raw in rows:
            assert (raw.row is None) == bool(raw.defect)
            assert raw.row is None or set(COLUMNS) <= raw.row.keys()
            assert raw.origin.startswith(path.name)

    refused: list[str] = []
    read()
    assert refused or suffix == ".jsonl", "a line too many or too few never costs the other lines"
    assert all(path.name in message for message in refused)


def test_no_damage_to_a_parquet_file_raises_anything_but_a_source_error(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", GOOD)
    whole = path.read_bytes()
    refused = list[str]()
    for seed in range(150):
        rng = random.Random(seed)
        content = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content[: rng.randint(1, len(content))] if seed % 3 == 0 else content)
        try:
            list(read_rows(path, COLUMNS))
        except SourceError as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert all("rows.parquet" in message for message in refused)


# --- curate(), from end to end --------------------------------------------------------------------------------------


def category_rows(each: int = 8, seed: int = 0) -> Rows:
    """Rows as MMLU-Pro has them, ``each`` of every label, no two alike."""
    rng = random.Random(seed)
    return [
        {"question": sentence(rng), "category": label} for label in CATEGORY.label_set().labels for _ in range(each)
    ]


def jailbreak_rows(each: int = 20, seed: int = 1) -> Rows:
    rng = random.Random(seed)
    return [{"prompt": sentence(rng), "type": label} for label in ("benign", "jailbreak") for _ in range(each)]


def presidio_rows(count: int = 40) -> Rows:
    rows = []
    for i in range(count):
        rng = random.Random(i)
        # 20 templates, told apart by their own words
        words = sentence(random.Random(f"template {i % 20}"), 6)
        slots = "{{name}} of {{city}}, {{street_address}}: {{email}}, {{phone}}, {{ssn}}"
        text, spans = fill_template(f"{words} {slots}", rng, "train", 0)
        rows.append({
            "full_text": text,
            "spans": [{"entity_type": s.type, "entity_value": text[s.start : s.end], "start_position": s.start,
                       "end_position": s.end} for s in spans],
            "template_id": i % 20,
        })  # fmt: skip
    return rows


def files_of(task: TaskSpec, *parts: tuple[str, Path], id: str | None = None) -> SourceFiles:
    source = task.whole_sources[0]
    source = source if id is None else replace(source, id=id)
    return SourceFiles(source, parts, "r1")


def build(
    task: TaskSpec, tmp_path: Path, files: SourceFiles, name: str = "work", **options: Any
) -> tuple[dict[str, Any], TaskFolder]:
    folder = TaskFolder(tmp_path / name / task.name)
    # Of pii alone: the corpora of the others are whole, and would be most of so small a dataset.
    packaged = tuple(locate_addition(s) for s in task.supplements if s.templates and files.source in task.whole_sources)
    note = options.pop("note", lambda _: None)
    options = {"label_set": task.label_set(), "supplements": packaged, **options}
    return to_json(curate(task, folder, CurationInputs(sources=(files,), **options), note)), folder


def rows_in(folder: TaskFolder, split: str) -> Rows:
    rows: Rows = pq.read_table(folder.split_file(split)).to_pylist()
    return rows


def everything(folder: TaskFolder) -> Rows:
    return [row for split in SPLITS for row in rows_in(folder, split)]


def assert_counts_add_up(facts: dict[str, Any], folder: TaskFolder) -> None:
    counts = facts["counts"]
    assert counts["read"] == counts["kept"] + sum(counts["dropped"].values())
    assert counts["kept"] == len(everything(folder)) == sum(split["rows"] for split in facts["splits"].values())
    for name, split in facts["splits"].items():
        assert sum(split["labels"].values()) == split["rows"] == len(rows_in(folder, name))
    assert facts["leakage"] == {"exact_across_splits": 0, "near_across_splits": 0, "groups_across_splits": 0}


def test_rows_of_a_sequence_task_end_in_splits_with_all_labels(tmp_path: Path) -> None:
    rows = category_rows()
    facts, folder = build(CATEGORY, tmp_path, files_of(CATEGORY, ("", write(tmp_path / "mmlu.parquet", rows))))
    assert_counts_add_up(facts, folder)
    assert facts["counts"]["kept"] == len(rows)
    assert all(len(split["labels"]) == 14 for split in facts["splits"].values())
    names = CATEGORY.label_set().labels
    assert {(row["text"], names[row["label"]]) for row in everything(folder)} == {
        (row["question"], row["category"]) for row in rows
    }
    assert json.loads(folder.facts.read_text()) == facts


def test_load_dataset_reads_the_folder_with_its_label_names(tmp_path: Path) -> None:
    from datasets import load_dataset

    _, folder = build(CATEGORY, tmp_path, files_of(CATEGORY, ("", write(tmp_path / "mmlu.jsonl", category_rows()))))
    data = load_dataset(str(folder.dataset), cache_dir=str(tmp_path / "cache"))
    assert list(data) == ["train", "validation", "test"]
    assert tuple(data["train"].features["label"].names) == CATEGORY.label_set().labels
    assert set(data["train"].column_names) == {"id", "text", "label", "group", "source"}
    assert len({row["id"] for split in data.values() for row in split}) == 112


def test_a_token_dataset_has_spans_and_tags_that_say_the_same(tmp_path: Path) -> None:
    from datasets import load_dataset

    files = files_of(PII, ("", write(tmp_path / "synth.json", presidio_rows())), id="synth.json")
    facts, folder = build(PII, tmp_path, files)
    data = load_dataset(str(folder.dataset), cache_dir=str(tmp_path / "cache"))
    tags = data["train"].features["ner_tags"].feature.names
    assert tuple(tags) == PII.model_labels(PII.label_set())
    types = data["train"].features["spans"].feature["label"].names
    for row in data["train"]:
        wanted = [types[s["label"]] for s in row["spans"]]
        assert [tags[t][2:] for t in row["ner_tags"] if tags[t].startswith("B-")] == wanted
        for span in row["spans"]:
            assert row["text"][span["start"] : span["end"]].strip() == row["text"][span["start"] : span["end"]] != ""
    groups = [{row["group"] for row in data[split]} for split in SPLITS]
    assert len(groups[0]) + len(groups[1]) + len(groups[2]) == 20
    assert not groups[0] & (groups[1] | groups[2])
    assert facts["counts"]["synthetic_train"] == 0, "a user's own file stands alone"


def test_a_type_of_personal_data_with_three_templates_is_in_all_splits(tmp_path: Path) -> None:
    """Or its F1 could not be measured, and nobody would see it."""
    rows = [row for row in presidio_rows() if row["template_id"] < 17]
    rare = [row for row in presidio_rows() if row["template_id"] >= 17]
    for row in rows:
        row["spans"] = [span for span in row["spans"] if span["entity_type"] != "US_SSN"]
    for seed in range(5):
        files = files_of(PII, ("", write(tmp_path / "synth.json", rows + rare)), id="synth.json")
        facts, _ = build(PII, tmp_path, files, name=f"seed {seed}", seed=seed)
        assert all("US_SSN" in split["labels"] for split in facts["splits"].values())


def test_synthetic_rows_join_the_training_split_of_the_real_source_alone(tmp_path: Path) -> None:
    facts, folder = build(PII, tmp_path, files_of(PII, ("", write(tmp_path / "synth.json", presidio_rows()))))
    assert facts["counts"]["synthetic_train"] > 500
    sources = {split: {row["source"] for row in rows_in(folder, split)} for split in SPLITS}
    assert sources == {
        "train": {"microsoft/presidio-research", "hubtools/starter-pii", "hubtools/supplement-pii"},
        "validation": {"microsoft/presidio-research"},
        "test": {"microsoft/presidio-research"},
    }
    assert [source["id"] for source in facts["sources"]] == [
        "microsoft/presidio-research", "hubtools/starter-pii", "hubtools/supplement-pii",
    ]  # fmt: skip
    assert set(facts["splits"]["train"]["labels"]) == set(ROUTER_TYPES.values())
    assert facts["leakage"] == {"exact_across_splits": 0, "near_across_splits": 0, "groups_across_splits": 0}


def test_a_starter_corpus_of_templates_is_filled_by_split(tmp_path: Path) -> None:
    templates = [
        {"template": f"{sentence(random.Random(i), 5)} {{{{{slot}}}}}", "id": f"t{i}"}
        for i, slot in enumerate(["name", "email", "phone", "ssn", "city"] * 6)
    ]
    files = SourceFiles(PII.starter, (("", write(tmp_path / "templates.jsonl", templates)),), "r1")
    facts, folder = build(PII, tmp_path, files)
    assert (
        facts["splits"]["train"]["groups"] + facts["splits"]["test"]["groups"] + facts["splits"]["validation"]["groups"]
        == 30
    )
    assert facts["splits"]["train"]["rows"] == TEMPLATE_COPIES["train"] * facts["splits"]["train"]["groups"]
    assert facts["splits"]["test"]["rows"] == 4 * facts["splits"]["test"]["groups"]
    assert "{{" not in "".join(row["text"] for row in everything(folder))


def test_bad_rows_stop_the_curation_with_the_places_of_the_first(tmp_path: Path) -> None:
    rows = category_rows()
    for at in (3, 17, 40, 41):
        rows[at]["category"] = "maths"
    path = write(tmp_path / "mmlu.jsonl", rows)
    with pytest.raises(SourceError) as stopped:
        build(CATEGORY, tmp_path, files_of(CATEGORY, ("", path)))
    message = str(stopped.value)
    assert "has 4 bad rows of 112" in message
    assert "unknown label 'maths' in 4 rows (mmlu.jsonl:4, mmlu.jsonl:18, mmlu.jsonl:41, …)" in message
    assert "--label-map" in message
    assert "--skip-bad-rows" in message
    assert not (tmp_path / "work" / "category" / "dataset").exists()


def test_skipped_bad_rows_are_counted_by_their_reason(tmp_path: Path) -> None:
    rows = category_rows()
    rows[0]["category"] = "maths"
    rows[1]["question"] = "  "
    rows[2]["question"] = "bell \x07 rings"
    rows[3]["question"] = "half of a pair: \ud83d"
    rows[4]["question"] = "long " * (MAX_CHARACTERS // 4)
    path = write(tmp_path / "mmlu.jsonl", rows)
    path.write_text('{"question": 1}\n{"quest\n' + path.read_text())
    facts, folder = build(CATEGORY, tmp_path, files_of(CATEGORY, ("", path)), skip_bad_rows=True)
    assert_counts_add_up(facts, folder)
    assert facts["counts"]["dropped"] == {
        "broken JSON": 1,
        "encoding damage": 2,
        "lacks category": 1,
        f"longer than {MAX_CHARACTERS} characters": 1,
        "question is empty": 1,
        "unknown label 'maths'": 1,
    }


def test_a_label_outside_the_label_set_is_dropped_and_is_no_bad_row(tmp_path: Path) -> None:
    files = files_of(CATEGORY, ("", write(tmp_path / "mmlu.csv", category_rows())))
    facts, folder = build(CATEGORY, tmp_path, files, label_set=CATEGORY.label_set("seed10"))
    assert_counts_add_up(facts, folder)
    assert facts["counts"]["dropped"] == {"label outside the label set": 8}
    assert facts["splits"]["train"]["labels"].keys() == set(CATEGORY.label_set("seed10").labels)


def test_one_text_with_two_labels_is_dropped_with_all_its_copies(tmp_path: Path) -> None:
    rows = category_rows()
    rows += [{"question": "Which is it?", "category": label} for label in ("math", "physics", "math")]
    rows += [{"question": "Only once", "category": "law"}, {"question": "only ONCE!", "category": "law"}]
    facts, folder = build(CATEGORY, tmp_path, files_of(CATEGORY, ("", write(tmp_path / "mmlu.json", rows))))
    assert_counts_add_up(facts, folder)
    assert facts["counts"]["dropped"] == {"exact duplicate": 1, "same text, several labels": 3}
    texts = [row["text"] for row in everything(folder)]
    assert "Which is it?" not in texts
    assert texts.count("Only once") + texts.count("only ONCE!") == 1


def near(text: str) -> str:
    return text + " indeed"


def test_leaks_are_removed_from_the_later_split(tmp_path: Path) -> None:
    """Test before validation before train: what stands in the official test split is gone from the rest."""
    train, test = jailbreak_rows(30), jailbreak_rows(10, seed=2)
    test_texts = {row["prompt"] for row in test}
    train += [
        {"prompt": test[0]["prompt"].upper(), "type": "benign"},
        {"prompt": near(test[1]["prompt"]), "type": "benign"},
        {"prompt": near(test[15]["prompt"]), "type": "jailbreak"},
    ]
    # Whichever is read first.
    files = files_of(
        JAILBREAK, ("test", write(tmp_path / "test.csv", test)), ("", write(tmp_path / "train.csv", train))
    )
    facts, folder = build(JAILBREAK, tmp_path, files)
    assert_counts_add_up(facts, folder)
    assert {row["text"] for row in rows_in(folder, "test")} == test_texts
    assert facts["counts"]["dropped"] == {
        "exact duplicate": 1, "near-duplicate of a row in an earlier split": 2,
    }  # fmt: skip


def test_near_duplicates_without_an_official_split_stay_together(tmp_path: Path) -> None:
    rows = jailbreak_rows(25)
    rows += [{"prompt": near(row["prompt"]), "type": row["type"]} for row in rows]
    facts, folder = build(JAILBREAK, tmp_path, files_of(JAILBREAK, ("", write(tmp_path / "all.csv", rows))))
    assert_counts_add_up(facts, folder)
    assert facts["counts"]["kept"] == 100
    assert sum(split["groups"] for split in facts["splits"].values()) == 50


def labelled(tmp_path: Path, rows: Rows) -> SourceFiles:
    path = write(tmp_path / "mine.jsonl", rows)
    return choose_sources(JAILBREAK, str(path), Columns("prompt", "type"), JAILBREAK.label_set())[0][0]


def test_a_users_own_file_brings_its_columns_families_and_splits(tmp_path: Path) -> None:
    rows = [row | {"family": f"family {i % 10}"} for i, row in enumerate(jailbreak_rows(25))]
    for row in rows:
        row["split"] = {"family 0": "test", "family 1": "validation"}.get(row["family"], "train")
    facts, folder = build(JAILBREAK, tmp_path, labelled(tmp_path, rows))
    assert {row["group"] for row in rows_in(folder, "test")} == {"family 0"}
    assert {row["group"] for row in rows_in(folder, "validation")} == {"family 1"}
    assert facts["sources"][0]["id"] == "mine.jsonl"
    assert facts["sources"][0]["license"] == "other"


def test_a_family_with_a_row_in_the_official_test_split_is_in_test_whole(tmp_path: Path) -> None:
    rows = [row | {"family": f"family {i % 10}", "split": ""} for i, row in enumerate(jailbreak_rows(25))]
    rows[0]["split"], rows[10]["split"], rows[20]["split"] = "train", "test", "validation"  # all of family 0
    forwards, folder = build(JAILBREAK, tmp_path, labelled(tmp_path, rows))
    assert {row["group"] for row in rows_in(folder, "test")} == {"family 0"}
    backwards, other = build(JAILBREAK, tmp_path, labelled(tmp_path, rows[::-1]), name="again")
    assert [s["rows"] for s in backwards["splits"].values()] == [s["rows"] for s in forwards["splits"].values()]
    assert rows_in(other, "test") == rows_in(folder, "test")


def test_an_unknown_split_is_a_bad_row(tmp_path: Path) -> None:
    rows = jailbreak_rows(20)
    rows[2]["split"] = "holdout"
    with pytest.raises(SourceError, match=r"unknown split 'holdout': neither train.* in 1 row \(mine\.jsonl:3\)"):
        build(JAILBREAK, tmp_path, labelled(tmp_path, rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (jailbreak_rows(20)[:20], "(?s)lacks rows that jailbreak needs.*no row of jailbreak"),
        (jailbreak_rows(20)[:21], "validation split of jailbreak lacks jailbreak"),
        (jailbreak_rows(1), "would be empty"),
        ([{"prompt": "\x00", "type": "benign"}], "(?s)1 bad row of 1.*encoding damage in 1 row"),
    ],
)
def test_too_little_to_learn_from_is_an_error_that_says_what_is_lacking(
    rows: Rows, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=message):
        build(JAILBREAK, tmp_path, labelled(tmp_path, rows))


def stamps(folder: TaskFolder) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (folder.facts, *map(folder.split_file, SPLITS))}


def test_an_up_to_date_dataset_is_not_built_again(tmp_path: Path) -> None:
    files = labelled(tmp_path, jailbreak_rows())
    facts, folder = build(JAILBREAK, tmp_path, files)
    before, notes = stamps(folder), list[str]()
    again, _ = build(JAILBREAK, tmp_path, files, note=notes.append)
    assert again == facts
    assert notes == ["jailbreak: dataset is up to date"]
    assert stamps(folder) == before


def test_a_dataset_is_built_again_when_anything_that_made_it_changes(tmp_path: Path) -> None:
    rows = jailbreak_rows()
    files = labelled(tmp_path, rows)
    facts, folder = build(JAILBREAK, tmp_path, files)
    marks = {facts["fingerprint"]}

    labelled(tmp_path, [*rows, {"prompt": "a new row altogether", "type": "benign"}])
    more, _ = build(JAILBREAK, tmp_path, files)
    assert more["counts"]["kept"] == facts["counts"]["kept"] + 1
    assert "a new row altogether" in {row["text"] for row in everything(folder)}
    marks.add(more["fingerprint"])

    marks.add(build(JAILBREAK, tmp_path, files, seed=1)[0]["fingerprint"])
    marks.add(build(replace(JAILBREAK, version="99"), tmp_path, files)[0]["fingerprint"])
    assert len(marks) == 4


@pytest.mark.parametrize("damage", ["facts", "split", "no facts"])
def test_a_dataset_that_is_not_whole_is_built_again(damage: str, tmp_path: Path) -> None:
    files = labelled(tmp_path, jailbreak_rows())
    facts, folder = build(JAILBREAK, tmp_path, files)
    content = {split: folder.split_file(split).read_bytes() for split in SPLITS}
    if damage == "facts":
        folder.facts.write_text(folder.facts.read_text()[:50])
    elif damage == "split":
        folder.split_file("test").unlink()
    else:
        folder.facts.unlink()
    again, _ = build(JAILBREAK, tmp_path, files)
    assert again == facts
    assert {split: folder.split_file(split).read_bytes() for split in SPLITS} == content


def sources_of_all_tasks(tmp_path: Path) -> dict[str, SourceFiles]:
    labels = TASKS["intent"].label_set().labels
    rng = random.Random(4)
    intent = [
        {"text": sentence(rng), "label": label, "family": f"function {label} {i % 5}"}
        for label in labels
        for i in range(10)
    ]
    path = write(tmp_path / "intent.jsonl", intent)
    return {
        "category": files_of(CATEGORY, ("", write(tmp_path / "mmlu.parquet", category_rows()))),
        "pii": files_of(PII, ("", write(tmp_path / "synth.json", presidio_rows()))),
        "jailbreak": files_of(JAILBREAK, ("", write(tmp_path / "all.csv", jailbreak_rows()))),
        "intent": choose_sources(TASKS["intent"], str(path), Columns("text", "label"), TASKS["intent"].label_set())[0][
            0
        ],
    }


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_two_builds_give_the_same_bytes(task: TaskSpec, tmp_path: Path) -> None:
    files = sources_of_all_tasks(tmp_path)[task.name]
    facts, first = build(task, tmp_path, files, name="first")
    again, second = build(task, tmp_path, files, name="second")
    assert again == facts
    for split in SPLITS:
        assert first.split_file(split).read_bytes() == second.split_file(split).read_bytes()


def test_the_order_of_the_rows_in_the_source_does_not_matter(tmp_path: Path) -> None:
    rows = category_rows()
    rows += [{"question": near(row["question"]), "category": row["category"]} for row in rows[::7]]
    _, first = build(CATEGORY, tmp_path, files_of(CATEGORY, ("", write(tmp_path / "a.csv", rows))), name="first")
    random.Random(9).shuffle(rows)
    _, second = build(CATEGORY, tmp_path, files_of(CATEGORY, ("", write(tmp_path / "b.csv", rows))), name="second")
    for split in SPLITS:
        assert first.split_file(split).read_bytes() == second.split_file(split).read_bytes()


def test_no_damage_to_a_source_gives_a_stack_trace(tmp_path_factory: pytest.TempPathFactory) -> None:
    tmp_path = tmp_path_factory.mktemp("damage")
    files = labelled(tmp_path, [row | {"family": "", "split": ""} for row in jailbreak_rows(20)])
    path = files.files[0][1]
    refused, built = list[str](), list[int]()

    @settings(derandomize=True, deadline=None, max_examples=60, database=None)
    @given(damaged(path.read_bytes()), st.booleans())
    def build_it(content: bytes, skip: bool) -> None:
        path.write_bytes(content)
        try:
            facts, folder = build(JAILBREAK, tmp_path, files, skip_bad_rows=skip)
        except HubtoolsError as error:
            refused.append(str(error))
        else:
            assert_counts_add_up(facts, folder)
            built.append(facts["counts"]["kept"])

    build_it()
    assert len(refused) > 5
    assert len(built) > 5
    assert all("mine.jsonl" in message or "jailbreak" in message for message in refused)


def test_one_seed_invents_the_same_people_in_every_process() -> None:
    program = (
        "from hubtools.curation.synthesis import fill_templates\n"
        "from hubtools.spec import Example\n"
        "templates = [Example('{{name}}, {{city}}, {{company}}', group=str(i)) for i in range(60)]\n"
        "print([document.text for document in fill_templates(templates, 'train', 3, 0)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert len(said.pop()) > 1000
