"""The number of concurrent requests: halved when the store refuses one, raised again slowly."""

from __future__ import annotations


class Limit:
    """Additive increase, multiplicative decrease, as in TCP; never above `most`, never below 1.

    Each refusal halves it, and each round of as many answers as the limit raises it by one. A
    refusal is ignored if its request began before the last halving, so that one burst of
    refusals halves the limit once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._current = most
        self._answers = 0
        self._halvings = 0

    @property
    def current(self) -> int:
        """How many may be open now."""
        return self._current

    @property
    def is_full(self) -> bool:
        """Whether nothing limits requests but the most there may be."""
        return self._current == self._most

    @property
    def halvings(self) -> int:
        """How often it was halved; to be noted when a request begins."""
        return self._halvings

    def note_answer(self) -> None:
        """Count an answer."""
        self._answers += 1
        if self._answers >= self._current:
            self._answers = 0
            self._current = min(self._most, self._current + 1)

    def note_refusal(self, halvings: int) -> bool:
        """Whether the refusal of a request that began after so many halvings halves it."""
        if halvings != self._halvings:
            return False
        self._halvings += 1
        self._answers = 0
        self._current = max(1, self._current // 2)
        return True
