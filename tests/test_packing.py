"""Packed rows: passes of few shapes, the ways to compute attention within texts, and which of them a device takes."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_batching import LENGTHS, bert, gradients, model_for, rows_for, trainer_for
from test_training import tokenizer
from transformers import AttentionInterface, BertForSequenceClassification

from hubtools.heads.values import IGNORED
from hubtools.heads.word_marks import GOES_ON, clear_marks
from hubtools.packing import attention
from hubtools.packing.answering import ManyAtOnce, divide_by_tokens
from hubtools.packing.attention import (
    FLASH,
    FLEX,
    NAMES,
    TEXT_BY_TEXT,
    VARLEN,
    Gpu,
    Texts,
    choose_way,
    prepare,
    register_way,
    try_way,
)
from hubtools.packing.encoder import PackedModernBert, choose_packing, packed
from hubtools.reading import Window, read_labels
from hubtools.training.batching import Collator
from hubtools.training.loss import measure_all_neighbours, measure_disagreement
from hubtools.training.multitask_model import ignore_others
from hubtools.training.static import SIZES, Sizes, StaticCollator, fill_passes, join_logits, measure_sizes, pack_rows

__all__ = ["tokenizer"]  # a fixture

# --- passes of few shapes ---------------------------------------------------------------------------------------------

texts = st.lists(st.integers(3, 600), min_size=1, max_size=80)


@given(texts, st.sampled_from([512, 2048, 16_384]))
def test_passes_are_filled_with_every_row_once_within_tokens_and_texts(lengths: list[int], budget: int) -> None:
    sizes = measure_sizes(lengths, budget, len(lengths))
    passes = fill_passes(lengths, sizes)
    assert sorted(row for rows in passes for row in rows) == list(range(len(lengths)))
    for rows in passes:
        assert sum(lengths[row] for row in rows) <= sizes.budget
        assert len(rows) <= sizes.count_texts(sizes.budget)


@given(texts)
def test_a_pass_has_the_shapes_of_its_size_alone(lengths: list[int]) -> None:
    rows: Any = [{"input_ids": [5] * n, "labels": 1} for n in lengths]
    sizes = measure_sizes(lengths, 2048, len(rows))
    for numbers in fill_passes(lengths, sizes):
        made = pack_rows(rows, numbers, sizes, pad=0)
        size, places = made["input_ids"].shape[1], sizes.count_places(made["input_ids"].shape[1])
        assert size in SIZES or size == sizes.budget
        assert [tuple(made[name].shape) for name in ("position_ids", "bounds", "text", "rows", "labels")] == [
            (1, size), (places + 1,), (size,), (places,), (places,),
        ]  # fmt: skip
        each = made["bounds"].diff()
        assert each[: len(numbers)].tolist() == [lengths[number] for number in numbers]
        assert int(each.sum()) == size
        assert int(each.max()) <= sizes.longest
        assert made["labels"].ne(IGNORED).sum() == len(numbers)


def test_a_training_has_few_shapes() -> None:
    rng = random.Random(0)
    lengths = [min(512, int(rng.lognormvariate(4.3, 0.9)) + 3) for _ in range(2000)]
    sizes = measure_sizes(lengths, 16_384, 64)
    made, tokens = set(), 0
    for begin in range(0, 2000, 64):
        step_lengths = lengths[begin : begin + 64]
        for rows in fill_passes(step_lengths, sizes):
            made.add(size := sizes.choose_size(sum(step_lengths[row] for row in rows)))
            tokens += size
    assert len(made) <= 12
    assert tokens < 1.05 * sum(lengths)


def test_texts_longer_than_any_of_the_training_get_passes_of_their_own_size() -> None:
    sizes = measure_sizes([10, 20], 512, 8)
    rows: Any = [{"input_ids": [5] * n, "labels": 0} for n in (900, 30)]
    batch = StaticCollator(Collator(0), sizes)(rows)
    assert batch["longest"] >= 900
    assert [int(part["labels"].ne(IGNORED).sum()) for part in batch["passes"]] == [2]


@pytest.mark.parametrize("head", ["sequence", "token"])
def test_logits_of_passes_come_back_to_their_rows(head: str) -> None:
    rows: Any = rows_for(head, LENGTHS * 2)
    batch = StaticCollator(Collator(0), Sizes(512, 64, 20.0, 16))(rows)
    computed = []
    for part in batch["passes"]:
        number = part["rows"].float()
        token = (part["rows"][part["text"]] * 1000 + part["position_ids"][0]).float()[None]
        computed.append((number if head == "sequence" else token)[..., None])
    found = join_logits(batch, computed)[..., 0]
    for i, row in enumerate(rows):
        expected = [float(i * 1000 + place) for place in range(row["length"])]
        assert (found[i, : row["length"]].tolist() == expected) if head == "token" else (found[i] == i)


@pytest.mark.parametrize("pooling", ["sequence, first token", "sequence", "token"])
def test_what_fills_a_pass_up_has_no_part_in_its_gradient(pooling: str, tmp_path: Path) -> None:
    """The gradient of a step, cut into passes of few shapes, is that of one packed row.

    In fp64: in fp32 each machine rounds in its own way, by more than a small fault would.
    """

    def gradient(**cut: Any) -> torch.Tensor:
        model, rows = model_for(pooling).double(), rows_for(pooling)
        trainer = trainer_for(model, rows, tmp_path, per_device_train_batch_size=8, **cut)
        batch = trainer.data_collator(rows)
        trainer.training_step(model, batch, batch["labels"].ne(IGNORED).sum())
        return gradients(model)

    expected = gradient(static=False)
    assert expected.abs().max() > 0.01
    for budget in (64, 128, 16_384):
        found = gradient(static=True, tokens_per_batch=budget)
        assert (found - expected).norm() < 1e-12 * max(1.0, float(expected.norm()))


def test_losses_that_wait_for_nothing_are_those_that_look() -> None:
    random_numbers = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 11, generator=random_numbers)
    labels = torch.randint(0, 11, (40,), generator=random_numbers)
    labels[torch.rand(40, generator=random_numbers) < 0.4] += GOES_ON
    labels[0] = labels[17] = IGNORED
    assert measure_all_neighbours(logits, labels).item() == pytest.approx(measure_disagreement(logits, labels).item())
    own = torch.rand(40, generator=random_numbers) < 0.5
    logits[~own] = float("-inf")
    logits.requires_grad_()
    kept, kept_labels = ignore_others(logits, clear_marks(labels), own)
    found = torch.nn.functional.cross_entropy(kept, kept_labels, ignore_index=IGNORED, reduction="sum")
    expected = torch.nn.functional.cross_entropy(
        logits[own], clear_marks(labels[own]), ignore_index=IGNORED, reduction="sum"
    )
    assert found.item() == pytest.approx(expected.item())
    assert torch.autograd.grad(found, logits)[0].isfinite().all()


# --- attention within texts -------------------------------------------------------------------------------------------


def some_texts(lengths: list[int], heads: int = 2, size: int = 32) -> tuple[Any, Texts]:
    parts = torch.randn(3, 1, heads, sum(lengths), size, generator=torch.Generator().manual_seed(0)).unbind()
    bounds = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    return [part.clone().requires_grad_(torch.is_grad_enabled()) for part in parts], Texts(bounds, max(lengths))


def attended(way: str, window: int | None, lengths: list[int]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    parts, of_row = some_texts(lengths)
    compute = AttentionInterface()[register_way(way)]
    of_row = prepare(NAMES[way], of_row, sum(lengths), (window or 1) - 1)
    row, _ = compute(None, *parts, None, scaling=32**-0.5, texts=of_row, sliding_window=window)
    return row, parts


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("window", [None, 9])
def test_flex_attention_sees_each_text_and_its_window_alone(window: int | None) -> None:
    lengths = [30, 150, 70, 6]
    with torch.no_grad():
        expected, _ = attended(TEXT_BY_TEXT, window, lengths)
        found, _ = attended(FLEX, window, lengths)
    assert torch.allclose(found, expected, atol=1e-5)


# Stand-ins for kernels that no CPU runs: they have the parameters of these versions, and compute what was asked for.


def kernel(q: Any, k: Any, v: Any, bounds: Any, longest: int, scale: float | None, window: tuple[int, int]) -> Any:
    assert longest >= int(bounds.diff().max())
    parts = [part.transpose(0, 1)[None] for part in (q, k, v)]
    row, _ = attention.text_by_text(
        None, *parts, None, scaling=scale or q.shape[-1] ** -0.5, texts=Texts(bounds, longest),
        sliding_window=None if window == (-1, -1) else window[0] + 1,
    )  # fmt: skip
    return row[0]


def varlen_2_10(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, is_causal: bool = False,
    return_aux: Any = None,
) -> Any:  # fmt: skip
    return kernel(query, key, value, cu_seq_q, max_q, None, (-1, -1))


def varlen_without_scale(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, *, return_aux: Any = None,
    window_size: tuple[int, int] = (-1, -1),
) -> Any:  # fmt: skip
    return kernel(query, key, value, cu_seq_q, max_q, None, window_size)


def varlen_2_11(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, *, return_aux: Any = None,
    scale: float | None = None, window_size: tuple[int, int] = (-1, -1),
) -> Any:  # fmt: skip
    return kernel(query, key, value, cu_seq_q, max_q, scale, window_size)


def varlen_2_13(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, *, return_aux: Any = None,
    scale: float | None = None, window_size: tuple[int, int] = (-1, -1), enable_gqa: bool = False,
    seqused_k: Any = None, block_table: Any = None, num_splits: int | None = None,
) -> Any:  # fmt: skip
    return kernel(query, key, value, cu_seq_q, max_q, scale, window_size)


def flash_2(
    q: Any, k: Any, v: Any, cu_seqlens_q: Any, cu_seqlens_k: Any, max_seqlen_q: int, max_seqlen_k: int,
    dropout_p: float = 0.0, softmax_scale: float | None = None, causal: bool = False,
    window_size: tuple[int, int] = (-1, -1), softcap: float = 0.0,
) -> Any:  # fmt: skip
    return kernel(q, k, v, cu_seqlens_q, max_seqlen_q, softmax_scale, window_size)


@pytest.mark.parametrize("window", [None, 9])
@pytest.mark.parametrize(
    ("way", "edge", "compute"),
    [
        (VARLEN, "find_varlen", varlen_without_scale),
        (VARLEN, "find_varlen", varlen_2_11),
        (VARLEN, "find_varlen", varlen_2_13),
        (FLASH, "find_flash_attn", flash_2),
    ],
)
def test_kernels_are_asked_for_texts_scale_and_window_by_their_own_names(
    way: str, edge: str, compute: Callable[..., Any], window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, edge, lambda: compute)
    lengths = [3, 40, 0, 17]
    assert torch.allclose(attended(way, window, lengths)[0], attended(TEXT_BY_TEXT, window, lengths)[0], atol=1e-6)


# --- which way --------------------------------------------------------------------------------------------------------

CARDS = {
    "T4": Gpu("T4", (7, 5), False),
    "L4": Gpu("L4", (8, 9), True),
    "A10G": Gpu("A10G", (8, 6), True),
    "A100": Gpu("A100", (8, 0), True),
    "H100": Gpu("H100", (9, 0), True),
}


def chosen(monkeypatch: pytest.MonkeyPatch, card: str, varlen: Any, flash: Any = None, **how: Any) -> Any:
    monkeypatch.setattr(attention, "read_gpu", lambda device: CARDS[card])
    monkeypatch.setattr(attention, "find_varlen", lambda: varlen)
    monkeypatch.setattr(attention, "find_flash_attn", lambda: flash)
    config = SimpleNamespace(attention_dropout=how.pop("dropout", 0.0))
    fails = how.pop("fails", ())
    return choose_way(
        config, torch.device("cuda"), how.pop("bf16", True), lambda device, way: f"{way} broke" if way in fails else ""
    )


@pytest.mark.parametrize("card", [name for name in CARDS if name != "T4"])
def test_a_card_with_bf16_takes_the_first_kernel_that_its_torch_has(card: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, card, varlen_2_13) == (VARLEN, "")
    way, reason = chosen(monkeypatch, card, varlen_2_10, flash_2)
    assert way == FLASH
    assert "no sliding window" in reason
    way, reason = chosen(monkeypatch, card, varlen_2_10)
    assert way == FLEX
    assert "flash-attn is not installed" in reason
    way, reason = chosen(monkeypatch, card, None)
    assert way == FLEX
    assert "has no attention for packed rows" in reason
    assert chosen(monkeypatch, card, varlen_2_13, fails=(VARLEN,))[0] == FLEX
    way, reason = chosen(monkeypatch, card, varlen_2_13, fails=(VARLEN, FLEX))
    assert way == ""
    assert f"{VARLEN} broke" in reason


def test_the_table_of_cards_in_the_docs_is_what_they_get() -> None:
    sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
    import gpu_paths

    assert gpu_paths.table() in (Path(__file__).parent.parent / "docs" / "performance.md").read_text()


def test_what_a_card_lacks_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chosen(monkeypatch, "T4", varlen_2_13, bf16=False) == (
        "", "T4 does not multiply bf16, and fp32 goes by length-sorted passes",
    )  # fmt: skip
    assert chosen(monkeypatch, "H100", varlen_2_13, bf16=False) == ("", "packed attention on a GPU needs bf16")
    assert "dropout" in chosen(monkeypatch, "H100", varlen_2_13, flash_2, dropout=0.1)[1]


def test_other_devices_and_other_encoders_say_why_they_pack_nothing() -> None:
    cpu = torch.device("cpu")
    assert choose_packing(model_for("token"), cpu, bf16=False) == (TEXT_BY_TEXT, "")
    assert choose_packing(BertForSequenceClassification(bert()), cpu, bf16=False) == ("", "bert knows no packed rows")
    assert choose_packing(model_for("token"), torch.device("mps"), bf16=False) == ("", "no packed attention on mps")


def test_a_kernel_is_tried_out_before_it_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "find_varlen", lambda: varlen_2_13)
    assert try_way(torch.device("cpu"), VARLEN) == ""

    def broken(*given: Any, window_size: Any = None, scale: Any = None) -> Any:
        raise RuntimeError("no kernel image is available\nmore")

    def older(query: Any, key: Any, value: Any, cu_seq: Any, *, window_size: Any = None) -> Any:
        """Of a version whose parameters we do not know."""

    def blind(*given: Any, window_size: Any = None, scale: Any = None) -> Any:
        return varlen_2_13(*given, scale=scale)

    monkeypatch.setattr(attention, "find_varlen", lambda: broken)
    assert try_way(torch.device("cpu"), VARLEN) == f"{VARLEN} fails on this GPU: no kernel image is available"
    monkeypatch.setattr(attention, "find_varlen", lambda: older)
    assert "positional argument" in try_way(torch.device("cpu"), VARLEN)
    monkeypatch.setattr(attention, "find_varlen", lambda: blind)
    assert "is wrong by" in try_way(torch.device("cpu"), VARLEN), "a window that is not kept is seen"


def test_a_model_is_packed_for_a_while_and_then_as_before() -> None:
    model = model_for("sequence").eval()
    before, kind = model.config._attn_implementation, type(model.model)
    batch = Collator(0)(rows_for("sequence"))
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        expected = model(**given).logits
        with packed(model, TEXT_BY_TEXT):
            assert isinstance(model.model, PackedModernBert)
            assert torch.allclose(model(**given).logits, expected, atol=1e-5)
    assert type(model.model) is kind
    assert model.config._attn_implementation == before


@given(texts, st.integers(1, 4000))
def test_launches_hold_every_row_once_and_pad_within_their_tokens(lengths: list[int], tokens: int) -> None:
    launches = divide_by_tokens(lengths, tokens)
    assert sorted(row for launch in launches for row in launch) == list(range(len(lengths)))
    for launch in launches:
        assert len(launch) == 1 or max(lengths[row] for row in launch) * len(launch) <= tokens


@pytest.mark.parametrize("head", ["sequence", "token"])
def test_a_model_that_is_asked_many_texts_at_once_answers_each_as_alone(head: str) -> None:
    model = model_for(head).eval()
    rows = [row["input_ids"] for row in rows_for(head, LENGTHS * 3)]
    with torch.no_grad():
        expected = [model(torch.tensor([row])).logits[0] for row in rows]
    for way in ("", TEXT_BY_TEXT):
        many = ManyAtOnce(model, pad=0, tokens=400)
        many.way = way
        for found, right in zip(many.run_rows(rows), expected, strict=True):
            assert torch.allclose(torch.from_numpy(found).float(), right, atol=1e-5)
    assert many.launches < len(rows) / 3
    bert_model = BertForSequenceClassification(bert()).eval()
    with torch.no_grad():
        right = bert_model(torch.tensor([rows[1]])).logits[0]
    assert torch.allclose(torch.from_numpy(ManyAtOnce(bert_model, 0).run_rows(rows)[1]).float(), right, atol=1e-5)


def test_a_test_split_is_read_in_a_few_launches_with_the_same_answers(tokenizer: Any) -> None:
    model = model_for("sequence", vocab_size=len(tokenizer)).eval()
    texts = ["hello there", "a much longer text " * 40, "word", "some more words " * 5] * 10
    options = {"window": Window(64, 20), "positive": 1}
    one_by_one = [*read_labels(model, tokenizer, texts, **options)]
    many = ManyAtOnce(model, tokenizer.pad_token_id or 0)
    for a, b in zip(read_labels(many, tokenizer, texts, **options), one_by_one, strict=True):
        assert a.probabilities == pytest.approx(b.probabilities, abs=1e-5)
        assert (a.windows, a.tokens_read) == (b.windows, b.tokens_read)
    assert many.launches == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_no_step_waits_for_the_gpu(tmp_path: Path) -> None:
    model = model_for("sequence", hidden_size=128, num_attention_heads=2, intermediate_size=128)
    options = {"use_cpu": False, "bf16": True, "max_steps": 6, "per_device_train_batch_size": 8, "max_grad_norm": 1.0}
    trainer = trainer_for(model, rows_for("sequence"), tmp_path, dataloader_pin_memory=True, **options)
    assert trainer.static
    inner, seen = trainer.training_step, list[int]()

    def watched(*given: Any) -> Any:
        # The first steps may load kernels.
        torch.cuda.set_sync_debug_mode("error" if trainer.state.global_step >= 2 else "default")
        seen.append(trainer.state.global_step)
        return inner(*given)

    trainer.training_step = watched  # type: ignore[method-assign]
    try:
        trainer.train()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(seen) == 6
