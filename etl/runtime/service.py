"""Long-running loops: a stop that wakes them, signals, threads, and retries after failures."""

from __future__ import annotations

import os
import select
import signal
from abc import ABC, abstractmethod
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


class StopEvent:
    """Like `threading.Event`, but safe to set in a signal handler, and `select` can wait for it."""

    def __init__(self) -> None:
        self._is_set = False
        self._readable, self._writable = os.pipe()

    def set(self) -> None:
        """Wake every waiting thread, now and from now on."""
        self._is_set = True
        os.write(self._writable, b".")

    def is_set(self) -> bool:
        """Whether set() was called."""
        return self._is_set

    def wait(self, seconds: float, *sources: Any) -> bool:  # noqa: ANN401 - whatever select takes
        """Sleep until set() is called, a source has data or time is up; return is_set()."""
        select.select([self._readable, *sources], [], [], max(seconds, 0))
        return self._is_set


class ServiceLoop(ABC):
    """A loop that serves until stop(), and again after each failure."""

    def __init__(self) -> None:
        self.stopping = StopEvent()

    def stop(self) -> None:
        """End after the current unit of work. Safe in a signal handler and in other threads."""
        self.stopping.set()

    def run_forever(self) -> None:
        """Serve until stop(); what `handle_failure` raises ends the loop as well."""
        while not self.stopping.is_set():
            try:
                self.serve()
            except Exception as error:  # noqa: BLE001 - handle_failure logs or raises it
                self.stopping.wait(self.handle_failure(error))

    @abstractmethod
    def serve(self) -> None:
        """Work until stop() or the first failure."""

    def handle_failure(self, error: Exception) -> float:
        """Log the failure and return the seconds until the next attempt, or raise it."""
        raise error


@contextmanager
def stop_on_signals(stop: Callable[[], object]) -> Iterator[None]:
    """Call `stop` on SIGTERM and SIGINT while the block runs; only in the main thread."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop()

    numbers = (signal.SIGTERM, signal.SIGINT)
    previous = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def in_thread(service: ServiceLoop, name: str, join_seconds: float | None = None) -> Iterator[None]:
    """Run the service in a daemon thread; stop it and join the thread after the block."""
    thread = Thread(target=service.run_forever, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        service.stop()
        thread.join(join_seconds)
