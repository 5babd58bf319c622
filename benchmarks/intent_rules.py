"""How far the intent rules reach: names decided by the table, by a keyword rule, or by neither.

    python benchmarks/intent_rules.py --mirror DIR     (DIR/<owner>/<name>/: Glaive and MetaTool)

Names are the functions of the Glaive sample and the tools of MetaTool. "rules alone" hides the table and compares
what the rules then say with it: that is how names fare that nobody has looked at. "by description" takes the first
word of a tool's description where its name decides nothing; the product does not do this.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hubtools.tasks.intent_rules import AMBIGUOUS, TABLE, TABLE_VERSION, apply_rules, decide_intent, to_snake_case


def reach(names: Iterable[str]) -> dict[str, Any]:
    """Counts of names by what decides them."""
    names = sorted(set(names))
    ruled = {name: decide_intent(name) for name in names}
    known = [name for name in names if TABLE.get(to_snake_case(name), AMBIGUOUS) != AMBIGUOUS]
    guessed = {name: apply_rules(name)[0] for name in known}
    wrong = sorted(name for name, label in guessed.items() if label and label != TABLE[to_snake_case(name)])
    ambiguous = [name for name in names if TABLE.get(to_snake_case(name)) == AMBIGUOUS]
    return {
        "names": len(names),
        "table": sum(rule == "table" and label != AMBIGUOUS for label, rule in ruled.values()),
        "keyword": sum(rule.startswith("keyword") for _, rule in ruled.values()),
        "dropped_ambiguous": len(ambiguous),
        "dropped_unknown": sum(label == "" for label, _ in ruled.values()),
        "rules_alone": {
            "labelled_by_the_table": len(known),
            "decided": sum(map(bool, guessed.values())),
            "as_the_table": sum(label == TABLE[to_snake_case(name)] for name, label in guessed.items()),
            "otherwise": wrong,
            "ambiguous_names_decided": sum(bool(apply_rules(name)[0]) for name in ambiguous),
        },
    }


def by_description(tools: dict[str, str], rule: Callable[[str], tuple[str, str]]) -> dict[str, Any]:
    """The same question, asked of the first word of the description where the name says nothing."""
    silent = {name: text for name, text in tools.items() if not rule(name)[0] and text.strip()}
    first = {name: re.sub(r"s$", "", text.split()[0].lower().strip(",.")) for name, text in silent.items()}
    decided = {name: rule(f"{word}_it")[0] for name, word in first.items() if rule(f"{word}_it")[0]}
    known = {n: label for n, label in decided.items() if TABLE.get(to_snake_case(n), AMBIGUOUS) != AMBIGUOUS}
    agree = sum(TABLE[to_snake_case(name)] == label for name, label in known.items())
    return {"names_without_a_rule": len(silent), "decided": len(decided), "in_the_table": len(known), "agree": agree}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mirror", type=Path, required=True)
    mirror = parser.parse_args().mirror
    path = mirror / "glaiveai/glaive-function-calling-v2/glaive-function-calling-v2.json"
    rows = json.loads(path.read_text())
    called = [name for row in rows for name in re.findall(r'<functioncall> \{"name": "([^"]+)"', row["chat"])]
    offered = [name for row in rows for name in re.findall(r'"name": "([^"]+)",\s*"description"', row["system"])]
    tools = json.loads((mirror / "HowieHwong/MetaTool/dataset/plugin_des.json").read_text())
    result = {
        "table_version": TABLE_VERSION,
        "glaive_called": reach(called),
        "glaive_offered_or_called": reach(called + offered),
        "metatool": reach(tools) | {"by_description": by_description(tools, apply_rules)},
    }
    out = Path(__file__).parent / "results" / "intent_rules.json"
    out.write_text(json.dumps(result, indent=2) + "\n")
    print(out.read_text())


if __name__ == "__main__":
    main()
