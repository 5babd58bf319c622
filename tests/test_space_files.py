"""What push-space puts into a Space: the app's files, the thresholds' curve, and a port that is taken."""

from __future__ import annotations

import ast
import socket
from typing import Any

import numpy as np
import pytest

from hubtools.errors import HubtoolsError
from hubtools.heads.curves import measure_abstention_curve, measure_curve, measure_detection_curve, measure_span_curve
from hubtools.metrics.detection import read_detection_answers
from hubtools.metrics.labels import read_label_answers
from hubtools.metrics.spans import count_false_alarms, read_span_answers, strict_prf
from hubtools.publishing.space_files import list_app_files
from hubtools.publishing.space_server import run_space
from hubtools.tasks import TASKS


def test_the_modules_that_read_texts_stand_beside_the_app_and_import_nothing_of_ours() -> None:
    files = list_app_files(["regex==1"])
    assert {"app.py", "style.css", "page.js", "texts.json", "requirements.txt", "reading.py", "words.py"} <= set(files)
    for name, content in files.items():
        if not name.endswith(".py"):
            continue
        text = content.decode() if isinstance(content, bytes) else content.read_text()
        imported = {node.module or "" for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
        assert not {module for module in imported if module.startswith("hubtools")}, name


def find_point(curve: list[tuple[float, float, float]], limit: float) -> tuple[float, float]:
    """What the page reads of a curve at a threshold."""
    return [point for point in curve if point[0] >= limit][-1][1:]


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_of_a_detection_is_exact_at_every_position_of_a_slider(seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores, labels = draw.choice([0, 0.25, 0.5, 0.961, 1, *draw.random(30)], 60), draw.integers(0, 2, 60)
    curve = measure_detection_curve(read_detection_answers(labels, np.stack([1 - scores, scores], 1), 1, 0.5))
    for limit in np.round(np.arange(0, 1.0005, 0.001), 3):
        caught, stopped = (scores[labels == label] >= limit for label in (1, 0))
        assert find_point(curve, limit) == pytest.approx((caught.mean(), stopped.mean()), abs=1e-4), limit


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_of_a_fallback_is_exact_at_every_position_of_a_slider(seed: int) -> None:
    draw = np.random.default_rng(seed)
    probabilities, labels = draw.dirichlet([1, 1, 1], 60), draw.integers(0, 3, 60)
    curve = measure_abstention_curve(read_label_answers(labels, probabilities, 0.0))
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    for limit in np.round(np.arange(0, 1.0005, 0.001), 3):
        kept = confidence >= limit
        accuracy = right[kept].mean() if kept.any() else 0
        assert find_point(curve, limit) == pytest.approx((kept.mean(), accuracy), abs=1e-4), limit


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_of_spans_is_exact_at_every_position_of_a_slider(seed: int) -> None:
    draw = np.random.default_rng(seed)

    def draw_spans(most: int) -> list[Any]:
        starts = draw.choice(6, draw.integers(0, most + 1), replace=False).tolist()
        return [
            {
                "start": start,
                "end": start + 1,
                "label": int(draw.integers(2)),
                "score": float(draw.choice([0, 1, draw.random()])),
            }
            for start in starts
        ]

    true, predicted = [draw_spans(2) for _ in range(150)], [draw_spans(4) for _ in range(150)]
    head = TASKS["pii"].head
    curve = measure_curve(
        head, {"spans": true, "predicted_spans": predicted}, head.model_labels(TASKS["pii"].label_set())
    )
    assert 10 < len(curve) < 1001
    for limit in np.round(np.arange(0, 1.0005, 0.001), 3):
        kept = [[span for span in row if span["score"] >= limit] for row in predicted]
        answers = read_span_answers(true, kept, 2)
        alarms, clean = count_false_alarms(answers)
        assert find_point(curve, limit) == pytest.approx((strict_prf(answers.total)[1], alarms / clean), abs=1e-4), (
            limit
        )


def test_a_head_without_a_threshold_of_a_label_has_no_curve() -> None:
    assert measure_curve(TASKS["intent"].head, {}, ["O", "B-PERSON"]) == []


def test_a_split_of_one_class_has_no_curve() -> None:
    answers = read_detection_answers([1, 1], [[0.2, 0.8], [0.6, 0.4]], 1, 0.5)
    assert measure_detection_curve(answers) == []
    found: Any = {"start": 0, "end": 1, "label": 0, "score": 0.5}
    assert measure_span_curve([[found]], [[found]]) == measure_span_curve([[]], [[found]]) == []


def test_a_taken_port_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *args, **options: ".")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(HubtoolsError, match=f"cannot listen on port {port}"):
            run_space("ann/space", port)
