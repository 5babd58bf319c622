"""The splits encoded for the Trainer, what the limit cuts of them, and the file that keeps all that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hubtools.heads import encoding
from hubtools.heads.encoding import encode_sequence, encode_tokens


def encode_counted(batch: Mapping[str, list[Any]], tokenizer: Any, max_length: int, types: int) -> dict[str, Any]:
    """A batch encoded, and how much of each text the model does not read.

    Returns:
        the columns of :func:`encode_tokens`, or of :func:`encode_sequence` where ``types`` is 0; ``cut_tokens``,
        ``spans``, and ``cut_spans``, those that are read in part or not at all.
    """
    if types:
        encoded = encode_tokens(batch, tokenizer=tokenizer, max_length=max_length, types=types)
    else:
        encoded = encode_sequence(batch, tokenizer=tokenizer, max_length=max_length)
    spans = batch["spans"] if types else [[] for _ in batch["text"]]
    cut_tokens, cut_spans = [0] * len(spans), [0] * len(spans)
    full = [row for row, length in enumerate(encoded["length"]) if length == max_length]
    whole = tokenizer([batch["text"][row] for row in full], return_offsets_mapping=bool(types)) if full else {}
    for place, row in enumerate(full):
        cut_tokens[row] = len(whole["input_ids"][place]) - max_length
        if cut_tokens[row] and spans[row]:
            text_tokens = max_length - tokenizer.num_special_tokens_to_add()
            ends = [end for start, end in whole["offset_mapping"][place] if start != end]
            cut_spans[row] = sum(span["end"] > ends[text_tokens - 1] for span in spans[row])
    return {**encoded, "cut_tokens": cut_tokens, "spans": [len(of_row) for of_row in spans], "cut_spans": cut_spans}


def truncation(encoded: Any, max_length: int, types: int) -> dict[str, Any]:
    """What the limit costs a split that :func:`encode_splits` made.

    Returns:
        ``max_length``, and shares from 0 to 1: ``rows_cut_share``, ``tokens_cut_share``, and ``spans_cut_share``, None
        for a sequence task.
    """
    cut = encoded["cut_tokens"][:]
    lost, spans = sum(cut), sum(encoded["spans"][:])
    return {
        "max_length": max_length,
        "rows_cut_share": sum(count > 0 for count in cut) / max(1, len(cut)),
        "tokens_cut_share": lost / max(1, lost + sum(encoded["length"][:])),
        "spans_cut_share": sum(encoded["cut_spans"][:]) / max(1, spans) if types else None,
    }


def truncation_line(found: Mapping[str, Mapping[str, Any]]) -> str:
    """What the limit costs, for the log.

    Args:
        found: what :func:`truncation` says of each split.
    """
    begin = f"max length {found['train']['max_length']}"
    said = []
    for split, costs in found.items():
        if costs["rows_cut_share"]:
            spans = costs["spans_cut_share"]
            said.append(
                f"{costs['rows_cut_share']:.1%} of the {split} rows, with {costs['tokens_cut_share']:.1%} of all tokens"
                + ("" if spans is None else f" and {spans:.1%} of all spans")
            )
    return f"{begin} cuts {'; '.join(said)}" if said else f"{begin}: nothing is cut"


def encode_splits(data: Mapping[str, Any], tokenizer: Any, max_length: int, types: int, cache: Path) -> dict[str, Any]:
    """The training and the validation split as the Trainer takes them, from ``cache`` where they are there.

    A file is known by its content's causes: rows, tokenizer, length, and the modules that encode. What else lies in
    ``cache`` is of other rows or another base, and goes.

    Args:
        types: entity types of a token task; 0 for a sequence task.
    """
    # How a tokenizer cut or padded last is a state that it keeps, not what it is.
    whole = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else tokenizer.get_vocab()
    vocabulary = {key: value for key, value in whole.items() if key not in ("truncation", "padding")}
    encoded, kept = {}, set()
    cache.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        known = hashlib.sha256(Path(__file__).read_bytes() + Path(encoding.__file__).read_bytes())
        known.update(json.dumps([max_length, types, vocabulary]).encode())
        known.update(_content(data[split]))
        mark = known.hexdigest()[:16]
        file = cache / f"{split}-{mark}.arrow"
        kept.add(file)
        encoded[split] = data[split].map(
            encode_counted, batched=True, remove_columns=data[split].column_names, cache_file_name=str(file),
            fn_kwargs={"tokenizer": tokenizer, "max_length": max_length, "types": types}, new_fingerprint=mark,
        )  # fmt: skip
    for file in set(cache.glob("*.arrow")) - kept:
        file.unlink(missing_ok=True)
    return encoded


def _content(dataset: Any) -> bytes:
    """A dataset's rows as bytes, whatever file they came from."""
    import pyarrow as pa

    table = dataset.with_format("arrow")[:].replace_schema_metadata(None).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())
