"""Waiting times that double from the first to the last, and when the next is over."""

from __future__ import annotations

import time


class Backoff:
    """How long to wait after each failure in a row."""

    def __init__(self, first_seconds: float, last_seconds: float) -> None:
        self._first, self._last = first_seconds, last_seconds
        self._seconds = first_seconds
        self._due: float | None = None

    def next(self) -> float:
        """The next waiting time."""
        seconds, self._seconds = self._seconds, min(self._seconds * 2, self._last)
        return seconds

    def arm(self) -> None:
        """Let the next attempt be due after the next waiting time."""
        self._due = time.monotonic() + self.next()

    def is_due(self) -> bool:
        """Whether an armed attempt's time has come; says so once."""
        if self._due is None or time.monotonic() < self._due:
            return False
        self._due = None
        return True

    def is_waiting(self) -> bool:
        """Whether an armed attempt's time has not come yet; once it has, none is armed."""
        return self._due is not None and not self.is_due()

    def seconds_left(self) -> float:
        """Until the armed attempt is due; infinity when none is armed."""
        return float("inf") if self._due is None else self._due - time.monotonic()

    def reset(self) -> None:
        """Begin again with the first waiting time; nothing is armed."""
        self._seconds, self._due = self._first, None
