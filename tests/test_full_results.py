"""``make results`` on the embedded Hub, with a model of another size under ModernBERT-base's name."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from as_user import REPOSITORY

from hubtools.tasks import MODERNBERT

NANO = REPOSITORY / "hubtools" / "starter" / "hubtools" / "modernbert-nano"


@pytest.mark.exhaustive
def test_the_whole_job_runs_with_what_bears_the_name_of_the_base_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    mirror, file = tmp_path / "mirror", tmp_path / "full.json"
    shutil.copytree(NANO, mirror / "answerdotai" / "ModernBERT-base")
    (mirror / "answerdotai" / "ModernBERT-base" / ".revision").write_text(f"{MODERNBERT.revision}\n")
    at = ["--hub", "local", "--hub-dir", str(tmp_path / "hub"), "--mirror", str(mirror)]
    command = [
        sys.executable, str(REPOSITORY / "benchmarks" / "full_results.py"), "--out", str(file), "--no-pages",
        "--work-dir", str(tmp_path / "work"), "intent", *at,
    ]  # fmt: skip
    try:
        for number in range(2):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            report = json.loads(file.read_text())
            assert report["complete"]
            [(task, found)] = report["tasks"].items()
            assert (task, found["base"]) == ("intent", "answerdotai/ModernBERT-base")
            assert found["low"] <= found["value"] <= found["high"]
            assert found["weights_bytes"] < 50_000_000, "another size"
            assert found["peak_gib"] > 0
            assert found["tokens_per_second"] > 0
            assert "| intent | macro F1 " in done.stdout
            assert ("model is up to date" in done.stderr) == bool(number)
    finally:
        stop = [sys.executable, "-m", "hubtools.cli", "hub", "stop", "--hub-dir", str(tmp_path / "hub")]
        subprocess.run(stop, check=False, capture_output=True)
