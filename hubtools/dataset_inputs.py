"""What a dataset is made of, as the options of a command say: sources, what joins them, label set, made rows."""

from __future__ import annotations

from collections.abc import Sequence

from hubtools.curation.augmentation import check_augmentations, choose_augmentations
from hubtools.curation.build import CurationInputs
from hubtools.curation.corrections import read_corrections
from hubtools.curation.sources import SourceFiles, are_public, locate_addition
from hubtools.curation.supplements import LENGTHS, check_names, choose_supplements, choose_values, list_removable
from hubtools.curation.user_data import check_flags, choose_sources
from hubtools.errors import UsageError
from hubtools.options import SourceOptions
from hubtools.spec import LabelSet
from hubtools.task import TaskSpec
from hubtools.tasks import TASKS


def collect_inputs(task: TaskSpec, source: SourceOptions) -> CurationInputs:
    """Return all that a dataset is made of, with its files on this machine."""
    sources, label_set = locate_sources(task, source)
    public = are_public(task, sources)
    return CurationInputs(
        corrections=read_corrections(source.corrections, task, label_set),
        sources=sources,
        label_set=label_set,
        supplements=locate_supplements(task, sources, source, label_set),
        values=locate_values(task, sources, source),
        augmentations=choose_augmentations(task, source.augment, list_usual_shares(task, sources, source)),
        seed=source.seed,
        skip_bad_rows=source.skip_bad_rows,
        languages=source.languages,
        # Only of public data it is known that length alone tells the label.
        match_lengths=task.match_lengths and public and LENGTHS not in list_left_out(task, source),
    )


def list_usual_shares(task: TaskSpec, sources: Sequence[SourceFiles], source: SourceOptions) -> dict[str, float]:
    """Return the share of each augmentation where no flag names one: that for public rows, or the starter corpus's."""
    if source.only_named_source:
        return {}
    if are_public(task, sources):
        return {made.name: made.share for made in task.augmentations}
    is_starter = any(files.source is task.starter for files in sources)
    return {made.name: made.of_starter for made in task.augmentations if is_starter}


def locate_sources(task: TaskSpec, source: SourceOptions) -> tuple[tuple[SourceFiles, ...], LabelSet]:
    """Return the sources that a dataset is made of, on this machine, and the label set that they are read with."""
    # Of all tasks: one configuration may hold the flags of several.
    check_names([task, *TASKS.values()], source.supplements, source.without)
    check_augmentations([task, *TASKS.values()], source.augment)
    check_flags(source.source, source.columns, source.license, source.languages)
    label_set = _find_label_set(task, source)
    return choose_sources(
        task,
        source.source,
        source.columns,
        label_set,
        source.license,
        without=list_left_out(task, source),
        supplements=source.supplements,
    )


def list_left_out(task: TaskSpec, source: SourceOptions) -> Sequence[str]:
    """Return the names of what does not join the named source of a task."""
    return list_removable(task) if source.only_named_source else source.without


def locate_supplements(
    task: TaskSpec, sources: Sequence[SourceFiles], source: SourceOptions, label_set: LabelSet
) -> tuple[SourceFiles, ...]:
    """Return the files of what joins ``sources`` in the training split."""
    left_out = list_left_out(task, source)
    chosen = choose_supplements(task, sources, source.supplements, left_out, label_set.name)
    return tuple(locate_addition(supplement) for supplement in chosen)


def locate_values(task: TaskSpec, sources: Sequence[SourceFiles], source: SourceOptions) -> tuple[SourceFiles, ...]:
    """Return the files of the values that fill templates beside those that are made."""
    chosen = choose_values(task, sources, source.supplements, list_left_out(task, source))
    return tuple(locate_addition(values) for values in chosen)


def parse_label_set(task: TaskSpec, source: SourceOptions) -> str | None:
    """Return the name of the label set that is asked for; the last ``NAME`` or ``TASK=NAME`` counts."""
    names = (entry.rpartition("=") for entry in source.label_sets)
    return next((name for owner, _, name in reversed([*names]) if owner in ("", task.name)), None)


def _find_label_set(task: TaskSpec, source: SourceOptions) -> LabelSet:
    """Return the label set that is asked for, or the task's default; raises :class:`UsageError` for another name."""
    name = parse_label_set(task, source)
    try:
        return task.label_set(name)
    except KeyError:
        raise UsageError(
            f"Task {task.name!r} has no label set {name!r}",
            expected="one of " + ", ".join(s.name for s in task.label_sets),
            found=str(name),
            next=f"with several tasks, say whose it is: --label-set {task.name}={task.label_sets[0].name}",
        ) from None
