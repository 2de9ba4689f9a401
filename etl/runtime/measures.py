"""Counts and durations of one process, for /metrics. Safe to share between threads."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TypeAlias

Labels: TypeAlias = tuple[str, ...]

# Upper bounds of the buckets of durations, in seconds.
BOUNDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0)


@dataclass(slots=True)
class Durations:
    """How many durations ended up in each bucket, and their sum; the last bucket has no bound."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """The number of durations."""
        return sum(self.buckets)


class Timings:
    """Durations by labels, and how many ended with an error."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._durations: defaultdict[Labels, Durations] = defaultdict(Durations)
        self._errors: defaultdict[Labels, int] = defaultdict(int)

    def add(self, seconds: float, labels: Labels = (), *, is_error: bool = False) -> None:
        """Count one duration."""
        with self._lock:
            one = self._durations[labels]
            one.buckets[bisect_left(BOUNDS, seconds)] += 1
            one.seconds += seconds
            self._errors[labels] += is_error

    def fail(self, labels: Labels = ()) -> None:
        """Count an error without a duration."""
        with self._lock:
            self._errors[labels] += 1

    def expect(self, labels: Labels = ()) -> None:
        """Show these labels before anything has been counted."""
        with self._lock:
            self._durations[labels]
            self._errors[labels]

    def durations(self) -> dict[Labels, Durations]:
        """What has been counted, by labels in order."""
        with self._lock:
            return {
                labels: Durations(list(one.buckets), one.seconds)
                for labels, one in sorted(self._durations.items())
            }

    def errors(self) -> dict[Labels, int]:
        """The number of errors, by labels in order."""
        with self._lock:
            return dict(sorted(self._errors.items()))
