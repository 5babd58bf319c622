"""Ask every question of a text, from published models, as a router does before a language model sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from hubtools.connection import find_first_repo, find_namespace
from hubtools.errors import UsageError
from hubtools.evaluation.classifiers import Classifier, open_classifier
from hubtools.heads.answers import Answer
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.tasks import MODERNBERT, NANO, TASKS


class Router:
    """The answers of all tasks to a text.

    Each model is loaded once, at its newest commit, and answers on the CPU, or on the first GPU where there is one.

    Args:
        models: a repo (``owner/name``) or a folder for each task, by the task's name. Left out: the repos that hubtools
            publishes under ``namespace``, of ModernBERT-base or else of the nano model.
        namespace: owner of the repos that are looked for; by default the owner of your token.
        tasks: what the names of ``models`` stand for; by default the four built-in tasks. A task of your own is added
            with ``tasks=[hubtools.load_task("toxicity.yaml")]``.

    Raises:
        UsageError: a name that is no task, a repo that is missing, or a model that does not answer its task.
        HubUnavailable: no token, where the repos have to be looked for.
    """

    def __init__(
        self,
        models: Mapping[str, str | Path] | None = None,
        *,
        namespace: str | None = None,
        tasks: Iterable[TaskSpec] = tuple(TASKS.values()),
    ) -> None:
        # Before anything is loaded: a model takes seconds, and a name that is wrong takes none.
        known = {task.name: task for task in tasks}
        if models is None:
            # Asked of the Hub one by one: a router with three of four models would answer wrongly without a word.
            models = {task.name: _find_model(task, find_namespace(namespace)) for task in known.values()}
        unknown = [name for name in models if name not in known]
        if unknown:
            raise UsageError(
                f"Unknown task {unknown[0]!r}",
                expected="one of " + ", ".join(known),
                found=unknown[0],
                next="give a task of your own with tasks=[hubtools.load_task(FILE)]",
            )
        self.tasks = {name: known[name] for name in models}
        # Now, so that a model that cannot be loaded is an error here and not at the first prompt.
        self._opened = {name: _open_model(known[name], str(model)) for name, model in models.items()}

    def __call__(self, text: str) -> dict[str, Answer]:
        """Return the answer of each task to ``text``, by the task's name.

        Of a long text a classification reads the beginning; a detection and spans read all of it, in overlapping
        windows. The answer says how much was read. An empty text is asked as it is.
        """
        answers = {}
        for name, (classifier, label_set) in self._opened.items():
            task, labels = self.tasks[name], label_set.labels
            # One text at a time, as a router gets them.
            predicted = task.head.predict(classifier.pipeline, classifier.plan, [text], labels)
            answers[name] = replace(
                task.head.decide(predicted.answers[0], labels, classifier.choose_threshold(task)),
                tokens_read=predicted.tokens_read[0],
                windows=predicted.windows[0],
                truncated=predicted.truncated[0],
            )
        return answers


def _find_model(task: TaskSpec, owner: str) -> str:
    """Return the repo that hubtools would publish the task's model as; raises :class:`UsageError` for none."""
    # The larger base first: where both are there, the nano model is the stand-in.
    names = [f"{owner}/{task.model_name.format(base=base.short_name)}" for base in (MODERNBERT, NANO)]
    repo = find_first_repo(names, "model")
    if repo is None:
        raise UsageError(
            f"There is no {task.name} model of {owner!r} on this Hub",
            expected=" or ".join(names),
            found="neither",
            next=f"publish one with hubtools run {task.name}, or name another: Router({{{task.name!r}: 'owner/name'}})",
        )
    return repo


def _open_model(task: TaskSpec, model: str) -> tuple[Classifier, LabelSet]:
    """Load a model with the label set that its labels are those of, or else the task's default."""
    from transformers import AutoConfig

    # A release may be of another label set than the default, such as presidio17, whose head is of another width.
    named = set(AutoConfig.from_pretrained(model).id2label.values())
    fitting = (labels for labels in task.label_sets if set(task.model_labels(labels)) == named)
    label_set = next(fitting, task.label_set())
    return open_classifier(task, label_set, model, {}), label_set
