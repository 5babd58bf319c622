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
        skip_router_check: of a model: push it without a look at what the Semantic Router needs; its card says so.
        accept_license: of a dataset: push it, privately, though its licences do not allow to publish it.
    """

    # The defaults change nothing but the repo's content.
    private: bool = False
    create_pr: bool = False
    dry_run: bool = False
    gated: Literal["auto", "manual"] | None = None
    accept_license: bool = False
    force: str | None = None
    skip_router_check: bool = False

    def without_gate(self) -> Self:
        """Return the options of a model or a Space, which ``gated`` is not about."""
        return replace(self, gated=None)
