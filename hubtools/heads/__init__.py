"""The kinds of question: one label a text, the detection of one label, and spans. One module each."""

from __future__ import annotations

from hubtools.heads.base import Head
from hubtools.heads.classification import Classification
from hubtools.heads.detection import Detection
from hubtools.heads.spans import Spans

__all__ = ["HEADS", "Classification", "Detection", "Head", "Spans"]

# By the word that files use for them.
HEADS: dict[str, type[Head]] = {head.name: head for head in (Classification, Detection, Spans)}
