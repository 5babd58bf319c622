"""Labels that a person corrects: found by out-of-fold predictions, written as a file, and taken by curation."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from as_user import Command, own_rows
from test_curation import rows_in

from hubtools.curation.build import CurationInputs, curate
from hubtools.curation.corrections import read_corrections
from hubtools.curation.user_data import choose_sources
from hubtools.errors import UsageError
from hubtools.publishing.cards import render_dataset_card
from hubtools.records.dataset import DatasetFacts
from hubtools.rows import Columns
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII
from hubtools.workdir import TaskFolder

LABELS = JAILBREAK.label_set()
Curated = Callable[..., DatasetFacts]


@pytest.fixture
def curated(tmp_path: Path) -> tuple[TaskFolder, Curated]:
    """A work folder, and what curates sixty rows of one's own into it, with corrections where a file is given."""
    folder = TaskFolder(tmp_path / "work" / "jailbreak")
    sources, label_set = choose_sources(JAILBREAK, str(own_rows(tmp_path / "rows.csv")), Columns(), LABELS)

    def run(file: Path | None = None) -> DatasetFacts:
        corrections = read_corrections([str(file)] if file else [], JAILBREAK, label_set)
        return curate(JAILBREAK, folder, CurationInputs(sources, label_set, corrections=corrections))

    return folder, run


def write_csv(path: Path, *rows: tuple[str, str]) -> Path:
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([("id", "correction"), *rows])
    return path


def labels_in(folder: TaskFolder) -> dict[str, tuple[str, int]]:
    """(split, label) of each row by its id."""
    return {
        row["id"]: (split, row["label"]) for split in ("train", "validation", "test") for row in rows_in(folder, split)
    }


def test_a_corrected_label_stands_in_the_dataset_its_facts_and_its_card(
    curated: tuple[TaskFolder, Curated], tmp_path: Path
) -> None:
    folder, run = curated
    plain = run()
    before = labels_in(folder)
    benign = [i for i, (_, label) in before.items() if label == 0]
    file = write_csv(tmp_path / "mine.csv", (benign[0], "jailbreak"), (benign[1], "drop"), (benign[2], ""))
    facts = run(file)
    after = labels_in(folder)
    assert after == {
        i: (split, 1 if i == benign[0] else label) for i, (split, label) in before.items() if i != benign[1]
    }, "no row changes its split"
    assert facts.corrections is not None
    assert [(c.before, c.after, c.rows) for c in facts.corrections.changes] == [
        ("benign", "drop", 1), ("benign", "jailbreak", 1),
    ]  # fmt: skip
    assert facts.fingerprint != plain.fingerprint
    assert facts.counts.kept == plain.counts.kept - 1
    card = render_dataset_card(JAILBREAK, "ann/router-jailbreak", facts, {"configs": [], "dataset_info": {}})
    assert "A person corrected 2 rows, after the split:" in card
    assert "| benign | jailbreak | 1 |" in card
    assert run().corrections is None
    assert labels_in(folder) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,correction\n{0},harmless\n", "unknown label 'harmless' in line 2"),
        ("id,correction\n{0},benign\n{0},drop\n", "in line 2 and in line 3"),
        ("id,correction\n0123456789abcdef,benign\n", "0123456789abcdef (line 2)"),
        ("id,label\n{0},benign\n", "a column correction"),
        ("id,correction\n{0},\n", "none filled in"),
        ("id,correction\n,benign\n", "none in line 2"),
        ("", "a column id and correction"),
    ],
)
def test_corrections_that_cannot_be_taken_are_refused_with_their_line(
    curated: tuple[TaskFolder, Curated], tmp_path: Path, content: str, said: str
) -> None:
    folder, run = curated
    run()
    before = labels_in(folder)
    file = tmp_path / "mine.csv"
    file.write_text(content.format(min(before)))
    with pytest.raises(UsageError) as caught:
        run(file)
    assert said in str(caught.value)
    assert "mine.csv" in str(caught.value)
    assert labels_in(folder) == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("gone.csv", None, "nothing there"),
        ("rows.txt", "id", ".txt"),
        ("rows.jsonl", "{", "UTF-8 text, a row a line"),
        ("rows.jsonl", "[1]", "a JSON object a line"),
        ("rows.csv", b"id,correction\n\xff\xfe,benign\n", "UTF-8 text, a row a line"),
    ],
)
def test_a_file_that_is_none_of_corrections_is_refused(
    tmp_path: Path, name: str, content: str | bytes | None, said: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=said):
        read_corrections([str(path)], JAILBREAK, LABELS)


def test_each_task_takes_its_own_file(tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", ("0" * 16, "benign"))
    assert read_corrections([f"pii={tmp_path / 'gone.csv'}", f"jailbreak={file}"], JAILBREAK, LABELS) is not None
    assert read_corrections([f"pii={file}"], JAILBREAK, LABELS) is None


def write_jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def documents(tmp_path: Path) -> tuple[TaskFolder, Curated]:
    """The same of thirty documents with a name each, of which one is not marked."""
    names = ["Ann Lee", "Bob Ray", "Cy Young", "Di Moss", "Ed Cole", "Flo Hart"]
    topics = ["soup", "tents", "poems", "taxes", "bikes"]
    texts = [f"{names[i % 6]} wrote letter {i} about {topics[i % 5]}" for i in range(30)]
    rows = [
        {"text": t, "spans": [] if i == 7 else [{"start": 0, "end": len(names[i % 6]), "label": "PERSON"}]}
        for i, t in enumerate(texts)
    ]
    label_set = replace(PII.label_set(), labels=("PERSON",), mapping={"PERSON": "PERSON"})
    sources, label_set = choose_sources(PII, str(write_jsonl(tmp_path / "rows.jsonl", *rows)), Columns(), label_set)
    folder = TaskFolder(tmp_path / "work" / "pii")

    def run(file: Path | None = None) -> DatasetFacts:
        corrections = read_corrections([str(file)] if file else [], PII, label_set)
        return curate(PII, folder, CurationInputs(sources, label_set, corrections=corrections))

    return folder, run


@pytest.mark.parametrize(
    ("correction", "said"),
    [
        ([{"start": 0, "end": 8, "type": "NAME"}], "a span"),
        ([{"start": 0, "end": 999, "type": "PERSON"}], "span outside the text in line 1"),
        ([{"start": 0, "end": 2, "type": "PERSON"}], "a span begins or ends within a word in line 1"),
        ("PERSON", "which is no list of spans"),
    ],
)
def test_spans_that_a_row_cannot_have_are_refused(
    documents: tuple[TaskFolder, Curated], tmp_path: Path, correction: Any, said: str
) -> None:
    folder, run = documents
    run()
    [row] = [row for split in ("train", "validation", "test") for row in rows_in(folder, split) if not row["spans"]]
    with pytest.raises(UsageError, match=said):
        run(write_jsonl(tmp_path / "mine.jsonl", {"id": row["id"], "correction": correction}))


def test_corrected_spans_take_the_place_of_the_row_s(documents: tuple[TaskFolder, Curated], tmp_path: Path) -> None:
    folder, run = documents
    run()
    [row] = [row for split in ("train", "validation", "test") for row in rows_in(folder, split) if not row["spans"]]
    correction = [{"start": 0, "end": 7, "type": "PERSON"}]
    facts = run(write_jsonl(tmp_path / "mine.jsonl", {"id": row["id"], "text": row["text"], "correction": correction}))
    rows = {row["id"]: row for split in ("train", "validation", "test") for row in rows_in(folder, split)}
    assert rows[row["id"]]["spans"] == [{"start": 0, "end": 7, "label": 0}]
    assert facts.corrections is not None
    assert [(c.before, c.after) for c in facts.corrections.changes] == [("no span", "1 PERSON")]


def test_the_command_takes_a_file_of_corrections(hubtools: Command, tmp_path: Path) -> None:
    source = own_rows(tmp_path / "rows.csv")
    flags = ("--source", source, "--work-dir", tmp_path / "work")
    hubtools("curate", "jailbreak", *flags)
    row_id = min(labels_in(TaskFolder(tmp_path / "work" / "jailbreak")))
    file = write_csv(tmp_path / "mine.csv", (row_id, "drop"))
    done = hubtools("curate", "jailbreak", *flags, "--corrections", file)
    assert "1 rows corrected as mine.csv says" in done.stderr
    failed = hubtools("curate", "jailbreak", *flags, "--corrections", tmp_path / "gone.csv", check=False)
    assert failed.returncode == 2
    assert "gone.csv" in failed.stderr
