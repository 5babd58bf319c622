"""The files of a task's own sources: on the Hub of this environment, on the web, beside a task file, or packaged."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

from hubtools import __version__
from hubtools.curation.files import SUFFIXES, find_format
from hubtools.errors import HubtoolsError, HubUnavailable, SourceError, UsageError, read_first_line, shorten
from hubtools.records.dataset import ColumnMapping
from hubtools.spec import Source
from hubtools.task import TaskSpec
from hubtools.workdir import sha256_of

_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")

# What others call the splits; "" is a pool still to be split.
SPLIT_NAMES = {
    "": "",
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "test": "test",
    "testing": "test",
}


_Found = TypeVar("_Found")

# What a message calls a source, by its role.
_KINDS = {"whole": "Source", "training": "Supplement", "test": "Benchmark", "values": "Source of values"}


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source on this machine.

    Attributes:
        files: (split, path) pairs; split "" is a pool that is still to be split.
        revision: commit that they were read at, a URL's pin, or ``sha256:`` of the file.
        features: types of the columns as the repo's card tells them, for files that do not.
        mapping: how a user's own columns and labels are read; None for the task's own layout.
        remarks: what is done with them that nobody asked for by name, each in a few words.
        encoding: of their texts, as somebody names it; None for the one that their bytes show.
    """

    source: Source
    files: tuple[tuple[str, Path], ...]
    revision: str
    features: Mapping[str, object] | None = None
    mapping: ColumnMapping | None = None
    encoding: str | None = None
    remarks: tuple[str, ...] = ()


def name_sources(sources: Sequence[SourceFiles]) -> str:
    """Return what a message calls them: ``Source 'a'``, or ``Sources 'a', 'b'``."""
    return f"Source{'s' * (len(sources) != 1)} " + ", ".join(repr(files.source.id) for files in sources)


def are_public(task: TaskSpec, sources: Sequence[SourceFiles]) -> bool:
    """Return whether rows come from the task's public sources: not from our starter corpus, nor from a user."""
    # By identity: a user's copy of public data is a source of its own, of which nothing is known.
    return any(files.source is source for files in sources for source in task.whole_sources)


def locate_public(
    task: TaskSpec, without: Sequence[str] = (), asked: Sequence[str] = (), label_set: str = ""
) -> tuple[SourceFiles, ...]:
    """Return the files of all public sources of a task that give rows for every split.

    Where this Hub has none of them and has our starter corpus, that stands in for all: a corpus of our own is no
    addition to public data.

    Args:
        without: names of sources that are left out.
        asked: names of optional sources that join.
        label_set: that the dataset is to have; sources that are not marked for it stay out.

    Raises:
        UsageError: the task has no public source, or all are left out.
        SourceError: one is neither on this Hub nor on the web.
    """
    if not task.whole_sources:
        if task.starter:
            return (locate(task.starter),)
        raise UsageError(
            f"Task {task.name!r} has no public source",
            expected="your own rows: a file, an address, or a dataset repo",
            found="no --source",
            next=f"hubtools curate {task.name} --source FILE.csv",
        )
    # A source without a name cannot be left out.
    chosen = [source for source in task.whole_sources if not source.name or joins(source, without, asked, label_set)]
    if not chosen:
        raise UsageError(
            f"Nothing is left to curate {task.name} from",
            expected="at least one source with rows for every split",
            found=", ".join(f"--without {source.name}" for source in task.whole_sources),
            next=f"keep one of them, or give your own rows: hubtools curate {task.name} --source FILE.csv",
        )
    # The Hub first: where it has one source, the data is public, and the rest may come from the web.
    on_hub = [_explain(source, _find_files) for source in chosen]
    if task.starter and not any(on_hub):
        starter = _find_on_hub(task.starter)
        if starter:
            return (starter,)
    return tuple(files or _explain(source, _locate_on_web) for source, files in zip(chosen, on_hub, strict=True))


def joins(source: Source, without: Sequence[str], asked: Sequence[str], label_set: str) -> bool:
    """Return whether a named source joins the public data: unless it is left out, or is optional and not asked for."""
    marked = not source.label_sets or label_set in ("", *source.label_sets)
    return marked and source.name not in without and (source.name in asked or not source.optional)


def _explain(source: Source, find: Callable[[Source], _Found]) -> _Found:
    """Return what ``find`` returns; where a source that can be left out is not to be had, the error says how."""
    try:
        return find(source)
    except (SourceError, HubUnavailable) as error:
        if not source.name:
            raise
        raise SourceError(
            f"Source {source.name!r} ({source.id}) could not be read",
            found=read_first_line(error),
            expected="a mirror of it, or its address on the web",
            next=f"leave it out with --without {source.name}, or all that the task adds to its named source with "
            "--only-named-source; or serve a copy with --mirror DIR",
        ) from error


def locate(source: Source) -> SourceFiles:
    """Return the files of ``source``: from the Hub of this environment, else from its URL.

    Raises:
        SourceError: it is in neither place, or a pattern matches no file.
    """
    return _find_files(source) or _locate_on_web(source)


def locate_addition(source: Source) -> SourceFiles:
    """Return the files of a supplement or a benchmark: of our own writing within the package, else as any source.

    Raises:
        SourceError: it is nowhere; the message says how to do without.
    """
    # A real Hub has none of our corpora: an addition of ours is read from the package, wherever a command runs.
    if source.starter:
        folder = Path(__file__).parent.parent / "starter" / source.id
        files = tuple((split, folder / name) for split, names in source.files.items() for name in names)
        return SourceFiles(source, files, f"hubtools {__version__}")
    try:
        return locate(source)
    except HubtoolsError as error:
        # Whatever went wrong, a task can do without it: the message says how.
        mirror = "serve a copy with --mirror DIR"
        raise SourceError(
            f"{_KINDS[source.role]} {source.name!r} ({source.id}) could not be read",
            found=read_first_line(error),
            expected="a dataset repo on this Hub, a mirror of it, or its address on the web",
            next=mirror if source.role == "test" else f"leave it out with --without {source.name}, or {mirror}",
        ) from error


def match_files(source: Source, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return (split, name) of the files of a repo that the source's patterns match, in their order.

    Raises:
        SourceError: a pattern matches none of ``names``.
    """
    matched: list[tuple[str, str]] = []
    for split, patterns in source.files.items():
        for pattern in patterns:
            # Sorted: the order in which a Hub lists its files is no property of the data.
            of_pattern = sorted(fnmatch.filter(names, pattern))
            if not of_pattern:
                raise SourceError(
                    f"Source {source.id!r}",
                    expected=f"a file {pattern}",
                    found=", ".join(sorted(names)[:8]) or "an empty repo",
                    next="give a repo with the same files as the task's own source, or your own file, with --source",
                )
            matched += [(split, name) for name in of_pattern]
    return matched


def refuse_unknown_repo(repo: str) -> NoReturn:
    """Raise the :class:`SourceError` for a repo that this Hub does not have."""
    from huggingface_hub import HfApi

    raise SourceError(
        f"Source {repo!r}",
        expected="a dataset repo on this Hub",
        found=f"none at {HfApi().endpoint}",
        next="serve a copy with --mirror DIR (DIR/<owner>/<name>/), or give your own file with --source",
    )


def download_folder() -> Path:
    """Return the folder of files that were downloaded from elsewhere than a Hub, beside the Hub's own cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "hubtools-sources"


def _find_files(source: Source) -> SourceFiles | None:
    """Return the files of a source: on this machine, or downloaded from the Hub; None where that has no such repo."""
    return _find_on_hub(source) if source.folder is None else _find_in_folder(source, source.folder)


def _find_in_folder(source: Source, folder: Path) -> SourceFiles:
    """Return the files of a source beside a task file; raises :class:`SourceError` where a pattern matches none."""
    files: list[tuple[str, Path]] = []
    for split, patterns in source.files.items():
        for pattern in patterns:
            exact = folder / pattern  # a name may hold characters that a pattern has for others
            names = [pattern] if exact.is_file() else sorted(glob(pattern, root_dir=folder, recursive=True))
            matched = [folder / name for name in names if (folder / name).is_file()]
            if not matched:
                raise SourceError(
                    f"Source {source.id!r}",
                    expected=f"a file {pattern} in {folder}",
                    found="a folder" if exact.is_dir() else "nothing there",
                    next="put the file there, or mend the path under `sources` in the task file",
                )
            files += [(split, path) for path in matched]
    # Files have no commit: what stands for one is their content.
    digests = [sha256_of(path) for _, path in files]
    revision = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return SourceFiles(source, tuple(files), f"sha256:{revision}")


def _find_on_hub(source: Source) -> SourceFiles | None:
    """Return the files of a source, downloaded; None where this Hub has no such repo."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi()
    # A name on a site of code is not the same owner's on a Hub: of a source that is published elsewhere, nothing but a
    # mirror on this machine is taken in its place.
    if source.url and urlsplit(api.endpoint).hostname not in _THIS_MACHINE:
        return None
    try:
        # All that follows is read at the commit that this answer names: the repo may change in between.
        repo, _, config = source.id.partition(":")
        info = api.dataset_info(repo, revision=source.revision)
    except RepositoryNotFoundError:
        return None
    except RevisionNotFoundError as error:
        raise SourceError(
            f"Source {source.id!r}",
            expected=f"the revision {source.revision}",
            found=f"no such commit, branch or tag at {api.endpoint}",
            next="name one that is there, or leave `revision` out",
        ) from error
    if not source.files:
        files, features = download_splits(repo, config, str(info.sha))
        return SourceFiles(source, files, str(info.sha), features)
    matched = match_files(source, [sibling.rfilename for sibling in info.siblings or []])
    paths = tuple(
        (split, Path(api.hf_hub_download(repo, name, repo_type="dataset", revision=info.sha)))
        for split, name in matched
    )
    return SourceFiles(source, paths, str(info.sha))


def _locate_on_web(source: Source) -> SourceFiles:
    """Return the files of a source, downloaded from its address; raises :class:`SourceError` where it has none."""
    if not source.url:
        refuse_unknown_repo(source.id)
    paths = []
    for split, patterns in source.files.items():
        for pattern in patterns:
            target = download_folder() / source.repo.replace("/", "--") / pattern
            # Kept from an earlier run, since the address of a source names a commit.
            if not target.exists():
                download(source.url.format(file=pattern), target, f"Source {source.id!r}")
            paths.append((split, target))
    # An address with a commit in it always gives the same file.
    pin = re.search(r"/([0-9a-f]{40})/", source.url)
    return SourceFiles(source, tuple(paths), pin.group(1) if pin else "")


def download_splits(
    repo: str, config: str, revision: str
) -> tuple[tuple[tuple[str, Path], ...], Mapping[str, object] | None]:
    """Return the files of each split of a repo as ``datasets`` finds them, and the types of their columns.

    Args:
        config: one of the repo's configurations; "" where it has one alone.

    Raises:
        SourceError: ``datasets`` finds none, or files or splits that are not read here.
    """
    from datasets import load_dataset_builder
    from datasets.utils.logging import disable_progress_bar
    from huggingface_hub import HfApi

    disable_progress_bar()  # of resolving files, which is over before a bar can be read
    asked = f"{repo}:{config}" if config else repo
    try:
        builder = load_dataset_builder(repo, name=config or None, revision=revision)
    except (ValueError, FileNotFoundError, RuntimeError) as error:
        raise SourceError(
            f"Source {asked!r}",
            expected="a dataset repo with files that end in " + ", ".join(SUFFIXES),
            found=shorten(error),
            next="where it has several configurations, name one: owner/name:config",
        ) from error
    files = []
    for split, urls in (builder.config.data_files or {}).items():
        if str(split) not in SPLIT_NAMES:
            raise SourceError(
                f"Source {asked!r}",
                expected="splits called " + ", ".join(filter(None, SPLIT_NAMES)),
                found=", ".join(map(str, builder.config.data_files)),
                next="download its file, and give that",
            )
        for url in urls:
            # Of ``hf://datasets/owner/name@commit/path`` the path: it is downloaded as any other file of the repo.
            name = unquote(str(url).split(f"@{revision}/", 1)[-1])
            if not find_format(name):
                raise SourceError(
                    f"Source {asked!r}",
                    expected="files that end in " + ", ".join(SUFFIXES),
                    found=shorten(name),
                    next="give another repo or configuration, or your own file, with --source",
                )
            path = HfApi().hf_hub_download(repo, name, repo_type="dataset", revision=revision)
            files.append((SPLIT_NAMES[str(split)], Path(path)))
    features = builder.info.features
    return tuple(files), features.to_dict() if features else None


def download(url: str, target: Path, what: str) -> None:
    """Download a file piece by piece, and whole or not at all.

    A killed download leaves no half file under the final name.

    Raises:
        HubUnavailable: it cannot be had; the message begins with ``what``.
    """
    from huggingface_hub import get_session
    from tqdm import tqdm  # type: ignore[import-untyped]

    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out, get_session().stream("GET", url, follow_redirects=True) as response:
            response.raise_for_status()
            # Some servers do not say how much there is: then the bar only counts.
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
            found=shorten(error),
            next="serve a copy with --mirror DIR, or give your own file with --source",
        ) from error
    finally:
        Path(temporary).unlink(missing_ok=True)
