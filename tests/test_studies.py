"""Studies: a search that goes on after a kill, folds that keep apart what must be apart, and several seeds."""

from __future__ import annotations

import json
import random
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import leaks
import pytest
import torch
from as_user import Command, own_rows
from hypothesis import given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st
from test_training import STARTER, tiny_config
from transformers import AutoTokenizer, ModernBertForMaskedLM

from hubtools.curation.build import CurationInputs, curate
from hubtools.curation.facts import COMPARISON
from hubtools.curation.user_data import choose_sources
from hubtools.errors import TrainingFailed, UsageError
from hubtools.heads.length_matching import compose_negatives, is_composed
from hubtools.launch import finetune_task
from hubtools.options import TrainingOptions, WorkOptions
from hubtools.records import write_record
from hubtools.records.dataset import Counts, DatasetFacts, Leakage, LicenseFacts, SupplementFacts
from hubtools.records.training import TaskTrainingValues, TrainingRecord
from hubtools.rows import Columns
from hubtools.spec import BaseModel, Example, Span
from hubtools.studies import engine
from hubtools.studies.cross_validation import cross_validate_task
from hubtools.studies.folds import Fold, divide_rows, read_rows
from hubtools.studies.ranges import Range, read_ranges, surround_defaults
from hubtools.studies.repetition import repeat_training
from hubtools.studies.search import JOURNAL, search_flags
from hubtools.studies.tables import format_seeds
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII
from hubtools.training.fewshot import check_method
from hubtools.training.flags import parse_training_flags
from hubtools.training.presets import Preset, choose_preset
from hubtools.workdir import TaskFolder, task_folder

LABELS = JAILBREAK.label_set()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random encoder of two layers with the nano model's tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = AutoTokenizer.from_pretrained(STARTER / "modernbert-nano")
    torch.manual_seed(3)
    config = tiny_config(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id)
    ModernBertForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def files_below(folder: Path, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob(pattern))


# --- as a user ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(hubtools: Command, base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object]]:
    """A work folder with 60 rows for jailbreak, and the flags that train on them in a blink."""
    home = tmp_path_factory.mktemp("small")
    work = home / "work"
    hubtools("curate", "jailbreak", "--source", own_rows(home / "rows.csv"), "--work-dir", work)
    flags = ["--base", base, "--work-dir", work, "--max_steps", 2, "--use_cpu", "--eval_strategy", "steps",
             "--eval_steps", 1, "--save_strategy", "steps", "--save_steps", 1]  # fmt: skip
    return work, flags


@pytest.mark.exhaustive
def test_a_search_ends_with_the_command_whose_model_it_has_already_trained(
    hubtools: Command, small: tuple[Path, list[object]]
) -> None:
    work, flags = small
    ranges = work / "ranges.yaml"
    ranges.write_text("learning_rate: {low: 1e-5, high: 1e-1, log: true}\n")
    command = ("search", "jailbreak", "--trials", 1, "--ranges", ranges, *flags)
    done = hubtools(*command, env={"OMP_NUM_THREADS": "1"})
    report = json.loads((work / "jailbreak" / "search.json").read_text())
    trained = {trial["name"]: trial for trial in report["trainings"]}
    assert set(trained) == {"defaults", "trial-000"}
    assert trained["defaults"]["flags"] == []
    assert trained["trial-000"]["flags"][0] == "--learning_rate"
    assert report["best"]["score"] == max(trial["score"] for trial in trained.values())
    study = Path(report["folder"])
    assert files_below(study, "model.safetensors") == [f"{report['best']['name']}/jailbreak/model/model.safetensors"]
    assert files_below(study, "*test*") == []
    assert not (work / "jailbreak" / "model").exists()

    words = shlex.split(done.stdout.splitlines()[-1])
    best = report["best"]["flags"]
    assert words[: 3 + len(best)] == ["hubtools", "finetune", "jailbreak", *best]
    taken = hubtools(*words[1:])
    assert "[jailbreak]" in done.stderr  # what a training says
    assert "[jailbreak]" not in taken.stderr
    assert f"was done in {study / report['best']['name']}" in taken.stderr
    training = json.loads((work / "jailbreak" / "training.json").read_text())
    assert training["best_validation"]["roc_auc"] == report["best"]["score"]
    assert (work / "jailbreak" / "model" / "model.safetensors").exists()


@pytest.mark.exhaustive
def test_cross_validation_trains_on_every_fold_and_leaves_test_and_model_alone(
    hubtools: Command, small: tuple[Path, list[object]]
) -> None:
    work, flags = small
    test = TaskFolder(work / "jailbreak").split_file("test")
    hidden = test.with_name("elsewhere")
    test.rename(hidden)
    try:
        command = ("cross-validate", "jailbreak", "--folds", 2, *flags)
        done = hubtools(*command, "--json", env={"OMP_NUM_THREADS": "1"})
    finally:
        hidden.rename(test)
    report = json.loads(done.stdout)["jailbreak"]
    assert report == json.loads((work / "jailbreak" / "cross-validation.json").read_text())
    assert [fold["name"] for fold in report["trainings"]] == ["fold-1", "fold-2"]
    rows = len(read_rows(TaskFolder(work / "jailbreak"), JAILBREAK, LABELS))
    assert sum(fold["validation"] for fold in report["trainings"]) == rows
    scores = [fold["score"] for fold in report["trainings"]]
    assert report["mean"] == pytest.approx(sum(scores) / 2)
    assert report["standard_deviation"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)
    assert files_below(Path(report["folder"]), "*.safetensors") == []
    assert files_below(Path(report["folder"]), "*.arrow") == []


def test_a_dry_run_of_a_study_writes_nothing_and_says_what_would_be_trained(
    hubtools: Command, small: tuple[Path, list[object]]
) -> None:
    work, [*flags] = small
    flags = flags[:4]  # base and work folder
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*")}
    said = [
        hubtools(*command, *flags, "--dry-run").stderr
        for command in (("search", "jailbreak"), ("cross-validate", "jailbreak"), ("repeat", "jailbreak"))
    ]
    assert "would train 20 trials" in said[0]
    assert "  learning_rate: low " in said[0]
    assert said[1].count("would train fold-") == 5
    assert [line.split()[2] for line in said[2].splitlines()] == ["seed-0:", "seed-1:", "seed-2:"]
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*")} == before


def looked_at(flags: Sequence[str]) -> None:
    check_method(parse_training_flags(flags), [JAILBREAK], 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("lerning_rate: {low: 1e-5, high: 1e-3}", r"'lerning_rate' .*\n.*\n  found:    --lerning_rate"),
        ("learning_rate: {low: 1e-3, high: 1e-5}", r"'learning_rate' .*\n  expected: two numbers, low at most high"),
        ("learning_rate: {low: 0, high: 1.0, log: true}", r"low above 0"),
        ("learning_rate: {low: a, high: 1.0}", r"expected: two numbers"),
        ("learning_rate: {least: 0.1}", r"expected: low and high"),
        ("per_device_train_batch_size: {low: 4.0, high: 16.0}", r"invalid int value"),
        ("per_device_train_batch_size: [8, 16.5]", r"invalid int value"),
        ("weight_decay: []", r"a list of numbers"),
        ("seed: [0, 1]", r"found:    seed, which must not"),
        ("- learning_rate", r"expected: a flag and its range a line"),
        ("learning_rate: {low: [", r"expected: a YAML file"),
    ],
)
def test_ranges_that_cannot_be_searched_are_named(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "ranges.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=said):
        read_ranges(path, looked_at)


def test_ranges_read_as_people_write_numbers(tmp_path: Path) -> None:
    path = tmp_path / "ranges.yaml"
    path.write_text(
        "learning-rate: {low: 1e-5, high: 1e-3, log: true}\nnum_train_epochs: {low: 2, high: 6, step: 2}\n"
        "warmup_steps: {low: 0.0, high: 1}\noptim: [adamw_torch, adafactor]\n"
    )
    assert read_ranges(path, looked_at) == {
        "learning_rate": Range(1e-5, 1e-3, log=True),
        "num_train_epochs": Range(2, 6, step=2),
        "warmup_steps": Range(0.0, 1),
        "optim": Range(choices=("adamw_torch", "adafactor")),
    }


def test_default_ranges_surround_the_defaults_however_a_step_is_shared() -> None:
    found = surround_defaults(Preset(4, 32, 1e-3, 0.01, 0.03, 0, 3), 4)
    assert (found["learning_rate"].low, found["learning_rate"].high) == (2e-4, 5e-3)
    assert found["per_device_train_batch_size"].choices == (4, 8, 16)
    assert (found["num_train_epochs"].low, found["num_train_epochs"].high) == (2, 8)
    assert surround_defaults(Preset(1, 1, 1e-3, 0, 0, 0, 1), 2)["per_device_train_batch_size"].choices == (1,)


# --- the engine, with trainings that take no time -------------------------------------------------------------------


def training_record(fingerprint: str, score: float) -> TrainingRecord:
    """What a training that took no time leaves."""
    values = TaskTrainingValues(
        epochs=1,
        batch_size=2,
        learning_rate=1e-4,
        weight_decay=0,
        warmup=0,
        max_length=32,
        seed=0,
        precision="fp32",
        class_weights=None,
    )
    return TrainingRecord(
        task="jailbreak", fingerprint=fingerprint, base="base", base_revision=None, base_note="", label_set="binary",
        presets=[], arguments=values, steps=2, epochs_run=1.0, best_validation={"roc_auc": score}, history=[],
        seconds=1.0, resumed=False, processes=1, path="", device="cpu", versions={},
    )  # fmt: skip


class Killed(BaseException):
    """What ends a command from outside."""


Options = tuple[WorkOptions, TrainingOptions]


def changed(chosen: Options, **options: Any) -> Options:
    """The same work folder, and other options of the training."""
    return chosen[0], replace(chosen[1], **options)


@pytest.fixture
def trainings(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Options, list[tuple[str, ...]], dict[str, Any]]:
    """Options for a curated folder, the trainings done (seed and flags), and how they go: what they ``do`` before they
    leave a model, and their ``score``.
    """
    sources, _ = choose_sources(JAILBREAK, str(own_rows(tmp_path / "rows.csv")), Columns(), LABELS)
    curate(JAILBREAK, task_folder(tmp_path / "work", "jailbreak"), CurationInputs(sources, LABELS))
    done: list[tuple[str, ...]] = []
    how: dict[str, Any] = {
        "do": lambda flags: None, "score": lambda seed, flags: random.Random(f"{seed}{flags}").random(),
    }  # fmt: skip

    def train(task: Any, work: WorkOptions, options: TrainingOptions) -> None:
        done.append((str(options.seed), *options.flags.argv))
        how["do"](options.flags.argv)
        folder = work.folder(task)
        assert sorted(path.name.split("-")[0] for path in (folder.dataset / "data").iterdir()) == [
            "train", "validation",
        ]  # fmt: skip
        score = how["score"](options.seed, options.flags.argv)
        _, mark = engine.compute_training_fingerprint(task, work, options)
        write_record(folder.training, training_record(mark, score))
        folder.model.mkdir()
        (folder.model / "model.safetensors").touch()

    monkeypatch.setattr(engine, "finetune_task", train)
    chosen = WorkOptions(tmp_path / "work", note=lambda _: None), TrainingOptions(base=str(base))
    return chosen, done, how


def test_a_search_that_is_killed_goes_on_with_the_trial_under_way_and_ends_as_if_undisturbed(
    trainings: Any, tmp_path: Path
) -> None:
    chosen, done, how = trainings
    whole = search_flags(JAILBREAK, *chosen, 13)
    undisturbed = list(done)
    assert len(undisturbed) == len(set(undisturbed)) == 14
    assert whole.best.score == max(outcome.score for outcome in whole.trainings)
    assert files_below(Path(whole.folder), "model.safetensors") == [
        f"{whole.best.name}/jailbreak/model/model.safetensors"
    ]
    assert set(whole.importances) == set(whole.ranges)

    moved = Path(whole.folder).rename(tmp_path / "undisturbed")
    done.clear()

    def killed(_: object) -> None:
        if len(done) in (3, 8):
            raise Killed

    how["do"] = killed
    for _ in range(2):
        with pytest.raises(Killed):
            search_flags(JAILBREAK, *chosen, 13)
        with (Path(whole.folder) / JOURNAL).open("ab") as journal:  # and in the midst of a write
            journal.write(b'{"op_code":')
    again = search_flags(JAILBREAK, *chosen, 13)
    assert again == whole
    assert [flags for i, flags in enumerate(done) if flags not in done[:i]] == undisturbed
    assert Counter(Counter(done).values()) == {1: 12, 2: 2}
    assert search_flags(JAILBREAK, *chosen, 13) == whole
    assert len(done) == 16
    assert search_flags(JAILBREAK, *chosen, 14).trainings != whole.trainings
    assert len(done) == 17
    assert moved.exists()


def test_a_search_without_optuna_says_how_to_install_it(trainings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=re.escape("pip install 'hubtools[search]'")):
        search_flags(JAILBREAK, *trainings[0], 1)
    assert trainings[1] == []


def test_another_sampler_seed_or_range_is_another_search(trainings: Any, tmp_path: Path) -> None:
    chosen, _, _ = trainings
    ranges = tmp_path / "ranges.yaml"
    ranges.write_text("weight_decay: [0.0, 0.1]\n")
    found = [search_flags(JAILBREAK, *chosen, 1, sampler_seed=0), search_flags(JAILBREAK, *chosen, 1, sampler_seed=1),
             search_flags(JAILBREAK, *chosen, 1, ranges)]  # fmt: skip
    assert len({report.folder for report in found}) == 3
    assert len({str(report.trainings) for report in found}) == 3


@pytest.mark.parametrize("flags", [(), ("--lora_rank", "4")])
def test_a_search_surrounds_what_this_base_would_be_trained_with(trainings: Any, flags: tuple[str, ...]) -> None:
    """An encoder of this width learns at another rate than ModernBERT-base, and adapters of it at yet another."""
    chosen, _, _ = trainings
    folder = chosen[0].folder(JAILBREAK)
    rows = json.loads(folder.facts.read_text())["splits"]["train"]["rows"]
    width = tiny_config().hidden_size
    preset, _ = choose_preset(rows, JAILBREAK, BaseModel(chosen[1].base), width, lora=bool(flags))
    found = search_flags(JAILBREAK, *changed(chosen, flags=parse_training_flags(flags)), 1).ranges["learning_rate"]
    assert found.low == pytest.approx(preset.learning_rate / 5, rel=0.01)
    assert found.high == pytest.approx(preset.learning_rate * 5, rel=0.01)


def test_a_flag_that_is_given_is_not_searched(trainings: Any, tmp_path: Path) -> None:
    chosen, done, _ = trainings
    fixed = changed(chosen, flags=parse_training_flags(("--learning-rate", "1e-4", "--max_steps=3")))
    left = set(search_flags(JAILBREAK, *fixed, 1).ranges)
    assert left == {"per_device_train_batch_size", "weight_decay", "warmup_steps"}
    assert all("--learning_rate" not in flags for flags in done)
    ranges = tmp_path / "ranges.yaml"
    ranges.write_text("max_steps: [2, 3]\n")
    with pytest.raises(UsageError, match="Nothing is left to search"):
        search_flags(JAILBREAK, *fixed, 1, ranges)


def test_a_trial_that_fails_is_recorded_and_does_not_end_the_search(trainings: Any) -> None:
    chosen, done, how = trainings

    def second_fails(_: object) -> None:
        if len(done) == 2:
            raise TrainingFailed("Training 'jailbreak' ended without a model", found="The loss is nan at step 3")

    how["do"] = second_fails
    report = search_flags(JAILBREAK, *chosen, 3)
    assert report.trainings[-1].failure == "The loss is nan at step 3"
    assert sum(outcome.score is not None for outcome in report.trainings) == 3
    assert sum(outcome.score is not None for outcome in search_flags(JAILBREAK, *chosen, 3).trainings) == 4
    assert len(done) == 5  # one more, and none again


def test_a_search_in_which_everything_fails_is_an_error_and_can_be_taken_up_again(trainings: Any) -> None:
    chosen, _, how = trainings

    def fails(_: object) -> None:
        raise TrainingFailed("Training 'jailbreak' ended without a model", found="no room left")

    how["do"] = fails
    with pytest.raises(TrainingFailed, match=r"3 of 3 trainings .*\n.*\n.*no room left"):
        search_flags(JAILBREAK, *chosen, 2)
    how["do"] = lambda _: None
    assert search_flags(JAILBREAK, *chosen, 2).best.score


def test_seeds_go_on_after_a_failure_and_keep_the_model_of_the_first(trainings: Any) -> None:
    chosen, done, how = trainings

    def third_fails(_: object) -> None:
        if len(done) == 3:
            raise TrainingFailed("Training 'jailbreak' ended without a model", found="killed by SIGKILL")

    how["do"] = third_fails
    chosen = changed(chosen, seed=4)
    with pytest.raises(TrainingFailed, match=r"1 of 4 trainings .*\n.*\n.*seed-6: killed by SIGKILL"):
        repeat_training(JAILBREAK, *chosen, 4)
    assert [flags[0] for flags in done] == ["4", "5", "6", "7"]
    report = repeat_training(JAILBREAK, *chosen, 4)
    assert [flags[0] for flags in done[4:]] == ["6"]
    assert report.scored == 4
    assert files_below(Path(report.folder), "model.safetensors") == ["seed-4/jailbreak/model/model.safetensors"]


@pytest.mark.parametrize("best", [True, False])
def test_a_training_of_a_search_is_not_done_again_unless_its_model_is_wanted_and_gone(
    trainings: Any, best: bool
) -> None:
    chosen, done, how = trainings
    how["score"] = lambda _, flags: 0.5 if flags else float(best)
    assert search_flags(JAILBREAK, *chosen, 1).best.name == ("defaults" if best else "trial-000")
    report = repeat_training(JAILBREAK, *chosen, 1)
    assert done[2:] == ([] if best else [("0",)])
    said: list[str] = []
    finetune_task(JAILBREAK, replace(chosen[0], note=said.append), replace(chosen[1], dry_run=True))
    assert said[0].startswith("jailbreak: would take over the model of ")
    assert report.trainings[0].score == float(best)
    assert files_below(Path(report.folder), "model.safetensors") == ["seed-0/jailbreak/model/model.safetensors"]
    later = repeat_training(JAILBREAK, *changed(chosen, seed=-1), 2)  # where it is not the first, the score is enough
    assert done[2 + (not best) :] == [("-1",)]
    assert files_below(Path(later.folder), "model.safetensors") == ["seed--1/jailbreak/model/model.safetensors"]


def test_the_tables_say_where_the_scores_come_from_and_how_far_they_spread(trainings: Any) -> None:
    chosen, _, how = trainings
    how["score"] = lambda seed, _: 0.8 + 0.1 * seed
    head, *rows, spread, kept = format_seeds(repeat_training(JAILBREAK, *chosen, 2))
    assert head.split("  ")[1] == "ROC-AUC, validation"
    assert [row.split() for row in rows] == [["seed-0", "0.8000", "1"], ["seed-1", "0.9000", "1"]]
    assert spread == (
        "ROC-AUC on validation: mean 0.8500, standard deviation 0.0707, from 0.8000 to 0.9000, of 2 trainings."
    )
    assert kept == "The model of seed-0 is kept: the first, whatever the scores."
    alone = format_seeds(repeat_training(JAILBREAK, *chosen, 1))
    assert alone[-2].startswith("ROC-AUC on validation: mean 0.8000, from ")


def test_a_fold_that_is_done_is_not_trained_again(trainings: Any) -> None:
    chosen, done, how = trainings

    def killed(_: object) -> None:
        if len(done) == 2:
            raise Killed

    how["do"] = killed
    with pytest.raises(Killed):
        cross_validate_task(JAILBREAK, *chosen, 3)
    report = cross_validate_task(JAILBREAK, *chosen, 3)
    assert len(done) == 4
    assert len({outcome.score for outcome in report.trainings}) == 1  # the stand-in knows seed and flags alone
    assert cross_validate_task(JAILBREAK, *chosen, 3) == report
    assert len(done) == 4
    with pytest.raises(UsageError, match="Folds are made of the curated dataset"):
        cross_validate_task(JAILBREAK, *changed(chosen, flags=parse_training_flags(("--dataset=elsewhere",))), 3)


# --- folds ----------------------------------------------------------------------------------------------------------

COUNTS = Counts(read=0, steps={}, dropped={}, synthetic_train=0, length_matched_train=0, kept=0)
FACTS = DatasetFacts(
    task="", fingerprint="", label_set="", labels=[], rule_version="", seed=0, hubtools="", sources=[],
    license=LicenseFacts(id="mit", rule=""), counts=COUNTS, decided_by=None,
    supplements=[SupplementFacts(id="more", name="more", license="mit", read=0, documents=0, dropped={}, rows=0,
                                 share=0, limit=1, decided_by=None)],
    splits={}, comparison=COMPARISON,
    leakage=Leakage(exact_across_splits=0, near_across_splits=0, groups_across_splits=0),
    length_baseline=None, synthesis=None, examples=[],
)  # fmt: skip
WORDS = [f"word{i}" for i in range(200)]


def prompts(groups: int, each: int, seed: int = 0, source: str = "own") -> list[Example]:
    """Rows of every group, a third of the groups attacks."""
    rng = random.Random(f"{source} {seed}")
    return [
        Example(" ".join(rng.choices(WORDS, k=12)), label="benign" if g % 3 else "jailbreak", group=f"{source} {g}",
                split="train", source=source)
        for g in range(groups)
        for _ in range(each)
    ]  # fmt: skip


def as_rows(fold: Fold) -> dict[str, list[dict[str, str]]]:
    return {
        split: [{"text": r.text, "group": r.group} for r in fold.select(split)] for split in ("train", "validation")
    }


@of_hypothesis(max_examples=10, deadline=None)
@given(st.integers(2, 5), st.integers(15, 30), st.integers(1, 3), st.integers(0, 99))
def test_every_row_is_held_out_once_and_groups_stay_whole(folds: int, groups: int, each: int, seed: int) -> None:
    own, more = prompts(groups, each, seed), prompts(6, 2, seed, "more")
    shared = [replace(row, group="own 0") for row in more[:2]]  # in a group of the source
    made = divide_rows([*own, *more[2:], *shared], JAILBREAK, LABELS, FACTS, folds, seed)
    held = Counter(row.text for fold in made for row in fold.select("validation"))
    assert held == Counter(row.text for row in own)
    for fold in made:
        assert leaks.groups(as_rows(fold)) == []
        assert {row.label for row in fold.select("validation")} == {"benign", "jailbreak"}
        texts = {row.text for row in fold.rows}
        assert {row.text for row in more[2:]} <= texts
        assert texts >= {row.text for row in own}


def test_what_is_like_a_held_out_row_is_not_trained_on() -> None:
    own = prompts(12, 2)
    like = [
        replace(row, text=row.text.rsplit(" ", 1)[0] + "!", source="more", group=f"more {i}")
        for i, row in enumerate(own)
    ]
    for fold in divide_rows([*own, *like], JAILBREAK, LABELS, FACTS, 3, 0):
        rows = as_rows(fold)
        assert (leaks.exact(rows), leaks.near(rows)) == ([], [])
        assert fold.leaks == len(fold.select("validation")) > 0


def test_prompts_that_match_lengths_are_made_of_each_fold_s_own_training_rows() -> None:
    rng = random.Random(0)
    own = [replace(row, text=f"{row.text} {' '.join(rng.choices(WORDS, k=60))}") if row.label == "jailbreak" else row
           for row in prompts(40, 3)]  # fmt: skip
    matched = list(compose_negatives(own, "jailbreak", 0))
    assert len(matched) > 50
    facts = replace(FACTS, counts=replace(COUNTS, length_matched_train=len(matched)))
    for fold in divide_rows([*own, *matched], JAILBREAK, LABELS, facts, 4, 0):
        made = [row for row in fold.select("train") if is_composed(row)]
        assert len(made) > 30
        held = [row.text for row in fold.select("validation")]
        assert not any(is_composed(row) for row in fold.select("validation"))
        assert not [text for text in held if any(text in row.text for row in made)]


def test_a_class_of_one_group_is_never_held_out() -> None:
    texts = prompts(12, 2)
    rows = [
        replace(row, label="", spans=(Span(0, 4, "PERSON" if row.group != "own 5" else "US_SSN"),)) for row in texts
    ]
    labels = replace(PII.label_set(), labels=("PERSON", "US_SSN"))
    made = divide_rows(rows, PII, labels, FACTS, 3, 0)
    assert sorted(fold.kept_in_training for fold in made) == [0, 0, 2]
    assert all("own 5" not in {row.group for row in fold.select("validation")} for fold in made)


def test_more_folds_than_groups_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"7 folds of jailbreak\.\n  expected: from 2 to 6"):
        divide_rows(prompts(6, 2), JAILBREAK, LABELS, FACTS, 7, 0)


@pytest.fixture(scope="module")
def documents(hubtools: Command, hub: Any, tmp_path_factory: pytest.TempPathFactory) -> TaskFolder:
    work = tmp_path_factory.mktemp("documents")
    hubtools("curate", "pii", "--hub", "local", "--hub-dir", hub.data_dir, "--work-dir", work)
    return TaskFolder(work / "pii")


def test_folds_of_the_documents_of_pii_have_no_leaks_and_every_type(documents: TaskFolder) -> None:
    facts = documents.read_facts()
    labels = PII.label_set(facts.label_set)
    rows = read_rows(documents, PII, labels)
    assert len(rows) == sum(facts.splits[split].rows for split in ("train", "validation"))
    joined = {supplement.id for supplement in facts.supplements}
    made = divide_rows(rows, PII, labels, facts, 2, 0)
    held = {row.text for fold in made for row in fold.select("validation")}
    assert held == {row.text for row in rows if row.source not in joined}
    for fold in made:
        found = as_rows(fold)
        assert (leaks.exact(found), leaks.near(found), leaks.groups(found)) == ([], [], [])
        types = Counter(span.type for row in fold.select("validation") for span in row.spans)
        assert set(types) == set(labels.labels)
