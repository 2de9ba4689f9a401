"""Exponential back-off: delays that double up to a maximum, and when the next attempt is due."""

from __future__ import annotations

import time


class Backoff:
    """The delay after each consecutive failure."""

    def __init__(self, first_seconds: float, last_seconds: float) -> None:
        self._first, self._last = first_seconds, last_seconds
        self._seconds = first_seconds
        self._due: float | None = None

    def next(self) -> float:
        """Return the next delay, and double the one after it."""
        seconds, self._seconds = self._seconds, min(self._seconds * 2, self._last)
        return seconds

    def arm(self) -> None:
        """Schedule the next attempt after the next delay."""
        self._due = time.monotonic() + self.next()

    def is_armed(self) -> bool:
        """Whether an attempt is scheduled, due or not."""
        return self._due is not None

    def is_due(self) -> bool:
        """Whether a scheduled attempt is due; if so, it is no longer scheduled."""
        if self._due is None or time.monotonic() < self._due:
            return False
        self._due = None
        return True

    def is_waiting(self) -> bool:
        """Whether an attempt is scheduled and not due yet; a due one is no longer scheduled."""
        return self._due is not None and not self.is_due()

    def seconds_left(self) -> float:
        """Seconds until the scheduled attempt; infinity if none is scheduled."""
        return float("inf") if self._due is None else self._due - time.monotonic()

    def reset(self) -> None:
        """Start again at the first delay, with no attempt scheduled."""
        self._seconds, self._due = self._first, None
