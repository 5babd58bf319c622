"""The running Space, as a visitor sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser import answers, ask, new_page, open_tab, visit
from tiny_models import ATTACK, CALCULUS, ERRAND

TABS = ["Route a prompt", "Domain", "Personal data", "Jailbreak", "Intent"]
SECRET = "maria@example.com"
SCHEMES = ["light", pytest.param("dark", marks=pytest.mark.exhaustive)]
SENTENCE = f"My name is Maria Keller and my mail is {SECRET}."


def panel(page: Any) -> Any:
    return page.get_by_role("tabpanel").locator("visible=true")


def test_a_visitor_types_a_prompt_and_sees_four_answers(browser_page: Any, space_url: str) -> None:
    shown = ask(browser_page, space_url, ERRAND)
    assert set(shown) == {"category", "pii", "jailbreak", "intent"}
    assert "business" in shown["category"]
    assert "1 found" in shown["pii"]
    assert "No jailbreak" in shown["jailbreak"]
    assert "communication" in shown["intent"]
    assert all(" ms" in text for text in shown.values())
    details = browser_page.locator("#details")
    details.wait_for()
    assert "No jailbreak: 0.0" in details.inner_text()
    assert "below the shipped threshold 0.70" in details.inner_text()
    assert details.locator("textarea").input_value() == ERRAND.replace("Anna", "[PERSON]")
    assert details.locator("mark, .highlighted").first.inner_text().startswith("Anna")


@pytest.mark.parametrize(
    "example",
    [
        "A message with personal data",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("A calculus question", "A jailbreak attempt", "An errand")
        ),
    ],
)
def test_an_example_answers_at_a_click(browser_page: Any, space_url: str, example: str) -> None:
    visit(browser_page, space_url)
    browser_page.get_by_role("button", name=example).click()
    assert set(answers(browser_page)) == {"category", "pii", "jailbreak", "intent"}
    assert browser_page.get_by_label("Prompt").first.input_value()


def test_each_tab_answers_its_own_question(browser_page: Any, space_url: str) -> None:
    page = browser_page
    visit(page, space_url)
    for tab, button, prompt, expected in (
        ("Domain", "Classify", CALCULUS, "math"),
        ("Personal data", "Find personal data", SENTENCE, "2 spans at or above the shipped threshold 0.5"),
        ("Jailbreak", "Classify", ATTACK, "at or above the shipped threshold 0.70"),
        ("Intent", "Classify", ERRAND, "communication"),
    ):
        open_tab(page, tab)
        panel(page).get_by_label("Prompt").fill(prompt)
        panel(page).get_by_role("button", name=button).click()
        panel(page).get_by_text(expected).first.wait_for()
        assert "nano model trained on the starter corpus" in panel(page).inner_text()
        assert panel(page).locator("a[href*='/datasets/local/router-']").count() == 1


def test_the_verdict_follows_the_slider(browser_page: Any, space_url: str) -> None:
    visit(browser_page, space_url)
    open_tab(browser_page, "Jailbreak")
    panel(browser_page).get_by_label("Prompt").fill(CALCULUS)
    panel(browser_page).get_by_role("button", name="Classify").click()
    panel(browser_page).get_by_text("below the shipped threshold 0.70").wait_for()
    slider = panel(browser_page).get_by_role("slider")
    slider.focus()
    slider.press("Home")
    slider.dispatch_event("pointerup")
    panel(browser_page).get_by_text("at or above your threshold 0.00").wait_for()


def test_an_empty_prompt_gets_a_hint(browser_page: Any, space_url: str) -> None:
    visit(browser_page, space_url)
    for tab in TABS:
        open_tab(browser_page, tab)
        panel(browser_page).locator("button.primary").click()
        panel(browser_page).get_by_text("Nothing to read yet.").wait_for()
    assert browser_page.locator(".toast-body").count() == 0


def test_nothing_typed_leaves_the_page_or_stays_behind(browser_page: Any, space_url: str, space_log: Path) -> None:
    page, asked, errors = browser_page, [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    ask(page, space_url, SENTENCE)
    page.reload()
    page.get_by_label("Prompt").first.wait_for()
    kept = page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert SECRET not in kept
    assert SECRET not in page.content()
    assert SECRET not in space_log.read_text()
    assert [url for url in asked if not url.startswith((space_url, "data:", "blob:"))] == []
    assert errors == []


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_phone_shows_every_tab_without_scrolling_sideways(browser: Any, space_url: str, scheme: str) -> None:
    with new_page(browser, width=390, scheme=scheme) as page:
        ask(page, space_url, SENTENCE)
        for tab in TABS:
            open_tab(page, tab)
            assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, tab


CONTRASTS = """() => [...document.querySelectorAll(".tile p, .tile-ms, .verdict p, .status, .masthead p")].map(
  node => {
    const light = color => color.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const through = /rgba\\(.*, 0\\)|transparent|color\\(/;
    let behind = node;
    while (through.test(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
    const [a, b] = [getComputedStyle(node).color, getComputedStyle(behind).backgroundColor].map(light);
    return [node.innerText, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  })"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_words_stand_out_from_their_background(browser: Any, space_url: str, scheme: str) -> None:
    """4.5 to 1 is what WCAG AA asks of text this size."""
    with new_page(browser, scheme=scheme) as page:
        ask(page, space_url, SENTENCE)
        measured = page.evaluate(CONTRASTS)
        assert len(measured) > 12
        assert [(words, round(ratio, 1)) for words, ratio in measured if ratio < 4.5] == []
