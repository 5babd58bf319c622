"""Render a card's template: Jinja with undefined names as errors, and the ways in which a card shows a value."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence

from hubtools.assets import find_asset
from hubtools.publishing.front_matter import FrontMatter, join_card, mark_body
from hubtools.records import Record
from hubtools.records.metrics import Primary
from hubtools.records.scores import ClassScores, Interval, TypeScores

_MARKUP = re.compile(r"[\\`*\[\]|~$]|(?<![^\W_])_|_(?![^\W_])")  # an underscore within a word is no markup
_LINK = re.compile(r"(?:https?|ftp)://|\bwww\.", re.IGNORECASE)  # what GitHub's Markdown links by itself


def render_template(folder: str, names: Iterable[str], metadata: FrontMatter, **values: object) -> str:
    """Return front matter and body of a card.

    Args:
        folder: ``model_cards`` or ``dataset_cards``.
        names: of templates, without their ending: the first that is there is rendered.
        values: what the template reads; a name that is not among them, or an attribute that a value does not have, is
            an error.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(find_asset(folder)),
        undefined=StrictUndefined,  # a misspelled name must not become an empty line of a card
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, not HTML: format_cell takes the markup out of texts
    )
    environment.filters |= {
        "cell": format_cell,
        "class_f1": format_class_f1,
        "enumerate": enumerate_words,
        "fields": list_fields,
        "megabytes": lambda count: f"{count / 1e6:.1f} MB",
        "number": format_number,
        "percent": format_percent,
        "plainly": format_setting,
        "score": format_score,
        "share": format_share,
        "significant": lambda value: f"{round_significant(value):,g}",
        "whole": "{:,}".format,
    }
    body = environment.select_template([f"{name}.md.jinja" for name in names]).render(**values)
    # Parts that a template leaves out leave their blank lines behind.
    body = re.sub(r"\n{3,}", "\n\n", body).strip()
    body = re.sub(r"^(- .*\n)\n(?=- )", r"\1", body, flags=re.MULTILINE)  # blank lines would make a list a loose one
    return join_card(metadata, mark_body(body))


def format_number(value: float) -> str:
    """Return a number between 0 and 1 with three decimals."""
    return f"{value:.3f}"


def format_percent(value: float) -> str:
    """Return a share between 0 and 1 in percent."""
    return f"{100 * value:.1f}%"


def format_score(value: Interval | Primary | float | None) -> str:
    """Return a score with its interval where it has one: ``0.912 [0.884, 0.939]``; a dash where it is undefined."""
    if value is None:
        return "–"
    if isinstance(value, Interval | Primary):
        return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
    return format_number(value)


def format_class_f1(scores: ClassScores | TypeScores) -> str:
    """Return the F1 of a label with its interval where it has one."""
    if scores.f1_interval is None:
        return format_number(scores.f1)
    low, high = scores.f1_interval
    return format_score(Interval(value=scores.f1, low=low, high=high))


def format_share(value: Interval | None) -> str:
    """Return a rate with its interval, in percent: ``5.0% [1.9%, 10.7%]``; a dash where it is undefined."""
    if value is None:
        return "–"
    return f"{100 * value.value:.1f}% [{100 * value.low:.1f}%, {100 * value.high:.1f}%]"


def format_setting(value: object) -> str:
    """Return a setting with those within it: ``rank 16, alpha 32``."""
    if isinstance(value, Record):
        return ", ".join(f"{name.replace('_', ' ')} {format_setting(inner)}" for name, inner in list_fields(value))
    if isinstance(value, list | tuple):
        return ", ".join(map(format_setting, value))
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def enumerate_words(words: Sequence[str]) -> str:
    """Return words as a sentence names them: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1]) if part)


def list_fields(record: Record) -> list[tuple[str, object]]:
    """Return (name, value) of a record's fields that have a value, in their order."""
    pairs = [(field.name, getattr(record, field.name)) for field in dataclasses.fields(record)]  # type: ignore[arg-type]
    return [(name, value) for name, value in pairs if value is not None]


def round_significant(value: float) -> float:
    """Return ``value`` to four significant digits: what was measured is not known better."""
    return float(f"{value:.4g}")


def format_cell(text: str, limit: int = 160) -> str:
    """Return ``text``, which may be anybody's, for one cell of a Markdown table: no link, picture or formula.

    Args:
        limit: characters that are shown; a longer text ends in "…".
    """
    flat = " ".join(text.split())
    flat = flat if len(flat) <= limit else flat[: limit - 1] + "…"
    # HTML first: what Markdown's escapes add holds neither sign.
    flat = flat.replace("&", "&amp;").replace("<", "&lt;")
    return _LINK.sub(lambda link: link[0].replace(":", "\\:").replace(".", "\\."), _MARKUP.sub(r"\\\g<0>", flat))
