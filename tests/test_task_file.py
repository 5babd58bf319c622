"""A task of one's own, by its file alone: what is read, what is refused, and the whole job from a CSV to the Space."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shlex
import string
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from as_user import REPOSITORY, Command
from huggingface_hub import HfApi
from hypothesis import given, settings
from hypothesis import strategies as st

from hubtools.curation.sources import locate
from hubtools.errors import HubtoolsError, SourceError, UsageError
from hubtools.heads import HEADS, Classification, Detection, Spans
from hubtools.known_tasks import keep_task_file, list_known_tasks
from hubtools.localhub import Hub
from hubtools.spec import BadRow, CardTexts, Demo, Dropped, LabelSet, Span
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS, select_tasks
from hubtools.tasks.file import CARD_KEYS, KEYS, SOURCE_KEYS, SPACE_KEYS, read_task_file
from hubtools.tasks.keys import MOST_BYTES
from hubtools.tasks.template import write_task_file
from hubtools.workdir import TaskFolder

DETECTION = """\
name: toxicity
head: detection
labels: [ok, toxic]
positive: toxic
"""
TOPICS = """\
name: desk
head: classification
labels: [billing, technical, other]
"""
PARTS = """\
name: parts
head: spans
labels: [PRODUCT, VERSION]
"""


def write(folder: Path, content: str | bytes, name: str = "task.yaml") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, content: str | bytes) -> TaskSpec:
    return read_task_file(write(folder, content))


def refused(folder: Path, content: str | bytes) -> UsageError:
    path = write(folder, content)
    with pytest.raises(UsageError) as error:
        read_task_file(path)
    assert str(path) in error.value.subject
    assert error.value.expected
    assert error.value.found
    assert error.value.next
    return error.value


# --- what is read ------------------------------------------------------------------------------------------------


def test_name_head_labels_and_the_positive_one_are_enough(tmp_path: Path) -> None:
    task = read(tmp_path, DETECTION)
    assert task.head == Detection(positive="toxic")
    assert task.label_set().labels == task.model_labels(task.label_set()) == ("ok", "toxic")
    assert (task.title, task.question) == ("Toxicity", "Is the text toxic?")
    assert (task.dataset_name, task.model_name) == ("router-toxicity", "toxicity_classifier_{base}_model")
    assert (task.primary.key, task.card.languages) == ("roc_auc", ())
    assert task.starter is None
    assert task.sources == ()


def test_each_head_has_its_own_defaults(tmp_path: Path) -> None:
    topics, parts = read(tmp_path, TOPICS), read(tmp_path, PARTS)
    assert (topics.head, topics.primary.key) == (Classification(), "macro_f1")
    assert topics.question == "Which of billing, technical, other is the text?"
    assert (type(parts.head), parts.primary.key) == (Spans, "entity_f1")
    assert parts.model_labels(parts.label_set()) == ("O", "B-PRODUCT", "I-PRODUCT", "B-VERSION", "I-VERSION")


def test_every_key_is_read(tmp_path: Path) -> None:
    task = read(tmp_path, DETECTION + """\
title: Rude words
question: Would a moderator remove the comment?
alarming: [Stupid, idiot]
fallback: ok
primary: accuracy
weighted_loss: yes
language: [en, de]
group_name: author
dataset_name: comments
model_name: rude-{base}
version: 2.0
examples:
  - Have a nice day
  - You are all idiots
card:
  sentence: Says whether a comment is rude.
  intended: [Sorting a queue for moderators.]
  out_of_scope: [Banning people.]
  limits:
    - Irony.
    - Insults that are new.
  citation: Nobody.
  dataset_sentence: Comments of a forum.
  dataset_limits: One forum.
space:
  question: Is it rude?
  about: Whether a moderator would remove it.
  topic: rudeness
  examples: [Hello]
  verdicts: [Rude, Fine]
sources:
  - id: owner/comments
    files: {train: "data/train-*.csv", test: [a.csv, b.csv]}
    name: forum
    license: cc-by-4.0
    attribution: The forum's authors.
    provenance: Three moderators each.
    revision: 0123abcd
    url: https://example.org/{file}
    columns: {text: comment, label: removed, group: author}
    label_map: {0: ok, 1: toxic, unsure:}
  - files: more.jsonl
    role: training
    share: 0.25
  - id: owner/benchmark:hard
    role: test
""")  # fmt: skip
    assert task.head == Detection(positive="toxic", alarming=("stupid", "idiot"), fallback="ok")
    assert (task.title, task.question) == ("Rude words", "Would a moderator remove the comment?")
    assert (task.primary.key, task.weighted_loss) == ("accuracy", True)
    assert task.group_name == "author"
    assert task.card == CardTexts(
        sentence="Says whether a comment is rude.",
        intended=("Sorting a queue for moderators.",),
        out_of_scope=("Banning people.",),
        limits=("Irony.", "Insults that are new."),
        citation="Nobody.",
        dataset_sentence="Comments of a forum.",
        dataset_limits=("One forum.",),
        languages=("en", "de"),
    )
    assert (task.dataset_name, task.model_name) == ("comments", "rude-{base}")
    assert task.version.startswith("2.0-")
    assert task.examples == ("Have a nice day", "You are all idiots")
    assert task.demo == Demo("Is it rude?", "Whether a moderator would remove it.", ("Hello",), topic="rudeness",
                             verdicts=("Rude", "Fine"))  # fmt: skip
    forum, [more], [benchmark] = task.whole_sources[0], task.supplements, task.benchmarks
    assert forum.files == {"train": ("data/train-*.csv",), "test": ("a.csv", "b.csv")}
    assert (forum.id, forum.name, forum.license) == ("owner/comments", "forum", "cc-by-4.0")
    assert (forum.attribution, forum.provenance) == ("The forum's authors.", "Three moderators each.")
    assert (forum.revision, forum.url, forum.folder) == ("0123abcd", "https://example.org/{file}", None)
    assert forum.columns == ("comment", "removed", "author")
    assert (more.id, more.name, more.share, more.license) == ("more.jsonl", "more", 0.25, "other")
    assert (more.files, more.folder) == ({"": ("more.jsonl",)}, tmp_path)
    assert (benchmark.id, benchmark.files, benchmark.name) == ("owner/benchmark:hard", {}, "benchmark")


def test_labels_are_read_as_they_are_written(tmp_path: Path) -> None:
    words = ["no", "yes", "1", "1.0", "0x1F", "2020-01-01", "on", "True", "1e-5", "1_000", "éclat", "c++ & c"]
    task = read(tmp_path, f"name: words\nhead: classification\nlabels: [{', '.join(words)}]\n")
    assert task.label_set().labels == tuple(words)


def test_labels_may_have_descriptions(tmp_path: Path) -> None:
    described = read(tmp_path, DETECTION.replace("[ok, toxic]", "{ok: nobody minds, toxic: }"))
    assert described.label_set().labels == ("ok", "toxic")
    assert described.card.labels == {"ok": "nobody minds"}


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf" + DETECTION.replace("\n", "\r\n").encode()).name == "toxicity"


def test_rows_are_read_by_the_columns_and_the_label_map(tmp_path: Path) -> None:
    row = read(tmp_path, DETECTION + """\
sources:
  - files: a.csv
    columns: {text: comment, label: removed}
    label_map: {0: ok, 1: toxic, unsure: }
""").sources[0].row  # fmt: skip
    assert row({"comment": "Hello", "removed": 0, "family": "greetings"}).label == "ok"
    assert row({"comment": "Hello", "removed": 0, "family": "greetings"}).group == "greetings"
    assert row({"comment": "Idiot", "removed": "1"}).label == "toxic"
    with pytest.raises(Dropped, match="mapped to null"):
        row({"comment": "Hm", "removed": "unsure"})
    with pytest.raises(BadRow, match="label is missing"):
        row({"comment": "Hm", "removed": ""})


def test_spans_are_read_from_offsets_or_from_tags(tmp_path: Path) -> None:
    offsets = read(tmp_path, PARTS + "sources: [{files: a.jsonl, label_map: {item: PRODUCT, price: O}}]\n").sources[0]
    raw = {"text": "Pump 4 costs 10", "spans": [[0, 4, "item"], [5, 6, "VERSION"], [13, 15, "price"]]}
    assert offsets.row(raw).spans == (Span(0, 4, "PRODUCT"), Span(5, 6, "VERSION"))
    with pytest.raises(BadRow, match="unknown entity type"):
        offsets.row({"text": "Pump", "spans": [[0, 4, "colour"]]})
    tags = read(tmp_path, PARTS + "sources: [{files: a.jsonl, columns: {tokens: words, tags: bio}}]\n").sources[0]
    assert tags.columns == ("words", "bio")
    example = tags.row({"words": ["Pump", "4"], "bio": ["B-PRODUCT", "B-VERSION"]})
    assert (example.text, example.spans) == ("Pump 4", (Span(0, 4, "PRODUCT"), Span(5, 6, "VERSION")))


def test_the_version_follows_from_all_but_words_for_people(tmp_path: Path) -> None:
    first = read(tmp_path, DETECTION).version
    assert read(tmp_path, "# a note\n" + DETECTION + "title: Rude\ncard: {sentence: Rude or not.}\n").version == first
    changed = [
        DETECTION.replace("[ok, toxic]", "[toxic, ok]"),
        DETECTION + "version: 2\n",
        DETECTION + "weighted_loss: true\n",
        DETECTION + "sources: [{files: a.csv}]\n",
        DETECTION + "sources: [{files: a.csv, label_map: {bad: toxic}}]\n",
    ]
    assert len({first, *(read(tmp_path, content).version for content in changed)}) == 6


# --- which tasks a command is about ------------------------------------------------------------------------------


def test_a_file_is_one_task_and_no_file_one_or_all_of_the_built_in(tmp_path: Path) -> None:
    path = write(tmp_path, DETECTION)
    for name in (None, "all", "toxicity"):
        assert [task.name for task in select_tasks(name, path)] == ["toxicity"]
    assert select_tasks("all", None) == [*TASKS.values()]
    for name in TASKS:
        assert select_tasks(name, None) == [TASKS[name]]
        with pytest.raises(UsageError, match="describes the task 'toxicity'"):
            select_tasks(name, path)
    with pytest.raises(UsageError, match="No task is named"):
        select_tasks(None, None)
    with pytest.raises(UsageError, match="Unknown task"):
        select_tasks("toxicity", None)


def test_a_work_folder_knows_the_tasks_whose_files_it_keeps(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    task = read_task_file(write(tmp_path / "mine", DETECTION + "sources: [{files: rows.csv}]\n"))
    folder = TaskFolder(tmp_path / "work" / task.name)
    folder.root.mkdir(parents=True)
    assert list_known_tasks(tmp_path / "work") == [*TASKS.values()]
    keep_task_file(TASKS["intent"], folder)
    keep_task_file(task, folder)
    [*known, kept] = list_known_tasks(tmp_path / "work")
    assert known == [*TASKS.values()]
    assert (kept.name, kept.version, kept.head) == (task.name, task.version, task.head)
    renamed = replace(task, title="Rude")
    assert [one.title for one in list_known_tasks(tmp_path / "work", [renamed])][-1] == "Rude"
    (folder.root / "task.yaml").write_text("name: toxicity\n")
    with pytest.raises(UsageError, match=r"task\.yaml"):
        list_known_tasks(tmp_path / "work")


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "an empty file"),
        ("# only a note\n", "an empty file"),
        ("just a sentence", "'just a sentence'"),
        ("- a\n- b\n", "a list"),
        ("name: [a\n", "',' or ']'"),
        ("name: a: b\n", "mapping values"),
        ("\tname: a\n", "character"),
        ("name: \x00\n", "U+0000"),
        ('name: "\\0"\n', "\\x00"),
        ('name: "\\ud800"\n', "\\ud800"),
        ('name: "\\U99999999"\n', "no character"),
        (b"name: toxicit\xe9\n", "0xe9"),
        (DETECTION.encode("utf-16"), "0xff"),
        ("a: &x [1]\nb: *x\n", "an alias"),
        ("a: &x [*x]\n", "an alias"),
        ("name: !!python/object/apply:os.system [true]\n", "python/object"),
        ("name: !!binary aGk=\n", "binary"),
        ("? [a]\n: b\n", "a list"),
        ("~: b\n", "nothing"),
        ("name: a\nname: b\n", "'name' a second time"),
        ("[" * 3000, "far more levels"),
        ("a" * (MOST_BYTES + 1), "larger"),
        ("---\nname: a\n---\nname: b\n", "another document"),
    ],
)  # fmt: skip
def test_what_is_no_yaml_of_keys_is_refused(tmp_path: Path, content: str | bytes, says: str) -> None:
    assert says in refused(tmp_path, content).found


@pytest.mark.parametrize(
    ("content", "key", "says"),
    [
        (DETECTION + "tittle: Rude\n", "tittle", "did you mean 'title'"),
        (DETECTION.replace("name: toxicity\n", ""), "name", "nothing"),
        (DETECTION.replace("head: detection\n", ""), "head", "nothing"),
        (DETECTION.replace("labels: [ok, toxic]\n", ""), "labels", "nothing"),
        (DETECTION.replace("positive: toxic\n", ""), "positive", "nothing"),
        (DETECTION.replace("name: toxicity", "name: [a]"), "name", "a list"),
        (DETECTION.replace("name: toxicity", "name: Toxi City"), "name", "'Toxi City'"),
        (DETECTION.replace("name: toxicity", "name: ../x"), "name", "'../x'"),
        (DETECTION.replace("name: toxicity", "name: " + "a" * 41), "name", "aaa"),
        (DETECTION.replace("name: toxicity", "name: all"), "name", "'all'"),
        (DETECTION.replace("name: toxicity", "name: multi"), "name", "'multi'"),
        *((DETECTION.replace("toxicity", name), "name", repr(name)) for name in TASKS),
        (DETECTION.replace("head: detection", "head: regression"), "head", "'regression'"),
        (DETECTION.replace("head: detection", "head: {a: b}"), "head", "keys with values"),
        (DETECTION.replace("[ok, toxic]", "toxic"), "labels", "'toxic'"),
        (DETECTION.replace("[ok, toxic]", "[]"), "labels", "a list"),
        (DETECTION.replace("[ok, toxic]", "[ok, null]"), "labels[1]", "nothing"),
        (DETECTION.replace("[ok, toxic]", "[ok, [toxic]]"), "labels[1]", "a list"),
        (DETECTION.replace("[ok, toxic]", "[toxic, toxic]"), "labels[1]", "a second time"),
        (DETECTION.replace("[ok, toxic]", "{toxic: , toxic: }"), "labels", "a second time"),
        (DETECTION.replace("[ok, toxic]", "[toxic]"), "labels", "1: toxic"),
        (DETECTION.replace("[ok, toxic]", "[ok, toxic, rude]"), "labels", "3: ok, toxic, rude"),
        (DETECTION.replace("[ok, toxic]", "[ok, 'a|b']"), "labels[1]", "a|b"),
        (DETECTION.replace("[ok, toxic]", "[ok, '<b>']"), "labels[1]", "<b>"),
        (DETECTION.replace("[ok, toxic]", "{ok: [a], toxic: }"), "labels.ok", "a list"),
        (DETECTION.replace("positive: toxic", "positive: rude"), "positive", "'rude'"),
        (DETECTION + "fallback: rude\n", "fallback", "'rude'"),
        (DETECTION + "alarming: {a: b}\n", "alarming", "keys with values"),
        (TOPICS + "positive: other\n", "positive", "'other'"),
        (PARTS + "positive: PRODUCT\n", "positive", "'PRODUCT'"),
        (PARTS + "fallback: PRODUCT\n", "fallback", "'PRODUCT'"),
        (PARTS.replace("PRODUCT", "O"), "labels[0]", "'O'"),
        (PARTS.replace("PRODUCT", "FULL NAME"), "labels[0]", "'FULL NAME'"),
        (DETECTION + "primary: entity_f1\n", "primary", "'entity_f1'"),
        (TOPICS + "primary: roc_auc\n", "primary", "'roc_auc'"),
        (DETECTION + "sources: [{id: a/b, share: high}]\n", "sources[0].share", "'high'"),
        (DETECTION + "sources: [{id: a/b, share: 1.5}]\n", "sources[0].share", "'1.5'"),
        (DETECTION + "sources: [{id: a/b, share: nan}]\n", "sources[0].share", "'nan'"),
        (DETECTION + "sources: [{id: a/b, share: [0.5]}]\n", "sources[0].share", "a list"),
        (DETECTION + "threshold: 0.5\n", "threshold", "'0.5'"),
        (DETECTION + "weighted_loss: maybe\n", "weighted_loss", "'maybe'"),
        (DETECTION + "language: english\n", "language", "'english'"),
        (DETECTION + "dataset_name: owner/name\n", "dataset_name", "'owner/name'"),
        (DETECTION + "model_name: a_{size}\n", "model_name", "'a_{size}'"),
        (DETECTION + "title: '  '\n", "title", "'  '"),
        (DETECTION + "examples: [[a]]\n", "examples[0]", "a list"),
        (DETECTION + "version: a b\n", "version", "'a b'"),
        (DETECTION + "card: Rude or not\n", "card", "'Rude or not'"),
        (DETECTION + "card: {sentense: Rude}\n", "card.sentense", "did you mean 'sentence'"),
        (DETECTION + "card: {limits: [{a: b}]}\n", "card.limits[0]", "keys with values"),
        (DETECTION + "space: {verdict: [a, b]}\n", "space.verdict", "did you mean 'verdicts'"),
        (DETECTION + "space: {verdicts: [a, b, c]}\n", "space.verdicts", "a list"),
        (DETECTION + "sources: rows.csv\n", "sources", "'rows.csv'"),
        (DETECTION + "sources: [rows.csv]\n", "sources[0]", "'rows.csv'"),
        (DETECTION + "sources: [{role: whole}]\n", "sources[0]", "neither"),
        (DETECTION + "sources: [{id: rows.csv}]\n", "sources[0].id", "'rows.csv'"),
        (DETECTION + "sources: [{id: a/b:c, files: d.csv}]\n", "sources[0].id", "both"),
        (DETECTION + "sources: [{files: {dev: a.csv}}]\n", "sources[0].files.dev", "not known"),
        (DETECTION + "sources: [{files: [[a]]}]\n", "sources[0].files[0]", "a list"),
        (DETECTION + "sources: [{files: a.csv, url: 'https://x.org/{file}'}]\n", "sources[0].url", "https"),
        (DETECTION + "sources: [{id: a/b, url: 'https://x.org/{file}'}]\n", "sources[0].url", "no files"),
        (DETECTION + "sources: [{id: a/b, files: c.csv, url: 'http://x.org'}]\n", "sources[0].url", "http://"),
        (DETECTION + "sources: [{id: a/b, files: c.csv, url: 'https://x/{a}'}]\n", "sources[0].url", "{a}"),
        (DETECTION + "sources: [{files: a.csv, role: train}]\n", "sources[0].role", "'train'"),
        (DETECTION + "sources: [{files: a.csv, share: 0.5}]\n", "sources[0].share", "'0.5'"),
        (DETECTION + "sources: [{files: a.csv, role: training, share: 2}]\n", "sources[0].share", "'2'"),
        (DETECTION + "sources: [{files: a.csv, licence: mit}]\n", "sources[0].licence", "'license'"),
        (DETECTION + "sources: [{files: a.csv, license: My own}]\n", "sources[0].license", "'My own'"),
        (DETECTION + "sources: [{files: a.csv, columns: {tokens: a}}]\n", "sources[0].columns.tokens", "not known"),
        (DETECTION + "sources: [{files: a.csv, label_map: {bad: O}}]\n", "sources[0].label_map.bad", "'O'"),
        (DETECTION + "sources: [{files: a.csv}, {files: a.csv}]\n", "sources[1].name", "a second time"),
        (PARTS + "sources: [{files: a.csv, columns: {label: a}}]\n", "sources[0].columns.label", "not known"),
    ],
)  # fmt: skip
def test_a_key_that_is_wrong_is_named_with_what_was_expected(tmp_path: Path, content: str, key: str, says: str) -> None:
    error = refused(tmp_path, content)
    assert f"key '{key}'" in error.subject
    assert says in error.found


def test_the_line_of_a_wrong_key_is_told(tmp_path: Path) -> None:
    assert "line 5," in refused(tmp_path, DETECTION + "weighted_loss: maybe\n").subject


def test_a_threshold_of_a_file_is_refused_with_where_thresholds_come_from(tmp_path: Path) -> None:
    error = refused(tmp_path, DETECTION + "threshold: 0.5\n")
    assert error.expected == "no such key: hubtools evaluate chooses the threshold, on the validation split"


@pytest.mark.parametrize("path", ["nowhere.yaml", ".", "a\0b", "x" * 5000])
def test_a_path_without_a_file_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(UsageError) as error:
        read_task_file(tmp_path / path)
    assert error.value.found
    assert error.value.next


WORDS = st.one_of(
    st.sampled_from(
        [
            *KEYS,
            *SOURCE_KEYS,
            *CARD_KEYS,
            *SPACE_KEYS,
            "ok",
            "toxic",
            "detection",
            "spans",
            "classification",
            "O",
            "a/b",
        ]
    ),
    st.text(max_size=12),
    st.text(string.ascii_lowercase, min_size=1, max_size=8),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS, st.dates()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=12,
)
FILES = st.fixed_dictionaries(
    {
        "name": st.one_of(st.just("toxicity"), VALUES),
        "head": st.one_of(st.sampled_from(["detection", "spans", "classification"]), VALUES),
        "labels": st.one_of(st.just(["ok", "toxic"]), VALUES),
    },
    optional={key: st.one_of(WORDS, VALUES) for key in KEYS if key not in ("name", "head", "labels", "sources")}
    | {
        "sources": st.lists(
            st.fixed_dictionaries({}, optional=dict.fromkeys(SOURCE_KEYS, VALUES) | {"files": WORDS}), max_size=3
        )
    },
)


@settings(max_examples=300, deadline=None)
@given(content=st.one_of(FILES, VALUES))
def test_whatever_yaml_says_it_is_a_task_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8", errors="surrogatepass")
    with contextlib.suppress(UsageError):
        task = read_task_file(path)
        assert task.label_set().labels
        assert all(source.columns for source in task.sources)


@settings(max_examples=300, deadline=None)
@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
)
def test_whatever_bytes_the_file_holds_they_are_a_task_or_a_usage_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        read_task_file(path)


# --- what init-task writes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "options", "head"),
    [
        (["ok", "toxic"], {"positive": "toxic"}, Detection(positive="toxic")),
        (["no", "yes"], {"positive": "yes"}, Detection(positive="yes")),
        (["billing", "technical", "other"], {}, Classification()),
        (["null", "1", "c++ & c", "été"], {}, Classification()),
        (["PRODUCT"], {"spans": True}, Spans()),
    ],
)
def test_a_file_of_init_task_is_read_back_as_it_was_asked_for(
    tmp_path: Path, labels: list[str], options: dict[str, Any], head: object
) -> None:
    path = write_task_file("my-task", labels, tmp_path / "my.yaml", **options)
    task = read_task_file(path)
    assert path == tmp_path / "my.yaml"
    assert (task.name, task.head, task.label_set().labels) == ("my-task", head, tuple(labels))
    assert task.version == read(tmp_path, yaml.safe_dump({
        "name": "my-task", "head": task.head.name, "labels": dict.fromkeys(labels),
        **({"positive": options["positive"]} if "positive" in options else {}),
    }, sort_keys=False)).version  # fmt: skip


@pytest.mark.parametrize("options", [{"positive": "toxic"}, {}, {"spans": True}])
def test_the_keys_that_init_task_offers_are_right_as_they_stand(tmp_path: Path, options: dict[str, Any]) -> None:
    path = write_task_file("offers", ["ok", "toxic"], tmp_path / "offers.yaml", **options)
    plain = read_task_file(path)
    # Prose begins with "# ", and a key that is left out with "#" alone.
    task = read(tmp_path, re.sub(r"(?m)^#(?! \S)", "", path.read_text()))
    assert task.primary == plain.primary
    assert (task.model_name, task.dataset_name) == (plain.model_name, plain.dataset_name)
    assert [source.id for source in task.sources] == ["rows.csv", "owner/name"]
    assert {key for key in KEYS if key not in path.read_text()} <= {"alarming", "fallback", "group_name", "positive"}


def test_init_task_overwrites_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, "mine")
    with pytest.raises(UsageError, match="is there already"):
        write_task_file("toxicity", ["a", "b"], path)
    assert path.read_text() == "mine"
    with pytest.raises(HubtoolsError, match="cannot be written"):
        write_task_file("toxicity", ["a", "b"], tmp_path / "nowhere" / "task.yaml")


@pytest.mark.parametrize(
    ("name", "labels", "options", "says"),
    [
        ("Toxi City", ["a", "b"], {}, "Toxi City"),
        ("a: b", ["a", "b"], {}, "a: b"),
        ("all", ["a", "b"], {}, "all"),
        ("mine", [], {}, "nothing"),
        ("mine", ["a"], {}, "1: a"),
        ("mine", ["a", "a"], {}, "second time"),
        ("mine", ["a", ""], {}, "''"),
        ("mine", ["a", "b|c"], {}, "b|c"),
        ("mine", ["a", "x: y"], {}, "x: y"),
        ("mine", ["a", "b"], {"positive": "c"}, "'c'"),
        ("mine", ["a", "b", "c"], {"positive": "c"}, "3: a, b, c"),
        ("mine", ["a"], {"positive": "a", "spans": True}, "both"),
    ],
)
def test_init_task_writes_no_file_that_would_not_be_read(
    tmp_path: Path, name: str, labels: list[str], options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError) as error:
        write_task_file(name, labels, tmp_path / "new.yaml", **options)
    assert says in error.value.found
    assert not (tmp_path / "new.yaml").exists()


# --- what the page says ------------------------------------------------------------------------------------------

PAGE = REPOSITORY / "docs" / "own-task.md"


def test_the_page_explains_every_key_and_its_yaml_is_right(tmp_path: Path) -> None:
    page = PAGE.read_text()
    assert len(page.split()) < 600
    assert [key for key in {*KEYS, *SOURCE_KEYS, *CARD_KEYS, *SPACE_KEYS} if f"`{key}`" not in page] == []
    [sources] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    task = read(tmp_path, DETECTION + sources)
    assert [source.role for source in task.sources] == ["whole", "training"]
    for kind in HEADS:
        assert f"`{kind}`" in page
    assert [metric.key for head in HEADS.values() for metric in head.selection if f"`{metric.key}`" not in page] == []


# --- where the files of a source are -----------------------------------------------------------------------------


def test_files_are_looked_for_beside_the_task_file(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for name in ("parts/b.csv", "parts/a.csv", "test [1].csv"):
        (tmp_path / name).write_text("text,label\nHello,ok\n")
    [source] = read(tmp_path, DETECTION + "sources: [{files: {train: parts/*.csv, test: 'test [1].csv'}}]\n").sources
    located = locate(source)
    assert located.source is source
    assert located.files == (
        ("train", tmp_path / "parts" / "a.csv"),
        ("train", tmp_path / "parts" / "b.csv"),
        ("test", tmp_path / "test [1].csv"),
    )
    assert re.fullmatch("sha256:[0-9a-f]{64}", located.revision)
    (tmp_path / "parts" / "a.csv").write_text("text,label\nHi,ok\n")
    assert locate(source).revision != located.revision


@pytest.mark.parametrize(("pattern", "found"), [("nowhere.csv", "nothing there"), (".", "a folder")])
def test_a_file_that_is_not_beside_the_task_file_is_named(tmp_path: Path, pattern: str, found: str) -> None:
    [source] = read(tmp_path, DETECTION + f"sources: [{{files: {pattern}}}]\n").sources
    with pytest.raises(SourceError) as error:
        locate(source)
    assert error.value.found == found
    assert str(tmp_path) in error.value.expected


LOCATE = """
import sys
from pathlib import Path
from hubtools.curation.sources import locate
from hubtools.errors import HubtoolsError
from hubtools.tasks.file import read_task_file
for source in read_task_file(Path(sys.argv[1])).sources:
    try:
        print(*(f"{split}:{path.name}" for split, path in locate(source).files))
    except HubtoolsError as error:
        print(error.found)
"""


def test_a_repo_without_file_patterns_is_read_as_datasets_finds_it(
    hubtools: Command, hub: Hub, api: HfApi, tmp_path: Path
) -> None:
    api.create_repo("local/comments", repo_type="dataset", exist_ok=True)
    for name in ("train.csv", "test.csv"):
        api.upload_file(
            path_or_fileobj=b"text,label\nHello,ok\nIdiot,toxic\n", path_in_repo=name, repo_id="local/comments",
            repo_type="dataset",
        )  # fmt: skip
    path = write(tmp_path, DETECTION + """\
sources:
  - {id: local/comments}
  - {id: local/comments, name: part, files: {test: "te*.csv"}}
  - {id: local/comments, name: old, revision: v9}
  - {id: local/nowhere}
""")  # fmt: skip
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": hub.token, "PYTHONPATH": str(REPOSITORY)}
    done = hubtools.run(sys.executable, "-c", LOCATE, path, env=environment)
    assert done.stdout.splitlines() == [
        "train:train.csv test:test.csv",
        "test:test.csv",
        f"no such commit, branch or tag at {hub.url}",
        f"none at {hub.url}",
    ]


# --- the whole job ----------------------------------------------------------------------------------------------

THINGS = ["soup", "tents", "rivers", "poems", "taxes", "bikes", "lamps", "trains", "bread", "stars", "shoes", "maps"]
TASK_FILES = {
    "detection": ("toxicity", ("--labels", "ok,toxic", "--positive", "toxic")),
    "classification": ("desk", ("--labels", "billing,technical,other")),
    "spans": ("parts", ("--labels", "PRODUCT,VERSION", "--spans")),
}


def own_row(head: str, i: int) -> dict[str, str]:
    """Row ``i`` of a file for the task with ``head``; no two share more than a few words in a row."""
    first, second = THINGS[i % 12], THINGS[(i // 12 + i + 3) % 12]
    if head == "detection":
        fine = f"Thanks for note {i}, the part about {first} helped me with my {second}."
        rude = f"Number {i} knows nothing of {first}, you idiot, keep your {second} and get lost."
        return {"text": rude if i % 2 else fine, "label": "toxic" if i % 2 else "ok"}
    if head == "classification":
        text = (
            f"Invoice {i} for {first} charges {second} twice",
            f"Error {i}: {first} crashes when {second} are opened",
            f"Hello {i}, do you like {first} or rather {second}?",
        )[i % 3]
        return {"text": text, "label": ("billing", "technical", "other")[i % 3]}
    text = f"Ticket {i}: {first} {i}.{i % 7} lost my {second}" if i % 4 else f"Ticket {i} is about nothing at all"
    start = text.find(":") + 2
    middle, end = start + len(first), start + len(f"{first} {i}.{i % 7}")
    spans = [[start, middle, "PRODUCT"], [middle + 1, end, "VERSION"]] if i % 4 else []
    return {"text": text, "spans": json.dumps(spans)}


def own_file(folder: Path, head: str) -> Path:
    """A user's table for the task with ``head``."""
    rows = [own_row(head, i) for i in range(96)]
    path = folder / f"{head}.csv"
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def task_files(hubtools: Command, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The file of each head's task, as `hubtools init-task` writes it, by the head's name."""
    folder = tmp_path_factory.mktemp("tasks")
    written = {}
    for head, (name, flags) in TASK_FILES.items():
        written[head] = folder / f"{name}.yaml"
        hubtools("init-task", name, *flags, "--output", written[head])
    return written


@pytest.mark.exhaustive
@pytest.mark.parametrize("head", ["classification", "spans"])
def test_a_task_of_a_file_is_curated_trained_evaluated_and_released(
    hubtools: Command, task_files: dict[str, Path], flags: tuple[object, ...], tmp_path: Path, head: str
) -> None:
    task, rows = ("--task-file", task_files[head]), own_file(tmp_path, head)
    name, labels = read_task_file(task_files[head]).name, read_task_file(task_files[head]).label_set().labels
    hubtools("curate", *task, "--source", rows, *flags)
    hubtools("push-dataset", *task, "--private", "--accept-license", *flags)
    hubtools("finetune", *task, *flags, "--max_steps", 3)
    hubtools("evaluate", *task, *flags)
    hubtools("model-card", *task, *flags)
    hubtools("model-card", *task, "--check", *flags)
    folder = tmp_path / "work" / name
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["labels"] == [*labels]
    assert sum(split["rows"] for split in facts["splits"].values()) == 96
    card = (folder / "model" / "README.md").read_text()
    assert f"{name}_classifier_" in card
    assert all(label in card for label in labels)
    config = json.loads((folder / "model" / "config.json").read_text())
    assert tuple(config["id2label"].values()) == read_task_file(task_files[head]).model_labels(LabelSet("", labels, {}))
    repo = f"{name}-model"
    pushed = hubtools("push-model", *task, "--model-name", repo, "--private", *flags)
    assert "answers agree" in pushed.stderr
    assert "answers agree" in hubtools("verify", f"local/{repo}", *task, *flags[:4]).stdout


def commands_of_the_page() -> list[list[str]]:
    """The commands of docs/own-task.md that lead from a table to the Space."""
    [block] = re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [shlex.split(line) for line in block.splitlines()]


@pytest.mark.exhaustive
def test_a_fifth_task_goes_by_its_file_alone_from_a_table_to_the_space(
    hubtools: Command, hub: Hub, tmp_path: Path
) -> None:
    from gradio_client import Client  # type: ignore[import-untyped]

    environment = {"HUBTOOLS_HUB_DIR": str(hub.data_dir)}
    own_file(tmp_path, "detection").rename(tmp_path / "comments.csv")
    commands = commands_of_the_page()
    assert len(commands) == 6
    short = {"finetune": ["--max_steps", "3"]}
    words = [[*command[1:], *short.get(command[1], [])] for command in commands]
    hubtools.in_turn(*words, env=environment, cwd=tmp_path)

    folder = tmp_path / "hubtools-work" / "toxicity"
    published = json.loads((folder / "published.json").read_text())
    assert published["dataset"]["repo"] == "local/router-toxicity"
    assert published["model"]["repo"] == "local/toxicity_classifier_modernbert-nano_model"
    command = [hubtools.path, "demo", "--hub", "local", "--hub-dir", str(hub.data_dir)]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=hubtools.environ)
    try:
        assert demo.stdout is not None
        client = Client(demo.stdout.readline().strip(), verbose=False, analytics_enabled=False)
        answer = client.predict("You idiot, get lost.", api_name="/toxicity")
        client.close()
    finally:
        demo.terminate()
        demo.communicate()
    assert {*answer["scores"]} == {"ok", "toxic"}
    assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.exhaustive
def test_accelerate_launches_the_training_of_a_task_file_that_names_its_sources(
    hubtools: Command, task_files: dict[str, Path], hub: Hub, flags: tuple[object, ...], tmp_path: Path
) -> None:
    rows = own_file(tmp_path, "detection")
    path = write(tmp_path, task_files["detection"].read_text() + f"sources: [{{files: {rows.name}}}]\n")
    hubtools("curate", "--task-file", path, *flags)
    facts = json.loads((tmp_path / "work" / "toxicity" / "facts.json").read_text())
    assert [source["id"] for source in facts["sources"]] == [rows.name]
    launched = (sys.executable, "-m", "accelerate.commands.launch", "--num_processes", 1, "--cpu")
    ours = ("--task-file", path, "--work-dir", tmp_path / "work", "--hub", "local", "--max_steps", 2)
    environment = {"HUBTOOLS_HUB_DIR": str(hub.data_dir)}
    hubtools.run(*launched, REPOSITORY / "hubtools" / "finetune.py", *ours, env=environment)
    assert (tmp_path / "work" / "toxicity" / "model" / "model.safetensors").exists()


@pytest.mark.exhaustive
def test_run_takes_a_task_file_and_the_space_goes_on_showing_the_task(
    hubtools: Command, task_files: dict[str, Path], hub: Hub, flags: tuple[object, ...], tmp_path: Path
) -> None:
    task, rows = ("--task-file", task_files["detection"]), own_file(tmp_path, "detection")
    own = ("--source", rows, "--license", "cc-by-4.0")
    hubtools("curate", *task, *own, *flags)
    done = hubtools("run", *task, *flags, "--max_steps", 2)
    record = json.loads((tmp_path / "work" / "run.json").read_text())
    assert [*record["results"]] == ["toxicity", "space", "collection"]
    model = "local/toxicity_classifier_modernbert-nano_model"
    assert model in done.stdout
    assert (tmp_path / "work" / "toxicity" / "task.yaml").read_bytes() == task_files["detection"].read_bytes()
    again = hubtools("push-space", *flags)
    assert "unchanged at" in again.stderr
    assert "up to date" in hubtools("curate", *task, *own, *flags).stderr
    assert "answers agree" in hubtools("verify", model, *task, *flags[:4]).stdout
    models = (model, tmp_path / "work" / "toxicity" / "model")
    report = json.loads(hubtools("compare", *models, *task, "--json", *flags).stdout)
    assert report["primary"]["key"] == "roc_auc"
    assert report["models"][0]["scores"] == report["models"][1]["scores"]
    assert report["pairs"][0]["accuracy"]["difference"] == 0
