"""What a published model repo holds at a commit, held against its own manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.errors import DamagedRecord, VerificationFailed
from hubtools.publishing.front_matter import split_card
from hubtools.publishing.manifest import FILE, find_manifest_hash, hash_body, hash_content, hash_metadata
from hubtools.records import from_json
from hubtools.records.release import Manifest
from hubtools.retries import call_with_retries

if TYPE_CHECKING:
    from huggingface_hub import HfApi

# Files that somebody's program would load, or run, in place of ours or beside it.
_LOADED = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".pkl", ".py", ".json")


@dataclass(frozen=True)
class Defect:
    """Something that a release should not have: the file, and what was expected and found there."""

    file: str
    expected: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class ReleasedFiles:
    """The files of a model repo at a commit, on this machine.

    Attributes:
        revision: the commit, 40 hex digits.
        manifest: None of a release that was made before there was one.
        notes: what a reader should know, and what is no defect.
    """

    repo: str
    revision: str
    folder: Path
    files: frozenset[str]
    manifest: Manifest | None
    notes: tuple[str, ...]


def download_release(api: HfApi, repo: str, revision: str) -> ReleasedFiles:
    """Download a model repo and compare every file with the manifest that its commit names.

    Raises:
        VerificationFailed: a file is missing, another one than was released, or one that a program would load beside
            ours; all of them are named.
    """
    from huggingface_hub import snapshot_download

    commit = str(api.repo_info(repo, revision=revision).sha)
    folder = Path(snapshot_download(repo, revision=commit))
    files = frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    named = find_named_hash(api, repo, commit)
    # The files of a copy, whose commit names nothing, are still held against the manifest that came along.
    if named is None and FILE not in files:
        note = "made before releases had a manifest: whether its files are those that were released cannot be told"
        return ReleasedFiles(repo, commit, folder, files, None, (note,))
    manifest, defects = _read_manifest(folder, named)
    if manifest is not None:
        defects += _compare_files(folder, files, manifest)
        defects += _compare_card(folder, manifest)
    refuse_defects(repo, commit, defects, manifest.task if manifest else "TASK")
    assert manifest is not None
    others = sorted(files - manifest.files.keys() - {FILE, "README.md", "CHANGELOG.md", ".gitattributes"})
    notes = tuple(f"{path}: not part of the release" for path in others)
    return ReleasedFiles(repo, commit, folder, files, manifest, notes)


def refuse_defects(repo: str, revision: str, defects: list[Defect], task: str) -> None:
    """Raise :class:`VerificationFailed` with every defect, if there is one."""
    if defects:
        raise VerificationFailed(
            f"Model {repo!r} at {revision[:8]} is not what was released",
            expected="the files of its release, each as its manifest and its predictions say",
            found="\n    ".join(map(str, defects)),
            next=f"hubtools push-model {task} to release it anew, or hubtools rollback {repo} --to an older tag",
        )


def find_named_hash(api: HfApi, repo: str, commit: str) -> str | None:
    """Return the hash of the manifest that the newest commit about one names; None where none ever did."""
    # A person may have edited the card since: such a commit names none.
    for entry in call_with_retries(lambda: api.list_repo_commits(repo, revision=commit)):
        if named := find_manifest_hash(f"{entry.title}\n{entry.message}"):
            return named
    return None


def _read_manifest(folder: Path, named: str | None) -> tuple[Manifest | None, list[Defect]]:
    path = folder / FILE
    expected = f"the file that the commit of the release names, {(named or '')[:12]}"
    if not path.exists():
        return None, [Defect(FILE, expected, "no such file")]
    if named not in (None, digest := hash_content(path)):
        return None, [Defect(FILE, expected, f"another one, {digest[:12]}")]
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")), Manifest), []
    except (ValueError, DamagedRecord) as error:
        return None, [Defect(FILE, "the keys that this version of hubtools reads", str(error))]


def _compare_files(folder: Path, files: frozenset[str], manifest: Manifest) -> list[Defect]:
    defects = []
    for path, digest in manifest.files.items():
        if path not in files:
            defects.append(Defect(path, f"the file that was released, {digest[:12]}", "no such file"))
        elif (found := hash_content(folder / path)) != digest:
            defects.append(Defect(path, f"the file that was released, {digest[:12]}", f"another one, {found[:12]}"))
    # The Hub writes this one itself, and may add to it; without it large files are no longer known as such.
    for path in (".gitattributes", "README.md", "CHANGELOG.md"):
        if path not in files:
            defects.append(Defect(path, "the file that was released", "no such file"))
    return [*defects, *_find_intruders(files - manifest.files.keys() - {FILE})]


def _find_intruders(others: frozenset[str]) -> Iterator[Defect]:
    for path in sorted(others):
        if path.endswith(_LOADED):
            yield Defect(path, "no file that a program would load beside the release's", "it is there")


def _compare_card(folder: Path, manifest: Manifest) -> list[Defect]:
    path = folder / "README.md"
    if not path.exists():
        return []  # said already
    metadata, body = split_card(path.read_text(encoding="utf-8"))
    defects = []
    if hash_metadata(metadata, manifest.keys) != manifest.metadata:
        defects.append(
            Defect("README.md", "the front matter that was released", f"another value of {', '.join(manifest.keys)}")
        )
    digest = hash_body(body)
    if digest != manifest.card:
        found = "other text between the two marks of hubtools" if digest else "one of the two marks of hubtools is gone"
        defects.append(Defect("README.md", "the card that was released; write above or below its marks", found))
    return defects
