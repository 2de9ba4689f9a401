"""A check that is made now and then, in a thread of its own, so that no request waits for it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from etl.model.errors import EtlError

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_SECONDS = 15
FIRST_WAIT_SECONDS = 1


class Watch:
    """Knows the last result of a check."""

    def __init__(self, check: Callable[[], float], every_seconds: float = EVERY_SECONDS) -> None:
        self._check = check
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        self._is_known = threading.Event()
        self._began_at: float | None = None
        self._last: float | None = None

    def last(self) -> float | None:
        """The last result, None if it failed; a check begins if the last one is old enough."""
        now = time.monotonic()
        with self._lock:
            is_due = self._began_at is None or now - self._began_at >= self._every_seconds
            if is_due:
                self._began_at = now
        if is_due:
            threading.Thread(target=self._run, daemon=True).start()
        self._is_known.wait(FIRST_WAIT_SECONDS)
        return self._last

    def _run(self) -> None:
        try:
            self._last = self._check()
        except EtlError:
            self._last = None
        self._is_known.set()
