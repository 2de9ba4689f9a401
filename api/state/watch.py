"""A check that is made now and then, in a thread of its own, so that no request waits for it."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.model.errors import EtlError, ObjectStoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

FRESH_SECONDS = 5
KEPT_SECONDS = 30  # an older result is not used
WAIT_SECONDS = 3  # a store that needs longer counts as down


@dataclass(frozen=True, slots=True)
class StoreState:
    """How long the object store took to respond, in seconds, or why it did not."""

    seconds: float | None
    error: EtlError | None = None


@dataclass
class Watch:
    """Knows the last result of a check of the object store; one check is made at a time."""

    check: Callable[[], float]
    clock: Callable[[], float] = time.monotonic
    wait_seconds: float = WAIT_SECONDS
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _pending: Future[StoreState] | None = None
    _found: StoreState | None = None
    _found_at: float = float("-inf")

    def last(self) -> StoreState:
        """The last result; if it is not fresh, another check begins.

        Only if there is no result, or an old one, the caller waits, for at most `wait_seconds`.
        """
        with self._lock:
            age = self.clock() - self._found_at
            if self._pending is None or (age > FRESH_SECONDS and self._pending.done()):
                self._pending = self._pool.submit(self._run)
            if self._found is not None and age <= KEPT_SECONDS:
                return self._found
            pending = self._pending
        try:
            return pending.result(self.wait_seconds)
        except TimeoutError:
            text = f"The object store has not responded within {self.wait_seconds:g} s."
            return self._keep(StoreState(None, ObjectStoreUnavailable(text)))

    def _run(self) -> StoreState:
        try:
            return self._keep(StoreState(self.check()))
        except EtlError as error:
            return self._keep(StoreState(None, error))

    def _keep(self, found: StoreState) -> StoreState:
        self._found, self._found_at = found, self.clock()
        return found
