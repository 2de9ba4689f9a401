"""Checks whether buckets are writable by writing a small object, and caches the results."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.model.errors import EtlError

if TYPE_CHECKING:
    from etl.storage.objects import Objects

RECHECK_SECONDS = 60
RETRY_SECONDS = 5


@dataclass
class WriteChecks:
    """Cached write checks: each bucket is written to at most once per minute."""

    objects: Objects
    retry_seconds: float = RETRY_SECONDS
    _results: dict[str, tuple[float, EtlError | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, bucket: str) -> None:
        """Raises:  the error of the last write to the bucket, if that failed."""
        with self._lock:
            checked_at, error = self._results.get(bucket, (float("-inf"), None))
            interval_seconds = self.retry_seconds if error else RECHECK_SECONDS
            if time.monotonic() - checked_at >= interval_seconds:
                error = self._write(bucket)
                self._results[bucket] = (time.monotonic(), error)
        if error is not None:
            raise error

    def _write(self, bucket: str) -> EtlError | None:
        try:
            self.objects.check_writable(bucket)
        except EtlError as error:
            return error
        return None
