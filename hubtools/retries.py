"""Calls of the Hub that are made again: after a conflict, a server in trouble, or a connection that broke."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hubtools.errors import HubtoolsError, HubUnavailable, read_first_line

T = TypeVar("T")

# A conflict or a parent that is no longer the newest (409, 412), too many requests, and a server that has trouble.
RETRIED = {409, 412, 429, 500, 502, 503, 504}


def is_connection_error(error: BaseException) -> bool:
    """Return whether the Hub did not answer."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return True
    # By the module's name: versions of huggingface_hub use different HTTP clients, and not all of them are installed.
    client = type(error).__module__.split(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
    # An error about a status (HTTPStatusError) is an answer.
    return client and "Status" not in type(error).__name__


def _is_worth_retrying(error: BaseException) -> bool:
    # Libraries wrap what went wrong: an upload of large files that broke is a RuntimeError, a model that could not be
    # fetched an OSError, each with its cause behind it.
    cause: BaseException | None = None if isinstance(error, HubtoolsError) else error
    while cause is not None:
        if find_status(cause) in RETRIED or is_connection_error(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def find_status(error: BaseException | None) -> int | None:
    """Return the HTTP status of the answer that an error is about; None where it is about none."""
    status: int | None = getattr(getattr(error, "response", None), "status_code", None)
    return status


def call_with_retries(call: Callable[[], T], tries: int = 6) -> T:
    """Return ``call()``, made again after 409, 412, 429, 5xx or a connection that broke.

    Six tries take about half a minute. Where a 429 says how long to wait, it is waited for that long, five minutes at
    most.
    """
    from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_exponential, wait_random

    # With jitter, so that two commands that met do not meet again at the next try.
    backoff = wait_exponential(multiplier=0.5, max=10) + wait_random(0, 1)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.response.headers.get("Retry-After", "") if find_status(error) == 429 else ""  # type: ignore[union-attr]
        # The header may hold a date instead of seconds: then our own pause has to do.
        return max(backoff(state), min(float(asked), 300.0) if asked.isdecimal() else 0.0)

    for attempt in Retrying(
        retry=retry_if_exception(_is_worth_retrying), stop=stop_after_attempt(tries), reraise=True, wait=wait
    ):
        with attempt:
            return call()
    raise AssertionError("tenacity re-raises the last error")


def report_no_answer(error: BaseException, endpoint: str) -> HubUnavailable:
    """Return the error, in our words, for a Hub that does not answer."""
    return HubUnavailable(
        f"The Hub at {endpoint} does not answer",
        expected="an answer",
        found=read_first_line(error),
        next="run the same command again: what is done is kept, and it goes on from there",
    )
