"""The tokenizer's files: what ``tokenizers`` alone makes of a text, against what transformers does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubtools.router_contract.check import Check, failed, passed

FILE, CONFIG, SPECIAL = "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"
SPECIAL_TOKENS = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# What frames a text, and the role that a tokenizer without it has in its place.
FRAME = (("cls_token", "bos_token"), ("sep_token", "eos_token"))
# Classes that transformers 4 lacks.
NEW_CLASSES = ("TokenizersBackend", "SentencePieceBackend", "PythonBackend", "MistralCommonBackend")
# Keys that transformers 5 alone writes: how a tokenizer was loaded, and the arguments of its last call.
NEW_KEYS = ("backend", "is_local", "local_files_only", "max_length", "stride", "truncation_strategy")
SPECIAL_ROOM = 100  # tokens, more than frame any text
PROBES = ("", "a", "?!.,;: -- (…)", "Mr. O'Neil pays 1,000 in Zürich", "\u4f60\u597d \U0001f642", "two  spaces\n")


@dataclass(frozen=True)
class Framing:
    """The ids that stand before and after those of every text."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]


def load_tokenizer(folder: Path) -> Any:
    """Return ``tokenizer.json`` as the router has it: by ``tokenizers`` alone, without truncation and padding."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / FILE))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def framing_of(tokenizer: Any) -> Framing | None:
    """Return what frames a text, or None where the text's own ids cannot be told from it."""
    bare, whole = tokenizer.encode("a", add_special_tokens=False).ids, tokenizer.encode("a").ids
    for start in range(len(whole) - len(bare) + 1):
        if whole[start : start + len(bare)] == bare:
            return Framing(tuple(whole[:start]), tuple(whole[start + len(bare) :]))
    return None


def check_tokenizer(
    folder: Path, config: Mapping[str, Any], tokenizer_config: Mapping[str, Any], texts: Sequence[str]
) -> list[Check]:
    """Return what is wrong with the tokenizer of a model with this ``config``, or one passed check.

    Args:
        tokenizer_config: what ``tokenizer_config.json`` holds.
        texts: what ``tokenizers`` and transformers must make the same ids of.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        tokenizer = load_tokenizer(folder)
    except Exception as error:  # tokenizers raises a bare Exception for a file that it cannot read
        return [_problem(FILE, "cannot be read", "what the tokenizers library writes", f"{error}".split("\n")[0])]
    problems = [
        *_check_names(tokenizer_config),
        *_check_special_tokens(folder, tokenizer_config),
        *_check_vocabulary(tokenizer, config),
        *_check_stored(content),
        *_check_framing(tokenizer, tokenizer_config),
        *_check_reading(tokenizer, content, tokenizer_config),
    ]
    if any(problem.severity == "error" for problem in problems):
        return problems
    problems += _check_same_ids(folder, tokenizer, [*PROBES, *texts])
    good = passed("tokenizer", FILE, f"the same ids as transformers' on {len(texts)} texts", texts=len(texts))
    return problems or [good]


def _problem(file: str, summary: str, expected: str, found: object, **more: Any) -> Check:
    return failed("tokenizer", file, summary, expected=expected, found=found, **more)


def _check_names(tokenizer_config: Mapping[str, Any]) -> Iterator[Check]:
    name = tokenizer_config.get("tokenizer_class")
    if name in NEW_CLASSES:
        yield _problem(CONFIG, "tokenizer_class: transformers 4 has no such class", "'PreTrainedTokenizerFast'", name)
    elif name not in (None, "PreTrainedTokenizerFast"):
        yield _problem(CONFIG, "tokenizer_class: not tried in transformers 4", "'PreTrainedTokenizerFast'", name,
                       severity="warning")  # fmt: skip
    if isinstance(tokenizer_config.get("extra_special_tokens"), list):
        yield _problem(CONFIG, "extra_special_tokens: transformers 4 wants a map, and stops at a list",
                       "additional_special_tokens", tokenizer_config["extra_special_tokens"])  # fmt: skip
    if new := [key for key in NEW_KEYS if key in tokenizer_config]:
        yield _problem(CONFIG, f"keys that transformers 4 does not know: {', '.join(new)}", "no such keys",
                       ", ".join(new), severity="warning")  # fmt: skip


def _check_special_tokens(folder: Path, tokenizer_config: Mapping[str, Any]) -> Iterator[Check]:
    if not (folder / SPECIAL).exists():
        return  # said of the files
    try:
        content = json.loads((folder / SPECIAL).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        yield _problem(SPECIAL, "cannot be read", "a map of the special tokens", str(error))
        return
    expected = {key: text_of(tokenizer_config[key]) for key in SPECIAL_TOKENS if tokenizer_config.get(key)}
    found = {key: text_of(value) for key, value in content.items()} if isinstance(content, dict) else {}
    if any(found.get(key) != token for key, token in expected.items()):
        yield _problem(SPECIAL, "transformers 4 takes the special tokens from here", f"{expected}, as {CONFIG} says",
                       content)  # fmt: skip


def text_of(token: object) -> object:
    """Return a special token's text; files hold it as it is or with its properties."""
    return token.get("content") if isinstance(token, dict) else token


def _check_vocabulary(tokenizer: Any, config: Mapping[str, Any]) -> Iterator[Check]:
    rows = int(config["vocab_size"])
    beyond = {token: i for token, i in tokenizer.get_vocab(with_added_tokens=True).items() if i >= rows}
    if beyond:
        token = min(beyond, key=lambda name: beyond[name])
        yield _problem(FILE, f"the token {token!r} has no row in the embedding", f"ids below {rows}, the vocab_size of "
                       "config.json", beyond[token])  # fmt: skip


def _check_stored(content: Mapping[str, Any]) -> Iterator[Check]:
    for key in ("truncation", "padding"):
        if content.get(key):
            yield _problem(FILE, f"{key} is stored; the router switches it off, other readers may not", "null",
                           content[key], severity="warning")  # fmt: skip


def _check_framing(tokenizer: Any, tokenizer_config: Mapping[str, Any]) -> Iterator[Check]:
    framing = framing_of(tokenizer)
    # Gemma's tokenizer, which mmBERT has, names them by their older roles alone; the router asks for no name.
    names = [text_of(tokenizer_config.get(key) or tokenizer_config.get(older)) for key, older in FRAME]
    expected = tuple((tokenizer.token_to_id(name),) if isinstance(name, str) else () for name in names)
    if framing is None or (framing.prefix, framing.suffix) != expected or not all(expected):
        yield _problem(FILE, "post_processor: special tokens must frame a text", f"{names[0]} before, {names[1]} after",
                       "neither" if framing == Framing((), ()) else str(framing))  # fmt: skip
        return
    special = " ".join(str(text_of(tokenizer_config[key])) for key in SPECIAL_TOKENS if tokenizer_config.get(key))
    for text in (*PROBES, f"{special} written out"):
        bare, whole = tokenizer.encode(text, add_special_tokens=False).ids, tokenizer.encode(text).ids
        if whole != [*framing.prefix, *bare, *framing.suffix]:
            yield _problem(FILE, f"post_processor: {text!r} is framed otherwise", f"{framing.prefix} {bare} "
                           f"{framing.suffix}", whole)  # fmt: skip


def _check_reading(
    tokenizer: Any, content: Mapping[str, Any], tokenizer_config: Mapping[str, Any]
) -> Iterator[Check]:  # fmt: skip
    """A tokenizer of bytes reads a text as it is, so that its pieces are the text again. One of words must reach its
    vocabulary: where that has capitals, a normalizer must not take them away.
    """
    from tokenizers import decoders

    steps = content.get("pre_tokenizer") or {}
    if tokenizer_config.get("add_prefix_space"):
        yield _problem(CONFIG, "add_prefix_space: the model never saw a space before a text", "no such key",
                       tokenizer_config["add_prefix_space"])  # fmt: skip
    if any(step.get("type") == "ByteLevel" for step in (steps, *steps.get("pretokenizers", ()))):
        for text in PROBES:
            pieces = [tokenizer.id_to_token(i) for i in tokenizer.encode(text, add_special_tokens=False).ids]
            read = decoders.ByteLevel().decode(pieces)
            if read != text:
                yield _problem(FILE, "normalizer or pre_tokenizer: changes a text before it is read", repr(text),
                               repr(read))  # fmt: skip
                return
    elif tokenizer.normalizer is not None and tokenizer.normalizer.normalize_str("A") != "A":
        special = {token["content"] for token in content.get("added_tokens", ())}
        lost = next((t for t in tokenizer.get_vocab() if t not in special and t != t.lower()), "")
        if lost:
            yield _problem(FILE, "normalizer: takes capitals away that the vocabulary has", repr(lost), "never read")


def _check_same_ids(folder: Path, tokenizer: Any, texts: Sequence[str]) -> Iterator[Check]:
    from transformers import AutoTokenizer

    try:
        theirs = AutoTokenizer.from_pretrained(folder)
        theirs.model_max_length = max(len(text.encode()) for text in texts) + SPECIAL_ROOM  # no warning of long texts
        ids = [theirs(text, truncation=False)["input_ids"] for text in texts]
    except Exception as error:  # transformers has many ways to say that it cannot load a tokenizer
        yield _problem(CONFIG, "transformers cannot load the tokenizer", "AutoTokenizer.from_pretrained",
                       f"{type(error).__name__}: {error}".split("\n")[0])  # fmt: skip
        return
    for text, found in zip(texts, ids, strict=True):
        expected = tokenizer.encode(text).ids
        if found != expected:
            yield _problem(CONFIG, f"transformers reads {text[:40]!r} otherwise than {FILE} says", str(expected[:12]),
                           str(found[:12]))  # fmt: skip
            return
