"""The work folder: where the files of a run live, one subfolder a task."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hubtools.errors import MissingStage

DEFAULT = Path("hubtools-work")


@dataclass(frozen=True)
class TaskFolder:
    """Paths of one task. Everything that a later stage needs of an earlier one is a file here."""

    root: Path

    @property
    def task(self) -> str:
        return self.root.name

    @property
    def dataset(self) -> Path:
        """Laid out as it is pushed: ``load_dataset(folder.dataset)`` reads it."""
        return self.root / "dataset"

    @property
    def facts(self) -> Path:
        return self.root / "facts.json"

    @property
    def model(self) -> Path:
        """The release: weights, tokenizer, mapping, and after evaluation the card, scores and plots."""
        return self.root / "model"

    @property
    def training(self) -> Path:
        """What training did: arguments, which preset applied, hours, versions."""
        return self.root / "training.json"

    @property
    def runs(self) -> Path:
        """Checkpoints and logs of the training under way."""
        return self.root / "runs"

    @property
    def predictions(self) -> Path:
        return self.root / "predictions.parquet"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.json"

    @property
    def published(self) -> Path:
        """Repos, revisions and tags of what was pushed."""
        return self.root / "published.json"

    def split_file(self, split: str) -> Path:
        return self.dataset / "data" / f"{split}-00000-of-00001.parquet"

    def need(self, path: Path, command: str) -> Path:
        """``path`` where it exists; raises :class:`MissingStage` naming the command that makes it."""
        if not path.exists():
            raise MissingStage(
                f"{path.name} of {self.task!r} is not there",
                expected=str(path),
                next=f"hubtools {command} {self.task}",
            )
        return path

    def read(self, path: Path, command: str) -> dict[str, Any]:
        """The JSON in ``path``; raises :class:`MissingStage` where it is absent or cut off."""
        try:
            content: dict[str, Any] = json.loads(self.need(path, command).read_text())
        except ValueError as error:
            raise MissingStage(
                f"{path.name} of {self.task!r} is damaged", found=str(error), next=f"hubtools {command} {self.task}"
            ) from error
        return content

    def record_published(self, kind: str, release: dict[str, Any]) -> None:
        """Note what was pushed; ``kind`` is "dataset" or "model"."""
        known = json.loads(self.published.read_text()) if self.published.exists() else {}
        write_json(self.published, {**known, kind: release})


def task_folder(work_dir: Path, task: str) -> TaskFolder:
    return TaskFolder(work_dir / task)


def write_json(path: Path, content: Any) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    os.replace(temporary, path)
