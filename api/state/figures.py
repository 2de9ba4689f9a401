"""A cache of numbers that are expensive to compute, each computed by one request at a time."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from etl.model.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

WAIT_SECONDS = 20


class Figures:
    """Holds the last value of each name, with the version of the data that it is of."""

    def __init__(self, wait_seconds: float = WAIT_SECONDS) -> None:
        self._wait_seconds = wait_seconds
        self._locks: defaultdict[Hashable, threading.Lock] = defaultdict(threading.Lock)
        self._found: dict[Hashable, tuple[Hashable, Any]] = {}

    def get(self, name: Hashable, version: Hashable, compute: Callable[[], Any]) -> Any:  # noqa: ANN401
        """The value for this version; computed if that is not the last one.

        Raises:  TransientError when another request computes it for too long.
        """
        known = self._found.get(name)
        if known is not None and known[0] == version:
            return known[1]
        lock = self._locks[name]
        if not lock.acquire(timeout=self._wait_seconds):
            raise TransientError(
                "The numbers of this dataset are being computed.", hint="Try again in a minute."
            )
        try:
            known = self._found.get(name)
            if known is None or known[0] != version:
                known = version, compute()
                self._found[name] = known
            return known[1]
        finally:
            lock.release()
