"""Deadlines for responses of PostgreSQL, whose client library would wait forever.

A server that stands still (a paused machine, a disk that hangs) keeps its TCP connections: its
kernel acknowledges keepalives. statement_timeout is the server's own and stands still with it.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import extensions

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECK_SECONDS = 0.5


class DeadlineConnection(extensions.connection):  # type: ignore[misc]  # psycopg2 has no types
    """A connection that is closed when a statement has no response after `response_seconds`.

    Without a number it waits forever. COPY is not limited: it has its own time limits.

    Raises:  psycopg2.OperationalError from the statement, commit or rollback.
    """

    response_seconds: float | None = None

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
        seconds = self.response_seconds
        if seconds is None or self.closed:
            yield
            return
        call = _Call(self, time.monotonic() + seconds)
        _watch.add(call)
        try:
            yield
        except psycopg2.Error as error:
            if call.was_cut:
                raise psycopg2.OperationalError(f"no response within {seconds:g} s") from error
            raise
        finally:
            _watch.remove(call)


class DeadlineCursor(extensions.cursor):  # type: ignore[misc]  # psycopg2 has no types
    """A cursor of such a connection."""

    connection: DeadlineConnection

    def execute(self, query: Any, parameters: Any = None) -> None:  # noqa: ANN401 - the driver's
        """Execute the statement."""
        with self.connection.limited():
            super().execute(query, parameters)


@dataclass(eq=False)
class _Call:
    connection: DeadlineConnection
    deadline: float
    was_cut: bool = False

    def cut(self) -> None:
        """Shut the socket down, which wakes the thread that waits for it."""
        with suppress(psycopg2.Error, OSError):
            copied = os.dup(self.connection.fileno())
            with socket.socket(fileno=copied) as opened:
                self.was_cut = True
                opened.shutdown(socket.SHUT_RDWR)


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
                threading.Thread(target=self._run, name="database-deadlines", daemon=True).start()
            elif len(self._calls) == 1:
                self._changed.notify()

    def remove(self, call: _Call) -> None:
        with self._changed:
            self._calls.discard(call)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for call in self._calls:
                    if call.deadline < now and not call.was_cut:
                        call.cut()
                self._changed.wait(CHECK_SECONDS if self._calls else None)


_watch = _Watch()
