"""Work on bytes from outside in processes of its own, each within limits of memory and time.

A crash or a hang costs the one piece of work that caused it: a process has one piece at a
time, so there is never a doubt whose fault it was.
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
# Started afresh, never forked: a copy of a process with threads may wait for their locks for ever.
_processes = multiprocessing.get_context("spawn")
_starting = Lock()


class WorkFailed(Exception):
    """The work gave no result, and its process is gone."""


class Crashed(WorkFailed):
    """The process ended before the work did."""


class Killed(Crashed):
    """Somebody killed the process, twice: what the bytes would have done is not known."""


class OutOfTime(WorkFailed):
    """The work was not done in time, and its process was killed."""


class OutOfMemory(WorkFailed):
    """The work asked for more memory than it may have."""


class Sandbox(Generic[Result]):
    """Processes that call `function` with bytes, for any number of threads.

    `function` is found by its name in its module. A process is started when it is first
    needed, and a new one after one that died. They end with close(), or with this process,
    however it ends.
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
        """End the processes, as soon as none is at work."""
        for worker in [self._idle.get() for _ in range(self._processes)]:
            if worker is not None:
                worker.kill()
            self._idle.put(None)

    def call(self, content: bytes) -> Result:
        """What the function gives for these bytes; waits for a process that is free.

        What ends its process is tried once more in a new one: a kill from outside, or memory
        that earlier work left in pieces, is no fault of these bytes.

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
        with self._worker(anew=True) as worker:
            return worker.do(content)

    @contextmanager
    def _worker(self, *, anew: bool = False) -> Iterator[_Worker[Result]]:
        """A living process for this thread alone; put back afterwards."""
        worker = self._idle.get()
        try:
            if worker is not None and (anew or not worker.is_alive()):
                worker.kill()
                worker = None
            if worker is None:
                worker = _Worker(self._function, self._seconds, self._memory_bytes)
            yield worker
        finally:
            self._idle.put(worker)


class _Worker(Generic[Result]):
    """One process, and the pipe to it."""

    def __init__(
        self, function: Callable[[bytes], Result], seconds: float, memory_bytes: int
    ) -> None:
        self._seconds = seconds
        self._pieces = 0
        self._pipe, theirs = _processes.Pipe()
        self._process = _processes.Process(
            target=_serve, args=(theirs, function, seconds, memory_bytes), daemon=True
        )
        with _starting:
            self._process.start()
        theirs.close()
        try:
            self._receive(START_SECONDS)  # its imports are no part of the first piece's time
        except WorkFailed as error:  # no work has begun whose fault it could be
            raise ConfigurationError(
                f"A process to decode images in did not start: {error}.",
                hint="The log says why; IMAGE_MEMORY_MB may be too low, or a package missing.",
            ) from error

    @property
    def was_fresh(self) -> bool:
        """Whether the last piece of work was its first."""
        return self._pieces == 1

    def is_alive(self) -> bool:
        return self._process.is_alive()

    def do(self, content: bytes) -> Result:
        """Raises:  Crashed, OutOfTime, OutOfMemory; the process is gone then."""
        self._pieces += 1
        with suppress(OSError):  # a process that is gone shows when its answer is received
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
            self._process.join(END_SECONDS)  # it ends by itself; how, is to be told
            self.kill()
            raise _crash(self._process.exitcode) from error
        self.kill()
        raise OutOfTime(f"not done within {seconds:g} s")

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._pipe.close()
        self._process.kill()
        self._process.join(END_SECONDS)


def _crash(exit_code: int | None) -> Crashed:
    if exit_code is None or exit_code >= 0:
        return Crashed(f"ended with exit code {exit_code}")
    end = signal.Signals(-exit_code)
    return (Killed if end is signal.SIGKILL else Crashed)(f"ended by {end.name}")


# -- in the process


def _serve(
    pipe: Connection, function: Callable[[bytes], Result], seconds: float, memory_bytes: int
) -> None:
    """Answer each message with (True, the function's result), or (False, None): no memory."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
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
    """Be killed when the thread that started this process ends; only Linux can.

    Elsewhere the end of the pipe tells, once the work at hand is done or its CPU time over.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if parent is None or os.getppid() != parent.pid:  # it was quicker
            os._exit(1)


def _limit_memory(memory_bytes: int) -> None:
    if sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with suppress(ValueError, OSError):  # macOS has no such limit
            resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _limit_cpu(seconds: float) -> None:
    """The net under the parent's clock, for when the parent is gone."""
    if sys.platform != "win32":
        used = resource.getrusage(resource.RUSAGE_SELF)
        end = int(used.ru_utime + used.ru_stime + seconds) + _SPARE_CPU_SECONDS
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        with suppress(ValueError, OSError):  # beyond what this process was given
            resource.setrlimit(resource.RLIMIT_CPU, (end, most))
