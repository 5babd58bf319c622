"""Texts of every script are compared, grouped, tagged and named by their language as English ones are."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from as_user import Command
from hypothesis import given, settings
from hypothesis import strategies as st
from scripts_of_the_world import NAMES, WORDS, make_documents, make_labelled_rows, make_sentence

from hubtools import rows
from hubtools.curation.duplicates import cluster_near_duplicates, find_near_duplicates_of_earlier
from hubtools.curation.evaluation_rows import find_seen_rows
from hubtools.curation.languages import find_languages
from hubtools.curation.leaks import assign_groups, drop_duplicates
from hubtools.heads.span_rows import survive_tagging
from hubtools.rows import make_comparison_key
from hubtools.spec import Example, Span

EACH = pytest.mark.parametrize("language", WORDS)

# A template with slots for a place and a number, in English and in scripts without spaces.
TEMPLATES = {
    "en": "Please write for the client who lives in {} a long and careful report on project number {} and add to it "
    "the plan for the next three months with its budget",
    "zh": "请帮我为住在{}的客户写一份关于第{}号项目的详细报告并且说明接下来三个月的工作计划以及预算安排和人员分工",
    "ja": "{}に住む顧客のために第{}号プロジェクトについての詳しい報告書を書いて今後三か月の計画を説明してください",
    "th": "โปรดเขียนรายงานโดยละเอียดเกี่ยวกับโครงการหมายเลข{1}ให้ลูกค้าที่อาศัยอยู่ใน{0}และอธิบายแผนงานสามเดือนข้างหน้า",
    "ko": "{}에 사는 고객을 위해 제{}호 프로젝트에 대한 자세한 보고서를 쓰고 앞으로 석 달 동안의 계획을 설명해 주세요",
}
PLACES = {
    "en": ("Oslo", "Kyoto"), "zh": ("广州", "上海"), "ja": ("東京", "大阪"), "th": ("ตรัง", "เลย"),
    "ko": ("인천", "대전"),
}  # fmt: skip


def read_dataset(work: Path, task: str) -> list[dict[str, Any]]:
    files = sorted((work / task / "dataset" / "data").glob("*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def write_lines(path: Path, content: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content), encoding="utf-8")
    return path


@pytest.mark.parametrize("pair", [
    ("12 + 30", "12 - 30"), ("12 * 30", "12 / 30"), ("12*30", "12/30"), ("x * y", "x / y"), ("-5", "5"), ("5%", "5"),
    ("C#", "C"), ("C++", "C"), ("$5", "€5"), ("a < b", "a > b"), ("nice 😀", "nice 😡"), ("✓ done", "✗ done"),
    ("पिता", "पता"), ("मेरा नाम", "मरा नम"), ("สมชาย", "สมชัย"), ("2 × 3", "2 ÷ 3"),
])  # fmt: skip
def test_symbols_emoji_and_marks_tell_texts_apart(pair: tuple[str, str]) -> None:
    assert make_comparison_key(pair[0]) != make_comparison_key(pair[1])


@pytest.mark.parametrize("pair", [
    ("12+30", "12 + 30"), ("don't", "don`t"), ("我叫周建国。", "我叫 周建国"), ("नमस्ते!", "नमस्ते"),
    ("word - word", "word, word"),
    ("and/or", "and or"), ("❤️", "❤"), ("「はい」", "はい"), ("e-mail", "e mail"), ("¿qué?", "Qué"),
])  # fmt: skip
def test_punctuation_and_white_space_are_folded_in_every_script(pair: tuple[str, str]) -> None:
    assert make_comparison_key(pair[0]) == make_comparison_key(pair[1])


@settings(derandomize=True, deadline=None)
@given(st.text(st.characters(max_codepoint=0x2100), max_size=12))
def test_the_quick_way_to_a_key_and_the_slow_one_agree(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        quick = make_comparison_key(text)
        patch.setattr(rows, "_PLAIN", rows.re.compile(r"(?!)"))
        if not text.isascii():
            assert make_comparison_key(text) == quick


@settings(derandomize=True, deadline=None)
@given(st.text("好们a1 ，", max_size=8), st.text("好们a1 ，", max_size=8))
def test_unspaced_texts_have_one_key_only_where_they_have_the_same_characters(one: str, other: str) -> None:
    letters = [[c for c in text if c not in " ，"] for text in (one, other)]
    if letters[0] != letters[1]:
        assert make_comparison_key(one) != make_comparison_key(other)


@pytest.mark.parametrize("language", TEMPLATES)
def test_fillings_of_a_template_are_near_duplicates_and_other_texts_are_not(language: str) -> None:
    template, place = TEMPLATES[language], PLACES[language][0]
    filled = [make_comparison_key(template.format(place, number)) for number in (682, 361, 1994)]
    assert cluster_near_duplicates(filled) == [0, 0, 0]
    assert find_seen_rows(filled[:1], [template.format(place, 77)]) == (set(), {0})
    rng = random.Random(0)
    others = [make_comparison_key(make_sentence(language, rng)) for _ in range(20)]
    assert find_near_duplicates_of_earlier([*filled, *others], [0] * 3 + [1] * 20) == set()


def test_texts_that_a_symbol_alone_tells_apart_are_kept_in_one_group() -> None:
    from hubtools.curation.cleaning import Drops

    pair = [
        Example("What a day today, my friends 😀", "benign"),
        Example("What a day today, my friends 😡", "jailbreak"),
    ]
    drops = Drops()
    kept = assign_groups(drop_duplicates(pair, drops))
    assert len(kept) == 2
    assert not drops
    assert len({row.group for row in kept}) == 1


@EACH
def test_a_name_survives_tagging_wherever_its_script_puts_it(language: str) -> None:
    for row in make_documents(language):
        [span] = row["spans"]  # type: ignore[misc]
        assert row["text"][span["start"] : span["end"]] in NAMES[language]  # type: ignore[index]
        assert survive_tagging(str(row["text"]), [Span(span["start"], span["end"], "PERSON")], ["PERSON"])


def test_a_name_that_ends_within_a_word_of_a_script_with_spaces_does_not() -> None:
    assert not survive_tagging("Michaels", [Span(0, 7, "PERSON")], ["PERSON"])
    assert not survive_tagging("रामायण", [Span(0, 1, "PERSON")], ["PERSON"])


@EACH
def test_the_language_is_found_from_the_rows(language: str) -> None:
    texts = [str(row["text"]) for row in make_labelled_rows(language)]
    assert find_languages(texts, 0) == [{"emoji": "unknown"}.get(language, language)]
    assert find_languages(texts[::-1], 0) == find_languages(texts, 0)


@pytest.mark.parametrize(
    "language", ["zh", *(pytest.param(name, marks=pytest.mark.exhaustive) for name in WORDS if name != "zh")]
)
def test_names_in_every_script_are_curated_as_they_stand(
    language: str, hubtools: Command, flags: tuple[object, ...], tmp_path: Path
) -> None:
    documents = make_documents(language)
    file = write_lines(tmp_path / "names.jsonl", documents)
    map_file = tmp_path / "types.yaml"
    map_file.write_text("PERSON: PERSON\n")
    task = tmp_path / "names.yaml"
    task.write_text("name: names\nhead: spans\nlabels: [PERSON]\n")
    hubtools("curate", "--task-file", task, "--source", file, *flags)
    kept = {row["text"]: row["spans"][0] for row in read_dataset(tmp_path / "work", "names")}
    assert len(kept) == len(documents)
    for row in documents:
        found, [span] = kept[row["text"]], row["spans"]  # type: ignore[misc]
        assert (found["start"], found["end"]) == (span["start"], span["end"])


def test_the_card_of_a_dataset_names_the_language_of_its_rows_or_the_one_that_is_given(
    hubtools: Command, flags: tuple[object, ...], tmp_path: Path
) -> None:
    file = write_lines(tmp_path / "zh.jsonl", make_labelled_rows("zh"))
    done = hubtools("curate", "jailbreak", "--source", file, *flags)
    assert "language zh; --language names another" in done.stderr
    assert json.loads((tmp_path / "work" / "jailbreak" / "facts.json").read_text("utf-8"))["languages"] == ["zh"]
    hubtools("curate", "jailbreak", "--source", file, "--language", "zh", "--language", "yue", *flags)
    facts = json.loads((tmp_path / "work" / "jailbreak" / "facts.json").read_text("utf-8"))
    assert facts["languages"] == ["zh", "yue"]
    for wrong, words in (("Chinese", "--language names no language"), ("zh", "--language is for a source of your own")):
        source = ["--source", file] if wrong == "Chinese" else []
        refused = hubtools("curate", "jailbreak", *source, "--language", wrong, *flags, check=False)
        assert refused.returncode == 2
        assert words in refused.stderr
