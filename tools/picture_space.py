"""Take the picture of the Space for README and docs: ``python tools/picture_space.py docs/images/space.png``.

The Space is the one that ``hubtools push-space`` uploads, with the tiny models of the tests in place of released ones:
they know a handful of sentences by heart. Needs the test extra and Chromium.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
WIDTH, HEIGHT = 1000, 925  # CSS pixels: above the rows, whose scores are those of no model


def take_picture(target: Path) -> None:
    """Ask the Space a prompt and keep what a visitor then sees, in the light theme."""
    sys.path[:0] = [str(TESTS), str(TESTS / "space")]
    from browser import ask, open_browser
    from space_copy import copy_space, own_entry, running, write_models
    from tiny_models import ERRAND, make_models

    from hubtools.tasks import TASKS

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        copy_space(folder)
        paths = make_models(folder / "models")
        write_models(folder, {name: own_entry(name, repo=str(paths[name]), revision=None) for name in TASKS})
        with running(folder, folder / "log.txt") as url, open_browser() as browser:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
            ask(page, url, ERRAND)
            page.wait_for_timeout(1000)  # the answer lights up slowly
            page.screenshot(path=str(target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    take_picture(parser.parse_args().target)


if __name__ == "__main__":
    main()
