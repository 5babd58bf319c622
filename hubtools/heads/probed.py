"""The part of a head that robustness asks: which texts in which conditions, and how what is answered is scored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import ClassVar

from hubtools.heads.probes import Materials, ProbePart, change_rows, divide_by_language, select_rows
from hubtools.heads.values import Column, Rows
from hubtools.metrics.intervals import Answers
from hubtools.records.robustness import Flips
from hubtools.spec import Metric


class Probed(ABC):
    """A head as :mod:`hubtools.evaluation.robustness` sees it."""

    truth: ClassVar[str]
    # What a changed text is scored by.
    robust: ClassVar[tuple[Metric, ...]]

    @abstractmethod
    def read_answers(self, rows: Rows, labels: Sequence[str], threshold: float = 0.0) -> Answers:
        """Return truth and answers as the arrays that metrics are functions of."""

    def sample_rows(self, rows: Rows, labels: Sequence[str], materials: Materials) -> list[int]:
        """Return the numbers of the rows that are asked in changed form."""
        return materials.sample(range(len(rows["text"])))

    def list_probes(
        self, rows: Rows, labels: Sequence[str], threshold: float, materials: Materials
    ) -> Iterator[ProbePart]:
        """Yield what is asked, made of the test rows.

        Args:
            rows: ``text``, ``group`` and the truth of the test split.
        """
        read = partial(self.read_answers, labels=labels, threshold=threshold)
        sampled = select_rows(rows, self.sample_rows(rows, labels, materials), self.truth)
        yield ProbePart(
            "changes",
            "When a text is written otherwise",
            f"The same {len(sampled['text'])} texts of the test split, as they stand and changed.",
            self.robust,
            change_rows(sampled, materials),
            read,
        )
        if languages := divide_by_language(rows, materials, self.truth):
            yield ProbePart(
                "languages",
                "By language",
                "Texts of the test split by language, as py3langid takes them, of those with 20 texts and 3% of all.",
                self.robust,
                languages,
                read,
            )

    def count_flip_texts(self, rows: Rows, labels: Sequence[str], materials: Materials) -> int:
        """Return how many texts :meth:`search_flips` asks at most."""
        return 0

    def search_flips(
        self,
        rows: Rows,
        labels: Sequence[str],
        threshold: float,
        materials: Materials,
        ask: Callable[[Sequence[str]], Column],
    ) -> Flips | None:
        """Return what harmless words do to texts that are caught; None where nothing is looked for.

        Args:
            ask: from texts to what :meth:`Head.predict` answers to them.
        """
        return None
