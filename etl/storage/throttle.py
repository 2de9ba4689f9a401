"""Limit concurrent requests to what the store can handle, and retry those that fail.

The clients do not retry, because that would hide an overload from the limit.
"""

from __future__ import annotations

import random
import re
import time
from collections import deque
from itertools import count
from threading import Condition
from typing import TYPE_CHECKING, TypeVar

from minio.error import S3Error
from obstore.exceptions import GenericError
from urllib3 import exceptions as urllib3_errors

from etl.runtime.backoff import Backoff
from etl.runtime.logs import get_logger
from etl.storage.limit import Limit

if TYPE_CHECKING:
    from collections.abc import Callable

Response = TypeVar("Response")

log = get_logger("etl.throttle")

FIRST_PAUSE_SECONDS = 0.1
LAST_PAUSE_SECONDS = 5
ATTEMPTS_OVERLOADED = 16  # within some 40 s; then the run fails, and the next one retries
ATTEMPTS = 4  # for other temporary failures

_OVERLOADED = {429, 503}
_FAILED = {500, 502, 504}
# obstore distinguishes statuses and timeouts only in its error text.
_STATUS = re.compile(r"non-2xx status code: (\d{3})\b")
_TIMEOUT = re.compile(r"\bkind: Timeout\b|\bTimedOut\b")
_TRANSPORT = re.compile(r"\bHttpError\b|HTTP error")


class Throttle:
    """Allows at most `most` concurrent requests, and fewer while the store is overloaded.

    Requests take the lock only during an overload; otherwise a hundred threads would queue for it.
    """

    def __init__(self, most: int) -> None:
        self._limit = Limit(most)
        self._changed = Condition()
        self._open = deque[None]()  # one for each request: appending needs no lock
        self._waiting = 0

    @property
    def current(self) -> int:
        """The number of concurrent requests allowed now."""
        return self._limit.current

    def call_with_retries(self, request: Callable[[], Response]) -> Response:
        """Send the request, and retry temporary failures.

        Raises:  the last exception of the request.
        """
        pauses = Backoff(FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS)
        for attempt in count(1):
            try:
                return self._send(request)
            except Exception as error:
                if attempt >= max_attempts(error):
                    raise
            time.sleep(pauses.next() * random.uniform(0.5, 1))  # noqa: S311 - spreads the load
        raise AssertionError("unreachable")

    def _send(self, request: Callable[[], Response]) -> Response:
        halvings = self._enter()
        is_successful = is_overload = False
        try:
            result = request()
            is_successful = True
        except Exception as error:
            is_overload = is_overloaded(error)
            raise
        finally:
            self._leave(halvings, is_successful=is_successful, is_overload=is_overload)
        return result

    def _enter(self) -> int:
        """Wait until another request is allowed; return the number of halvings so far."""
        if self._limit.is_full and len(self._open) < self._limit.current:
            self._open.append(None)
            return self._limit.halvings
        with self._changed:
            self._waiting += 1  # before the check, so that a request that ends meanwhile notifies
            self._changed.wait_for(lambda: len(self._open) < self._limit.current)
            self._waiting -= 1
            self._open.append(None)
            return self._limit.halvings

    def _leave(self, halvings: int, *, is_successful: bool, is_overload: bool) -> None:
        """Let waiting requests continue: one, and another if the limit rose."""
        self._open.pop()
        if self._limit.is_full and not self._waiting and not is_overload:
            return
        with self._changed:
            if is_successful:
                self._limit.add_success()
            is_halved = is_overload and self._limit.add_overload(halvings)
            self._changed.notify(2)
        if is_halved:
            log.warning("reduced concurrent requests to an overloaded store", at_once=self.current)


def is_overloaded(error: BaseException) -> bool:
    """Whether the store is overloaded: 503 SlowDown, 429, or a timeout."""
    if isinstance(error, urllib3_errors.MaxRetryError):
        return isinstance(error.reason, urllib3_errors.TimeoutError)
    return _status(error) in _OVERLOADED or _matches(error, _TIMEOUT)


def max_attempts(error: BaseException) -> int:
    """The maximum number of attempts after such a failure."""
    status = _status(error)
    if status in _OVERLOADED:
        return ATTEMPTS_OVERLOADED
    return ATTEMPTS if status in _FAILED or _matches(error, _TRANSPORT) else 1


def _status(error: BaseException) -> int | None:
    if isinstance(error, S3Error):
        return int(error.response.status)
    found = _STATUS.search(str(error)) if isinstance(error, GenericError) else None
    return int(found[1]) if found else None


def _matches(error: BaseException, pattern: re.Pattern[str]) -> bool:
    return isinstance(error, GenericError) and pattern.search(str(error)) is not None
