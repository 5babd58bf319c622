"""A card is YAML between two lines of dashes, then Markdown: take it apart, join it, keep what a person wrote.

The body of ours begins with its title and its first sentence, which readers of cards take for the description, and goes
on between two marks. What a person adds stands above or below these.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from hubtools.errors import CardRejected, read_first_line

# Everything between the two is written by us; what a person adds belongs above or below. The description stands above
# the first, as a comment would be taken for it.
START, END = "<!-- hubtools: written by a command; edit above or below -->", "<!-- hubtools: end -->"

# What YAML holds: its keys are texts, its values of any kind.
FrontMatter = Mapping[str, object]

# Within the marks: by this a later version knows which paragraphs above them are ours, to put its own in their place.
_ABOVE = re.compile(r"<!-- hubtools: above, by hash: ([0-9a-f ]*) -->")
_FRONT = re.compile(r"\A---\n(.*?)\n---\n?", re.DOTALL)


def join_card(metadata: FrontMatter, body: str) -> str:
    """Return the card made of front matter and body."""
    import yaml

    # Wide lines and keys in our order: a card of today differs from one of tomorrow only where its content does.
    front = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True, width=10_000)
    return f"---\n{front}---\n\n{body}"


def mark_body(body: str) -> str:
    """Return the body of a card, which begins with its title and its first sentence, with our marks."""
    title, sentence, rest = [*body.split("\n\n", 2), "", ""][:3]
    above = f"{title}\n\n{sentence}"
    hashes = " ".join(sorted(_hash_paragraphs(above)))
    return f"{above}\n\n{START}\n<!-- hubtools: above, by hash: {hashes} -->\n\n{rest}\n{END}\n"


def _hash_paragraphs(text: str) -> dict[str, str]:
    """Return the paragraphs of a text by their hash."""
    paragraphs = [part.strip() for part in re.split(r"\n[ \t]*\n", text) if part.strip()]
    return {hashlib.sha256(part.encode()).hexdigest()[:16]: part for part in paragraphs}


def _find_ours(before: str, rest: str) -> list[str]:
    """Return our title and sentence as they stand in a card, before its first mark; ``rest`` is what stands behind.

    By content: a title or a sentence that a person changed is theirs by now.
    """
    marked = _ABOVE.search(rest)
    known = set(marked.group(1).split()) if marked else set()
    return [paragraph for digest, paragraph in _hash_paragraphs(before).items() if digest in known]


def _place_above(ours: str, before: str, rest: str) -> str:
    """Return what stands above the first mark: our title and sentence, and what a person wrote there.

    Args:
        ours: the title and the sentence.
        before, rest: of the card that is there, what stands before the mark and behind it.
    """
    found = _find_ours(before, rest)
    together = re.search(r"\n\s*\n".join(map(re.escape, found)), before) if len(found) == 2 else None
    if together:
        return before[: together.start()] + ours + before[together.end() :]
    # Where a person's words part them, ours come first: the description is what follows the title.
    for paragraph in found:
        before = before.replace(paragraph, "", 1)
    return "\n\n".join(filter(None, (ours, before.strip("\n")))) + "\n\n"


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
        raise CardRejected("The card on the Hub has broken YAML", found=read_first_line(error)) from error


def take_our_card(card: str) -> str:
    """Return a card without what a person wrote around ours; as it is where a mark is gone."""
    metadata, body = split_card(card)
    before, start, rest = body.partition(START)
    block, end, _ = rest.partition(END)
    if not start or not end:
        return card
    above = "".join(f"{paragraph}\n\n" for paragraph in _find_ours(before, rest))
    return join_card(metadata, f"{above}{START}{block}{END}\n")


def take_our_part(body: str) -> str | None:
    """Return what stands between our marks, blank lines aside; None where a mark is gone.

    The Hub's editor may change line ends and blank lines, which nobody reads.
    """
    _, start, rest = body.partition(START)
    ours, end, _ = rest.partition(END)
    return "\n".join(_list_lines(ours)) if start and end else None


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
        above, _, block = body.partition(START)
        # The README of a Space has nothing above.
        placed = _place_above(above.strip(), before, rest) if above.strip() else before
        body = placed + START + block.rstrip("\n") + after
    metadata |= extra
    # The Hub's own editor and other tools write YAML anew when a person saves a card.
    if metadata == their_metadata and _list_lines(body) == _list_lines(their_body):
        return theirs  # written by another program, with keys in another order or other blank lines: no change
    return join_card(metadata, body)


def _list_lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]
