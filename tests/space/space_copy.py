"""Where the Space lies, how its copies in tests are set up, and how one is imported."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

SPACE = Path(__file__).parents[2] / "spaces" / "router_demo"
THRESHOLDS = {"category": 0.5, "pii": 0.5, "jailbreak": 0.7, "intent": 0.5}
NOTE = "nano model trained on the starter corpus"


def import_app(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"router_demo_{folder.name}", folder / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
