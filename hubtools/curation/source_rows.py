"""The rows of a source as they stand in its files, tables or not, with the split that each file holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from hubtools.curation.files import open_text
from hubtools.curation.raw_rows import MAX_ROW, TOO_LARGE, RawRow, refuse
from hubtools.curation.reading import read_rows
from hubtools.curation.sources import SourceFiles
from hubtools.errors import SourceError, shorten


def iterate_rows(files: SourceFiles, advice: str = "") -> Iterator[tuple[str, RawRow]]:
    """Yield (split, row) of every row of a source; "" is a pool still to be split.

    Args:
        advice: what helps where a column is missing.

    Raises:
        SourceError: a file is missing or broken, or has another form than the source's files have.
    """
    source = files.source
    # Files that are called the same lie in folders that tell them apart.
    called = Counter(path.name for _, path in files.files)
    folders = {path: f"{path.parts[-2]}/" if called[path.name] > 1 else "" for _, path in files.files}
    if source.parse is None:
        for split, path in files.files:
            for raw in read_rows(path, source.columns, files.features, advice, files.encoding):
                yield split, replace(raw, origin=folders[path] + raw.origin) if folders[path] else raw
        return
    for split in dict.fromkeys(split for split, _ in files.files):
        texts = []
        for path in (path for of_split, path in files.files if of_split == split):
            with open_text(path, "", files.encoding) as text:
                content = text.read(MAX_ROW + 1)
            if len(content) > MAX_ROW:
                refuse(path, " is too large", f"a file of this source: {source.id}", TOO_LARGE)
            texts.append((folders[path] + path.name, content))
        try:
            # All of them before the first is handed on: an error of the whole file comes before any work.
            rows = list(source.parse(texts))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise SourceError(
                f"Source {source.id!r} has another form than it had",
                expected=f"files as {source.url or source.id} has them",
                found=shorten(f"{type(error).__name__}: {error}"),
                next="serve an unchanged copy with --mirror DIR"
                + (f", or leave it out with --without {source.name}" if source.name else ""),
            ) from error
        if not rows:
            raise SourceError(
                f"Source {source.id!r} holds no rows", expected="rows", found=", ".join(n for n, _ in texts)
            )
        for origin, row in rows:
            yield split, RawRow(origin, row)
