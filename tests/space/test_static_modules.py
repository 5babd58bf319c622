"""The static page reads, decides and shows as the Python side does: the same calls, answered by both."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from browser import new_page
from space_copy import own_entry
from static_pages import SPACES, call, serving

from hubtools.assets import find_asset
from hubtools.reading import TokenAnswers, choose_windows, cut_windows, find_spans
from hubtools.tasks import TASKS
from hubtools.words import find_words

LABELS = {
    "category": ["math", "law", "computer_science", "other"],
    "pii": ["O", "B-PERSON", "I-PERSON", "B-EMAIL_ADDRESS", "I-EMAIL_ADDRESS", "B-LOCATION", "I-LOCATION"],
    "jailbreak": ["benign", "jailbreak"],
    "intent": ["communication", "analysis"],
}
TEXTS = [
    "",
    "My name is Maria Keller, <maria@example.com>; it's Michael's.",
    "  leading and trailing \n\n spaces \t ",
    "x² + 3,000.5 ① ٣٤ Ⅻ of 100%",
    "cafe\u0301s and a\u0323\u0307 and \u1112\u1161\u11ab in decomposed form",
    "请给我写一封关于会议的电子邮件。王小明住在上海市。",
    "山田太郎さんは東京に住んでいます。カタカナ",
    "홍길동은 서울에 산다. สวัสดีครับ ភាសាខ្មែរ",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f44b\U0001f3fd hi\U0001f3fd \U0001f1e9\U0001f1ea!",
    "a\u20e3 \u0301b",
    "zero\u200bwidth \u202eright to left\u202c, \ufefftag \U000e0041 nul\x00 bell\x07 \x85 \x1c end",
    "नमस्ते दुनिया क्षि שלום عليكم Привет мир",
    "A [MASK] or a [SEP] and [CLS] written out \u1160\u3164",
    "I'm sure they'll've said: 'don't'!!! ...what?? a\r\nb\rc",
]


@pytest.fixture(scope="module")
def page(browser: Any) -> Iterator[Any]:
    with serving(SPACES) as url, new_page(browser) as page:
        page.goto(f"{url}/static_page/package.json")
        yield page


@pytest.fixture(scope="module")
def nano() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(find_asset("hubtools/starter") / "hubtools" / "modernbert-nano")


def test_words_are_those_of_python(page: Any) -> None:
    found = call(page, *(("words", "findWords", [text]) for text in TEXTS))
    for text, words in zip(TEXTS, found, strict=True):
        assert [tuple(word) for word in words] == find_words(text), text


@pytest.mark.parametrize("composed", [False, True])
def test_tokens_stand_where_the_tokenizers_library_puts_them(page: Any, nano: Any, composed: bool) -> None:
    from tokenizers import normalizers

    core = nano.backend_tokenizer
    before = core.normalizer
    core.normalizer = normalizers.NFC() if composed else before
    core.no_truncation()
    try:
        encoded = [core.encode(text, add_special_tokens=False) for text in TEXTS]
    finally:
        core.normalizer = before
    found = call(
        page,
        *(("tokens", "locateTokens", [t, e.tokens, composed]) for t, e in zip(TEXTS, encoded, strict=True)),
    )
    for text, expected, places in zip(TEXTS, encoded, found, strict=True):
        assert [tuple(place) for place in places] == expected.offsets, text


def test_windows_are_those_of_python(page: Any) -> None:
    sizes = [(n, 510, 255) for n in (0, 1, 509, 510, 511, 764, 765, 766, 5000)] + [(100, 62, 31)]
    for (tokens, size, overlap), windows in zip(
        sizes, call(page, *(("reading", "cutWindows", [*one]) for one in sizes)), strict=True
    ):
        expected = [*cut_windows(tokens, size, overlap)]
        assert windows == [[window.start, window.stop] for window in expected]
        assert call(page, ("reading", "chooseWindows", [windows])) == [choose_windows(expected).tolist()]


@pytest.mark.parametrize(
    "tags",
    [
        LABELS["pii"],
        ["O", "PERSON", "PLACE"],
        ["O", "B-X", "I-X", "L-X", "U-X", "B-Y", "I-Y", "L-Y", "U-Y"],
        ["O", "B-X"],
    ],
    ids=["BIO", "types alone", "BILOU", "B alone"],
)
def test_spans_are_those_of_python(page: Any, nano: Any, tags: list[str]) -> None:
    draw = np.random.default_rng(len(tags))
    calls, expected = [], []
    for text in TEXTS * 3:
        offsets = nano(text, add_special_tokens=False, return_offsets_mapping=True, truncation=False)["offset_mapping"]
        probabilities = draw.dirichlet(np.full(len(tags), 0.3), len(offsets)).reshape(len(offsets), len(tags))
        calls.append(("reading", "findSpans", [text, probabilities.tolist(), offsets, tags]))
        expected.append(find_spans(text, TokenAnswers(probabilities, offsets, 1, False), tags).spans)
    assert sum(map(len, expected)) > 50
    for text, spans, found in zip(TEXTS * 3, expected, call(page, *calls), strict=True):
        assert [(s["start"], s["end"], s["entity_group"], s["word"]) for s in found] == [
            (s.start, s.end, s.type, text[s.start : s.end]) for s in spans
        ]
        assert [s["score"] for s in found] == pytest.approx([s.score for s in spans], abs=1e-12)


def make_reads(text: str, draw: Any) -> dict[str, Any]:
    """What the models could have read in a text."""
    told = {
        "tokens_read": int(draw.integers(1, 2000)),
        "windows": int(draw.integers(1, 4)),
        "truncated": draw.random() < 0.3,
    }

    def scores(name: str) -> dict[str, float]:
        shares = np.sort(draw.dirichlet(np.full(len(LABELS[name]), 0.5)))[::-1].tolist()
        return dict(zip(draw.permutation(LABELS[name]).tolist(), shares, strict=True))

    words = find_words(text)
    entities, at = [], 0
    while at < len(words) and draw.random() < 0.9:
        first = at + int(draw.integers(0, 3))
        last = first + int(draw.integers(0, 2))
        if last >= len(words):
            break
        start, end = words[first][0], words[last][1]
        kind = draw.choice(["PERSON", "EMAIL_ADDRESS", "LOCATION"]).item()
        entities.append(
            {"entity_group": kind, "start": start, "end": end, "score": float(draw.random()), "word": text[start:end]}
        )
        at = last + 1
    where = [words[0][0], words[-1][1]] if words else [0, len(text)]
    return {
        "category": {"scores": scores("category"), **told},
        "pii": {"entities": entities, **told},
        "jailbreak": {"scores": scores("jailbreak"), "strongest": where, **told},
        "intent": {"scores": scores("intent"), **told},
    }


def apart(markup: str) -> tuple[str, Any]:
    """The markup without the decision's JSON, and that JSON, which both languages write with other spaces and zeros."""
    from html import unescape

    shown = re.search(r"(<details class='json'>.*?<pre tabindex='0'>)(.*?)(</pre></details>)", markup, re.S)
    assert shown
    return markup.replace(shown[2], ""), json.loads(unescape(shown[2]))


@pytest.fixture(scope="module")
def both(space: SimpleNamespace) -> Iterator[tuple[SimpleNamespace, dict[str, Any]]]:
    """The modules of the Gradio Space, and its tasks as models.json of the static page has them."""
    from space_copy import set_tasks

    entries = {}
    for name in TASKS:
        repo, revision = f"ann/{name}_model", name[0] * 40
        graph = {"repo": repo, "revision": revision, "file": "x", "output": "logits", "labels": LABELS[name]}
        entries[name] = json.loads(json.dumps(own_entry(name, repo, revision, graph)))
    with pytest.MonkeyPatch.context() as patch:
        read = {name: space.tasks.read_task(name, entry, "here") for name, entry in entries.items()}
        set_tasks(space, patch, read)
        patch.setattr(space.parts, "load", lambda name: SimpleNamespace(labels=LABELS[name]))
        yield space, entries


def test_decisions_and_markup_are_those_of_the_gradio_page(both: Any, page: Any) -> None:
    space, entries = both
    [tasks] = call(page, ("policy", "readTasks", [entries]))
    draw = np.random.default_rng(7)
    hub = space.parts.constants.ENDPOINT
    actions = set()
    for text in [*TEXTS[1:], "a" * 100_003, "\ud83d half"] * 3:
        reads = make_reads(space.answering.readable(text), draw)
        limits = {name: round(float(draw.random()), 3) for name in ("category", "pii", "jailbreak")}
        chosen = None if draw.random() < 0.3 else limits
        latency = {name: float(draw.random() * 3000) for name in TASKS}
        decision = space.policy.decide(text, reads, chosen)
        [found] = call(page, ("policy", "decide", [tasks, text, reads, chosen]))
        assert json.loads(json.dumps(decision)) == found
        actions.add(decision["action"])
        shown = space.answering.readable(text)
        [markup] = call(page, ("parts", "result", [hub, tasks, shown, found, latency]))
        ours, theirs = apart(space.parts.result(shown, decision, latency)), apart(markup)
        assert ours == theirs
    assert actions == {"pass", "mask", "review", "block"}


def test_thresholds_notes_and_languages_are_said_as_on_the_gradio_page(both: Any, page: Any) -> None:
    space, entries = both
    [tasks] = call(page, ("policy", "readTasks", [entries]))
    limits = [0.0, 0.123456789, 0.3, 0.5, 0.7, 0.95, 1.0]
    names = ["category", "pii", "jailbreak"]
    said = call(page, *(("parts", "policyWords", [tasks[name], limit]) for name in names for limit in limits))
    assert said == [space.parts.policy_words(space.tasks.tasks()[name], limit) for name in names for limit in limits]
    said = call(page, *(("parts", "policyWords", [{**tasks[name], "curve": []}, 0.25]) for name in names))
    assert said == [space.parts.policy_words(replace(space.tasks.tasks()[name], curve=()), 0.25) for name in names]
    assert call(page, ("parts", "notes", [tasks]), ("policy", "sayLanguages", [tasks])) == [
        space.parts.notes(),
        space.policy.say_languages(),
    ]


FILES = [
    "",
    " \n\x1c\u3000",
    "one\n\n two \nthree, and four",
    "\x85a\u2028b\x0bc\x1dd\ufeff\n\ufeff",
    '\ufeffid, TEXT ,x\r\n1,"a\nb, ""c""",2\r\n\r\n2,plain "quotes" inside\r\n3\r\n4,"closed" and more,5\r\n5,',
    "text,text\nfirst,last\rmac,line",
    'text\n"never closed, to the end\nof it',
    'no column,"of that name"\n1,2',
    '"text"\n=1+1\n" @x"',
]


def test_prompts_of_lines_and_files_are_those_of_the_gradio_page(space: SimpleNamespace, page: Any) -> None:
    found = call(page, *(("batch", "readPrompts", [text]) for text in [*FILES, *TEXTS]))
    assert found == [space.batch.read_prompts(text) for text in [*FILES, *TEXTS]]


def test_table_and_download_are_those_of_the_gradio_page(both: Any, page: Any) -> None:
    space, entries = both
    [tasks] = call(page, ("policy", "readTasks", [entries]))
    draw = np.random.default_rng(11)
    signs = (
        "=1+1",
        " -2",
        "\u3000+3",
        "@SUM(A1)",
        "\t4",
        "\r5",
        "\n6",
        "\uff1d7",
        "\ufeff8",
        'a, "b"\nc',
        "plain - text",
    )
    prompts = [*signs, *TEXTS[1:], *("x" * length for length in range(150, 250))]
    decisions = [space.policy.decide(prompt, make_reads(prompt, draw)) for prompt in prompts]
    found = call(page, *(("batch", "cells", [tasks, *pair]) for pair in zip(prompts, decisions, strict=True)))
    rows = [space.batch.cells(*pair) for pair in zip(prompts, decisions, strict=True)]
    assert found == rows
    assert call(page, ("batch", "asCsv", [tasks, found])) == [space.batch.as_csv(rows)]
    for some in (1, len(prompts)):
        [table] = call(page, ("batch", "asTable", [prompts[:some], decisions[:some]]))
        assert table == space.batch.as_table(prompts[:some], decisions[:some])


@pytest.mark.parametrize("codes", [["en"], ["de"], ["ru"], ["ja"], ["xx"], ["unknown"]])
def test_warnings_are_those_of_the_gradio_page(
    both: Any, page: Any, codes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts_of_the_world import WORDS
    from space_copy import set_tasks

    space, entries = both
    texts = [*TEXTS, *WORDS.values(), "Bitte schreibe mir eine E-Mail an den Kunden, dass der Termin nicht passt."]
    set_tasks(space, monkeypatch, {n: replace(t, languages=tuple(codes)) for n, t in space.tasks.tasks().items()})
    [tasks] = call(page, ("policy", "readTasks", [{n: e | {"languages": codes} for n, e in entries.items()}]))
    found = call(page, *(("policy", "warn", [tasks, text]) for text in texts))
    for text, warnings in zip(texts, found, strict=True):
        assert warnings == space.policy.warn(text), text
