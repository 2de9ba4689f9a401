"""Counters of one run, and its step timings: seconds and rows of each step."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etl.model.values import Counts
    from etl.sync.batch import Batch
    from etl.sync.run_tables import ReadBatch

Item = TypeVar("Item")


class Profile:
    """Seconds and rows by step. The time of an inner step is not part of the outer one.

    The steps of one thread therefore add up to its time. Work in other threads counts only as
    the time that this thread waits for it. `began` and `ended` have the first and the last moment
    of each step, as time.perf_counter.
    """

    def __init__(self) -> None:
        self.created = time.perf_counter()
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.seconds: dict[str, float] = {}
        self.rows: dict[str, int] = {}
        self._inner = threading.local()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add the time of the block to the step."""
        outer, self._inner.seconds = getattr(self._inner, "seconds", 0.0), 0.0
        started = time.perf_counter()
        self.began.setdefault(name, started)
        try:
            yield
        finally:
            self.ended[name] = time.perf_counter()
            taken = self.ended[name] - started
            own = taken - self._inner.seconds
            self.seconds[name] = self.seconds.get(name, 0.0) + own
            self._inner.seconds = outer + taken

    def each(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items; the time to get each is added to the step."""
        coming = iter(items)
        while True:
            with self.step(name):
                found = next(coming, _END)
            if found is _END:
                return
            yield found  # type: ignore[misc]

    @property
    def spans(self) -> dict[str, tuple[float, float]]:
        """When each step first began and last ended, in seconds after the start."""
        return {
            name: (began - self.created, self.ended[name] - self.created)
            for name, began in self.began.items()
            if name in self.ended
        }

    def count(self, name: str, rows: int) -> None:
        """Add rows to the step."""
        self.rows[name] = self.rows.get(name, 0) + rows


_END = object()


@dataclass
class RunStats:
    """Counters of the listing and of staging.

    `unreadable` holds keys. `missed_by_events` counts changes without an event. `compared` are the
    datasets with objects whose rows were compared before they were staged, and `datasets` those
    whose objects this process staged. `elsewhere_seconds` are CPU seconds of other processes that
    read.
    """

    listed: int = 0
    ignored: int = 0
    unchanged: int = 0
    staged: int = 0
    unreadable: set[str] = field(default_factory=set)
    vanished: int = 0
    missed_by_events: int = 0
    compared: set[str] = field(default_factory=set)
    datasets: set[str | None] = field(default_factory=set)
    elsewhere_seconds: float = 0.0
    profile: Profile = field(default_factory=Profile)

    def add(self, batch: Batch) -> None:
        """Count what was staged."""
        self.profile.count("stage", batch.row_count)
        self.staged += len(batch.objects)
        self.unreadable.update(batch.unreadable)
        self.vanished += batch.vanished
        self.datasets.update(one.dataset for one in batch.objects)
        if batch.compared is not None:
            self.compared.add(batch.compared.sql.dataset.name)

    def add_staged(self, found: ReadBatch) -> None:
        """Count what another process staged."""
        self.profile.count("stage", found.row_count)
        self.staged += found.objects
        self.unreadable.update(found.unreadable)
        self.vanished += found.vanished
        self.elsewhere_seconds += found.cpu_seconds

    def snapshot(self) -> RunStats:
        """The counters as they are, for `restore`."""
        return replace(self, unreadable=set(self.unreadable))

    def restore(self, before: RunStats) -> None:
        """Set the counters of objects back."""
        self.listed, self.ignored = before.listed, before.ignored
        self.unchanged, self.staged = before.unchanged, before.staged
        self.unreadable, self.vanished = before.unreadable, before.vanished

    def added_to(self, merged: Counts) -> Counts:
        """The counts of the merge, with those of the listing."""
        return replace(
            merged,
            objects_listed=self.listed,
            objects_ignored=self.ignored,
            objects_unchanged=self.unchanged,
            objects_unreadable=len(self.unreadable),
            objects_vanished=self.vanished,
            found_by_reconcile=self.missed_by_events,
        )
