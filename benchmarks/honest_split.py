"""The price of honesty: how much a linear model scores less when groups are kept apart.

    python benchmarks/honest_split.py --mirror DIR    # the public data in DIR/<owner>/<name>/

The same curated rows of pii and jailbreak, their official splits pooled and without synthetic rows, are divided 80/20
in two ways, by row and by group (templates; near-duplicate clusters), with several seeds. jailbreak: TF-IDF with
logistic regression. pii: a linear model over the TF-IDF-weighted features of each word and of its neighbours, scored
by exact spans. A third line leaves the duplicates in, as the source has them. Prints a table, and writes
``benchmarks/results/honest_split.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SEEDS = 5
TEST = 0.2
Row = dict[str, Any]
Division = tuple[list[Row], list[Row]]


def curated(name: str, mirror: Path) -> list[Row]:
    """The rows of a task's public source after curation, of all splits, each with its group."""
    import pyarrow.parquet as pq

    from hubtools.curation.build import CurationInputs, curate
    from hubtools.curation.sources import SourceFiles
    from hubtools.curation.split import SPLITS
    from hubtools.tasks import TASKS
    from hubtools.workdir import TaskFolder

    task = TASKS[name]
    source = task.whole_sources[0]
    paths = [mirror / source.id / pattern for patterns in source.files.values() for pattern in patterns]
    # Without the official split, which would drop the near-duplicates of its test rows: their effect is measured here.
    files = SourceFiles(replace(source), tuple(("", path) for path in paths), "mirror")
    with tempfile.TemporaryDirectory() as folder:
        root = TaskFolder(Path(folder, name))
        curate(task, root, CurationInputs((files,), task.label_set()))
        rows = [row for split in SPLITS for row in pq.read_table(root.split_file(split)).to_pylist()]
    return [row for row in rows if row["source"] == source.id]


def as_they_come(name: str, mirror: Path) -> list[Row]:
    """The rows of the source, duplicates and all."""
    from hubtools.curation.reading import read_rows
    from hubtools.heads.span_rows import tag_words
    from hubtools.tasks import TASKS

    task = TASKS[name]
    names = task.label_set().labels
    known = task.label_set().mapping
    rows: list[Row] = []
    source = task.whole_sources[0]
    for patterns in source.files.values():
        for pattern in patterns:
            for raw in read_rows(mirror / source.id / pattern, source.columns):
                example = source.row(raw.row or {})
                row: Row = {"text": example.text, "group": example.group}
                if task.head.per_token:
                    spans = [replace(s, type=known[s.type]) for s in example.spans if s.type in known]
                    row["tokens"], row["ner_tags"] = tag_words(example.text, spans, names)
                else:
                    row["label"] = names.index(example.label)
                rows.append(row)
    return rows


def by_row(rows: Sequence[Row], seed: int) -> Division:
    shuffled = list(rows)
    random.Random(seed).shuffle(shuffled)
    cut = round(TEST * len(shuffled))
    return shuffled[cut:], shuffled[:cut]


def by_group(rows: Sequence[Row], seed: int) -> Division:
    """Whole groups, drawn until the test part has its share of the rows."""
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(row["group"], []).append(row)
    groups = sorted(members)
    random.Random(seed).shuffle(groups)
    train: list[Row] = []
    test: list[Row] = []
    for group in groups:
        (test if len(test) + len(members[group]) / 2 <= TEST * len(rows) else train).extend(members[group])
    return train, test


def jailbreak(train: Sequence[Row], test: Sequence[Row]) -> dict[str, float]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score, roc_auc_score
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=50_000),
        LogisticRegression(C=10, max_iter=1000, class_weight="balanced"),
    )
    model.fit([row["text"] for row in train], [row["label"] for row in train])
    truth = [row["label"] for row in test]
    scores = model.predict_proba([row["text"] for row in test])[:, 1]
    return {"ROC-AUC": float(roc_auc_score(truth, scores)), "F1": float(f1_score(truth, scores >= 0.5))}


def features(tokens: Sequence[str], at: int) -> list[str]:
    """What is known of a word: itself, its shape and ends, and the two words on each side."""
    word = tokens[at]
    shape = "".join("X" if c.isupper() else "x" if c.islower() else "9" if c.isdigit() else c for c in word[:12])
    found = [f"w={word.lower()}", f"shape={shape}", f"end={word[-3:].lower()}", f"start={word[:3].lower()}"]
    for step in (-2, -1, 1, 2):
        neighbour = tokens[at + step] if 0 <= at + step < len(tokens) else ""
        found += [f"{step}={neighbour.lower()}", f"{step}title={neighbour[:1].isupper()}"]
    return [*found, f"-1w={found[4]}|{word.lower()}"]


def pii(train: Sequence[Row], test: Sequence[Row]) -> dict[str, float]:
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier
    from sklearn.pipeline import make_pipeline

    from hubtools.tasks import TASKS

    tags = TASKS["pii"].model_labels(TASKS["pii"].label_set())

    def words(rows: Sequence[Row]) -> list[list[str]]:
        return [features(row["tokens"], i) for row in rows for i in range(len(row["tokens"]))]

    model = make_pipeline(
        TfidfVectorizer(analyzer=lambda found: found, min_df=2),
        SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=200, tol=1e-3, random_state=0),
    )
    model.fit(words(train), [tag for row in train for tag in row["ner_tags"]])
    answers = iter(model.predict(words(test)))
    found = [[tags[next(answers)] for _ in row["tokens"]] for row in test]
    truth = [[tags[tag] for tag in row["ner_tags"]] for row in test]
    return {"strict entity F1": float(f1_score(truth, found, mode="strict", scheme=IOB2, zero_division=0))}


def measured(rows: Sequence[Row], divide: Callable[..., Division], model: Callable[..., dict[str, float]]) -> Row:
    """Mean and spread of the scores over the seeds, and the share of test rows whose group was trained on."""
    runs, seen = [], []
    for seed in range(SEEDS):
        train, test = divide(rows, seed)
        groups = {row["group"] for row in train}
        seen.append(sum(row["group"] in groups for row in test if row["group"]) / len(test))
        runs.append(model(train, test))
    scores = {
        name: {"mean": round(statistics.mean(r[name] for r in runs), 4),
               "deviation": round(statistics.stdev(r[name] for r in runs), 4),
               "runs": [round(r[name], 4) for r in runs]}
        for name in runs[0]
    }  # fmt: skip
    return {"rows": len(rows), "groups": len({row["group"] for row in rows}), "seen": round(statistics.mean(seen), 4),
            "scores": scores}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mirror", type=Path, required=True, help="folder with the public data, DIR/<owner>/<name>/")
    args = parser.parse_args()
    started = time.time()
    report: dict[str, Any] = {"seeds": SEEDS, "test_share": TEST, "tasks": {}}
    for name, model in (("pii", pii), ("jailbreak", jailbreak)):
        rows = curated(name, args.mirror)
        report["tasks"][name] = {
            "by row, as the source comes": measured(as_they_come(name, args.mirror), by_row, model),
            "by row, duplicates out": measured(rows, by_row, model),
            "by group": measured(rows, by_group, model),
        }
    report["seconds"] = round(time.time() - started, 1)
    report["machine"] = {"cores": os.cpu_count(), "cpu": platform.machine(), "python": platform.python_version()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "honest_split.json").write_text(json.dumps(report, indent=2) + "\n")
    print(table(report))


def table(report: dict) -> str:
    columns = ["", "divided", "rows", "test rows of a group in training", "score", "above the honest score"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for task, ways in report["tasks"].items():
        honest = ways["by group"]["scores"]
        for way, found in ways.items():
            scores = ", ".join(f"{name} {s['mean']:.3f} ± {s['deviation']:.3f}" for name, s in found["scores"].items())
            # Adding zero: none of them is minus nothing.
            lost = ", ".join(
                f"{round(s['mean'] - honest[name]['mean'], 3) + 0:.3f}" for name, s in found["scores"].items()
            )
            seen = f"{100 * found['seen']:.0f}%"
            if way == "by row, as the source comes" and task == "jailbreak":
                seen = "–"  # the source names no groups
            cells = [task, way, f"{found['rows']:,}", seen, scores, "–" if way == "by group" else lost]
            lines.append(f"| {' | '.join(cells)} |")
    lines.append(f"\nLinear models, mean and standard deviation of {report['seeds']} divisions 80/20 of the same rows.")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
