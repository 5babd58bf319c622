"""Links from a card to what was published beside it: a part of its own, outside of what a release writes.

A release cannot name what is published after it, and its card would change with every repo that comes or goes. So the
links are put into the card on the main branch when all is there; the release's commit and tag stay as they are, and
the next release keeps the part as it keeps what a person wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LINKS_START, LINKS_END = "<!-- hubtools: links; written by a command -->", "<!-- hubtools: end of the links -->"

# Where a repo of each kind is on the Hub, before its name.
_PATHS = {"dataset": "/datasets/", "model": "/", "space": "/spaces/"}


@dataclass(frozen=True)
class Link:
    """A line of a card: what the repos of a kind are to it."""

    words: str
    kind: str
    repos: tuple[str, ...]


def render_links(links: Sequence[Link], title: str, slug: str) -> str:
    """Return the part of a card that links to other repos and to the collection called ``title``."""
    lines = [
        f"- {link.words}: " + ", ".join(f"[{repo}]({_PATHS[link.kind]}{repo})" for repo in link.repos)
        for link in links
        if link.repos
    ]
    # A person may have named the collection: brackets would end the link.
    safe = title.replace("[", "(").replace("]", ")")
    return "\n".join([LINKS_START, "## Related", "", *lines, f"- Collection: [{safe}](/collections/{slug})", LINKS_END])


def place_links(card: str, part: str) -> str:
    """Return ``card`` with ``part`` in place of the links that it has, or at its end; "" takes them out."""
    before, start, rest = card.partition(LINKS_START)
    _, end, after = rest.partition(LINKS_END)
    if start and end:
        if part:
            return before + part + after
        return before.rstrip("\n") + "\n" + after.lstrip("\n")
    return f"{card.rstrip(chr(10))}\n\n{part}\n" if part else card
