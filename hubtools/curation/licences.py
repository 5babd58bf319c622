"""What a licence allows: which sources may be handed on, and what a dataset made of several is under.

Only a licence that is known here to allow redistribution of changed copies does; whatever else a source says
("other", "unknown", a no-derivatives licence, nothing at all) keeps its rows from being published.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from hubtools.errors import LicenceRefused, UsageError
from hubtools.records.dataset import SourceFacts

OTHER = "other"  # the Hub's word for a licence that is none of its list

# From the least demanding to the most: of several, the last in this order is the one that keeps all their terms.
PERMISSIVE = (
    "cc0-1.0", "pddl", "unlicense", "wtfpl",  # nothing is asked
    "isc", "mit", "zlib", "postgresql", "ncsa", "afl-3.0", "bsl-1.0", "ms-pl", "artistic-2.0", "ecl-2.0", "bsd",
    "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "apache-2.0",  # keep the notice
    "cdla-permissive-1.0", "cdla-permissive-2.0", "etalab-2.0", "odc-by", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0",
    "cc-by-4.0",  # and name the author
)  # fmt: skip
NON_COMMERCIAL = ("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0")
# What is made of such a source stays under the same licence, or a later version of it: one family each.
SHARE_ALIKE = (
    ("cc-by-sa-3.0", "cc-by-sa-4.0"), ("cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    ("odbl",), ("cdla-sharing-1.0",), ("gfdl",), ("gpl-3.0",), ("agpl-3.0",),
)  # fmt: skip
_SHARING = tuple(name for family in SHARE_ALIKE for name in family)
ALLOWING = frozenset((*PERMISSIVE, *NON_COMMERCIAL, *_SHARING))


def parse_licence(asked: str) -> str:
    """Return a licence as the Hub spells it.

    Raises:
        UsageError: it is no identifier.
    """
    licence = asked.strip().lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", licence):
        raise UsageError(
            f"Licence {asked!r}",
            expected="an identifier as on the Hub, such as mit, apache-2.0 or cc-by-4.0",
            found=asked,
            next="https://huggingface.co/docs/hub/repositories-licenses lists them",
        )
    return licence


def combine_licences(licences: Iterable[str]) -> tuple[str, str]:
    """Return the licence of a dataset made of sources under ``licences``, and the rule that says so.

    Share-alike beats non-commercial, which beats permissive; within a kind the more demanding, or the later version,
    wins. A licence that forbids redistribution, and two that exclude each other, make ``other``.
    """
    names = sorted(set(licences))
    if not names:
        return OTHER, "no source names a licence"
    forbidding = [name or "(none)" for name in names if name not in ALLOWING]
    if forbidding:
        return OTHER, f"{', '.join(forbidding)} is not known to allow redistribution"
    if len(names) == 1:
        return names[0], f"every source is under {names[0]}"
    sharing = [name for name in names if name in _SHARING]
    commercial = [name for name in names if name in NON_COMMERCIAL]
    if sharing:
        # Two share-alike families each want the whole under their own licence.
        family = next(family for family in SHARE_ALIKE if sharing[0] in family)
        if not set(sharing) <= set(family) or (commercial and "-nc-" not in family[0]):
            return OTHER, f"{' and '.join(sorted({*sharing, *commercial}))} exclude each other"
        name = max(sharing, key=family.index)
        return name, f"{name} is share-alike: works made of it stay under it"
    if commercial:
        return max(commercial), f"{max(commercial)} forbids commercial use, and what is made of it keeps that"
    name = max(names, key=PERMISSIVE.index)
    return name, f"all sources are permissive, and {name} is the most demanding of them"


def choose_model_licence(licence: str) -> str:
    """Return the licence of a model whose dataset is under ``licence``: Apache-2.0 where that binds nobody."""
    return "apache-2.0" if licence in PERMISSIVE else licence


def check_redistribution(subject: str, sources: Sequence[SourceFacts], *, private: bool, accepted: bool) -> bool:
    """Return whether a push of ``subject`` needs a private repo, for what its ``sources`` are under.

    Args:
        private: the repo is to be private.
        accepted: somebody has asked for the push with these licences in view.

    Raises:
        LicenceRefused: a source may not be handed on, or two licences exclude each other, and the push is not both
            private and asked for.
    """
    licence, why = combine_licences(source.license for source in sources)
    if licence != OTHER:
        return False
    if private and accepted:
        return True
    named = ", ".join(f"{source.id} ({source.license or 'no licence'})" for source in sources)
    raise LicenceRefused(
        f"The licences of {subject} do not allow to publish it",
        expected="sources that may be redistributed, under licences that go together",
        found=f"{named}: {why}",
        next="say under which licence your own source is with --license ID, or push for yourself alone, as far as its "
        "owner allows that: --private --accept-license",
    )
