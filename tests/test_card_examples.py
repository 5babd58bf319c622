"""What a card shows of the data: rows of it in their language, and none that not everybody may read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scripts_of_the_world import WORDS, make_labelled_rows
from test_published_cards import facts_of, model_card_of, run_of

from hubtools.curation.build import CurationInputs, curate
from hubtools.curation.user_data import choose_sources
from hubtools.errors import MissingStage
from hubtools.evaluation.examples import check_examples, choose_examples
from hubtools.publishing.front_matter import split_card
from hubtools.publishing.model import _list_files
from hubtools.publishing.multitask import TaskRow
from hubtools.records import from_json, write_json, write_record
from hubtools.records.dataset import DatasetFacts
from hubtools.records.metrics import Metrics
from hubtools.records.release import Published, PublishedRepos
from hubtools.rows import Columns
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.workdir import TaskFolder

LANGUAGES = ["en", "de", "ru", "ar", "he", "hi", "th", "zh", "ja", "ko"]  # a library cannot tell emoji's


def curated(folder: Path, language: str, licence: str = "mit") -> TaskFolder:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in make_labelled_rows(language)))
    sources, label_set = choose_sources(JAILBREAK, str(file), Columns(), JAILBREAK.label_set(), licence)
    work = TaskFolder(folder / "jailbreak")
    curate(JAILBREAK, work, CurationInputs(sources, label_set))
    write_json(work.training, run_of(JAILBREAK, "public")["training"])
    return work


def push(work: TaskFolder, access: str) -> Published:
    dataset = Published(
        repo="me/rows", kind="dataset", revision="1" * 40, tag="v1", changed=True, url="", access=access
    )
    write_record(work.published, PublishedRepos(dataset=dataset))
    return dataset


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_widget_is_a_row_of_the_data_and_the_card_names_its_language(language: str, tmp_path: Path) -> None:
    work = curated(tmp_path, language)
    rows = choose_examples(JAILBREAK, work)
    assert rows
    assert {*rows} <= {str(row["text"]) for row in make_labelled_rows(language)}
    run = run_of(JAILBREAK, "public")
    answered = [{"text": text, "output": [{"label": "benign", "score": 0.9}]} for text in rows]
    facts = facts_of(JAILBREAK, "public") | {"languages": list(work.read_facts().languages)}
    metadata = split_card(
        model_card_of(JAILBREAK, "public", metrics=run["metrics"] | {"examples": answered}, facts=facts)
    )
    assert [widget["text"] for widget in metadata[0]["widget"]] == rows
    assert metadata[0]["language"][0] == language
    for english in JAILBREAK.examples:
        assert english not in metadata[1]


@pytest.mark.parametrize(("access", "licence"), [("private", "mit"), ("gated", "mit"), ("public", "other")])
def test_no_row_of_a_dataset_that_not_everybody_may_read_leaves_with_its_model(
    access: str, licence: str, tmp_path: Path
) -> None:
    work = curated(tmp_path, "ru", licence)
    dataset = push(work, access)
    facts = work.read_facts()
    assert choose_examples(JAILBREAK, work) == []
    # Scores that were made before it was so.
    answered = [{"text": facts.examples[0].text, "output": []}]
    metrics = from_json(run_of(JAILBREAK, "public")["metrics"] | {"examples": answered}, Metrics)
    with pytest.raises(MissingStage, match="hold rows of a dataset") as caught:
        check_examples(JAILBREAK, facts, dataset, metrics)
    assert "hubtools evaluate jailbreak" in str(caught.value)
    work.model.mkdir()
    files = _list_files(JAILBREAK, work, replace(metrics, examples=[]))
    released = b"".join(file if isinstance(file, bytes) else b"" for file in files.values())
    assert "facts.json" in files
    assert from_json(json.loads(files["facts.json"]), DatasetFacts).examples == []  # type: ignore[arg-type]
    assert not any(word.encode() in released for word in WORDS["ru"].split() if len(word) > 5)


def test_rows_of_a_public_dataset_go_along(tmp_path: Path) -> None:
    work = curated(tmp_path, "ja")
    dataset = push(work, "public")
    facts = work.read_facts()
    [first, *_] = rows = choose_examples(JAILBREAK, work)
    answered = [{"text": text, "output": []} for text in rows]
    metrics = from_json(run_of(JAILBREAK, "public")["metrics"] | {"examples": answered}, Metrics)
    assert check_examples(JAILBREAK, facts, dataset, metrics) == ""
    assert TaskRow(JAILBREAK, metrics, facts, dataset, dataset, None).example == first
    work.model.mkdir()
    assert _list_files(JAILBREAK, work, metrics)["facts.json"] == work.facts
