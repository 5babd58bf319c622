"""``facts.json``: what it says of a curation is so, and a dataset card says nothing else."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_curation import build, category_rows, everything, files_of, jailbreak_rows, presidio_rows, rows_in, write
from test_published_cards import INFO

from hubtools.curation.facts import choose_examples
from hubtools.curation.licences import check_redistribution
from hubtools.curation.sources import SourceFiles
from hubtools.curation.split import SPLITS
from hubtools.errors import LicenceRefused
from hubtools.heads.rows import measure_lengths
from hubtools.publishing.cards import render_dataset_card
from hubtools.publishing.front_matter import split_card
from hubtools.publishing.lint import lint_card
from hubtools.records import from_json
from hubtools.records.dataset import DatasetExample, DatasetFacts
from hubtools.rows import MADE
from hubtools.spec import Example, Span
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS
from hubtools.tasks.category import CATEGORY
from hubtools.tasks.jailbreak import GPTEACHER, JAILBREAK
from hubtools.tasks.pii import PII


@settings(derandomize=True)
@given(st.lists(st.text("a"), min_size=1))
def test_quantiles_are_lengths_that_occur_and_rise(texts: list[str]) -> None:
    found = measure_lengths(texts)
    assert [*found] == ["p10", "p25", "median", "p75", "p90", "p99", "max"]
    assert [*found.values()] == sorted(found.values())
    assert {*found.values()} <= {len(text) for text in texts}
    assert found["max"] == max(map(len, texts))
    below = sum(len(text) < found["median"] for text in texts)
    assert below <= len(texts) / 2 <= sum(len(text) <= found["median"] for text in texts)


def test_no_texts_have_no_quantiles() -> None:
    assert measure_lengths([]) == {}


def test_examples_are_a_short_row_of_each_label_in_their_order_and_whatever_order_rows_come_in() -> None:
    rows = [Example(text=f"{label} {i}" + "!" * 300 * (i == 0), label=label) for label in "bac" for i in range(5)]
    shown = choose_examples(rows, CATEGORY.head, ("c", "b", "a", "absent"))
    assert [row.label for row in shown] == ["c", "b", "a"]
    assert all(row.text.startswith(row.label) and len(row.text) < 300 for row in shown)
    random.Random(0).shuffle(rows)
    assert choose_examples(rows, CATEGORY.head, ("c", "b", "a", "absent")) == shown


def test_examples_are_of_the_main_source_and_none_is_made_of_others_where_a_label_has_such_rows() -> None:
    rows = [Example(f"{label} of a{i}", label, source="a") for label in "xy" for i in range(3)]
    rows += [Example(f"{label} of b{i}", label, source="b") for label in "xyz" for i in range(9)]
    rows += [
        Example(f"{label} made {i}", label, group=f"{MADE}chat {i}", source="a") for label in "xyzw" for i in range(9)
    ]
    shown = {row.label: row.text for row in choose_examples(rows, CATEGORY.head, tuple("xyzw"), "a")}
    assert [shown[label].split()[1:][0] for label in "xyzw"] == ["of", "of", "of", "made"]
    assert shown["x"].split()[2][0] == shown["y"].split()[2][0] == "a"
    assert shown["z"].split()[2][0] == "b"


def test_examples_of_documents_name_what_is_marked() -> None:
    rows = [Example("Ann in Rome", spans=(Span(0, 3, "PERSON"), Span(7, 11, "LOCATION"))), Example("Nobody")]
    assert choose_examples(rows, PII.head, ("LOCATION", "PERSON")) == [
        DatasetExample(text="Ann in Rome", label="PERSON: 'Ann', LOCATION: 'Rome'"),
        DatasetExample(text="Nobody", label="no personal data"),
    ]


def test_every_step_says_how_many_rows_were_left(tmp_path: Path) -> None:
    rows = category_rows()
    rows[1]["question"] = "  "
    rows[2]["question"] = "bell \x07 rings"
    rows += [{**rows[20], "question": rows[20]["question"].upper()}] * 3
    path = write(tmp_path / "mmlu.jsonl", rows)
    facts, _ = build(CATEGORY, tmp_path, files_of(CATEGORY, ("", path)), skip_bad_rows=True)
    assert facts["counts"]["steps"] == {
        "read": 115, "usable": 114, "cleaned": 113, "without exact duplicates": 110, "without leaks": 110,
    }  # fmt: skip
    assert facts["counts"]["kept"] == 110


def test_lengths_are_told_by_label(tmp_path: Path) -> None:
    rows = jailbreak_rows(30)
    for row in rows:
        row["prompt"] += " and so on, at length" * (row["type"] == "jailbreak")
    facts, folder = build(JAILBREAK, tmp_path, files_of(JAILBREAK, ("", write(tmp_path / "all.csv", rows))))
    train = rows_in(folder, "train")
    lengths = facts["splits"]["train"]["characters_by_label"]
    assert [*lengths] == ["benign", "jailbreak"]
    for number, label in enumerate(lengths):
        assert lengths[label]["max"] == max(len(row["text"]) for row in train if row["label"] == number)
    assert lengths["jailbreak"]["median"] > lengths["benign"]["median"] + 10


def test_facts_say_how_documents_were_made_and_under_what_the_whole_is(tmp_path: Path) -> None:
    files = files_of(PII, ("", write(tmp_path / "synth.json", presidio_rows())))
    facts, folder = build(PII, tmp_path, files, seed=3)
    assert facts["synthesis"]["generator"].startswith("Faker ")
    assert (facts["synthesis"]["seed"], facts["synthesis"]["splits"]) == (3, ["train"])
    assert "en_US" in facts["synthesis"]["locales"]
    assert facts["license"] == {
        "id": "cc-by-sa-3.0", "rule": "cc-by-sa-3.0 is share-alike: works made of it stay under it",
    }  # fmt: skip
    steps = facts["counts"]["steps"]
    assert steps["with supplements"] - steps["without leaks"] == facts["counts"]["synthetic_train"] > 0
    texts = {row["text"] for row in rows_in(folder, "train")}
    assert facts["examples"]
    assert all(row["text"] in texts for row in facts["examples"])


def test_a_declared_licence_makes_another_dataset(tmp_path: Path) -> None:
    files = files_of(JAILBREAK, ("", write(tmp_path / "all.csv", jailbreak_rows())))
    facts, _ = build(JAILBREAK, tmp_path, files)
    other = SourceFiles(replace(files.source, license="cc-by-4.0"), files.files, files.revision)
    again, _ = build(JAILBREAK, tmp_path, other)
    assert (facts["license"]["id"], again["license"]["id"]) == ("apache-2.0", "cc-by-4.0")


# --- cards ------------------------------------------------------------------------------------------------------------


def curated(task: TaskSpec, tmp_path: Path, own: bool) -> dict[str, Any]:
    if task is PII:
        files = files_of(task, ("", write(tmp_path / "synth.json", presidio_rows())))
    elif task.name == "intent":
        rows = [
            {"system": "s", "chat": f"USER: {row['question']}\n\nASSISTANT: <functioncall> {{'name': '{name}_{i}'}}"}
            for name, part in zip(
                ("search", "convert", "calculate", "send", "remind", "upload", "analyze"),
                [category_rows(9, seed=i)[:9] for i in range(7)], strict=True,
            )
            for i, row in enumerate(part)
        ]  # fmt: skip
        rows += [{"system": "s", "chat": f"USER: {row['question']}\n\nASSISTANT: Sure, it is so."}
                 for row in category_rows(30, seed=9)[:30]]  # fmt: skip
        files = files_of(task, ("", write(tmp_path / "glaive.json", rows)))
    elif task is JAILBREAK:
        files = files_of(task, ("", write(tmp_path / "all.csv", jailbreak_rows())))
    else:
        files = files_of(task, ("", write(tmp_path / "mmlu.json", category_rows())))
    if own:
        files = SourceFiles(
            replace(files.source, id="mine.csv", license="cc-by-4.0", attribution="Ours.", provenance="As they came."),
            files.files, "local",
        )  # fmt: skip
    return build(task, tmp_path, files)[0]


@pytest.mark.parametrize("own", [False, True], ids=["public", "own"])
@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_number_on_a_card_is_one_of_the_facts(task: TaskSpec, own: bool, tmp_path: Path) -> None:
    facts = curated(task, tmp_path, own)
    card = render_dataset_card(task, "ann/router", from_json(facts, DatasetFacts), INFO)
    lint_card(card, "dataset")
    metadata, body = split_card(card)
    assert numbers_of_its_own(body, facts, task) == set()
    assert metadata["license"] == facts["license"]["id"]


def test_what_joins_the_training_split_binds_the_whole_and_stands_in_the_counts(tmp_path: Path) -> None:
    files = files_of(JAILBREAK, ("", write(tmp_path / "all.csv", jailbreak_rows(40))))
    plays = [{"instruction": f"Play {row['question']}", "input": "", "response": ""} for row in category_rows()]
    path = write(tmp_path / "plays.json", plays)
    for licence in ("cc-by-sa-4.0", "other"):
        supplement = SourceFiles(replace(GPTEACHER, license=licence), (("", path),), "r1")
        facts, folder = build(JAILBREAK, tmp_path, files, supplements=(supplement,), match_lengths=True)
        assert facts["license"]["id"] == licence
    with pytest.raises(LicenceRefused, match=GPTEACHER.id):
        check_redistribution("the set", from_json(facts, DatasetFacts).sources, private=False, accepted=False)
    [joined], counts = facts["supplements"], facts["counts"]
    assert joined["read"] == joined["rows"] + sum(joined["dropped"].values())
    assert [*counts["steps"].values()][-3:] == [
        counts["read"] - sum(counts["dropped"].values()), counts["kept"] - counts["length_matched_train"],
        len(everything(folder)),
    ]  # fmt: skip
    card = render_dataset_card(JAILBREAK, "ann/router", from_json(facts, DatasetFacts), INFO)
    assert numbers_of_its_own(split_card(card)[1], facts, JAILBREAK) == set()


def numbers_of_its_own(body: str, facts: dict[str, Any], task: TaskSpec) -> set[str]:
    """What a card says in figures and its facts do not."""
    body = re.sub(r"<!--.*?-->", "", body)  # a mark with hashes is nothing that is said
    said = body.replace("| characters | 10% | 25% | median | 75% | 90% | 99% | longest |", "")
    number = re.compile(r"(?<![\w.-])\d+(?:\.\d+)*")
    known = {
        *number.findall(json.dumps(facts, ensure_ascii=False)),
        *number.findall(json.dumps(task.label_set().labels)),
    }
    known.add("0")  # rows of a label that a split lacks
    examples = {found for row in facts["examples"] for found in number.findall(f"{row['text']} {row['label']}")}
    return {found for found in number.findall(said) if found not in known | examples}


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_the_card_of_ones_own_rows_says_nothing_of_the_public_source(task: TaskSpec, tmp_path: Path) -> None:
    facts = from_json(curated(task, tmp_path, own=True), DatasetFacts)
    card = render_dataset_card(task, "ann/router", facts, INFO)
    for word in (task.whole_sources[0].id, "MMLU-Pro", "presidio", "Glaive", "Starter corpus", "by hand", "No person"):
        assert word not in card
    assert "mine.csv" in card
    assert split_card(card)[0]["annotations_creators"] == ["other"]
    assert split_card(card)[0]["source_datasets"] == ["original"]


def test_the_numbers_of_a_curation_are_those_of_its_files(tmp_path: Path) -> None:
    facts = curated(CATEGORY, tmp_path, own=False)
    folder = build(CATEGORY, tmp_path, files_of(CATEGORY, ("", tmp_path / "mmlu.json")))[1]
    assert facts["counts"]["steps"]["without leaks"] == len(everything(folder))
    for split in SPLITS:
        lengths = sorted(len(row["text"]) for row in rows_in(folder, split))
        assert facts["splits"][split]["characters"]["median"] == lengths[len(lengths) // 2]
        assert facts["splits"][split]["characters"]["p90"] == lengths[len(lengths) * 9 // 10]
