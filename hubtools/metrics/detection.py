"""Metrics of a detection: two labels, of which one, the positive one, is looked for by its probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from hubtools.lazy_numpy import np
from hubtools.metrics.labels import LabelAnswers, read_label_answers
from hubtools.spec import Metric


@dataclass(frozen=True)
class DetectionAnswers(LabelAnswers):
    """Answers of a detection.

    Attributes:
        threshold: rows whose score is at least this are flagged.
        positive: (rows,) whether the true label is the positive one.
        score: (rows,) probability of the positive label.
    """

    positive: np.ndarray
    score: np.ndarray

    def take(self, rows: np.ndarray) -> Self:
        """Return the rows with these numbers."""
        return type(self)(
            self.labels[rows],
            self.predicted[rows],
            self.confidence[rows],
            self.classes,
            self.threshold,
            self.positive[rows],
            self.score[rows],
        )

    @property
    def flagged(self) -> np.ndarray:
        """(rows,): whether the score reaches the threshold."""
        # At least, not above: the router flags a score that equals its threshold.
        return self.score >= self.threshold


def read_detection_answers(labels: object, probabilities: object, positive: int, threshold: float) -> DetectionAnswers:
    """Take the probability of the class ``positive``; see :func:`~hubtools.metrics.labels.read_label_answers`."""
    p = np.asarray(probabilities, dtype=float)
    answers = read_label_answers(labels, p, threshold)
    return DetectionAnswers(
        answers.labels,
        answers.predicted,
        answers.confidence,
        answers.classes,
        threshold,
        answers.labels == positive,
        p[:, positive],
    )


def recall_at_fpr(positive: np.ndarray, score: np.ndarray, limit: float) -> float:
    """Return the largest recall of a threshold whose false positive rate is at most ``limit``.

    It agrees with scikit-learn's ``roc_curve`` at a twentieth of the time: the bootstrap asks a thousand times. It is
    nan without both classes.
    """
    if positive.all() or not positive.any():
        return float("nan")
    order = np.argsort(-score)
    hits, false_alarms = np.cumsum(positive[order]), np.cumsum(~positive[order])
    last_of_tie = np.append(np.diff(score[order]) != 0, True)  # equal scores are flagged together
    within_limit = last_of_tie & (false_alarms / false_alarms[-1] <= limit)
    # Nothing flagged keeps every limit: a recall of 0, where no threshold does better.
    return float(hits[within_limit].max(initial=0) / hits[-1])


def roc_auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Return how often a positive row scores above a negative one, a tie being half; nan without both classes."""
    from scipy.stats import rankdata

    count = int(positive.sum())
    if count in (0, len(positive)):
        return float("nan")
    # The Mann-Whitney statistic: the ranks of the positive rows, less what they would be with no negative row below.
    negatives_below = rankdata(score)[positive].sum() - count * (count + 1) / 2
    return float(negatives_below / (count * (len(positive) - count)))


def average_precision(positive: np.ndarray, score: np.ndarray) -> float:
    """Return the area under the precision-recall curve, as scikit-learn's steps have it; nan without a positive row."""
    if not positive.any():
        return float("nan")
    order = np.argsort(-score)
    hits = np.cumsum(positive[order])
    # Only thresholds that exist are points of the curve: within a tie there is none.
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    precision = (hits / np.arange(1, len(hits) + 1))[last_of_tie]
    return float((np.diff(hits[last_of_tie], prepend=0) * precision).sum() / hits[-1])


def matched_roc_auc(positive: np.ndarray, score: np.ndarray, stratum: np.ndarray) -> float:
    """Return :func:`roc_auc` over the pairs within a stratum alone; nan without such a pair.

    Args:
        stratum: (rows,), small non-negative integers.
    """
    from scipy.stats import rankdata

    # One ranking for all strata, because the bootstrap calls this a thousand times and a loop over strata is slow.
    _, score_index = np.unique(score, return_inverse=True)
    ranks = rankdata(stratum * len(score) + score_index)  # a higher stratum stands above all of a lower one
    rows = np.bincount(stratum)
    positives = np.bincount(stratum, positive, len(rows))
    # Less the rows of lower strata, a rank is the one within the stratum; from there on it is as in roc_auc.
    rows_of_lower_strata = (np.cumsum(rows) - rows)[stratum]
    pairs_won = (ranks - rows_of_lower_strata)[positive].sum() - (positives * (positives + 1) / 2).sum()
    pairs = (positives * (rows - positives)).sum()
    return float(pairs_won / pairs) if pairs else float("nan")


def _roc_auc(answers: DetectionAnswers) -> float:
    return roc_auc(answers.positive, answers.score)


def _average_precision(answers: DetectionAnswers) -> float:
    return average_precision(answers.positive, answers.score)


def _recall_at_1_fpr(answers: DetectionAnswers) -> float:
    return recall_at_fpr(answers.positive, answers.score, 0.01)


def _recall_at_5_fpr(answers: DetectionAnswers) -> float:
    return recall_at_fpr(answers.positive, answers.score, 0.05)


def count_false_alarms(answers: DetectionAnswers) -> tuple[int, int]:
    """Count the negative rows that are flagged, of all negative rows."""
    return int((answers.flagged & ~answers.positive).sum()), int((~answers.positive).sum())


def count_missed(answers: DetectionAnswers) -> tuple[int, int]:
    """Count the positive rows that are not flagged, of all positive rows."""
    return int((~answers.flagged & answers.positive).sum()), int(answers.positive.sum())


def count_caught(answers: DetectionAnswers) -> tuple[int, int]:
    """Count the positive rows that are flagged, of all positive rows."""
    return int((answers.flagged & answers.positive).sum()), int(answers.positive.sum())


# Shares of rows have exact intervals, and the others bootstrapped ones: see Metric.
ROC_AUC = Metric("roc_auc", "ROC-AUC", _roc_auc, "roc_auc")
PR_AUC = Metric("pr_auc", "PR-AUC", _average_precision, "pr_auc")
# The Hub has no name for these two: their keys stand in its place.
RECALL_AT_1_FPR = Metric("recall_at_1_fpr", "recall at 1% FPR", _recall_at_1_fpr, "recall_at_1_fpr")
RECALL_AT_5_FPR = Metric("recall_at_5_fpr", "recall at 5% FPR", _recall_at_5_fpr, "recall_at_5_fpr")
FPR_AT_THRESHOLD = Metric.share("fpr_at_threshold", "FPR at the threshold", count_false_alarms, greater_is_better=False)
FNR_AT_THRESHOLD = Metric.share("fnr_at_threshold", "FNR at the threshold", count_missed, greater_is_better=False)
RECALL_AT_THRESHOLD = Metric.share("recall_at_threshold", "recall at the threshold", count_caught)
