"""What a score must beat: the majority class, words alone, and regular expressions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from hubtools.evaluation.scores import classification_scores, detection_scores, span_scores
from hubtools.spec import LabelSet, TaskSpec

PATTERNS = {
    "US_SSN": re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)"),
    "EMAIL_ADDRESS": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "PHONE_NUMBER": re.compile(r"(?<![\w-])(?:\+?\d{1,3}[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]?\d{4}(?![\w-])"),
}


def baselines(
    task: TaskSpec, label_set: LabelSet, train: Any, test: Any, threshold: float
) -> dict[str, dict[str, Any]]:
    """Scores of each baseline on the test split, by its name as the card has it."""
    if task.kind == "token":
        found = [matches(text, label_set.labels) for text in test["text"]]
        return {"regular expressions": span_scores(list(test["spans"]), found, label_set.labels)}
    guesses = {
        "majority class": majority(train["label"], len(test), len(label_set.labels)),
        "TF-IDF, logistic regression": tfidf(train["text"], train["label"], test["text"], len(label_set.labels)),
    }
    scores = {}
    for name, guess in guesses.items():
        scores[name] = classification_scores(test["label"], guess, label_set.labels)
        if task.positive:
            scores[name] |= detection_scores(test["label"], guess, label_set.labels.index(task.positive), threshold)
    return scores


def majority(labels: Sequence[int], rows: int, classes: int) -> np.ndarray:
    """(rows, classes): certain of the most common label."""
    out = np.zeros((rows, classes))
    out[:, Counter(labels).most_common(1)[0][0]] = 1.0
    return out


def tfidf(texts: Sequence[str], labels: Sequence[int], test: Sequence[str], classes: int) -> np.ndarray:
    """(rows, classes): logistic regression, balanced, over TF-IDF of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=50_000),
        LogisticRegression(C=10, max_iter=2000, class_weight="balanced"),
    )
    model.fit(list(texts), list(labels))
    out = np.zeros((len(test), classes))
    out[:, model.classes_] = model.predict_proba(list(test))
    return out


def matches(text: str, types: Sequence[str]) -> list[dict[str, Any]]:
    """Spans that the patterns find; an earlier pattern keeps its characters from the later ones."""
    spans: list[dict[str, Any]] = []
    for name, pattern in PATTERNS.items():
        if name not in types:
            continue
        for match in pattern.finditer(text):
            if all(match.end() <= s["start"] or s["end"] <= match.start() for s in spans):
                spans.append({"start": match.start(), "end": match.end(), "label": types.index(name)})
    return spans
