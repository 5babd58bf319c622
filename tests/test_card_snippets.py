"""The Python on each card, run as a reader runs it: by the libraries alone, from a clean cache."""

from __future__ import annotations

import ast
import json
import re
import sys

import pytest
from as_user import Command
from test_published_cards import as_records, run_of
from tiny_classifiers import WINDOW, make_classifier

from hubtools.localhub import Hub
from hubtools.onnx_export.graph import Classifier, write_graph
from hubtools.publishing.cards import render_model_card
from hubtools.tasks import TASKS

# What the tiny model of each task answers to everything, and the thresholds that it is released with in turn.
SURE_OF = {"category": "law", "pii": "B-PERSON", "jailbreak": "jailbreak", "intent": "scheduling"}
REACHED, MISSED = 0.43, 1.01
JAILBREAK, PII = (f"snippet-{task}-{REACHED}" for task in ("jailbreak", "pii"))  # those with ONNX files

RELEASE = """
import sys
from pathlib import Path
from huggingface_hub import HfApi
for folder in Path(sys.argv[1]).iterdir():
    HfApi().create_repo(f"local/{folder.name}")
    HfApi().upload_folder(repo_id=f"local/{folder.name}", folder_path=folder)
"""
READER = """
import contextlib, io, json, sys
said = {}
for name, snippets in json.load(open(sys.argv[1])).items():
    said[name] = []
    for snippet in snippets:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(snippet, {"__name__": "__main__"})
        said[name].append(out.getvalue())
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(hubtools: Command, hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each snippet prints, by the name of its repo: the task and the threshold of the release."""
    work = tmp_path_factory.mktemp("snippets")
    snippets = {}
    for task in TASKS.values():
        for threshold in (REACHED, MISSED) if run_of(task, "public")["metrics"]["thresholds"] else (REACHED,):
            name = f"snippet-{task.name}-{threshold}"
            folder = work / "repos" / name
            labels = list(task.model_labels(task.label_set()))
            make_classifier(folder, labels, task.head.granularity, SURE_OF[task.name])
            (folder / "thresholds.json").write_text(
                json.dumps({"weights": {"model.safetensors": {"threshold": threshold}}})
            )
            run = run_of(task, "public")
            run["training"]["arguments"]["max_length"] = WINDOW
            # A graph costs seconds: one of texts and one of tokens show both forms of the snippet.
            if name in (JAILBREAK, PII):
                (folder / "onnx").mkdir()
                write_graph(Classifier(task.head, folder), folder / "onnx" / "model.onnx")
            else:
                run["onnx"] = None
            card = render_model_card(task, f"local/{name}", as_records(run))
            (folder / "README.md").write_text(card)
            snippets[name] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    hubtools.run(sys.executable, "-c", RELEASE, work / "repos", env=hub.environ)
    (work / "snippets.json").write_text(json.dumps(snippets))
    clean = {name: str(work / name) for name in ("HF_HOME", "HF_HUB_CACHE")}
    done = hubtools.run(sys.executable, "-c", READER, work / "snippets.json", env=hub.environ | clean)
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("task", ["category", "jailbreak", "intent"])
def test_the_first_snippet_prints_every_label_the_likeliest_first(said: dict[str, list[str]], task: str) -> None:
    answers = ast.literal_eval(said[f"snippet-{task}-{REACHED}"][0])
    assert {answer["label"] for answer in answers} == set(TASKS[task].label_set().labels)
    assert answers[0]["label"] == SURE_OF[task]
    assert answers[0]["score"] > 0.99


def test_the_snippet_of_pii_prints_spans_of_a_text_that_is_longer_than_the_model_reads(
    said: dict[str, list[str]],
) -> None:
    lines = said[f"snippet-pii-{REACHED}"][0].splitlines()
    assert len(TASKS["pii"].examples[0]) > WINDOW
    assert len(lines) > WINDOW
    assert all(re.fullmatch(r"PERSON '.*' 1\.0", line) for line in lines)


@pytest.mark.parametrize(
    ("task", "reached", "missed"), [("category", "law", "other"), ("jailbreak", "flagged", "passed")]
)
def test_the_snippet_with_the_threshold_acts_on_the_threshold_of_the_release(
    said: dict[str, list[str]], task: str, reached: str, missed: str
) -> None:
    printed = [said[f"snippet-{task}-{threshold}"][1].strip() for threshold in (REACHED, MISSED)]
    assert printed == [reached, missed]


def test_the_snippet_for_onnx_answers_as_the_pipeline_of_the_first_does(said: dict[str, list[str]]) -> None:
    first, _, by_onnx = (ast.literal_eval(printed) if "{" in printed else {} for printed in said[JAILBREAK])
    assert by_onnx == {answer["label"]: pytest.approx(answer["score"], abs=1e-5) for answer in first}
    lines = said[PII][1].splitlines()
    assert len(lines) == WINDOW
    assert all(line.split()[-2] == SURE_OF["pii"] and float(line.split()[-1]) > 0.99 for line in lines)


def test_no_card_is_without_a_snippet_or_has_one_that_is_not_run(said: dict[str, list[str]]) -> None:
    assert {name: len(printed) for name, printed in said.items()} == {
        **{f"snippet-category-{at}": 2 for at in (REACHED, MISSED)},
        f"snippet-jailbreak-{MISSED}": 2, f"snippet-pii-{MISSED}": 1, f"snippet-intent-{REACHED}": 1,
        PII: 2, JAILBREAK: 3,
    }  # fmt: skip
    assert all(text for printed in said.values() for text in printed)
