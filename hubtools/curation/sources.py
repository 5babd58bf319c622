"""Find the files of a source: the task's own, or a user's file, URL or dataset repo."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from hubtools.curation.licences import OTHER, identifier
from hubtools.curation.own import Columns, own_labels, own_source, read_label_map
from hubtools.curation.reading import SUFFIXES, columns_of, one_line
from hubtools.errors import HubUnavailable, SourceError, UsageError
from hubtools.spec import LabelSet, Source
from hubtools.task import TaskSpec
from hubtools.workdir import sha256_of

# What others call the splits; "" is a pool still to be split.
SPLIT_NAMES = {
    "": "", "train": "train", "training": "train", "validation": "validation", "valid": "validation",
    "val": "validation", "dev": "validation", "eval": "validation", "test": "test",
}  # fmt: skip


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source on this machine.

    Attributes:
        files: (split, path) pairs; split "" is a pool that is still to be split.
        revision: commit that they were read at, a URL's pin, or ``sha256:`` of the file.
        features: types of the columns as the repo's card tells them, for files that do not.
        mapping: how a user's own columns and labels are read; empty for the task's own layout.
    """

    source: Source
    files: tuple[tuple[str, Path], ...]
    revision: str
    features: Mapping[str, Any] | None = None
    mapping: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def check_flags(asked: str | None, columns: Columns, license: str | None) -> None:
    """Raises :class:`UsageError` where flags speak of rows of one's own, and ``asked`` (``--source``) names none."""
    if asked not in (None, "starter"):
        return
    if columns.given:
        raise UsageError(
            "Columns and labels are mapped without data of your own", expected="--source",
            found="flags such as --text-column or --label-map alone", next="say where your rows are with --source",
        )  # fmt: skip
    if license is not None:
        raise UsageError(
            "--license is for a source of your own", expected="--source with a file or a dataset repo",
            found=asked or "no --source", next="leave --license out: the task's sources name theirs",
        )  # fmt: skip


def chosen_source(
    task: TaskSpec, asked: str | None, columns: Columns, label_set: LabelSet, license: str | None = None
) -> tuple[SourceFiles, LabelSet]:
    """The files to curate from, on this machine, and the label set as their labels are read by it.

    Args:
        asked: a file, an https:// address, a dataset repo (``owner/name``, or ``owner/name:config``), "starter",
            or None for the task's own source. Data laid out as the task's own source is read as that is,
            unless ``columns`` says otherwise.
        license: what a user's own rows are under; else that of their repo's card, or "other".

    Raises:
        SourceError: it is not there, or lacks what the task needs.
        UsageError: the flags do not fit.
    """
    check_flags(asked, columns, license)
    if asked is None:
        return locate(task.source, task.starter), label_set
    if task.starter and asked in ("starter", task.starter.id) and not columns.given and license is None:
        return locate(task.starter), label_set
    said = identifier(license) if license is not None else ""
    card = OTHER
    if "://" in asked:
        found = _from_address(task.source, asked)
    elif Path(asked).suffix in SUFFIXES or Path(asked).exists():
        found = _local(task.source, asked)
    else:
        found, card = _from_repo(task, asked)
    seen = columns_of(found.files[0][1])
    if columns.given or not set(task.source.columns) <= set(seen):
        label_set = own_labels(label_set)
        source = own_source(task, found.source.id, seen, columns, label_set)
        given = {"columns": list(source.columns), "features": found.features}
        if columns.label_map:
            given["label_map"] = read_label_map(columns.label_map, task, label_set)
        found = replace(found, source=source, mapping=given)
    elif not said and found.source.id in (task.source.id, *_file_names(task)):
        return found, label_set  # a copy of the task's own data
    source = replace(
        found.source,
        license=said or card,
        attribution=f"Rows of {found.source.id}; whoever made this dataset answers for them.",
        provenance=f"As {found.source.id} has them; nobody here checked them.",
    )
    return replace(found, source=source), label_set


def _file_names(task: TaskSpec) -> list[str]:
    return [Path(pattern).name for patterns in task.source.files.values() for pattern in patterns]


def _local(source: Source, asked: str) -> SourceFiles:
    path = Path(asked)
    if not path.is_file():
        raise SourceError(
            f"Source {asked!r}", expected=f"a file ({', '.join(SUFFIXES)}), or the name of a dataset repo",
            found="a folder" if path.is_dir() else "nothing there", next="look at the path after --source",
        )  # fmt: skip
    return SourceFiles(replace(source, id=path.name, url=""), (("", path),), f"sha256:{sha256_of(path)}")


def _from_address(source: Source, asked: str) -> SourceFiles:
    """A file by its URL; ``#sha256=...`` behind it is compared, and saves the download where the file is known."""
    address, _, pin = asked.partition("#sha256=")
    pin = pin.lower()
    parts = urlsplit(address)
    name = Path(unquote(parts.path)).name
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if (parts.scheme != "https" and not (parts.scheme == "http" and (pin or here))) or not parts.hostname:
        raise UsageError(
            f"Source {asked!r}", expected="an address that begins with https://",
            found=f"{parts.scheme}://", next="http:// is read where #sha256=... behind it says what to expect",
        )  # fmt: skip
    if Path(name).suffix not in SUFFIXES:
        raise UsageError(
            f"Source {asked!r}", expected="the address of a file: " + ", ".join(SUFFIXES),
            found=name or "no file name", next="give the address of the file itself",
        )  # fmt: skip
    target = _sources() / "by-address" / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    if not (pin and target.exists() and sha256_of(target) == pin):
        _download(address, target, f"Source {name!r}")
    digest = sha256_of(target)
    if pin and digest != pin:
        raise SourceError(
            f"Source {name!r} is not the file that was asked for", expected=f"sha256 {pin}", found=f"sha256 {digest}",
            next="look at what stands at the address now; without #sha256=... it is read as it is",
        )  # fmt: skip
    return SourceFiles(replace(source, id=address, url=""), (("", target),), f"sha256:{digest}")


def _from_repo(task: TaskSpec, asked: str) -> tuple[SourceFiles, str]:
    """A dataset repo: laid out as the task's own source, or any that ``datasets`` finds splits and files in.

    And the licence on its card.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    repo, _, config = asked.partition(":")
    api = HfApi()
    try:
        info = api.dataset_info(repo)
    except RepositoryNotFoundError:
        raise _nowhere(repo, str(api.endpoint)) from None
    said = info.card_data.get("license") if info.card_data else None
    card = said if isinstance(said, str) else OTHER
    names = [sibling.rfilename for sibling in info.siblings or []]
    if not config and all(
        fnmatch.filter(names, pattern) for patterns in task.source.files.values() for pattern in patterns
    ):  # fmt: skip
        found = locate(replace(task.source, id=repo, revision=str(info.sha), url=""))
        if set(task.source.columns) <= set(columns_of(found.files[0][1])):
            return found, card
    from datasets import load_dataset_builder
    from datasets.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        builder = load_dataset_builder(repo, name=config or None, revision=info.sha)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        raise SourceError(
            f"Source {asked!r}", expected="a dataset repo with files that end in " + ", ".join(SUFFIXES),
            found=one_line(error), next="where it has several configurations, name one: --source owner/name:config",
        ) from error  # fmt: skip
    files = []
    for split, urls in (builder.config.data_files or {}).items():
        if str(split) not in SPLIT_NAMES:
            raise SourceError(
                f"Source {asked!r}", expected="splits called " + ", ".join(filter(None, SPLIT_NAMES)),
                found=", ".join(map(str, builder.config.data_files)), next="download its file, and give that",
            )  # fmt: skip
        for url in urls:
            name = unquote(str(url).split(f"@{info.sha}/", 1)[-1])
            if Path(name).suffix not in SUFFIXES:
                raise SourceError(
                    f"Source {asked!r}", expected="files that end in " + ", ".join(SUFFIXES), found=one_line(name),
                    next="give another repo or configuration, or your own file, with --source",
                )  # fmt: skip
            path = api.hf_hub_download(repo, name, repo_type="dataset", revision=info.sha)
            files.append((SPLIT_NAMES[str(split)], Path(path)))
    features = builder.info.features
    source = replace(task.source, id=repo, url="")
    return SourceFiles(source, tuple(files), str(info.sha), features.to_dict() if features else None), card


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
    raise _nowhere(source.id, str(api.endpoint))


def _nowhere(repo: str, endpoint: str) -> SourceError:
    return SourceError(
        f"Source {repo!r}",
        expected="a dataset repo on this Hub",
        found=f"none at {endpoint}",
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
    paths = []
    for split, patterns in source.files.items():
        for pattern in patterns:
            target = _sources() / source.id.replace("/", "--") / pattern
            if not target.exists():
                _download(source.url.format(file=pattern), target, f"Source {source.id!r}")
            paths.append((split, target))
    pin = re.search(r"/([0-9a-f]{40})/", source.url)
    return SourceFiles(source, tuple(paths), pin.group(1) if pin else "")


def _sources() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "hubtools-sources"


def _download(url: str, target: Path, what: str) -> None:
    """Piece by piece, and whole or not at all: a killed download leaves no half file under the final name."""
    from huggingface_hub import get_session
    from tqdm import tqdm  # type: ignore[import-untyped]

    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out, get_session().stream("GET", url, follow_redirects=True) as response:
            response.raise_for_status()
            size = int(response.headers.get("Content-Length") or 0) or None
            with tqdm(total=size, desc=target.name, unit="B", unit_scale=True, leave=False, disable=None) as bar:
                for piece in response.iter_bytes():
                    bar.update(out.write(piece))
        os.replace(temporary, target)
    except OSError:
        raise  # of the disk; connection errors are of another family
    except Exception as error:  # the client library is the Hub's choice
        raise HubUnavailable(
            f"{what} could not be downloaded",
            expected=url,
            found=one_line(error),
            next="serve a copy with --mirror DIR, or give your own file with --source",
        ) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
