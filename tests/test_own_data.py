"""A user's own data: columns and labels mapped by flags, for each task, from each format, by file, address and repo."""

from __future__ import annotations

import csv
import hashlib
import http.server
import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from as_user import Command
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from huggingface_hub import HfApi
from hypothesis import given, settings
from hypothesis import strategies as st

from hubtools.curation.split import SPLITS
from hubtools.heads.span_rows import survive_tagging
from hubtools.heads.user_spans import align_words, join_words, merge_tags
from hubtools.localhub import Hub
from hubtools.spec import BadRow, Span
from hubtools.tasks import TASKS
from hubtools.words import find_words

SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")

Rows = list[dict[str, Any]]
SEQUENCE = ("category", "jailbreak", "intent")
# Each task and each format at least once.
EACH_ONCE = {("category", ".jsonl"), ("jailbreak", ".csv"), ("jailbreak", ".parquet"), ("intent", ".json")}


def sentence(rng: random.Random) -> str:
    return " ".join("".join(rng.choice("abcdefghijklmnop") for _ in range(6)) for _ in range(9))


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.DictWriter(out, list(rows[0]))
            writer.writeheader()
            # A cell of a csv file is text: lists are written as JSON.
            writer.writerows(
                {name: json.dumps(cell) if isinstance(cell, list) else cell for name, cell in row.items()}
                for row in rows
            )
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def theirs(task: str) -> tuple[Rows, dict[str, str]]:
    """Rows in somebody else's columns and with their labels, and the map from these to ours."""
    rng = random.Random(task)
    labels = TASKS[task].label_set().labels
    rows = [
        {"id": i, "Prompt text": sentence(rng) + ' ü😀, "so"\nand', "kind": f"K{i % len(labels)}"}
        for i in range(12 * len(labels))
    ]  # fmt: skip
    return rows, {f"K{i}": label for i, label in enumerate(labels)}


NAMES = ("Ann Lee", "Bob O'Neil", "Çelik Ünal", "Dr. Eve")


def spans(count: int = 60) -> Rows:
    """Documents with a name, an e-mail address, a number, an SSN and a city, in somebody else's types."""
    rows = []
    for i in range(count):
        rng = random.Random(i)
        values = {
            "NAME": NAMES[i % 4], "MAIL": f"u{i}@example.org", "TEL": f"+1 212 555 01{i:02}", "SSN": f"536-22-81{i:02}",
            "CITY": ("Oslo", "São Paulo")[i % 2], "AGE": f"{20 + i}",
        }  # fmt: skip
        text, found = sentence(rng) + " 😀", []
        for kind, value in values.items():
            text += " "
            found.append({"begin": len(text), "stop": len(text) + len(value), "entity": kind})
            text += value + ","
        rows.append({"body": text, "marks": found, "form": f"form {i % 20}"})
    return rows


TYPES = {
    "NAME": "PERSON", "MAIL": "EMAIL_ADDRESS", "TEL": "PHONE_NUMBER", "SSN": "US_SSN", "CITY": "LOCATION", "AGE": "O",
}  # fmt: skip


def mapped(path: Path, content: Mapping[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(dict(content)))
    return path


def everything(work: Path, task: str) -> Rows:
    rows: Rows = []
    for split in SPLITS:
        rows += pq.read_table(work / task / "dataset" / "data" / f"{split}-00000-of-00001.parquet").to_pylist()
    return rows


def facts_of(work: Path, task: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((work / task / "facts.json").read_text())
    counts = facts["counts"]
    assert counts["read"] == counts["kept"] + sum(counts["dropped"].values())
    return facts


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.mark.parametrize(
    ("task", "suffix"),
    [
        pytest.param(task, suffix, marks=() if (task, suffix) in EACH_ONCE else pytest.mark.exhaustive)
        for task in SEQUENCE
        for suffix in SUFFIXES
    ],
)
def test_columns_and_labels_of_a_file_are_mapped(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path, work: Path, task: str, suffix: str
) -> None:
    rows, ours = theirs(task)
    path = write(tmp_path / f"my{suffix}", rows)
    kinds = mapped(tmp_path / "map.yaml", ours)
    columns = ("--text-column", "Prompt text", "--label-column", "kind", "--label-map", kinds)
    hubtools("curate", task, "--source", path, *columns, *flags)
    labels = TASKS[task].label_set().labels
    assert {(row["text"], labels[row["label"]]) for row in everything(work, task)} == {
        (row["Prompt text"], ours[row["kind"]]) for row in rows
    }
    [source] = facts_of(work, task)["sources"]
    assert source["id"] == path.name
    assert source["revision"] == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    assert source["mapping"] == {"columns": ["Prompt text", "kind"], "label_map": ours}


def marked(row: Mapping[str, Any], types: Mapping[str, str]) -> set[tuple[str, str]]:
    """(type, value) of the spans in a row as it was given."""
    return {
        (types[s["entity"]], row["body"][s["begin"] : s["stop"]]) for s in row["marks"] if types[s["entity"]] != "O"
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_spans_of_a_file_are_mapped(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path, work: Path, suffix: str
) -> None:
    rows = spans()
    path, types = write(tmp_path / f"my{suffix}", rows), mapped(tmp_path / "map.yaml", TYPES)
    columns = ("--text-column", "body", "--label-column", "marks", "--group-column", "form", "--label-map", types)
    hubtools("curate", "pii", "--source", path, *columns, *flags)
    labels = TASKS["pii"].label_set().labels
    found = {
        row["text"]: {(labels[s["label"]], row["text"][s["start"] : s["end"]]) for s in row["spans"]}
        for row in everything(work, "pii")
    }
    assert found == {row["body"]: marked(row, TYPES) for row in rows}
    assert sum(split["groups"] for split in facts_of(work, "pii")["splits"].values()) == 20


def tagged(rows: Rows, scheme: str) -> Rows:
    """The same documents as words with tags."""
    out = []
    for row in rows:
        words, tags = [], []
        at = 0
        for mark in row["marks"]:
            words += row["body"][at : mark["begin"]].split()
            tags += ["O"] * (len(words) - len(tags))
            inner = row["body"][mark["begin"] : mark["stop"]].split()
            for i, word in enumerate(inner):
                words.append(word)
                last = i == len(inner) - 1
                prefix = {
                    "BIO": "I-" if i else "B-",
                    "BILOU": "U-" if len(inner) == 1 else "L-" if last else "I-" if i else "B-",
                    "IO": "",
                }[scheme]
                tags.append(prefix + mark["entity"])
            at = mark["stop"]
        words += row["body"][at:].split()
        tags += ["O"] * (len(words) - len(tags))
        out.append({"words": words, "marks": tags, "form": row["form"], "body": row["body"]})
    return out


@pytest.mark.parametrize(("suffix", "scheme"), [*zip(SUFFIXES, ("BIO", "BILOU", "IO", "BIO"), strict=True)])
def test_tokens_with_tags_give_the_spans_of_the_text_beside_them(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path, work: Path, suffix: str, scheme: str
) -> None:
    rows = spans()
    path, types = write(tmp_path / f"my{suffix}", tagged(rows, scheme)), mapped(tmp_path / "map.yaml", TYPES)
    columns = ("--tokens-column", "words", "--tags-column", "marks", "--text-column", "body", "--label-map", types)
    hubtools("curate", "pii", "--source", path, *columns, "--group-column", "form", *flags)
    labels = TASKS["pii"].label_set().labels
    found = {
        row["text"]: {(labels[s["label"]], row["text"][s["start"] : s["end"]]) for s in row["spans"]}
        for row in everything(work, "pii")
    }
    assert found == {row["body"]: marked(row, TYPES) for row in rows}


def test_tokens_without_a_text_are_written_as_one_with_exact_offsets(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path, work: Path
) -> None:
    """With tags as integers of a ClassLabel, in the columns that most such datasets have."""
    names = ["O", *(f"{prefix}-{kind}" for kind in TYPES for prefix in "BI")]
    rows = [{"tokens": row["words"], "ner_tags": row["marks"], "group": row["form"]} for row in tagged(spans(), "BIO")]
    features = Features(
        {"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=names)), "group": Value("string")}
    )
    path = tmp_path / "my.parquet"
    Dataset.from_list(rows, features=features).to_parquet(str(path))
    hubtools("curate", "pii", "--source", path, "--label-map", mapped(tmp_path / "map.yaml", TYPES), *flags)
    labels = TASKS["pii"].label_set().labels
    kept = everything(work, "pii")
    assert len(kept) == 60
    assert all(" ," not in row["text"] for row in kept), "no space before punctuation"
    values = {(labels[s["label"]], row["text"][s["start"] : s["end"]]) for row in kept for s in row["spans"]}
    assert values == {pair for row in spans() for pair in marked(row, TYPES)}


# --- labels


def test_unknown_labels_are_named_with_their_counts_and_those_expected(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path, work: Path
) -> None:
    rows, _ = theirs("jailbreak")
    path = write(tmp_path / "my.csv", rows)
    columns = ("--source", path, "--text-column", "Prompt text", "--label-column", "kind")
    for command in ("curate", "check"):
        done = hubtools(command, "jailbreak", *columns, *flags, check=False)
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 1
        assert "24 bad rows of 24" in said
        assert "unknown label 'K0' in 12 rows (my.csv:2, my.csv:6, my.csv:10, …); unknown label 'K1' in 12" in said
        assert "no row of benign, jailbreak" in said
        assert "(benign, jailbreak)" in said
        assert "--label-map" in said
    assert not (work / "jailbreak" / "facts.json").exists()


def test_a_label_mapped_to_null_drops_its_rows_and_counts_them(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path, work: Path
) -> None:
    rows, ours = theirs("jailbreak")
    rows += [{"id": 1, "Prompt text": f"whatever {i} it is", "kind": "yes"} for i in range(3)]
    path = write(tmp_path / "my.csv", rows)
    kinds = tmp_path / "map.yaml"
    kinds.write_text(yaml.safe_dump(ours) + "yes: null\n1: benign\n")  # as written: neither true nor a number
    columns = ("--text-column", "Prompt text", "--label-column", "kind", "--label-map", kinds)
    hubtools("curate", "jailbreak", "--source", path, *columns, *flags)
    facts = facts_of(work, "jailbreak")
    assert facts["counts"]["dropped"] == {"label 'yes' is mapped to null": 3}
    assert facts["sources"][0]["mapping"]["label_map"] == {**ours, "yes": None, "1": "benign"}
    written = [json.loads(line) for line in (work / "jailbreak" / "dropped.jsonl").read_text().splitlines()]
    assert written == [
        {"reason": "label 'yes' is mapped to null", "place": f"my.csv:{2 * 24 + 2 + i}"} for i in range(3)
    ]  # the rows before have a line break each


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("K0: benign\nK1: evil\n", ["'K1': 'evil'", "benign, jailbreak"]),
        ("- benign\n", ["['benign']"]),
        ("", ["nothing"]),
        ("K0: [benign]\n", ["'K0': ['benign']"]),
        ("{", ["mend the file"]),
        (None, ["No such file"]),
    ],
)
def test_a_label_map_that_is_none_says_what_is_wrong(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path, content: str | None, named: list[str]
) -> None:
    path = write(tmp_path / "my.csv", theirs("jailbreak")[0])
    if content is not None:
        (tmp_path / "map.yaml").write_text(content)
    columns = ("--text-column", "Prompt text", "--label-column", "kind", "--label-map", tmp_path / "map.yaml")
    done = hubtools("curate", "jailbreak", "--source", path, *columns, *flags, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: Label map '{tmp_path / 'map.yaml'}'.\n  expected: ")
    assert all(word in done.stderr for word in named), done.stderr


def test_an_entity_type_that_is_unknown_is_named(hubtools: Command, flags: tuple[object, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "my.jsonl", spans(10))
    types = mapped(tmp_path / "map.yaml", {kind: ours for kind, ours in TYPES.items() if kind != "TEL"})
    columns = ("--text-column", "body", "--label-column", "marks", "--label-map", types)
    done = hubtools("curate", "pii", "--source", path, *columns, *flags, check=False)
    assert done.returncode == 1
    assert "unknown entity type 'TEL' in 10 rows (my.jsonl:1, " in done.stderr
    assert "PERSON, EMAIL_ADDRESS, PHONE_NUMBER, US_SSN, LOCATION" in done.stderr


# --- preflight


def test_missing_columns_are_named_with_those_that_are_there(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path
) -> None:
    path = write(tmp_path / "my.parquet", theirs("jailbreak")[0])
    for command in ("curate", "check"):
        done = hubtools(command, "jailbreak", "--source", path, *flags, check=False)
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == 1
        assert "lacks a column: text, label. expected: text, label found: id, Prompt text, kind" in said
    done = hubtools("curate", "pii", "--source", path, *flags, check=False)
    assert "--tokens-column and --tags-column" in done.stderr
    done = hubtools("curate", "pii", "--source", path, "--group-column", "author", *flags, check=False)
    assert "lacks a column: author" in done.stderr


def test_classes_absent_from_a_split_are_named_before_anything_else_runs(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path
) -> None:
    rows, _ = theirs("jailbreak")
    own = [
        {"text": row["Prompt text"], "label": ("benign", "jailbreak")[i % 2], "split": "train"}
        for i, row in enumerate(rows)
    ]
    own[0]["split"], own[2]["split"] = "test", "validation"
    path = write(tmp_path / "my.csv", own)
    for command in ("curate", "check"):
        done = hubtools(command, "jailbreak", "--source", path, *flags, check=False)
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert "no row of jailbreak in its validation split; no row of jailbreak in its test split" in said


def test_check_tells_rows_and_classes_of_what_would_be_curated(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path
) -> None:
    rows, ours = theirs("jailbreak")
    path, kinds = write(tmp_path / "my.json", rows), mapped(tmp_path / "map.yaml", ours)
    columns = ("--text-column", "Prompt text", "--label-column", "kind", "--label-map", kinds)
    done = hubtools("check", "jailbreak", "--source", path, *columns, "--json", *flags, check=False)
    [source] = [f for f in json.loads(done.stdout) if f["what"] == "source of jailbreak"]
    assert source["ok"]
    assert "24 rows, 0 dropped; to be split: benign 12, jailbreak 12" in source["found"]


def test_columns_without_a_source_are_refused(hubtools: Command, flags: tuple[object, ...]) -> None:
    done = hubtools("curate", "jailbreak", "--text-column", "prompt", *flags, check=False)
    assert (done.returncode, "--source" in done.stderr) == (2, True)
    done = hubtools("curate", "jailbreak", "--source", "x.csv", "--tokens-column", "words", *flags, check=False)
    assert done.returncode == 1
    assert "nothing there" in done.stderr


def test_a_dataset_of_ones_own_stays_where_no_source_is_named(
    hubtools: Command, flags: tuple[object, ...], work: Path, tmp_path: Path
) -> None:
    rows, ours = theirs("jailbreak")
    path, kinds = write(tmp_path / "my.json", rows), mapped(tmp_path / "map.yaml", ours)
    columns = ("--text-column", "Prompt text", "--label-column", "kind", "--label-map", kinds)
    hubtools("curate", "jailbreak", "--source", path, *columns, *flags)
    curated = (work / "jailbreak" / "facts.json").read_bytes()
    run = hubtools("run", "jailbreak", *flags, check=False)
    assert "jailbreak: the dataset curated from my.json is kept" in run.stderr
    assert (run.returncode, "licence" in run.stderr) == (1, True), "nobody named its licence"
    for command in ("run", "push-dataset"):
        done = hubtools(command, "jailbreak", "--without", "lengths", *flags, check=False)
        assert (done.returncode, "was curated from my.json" in done.stderr) == (2, True)
        assert "--source" in done.stderr
    assert (work / "jailbreak" / "facts.json").read_bytes() == curated


# --- dataset repos and addresses


@pytest.mark.parametrize("task", [pytest.param("pii", marks=pytest.mark.exhaustive), "jailbreak"])
def test_a_pushed_dataset_is_a_source_and_its_integers_are_read_by_their_names(
    hubtools: Command, hub: Hub, flags: tuple[object, ...], tmp_path: Path, task: str
) -> None:
    # Without rows in other case, which are duplicates where somebody else's data are read.
    made = [flag for made in TASKS[task].augmentations for flag in ("--augment", f"{made.name}=0")]
    hubtools("push-dataset", task, "--dataset-name", f"again-{task}", *made, *flags)
    other = ("--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", tmp_path / "other")
    hubtools("curate", task, "--source", f"local/again-{task}", *other)
    first, again = facts_of_any(tmp_path / "work", task), facts_of(tmp_path / "other", task)
    assert again["counts"]["kept"] == again["counts"]["read"] == first["counts"]["kept"]
    for split in again["splits"].values():
        split.pop("groups")  # two templates may have given like documents, which are one group then
    assert again["splits"] == {s: {k: v for k, v in f.items() if k != "groups"} for s, f in first["splits"].items()}
    assert again["sources"][0]["license"] == first["sources"][0]["license"]
    assert len(again["sources"][0]["revision"]) == 40


def facts_of_any(work: Path, task: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((work / task / "facts.json").read_text())
    return facts


def test_a_dataset_repo_of_another_layout_is_read_with_its_splits_and_configurations(
    hubtools: Command, api: HfApi, flags: tuple[object, ...], work: Path, tmp_path: Path
) -> None:
    rows, ours = theirs("jailbreak")
    names = list(ours)
    features = Features({"id": Value("int64"), "Prompt text": Value("string"), "kind": ClassLabel(names=names)})
    data = Dataset.from_list(rows).cast(features)
    folder = tmp_path / "repo"
    for config, part in {"short": data.select(range(16)), "long": data}.items():
        for split, half in DatasetDict(train=part.select(range(8, len(part))), test=part.select(range(8))).items():
            (folder / config).mkdir(parents=True, exist_ok=True)
            half.to_csv(str(folder / config / f"{split}.csv"), index=False)  # integers alone: the card has the names
    card = {
        "configs": [
            {"config_name": c, "data_files": [{"split": s, "path": f"{c}/{s}.csv"} for s in ("train", "test")]}
            for c in ("short", "long")
        ],
        "dataset_info": [
            {"config_name": c, "features": features._to_yaml_list()} for c in ("short", "long")
        ],
        "license": "mit",
    }  # fmt: skip
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n")
    api.create_repo("local/another-layout", repo_type="dataset", exist_ok=True)
    api.upload_folder(repo_id="local/another-layout", repo_type="dataset", folder_path=folder)
    kinds = mapped(tmp_path / "map.yaml", ours)
    columns = ("--text-column", "Prompt text", "--label-column", "kind", "--label-map", kinds)
    done = hubtools("curate", "jailbreak", "--source", "local/another-layout", *columns, *flags, check=False)
    assert done.returncode == 1
    assert "short" in done.stderr
    assert "owner/name:config" in done.stderr
    hubtools("curate", "jailbreak", "--source", "local/another-layout:long", *columns, *flags)
    facts = facts_of(work, "jailbreak")
    assert (facts["counts"]["kept"], facts["splits"]["test"]["rows"]) == (24, 8)
    assert facts["splits"]["validation"]["rows"] > 0, "what is called train is divided where there is no validation"
    assert facts["sources"][0]["license"] == "mit"
    assert facts["sources"][0]["id"] == "local/another-layout:long"
    labels = TASKS["jailbreak"].label_set().labels
    assert {(row["text"], labels[row["label"]]) for row in everything(work, "jailbreak")} == {
        (row["Prompt text"], ours[row["kind"]]) for row in rows
    }


def test_a_repo_that_is_not_there_or_holds_no_data_is_named(
    hubtools: Command, api: HfApi, flags: tuple[object, ...]
) -> None:
    done = hubtools("curate", "jailbreak", "--source", "local/nowhere", *flags, check=False)
    assert (done.returncode, "'local/nowhere'" in done.stderr) == (1, True)
    api.create_repo("local/without-data", repo_type="dataset", exist_ok=True)
    done = hubtools("curate", "jailbreak", "--source", "local/without-data", *flags, check=False)
    assert (done.returncode, "'local/without-data'" in done.stderr) == (1, True)
    assert "Unexpected" not in done.stderr


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_is_read_by_its_address_and_its_checksum_is_recorded_and_compared(
    hubtools: Command, flags: tuple[object, ...], work: Path, served: tuple[Path, str]
) -> None:
    folder, address = served
    rows, _ = theirs("jailbreak")
    ours = [{"text": row["Prompt text"], "label": ("benign", "jailbreak")[i % 2]} for i, row in enumerate(rows)]
    path = write(folder / "my data.jsonl", ours)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    url = f"{address}/my%20data.jsonl"
    hubtools("curate", "jailbreak", "--source", url, *flags)
    [source] = facts_of(work, "jailbreak")["sources"]
    assert (source["id"], source["revision"]) == (url, f"sha256:{digest}")
    path.write_text(path.read_text() + json.dumps({"text": "one more", "label": "benign"}) + "\n")
    hubtools("curate", "jailbreak", "--source", f"{url}#sha256={digest}", *flags)  # known: not downloaded again
    assert facts_of(work, "jailbreak")["counts"]["read"] == 24
    hubtools("curate", "jailbreak", "--source", url, *flags)
    assert facts_of(work, "jailbreak")["counts"]["read"] == 25
    done = hubtools("curate", "jailbreak", "--source", f"{url}#sha256={digest}", *flags, check=False)
    assert f"sha256 {digest}" in done.stderr
    assert done.returncode == 1
    done = hubtools("curate", "jailbreak", "--source", f"{address}/no.jsonl", *flags, check=False)
    assert "could not be downloaded" in done.stderr
    assert "404" in done.stderr


@pytest.mark.parametrize("address", ["http://example.org/x.csv", "ftp://example.org/x.csv", "https://example.org/page"])
def test_an_address_that_is_not_safe_or_names_no_file_is_refused(
    hubtools: Command, flags: tuple[object, ...], address: str
) -> None:
    done = hubtools("curate", "jailbreak", "--source", address, *flags, check=False)
    assert (done.returncode, "https://" in done.stderr or "address of a file" in done.stderr) == (2, True)


# --- words, tags and spans


words = st.lists(st.text("ab.,('$é😀 ", min_size=1, max_size=4), max_size=12)


@settings(derandomize=True, deadline=None)
@given(words)
def test_words_joined_to_a_text_stand_where_it_is_said(tokens: list[str]) -> None:
    text, places = join_words(tokens)
    assert [text[start:end] for start, end in places] == tokens
    assert all(before[1] <= after[0] for before, after in pairwise(places))
    assert align_words(text, [token for token in tokens if token.strip()]) is not None


@pytest.mark.parametrize("tokens", [["Ann", "Bob"], ["Ann"], ["nn", "Lee"], ["Ann", "Lee", "x"], ["Ann", "ee"]])
def test_words_of_another_text_are_refused(tokens: list[str]) -> None:
    with pytest.raises(BadRow, match="tokens do not stand in the text"):
        align_words("Ann Lee", tokens)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from(["O", "PER", "LOC"])), max_size=8))
def test_spans_written_as_bio_or_bilou_are_read_back(parts: list[tuple[int, str]]) -> None:
    bio, bilou, wanted = list[str](), list[str](), list[Span]()
    for length, kind in parts:
        at = len(bio)
        if kind == "O":
            bio += ["O"] * length
            bilou += ["O"] * length
            continue
        wanted.append(Span(10 * at, 10 * (at + length - 1) + 5, kind))
        bio += [f"B-{kind}", *[f"I-{kind}"] * (length - 1)]
        bilou += [f"U-{kind}"] if length == 1 else [f"B-{kind}", *[f"I-{kind}"] * (length - 2), f"L-{kind}"]
    places = [(10 * i, 10 * i + 5) for i in range(len(bio))]
    assert merge_tags(places, bio) == wanted
    assert merge_tags(places, bilou) == wanted


def test_an_inside_tag_without_a_beginning_begins_a_span_and_bare_types_go_on() -> None:
    places = [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert merge_tags(places, ["I-X", "I-X", "I-Y", "O"]) == [Span(0, 3, "X"), Span(4, 5, "Y")]
    assert merge_tags(places, ["X", "X", "O", "X"]) == [Span(0, 3, "X"), Span(6, 7, "X")]
    assert merge_tags(places, ["", "O", "S-X", "E-X"]) == [Span(4, 5, "X"), Span(6, 7, "X")]


@settings(derandomize=True, deadline=None)
@given(st.text("ab. -é", max_size=30), st.lists(st.integers(0, 30), max_size=8))
def test_spans_round_trip_where_and_only_where_they_begin_and_end_with_a_word(text: str, cuts: list[int]) -> None:
    bounds = sorted({min(cut, len(text)) for cut in cuts})
    found = [Span(start, end, "X") for start, end in zip(bounds[::2], bounds[1::2], strict=False) if start < end]
    begins, ends = {start for start, _ in find_words(text)}, {end for _, end in find_words(text)}
    exact = all(span.start in begins and span.end in ends for span in found)
    assert survive_tagging(text, found, ("X",)) == exact


def test_one_text_with_two_annotations_is_dropped_with_all_its_copies(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path, work: Path
) -> None:
    rows = [
        {
            "text": row["body"],
            "spans": [{"start": s["begin"], "end": s["stop"], "label": TYPES[s["entity"]]} for s in row["marks"][:5]],
        }
        for row in spans()
    ]
    rows += [{**rows[0], "spans": rows[0]["spans"][1:]}, {**rows[1], "text": rows[1]["text"] + " "}]
    hubtools("curate", "pii", "--source", write(tmp_path / "my.jsonl", rows), *flags)
    assert facts_of(work, "pii")["counts"]["dropped"] == {"exact duplicate": 1, "same text, several labels": 2}
