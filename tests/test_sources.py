"""A task has any number of sources: all whole ones make one dataset, and benchmarks are only ever scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_curation import category_rows, everything, rows_in, write

from hubtools.curation import sources as sources_module
from hubtools.curation.build import CurationInputs, compute_fingerprint, curate
from hubtools.curation.evaluation_rows import read_evaluation_rows
from hubtools.curation.sources import SourceFiles, locate_public
from hubtools.curation.supplements import check_names, choose_supplements
from hubtools.curation.user_data import choose_sources
from hubtools.errors import SourceError, UsageError
from hubtools.rows import Columns, read_labelled_row
from hubtools.spec import Source
from hubtools.task import TaskSpec
from hubtools.tasks.category import CATEGORY
from hubtools.workdir import TaskFolder

LABELS = CATEGORY.label_set()
FIRST = replace(CATEGORY.whole_sources[0], name="first")
SECOND = Source(
    id="their/prompts",
    files={"": ("data.jsonl",)},
    columns=("text", "label"),
    row=read_labelled_row,
    license="cc-by-sa-4.0",
    attribution="Theirs.",
    provenance="As they have them.",
    name="second",
)
BENCHMARK = replace(SECOND, id="their/benchmark", name="hard", role="test")
BOTH = replace(CATEGORY, sources=(FIRST, SECOND, BENCHMARK), starter=None)


def second_rows(each: int = 8, seed: int = 7) -> list[dict[str, Any]]:
    return [{"text": row["question"], "label": row["category"]} for row in category_rows(each, seed)]


@pytest.fixture
def pooled(tmp_path: Path) -> tuple[SourceFiles, SourceFiles]:
    """Two sources whose files share a name, and of which the second repeats a row of the first and has a bad one."""
    first, second = category_rows(), second_rows()
    second += [{"text": first[0]["question"], "label": first[0]["category"]}, {"text": "which?", "label": 5}]
    paths = [tmp_path / name / "data.jsonl" for name in ("first", "second")]
    for path, rows in zip(paths, (first, second), strict=True):
        path.parent.mkdir()
        write(path, rows)
    return SourceFiles(FIRST, (("", paths[0]),), "r1"), SourceFiles(SECOND, (("", paths[1]),), "r2")


def test_all_whole_sources_are_read_into_one_dataset(pooled: tuple[SourceFiles, SourceFiles], tmp_path: Path) -> None:
    folder = TaskFolder(tmp_path / "work" / "category")
    facts = curate(BOTH, folder, CurationInputs(pooled, LABELS, skip_bad_rows=True))
    rows = everything(folder)
    assert {row["source"] for row in rows} == {FIRST.id, SECOND.id}
    assert facts.counts.dropped == {"exact duplicate": 1, "label is missing": 1}
    assert facts.counts.read == facts.counts.kept + 2
    assert [(source.id, source.revision) for source in facts.sources] == [(FIRST.id, "r1"), (SECOND.id, "r2")]
    assert facts.license.id == "cc-by-sa-4.0"
    assert set(vars(facts.leakage).values()) == {0}
    for split in ("train", "validation", "test"):
        assert {row["source"] for row in rows_in(folder, split)} == {FIRST.id, SECOND.id}
    dropped = [json.loads(line) for line in folder.dropped.read_text().splitlines()]
    assert {line["place"] for line in dropped} == {f"{SECOND.id} data.jsonl:113", f"{SECOND.id} data.jsonl:114"}


def test_what_is_wrong_in_one_of_several_sources_names_it(
    pooled: tuple[SourceFiles, SourceFiles], tmp_path: Path
) -> None:
    with pytest.raises(SourceError) as caught:
        curate(BOTH, TaskFolder(tmp_path / "work" / "category"), CurationInputs(pooled, LABELS))
    assert str(caught.value).startswith(f"Sources '{FIRST.id}', '{SECOND.id}' have 1 bad row of 226.")
    assert f"({SECOND.id} data.jsonl:114)" in str(caught.value)


def test_an_official_test_split_of_one_source_holds_no_row_of_another(
    pooled: tuple[SourceFiles, SourceFiles], tmp_path: Path
) -> None:
    first, second = pooled
    official = write(tmp_path / "test.jsonl", second_rows(2, seed=9))
    second = replace(second, files=(*second.files, ("test", official)))
    folder = TaskFolder(tmp_path / "work" / "category")
    curate(BOTH, folder, CurationInputs((first, second), LABELS, skip_bad_rows=True))
    assert {row["text"] for row in rows_in(folder, "test")} == {row["text"] for row in second_rows(2, seed=9)}


def test_the_fingerprint_covers_every_source_and_its_role(pooled: tuple[SourceFiles, SourceFiles]) -> None:
    first, second = pooled
    inputs = [
        CurationInputs((first,), LABELS),
        CurationInputs((first, second), LABELS),
        CurationInputs((second, first), LABELS),
        CurationInputs((first,), LABELS, supplements=(second,)),
        CurationInputs((first, replace(second, source=replace(SECOND, license="mit"))), LABELS),
    ]
    assert len({compute_fingerprint(BOTH, one) for one in inputs}) == len(inputs)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says which repos the Hub has."""

    def serve(*ids: str) -> None:
        def find(source: Source) -> SourceFiles | None:
            return SourceFiles(source, (), "r1") if source.id in ids else None

        monkeypatch.setattr(sources_module, "_find_on_hub", find)

    return serve


def ids_of(task: TaskSpec, without: tuple[str, ...] = ()) -> list[str]:
    return [files.source.id for files in locate_public(task, without)]


def test_a_named_source_is_left_out_as_long_as_one_is_left(hub: Callable[..., None]) -> None:
    hub(FIRST.id, SECOND.id, BENCHMARK.id)
    assert ids_of(BOTH) == [FIRST.id, SECOND.id], "the benchmark is not curated"
    assert ids_of(BOTH, ("first",)) == [SECOND.id]
    with pytest.raises(
        UsageError, match=r"(?s)Nothing is left to curate category from.*--without first, --without sec"
    ):
        ids_of(BOTH, ("first", "second"))
    check_names([BOTH], [], ["first", "second"])
    for asked, left_out in ((["first"], []), ([], ["hard"])):
        with pytest.raises(UsageError, match="Unknown supplement"):
            check_names([BOTH], asked, left_out)
    assert choose_supplements(BOTH, locate_public(BOTH), (), ()) == []


def test_the_starter_corpus_stands_in_for_all_public_sources_or_for_none(hub: Callable[..., None]) -> None:
    task = replace(BOTH, starter=CATEGORY.starter)
    assert task.starter
    hub(task.starter.id)
    assert ids_of(task) == [task.starter.id]
    hub(task.starter.id, FIRST.id)
    with pytest.raises(SourceError, match=SECOND.id):
        ids_of(task)


def test_a_task_without_public_sources_says_how_to_curate_it() -> None:
    task = replace(CATEGORY, name="toxicity", sources=(BENCHMARK,), starter=None)
    with pytest.raises(UsageError, match=r"(?s)'toxicity' has no public source.*hubtools curate toxicity --source"):
        choose_sources(task, None, Columns(), LABELS)
    with pytest.raises(UsageError, match="'toxicity' has no starter corpus"):
        choose_sources(task, "starter", Columns(), LABELS)


def test_a_users_file_is_read_by_the_columns_of_whichever_source_it_is_laid_out_as(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.jsonl", category_rows(1))
    [files], _ = choose_sources(BOTH, str(path), Columns(), LABELS)
    assert (files.source.row, files.mapping) == (FIRST.row, None)
    path = write(tmp_path / "other.jsonl", second_rows(1))
    [files], _ = choose_sources(BOTH, str(path), Columns(), LABELS)
    assert (files.source.row, files.mapping) == (SECOND.row, None)
    task = replace(BOTH, sources=())
    [files], _ = choose_sources(task, str(path), Columns(), LABELS)
    assert files.mapping
    assert files.mapping.columns == ["text", "label"]


def test_a_benchmark_is_scored_by_its_name_with_its_own_row_function(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = second_rows(1)
    path = write(tmp_path / "data.jsonl", rows)
    monkeypatch.setattr(sources_module, "_find_on_hub", lambda source: SourceFiles(source, (("", path),), "r3"))
    labelled = read_evaluation_rows(
        BOTH, "hard", Columns(), LABELS, split=None, skip_bad_rows=False, training=[rows[0]["text"].upper()]
    )
    assert (labelled.name, labelled.about["dataset"], labelled.about["revision"]) == ("hard", BENCHMARK.id, "r3")
    assert labelled.about["rows"]["in_training"] == {"exact": 1, "near": 0}
    assert labelled.texts == [row["text"] for row in rows[1:]]
    assert labelled.truth == [LABELS.labels.index(row["label"]) for row in rows[1:]]
    with pytest.raises(UsageError, match="Benchmark 'hard' has its own columns"):
        read_evaluation_rows(
            BOTH, "hard", Columns(text="prompt"), LABELS, split=None, skip_bad_rows=False, training=None
        )


def test_a_benchmark_that_is_nowhere_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_module, "_find_on_hub", lambda source: None)
    with pytest.raises(SourceError, match=r"(?s)Benchmark 'hard' .* could not be read.*--mirror"):
        read_evaluation_rows(BOTH, "hard", Columns(), LABELS, split=None, skip_bad_rows=False, training=None)
