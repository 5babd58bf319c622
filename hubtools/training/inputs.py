"""What a training starts from: which base and commit, and what identifies its rows."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hubtools.errors import UsageError
from hubtools.spec import BaseModel
from hubtools.tasks import find_base
from hubtools.training.flags import TrainingFlags
from hubtools.workdir import sha256_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def resolve_base(asked: str | None, preferred: Sequence[BaseModel] = ()) -> str:
    """Return the base that is asked for, or the first that the Hub has: a preferred one, ModernBERT-base, the nano
    model.

    Raises:
        UsageError: there is no such model on this Hub.
    """
    from hubtools.connection import find_first_repo
    from hubtools.tasks import MODERNBERT, NANO

    if asked and Path(asked).is_dir():
        return asked
    base = find_first_repo([asked] if asked else [b.id for b in (*preferred, MODERNBERT, NANO)], "model")
    if base is None:
        raise UsageError(
            f"Base model {asked or MODERNBERT.id!r}",
            expected="a model on this Hub, or a folder",
            found=f"no such repo at {os.environ.get('HF_ENDPOINT', 'huggingface.co')}",
            next="name another with --base, or serve a copy with --mirror DIR (DIR/<owner>/<name>/)",
        )
    return base


def find_commit(base_id: str) -> str | None:
    """Return the commit that a base is loaded at: the pinned one, else the newest; None for a folder."""
    from hubtools.connection import open_client

    if Path(base_id).is_dir():
        return None
    # A name alone says less than a commit: what it stands for may be pushed anew.
    return str(open_client().model_info(base_id, revision=find_base(base_id).revision).sha)


def identify_contents(base_id: str, flags: TrainingFlags) -> list[str | None]:
    """Return what the names of a base and of ``--dataset`` do not say: a repo's commit, a hash of a folder's files."""
    from hubtools.connection import open_client

    dataset = flags.ours.dataset
    identified = [_files_of(base_id) if Path(base_id).is_dir() else find_commit(base_id)]
    if dataset is not None:
        is_folder = Path(dataset).is_dir()
        identified.append(_files_of(dataset) if is_folder else str(open_client().dataset_info(dataset).sha))
    return identified


def _files_of(folder: str) -> str:
    # By paths below the folder, in order: a copy of it elsewhere is the same base.
    files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    hashes = [(str(path.relative_to(folder)), sha256_of(path)) for path in files]
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def hash_texts(texts: Iterable[str]) -> str:
    """Return what tells training rows from others, in hexadecimal digits."""
    return hashlib.sha256(json.dumps([*texts]).encode()).hexdigest()


def load_config(base_id: str, revision: str | None) -> PreTrainedConfig:
    """Return the configuration of a base; loads no weights."""
    from transformers import AutoConfig

    config: PreTrainedConfig = AutoConfig.from_pretrained(base_id, revision=revision)
    return config
