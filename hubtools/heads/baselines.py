"""Answers that a model must beat: the majority class, words alone, and Presidio or regular expressions."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version

from hubtools.heads.values import PredictedSpan, Rows
from hubtools.lazy_numpy import np
from hubtools.metrics.spans import SpanDict

# Types whose form is fixed enough for a pattern; a name or an address is not.
PATTERNS = {
    "US_SSN": re.compile(r"(?<!\d)\d{3}-\d{2}-\d{4}(?!\d)"),
    "EMAIL_ADDRESS": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "PHONE_NUMBER": re.compile(r"(?<![\w-])(?:\+?\d{1,3}[ .-]?)?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]?\d{4}(?![\w-])"),
}

# What Presidio calls a type, and what we call it: the first of these that a label set has.
PRESIDIO = {
    "PERSON": ("PERSON",),
    "EMAIL_ADDRESS": ("EMAIL_ADDRESS",),
    "PHONE_NUMBER": ("PHONE_NUMBER",),
    "US_SSN": ("US_SSN",),
    "LOCATION": ("LOCATION", "GPE"),
    "ORGANIZATION": ("ORGANIZATION",),
    "CREDIT_CARD": ("CREDIT_CARD",),
    "DATE_TIME": ("DATE_TIME",),
    "NRP": ("NRP",),
    "URL": ("DOMAIN_NAME",),
    "IBAN_CODE": ("IBAN_CODE",),
    "IP_ADDRESS": ("IP_ADDRESS",),
    "US_DRIVER_LICENSE": ("US_DRIVER_LICENSE",),
}
PRESIDIO_NAME = "Presidio"
# spaCy's models of English, the best first: the first that is installed is taken.
_SPACY = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")

# What a baseline is, as the card says it, by its name: all that it takes to do it again.
ABOUT = {
    "majority class": "answers the most common label of the training split, always",
    "TF-IDF, logistic regression": "scikit-learn's logistic regression (C=10, balanced classes, 2,000 iterations at "
    "most), trained on the training split, over TF-IDF of its 50,000 most frequent words and pairs of words, in lower "
    "case, with sublinear counts",
    "regular expressions": "one pattern for each of "
    + ", ".join(f"{name} (`{pattern.pattern}`)" for name, pattern in PATTERNS.items())
    + ", and none for another type; it learns nothing",
}


def describe_baseline(name: str) -> str:
    """Return what a baseline is, as the card says it."""
    if name != PRESIDIO_NAME:
        return ABOUT[name]
    model = _find_spacy_model()
    return (
        f"presidio-analyzer {version('presidio-analyzer')} with spaCy's {model} {version(model or 'spacy')}, at its "
        "default score threshold, asked for the types that ours match; of spans that overlap the surer one stays; it "
        "learns nothing"
    )


def answer_by_words(train: Rows, texts: Sequence[str], classes: int) -> dict[str, np.ndarray]:
    """Return (rows, classes) probabilities of the baselines of a classification, by their names."""
    return {
        "majority class": predict_majority(train["label"], len(texts), classes),
        "TF-IDF, logistic regression": predict_by_tfidf(train["text"], train["label"], texts, classes),
    }


def answer_by_rules(texts: Sequence[str], types: Sequence[str]) -> Mapping[str, Sequence[Sequence[SpanDict]]]:
    """Return the spans of each text that Presidio predicts, or regular expressions where it is not installed.

    There is no baseline where neither has rules for a type of the task.
    """
    # A baseline that can have no span of the task would say nothing but 0.
    known = {*PATTERNS, *(name for names in PRESIDIO.values() for name in names)}
    if known.isdisjoint(types):
        return {}
    spans = predict_with_presidio(texts, types)
    if spans is None:
        return {"regular expressions": [match_patterns(text, types) for text in texts]}
    return {PRESIDIO_NAME: spans}


def predict_majority(labels: Sequence[int], rows: int, classes: int) -> np.ndarray:
    """Return (rows, classes): certain of the most common label."""
    probabilities = np.zeros((rows, classes))
    probabilities[:, Counter(labels).most_common(1)[0][0]] = 1.0
    return probabilities


def predict_by_tfidf(texts: Sequence[str], labels: Sequence[int], test: Sequence[str], classes: int) -> np.ndarray:
    """Return (rows, classes): logistic regression, balanced, over TF-IDF of words and pairs of words."""
    # Words and pairs of words without order: what a model of sentences must beat to be worth its cost.
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=50_000),
        LogisticRegression(C=10, max_iter=2000, class_weight="balanced"),
    )
    model.fit(list(texts), list(labels))
    # A class that the training rows lack is none of the model's: it stays at 0.
    probabilities = np.zeros((len(test), classes))
    probabilities[:, model.classes_] = model.predict_proba(list(test))
    return probabilities


def match_patterns(text: str, types: Sequence[str]) -> list[SpanDict]:
    """Return the spans that the patterns match; an earlier pattern keeps its characters from the later ones."""
    spans: list[SpanDict] = []
    for name, pattern in PATTERNS.items():
        if name not in types:
            continue
        for match in pattern.finditer(text):
            if all(match.end() <= s["start"] or s["end"] <= match.start() for s in spans):
                spans.append({"start": match.start(), "end": match.end(), "label": types.index(name)})
    return spans


def predict_with_presidio(texts: Sequence[str], types: Sequence[str]) -> list[list[PredictedSpan]] | None:
    """Return the spans that Presidio's analyzer predicts; None where it, or a spaCy model of English, is not installed.

    Of spans that overlap the surer one stays, as each character has one type in our labels.
    """
    if any(importlib.util.find_spec(name) is None for name in ("presidio_analyzer", "spacy")):
        return None
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    model = _find_spacy_model()
    if model is None:
        return None
    engine = NlpEngineProvider(
        nlp_configuration={"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    ).create_engine()
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=["en"])
    # Only what the label set has is asked for: any other type would be a false alarm.
    ours = {theirs: next((t for t in names if t in types), "") for theirs, names in PRESIDIO.items()}
    wanted = [theirs for theirs, name in ours.items() if name]
    return [
        keep_surest(
            {"start": r.start, "end": r.end, "label": types.index(ours[r.entity_type]), "score": float(r.score)}
            for r in analyzer.analyze(text=text, language="en", entities=wanted)
        )
        for text in texts
    ]


def _find_spacy_model() -> str | None:
    """Return the best of spaCy's models of English that is installed: left to itself, Presidio downloads one."""
    from spacy.util import is_package

    return next((name for name in _SPACY if is_package(name)), None)


def keep_surest(spans: Iterable[PredictedSpan]) -> list[PredictedSpan]:
    """Return spans without overlap, in order: of those that share a character the surest stays, or the longest."""
    # The last key makes the order, and with it the result, one and the same for spans that are equally sure and long.
    kept: list[PredictedSpan] = []
    for span in sorted(spans, key=lambda s: (-s["score"], s["start"] - s["end"], s["start"])):
        if all(span["end"] <= other["start"] or other["end"] <= span["start"] for other in kept):
            kept.append(span)
    return sorted(kept, key=lambda s: s["start"])
