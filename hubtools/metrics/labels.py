"""Metrics of one label a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from hubtools.lazy_numpy import np
from hubtools.spec import Metric


@dataclass(frozen=True)
class LabelAnswers:
    """One true and one predicted label a row.

    Attributes:
        labels: (rows,) indices of the true labels.
        predicted: (rows,) indices of the predicted ones.
        confidence: (rows,) probabilities of the predicted ones.
        classes: how many labels there are.
        threshold: answers of less confidence count as unsure.
    """

    # Arrays, as every metric is computed on a thousand resamples.
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    classes: int
    threshold: float

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Self:
        """Return the rows with these numbers."""
        return type(self)(self.labels[rows], self.predicted[rows], self.confidence[rows], self.classes, self.threshold)

    def at(self, threshold: float) -> Self:
        """Return the same answers, judged at ``threshold``."""
        return replace(self, threshold=threshold)

    def replace_unsure(self, fallback: int) -> Self:
        """Return the answers with the label ``fallback`` predicted below the threshold."""
        return replace(self, predicted=np.where(self.confidence >= self.threshold, self.predicted, fallback))

    @property
    def right(self) -> np.ndarray:
        """(rows,): whether the predicted label is the true one."""
        right: np.ndarray = self.predicted == self.labels
        return right

    @property
    def confusion(self) -> np.ndarray:
        """(classes, classes) counts: a row holds the rows of one true label."""
        # One count over the flattened matrix: the bootstrap needs a thousand of them.
        cells = self.labels * self.classes + self.predicted
        return np.bincount(cells, minlength=self.classes**2).reshape(self.classes, self.classes)


def read_label_answers(labels: object, probabilities: object, threshold: float = 0.0) -> LabelAnswers:
    """Take the most probable label of each row.

    Args:
        labels: (rows,) indices. probabilities: (rows, classes).
    """
    p = np.asarray(probabilities, dtype=float)
    return LabelAnswers(np.asarray(labels, dtype=int), p.argmax(1), p.max(1), p.shape[1], threshold)


def precision_recall_f1(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision, recall and F1 of each class, 0 where they are undefined, as scikit-learn counts them."""
    # Where a denominator is 0 so is its numerator, which makes the score 0.
    hits, predicted, support = np.diag(confusion), confusion.sum(0), confusion.sum(1)
    return (
        hits / np.maximum(predicted, 1),
        hits / np.maximum(support, 1),
        2 * hits / np.maximum(predicted + support, 1),
    )


def mean_of_present(values: np.ndarray, support: np.ndarray) -> float:
    """Return the mean over the classes that occur: a macro average."""
    # A class without rows has no recall, and a resample often lacks a rare class.
    return float(np.mean(values[support > 0]))


def mean_by_support(values: np.ndarray, support: np.ndarray) -> float:
    """Return the mean in which each class counts by its rows: a weighted average."""
    return float(np.average(values, weights=support))


def accuracy(answers: LabelAnswers) -> float:
    """Return the share of rows whose predicted label is the true one."""
    return float(answers.right.mean())


def macro_f1(answers: LabelAnswers) -> float:
    """Return the mean F1 of the classes that occur, as scikit-learn counts it."""
    confusion = answers.confusion
    return mean_of_present(precision_recall_f1(confusion)[2], confusion.sum(1))


def weighted_f1(answers: LabelAnswers) -> float:
    """Return the mean F1 in which each class counts by its rows."""
    confusion = answers.confusion
    return mean_by_support(precision_recall_f1(confusion)[2], confusion.sum(1))


# Counts instead of shares, so that the interval of a share can be exact; see Metric.share.
def count_answered(answers: LabelAnswers) -> tuple[int, int]:
    """Count the rows at or above the threshold, of all rows."""
    return int((answers.confidence >= answers.threshold).sum()), len(answers)


def count_right_of_answered(answers: LabelAnswers) -> tuple[int, int]:
    """Count the right answers at or above the threshold, of all answers there."""
    answered = answers.confidence >= answers.threshold
    return int((answered & answers.right).sum()), int(answered.sum())


def make_fallback_metric(fallback: int, label: str) -> Metric:
    """Return the share of the rows of the fallback that end there: answered with it, or too unsure to be answered.

    Args:
        fallback: index of the label that an unsure answer becomes, which is called ``label``.
    """

    def count(answers: LabelAnswers) -> tuple[int, int]:
        theirs = answers.labels == fallback
        return int((theirs & (answers.replace_unsure(fallback).predicted == fallback)).sum()), int(theirs.sum())

    return Metric.share("fallback_reached", f"`{label}` answered so, or unsure", count)


ACCURACY = Metric("accuracy", "accuracy", accuracy, "accuracy")
MACRO_F1 = Metric("macro_f1", "macro F1", macro_f1, "f1")
WEIGHTED_F1 = Metric("weighted_f1", "weighted F1", weighted_f1, "f1")
ANSWERED = Metric.share("answered", "answered at the threshold", count_answered)
ACCURACY_OF_ANSWERED = Metric.share("accuracy_of_answered", "accuracy of what is answered", count_right_of_answered)
