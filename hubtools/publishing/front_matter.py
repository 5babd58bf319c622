"""A card is YAML between two lines of dashes, then Markdown: take it apart, join it, keep what a person wrote."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hubtools.errors import CardRejected

# Everything between the two is written by us; what a person adds belongs above or below.
START, END = "<!-- hubtools: written by a command; edit above or below -->", "<!-- hubtools: end -->"

# What YAML holds: its keys are texts, its values of any kind.
FrontMatter = Mapping[str, object]

_FRONT = re.compile(r"\A---\n(.*?)\n---\n?", re.DOTALL)


def join_card(metadata: FrontMatter, body: str) -> str:
    """Return the card made of front matter and body."""
    import yaml

    # Wide lines and keys in our order: a card of today differs from one of tomorrow only where its content does.
    front = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{front}---\n\n{body}"


def split_card(card: str) -> tuple[dict[str, object], str]:
    """Return front matter and body of a card; without front matter the first is empty.

    Raises:
        CardRejected: the front matter is not YAML.
    """
    import yaml

    match = _FRONT.match(card)
    if not match:
        return {}, card
    try:
        return yaml.safe_load(match.group(1)) or {}, card[match.end() :].lstrip("\n")
    except yaml.YAMLError as error:
        raise CardRejected("The card on the Hub has broken YAML", found=str(error).splitlines()[0]) from error


def merge_card(ours: str, theirs: str | None, offered: FrontMatter | None = None) -> str:
    """Return our card with what a person added on the Hub: YAML keys that we do not set, and text outside our marks.

    Args:
        theirs: the card that is on the Hub, None where there is none.
        offered: keys that we set only where they are not there: their words are a person's to change.
    """
    metadata, body = split_card(ours)
    if not theirs:
        return join_card(metadata | dict(offered), body) if offered else ours
    their_metadata, their_body = split_card(theirs)
    metadata |= {key: value for key, value in (offered or {}).items() if key not in their_metadata}
    extra = {key: value for key, value in their_metadata.items() if key not in metadata}
    before, start, rest = their_body.partition(START)
    _, end, after = rest.partition(END)
    # Without both marks nobody knows what was ours: our body takes the place of all of it.
    if start and end:
        body = before + body.rstrip("\n") + after
    metadata |= extra
    # The Hub's own editor and other tools write YAML anew when a person saves a card.
    if metadata == their_metadata and _list_lines(body) == _list_lines(their_body):
        return theirs  # written by another program, with keys in another order or other blank lines: no change
    return join_card(metadata, body)


def _list_lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]
