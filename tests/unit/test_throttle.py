"""Requests within the limit: transient faults are retried, and concurrency is bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from obstore.exceptions import GenericError

from etl.runtime.pools import map_in_threads
from etl.storage import throttle
from etl.storage.throttle import (
    ATTEMPTS,
    ATTEMPTS_OVERLOADED,
    Throttle,
    is_overloaded,
    max_attempts,
)

SLOW_DOWN = "Generic S3 error: Error - Server returned non-2xx status code: 503 Slow Down: <Error/>"
HUNG = "Generic S3 error - HTTP error: error sending request\n inner: HttpError { kind: Timeout, }"
BROKEN = "Generic S3 error - HTTP error: error sending request\n inner: HttpError { kind: Connect }"


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "FIRST_PAUSE_SECONDS", 0)


def failing(*errors: Exception) -> Callable[[], str]:
    """A request that fails with these errors in order and then succeeds."""
    coming = iter(errors)

    def request() -> str:
        for error in coming:
            raise error
        return "answer"

    return request


@pytest.mark.parametrize("words", [SLOW_DOWN, SLOW_DOWN.replace("503", "429"), HUNG])
def test_refused_requests_are_repeated_and_halve_the_limit(words: str):
    requests = Throttle(64)
    assert requests.call_with_retries(failing(*[GenericError(words)] * 3)) == "answer"
    assert requests.current == 8


def test_transient_fault_is_retried_at_the_same_limit():
    requests = Throttle(64)
    errors = [GenericError(BROKEN), GenericError(SLOW_DOWN.replace("503", "500"))]
    assert requests.call_with_retries(failing(*errors)) == "answer"
    assert requests.current == 64


@pytest.mark.parametrize(
    ("error", "count"),
    [
        (GenericError(SLOW_DOWN), ATTEMPTS_OVERLOADED),
        (GenericError(HUNG), ATTEMPTS),
        (GenericError(BROKEN), ATTEMPTS),
        (LookupError("no such key"), 1),
    ],
)
def test_a_fault_that_does_not_pass_is_raised(error: Exception, count: int):
    assert max_attempts(error) == count
    assert Throttle(64).call_with_retries(failing(*[error] * (count - 1))) == "answer"
    with pytest.raises(type(error)):
        Throttle(64).call_with_retries(failing(*[error] * count))


def test_object_key_that_reads_like_an_error_code_is_ignored():
    error = GenericError("Generic S3 error: GET /status%20code:%20503%20kind:%20Timeout: 403")
    assert not is_overloaded(error)
    assert max_attempts(error) == 1


def test_no_more_requests_are_open_than_the_limit_allows():
    requests, lock = Throttle(32), threading.Lock()
    requests.call_with_retries(failing(*[GenericError(SLOW_DOWN)] * 3))
    assert requests.current == 4
    is_open, most = 0, [0]

    def request() -> None:
        nonlocal is_open
        with lock:
            is_open += 1
            most.append(is_open - requests.current)
        with lock:
            is_open -= 1

    map_in_threads(lambda _: requests.call_with_retries(request), range(2_000), 32)
    assert max(most) <= 0
    assert requests.current == 32
