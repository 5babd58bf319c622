"""Compare what two runs left behind: work folders, file by file, to the digit.

    python tools/compare_work_folders.py BEFORE AFTER

Times, commit ids, addresses of the embedded Hub and fingerprints differ between any two runs and are not compared.
Columns and keys that a version renamed are given with ``--renamed OLD=NEW``. Prints a line a file and a line a
difference; the exit code is 1 where something differs.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Keys whose values say when, where or by which commit, not what.
VARYING = {
    "seconds", "total_seconds", "url", "revision", "fingerprint", "baselines_of", "hubtools", "versions", "grad_norm",
    "train_runtime", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second", "base_revision",
}  # fmt: skip
SHOWN = 12  # differences of one file that are printed
CLOSE = 1e-9  # floats of another order of the same sum

# In cards: commits, minutes, addresses, versions.
_VARYING_TEXT = re.compile(
    r"\b[0-9a-f]{40}\b|\b[0-9a-f]{8}\b(?=`)|\d+\.\d minutes|http://127\.0\.0\.1:\d+|hubtools \S+"
)
_SKIPPED = {"logs", "tokens", "runs", "studies", ".lock"}


def compare_values(before: Any, after: Any, renamed: Mapping[str, str], where: str = "") -> Iterator[str]:
    """Yield a line for each difference between two JSON values."""
    if isinstance(before, dict) and isinstance(after, dict):
        # A key that is still there was not renamed: a tokenizer's vocabulary has every word.
        old = {renamed.get(key, key) if key not in after else key: value for key, value in before.items()}
        for key in [*old, *(key for key in after if key not in old)]:
            if key in VARYING:
                continue
            if key not in old or key not in after:
                yield f"{where}.{key}: only {'before' if key in old else 'after'}"
            else:
                yield from compare_values(old[key], after[key], renamed, f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield f"{where}: {len(before)} items before, {len(after)} after"
        for number, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from compare_values(one, other, renamed, f"{where}[{number}]")
    elif isinstance(before, float) and isinstance(after, float):
        both_undefined = math.isnan(before) and math.isnan(after)
        if not (both_undefined or math.isclose(before, after, rel_tol=CLOSE, abs_tol=CLOSE)):
            yield f"{where}: {before!r} before, {after!r} after"
    elif isinstance(before, str) and isinstance(after, str):
        if _VARYING_TEXT.sub("…", before) != _VARYING_TEXT.sub("…", after):
            yield f"{where}: {before!r} before, {after!r} after"
    elif before != after:
        yield f"{where}: {before!r} before, {after!r} after"


def compare_files(before: Path, after: Path, renamed: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each difference between two files of the same name."""
    if before.suffix == ".json":
        yield from compare_values(json.loads(before.read_text()), json.loads(after.read_text()), renamed)
    elif before.suffix == ".parquet":
        import pyarrow.parquet as pq

        yield from compare_values(pq.read_table(before).to_pylist(), pq.read_table(after).to_pylist(), renamed)
    elif before.suffix in (".md", ".csv", ".jsonl"):
        old, new = (_VARYING_TEXT.sub("…", path.read_text()).splitlines() for path in (before, after))
        changed = difflib.unified_diff(old, new, lineterm="", n=0)
        yield from (line for line in changed if not line.startswith(("---", "+++", "@@")))
    elif hashlib.sha256(before.read_bytes()).digest() != hashlib.sha256(after.read_bytes()).digest():
        yield f"{before.stat().st_size:,} bytes before, {after.stat().st_size:,} after: other content"


def files_of(root: Path) -> dict[str, Path]:
    """Return the files that a run leaves for its user, by their path below ``root``."""
    paths = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path for path in paths if not _SKIPPED & set(path.relative_to(root).parts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--renamed", action="append", default=[], metavar="OLD=NEW", help="a key or column")
    given = parser.parse_args()
    renamed = dict(entry.split("=", 1) for entry in given.renamed)
    before, after = files_of(given.before), files_of(given.after)
    different = 0
    for name in sorted({*before, *after}):
        if name not in before or name not in after:
            print(f"{name}: only {'before' if name in before else 'after'}")
            different += 1
            continue
        lines = list(compare_files(before[name], after[name], renamed))
        print(f"{name}: {'same' if not lines else f'{len(lines)} differences'}")
        for line in lines[:SHOWN]:
            print(f"    {line[:200]}")
        different += bool(lines)
    print(f"{len({*before, *after})} files, {different} of them differ")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
