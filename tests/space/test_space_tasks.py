"""The Space with one task that hubtools does not know, of each kind, called by a program and seen by a visitor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from browser import answers, new_page, visit
from space_copy import copy_space, import_app, running, write_models
from tiny_models import filled, make_sequence_model, make_token_model, make_tokenizer

KIND, RUDE = "Thank you for the nice letter.", "Shut up, you stupid fool."
BRANDS = {"BRAND": ["Acme", "Globex"], "PART": ["bolt", "hinge", "screw"]}
ORDERS = ["Send me a <PART> of <BRAND>.", "<BRAND> makes the <PART> that I broke", KIND]
ENTRY = {"threshold": 0.6, "dataset": "local/theirs"}
ENTRIES: dict[str, dict[str, Any]] = {
    "toxicity": {
        "head": "detection",
        "positive": "toxic",
        "title": "Toxicity",
        "question": "Is it toxic?",
        "about": "Whether the prompt insults somebody.",
        "examples": [RUDE, KIND],
    },
    "spare_parts": {
        "head": "spans",
        "title": "Spare parts",
        "question": "Which parts does it name?",
        "about": "Where the prompt names a part or its brand.",
    },
    "mood": {
        "head": "classification",
        "threshold": None,
        "title": "Mood",
        "question": "In which mood was it written?",
        "about": "In which mood the writer was.",
        "examples": [KIND],
    },
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> dict[str, Path]:
    """A folder for the Space of each task."""
    import torch

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("strangers")
    rows = filled(ORDERS, BRANDS)
    tokenizer = make_tokenizer([text for text, _ in rows] + [KIND, RUDE])
    repos = {
        "toxicity": make_sequence_model(root / "toxicity", tokenizer, ["ok", "toxic"], {KIND: "ok", RUDE: "toxic"}),
        "spare_parts": make_token_model(root / "spare_parts", tokenizer, [*BRANDS], rows),
        "mood": make_sequence_model(
            root / "mood", tokenizer, ["calm", "very_angry", "sad"], {KIND: "calm", RUDE: "very_angry"}
        ),
    }
    made = {}
    for name, repo in repos.items():
        made[name] = root / f"space_{name}"
        made[name].mkdir()
        copy_space(made[name])
        write_models(made[name], {name: {"repo": str(repo)} | ENTRY | ENTRIES[name]})
    return made


@pytest.fixture(scope="module")
def url(folders: dict[str, Path]) -> Iterator[Callable[[str], str]]:
    """The address of the Space of a task, which is started when it is first asked for."""
    known: dict[str, str] = {}
    with ExitStack() as stack:

        def address(name: str) -> str:
            if name not in known:
                known[name] = stack.enter_context(running(folders[name], folders[name] / "log.txt"))
            return known[name]

        yield address


@pytest.fixture(scope="module")
def client(url: Callable[[str], str]) -> Iterator[Callable[[str], Any]]:
    """A client of the Space of a task."""
    from gradio_client import Client  # type: ignore[import-untyped]

    with ExitStack() as stack:

        def connect(name: str) -> Any:
            client = Client(url(name), verbose=False, analytics_enabled=False)
            stack.callback(client.close)
            return client

        yield connect


def descriptions(client: Any) -> dict[str, str]:
    """Of the public endpoints, by name."""
    api = client.view_api(return_format="dict", print_info=False)
    return {name: endpoint["description"] for name, endpoint in api["named_endpoints"].items()}


def test_an_unknown_detection_gives_its_verdict(client: Callable[[str], Any]) -> None:
    toxicity = client("toxicity")
    rude, kind = (toxicity.predict(text, api_name="/toxicity") for text in (RUDE, KIND))
    assert (rude["flagged"], kind["flagged"]) == (True, False)
    assert set(rude["scores"]) == {"ok", "toxic"}
    assert rude["threshold"] == 0.6
    route = toxicity.predict(RUDE, api_name="/route")
    assert route["answers"] == {"toxicity": rude}
    assert (route["action"], route["prompt"]) == ("block", None)
    assert toxicity.predict(KIND, api_name="/route")["headline"] == "Let it through"
    assert descriptions(toxicity) == {
        "/route": "Decide what a router does with a prompt, from one answer: toxicity.",
        "/toxicity": "Tell whether a prompt is toxic. Whether the prompt insults somebody.",
    }


def test_unknown_spans_are_found_and_masked(client: Callable[[str], Any]) -> None:
    parts = client("spare_parts")
    answer = parts.predict("Send me a hinge of Globex.", api_name="/spare_parts")
    assert [(entity["entity_group"], entity["word"]) for entity in answer["entities"]] == [
        ("PART", "hinge"),
        ("BRAND", "Globex"),
    ]
    assert answer["masked"] == "Send me a [PART_1] of [BRAND_1]."
    assert parts.predict(KIND, api_name="/route")["answers"]["spare_parts"]["entities"] == []
    assert parts.predict("Send me a hinge of Globex.", api_name="/route")["headline"] == "Mask spare parts"
    assert descriptions(parts)["/spare_parts"] == (
        "Find spare parts in a text: BRAND and PART. Where the prompt names a part or its brand."
    )


def test_an_unknown_classification_gives_probabilities(client: Callable[[str], Any]) -> None:
    mood = client("mood")
    answer = mood.predict(RUDE, api_name="/mood")
    assert (answer["label"], answer["threshold"], answer["fallback"]) == ("very_angry", None, False)
    assert sum(answer["scores"].values()) == pytest.approx(1, abs=1e-4)
    route = mood.predict(RUDE, api_name="/route")
    assert route["answers"]["mood"] == answer
    assert (route["action"], route["headline"]) == ("pass", "Mood: very angry")
    assert descriptions(mood)["/mood"] == (
        "Classify a prompt by mood: calm, very_angry and sad. In which mood the writer was."
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_a_visitor_sees_one_unknown_task(browser: Any, url: Callable[[str], str], width: int) -> None:
    with new_page(browser, width=width) as page:
        visit(page, url("toxicity"))
        assert "asks a question of it" in page.locator(".masthead").inner_text()
        page.get_by_label("Prompt", exact=True).first.fill(KIND)
        page.get_by_role("button", name="Check this prompt").click()
        assert "Not toxic" in answers(page)["toxicity"]
        assert page.locator(".decision h2").inner_text() == "Let it through"
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
        page.get_by_role("button", name=RUDE).click()
        page.locator(".result[data-action=block]").wait_for()
        assert "at or above the threshold 0.60" in page.locator(".decision").inner_text()


def test_each_type_of_span_has_a_colour_of_its_own(folders: dict[str, Path], space: SimpleNamespace) -> None:
    assert space.parts.colors("pii") == {
        "PERSON": "#3f6fd1",
        "EMAIL_ADDRESS": "#167d74",
        "PHONE_NUMBER": "#9a650c",
        "US_SSN": "#c03a4e",
        "LOCATION": "#7a4fc0",
    }
    assert import_app(folders["spare_parts"]).parts.colors("spare_parts") == {"BRAND": "#3f6fd1", "PART": "#167d74"}
    assert len(set(space.parts.PALETTE)) == 12


def test_white_letters_stand_out_on_every_colour(space: SimpleNamespace) -> None:
    """4.5 to 1 is what WCAG AA asks of text this size."""
    for color in space.parts.PALETTE:
        channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        light = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
        assert 1.05 / (light + 0.05) >= 4.5, color


def test_a_model_without_the_positive_label_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    entry = {"repo": str(folders["toxicity"].parent / "mood")} | ENTRY | ENTRIES["toxicity"]
    write_models(tmp_path, {"toxicity": entry})
    copy_space(tmp_path)
    with pytest.raises(SystemExit, match=r"its labels are \['calm', 'sad', 'very_angry'\], 'toxic' is not among them"):
        import_app(tmp_path).app.main()
