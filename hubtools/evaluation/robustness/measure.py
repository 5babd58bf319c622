"""``hubtools robustness``: ask the model of the work folder what its head's probes hold, and write what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hubtools.errors import MissingStage, UsageError
from hubtools.evaluation.classifiers import open_classifier
from hubtools.evaluation.robustness.materials import load_materials
from hubtools.heads.inference import Tick
from hubtools.heads.probes import Materials, ProbePart
from hubtools.heads.values import Column, Rows
from hubtools.metrics.intervals import number_groups, score_metrics
from hubtools.records import write_record
from hubtools.records.metrics import Metrics
from hubtools.records.robustness import Condition, MeasuredPart, RobustnessReport
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder, sha256_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROBUSTNESS = 1  # bumped when the report says more, or asks otherwise
LIMIT = 200
LEAST = 20  # rows of a kind below which no share says anything


@dataclass(frozen=True)
class Plan:
    """What will be asked.

    Attributes:
        rows: of the test split; ``labels`` are those of its label set.
        flip_texts: texts that the search for flipping words asks at most.
    """

    fingerprint: str
    label_set: LabelSet
    threshold: float
    rows: Rows
    materials: Materials
    parts: Sequence[ProbePart]
    flip_texts: int

    @property
    def texts(self) -> list[str]:
        """All texts of all parts, each once."""
        asked = (text for part in self.parts for rows in part.conditions.values() for text in rows["text"])
        return [*dict.fromkeys(asked)]

    def count_texts(self) -> dict[str, int]:
        """Return how many texts each part asks, by its title; of the search for flipping words, at most."""
        counts = {part.title: sum(len(rows["text"]) for rows in part.conditions.values()) for part in self.parts}
        return counts | ({"Harmless words before and behind a text": self.flip_texts} if self.flip_texts else {})


def plan_probes(task: TaskSpec, folder: TaskFolder, limit: int, seed: int) -> Plan:
    """Return what is asked of the model in ``folder``; its weights are not loaded.

    Raises:
        MissingStage: there is no model, no test split, or the scores are those of other weights.
        UsageError: a limit that says nothing.
    """
    if limit < LEAST:
        raise UsageError(
            "--limit", expected=f"{LEAST} rows of a kind or more: of fewer no share says anything", found=str(limit),
            next=f"hubtools robustness {task.name} --limit 50",
        )  # fmt: skip
    import pyarrow.parquet as pq
    from transformers import AutoTokenizer

    weights = folder.need(folder.model / "model.safetensors", "finetune")
    test = folder.need(folder.split_file("test"), "curate")
    metrics, facts = folder.read_metrics(), folder.read_facts()
    digest = sha256_of(weights)
    if metrics.weights_sha256 != digest:
        raise MissingStage(
            f"The scores of {task.name!r} are those of other weights, and so would be the threshold",
            expected=f"scores of {digest[:8]}", found=f"scores of {metrics.weights_sha256[:8]}",
            next=f"hubtools evaluate {task.name}",
        )  # fmt: skip
    label_set = task.label_set(facts.label_set)
    threshold = metrics.thresholds.threshold if metrics.thresholds else task.head.plain_threshold
    causes = [digest, sha256_of(test), task.version, threshold, limit, seed, ROBUSTNESS]
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder.model)
    materials = load_materials(
        limit, seed, lambda text: len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    )
    columns: Any = pq.read_table(test, columns=["text", "group", task.head.truth]).to_pydict()
    rows: Rows = columns
    return Plan(
        fingerprint=hashlib.sha256(json.dumps(causes).encode()).hexdigest(),
        label_set=label_set,
        threshold=threshold,
        rows=rows,
        materials=materials,
        parts=[*task.head.list_probes(rows, label_set.labels, threshold, materials)],
        flip_texts=task.head.count_flip_texts(rows, label_set.labels, materials),
    )


def measure_robustness(
    task: TaskSpec, folder: TaskFolder, *, limit: int = LIMIT, seed: int = 0, note: Callable[[str], None]
) -> RobustnessReport:
    """Ask the model in ``folder`` what its test split does not, write the report into ``metrics.json``, and return it.

    Skipped while neither the weights, the test rows, the threshold, the limit nor the seed have changed.

    Args:
        limit: most rows of a kind that each part asks.
        seed: of which rows these are, and how they are changed.

    Raises:
        MissingStage, UsageError: as :func:`plan_probes` says.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]

    with folder.lock(note):
        plan = plan_probes(task, folder, limit, seed)
        metrics = folder.read_metrics()
        if metrics.robustness and metrics.robustness.fingerprint == plan.fingerprint:
            note(f"{task.name}: the robustness report is up to date")
            return metrics.robustness
        total = len(plan.texts) + plan.flip_texts
        with tqdm(total=total, desc=f"{task.name}: robustness", unit="text", leave=False, disable=None) as bar:
            report = _ask(task, folder, plan, metrics, bar.update)
        write_record(folder.metrics, replace(metrics, robustness=report))
        return report


def _ask(task: TaskSpec, folder: TaskFolder, plan: Plan, metrics: Metrics, tick: Tick) -> RobustnessReport:
    classifier = open_classifier(task, plan.label_set, str(folder.model), {})
    labels = plan.label_set.labels

    def ask(texts: Sequence[str]) -> Column:
        return task.head.predict(classifier.pipeline, classifier.plan, texts, labels, tick).answers

    texts = plan.texts
    answers: dict[str, object] = dict(zip(texts, ask(texts), strict=True))
    return RobustnessReport(
        fingerprint=plan.fingerprint,
        weights_sha256=metrics.weights_sha256,
        threshold=metrics.shipped_threshold,
        limit=plan.materials.limit,
        seed=plan.materials.seed,
        parts=[_score_part(task, part, answers) for part in plan.parts],
        flips=task.head.search_flips(plan.rows, labels, plan.threshold, plan.materials, ask),
    )


def _score_part(task: TaskSpec, part: ProbePart, answers: dict[str, object]) -> MeasuredPart:
    conditions = []
    for name, rows in part.conditions.items():
        truth = task.head.read_truth(rows)
        joined = task.head.join_answers(truth, [answers[text] for text in rows["text"]])
        scores = score_metrics(part.metrics, part.read(joined), number_groups(rows["group"]))
        conditions.append(Condition(name=name, rows=len(rows["text"]), scores=scores))
    return MeasuredPart(
        key=part.key,
        title=part.title,
        about=part.about,
        metrics={metric.key: metric.title for metric in part.metrics},
        conditions=conditions,
    )


def keep_robustness(metrics: Metrics, before: Metrics | None) -> Metrics:
    """Return ``metrics`` with the report that was there, where it is of the same weights and threshold."""
    found = before.robustness if before else None
    same = found and (found.weights_sha256, found.threshold) == (metrics.weights_sha256, metrics.shipped_threshold)
    return replace(metrics, robustness=found) if same else metrics
