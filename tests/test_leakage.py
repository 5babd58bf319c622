"""No leak in what is pushed: the parquet of all four datasets, downloaded by the Hub's own client and looked at anew.

On the starter corpora, and among the exhaustive tests on the public data where ``../shared/raw`` is beside the
checkout.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import leaks
import pyarrow.parquet as pq
import pytest
from as_user import REPOSITORY, Command
from huggingface_hub import HfApi, snapshot_download

from hubtools.localhub import find, stop

TASKS = ("category", "pii", "jailbreak", "intent")
SPLITS = ("train", "validation", "test")
RAW = REPOSITORY.parent / "shared" / "raw"
MAIN = {
    "category": "TIGER-Lab/MMLU-Pro", "pii": "microsoft/presidio-research",
    "jailbreak": "jackhhao/jailbreak-classification", "intent": "glaiveai/glaive-function-calling-v2",
}  # fmt: skip
Pushed = dict[str, dict[str, list[dict[str, Any]]]]


PUBLIC = pytest.param("public", marks=[pytest.mark.real, pytest.mark.exhaustive])


@pytest.fixture(scope="module", params=["starter", PUBLIC])
def pushed(
    request: pytest.FixtureRequest, hubtools: Command, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pushed]:
    """The rows of the four pushed datasets, by task and split."""
    if request.param == "public" and not RAW.is_dir():
        pytest.skip(f"needs the public data at {RAW}")
    folder = tmp_path_factory.mktemp(request.param)
    mirror = ("--mirror", RAW) if request.param == "public" else ()
    try:
        hubtools(
            "push-dataset", "all", "--hub", "local", "--hub-dir", folder / "hub", "--work-dir", folder / "work", *mirror
        )
        hub = find(folder / "hub")
        assert hub is not None
        api = HfApi(endpoint=hub.url, token=hub.token)
        rows: Pushed = {}
        for task in TASKS:
            copy = snapshot_download(
                f"local/router-{task}", repo_type="dataset", endpoint=api.endpoint, token=api.token,
                local_dir=folder / "copy" / task,
            )  # fmt: skip
            rows[task] = {
                split: [
                    row
                    for path in sorted(Path(copy, "data").glob(f"{split}-*"))
                    for row in pq.read_table(path).to_pylist()
                ]
                for split in SPLITS
            }
            facts = json.loads(Path(copy, "facts.json").read_text())
            assert facts["sources"][0]["id"] == (MAIN[task] if mirror else f"hubtools/starter-{task}")
            assert {split: len(part) for split, part in rows[task].items()} == {
                split: facts["splits"][split]["rows"] for split in SPLITS
            }
        yield rows
    finally:
        stop(folder / "hub")


@pytest.mark.parametrize("task", TASKS)
def test_no_text_no_near_duplicate_and_no_group_stands_in_two_splits(pushed: Pushed, task: str) -> None:
    rows = pushed[task]
    assert all(len(part) > 20 for part in rows.values())
    assert leaks.exact(rows) == []
    assert leaks.near(rows) == []
    assert all(row["group"] for part in rows.values() for row in part)
    assert leaks.groups(rows) == []


@pytest.mark.parametrize("task", TASKS)
def test_the_check_finds_each_leak_that_is_put_in(pushed: Pushed, task: str) -> None:
    """Or it would prove nothing."""
    rows = {split: [*part] for split, part in pushed[task].items()}
    long = next(row for row in rows["test"] if len(leaks.words(row["text"])) > 12)
    loud = {**long, "text": f" {long['text'].upper()}!!", "group": "new"}
    close = {**long, "text": f"{long['text']} indeed", "group": "new too"}
    assert leaks.exact({**rows, "train": [*rows["train"], loud]})
    [pair] = leaks.near({**rows, "validation": [*rows["validation"], close]})
    assert set(pair) == {long["text"], close["text"]}
    assert leaks.groups({**rows, "train": [*rows["train"], {**long, "text": "other"}]}) == [long["group"]]


ON_PUBLIC_DATA = pytest.mark.parametrize("pushed", [PUBLIC], indirect=True)


def with_column(rows: list[dict[str, Any]], values: dict[str, str]) -> list[dict[str, Any]]:
    return [{**row, "of": values[row["text"]]} for row in rows if row["text"] in values]


@ON_PUBLIC_DATA
def test_no_template_of_presidio_stands_in_two_splits(pushed: Pushed) -> None:
    """By the template ids of the file itself, whatever our groups say."""
    listed = json.loads((RAW / MAIN["pii"] / "synth_dataset_v2.json").read_text())
    templates = {row["full_text"]: str(row["template_id"]) for row in listed}
    rows = {split: with_column(part, templates) for split, part in pushed["pii"].items()}
    assert all(rows.values())
    assert leaks.groups(rows, of="of") == []
    held_out = {row["source"] for split in ("validation", "test") for row in pushed["pii"][split]}
    assert MAIN["pii"] in held_out
    assert not [source for source in held_out if source.startswith("hubtools/")], "our templates are trained on alone"


@ON_PUBLIC_DATA
def test_no_function_of_glaive_stands_in_two_splits(pushed: Pushed) -> None:
    """By the first call of each conversation, read anew."""
    listed = json.loads((RAW / MAIN["intent"] / "glaive-function-calling-v2.json").read_text())
    functions = {}
    for row in listed:
        first = re.match(r"\s*USER:(.*?)\s*(?:<\|endoftext\|>\s*)?\n+ASSISTANT:", row["chat"], re.DOTALL)
        call = re.search(r"<functioncall>\s*\{\s*[\"']name[\"']\s*:\s*[\"']([^\"']+)", row["chat"])
        if first and call:
            functions[first.group(1).strip()] = call.group(1)
    rows = {split: with_column(part, functions) for split, part in pushed["intent"].items()}
    assert sum(map(len, rows.values())) > 100
    assert leaks.groups(rows, of="of") == []


@ON_PUBLIC_DATA
def test_the_official_test_split_of_jailbreak_is_kept_and_nothing_of_it_is_trained_on(pushed: Pushed) -> None:
    official = RAW / MAIN["jailbreak"] / "default" / "jailbreak_dataset_test.csv"
    texts = {
        " ".join(leaks.words(row["prompt"])) for row in csv.DictReader(official.read_text("utf-8").splitlines(True))
    }
    folded = {
        split: {" ".join(leaks.words(row["text"])) for row in part} for split, part in pushed["jailbreak"].items()
    }
    assert folded["test"] <= texts
    assert len(folded["test"]) > 0.95 * len(texts)
    assert not texts & (folded["train"] | folded["validation"])
