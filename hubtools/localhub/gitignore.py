"""Which files a ``.gitignore`` keeps out. Covers the patterns people write, not all of git's."""

from __future__ import annotations

import re


def is_ignored(path: str, text: str) -> bool:
    """Whether ``path`` is kept out; the last line that matches decides, as in git."""
    verdict = False
    for line in _lines(text):
        # A line with an exclamation mark takes a file back in.
        keep = line.startswith("!")
        if re.match(_translate(line.removeprefix("!")), path):
            verdict = not keep
    return verdict


def _lines(text: str) -> list[str]:
    lines = (line.rstrip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _translate(pattern: str) -> str:
    """A regular expression over the path from the root, to be ``match``ed."""
    folder = pattern.endswith("/")
    body = pattern.strip("/")
    # A pattern with a slash before its end counts from the root, any other at every depth.
    anchored = pattern.startswith("/") or "/" in body
    out, i = "", 0
    while i < len(body):
        if body.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
        elif body.startswith("**", i):
            out, i = out + ".*", i + 2
        elif body[i] == "*":
            out, i = out + "[^/]*", i + 1
        elif body[i] == "?":
            out, i = out + "[^/]", i + 1
        elif body[i] == "[" and "]" in body[i + 2 :]:
            end = body.index("]", i + 2)
            inner = body[i + 1 : end].replace("\\", "\\\\")
            out, i = out + "[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]", end + 1
        else:
            out, i = out + re.escape(body[i]), i + 1
    return f"{'' if anchored else '(?:.*/)?'}{out}{'/' if folder else '(?:/|$)'}"
