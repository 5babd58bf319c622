"""Attention within each text of a packed row: the ways to compute it, and which of them a device has.

A way is a function of transformers' ``AttentionInterface``, and a reason why not, "" where it can. What libraries and
GPUs are asked for stands in the functions below ``the edge``; all else follows from their answers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedConfig

Attended = tuple[torch.Tensor, None]


class Texts(NamedTuple):
    """Where the texts of a packed row begin and end.

    Attributes:
        bounds: int32, (texts + 1,), on the device: the running sum of the lengths from 0 on. A text may be empty.
        longest: tokens; no text has more.
        lengths: tokens of each text, where they are known without asking the device.
        blocks: what FlexAttention needs, for the whole text and for the window.
    """

    bounds: torch.Tensor
    longest: int
    lengths: list[int] | None = None
    blocks: tuple[Any, Any] | None = None


def count_reach(sliding_window: int | None) -> int:
    """Return how many tokens to either side are seen; -1 sees the whole text, as torch says it."""
    # transformers hands attention one more than the distance.
    return sliding_window - 1 if sliding_window else -1


def text_by_text(
    module: object, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: None, *,
    scaling: float, texts: Texts, sliding_window: int | None = None, **options: Any,
) -> Attended:  # fmt: skip
    """Compute attention one text after another, which costs nothing on a CPU.

    Args:
        query, key, value: (1, heads, tokens, head size).
        sliding_window: one more than the distance in tokens that is seen to either side; None sees the whole text.
        **options: what else transformers gives to attention functions; ``dropout`` counts.

    Returns:
        (1, tokens, heads, head size), as transformers' attention functions.
    """
    reach = count_reach(sliding_window)
    lengths = texts.bounds.diff().tolist() if texts.lengths is None else texts.lengths
    longest = max(lengths)
    position = torch.arange(longest, device=query.device)
    # A text no longer than the window sees itself whole, and needs no mask.
    near = (position[:, None] - position).abs() <= reach if 0 <= reach < longest - 1 else None
    # split and cat keep the backward pass linear in the tokens; slices would fill a whole row for each text.
    rows = []
    for q, k, v in zip(*(torch.split(part, lengths, dim=2) for part in (query, key, value)), strict=True):
        n = q.shape[2]
        if n:
            mask = None if near is None or n <= reach + 1 else near[:n, :n]
            rows.append(
                scaled_dot_product_attention(
                    q, k, v, attn_mask=mask, dropout_p=options.get("dropout", 0.0), scale=scaling
                )
            )
    return torch.cat(rows, dim=2).transpose(1, 2), None


def _make_by_blocks(compute: Callable[..., torch.Tensor]) -> Callable[..., Attended]:
    """Return the way that calls FlexAttention, which leaves out blocks of tokens that share no text."""

    def by_blocks(
        module: object, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: None, *,
        scaling: float, texts: Texts, sliding_window: int | None = None, **options: object,
    ) -> Attended:  # fmt: skip
        assert texts.blocks is not None  # prepare() made them
        whole, window = texts.blocks
        found = compute(query, key, value, block_mask=window if sliding_window else whole, scale=scaling)
        return found.transpose(1, 2), None

    return by_blocks


def _make_varlen(compute: Callable[..., Any], *, scale: str = "scale") -> Callable[..., Attended]:
    """Return the way that calls a kernel for texts of varying length, torch's or flash-attn's.

    Args:
        scale: its name for the factor of the scores. Without such a parameter it takes one over the square root of the
            head size, which is ModernBERT's own.
    """
    # Looked at once: the layers are compiled, and cannot ask for a signature.
    takes_scale = scale in inspect.signature(compute).parameters

    def varlen(
        module: object, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: None, *,
        scaling: float, texts: Texts, sliding_window: int | None = None, **options: object,
    ) -> Attended:  # fmt: skip
        reach = count_reach(sliding_window)
        q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
        more: dict[str, Any] = {scale: scaling} if takes_scale else {}
        row: torch.Tensor = compute(
            q, k, v, texts.bounds, texts.bounds, texts.longest, texts.longest, window_size=(reach, reach), **more
        )
        return row.unsqueeze(0), None

    return varlen


# --- the edge: what libraries and GPUs say --------------------------------------------------------------------------


@dataclass(frozen=True)
class Gpu:
    """What is asked of a GPU: its compute capability, and whether it multiplies bf16."""

    name: str
    capability: tuple[int, int]
    bf16: bool


def read_gpu(device: torch.device) -> Gpu:
    """Return what torch says of a GPU."""
    return Gpu(
        torch.cuda.get_device_name(device),
        torch.cuda.get_device_capability(device),
        torch.cuda.is_bf16_supported(including_emulation=False),
    )


def find_varlen() -> Callable[..., Any] | None:
    """Return torch's own attention for texts of varying length; None before torch 2.10."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def find_flash_attn() -> Callable[..., Any] | None:
    """Return that of the package flash-attn; None where it is not installed."""
    try:
        from flash_attn import flash_attn_varlen_func  # type: ignore[import-not-found]
    except ImportError:
        return None
    found: Callable[..., Any] = flash_attn_varlen_func
    return found


_compiled: dict[str, Callable[..., Any]] = {}


def find_flex() -> Callable[..., Any]:
    """Return FlexAttention, compiled where there is a GPU: as it is, it would hold all scores of a row."""
    from torch.nn.attention.flex_attention import flex_attention

    if not torch.cuda.is_available():
        return flex_attention
    return _compiled.setdefault("attention", torch.compile(flex_attention, dynamic=False))


# --- which way --------------------------------------------------------------------------------------------------------

TEXT_BY_TEXT, VARLEN, FLASH, FLEX = "text by text on the CPU", "varlen_attn", "flash-attn", "FlexAttention"
# What transformers knows them by; a configuration that is saved holds none of these.
NAMES = {way: f"hubtools_packed_{i}" for i, way in enumerate((TEXT_BY_TEXT, VARLEN, FLASH, FLEX))}


def why_not(way: str, config: PreTrainedConfig, gpu: Gpu, bf16: bool) -> str:
    """Return why a GPU does not compute the attention of a training in this way; "" where it does.

    Args:
        bf16: whether the training is in mixed precision.
    """
    if not gpu.bf16:
        return f"{gpu.name} does not multiply bf16, and fp32 goes by length-sorted passes"
    if not bf16:
        return "packed attention on a GPU needs bf16"
    if gpu.capability < (8, 0):
        return f"its kernels need compute capability 8.0, and {gpu.name} has {'.'.join(map(str, gpu.capability))}"
    if config.attention_dropout:
        return "packed attention on a GPU has no dropout, and this base has"
    if way == VARLEN:
        compute = find_varlen()
        if compute is None:
            return f"torch {torch.__version__} has no attention for packed rows"
        if "window_size" not in inspect.signature(compute).parameters:
            return f"torch {torch.__version__} has no sliding window for packed rows"
    if way == FLASH and find_flash_attn() is None:
        return "flash-attn is not installed"
    return ""


class Choice(NamedTuple):
    """How rows are packed, and why not otherwise; ``way`` is "" where they are not packed at all."""

    way: str
    reason: str


def choose_way(
    config: PreTrainedConfig,
    device: torch.device,
    bf16: bool,
    try_out: Callable[[torch.device, str], str] | None = None,
) -> Choice:
    """Return the first way that a device has: torch's own kernel, flash-attn's, FlexAttention.

    Args:
        try_out: says what is wrong with a way on the device itself; None takes :func:`try_way`.
    """
    if device.type == "cpu":
        return Choice(TEXT_BY_TEXT, "")
    if device.type != "cuda":
        return Choice("", f"no packed attention on {device.type}")
    gpu, reasons = read_gpu(device), list[str]()
    for way in (VARLEN, FLASH, FLEX):
        reason = why_not(way, config, gpu, bf16) or (try_out or try_way)(device, way)
        if not reason:
            return Choice(way, "; ".join(dict.fromkeys(reasons)))
        reasons.append(reason)
    return Choice("", "; ".join(dict.fromkeys(reasons)))


def register_way(way: str) -> str:
    """Make a way known to transformers; return its name there."""
    known: dict[str, Callable[..., Attended]] = {TEXT_BY_TEXT: text_by_text}
    if way == FLEX:
        known[way] = _make_by_blocks(find_flex())
    if way == VARLEN and (compute := find_varlen()):
        known[way] = _make_varlen(compute)
    if way == FLASH and (compute := find_flash_attn()):
        known[way] = _make_varlen(compute, scale="softmax_scale")
    AttentionInterface.register(NAMES[way], known[way])
    return NAMES[way]


def prepare(name: str, texts: Texts, tokens: int, reach: int) -> Texts:
    """Return ``texts`` with what a way needs besides, made once for all layers.

    Args:
        name: of the way, as :func:`register_way` gives it.
        tokens: of the packed row.
        reach: of the window, in tokens to either side.
    """
    if name == NAMES[FLEX]:
        return texts._replace(blocks=_make_blocks(texts.bounds, tokens, reach))
    return texts


def _make_blocks(bounds: torch.Tensor, tokens: int, reach: int) -> tuple[Any, Any]:
    from torch.nn.attention.flex_attention import create_block_mask

    text = torch.searchsorted(bounds, torch.arange(tokens, device=bounds.device), right=True)

    def whole(b: Any, h: Any, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        return text[q] == text[kv]

    def window(b: Any, h: Any, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        return (text[q] == text[kv]) & ((q - kv).abs() <= reach)

    make: Callable[..., Any] = create_block_mask
    if bounds.is_cuda:  # as it is, it would hold a truth value for each pair of tokens
        make = _compiled.setdefault("blocks", torch.compile(create_block_mask, dynamic=False))
    first, second = (make(seen, None, None, tokens, tokens, device=bounds.device) for seen in (whole, window))
    return first, second


def read_first_line(error: Exception) -> str:
    """Return the first line of an error's message; the name of its type where it has none."""
    # As hubtools.errors has it, which a Space does not carry along.
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def try_way(device: torch.device, way: str) -> str:
    """Return how a way differs on this device from the plain attention of the CPU; "" where it does not."""
    # One text within the window of 64 to either side, two that are longer, and one that is empty.
    lengths, window = [3, 150, 70, 0], 65
    random = torch.Generator().manual_seed(0)
    whole = [torch.randn(1, 2, sum(lengths), 64, generator=random) for _ in range(3)]
    results: list[list[torch.Tensor]] = []
    try:
        for where, how, dtype in ((torch.device("cpu"), TEXT_BY_TEXT, torch.float32), (device, way, torch.bfloat16)):
            compute = AttentionInterface()[register_way(how)]  # type: ignore[no-untyped-call]
            texts = Texts(torch.tensor([0, *lengths]).cumsum(0).to(where, torch.int32), max(lengths))
            texts = prepare(NAMES[how], texts, sum(lengths), window - 1)
            q, k, v = (part.to(where, dtype, copy=True).requires_grad_() for part in whole)
            row, _ = compute(None, q, k, v, None, scaling=0.125, texts=texts, sliding_window=window)
            gradients = torch.autograd.grad(row.float().square().sum(), (q, k, v))
            results.append([part.detach().float().cpu() for part in (row, *gradients)])
    except Exception as error:  # kernels that are missing, broken or of another version fail in many ways
        return f"{way} fails on this GPU: {read_first_line(error)}"
    # bf16 keeps eight bits, a relative error of up to 1/256; the bound leaves room for sums of many.
    difference = max(float((a - b).norm() / a.norm()) for a, b in zip(*results, strict=True))
    return "" if difference < 0.03 else f"{way} is wrong by {difference:.0%} on this GPU"
