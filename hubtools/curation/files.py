"""Which format a file has, and its bytes and text, whatever it is compressed with and encoded in."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
from pathlib import Path, PurePath
from typing import BinaryIO, NoReturn, TextIO, cast

from hubtools.errors import SourceError, UsageError

# Suffixes by the format that they stand for.
_FORMATS = {
    ".csv": ".csv", ".tsv": ".csv", ".json": ".json", ".jsonl": ".jsonl", ".ndjson": ".jsonl", ".parquet": ".parquet",
}  # fmt: skip
SUFFIXES = tuple(_FORMATS)
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip")

# What others write that no reader here takes, and what to do there.
_ELSEWHERE = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods"), "a spreadsheet: save it as CSV UTF-8 (in Excel: Save As)"),
    **dict.fromkeys((".pkl", ".pickle", ".feather", ".h5"), "a file of pandas: write it with to_parquet or to_csv"),
    ".arrow": "a file of datasets' save_to_disk: write it with to_parquet",
    **dict.fromkeys((".txt", ".conll", ".conllu", ".bio"), "a text: write a row a text, as csv or jsonl"),
}

_LOOKED_AT = 1 << 16  # bytes that tell an encoding


def find_format(name: str) -> str:
    """Return which of .csv, .json, .jsonl and .parquet a file's name stands for, below its compression; else ""."""
    path = PurePath(name.lower())
    if path.suffix in _COMPRESSED:
        path = path.with_suffix("")
    return _FORMATS.get(path.suffix, "")


def describe_format(name: str) -> str:
    """Return what a file is that is not read, for a message."""
    suffix = PurePath(name).suffix.lower()
    return _ELSEWHERE.get(suffix, suffix or "no suffix")


# What stands first in files that are not what their names say, and what they are.
_BEGINNINGS = (
    (b"PAR1", "a parquet file: call it so"),
    (b"version https://git-lfs", "a pointer of git LFS in place of the file: git lfs pull fetches it"),
    (b"<!doctype html", "a web page, such as a login or a viewer: give the address of the file itself"),
    (b"<html", "a web page, such as a login or a viewer: give the address of the file itself"),
    (b"%pdf", "a PDF"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file: save it as CSV UTF-8 (in Excel: Save As)"),
)


def recognise_content(path: Path) -> str:
    """Return what a file is whose first bytes are not those of what its name says; "" for any other."""
    with path.open("rb") as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    is_parquet = find_format(path.name) == ".parquet"
    found = (what for mark, what in _BEGINNINGS if start.startswith(mark.lower()))
    return next((what for what in found if not is_parquet or "parquet" not in what), "")


def check_encoding(name: str | None) -> None:
    """Raise :class:`UsageError` where Python has no text encoding of this name."""
    try:
        if name is not None:
            "".encode(name)
    except (LookupError, ValueError):
        raise UsageError(
            f"--encoding {name}", expected="an encoding of Python, such as cp1252, utf-16 or gb18030", found=str(name),
            next="look at what the program that wrote the file calls it",
        ) from None  # fmt: skip


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, decompressed where its first bytes say that it is compressed.

    Raises:
        SourceError: a zip archive holds no file that can be read, or several.
    """
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(b"\x1f\x8b"):
        return cast("BinaryIO", gzip.open(path, "rb"))
    if magic.startswith(b"BZh"):
        return cast("BinaryIO", bz2.open(path, "rb"))
    if magic.startswith(b"\xfd7zXZ"):
        return cast("BinaryIO", lzma.open(path, "rb"))
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        return cast("BinaryIO", io.BytesIO(pa.input_stream(str(path), compression="zstd").read()))
    if magic.startswith(b"PK\x03\x04"):
        return _open_zip(path)
    return path.open("rb")


def _open_zip(path: Path) -> BinaryIO:
    try:
        archive = zipfile.ZipFile(path)
        # macOS adds a hidden twin of each file.
        names = [name for name in archive.namelist() if find_format(name) and "__MACOSX" not in name]
        if len(names) == 1:
            return cast("BinaryIO", archive.open(names[0]))
        if "xl/workbook.xml" in archive.namelist():
            _refuse_spreadsheet(path)
        found = ", ".join(sorted(archive.namelist())[:8])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        found = str(error)
    raise SourceError(
        f"Archive {path.name!r}", expected="one file in it: " + ", ".join(SUFFIXES), found=found or "an empty archive",
        next="unpack it, and give its file or folder with --source",
    )  # fmt: skip


def _refuse_spreadsheet(path: Path) -> NoReturn:
    raise SourceError(
        f"Source file {path.name!r}", expected=", ".join(SUFFIXES), found="a spreadsheet of Excel",
        next="save it as CSV UTF-8 (in Excel: Save As), and give that with --source",
    )  # fmt: skip


def find_encoding(path: Path) -> str:
    """Return utf-8-sig, or the UTF-16 or UTF-32 that the first bytes of a file are in."""
    with open_bytes(path) as file:
        start = file.read(_LOOKED_AT)
    # Spreadsheets write a byte-order mark, which would become part of the first column's name. UTF-32 first: its mark
    # begins as that of UTF-16 does.
    for mark, encoding in (
        (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
    ):  # fmt: skip
        if start.startswith(mark):
            return encoding
    # Without a mark: names and commas are ASCII, every second byte of which is 0, and no text has a 0.
    for encoding, zeros, others in (
        ("utf-16-le", start[1:64:2], start[:64:2]),
        ("utf-16-be", start[:64:2], start[1:64:2]),
    ):
        if len(zeros) > 4 and zeros.count(0) > len(zeros) * 0.9 and 0 not in others:
            return encoding
    return "utf-8-sig"


def open_text(path: Path, newline: str, encoding: str | None = None) -> TextIO:
    """Open the text of a file in ``encoding``, or in the one that its bytes show.

    A byte that is no UTF-8 becomes a lone surrogate (PEP 383), what no other encoding has U+FFFD; cleaning drops the
    row that either stands in.
    """
    chosen = encoding or find_encoding(path)
    errors = "surrogateescape" if chosen == "utf-8-sig" else "replace"
    return io.TextIOWrapper(open_bytes(path), encoding=chosen, errors=errors, newline=newline)
