"""The last check of the object store, shared by all pages, so that none waits for it long."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from flask import current_app

from api.state.services import services_of
from etl.model.errors import EtlError, ObjectStoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from apiflask import APIFlask

FRESH_SECONDS = 5
KEPT_SECONDS = 30  # an older check is not shown
WAIT_SECONDS = 2

_KEY = "bucketline-store-check"


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """How long the store took to answer, in seconds, or why it did not."""

    seconds: float | None
    error: EtlError | None = None


@dataclass
class StoreChecks:
    """Checks the store in a thread, one check at a time."""

    check: Callable[[], float]
    clock: Callable[[], float] = time.monotonic
    wait_seconds: float = WAIT_SECONDS
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pending: Future[StoreCheck] | None = None
    _found: StoreCheck | None = None
    _found_at: float = float("-inf")

    def last(self) -> StoreCheck:
        """The last check.

        If it is not fresh, another one begins. Only if there is none, or an old one, the caller
        waits for it, for at most `wait_seconds`.
        """
        with self._lock:
            age = self.clock() - self._found_at
            if age > FRESH_SECONDS and (self._pending is None or self._pending.done()):
                self._pending = self._pool.submit(self._run)
            if self._found is not None and age <= KEPT_SECONDS:
                return self._found
            pending = cast("Future[StoreCheck]", self._pending)  # there is one if none was found
        try:
            return pending.result(self.wait_seconds)
        except TimeoutError:
            text = f"It has not answered within {self.wait_seconds:g} s."
            return StoreCheck(None, ObjectStoreUnavailable(text))

    def _run(self) -> StoreCheck:
        try:
            found = StoreCheck(self.check())
        except EtlError as error:
            found = StoreCheck(None, error)
        self._found, self._found_at = found, self.clock()
        return found


def register(app: APIFlask) -> None:
    """Prepare the checks of an app."""
    app.extensions[_KEY] = StoreChecks(services_of(app).store_latency)


def check_store() -> StoreCheck:
    """The last check of the store."""
    return cast("StoreChecks", current_app.extensions[_KEY]).last()
