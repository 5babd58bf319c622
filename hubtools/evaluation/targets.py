"""What a threshold is chosen for, as a command's flags ask for it."""

from __future__ import annotations

from collections.abc import Sequence

from hubtools.errors import UsageError
from hubtools.task import TaskSpec


def check_target(tasks: Sequence[TaskSpec], fpr: float | None, recall: float | None) -> None:
    """Refuse what no threshold can be chosen for.

    Raises:
        UsageError: two targets, one that is no share, or none of ``tasks`` has a threshold to choose.
    """
    asked = {name: value for name, value in (("--target-fpr", fpr), ("--target-recall", recall)) if value is not None}
    if len(asked) > 1:
        raise UsageError(
            "A threshold has one target",
            expected="--target-fpr or --target-recall",
            found="both",
            next="leave one of the two out",
        )
    for name, value in asked.items():
        if not 0 < value < 1:
            raise UsageError(f"The target {name}", expected="a share between 0 and 1, such as 0.01", found=str(value))
        if not any(task.head.target(None, None) for task in tasks):
            raise UsageError(
                f"No threshold is chosen for {tasks[0].name!r}",
                expected="a task that flags, or that may be unsure",
                found=name,
                next=f"leave {name} out for {tasks[0].name}",
            )
