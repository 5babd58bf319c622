"""The Python API: what the commands call, a function each.

Options are those of the command, as keywords: ``hubtools.curate(task, source="rows.csv", work_dir="work")``. The
commands, which have them in groups, give the groups: ``curate(task, WorkOptions(), SourceOptions(source="rows.csv"))``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_args, get_type_hints

from hubtools.errors import UsageError
from hubtools.option_groups import OptionGroup
from hubtools.options import (
    EvaluationOptions,
    PushOptions,
    RepoOptions,
    SourceOptions,
    TrainingOptions,
    WorkOptions,
)
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS, select_tasks

if TYPE_CHECKING:
    from hubtools.publishing.changes import Change
    from hubtools.records.dataset import DatasetFacts
    from hubtools.records.metrics import Metrics
    from hubtools.records.release import Published, Verified
    from hubtools.records.training import PlannedCommand, TrainingRecord

G = TypeVar("G", bound=OptionGroup)


def load_task(name: str | Path) -> TaskSpec:
    """Return a built-in task by its name, or the task that a YAML file describes (``hubtools init-task`` writes one).

    Raises:
        UsageError: no such task, or a file that describes none.
    """
    path = Path(name)
    # pii.yaml is a file, pii the built-in task. A file without a suffix has to be given as a Path.
    by_file = str(name) not in TASKS and (isinstance(name, Path) or path.suffix in (".yaml", ".yml"))
    [task] = select_tasks(None, path) if by_file else select_tasks(str(name), None)
    return task


def curate(task: TaskSpec, *groups: OptionGroup, **options: object) -> DatasetFacts:
    """Make a task's dataset in ``<work_dir>/<task>/dataset``, and return what ``facts.json`` says of it.

    Args:
        **options: of ``hubtools curate``: ``work_dir``, ``source``, ``text_column``, ``label_column``, ``label_map``,
            ``label_sets``, ``skip_bad_rows``, ``supplements``, ``without``, ``seed`` and the others.

    Raises:
        SourceError: the source cannot be read, or lacks what the task needs.
        UsageError: an option that is unknown or does not fit.
    """
    from hubtools.pipeline import curate_task

    chosen = _Options(groups, options)
    work, source = chosen.take(WorkOptions), chosen.take(SourceOptions)
    chosen.refuse_rest("curate")
    return curate_task(task, work, source)


def push_dataset(task: TaskSpec, *groups: OptionGroup, **options: object) -> Published | Change:
    """Curate where needed and push the dataset with its card in one commit; of a dry run return what would change.

    Args:
        **options: of ``hubtools push-dataset``: those of :func:`curate`, and ``namespace``, ``dataset_name``,
            ``private``, ``accept_license``, ``gated``, ``create_pr``, ``dry_run``.

    Raises:
        LicenceRefused: before anything is uploaded, where a source may not be handed on.
        HubUnavailable: no token, no connection, or the Hub refused.
    """
    from hubtools.pipeline import push_datasets

    chosen = _Options(groups, options)
    work, source = chosen.take(WorkOptions), chosen.take(SourceOptions)
    repos, push = chosen.take(RepoOptions), chosen.take(PushOptions)
    chosen.refuse_rest("push_dataset")
    # The stage takes several tasks, so that all are checked before the first upload.
    [pushed] = push_datasets([task], work, source, repos, push).values()
    return pushed


def train(task: TaskSpec, *groups: OptionGroup, **options: object) -> TrainingRecord | PlannedCommand:
    """Fine-tune by ``accelerate launch``, unless the same training is done, and return what ``training.json`` says.

    Args:
        **options: of ``hubtools finetune``: ``work_dir``, ``base``, ``processes``, ``seed``, ``dry_run``; every other
            one is a flag of the training, such as ``learning_rate=5e-5``, ``num_train_epochs=2`` or
            ``method="setfit"``.

    Raises:
        MissingStage: the task is not curated in this work folder.
        TrainingFailed: it ended without a model.
    """
    from hubtools.launch import finetune_task
    from hubtools.training.flags import parse_training_flags

    chosen = _Options(groups, options)
    work, training = chosen.take(WorkOptions), chosen.take(TrainingOptions)
    # What no group has is a flag of the training, whose own parser says so where it is none.
    if argv := _format_flags(chosen.rest):
        training = dataclasses.replace(training, flags=parse_training_flags([*training.flags.argv, *argv]))
    return finetune_task(task, work, training)


def evaluate(task: TaskSpec, *groups: OptionGroup, **options: object) -> Metrics:
    """Score the test split once, where that is not done, and return what ``metrics.json`` says.

    Args:
        **options: of ``hubtools evaluate``: ``work_dir``, ``target_fpr``, ``target_recall`` (shares from 0 to 1),
            ``from_predictions``, ``baseline``, ``namespace``, ``model_name``.

    Raises:
        MissingStage: there is no dataset, no model, or no predictions.
    """
    from hubtools.pipeline import check_targets, evaluate_task

    chosen = _Options(groups, options)
    work, evaluation = chosen.take(WorkOptions), chosen.take(EvaluationOptions)
    repos = chosen.take(RepoOptions)
    chosen.refuse_rest("evaluate")
    if options:  # a command checks its targets against all of its tasks: one flag may be for one of them
        check_targets([task], evaluation)
    return evaluate_task(task, work, evaluation, repos)


def render_card(task: TaskSpec, *groups: OptionGroup, **options: object) -> Path:
    """Write the card of a task's model from the files of the work folder, and return where it is; needs no GPU.

    Args:
        **options: of ``hubtools model-card``: ``work_dir``, ``namespace``, ``model_name``.

    Raises:
        MissingStage: a stage before it has not run.
        CardRejected: the Hub would refuse the card.
    """
    from hubtools.pipeline import render_model_card

    chosen = _Options(groups, options)
    work, repos = chosen.take(WorkOptions), chosen.take(RepoOptions)
    chosen.refuse_rest("render_card")
    return render_model_card(task, work, repos)


def push_model(task: TaskSpec, *groups: OptionGroup, **options: object) -> Published | Change:
    """Release weights, card and scores in one commit, load it back and compare; of a dry run return what would change.

    Args:
        **options: of ``hubtools push-model``: ``work_dir``, ``namespace``, ``model_name``, ``private``, ``create_pr``,
            ``dry_run``.

    Raises:
        MissingStage: the scores are not those of these weights, or a stage before has not run.
        VerificationFailed: the Semantic Router could not load the model, so nothing was pushed; or what was published
            answers otherwise than it was scored.
    """
    from hubtools.pipeline import push_model_task

    chosen = _Options(groups, options)
    work, repos, push = chosen.take(WorkOptions), chosen.take(RepoOptions), chosen.take(PushOptions)
    chosen.refuse_rest("push_model")
    return push_model_task(task, work, repos, push)


def verify(repo: str, revision: str = "main", *, task: TaskSpec | None = None) -> Verified:
    """Verify a published model as a stranger would, without anything of the machine that released it.

    Its files are held against the manifest that its commit names, its numbers and its card against its predictions,
    labels, configuration, tokenizer and weights against what the Semantic Router needs, and a sample of its answers
    against those that it was scored with.

    Args:
        repo: ``owner/name``. revision: a commit, tag or branch.
        task: None for the one that the repo names.

    Raises:
        VerificationFailed: something of this is not so; the message names the file.
        UsageError: the repo does not say which task it is of.
    """
    from hubtools.pipeline import verify_repo

    return verify_repo(repo, revision, task)


class _Options:
    """Options that were given, as groups or as keywords, until each has been taken."""

    def __init__(self, groups: tuple[OptionGroup, ...], options: Mapping[str, object]) -> None:
        self._groups = groups
        self._options = dict(options)
        self._known: dict[str, None] = {}

    @property
    def rest(self) -> dict[str, object]:
        """Keywords that no group has."""
        return {name: value for name, value in self._options.items() if name not in self._known}

    def take(self, kind: type[G]) -> G:
        """Return the group of this kind that was given, or its defaults, with the keywords that are its fields."""
        hints = get_type_hints(kind)  # annotations are texts until here: the module postpones them
        # Two groups may share a field, such as the seed: both get the keyword.
        names = [field.name for field in dataclasses.fields(kind) if field.init]
        # Kept for the message: what would have been right.
        self._known |= dict.fromkeys(names)
        values = {name: _convert(self._options[name], hints[name]) for name in names if name in self._options}
        group = next((one for one in self._groups if isinstance(one, kind)), None) or kind()
        return dataclasses.replace(group, **values)

    def refuse_rest(self, function: str) -> None:
        """Raise :class:`UsageError` for a keyword that no group has."""
        for name, value in self.rest.items():
            raise UsageError(
                f"hubtools.{function}() has no option {name!r}",
                expected="one of " + ", ".join(self._known),
                found=f"{name}={value!r}",
                next=f"help(hubtools.{function})",
            )


def _convert(value: object, hint: object) -> object:
    """Return a text as a path where the field is one, and a list as a tuple."""
    kinds = get_args(hint) or (hint,)
    # A field that takes a text as well, such as source, keeps it: a repo is no path.
    if isinstance(value, str) and Path in kinds and str not in kinds:
        return Path(value)
    return tuple(value) if isinstance(value, list) else value


def _format_flags(options: Mapping[str, object]) -> list[str]:
    """Return keywords as flags of the training: ``learning_rate=5e-5`` is ``--learning_rate 5e-5``."""
    argv: list[str] = []
    for name, value in options.items():
        values = value if isinstance(value, list | tuple) else [value]
        # transformers reads truth values as true and false.
        argv += [f"--{name}", *(str(one).lower() if isinstance(one, bool) else str(one) for one in values)]
    return argv
