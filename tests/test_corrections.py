"""Labels that a person corrects: found by out-of-fold predictions, written as a file, and taken by curation."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from as_user import Command, own_rows
from test_calibration import NANO, random_model
from test_curation import rows_in
from test_studies import base  # noqa: F401
from transformers import AutoTokenizer, ModernBertForTokenClassification

from hubtools.curation.build import CurationInputs, curate
from hubtools.curation.corrections import read_corrections
from hubtools.curation.user_data import choose_sources
from hubtools.errors import UsageError
from hubtools.heads.inference import load_pipeline
from hubtools.heads.out_of_fold import RowAnswer, answer_out_of_fold
from hubtools.options import TrainingOptions, WorkOptions
from hubtools.publishing.cards import render_dataset_card
from hubtools.records.dataset import DatasetFacts
from hubtools.rows import Columns
from hubtools.studies import label_errors
from hubtools.studies.label_errors import find_doubted, find_label_errors, write_lines
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


# --- finding them ---------------------------------------------------------------------------------------------------


def answered(given: list[int], probabilities: Any) -> RowAnswer:
    return RowAnswer(given, np.asarray(probabilities).tolist(), 0)


def test_planted_label_errors_are_doubted_first_and_unsure_rows_are_not() -> None:
    """Of 300 rows 12 have another label than the one that is answered surely; 30 others are answered unsurely."""
    rng = np.random.default_rng(0)
    truth = np.arange(300) % 3
    p = np.full((300, 3), 0.04)
    p[np.arange(300), truth] = 0.92
    p[100:130] = [0.34, 0.33, 0.33]
    p = p + rng.random((300, 3)) * 0.02
    planted = set(rng.choice(100, 12, replace=False).tolist())
    given = [int((truth[i] + 1) % 3) if i in planted else int(truth[i]) for i in range(300)]
    answers = {f"row {i}": answered([given[i]], [p[i] / p[i].sum()]) for i in range(300)}
    doubted = find_doubted(answers)
    assert {*list(doubted)[:12]} == {f"row {i}" for i in planted}
    assert len(doubted) <= 20
    assert list(doubted.values()) == sorted(doubted.values())
    assert find_doubted({}) == {}


def test_a_row_of_many_tokens_is_as_doubtful_as_its_most_doubtful_one() -> None:
    sure, wrong = [0.97, 0.02, 0.01], [0.02, 0.97, 0.01]
    answers = {f"document {i}": answered([0] * 8 + [1], [sure] * 8 + [wrong]) for i in range(40)}
    answers["unmarked"] = answered([0] * 9, [sure] * 8 + [wrong])
    doubted = find_doubted(answers)
    assert list(doubted) == ["unmarked"]
    assert doubted["unmarked"] == pytest.approx(0.02, abs=0.001)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_a_person_filled_in_stays_when_the_file_is_written_again(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"label-errors.{suffix}"
    lines = [{"id": i, "label": "benign", "correction": "", "text": f"“{i}”,\nsecond line"} for i in ("a", "b", "c")]
    assert write_lines(path, lines) == 0
    rows = label_errors._read_lines(path)
    rows[1]["correction"] = "jailbreak"
    rows[2]["correction"] = "drop"
    path.unlink()
    write_lines(path, rows)
    assert write_lines(path, [lines[0], lines[1]]) == 2, "one of them is not doubted any more"
    assert {row["id"]: row["correction"] for row in label_errors._read_lines(path)} == {
        "a": "", "b": "jailbreak", "c": "drop",
    }  # fmt: skip
    taken = read_corrections([str(path)], JAILBREAK, LABELS)
    assert taken is not None
    assert {i: (c.label, c.drops) for i, c in taken.by_id.items()} == {"b": ("jailbreak", False), "c": (None, True)}


@pytest.mark.exhaustive
def test_the_command_writes_a_file_that_curation_takes_once_it_is_filled_in(
    hubtools: Command,
    base: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    source = own_rows(tmp_path / "rows.csv")
    work = ("--work-dir", tmp_path / "work")
    hubtools("curate", "jailbreak", "--source", source, *work)
    flags = ["--base", base, "--max_steps", 40, "--use_cpu", "--learning_rate", "3e-3"]
    command = ("label-errors", "jailbreak", "--folds", 2, *work, *flags)
    planned = hubtools(*command, "--dry-run")
    assert planned.stderr.count("would train fold-") == 2
    done = hubtools(*command, "--json", env={"OMP_NUM_THREADS": "1"})
    report = json.loads(done.stdout)["jailbreak"]
    folder = TaskFolder(tmp_path / "work" / "jailbreak")
    assert report == json.loads((folder.root / "label-errors.json").read_text())
    held = sum(len(rows_in(folder, split)) for split in ("train", "validation"))
    assert report["rows"] == held
    file = Path(report["file"])
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == report["found"]
    label_of = {row["id"]: row["label"] for split in ("train", "validation") for row in rows_in(folder, split)}
    for row in rows:
        assert LABELS.labels[label_of[row["id"]]] == row["label"] != row["suggested"]
    if not rows:  # a model of random weights may agree with everything
        write_csv(file, (min(label_of), "drop"))
    else:
        rows[0]["correction"] = rows[0]["suggested"]
        with file.open("w", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    again = hubtools("curate", "jailbreak", "--source", source, *work, "--corrections", file)
    assert "1 rows corrected" in again.stderr


def test_documents_are_answered_token_by_token_with_the_spans_that_the_model_suggests(tmp_path: Path) -> None:
    """A token without a character, such as the first, has no label and no answer."""
    types = PII.label_set().labels
    tags = PII.model_labels(PII.label_set())
    folder = random_model(
        ModernBertForTokenClassification, tags, AutoTokenizer.from_pretrained(NANO), tmp_path / "model", 60
    )
    texts = ["Ann met Bob in Oslo.", "Nothing here."]
    rows: Any = {"text": texts, "spans": [[{"start": 0, "end": 3, "label": 0}], []]}
    marked, plain = answer_out_of_fold(PII.head, load_pipeline(PII.head.pipeline, str(folder)), rows, types)
    assert marked.given[0] == tags.index("B-PERSON")
    assert set(marked.given[1:]) <= {0, tags.index("I-PERSON")}
    assert set(plain.given) == {0}
    for answer, text in ((marked, texts[0]), (plain, texts[1])):
        assert np.array(answer.probabilities).shape == (len(answer.given), len(tags))
        assert np.array(answer.probabilities).sum(1) == pytest.approx(1)
        assert all(0 <= s["start"] < s["end"] <= len(text) for s in answer.suggested)  # type: ignore[union-attr]


def test_without_cleanlab_the_command_says_how_to_install_it(
    curated: tuple[TaskFolder, Curated], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    folder, _ = curated
    with pytest.raises(UsageError, match=re.escape("pip install 'hubtools[labels]'")):
        find_label_errors(JAILBREAK, WorkOptions(folder.root.parent), TrainingOptions(), 2)
