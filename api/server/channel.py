"""Channels: connections to clients, closed if a client sends or reads too slowly.

waitress waits as long as a byte arrives now and then, and holds the thread of a response as long
as its client reads nothing.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from waitress.buffers import OverflowableBuffer
from waitress.channel import ClientDisconnected, HTTPChannel

from api.http.spool import log_full_disk
from api.server.tasks import AppTask, ProblemTask
from api.state.services import IDLE_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from api.server.parser import RequestParser

LARGE_BYTES = 64 * 1024  # sent without a copy in a buffer
NEW_SECONDS = 1


@dataclass(frozen=True, slots=True)
class ClientTimeouts:
    """How long a client may take to send a request, and to read more of its response.

    `head_seconds` start with the connection or, after a response, with the next byte; further
    bytes do not extend them. Then the body may take `body_seconds`, plus one second for every
    `body_bytes_per_second` received. A client may read nothing for `unread_seconds`. What it still
    sends of a refused request is discarded for `refused_seconds`.
    """

    head_seconds: float = 15
    body_seconds: float = 30
    body_bytes_per_second: float = 500
    unread_seconds: float = IDLE_TIMEOUT_SECONDS
    refused_seconds: float = 30


DEFAULT_TIMEOUTS = ClientTimeouts()


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection to one client."""

    task_class = AppTask
    error_task_class = ProblemTask
    outbufs: list[Any]
    total_outbufs_len: int
    close_when_flushed: bool

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - as waitress's
        timeouts: ClientTimeouts,
        parser_class: Callable[..., RequestParser],
        **kwargs: Any,  # noqa: ANN401 - as waitress's
    ) -> None:
        self.parser_class = parser_class
        self._timeouts = timeouts
        # When a head or a body began; None during a response and then until the next byte.
        self._began_at: float | None = time.monotonic()
        self._was_polled = False
        self._has_refused = False
        self._discards_until: float | None = None
        self._has_lost_output = False
        super().__init__(*args, **kwargs)

    # -- receiving

    def received(self, data: bytes) -> bool:
        """Parse received bytes, and record when a head or a body begins.

        What follows a refused request is discarded.
        """
        if self._discards_until is not None:
            return False
        if self._began_at is None:
            self._began_at = time.monotonic()
        before = self.request if self.is_in_body else None
        accepted = bool(super().received(data))
        if self.requests:
            self._began_at = None
        elif self.is_in_body and self.request is not before:
            self._began_at = time.monotonic()
        return accepted

    def service(self) -> None:
        """Respond to a request; the timeouts for sending do not apply until the next byte.

        This runs in another thread, which may finish before `received` sees that it began.
        """
        self._began_at = None
        self._has_refused = self.requests[0].error is not None
        super().service()

    @property
    def is_in_body(self) -> bool:
        """Whether the head of a request is complete, and its body is not."""
        return self.request is not None and bool(self.request.headers_finished)

    @property
    def is_waiting(self) -> bool:
        """Whether the connection only waits for the client to send more."""
        return not self.requests and not self.total_outbufs_len

    @property
    def closing_order(self) -> tuple[int, float]:
        """Sort key of waiting connections; the first ones are closed first.

        In order: refused requests; heads, oldest first; slow bodies; new connections; bodies that
        arrive fast enough, also on new connections; connections not read yet, which may hold a
        complete request.
        """
        waited = self._waited_seconds()
        if self._discards_until is not None:
            return -1, -waited
        if not self._was_polled:
            return 4, -waited
        if self.is_in_body:
            rate = float(self.request.body_bytes_received) / max(waited, NEW_SECONDS)
            if rate >= self._timeouts.body_bytes_per_second:
                return 3, rate
            if waited >= NEW_SECONDS:
                return 1, rate
        return 2 if waited < NEW_SECONDS else 0, -waited

    def _waited_seconds(self) -> float:
        began_at = self._began_at  # read once: the thread of a response may change it
        if began_at is None:
            return time.time() - float(self.last_activity)
        return time.monotonic() - began_at

    # -- sending

    def handle_write(self) -> None:
        """Send buffered output; after the refusal of a request, discard the rest of it.

        Closed with bytes unread, the connection would be reset: a client that is still sending
        would lose the response, and report a broken connection instead of the problem.
        """
        if not (self._has_refused and self.close_when_flushed):
            super().handle_write()
            return
        _, has_failed = self._flush_exception(self._flush_some)
        if has_failed:
            self.handle_close()
        elif self.connected and not self.total_outbufs_len:
            self.close_when_flushed = False
            self._discards_until = time.monotonic() + self._timeouts.refused_seconds
            with suppress(OSError):  # the client is gone
                self.socket.shutdown(socket.SHUT_WR)

    def write_soon(self, data: bytes) -> int:
        """Send data, or buffer it until the client reads.

        The timeout for reading starts here: computing the response may have taken long.
        """
        with self.outbuf_lock:
            rest: bytes | memoryview = data
            if not self.total_outbufs_len:
                self.last_activity = time.time()
                rest = self._send_now(data)
            if rest:
                self._buffer(rest)
        return len(data)

    def _send_now(self, data: bytes) -> bytes | memoryview:
        """Send as much of large data as the connection accepts, without a copy; return the rest."""
        if not isinstance(data, bytes) or len(data) < LARGE_BYTES or not self.connected:
            return data  # waitress also passes open files
        sent = self.send(data, do_close=False)
        return memoryview(data)[sent:]

    def _buffer(self, rest: bytes | memoryview) -> None:
        """Buffer data; if the disk is full, close the connection."""
        try:
            super().write_soon(rest)
        except OSError as error:  # from a buffer; waitress handles errors of the connection
            path = self.requests[0].path if self.requests else None
            log_full_disk(error, path=path, response="cut off")
            self._drop_output()
            raise ClientDisconnected from error

    def _drop_output(self) -> None:
        """Discard all output, because the sizes of buffers are wrong after a failed write."""
        for buffer in self.outbufs:
            with suppress(OSError):
                buffer.close()
        self.outbufs = [OverflowableBuffer(self.adj.outbuf_overflow)]
        self.current_outbuf_count = self.total_outbufs_len = 0
        self._has_lost_output = True

    # -- timeouts

    def _must_close(self) -> bool:
        until = self._discards_until
        if until is not None:
            return time.monotonic() > until
        return self._has_lost_output or self._reads_too_slowly() or self._sends_too_slowly()

    def _reads_too_slowly(self) -> bool:
        idle_seconds = time.time() - self.last_activity
        return bool(self.total_outbufs_len) and idle_seconds > self._timeouts.unread_seconds

    def _sends_too_slowly(self) -> bool:
        began_at = self._began_at
        if began_at is None or not self.is_waiting:
            return False
        allowed = self._timeouts.head_seconds
        if self.is_in_body:
            earned = self.request.body_bytes_received / self._timeouts.body_bytes_per_second
            allowed = self._timeouts.body_seconds + earned
        return time.monotonic() - began_at > allowed

    # waitress calls both for every connection before each wait for events, at least once a second.
    # They are false for a closed one: its descriptor may already belong to a new connection.

    def readable(self) -> bool:
        """Whether to read more; closes a connection whose client is too slow."""
        if self._must_close():
            self.handle_close()
        self._was_polled = True
        return self._fileno is not None and bool(super().readable())

    def writable(self) -> bool:
        """Whether there is something to send."""
        return self._fileno is not None and bool(super().writable())
