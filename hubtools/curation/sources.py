"""Read a source: find its files, and yield raw rows with the place each stands at."""

from __future__ import annotations

import csv
import fnmatch
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hubtools.errors import HubUnavailable, SourceError
from hubtools.spec import Source
from hubtools.tasks.rows import labelled_row

SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source on this machine.

    Attributes:
        files: (split, path) pairs; split "" is a pool that is still to be split.
        revision: commit that they were read at, a URL's pin, or "local".
    """

    source: Source
    files: tuple[tuple[str, Path], ...]
    revision: str


@dataclass(frozen=True)
class Raw:
    """A row as it stands in a file; ``row`` is None where it cannot be read, and ``defect`` says why."""

    place: str
    row: Mapping[str, Any] | None
    defect: str = ""


def local_source(path: Path, task_source: Source, text_column: str, label_column: str) -> Source:
    """A user's own file as a source of labelled rows, its columns renamed."""

    def row(raw: Mapping[str, Any]) -> Any:
        return labelled_row({**raw, "text": raw.get(text_column), "label": raw.get(label_column)})

    return replace(
        task_source,
        id=path.name,
        files={"": (path.name,)},
        columns=(text_column, label_column),
        row=row,
        license="other",
        attribution=f"Rows of {path.name}, given by whoever made this dataset.",
        revision=None,
        url="",
        starter=False,
    )


def locate(source: Source, fallback: Source | None = None) -> SourceFiles:
    """Download ``source`` from the Hub of this environment, or from its URL, or take ``fallback`` instead.

    The order is: the repo where this Hub has it, then ``fallback`` where this Hub has that (the embedded Hub
    serves our starter corpora), then the source's URL.

    Raises:
        SourceError: none of them is there, or a pattern matches no file.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi()
    for candidate in (source, fallback):
        if candidate is None:
            continue
        try:
            info = api.dataset_info(candidate.id, revision=candidate.revision)
        except RepositoryNotFoundError:
            continue
        names = [sibling.rfilename for sibling in info.siblings or []]
        chosen = [
            (split, name)
            for split, patterns in candidate.files.items()
            for pattern in patterns
            for name in _matching(candidate, names, pattern)
        ]
        paths = tuple(
            (split, Path(api.hf_hub_download(candidate.id, name, repo_type="dataset", revision=info.sha)))
            for split, name in chosen
        )
        return SourceFiles(candidate, paths, str(info.sha))
    if source.url:
        return _from_url(source)
    raise SourceError(
        f"Source {source.id!r}",
        expected="a dataset repo on this Hub",
        found=f"none at {api.endpoint}",
        next="serve a copy with --mirror DIR (DIR/<owner>/<name>/), or give your own file with --source",
    )


def _matching(source: Source, names: list[str], pattern: str) -> list[str]:
    found = sorted(fnmatch.filter(names, pattern))
    if not found:
        raise SourceError(
            f"Source {source.id!r}", expected=f"a file {pattern}",
            found=", ".join(sorted(names)[:8]) or "an empty repo",
            next="give a repo with the same files as the task's own source, or your own file, with --source",
        )  # fmt: skip
    return found


def _from_url(source: Source) -> SourceFiles:
    import os
    import tempfile

    from huggingface_hub import constants, get_session

    paths = []
    for split, patterns in source.files.items():
        for pattern in patterns:
            url = source.url.format(file=pattern)
            target = Path(constants.HF_HOME) / "hubtools-sources" / source.id.replace("/", "--") / pattern
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    response = get_session().get(url)
                    response.raise_for_status()
                except Exception as error:  # the session's client library is the Hub's choice
                    raise HubUnavailable(
                        f"Source {source.id!r} could not be downloaded",
                        expected=url,
                        found=str(error).splitlines()[0],
                        next="serve a copy with --mirror DIR, or give your own file with --source",
                    ) from error
                # A killed download must not leave half a file under the final name.
                handle, temporary = tempfile.mkstemp(dir=target.parent)
                with os.fdopen(handle, "wb") as out:
                    out.write(response.content)
                os.replace(temporary, target)
            paths.append((split, target))
    pin = re.search(r"/([0-9a-f]{40})/", source.url)
    return SourceFiles(source, tuple(paths), pin.group(1) if pin else "")


def read_rows(path: Path, columns: tuple[str, ...]) -> Iterator[Raw]:
    """Every row of a csv, json, jsonl or parquet file, in order; a row that cannot be read comes with its defect.

    Raises:
        SourceError: the file is missing, empty, of another format, damaged as a whole, or lacks a column.
    """
    if not path.exists():
        raise _unfit(path, "", "a file", f"nothing at {path}")
    if path.suffix not in SUFFIXES:
        raise _unfit(path, "", "one of " + ", ".join(SUFFIXES), path.suffix or "no suffix")
    wanted = "rows with " + ", ".join(columns)
    if path.stat().st_size == 0:
        raise _unfit(path, " is empty", wanted, "0 bytes")
    rows = {".csv": _csv, ".json": _json, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix](path)
    first = list(itertools.islice(rows, 100))
    if not first:
        raise _unfit(path, " holds no rows", wanted, f"{path.stat().st_size} bytes without a row")
    # A column that none of the first rows has is missing from the file, not from a row.
    readable = [raw.row for raw in first if raw.row is not None]
    seen = {name for row in readable for name in row}
    if readable and not seen.issuperset(columns):
        raise SourceError(
            f"Source file {path.name!r} lacks a column",
            expected=", ".join(columns),
            found=", ".join(sorted(seen)) or "no columns",
            next="name your columns with --text-column and --label-column",
        )
    for raw in itertools.chain(first, rows):
        missing = [] if raw.row is None else [c for c in columns if c not in raw.row]
        yield Raw(raw.place, None, f"lacks {', '.join(missing)}") if missing else raw


def _unfit(path: Path, what: str, expected: str, found: str) -> SourceError:
    return SourceError(
        f"Source file {path.name!r}{what}", expected=expected, found=found,
        next="mend the file, or give another with --source, and run the same command again",
    )  # fmt: skip


def _csv(path: Path) -> Iterator[Raw]:
    csv.field_size_limit(100_000_000)
    # utf-8-sig: spreadsheets write a byte-order mark that would become part of the first column's name.
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        reader = csv.DictReader(lines, restkey="__more__", strict=False)
        try:
            header = reader.fieldnames or []
        except csv.Error as error:
            raise _unfit(path, " has a broken header", "names of columns, with commas", str(error)) from error
        if len(set(header)) != len(header):
            raise _unfit(path, " has a column twice", "each name once", ", ".join(header))
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Raw(f"{path.name}:{reader.line_num}", None, f"broken CSV: {error}")
                continue
            place = f"{path.name}:{reader.line_num}"
            if "__more__" in row or None in row.values():
                yield Raw(place, None, f"expected {len(header)} fields")
            else:
                yield Raw(place, row)


def _jsonl(path: Path) -> Iterator[Raw]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{path.name}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Raw(place, None, f"broken JSON: {error}")
                continue
            yield Raw(place, row) if isinstance(row, dict) else Raw(place, None, "not a JSON object")


def _json(path: Path) -> Iterator[Raw]:
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        # Many "json" files hold an object a line.
        with path.open("rb") as lines:
            first = lines.readline().strip()
        if first.startswith(b"{") and first.endswith(b"}"):
            yield from _jsonl(path)
            return
        raise _unfit(path, " is broken JSON", "a list of objects", str(error)) from error
    if not isinstance(rows, list):
        raise _unfit(path, "", "a list of objects", type(rows).__name__)
    for number, row in enumerate(rows):
        place = f"{path.name}[{number}]"
        yield Raw(place, row) if isinstance(row, dict) else Raw(place, None, "not a JSON object")


def _parquet(path: Path) -> Iterator[Raw]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        number = 0
        for batch in file.iter_batches(batch_size=2048):
            for row in batch.to_pylist():
                yield Raw(f"{path.name}[{number}]", row)
                number += 1
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unfit(path, " is broken parquet", "a parquet file", str(error).split("\n")[0]) from error
