"""Collections that training never saw: sources left out one at a time, benchmarks, and what the card says of both."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import leaks
import numpy as np
import pytest
from as_user import Command
from test_published_cards import model_card_of, run_of
from test_published_cards import scored as card_score
from test_studies import COUNTS, FACTS, base  # noqa: F401

from hubtools.curation.augmentation import augment, is_augmented
from hubtools.errors import UsageError
from hubtools.heads.span_rows import widen_to_words
from hubtools.records import write_json
from hubtools.spec import Example
from hubtools.studies.source_folds import HELD_OUT, SourceFold, choose_left_out, leave_out
from hubtools.tasks.category import CATEGORY
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII
from hubtools.workdir import TaskFolder

LABELS = JAILBREAK.label_set()
TASK = """\
name: rude
head: detection
labels: [ok, rude]
positive: rude
sources:
  - files: forum.jsonl
    name: forum
    license: cc-by-4.0
  - files: letters.jsonl
    name: letters
    license: mit
  - files: polite.jsonl
    name: polite
    license: mit
    role: training
    share: 0.9
  - files: hard.jsonl
    name: hard
    license: cc-by-4.0
    role: test
"""
NOUNS = [f"{a}{b}" for a in ("sun", "rain", "stone", "wood", "iron") for b in ("fish", "bird", "boat", "road", "mill")]


def write_rows(path: Path, rows: int, rude: bool, seed: int) -> None:
    """Rows of words; where ``rude``, every second one is."""
    rng = random.Random(seed)
    with path.open("w") as out:
        for i in range(rows):
            text = " ".join(rng.sample(NOUNS, 6))
            is_rude = rude and i % 2
            row = {"text": f"{text} you fool" if is_rude else text, "label": "rude" if is_rude else "ok"}
            out.write(json.dumps(row) + "\n")


@pytest.fixture(scope="module")
def rude(hubtools: Command, base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[object], list[object]]:  # noqa: F811
    """A task of one's own with four sources, curated; what names it, and flags that train on it in a blink."""
    home = tmp_path_factory.mktemp("rude")
    for seed, (name, rows, both) in enumerate(
        (("forum", 120, True), ("letters", 80, True), ("polite", 60, False), ("hard", 30, True))
    ):
        write_rows(home / f"{name}.jsonl", rows, both, seed)
    (home / "rude.yaml").write_text(TASK)
    named = ["--task-file", home / "rude.yaml", "--work-dir", home / "work"]
    hubtools("curate", *named)
    flags = ["--base", base, "--max_steps", 2, "--use_cpu", "--eval_strategy", "steps", "--eval_steps", 1,
             "--save_strategy", "steps", "--save_steps", 1]  # fmt: skip
    return named, flags


def folder_of(named: Sequence[object]) -> TaskFolder:
    return TaskFolder(Path(str(named[3])) / "rude")


@pytest.mark.exhaustive
def test_a_source_that_is_left_out_is_scored_alone_at_the_threshold_of_that_training(
    hubtools: Command, rude: tuple[list[object], list[object]]
) -> None:
    named, flags = rude
    command = ("cross-validate", *named, "--by", "source", "--leave-out", "polite", *flags)
    done = hubtools(*command, "--json", env={"OMP_NUM_THREADS": "1"})
    report = json.loads(done.stdout)["rude"]
    assert report == json.loads(folder_of(named).unseen.read_text())
    [fold] = report["trainings"]
    assert (fold["sources"], fold["held_out"]) == (["polite.jsonl"], 60)
    scores = fold["held_out_scores"]["scores"]
    assert (scores["recall_at_threshold"], scores["roc_auc"]) == (None, None), "it has no attack"
    assert 0 <= scores["fpr_at_threshold"]["low"] <= scores["fpr_at_threshold"]["value"] <= 1
    assert report["means"] == {"fpr_at_threshold": scores["fpr_at_threshold"]["value"]}
    run = Path(report["folder"]) / fold["name"] / "rude"
    assert not run.joinpath("model").exists()
    assert not run.joinpath("dataset").exists()

    again = hubtools(*command)
    assert "[rude]" in done.stderr  # what a training says
    assert "[rude]" not in again.stderr
    assert again.stdout.splitlines()[1].split()[:2] == ["polite.jsonl", "60"]


@pytest.mark.exhaustive
def test_every_source_is_left_out_in_turn_and_a_kill_costs_the_one_under_way(
    hubtools: Command, rude: tuple[list[object], list[object]]
) -> None:
    named, flags = rude
    command = ("cross-validate", *named, "--by", "source", "--seed", 5, *flags)
    under_way = hubtools.begin(*command)
    assert under_way.stdout is not None
    for line in under_way.stdout:
        if "without-letters.jsonl: seed 5" in line:
            break
    under_way.kill()
    with under_way:  # waits, and closes what it wrote to
        pass
    done = hubtools(*command, "--json")
    assert "without-forum.jsonl: seed 5" not in done.stderr
    report = json.loads(done.stdout)["rude"]
    assert [fold["sources"] for fold in report["trainings"]] == [["forum.jsonl"], ["letters.jsonl"], ["polite.jsonl"]]
    assert all(fold["held_out_scores"]["scores"]["roc_auc"] for fold in report["trainings"][:2])
    rates = [fold["held_out_scores"]["scores"]["fpr_at_threshold"]["value"] for fold in report["trainings"]]
    assert report["means"]["fpr_at_threshold"] == pytest.approx(sum(rates) / 3)


def test_a_dry_run_by_source_says_what_would_be_left_out_and_writes_nothing(
    hubtools: Command, rude: tuple[list[object], list[object]]
) -> None:
    named, flags = rude
    before = {path: path.stat().st_mtime_ns for path in folder_of(named).root.rglob("*")}
    said = hubtools("cross-validate", *named, "--by", "source", *flags[:2], "--dry-run").stderr
    assert [line.split(":")[0] for line in said.splitlines() if line.startswith("would")] == [
        "would train without forum.jsonl", "would train without letters.jsonl", "would train without polite.jsonl",
    ]  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in folder_of(named).root.rglob("*")} == before


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--by", "source", "--leave-out", "forums"], "has no rows of a source 'forums'"),
        (["--leave-out", "forum"], "Folds are of rows, and sources are left out whole"),
        (["--by", "source", "--folds", "3"], "Folds are of rows, and sources are left out whole"),
        (
            ["--by", "source", "--leave-out", "forum,letters"],
            "forum.jsonl, letters.jsonl: no other source has rows of rude",
        ),
    ],
)
def test_what_cannot_be_left_out_is_said(
    hubtools: Command, rude: tuple[list[object], list[object]], flags: list[str], said: str
) -> None:
    named, training = rude
    failed = hubtools("cross-validate", *named, *flags, *training[:2], check=False)
    assert failed.returncode != 0
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr


# --- what is trained on ---------------------------------------------------------------------------------------------


def rows_of(source: str, groups: int, labels: Sequence[str], split: str = "train") -> list[Example]:
    rng = random.Random(source + split)
    return [
        Example(" ".join(rng.choices(NOUNS, k=9)) + f" {source} {split} {g}", label=labels[g % len(labels)],
                group=f"{source} {split} {g}", split=split, source=source)
        for g in range(groups)
    ]  # fmt: skip


BOTH = ("benign", "jailbreak")
ROWS = [
    *rows_of("a", 30, BOTH), *rows_of("a", 8, BOTH, "validation"), *rows_of("b", 20, BOTH),
    *rows_of("b", 6, BOTH, "validation"), *rows_of("calm", 20, BOTH[:1]),
]  # fmt: skip


def fold_of(rows: Sequence[Example], *sources: str, **facts: Any) -> SourceFold:
    fold = leave_out(rows, sources, JAILBREAK, LABELS, replace(FACTS, **facts), 0)
    assert isinstance(fold, SourceFold), fold
    return fold


def test_validation_rows_are_those_of_the_remaining_sources() -> None:
    fold = fold_of(ROWS, "a")
    assert {row.text for row in fold.select(HELD_OUT)} == {row.text for row in ROWS if row.source == "a"}
    assert {row.text for row in fold.select("validation")} == {
        row.text for row in ROWS if row.source == "b" and row.split == "validation"
    }
    assert not fold.own_validation
    assert {row.source for row in fold.select("train")} == {"b", "calm"}


def test_where_the_others_have_no_validation_rows_some_are_drawn_by_group() -> None:
    rows = [*rows_of("a", 8, BOTH, "validation"), *rows_of("a", 20, BOTH), *rows_of("more", 60, BOTH)]
    fold = fold_of(rows, "a")
    assert fold.own_validation
    assert {row.label for row in fold.select("validation")} == set(BOTH)
    assert {row.source for row in fold.rows if row.split != HELD_OUT} == {"more"}
    split_of = {row.group: {r.split for r in fold.rows if r.group == row.group} for row in fold.rows}
    assert all(len(splits) == 1 for splits in split_of.values())


def test_what_is_like_a_row_that_is_left_out_is_not_trained_on() -> None:
    like = [replace(row, text=row.text + "!", source="b", group=f"like {i}") for i, row in enumerate(ROWS[:10])]
    same_group = [replace(row, source="b", group="a train 0") for row in rows_of("other", 1, BOTH)]
    fold = fold_of([*ROWS, *like, *same_group], "a")
    assert fold.leaks == 11
    splits = {s: [{"text": r.text, "group": r.group} for r in fold.select(s)] for s in ("train", "validation", "test")}
    assert (leaks.exact(splits), leaks.near(splits), leaks.groups(splits)) == ([], [], [])


def test_a_source_that_alone_has_a_class_cannot_be_left_out() -> None:
    rows = [*rows_of("a", 30, BOTH), *rows_of("calm", 20, BOTH[:1])]
    assert leave_out(rows, ("a",), JAILBREAK, LABELS, FACTS, 0) == "no other source has rows of jailbreak"


def test_prompts_that_match_lengths_are_made_of_what_is_left() -> None:
    rows = [*ROWS, *rows_of("lengths", 5, BOTH[:1])]
    rows = [replace(row, group=f"lengths {i}") if row.source == "lengths" else row for i, row in enumerate(rows)]
    fold = fold_of(rows, "a", counts=replace(COUNTS, length_matched_train=5))
    assert not {row.text for row in rows if row.source == "lengths"} & {row.text for row in fold.rows}


def test_rows_made_of_two_sources_hold_no_word_of_the_one_that_is_left_out() -> None:
    """An attack between words of "calm" is a row of the attack's source: to leave "calm" out takes it away as well."""
    made = {"surrounded": 0.5}
    rows, _ = augment(ROWS, JAILBREAK, [*made.items()], 0)

    def holds_calm(row: Example) -> bool:
        return row.source != "calm" and "calm" in row.text

    assert any(holds_calm(row) for row in rows)
    fold = fold_of(rows, "calm", augmentations=made)
    assert any(is_augmented(row) for row in fold.select("train"))
    assert not any(holds_calm(row) for row in fold.rows)


def test_a_dataset_of_one_source_is_refused_and_names_find_their_sources() -> None:
    with pytest.raises(UsageError, match="rows of one source alone"):
        choose_left_out([], rows_of("a", 4, BOTH), JAILBREAK, FACTS)
    rows = [*ROWS, *rows_of("teknium1/GPTeacher", 4, BOTH)]
    assert choose_left_out(["gpteacher,a", "b"], rows, JAILBREAK, FACTS) == [("teknium1/GPTeacher", "a"), ("b",)]
    assert choose_left_out([], ROWS, JAILBREAK, FACTS) == [("a",), ("b",), ("calm",)]


# --- scores of an unseen collection ---------------------------------------------------------------------------------


def values(scores: Any) -> dict[str, float | None]:
    return {key: score and round(score.value, 4) for key, score in scores.items()}


def test_a_detector_has_the_rates_that_the_rows_define() -> None:
    rows: Any = {"label": [0, 0, 0, 1], "probabilities": [[1 - s, s] for s in (0.1, 0.2, 0.9, 0.8)],
                 "group": ["a", "a", "b", "c"]}  # fmt: skip
    found = JAILBREAK.head.score_unseen(rows, LABELS.labels, range(2), 0.5)
    assert values(found) == {"fpr_at_threshold": 0.3333, "recall_at_threshold": 1.0, "roc_auc": 0.6667}
    harmless: Any = {key: column[:3] for key, column in rows.items()}
    assert values(JAILBREAK.head.score_unseen(harmless, LABELS.labels, range(2), 0.5)) == {
        "fpr_at_threshold": 0.3333, "recall_at_threshold": None, "roc_auc": None,
    }  # fmt: skip


def test_an_unsure_or_rightly_named_everyday_request_has_reached_the_fallback() -> None:
    labels = CATEGORY.label_set().labels
    p = np.full((4, len(labels)), 0.01)
    other, law = labels.index("other"), labels.index("law")
    p[0, other], p[1, law], p[2, law], p[3, law] = 0.8, 0.3, 0.9, 0.9
    rows: Any = {"label": [other, other, other, law], "probabilities": p.tolist(), "group": [""] * 4}
    found = values(CATEGORY.head.score_unseen(rows, labels, range(len(labels)), 0.5))
    assert found["accuracy"] == 0.5
    assert found["fallback_reached"] == 0.6667


def span(start: int, end: int, label: int = 0) -> dict[str, Any]:
    return {"start": start, "end": end, "label": label, "score": 0.9}


def test_spans_are_compared_strictly_and_by_their_words() -> None:
    text = "Ask Mr. Lee (London)."
    rows: Any = {"text": [text, "Nothing."], "spans": [[span(8, 11), span(12, 20, 4)], []],
                 "predicted_spans": [[span(8, 11), span(13, 19, 4)], [span(0, 7), span(0, 7, 1)]],
                 "group": ["", ""]}  # fmt: skip
    found = values(PII.head.score_unseen(rows, PII.label_set().labels, range(5), 0.0))
    assert found == {"entity_f1": 0.4, "word_f1": 0.8, "false_spans": 0.5}, "of types that are annotated here"
    clean: Any = {key: column[1:] for key, column in rows.items()}
    assert values(PII.head.score_unseen(clean, PII.label_set().labels, range(5), 0.0)) == {
        "entity_f1": None, "word_f1": None, "false_spans": 2.0,
    }  # fmt: skip


def test_spans_are_widened_to_the_words_that_they_touch() -> None:
    text = "Write to (Ann-Marie O'Neil)!"
    [widened] = widen_to_words(text, [span(9, 21)])
    assert text[widened["start"] : widened["end"]] == "Ann-Marie O"
    assert widen_to_words("?!", [span(0, 1)]) == [{"start": 0, "end": 1, "label": 0}]


# --- what the card and the release say ------------------------------------------------------------------------------


def left_out(source: str, **scores: float | None) -> dict[str, Any]:
    return {
        "name": f"without-{source}", "seed": 0, "flags": [], "score": 0.9, "seconds": 1.0, "steps": 2, "epochs": 1.0,
        "sources": [source], "train": 90, "validation": 20, "held_out": 1234, "left_out_as_leaks": 0,
        "own_validation": False,
        "held_out_scores": {
            "threshold": 0.4,
            "scores": {key: None if value is None else card_score(value) for key, value in scores.items()},
        },
    }  # fmt: skip


def report_of(*trainings: dict[str, Any], training: str = "") -> dict[str, Any]:
    titles = {metric.key: metric.title for metric in JAILBREAK.head.list_unseen(LABELS.labels)}
    return {
        "task": "jailbreak", "metric": {"key": "roc_auc", "title": "ROC-AUC"}, "split": "held out", "base": "b",
        "seed": 0, "flags": [], "folder": "f", "trainings": [*trainings], "dataset": "d", "training": training,
        "titles": titles, "means": {"fpr_at_threshold": 0.0625, "roc_auc": 0.75},
        "not_left_out": {"their/attacks": "no other source has rows of jailbreak"},
    }  # fmt: skip


def test_the_card_has_a_line_for_each_source_that_was_left_out_and_for_each_benchmark() -> None:
    run = run_of(JAILBREAK, "public")
    calm = left_out("calm|prompts", fpr_at_threshold=0.125, recall_at_threshold=None, roc_auc=None)
    both = left_out("their/set", fpr_at_threshold=0.0, recall_at_threshold=0.5, roc_auc=0.75)
    [one] = run["external"][:1]
    scores = {"fpr_at_threshold": card_score(0.01), "recall_at_threshold": card_score(0.33), "roc_auc": None}
    benchmark = one | {"benchmark": "hard", "license": "cc-by-4.0", "unseen": scores, "dataset": "their/hard"}
    card = model_card_of(JAILBREAK, unseen=report_of(calm, both), external=[benchmark])
    assert "## On a collection it has never seen" in card
    assert "On average: FPR at the threshold 0.062, ROC-AUC 0.750." in card
    assert "| calm\\|prompts | 1,234 | 0.125 [0.105, 0.145] | – | – |" in card
    assert "- their/attacks always stayed in: no other source has rows of jailbreak." in card
    rows = f"{one['rows']['scored']:,}"
    assert f"| hard (`their/hard`) | cc-by-4.0 | {rows} | 0.010 [-0.010, 0.030] | 0.330 [0.310, 0.350] | – |" in card
    assert "## On other data" not in card
    assert "## On a collection" not in model_card_of(JAILBREAK, external=[])


def test_a_report_of_another_training_has_no_place_beside_a_model(tmp_path: Path) -> None:
    folder = TaskFolder(tmp_path)
    write_json(folder.training, run_of(JAILBREAK, "public")["training"] | {"fingerprint": "now"})
    assert folder.find_unseen() is None
    for fingerprint, found in (("before", False), ("now", True)):
        write_json(folder.unseen, report_of(training=fingerprint))
        assert (folder.find_unseen() is not None) == found
    folder.unseen.write_text("{")
    assert folder.find_unseen() is None


@pytest.mark.exhaustive
def test_evaluate_scores_the_benchmarks_of_a_task_and_tells_of_one_that_is_gone(
    hubtools: Command, rude: tuple[list[object], list[object]]
) -> None:
    named, flags = rude
    folder = folder_of(named)
    hard = Path(str(named[1])).parent / "hard.jsonl"
    hubtools("finetune", *named, *flags, env={"OMP_NUM_THREADS": "1"})
    hidden = hard.rename(hard.with_suffix(".hidden"))
    try:
        told = hubtools("evaluate", *named)
    finally:
        hidden.rename(hard)
    assert "benchmark hard is left out" in told.stderr
    assert not list(folder.root.glob("external/*.json"))
    hubtools("evaluate", *named)
    report = json.loads((folder.root / "external" / "hard.json").read_text())
    assert (report["benchmark"], report["license"], report["rows"]["scored"]) == ("hard", "cc-by-4.0", 30)
    threshold = json.loads((folder.model / "thresholds.json").read_text())["weights"]["model.safetensors"]["threshold"]
    assert report["threshold"] == threshold
    assert report["unseen"].keys() == {"fpr_at_threshold", "recall_at_threshold", "roc_auc"}
    before = (folder.root / "external" / "hard.parquet").stat().st_mtime_ns
    hubtools("evaluate", *named, "--target-fpr", 0.3)
    moved = json.loads((folder.root / "external" / "hard.json").read_text())
    assert moved["threshold"] != threshold
    assert moved["unseen"]["fpr_at_threshold"] != report["unseen"]["fpr_at_threshold"]
    assert (folder.root / "external" / "hard.parquet").stat().st_mtime_ns == before, "the model is asked once"


@pytest.mark.exhaustive
def test_a_release_holds_what_sources_left_out_scored_and_is_verified(
    hubtools: Command, hub: Any, api: Any, rude: tuple[list[object], list[object]]
) -> None:
    named, flags = rude
    folder = folder_of(named)
    online = ("--hub", "local", "--hub-dir", hub.data_dir)
    hubtools("finetune", *named, *flags, env={"OMP_NUM_THREADS": "1"})
    hubtools("cross-validate", *named, "--by", "source", "--leave-out", "letters", *flags, env={"OMP_NUM_THREADS": "1"})
    hubtools("push-dataset", *named, *online, "--dataset-name", "rude-rows")
    told = hubtools("evaluate", *named, *online)
    assert "rude: on 1 source that training never saw: FPR at the threshold" in told.stderr
    hubtools("push-model", *named, *online, "--model-name", "rude-model", "--skip-router-check")
    files = api.list_repo_files("local/rude-model")
    assert {"leave-one-source-out.json", "external/hard.json"} <= set(files)
    card = (folder.model / "README.md").read_text()
    assert "## On a collection it has never seen" in card
    assert "| letters.jsonl | 70 |" in card, "of 80 rows, 10 stand in the test split"
    assert "| hard (`hard.jsonl`) | cc-by-4.0 | 30 |" in card
    hubtools("verify", "local/rude-model", *online)
