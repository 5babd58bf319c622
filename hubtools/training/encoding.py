"""The splits encoded for the Trainer, what the limit cuts of them, and the file that keeps all that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.heads import Head, encoding, word_marks
from hubtools.heads.values import Rows
from hubtools.records.training import Truncation
from hubtools.rows import MADE
from hubtools.spec import LabelSet

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


def encode_counted(
    batch: Rows, tokenizer: PreTrainedTokenizerBase, max_length: int, head: Head, label_set: LabelSet
) -> dict[str, object]:
    """Encode a batch, and count how much of each text the model does not read.

    Returns:
        the columns of :meth:`Head.encode`; ``cut_tokens``, and where texts have spans ``spans``, how many, and
        ``cut_spans``, those that are read in part or not at all.
    """
    encoded = head.encode(batch, tokenizer, max_length, label_set)
    spans = head.select_spans(batch)
    cut_tokens = [0] * len(batch["text"])
    cut_spans = [0] * len(batch["text"])
    full = [row for row, length in enumerate(encoded["length"]) if length == max_length]
    # Only a text that fills the limit can be cut: the others are not encoded a second time.
    whole = tokenizer([batch["text"][row] for row in full], return_offsets_mapping=bool(spans)) if full else {}
    for number, row in enumerate(full):
        cut_tokens[row] = len(whole["input_ids"][number]) - max_length
        if spans and cut_tokens[row] and spans[row]:
            text_tokens = max_length - tokenizer.num_special_tokens_to_add()
            ends = [end for start, end in whole["offset_mapping"][number] if start != end]
            cut_spans[row] = sum(span["end"] > ends[text_tokens - 1] for span in spans[row])
    counts = {"cut_tokens": cut_tokens}
    if spans is not None:
        counts |= {"spans": [len(of_row) for of_row in spans], "cut_spans": cut_spans}
    return {**encoded, **counts}


def leave_out_cut(
    data: Mapping[str, Dataset], encoded: Mapping[str, Dataset]
) -> tuple[dict[str, Dataset], dict[str, Dataset]]:
    """Return the splits, as they are and encoded, without the rows made for training that the limit cuts.

    What was put into a made row, and its label with it, may stand behind the limit.
    """
    train = data["train"]
    groups = train["group"][:] if "group" in train.column_names else [""] * len(train)
    cut = encoded["train"]["cut_tokens"][:]
    kept = [row for row, group in enumerate(groups) if not (cut[row] and group.startswith(MADE))]
    return {**data, "train": train.select(kept)}, {**encoded, "train": encoded["train"].select(kept)}


def measure_truncation(encoded: Dataset, max_length: int) -> Truncation:
    """Return what the limit costs a split that :func:`encode_splits` made."""
    cut = encoded["cut_tokens"][:]
    lost = sum(cut)
    has_spans = "spans" in encoded.column_names
    return Truncation(
        max_length=max_length,
        rows_cut_share=sum(count > 0 for count in cut) / max(1, len(cut)),
        tokens_cut_share=lost / max(1, lost + sum(encoded["length"][:])),
        spans_cut_share=sum(encoded["cut_spans"][:]) / max(1, sum(encoded["spans"][:])) if has_spans else None,
    )


def describe_truncation(splits: Mapping[str, Truncation]) -> str:
    """Return a line for the log: what the limit costs each split."""
    limit = splits["train"].max_length
    costs = []
    for split, cut in splits.items():
        if cut.rows_cut_share:
            spans = cut.spans_cut_share
            costs.append(
                f"{cut.rows_cut_share:.1%} of the {split} rows, with {cut.tokens_cut_share:.1%} of all tokens"
                + ("" if spans is None else f" and {spans:.1%} of all spans")
            )
    return f"max length {limit} cuts {'; '.join(costs)}" if costs else f"max length {limit}: nothing is cut"


def encode_splits(
    data: Mapping[str, Dataset], tokenizer: PreTrainedTokenizerBase, max_length: int, head: Head, label_set: LabelSet,
    cache: Path,
) -> dict[str, Dataset]:  # fmt: skip
    """Encode the training and the validation split, or read them from ``cache`` where they are there.

    A file is known by its content's causes: rows, tokenizer, length, and the modules that encode. What else lies in
    ``cache`` is of other rows or another base, and goes.
    """
    # How a tokenizer cut or padded last is a state that it keeps, not what it is.
    content = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else tokenizer.get_vocab()
    vocabulary = {key: value for key, value in content.items() if key not in ("truncation", "padding")}
    code = b"".join(Path(str(module)).read_bytes() for module in (__file__, encoding.__file__, word_marks.__file__))
    encoded, current_files = {}, set()
    cache.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        causes = hashlib.sha256(code)
        # A detector encodes long texts of its other label in another way.
        kind = [head.name, len(label_set.labels), *head.decisive]
        causes.update(json.dumps([max_length, kind, vocabulary]).encode())
        causes.update(_content(data[split]))
        fingerprint = causes.hexdigest()[:16]
        file = cache / f"{split}-{fingerprint}.arrow"
        current_files.add(file)
        encoded[split] = data[split].map(
            encode_counted, batched=True, remove_columns=data[split].column_names, cache_file_name=str(file),
            fn_kwargs={"tokenizer": tokenizer, "max_length": max_length, "head": head, "label_set": label_set},
            new_fingerprint=fingerprint,
        )  # fmt: skip
    for file in set(cache.glob("*.arrow")) - current_files:
        file.unlink(missing_ok=True)
    return encoded


def _content(dataset: Dataset) -> bytes:
    """Return a dataset's rows as bytes, whatever file they came from."""
    import pyarrow as pa

    table = dataset.with_format("arrow")[:].replace_schema_metadata(None).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())
