"""How many attacks a model still catches among harmless text, and how often it stops harmless text of that length.

    python benchmarks/padded_attacks.py WORK     # a work folder in which jailbreak was trained and evaluated

Asks the attacks of the test split that are caught alone, at the shipped threshold and in windows, as the Space and the
Router do: between one harmless sentence 5, 20 and 60 times on each side, and at a random place among 3, 8 and 20
harmless rows of the test split. Writes ``benchmarks/results/padded_attacks.json``.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from datasets import load_dataset
from space import HARMLESS

from hubtools.heads.inference import load_pipeline
from hubtools.reading import read_labels
from hubtools.records.thresholds import WEIGHTS, read_threshold
from hubtools.tasks.jailbreak import JAILBREAK

RESULTS = Path(__file__).parent / "results"


def measure(work: Path) -> dict[str, Any]:
    """What stands in the report."""
    folder = work / "jailbreak"
    classifier = load_pipeline("text-classification", str(folder / "model"))
    shipped = json.loads((folder / "model" / "thresholds.json").read_text())
    threshold = read_threshold(shipped, WEIGHTS, "detection", "jailbreak")
    assert threshold is not None

    def flag(texts: list[str]) -> list[bool]:
        answers = read_labels(classifier.model, classifier.tokenizer, texts, window=JAILBREAK.head.window, positive=1)
        return [answer.probabilities[1] >= threshold for answer in answers]

    rows = load_dataset(str(folder / "dataset"), split="test")
    attacks, harmless = ([row["text"] for row in rows if row["label"] == label] for label in (1, 0))
    caught = [text for text, is_flagged in zip(attacks, flag(attacks), strict=True) if is_flagged]
    found: dict[str, Any] = {
        "attacks": len(attacks), "caught_alone": len(caught), "harmless": len(harmless),
        "flagged_alone": sum(flag(harmless)), "sentences": {}, "rows": {},
    }  # fmt: skip
    for count in (5, 20, 60):
        around = HARMLESS * count
        hits = sum(flag([f"{around}{text} {around}" for text in caught]))
        found["sentences"][count] = {"caught": hits, "flagged": sum(flag([around * 2]))}
    rng = random.Random(0)
    for count in (3, 8, 20):
        texts = []
        for text in caught:
            beside = rng.sample(harmless, count)
            beside.insert(rng.randrange(count + 1), text)
            texts.append(" ".join(beside))
        without = [" ".join(rng.sample(harmless, count)) for _ in range(100)]
        found["rows"][count] = {"caught": sum(flag(texts)), "flagged_of_100": sum(flag(without))}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    report = measure(parser.parse_args().work)
    text = json.dumps(report, indent=2) + "\n"
    print(text, end="")
    (RESULTS / "padded_attacks.json").write_text(text)


if __name__ == "__main__":
    main()
