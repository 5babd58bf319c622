"""Every number comes from the files of predictions: without the model, and not without the predictions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from as_user import Command
from datasets import Dataset
from test_calibration import WORDS, random_model
from test_published_cards import REVISION, facts_of, plots_of, run_of
from transformers import (
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
)

from hubtools.errors import CardRejected, MissingStage
from hubtools.evaluation import baselines
from hubtools.evaluation import evaluate as evaluation
from hubtools.evaluation.evaluate import ScoringOptions, evaluate
from hubtools.evaluation.predictions import read_columns
from hubtools.evaluation.previous import describe_row_difference
from hubtools.heads.encoding import encode_sequence, encode_tokens
from hubtools.publishing.front_matter import split_card
from hubtools.publishing.model import check_card, check_scores_belong, write_model_card
from hubtools.publishing.space_files import SpaceForm, list_space_files
from hubtools.publishing.space_models import ShownModel, make_space_entry
from hubtools.records import to_json, write_json
from hubtools.records.release import Published
from hubtools.records.thresholds import THRESHOLDS, Target
from hubtools.spec import Demo
from hubtools.task import TaskSpec
from hubtools.tasks import MULTI, TASKS
from hubtools.training.calibration import calibrate
from hubtools.workdir import TaskFolder

NANO = Path(__file__).parent.parent / "hubtools" / "starter" / "hubtools" / "modernbert-nano"
REPO = "ann/model"
SPLITS = {"train": 40, "validation": 60, "test": 50}


def released_as(name: str) -> Published:
    return Published(repo=f"ann/{name}", kind="model", revision="0" * 40, tag="v1", changed=True, url="")


def rows_of(task: TaskSpec, count: int, seed: int) -> Dataset:
    """Rows of random words; every third document of a token task holds a name."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(WORDS, rng.integers(2, 9))) + f" {seed}.{i}" for i in range(count)]
    columns: dict[str, Any] = {"id": [f"{seed}-{i}" for i in range(count)], "text": texts}
    columns["source"] = [f"their/set-{i % 2}" for i in range(count)]
    if task.head.per_token:
        columns["text"] = [f"Ann met {text}" if i % 3 == 0 else text for i, text in enumerate(texts)]
        columns["spans"] = [[{"start": 0, "end": 3, "label": 0}] if i % 3 == 0 else [] for i in range(count)]
        columns["group"] = [f"letter {i % 7:08x}" if i % 2 else f"form {i % 5:08x}" for i in range(count)]
    else:
        columns["label"] = (np.arange(count) % len(task.label_set().labels)).tolist()
        columns["group"] = [f"family {i % 6}" for i in range(count)]
    return Dataset.from_dict(columns)


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], TaskFolder]:
    """Work folders as training leaves them, with random weights, evaluated once."""
    import datasets.config

    work = tmp_path_factory.mktemp("work")
    tokenizer = AutoTokenizer.from_pretrained(NANO)
    known: dict[str, TaskFolder] = {}

    def make(name: str) -> TaskFolder:
        task, folder = TASKS[name], TaskFolder(work / name)
        (folder.dataset / "data").mkdir(parents=True)
        data = {split: rows_of(task, count, i) for i, (split, count) in enumerate(SPLITS.items())}
        for split, rows in data.items():
            rows.to_parquet(folder.split_file(split))
        run = run_of(task, "public")
        write_json(folder.facts, facts_of(task, "public"))
        history = [{"epoch": 1.0, "loss": 0.5}, {"epoch": 1.0, "eval_loss": 0.4, f"eval_{task.primary.key}": 0.6}]
        write_json(folder.training, run["training"] | {"history": history})
        write_json(folder.published, {"dataset": run["dataset"]})
        token = task.head.per_token
        random_model(
            ModernBertForTokenClassification if token else ModernBertForSequenceClassification,
            task.model_labels(task.label_set()), tokenizer, folder.model, 15,
        )  # fmt: skip
        options = {"types": len(task.label_set().labels)} if token else {}
        encoded = data["validation"].map(
            encode_tokens if token else encode_sequence, batched=True, keep_in_memory=True,
            remove_columns=data["validation"].column_names,
            fn_kwargs={"tokenizer": tokenizer, "max_length": 512, **options},
        )  # fmt: skip
        collator = (DataCollatorForTokenClassification if token else DataCollatorWithPadding)(tokenizer)
        assert calibrate(folder.model, task, encoded, collator).temperature > 1.2
        evaluate(task, folder)
        write_model_card(task, folder, REPO)
        return folder

    def of(name: str) -> TaskFolder:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(datasets.config, "HF_DATASETS_CACHE", work / "cache")
            if name not in known:
                known[name] = make(name)
        return known[name]

    return of


@pytest.fixture
def copied(
    scored: Callable[[str], TaskFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], TaskFolder]:
    """A copy to break, with its scores and its card."""
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return lambda name: TaskFolder(Path(shutil.copytree(scored(name).root, tmp_path / name)))


# One task of spans and one of whole texts; the other two have whole texts as well.
TASK = pytest.mark.parametrize(
    "name",
    [name if name in ("pii", "jailbreak") else pytest.param(name, marks=pytest.mark.exhaustive) for name in TASKS],
)


def change_one(folder: TaskFolder) -> None:
    """One answer of the test split becomes another."""
    table = pq.read_table(folder.predictions)
    column = "predicted_spans" if "predicted_spans" in table.column_names else "probabilities"
    values = table[column].to_pylist()
    if column == "predicted_spans":
        row = next(i for i, spans in enumerate(values) if spans)
        values[row] = []
    else:
        values[0] = sorted(values[0], reverse=values[0] == sorted(values[0]))
        values[0] = values[0][1:] + values[0][:1] if values[0] == table[column][0].as_py() else values[0]
    index = table.schema.get_field_index(column)
    changed = table.set_column(index, table.schema.field(column), pa.array(values, table.schema.field(column).type))
    pq.write_table(changed, folder.predictions)


# --- without the model ----------------------------------------------------------------------------------------------


@TASK
def test_without_the_model_every_number_is_computed_again_to_the_last_digit(
    name: str, copied: Callable[[str], TaskFolder]
) -> None:
    folder, task = copied(name), TASKS[name]
    made = (folder.metrics, folder.model / "thresholds.json")
    before = {path.name: path.read_text() for path in made if path.exists()}
    pictures = {path.name: path.read_bytes() for path in folder.model.glob("*.png")}
    card = (folder.model / "README.md").read_text()
    assert ("thresholds.json" in before) == (name != "intent")
    shutil.rmtree(folder.model)
    folder.metrics.unlink()
    evaluate(task, folder, ScoringOptions(from_predictions=True))
    assert {path.name: path.read_text() for path in made if path.exists()} == before
    assert {path.name: path.read_bytes() for path in folder.model.glob("*.png")} == pictures
    assert write_model_card(task, folder, REPO).read_text() == card


def test_the_file_of_thresholds_names_the_languages_of_the_rows(copied: Callable[[str], TaskFolder]) -> None:
    folder = copied("jailbreak")
    write_json(folder.facts, json.loads(folder.facts.read_text()) | {"languages": ["zh", "en"]})
    evaluate(TASKS["jailbreak"], folder, ScoringOptions(from_predictions=True))
    assert json.loads((folder.model / THRESHOLDS).read_text())["languages"] == ["zh", "en"]


@pytest.mark.exhaustive
def test_the_command_computes_them_again_too(hubtools: Command, copied: Callable[[str], TaskFolder]) -> None:
    folder = copied("jailbreak")
    before = json.loads(folder.metrics.read_text())
    shutil.rmtree(folder.model)
    nobody = {"HF_TOKEN": "hf_x", "HF_ENDPOINT": "http://127.0.0.1:1"}  # who answers nothing, and is not asked
    command = ("evaluate", "jailbreak", "--from-predictions", "--work-dir", folder.root.parent, "--json")
    done = hubtools(*command, env=nobody)
    assert json.loads(done.stdout)["jailbreak"] == before
    told = hubtools(*command, "--target-recall", "0.5", env=nobody)
    chosen = json.loads(told.stdout)["jailbreak"]["thresholds"]
    assert chosen["target"] == {"recall": 0.5}
    assert chosen["validation"]["fnr"]["value"] <= 0.5


@TASK
def test_the_texts_of_personal_data_and_of_what_may_not_be_handed_on_are_in_no_file(
    name: str, copied: Callable[[str], TaskFolder]
) -> None:
    folder, task = copied(name), TASKS[name]
    columns = set(pq.read_schema(folder.predictions).names)
    assert columns.isdisjoint({"text", "word", "excerpt"})
    shown = [text for text in pq.read_table(folder.split_file("test"))["text"].to_pylist()
             if text in (folder.model / "README.md").read_text()]  # fmt: skip
    assert bool(shown) == (not task.head.per_token)
    facts, published = (json.loads(path.read_text()) for path in (folder.facts, folder.published))
    other_licence = facts | {"license": facts["license"] | {"id": "other"}}
    for why, licensed, access in (
        ("the licence of a source does not allow to hand them on", other_licence, "public"),
        ("the dataset is gated", facts, "gated"),
        ("the dataset is private", facts, "private"),
    ):
        write_json(folder.facts, licensed)
        write_json(folder.published, {"dataset": published["dataset"] | {"access": access}})
        card = write_model_card(task, folder, REPO).read_text()
        assert not [text for text in shown if text in card]
        assert (f"without their texts, because {why}." in card) == (not task.head.per_token)


@TASK
def test_the_records_hold_all_that_the_files_do(name: str, scored: Callable[[str], TaskFolder]) -> None:
    folder = scored(name)
    metrics = folder.read_metrics()
    assert to_json(metrics) == json.loads(folder.metrics.read_text())
    if metrics.thresholds:
        shipped = {"task": name, "languages": ["en"], "weights": {"model.safetensors": to_json(metrics.thresholds)}}
        assert shipped == json.loads((folder.model / "thresholds.json").read_text())
    assert getattr(metrics.scores, metrics.primary.key).value == metrics.primary.value


def test_predictions_say_of_each_row_which_source_it_came_from(scored: Callable[[str], TaskFolder]) -> None:
    folder = scored("jailbreak")
    for split, path in (("validation", folder.validation_predictions), ("test", folder.predictions)):
        source = {row["id"]: row["source"] for row in pq.read_table(folder.split_file(split)).to_pylist()}
        found = read_columns(path)
        assert set(found["source"]) == {"their/set-0", "their/set-1"}
        assert [source[i] for i in found["id"]] == found["source"]


def test_predictions_of_an_earlier_version_are_read_by_todays_names(copied: Callable[[str], TaskFolder]) -> None:
    """Their spans stood in a column ``found``."""
    folder, task = copied("pii"), TASKS["pii"]
    table = pq.read_table(folder.predictions)
    old = folder.root / "old.parquet"
    pq.write_table(table.rename_columns(["found" if n == "predicted_spans" else n for n in table.column_names]), old)
    assert read_columns(old) == table.to_pydict()
    assert describe_row_difference(task.head, folder.predictions, old) == ""


def rename_keys(value: Any, names: Mapping[str, str]) -> Any:
    """JSON with other keys, at every depth."""
    if isinstance(value, dict):
        return {names.get(key, key): rename_keys(inner, names) for key, inner in value.items()}
    return [rename_keys(inner, names) for inner in value] if isinstance(value, list) else value


def make_older(folder: TaskFolder) -> None:
    """Write the work folder as hubtools 0.1.0 left it: other names of keys and columns, the same numbers."""
    for path in (folder.predictions, folder.validation_predictions):
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[b"hubtools"]) | {"fingerprint": "older"}
        table = table.rename_columns(["found" if n == "predicted_spans" else n for n in table.column_names])
        pq.write_table(table.replace_schema_metadata({"hubtools": json.dumps(about)}), path)
    spaced = ("other bounds", "other type", "false alarm")
    names = {"predicted": "as", **{word.replace(" ", "_"): word for word in spaced}}
    write_json(folder.metrics, rename_keys(json.loads(folder.metrics.read_text()), names))


@pytest.mark.parametrize("name", ["pii", "jailbreak"])
def test_a_work_folder_of_an_older_version_is_scored_by_the_same_numbers(
    name: str, copied: Callable[[str], TaskFolder]
) -> None:
    folder, task = copied(name), TASKS[name]
    before = json.loads(folder.metrics.read_text())
    make_older(folder)
    with pytest.raises(MissingStage, match="another version of hubtools") as error:
        write_model_card(task, folder, REPO)
    assert error.value.next == f"hubtools evaluate {name}"
    assert "predicted" in (error.value.found or "")
    evaluate(task, folder)
    after = json.loads(folder.metrics.read_text())
    assert {**after, "fingerprint": ""} == {**before, "fingerprint": ""}
    write_model_card(task, folder, REPO)


@pytest.mark.parametrize("name", ["pii", "jailbreak"])
def test_a_release_of_an_older_version_stands_beside_the_new_one(
    name: str, copied: Callable[[str], TaskFolder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, task = copied(name), TASKS[name]
    before = json.loads(folder.metrics.read_text())
    published = TaskFolder(tmp_path / "published")
    shutil.copytree(folder.root, published.root)
    make_older(published)
    write_json(published.metrics, json.loads(published.metrics.read_text()) | {"weights_sha256": "0" * 64})

    def download(repo: str, file: str, revision: str) -> str:
        assert (repo, revision) == (REPO, "abc")
        return str(published.root / file)

    tags = SimpleNamespace(tags=[SimpleNamespace(name="v1", target_commit="abc")])
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(list_repo_refs=lambda repo: tags))
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    folder.metrics.unlink()
    metrics = evaluate(task, folder, ScoringOptions(repo=REPO))
    assert metrics.previous is not None
    assert (metrics.previous.tag, metrics.previous.why_not) == ("v1", "")
    assert metrics.previous.value == before["primary"]["value"]
    beside = to_json(metrics.baselines["previous version (v1)"])
    assert beside[task.primary.key] == before["scores"][task.primary.key]


# --- a changed prediction -------------------------------------------------------------------------------------------


@TASK
def test_a_changed_prediction_changes_the_card_and_is_drift_until_it_is_rendered_again(
    name: str, copied: Callable[[str], TaskFolder]
) -> None:
    folder, task = copied(name), TASKS[name]
    before = check_card(task, folder, REPO).read_text()
    change_one(folder)
    with pytest.raises(MissingStage, match="not those of its predictions") as stale:
        check_card(task, folder, REPO)
    assert stale.value.next == f"hubtools evaluate {name} --from-predictions"
    with pytest.raises(MissingStage, match="not those of its predictions"):
        check_scores_belong(task, folder)

    metrics = evaluate(task, folder, ScoringOptions(from_predictions=True))
    with pytest.raises(CardRejected, match="not what its files say") as drift:
        check_card(task, folder, REPO)
    assert drift.value.next == f"hubtools model-card {name}"
    after = write_model_card(task, folder, REPO).read_text()
    check_card(task, folder, REPO)
    assert after != before
    index = [split_card(card)[0]["model-index"][0]["results"][0]["metrics"] for card in (before, after)]
    assert index[0] != index[1]
    shown = {metric["name"]: metric["value"] for metric in index[1]}
    assert shown[metrics.primary.title] == metrics.primary.value


def test_a_card_that_somebody_edited_is_drift_and_a_lost_picture_is_named(
    copied: Callable[[str], TaskFolder],
) -> None:
    folder, task = copied("category"), TASKS["category"]
    path = folder.model / "README.md"
    text = path.read_text()
    path.write_text(text.replace("| physics |", "| Physics |"))
    check_card(task, folder, None)  # the Hub would take it
    with pytest.raises(CardRejected, match="not what its files say") as drift:
        check_card(task, folder, REPO)
    assert drift.value.found.startswith("| Physics |")
    path.write_text(text)
    (folder.model / "reliability.png").unlink()
    with pytest.raises(CardRejected, match="Pictures") as lost:
        check_card(task, folder, None)
    assert lost.value.expected == "reliability.png"


# --- once -----------------------------------------------------------------------------------------------------------


@TASK
def test_evaluating_again_asks_the_model_nothing_and_folds_nothing(
    name: str, copied: Callable[[str], TaskFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, task = copied(name), TASKS[name]
    before = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}

    def never(*_: Any) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(evaluation, "load_pipeline", never)
    evaluate(task, folder)
    folder.metrics.unlink()
    evaluate(task, folder)
    assert {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("harm", ["gone", "cut", "of another program"])
def test_predictions_that_cannot_be_read_name_the_command_that_makes_them(
    harm: str, copied: Callable[[str], TaskFolder]
) -> None:
    folder, task = copied("jailbreak"), TASKS["jailbreak"]
    if harm == "gone":
        folder.predictions.unlink()
    elif harm == "cut":
        folder.predictions.write_bytes(folder.predictions.read_bytes()[:100])
    else:
        pq.write_table(pa.table({"id": ["a"]}), folder.predictions)
    with pytest.raises(MissingStage) as error:
        evaluate(task, folder, ScoringOptions(from_predictions=True))
    assert error.value.next == "hubtools evaluate jailbreak"
    evaluate(task, folder)  # with the model there, they are made again
    assert pq.read_table(folder.predictions).num_rows == SPLITS["test"]


def test_another_target_leaves_the_baselines_alone_and_other_training_rows_do_not(
    copied: Callable[[str], TaskFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, task = copied("jailbreak"), TASKS["jailbreak"]
    metrics = json.loads(folder.metrics.read_text())
    few = metrics["baselines"]["majority class"] | {
        "base": ["hubtools/modernbert-nano", REVISION],
        "roc_auc": {"value": 0.123, "low": 0.1, "high": 0.2},
    }
    training = json.loads(folder.training.read_text()) | {"base": few["base"][0], "base_revision": few["base"][1]}
    write_json(folder.training, training)
    known = metrics["baselines"] | {"SetFit, 8 shots a class": few}
    write_json(folder.metrics, metrics | {"baselines": known})

    def never(*_: Any) -> None:
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(baselines, "answer_and_score", never)
        found = evaluate(task, folder, ScoringOptions(Target(recall=0.5)))
    assert to_json(found)["baselines"] == json.loads(json.dumps(known))
    assert found.target == Target(recall=0.5)
    write_json(folder.training, training | {"base": "somebody/else"})
    assert list(evaluate(task, folder, ScoringOptions(Target(recall=0.6))).baselines) == [*metrics["baselines"]]
    rows_of(task, SPLITS["train"], 9).to_parquet(folder.split_file("train"))
    again = to_json(evaluate(task, folder, ScoringOptions(Target(recall=0.5))))["baselines"]
    assert again["TF-IDF, logistic regression"] != known["TF-IDF, logistic regression"]


def test_the_baselines_have_the_intervals_of_the_model(scored: Callable[[str], TaskFolder]) -> None:
    metrics = json.loads(scored("jailbreak").metrics.read_text())
    for column in metrics["baselines"].values():
        for metric in TASKS["jailbreak"].head.headlines:
            key = metric.key
            assert column[key]["low"] <= column[key]["value"] <= column[key]["high"]


# --- what is measured -----------------------------------------------------------------------------------------------


@TASK
def test_the_temperature_helps_on_validation_and_both_sides_are_recorded(
    name: str, scored: Callable[[str], TaskFolder]
) -> None:
    folder = scored(name)
    metrics = json.loads(folder.metrics.read_text())
    recorded = json.loads((folder.model / "calibration.json").read_text())
    measured = metrics["calibration"]
    assert measured["temperature"] == recorded["temperature"]
    assert measured["validation"]["ece_after"] < measured["validation"]["ece_before"]
    for split in ("validation", "test"):
        answers = measured[split]["answers"]
        assert sum(b["rows"] for b in measured[split]["bins_after"]) == answers
        assert sum(b["rows"] for b in measured[split]["bins_before"]) == answers
    assert measured["validation"]["answers"] == recorded["answers"]


def test_the_threshold_is_chosen_on_validation_and_measured_on_test(scored: Callable[[str], TaskFolder]) -> None:
    folder = scored("jailbreak")
    metrics = json.loads(folder.metrics.read_text())
    written = json.loads((folder.model / "thresholds.json").read_text())
    chosen = metrics["thresholds"]
    assert written == {"task": "jailbreak", "languages": ["en"], "weights": {"model.safetensors": chosen}}
    validation, test = (pq.read_table(path).to_pydict() for path in (folder.validation_predictions, folder.predictions))
    harmless = [p[1] for p, label in zip(validation["probabilities"], validation["label"], strict=True) if label == 0]
    assert sum(p >= chosen["threshold"] for p in harmless) / len(harmless) <= 0.01
    assert chosen["validation"]["fpr"]["value"] <= 0.01
    flagged = [p[1] >= chosen["threshold"] for p in test["probabilities"]]
    missed = sum(not f for f, label in zip(flagged, test["label"], strict=True) if label == 1)
    assert chosen["test"]["fnr"]["value"] == missed / test["label"].count(1)
    assert metrics["scores"]["threshold"] == chosen["threshold"]


@TASK
def test_each_task_has_its_pictures(name: str, scored: Callable[[str], TaskFolder]) -> None:
    folder = scored(name)
    drawn = {file for file, _ in json.loads(folder.metrics.read_text())["plots"]}
    assert drawn == set(plots_of(TASKS[name])) == {path.name for path in folder.model.glob("*.png")}
    card = (folder.model / "README.md").read_text()
    assert all(f"({file})" in card for file in drawn)


def test_alarming_words_are_noted_where_the_text_holds_one(scored: Callable[[str], TaskFolder]) -> None:
    folder = scored("jailbreak")
    found = pq.read_table(folder.predictions)["alarming"].to_pylist()
    texts = pq.read_table(folder.split_file("test"))["text"].to_pylist()
    assert found == ["ignore" in text or "secret" in text for text in texts]
    assert 0 < sum(found) < len(found)


def test_the_answers_of_the_widget_are_the_models(scored: Callable[[str], TaskFolder]) -> None:
    """As pipeline() gives them to a user, best label first."""
    for name in ("category", "pii"):
        folder, task = scored(name), TASKS[name]
        loaded = evaluation.load_pipeline(task.head.pipeline, str(folder.model))
        widget = split_card((folder.model / "README.md").read_text())[0]["widget"]
        assert widget or name == "pii"
        for entry in widget:
            if name == "category":
                best = loaded(entry["text"], top_k=5)
                assert [a["label"] for a in entry["output"]] == [a["label"] for a in best]
                assert [a["score"] for a in entry["output"]] == pytest.approx([a["score"] for a in best], abs=1e-4)
            else:
                found = loaded(entry["text"], aggregation_strategy="simple")
                found = [a for a in found if entry["text"][a["start"] : a["end"]].strip()]  # not a space alone
                assert [a["entity_group"] for a in entry["output"]] == [a["entity_group"] for a in found]
                assert all(entry["text"][a["start"] : a["end"]] == a["word"] for a in entry["output"])


def read_models(names: list[str], folders: dict[str, TaskFolder]) -> dict[str, Any]:
    """What models.json of a Space says of the tasks."""
    together = {MULTI: TaskFolder(folders[names[0]].root.parent / MULTI)}
    files = list_space_files([TASKS[name] for name in names], folders | together, SpaceForm())
    found: dict[str, Any] = json.loads(files["models.json"])["models"]  # type: ignore[arg-type]
    return found


def test_the_space_shows_the_threshold_of_the_file_for_every_task(copied: Callable[[str], TaskFolder]) -> None:
    folders = {name: copied(name) for name in TASKS}
    for name, folder in folders.items():
        known = json.loads(folder.published.read_text())
        write_json(folder.published, known | {"model": to_json(released_as(name))})

    def shown() -> dict[str, float]:
        models = read_models(list(folders), folders)
        return {name: model["threshold"] for name, model in models.items() if "threshold" in model}

    def chosen(name: str) -> float:
        return json.loads((folders[name].model / THRESHOLDS).read_text())["weights"]["model.safetensors"]["threshold"]

    assert shown() == {name: chosen(name) for name in ("category", "pii", "jailbreak")}
    assert 0 < chosen("category") != 0.5
    assert chosen("pii") == 0

    # An earlier version wrote the record flat.
    path = folders["jailbreak"].model / THRESHOLDS
    write_json(path, {"task": "jailbreak", "kind": "detection", "label": "jailbreak", "threshold": 0.625})
    assert shown()["jailbreak"] == 0.625
    path.unlink()
    with pytest.raises(MissingStage, match=r"(?s)thresholds.json of 'jailbreak'.*hubtools evaluate jailbreak"):
        shown()


def test_the_space_shows_what_is_released_and_later_releases_join_it(copied: Callable[[str], TaskFolder]) -> None:
    folders = {name: copied(name) for name in ("category", "pii", "jailbreak")}

    def shown() -> list[str]:
        return [*read_models(list(folders), folders)]

    with pytest.raises(MissingStage, match=r"(?s)No model is released.*hubtools push-model category"):
        shown()
    for name, expected in (("jailbreak", ["jailbreak"]), ("category", ["category", "jailbreak"])):
        known = json.loads(folders[name].published.read_text())
        write_json(folders[name].published, known | {"model": to_json(released_as(name))})
        assert shown() == expected


def test_what_a_task_does_not_say_of_itself_the_space_takes_from_its_question() -> None:
    task = replace(TASKS["jailbreak"], demo=Demo())
    entry = make_space_entry(task, ShownModel("ann/x", "0" * 40, 0.7))
    assert entry["question"] == entry["about"] == task.question
    assert entry["examples"] == [*task.examples]
    assert (entry["head"], entry["positive"]) == ("detection", "jailbreak")
    assert not {"note", "dataset", "verdicts", "tool"} & entry.keys()


def test_lint_on_the_command_line_says_what_the_hub_would_refuse_and_writes_nothing(
    hubtools: Command, copied: Callable[[str], TaskFolder]
) -> None:
    folder = copied("intent")
    path = folder.model / "README.md"
    command = ("model-card", "intent", "--lint", "--work-dir", folder.root.parent)
    assert hubtools(*command).stdout.strip() == str(path)
    broken = path.read_text().replace("license: apache-2.0", "license: my-own", 1)
    path.write_text(broken)
    done = hubtools(*command, check=False)
    assert (done.returncode, done.stdout, path.read_text()) == (1, "", broken)
    assert '"license" is not one that the Hub knows, found "my-own"' in done.stderr
