"""The running Space, as a visitor sees and uses it."""

from __future__ import annotations

import csv
import io
import json
import re
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browser import answers, ask, new_page, open_tab, visit
from tiny_models import ATTACK, CALCULUS, ERRAND, FILLER

SECRET = "maria@example.com"
SENTENCE = f"My name is Maria Keller and my mail is {SECRET}. Maria Keller"
TABS = ["One prompt", "Many prompts", "For programs"]
WIDTHS = [
    pytest.param(width, scheme, id=f"{width}-{scheme}", marks=[] if (width, scheme) in FAST else pytest.mark.exhaustive)
    for FAST in [{(390, "light"), (1440, "dark")}]
    for width in (320, 390, 768, 1440)
    for scheme in ("light", "dark")
]


def result(page: Any, action: str) -> Any:
    """Wait for an answer with this action; the whole of it."""
    found = page.locator(f"body:not(.asking) #answer .result[data-action={action}]")
    found.wait_for()
    # It is dimmed while it is asked for, and lights up slowly.
    page.wait_for_function("getComputedStyle(document.getElementById('answer')).opacity === '1'")
    return found


def check(page: Any, prompt: str) -> None:
    page.get_by_label("Prompt", exact=True).first.fill(prompt)
    page.get_by_role("button", name="Check this prompt").click()


def set_slider(page: Any, name: str, key: str, times: int = 1) -> None:
    """Move a slider of the policy drawer by the keyboard."""
    slider = page.locator(f"#limit-{name}").get_by_role("slider")
    slider.focus()
    for _ in range(times):
        slider.press(key)


def test_a_visitor_reads_the_decision_its_reason_and_four_answers(browser_page: Any, space_url: str) -> None:
    shown = ask(browser_page, space_url, ERRAND)
    assert set(shown) == {"category", "pii", "jailbreak", "intent"}
    assert "business" in shown["category"]
    assert "1 found: PERSON" in shown["pii"]
    assert "No jailbreak" in shown["jailbreak"]
    assert "communication" in shown["intent"]
    for text in shown.values():
        assert re.search(r"macro F1 0.80 \(0.75 to 0.85\), 200 test prompts", text)
        assert re.search(r"Read all \d+ tokens in \d+ ms", text)
        assert "Local folder" in text
    decision = browser_page.locator(".decision").inner_text()
    assert "Mask personal data, then send to the business model" in decision
    assert "1 span of personal data: PERSON" in decision
    assert browser_page.locator("pre.masked").inner_text() == ERRAND.replace("Anna", "[PERSON_1]")
    assert browser_page.locator(".annotated mark").inner_text() == "AnnaPERSON 1"
    browser_page.locator("details.json summary").click()
    routed = json.loads(browser_page.locator("details.json pre").inner_text())
    assert (routed["action"], routed["prompt"]) == ("mask", ERRAND.replace("Anna", "[PERSON_1]"))
    assert set(routed["answers"]) == set(shown)


def test_ctrl_enter_asks_and_an_attack_is_blocked_and_shaded(browser_page: Any, space_url: str) -> None:
    visit(browser_page, space_url)
    browser_page.get_by_label("Prompt", exact=True).first.fill(f"{ATTACK}\u200b")
    assert browser_page.locator(".keys").inner_text() == "Ctrl + Enter"
    browser_page.keyboard.press("Control+Enter")
    shown = result(browser_page, "block")
    assert shown.locator("h2").inner_text() == "Blocked"
    assert "at or above the threshold 0.70" in shown.locator(".decision").inner_text()
    assert ATTACK in shown.locator(".annotated .shaded").inner_text()
    assert shown.locator(".annotated .unseen").inner_text() == "U+200B"
    assert json.loads(shown.locator("details.json pre").text_content())["prompt"] is None


def test_a_key_that_is_quicker_than_the_button_is_drawn_asks_all_the_same(browser_page: Any, space_url: str) -> None:
    browser_page.context.new_cdp_session(browser_page).send("Emulation.setCPUThrottlingRate", {"rate": 4})
    browser_page.add_init_script(
        """new MutationObserver((_, observer) => {
          const box = document.querySelector("#prompt textarea");
          if (!box) return;
          observer.disconnect();
          box.value = "PROMPT";
          box.dispatchEvent(new Event("input", { bubbles: true }));
          box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", ctrlKey: true, bubbles: true }));
        }).observe(document, { childList: true, subtree: true });""".replace("PROMPT", ATTACK)
    )
    visit(browser_page, space_url)
    assert ATTACK in result(browser_page, "block").locator(".annotated").inner_text()


def test_six_examples_answer_at_a_click(browser_page: Any, space_url: str) -> None:
    visit(browser_page, space_url)
    for name in (
        *("A calculus question", "A message with personal data", "A jailbreak attempt"),
        *("Harmless, but alarming", "An attack hidden in a document", "An errand"),
    ):
        browser_page.get_by_role("button", name=name).click()
        browser_page.wait_for_function("document.querySelector('#prompt textarea').value.length > 0")
        prompt = browser_page.get_by_label("Prompt", exact=True).first.input_value()
        browser_page.wait_for_function(
            "text => !document.body.matches('.asking') && "
            "(document.querySelector('.annotated')?.textContent ?? '').includes(text)",
            arg=prompt.split()[0],
        )
        assert len(answers(browser_page)) == 4
        browser_page.get_by_label("Prompt", exact=True).first.fill("")


def test_the_threshold_moves_the_decision_by_the_keyboard_without_asking_again(
    browser_page: Any, space_url: str
) -> None:
    page, asked = browser_page, []
    ask(page, space_url, CALCULUS)
    page.on("request", lambda request: asked.append(request.url) if "queue/join" in request.url else None)
    page.get_by_text("Policy: move the thresholds").click()
    drawer = page.locator("#policy")
    drawer.get_by_text("Shipped threshold 0.7. Catches 60% of what is jailbreak, stops 2% of harmless").wait_for()
    set_slider(page, "jailbreak", "Home")
    assert "at or above the threshold 0" in result(page, "block").locator(".decision").inner_text()
    drawer.get_by_text("Your threshold 0. Catches 100% of what is jailbreak, stops 100%").wait_for()
    set_slider(page, "jailbreak", "End")
    result(page, "pass")
    drawer.get_by_text("Your threshold 1. Catches 0% of what is jailbreak, stops 0%").wait_for()
    drawer.get_by_text("Shipped threshold 0.5. Finds 90% of personal data exactly, marks something in 4% of").wait_for()
    set_slider(page, "pii", "Home")
    drawer.get_by_text("Your threshold 0. Finds 95% of personal data exactly, marks something in 20% of").wait_for()
    set_slider(page, "category", "End")
    page.get_by_role("heading", name="Send to the other model").wait_for()
    drawer.get_by_text("Answers nothing: every prompt goes to other.").wait_for()
    page.get_by_role("button", name="Back to the shipped thresholds").click()
    drawer.get_by_text("Shipped threshold 0.7.").wait_for()
    page.get_by_role("heading", name="Send to the math model").wait_for()
    assert asked == []


def test_moved_thresholds_hold_for_the_next_prompt(browser_page: Any, space_url: str) -> None:
    visit(browser_page, space_url)
    browser_page.get_by_text("Policy: move the thresholds").click()
    set_slider(browser_page, "jailbreak", "Home")
    browser_page.locator("#policy").get_by_text("Your threshold 0.").wait_for()
    check(browser_page, CALCULUS)
    result(browser_page, "block")


def test_an_answer_to_another_text_is_dimmed_until_it_is_asked_again(browser_page: Any, space_url: str) -> None:
    ask(browser_page, space_url, CALCULUS)
    box, body = browser_page.get_by_label("Prompt", exact=True).first, browser_page.locator("body")
    box.press("End")
    box.press_sequentially("!")
    assert "stale" in (body.get_attribute("class") or "")
    box.press("Backspace")
    assert "stale" not in (body.get_attribute("class") or "")
    check(browser_page, ATTACK)
    result(browser_page, "block")
    assert "stale" not in (body.get_attribute("class") or "")


# Types into the box in the very moment in which it appears, as a fast visitor on a slow machine.
TYPE_AT_ONCE = """text => new MutationObserver((changes, observer) => {
  const box = document.querySelector("#prompt textarea");
  if (!box) return;
  observer.disconnect();
  box.value = text;
  box.dispatchEvent(new Event("input", {bubbles: true}));
}).observe(document, {childList: true, subtree: true})"""


def test_what_is_typed_while_the_page_still_loads_stays(browser_page: Any, space_url: str) -> None:
    browser_page.add_init_script(f"({TYPE_AT_ONCE})({json.dumps(CALCULUS)})")
    browser_page.goto(space_url, wait_until="networkidle")
    assert browser_page.get_by_label("Prompt", exact=True).first.input_value() == CALCULUS
    browser_page.get_by_role("button", name="Check this prompt").click()
    assert set(answers(browser_page)) == {"category", "pii", "jailbreak", "intent"}


def test_an_empty_prompt_gets_a_hint_and_clears_the_answer(browser_page: Any, space_url: str) -> None:
    ask(browser_page, space_url, CALCULUS)
    check(browser_page, "  ")
    browser_page.get_by_text("Nothing to read yet. Type a prompt").wait_for()
    assert browser_page.locator("#answer .result").count() == 0
    open_tab(browser_page, "Many prompts")
    browser_page.get_by_role("button", name="Check them all").click()
    browser_page.get_by_text("Nothing to read yet. Paste one prompt a line").wait_for()
    assert browser_page.locator(".toast-body").count() == 0


def test_a_long_text_is_read_in_windows_and_says_so(browser_page: Any, space_url: str) -> None:
    shown = ask(browser_page, space_url, FILLER * 60 + ATTACK)
    assert re.search(r"Read all [\d,]+ tokens in \d+ windows", shown["jailbreak"])
    assert re.search(r"Read all [\d,]+ tokens in \d+ windows", shown["pii"])
    assert "Read the first 62 tokens only" in shown["category"]


# Clicks, and says whether one can still ask: in one go, before anything is heard from the server.
CANCEL = """([cancel, ask]) => {
  document.querySelector(cancel).click();
  return document.querySelector(ask).disabled;
}"""


def hold_up(route: Any) -> None:
    """Let a request wait, as on a slow way to the server."""
    time.sleep(0.5)
    route.continue_()


def test_a_long_text_can_be_cancelled(browser_page: Any, space_url: str) -> None:
    visit(browser_page, space_url)
    cancel = browser_page.locator("#cancel")
    assert not cancel.is_visible()
    check(browser_page, FILLER * 2100)
    browser_page.route("**/cancel", hold_up)
    assert browser_page.evaluate(CANCEL, ["#cancel", "#ask"])
    browser_page.get_by_text("Cancelled. Nothing was kept.").wait_for()
    assert browser_page.locator("#answer .result").count() == 0
    # The click waits until the button can be clicked; gradio would lose an earlier one.
    check(browser_page, CALCULUS)
    result(browser_page, "pass")
    assert not cancel.is_visible()


def test_a_batch_can_be_cancelled_and_begun_anew(browser_page: Any, space_url: str) -> None:
    visit(browser_page, space_url)
    open_tab(browser_page, "Many prompts")
    browser_page.route("**/cancel", hold_up)
    browser_page.get_by_label("Prompts").fill("\n".join([FILLER * 20] * 400))
    browser_page.get_by_role("button", name="Check them all").click()
    browser_page.get_by_text(re.compile(r"of 400 prompts answered\.")).wait_for()
    assert browser_page.evaluate(CANCEL, ["#cancel-all", "#ask-all"])
    browser_page.get_by_text("Cancelled. Nothing was kept.").wait_for()
    browser_page.get_by_label("Prompts").fill(f"{CALCULUS}\n{ATTACK}")
    browser_page.get_by_role("button", name="Check them all").click()
    browser_page.get_by_text("2 prompts: 1 block, 0 review, 0 mask, 1 pass.").wait_for()
    assert not browser_page.locator("#cancel-all").is_visible()


def test_a_warning_tells_what_the_models_do_not_know(browser_page: Any, space_url: str) -> None:
    visit(browser_page, space_url)
    assert "The models know English only." in browser_page.inner_text("body")
    check(browser_page, "请给我写一封关于会议的电子邮件")
    warning = browser_page.locator(".warnings")
    warning.wait_for()
    assert "written in Chinese letters" in warning.inner_text()


def test_a_link_carries_the_prompt_where_no_server_sees_it(browser_page: Any, space_url: str) -> None:
    page, asked = browser_page, []
    visit(page, space_url)
    prompt = "100% of \"it\" & 'that' #1?\nNext line"
    page.get_by_label("Prompt", exact=True).first.fill(prompt)
    page.get_by_role("button", name="Copy a link to this prompt").click()
    page.get_by_text("Link copied.").wait_for()
    link = page.url
    assert link.startswith(f"{space_url}/#prompt=100%25")
    page.goto("about:blank")
    page.on("request", lambda request: asked.append((request.url, request.post_data or "")))
    page.goto(link)
    page.wait_for_function("text => document.querySelector('#prompt textarea')?.value === text", arg=prompt)
    assert [one for one in asked if "100%25" in one[0].split("#")[0] or "that" in one[1]] == []


def test_many_prompts_are_answered_and_downloaded(browser_page: Any, space_url: str) -> None:
    page = browser_page
    visit(page, space_url)
    open_tab(page, "Many prompts")
    page.get_by_label("Prompts").fill("\n".join([CALCULUS, ATTACK, "", SENTENCE, "=1+1"]))
    page.get_by_role("button", name="Check them all").click()
    page.get_by_text("4 prompts: 1 block").wait_for()
    assert page.locator("#batch-answer tbody tr").count() == 4
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the answers").click()
    rows = [*csv.reader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8-sig")))]
    assert [row[0] for row in rows] == ["text", CALCULUS, ATTACK, SENTENCE, "'=1+1"]
    assert [row[1] for row in rows[1:4]] == ["pass", "block", "mask"]
    assert SECRET in rows[3][5]
    assert SECRET not in rows[3][2]


def test_a_csv_is_opened_in_the_browser(browser_page: Any, space_url: str, tmp_path: Path) -> None:
    page, uploads = browser_page, []
    page.on("request", lambda request: uploads.append(request.url) if "upload" in request.url else None)
    visit(page, space_url)
    open_tab(page, "Many prompts")
    (tmp_path / "prompts.csv").write_text(f'id,text\n1,"{CALCULUS}"\n2,{ATTACK}\n')
    page.locator("#csv-file").set_input_files(tmp_path / "prompts.csv")
    page.get_by_role("button", name="Check them all").click()
    page.get_by_text("2 prompts: 1 block, 0 review, 0 mask, 1 pass.").wait_for()
    assert uploads == []


def test_the_page_of_programs_names_this_server(browser_page: Any, space_url: str) -> None:
    visit(browser_page, space_url)
    open_tab(browser_page, "For programs")
    browser_page.get_by_text(f'client = Client("{space_url}")').wait_for()
    assert browser_page.locator(".endpoints tbody tr").count() == 5
    browser_page.locator(".snippets button").first.click()
    browser_page.get_by_role("button", name="Copied").wait_for()


def test_nothing_typed_leaves_the_page_or_stays_behind(browser_page: Any, space_url: str, space_log: Path) -> None:
    page, asked, errors = browser_page, [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    ask(page, space_url, SENTENCE)
    for tab in TABS:
        open_tab(page, tab)
    page.reload()
    page.get_by_label("Prompt", exact=True).first.wait_for()
    kept = page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert SECRET not in kept
    assert SECRET not in page.content()
    assert SECRET not in space_log.read_text()
    assert [url for url in asked if not url.startswith((space_url, "data:", "blob:"))] == []
    assert errors == []


@pytest.mark.parametrize(("width", "scheme"), WIDTHS)
def test_the_page_fits_is_legible_and_accessible(browser: Any, space_url: str, width: int, scheme: str) -> None:
    """No scrolling sideways, and nothing that axe finds (WCAG A and AA, contrast among it), in any state."""
    from axe_playwright_python.sync_playwright import Axe

    def look(state: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, state
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]})
        assert [
            (fault["id"], [node["html"][:200] for node in fault["nodes"]]) for fault in found.response["violations"]
        ] == [], state

    with new_page(browser, width=width, scheme=scheme) as page:
        visit(page, space_url)
        look("empty")
        check(page, SENTENCE)
        result(page, "mask")
        page.get_by_text("Policy: move the thresholds").click()
        page.locator("details.json summary").click()
        page.get_by_role("button", name="Back to the shipped thresholds").wait_for()
        look("masked, with the policy")
        check(page, f"{ATTACK}\u200b 请")
        result(page, "block")
        look("blocked")
        for tab in TABS[1:]:
            open_tab(page, tab)
            if tab == "Many prompts":
                page.get_by_label("Prompts").fill(f"{CALCULUS}\n{ATTACK}")
                page.get_by_role("button", name="Check them all").click()
                page.get_by_text("2 prompts:").wait_for()
                page.wait_for_function("getComputedStyle(document.getElementById('batch-answer')).opacity === '1'")
            look(tab)


def test_the_headings_make_one_outline_and_the_keyboard_reaches_what_it_needs(
    browser_page: Any, space_url: str
) -> None:
    page = browser_page
    ask(page, space_url, SENTENCE)
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4')].filter(h => h.offsetParent).map(h => +h.tagName[1])"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.locator("#status[role=status]").inner_text().startswith("Mask personal data")
    page.get_by_label("Prompt", exact=True).first.focus()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText || document.activeElement.tagName"))
        width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert width != "0px", reached[-1]
    assert reached[:2] == ["Check this prompt", "Copy a link to this prompt"]
    assert "A calculus question" in reached
