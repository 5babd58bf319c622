"""What errors of libraries mean to a person: one table from exception to message."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable

from hubtools.errors import HubtoolsError, HubUnavailable, StorageError, UsageError, read_first_line
from hubtools.retries import RETRIED, find_status, is_connection_error, report_no_answer

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}


def translate_error(error: BaseException) -> HubtoolsError | None:
    """Return the error in our words; None for one that the table does not have.

    Some libraries hide what happened below an error of their own: the first in the chain of causes that the table has
    counts.
    """
    cause: BaseException | None = error
    while cause is not None:
        for translate in _TRANSLATIONS:
            translated = translate(cause)
            if translated is not None:
                return translated
        # As Python itself prints a chain: ``raise ... from None`` hides the context.
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


# Each returns the message for the errors that it knows, and None for all others.


def _keep_ours(error: BaseException) -> HubtoolsError | None:
    # First in the table: what one of ours was raised from is told by it already.
    return error if isinstance(error, HubtoolsError) else None


def _translate_variable(error: BaseException) -> HubtoolsError | None:
    # Libraries read them when they are imported, and say the value alone.
    quoted = re.findall(r"'([^']+)'", str(error)) if isinstance(error, ValueError) else []
    libraries = ("HF_", "HUGGING", "TRANSFORMERS_", "DATASETS_", "TRACKIO_")
    named = [name for name in os.environ if name.startswith(libraries) and os.environ[name] in quoted]
    if not named:
        return None
    return UsageError(
        f"The environment variable {named[0]} cannot be read",
        expected="a value that its library knows",
        found=f"{os.environ[named[0]]!r}: {error}",
        next="mend or unset it",
    )


def _translate_full_disk(error: BaseException) -> HubtoolsError | None:
    if not isinstance(error, OSError) or error.errno not in _DISK_FULL:
        return None
    return StorageError(
        "The disk is full",
        expected="room for what this command writes",
        # The file is not always named: a write to an open one does not know it.
        found=str(error.filename or error),
        next="free some space, then run the same command again",
    )


def _translate_unusable_path(error: BaseException) -> HubtoolsError | None:
    if not isinstance(error, OSError) or error.errno not in _NOT_WRITABLE:
        return None
    return StorageError(
        "A file or folder cannot be used",
        expected="a folder that can be written to",
        found=f"{error.strerror}: {error.filename}",
        next="give another one with --work-dir (or --hub-dir)",
    )


def _translate_bad_repo_name(error: BaseException) -> HubtoolsError | None:
    from huggingface_hub.errors import HFValidationError

    if not isinstance(error, HFValidationError):
        return None
    return UsageError(
        "The name of a repo is not one",
        expected="name or owner/name, of letters, digits, '-', '_' and '.'",
        found=read_first_line(error),
        next="mend the name and run the command again",
    )


def _translate_broken_connection(error: BaseException) -> HubtoolsError | None:
    return report_no_answer(error, _read_endpoint()) if is_connection_error(error) else None


def _translate_proxy(error: BaseException) -> HubtoolsError | None:
    named = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "all_proxy")]
    of_proxy = isinstance(error, ImportError | ValueError | TypeError) and re.search("socks|proxy", str(error), re.I)
    if not named or not (of_proxy or type(error).__name__ == "InvalidURL"):
        return None
    return HubUnavailable(
        "The proxy that the environment names cannot be used",
        expected="http://HOST:PORT",
        found=f"{', '.join(f'{name}={os.environ[name]}' for name in named)}: {error}",
        next="mend or unset these variables",
    )


def _translate_refusal(error: BaseException) -> HubtoolsError | None:
    status = find_status(error)
    if status not in (401, 403):
        return None
    return HubUnavailable(
        f"The Hub at {_read_endpoint()} refused ({status})",
        expected="a token with write access to this namespace",
        found=_find_message(error),
        next="hf auth login, or name another --namespace",
    )


def _translate_absence(error: BaseException) -> HubtoolsError | None:
    if find_status(error) != 404:
        return None
    return HubUnavailable(
        f"The Hub at {_read_endpoint()} has no such repo, file or revision",
        expected="a name that exists there",
        found=_find_message(error),
        # The Hub answers 404, not 403, for a private repo: else its name would be told to everybody.
        next="look at the name; a private repo needs a token that may read it (hf auth login)",
    )


def _translate_other_status(error: BaseException) -> HubtoolsError | None:
    status = find_status(error)
    if status is None:
        return None
    # What passes by itself needs nothing but another try.
    passes = status in RETRIED or status > 500
    return HubUnavailable(
        f"The Hub at {_read_endpoint()} answered {status}",
        expected="a Hub that takes what is sent",
        found=_find_message(error),
        next=("" if passes else "mend what it names, then ") + "run the same command again: what is done is kept",
    )


def _read_endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def _find_message(error: BaseException) -> str:
    """Return the first line of the Hub's own message, or of the error's."""
    return read_first_line(getattr(error, "server_message", None) or error)


# In this order, since one error may be several: a refusal is an answer of the Hub as well.
_TRANSLATIONS: tuple[Callable[[BaseException], HubtoolsError | None], ...] = (
    _keep_ours,
    _translate_variable,
    _translate_full_disk,
    _translate_unusable_path,
    _translate_bad_repo_name,
    _translate_broken_connection,
    _translate_proxy,
    _translate_refusal,
    _translate_absence,
    _translate_other_status,
)
