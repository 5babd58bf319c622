"""What joins the training split: supplements, harmless prompts as long as attacks, rare types; and the audit file."""

from __future__ import annotations

import csv
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from as_user import REPOSITORY, Command

from hubtools.curation.audit import write_audit
from hubtools.curation.duplicates import cluster_near_duplicates
from hubtools.curation.sources import SourceFiles
from hubtools.curation.split import SPLITS
from hubtools.curation.supplements import (
    LENGTHS,
    check_names,
    choose_supplements,
    choose_values,
    limit_shares,
    list_removable,
)
from hubtools.curation.synthesis import SLOT_TYPES, fill_rare_types, fill_template
from hubtools.errors import UsageError
from hubtools.heads.length_matching import RATIO, compose_negatives, measure_length_baseline
from hubtools.localhub import stop
from hubtools.records import to_json
from hubtools.spec import Dropped, Example, LabelSet, Span
from hubtools.tasks import TASKS
from hubtools.tasks.intent import METATOOL, read_glaive_row, read_metatool_row
from hubtools.tasks.intent_rules import AMBIGUOUS, TABLE, apply_rules, to_snake_case
from hubtools.tasks.jailbreak import GPTEACHER, read_gpteacher_row
from hubtools.tasks.pii import PII, PRESIDIO_TYPES, RARE_TYPES

Rows = list[dict[str, Any]]
WORDS = [word.strip(".,;:()\"'") for word in (REPOSITORY / "LICENSE").read_text().split()]


def sentence(rng: random.Random, words: int = 9) -> str:
    return " ".join(f"{rng.choice(WORDS)}{rng.randrange(1000)}" for _ in range(words))


# --- as a user ------------------------------------------------------------------------------------------------------


def without_all_but(task: str, *kept: str) -> tuple[str, ...]:
    """Flags that leave out what joins the public data of a task, but for these supplements."""
    names = [name for name in list_removable(TASKS[task]) if name not in (LENGTHS, *kept)]
    made = [f"{made.name}=0" for made in TASKS[task].augmentations]
    return tuple(flag for name in names for flag in ("--without", name)) + tuple(
        flag for name in made for flag in ("--augment", name)
    )


def write_csv(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, rows: Rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))


FUNCTIONS = ("get_news", "translate_text", "calculate_tip", "send_email", "create_event", "upload_file", "count_words")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sources and supplements of jailbreak and intent in the form of the public ones: attacks are long."""
    root, rng = tmp_path_factory.mktemp("mirror"), random.Random(1)
    prompts = [{"prompt": sentence(rng, rng.randint(4, 12)), "type": "benign"} for _ in range(160)]
    prompts += [{"prompt": sentence(rng, rng.randint(30, 90)), "type": "jailbreak"} for _ in range(80)]
    rng.shuffle(prompts)
    write_csv(root / "jackhhao/jailbreak-classification/default/jailbreak_dataset_train.csv", prompts[:200])
    write_csv(root / "jackhhao/jailbreak-classification/default/jailbreak_dataset_test.csv", prompts[200:])
    plays = [{"instruction": sentence(rng), "input": "", "response": sentence(rng, 30)} for _ in range(300)]
    plays[0] = {"instruction": prompts[200]["prompt"], "input": "", "response": ""}  # stands in the test split
    plays[1]["instruction"] = 5
    write_json(root / GPTEACHER.id / GPTEACHER.files[""][0], plays)

    chats = []
    for function in (*FUNCTIONS, "buy_product", "frobnicate", "get_joke"):
        for _ in range(8):
            call = f'<functioncall> {{"name": "{function}", "arguments": {{}}}}'
            chats.append({"system": "SYSTEM: tools", "chat": f"USER: {sentence(rng)}\n\nASSISTANT: {call}"})
    chats += [{"system": "SYSTEM: none", "chat": f"USER: {sentence(rng)}\n\nASSISTANT: Yes."} for _ in range(40)]
    write_json(root / "glaiveai/glaive-function-calling-v2/glaive-function-calling-v2.json", chats)
    tools = ("create_qr_code", "calculator", "news_tool", "translate_text", "Chess", "TripTool", "find_agency")
    queries = [{"Query": "Please " + sentence(rng), "Tool": tool} for tool in tools for _ in range(20)]
    queries.append({"Query": "Sure, here is what you asked for", "Tool": "calculator"})
    write_csv(root / METATOOL.id / METATOOL.files[""][0], queries)
    return root


@pytest.fixture(scope="module")
def at(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[object, ...]]:
    """A Hub of its own that serves the mirror."""
    hub = tmp_path_factory.mktemp("hub")
    yield ("--hub", "local", "--hub-dir", hub, "--mirror", mirror)
    stop(hub)


def curated(hubtools: Command, work: Path, *arguments: object) -> dict[str, Any]:
    done = hubtools("curate", *arguments, "--work-dir", work, "--json")
    facts: dict[str, Any] = next(iter(json.loads(done.stdout).values()))
    return facts | {"said": done.stderr}


def rows_of(work: Path, task: str, split: str) -> Rows:
    rows: Rows = pq.read_table(work / task / "dataset" / "data" / f"{split}-00000-of-00001.parquet").to_pylist()
    return rows


def assert_every_drop_has_a_line(facts: dict[str, Any], folder: Path) -> None:
    lines = [json.loads(line) for line in (folder / "dropped.jsonl").read_text().splitlines()]
    counts: Counter[str] = Counter()
    for line in lines:
        counts[line["reason"]] += line.get("more", 1)
    told = Counter(facts["counts"]["dropped"])
    for supplement in facts["supplements"]:
        told.update(supplement["dropped"])
    assert counts == told
    steps = facts["counts"]["steps"]
    assert steps["read"] - sum(facts["counts"]["dropped"].values()) == steps["without leaks"]
    assert steps["with supplements"] - steps["without leaks"] == sum(s["rows"] for s in facts["supplements"])
    assert [*steps.values()][-1] == facts["counts"]["kept"] == sum(s["rows"] for s in facts["splits"].values())


def test_role_plays_and_long_harmless_prompts_join_the_training_split_of_jailbreak_alone(
    hubtools: Command, at: tuple[object, ...], tmp_path: Path
) -> None:
    at = (*without_all_but("jailbreak", "gpteacher"), *at)
    plain = curated(hubtools, tmp_path / "plain", "jailbreak", "--without", "gpteacher", "--without", "lengths", *at)
    facts = curated(hubtools, tmp_path / "full", "jailbreak", *at)
    assert plain["supplements"] == []
    assert plain["counts"]["length_matched_train"] == 0

    [supplement] = facts["supplements"]
    train = rows_of(tmp_path / "full", "jailbreak", "train")
    used = [row for row in train if row["source"] == GPTEACHER.id and not row["group"].startswith("lengths ")]
    assert supplement["name"] == "gpteacher"
    assert supplement["rows"] == len(used) > 0
    assert supplement["share"] == pytest.approx(len(used) / len(train), abs=1e-4)
    assert supplement["share"] <= GPTEACHER.share
    assert supplement["read"] == supplement["rows"] + sum(supplement["dropped"].values())
    assert {"instruction is not a text": 1, "exact duplicate": 1}.items() <= supplement["dropped"].items()
    assert_every_drop_has_a_line(facts, tmp_path / "full" / "jailbreak")
    long = [row for row in train if row["group"].startswith("lengths ")]
    assert facts["counts"]["length_matched_train"] == len(long) > 50
    assert {row["label"] for row in long} == {0}
    assert all(value == 0 for value in facts["leakage"].values())
    for split in ("validation", "test"):
        assert rows_of(tmp_path / "full", "jailbreak", split) == rows_of(tmp_path / "plain", "jailbreak", split)

    before, after = plain["length_baseline"]["train"], facts["length_baseline"]["train"]
    assert before["before"] == before["after"] == after["before"] > 0.95
    assert after["after"] < 0.8
    assert f"jailbreak: supplement gpteacher is {supplement['share']:.1%} of train" in facts["said"]


def test_queries_of_metatool_join_intent_unless_they_are_left_out(
    hubtools: Command, at: tuple[object, ...], tmp_path: Path
) -> None:
    at = (*without_all_but("intent", "metatool"), *at)
    plain = curated(hubtools, tmp_path / "plain", "intent", "--without", "metatool", *at)
    facts = curated(hubtools, tmp_path / "more", "intent", *at)
    assert plain["supplements"] == []
    assert METATOOL.id not in {source["id"] for source in plain["sources"]}
    assert plain["decided_by"] == {
        "table": {"rows": 56, "share": 0.7},
        "keyword": {"rows": 8, "share": 0.1},
        "dropped": {"rows": 16, "share": 0.2},
    }
    [supplement] = facts["supplements"]
    assert_every_drop_has_a_line(facts, tmp_path / "more" / "intent")
    assert supplement["dropped"]["not a request"] == 1
    assert supplement["dropped"]["function matches no rule"] == 20
    assert supplement["dropped"]["function is ambiguous"] == 20
    assert supplement["decided_by"]["table"]["rows"] == 100
    assert {"id": METATOOL.id, "license": "mit"}.items() <= facts["sources"][1].items()
    rows = rows_of(tmp_path / "more", "intent", "train")
    used = [row for row in rows if row["source"] == METATOOL.id]
    assert 0 < len(used) <= 0.3 * len(rows)
    elsewhere = {
        row["group"] for split in ("validation", "test") for row in rows_of(tmp_path / "more", "intent", split)
    }
    assert not elsewhere & {row["group"] for row in rows}, "translate_text may be a test function of the source"


@pytest.mark.exhaustive
def test_where_the_audit_file_lies_is_said_and_it_is_the_same_again(
    hubtools: Command, at: tuple[object, ...], tmp_path: Path
) -> None:
    at = (*without_all_but("intent"), *at)
    first = curated(hubtools, tmp_path / "first", "intent", *at)
    path = tmp_path / "first" / "intent" / "audit.csv"
    assert f"to check by eye: {path}" in first["said"]
    curated(hubtools, tmp_path / "second", "intent", *at)
    assert path.read_text() == (tmp_path / "second" / "intent" / "audit.csv").read_text()
    with path.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert {row["rule"] for row in rows if row["group"] == "function get_news"} == {"table"}
    assert all(row["rule"].startswith("keyword ^(search|find") for row in rows if row["group"] == "function get_joke")
    assert all(re.fullmatch(r"glaive-function-calling-v2\.json\[\d+\]", row["place"]) for row in rows)
    path.unlink()
    curated(hubtools, tmp_path / "first", "intent", *at)
    assert path.exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ("--supplement", "gpt"),
            "Unknown supplement 'gpt'(?s:.*)gpteacher, languages-and-code, metatool, names, rare-types, starter, ",
        ),
        (("--without", "length"), "Unknown supplement 'length'(?s:.*)lengths"),
        (("--supplement", "lengths"), "Unknown supplement 'lengths'"),
    ],
)
def test_an_unknown_supplement_is_an_error_that_lists_the_names(
    hubtools: Command, flags: tuple[str, ...], said: str, at: tuple[object, ...], tmp_path: Path
) -> None:
    done = hubtools("curate", "jailbreak", *flags, *at, "--work-dir", tmp_path, check=False)
    assert done.returncode != 0
    assert re.search(said, done.stderr)
    assert "Traceback" not in done.stderr


def test_a_supplement_that_is_nowhere_says_how_to_do_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from hubtools.curation import sources
    from hubtools.errors import SourceError

    def nowhere(_: object) -> None:
        raise SourceError("no such repo")

    monkeypatch.setattr(sources, "locate", nowhere)
    with pytest.raises(SourceError, match=r"(?s)'gpteacher' .* could not be read.*--without gpteacher.*--mirror"):
        sources.locate_addition(GPTEACHER)


# --- which, and how many --------------------------------------------------------------------------------------------


def test_a_default_joins_the_tasks_own_source_and_an_asked_one_any_source() -> None:
    pii, intent = TASKS["pii"], TASKS["intent"]
    public, starter = ([SourceFiles(source, (), "r1")] for source in (pii.whole_sources[0], pii.starter))
    calls = [SourceFiles(intent.whole_sources[0], (), "r1")]
    assert [s.name for s in choose_supplements(pii, public, (), ())] == ["templates", "rare-types"]
    assert [s.name for s in choose_supplements(pii, public, (), ("templates",))] == ["rare-types"]
    assert [s.name for s in choose_values(pii, public, (), ("names",))] == ["addresses"]
    assert choose_values(pii, starter, (), ()) == []
    assert [s.name for s in choose_values(pii, starter, ("names",), ())] == ["names"]
    assert choose_supplements(pii, starter, (), ()) == []
    both = choose_supplements(pii, starter, ("rare-types", "templates"), ())
    assert [s.name for s in both] == ["rare-types"], "not twice"
    assert [s.name for s in choose_supplements(intent, calls, ("templates",), ("starter",))] == ["metatool"]
    assert choose_supplements(intent, calls, ("metatool",), ("metatool", "starter")) == []


def test_every_supplement_has_a_name_of_its_own_a_share_and_a_licence() -> None:
    supplements = [s for task in TASKS.values() for s in task.supplements]
    for task in TASKS.values():
        names = [s.name for s in task.sources[1:]]
        assert len({*names} - {"", "lengths"}) == len(names), "what --without names is one source of a task"
    assert all(0 < s.share < 1 and s.license and s.attribution for s in supplements)
    check_names(TASKS.values(), [s.name for s in supplements], ["lengths"])
    with pytest.raises(UsageError):
        check_names(TASKS.values(), ["nothing"], [])


def measured(*rows: Any) -> dict[str, Any]:
    return to_json(measure_length_baseline(*rows))


def examples(count: int, label: str = "a", source: str = "s") -> list[Example]:
    return [Example(f"{source} {label} {i}", label=label, source=source) for i in range(count)]


def test_a_supplement_never_makes_up_more_than_its_share() -> None:
    used = limit_shares({"x": examples(900), "y": examples(50, source="y")}, {"x": 0.25, "y": 0.5}, 100)
    assert len(used["y"]) == 50
    total = 100 + len(used["x"]) + len(used["y"])
    assert len(used["x"]) == int(0.25 * total) == 50
    assert limit_shares({"x": examples(5)}, {"x": 0.25}, 0) == {"x": []}
    assert limit_shares({"x": examples(5)}, {"x": 1.0}, 0)["x"]


def test_the_limit_costs_the_largest_class_most_and_the_order_of_rows_does_not_matter() -> None:
    rows = examples(500, "large") + examples(20, "small")
    [used] = limit_shares({"x": rows}, {"x": 0.5}, 60).values()
    assert Counter(row.label for row in used) == {"large": 40, "small": 20}
    assert limit_shares({"x": rows[::-1]}, {"x": 0.5}, 60) == {"x": used}


# --- rows of the supplements ----------------------------------------------------------------------------------------


def test_a_query_is_labelled_by_its_tool_as_by_a_function() -> None:
    example = read_metatool_row({"Query": "Make me a QR code", "Tool": "create_qr_code"})
    assert (example.label, example.group, example.rule) == (
        "data_transformation", "function create_qr_code", "table",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("query", "tool", "reason"),
    [
        ("Sure, I can help you with that.", "calculator", "not a request"),
        ("To compute it, open the settings first.", "calculator", "not a request"),
        ("Which plugin adds numbers?", "calculator", "not a request"),
        ("Plan a trip", "TripTool", "function is ambiguous"),
        ("Play", "Chess", "function matches no rule"),
        ("  ", "calculator", "Query is empty"),
    ],
)
def test_what_is_no_request_or_has_no_kind_is_dropped(query: str, tool: str, reason: str) -> None:
    with pytest.raises(Dropped, match=reason):
        read_metatool_row({"Query": query, "Tool": tool})


def test_role_plays_are_harmless_and_some_of_them_go_on() -> None:
    rows = [
        read_gpteacher_row({"instruction": f"You are pirate {i}", "input": " ", "response": "Arr!"}) for i in range(40)
    ]
    assert {row.label for row in rows} == {"benign"}
    assert {row.text.partition("\n")[2] for row in rows} == {"", "Arr!"}


@pytest.mark.parametrize(
    "request_", ["Convert 5 miles to km using code", "Sort this list: 3, 1, 2", "Bo has 3 pens. How many are left?"]
)
def test_a_request_that_a_function_could_serve_is_not_labelled_as_needing_none(request_: str) -> None:
    chat = {"system": "", "chat": f"USER: {request_}\n\nASSISTANT: Here it is."}
    with pytest.raises(Dropped, match="asks for a tool's work"):
        read_glaive_row(chat)
    assert read_glaive_row({"system": "", "chat": f"USER: Write code. {request_[8:]}\n\nASSISTANT: Here."}).label


# --- length ---------------------------------------------------------------------------------------------------------


def prompts(attacks: int = 60, harmless: int = 120, seed: int = 0) -> list[Example]:
    rng = random.Random(seed)
    return [
        Example(sentence(rng, rng.randint(20, 120)), "jailbreak", split="train", source="s") for _ in range(attacks)
    ] + [Example(sentence(rng, rng.randint(2, 30)), "benign", split="train", source="s") for _ in range(harmless)]


def test_harmless_prompts_are_added_at_the_lengths_of_attacks_in_the_ratio_of_the_split() -> None:
    rows = prompts()
    added = list(compose_negatives(rows, "jailbreak", 0))
    assert added == list(compose_negatives(rows[::-1], "jailbreak", 0))
    assert added != list(compose_negatives(rows, "jailbreak", 1))
    lengths = sorted(len(row.text) for row in rows if row.label == "jailbreak")
    assert {row.label for row in added} == {"benign"}
    assert max(len(row.text) for row in added) <= lengths[-1]
    half = lengths[len(lengths) // 2]
    long = [row for row in [*rows, *added] if len(row.text) >= half]
    ratio = sum(row.label == "benign" for row in long) / sum(row.label == "jailbreak" for row in long)
    each = sum(row.label == "benign" for row in rows) / len(lengths)
    assert each - 1 < ratio <= each + 0.5, "as many as the split has for each attack"


def test_few_attacks_bring_few_harmless_prompts_of_their_length() -> None:
    rows = prompts(10, 200)
    assert len(list(compose_negatives(rows, "jailbreak", 0))) <= RATIO * 10


def test_added_prompts_hold_whole_prompts_of_one_source_and_no_attack() -> None:
    rows = prompts() + [replace(row, source="t", text=row.text + " t") for row in prompts(0, 50, 9)]
    known = {row.text: row for row in rows}
    for row in compose_negatives(rows, "jailbreak", 0):
        parts = [known[text] for text in row.text.split("\n\n")]
        assert len(parts) > 1
        assert {part.label for part in parts} == {"benign"}
        assert {part.source for part in parts} == {row.source}


def test_lengths_without_attacks_or_without_harmless_prompts_add_nothing() -> None:
    assert list(compose_negatives(prompts(0, 5), "jailbreak", 0)) == []
    assert list(compose_negatives(prompts(5, 0), "jailbreak", 0)) == []


def test_the_length_baseline_falls_when_lengths_match_and_is_none_without_both_classes() -> None:
    train, test = prompts(), prompts(30, 60, seed=3)
    found = measured(train, [*train, *compose_negatives(train, "jailbreak", 0)], test, "jailbreak")
    assert found["train"]["before"] > 0.9 > found["train"]["after"] + 0.1
    assert found["test"]["before"] > found["test"]["after"]
    assert found["long"]["train"]["after"] < 0.7
    assert measured(prompts(3, 0), prompts(3, 0), [], "jailbreak")["test"] == {"before": None, "after": None}


def test_a_length_that_says_nothing_scores_as_chance() -> None:
    rows = [Example("x" * (i // 2), "jailbreak" if i % 2 else "benign") for i in range(400)]
    assert measured(rows, rows, rows, "jailbreak")["train"] == {"before": 0.5, "after": 0.5}


# --- rare types -----------------------------------------------------------------------------------------------------

TYPES = {t: t for t in PRESIDIO_TYPES}


def rare_templates() -> list[Example]:
    path = REPOSITORY / "hubtools" / "starter" / RARE_TYPES.id / RARE_TYPES.files[""][0]
    return [RARE_TYPES.row(json.loads(line)) for line in path.read_text().splitlines()]


def test_the_rare_templates_hold_every_type_of_presidio_and_hard_negatives() -> None:
    text = "".join(template.text for template in rare_templates())
    slots = Counter(re.findall(r"\{\{(\w+)\}\}", text))
    assert {SLOT_TYPES[slot] for slot in slots if slot in SLOT_TYPES} == set(PRESIDIO_TYPES)
    assert min(slots[s] for s in ("order_number", "version", "digit_date", "person_company", "tracking_number")) >= 3
    assert len({template.group for template in rare_templates()}) == len(rare_templates())


def test_topping_up_fills_rare_types_and_stops() -> None:
    made = list(fill_rare_types(rare_templates(), Counter(PERSON=40, AGE=39), TYPES, 40, 0))
    counts = Counter(span.type for row in made for span in row.spans) + Counter(PERSON=40, AGE=39)
    assert min(counts[kind] for kind in PRESIDIO_TYPES) >= 40
    assert len(made) < 40 * len(PRESIDIO_TYPES) / 2, "templates with several rare types are filled first"
    assert {row.split for row in made} == {"train"}
    assert list(fill_rare_types(rare_templates(), dict.fromkeys(PRESIDIO_TYPES, 40), TYPES, 40, 0)) == []


def test_a_type_that_stands_in_no_template_ends_the_topping_up() -> None:
    assert list(fill_rare_types([Example("no slot", group="g")], {}, TYPES, 40, 0)) == []


@pytest.mark.parametrize(
    ("slot", "form"),
    [
        ("iban", r"[A-Za-z]{2}\d{2}[A-Za-z0-9 ]{10,40}"),
        ("age", r"\d\d"),
        ("title", r"[A-Z][a-z]+\.?"),
        ("card", r"[\d -]{12,23}"),
        ("digit_date", r"\d{8}"),
        ("driver_license", r"[A-Z0-9-]{7,20}"),
        ("ip_address", r"[\da-f:.]+"),
        ("year", r"\d{4}"),
    ],
)
def test_values_of_the_rare_types_have_their_forms(slot: str, form: str) -> None:
    values = {fill_template(f"{{{{{slot}}}}}", random.Random(i), "train", 0)[0] for i in range(60)}
    assert len(values) >= 10
    assert [value for value in values if not re.fullmatch(form, value)] == []


@pytest.mark.parametrize(
    ("text", "value", "reason"),
    [
        ("the corner of {street_name} and Main St", "Main", "slot .* is unfilled"),
        ("She lives in nan", "nan", "missing"),
    ],
)
def test_rows_that_the_generator_of_the_source_left_unfinished_are_dropped(text: str, value: str, reason: str) -> None:
    span = {"entity_type": "GPE", "entity_value": value, "start_position": text.index(value),
            "end_position": text.index(value) + len(value)}  # fmt: skip
    with pytest.raises(Dropped, match=reason):
        PII.whole_sources[0].row({"full_text": text, "spans": [span], "template_id": 1})


# --- the audit file -------------------------------------------------------------------------------------------------


def test_the_audit_file_holds_fifty_rows_a_class_with_personal_data_marked(tmp_path: Path) -> None:
    path = tmp_path / "audit.csv"
    rows = [Example(f"Bo calls {i}", spans=(Span(0, 2, "PERSON"),), rule="slots", origin=f"f:{i}") for i in range(70)]
    rows.append(Example("Nobody " + "here " * 300, group="g", split="test", source="s"))
    label_set = LabelSet("two", ("PERSON", "LOCATION"), {})
    write_audit(path, rows, PII.head, label_set, 0)
    with path.open(newline="") as lines:
        read = list(csv.DictReader(lines))
    assert Counter(row["label"] for row in read) == {"PERSON": 50, "no personal data": 1}
    assert read[0]["text"].startswith("[PERSON: Bo] calls ")
    assert len(read[-1]["text"]) == 400
    assert (read[-1]["rule"], read[-1]["group"], read[-1]["split"]) == ("label of the source", "g", "test")
    before = path.read_bytes()
    write_audit(path, rows[::-1], PII.head, label_set, 0)
    assert path.read_bytes() == before
    write_audit(path, rows, PII.head, label_set, 1)
    assert path.read_bytes() != before


# --- on the public data ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def public() -> Path:
    folder = REPOSITORY.parent / "shared" / "raw"
    if not folder.is_dir():
        pytest.skip(f"needs the public data at {folder}")
    return folder


@pytest.mark.real
def test_the_table_covers_every_function_that_the_sample_calls_or_offers(public: Path) -> None:
    rows = json.loads((public / "glaiveai/glaive-function-calling-v2/glaive-function-calling-v2.json").read_text())
    called = {name for row in rows for name in re.findall(r'<functioncall> \{"name": "([^"]+)"', row["chat"])}
    offered = {name for row in rows for name in re.findall(r'"name": "([^"]+)",\s*"description"', row["system"])}
    assert len(called) == 105
    assert {name for name in called | offered if to_snake_case(name) not in TABLE} == set()


@pytest.mark.real
def test_rules_that_never_saw_the_table_mostly_agree_with_it(public: Path) -> None:
    tools = json.loads((public / METATOOL.id / "dataset" / "plugin_des.json").read_text())
    assert {to_snake_case(name) for name in tools} & TABLE.keys()
    decided = {name: apply_rules(name)[0] for name in TABLE if apply_rules(name)[0] and TABLE[name] != AMBIGUOUS}
    assert sum(TABLE[name] == label for name, label in decided.items()) >= 0.9 * len(decided)


@pytest.mark.real
@pytest.mark.exhaustive
@pytest.mark.parametrize("label_set", ["router5", "presidio17"])
def test_rare_types_reach_a_thousand_spans_in_training(
    hubtools: Command, public: Path, label_set: str, tmp_path: Path
) -> None:
    at = ("--hub", "local", "--hub-dir", tmp_path / "hub", "--mirror", public)
    try:
        facts = curated(hubtools, tmp_path, "pii", "--label-set", label_set, *at)
    finally:
        stop(tmp_path / "hub")
    train = facts["splits"]["train"]["labels"]
    assert {label: train[label] for label in facts["labels"] if train[label] < 1000} == {}
    assert all(value == 0 for value in facts["leakage"].values())
    assert all(s["share"] <= s["limit"] for s in facts["supplements"])


@pytest.mark.real
@pytest.mark.exhaustive
def test_on_the_public_data_length_alone_says_little_of_long_prompts_in_training(
    hubtools: Command, public: Path, tmp_path: Path
) -> None:
    at = ("--hub", "local", "--hub-dir", tmp_path / "hub", "--mirror", public)
    try:
        # The further sources take some of the shortcut away by themselves.
        facts = curated(hubtools, tmp_path, "jailbreak", *without_all_but("jailbreak", "gpteacher"), *at)
    finally:
        stop(tmp_path / "hub")
    found = facts["length_baseline"]
    assert found["train"]["before"] > 0.8
    assert found["train"]["after"] < 0.65
    assert found["long"]["train"]["after"] < 0.6
    rows = [row for split in SPLITS for row in rows_of(tmp_path, "jailbreak", split)]
    composed = [row["text"].lower() for row in rows if row["group"].startswith("lengths ")]
    assert len(composed) - len(set(cluster_near_duplicates(composed))) < 20
