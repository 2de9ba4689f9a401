"""Process untrusted bytes in child processes with limits of memory and time.

A process handles one call at a time, so a crash or a hang affects only the call that caused it.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from contextlib import contextmanager, suppress
from queue import LifoQueue
from threading import Lock
from typing import TYPE_CHECKING, Generic, TypeVar

from etl.model.errors import ConfigurationError

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

Result = TypeVar("Result")

START_SECONDS = 60
END_SECONDS = 5
_SPARE_CPU_SECONDS = 2
_PR_SET_PDEATHSIG = 1
# Never forked: the copy of a process with threads can wait for their locks forever.
_processes = multiprocessing.get_context("spawn")
_starting = Lock()


class WorkFailed(Exception):
    """The call returned no result, and its process has ended."""


class Crashed(WorkFailed):
    """The process ended before the call returned."""


class Killed(Crashed):
    """Both attempts ended by SIGKILL, usually from outside: the bytes are not the cause."""


class OutOfTime(WorkFailed):
    """The call exceeded its time limit, and its process was killed."""


class OutOfMemory(WorkFailed):
    """The call exceeded its memory limit."""


class Sandbox(Generic[Result]):
    """Processes that call `function` with bytes, for any number of threads.

    `function` is pickled by name. A process is started when it is first needed, and replaced
    after it ended. The processes end with close() or with this process, even if it crashes.
    """

    def __init__(
        self,
        function: Callable[[bytes], Result],
        *,
        processes: int,
        seconds: float,
        memory_bytes: int,
    ) -> None:
        self._function = function
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._idle: LifoQueue[_Worker[Result] | None] = LifoQueue()
        self._processes = processes
        for _ in range(processes):
            self._idle.put(None)

    def close(self) -> None:
        """End the processes after their current calls."""
        for worker in [self._idle.get() for _ in range(self._processes)]:
            if worker is not None:
                worker.kill()
            self._idle.put(None)

    def call(self, content: bytes) -> Result:
        """Call the function with these bytes in a free process and return its result.

        A call that ends its process is retried once in a new one. The cause may be a kill from
        outside, or memory that earlier calls fragmented.

        Raises:  Crashed, OutOfTime, OutOfMemory; ConfigurationError when no process starts.
        """
        with self._worker() as worker:
            try:
                return worker.do(content)
            except Crashed:
                pass
            except OutOfMemory:
                if worker.was_fresh:
                    raise
        with self._worker(replace=True) as worker:
            return worker.do(content)

    @contextmanager
    def _worker(self, *, replace: bool = False) -> Iterator[_Worker[Result]]:
        """Reserve a live process for this thread while the block runs."""
        worker = self._idle.get()
        try:
            if worker is not None and (replace or not worker.is_alive()):
                worker.kill()
                worker = None
            if worker is None:
                worker = _Worker(self._function, self._seconds, self._memory_bytes)
            yield worker
        finally:
            self._idle.put(worker)


class _Worker(Generic[Result]):
    """One process and the pipe to it."""

    def __init__(
        self, function: Callable[[bytes], Result], seconds: float, memory_bytes: int
    ) -> None:
        self._seconds = seconds
        self._calls = 0
        self._pipe, child_end = _processes.Pipe()
        self._process = _processes.Process(
            target=_serve, args=(child_end, function, seconds, memory_bytes), daemon=True
        )
        with _starting:
            self._process.start()
        child_end.close()
        try:
            self._receive(START_SECONDS)  # imports do not count toward a call
        except WorkFailed as error:  # before the first call, so no bytes caused it
            raise ConfigurationError(
                f"A process for decoding images did not start: {error}.",
                hint="See the log. IMAGE_MEMORY_MB may be too low, or a package may be missing.",
            ) from error

    @property
    def was_fresh(self) -> bool:
        """Whether the last call was its first."""
        return self._calls == 1

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def do(self, content: bytes) -> Result:
        """Raises:  Crashed, OutOfTime, OutOfMemory; the process has then ended."""
        self._calls += 1
        with suppress(OSError):  # _receive raises if the process has ended
            self._pipe.send_bytes(content)
        done, result = self._receive(self._seconds)
        if not done:
            self.kill()
            raise OutOfMemory
        return result

    def _receive(self, seconds: float) -> tuple[bool, Result]:
        try:
            if self._pipe.poll(seconds):
                response: tuple[bool, Result] = self._pipe.recv()
                return response
        except (EOFError, OSError) as error:
            self._process.join(END_SECONDS)  # wait for its exit code before the kill
            self.kill()
            raise _crash(self._process.exitcode) from error
        self.kill()
        raise OutOfTime(f"not done within {seconds:g} s")

    def kill(self) -> None:
        """Kill the process, even during a call."""
        self._pipe.close()
        self._process.kill()
        self._process.join(END_SECONDS)


def _crash(exit_code: int | None) -> Crashed:
    if exit_code is None or exit_code >= 0:
        return Crashed(f"ended with exit code {exit_code}")
    cause = signal.Signals(-exit_code)
    return (Killed if cause is signal.SIGKILL else Crashed)(f"ended by {cause.name}")


# -- in the process


def _serve(
    pipe: Connection, function: Callable[[bytes], Result], seconds: float, memory_bytes: int
) -> None:
    """Answer each message with (True, result), or with (False, None) when out of memory."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    _limit_memory(memory_bytes)
    pipe.send((True, None))
    while True:
        try:
            content = pipe.recv_bytes()
        except EOFError:
            return
        _limit_cpu(seconds)
        try:
            response: tuple[bool, Result | None] = (True, function(content))
        except MemoryError:
            response = (False, None)
        pipe.send(response)


def _die_with_parent() -> None:
    """On Linux, request a kill when the thread that started this process ends.

    Elsewhere the closed pipe ends this process after the current call or its CPU time limit.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if parent is None or os.getppid() != parent.pid:  # it ended before prctl
            os._exit(1)


def _limit_memory(memory_bytes: int) -> None:
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(ValueError, OSError):  # macOS does not support this limit
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _limit_cpu(seconds: float) -> None:
    """Limit the CPU time, in case the parent that enforces the timeout has ended."""
    if sys.platform != "win32":
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime + seconds) + _SPARE_CPU_SECONDS
        _, maximum = resource.getrlimit(resource.RLIMIT_CPU)
        with suppress(ValueError, OSError):  # above the hard limit of this process
            resource.setrlimit(resource.RLIMIT_CPU, (limit, maximum))
