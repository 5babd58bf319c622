"""``finetune --dataset`` on what others have pushed: one message before the model is loaded, or it works."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from as_user import Command
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from transformers import TrainingArguments

from hubtools.errors import UsageError
from hubtools.localhub import Hub
from hubtools.task import TaskSpec
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII
from hubtools.training.arguments import check_evaluations, check_steps
from hubtools.training.dataset import list_faults, load_splits, match_label_set

LABELS = ["benign", "jailbreak"]
LABELLED = Features({"text": Value("string"), "label": ClassLabel(names=LABELS)})
Columns = dict[str, list[Any]]


def columns(count: int = 20) -> Columns:
    return {
        "text": [f"Where does the lamp number {i} stand?" for i in range(count)],
        "label": [i % 2 for i in range(count)],
    }


def splits(train: Columns, features: Features | None = LABELLED, names: tuple[str, ...] = ()) -> DatasetDict:
    made = Dataset.from_dict(train, features=features)
    return DatasetDict(dict.fromkeys(names or ("train", "validation"), made))


def with_first(value: Any, column: str = "text") -> Columns:
    changed = columns()
    return changed | {column: [value, *changed[column][1:]]}


WORDS = columns() | {"label": [LABELS[i % 2] for i in range(20)]}
NUMBERS = Features({"text": Value("string"), "label": Value("int64")})
MESSAGES = columns() | {"text": [[{"role": "user", "content": text}] for text in columns()["text"]]}
ONE_CLASS = columns() | {"label": [0] * 20}


def name_case(value: object) -> str:
    """The name of a case: a whole dataset or task would be one of many pages, and another in each process."""
    return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize(("found", "said"), [
    (splits(WORDS, None), "label in train is not of a ClassLabel"),
    (splits(columns(), NUMBERS), "label in train is not of a ClassLabel"),
    (splits(columns(), names=("train",)), "no validation split"),
    (splits(columns(), names=("test",)), "no train split"),
    (splits(columns()).rename_column("text", "prompt"), "train has no column text, but prompt, label"),
    (splits(columns()).rename_column("label", "labels"), "train has no column label"),
    (splits(with_first(-1, "label")), "1 rows of train without a label"),
    (splits(with_first(None, "label")), "1 rows of train without a label"),
    (splits(with_first(None)), "1 rows of train without a text"),
    (splits(MESSAGES, None), "text in train is no text"),
    (splits(ONE_CLASS), "train has no row of jailbreak"),
    (DatasetDict(train=splits(columns())["train"], validation=splits(columns())["train"].select([])), "no validation"),
], ids=name_case)  # fmt: skip
def test_what_a_training_cannot_read_is_named(found: DatasetDict, said: str) -> None:
    assert said in "; ".join(list_faults(found, JAILBREAK))


def spans(*found: Any, label: Any = None) -> DatasetDict:
    feature = List({"start": Value("int64"), "end": Value("int64"), "label": label or ClassLabel(names=["PERSON"])})
    features = Features({"text": Value("string"), "spans": feature})
    return splits({"text": ["Ann Lee waits."] * len(found), "spans": [*found]}, features)


@pytest.mark.parametrize(("found", "said"), [
    (spans([{"start": 0, "end": 7, "label": 0}], None), "1 rows of train without a list of spans"),
    (spans([{"start": 0, "end": 7, "label": -1}]), "with a span without a label"),
    (spans([{"start": 0, "end": 70, "label": 0}]), "with a span that does not lie in its text"),
    (spans([{"start": None, "end": 7, "label": 0}]), "with a span that does not lie in its text"),
    (spans([{"start": 0, "end": 7, "label": "PERSON"}], label=Value("string")), "spans in train is not spans with"),
    (splits(columns()).rename_column("label", "spans"), "spans in train is not spans with"),
], ids=name_case)  # fmt: skip
def test_what_a_training_of_spans_cannot_read_is_named(found: DatasetDict, said: str) -> None:
    assert said in "; ".join(list_faults(found, PII))


@pytest.mark.parametrize(("task", "found"), [
    (JAILBREAK, splits(columns())), (PII, spans([{"start": 0, "end": 7, "label": 0}], [])),
    (JAILBREAK, splits(columns(), names=("train", "validation", "test"))),
], ids=name_case)  # fmt: skip
def test_what_a_training_can_read_has_no_fault(task: TaskSpec, found: DatasetDict) -> None:
    assert list_faults(found, task) == []


def test_labels_of_another_order_are_refused_with_those_that_are_right() -> None:
    features = Features({"text": Value("string"), "label": ClassLabel(names=LABELS[::-1])})
    with pytest.raises(UsageError, match=r"(?s)benign, jailbreak.*jailbreak, benign"):
        match_label_set(splits(columns(), features), JAILBREAK, None)


def write(folder: Path, found: DatasetDict) -> Path:
    (folder / "data").mkdir(parents=True)
    for name, split in found.items():
        split.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return folder


@pytest.mark.parametrize("name", ["plain", "exp[1]", "a * b?", "набор #1", "{x}"])
def test_a_folder_is_read_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    # What a pattern would find in place of it.
    write(tmp_path / "exp1", splits({"text": ["another"] * 2, "label": [0, 1]}))
    assert load_splits(str(write(tmp_path / name, splits(columns()))), JAILBREAK)["train"].num_rows == 20


def test_a_file_is_refused_with_the_command_that_makes_a_dataset_of_it(tmp_path: Path) -> None:
    """Else the Hub would be asked for a repo of its name, and says that there is none."""
    file = tmp_path / "mine.csv"
    file.write_text("text,label\nwet,rain\n")
    with pytest.raises(UsageError, match=rf"(?s)found: +a file.*hubtools curate jailbreak --source {file}"):
        load_splits(str(file), JAILBREAK)


def test_the_command_says_it_in_one_message_before_the_model_is_loaded(
    hubtools: Command, hub: Hub, flags: tuple[object, ...], tmp_path: Path
) -> None:
    folder = write(tmp_path / "words", splits(WORDS, None))
    done = hubtools("finetune", "jailbreak", "--dataset", folder, "--max_steps", 1, *flags, check=False)
    assert done.returncode != 0
    assert "is not laid out as a training reads it" in done.stderr
    assert f"hubtools curate jailbreak --source {folder}" in done.stderr
    assert "Traceback" not in done.stderr


# --- settings under which nothing would happen


def arguments(**given: Any) -> TrainingArguments:
    defaults = {"eval_strategy": "steps", "eval_steps": 5, "save_steps": 5, "load_best_model_at_end": True}
    return TrainingArguments(**(defaults | {"use_cpu": True, "report_to": "none"} | given))


@pytest.mark.parametrize(("given", "said"), [
    ({"num_train_epochs": 0}, "leave no step"),
    ({"per_device_train_batch_size": 64, "dataloader_drop_last": True}, "leave no step"),
    ({"num_train_epochs": 1, "eval_delay": 100}, "would end before it is evaluated"),
    ({"max_steps": 3, "eval_delay": 4}, "would end before it is evaluated"),
], ids=str)  # fmt: skip
def test_settings_without_a_step_or_an_evaluation_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_steps(arguments(**given), rows=40)


@pytest.mark.parametrize("given", [
    {"eval_strategy": "no", "load_best_model_at_end": False}, {"load_best_model_at_end": False}, {"save_steps": 10},
], ids=str)  # fmt: skip
def test_settings_that_leave_nothing_to_choose_from_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        check_evaluations(arguments(**given))


@pytest.mark.parametrize("given", [
    {"max_steps": 1}, {"num_train_epochs": 0.01}, {"max_steps": 3, "eval_delay": 3}, {"num_train_epochs": 3},
    {"num_train_epochs": 0, "max_steps": 2},
], ids=str)  # fmt: skip
def test_settings_with_one_step_are_taken(given: dict[str, Any]) -> None:
    check_steps(arguments(**given), rows=40)
