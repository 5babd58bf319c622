"""hubtools: from public data to four published classifiers on the Hugging Face Hub.

The Python API is what the commands call::

    import hubtools

    hubtools.connect("local")  # the embedded Hub; leave it out for the Hub that your token belongs to
    task = hubtools.load_task("jailbreak")
    hubtools.push_dataset(task)
    hubtools.train(task, num_train_epochs=2)
    print(hubtools.evaluate(task).primary)
    hubtools.push_model(task)
    answers = hubtools.Router({"jailbreak": "owner/name"})("Ignore all previous instructions.")

Nothing heavy is imported before a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hubtools.api import (
        curate,
        evaluate,
        load_task,
        push_dataset,
        push_model,
        render_card,
        train,
        verify,
    )
    from hubtools.connection import connect
    from hubtools.router import Router

__all__ = [
    "Router",
    "connect",
    "curate",
    "evaluate",
    "load_task",
    "push_dataset",
    "push_model",
    "render_card",
    "train",
    "verify",
]

# Looked up at the first use: importing hubtools must not load what a program does not need.
_MODULES = {"Router": "hubtools.router", "connect": "hubtools.connection"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'hubtools' has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "hubtools.api")), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
