"""What a score must beat: the majority class, words alone, a few examples, and Presidio or regular expressions."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from hubtools.evaluation.scores import scores_of
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.training.fewshot import MAX_LENGTH, SHOTS, draw_shots, few_shot_preset

PATTERNS = {
    "US_SSN": re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)"),
    "EMAIL_ADDRESS": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "PHONE_NUMBER": re.compile(r"(?<![\w-])(?:\+?\d{1,3}[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]?\d{4}(?![\w-])"),
}

# What Presidio calls a type, and what we call it: the first of these that a label set has.
PRESIDIO = {
    "PERSON": ("PERSON",), "EMAIL_ADDRESS": ("EMAIL_ADDRESS",), "PHONE_NUMBER": ("PHONE_NUMBER",),
    "US_SSN": ("US_SSN",), "LOCATION": ("LOCATION", "GPE"), "ORGANIZATION": ("ORGANIZATION",),
    "CREDIT_CARD": ("CREDIT_CARD",), "DATE_TIME": ("DATE_TIME",), "NRP": ("NRP",), "URL": ("DOMAIN_NAME",),
    "IBAN_CODE": ("IBAN_CODE",), "IP_ADDRESS": ("IP_ADDRESS",), "US_DRIVER_LICENSE": ("US_DRIVER_LICENSE",),
}  # fmt: skip
_SPACY = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")

FEW_SHOT = f"SetFit, {SHOTS} shots a class"

# What a baseline is, as the card says it, by its name.
ABOUT = {
    "majority class": "answers the most common label of the training split, always",
    "TF-IDF, logistic regression": "scikit-learn's logistic regression (C=10, balanced classes) over TF-IDF of the "
    "words and pairs of words of the training split",
    FEW_SHOT: f"{SHOTS} training rows of each class, contrastive training of the base model's own "
    "embeddings, then logistic regression",
    "regular expressions": "for " + ", ".join(PATTERNS) + " alone; nothing is trained",
    "Presidio": "presidio-analyzer as it comes, its types mapped to ours; nothing is trained",
}


def baselines(
    task: TaskSpec, label_set: LabelSet, train: Any, test: Any, threshold: float
) -> dict[str, dict[str, Any]]:
    """Scores of each baseline on the test split, by its name as the card has it."""
    answers: dict[str, Any]
    if task.kind == "token":
        found = presidio(test["text"], label_set.labels)
        if found is None:
            answers = {"regular expressions": [matches(text, label_set.labels) for text in test["text"]]}
        else:
            answers = {"Presidio": found}
        truth, answer = "spans", "found"
    else:
        classes = len(label_set.labels)
        answers = {
            "majority class": majority(train["label"], len(test["label"]), classes),
            "TF-IDF, logistic regression": tfidf(train["text"], train["label"], test["text"], classes),
        }
        truth, answer = "label", "probabilities"
    return {
        name: scores_of(task, label_set, {truth: list(test[truth]), answer: given}, threshold)
        for name, given in answers.items()
    }


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


def few_shot(
    base: str, revision: str | None, texts: Sequence[str], labels: Sequence[int], test: Sequence[str], classes: int,
    seed: int = 0, max_length: int = MAX_LENGTH,
) -> np.ndarray:  # fmt: skip
    """(rows, classes): SetFit on a few rows of each class, from an encoder that is a repo or a folder.

    Args:
        max_length: tokens of a text that are read, at most.
    """
    from hubtools.training.setfit import PairTraining, train_on_pairs

    chosen = draw_shots(labels, SHOTS, seed)
    preset, _ = few_shot_preset()
    few = [texts[i] for i in chosen], [labels[i] for i in chosen]
    model = train_on_pairs(base, revision, *few, PairTraining(preset, seed, max_length=max_length))
    out = np.zeros((len(test), classes))
    out[:, model.model_head.classes_] = model.predict_proba(list(test), as_numpy=True, show_progress_bar=False)
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


def presidio(texts: Sequence[str], types: Sequence[str]) -> list[list[dict[str, Any]]] | None:
    """Spans that Presidio's analyzer finds; None where it, or an English spaCy model for it, is not installed.

    Of spans that overlap the surer one stays, as each character has one type in our labels.
    """
    if any(importlib.util.find_spec(name) is None for name in ("presidio_analyzer", "spacy")):
        return None
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider
    from spacy.util import is_package

    # Left to itself, Presidio downloads a model.
    model = next((name for name in _SPACY if is_package(name)), None)
    if model is None:
        return None
    engine = NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    ).create_engine()
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    ours = {theirs: next((t for t in names if t in types), "") for theirs, names in PRESIDIO.items()}
    wanted = [theirs for theirs, name in ours.items() if name]
    return [
        surest(
            {"start": r.start, "end": r.end, "label": types.index(ours[r.entity_type]), "score": float(r.score)}
            for r in analyzer.analyze(text=text, language="en", entities=wanted)
        )
        for text in texts
    ]


def surest(spans: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Spans without overlap, in order: of those that share a character the surest stays, or the longest."""
    kept: list[dict[str, Any]] = []
    for span in sorted(spans, key=lambda s: (-s["score"], s["start"] - s["end"], s["start"])):
        if all(span["end"] <= other["start"] or other["end"] <= span["start"] for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda s: s["start"])
