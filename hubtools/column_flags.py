"""Flags that say how the rows of somebody's own data are written; more than one group of options has them."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

TextColumn = Annotated[str | None, typer.Option(help="Column of the text in your own data. [default: text]")]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        help="Column of the label in your own data; for span tasks, of the spans: a list of objects with start, end "
        "and label (or type, entity_type). [default: label, spans]"
    ),
]
TokensColumn = Annotated[
    str | None,
    typer.Option(help="Span tasks: column of the words, where your data has tags in place of spans. [default: tokens]"),
]
TagsColumn = Annotated[
    str | None,
    typer.Option(
        help="Span tasks: column of the words' tags, as BIO, BILOU or bare types. [default: ner_tags or tags]"
    ),
]
Chat = Annotated[
    Literal["last", "all"] | None,
    typer.Option(help="Where the text column holds chat messages: read the last one of the user, or all of them."),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        help="Encoding of your own csv or json file, such as cp1252. [default: UTF-8, or what its bytes show]"
    ),
]
SkipBadRows = Annotated[bool, typer.Option("--skip-bad-rows", help="Drop and count rows that cannot be read.")]
