"""Cards: pure functions from what a run measured to Markdown. They render again without a GPU or a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hubtools.curation.languages import list_languages
from hubtools.curation.licences import OTHER, choose_model_licence
from hubtools.evaluation.tables import describe_left_out
from hubtools.metrics.calibration import BINS
from hubtools.publishing.front_matter import FrontMatter
from hubtools.publishing.rendering import format_cell, render_template, round_significant
from hubtools.records import Record, to_json
from hubtools.records.comparison import OtherDataReport
from hubtools.records.dataset import DatasetFacts
from hubtools.records.metrics import Metrics, Primary
from hubtools.records.onnx import OnnxExport
from hubtools.records.release import Gate, Published, RouterReport
from hubtools.records.scores import Interval
from hubtools.records.studies import SourceReport
from hubtools.records.training import MultitaskRecord, TrainingRecord
from hubtools.router_contract.settings import REVISION, ServedModel, format_settings, has_place
from hubtools.spec import Metric
from hubtools.task import TaskSpec

# What the snippets on a card ask where a task has no examples.
_EXAMPLE = "The text that you want to ask about."

# Where the rows are from: our own corpus, the task's public source, or a user's own.
Origin = Literal["starter", "public", "own"]

# The Hub's words for how many rows a dataset has, each with the bound below which it holds.
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class ModelRun:
    """What the card of a model is made of.

    Attributes:
        dataset: the release of the dataset that it was trained and scored on.
        texts: of the rows that it shows as mistakes, by their id; what is not there is not shown.
        withheld: why none is, in the words of the card.
        other_data: scores on other data, as ``evaluate --dataset`` writes them.
        gate: how it was held against the version published before it; None for a first release.
        router: what was checked for the Semantic Router; None before the first push.
        onnx: the ONNX files of these weights; None where there are none.
        unseen: scores on each source by a training without it; None where that was not measured.
    """

    training: TrainingRecord
    metrics: Metrics
    facts: DatasetFacts
    dataset: Published
    texts: Mapping[str, str]
    withheld: str = ""
    other_data: Sequence[OtherDataReport] = ()
    gate: Gate | None = None
    router: RouterReport | None = None
    onnx: OnnxExport | None = None
    unseen: SourceReport | None = None


@dataclass(frozen=True)
class HeadlineRow:
    """A line of the table of scores.

    Attributes:
        scores: the model's and those of the baselines, in the order of the table's columns; None where one is
            undefined.
    """

    metric: Metric
    scores: list[Interval | float | None]

    @property
    def winners(self) -> list[int]:
        """The numbers of the columns with the best score."""
        values = {i: drop_interval(score) for i, score in enumerate(self.scores) if score is not None}
        choose = max if self.metric.greater_is_better else min
        return [i for i, value in values.items() if value == choose(values.values())]


@dataclass(frozen=True)
class OtherDataRow:
    """A line of the table of other data, with a score of each set."""

    title: str
    scores: list[Interval | float | None]


def render_model_card(task: TaskSpec, repo: str, run: ModelRun) -> str:
    """Return the card of a model that is to be released as ``repo``.

    The template is the task's own where it has one, else that of its head with the task's :class:`CardTexts`.
    """
    training, metrics, facts = run.training, run.metrics, run.facts
    # The table of scores: a line a metric, a column for this model and each baseline.
    rows = [
        HeadlineRow(metric, [_find_score(column, metric) for column in (metrics.scores, *metrics.baselines.values())])
        for metric in task.head.headlines
    ]
    # A reader who finds the model by a filter must see at once that it is a stand-in.
    starter = facts.sources[0].starter
    others = [report for report in run.other_data if not report.benchmark]
    tags = ["hubtools", "semantic-router", task.name] + (["nano"] if training.base_note else [])
    # The same numbers as in the table: what the Hub compares models by is what a reader sees.
    result = make_result(
        task, run.dataset, [(row.metric, row.scores[0]) for row in rows], _describe_rates(task, metrics)
    )
    metadata = {
        "library_name": "transformers",
        "pipeline_tag": task.head.pipeline,
        "license": choose_model_licence(facts.license.id),
        "language": list_languages(task, facts),
        **describe_base(training),
        "datasets": [run.dataset.repo],
        "metrics": [*task.head.card_metrics],
        "tags": [*tags, *(["starter-corpus"] if starter else []), *name_tracking(training)],
        "model_max_length": training.arguments.max_length,
        **_describe_emissions(training),
        # Answers go along: the Hub shows them without running the model.
        "widget": [
            {
                "text": example.text,
                "example_title": f"Example {i}",
                "output": [to_json(answer) for answer in example.output],
            }
            for i, example in enumerate((e for e in metrics.examples if e.output), 1)
        ],
        "model-index": [{"name": repo.split("/")[-1], "results": [result]}],
    }
    return render_template(
        "model_cards",
        (task.name, task.head.name),
        metadata,
        task=task,
        head=task.head,
        repo=repo,
        examples=[example.text for example in metrics.examples] or task.examples or (_EXAMPLE,),
        languages=list_languages(task, facts),
        training=training,
        metrics=metrics,
        scores=metrics.scores,
        facts=facts,
        dataset=run.dataset,
        rows=rows,
        starter=starter,
        label_set=task.label_set(facts.label_set),
        texts=run.texts,
        withheld=run.withheld,
        hardware=describe_hardware(training),
        pictures=dict(metrics.plots),
        origin=find_origin(task, facts),
        router=run.router,
        router_settings=_format_router_settings(task, repo, run),
        other_data=[(report, describe_left_out(report.rows)) for report in others],
        other_data_rows=_make_other_data_rows(others, task),
        benchmarks=[report for report in run.other_data if report.benchmark],
        unseen=run.unseen,
        unseen_metrics=task.head.list_unseen(task.label_set(facts.label_set).labels),
        gate=run.gate,
        better=_find_better_baselines(metrics),
        wins=_find_wins(rows, metrics),
        bins=BINS,
        licence=metadata["license"],
        latency=describe_latency(run.onnx, task.name),
        onnx=run.onnx,
    )


def _format_router_settings(task: TaskSpec, repo: str, run: ModelRun) -> str:
    """Return the model's part of ``router.yaml``, its revision left to be filled in; "" where there can be none."""
    labels = task.model_labels(task.label_set(run.facts.label_set))
    if run.router is None or run.router.max_tokens is None or not has_place(task.slot_of_router, labels):
        return ""
    thresholds = run.metrics.thresholds
    model = ServedModel(
        task=task.name,
        slot=task.slot_of_router,
        repo=repo,
        revision=REVISION,
        labels=labels,
        acts_on=task.head.acts_on,
        threshold=thresholds.threshold if thresholds else None,
        max_tokens=run.router.max_tokens,
    )
    return format_settings([model]).rstrip("\n")


def render_dataset_card(task: TaskSpec, repo: str, facts: DatasetFacts, info: FrontMatter) -> str:
    """Return the card of a dataset, which says nothing that is not in its facts.

    Args:
        info: the ``configs`` and ``dataset_info`` that ``datasets`` writes.
    """
    origin = find_origin(task, facts)
    starter = origin == "starter"
    metadata = {
        "pretty_name": f"Router {task.title.lower()}" + (" (starter corpus)" if starter else ""),
        "language": list_languages(task, facts),
        "license": facts.license.id,
        # What "other" means, the Hub wants to be told.
        **({"license_name": "see-sources-and-licences"} if facts.license.id == OTHER else {}),
        "task_categories": [task.head.pipeline],
        "task_ids": [*task.task_ids],
        "size_categories": [next((name for bound, name in _SIZES if facts.counts.kept < bound), "1M<n<10M")],
        "annotations_creators": [_find_annotators(task, facts)],
        "source_datasets": ["extended" if origin == "public" else "original"],
        "tags": ["hubtools", "semantic-router", task.name] + (["synthetic"] if facts.synthesis else []),
        **info,
    }
    return render_template(
        "dataset_cards",
        (task.name, task.head.name),
        metadata,
        task=task,
        head=task.head,
        repo=repo,
        facts=facts,
        languages=list_languages(task, facts),
        starter=starter,
        origin=origin,
        label_set=task.label_set(facts.label_set),
    )


def make_result(
    task: TaskSpec,
    dataset: Published,
    scores: Iterable[tuple[Metric, Interval | Primary | float | None]],
    more: Sequence[FrontMatter] = (),
) -> FrontMatter:
    """Return an entry of a card's ``model-index``: what a model reaches on the test split of ``dataset``.

    Args:
        scores: each with its value; a score without a value gets no entry.
        more: entries of its ``metrics``, as they are.
    """
    return {
        "task": {"type": task.head.pipeline, "name": task.title},
        "dataset": {
            "type": dataset.repo,
            "name": dataset.repo.split("/")[-1],
            "config": "default",
            "split": "test",
            "revision": dataset.revision,
        },
        "metrics": [
            {"type": metric.hub_type, "name": metric.title, "value": drop_interval(value)}
            for metric, value in scores
            if value is not None
        ]
        + [*more],
    }


def describe_base(training: TrainingRecord | MultitaskRecord) -> dict[str, str]:
    """Return the keys that name the base; a base from a folder has no page on the Hub to point to."""
    # A revision is known of what the Hub has.
    if not training.base_revision:
        return {}
    return {"base_model": training.base, "base_model_relation": "finetune"}


def name_tracking(training: TrainingRecord | MultitaskRecord) -> list[str]:
    """Return the tags by which the Hub shows a Trackio Space on the model's page; none where there is no Space."""
    return ["trackio", f"trackio:{training.trackio}"] if training.trackio else []


def describe_hardware(training: TrainingRecord | MultitaskRecord) -> str:
    """Return the device, and how many processes shared the training."""
    return f"{training.device}, {training.processes} process{'es' * (training.processes > 1)}"


def find_origin(task: TaskSpec, facts: DatasetFacts) -> Origin:
    """Return where the rows of a dataset are from."""
    # By the first source: what joins the training split does not decide where the rows are from.
    main = facts.sources[0]
    if main.starter:
        return "starter"
    return "public" if main.id in {source.id for source in task.whole_sources} else "own"


def describe_access(task: TaskSpec) -> FrontMatter:
    """Return what readers of a gated repo are asked; without these keys the Hub asks in its own words."""
    if not task.access_prompt:
        return {}
    return {"extra_gated_prompt": task.access_prompt, "extra_gated_fields": dict(task.access_fields)}


def drop_interval(value: Interval | Primary | float) -> float:
    """Return a score without its interval, as a plain float."""
    return float(value.value if isinstance(value, Interval | Primary) else value)


def _find_better_baselines(metrics: Metrics) -> list[tuple[str, float]]:
    """Return name and primary score of each baseline that the model does not beat, the best first."""
    key, ours = metrics.primary.key, metrics.primary.value
    # Versions of the model itself are no baselines: those are what the gate is for.
    scores = [(name, drop_interval(getattr(b, key))) for name, b in metrics.baselines.items() if not b.version]
    return sorted(((name, score) for name, score in scores if score >= ours), key=lambda item: -item[1])


def _find_wins(rows: Sequence[HeadlineRow], metrics: Metrics) -> dict[str, list[str]]:
    """Return the scores in which a baseline is ahead of the model, by its name."""
    columns = [(i, name) for i, (name, baseline) in enumerate(metrics.baselines.items(), 1) if not baseline.version]
    ahead = {
        name: [row.metric.title for row in rows if i in row.winners and 0 not in row.winners] for i, name in columns
    }
    return {name: titles for name, titles in ahead.items() if titles}


def describe_latency(onnx: OnnxExport | None, name: str) -> str:
    """Return what the first screen of a card says of latencies: of a short prompt, on the fewest threads.

    Args:
        name: what ``hubtools export`` calls the model.
    """
    if onnx is None:
        return f"not measured: `hubtools export {name} --to onnx` does"
    # A prompt has some hundred tokens.
    took = min(onnx.speed.latencies, key=lambda took: (abs(took.tokens - 128), took.threads))
    titles = {"torch": "torch", "fp32": "ONNX Runtime fp32", "int8": "ONNX Runtime int8"}
    each = ", ".join(f"{titles[form]} {ms.p50:.2f} ms" for form, ms in took.milliseconds.items())
    threads = f"{took.threads} thread{'s' * (took.threads > 1)}"
    return f"{took.tokens} tokens on {format_cell(onnx.speed.processor)}, {threads}: {each}"


def _find_score(scores: Record, metric: Metric) -> Interval | float | None:
    """Return a score; None where these scores do not have it."""
    score: Interval | float | None = getattr(scores, metric.key, None)
    return score


def _describe_rates(task: TaskSpec, metrics: Metrics) -> list[FrontMatter]:
    """Return entries of a ``model-index`` for the rates at the threshold that a model ships with; none without one."""
    if metrics.thresholds is None:
        return []
    rates = [(metric, _find_score(metrics.scores, metric)) for metric in task.head.at_threshold]
    return [
        {
            "type": metric.hub_type,
            "name": metric.title,
            "value": drop_interval(rate),  # a plain number: the Hub refuses anything else
            "args": {"threshold": float(metrics.thresholds.threshold)},
        }
        for metric, rate in rates
        if rate is not None
    ]


def _make_other_data_rows(reports: Sequence[OtherDataReport], task: TaskSpec) -> list[OtherDataRow]:
    """Return lines of the table of other data; a score that none of them has gets no line."""
    # Sets of other data differ in what they ask: a metric is shown where any of them has it.
    rows = [OtherDataRow(m.title, [_find_score(report.scores, m) for report in reports]) for m in task.head.table]
    return [row for row in rows if any(score is not None for score in row.scores)]


def _describe_emissions(training: TrainingRecord) -> FrontMatter:
    """Return the Hub's key, in grams, where the training was measured."""
    measured = training.emissions
    if measured is None:
        return {}
    return {
        "co2_eq_emissions": {
            "emissions": round_significant(1000 * measured.co2_kg),  # the Hub counts in grams
            "source": measured.tool,
            "training_type": "fine-tuning",
            **({"geographical_location": measured.country} if measured.country else {}),
            "hardware_used": describe_hardware(training),
        }
    }


def _find_annotators(task: TaskSpec, facts: DatasetFacts) -> str:
    """Return who made the labels, as the source of the rows says; of a user's own data nobody here knows."""
    # As with the origin, the first source speaks for the dataset.
    known = [*task.sources, *([task.starter] if task.starter else [])]
    return next((source.annotators for source in known if source.id == facts.sources[0].id), "other")
