"""What errors of libraries mean to a person: one table from exception to message."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

from hubtools.errors import HubtoolsError, HubUnavailable, StorageError, UsageError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}


def translate_error(error: BaseException) -> HubtoolsError | None:
    """Return the error in our words; None for one that the table does not have.

    Some libraries hide what happened below an error of their own: the first in the chain of causes that the table has
    counts.
    """
    cause: BaseException | None = error
    while cause is not None:
        for is_meant, translate in _TABLE:
            if is_meant(cause):
                return translate(cause)
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


def _is_ours(error: BaseException) -> bool:
    return isinstance(error, HubtoolsError)


def _keep(error: Any) -> HubtoolsError:
    return error  # type: ignore[no-any-return]


def _is_disk_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _DISK_FULL


def _report_full_disk(error: Any) -> HubtoolsError:
    return StorageError(
        "The disk is full",
        expected="room for what this command writes",
        found=str(error.filename or error),
        next="free some space, then run the same command again",
    )


def _is_not_writable(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _NOT_WRITABLE


def _report_unusable_path(error: Any) -> HubtoolsError:
    return StorageError(
        "A file or folder cannot be used",
        expected="a folder that can be written to",
        found=f"{error.strerror}: {error.filename}",
        next="give another one with --work-dir (or --hub-dir)",
    )


def _is_bad_repo_name(error: BaseException) -> bool:
    from huggingface_hub.errors import HFValidationError

    return isinstance(error, HFValidationError)


def _report_bad_repo_name(error: Any) -> HubtoolsError:
    return UsageError(
        "The name of a repo is not one",
        expected="name or owner/name, of letters, digits, '-', '_' and '.'",
        found=str(error).splitlines()[0],
        next="mend the name and run the command again",
    )


def _is_without_connection(error: BaseException) -> bool:
    from hubtools.publishing.commits import is_connection_error

    return is_connection_error(error)


def _report_no_connection(error: Any) -> HubtoolsError:
    from hubtools.publishing.commits import unreachable

    return unreachable(error, _endpoint())


def _status_of(error: BaseException) -> int | None:
    """Return the status of the Hub's answer that an error is about; None where it is about none."""
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status


def _is_refused_by_hub(error: BaseException) -> bool:
    return _status_of(error) in (401, 403)


def _report_refusal(error: Any) -> HubtoolsError:
    return HubUnavailable(
        f"The Hub at {_endpoint()} refused ({_status_of(error)})",
        expected="a token with write access to this namespace",
        found=_message_of(error),
        next="hf auth login, or name another --namespace",
    )


def _is_not_on_hub(error: BaseException) -> bool:
    return _status_of(error) == 404


def _report_absence(error: Any) -> HubtoolsError:
    return HubUnavailable(
        f"The Hub at {_endpoint()} has no such repo, file or revision",
        expected="a name that exists there",
        found=_message_of(error),
        next="look at the name; a private repo needs a token that may read it (hf auth login)",
    )


def _is_answer_of_hub(error: BaseException) -> bool:
    return _status_of(error) is not None


def _report_answer(error: Any) -> HubtoolsError:
    from hubtools.publishing.commits import RETRIED

    status = _status_of(error) or 0
    passing = status in RETRIED or status > 500
    return HubUnavailable(
        f"The Hub at {_endpoint()} answered {status}",
        expected="a Hub that takes what is sent",
        found=_message_of(error),
        next=("" if passing else "mend what it names, then ") + "run the same command again: what is done is kept",
    )


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def _message_of(error: BaseException) -> str:
    """Return the first line of what the Hub said, or of the error."""
    return str(getattr(error, "server_message", None) or str(error)).splitlines()[0]


# The first that is meant counts.
_TABLE: tuple[tuple[Callable[[BaseException], bool], Callable[[Any], HubtoolsError]], ...] = (
    (_is_ours, _keep),
    (_is_disk_full, _report_full_disk),
    (_is_not_writable, _report_unusable_path),
    (_is_bad_repo_name, _report_bad_repo_name),
    (_is_without_connection, _report_no_connection),
    (_is_refused_by_hub, _report_refusal),
    (_is_not_on_hub, _report_absence),
    (_is_answer_of_hub, _report_answer),
)
