"""One temperature: fitted, guarded, folded into the weights, and seen by whoever loads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from scipy.special import log_softmax, softmax
from sklearn.calibration import calibration_curve
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    ModernBertForTokenClassification,
    pipeline,
)

from hubtools.evaluation.predictions import predictions_table
from hubtools.heads.encoding import encode_sequence, encode_tokens
from hubtools.heads.inference import load_pipeline, predict_probabilities
from hubtools.metrics.calibration import measure_reliability
from hubtools.records import to_json
from hubtools.tasks.jailbreak import JAILBREAK
from hubtools.tasks.pii import PII
from hubtools.training.calibration import (
    BOUNDS,
    calibrate,
    compute_logits,
    fit_temperature,
    fold,
    measure_calibration_error,
    weigh_by_source,
)

NANO = Path(__file__).parent.parent / "hubtools" / "starter" / "hubtools" / "modernbert-nano"
WORDS = ("ignore", "rules", "secret", "please", "help", "kindly", "Ann", "Oslo", "soup", "tents")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(NANO)


def random_model(head: Any, names: tuple[str, ...], tokenizer: Any, folder: Path, scale: float) -> Path:
    """A random model of two layers, whose logits are ``scale`` times as large as they come."""
    torch.manual_seed(1)
    model = head(ModernBertConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=512, pad_token_id=tokenizer.pad_token_id, classifier_pooling="mean",
        bos_token_id=1, eos_token_id=2, cls_token_id=1, sep_token_id=2,
        id2label=dict(enumerate(names)), label2id={name: i for i, name in enumerate(names)},
    ))  # fmt: skip
    with torch.no_grad():
        model.classifier.weight.mul_(scale)
        model.classifier.bias.normal_()
    model.save_pretrained(folder)
    tokenizer.model_max_length = 512
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def sequences(tokenizer: Any, tmp_path: Path) -> tuple[Path, Dataset]:
    """A model that is far too sure, and rows whose labels have little to do with it."""
    rng = np.random.default_rng(0)
    rows = Dataset.from_dict({
        "id": [f"r{i}" for i in range(60)],
        "text": [" ".join(rng.choice(WORDS, rng.integers(2, 9))) + f" {i}" for i in range(60)],
        "label": rng.integers(0, 2, 60).tolist(),
    })  # fmt: skip
    return random_model(ModernBertForSequenceClassification, JAILBREAK.model_labels(JAILBREAK.label_set()), tokenizer,
                 tmp_path / "model", 4), rows  # fmt: skip


def encoded(rows: Dataset, tokenizer: Any) -> Dataset:
    return rows.map(encode_sequence, batched=True, remove_columns=rows.column_names, keep_in_memory=True,
                    fn_kwargs={"tokenizer": tokenizer, "max_length": 512})  # fmt: skip


# --- the error ------------------------------------------------------------------------------------------------------


def test_calibration_error_by_hand() -> None:
    """Ten answers that are sure at .95 of which eight are right, and ten at .55 of which six are."""
    confidence = np.r_[np.full(10, 0.95), np.full(10, 0.55)]
    correct = np.r_[np.arange(10) < 8, np.arange(10) < 6]
    error, bins = measure_reliability(confidence, correct)
    assert error == pytest.approx((10 * 0.15 + 10 * 0.05) / 20)
    assert [(b.rows, b.accuracy) for b in bins] == [(10, 0.6), (10, 0.8)]
    assert [b.confidence for b in bins] == pytest.approx([0.55, 0.95])


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=1, max_size=60))
def test_the_bins_are_those_of_scikit_learns_calibration_curve(rows: list[tuple[float, bool]]) -> None:
    confidence, correct = (np.array(column) for column in zip(*rows, strict=True))
    if np.abs(confidence * 15 - np.round(confidence * 15)).min() < 1e-9:
        return  # on the edge of a bin, the two may round apart
    right, sure = calibration_curve(correct, confidence, n_bins=15, pos_label=True)
    _, bins = measure_reliability(confidence, correct)
    assert [b.accuracy for b in bins] == pytest.approx(right)
    assert [b.confidence for b in bins] == pytest.approx(sure)


def test_certain_answers_have_a_bin() -> None:
    assert measure_reliability(np.array([1.0, 0.0]), np.array([True, False]))[0] == 0.0


# --- the temperature ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_planted_is_found(true: float) -> None:
    """Labels drawn from softmax(logits / T) are best explained by T."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20_000, 4))
    labels = np.array([rng.choice(4, p=p) for p in softmax(logits / true, axis=1)])
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(true, rel=0.05)
    best, *others = (
        -log_softmax(logits / (found * k), axis=1)[np.arange(20_000), labels].mean() for k in (1, 0.9, 1.1)
    )
    assert best < min(others)


def test_a_split_without_a_mistake_does_not_make_every_answer_certain() -> None:
    """Without smoothing, the likelihood grows as long as the temperature falls."""
    logits = np.array([[2.0, -2.0], [-1.0, 1.0]] * 30)
    found = fit_temperature(logits, logits.argmax(1))
    assert BOUNDS[0] < found < 1
    assert softmax(logits / found, axis=1).max() < 0.9999


# --- folding --------------------------------------------------------------------------------------------------------


def test_pipeline_gives_the_calibrated_probabilities_and_no_answer_changes(
    sequences: tuple[Path, Dataset], tokenizer: Any
) -> None:
    folder, rows = sequences
    names = list(JAILBREAK.label_set().labels)
    texts = list(rows["text"])
    before = np.array(predict_probabilities(load_pipeline("text-classification", str(folder)), texts, names))
    done = calibrate(folder, JAILBREAK, encoded(rows, tokenizer), DataCollatorWithPadding(tokenizer))
    assert done.temperature > 1.5
    assert to_json(done) == json.loads((folder / "calibration.json").read_text())

    loaded: Any = pipeline("text-classification", model=str(folder))
    answers = loaded(texts, top_k=None, truncation=True)
    after = np.array([[{a["label"]: a["score"] for a in answer}[name] for name in names] for answer in answers])
    expected = softmax(np.log(before) / done.temperature, axis=1)
    assert after == pytest.approx(expected, abs=1e-5)
    assert (after.argmax(1) == before.argmax(1)).all()
    labels = np.array(rows["label"])
    errors = [measure_reliability(p.max(1), p.argmax(1) == labels)[0] for p in (before, after)]
    assert errors[1] < errors[0] - 0.1


def test_only_the_last_layer_changes_and_the_file_is_still_one_for_torch(
    sequences: tuple[Path, Dataset], tokenizer: Any
) -> None:
    folder, rows = sequences
    with safe_open(folder / "model.safetensors", "pt") as file:
        before, about = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    done = calibrate(folder, JAILBREAK, encoded(rows, tokenizer), DataCollatorWithPadding(tokenizer))
    with safe_open(folder / "model.safetensors", "pt") as file:
        after = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        assert file.metadata() == about
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    for name in changed:
        assert torch.allclose(after[name] * done.temperature, before[name])


def test_a_temperature_that_makes_the_error_worse_is_not_taken(
    sequences: tuple[Path, Dataset], tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows = sequences
    before = (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr("hubtools.training.calibration.fit_temperature", lambda logits, labels, weights: 0.3)
    done = calibrate(folder, JAILBREAK, encoded(rows, tokenizer), DataCollatorWithPadding(tokenizer))
    assert done.temperature == 1.0
    assert done.result.startswith("left at 1: another would make the calibration error")
    assert (folder / "model.safetensors").read_bytes() == before


def test_the_error_on_validation_never_gets_worse(sequences: tuple[Path, Dataset], tokenizer: Any) -> None:
    """Whatever the labels: those of the model, their opposite, or any."""
    folder, rows = sequences
    start = (folder / "model.safetensors").read_bytes()
    collator = DataCollatorWithPadding(tokenizer)
    model = ModernBertForSequenceClassification.from_pretrained(folder).eval()
    logits, *_ = compute_logits(model, encoded(rows, tokenizer), collator)
    rng = np.random.default_rng(0)
    for noise in (0.0, 0.05, 0.3, 1.0):
        order = np.argsort([len(ids) for ids in encoded(rows, tokenizer)["input_ids"]], kind="stable")
        labels = np.empty(60, dtype=int)
        labels[order] = np.where(rng.random(60) < noise, rng.integers(0, 2, 60), logits.argmax(1))
        (folder / "model.safetensors").write_bytes(start)
        given = rows.remove_columns("label").add_column("label", labels.tolist())
        done = calibrate(folder, JAILBREAK, encoded(given, tokenizer), collator)
        after = measure_calibration_error(logits, labels[order], done.temperature)
        assert after <= measure_calibration_error(logits, labels[order], 1.0)


def test_each_source_counts_alike_in_the_temperature_however_many_rows_it_has() -> None:
    """Of one source a tenth of the sure answers is wrong, of another a half: the second is not outvoted."""
    rng = np.random.default_rng(0)

    def answers(rows: int, wrong: float) -> tuple[np.ndarray, np.ndarray]:
        return np.tile([4.0, 0.0], (rows, 1)), (rng.random(rows) < wrong).astype(int)

    parts = [answers(2000, 0.1), answers(100, 0.5)]
    logits, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    weights = weigh_by_source(["large"] * 2000 + ["small"] * 100)
    assert weights.mean() == pytest.approx(1)
    assert weights[:2000].sum() == pytest.approx(weights[2000:].sum())
    plain, balanced = fit_temperature(logits, labels), fit_temperature(logits, labels, weights)
    alike = [np.concatenate([a, *[b] * 20]) for a, b in zip(*parts, strict=True)]
    assert balanced > 1.5 * plain
    assert balanced == pytest.approx(fit_temperature(*alike), rel=0.02)
    assert measure_calibration_error(logits, labels, balanced, weights) < measure_calibration_error(
        logits, labels, plain, weights
    )


def test_the_sources_of_the_validation_rows_decide_a_temperature(
    sequences: tuple[Path, Dataset], tokenizer: Any
) -> None:
    folder, rows = sequences
    start = (folder / "model.safetensors").read_bytes()
    found = []
    for sources in ((), ["a"] * 60, ["b", *["a"] * 59]):
        (folder / "model.safetensors").write_bytes(start)
        done = calibrate(folder, JAILBREAK, encoded(rows, tokenizer), DataCollatorWithPadding(tokenizer), sources)
        found.append(done.temperature)
    assert found[0] == found[1] != found[2]


def test_logits_say_which_row_they_are_of_though_rows_are_asked_by_length(
    sequences: tuple[Path, Dataset], tokenizer: Any
) -> None:
    folder, rows = sequences
    model = ModernBertForSequenceClassification.from_pretrained(folder).eval()
    logits, labels, numbers = compute_logits(
        model, encoded(rows, tokenizer), DataCollatorWithPadding(tokenizer), batch=7
    )
    assert sorted(numbers) == [*range(60)] != numbers.tolist()
    assert labels.tolist() == [rows["label"][i] for i in numbers]
    alone = predict_probabilities(
        load_pipeline("text-classification", str(folder)), list(rows["text"]), JAILBREAK.label_set().labels
    )
    assert softmax(logits, axis=1) == pytest.approx(np.array(alone)[numbers], abs=1e-4)


def test_another_architecture_is_folded_too(tmp_path: Path) -> None:
    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    model = BertForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    ids = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        before = model(input_ids=ids).logits
        assert fold(tmp_path / "model.safetensors", model, 2.0)
        after = BertForSequenceClassification.from_pretrained(tmp_path).eval()(input_ids=ids).logits
    assert torch.allclose(after * 2, before, atol=1e-6)


def test_a_model_whose_last_layer_is_not_linear_is_left_alone(tmp_path: Path) -> None:
    class Squashed(BertForSequenceClassification):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            output = super().forward(*args, **kwargs)
            output.logits = output.logits.tanh()
            return output

    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    model = Squashed(config).eval()
    model.save_pretrained(tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    assert not fold(tmp_path / "model.safetensors", model, 2.0)
    assert (tmp_path / "model.safetensors").read_bytes() == before


# --- tokens ---------------------------------------------------------------------------------------------------------


def test_a_token_task_is_calibrated_over_its_labelled_tokens(tokenizer: Any, tmp_path: Path) -> None:
    types = PII.label_set().labels
    names = PII.model_labels(PII.label_set())
    folder = random_model(ModernBertForTokenClassification, names, tokenizer, tmp_path / "model", 60)
    texts = ["Ann met Bob in Oslo.", "Call (212) 555-0187", "Nothing here, please."]
    spans = [[{"start": 0, "end": 3, "label": 0}, {"start": 8, "end": 11, "label": 0}], [], []]
    rows = Dataset.from_dict({"id": ["a", "b", "c"], "text": texts, "spans": spans})
    given = rows.map(encode_tokens, batched=True, remove_columns=rows.column_names, keep_in_memory=True,
                     fn_kwargs={"tokenizer": tokenizer, "max_length": 512, "types": 5})  # fmt: skip
    before = predictions_table(PII.head, load_pipeline(PII.head.pipeline, str(folder)), rows, types, lambda _: None)
    done = calibrate(folder, PII, given, DataCollatorForTokenClassification(tokenizer))
    after = predictions_table(
        PII.head, load_pipeline(PII.head.pipeline, str(folder)), rows, types, lambda _: None, done.temperature
    )
    labelled = sum(label != -100 for labels in given["labels"] for label in labels)
    assert done.answers == labelled == sum(len(row) for row in after["tokens"].to_pylist())
    assert done.temperature > 1.5
    for old, new in zip(before["tokens"].to_pylist(), after["tokens"].to_pylist(), strict=True):
        assert [t["answer"] for t in old] == [t["answer"] for t in new]
        assert [t["raw"] for t in new] == pytest.approx([t["confidence"] for t in old], abs=1e-4)
        assert all(t["confidence"] <= t["raw"] for t in new)
    # Token by token the answers stay. Over words they may not: there the probabilities of several tokens are weighed.
    plain = [table["plain_spans"].to_pylist() for table in (before, after)]
    places = [[[(s["start"], s["end"], s["label"]) for s in row] for row in rows] for rows in plain]
    assert places[0] == places[1]
