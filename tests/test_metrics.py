"""Metrics as modules of the library evaluate, and against the libraries that others score with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hubtools.metrics import detection, labels, script, spans
from hubtools.metrics.intervals import bootstrap, score_metric, score_metrics
from hubtools.spec import Metric

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")

OFFLINE = f"""
import json, socket
def refuse(*_, **__):
    raise OSError("no network here")
socket.socket.connect = refuse
import evaluate
scripts = {{name: "{script("span_f1").parent}/" + name + ".py" for name in
            ("span_f1", "recall_at_fpr", "expected_calibration_error")}}
ours = evaluate.load(scripts["span_f1"])
span = {{"start": 0, "end": 4, "label": "PER"}}
spans = ours.compute(predictions=[[span], [span]], references=[[span], []])
both = evaluate.combine([evaluate.load(scripts["recall_at_fpr"]), evaluate.load(scripts["expected_calibration_error"])])
p = [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]
print(json.dumps([spans, both.compute(predictions=p, references=[0, 0, 1, 1])]))
"""


def test_evaluate_loads_and_combines_our_metrics_without_a_network(tmp_path: Path) -> None:
    import json

    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", OFFLINE], capture_output=True, text=True, env=env, check=True)
    found, both = json.loads(done.stdout.splitlines()[-1])
    assert found == {
        "entity_f1": pytest.approx(2 / 3),
        "entity_precision": 0.5,
        "entity_recall": 1.0,
        "overlap_f1": pytest.approx(2 / 3),
        "macro_f1": pytest.approx(2 / 3),
    }
    assert both == {
        "recall_at_1_fpr": 1.0,
        "recall_at_5_fpr": 1.0,
        "expected_calibration_error": pytest.approx((0.1 + 0.6 + 0.3 + 0.2) / 4),
    }


def test_spans_of_tags_are_those_of_seqeval() -> None:
    from seqeval.metrics import f1_score, precision_score, recall_score
    from seqeval.metrics.sequence_labeling import get_entities

    rng = np.random.default_rng(0)
    rows = [[TAGS[i] for i in rng.integers(0, len(TAGS), rng.integers(0, 12))] for _ in range(400)]
    for tags in rows:
        assert spans.read_tag_spans(tags) == {(start, end + 1, kind) for kind, start, end in get_entities(tags)}
    true, predicted = rows[:200], [[tag if rng.random() < 0.8 else "O" for tag in tags] for tags in rows[:200]]
    answers = spans.read_tag_answers(true, predicted, ("PER", "LOC"))
    assert spans.ENTITY_F1.function(answers) == pytest.approx(f1_score(true, predicted), abs=1e-12)
    assert spans.ENTITY_PRECISION.function(answers) == pytest.approx(precision_score(true, predicted), abs=1e-12)
    assert spans.ENTITY_RECALL.function(answers) == pytest.approx(recall_score(true, predicted), abs=1e-12)


def test_metrics_of_labels_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score, roc_curve

    rng = np.random.default_rng(1)
    for classes in (2, 2, 5):
        p = np.round(rng.dirichlet(np.ones(classes), 300), 2)  # rounded, so that some scores are equal
        y = np.where(rng.random(300) < 0.6, p.argmax(1), rng.integers(0, classes, 300))
        answers = labels.read_label_answers(y, p)
        assert labels.ACCURACY.function(answers) == pytest.approx(accuracy_score(y, p.argmax(1)), abs=1e-12)
        for metric, average in ((labels.MACRO_F1, "macro"), (labels.WEIGHTED_F1, "weighted")):
            assert metric.function(answers) == pytest.approx(f1_score(y, p.argmax(1), average=average), abs=1e-12)
        if classes == 2:
            one = detection.read_detection_answers(y, p, 1, 0.5)
            assert detection.ROC_AUC.function(one) == pytest.approx(roc_auc_score(y, p[:, 1]), abs=1e-12)
            assert detection.PR_AUC.function(one) == pytest.approx(average_precision_score(y, p[:, 1]), abs=1e-12)
            fpr, tpr, _ = roc_curve(y, p[:, 1])
            assert detection.RECALL_AT_5_FPR.function(one) == pytest.approx(tpr[fpr <= 0.05].max(), abs=1e-12)


def test_an_interval_is_the_same_alone_and_beside_others() -> None:
    rng = np.random.default_rng(2)
    answers = labels.read_label_answers(rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50), 0.6)
    metrics: tuple[Metric, ...] = (labels.ACCURACY, labels.MACRO_F1, labels.ANSWERED)
    found = score_metrics(metrics, answers)
    assert found["macro_f1"] == score_metric(labels.MACRO_F1, answers, np.arange(50))
    assert found["accuracy"] == bootstrap(lambda rows: float(answers.right[rows].mean()), np.arange(50))
    exact = found["answered"]
    assert exact is not None
    assert exact.value == labels.ANSWERED.function(answers)


def test_a_metric_knows_which_way_is_better() -> None:
    assert labels.MACRO_F1.greater_is_better
    assert not detection.FPR_AT_THRESHOLD.greater_is_better
    assert not spans.FALSE_ALARMS.greater_is_better
