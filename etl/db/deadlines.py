"""Deadlines for responses of PostgreSQL, whose client library would wait forever.

A server that stands still (a paused machine, a disk that hangs) keeps its TCP connections: its
kernel acknowledges keepalives. statement_timeout is the server's own and stands still with it.

A slow statement may take a minute, but no client should wait that long for a server that is gone.
So a statement that takes more than a few seconds has the server asked, over a new connection,
whether it responds at all.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from ctypes import create_string_buffer
from dataclasses import dataclass, field
from functools import cache
from threading import Thread
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import _psycopg, extensions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECK_SECONDS = 0.5
SILENCE_SECONDS = 3  # of a statement without a response, after which the server is asked
CANCEL_SECONDS = 5
_FOREVER = float("inf")
_ERROR_BYTES = 256


class Server:
    """Whether PostgreSQL responds at all, which a thread of its own finds out when asked.

    `responds` connects, and takes a few seconds at most.
    """

    def __init__(self, responds: Callable[[], bool]) -> None:
        self._responds = responds
        self._asked_at = self._silent_at = -_FOREVER
        self._asking: Thread | None = None

    def is_silent(self, since: float) -> bool:
        """Whether it has not responded to an attempt that began later; begins one if it is time."""
        is_asking = self._asking is not None and self._asking.is_alive()
        if not is_asking and time.monotonic() - self._asked_at >= SILENCE_SECONDS:
            self._asking = Thread(target=self._ask, name="database-check", daemon=True)
            self._asking.start()
        return self._silent_at > since

    def _ask(self) -> None:
        self._asked_at = began = time.monotonic()
        if not self._responds():
            self._silent_at = began


class DeadlineConnection(extensions.connection):  # type: ignore[misc]  # psycopg2 has no types
    """A connection that is closed when a statement has no response after `response_seconds`.

    Without a number it waits forever. With a `server`, it is also closed when that is silent. A
    COPY has only this limit, because slow clients delay it; it has its own for them.

    Raises:  psycopg2.OperationalError from the statement, COPY, commit or rollback.
    """

    response_seconds: float | None = None
    server: Server | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - the driver's
        super().__init__(*arguments, **options)
        self.cursor_factory = DeadlineCursor

    def commit(self) -> None:
        """Commit."""
        with self.limited():
            super().commit()

    def rollback(self) -> None:
        """Roll back; on a lost connection, of which nothing is left, do nothing."""
        with self.limited():
            if not self.closed:
                super().rollback()

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Limit the time of the block, which waits for one response."""
        if self.response_seconds is None or self.closed:
            yield
            return
        with _watched(_Call(self, self.server, self.response_seconds)):
            yield

    @contextmanager
    def checked(self) -> Iterator[None]:
        """End the block, which may take any time, when the server is silent."""
        if self.server is None or self.closed:
            yield
            return
        with _watched(_Call(self, self.server, _FOREVER)):
            yield

    def cancel_in_time(self) -> None:
        """Cancel the statement of another thread; close the connection if that is impossible.

        The driver's `cancel` waits forever for a server that stands still, and all threads of this
        process wait with it.
        """
        request = _libpq().PQgetCancel(self.pgconn_ptr)
        canceled: Future[bool] = Future()
        Thread(target=lambda: canceled.set_result(_cancel(request)), daemon=True).start()
        try:
            is_canceled = canceled.result(CANCEL_SECONDS)
        except TimeoutError:
            is_canceled = False
        if not is_canceled:
            _shut_down(self)


class DeadlineCursor(extensions.cursor):  # type: ignore[misc]  # psycopg2 has no types
    """A cursor of such a connection."""

    connection: DeadlineConnection

    def execute(self, query: Any, parameters: Any = None) -> None:  # noqa: ANN401 - the driver's
        """Execute the statement."""
        with self.connection.limited():
            super().execute(query, parameters)

    def copy_expert(self, *arguments: Any) -> None:  # noqa: ANN401 - the driver's
        """Copy rows."""
        with self.connection.checked():
            super().copy_expert(*arguments)


@dataclass(eq=False)
class _Call:
    connection: DeadlineConnection
    server: Server | None
    seconds: float
    began: float = field(default_factory=time.monotonic)
    cut_because: str | None = None

    def check(self) -> None:
        """Cut the call if it is late, or if the server is silent."""
        age = time.monotonic() - self.began
        if self.cut_because is not None:
            return
        if age > self.seconds:
            self._cut(f"no response within {self.seconds:g} s")
        elif age > SILENCE_SECONDS and self.server and self.server.is_silent(self.began):
            self._cut("the server does not respond")

    def _cut(self, reason: str) -> None:
        self.cut_because = reason
        _shut_down(self.connection)


def _shut_down(connection: DeadlineConnection) -> None:
    """Shut the socket down, which wakes the thread that waits for it."""
    with suppress(psycopg2.Error, OSError):
        copied = os.dup(connection.fileno())
        with socket.socket(fileno=copied) as opened:
            opened.shutdown(socket.SHUT_RDWR)


def _cancel(request: int) -> bool:
    """Cancel as the driver does, while other threads run; whether the server accepted it."""
    try:
        return bool(_libpq().PQcancel(request, create_string_buffer(_ERROR_BYTES), _ERROR_BYTES))
    finally:
        _libpq().PQfreeCancel(request)


@cache
def _libpq() -> Any:  # noqa: ANN401 - a library's functions
    libpq = ctypes.CDLL(_psycopg.__file__)  # with the symbols of the libpq linked to it
    libpq.PQgetCancel.restype = ctypes.c_void_p
    libpq.PQgetCancel.argtypes = (ctypes.c_void_p,)
    libpq.PQcancel.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)
    libpq.PQfreeCancel.argtypes = (ctypes.c_void_p,)
    return libpq


@contextmanager
def _watched(call: _Call) -> Iterator[None]:
    """Watch the call, which is the block."""
    _watch.add(call)
    try:
        yield
    except psycopg2.Error as error:
        if call.cut_because is not None:
            raise psycopg2.OperationalError(call.cut_because) from error
        raise
    finally:
        _watch.remove(call)


class _Watch:
    """A thread that cuts the calls that are late; it runs while there are any."""

    def __init__(self) -> None:
        self._calls: set[_Call] = set()
        self._changed = threading.Condition()
        self._process: int | None = None  # that has the thread: a fork has none

    def add(self, call: _Call) -> None:
        with self._changed:
            self._calls.add(call)
            if self._process != os.getpid():
                self._process = os.getpid()
                Thread(target=self._run, name="database-deadlines", daemon=True).start()
            elif len(self._calls) == 1:
                self._changed.notify()

    def remove(self, call: _Call) -> None:
        with self._changed:
            self._calls.discard(call)

    def _run(self) -> None:
        with self._changed:
            while True:
                for call in self._calls:
                    call.check()
                self._changed.wait(CHECK_SECONDS if self._calls else None)


_watch = _Watch()
