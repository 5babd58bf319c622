"""How a release is pushed: the flags that the three ``push-`` commands share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self


@dataclass(frozen=True)
class PushOptions:
    """How a repo is pushed.

    Attributes:
        private: a repo that is new becomes private.
        create_pr: open a pull request instead of a commit on the main branch.
        dry_run: tell what would change, and change nothing.
        gated: of a dataset: "auto" or "manual" where readers must ask for access, and "manual" where somebody decides
            on each request.
        force: of a model: why it is released though it is worse than the one that is published.
        accept_license: of a dataset: push it, privately, though its licences do not allow to publish it.
    """

    # The defaults change nothing but the repo's content.
    private: bool = False
    create_pr: bool = False
    dry_run: bool = False
    gated: Literal["auto", "manual"] | None = None
    accept_license: bool = False
    force: str | None = None

    def without_gate(self) -> Self:
        """Return the options of a model or a Space, which ``gated`` is not about."""
        return replace(self, gated=None)
