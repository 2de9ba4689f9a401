"""Connections: how long a client may take to send a request, and how many clients there may be.

A connection costs a file descriptor and no thread until its request is complete. Clients that
never complete a request must not use up all connections, however slowly they send bytes.
"""

from __future__ import annotations

import errno
import resource
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer

if TYPE_CHECKING:
    import socket

MOST_CONNECTIONS = 2000
ROOM = 32  # connections kept free near the limit; as many are accepted at once
DESCRIPTORS_EACH = 2  # the connection, and the file that a long body or answer overflows into
OTHER_DESCRIPTORS = 256  # pools to the database and the object store, logs, modules
NEEDED_DESCRIPTORS = DESCRIPTORS_EACH * MOST_CONNECTIONS + OTHER_DESCRIPTORS
FRESH_SECONDS = 1
WARN_EVERY_SECONDS = 60
REST_SECONDS = 1

log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client may take to send a request.

    The head has `head_seconds` from the connection's start or, after an answer, from its first
    byte; further bytes do not extend that. Then the body has `body_seconds`, and a second more
    for every `body_bytes_per_second` that have come.
    """

    head_seconds: float = 15
    body_seconds: float = 30
    body_bytes_per_second: float = 500


USUAL = Patience()


class TimedChannel(HTTPChannel):  # type: ignore[misc]
    """A connection that is closed when its client takes too long to send a request.

    waitress itself waits as long as a byte arrives now and then.
    """

    patience = USUAL

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as waitress's
        # When waiting for the client began; None while we answer, and then until the next byte.
        self._turn_began: float | None = time.monotonic()
        self._was_polled = False
        super().__init__(*args, **kwargs)

    def received(self, data: bytes) -> bool:
        """Take what came, and note when a head or a body began."""
        if self._turn_began is None:
            self._turn_began = time.monotonic()
        before = self.request if self.is_in_body else None
        taken = bool(super().received(data))
        if self.requests:
            self._turn_began = None
        elif self.is_in_body and self.request is not before:
            self._turn_began = time.monotonic()
        return taken

    def service(self) -> None:
        """Answer a request; meanwhile and until its next byte, nothing is expected of the client.

        This is another thread, which may be done before `received` sees that it began.
        """
        self._turn_began = None
        super().service()

    @property
    def is_in_body(self) -> bool:
        """Whether a request's head is complete, and its body is not."""
        return self.request is not None and bool(self.request.headers_finished)

    @property
    def is_waiting(self) -> bool:
        """Whether the connection only waits for the client to send more."""
        return not self.requests and not self.total_outbufs_len

    @property
    def closing_order(self) -> tuple[int, float]:
        """Sort key of waiting connections when some have to be closed, the first ones first.

        In order: those that have waited longest for a head; slow bodies; those that began just
        now; bodies that arrive fast enough; those not read yet, which may hold a whole request.
        """
        waited = self._waited_seconds()
        if not self._was_polled:
            return 4, -waited
        if waited < FRESH_SECONDS:
            return 2, -waited
        if not self.is_in_body:
            return 0, -waited
        rate = float(self.request.body_bytes_received) / waited
        return 1 if rate < self.patience.body_bytes_per_second else 3, rate

    def _waited_seconds(self) -> float:
        began = self._turn_began  # once: the thread that answers may change it
        if began is None:
            return time.time() - float(self.last_activity)
        return time.monotonic() - began

    def is_over(self) -> bool:
        """Whether the client is too late, and the connection is to be closed."""
        began = self._turn_began
        if began is None or not self.is_waiting:
            return False
        allowed = self.patience.head_seconds
        if self.is_in_body:
            earned = self.request.body_bytes_received / self.patience.body_bytes_per_second
            allowed = self.patience.body_seconds + earned
        return time.monotonic() - began > allowed

    # Both are called for every connection before each wait for events, at least once a second.
    # They are false for a closed one: its descriptor may belong to a new connection by then.

    def readable(self) -> bool:
        """Whether more may come; a connection that is over is closed here."""
        if self.is_over():
            self.handle_close()
        self._was_polled = True
        return self._fileno is not None and bool(super().readable())

    def writable(self) -> bool:
        """Whether there is something to send."""
        return self._fileno is not None and bool(super().writable())


class Server(TcpWSGIServer):  # type: ignore[misc]
    """A server that accepts clients even at its limit, by closing connections that wait.

    waitress would stop accepting, so a client with all connections would lock the others out.
    """

    _has_no_descriptor = False
    _rests_until = 0.0
    _closed = 0
    _warned_at = float("-inf")

    def readable(self) -> bool:
        """Whether to accept connections. Room for them is made here, before events are fetched.

        Later, the descriptor of a closed connection could be a new one's, and take its events.
        """
        excess = len(self._map) + ROOM - self.adj.connection_limit
        if excess > 0:
            self._close_waiting(excess)
        if self._has_no_descriptor:
            self._has_no_descriptor = False
            if not self._close_waiting(ROOM):
                self._rests_until = time.monotonic() + REST_SECONDS
        return bool(super().readable()) and time.monotonic() >= self._rests_until

    def _close_waiting(self, count: int) -> int:
        """Close up to so many waiting connections; return how many were closed."""
        waiting = [each for each in self.active_channels.values() if each.is_waiting]
        chosen = sorted(waiting, key=lambda each: each.closing_order)[:count]
        for channel in chosen:
            channel.handle_close()
        self._report(len(chosen))
        return len(chosen)

    def _report(self, count: int) -> None:
        """Log what was closed, at most once a minute."""
        self._closed += count
        if self._closed and time.monotonic() - self._warned_at >= WARN_EVERY_SECONDS:
            log.warning(
                "closed_waiting_connections", count=self._closed, limit=self.adj.connection_limit
            )
            self._closed, self._warned_at = 0, time.monotonic()

    def handle_accept(self) -> None:
        """Accept the connections that wait for it, as many as there is room for."""
        for _ in range(ROOM):
            before = len(self._map)
            if before < self.adj.connection_limit:
                super().handle_accept()
            if len(self._map) == before:
                return

    def accept(self) -> tuple[socket.socket, Any] | None:
        """The next connection; None when there is none, or no descriptor for it."""
        try:
            accepted: tuple[socket.socket, Any] | None = super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._has_no_descriptor = True
            return None
        return accepted


def connection_limit() -> int:
    """How many connections this process may have, after raising its limit of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = NEEDED_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < min(highest, NEEDED_DESCRIPTORS):
        soft = min(highest, NEEDED_DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections_within(NEEDED_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft)


def connections_within(descriptors: int) -> int:
    """How many connections a number of descriptors allows, after other uses of them."""
    others = min(OTHER_DESCRIPTORS, descriptors // 2)
    return max(min((descriptors - others) // DESCRIPTORS_EACH, MOST_CONNECTIONS), 2 * ROOM)
