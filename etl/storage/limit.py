"""The limit of concurrent requests: halved if the store is overloaded, then raised slowly."""

from __future__ import annotations


class Limit:
    """Additive increase, multiplicative decrease, as in TCP; never above `most`, never below 1.

    An overload response halves it, and as many successes as the limit raise it by one. An
    overload is ignored if its request began before the last halving, so that a burst of them
    halves the limit once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._current = most
        self._successes = 0
        self._halvings = 0

    @property
    def current(self) -> int:
        """The number of requests allowed now."""
        return self._current

    @property
    def is_full(self) -> bool:
        """Whether the limit is at its maximum."""
        return self._current == self._most

    @property
    def halvings(self) -> int:
        """The number of halvings; record it when a request begins."""
        return self._halvings

    def add_success(self) -> None:
        """Count a success."""
        self._successes += 1
        if self._successes >= self._current:
            self._successes = 0
            self._current = min(self._most, self._current + 1)

    def add_overload(self, halvings: int) -> bool:
        """Count an overload of a request that began after `halvings`; return whether it halves."""
        if halvings != self._halvings:
            return False
        self._halvings += 1
        self._successes = 0
        self._current = max(1, self._current // 2)
        return True
