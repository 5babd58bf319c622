"""Card templates and the Space: in the wheel under ``_assets``, in a checkout at its top."""

from __future__ import annotations

from pathlib import Path

from hubtools.errors import UsageError


def find_asset(name: str) -> Path:
    """Return the folder ``name``, such as "model_cards"; raises :class:`UsageError` where the installation lacks it."""
    here = Path(__file__).parent
    # The wheel first: beside an installed package another folder of that name may lie.
    for root in (here / "_assets", here.parent):
        if (root / name).is_dir():
            return root / name
    raise UsageError(f"hubtools' own folder {name!r} is missing", next="install hubtools again")
