"""Files as people have them: every row is kept right, or named with its reason; never a trace, never a class lost."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scripts_of_the_world import WORDS, make_documents, make_labelled_rows

from hubtools.curation.build import CurationInputs, describe_files, describe_label_maps, rehearse
from hubtools.curation.cleaning import Drops, read_pool
from hubtools.curation.user_data import choose_sources
from hubtools.errors import HubtoolsError, SourceError, UsageError
from hubtools.heads.offsets import read_offsets
from hubtools.heads.tags import merge_tags
from hubtools.rows import Columns
from hubtools.spec import BadRow, Example, Flawed, Span
from hubtools.task import TaskSpec
from hubtools.tasks.file import read_task_file
from hubtools.tasks.jailbreak import JAILBREAK

Rows = list[dict[str, Any]]
ROWS: Rows = make_labelled_rows("de", 40)


def read(
    path: Path, columns: Columns | None = None, task: TaskSpec = JAILBREAK, *, skip: bool = False
) -> tuple[list[Example], Drops, str]:
    """Return what curation reads, what it drops, and what it says of the files."""
    sources, label_set = choose_sources(task, str(path), columns or Columns(), task.label_set())
    drops = Drops()
    rows, count = read_pool(task, sources, label_set, drops, skip_bad_rows=skip)
    assert sum(count.values()) == len(rows) + drops.total()
    return rows, drops, "; ".join([*describe_files(sources), *describe_label_maps(sources)])


def assert_read(path: Path, columns: Columns | None = None, rows: Rows = ROWS) -> str:
    kept, drops, said = read(path, columns)
    assert [(row.text, row.label) for row in kept] == [(row["text"], row["label"]) for row in rows]
    assert not drops
    return said


def as_csv(rows: Rows, separator: str = ",", header: tuple[str, ...] = ("text", "label")) -> str:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([row["text"] + ", and so on", row["label"]] for row in rows)
    return out.getvalue()


def as_lines(rows: Rows) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


TALKATIVE = [row | {"text": row["text"] + ", and so on"} for row in ROWS]


@pytest.mark.parametrize(("separator", "said"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'"), (",", "")])
def test_columns_are_read_whatever_separates_them(tmp_path: Path, separator: str, said: str) -> None:
    (tmp_path / "my.csv").write_text(as_csv(ROWS, separator), encoding="utf-8")
    told = assert_read(tmp_path / "my.csv", rows=TALKATIVE)
    assert told == (f"my.csv: columns are separated by {said}, not ','" if said else "")


def test_a_first_line_of_excel_and_names_with_white_space_are_read(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    for start, header, separator in (("sep=;\n", ("text", "label"), ";"), ("", (" text ", "label "), ",")):
        path.write_text("\ufeff" * (not start) + start + as_csv(ROWS, separator, header), encoding="utf-8")
        assert_read(path, rows=TALKATIVE)
    path.write_text("text, label\n" + "".join(f'"{row["text"]}", {row["label"]}\n' for row in ROWS), encoding="utf-8")
    assert_read(path)
    (tmp_path / "my.jsonl").write_text(as_lines([{" text": r["text"], "label\t": r["label"]} for r in ROWS]), "utf-8")
    assert_read(tmp_path / "my.jsonl")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["my.csv", "my.jsonl"])
def test_encodings_that_show_are_found(tmp_path: Path, encoding: str, name: str) -> None:
    (tmp_path / name).write_text(as_csv(ROWS) if name == "my.csv" else as_lines(TALKATIVE), encoding=encoding)
    assert_read(tmp_path / name, rows=TALKATIVE)


def test_another_encoding_is_an_error_that_names_the_flag_which_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "my.csv"
    path.write_bytes(as_csv(ROWS).encode("cp1252"))
    with pytest.raises(SourceError) as refused:
        read(path)
    assert "not UTF-8 in" in str(refused.value)
    assert "--encoding cp1252" in str(refused.value)
    assert_read(path, Columns(encoding="cp1252"), TALKATIVE)
    kept, drops, _ = read(path, skip=True)
    assert drops == {"not UTF-8": len(ROWS) - len(kept)}
    with pytest.raises(UsageError, match="klingon"):
        read(path, Columns(encoding="klingon"))


COMPRESS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("suffix", [*COMPRESS, ".zip", ".zst"])
def test_compressed_files_are_read(tmp_path: Path, suffix: str) -> None:
    path, content = tmp_path / f"my.jsonl{suffix}", as_lines(ROWS).encode()
    if suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("data/my.jsonl", content)
            archive.writestr("__MACOSX/data/._my.jsonl", b"\0")
    elif suffix == ".zst":
        path.write_bytes(pa.Codec("zstd").compress(content, asbytes=True))
    else:
        path.write_bytes(COMPRESS[suffix](content))
    assert_read(path)


def test_a_folder_of_files_is_read_with_the_splits_that_their_names_say(tmp_path: Path) -> None:
    folder = tmp_path / "daten [1]"
    (folder / "test").mkdir(parents=True)
    (folder / "README.md").write_text("of mine")
    (folder / "train-00000-of-00002.jsonl").write_text(as_lines(ROWS[:10]), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(ROWS[10:20]), folder / "train-00001-of-00002.parquet")
    (folder / "dev.csv").write_text(as_csv(ROWS[20:30], ";"), encoding="utf-8")
    (folder / "test" / "part.ndjson").write_text(as_lines(ROWS[30:]), encoding="utf-8")
    kept, drops, _ = read(folder)
    assert not drops
    splits = {split: sum(row.split == split for row in kept) for split in ("train", "validation", "test")}
    assert splits == {"train": 20, "validation": 10, "test": 10}


@pytest.mark.parametrize("shape", ["columns", "lists", "split", "table", "indented"])
def test_json_by_columns_is_read(tmp_path: Path, shape: str) -> None:
    texts, labels = [row["text"] for row in ROWS], [row["label"] for row in ROWS]
    by_number = {"text": {str(i): t for i, t in enumerate(texts)}, "label": {str(i): n for i, n in enumerate(labels)}}
    pairs = [*map(list, zip(texts, labels, strict=True))]
    content: dict[str, Any] = {
        "columns": by_number, "indented": by_number, "lists": {"text": texts, "label": labels},
        "split": {"columns": ["text", "label"], "index": [*range(40)], "data": pairs},
        "table": {"schema": {"fields": []}, "data": ROWS},
    }[shape]  # fmt: skip
    (tmp_path / "my.json").write_text(json.dumps(content, indent=2 if shape == "indented" else None))
    assert "object of columns, not a list of rows" in assert_read(tmp_path / "my.json")


def test_rows_under_one_name_are_read_and_under_several_the_way_is_named(tmp_path: Path) -> None:
    path = tmp_path / "my.json"
    path.write_text(json.dumps({"data": ROWS}), encoding="utf-8")
    assert_read(path)
    viewer = [{"row_idx": i, "row": row, "truncated_cells": []} for i, row in enumerate(ROWS)]
    for content, way in (
        ({"version": "1", "data": ROWS}, ".data[]"),
        ({"features": [], "rows": viewer}, ".rows[].row"),
    ):
        path.write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(SourceError, match="the rows lie under") as caught:
            read(path)
        assert f"jq '{way}' FILE" in str(caught.value)


def test_one_row_of_words_and_tags_is_no_object_of_columns(tmp_path: Path) -> None:
    task = tmp_path / "names.yaml"
    task.write_text("name: names\nhead: spans\nlabels: [PER]\n")
    (tmp_path / "one.json").write_text(json.dumps({"tokens": ["Ann", "sings"], "ner_tags": ["B-PER", "O"]}))
    kept, _, _ = read(tmp_path / "one.json", task=read_task_file(task))
    assert [row.text for row in kept] == ["Ann sings"]


def test_a_label_in_a_list_of_one_is_read_and_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "my.jsonl"
    path.write_text(as_lines([row | {"label": [row["label"]]} for row in ROWS]), encoding="utf-8")
    assert_read(path)
    for label, words in ((["benign", "jailbreak"], "a list of 2"), ([], "a list of 0"), ({"a": 1}, "an object")):
        path.write_text(as_lines([*ROWS, ROWS[0] | {"label": label}]), encoding="utf-8")
        with pytest.raises(SourceError, match=f"label is {words}, not a word in 1 row"):
            read(path)


def test_chat_messages_are_read_when_a_flag_says_which(tmp_path: Path) -> None:
    path = tmp_path / "chat.jsonl"
    for role, user, content in (("role", "user", "content"), ("from", "human", "value")):
        chats = [
            {"text": [{role: who, content: text} for who, text in ((user, "Hi"), ("bot", "?"), (user, row["text"]))],
             "label": row["label"]} for row in ROWS
        ]  # fmt: skip
        path.write_text(as_lines(chats), encoding="utf-8")
        assert_read(path, Columns(chat="last"))
        assert read(path, Columns(chat="all"))[0][0].text == f"Hi\n?\n{ROWS[0]['text']}"
        with pytest.raises(SourceError, match="chat messages, which --chat last or --chat all reads in 40 rows"):
            read(path)


@pytest.mark.parametrize(("name", "words"), [
    ("my.xlsx", "save it as CSV UTF-8"), ("my.pkl", "to_parquet"), ("my.conll", "a row a text"), ("my", "no suffix"),
])  # fmt: skip
def test_files_of_other_tools_are_refused_in_their_words(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / name).write_bytes(b"something")
    with pytest.raises(SourceError, match=words):
        read(tmp_path / name)


@pytest.mark.parametrize(("content", "words"), [
    (b"PAR1" + bytes(range(256)) + b"PAR1", "a parquet file"), (b"%PDF-1.7 ", "a PDF"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
    (b"\n<!DOCTYPE html><html><body>Sign in", "a web page"), (b"\xd0\xcf\x11\xe0" + bytes(90), "an old Excel file"),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", ["my.csv", "my.json", "my.jsonl"])
def test_what_a_file_is_in_truth_is_said(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match="not what its name says") as caught:
        read(tmp_path / name)
    assert words in str(caught.value)


def test_a_spreadsheet_by_another_name_and_pairs_of_spacy_are_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "my.csv", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(SourceError, match="a spreadsheet of Excel"):
        read(tmp_path / "my.csv")
    (tmp_path / "my.jsonl").write_text('["Ann waits.", {"entities": [[0, 3, "PERSON"]]}]\n')
    with pytest.raises(SourceError, match="a pair of spaCy's"):
        read(tmp_path / "my.jsonl")


def test_splits_are_known_in_any_case(tmp_path: Path) -> None:
    names = ["Training", "DEV", " Test"]
    rows = [row | {"split": names[i % 3]} for i, row in enumerate(ROWS)]
    (tmp_path / "my.jsonl").write_text(as_lines(rows), encoding="utf-8")
    kept, _, _ = read(tmp_path / "my.jsonl")
    assert [row.split for row in kept] == [["train", "validation", "test"][i % 3] for i in range(len(ROWS))]


def test_chat_messages_in_a_cell_of_a_table_are_no_text(tmp_path: Path) -> None:
    rows = [{"text": json.dumps([{"role": "user", "content": row["text"]}]), "label": row["label"]} for row in ROWS]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "my.parquet")
    with pytest.raises(SourceError, match="chat messages, which --chat last"):
        read(tmp_path / "my.parquet")
    kept, _, _ = read(tmp_path / "my.parquet", Columns(chat="last"))
    assert [row.text for row in kept] == [row["text"] for row in ROWS]


def test_exports_of_labelling_tools_are_told_in_their_words(tmp_path: Path) -> None:
    path = tmp_path / "my.jsonl"
    for row, words in (
        ({"data": {"text": "a"}, "annotations": []}, "Label Studio"), ({"messages": [{}], "label": "x"}, "--chat last"),
        ({"text": "a", "_input_hash": 1, "_task_hash": 1, "accept": ["x"]}, "Prodigy"),
    ):  # fmt: skip
        path.write_text(as_lines([row] * 5))
        with pytest.raises(SourceError, match=words):
            read(path)


# --- spans

TEXT = "😀 Grüße\r\nfrom Ann Lee, at Köln 😀 today"
NAME, CITY = (TEXT.index("Ann"), TEXT.index(",")), (TEXT.index("Köln"), TEXT.index("Köln") + 4)
COUNTS: dict[str, Callable[[int], int]] = {
    "UTF-16 units": lambda at: len(TEXT[:at].encode("utf-16-le")) // 2,
    "bytes of UTF-8": lambda at: len(TEXT[:at].encode()),
    "counted with": lambda at: len(TEXT[:at].replace("\r\n", "\n")),
}


@pytest.mark.parametrize("way", COUNTS)
@pytest.mark.parametrize("key", ["value", "text", "word"])
def test_offsets_counted_otherwise_are_read_where_the_texts_beside_them_agree(way: str, key: str) -> None:
    marked = [
        {"start": COUNTS[way](start), "end": COUNTS[way](end), "label": name, key: TEXT[start:end]}
        for name, (start, end) in (("PER", NAME), ("LOC", CITY))
    ]
    assert read_offsets(TEXT, marked) == [Span(*NAME, "PER"), Span(*CITY, "LOC")]
    for span in marked:
        del span[key]
    with pytest.raises(BadRow, match=f"offsets look like {way}"):
        read_offsets(TEXT, marked)


def test_inclusive_ends_entities_and_wrong_texts_are_named() -> None:
    text = "from Ann Lee today"
    with pytest.raises(Flawed, match="ends that are the last character"):
        read_offsets(text, [[5, 11, "PER"]])
    assert read_offsets(text, [{"start": 5, "end": 11, "label": ["PER"], "text": "Ann Lee"}]) == [Span(5, 12, "PER")]
    with pytest.raises(BadRow, match="HTML entities"):
        read_offsets("A &amp; B: from Ann Lee today", [[12, 19, "PER"]])
    with pytest.raises(BadRow, match="do not give its value"):
        read_offsets(text, [{"start": 5, "end": 12, "label": "PER", "value": "Bob Lee"}])


PLACES = [(0, 3), (4, 7), (8, 11), (12, 15)]
TWO = [Span(0, 7, "PER"), Span(12, 15, "PER")]


@pytest.mark.parametrize("tags", [
    ["B-PER", "I-PER", "O", "B-PER"], ["B_PER", "I_PER", "O", "B_PER"], ["PER-B", "PER-I", "O", "PER-B"],
    ["PER_B", "PER_I", "O", "PER_B"], ["B-PER", "L-PER", "O", "U-PER"], ["B-PER", "E-PER", "O", "S-PER"],
    ["I-PER", "I-PER", "O", "I-PER"], ["PER", "PER", "O", "PER"],
])  # fmt: skip
def test_tags_of_every_scheme_make_one_span_of_one_name(tags: list[str]) -> None:
    assert merge_tags(PLACES, tags, {"PER"}) == TWO


def test_a_map_of_the_tags_themselves_is_a_scheme_and_a_type_with_a_hyphen_is_none() -> None:
    known = {"B_PER", "I_PER", "E-MAIL", "S-NUMBER"}
    spans = merge_tags(PLACES, ["B_PER", "I_PER", "E-MAIL", "S-NUMBER"], known)
    assert spans == [Span(0, 7, "B_PER"), Span(8, 11, "E-MAIL"), Span(12, 15, "S-NUMBER")]


# --- maps, groups, shares


def test_label_maps_say_what_joins_what_is_unused_and_what_stands_twice(tmp_path: Path) -> None:
    path, map_file = tmp_path / "my.jsonl", tmp_path / "map.yaml"
    path.write_text(as_lines([row | {"label": "01"[row["label"] == "jailbreak"]} for row in ROWS]), encoding="utf-8")
    map_file.write_text("0: benign\n1: jailbreak\nharmles: benign\nunsurre: null\n")
    said = assert_read(path, Columns(label_map=map_file))
    assert "joins labels: '0' and 'harmles' become benign" in said
    assert "labels that no row has: 'harmles', 'unsurre'" in said
    map_file.write_text("0: benign\n1: jailbreak\n0: jailbreak\n")
    with pytest.raises(UsageError, match="'0' twice"):
        read(path, Columns(label_map=map_file))


def test_a_column_of_groups_that_nobody_named_is_said_and_stands_in_the_error(tmp_path: Path) -> None:
    path = tmp_path / "ab.jsonl"
    path.write_text(as_lines([row | {"group": "AB"[i % 2]} for i, row in enumerate(ROWS)]), encoding="utf-8")
    rows, drops, said = read(path)
    assert "grouped by the column 'group'" in said
    sources, label_set = choose_sources(JAILBREAK, str(path), Columns(), JAILBREAK.label_set())
    with pytest.raises(SourceError, match="--group-column"):
        rehearse(JAILBREAK, CurationInputs(sources, label_set), rows, drops)


def test_a_few_flawed_rows_are_counted_and_more_than_a_twentieth_stop(tmp_path: Path) -> None:
    path = tmp_path / "my.jsonl"
    for flawed, stops in ((2, False), (3, True)):
        path.write_text(as_lines([*ROWS, *[{"text": " ", "label": "benign"}] * flawed]), encoding="utf-8")
        if stops:
            with pytest.raises(SourceError, match="text is empty in 3 rows"):
                read(path)
        else:
            assert read(path)[1].describe() == ["2 dropped: text is empty (my.jsonl:41)"]
        assert len(read(path, skip=True)[0]) == 40


def test_check_fails_where_less_than_half_is_left(tmp_path: Path) -> None:
    path = tmp_path / "my.jsonl"
    path.write_text(as_lines([*ROWS, *ROWS, *ROWS]), encoding="utf-8")
    rows, drops, _ = read(path)
    sources, label_set = choose_sources(JAILBREAK, str(path), Columns(), JAILBREAK.label_set())
    with pytest.raises(SourceError, match=r"67% lost: 80 dropped: exact duplicate \(my.jsonl:41\)"):
        rehearse(JAILBREAK, CurationInputs(sources, label_set), rows, drops)


# --- damage of each kind, in good files of each format and language

# What programs write besides UTF-8 in each language.
LEGACY = {
    "en": "utf-16", "de": "cp1252", "ru": "cp1251", "ar": "cp1256", "he": "cp1255", "hi": "utf-16-le", "th": "cp874",
    "zh": "gb18030", "ja": "shift_jis", "ko": "cp949", "emoji": "utf-16-be",
}  # fmt: skip
Damage = Callable[[random.Random, bytes, str], bytes]


def insert(*pieces: bytes) -> Damage:
    def damage(rng: random.Random, content: bytes, language: str) -> bytes:
        at = rng.randrange(len(content))
        return content[:at] + rng.choice(pieces) + content[at:]

    return damage


def flip(rng: random.Random, content: bytes, language: str) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 0x80]) + content[at + 1 :]


DAMAGE: dict[str, Damage] = {
    "a byte flipped": flip,
    "cut off": lambda rng, content, _: content[: rng.randrange(1, len(content))],
    "a line twice": lambda rng, content, _: content + content.splitlines(keepends=True)[-1],
    "nul bytes": insert(b"\0\0", b"\0"),
    "returns": lambda rng, content, _: content.replace(b"\n", b"\r\n"),
    "another encoding": lambda rng, content, language: content.decode().encode(LEGACY[language]),
    "a quotation mark": insert(b'"', b'""', b"'"),
    "semicolons": lambda rng, content, _: content.replace(b",", b";"),
    "brackets": insert(b"[", b"}", b"{", b"]", b"\\"),
    "a line break": insert(b"\n", b"\r", b"\n\n"),
    "other bytes": insert(b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xe2\x82"),
}
LANGUAGE = pytest.mark.parametrize("language", WORDS)
EXAMPLES = settings(
    derandomize=True, deadline=None, max_examples=20, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def write_good(rows: Rows, path: Path) -> bytes:
    """The bytes of a good file in the format of a path, before it is compressed."""
    if path.suffix == ".parquet":
        out = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), out, compression="none")
        return out.getvalue()
    if ".csv" in path.name or ".tsv" in path.name:
        text = io.StringIO()
        writer = csv.writer(text, delimiter="\t" if ".tsv" in path.name else ",", quoting=csv.QUOTE_MINIMAL)
        writer.writerow(rows[0])
        writer.writerows([v if isinstance(v, str) else json.dumps(v) for v in row.values()] for row in rows)
        return text.getvalue().replace("\r\n", "\n").encode()
    content = json.dumps(rows, ensure_ascii=False, indent=0) if path.suffix == ".json" else as_lines(rows)
    return content.encode()


def check_rows(
    path: Path, rows: Rows, kind: str, seed: int, language: str, skip: bool, task: TaskSpec = JAILBREAK
) -> list[Example]:
    """Damage a file of good rows and read it; every row is kept as it was, or counted among the dropped ones."""
    good = write_good(rows, path)
    if kind == "another encoding" and path.suffix == ".parquet":
        return []
    damaged = DAMAGE[kind](random.Random(seed), good, language)
    path.write_bytes(gzip.compress(damaged) if path.suffix == ".gz" else damaged)
    try:
        kept, drops, _ = read(path, task=task, skip=skip)
    except HubtoolsError as error:  # the whole file, by its name
        if path.name not in str(error):
            raise
        return []
    texts = {row["text"] for row in rows}
    changed = [row for row in kept if row.text not in texts]
    missing = texts - {row.text for row in kept}
    if kind == "cut off":  # nobody can tell what stood behind the end
        missing = {text for text in missing if text.encode() in damaged}
    # One place is damaged: at most one row is another, or two where it lies between them.
    assert len(changed) <= 2, [row.text for row in changed]
    merged = kind == "a byte flipped" and damaged.count(b"\n") < good.count(b"\n")  # two lines that are one now
    assert len(missing) <= drops.total() + len(changed) + merged, (missing, dict(drops))
    assert all(drops.origins[reason] for reason in drops)
    return kept


@LANGUAGE
@pytest.mark.parametrize("name", ["my.csv", "my.tsv", "my.json", "my.jsonl", "my.jsonl.gz", "my.parquet"])
def test_damaged_rows_are_kept_right_or_named_and_no_class_is_lost(language: str, name: str, tmp_path: Path) -> None:
    rows = make_labelled_rows(language, 24)
    labels = {row["text"]: row["label"] for row in rows}

    @EXAMPLES
    @given(st.sampled_from(sorted(DAMAGE)), st.integers(0, 10**6), st.booleans())
    def damage(kind: str, seed: int, skip: bool) -> None:
        kept = check_rows(tmp_path / name, rows, kind, seed, language, skip)
        assert not kept or {row.label for row in kept} == {"benign", "jailbreak"}
        assert all(row.label == labels.get(row.text, row.label) for row in kept)

    damage()


@LANGUAGE
@pytest.mark.parametrize("name", ["my.csv", "my.json", "my.jsonl", "my.parquet"])
def test_names_of_damaged_documents_stand_where_they_stood(language: str, name: str, tmp_path: Path) -> None:
    task = tmp_path / "names.yaml"
    task.write_text(yaml.safe_dump({"name": "names", "head": "spans", "labels": ["PERSON"]}))
    names = read_task_file(task)
    rows = make_documents(language, 12)
    spans = {row["text"]: [(span["start"], span["end"]) for span in row["spans"]] for row in rows}  # type: ignore[attr-defined]

    @EXAMPLES
    @given(st.sampled_from(sorted(DAMAGE)), st.integers(0, 10**6), st.booleans())
    def damage(kind: str, seed: int, skip: bool) -> None:
        for row in check_rows(tmp_path / name, rows, kind, seed, language, skip, names):
            found = [(span.start, span.end) for span in row.spans]
            assert found == spans.get(row.text, found)

    damage()


@pytest.mark.parametrize("language", WORDS)
def test_shifted_offsets_of_names_never_get_in_where_a_text_beside_them_tells(language: str, tmp_path: Path) -> None:
    task = tmp_path / "names.yaml"
    task.write_text(yaml.safe_dump({"name": "names", "head": "spans", "labels": ["PERSON"]}))
    documents = make_documents(language, 12)
    for shift in (-1, 1, 2):
        shifted = []
        for row in documents:
            [span] = row["spans"]  # type: ignore[misc]
            value = str(row["text"])[span["start"] : span["end"]]
            shifted.append(
                row | {"spans": [span | {"start": span["start"] + shift, "end": span["end"] + shift, "value": value}]}
            )
        (tmp_path / "my.jsonl").write_text(as_lines(shifted), encoding="utf-8")
        try:
            kept, _, _ = read(tmp_path / "my.jsonl", task=read_task_file(task))
        except SourceError as error:
            if "span" not in str(error):
                raise
            continue
        right = {row["text"]: row["spans"][0] for row in documents}  # type: ignore[index]
        for example in kept:
            assert example.spans[0].start == right[example.text]["start"]
            assert example.spans[0].end == right[example.text]["end"]
