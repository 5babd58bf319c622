"""A headless Chromium for tests that look at the Space as a visitor does, whoever started it.

from browser import ask, browser, browser_page

def test_the_space_answers(browser_page):
    answers = ask(browser_page, url, "What is the derivative of x^2?")
    assert set(answers) == {"category", "pii", "jailbreak", "intent"}
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
PATIENCE = 60_000  # milliseconds: two cores may be busy with the whole job


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Chromium; a test is skipped where there is none."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if path is None and not os.path.exists(playwright.chromium.executable_path):
            pytest.skip("no Chromium here: `apt-get install chromium`, or `playwright install chromium`")
        chromium = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for as long as one test module: Playwright holds the thread's event loop while it is open."""
    with open_browser() as chromium:
        yield chromium


@contextmanager
def new_page(browser: Browser, width: int = 1280, scheme: str = "light") -> Iterator[Page]:
    """A page with cookies and storage of its own. `scheme`: "light" or "dark"."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


@pytest.fixture
def browser_page(browser: Browser) -> Iterator[Page]:
    """A fresh page on a desktop."""
    with new_page(browser) as page:
        yield page


def visit(page: Page, url: str) -> None:
    """Open the Space and wait until it can be typed into."""
    page.goto(url)
    page.get_by_label("Prompt", exact=True).first.wait_for()


def ask(page: Page, url: str, prompt: str) -> dict[str, str]:
    """Open the Space, type a prompt, click the button: the text of each answer, by task."""
    visit(page, url)
    page.get_by_label("Prompt", exact=True).first.fill(prompt)
    page.get_by_role("button", name="Check this prompt").click()
    return answers(page)


def answers(page: Page) -> dict[str, str]:
    """Wait for the answers to a prompt: the text of each row, by task."""
    page.locator("body:not(.asking) #answer .row").first.wait_for()
    rows = page.locator("#answer .row")
    return {row.get_attribute("data-task") or "": row.inner_text() for row in rows.all()}


def open_tab(page: Page, title: str) -> None:
    page.get_by_role("tab", name=title, exact=True).click()
