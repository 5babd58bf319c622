"""Which texts a card shows with the model's answers, and whether it may."""

from __future__ import annotations

from hubtools.curation.licences import OTHER
from hubtools.errors import MissingStage
from hubtools.records.dataset import DatasetFacts
from hubtools.records.metrics import Metrics
from hubtools.records.release import Published
from hubtools.task import TaskSpec
from hubtools.workdir import TaskFolder

_MOST_EXAMPLES = 3


def find_reason_to_withhold(facts: DatasetFacts, dataset: Published | None) -> str:
    """Return why what is published with a model, and may be public, holds no text of the dataset; "" where it may.

    Args:
        dataset: its release; None where it was not pushed yet.
    """
    if facts.license.id == OTHER:
        return "the licence of a source does not allow to hand them on"
    return "" if dataset is None or dataset.access == "public" else f"the dataset is {dataset.access}"


def choose_examples(task: TaskSpec, folder: TaskFolder) -> list[str]:
    """Return texts that the card shows with their answers: the task's own, or rows of somebody's own data.

    English prompts of ours would say nothing of a model of other texts.
    """
    facts = folder.read_facts()
    if task.examples and (task.file or task.owns(facts.sources[0].id)):
        return [*task.examples]
    dataset = folder.read_published("push-dataset").dataset if folder.published.exists() else None
    if find_reason_to_withhold(facts, dataset):
        return []
    return [example.text for example in facts.examples][:_MOST_EXAMPLES]


def check_examples(task: TaskSpec, facts: DatasetFacts, dataset: Published | None, metrics: Metrics) -> str:
    """Return why no text of the dataset may be published with its model, "" where it may.

    Raises:
        MissingStage: none may be, and scores hold some, since they were made before that was so.
    """
    withheld = find_reason_to_withhold(facts, dataset)
    if withheld and not {example.text for example in metrics.examples} <= {*task.examples}:
        raise MissingStage(
            f"The scores of {task.name!r} hold rows of a dataset that not everybody may read",
            expected=f"scores without any, as {withheld}",
            found="scores that were made before that was so",
            next=f"hubtools evaluate {task.name}",
        )
    return withheld
