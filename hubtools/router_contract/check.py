"""The result of one check, and what is made of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal

from hubtools.errors import VerificationFailed

CONTRACT = "vllm-srun 0.2.0"  # the runtime of the router whose rules are checked
TRAIN = "remove the model folder, then hubtools finetune TASK, which writes it anew"

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at: files, config, mapping, weights, tokenizer, answers, spans, windows, self-check.
        ok: whether it is as it should be.
        file: the file of the release that it is about.
        summary: what was found out, in one sentence.
        expected, found, next: as in an error; empty where ``ok``.
        severity: of a check that is not ``ok``: an "error" keeps the router, or a transformers that users have, from
            loading the model or from answering as it does here; a "warning" does not.
        numbers: what was counted or measured, such as ``{"texts": 50, "largest_difference": 4e-7}``.
    """

    name: str
    ok: bool
    file: str
    summary: str
    expected: str = ""
    found: str = ""
    next: str = ""
    severity: Severity = "error"
    numbers: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def message(self) -> str:
        """The file, what was found out and, where something is wrong, what was expected and what to do."""
        # In the order of every error of hubtools.
        parts = (("expected", self.expected), ("found", self.found), ("next", self.next))
        return "\n".join([f"{self.file}: {self.summary}", *(f"  {name}: {text}" for name, text in parts if text)])


def failed(
    name: str, file: str, summary: str, *, expected: str = "", found: object = "", next: str = TRAIN,
    severity: Severity = "error",
) -> Check:  # fmt: skip
    """Return a check that is not ok; ``found`` may be any value of a JSON file, None where there is none."""
    told = found if isinstance(found, str) else "nothing" if found is None else repr(found)
    return Check(name, False, file, summary, expected, told, next, severity)


def passed(name: str, file: str, summary: str, **numbers: float) -> Check:
    """Return a check that is ok."""
    return Check(name, True, file, summary, numbers=MappingProxyType(numbers))


def failures(checks: Sequence[Check], strict: bool = False) -> list[Check]:
    """Return the checks that stop a release: the errors, and with ``strict`` the warnings as well."""
    return [check for check in checks if not check.ok and (strict or check.severity == "error")]


def raise_failures(subject: str, task: str, checks: Sequence[Check], next: str, *, strict: bool = False) -> None:
    """Raise :class:`VerificationFailed` with every error among ``checks``; do nothing where there is none.

    Args:
        subject: what was checked. task: its name, for the commands that mend an error.
        next: what to do when the errors are mended.
        strict: take warnings for errors as well.
    """
    # Beside an error, that the answers were not compared is no news.
    found = failures(checks) or failures(checks, strict)
    errors = [replace(check, next=check.next.replace("TASK", task)) for check in found]
    if errors:
        messages = "\n".join(check.message for check in errors)
        raise VerificationFailed(
            f"{subject} fails {len(errors)} of {len(checks)} checks of what the Semantic Router needs",
            expected="a model that loads there and answers as pipeline() does",
            found=messages.replace("\n", "\n    "),
            next=next,
        )


def table_of(checks: Sequence[Check]) -> list[tuple[str, str, str]]:
    """Return rows for a table: what was looked at, "passed", "warning" or "failed", and what was found out."""
    return [
        (c.name, "passed" if c.ok else {"error": "failed", "warning": "warning"}[c.severity], f"{c.file}: {c.summary}")
        for c in checks
    ]
