"""Limit concurrent requests to what a store can handle, and retry those that it refuses.

The clients' own retries would hide that there were too many.
"""

from __future__ import annotations

import random
import re
import time
from collections import deque
from itertools import count
from threading import Condition
from typing import TYPE_CHECKING, TypeVar

import structlog
from minio.error import S3Error
from obstore.exceptions import GenericError
from urllib3 import exceptions as urllib3_errors

from etl.runtime.backoff import Backoff
from etl.storage.limit import Limit

if TYPE_CHECKING:
    from collections.abc import Callable

Response = TypeVar("Response")

log = structlog.get_logger("etl.throttle")

FIRST_PAUSE_SECONDS = 0.1
LAST_PAUSE_SECONDS = 5
ATTEMPTS_REFUSED = 16  # within some 40 s; then the run fails, and the next one tries again
ATTEMPTS = 4  # with timeouts and other faults that may pass

_REFUSING = {429, 503}
_FAILING = {500, 502, 504}
# obstore distinguishes statuses and timeouts only in its error text.
_STATUS = re.compile(r"non-2xx status code: (\d{3})\b")
_TIMEOUT = re.compile(r"\bkind: Timeout\b|\bTimedOut\b")
_TRANSPORT = re.compile(r"\bHttpError\b|HTTP error")


class Throttle:
    """Requests of any number of threads, at most `most` open at once, fewer while overloaded.

    While the store is not overloaded, no request takes the lock: a hundred threads would queue.
    """

    def __init__(self, most: int) -> None:
        self._limit = Limit(most)
        self._changed = Condition()
        self._open = deque[None]()  # one for each request: appending needs no lock
        self._waiting = 0

    @property
    def current(self) -> int:
        """How many requests may be open now."""
        return self._limit.current

    def call(self, request: Callable[[], Response]) -> Response:
        """The result of the request, repeated while its fault may pass.

        Raises:  what the request raised last.
        """
        pauses = Backoff(FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS)
        for attempt in count(1):
            try:
                return self._send(request)
            except Exception as error:
                if attempt >= attempts(error):
                    raise
            time.sleep(pauses.next() * random.uniform(0.5, 1))  # noqa: S311 - spreads the load
        raise AssertionError("unreachable")

    def _send(self, request: Callable[[], Response]) -> Response:
        halvings = self._enter()
        is_answered = is_refused = False
        try:
            result = request()
            is_answered = True
        except Exception as error:
            is_refused = is_refusal(error)
            raise
        finally:
            self._leave(halvings, is_answered=is_answered, is_refused=is_refused)
        return result

    def _enter(self) -> int:
        """Wait for a place; how often the limit was halved by then."""
        if self._limit.is_full and len(self._open) < self._limit.current:
            self._open.append(None)
            return self._limit.halvings
        with self._changed:
            self._waiting += 1  # before the check, so that a request that ends meanwhile notifies
            self._changed.wait_for(lambda: len(self._open) < self._limit.current)
            self._waiting -= 1
            self._open.append(None)
            return self._limit.halvings

    def _leave(self, halvings: int, *, is_answered: bool, is_refused: bool) -> None:
        """Let others take the place, and one more where the limit rose."""
        self._open.pop()
        if self._limit.is_full and not self._waiting and not is_refused:
            return
        with self._changed:
            if is_answered:
                self._limit.note_answer()
            is_halved = is_refused and self._limit.note_refusal(halvings)
            self._changed.notify(2)
        if is_halved:
            log.warning("fetching fewer objects at once", at_once=self.current)


def is_refusal(error: BaseException) -> bool:
    """Whether the store asks for less: 503 SlowDown, 429, or no answer in time."""
    if isinstance(error, urllib3_errors.MaxRetryError):
        return isinstance(error.reason, urllib3_errors.TimeoutError)
    return _status(error) in _REFUSING or _says(error, _TIMEOUT)


def attempts(error: BaseException) -> int:
    """How often to try in total after such a failure."""
    status = _status(error)
    if status in _REFUSING:
        return ATTEMPTS_REFUSED
    return ATTEMPTS if status in _FAILING or _says(error, _TRANSPORT) else 1


def _status(error: BaseException) -> int | None:
    if isinstance(error, S3Error):
        return int(error.response.status)
    found = _STATUS.search(str(error)) if isinstance(error, GenericError) else None
    return int(found[1]) if found else None


def _says(error: BaseException, words: re.Pattern[str]) -> bool:
    return isinstance(error, GenericError) and words.search(str(error)) is not None
