"""Runs functions on untrusted bytes in separate processes with limits of memory and time.

A process handles one call at a time, so a crash or a hang fails only the call that caused it.
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
# Spawned, not forked: a fork of a process with threads may wait forever for a lock they held.
_processes = multiprocessing.get_context("spawn")
_starting = Lock()


class WorkFailed(Exception):
    """The work returned no result, and its process has ended."""


class Crashed(WorkFailed):
    """The process ended before the work was done."""


class Killed(Crashed):
    """Another process killed ours twice, so the effect of these bytes is unknown."""


class OutOfTime(WorkFailed):
    """The work was not done in time, and its process was killed."""


class OutOfMemory(WorkFailed):
    """The work needed more memory than its limit."""


class Sandbox(Generic[Result]):
    """A pool of processes that call `function` with bytes, for any number of threads.

    The processes import `function` by its name. Each is started on first use and replaced after
    it has died. They end with close(), or when this process ends in any way.
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
        """End the processes, each after its current call."""
        for worker in [self._idle.get() for _ in range(self._processes)]:
            if worker is not None:
                worker.kill()
            self._idle.put(None)

    def call(self, content: bytes) -> Result:
        """The function's result for these bytes; waits for an idle process.

        A call that ends its process is retried once in a new one, because the cause may be
        another: a kill by another process, or memory that earlier calls had fragmented.

        Raises:  Crashed, OutOfTime, OutOfMemory; ConfigurationError when no process starts.
        """
        with self._worker() as worker:
            try:
                return worker.do(content)
            except Crashed:
                pass
            except OutOfMemory:
                if worker.was_new:
                    raise
        with self._worker(replace=True) as worker:
            return worker.do(content)

    @contextmanager
    def _worker(self, *, replace: bool = False) -> Iterator[_Worker[Result]]:
        """A running process, used only by this thread and returned to the pool afterwards."""
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
        self._pipe, theirs = _processes.Pipe()
        self._process = _processes.Process(
            target=_serve, args=(theirs, function, seconds, memory_bytes), daemon=True
        )
        with _starting:
            self._process.start()
        theirs.close()
        try:
            # Wait here, so that its imports do not count in the first call's time.
            self._receive(START_SECONDS)
        except WorkFailed as error:  # before any call, so no bytes can be the cause
            raise ConfigurationError(
                f"A process with limited memory did not start: {error}.",
                hint="See the log: IMAGE_MEMORY_MB may be too low, or a package may be missing.",
            ) from error

    @property
    def was_new(self) -> bool:
        """Whether the last call was its first."""
        return self._calls == 1

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def do(self, content: bytes) -> Result:
        """Raises:  Crashed, OutOfTime, OutOfMemory; then the process has ended."""
        self._calls += 1
        with suppress(OSError):  # if the process has ended, receiving its answer fails
            self._pipe.send_bytes(content)
        done, result = self._receive(self._seconds)
        if not done:
            self.kill()
            raise OutOfMemory
        return result

    def _receive(self, seconds: float) -> tuple[bool, Result]:
        try:
            if self._pipe.poll(seconds):
                answer: tuple[bool, Result] = self._pipe.recv()
                return answer
        except (EOFError, OSError) as error:
            self._process.join(END_SECONDS)  # it is ending; wait for its exit code
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
    end = signal.Signals(-exit_code)
    return (Killed if end is signal.SIGKILL else Crashed)(f"ended by {end.name}")


# -- in the child process


def _serve(
    pipe: Connection, function: Callable[[bytes], Result], seconds: float, memory_bytes: int
) -> None:
    """Answer each message with (True, result), or (False, None) when out of memory."""
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
            answer: tuple[bool, Result | None] = (True, function(content))
        except MemoryError:
            answer = (False, None)
        pipe.send(answer)


def _die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends; Linux only.

    On other systems it ends when its pipe closes, after the current call or its CPU time limit.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if parent is None or os.getppid() != parent.pid:  # it has ended already
            os._exit(1)


def _limit_memory(memory_bytes: int) -> None:
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(ValueError, OSError):  # macOS has no such limit
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _limit_cpu(seconds: float) -> None:
    """Limit CPU time, in case the parent has ended and its timeout with it."""
    if sys.platform != "win32":
        used = resource.getrusage(resource.RUSAGE_SELF)
        end = int(used.ru_utime + used.ru_stime + seconds) + _SPARE_CPU_SECONDS
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        with suppress(ValueError, OSError):  # above the process's hard limit
            resource.setrlimit(resource.RLIMIT_CPU, (end, hard))
