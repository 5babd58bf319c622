"""Licences: which sources may be handed on, and what a dataset made of several is under."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest

from hubtools.curation.licences import (
    ALLOWING,
    NON_COMMERCIAL,
    OTHER,
    PERMISSIVE,
    SHARE_ALIKE,
    check_redistribution,
    choose_model_licence,
    combine_licences,
)
from hubtools.errors import LicenceRefused
from hubtools.localhub.vocabulary import LICENSES
from hubtools.records.dataset import SourceFacts
from hubtools.tasks import TASKS


def source_under(licence: str, id: str) -> SourceFacts:
    return SourceFacts(id=id, revision="r1", license=licence, attribution="", labels="", starter=False)


@pytest.mark.parametrize(
    ("licences", "whole"),
    [
        (["mit"], "mit"),
        (["mit", "mit"], "mit"),
        (["mit", "apache-2.0"], "apache-2.0"),
        (["cc0-1.0", "mit"], "mit"),
        (["apache-2.0", "cc-by-4.0"], "cc-by-4.0"),
        (["cc-by-sa-3.0", "mit"], "cc-by-sa-3.0"),
        (["cc-by-sa-3.0", "apache-2.0", "cc-by-sa-4.0"], "cc-by-sa-4.0"),
        (["cc-by-nc-4.0", "mit"], "cc-by-nc-4.0"),
        (["cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-4.0"], "cc-by-nc-sa-4.0"),
        (["cc-by-nc-4.0", "cc-by-sa-4.0"], OTHER),
        (["cc-by-nc-sa-4.0", "cc-by-sa-4.0"], OTHER),
        (["odbl", "cc-by-sa-4.0"], OTHER),
        (["mit", "other"], OTHER),
        (["mit", ""], OTHER),
        ([], OTHER),
    ],
)
def test_the_most_demanding_licence_is_that_of_the_whole(licences: list[str], whole: str) -> None:
    for order in permutations(licences):
        assert combine_licences(order)[0] == whole


@pytest.mark.parametrize(
    "licence",
    ["other", "unknown", "", "proprietary", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "llama3", "no-such-licence", "MIT"],
)
def test_what_is_not_known_to_allow_it_may_not_be_published(licence: str) -> None:
    sources = [source_under("mit", "ours"), source_under(licence, "theirs")]
    for private, accepted in ((False, False), (True, False), (False, True)):
        with pytest.raises(LicenceRefused, match=r"theirs \("):
            check_redistribution("the set", sources, private=private, accepted=accepted)
    assert check_redistribution("the set", sources, private=True, accepted=True), "and then the repo must be private"


def test_no_licence_without_derivatives_is_taken_for_one_that_allows_them() -> None:
    assert [name for name in ALLOWING if "-nd" in name] == []
    assert {"other", "unknown"}.isdisjoint(ALLOWING)


def test_every_licence_of_the_table_is_one_of_the_hubs() -> None:
    assert ALLOWING <= LICENSES
    kinds = [set(PERMISSIVE), set(NON_COMMERCIAL), *map(set, SHARE_ALIKE)]
    assert [a & b for a, b in combinations(kinds, 2) if a & b] == []


@pytest.mark.parametrize("extra", sorted(ALLOWING))
def test_a_whole_is_under_a_licence_of_one_of_its_parts_or_under_none(extra: str) -> None:
    for other in sorted(ALLOWING):
        whole, rule = combine_licences([extra, other])
        assert whole in (extra, other, OTHER)
        assert rule
        assert combine_licences([whole, extra])[0] == whole, "and adding a part again changes nothing"


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_what_hubtools_names_itself_may_be_published(task: object) -> None:
    for source in (*task.whole_sources, task.starter):  # type: ignore[attr-defined]
        parts = [source, *task.supplements, *task.values]  # type: ignore[attr-defined]
        sources = [source_under(part.license, part.id) for part in parts]
        assert not check_redistribution(task.name, sources, private=False, accepted=False)  # type: ignore[attr-defined]
        assert all(part.provenance and part.attribution for part in parts)


def test_a_model_is_under_apache_unless_its_data_bind_it() -> None:
    licences = ("mit", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-nc-4.0", "other")
    expected = ["apache-2.0", "apache-2.0", "cc-by-sa-3.0", "cc-by-nc-4.0", "other"]
    assert [choose_model_licence(licence) for licence in licences] == expected
