"""Write the YAML file of a new task, commented so that a stranger can fill it in."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from hubtools.errors import StorageError, UsageError
from hubtools.heads import Classification, Detection, Head, Spans
from hubtools.tasks.file import make_task
from hubtools.tasks.keys import parse_values


def write_task_file(
    name: str, labels: Sequence[str], path: Path | None = None, *, positive: str = "", spans: bool = False
) -> Path:
    """Write the file of a new task and return its path, as ``hubtools init-task`` does.

    Args:
        name: lower-case letters, digits, - and _.
        labels: two or more classes, or with ``spans`` one or more types.
        path: where to; ``NAME.yaml`` in the current folder where it is None.
        positive: of two labels, the one that is looked for: the task is a detection.
        spans: stretches of a text are marked, instead of a label for the whole.

    Raises:
        UsageError: the name or a label will not do, or the file is there already.
        StorageError: it cannot be written.
    """
    if spans and positive:
        raise UsageError(
            "A task with spans has no positive label",
            expected="either --positive or --spans",
            found=f"both, --positive {positive}",
            next="leave one of them out",
        )
    # The two flags tell the three heads apart: nobody has to know their names.
    head: type[Head] = Spans if spans else Detection if positive else Classification
    target = Path(f"{name}.yaml") if path is None else path
    # Checked by the very reader of task files: what it refuses is refused here, in the words of the flags.
    try:
        raw = render_task_file(name, labels, head, positive, target).encode()
        make_task(parse_values(raw, target))  # a file that would not be read is not written
        # "x": a file that is there is somebody's work.
        with target.open("xb") as file:
            file.write(raw)
    except UsageError as error:  # its line would be one of a file that nobody can see
        raise UsageError(
            f"Task {name!r} cannot be written",
            expected=error.expected,
            found=error.found,
            next="hubtools init-task NAME --labels A,B [--positive B]",
        ) from error
    except FileExistsError as error:
        raise UsageError(
            f"Task file {str(target)!r} is there already",
            expected="a new file",
            found="a folder" if target.is_dir() else "a file, which stays as it is",
            next="name another with --output, or edit the one that is there",
        ) from error
    except (OSError, ValueError) as error:
        raise StorageError(
            f"Task file {str(target)!r} cannot be written",
            expected="a folder that can be written to",
            found=getattr(error, "strerror", None) or str(error),
            next="name another with --output",
        ) from error
    return target


def render_task_file(name: str, labels: Sequence[str], head: type[Head], positive: str, path: Path) -> str:
    """Return the text of the file: what the task needs, and as comments what it may have."""
    lines = "\n".join(f"  {_quote(label)}:" for label in labels)
    looked_for = f"positive: {_quote(positive)}  # the label that is looked for\n" if positive else ""
    return _TEMPLATE.format(
        name=_quote(name),
        head=head.name,
        labels=lines,
        positive=looked_for,
        path=path,
        first=_quote(labels[0]) if labels else "",
        truth=head.truth,
        heads=_HEADS,
        primary=head.selection[0].key,
    )


def _quote(word: str) -> str:
    """Return a word as it is read back: in quotation marks where YAML would take it for something else."""
    # Ours reads every plain word as a word, but for null; signs such as : and # end one.
    plain = re.fullmatch(r"\w[\w. -]*", word) and not word.endswith(" ") and word.lower() != "null"
    # A JSON string is a YAML string in double quotes as well.
    return word if plain else json.dumps(word, ensure_ascii=False)


_HEADS = """\
# - classification: each text has one label
# - detection: each text has one of two labels, and one of these is looked for
# - spans: stretches of a text are marked, each with one label"""

_TEMPLATE = """\
# A task of your own for hubtools; docs/own-task.md explains every key.
# From a file with the columns text and {truth} to a demo in the browser, with --hub local for a Hub on this machine:
# $ hubtools curate --task-file {path} --source ROWS.csv
# $ hubtools run --task-file {path}
# A key with a # before it is left out: take the # away and fill it in.

name: {name}

# How the question is answered:
{heads}
head: {head}

# What each label means, for the cards. Labels are read as they are written: yes, no and 1 are words.
labels:
{labels}
{positive}
# --- what people read ---

#title: a few words
#question: one sentence that ends in a question mark
#language: en
#examples:  # prompts for the card and the Space
#  - a text as users write it
#  - another one
#card:
#  sentence: What the model does, in one sentence.
#  intended:
#    - What it is meant for.
#  out_of_scope:
#    - What it must not be used for.
#  limits:
#    - Where it goes wrong.
#  citation: whom to name
#  dataset_sentence: What the dataset holds, in one sentence.
#  dataset_limits:
#    - What it lacks.
#space:  # words of the demo, where those above do not suit it
#  question: what the tile of the task asks
#  about: the sentence above the task's tab

# --- where rows come from, unless --source says so ---

#sources:
#  - files: rows.csv  # beside this file; or {{train: a.csv, validation: b.csv, test: c.csv}}
#    license: cc-by-4.0  # without one, nothing can be pushed to a public repo
#    columns:
#      text: text
#      {truth}: {truth}
#    label_map:  # theirs: ours; nothing as ours drops the rows
#      theirs: {first}
#  - id: owner/name  # a dataset repo on the Hub
#    role: training  # whole (what is split), training (joins the training split), or test (only scored)
#    share: 0.25  # of the training split, at most

# --- how it is trained and published ---

#primary: {primary}
#weighted_loss: true  # rare labels count as much as frequent ones
#dataset_name: router-{name}
#model_name: {name}_classifier_{{base}}_model
#version: 1
"""
