"""Which files a ``.gitignore`` keeps out. Covers the patterns people write, not all of git's."""

from __future__ import annotations

import fnmatch
import re


def is_ignored(path: str, text: str) -> bool:
    """Whether ``path`` is kept out; the last line that matches decides, as in git."""
    verdict = False
    for line in _lines(text):
        # A line with an exclamation mark takes a file back in.
        keep = line.startswith("!")
        if _matches(line.removeprefix("!"), path):
            verdict = not keep
    return verdict


def _lines(text: str) -> list[str]:
    lines = (line.rstrip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _matches(pattern: str, path: str) -> bool:
    """Whether a pattern names the path, or a folder that it lies in: part by part, so that none takes long.

    One expression over the whole path could try all ways to divide it among the stars.
    """
    inside = pattern.endswith("/")
    body = pattern.strip("/")
    names = path.split("/")
    # A pattern with a slash before its end counts from the root, any other at every depth.
    anchored = pattern.startswith("/") or "/" in body
    at = {0} if anchored else {*range(len(names))}
    parts = body.split("/")
    for number, part in enumerate(parts):
        if part == "**":  # any folders; at the end, all that lies within
            least = int(number == len(parts) - 1)
            at = {*range(min(at) + least, len(names) + 1)} if at else at
        else:
            # Stars side by side are one.
            glob = "*".join(piece for i, piece in enumerate(part.split("*")) if piece or i in (0, part.count("*")))
            expression = fnmatch.translate(glob.replace("[^", "[!"))
            fits = re.compile(expression).match
            at = {i + 1 for i in at if i < len(names) and fits(names[i])}
    return any(i < len(names) or not inside for i in at)
