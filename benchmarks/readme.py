"""Put the tables of ``benchmarks/results/`` into README and docs: ``python benchmarks/readme.py [--check]``."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import curation
import dependencies
import full_results
import generalisation
import honest_split
import main_job
import quality
import sharing
import throughput
from main_job import RESULTS

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def filled(text: str) -> str:
    """``text`` with the table of each results file between its marks."""

    def block(match: re.Match[str]) -> str:
        known = {
            "curation": curation.table, "dependencies": dependencies.table, "full": full_results.table,
            "generalisation": generalisation.table, "honest_split": honest_split.table, "quality": quality.table,
            "sharing": sharing.table, "throughput": throughput.table,
            "demo_printed": main_job.printed, "demo_scores": main_job.small,
            "generalisation_parts": generalisation.table_of_parts,
        }  # fmt: skip
        name = match.group(1)
        table = known.get(name, main_job.table)
        # A file may have several tables: demo_scores is one of demo.json.
        file = RESULTS / f"{name}.json"
        file = file if file.exists() else RESULTS / f"{name.partition('_')[0]}.json"
        body = f"\n{table(json.loads(file.read_text()))}\n" if file.exists() else ""
        return f"<!-- results: {match.group(1)} -->\n{body}<!-- end -->"

    return re.sub(r"<!-- results: (\w+) -->\n.*?<!-- end -->", block, text, flags=re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 where a page is out of date")
    args = parser.parse_args()
    stale = [page for page in PAGES if filled(page.read_text()) != page.read_text()]
    if args.check:
        sys.exit("out of date: " + ", ".join(page.name for page in stale) if stale else 0)
    for page in stale:
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
