"""What the static page runs is what its sources and its lock file build, byte by byte."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest
from static_pages import SPACES

BUILT = SPACES / "static_page" / "built"


def test_the_lock_file_names_no_host() -> None:
    lock = (SPACES / "static_page" / "package-lock.json").read_text()
    assert "://" not in "".join(line for line in lock.splitlines() if '"resolved"' in line)
    assert lock.count('"integrity"') > 20


@pytest.mark.exhaustive
def test_the_bundle_is_built_from_its_sources(tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("no npm here: `apt-get install npm`, version 20 of node or newer")
    for name in ("router_demo", "static_page"):
        shutil.copytree(SPACES / name, tmp_path / name, ignore=shutil.ignore_patterns("built", "node_modules"))
    for command in (["npm", "ci"], ["npm", "run", "build"]):
        done = subprocess.run(command, cwd=tmp_path / "static_page", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    made = {path.name: path.read_bytes() for path in (tmp_path / "static_page" / "built").iterdir()}
    wasm = "ort-wasm-simd-threaded.wasm"
    assert made.pop(wasm) == lzma.decompress((BUILT / f"{wasm}.xz").read_bytes())
    assert made == {name: (BUILT / name).read_bytes() for name in ("static.js", "worker.js")}
