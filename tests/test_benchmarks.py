"""The training benchmarks do what they say, on a tiny base; what they measure is in benchmarks/results."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from as_user import REPOSITORY
from test_training import curated, one_thread, tiny_base, tokenizer
from transformers.utils import logging

from hubtools.heads.span_rows import tag_words
from hubtools.spec import Example, Span
from hubtools.tasks.pii import PII

sys.path.append(str(REPOSITORY / "benchmarks"))
import generalisation
import quality
import throughput

__all__ = ["curated", "one_thread", "tiny_base", "tokenizer"]  # fixtures


@pytest.fixture(autouse=True)
def own_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmarks train in processes of their own; here they must leave no trace."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    verbosity = logging.get_verbosity()
    yield
    logging.set_verbosity(verbosity)


@pytest.mark.parametrize(
    "way",
    [
        quality.OURS,
        quality.PLAIN,
        *(pytest.param(way, marks=pytest.mark.exhaustive) for way in (quality.PLAIN_OURS, quality.WORDS)),
    ],
)
def test_every_way_of_measuring_quality_is_scored_on_the_same_rows(way: str, curated: Path, tiny_base: Path) -> None:
    dataset = str(curated / "jailbreak" / "dataset")
    spec = SimpleNamespace(task="jailbreak", base=str(tiny_base), data=dataset, seed=0, epochs=1, max_length=32)
    found = quality.measured(way, spec)
    assert found["rows"] == {"train": 16, "validation": 8, "test": 8}
    assert found["primary"] == "roc_auc"
    assert {"roc_auc", "pr_auc"} <= found["scores"].keys()
    assert all(0 <= score <= 1 for score in found["scores"].values())
    # Eight rows a step as transformers' examples have it, or hubtools' thirty-two, of sixteen rows.
    assert found.get("steps") == {quality.PLAIN: 2, quality.WORDS: None}.get(way, 1)


def test_drawn_rows_stay_in_their_split_and_follow_from_the_seed(curated: Path, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    whole = curated / "jailbreak" / "dataset"
    for name, seed in (("first", 5), ("second", 5), ("other", 6)):
        quality.drawn(whole, tmp_path / name, 6, seed)

    def ids(folder: Path, split: str) -> list[str]:
        [file] = folder.glob(f"data/{split}-*.parquet")
        return list(pq.read_table(file)["id"].to_pylist())

    train = {name: ids(tmp_path / name, "train") for name in ("first", "second", "other")}
    assert train["first"] == train["second"] != train["other"]
    assert len(set(train["first"])) == 6
    assert set(train["first"]) <= set(ids(whole, "train"))
    assert sorted(ids(tmp_path / "first", "test")) == sorted(ids(whole, "test"))


def test_tags_of_first_subwords_read_back_to_the_spans_of_the_text(tokenizer: Any) -> None:
    text = "Ann Lee (of Wolfeschlegelsteinhausen) wrote to ann.lee@example.org"
    types = PII.label_set().labels
    spans = [Span(0, 7, "PERSON"), Span(12, 36, "LOCATION"), Span(47, len(text), "EMAIL_ADDRESS")]
    words, tags = tag_words(text, spans, types)
    encoded = quality.first_subwords({"tokens": [words], "ner_tags": [tags]}, tokenizer, 64)
    [labels] = encoded["labels"]
    assert len(labels) == len(encoded["input_ids"][0]) > len(words) + 2, "some words have several subwords"
    found = quality.word_spans(text, [label for label in labels if label != -100])
    assert found == [{"start": s.start, "end": s.end, "label": types.index(s.type)} for s in spans]
    offsets = [(0, 0), (0, 2), (2, 3), (3, 7), (7, 8)]  # of which the last word has none
    assert quality.tags_of_words("Ann Lee, x", offsets, [9, 1, 4, 2, 0]) == [1, 2, 0, 0]
    assert quality.word_spans("Ann Lee", [2, 2]) == [{"start": 0, "end": 7, "label": 0}]
    assert [s["label"] for s in quality.word_spans("Ann Rome", [1, 10])] == [0, 4], "another type begins another span"


@pytest.mark.exhaustive
def test_the_throughput_benchmark_counts_real_tokens_however_they_are_padded(curated: Path, tiny_base: Path) -> None:
    spec = SimpleNamespace(
        size=str(tiny_base), folder=str(tiny_base), data=str(curated / "jailbreak"), rows=0, epochs=1, batch=8,
        max_length=64, learning_rate=1e-3, device="cpu", threads=1, bf16=False, seed=0,
    )  # fmt: skip
    runs = {way: throughput.trained(way, spec) for way in throughput.WAYS}
    tokens = {way: run["tokens_per_second"] * run["seconds"] for way, run in runs.items()}
    assert tokens[throughput.FIXED] == pytest.approx(16 * runs[throughput.OURS]["mean_length"], rel=0.1)
    assert {run["steps"] for run in runs.values()} == {2}
    # Padding costs time and changes no number.
    assert runs[throughput.FIXED]["roc_auc"] == runs[throughput.DYNAMIC]["roc_auc"]


def test_few_rows_of_the_throughput_benchmark_are_as_long_as_all() -> None:
    lengths = [(7 * i) % 500 for i in range(1000)]
    chosen = throughput.spread_out(lengths, 50)
    assert len(set(chosen)) == 50
    picked = [lengths[row] for row in chosen]
    assert sum(picked) / 50 == pytest.approx(sum(lengths) / 1000, rel=0.01)
    assert throughput.spread_out(lengths, 5000) == list(range(1000))


def test_a_ratio_is_of_two_trainings_of_one_round() -> None:
    runs = [
        {"way": throughput.FIXED, "round": 0, "tokens_per_second": 100.0},
        {"way": throughput.OURS, "round": 0, "tokens_per_second": 500.0},
        {"way": throughput.OURS, "round": 1, "tokens_per_second": 900.0},
        {"way": throughput.FIXED, "round": 1, "tokens_per_second": 300.0},
        {"way": throughput.OURS, "round": 2, "tokens_per_second": 700.0},  # interrupted here
    ]
    assert throughput.ratios(runs, throughput.OURS, throughput.FIXED) == [5.0, 3.0]
    assert throughput.spread([5.0, 3.0], 1) == "4.0 [3.0, 5.0]"


def test_sources_are_left_out_in_at_most_so_many_groups_and_none_is_forgotten() -> None:
    sources = ["d/x", "a/x", "c/x", "e/x", "b/x:two", "b/x:one"]
    rows = [Example("", label, group=label + source, source=source) for source in sources for label in ("one", "two")]
    assert generalisation.grouped(rows, 4) == {
        "a/x + e/x": ("a/x", "e/x"), "b/x:one + b/x:two": ("b/x:one", "b/x:two"), "c/x": ("c/x",), "d/x": ("d/x",)
    }  # fmt: skip
    assert list(generalisation.grouped(rows[:4], 4).values()) == [("a/x",), ("d/x",)]


def test_no_group_of_sources_is_left_out_that_alone_has_rows_of_a_class() -> None:
    rows = [Example("", "one", group=source, source=source) for source in ("a/x", "b/x", "c/x", "d/x", "e/x")]
    rows += [Example("", "two", group=group, source=source) for source in ("a/x", "e/x") for group in ("1", "2")]
    parts = [*generalisation.grouped(rows, 4).values()]
    assert parts == [("a/x",), ("b/x", "e/x"), ("c/x",), ("d/x",)], "not the first group, whose turn it is"
    alone = generalisation.grouped([row for row in rows if row.source != "e/x"], 4)
    assert ("a/x",) in alone.values(), "where nobody else has it, why not stands in the results"


def left_out(configuration: str, group: str, seed: int, value: float | None) -> dict[str, Any]:
    scores = {"roc_auc": None if value is None else {"value": value, "low": 0, "high": 1}}
    return {"task": "jailbreak", "configuration": configuration, "base": "nano", "group": [group], "seed": seed,
            "scores": scores, "titles": {"roc_auc": "ROC-AUC"}}  # fmt: skip


def test_the_table_of_generalisation_compares_the_same_groups_and_seeds() -> None:
    cells = [
        left_out(name, "a", seed, value + seed / 10)
        for name, value in (("before", 0.5), ("now", 0.7))
        for seed in (0, 1)
    ]
    cells += [left_out("now", "b", 0, 0.9), left_out("before", "c", 0, 0.3), left_out("now", "c", 0, 0.2)]
    cells += [left_out("before", "d", 0, None), left_out("before", "b", 0, 0.1) | {"why_not": "no class"}]
    del cells[-1]["scores"]
    cells += [left_out("none made", "a", 0, 0.6), left_out("none made", "e", 0, 0.1)]
    settings = {"rows": 1500, "scored": 300, "steps": 4, "max_length": 32}
    configurations = {"before": {"about": "old"}, "now": {"about": "new"}, "none made": {"about": "bare"}}
    report = {"settings": settings, "configurations": configurations, "cells": dict(enumerate(cells))}
    table = generalisation.table(report)
    assert "| jailbreak | a | ROC-AUC | 0.550 ± 0.071 | 0.750 ± 0.071 | +0.200 ± 0.000 |" in table
    assert "| jailbreak | b | ROC-AUC | – | 0.900 | – |" in table
    mean = next(line for line in table.splitlines() if "*mean*" in line)
    assert mean == "| jailbreak | *mean* | ROC-AUC | 0.500 ± 0.141 | 0.625 ± 0.247 | +0.125 ± 0.106 |"
    assert "| d |" not in table
    assert "none made" not in table, "parts have a table of their own"
    parts = generalisation.table_of_parts(report)
    assert "| jailbreak | none made | 1 | ROC-AUC | 0.700 | 0.600 | -0.100 |" in parts, "a group both have left out"
    assert parts.endswith("- none made: bare.")


@pytest.mark.exhaustive
@pytest.mark.real
def test_generalisation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """On the public data where they lie beside the checkout: two groups of sources of jailbreak, four steps."""
    raw = REPOSITORY.parent / "shared" / "raw"
    if not raw.exists():
        pytest.skip("../shared/raw is not beside the checkout")
    script = (REPOSITORY / "benchmarks" / "generalisation.py").read_text()
    beside = tmp_path / "benchmarks"
    beside.mkdir()
    for name in ("quality.py", "generalisation.py"):
        (beside / name).write_text((REPOSITORY / "benchmarks" / name).read_text())
    (beside / "generalisation.py").write_text(
        script.replace("ROOT = Path(__file__).parent.parent", f"ROOT = Path({str(REPOSITORY)!r})")
    )
    command = [sys.executable, beside / "generalisation.py", "--mirror", raw, "--tasks", "jailbreak", "--rows", "60",
               "--steps", "4", "--max-length", "48", "--seeds", "1", "--configurations", "now",
               "--groups", "2"]  # fmt: skip
    for cells in ("2 cells to measure, 0 are there", "0 cells to measure, 2 are there"):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert cells in done.stderr
    rows = re.findall(r"^\| jailbreak \| .*gpteacher.* \| FPR at the threshold \|", done.stdout, re.MULTILINE)
    assert len(rows) == 1, done.stdout
