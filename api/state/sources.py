"""The buckets that may be written: those of the installed datasets and of the embedded store."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.model.errors import EtlError

if TYPE_CHECKING:
    from collections.abc import Callable

REFRESH_SECONDS = 5


@dataclass
class SourceBuckets:
    """Caches the source buckets for a few seconds, and while the database is down.

    Objects are served without the database, with the buckets that were known last: at first
    `known`, that of SOURCE_BUCKET.
    """

    read: Callable[[], list[str]]
    known: tuple[str, ...]
    refresh_seconds: float = REFRESH_SECONDS
    _read_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self) -> tuple[str, ...]:
        """The buckets, sorted; reads them from the database if they are not recent."""
        with self._lock:
            if self._is_old():
                self._refresh()
            return self.known

    def last(self) -> tuple[str, ...]:
        """The buckets as known; returns at once and, if they are not recent, reads them later."""
        if self._is_old() and not self._lock.locked():
            threading.Thread(target=self.get, daemon=True).start()
        return self.known

    def forget(self) -> None:
        """Read the buckets again at the next request, because one was created or removed."""
        self._read_at = float("-inf")

    def _is_old(self) -> bool:
        return time.monotonic() - self._read_at >= self.refresh_seconds

    def _refresh(self) -> None:
        with suppress(EtlError):
            self.known = tuple(self.read())
        self._read_at = time.monotonic()  # even then: the next requests do not wait either
