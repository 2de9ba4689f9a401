"""Whether our buckets can be written: tried by a tiny put, and remembered."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl.model.errors import EtlError

if TYPE_CHECKING:
    from etl.storage.objects import Objects

PUT_EVERY_SECONDS = 60
RETRY_SECONDS = 5


@dataclass
class WriteChecks:
    """Whether buckets can be written, found out by a tiny put, at most one a minute each."""

    objects: Objects
    _known: dict[str, tuple[float, EtlError | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, bucket: str) -> None:
        """Raises:  what the last put into the bucket failed with."""
        with self._lock:
            checked_at, error = self._known.get(bucket, (float("-inf"), None))
            patience = RETRY_SECONDS if error else PUT_EVERY_SECONDS
            if time.monotonic() - checked_at >= patience:
                error = self._try(bucket)
                self._known[bucket] = (time.monotonic(), error)
        if error is not None:
            raise error

    def _try(self, bucket: str) -> EtlError | None:
        try:
            self.objects.check_writable(bucket)
        except EtlError as error:
            return error
        return None
