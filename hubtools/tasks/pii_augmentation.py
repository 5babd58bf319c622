"""pii: personal data as people type them in a chat, and code and logs with numbers that only look like them."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hubtools.spec import Augmentation, Example, Span

_OPENINGS = ("hey ", "hi, ", "ok ", "so ", "pls ", "hello! ", "thx. ", "btw ", "yo ", "um, ", "quick one: ", "fyi ")
_PUNCTUATION = ".,;:!?\"'()"
_CLOSINGS = ("", "", "", " thanks", " thx!!", " pls", " ok?", " asap", " :)", " ...", " lol")


def _lower(text: str) -> str:
    """Return the text in small letters, as many of them: a letter that would become two stays."""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _drop_punctuation(row: Example) -> Example:
    """Return a row without commas, stops and quotation marks outside of its spans; these stay where they are."""
    kept: list[str] = []
    moved = [0] * (len(row.text) + 1)
    inside = {i for span in row.spans for i in range(span.start, span.end)}
    for i, c in enumerate(row.text):
        moved[i] = len(kept)
        # A stop or comma between two characters is a part of a number, or of an address on the web.
        rest = row.text[i + 1 : i + 4].lstrip(_PUNCTUATION)
        ends = not rest or rest[0].isspace() or i + 1 in inside
        if i in inside or c not in _PUNCTUATION or not ends:
            kept.append(c)
    moved[len(row.text)] = len(kept)
    spans = tuple(replace(span, start=moved[span.start], end=moved[span.end - 1] + 1) for span in row.spans)
    return replace(row, text="".join(kept), spans=spans)


def write_loosely(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield rows in small letters, without punctuation, or with the words of a chat around; each has one at least."""
    if not rows:
        return
    while True:
        row, form = rng.choice(rows), rng.random()
        if form < 0.6:
            row = replace(row, text=_lower(row.text))
        if 0.4 < form < 0.8:
            row = _drop_punctuation(row)
        if form > 0.5:
            opening = rng.choice(_OPENINGS)
            spans = tuple(Span(s.start + len(opening), s.end + len(opening), s.type) for s in row.spans)
            row = replace(row, text=opening + row.text + rng.choice(_CLOSINGS), spans=spans)
        yield row


# Lines of code and logs. ``#`` is a digit, ``^`` one that is not zero, ``?`` a hexadecimal digit, ``§`` the sign #; a
# name in braces is filled with what a row of training marks as such, and marked again.
_LINES = (
    "INFO  [worker-^] job ^######### done in ###.# ms", "WARN  cache miss key=????????:#### ttl=^###",
    "ERROR request_id=????????-????-????-????-???????????? status=^##", "DEBUG offset=^######### size=^####",
    "GET /api/v^/items/^######/page/^# 200 ^####", "POST /orders/^#########/lines 201 ###ms",
    "const TIMEOUT_NS = ^#########;", "max_id = ^###_###_###", "retry_after = ^#.##", "checksum: ????????????????",
    "seed = ^########", "lat, lon = ^#.######, -^#.######", "SELECT * FROM orders WHERE id = ^#########;",
    "INSERT INTO parts (sku, qty) VALUES ('^###-####-##', ^#);", "version = \"^.^#.#-rc^\"", "port: ^####",
    "commit ????????????????????????????????????????", "build §^#### passed (^### tests, ^ skipped)",
    "assert crc32(data) == 0x????????", "0x00007ff?????????: mov eax, 0x??", "pid ^#### exited with code ^##",
    "epoch_ms=^############ shard=##", "isbn = '978-^-##-######-#'", "tracking: ^### #### #### ####",
    "for i in range(^###):", "    total += prices[i] * ^.##", "return rows[^##:^###]", "x = np.zeros((^##, ^##))",
    "<item id=\"^######\" rev=\"##\"/>", "{\"order\": \"^###-#######\", \"qty\": ^, \"price\": ^#.##}",
    "batch ^#/^## loss ^.#### lr ^.#e-0^", "disk /dev/sd? ^##G used ^#%", "case ^-^##-^####:", "ref: INV-^####-###",
    "serial ??-####-????-##", "def f_^##(a, b):", "import module_^#", "§ see ticket ^#####",
)  # fmt: skip
_LINES_WITH_DATA = (
    "user={EMAIL_ADDRESS} action=login ok", "INFO  sent reset link to {EMAIL_ADDRESS} in ### ms",
    "contact = \"{EMAIL_ADDRESS}\"  § owner", "customer: {PERSON}, order ^#########", "§ author: {PERSON}",
    "{\"name\": \"{PERSON}\", \"id\": ^#########}", "callback_number = '{PHONE_NUMBER}'",
    "assigned_to: {PERSON} (ticket ^#####)", "phone={PHONE_NUMBER};ext=^##", "From: {PERSON} <{EMAIL_ADDRESS}>",
)  # fmt: skip
_SLOT = re.compile(r"\{([A-Z_]+)\}")
_REQUESTS = (
    "", "", "", "What does this log say?\n", "Why does this fail?\n\n", "Explain the code:\n", "Fix this please\n",
    "Summarize the output below.\n\n", "```\n",
)  # fmt: skip


def write_code_and_logs(rows: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    """Yield code and logs: most with numbers alone, some with what rows of training mark."""
    known: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for span in row.spans:
            value = row.text[span.start : span.end]
            # What stands on one line of a log.
            if "\n" not in value:
                known[span.type].append(value)
    while rows:
        text, spans = rng.choice(_REQUESTS), []
        for _ in range(rng.randint(2, 8)):
            with_data = rng.random() < 0.12
            line = rng.choice(_LINES_WITH_DATA if with_data else _LINES)
            if not all(known[kind] for kind in _SLOT.findall(line)):
                continue
            last = 0
            for match in _SLOT.finditer(line):
                text += _fill_digits(line[last : match.start()], rng)
                value = rng.choice(known[match[1]])
                spans.append(Span(len(text), len(text) + len(value), match[1]))
                text += value
                last = match.end()
            text += _fill_digits(line[last:], rng) + "\n"
        if text.strip():
            made = text.rstrip("\n")
            # Of no source by itself: it goes with a row by chance, and so with sources in proportion to their rows.
            source = rng.choice(rows).source
            yield Example(made, spans=tuple(spans), source=source, rule="code and logs", origin="lines of our own")


def _fill_digits(line: str, rng: random.Random) -> str:
    """Return a line with its signs filled in."""
    line = re.sub("#", lambda _: rng.choice("0123456789"), line)
    line = re.sub(r"\^", lambda _: rng.choice("123456789"), line)
    return re.sub(r"\?", lambda _: rng.choice("0123456789abcdef"), line).replace("§", "#")


AUGMENTATIONS = (
    Augmentation("loose", 0.15, write_loosely, "small letters, no punctuation, words of a chat"),
    Augmentation("code", 0.08, write_code_and_logs, "code and logs with numbers that look like personal data"),
)
