"""A user's own data: a file, an address or a dataset repo, and which of its columns say what a task needs."""

from __future__ import annotations

import fnmatch
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hubtools.curation.files import SUFFIXES, check_encoding, describe_format, find_format
from hubtools.curation.label_maps import accept_own_labels, read_label_map
from hubtools.curation.licences import OTHER, parse_licence
from hubtools.curation.reading import list_columns
from hubtools.curation.sources import (
    SPLIT_NAMES,
    SourceFiles,
    download,
    download_folder,
    download_splits,
    locate,
    locate_public,
    refuse_unknown_repo,
)
from hubtools.errors import SourceError, UsageError, shorten
from hubtools.heads.rows import LabelMap
from hubtools.reading import OUTSIDE
from hubtools.records.dataset import ColumnMapping
from hubtools.rows import GROUPS, Columns
from hubtools.spec import LANGUAGE, LANGUAGE_RULE, Dropped, Example, LabelSet, Source
from hubtools.task import TaskSpec
from hubtools.workdir import sha256_of


def check_flags(asked: str | None, columns: Columns, license: str | None, languages: Sequence[str] = ()) -> None:
    """Raise :class:`UsageError` where flags speak of rows of one's own, and ``asked`` (``--source``) names none.

    So does a language that is no code.
    """
    strange = [language for language in languages if not re.fullmatch(LANGUAGE, language)]
    if strange:
        raise UsageError(
            "--language names no language", expected=LANGUAGE_RULE, found=", ".join(strange), next="--language de"
        )
    # Rows of somebody's own take all of these flags.
    if asked not in (None, "starter"):
        return
    if columns != Columns():
        raise UsageError(
            "Columns and labels are mapped without data of your own",
            expected="--source",
            found="flags such as --text-column or --label-map alone",
            next="say where your rows are with --source",
        )
    for flag, given in (("--license", license is not None), ("--language", languages)):
        if given:
            raise UsageError(
                f"{flag} is for a source of your own",
                expected="--source with a file or a dataset repo",
                found=asked or "no --source",
                next=f"leave {flag} out: the task's sources name theirs",
            )


def choose_sources(
    task: TaskSpec,
    asked: str | None,
    columns: Columns,
    label_set: LabelSet,
    license: str | None = None,
    *,
    without: Sequence[str] = (),
    supplements: Sequence[str] = (),
) -> tuple[tuple[SourceFiles, ...], LabelSet]:
    """Return the sources to curate from, on this machine, and the label set as their labels are read by it.

    Args:
        asked: see :func:`locate_asked`, or None for the task's public sources.
        license: what a user's own rows are under; else that of their repo's card, or "other".
        without: names of public sources that are left out.
        supplements: names of optional ones that join.

    Raises:
        SourceError: one is not there, or lacks what the task needs.
        UsageError: the flags do not fit, or the task has no public source and none is asked for.
    """
    check_flags(asked, columns, license)
    if asked is None:
        return locate_public(task, without, supplements, label_set.name), label_set
    files, label_set = locate_asked(task, asked, columns, label_set, license)
    return (files,), label_set


def locate_asked(
    task: TaskSpec, asked: str, columns: Columns, label_set: LabelSet, license: str | None = None
) -> tuple[SourceFiles, LabelSet]:
    """Return the files of one source that somebody names, and the label set as its labels are read by it.

    Data laid out as a public source of the task is read as that is, unless ``columns`` says otherwise.

    Args:
        asked: a file, an https:// address, a dataset repo (``owner/name``, or ``owner/name:config``), or "starter".
        license: see :func:`choose_sources`.

    Raises:
        SourceError: it is not there, or lacks what the task needs.
        UsageError: the flags do not fit.
    """
    if asked == "starter" and not task.starter:
        raise UsageError(
            f"Task {task.name!r} has no starter corpus",
            expected="a file, an address, or a dataset repo",
            found="starter",
            next=f"hubtools curate {task.name} --source FILE.csv",
        )
    if task.starter and asked in ("starter", task.starter.id) and not columns.named and license is None:
        return locate(task.starter), label_set
    declared = parse_licence(license) if license is not None else ""
    check_encoding(columns.encoding)
    if "://" in asked:
        data = _download_address(asked)
    elif find_format(asked) or Path(asked).exists():
        data = _open_file(asked)
    else:
        data = _download_repo(task, asked)
    # The first file speaks for all: where another lacks a column, reading says so.
    seen = list_columns(data.files[0][1], columns.encoding)
    # Flags win over a layout: whoever names columns knows the data better.
    layout = None if columns.named else data.layout or _match_layout(task, seen)
    mapping = label_map = None
    # Data of a layout that is known keep that source's reader; all others are read by their columns.
    if layout is None:
        label_set = accept_own_labels(label_set)
        label_map = read_label_map(columns.label_map, task, label_set) if columns.label_map else None
        source = _make_source(task, data.id, seen, columns, label_set, label_map or {})
        mapping = ColumnMapping(columns=list(source.columns), label_map=label_map)
    else:
        source = replace(layout, id=data.id, url="")
    files = SourceFiles(source, data.files, data.revision, data.features, mapping, columns.encoding)
    if layout is None:
        files = replace(files, remarks=tuple(_list_remarks(seen, columns, label_map or {})))
    if layout is not None and not declared and data.id in (layout.id, *_list_file_names(layout)):
        return files, label_set  # a copy of the task's own data, whose licence and provenance are known
    source = replace(
        source,
        license=declared or data.card_licence,
        attribution=f"Rows of {data.id}; whoever made this dataset answers for them.",
        provenance=f"As {data.id} has them; nobody here checked them.",
    )
    return replace(files, source=source), label_set


# What datasets writes beside the rows of a folder.
_NO_ROWS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")


@dataclass(frozen=True)
class _UserData:
    """Files of a user's data, before anything is known of what their columns mean.

    Attributes:
        id: what the rows' ``source`` will be: a file's name, an address, or a repo.
        files, revision, features: see :class:`~hubtools.curation.sources.SourceFiles`.
        card_licence: of a repo's card; "other" where nothing says one.
        layout: the public source whose files and columns a repo has.
    """

    id: str
    files: tuple[tuple[str, Path], ...]
    revision: str
    features: Mapping[str, object] | None = None
    card_licence: str = OTHER
    layout: Source | None = None


def _match_layout(task: TaskSpec, seen: Sequence[str]) -> Source | None:
    """Return the first public source of the task whose columns are all among ``seen``."""
    return next((s for s in task.whole_sources if s.layout and set(s.columns) <= set(seen)), None)


def _list_file_names(source: Source) -> list[str]:
    """Return the names of a source's files, which a copy of them on this machine would have."""
    return [Path(pattern).name for patterns in source.files.values() for pattern in patterns]


def _make_source(
    task: TaskSpec, id: str, seen: Sequence[str], columns: Columns, label_set: LabelSet, label_map: LabelMap
) -> Source:
    """Return a source of rows with the columns that ``columns`` names, or that the data has.

    Args:
        seen: names of the columns that the data has.

    Raises:
        UsageError: a flag does not fit the task.
        SourceError: there is no such column of groups.
    """
    if (columns.tokens or columns.tags) and not task.head.reads_tags:
        raise UsageError(
            f"Task {task.name!r} labels whole texts",
            expected="--text-column and --label-column",
            found="--tokens-column or --tags-column, which are for tasks that mark spans",
            next=f"hubtools curate {task.name} --help",
        )
    if columns.group and columns.group not in seen:
        raise SourceError(
            f"Source {id!r} lacks a column: {columns.group}",
            expected=columns.group,
            found=shorten(", ".join(seen)),
            next="name a column that is there with --group-column, or leave the flag out",
        )
    # Of all label sets: a type that this one leaves out is known all the same.
    types = {name for labels in task.label_sets for name in labels.mapping} | set(label_set.labels)
    user_columns = task.head.choose_user_columns(columns, seen, label_map, types)
    group_column = columns.group or _find_group_column(seen)

    def read(raw: Mapping[str, object]) -> Example:
        if "_task_hash" in raw and raw.get("answer", "accept") != "accept":
            raise Dropped("its answer in Prodigy is not accept")
        # A row without a group stands for itself.
        group = raw.get(group_column)
        return replace(user_columns.read(raw), group="" if group is None else str(group))

    # Licence and attribution follow once it is known whether somebody declared one.
    return Source(
        id=id,
        files={},
        # A column of groups is only demanded of every row where a flag names it.
        columns=(*user_columns.names, columns.group) if columns.group else user_columns.names,
        row=read,
        license=OTHER,
        attribution="",
    )


def _find_group_column(seen: Sequence[str]) -> str:
    """Return the column that rows are grouped by where nobody names one; "" for none."""
    return next((name for name in GROUPS if name in seen), "")


def _list_remarks(seen: Sequence[str], columns: Columns, label_map: LabelMap) -> list[str]:
    """Return what the data or the map decide without a flag that says so."""
    remarks = []
    if not columns.group and (group := _find_group_column(seen)):
        remarks.append(f"rows are grouped by the column {group!r}, as it is there; --group-column names another")
    theirs: dict[str, list[str]] = {}
    for name, ours in label_map.items():
        if ours is not None and ours != OUTSIDE:
            theirs.setdefault(ours, []).append(repr(name))
    several = [f"{' and '.join(names)} become {ours}" for ours, names in theirs.items() if len(names) > 1]
    return [*remarks, *(["the label map joins labels: " + shorten("; ".join(several))] if several else [])]


def _open_file(asked: str) -> _UserData:
    """Return a file or a folder of this machine; raises :class:`SourceError` where there is none."""
    path = Path(asked)
    if path.is_dir():
        return _open_folder(path)
    if not path.is_file() or not find_format(path.name):
        raise SourceError(
            f"Source {asked!r}",
            expected=f"a file or a folder of files ({', '.join(SUFFIXES)}), or the name of a dataset repo",
            found=describe_format(path.name) if path.exists() else "nothing there",
            next="look at the path after --source",
        )
    return _UserData(path.name, (("", path),), f"sha256:{sha256_of(path)}")


def _open_folder(folder: Path) -> _UserData:
    """Return the files of a folder and of those in it, with the splits that their names begin with.

    Raises:
        SourceError: there is none.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    paths = [path for path in found if find_format(path.name) and path.name not in _NO_ROWS]
    if not paths:
        raise SourceError(
            f"Source {str(folder)!r}",
            expected="a folder with files that end in " + ", ".join(SUFFIXES),
            found=shorten("; ".join(dict.fromkeys(describe_format(path.name) for path in found))) or "an empty folder",
            next="look at the path after --source",
        )
    digests = [sha256_of(path) for path in paths]
    revision = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    files = tuple((_find_split(path), path) for path in paths)
    return _UserData(folder.resolve().name, files, f"sha256:{revision}")


def _find_split(path: Path) -> str:
    """Return the split that a file's name begins with, or its folder's name says; "" for none."""
    word = re.split(r"[^a-z]", path.name.lower())[0]
    return SPLIT_NAMES.get(word) or SPLIT_NAMES.get(path.parent.name.lower(), "")


def _download_address(asked: str) -> _UserData:
    """Return a file by its URL; ``#sha256=...`` behind it is compared, and saves the download of a known file."""
    address, _, pin = asked.partition("#sha256=")
    pin = pin.lower()
    parts = urlsplit(address)
    name = Path(unquote(parts.path)).name
    # What this machine serves itself nobody can change on the way.
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    # Anybody on the way may change what comes over http://, unless a checksum says what to expect.
    if (parts.scheme != "https" and not (parts.scheme == "http" and (pin or local))) or not parts.hostname:
        raise UsageError(
            f"Source {asked!r}",
            expected="an address that begins with https://",
            found=f"{parts.scheme}://",
            next="http:// is read where #sha256=... behind it says what to expect",
        )
    if not find_format(name):
        raise UsageError(
            f"Source {asked!r}",
            expected="the address of a file: " + ", ".join(SUFFIXES),
            found=name or "no file name",
            next="give the address of the file itself",
        )
    # A folder for each address, since files of many sites are called data.csv.
    target = download_folder() / "by-address" / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    if not (pin and target.exists() and sha256_of(target) == pin):
        download(address, target, f"Source {name!r}")
    digest = sha256_of(target)
    if pin and digest != pin:
        raise SourceError(
            f"Source {name!r} is not the file that was asked for",
            expected=f"sha256 {pin}",
            found=f"sha256 {digest}",
            next="look at what stands at the address now; without #sha256=... it is read as it is",
        )
    return _UserData(address, (("", target),), f"sha256:{digest}")


def _download_repo(task: TaskSpec, asked: str) -> _UserData:
    """Return a dataset repo: laid out as a public source, or any that ``datasets`` finds splits and files in."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    repo, _, config = asked.partition(":")
    try:
        info = HfApi().dataset_info(repo)
    except RepositoryNotFoundError:
        refuse_unknown_repo(repo)
    # A card may name several licences: then nobody knows which one binds, and "other" holds the rows back.
    named = info.card_data.get("license") if info.card_data else None
    licence = named if isinstance(named, str) else OTHER
    names = [sibling.rfilename for sibling in info.siblings or []]
    # A configuration is chosen by ``datasets`` alone: the task's layouts know nothing of it.
    for layout in () if config else [source for source in task.whole_sources if source.layout]:
        patterns = [pattern for of_split in layout.files.values() for pattern in of_split]
        if not all(fnmatch.filter(names, pattern) for pattern in patterns):
            continue
        # At the commit that was looked at: the repo may change in between.
        copy = locate(replace(layout, id=repo, revision=str(info.sha), url=""))
        if set(layout.columns) <= set(list_columns(copy.files[0][1])):
            return _UserData(repo, copy.files, copy.revision, card_licence=licence, layout=layout)
    files, features = download_splits(repo, config, str(info.sha))
    # With the configuration: two of one repo may be of different languages.
    return _UserData(asked if config else repo, files, str(info.sha), features, licence)
