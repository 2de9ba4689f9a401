"""How many requests to send at once, by the time that the store takes to answer.

A few requests at once are the fastest with a store next door, where more only compete for the
processors. With a store far away, each thread waits most of the time, and hundreds are needed.
"""

from __future__ import annotations

from math import inf

FIRST = 16  # at once until as many have been answered
PER_SECOND = 5_000  # more requests than one process can send, so that waiting does not limit it
FAR_SECONDS = 0.01
RANGES_IF_FAR = 8  # of a listing; each page waits for the one before
SMALL_BYTES = 64 * 1024  # larger objects take their time even from a store next door


class Pace:
    """The number of requests at once; it rises with the shortest answer time.

    At most `most` objects are fetched at once. Safe to share between threads: a lost answer only delays the rise.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers = 0
        self._least_seconds = inf

    def add(self, seconds: float, size: int) -> None:
        """Take note of an answer with this many bytes of an object."""
        if size <= SMALL_BYTES:
            self._least_seconds = min(self._least_seconds, seconds)
            self._answers += 1

    @property
    def is_known(self) -> bool:
        """Whether there was an answer."""
        return self._answers > 0

    @property
    def ranges(self) -> int:
        """How many key ranges of a bucket to list at once."""
        return RANGES_IF_FAR if self.is_known and self._least_seconds > FAR_SECONDS else 1

    @property
    def at_once(self) -> int:
        """How many small objects to fetch at once."""
        wanted = FIRST
        if self._answers >= FIRST:
            wanted = max(FIRST, round(self._least_seconds * PER_SECOND))
        return min(wanted, self._most)
