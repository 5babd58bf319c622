"""What a task is: one frozen value, made of the parts in ``spec.py`` and of a head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from hubtools.heads.base import Head
from hubtools.spec import Augmentation, CardTexts, Demo, LabelSet, Metric, RouterSlot, Source


@dataclass(frozen=True)
class TaskSpec:
    """One question that a router asks of a prompt, and everything that follows from it.

    Attributes:
        head: how the question is answered: one label a text, a detection, or spans.
        question: what the classifier answers, in one sentence.
        label_sets: the first is the default.
        sources: the public data, by role; see :class:`~hubtools.spec.Source`. Of those with the role "whole" all are
            read, and the first is the main one.
        starter: our own corpus that stands in for the public data where a Hub has none of it.
        augmentations: rows that are made of the training split's, where the data are the task's public sources.
        match_lengths: add harmless prompts as long as the positive ones to the training split.
        group_name: what a group is in this task, for cards.
        primary: the metric that picks the checkpoint and heads the card.
        weighted_loss: weigh classes by n / (k n_c) of the training split.
        balance: how far training evens out its sources and their classes, from 0 to 1.
        overrides: training arguments that beat the size-adaptive defaults.
        dataset_pattern: repo name of the dataset; ``{name}`` is the task's name.
        model_name: repo name; ``{base}`` is the short name of the base model.
        mapping_file: the label mapping that the Semantic Router reads, "" where it has no slot.
        mapping_noun: what that file calls a label.
        slot_of_router: what the Semantic Router asks the model for.
        version: bumped when the rows or labels would change.
        examples: prompts that the card shows with their answers.
        card: what its cards say in words, where it has no templates of its own.
        demo: what the Space says of the task.
        task_ids: the Hub's finer words for the task, for the dataset card.
        file: the YAML file that describes it; None for a built-in task.
        access_prompt, access_fields: what readers of a gated dataset agree to and fill in, as the Hub's cards have it.
    """

    name: str
    title: str
    head: Head
    question: str
    label_sets: tuple[LabelSet, ...]
    sources: tuple[Source, ...]
    group_name: str
    primary: Metric
    model_name: str
    mapping_file: str
    version: str
    dataset_pattern: str = "router-{name}"
    # What only some tasks have.
    mapping_noun: str = "label"
    slot_of_router: RouterSlot = "classifier"
    starter: Source | None = None
    weighted_loss: bool = False
    balance: float = 0.0
    overrides: Mapping[str, float | int] = field(default_factory=lambda: MappingProxyType({}))
    match_lengths: bool = False
    augmentations: tuple[Augmentation, ...] = ()
    examples: tuple[str, ...] = ()
    card: CardTexts = field(default_factory=CardTexts)
    demo: Demo = field(default_factory=Demo)
    task_ids: tuple[str, ...] = ()
    access_prompt: str = ""
    # As the Hub has them: a kind of field by its label, or its kind with the choices.
    access_fields: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    file: Path | None = None

    @property
    def dataset_name(self) -> str:
        """Name of the dataset repo, without its owner."""
        return self.dataset_pattern.format(name=self.name)

    @property
    def whole_sources(self) -> tuple[Source, ...]:
        """Public sources whose rows are divided among all splits; none where a task has users' data alone."""
        return tuple(source for source in self.sources if source.role == "whole")

    @property
    def supplements(self) -> tuple[Source, ...]:
        """Sources whose rows join the training split alone."""
        return tuple(source for source in self.sources if source.role == "training")

    @property
    def benchmarks(self) -> tuple[Source, ...]:
        """Sources that are only ever scored."""
        return tuple(source for source in self.sources if source.role == "test")

    @property
    def values(self) -> tuple[Source, ...]:
        """Sources of values for the slots of templates."""
        return tuple(source for source in self.sources if source.role == "values")

    def owns(self, source_id: str) -> bool:
        """Return whether a source is one of the task's, and not a user's own rows."""
        return source_id in {source.id for source in (*self.whole_sources, self.starter) if source}

    def label_set(self, name: str | None = None) -> LabelSet:
        """Return the label set called ``name``, or the default one.

        Raises:
            KeyError: no such label set.
        """
        if name is None:
            return self.label_sets[0]
        # An unknown name is the caller's to explain: only it knows where the name is from.
        return {s.name: s for s in self.label_sets}[name]

    def model_labels(self, label_set: LabelSet) -> tuple[str, ...]:
        """Return the model's labels in the order of ``id2label``."""
        return self.head.model_labels(label_set)
