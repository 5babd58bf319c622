"""What a search may vary: ranges of training flags, by default around what the training would take anyway."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from hubtools.errors import UsageError, read_first_line
from hubtools.records.studies import SearchRange
from hubtools.training.presets import Preset

Value = float | int | str | bool

# The same for all trainings of a search, or what makes them comparable.
_FIXED = {
    *("task", "base", "dataset", "label_set", "work_dir", "output_dir", "hub", "fingerprint", "seed", "data_seed"),
    *("method", "metric_for_best_model", "greater_is_better", "load_best_model_at_end", "eval_strategy"),
}
_KEYS = {"low", "high", "log", "step", "choices"}


@dataclass(frozen=True)
class Range:
    """Values of one training flag.

    Attributes:
        low, high: both are possible; whole numbers where both are whole.
        log: drawn by order of magnitude; for ``low`` above 0.
        step: between possible values, from ``low`` on.
        choices: the values themselves, instead of bounds.
    """

    low: float | int = 0
    high: float | int = 0
    log: bool = False
    step: float | int | None = None
    choices: tuple[Value, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether all values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def to_record(self) -> SearchRange:
        """Return the range as it stands in a file of ranges."""
        if self.choices:
            return SearchRange(choices=list(self.choices))
        return SearchRange(low=self.low, high=self.high, log=self.log or None, step=self.step or None)


def format_flags(values: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the flags of a training, with fractions to three digits: enough to find, and short enough to type."""
    return tuple(
        part
        for name, value in values.items()
        for part in (f"--{name}", f"{value:.3g}" if isinstance(value, float) else str(value))
    )


def parse_words(flags: Sequence[str]) -> dict[str, str]:
    """Return the name and the value of each flag that :func:`format_flags` made, as words."""
    return {name.removeprefix("--"): value for name, value in zip(flags[::2], flags[1::2], strict=True)}


def surround_defaults(preset: Preset, batches_a_step: int) -> dict[str, Range]:
    """Return ranges around the defaults, which follow the size of the data, the task and the base.

    Args:
        batches_a_step: processes times accumulation steps, among which the rows of a step are divided.
    """
    # A preset's batch size is of a step; the flag is of one process and one accumulation step.
    rows = preset.batch_size / batches_a_step
    rate = preset.learning_rate
    # Three digits of a rate, as on a command line: the same flag then gives the same training.
    return {
        "learning_rate": Range(float(f"{rate / 5:.3g}"), float(f"{rate * 5:.3g}"), log=True),
        "num_train_epochs": Range(max(1, round(preset.epochs / 2)), round(preset.epochs * 2)),
        "per_device_train_batch_size": Range(choices=tuple(sorted({max(1, round(rows * n)) for n in (0.5, 1, 2)}))),
        "weight_decay": Range(0.0, 0.2),
        "warmup_steps": Range(0.0, 0.2),  # a share of all steps
    }


def read_ranges(path: Path, check: Callable[[Sequence[str]], None]) -> dict[str, Range]:
    """Return the ranges of a YAML file, by flag.

    A line is ``learning_rate: {low: 1e-5, high: 1e-3, log: true}``, or a flag and a list of values.

    Args:
        check: raises :class:`UsageError` for flags that no training would take.

    Raises:
        UsageError: no such file, a flag that training does not know, or bounds that hold nothing.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"Ranges {path}", expected="a YAML file", found=read_first_line(error), next="mend the file"
        ) from error
    if not isinstance(content, dict) or not content:
        raise UsageError(
            f"Ranges {path}",
            expected="a flag and its range a line: learning_rate: {low: 1e-5, high: 1e-3, log: true}",
            found=repr(content)[:80],
            next="mend the file",
        )
    return {
        str(name).lstrip("-").replace("-", "_"): _make_range(path, str(name), values, check)
        for name, values in content.items()
    }


def _make_range(path: Path, name: str, values: object, check: Callable[[Sequence[str]], None]) -> Range:
    """Return the range of one flag; raises :class:`UsageError` as :func:`read_ranges` does."""
    # Written as on the command line or as transformers has it.
    flag = name.lstrip("-").replace("-", "_")

    def refuse(expected: str, found: str) -> NoReturn:
        raise UsageError(f"Range {name!r} of {path}", expected=expected, found=found, next="mend the file")

    if flag in _FIXED:
        refuse("a flag that may differ between the trainings of one search", f"{flag}, which must not")
    if isinstance(values, list):
        values = {"choices": values}
    if not isinstance(values, dict) or not values or set(values) - _KEYS or ("choices" in values and len(values) > 1):
        refuse("low and high (with log or step), or a list of values", repr(values)[:80])
    if "choices" in values:
        span = _read_choices(values["choices"], refuse)
        examples: Sequence[Value] = span.choices
    else:
        span = _read_bounds(values, refuse)
        # One in between as well: 4.0 and 16.0 pass for whole numbers, what lies between them does not.
        between = span.low + 0.377 * (span.high - span.low)
        examples = (span.low, span.high) if span.whole or span.step else (span.low, span.high, between)
    # What the training's own parser refuses is refused here, before the first trial.
    for value in examples:
        try:
            check(format_flags({flag: value}))
        except UsageError as error:
            refuse(error.expected, error.found)
    return span


def _read_choices(values: object, refuse: Callable[[str, str], NoReturn]) -> Range:
    """Return the range of a list of values; calls ``refuse`` with what is expected and what is there."""
    if not isinstance(values, list) or not values or not all(isinstance(v, Value) for v in values):
        refuse("a list of numbers, words or truth values", repr(values)[:80])
    return Range(choices=tuple(dict.fromkeys(values)))


def _read_bounds(bounds: Mapping[str, object], refuse: Callable[[str, str], NoReturn]) -> Range:
    """Return the range between two bounds; calls ``refuse`` with what is expected and what is there."""
    low, high, step = (_read_number(bounds.get(key)) for key in ("low", "high", "step"))
    log = bounds.get("log", False)
    if low is None or high is None or low > high:
        refuse("two numbers, low at most high", repr(bounds)[:80])
    if not isinstance(log, bool) or (log and low <= 0):
        refuse("log: true or false, and low above 0 with it", repr(bounds)[:80])
    # Optuna takes one of the two: steps by order of magnitude are a list of values.
    if "step" in bounds and (log or step is None or step <= 0):
        refuse("a step above 0, and no log with it", repr(bounds)[:80])
    span = Range(low, high, log, step)
    if span.whole and isinstance(step, float):
        refuse("a whole step between whole numbers, or low as a fraction: 1.0", repr(bounds)[:80])
    return span


def _read_number(value: object) -> float | int | None:
    """Return a finite number, or None; YAML reads 1e-5, without a point, as a word."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value) if isinstance(value, str) else value
    except ValueError:
        return None
    return number if math.isfinite(number) else None
