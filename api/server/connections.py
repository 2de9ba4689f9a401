"""The server's connections: how many there may be, and which are closed to accept new ones.

A connection uses a file descriptor, but no thread until its request is complete. Clients that
never complete a request must not use up all connections, however slowly they send bytes.
"""

from __future__ import annotations

import errno
import resource
import time
from typing import TYPE_CHECKING, Any

import structlog
from waitress.server import TcpWSGIServer

if TYPE_CHECKING:
    import socket

MAX_CONNECTIONS = 2000
RESERVE = 32  # connections kept free near the limit; as many are accepted at once
DESCRIPTORS_EACH = 2  # the socket, and the file that a long body or response overflows into
OTHER_DESCRIPTORS = 256  # pools to the database and the object store, logs, modules
NEEDED_DESCRIPTORS = DESCRIPTORS_EACH * MAX_CONNECTIONS + OTHER_DESCRIPTORS
WARN_EVERY_SECONDS = 60
PAUSE_SECONDS = 1

log = structlog.get_logger("api")


class ApiServer(TcpWSGIServer):  # type: ignore[misc]
    """A server that accepts clients even at its limit, by closing waiting connections.

    waitress would stop accepting, so a client that holds all connections would block the others.
    """

    _has_no_descriptor = False
    _paused_until = 0.0
    _closed = 0
    _warned_at = float("-inf")

    def readable(self) -> bool:
        """Whether to accept connections; closes waiting ones first, before events are fetched.

        Later, the descriptor of a closed connection could be reused, and receive its events.
        """
        excess = len(self._map) + RESERVE - self.adj.connection_limit
        if excess > 0:
            self._close_waiting(excess)
        if self._has_no_descriptor:
            self._has_no_descriptor = False
            if not self._close_waiting(RESERVE):
                self._paused_until = time.monotonic() + PAUSE_SECONDS
        return bool(super().readable()) and time.monotonic() >= self._paused_until

    def _close_waiting(self, count: int) -> int:
        """Close at most `count` waiting connections; return how many were closed."""
        waiting = [each for each in self.active_channels.values() if each.is_waiting]
        chosen = sorted(waiting, key=lambda each: each.closing_order)[:count]
        for channel in chosen:
            channel.handle_close()
        self._log_closed(len(chosen))
        return len(chosen)

    def _log_closed(self, count: int) -> None:
        """Log the number of closed connections, at most once a minute."""
        self._closed += count
        if self._closed and time.monotonic() - self._warned_at >= WARN_EVERY_SECONDS:
            log.warning(
                "closed_waiting_connections", count=self._closed, limit=self.adj.connection_limit
            )
            self._closed, self._warned_at = 0, time.monotonic()

    def handle_accept(self) -> None:
        """Accept pending connections, up to the limit."""
        for _ in range(RESERVE):
            before = len(self._map)
            if before < self.adj.connection_limit:
                super().handle_accept()
            if len(self._map) == before:
                return

    def accept(self) -> tuple[socket.socket, Any] | None:
        """The next connection; None if none is pending or no descriptor is free."""
        try:
            accepted: tuple[socket.socket, Any] | None = super().accept()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._has_no_descriptor = True
            return None
        return accepted


def connection_limit() -> int:
    """The maximum number of connections, after raising this process's limit of descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = NEEDED_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < min(highest, NEEDED_DESCRIPTORS):
        soft = min(highest, NEEDED_DESCRIPTORS)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections_within(NEEDED_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft)


def connections_within(descriptors: int) -> int:
    """The number of connections for a number of descriptors, less those for other uses."""
    others = min(OTHER_DESCRIPTORS, descriptors // 2)
    return max(min((descriptors - others) // DESCRIPTORS_EACH, MAX_CONNECTIONS), 2 * RESERVE)
