"""``manifest.json``: the hashes of a release, by which anybody can tell whether it still is what was released."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hubtools import __version__
from hubtools.publishing.front_matter import FrontMatter, split_card, take_our_part
from hubtools.records import to_json
from hubtools.records.release import Manifest, Published
from hubtools.workdir import sha256_of

FILE = "manifest.json"
_NAMED = re.compile(rf"{re.escape(FILE)} sha256 ([0-9a-f]{{64}})")


def make_manifest(task: str, dataset: Published | None, files: Mapping[str, bytes | Path], card: str) -> bytes:
    """Return the content of the file for a release of ``files`` and a card.

    Args:
        card: as we render it, without what a person may have written around it.
    """
    metadata, body = split_card(card)
    manifest = Manifest(
        hubtools=__version__,
        task=task,
        # Of a push that found nothing to change the same is said, and whatever the Hub's address is.
        dataset=replace(dataset, changed=False, url="") if dataset else None,
        files={path: hash_content(content) for path, content in sorted(files.items())},
        card=hash_body(body) or "",
        metadata=hash_metadata(metadata, [*metadata]),
        keys=[*metadata],
    )
    return (json.dumps(to_json(manifest), indent=2, ensure_ascii=False) + "\n").encode()


def hash_content(content: bytes | Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256_of(content)


def hash_body(body: str) -> str | None:
    """Return the SHA-256 of our part of a card; None where one of its marks is gone."""
    ours = take_our_part(body)
    return None if ours is None else hashlib.sha256(ours.encode()).hexdigest()


def hash_metadata(metadata: FrontMatter, keys: Sequence[str]) -> str:
    """Return the SHA-256 of those keys of a front matter, whatever their order."""
    chosen = {key: metadata.get(key) for key in keys}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True, default=str).encode()).hexdigest()


def describe_manifest(content: bytes) -> str:
    """Return the line of a commit's description that names a manifest by its own hash."""
    return f"{FILE} sha256 {hash_content(content)}"


def find_manifest_hash(message: str) -> str | None:
    """Return the hash that a commit's message names; None where it names none."""
    named = _NAMED.search(message)
    return named.group(1) if named else None
