"""The pure parts of release notes and of a rollback: sections, what stays of a changelog, and cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import CommitOperationAdd, HfApi

from hubtools.publishing.changes import Content
from hubtools.publishing.commits import find_head
from hubtools.publishing.front_matter import END, START, join_card, mark_body
from hubtools.publishing.options import PushOptions
from hubtools.publishing.release_history import add_release_notes
from hubtools.publishing.release_notes import (
    CHANGELOG,
    MOST_IDS,
    ReleaseFiles,
    TaskFiles,
    merge_release_notes,
    write_release_notes,
)
from hubtools.publishing.rollback import restore_card
from hubtools.task import TaskSpec
from hubtools.tasks.category import CATEGORY
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII

FACTS: dict[str, Any] = {
    "label_set": "binary", "rule_version": "1", "seed": 0,
    "splits": {"train": {"rows": 4100}, "validation": {"rows": 90}, "test": {"rows": 4}},
    "sources": [{"id": "ann/prompts", "revision": "a" * 40, "license": "mit"}],
}  # fmt: skip


def write_answers(path: Path, ids: Sequence[str], labels: Sequence[int], positive: Sequence[float]) -> Path:
    columns = {"id": ids, "label": labels, "probabilities": [[1 - p, p] for p in positive]}
    pq.write_table(pa.table(columns), path)
    return path


def make_release(path: Path, tag: str, positive: Sequence[float], **changes: Any) -> ReleaseFiles:
    """A release of a detection; ``changes`` of rows, facts, dataset, threshold and arguments."""
    ids = changes.get("ids", ["r1", "r2", "r3", "r4"])
    labels = changes.get("labels", [1, 1, 0, 0])
    metrics = {
        "task": "jailbreak", "weights_sha256": changes.get("weights", tag),
        "scores": {"rows": len(ids), "roc_auc": {"value": 0.9, "low": 0.8, "high": 0.95}, "accuracy": float("nan")},
        "target": {"fpr": 0.01}, "thresholds": {"threshold": changes.get("threshold", 0.5)},
    }  # fmt: skip
    dataset = changes.get("dataset", ("ann/rows", "1" * 40))
    facts = changes.get("facts", FACTS)
    answers = write_answers(path / f"{tag}.parquet", ids, labels, positive)
    training = {"base": "ann/base", "arguments": {"epochs": 4, "learning_rate": 5e-5} | changes.get("arguments", {})}
    return ReleaseFiles(tag, training, {"jailbreak": TaskFiles(metrics, answers, dataset, facts)})


# --- a section ------------------------------------------------------------------------------------------------------


def test_a_section_is_the_same_whenever_it_is_written_and_in_whatever_order_rows_stand(tmp_path: Path) -> None:
    before = make_release(tmp_path, "v1", [0.9, 0.4, 0.6, 0.1])
    now = make_release(tmp_path, "v2", [0.7, 0.2, 0.2, 0.7], ids=["r2", "r1", "r4", "r3"])
    section = write_release_notes([JAILBREAK], before, now, "2026-01-31")
    assert section == write_release_notes([JAILBREAK], before, now, "2026-01-31")
    assert section.startswith("## v2 (2026-01-31)\n\nWhat changed since v1.\n")
    assert "Of 4 answers 2 were right in v1 and 2 are in v2.\n" in section
    assert "- 1 were right, now wrong: `r1`\n" in section
    assert "- 1 were wrong, now right: `r2`\n" in section
    assert "| ROC-AUC | 0.900 [0.800, 0.950] | 0.900 [0.800, 0.950] |\n" in section
    assert "| accuracy | – | – |\n" in section


def test_an_answer_is_judged_at_the_threshold_of_its_own_release(tmp_path: Path) -> None:
    before = make_release(tmp_path, "v1", [0.9, 0.4, 0.6, 0.1], threshold=0.3)
    now = make_release(tmp_path, "v2", [0.9, 0.4, 0.6, 0.1], threshold=0.7, weights="v1")
    section = write_release_notes([JAILBREAK], before, now)
    assert "- 1 were right, now wrong: `r2`\n" in section
    assert "- 1 were wrong, now right: `r3`\n" in section
    assert "The weights are those of v1.\n" in section
    assert "\n0.7, chosen for a false positive rate of at most 0.01; was 0.3, chosen for" in section


def test_a_release_on_other_rows_is_not_compared_row_by_row(tmp_path: Path) -> None:
    before = make_release(tmp_path, "v1", [0.9], ids=["r1"], labels=[1])
    section = write_release_notes([JAILBREAK], before, make_release(tmp_path, "v2", [0.9, 0.4, 0.6, 0.1]))
    assert "The columns do not compare. Of v1: it was scored on other rows: 1 of its 1 test rows" in section
    assert "Not compared with v1: it was scored on other rows" in section
    assert "now wrong" not in section


def test_a_long_list_of_ids_is_cut_and_says_so(tmp_path: Path) -> None:
    ids = [f"r{i:03}" for i in range(MOST_IDS + 5)]
    rows = {"ids": ids, "labels": [1] * len(ids)}
    before = make_release(tmp_path, "v1", [0.9] * len(ids), **rows)
    section = write_release_notes([JAILBREAK], before, make_release(tmp_path, "v2", [0.1] * len(ids), **rows))
    assert f"- {len(ids)} were right, now wrong: `r000`, " in section
    assert f"`{ids[MOST_IDS - 1]}` and 5 more, as predictions.parquet of both releases tell\n" in section


def test_what_changed_in_the_data_and_the_settings_is_told_and_nothing_else(tmp_path: Path) -> None:
    facts = FACTS | {
        "rule_version": "2",
        "splits": FACTS["splits"] | {"train": {"rows": 4300}},
        "sources": [{"id": "bob/more", "revision": "b" * 40, "license": "cc0-1.0"},
                    {"id": "ann/prompts", "revision": "c" * 40, "license": "mit"}],
    }  # fmt: skip
    answers = [0.9, 0.4, 0.6, 0.1]
    before = make_release(tmp_path, "v1", answers, arguments={"packing": "a|b"})
    now = make_release(tmp_path, "v2", answers, facts=facts, dataset=("ann/rows", "2" * 40), arguments={"epochs": 8})
    section = write_release_notes([JAILBREAK], before, now)
    data = section.split("### Data\n\n")[1].split("\n\n")[0].splitlines()
    assert data == [
        "- [ann/rows](/datasets/ann/rows) at `22222222`",
        "- train: 4,300 rows, were 4,100",
        "- validation: 90 rows, as before",
        "- test: 4 rows, as before",
        "- source added: `bob/more` at `bbbbbbbbbbbb` (cc0-1.0)",
        "- source changed: `ann/prompts` at `cccccccccccc` (mit), was at `aaaaaaaaaaaa` (mit)",
        "- version of the rules: 2, was 1",
    ]
    assert section.endswith(
        "### Settings\n\n| | v1 | v2 |\n|---|---|---|\n| epochs | 4 | 8 |\n| packing | a\\|b | – |\n"
    )
    gone = write_release_notes([JAILBREAK], now, before)
    assert "- source gone: `bob/more` at `bbbbbbbbbbbb` (cc0-1.0)\n" in gone
    assert "None flipped." in gone


def test_a_release_of_an_older_version_that_says_little_is_still_compared(tmp_path: Path) -> None:
    now = make_release(tmp_path, "v2", [0.9, 0.4, 0.6, 0.1])
    [files] = make_release(tmp_path, "v1", [0.9, 0.4, 0.6, 0.1]).tasks.values()
    before = ReleaseFiles(
        "v1", {}, {"jailbreak": replace(files, metrics={"task": "jailbreak"}, dataset=None, facts={})}
    )
    section = write_release_notes([JAILBREAK], before, now)
    assert "| ROC-AUC | – | 0.900 [0.800, 0.950] |\n" in section
    assert "- What the dataset before it held cannot be read any more.\n- train: 4,100 rows\n" in section
    assert "; was none.\n" in section
    assert "| epochs | – | 4 |\n" in section


@pytest.mark.parametrize(
    ("task", "rows", "right"),
    [
        (CATEGORY, {"label": [0, 1], "probabilities": [[0.6, 0.4], [0.7, 0.3]]}, [True, False]),
        (JAILBREAK, {"label": [0, 1], "probabilities": [[0.6, 0.4], [0.7, 0.3]]}, [False, True]),
        (
            PII,
            {
                "spans": [[{"start": 0, "end": 3, "label": 0}], []],
                "predicted_spans": [[{"start": 0, "end": 4, "label": 0, "score": 0.9}], []],
            },
            [False, True],
        ),
    ],
    ids=["category", "jailbreak", "pii"],
)
def test_an_answer_is_right_as_a_user_gets_it(task: TaskSpec, rows: Any, right: list[bool]) -> None:
    assert task.head.judge_answers(rows, task.label_set().labels, 0.3).tolist() == right


# --- the changelog --------------------------------------------------------------------------------------------------

V1 = "## v1 (2026-01-01)\n\nThe first release.\n"
V2 = "## v2 (2026-02-01)\n\nWhat changed.\n\n### Data\n\n- more\n"


def test_a_new_section_stands_on_top_and_older_ones_stay_letter_by_letter() -> None:
    first = merge_release_notes(None, V1)
    assert first.startswith("# Changelog\n")
    assert first.endswith(f"\n\n{V1}")
    edited = first.replace("first release.", "first release, made in a hurry.  \n\n\n## Ann's own heading\r\n")
    both = merge_release_notes(edited, V2)
    assert both == edited.replace("## v1", f"{V2}\n## v1", 1)
    assert merge_release_notes(both, V2.replace("more", "less")) == both.replace("- more", "- less")
    assert merge_release_notes(merge_release_notes(None, V1), V1) == first


def test_v10_is_no_new_writing_of_v1() -> None:
    notes = merge_release_notes(merge_release_notes(None, V1), V1.replace("v1", "v10"))
    assert notes.count("\n## v") == 2


def test_a_changelog_that_a_person_began_goes_on_below() -> None:
    assert merge_release_notes("# What I did\n\nA lot.\n", V1) == f"# What I did\n\nA lot.\n\n{V1}"


def test_notes_are_added_where_something_else_differs_and_only_then(api: HfApi, tmp_path: Path) -> None:
    repo = "local/notes-alone"
    asked: list[str] = []

    def describe(tag: str) -> ReleaseFiles:
        asked.append(tag)
        return make_release(tmp_path, tag, [0.9, 0.4, 0.6, 0.1])

    def add(text: bytes, **options: Any) -> dict[str, Any]:
        content = Content({"a.txt": text}, "a release", lambda _: False)
        head = find_head(api, repo, "model")
        done = add_release_notes(api, repo, content, head, PushOptions(**options), ([JAILBREAK], describe))
        return dict(done.files)

    assert add(b"one")[CHANGELOG].decode().count("\n## v1 (20") == 1, "the repo is not there yet"
    api.create_repo(repo)
    api.create_commit(repo, [CommitOperationAdd("a.txt", b"one")], commit_message="by an older version")
    api.create_tag(repo, tag="v1")
    asked.clear()
    assert add(b"one") == {"a.txt": b"one"}, "an older release, without notes, is no reason for a new one"
    theirs = b"# Mine\r\n\xff\n"
    api.create_commit(repo, [CommitOperationAdd(CHANGELOG, theirs)], commit_message="a person's")
    assert add(b"one")[CHANGELOG] == theirs
    assert asked == []
    proposed = add(b"two", create_pr=True)[CHANGELOG]
    assert proposed.startswith(theirs)
    assert b"\n## v2\n\nThe first release.\n" in proposed, "a pull request has no day of release"
    assert asked == ["v2"]


# --- the card of an older release -----------------------------------------------------------------------------------


def card(front: dict[str, object], generated: str, before: str = "", after: str = "") -> str:
    return f"---\n{yaml.safe_dump(front, sort_keys=False)}---\n\n{before}{START}\n{generated}\n{END}\n{after}"


def test_a_card_gets_back_what_was_generated_and_keeps_what_a_person_wrote_since() -> None:
    then = card({"license": "mit", "tags": ["a"]}, "# as it was", "Old words.\n")
    now = card(
        {"license": "apache-2.0", "tags": ["b"], "base_model": "ann/base", "thumbnail": "x.png"},
        "# as it is",
        "New words.\n",
        "\nBelow.\n",
    )
    back = restore_card(then, now)
    front = yaml.safe_load(back.split("---\n")[1])
    assert front == {"license": "mit", "tags": ["a"], "thumbnail": "x.png"}
    body = back.split("---\n", 2)[2].strip()
    assert body == f"New words.\n{START}\n# as it was\n{END}\n\nBelow."
    assert restore_card(then, back) == back
    assert "Old words." not in restore_card(then, None)


def test_a_card_gets_back_the_title_and_sentence_that_stand_above_the_mark() -> None:
    then, now = (
        join_card({"license": "mit"}, mark_body(f"# Guard\n\nIt scores {score}.\n\nMore.")) for score in (".91", ".95")
    )
    now = now.replace("<!--", "Ann: a word of mine.\n\n<!--", 1)
    back = restore_card(then, now)
    assert "It scores .91." in back
    assert "It scores .95." not in back
    assert "Ann: a word of mine." in back
