"""What one run saw, and its profile: the seconds each step took, and how much it handled."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")


class Profile:
    """Seconds and rows by step. A step inside another is not counted in the outer one too.

    So the steps of one thread add up to its time. What other threads do meanwhile is told only
    by what this one had to wait for.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.rows: dict[str, int] = {}
        self._inner = threading.local()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add what the block takes to the step."""
        outer, self._inner.seconds = getattr(self._inner, "seconds", 0.0), 0.0
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            own = taken - self._inner.seconds
            self.seconds[name] = self.seconds.get(name, 0.0) + own
            self._inner.seconds = outer + taken

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items; what it takes to get each is added to the step."""
        coming = iter(items)
        while True:
            with self.step(name):
                found = next(coming, _END)
            if found is _END:
                return
            yield found  # type: ignore[misc]

    def count(self, name: str, rows: int) -> None:
        """Say that the step handled so many more."""
        self.rows[name] = self.rows.get(name, 0) + rows


_END = object()


@dataclass
class RunStats:
    """What the bucket showed, counted while it streams by, and what became of it.

    `unreadable` are keys, `untold` changes that no event told of, `retired_before` users whose
    retirement by earlier runs counts as if it were this one's.
    """

    listed: int = 0
    ignored: int = 0
    unchanged: int = 0
    staged: int = 0
    unreadable: set[str] = field(default_factory=set)
    vanished: int = 0
    untold: int = 0
    retired_before: int = 0
    profile: Profile = field(default_factory=Profile)
